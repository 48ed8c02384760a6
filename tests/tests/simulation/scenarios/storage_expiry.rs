//! libtorrent's test_dht_storage (its simulation/test_dht_storage.cpp): what nobody announces any
//! more expires, and samples are empty then. Nodes name an interval of ten minutes and show one
//! sample all through it; after fifteen minutes nothing is stored, so from twenty minutes on every
//! sample is empty. A crawler takes that for an answer: it goes on visiting each node at the first
//! whole minute after its interval, finds nothing, and asks nobody for peers.

use estudely_core::Family;
use estudely_sim::scenario::Scenario;

use crate::tape::{Asks, play_whole, second};

/// The first whole minute after an interval that began within the minute.
const VISITS: [u64; 5] = [0, 660, 1_320, 1_980, 2_640];

#[test]
fn samples_are_empty_after_expiry_and_their_nodes_still_visited() {
    let small = Scenario { nodes: 200, torrents: 100, ..Scenario::calm(51) };
    let expiring = Scenario { interval_s: 600, expires_s: 900, ..small };
    let played = play_whole(&Scenario { broken_s: 10, healed_s: 2_690, ..expiring });
    let tape = &played.tape;
    let world = played.universe.world(Family::V4).expect("IPv4 alone");
    let facts = played.universe.truth().facts();
    assert!(facts.iter().all(|fact| fact.exposed));
    assert!(facts.iter().all(|fact| tape.verified.contains_key(&world.key(fact.number))));
    assert!(tape.found_all() < second(2), "all before it expires");

    let (full, empty): (Vec<_>, Vec<_>) =
        tape.samples.iter().partition(|(at, _, _)| *at < second(1_200));
    assert!(full.iter().any(|(at, _, count)| *at > second(600) && *count > 0));
    assert!(empty.iter().all(|(_, _, count)| *count == 0));
    assert_eq!((full.len(), empty.len()), (2 * 200, 3 * 200));

    let lookups = tape.queries.iter().filter(|query| matches!(query.asks, Asks::GetPeers(_)));
    assert!(lookups.map(|query| query.at).max() < Some(second(2)));
    for node in 0..world.node_count() {
        let to = world.contact(node).addr;
        let asked: Vec<_> = tape.asking(Asks::Sample).filter(|query| query.to == to).collect();
        let minutes: Vec<_> =
            asked.iter().map(|query| query.at.as_millis() / 60_000 * 60).collect();
        assert_eq!(minutes, VISITS, "{to}");
        assert!(asked[1..].iter().zip(&VISITS[1..]).all(|(query, at)| query.at == second(*at)));
    }
}
