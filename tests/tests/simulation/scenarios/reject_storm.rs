//! Half of all nodes answer everything with an error (201 to 204 in turn), and half of all peers
//! reject every request for metadata. A refusing node is asked for a sample once, then for contacts
//! once, and rests for an hour (`UNSUPPORTED_REST`; the sweep looks once a minute): four times in
//! four hours. A rejecting peer is done with at its first reject; only where a torrent has no other
//! peer is it dialled once more, when the torrent has its second chance an hour later. Everything
//! with one peer that serves is found.

use std::collections::{BTreeMap, BTreeSet};

use estudely_core::limits::{SECOND_CHANCE_AFTER, UNSUPPORTED_REST};
use estudely_core::{Duration, Instant, PeerFault};
use estudely_sim::scenario::Scenario;
use estudely_sim::vice::{NodeVice, NodeVices, PeerVice, PeerVices};

use crate::support::{Ask, gaps, play};

const NODES: u32 = 300;
const HALF: u32 = 50;
const HOURS: u32 = 4;
/// When an hour's rest is over, the sweep looks with the next whole minute.
const REST_S: u64 = UNSUPPORTED_REST.as_secs() + 60;
/// Within which a refusal is followed up.
const SOON: Duration = Duration::from_secs(1);

#[test]
fn refusing_nodes_and_rejecting_peers_cost_a_fixed_number_of_attempts() {
    let scenario = Scenario {
        torrents: 150,
        nodes: NODES,
        hostile_nodes: HALF,
        node_vices: NodeVices::of(&[NodeVice::Refuser]),
        hostile_peers: HALF,
        peer_vices: PeerVices::of(&[PeerVice::Rejects]),
        broken_s: 60,
        healed_s: HOURS * 3_600,
        ..Scenario::calm(35)
    };
    let played = play(&scenario);
    let (world, notes) = (played.world(), &played.notes);
    let refusers = (0..world.node_count()).filter(|&node| world.node_vice(node).is_some());
    let refusers: BTreeSet<_> = refusers.map(|node| played.node(node)).collect();
    assert_eq!(refusers.len() as u32, NODES * HALF / 100);
    for &to in &refusers {
        let of = |wanted: Ask| notes.asked(to).filter(move |(_, ask)| *ask == wanted);
        let samples: Vec<_> = of(Ask::Sample).map(|(at, _)| at).collect();
        // The first after each. Beside those some are asked about gaps in the keyspace.
        let after = |asked: &Instant| {
            let soon = |at: &Instant| *at > *asked && at.since(*asked) < SOON;
            of(Ask::FindNode).map(|(at, _)| at).find(soon)
        };
        let contacts: Vec<_> = samples.iter().filter_map(after).collect();
        for (wanted, times) in [(Ask::Sample, &samples), (Ask::FindNode, &contacts)] {
            assert_eq!(times.len() as u32, HOURS, "{to} {wanted:?}");
            assert_eq!(gaps(&times[1..]), [REST_S; HOURS as usize - 2], "{to} {wanted:?}");
        }
    }
    let facts = played.universe.truth().facts();
    let (good, lost): (Vec<_>, Vec<_>) =
        facts.iter().partition(|fact| fact.peers.values().any(|serves| *serves));
    assert!(!good.is_empty() && !lost.is_empty());
    assert_eq!((notes.verified(), notes.rows.len()), (good.len(), facts.len()));
    let mut dials = BTreeMap::<_, Vec<_>>::new();
    for (call, _, fault) in notes.ended() {
        let serves = facts.iter().any(|fact| fact.peers.get(&call.to) == Some(&true));
        assert_eq!(fault, (!serves).then_some(PeerFault::Rejected), "{}", call.to);
        dials.entry(call.to).or_default().push(call.dialled);
    }
    for fact in good {
        for peer in fact.peers.keys() {
            assert!(dials.get(peer).is_none_or(|dials| dials.len() == 1), "{peer}");
        }
    }
    for peer in lost.iter().flat_map(|fact| fact.peers.keys()) {
        assert_eq!(dials[peer].len(), 2, "{peer}");
        assert!(dials[peer][1] > dials[peer][0] + SECOND_CHANCE_AFTER[0], "{peer}");
    }
    let to_refusers = notes.queries.iter().filter(|query| refusers.contains(&query.1)).count();
    assert_eq!((notes.stats.refused, notes.stats.expired), (to_refusers as u64, 0));
}
