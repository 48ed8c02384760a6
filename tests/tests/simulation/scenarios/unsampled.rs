//! No node has BEP 51: a third ignores `sample_infohashes`, a third answers it with error 204 and a
//! third as if it were `find_node`. Then there is nothing to be found (a crawler that only asks
//! hears of no infohash), and yet everybody is met, by `find_node`, at a price that is known in
//! advance:
//!
//! - who answers without samples was asked once, and rests for an hour;
//! - who refuses is asked `find_node` at once, and rests for an hour;
//! - who is silent is asked `find_node`, answers, and so is asked for samples once more, in case
//!   the first question was lost; in the next pass once more both; then it rests for a quarter of
//!   an hour.

use std::collections::{BTreeMap, BTreeSet};

use estudely_core::limits::{GAPS_FREE, SILENT_REST, UNSUPPORTED_REST};
use estudely_core::{Family, Instant};
use estudely_sim::scenario::Scenario;
use estudely_sim::world::NodeKind;

use crate::tape::{Asks, Played, play_whole, second};

const NODES: u32 = 300;

fn unsampled(seconds: u32) -> Played {
    let calm = Scenario::calm(42);
    let scenario =
        Scenario { nodes: NODES, unsampled: 100, broken_s: 10, healed_s: seconds - 10, ..calm };
    let played = play_whole(&scenario);
    let stats = &played.tape.stats;
    assert_eq!(stats.contacts_answered, u64::from(NODES), "everybody is met");
    assert_eq!((stats.nodes_sampling, stats.infohashes_new, stats.dialled), (0, 0, 0));
    assert_eq!((stats.queries_get_peers, stats.walks), (0, 0));
    assert!(played.tape.samples.is_empty());
    played
}

/// How many nodes there are of each kind, and how often each of them was asked for samples.
fn asked_for_samples(played: &Played) -> BTreeMap<&'static str, (u32, BTreeSet<u32>)> {
    let world = played.universe.world(Family::V4).expect("IPv4 alone");
    let counts = played.tape.counts(Asks::Sample);
    let mut kinds = BTreeMap::<_, (u32, BTreeSet<u32>)>::new();
    for node in 0..world.node_count() {
        let kind = match world.node_kind(node) {
            NodeKind::SampleSilent => "silent",
            NodeKind::SampleUnknown => "refuses",
            NodeKind::SampleAsFindNode => "as find_node",
            other => panic!("{other:?} in a world without BEP 51"),
        };
        let entry = kinds.entry(kind).or_default();
        entry.0 += 1;
        entry.1.insert(counts.get(&world.contact(node).addr).copied().unwrap_or(0));
    }
    kinds
}

#[test]
fn everybody_is_met_and_nobody_asked_more_than_each_kind_of_refusal_calls_for() {
    let played = unsampled(60);
    let kinds = asked_for_samples(&played);
    let of = |kind: &str| kinds[kind].clone();
    let [silent, refuses, other] = ["silent", "refuses", "as find_node"].map(|kind| of(kind).0);
    assert_eq!(silent + refuses + other, NODES);
    assert_eq!(of("silent").1, BTreeSet::from([3]));
    assert_eq!(of("refuses").1, BTreeSet::from([1]));
    assert_eq!(of("as find_node").1, BTreeSet::from([1]));
    let stats = &played.tape.stats;
    let bootstraps = played.universe.bootstrap(Family::V4).len() as u32;
    assert_eq!(stats.queries_sample, u64::from(3 * silent + refuses + other));
    let owed = bootstraps + 2 * silent + refuses;
    // Beside those some are asked about places of which no answer told.
    let gaps = stats.queries_find_node - u64::from(owed);
    assert!(gaps <= u64::from(GAPS_FREE), "{gaps} about gaps");
    assert_eq!((stats.refused, stats.expired), (u64::from(refuses), u64::from(3 * silent)));
}

#[test]
fn those_that_refuse_are_asked_again_after_an_hour_and_the_silent_after_a_quarter() {
    let played = unsampled(3_720);
    let kinds = asked_for_samples(&played);
    assert_eq!(kinds["refuses"].1, BTreeSet::from([2]));
    assert_eq!(kinds["as find_node"].1, BTreeSet::from([2]));
    // All met in the first seconds; the calendar visits at the next whole minute.
    let hour = Instant::START + UNSUPPORTED_REST;
    let again: Vec<_> = played.tape.asking(Asks::Sample).filter(|query| query.at > hour).collect();
    let visited = second(3_660);
    let unsilent = (kinds["refuses"].0 + kinds["as find_node"].0) as usize;
    assert_eq!(again.iter().filter(|query| query.at == visited).count(), unsilent);
    let quarter = Instant::START + SILENT_REST;
    let second_time = played.tape.asking(Asks::Sample).filter(|query| query.at > quarter);
    assert_eq!(second_time.map(|query| query.at).min(), Some(second(960)));
}
