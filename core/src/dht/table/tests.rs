//! The routing table scenarios of catalogue S3, and the table against a naive model.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::base::addr::AddressPolicy::{AllowPrivate, Public};
use crate::base::rng::{Rng, Seed};
use crate::base::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const OWN: NodeId = NodeId([0x31; 20]);

fn at(minutes: u32) -> Instant {
    Instant::START + MINUTE * minutes
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("address")
}

/// An id sharing exactly `bits` leading bits with ours, its tail made from `n`.
fn id_at(bits: u32, n: u32) -> NodeId {
    let mut tail = Id([0; 20]);
    tail.0[16..].copy_from_slice(&n.to_be_bytes());
    let mut id = OWN.id().with_suffix(bits, tail);
    if id.bit(bits) == OWN.id().bit(bits) {
        id.0[bits as usize / 8] ^= 0x80 >> (bits % 8);
    }
    NodeId(id.0)
}

/// A public address in a /24 of its own.
fn addr_of(n: u32) -> SocketAddr {
    SocketAddr::from(([80 + (n >> 16) as u8, (n >> 8) as u8, n as u8, 1], 6881))
}

fn node(bits: u32, n: u32) -> Contact {
    Contact { id: id_at(bits, n), addr: addr_of(n) }
}

fn public() -> Table {
    Table::new(OWN, Family::V4, Public)
}

fn seen(table: &mut Table, now: Instant, c: Contact) -> Insertion {
    let admission = table.on_reply(now, c);
    table.check();
    admission
}

fn held(table: &Table) -> BTreeSet<Contact> {
    table.contacts().collect()
}

/// A table whose five first buckets are full of nodes that answered at minute 0, the fifth with
/// eight numbered from 500.
fn full() -> Table {
    let mut table = public();
    for (bits, count) in [(0, 128), (1, 64), (2, 32), (3, 16), (4, 8), (5, 8)] {
        for n in 0..count {
            let _ = table.on_reply(at(0), node(bits, bits * 200 + n));
        }
    }
    table.check();
    assert_eq!((table.depth(), table.len()), (6, 256));
    table
}

/// Everything due at `now`.
fn probes(table: &mut Table, now: Instant) -> Vec<Probe> {
    let out: Vec<Probe> = std::iter::from_fn(|| table.poll_probe(now)).take(10_000).collect();
    assert!(table.poll_timeout().is_none_or(|due| due > now), "drained means nothing is due");
    out
}

fn pings(table: &mut Table, now: Instant) -> Vec<Contact> {
    let ping = |probe| match probe {
        Probe::Ping(contact) => Some(contact),
        Probe::Refresh(_) => None,
    };
    probes(table, now).into_iter().filter_map(ping).collect()
}

#[test]
fn only_nodes_that_answered_us_enter() {
    let mut table = public();
    table.on_query(at(0), node(0, 1));
    table.on_failure(at(0), node(0, 1));
    assert!(table.is_empty());
    assert_eq!(table.poll_timeout(), None);
    assert_eq!(seen(&mut table, at(0), node(0, 1)), Insertion::Inserted);
    assert_eq!(seen(&mut table, at(0), node(0, 1)), Insertion::Updated);
    assert_eq!(table.len(), 1);
}

#[test]
fn our_own_id_and_unusable_addresses_never_enter() {
    let mut table = public();
    let own = Contact { id: OWN, addr: addr_of(1) };
    assert_eq!(seen(&mut table, at(0), own), Insertion::Refused(Refusal::OwnId));
    for text in ["10.0.0.1:1", "127.0.0.1:1", "8.8.8.8:0", "[2a00::1]:1"] {
        let c = Contact { id: id_at(0, 1), addr: addr(text) };
        assert_eq!(seen(&mut table, at(0), c), Insertion::Refused(Refusal::Address), "{text}");
    }
    let _ = seen(&mut table, at(0), node(0, 2));
    table.exclude(at(0), addr_of(2));
    assert!(table.is_empty(), "our own endpoint leaves when it is learnt");
    assert_eq!(seen(&mut table, at(0), node(0, 2)), Insertion::Refused(Refusal::Address));
}

