//! A third of all nodes answer only after 7 to 40 seconds, when each query has failed after six.
//! What comes within fifteen is read all the same (5.13): those nodes count as sampled, their
//! infohashes as found, and each of them is left alone for its interval, as if it had been quick.

use std::collections::BTreeSet;

use estudely_core::Family;
use estudely_core::limits::{EXPIRE_AFTER, LATE_UNTIL};
use estudely_sim::scenario::Scenario;
use estudely_sim::vice::{NodeVice, NodeVices};

use crate::tape::{Asks, play_whole};

#[test]
fn samples_of_nodes_that_answer_late_arrive_and_nobody_is_asked_for_them_again() {
    let scenario = Scenario {
        nodes: 150,
        torrents: 150,
        hostile_nodes: 33,
        node_vices: NodeVices::of(&[NodeVice::Slow]),
        broken_s: 60,
        ..Scenario::calm(47)
    };
    let played = play_whole(&scenario);
    let (tape, world) = (&played.tape, played.universe.world(Family::V4).expect("IPv4"));
    let is_slow = |addr| {
        let node = (0..world.node_count()).find(|node| world.contact(*node).addr == addr);
        node.is_some_and(|node| world.node_vice(node).is_some())
    };
    let (mut quick, mut late) = (BTreeSet::new(), BTreeSet::new());
    let mut infohashes = 0;
    for &(at, from, count) in &tape.samples {
        let before = tape.asking(Asks::Sample).filter(|query| query.to == from && query.at <= at);
        let sent: Vec<_> = before.map(|query| query.at).collect();
        match sent[..] {
            _ if !is_slow(from) => quick.insert(from),
            [sent] if (EXPIRE_AFTER..LATE_UNTIL).contains(&at.since(sent)) => late.insert(from),
            _ => continue,
        };
        infohashes += count as u64;
    }
    assert!(late.len() >= 5, "{} of the slow nodes answered in time to be read", late.len());
    assert!(tape.stats.late >= late.len() as u64);
    assert!(tape.stats.nodes_sampling >= (quick.len() + late.len()) as u64);
    assert!(tape.stats.infohashes_sampled >= infohashes);
    let asked = tape.counts(Asks::Sample);
    assert!(late.iter().all(|node| asked[node] == 1), "its interval lasts longer than the run");
}
