//! From a scenario that breaks a rule to a smaller one that breaks the same rule.
//!
//! Greedy and bounded: faults are switched off one by one, vices one by one, sizes and times
//! halved, and whatever still breaks the rule is kept. It starts over as long as anything shrank.

use crate::world::dht::Routing;
use crate::world::scenario::{Families, Harness, Scenario};
use crate::world::vice::{Bait, NodeVice, NodeVices, PeerVice, PeerVices};

/// The smallest scenario found.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// It still breaks the rule.
    pub scenario: Scenario,
    /// How many runs that took.
    pub runs: u32,
    /// Whether nothing smaller of this kind breaks the rule, rather than the runs being used up.
    pub is_minimal: bool,
}

/// A change towards something smaller; `None` where there is nothing to change.
type Change = Box<dyn Fn(&Scenario) -> Option<Scenario>>;

/// Looks for the smallest scenario for which `still_breaks` says yes, in at most `runs_max` runs.
pub fn shrink(
    start: &Scenario,
    runs_max: u32,
    mut still_breaks: impl FnMut(&Scenario) -> bool,
) -> Shrunk {
    let mut shrunk = Shrunk { scenario: start.clone(), runs: 0, is_minimal: false };
    let changes = changes();
    loop {
        let before = shrunk.scenario.clone();
        for change in &changes {
            // What shrinks by halves is halved as long as that helps.
            while let Some(smaller) = change(&shrunk.scenario) {
                if shrunk.runs >= runs_max {
                    return shrunk;
                }
                shrunk.runs += 1;
                if smaller.check().is_err() || !still_breaks(&smaller) {
                    break;
                }
                shrunk.scenario = smaller;
            }
        }
        if shrunk.scenario == before {
            shrunk.is_minimal = true;
            return shrunk;
        }
    }
}

/// Every change there is, those first that make runs cheap.
fn changes() -> Vec<Change> {
    let mut all: Vec<Change> = vec![
        assign("harness", Harness::Direct),
        halve("nodes", 2),
        halve("torrents", 1),
        halve("broken_s", 1),
        halve("healed_s", 30),
        halve("peers_max", 1),
        assign("families", Families::V4),
        assign("families", Families::V6),
        assign("hostile_nodes", 0),
        assign("hostile_peers", 0),
        assign("baiters", 0),
        assign("bait_networks", 0),
        assign("bait_any", 0),
        assign("node_vices", NodeVices::NONE),
        assign("peer_vices", PeerVices::NONE),
    ];
    let calm = Scenario::calm(0).values();
    let faults = Scenario::FIELDS.iter().zip(calm).filter(|((group, ..), _)| *group != "hostility");
    for ((_, name, _), (_, quiet)) in faults {
        if !["harness", "nodes", "torrents", "broken_s", "healed_s", "families"].contains(name) {
            all.push(assign(name, quiet));
        }
    }
    all.push(assign("routing", Routing::Ideal));
    for vice in NodeVice::ALL.iter().copied() {
        all.push(edit(move |s| s.node_vices = s.node_vices.without(vice)));
    }
    for vice in PeerVice::ALL.iter().copied() {
        all.push(edit(move |s| s.peer_vices = s.peer_vices.without(vice)));
    }
    for name in ["loss", "burst", "jitter_ms", "duplicate", "reorder", "corrupt", "forged"] {
        all.push(halve(name, 0));
    }
    for name in ["resets", "stalls", "partitions", "partition_s", "crashes", "clock_stalls"] {
        all.push(halve(name, 0));
    }
    for bait in Bait::ALL.iter().copied() {
        all.push(edit(move |s| s.bait = s.bait.without(bait)));
    }
    all.push(halve("bait_peers", 1));
    for name in
        ["baiters", "hostile_nodes", "hostile_peers", "dead_nodes", "dead_peers", "silent_s"]
    {
        all.push(halve(name, 0));
    }
    all
}

/// Gives a field another value, once.
fn assign(name: &'static str, value: impl ToString) -> Change {
    let value = value.to_string();
    edit(move |scenario| {
        let _ = scenario.set(name, &value);
    })
}

/// Halves a number as long as it stays at least `least`.
fn halve(name: &'static str, least: u32) -> Change {
    edit(move |scenario| {
        let value = scenario.values().into_iter().find(|(field, _)| *field == name);
        let number = value.and_then(|(_, value)| value.parse::<u32>().ok());
        if let Some(half) = number.map(|number| number / 2).filter(|half| *half >= least) {
            let _ = scenario.set(name, &half.to_string());
        }
    })
}

/// A change in place; nothing if it changes nothing.
fn edit(change: impl Fn(&mut Scenario) + 'static) -> Change {
    Box::new(move |scenario| {
        let mut changed = scenario.clone();
        change(&mut changed);
        (changed != *scenario).then_some(changed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_failure_needs_is_left() {
        let mut start = Scenario::draw(12);
        start.nodes = 640;
        start.loss = 300;
        start.hostile_nodes = 40;
        start.node_vices = NodeVices::ALL;
        start.harness = Harness::Turmoil;
        let fails = |scenario: &Scenario| {
            scenario.nodes >= 30
                && scenario.loss > 20
                && scenario.hostile_nodes > 0
                && scenario.node_vices.contains(NodeVice::Slow)
        };
        let shrunk = shrink(&start, 1_000, fails);
        assert!(fails(&shrunk.scenario) && shrunk.is_minimal);
        assert!(shrunk.scenario.nodes < 60 && shrunk.scenario.loss < 41);
        assert_eq!(shrunk.scenario.node_vices, NodeVices::of(&[NodeVice::Slow]));
        assert_eq!(shrunk.scenario.harness, Harness::Direct);
        assert_eq!(shrunk.scenario.hostile_peers, 0);
        assert_eq!(shrunk.scenario.seed, start.seed);
    }

    #[test]
    fn the_number_of_runs_is_bounded_and_the_best_so_far_is_kept() {
        let mut runs = 0;
        let shrunk = shrink(&Scenario::draw(12), 5, |_| {
            runs += 1;
            true
        });
        assert_eq!((runs, shrunk.runs), (5, 5));
        assert!(!shrunk.is_minimal && shrunk.scenario.nodes < Scenario::draw(12).nodes);
    }
}