#[test]
fn the_same_endpoint_under_a_new_id_evicts_the_old_one() {
    let mut table = public();
    let _ = seen(&mut table, at(0), node(0, 1));
    let renamed = Contact { id: id_at(3, 9), addr: addr_of(1) };
    assert_eq!(seen(&mut table, at(0), renamed), Insertion::Inserted);
    assert_eq!(held(&table), BTreeSet::from([renamed]));
}

#[test]
fn the_same_id_at_a_new_endpoint_is_ignored_unless_the_old_one_is_bad() {
    let mut table = public();
    let (old, moved) = (node(0, 1), Contact { id: id_at(0, 1), addr: addr_of(2) });
    let _ = seen(&mut table, at(0), old);
    assert_eq!(seen(&mut table, at(0), moved), Insertion::Refused(Refusal::IdTaken));
    table.on_failure(at(0), moved);
    table.on_failure(at(0), moved);
    assert_eq!(held(&table), BTreeSet::from([old]), "failures elsewhere do not count");
    table.on_failure(at(0), old);
    table.on_failure(at(0), old);
    assert_eq!(seen(&mut table, at(0), moved), Insertion::Inserted);
    assert_eq!(held(&table), BTreeSet::from([moved]));
}

#[test]
fn one_ip_address_holds_one_entry_whatever_its_ports() {
    let mut table = public();
    let _ = seen(&mut table, at(0), node(0, 1));
    let mut other = Contact { id: id_at(7, 2), addr: addr_of(1) };
    other.addr.set_port(7000);
    assert_eq!(seen(&mut table, at(0), other), Insertion::Refused(Refusal::AddressTaken));
    let mut private = Table::new(OWN, Family::V4, AllowPrivate);
    assert_eq!(seen(&mut private, at(0), node(0, 1)), Insertion::Inserted);
    assert_eq!(seen(&mut private, at(0), other), Insertion::Inserted);
}

#[test]
fn neighbours_of_one_24_or_64_do_not_share_a_bucket() {
    let cases = [
        (Family::V4, "4.4.4.4:4", "4.4.4.5:4", "4.4.5.4:4"),
        (Family::V6, "[2a00:1:1:1::1]:4", "[2a00:1:1:1:e::e]:4", "[2a00:1:1:2::1]:4"),
    ];
    for (family, first, near, far) in cases {
        let mut table = Table::new(OWN, family, Public);
        let mut offer = |bits, n, text| {
            seen(&mut table, at(0), Contact { id: id_at(bits, n), addr: addr(text) })
        };
        assert_eq!(offer(0, 1, first), Insertion::Inserted);
        assert_eq!(offer(0, 2, near), Insertion::Refused(Refusal::PrefixTaken));
        assert_eq!(offer(0, 3, far), Insertion::Inserted);
    }
    let mut private = Table::new(OWN, Family::V4, AllowPrivate);
    for n in 0..100 {
        let c = Contact { id: id_at(0, n.into()), addr: SocketAddr::from(([127, 0, 0, n], 1)) };
        assert_eq!(seen(&mut private, at(0), c), Insertion::Inserted);
    }
}

#[test]
fn an_answer_resets_the_count_of_failures() {
    let mut table = public();
    for _ in 0..50 {
        let _ = seen(&mut table, at(0), node(0, 1));
        table.on_failure(at(0), node(0, 1));
        assert_eq!(table.contacts().count(), 1, "one failure in a row is not bad");
    }
}

#[test]
fn a_bad_node_is_not_handed_out_and_leaves_at_the_twentieth_failure() {
    let mut table = public();
    let _ = seen(&mut table, at(0), node(0, 1));
    for failures in 1..20 {
        table.on_failure(at(0), node(0, 1));
        table.check();
        let mut out = Table::NO_CONTACTS;
        let expected = usize::from(failures < 2);
        assert_eq!(table.closest(OWN.id(), &mut out), expected);
        assert_eq!((table.contacts().count(), table.len()), (expected, 1));
    }
    table.on_failure(at(0), node(0, 1));
    assert!(table.is_empty());
}

#[test]
fn i5_10_the_first_buckets_hold_128_64_32_16_and_then_eight_and_not_one_more() {
    let mut table = full(); // exactly so many
    for bits in 0..=4 {
        assert_eq!(seen(&mut table, at(1), node(bits, 5_000 + bits)), Insertion::Cached, "{bits}");
    }
}

