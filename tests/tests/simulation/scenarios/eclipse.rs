//! Colluding nodes surround the key of one torrent: well-mannered, at addresses of their own, with
//! ids nearer to the key than any honest node's. Each shows the key as its sample and knows no
//! peer, and each sends whoever asks only to others of them. The honest nodes that store the peers
//! are the eight nearest outside the ring.
//!
//! The torrent is found exactly if one of these holders is asked for it:
//! - at once and with a single query, when a holder's sample was the first to name the key: the
//!   node that a sample came from is asked first;
//! - else by the lookup that follows a colluder's sample, if it meets a holder before the eight
//!   nearest have answered, or has one still to answer then;
//! - else an hour later, when the second lookup begins elsewhere and does.
//!
//! If none of it happens, a ring of eight or more hides the torrent, and that alone: all else is
//! found, and the ring gains no more than `K` + `ALPHA` queries from each lookup, and one more as
//! the source of the sample.

use estudely_core::internal::table::K;
use estudely_core::limits::{ALPHA, SECOND_CHANCE_AFTER};
use estudely_sim::scenario::Scenario;

use crate::support::{Ask, second, try_play};

/// Torrents of the world, the surrounded one included.
const TORRENTS: u32 = 20;

/// Whom the crawler asked for the surrounded torrent, in order, lookups an hour apart separated by
/// a bar: holders (H), colluders (R for ring) and others (o); and what became of the torrent: the
/// verdict of each of its rows.
fn surround(seed: u64, eclipse: u32) -> (String, Vec<bool>) {
    let scenario = Scenario {
        torrents: TORRENTS,
        eclipse,
        broken_s: 60,
        healed_s: 7_200,
        ..Scenario::calm(seed)
    };
    let (played, broken) = try_play(&scenario);
    let (world, notes) = (played.world(), &played.notes);
    let key = world.key(0);
    let ring: Vec<_> = world.colluders().map(|node| played.node(node)).collect();
    let holders: Vec<_> =
        world.holders(second(0), 0).iter().map(|node| played.node(node)).collect();
    assert_eq!((ring.len(), holders.len()), (eclipse as usize, K));
    let (mut asked, mut last) = (String::new(), second(0));
    for &(at, to, _) in notes.queries.iter().filter(|query| query.2 == Ask::GetPeers(key)) {
        if at > last + SECOND_CHANCE_AFTER[0] {
            asked.push('|');
        }
        last = at;
        asked.push(if ring.contains(&to) {
            'R'
        } else if holders.contains(&to) {
            'H'
        } else {
            'o'
        });
    }
    let rows: Vec<_> = notes.rows.iter().filter(|row| row.hash == key).collect();
    let found = rows.iter().any(|row| row.verified);
    assert_eq!(found, asked.contains('H'), "found exactly if a holder is asked: {asked}");
    assert_eq!(notes.verified(), TORRENTS as usize - usize::from(!found), "all others are found");
    assert_eq!(broken.map(|broken| broken.rule.mark), (!found).then_some("c"));
    (asked, rows.iter().map(|row| row.verified).collect())
}

#[test]
fn a_holder_that_is_heard_first_needs_one_query() {
    assert_eq!(surround(33, 8), ("H".to_owned(), vec![true]));
}

#[test]
fn a_lookup_that_meets_a_holder_on_its_way_finds_the_torrent() {
    let (asked, rows) = surround(33, 16);
    assert!(asked.starts_with('R'), "a colluder is heard first: {asked}");
    assert_eq!(rows, [true]);
}

/// A lookup once ended with the eighth colluder's answer, while a holder's, with the peers, was on
/// its way.
#[test]
fn a_holder_that_is_farther_than_the_ring_is_heard_out() {
    let far = (30..50).filter(|seed| {
        let (asked, rows) = surround(*seed, 12);
        let before = asked.chars().take_while(|of| *of != 'H').filter(|of| *of == 'R').count();
        before >= K && rows == [true]
    });
    assert!(far.count() > 0, "no lookup met a holder behind eight colluders");
}

#[test]
fn a_second_lookup_begins_elsewhere_and_may_find_what_the_first_did_not() {
    let second = (30..50).filter(|seed| {
        let (asked, rows) = surround(*seed, 64);
        let lookups: Vec<bool> = asked.split('|').map(|lookup| lookup.contains('H')).collect();
        (lookups, rows) == (vec![false, true], vec![false, true])
    });
    let second: Vec<u64> = second.collect();
    assert!(second.len() > 1, "the second lookup found it for the seeds {second:?} alone");
}

#[test]
fn a_ring_that_every_lookup_stays_in_hides_one_torrent_and_costs_little() {
    let (asked, rows) = surround(34, 48);
    assert_eq!(rows, [false]);
    for lookup in asked.split('|') {
        assert!(lookup.len() <= 1 + K + ALPHA, "{lookup}");
    }
}
