//! With every datagram that nodes send comes a forged one: half of them in the name of somebody
//! just asked, shaped like an answer, with invented nodes, peers and samples. Nobody off the path
//! knows a transaction id, so each is counted as unmatched and changes nothing whatever: queries
//! leave at the same microsecond, and rows are the same, byte for byte and times included, as in a
//! run without a single forgery.

use std::collections::BTreeSet;

use estudely_sim::scenario::Scenario;

use crate::support::play;

/// All links are faulty until long after the last torrent is settled.
fn spoof(quiet: Scenario) {
    let without = play(&quiet).notes;
    let with = play(&Scenario { forged: 1_000, ..quiet }).notes;
    assert_eq!(with.rows, without.rows);
    assert_eq!(with.queries, without.queries);
    assert_eq!(with.received, without.received);
    assert_eq!((without.rows.len(), without.stats.unmatched), (150, 0));
    let forged = with.forged.len();
    assert_eq!(forged, with.received.len(), "one for each");
    assert_eq!(with.stats.unmatched, forged as u64);
    let asked: BTreeSet<_> = with.queries.iter().map(|query| query.1).collect();
    let plausible = with.forged.iter().filter(|from| asked.contains(from)).count();
    assert!(plausible > forged / 3, "{plausible} of {forged} claim a source that was asked");
}

#[test]
fn forged_replies_change_no_byte_where_peers_are_dead() {
    let dead = Scenario { torrents: 150, dead_peers: 20, broken_s: 600, ..Scenario::calm(34) };
    spoof(Scenario { healed_s: 10, ..dead });
}

#[test]
fn forged_replies_change_no_byte_where_nodes_are_dead() {
    let dead = Scenario { torrents: 150, dead_nodes: 20, broken_s: 600, ..Scenario::calm(34) };
    spoof(Scenario { healed_s: 10, ..dead });
}