#[test]
fn a_bucket_full_of_good_nodes_keeps_the_newcomer_out() {
    let mut table = full();
    let before = held(&table);
    assert_eq!(seen(&mut table, at(14), node(4, 900)), Insertion::Cached);
    assert_eq!(held(&table), before);
    assert_eq!(pings(&mut table, at(14)), [], "good nodes are left in peace");
}

#[test]
fn a_questionable_node_is_pinged_twice_before_the_newcomer_takes_its_place() {
    let mut table = full();
    let (oldest, newcomer) = (node(4, 800), node(4, 900));
    for n in 801..808 {
        assert_eq!(seen(&mut table, at(1), node(4, n)), Insertion::Updated);
    }
    assert_eq!(seen(&mut table, at(10), newcomer), Insertion::Cached);
    let almost = at(14) + Duration::from_secs(59);
    assert_eq!(pings(&mut table, almost), [], "good for fifteen minutes");
    assert_eq!(pings(&mut table, at(15)), [oldest], "the least recently seen one");
    assert_eq!(pings(&mut table, at(15)), [], "once");
    table.on_failure(at(15), oldest);
    assert_eq!(pings(&mut table, at(15)), [oldest], "and once more");
    assert!(held(&table).contains(&oldest));
    table.on_failure(at(15), oldest);
    table.check();
    assert!(!held(&table).contains(&oldest));
    assert!(held(&table).contains(&newcomer));
    assert_eq!(pings(&mut table, at(16)), [], "nobody waits any more");
}

#[test]
fn a_pinged_node_that_answers_stays_and_the_next_one_is_asked() {
    let mut table = full();
    assert_eq!(seen(&mut table, at(1), node(4, 900)), Insertion::Cached);
    let mut asked = BTreeSet::new();
    while let [contact] = pings(&mut table, at(20))[..] {
        assert!(asked.insert(contact), "each once");
        assert_eq!(seen(&mut table, at(20), contact), Insertion::Updated);
    }
    assert_eq!(asked.len(), K);
    assert!(!held(&table).contains(&node(4, 900)));
}

#[test]
fn a_ping_whose_fate_is_never_reported_is_asked_for_again() {
    let mut table = full();
    let _ = seen(&mut table, at(1), node(4, 900));
    assert_eq!(pings(&mut table, at(15)).len(), 1);
    let due = at(15) + Duration::from_secs(30);
    assert_eq!(table.poll_timeout(), Some(due));
    assert_eq!(pings(&mut table, due).len(), 1);
}

#[test]
fn a_query_keeps_a_node_good_but_only_from_its_own_address() {
    let mut table = full();
    let _ = seen(&mut table, at(1), node(4, 900));
    for n in 800..808 {
        table.on_query(at(14), node(4, n));
    }
    assert_eq!(pings(&mut table, at(20)), []);
    let mut table = full();
    let _ = seen(&mut table, at(1), node(4, 900));
    for n in 800..808 {
        table.on_query(at(14), Contact { addr: addr_of(7_000 + n), ..node(4, n) });
    }
    assert_eq!(pings(&mut table, at(20)).len(), 1);
}

#[test]
fn the_replacement_that_answered_last_moves_up_and_only_eight_wait() {
    let mut table = full();
    for n in 0..=8 {
        assert_eq!(seen(&mut table, at(1 + n), node(4, 900 + n)), Insertion::Cached);
    }
    table.on_failure(at(10), node(4, 907)); // one that waits and fails is forgotten at once
    table.check();
    let order = [908, 906, 905, 904, 903, 902, 901];
    for (old, new) in (800..807).zip(order) {
        table.on_failure(at(10), node(4, old));
        table.on_failure(at(10), node(4, old));
        table.check();
        assert!(held(&table).contains(&node(4, new)), "{new} replaces {old}");
    }
    table.on_failure(at(10), node(4, 807));
    table.on_failure(at(10), node(4, 807));
    assert!(!held(&table).contains(&node(4, 900)), "the ninth pushed the oldest out");
}

