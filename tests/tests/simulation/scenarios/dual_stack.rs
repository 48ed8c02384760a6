//! libtorrent's `dht_dual_stack_get_peers` (its simulation/test_dht.cpp): 100 nodes of each family,
//! the same torrents in both DHTs, each with peers of both families; found over both. Here every
//! second peer is dead, so that a torrent may have its only living peer in one family: whichever of
//! the DHTs named it first, it is found, and only what nobody serves stays without metadata.

use std::collections::BTreeSet;

use estudely_core::{Family, InfoHash};
use estudely_sim::scenario::{Families, Scenario};

use crate::tape::{Asks, Tape, play};

/// The infohashes that nodes of one family were asked about.
fn asked(tape: &Tape, family: Family) -> BTreeSet<InfoHash> {
    let ours = tape.queries.iter().filter(|query| Family::of(query.to) == family);
    ours.filter_map(|query| match query.asks {
        Asks::GetPeers(hash) => Some(hash),
        _ => None,
    })
    .collect()
}

#[test]
fn what_only_one_family_serves_is_found_over_both() {
    let both =
        Scenario { families: Families::Both, nodes: 100, torrents: 200, ..Scenario::calm(47) };
    let played = play(&Scenario { peers_max: 2, dead_peers: 50, ..both });
    let tape = &played.tape;
    let world = played.universe.world(Family::V4).expect("both families");
    let mut only = [0, 0];
    for fact in played.universe.truth().facts() {
        let key = world.key(fact.number);
        let serves = Family::ALL.map(|family| {
            fact.peers.iter().any(|(peer, serves)| Family::of(*peer) == family && *serves)
        });
        for family in Family::ALL {
            only[family.index()] +=
                u32::from(serves == [family == Family::V4, family == Family::V6]);
        }
        assert!(fact.exposed);
        assert_eq!(tape.verified.contains_key(&key), serves.contains(&true));
        let asked = Family::ALL.map(|family| asked(tape, family).contains(&key));
        assert!(asked.contains(&true));
        assert!(serves.contains(&true) || asked == [true; 2], "given up only after both");
    }
    assert!(only.iter().all(|only| *only > 40), "{only:?} torrents are served in one family alone");
    assert_eq!(tape.stats.contacts_answered, 200, "every node of both DHTs");
    assert_eq!(tape.stats.table_nodes, 200, "both tables hold all hundred");
}
