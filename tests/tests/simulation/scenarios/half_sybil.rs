//! Half of all nodes are Sybils: each answers well, but names eight new ids next to whatever it is
//! asked for, all at one address of its own where nobody listens, at another port each time. One
//! contact per IP is taken, so all that each of them gains is what any single dead address gets:
//! the sample and find_node of each pass that it may stay silent (`UNANSWERED_PASSES`), to one and
//! the same port. No honest node is asked more than once, and everything is found. Every number
//! follows from the scenario and the limits.

use std::collections::{BTreeMap, BTreeSet};

use estudely_core::limits::UNANSWERED_PASSES;
use estudely_sim::scenario::Scenario;
use estudely_sim::vice::{NodeVice, NodeVices};

use crate::support::{Ask, gaps, passes, play};

const NODES: u32 = 300;
const SYBIL_PERCENT: u32 = 50;
const TORRENTS: u32 = 150;

#[test]
fn half_of_the_nodes_are_sybils_and_each_costs_one_dead_address() {
    let scenario = Scenario {
        nodes: NODES,
        torrents: TORRENTS,
        hostile_nodes: SYBIL_PERCENT,
        node_vices: NodeVices::of(&[NodeVice::SybilNodes]),
        broken_s: 60,
        ..Scenario::calm(32)
    };
    let played = play(&scenario);
    let (world, notes) = (played.world(), &played.notes);
    let real: BTreeSet<_> = (0..world.node_count()).map(|node| played.node(node)).collect();
    let mut invented = BTreeMap::<_, Vec<_>>::new();
    for &(at, to, ask) in notes.queries.iter().filter(|query| !real.contains(&query.1)) {
        invented.entry(to.ip()).or_default().push((at, to.port(), ask));
    }
    let sybils = (NODES * SYBIL_PERCENT / 100) as usize;
    assert_eq!(invented.len(), sybils, "an address for each Sybil");
    for (ip, queries) in invented {
        assert_eq!(queries.len(), 2 * usize::from(UNANSWERED_PASSES), "{ip}");
        assert!(queries.iter().all(|query| query.1 == queries[0].1), "{ip}: one port");
        for (turn, query) in queries.iter().enumerate() {
            assert_eq!(query.2, [Ask::Sample, Ask::FindNode][turn % 2], "{ip}");
        }
        // After the first one, which came as soon as it was named.
        let later: Vec<_> = queries[2..].iter().step_by(2).map(|query| query.0).collect();
        assert_eq!(gaps(&later), passes(0, UNANSWERED_PASSES - 2), "{ip}");
    }
    for node in real {
        let samples = notes.asked(node).filter(|(_, ask)| *ask == Ask::Sample).count();
        assert_eq!(samples, 1, "{node}: its interval is six hours");
    }
    let all = TORRENTS as usize;
    assert_eq!((notes.verified(), notes.rows.len()), (all, all));
    assert_eq!((notes.stats.queries_open, notes.stats.outages), (0, 0));
}