#[test]
fn a_bucket_unchanged_for_15_minutes_is_refreshed_within_its_range() {
    let mut table = full();
    for bits in [1, 3] {
        let _ = seen(&mut table, at(7), node(bits, bits * 200));
    }
    assert_eq!(table.poll_timeout(), Some(at(15)));
    assert_eq!(probes(&mut table, at(14)), []);
    let depths = |probes: Vec<Probe>| -> Vec<usize> {
        let depth = |probe: &Probe| match probe {
            Probe::Refresh(target) => table_depth(*target),
            Probe::Ping(contact) => panic!("nobody waits, yet {contact:?} is pinged"),
        };
        probes.iter().map(depth).collect()
    };
    assert_eq!(depths(probes(&mut table, at(15))), [0, 2, 4, 5]);
    assert_eq!(depths(probes(&mut table, at(22))), [1, 3]);
    assert_eq!(depths(probes(&mut table, at(30))), [0, 2, 4, 5], "and again after as long");
}

fn table_depth(target: Id) -> usize {
    (OWN.id().common_prefix(target) as usize).min(5)
}

#[test]
fn evenly_spread_nodes_fill_six_buckets() {
    let mut table = public();
    for n in (0..=255u32).rev() {
        let mut id = id_at(159, 0);
        id.0[0] ^= n as u8;
        id.0[19] = n as u8;
        assert_eq!(seen(&mut table, at(0), Contact { id, addr: addr_of(n) }), Insertion::Inserted);
    }
    assert_eq!((table.depth(), table.len()), (6, 256));
}

#[test]
fn nodes_that_no_split_can_part_do_not_deepen_the_table() {
    let mut table = public();
    for n in 0..500 {
        let _ = seen(&mut table, at(0), node(34, n));
    }
    assert_eq!((table.depth(), table.len()), (1, 128));
}

#[test]
fn ids_crowding_around_ours_meet_the_cap_on_depth() {
    let mut table = public();
    for bits in 0..120 {
        for n in 0..9 {
            let _ = table.on_reply(at(0), node(bits, bits * 9 + n));
        }
    }
    table.check();
    assert_eq!(table.depth(), 50);
}

#[test]
fn a_new_own_id_rebuckets_and_keeps_a_subset() {
    let mut table = full();
    let before = held(&table);
    table.on_failure(at(1), node(0, 5));
    table.rebase(at(1), id_at(0, 77_777));
    table.check();
    let after = held(&table);
    assert!(after.is_subset(&before));
    assert!(after.len() >= 128, "{} nodes kept", after.len());
    let taken = node(1, 200).id;
    table.rebase(at(1), taken);
    table.check();
    assert!(table.contacts().all(|c| c.id != taken));
}

#[test]
fn closest_is_exact_after_ten_thousand_nodes() {
    for seed in 0..5 {
        let mut rng = Rng::new(Seed::from_u64(seed));
        let mut table = Table::new(NodeId(rng.bytes()), Family::V4, Public);
        let mut offered = Vec::new();
        for n in 0..10_000 {
            offered.push(Contact { id: NodeId(rng.bytes()), addr: addr_of(n) });
            let _ = table.on_reply(at(0), offered[n as usize]);
        }
        table.check();
        let all: Vec<Contact> = table.contacts().collect();
        assert!(all.len() > 256, "{} nodes held", all.len());
        assert_eq!(held(&table), members(table.own(), &offered));
        // Asking us, or failing to answer, gets nobody in and nobody out.
        for n in 10_000..20_000 {
            let stranger = Contact { id: NodeId(rng.bytes()), addr: addr_of(n) };
            table.on_query(at(1), stranger);
            table.on_failure(at(1), stranger);
        }
        assert_eq!(held(&table), members(table.own(), &offered));
        for round in 0..2_000 {
            let random = Id(rng.bytes());
            let target = table.own().id().with_suffix(round % 20, random);
            assert_eq!(closest(&table, target), naive(&all, target));
        }
    }
}

/// Whom a table holds after all of `offered` answered at one instant: of those that share as many
/// leading bits with us, the first that the bucket has room for.
fn members(own: NodeId, offered: &[Contact]) -> BTreeSet<Contact> {
    let mut taken = [0; 160];
    let mut room = |c: &&Contact| {
        let bits = own.id().common_prefix(c.id.id()) as usize;
        taken[bits] += 1;
        taken[bits] <= LOW_BUCKETS.get(bits).copied().unwrap_or(K)
    };
    offered.iter().filter(|c| room(c)).copied().collect()
}

fn closest(table: &Table, target: Id) -> Vec<Contact> {
    let mut out = Table::NO_CONTACTS;
    let len = table.closest(target, &mut out);
    out[..len].to_vec()
}

fn naive(all: &[Contact], target: Id) -> Vec<Contact> {
    let mut all = all.to_vec();
    all.sort_by_key(|c| c.id.id().distance(target));
    all.truncate(K);
    all
}

#[derive(Clone, Debug)]
enum Op {
    Reply(Contact),
    Query(Contact),
    Failure(Contact),
    Wait(u16),
    Probe,
    Rebase(u8),
}

/// Few ids and few addresses, so that they collide in every way.
fn contact() -> impl Strategy<Value = Contact> {
    (0u32..12, 0u32..24, 0u8..6, 0u8..24, 0u16..2).prop_map(|(bits, n, net, host, port)| Contact {
        id: id_at(bits, n),
        addr: SocketAddr::from(([80, 1, net * 40 + host, host / 12], 6881 + port)),
    })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => contact().prop_map(Op::Reply),
        2 => contact().prop_map(Op::Query),
        4 => contact().prop_map(Op::Failure),
        1 => (0u16..1_200).prop_map(Op::Wait),
        1 => Just(Op::Probe),
        1 => (0u8..3).prop_map(Op::Rebase),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Ids crowd around ours at any depth, in any order.
    #[test]
    fn whoever_answered_first_at_its_distance_is_held_and_those_nearest_us_always(
        depths in proptest::collection::vec(0u32..24, 1..2_000),
    ) {
        let mut table = public();
        let offered: Vec<Contact> = (0..).zip(&depths).map(|(n, bits)| node(*bits, n)).collect();
        for c in &offered {
            let _ = table.on_reply(at(0), *c);
        }
        table.check();
        let members = members(OWN, &offered);
        let held = held(&table);
        prop_assert!(members.is_subset(&held), "the first at each distance");
        // More than that only where the bucket around us was never parted.
        let deepest = table.depth() - 1;
        let beyond = |c: &&Contact| (OWN.id().common_prefix(c.id.id()) as usize) < deepest;
        prop_assert_eq!(held.difference(&members).find(beyond), None);
        for target in offered.iter().take(100).map(|c| c.id.id()) {
            let all: Vec<Contact> = held.iter().copied().collect();
            prop_assert_eq!(closest(&table, target), naive(&all, target));
        }
    }

    #[test]
    fn any_sequence_keeps_the_invariants_and_exact_answers(
        private in any::<bool>(),
        ops in proptest::collection::vec(op(), 1..600),
    ) {
        let policy = if private { AllowPrivate } else { Public };
        let mut table = Table::new(OWN, Family::V4, policy);
        let mut now = Instant::START;
        let mut answered = BTreeSet::new();
        for op in ops {
            match op {
                Op::Reply(c) => {
                    answered.insert(c);
                    let admission = table.on_reply(now, c);
                    let inside = table.contacts().any(|held| held == c);
                    prop_assert!(!inside || !matches!(admission, Insertion::Refused(_)));
                    prop_assert!(inside || admission != Insertion::Inserted);
                }
                Op::Query(c) => table.on_query(now, c),
                Op::Failure(c) => table.on_failure(now, c),
                Op::Wait(seconds) => now = now + Duration::from_secs(seconds.into()),
                Op::Probe => {
                    for probe in probes(&mut table, now) {
                        if let Probe::Ping(c) = probe {
                            prop_assert!(table.contacts().any(|held| held == c));
                        }
                    }
                }
                Op::Rebase(n) => table.rebase(now, id_at(u32::from(n), 1_000)),
            }
            table.check();
            for c in table.contacts() {
                prop_assert!(answered.contains(&c), "{c:?} never answered");
            }
        }
        let all: Vec<Contact> = table.contacts().collect();
        for n in 0..24 {
            let target = id_at(n % 12, n).id();
            prop_assert_eq!(closest(&table, target), naive(&all, target));
        }
    }
}
