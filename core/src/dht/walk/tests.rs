//! Walks against simulated networks, honest and hostile, and the traversal scenarios of
//! catalogue S3.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::base::addr::AddressPolicy::{AllowPrivate, Public};
use crate::base::rng::{Rng, Seed};

const OWN: NodeId = NodeId([0xee; 20]);
const TARGET: Id = Id::ZERO;

/// A public address of its own IP.
fn addr_of(n: u32) -> SocketAddr {
    SocketAddr::from(([80 + (n >> 16) as u8, (n >> 8) as u8, n as u8, 1], 6881))
}

/// A node at distance `n` from [`TARGET`], at the address numbered so.
fn node(n: u32) -> Contact {
    let mut id = [0; ID_LEN];
    id[16..].copy_from_slice(&n.to_be_bytes());
    Contact { id: NodeId(id), addr: addr_of(n) }
}

fn walk() -> Walk {
    Walk::new(TARGET, OWN, Public, Family::V4)
}

fn seeded(seeds: impl IntoIterator<Item = u32>) -> Walk {
    let mut walk = walk();
    for n in seeds {
        walk.add(node(n));
    }
    walk.check();
    walk
}

fn asked(walk: &mut Walk) -> Vec<SocketAddr> {
    let out = std::iter::from_fn(|| walk.poll_query()).map(|c| c.addr).collect();
    walk.check();
    out
}

fn answer(walk: &mut Walk, n: u32, found: impl IntoIterator<Item = u32>) {
    walk.on_reply(addr_of(n), node(n).id, found.into_iter().map(node));
    walk.check();
}

fn addrs(ns: impl IntoIterator<Item = u32>) -> Vec<SocketAddr> {
    ns.into_iter().map(addr_of).collect()
}

fn found(walk: &Walk) -> Vec<SocketAddr> {
    walk.closest().map(|c| c.addr).collect()
}

#[test]
fn alpha_nearest_are_asked_and_a_stall_frees_a_slot() {
    let mut walk = seeded([50, 10, 40, 20, 30, 60]);
    assert_eq!(asked(&mut walk), addrs([10, 20, 30, 40]));
    walk.on_stall(addr_of(20));
    walk.on_stall(addr_of(20));
    assert_eq!(asked(&mut walk), addrs([50]));
    answer(&mut walk, 20, [5]); // late, but not too late
    assert_eq!(asked(&mut walk), [], "its slot was given away");
    walk.on_failure(addr_of(10));
    assert_eq!(asked(&mut walk), addrs([5]));
}

#[test]
fn a_walk_ends_when_the_eight_nearest_answered_and_none_nearer_is_outstanding() {
    let mut walk = seeded(1..=20);
    for n in [2, 3, 4, 5, 6, 7, 8, 9] {
        assert!(!walk.is_done());
        asked(&mut walk);
        if n == 2 {
            walk.on_stall(addr_of(1));
            asked(&mut walk);
        }
        answer(&mut walk, n, []);
    }
    assert!(!walk.is_done(), "the nearest one may still answer");
    assert_eq!(asked(&mut walk), []);
    walk.on_failure(addr_of(1));
    assert!(walk.is_done());
    assert_eq!(found(&walk)[..8], addrs(2..=9));
    answer(&mut walk, 10, [1_000]); // a late reply does not revive the walk
    assert!(walk.is_done());
}

#[test]
fn a_walk_with_nobody_to_ask_is_done() {
    let mut walk = walk();
    assert!(walk.is_done());
    walk.add(node(1));
    assert!(!walk.is_done());
    asked(&mut walk);
    walk.on_failure(addr_of(1));
    assert!(walk.is_done());
    assert_eq!(found(&walk), []);
    walk.reset(Id::MAX);
    walk.add(node(1));
    assert_eq!(asked(&mut walk), addrs([1]), "a new walk remembers nothing");
}

#[test]
fn bootstrap_addresses_are_asked_first_and_take_the_id_they_answer_with() {
    let mut walk = seeded([1, 2]);
    walk.add_address(addr_of(500));
    walk.add_address(addr_of(500));
    walk.add_address(addr_of(501));
    assert_eq!(walk.poll_query(), Some(WalkContact { addr: addr_of(500), id: None }));
    assert_eq!(walk.poll_query(), Some(WalkContact { addr: addr_of(501), id: None }));
    assert_eq!(asked(&mut walk), addrs([1, 2]));
    answer(&mut walk, 500, [3]);
    answer(&mut walk, 1, [500]);
    assert_eq!(found(&walk), addrs([1, 500]));
    walk.on_failure(addr_of(501));
    walk.check();
    assert_eq!(asked(&mut walk), addrs([3]), "nor is the bootstrap node asked again");
}

#[test]
fn a_silent_bootstrap_address_does_not_hold_up_eight_answers() {
    let mut walk = seeded(1..=8);
    walk.add_address(addr_of(500));
    asked(&mut walk);
    walk.on_stall(addr_of(500));
    for n in 1..=8 {
        asked(&mut walk);
        answer(&mut walk, n, []);
    }
    assert!(walk.is_done());
}

#[test]
fn only_eight_usable_contacts_of_a_reply_are_taken() {
    let mut walk = seeded([100]);
    asked(&mut walk);
    let martian =
        |n: u8| Contact { id: NodeId([n; 20]), addr: SocketAddr::from(([10, 0, 0, n], 1)) };
    let mut named: Vec<Contact> = (1..=50).map(martian).collect();
    named.push(Contact { id: node(1).id, addr: "[2a00::1]:1".parse().expect("address") });
    named.push(Contact { id: OWN, addr: addr_of(7) });
    named.extend((20..60).map(node));
    walk.on_reply(addr_of(100), node(100).id, named.into_iter());
    walk.check();
    let mut all = Vec::new();
    while let Some(contact) = walk.poll_query() {
        walk.on_stall(contact.addr);
        all.push(contact.addr);
    }
    assert_eq!(all, addrs(20..27), "our own id was one of the eight");
}

#[test]
fn no_address_and_no_id_is_asked_twice() {
    let mut walk = seeded([10]);
    walk.exclude(addr_of(77));
    asked(&mut walk);
    let other_port = Contact { id: NodeId([3; 20]), addr: "80.0.10.1:9".parse().expect("address") };
    let other_addr = Contact { id: node(10).id, addr: addr_of(11) };
    let named = [node(10), other_port, other_addr, node(77)];
    walk.on_reply(addr_of(10), node(10).id, named.into_iter());
    walk.check();
    assert_eq!(asked(&mut walk), []);
    assert!(walk.is_done());
}

#[test]
fn ports_tell_contacts_apart_in_a_private_network() {
    let mut walk = Walk::new(TARGET, OWN, AllowPrivate, Family::V4);
    for n in 1..=3u16 {
        let addr = SocketAddr::from(([127, 0, 0, 1], n));
        walk.add(Contact { id: node(n.into()).id, addr });
    }
    assert_eq!(asked(&mut walk).len(), 3);
}

#[test]
fn a_node_that_answers_under_another_id_counts_under_that_one() {
    let mut walk = seeded([1, 50]);
    asked(&mut walk);
    walk.on_reply(addr_of(1), node(70).id, std::iter::empty());
    walk.check();
    answer(&mut walk, 50, []);
    let ids: Vec<NodeId> = walk.closest().map(|c| c.id).collect();
    assert_eq!(ids, [node(50).id, node(70).id]);
}

#[test]
fn a_node_that_answers_as_us_or_as_another_counts_as_failed() {
    let mut walk = seeded([1, 2, 3]);
    asked(&mut walk);
    walk.on_reply(addr_of(1), OWN, [node(4)].into_iter());
    walk.check();
    walk.on_reply(addr_of(2), node(3).id, [node(5)].into_iter());
    walk.check();
    answer(&mut walk, 3, []);
    assert_eq!(found(&walk), addrs([3]));
    assert_eq!(asked(&mut walk), addrs([5]), "a reflector's contacts are our own answer");
}

#[test]
fn a_referrer_of_three_dead_contacts_is_followed_last() {
    let mut walk = seeded([100, 200, 300]);
    asked(&mut walk);
    answer(&mut walk, 100, 1..=8);
    for n in 1..=3 {
        asked(&mut walk);
        walk.on_failure(addr_of(n));
    }
    // 4 is being asked already; of the rest only what someone else names too is worth a query.
    answer(&mut walk, 200, [7]);
    walk.on_stall(addr_of(4));
    assert_eq!(asked(&mut walk)[0], addr_of(7));
    let mut rest = seeded([100]);
    asked(&mut rest);
    answer(&mut rest, 100, 1..=8);
    let mut queries = 0;
    while let Some(contact) = rest.poll_query() {
        queries += 1;
        rest.on_failure(contact.addr);
    }
    assert_eq!(queries, 8, "when nothing else is left they are asked after all");
    assert!(rest.is_done());
}

#[test]
fn h17_two_dead_contacts_are_forgiven_and_three_are_not() {
    for (dead, next) in [(2, 3), (3, 50)] {
        let mut walk = seeded([100]);
        asked(&mut walk);
        answer(&mut walk, 100, 1..=8);
        walk.add(node(50)); // known from somewhere else, and farther
        for n in 1..=dead {
            assert_eq!(walk.poll_query().map(|c| c.addr), Some(addr_of(n)));
            walk.on_failure(addr_of(n));
        }
        assert_eq!(walk.poll_query().map(|c| c.addr), Some(addr_of(next)), "{dead} dead");
    }
}

#[test]
fn h14_four_of_the_eight_may_come_from_one_referrer_and_not_five() {
    for (sole, done) in [(4, true), (5, false)] {
        let mut walk = seeded((1_001..=1_007 - sole).chain([2_000, 3_000]));
        while let Some(contact) = walk.poll_query() {
            if contact.addr != addr_of(2_000) && contact.addr != addr_of(3_000) {
                walk.on_reply(contact.addr, contact.id.expect("seeded"), std::iter::empty());
            }
        }
        // The nearest of all, each known from node 2000 alone. The others, itself included, make
        // eight with four of them and seven with five, of which the fifth does not count.
        answer(&mut walk, 2_000, 1..=sole);
        for n in 1..=sole {
            asked(&mut walk);
            answer(&mut walk, n, []);
        }
        assert_eq!(walk.is_done(), done, "{sole} from one referrer");
    }
}

#[test]
fn a_lie_about_where_a_node_lives_does_not_hide_it() {
    let mut walk = seeded([100, 200]);
    asked(&mut walk);
    let lie = |n| Contact { id: node(n).id, addr: addr_of(n + 5_000) };
    walk.on_reply(addr_of(100), node(100).id, (1..=8).map(lie));
    for n in 1..=4 {
        asked(&mut walk);
        walk.on_failure(addr_of(n + 5_000));
    }
    assert_eq!(asked(&mut walk), [], "the liar is no longer followed");
    answer(&mut walk, 200, 1..=8);
    assert_eq!(asked(&mut walk), addrs([6, 7, 8]), "those not asked yet, where they really live");
}

#[test]
fn one_referrer_alone_cannot_end_a_walk() {
    let mut walk = seeded([100, 200, 300]);
    asked(&mut walk);
    answer(&mut walk, 100, 1..=8); // eight sybils that answer and name nobody
    for n in 1..=8 {
        asked(&mut walk);
        answer(&mut walk, n, []);
    }
    assert!(!walk.is_done(), "the honest ones are still waited for");
    answer(&mut walk, 200, [50, 51]);
    answer(&mut walk, 300, []);
    assert!(!walk.is_done());
    assert_eq!(asked(&mut walk), addrs([50, 51]));
    answer(&mut walk, 50, []);
    assert!(!walk.is_done(), "a nearer one than the eighth is outstanding");
}

/// A network whose nodes know what k-buckets hold: per shared prefix up to eight random others.
struct Network {
    nodes: Vec<Contact>,
    known: Vec<Vec<Contact>>,
    dead: BTreeSet<SocketAddr>,
    by_addr: BTreeMap<SocketAddr, usize>,
}

impl Network {
    fn new(rng: &mut Rng, size: u32, dead_percent: u64) -> Self {
        let nodes: Vec<Contact> =
            (0..size).map(|n| Contact { id: NodeId(rng.bytes()), addr: addr_of(n) }).collect();
        Self::of(rng, nodes, dead_percent)
    }

    /// Living nodes, every second of which shares `bits` leading bits with the first.
    fn crowded(rng: &mut Rng, size: u32, bits: u32) -> Self {
        let centre = Id(rng.bytes());
        let id = |n: u32, random: Id| {
            if n.is_multiple_of(2) { centre.with_suffix(bits, random) } else { random }
        };
        let nodes = (0..size)
            .map(|n| Contact { id: NodeId(id(n, Id(rng.bytes())).0), addr: addr_of(n) })
            .collect();
        Self::of(rng, nodes, 0)
    }

    fn of(rng: &mut Rng, nodes: Vec<Contact>, dead_percent: u64) -> Self {
        let known = nodes.iter().map(|node| Self::k_buckets(rng, &nodes, node)).collect();
        let chance = |_: &&Contact| rng.below(100) < dead_percent;
        let dead = nodes.iter().filter(chance).map(|node| node.addr).collect();
        let by_addr = nodes.iter().enumerate().map(|(n, node)| (node.addr, n)).collect();
        Self { nodes, known, dead, by_addr }
    }

    fn k_buckets(rng: &mut Rng, nodes: &[Contact], own: &Contact) -> Vec<Contact> {
        let mut fill = [0usize; 160];
        let start = rng.below(nodes.len() as u64) as usize;
        let round = nodes[start..].iter().chain(&nodes[..start]).filter(|other| *other != own);
        let mut room = |other: &Contact| {
            let bucket = &mut fill[own.id.id().common_prefix(other.id.id()) as usize];
            *bucket += 1;
            *bucket <= K
        };
        round.filter(|other| room(other)).copied().collect()
    }

    fn reply(&self, addr: SocketAddr, target: Id) -> Option<(NodeId, Vec<Contact>)> {
        let index = *self.by_addr.get(&addr).filter(|_| !self.dead.contains(&addr))?;
        let mut known = self.known[index].clone();
        known.sort_unstable_by_key(|c| c.id.id().distance(target));
        known.truncate(K);
        Some((self.nodes[index].id, known))
    }

    fn closest_living(&self, target: Id) -> Vec<Contact> {
        let living = |node: &&Contact| !self.dead.contains(&node.addr);
        let mut all: Vec<Contact> = self.nodes.iter().filter(living).copied().collect();
        all.sort_unstable_by_key(|c| c.id.id().distance(target));
        all.truncate(K);
        all
    }
}

/// Runs a walk in a random order of replies, stalls and failures; returns the queries sent.
fn run(
    rng: &mut Rng,
    walk: &mut Walk,
    mut reply: impl FnMut(SocketAddr) -> Option<(NodeId, Vec<Contact>)>,
) -> usize {
    let mut open: Vec<(SocketAddr, bool)> = Vec::new();
    let mut queries = BTreeSet::new();
    while !walk.is_done() {
        while let Some(contact) = walk.poll_query() {
            assert!(queries.insert(contact.addr), "{contact:?} asked twice");
            open.push((contact.addr, false));
        }
        walk.check();
        assert!(!open.is_empty(), "not done, yet nothing is outstanding");
        let index = rng.below(open.len() as u64) as usize;
        let (addr, stalled) = open[index];
        match reply(addr) {
            _ if !stalled && rng.below(4) == 0 => {
                walk.on_stall(addr);
                open[index].1 = true;
                continue;
            }
            Some((id, found)) => walk.on_reply(addr, id, found.into_iter()),
            None => walk.on_failure(addr),
        }
        open.swap_remove(index);
    }
    walk.check();
    assert!(queries.len() <= WALK_CANDIDATES_MAX);
    queries.len()
}

/// What walks to random targets in random networks achieved.
#[derive(Default)]
struct Survey {
    walks: usize,
    /// Walks whose first eight are the true eight nearest.
    exact: usize,
    /// True nearest found, of eight a walk.
    nearest: usize,
    queries: usize,
}

fn survey(dead_percent: u64) -> Survey {
    let mut sum = Survey::default();
    for seed in 0..25 {
        let mut rng = Rng::new(Seed::from_u64(seed));
        let network = Network::new(&mut rng, 1_000, dead_percent);
        let mut walk = walk();
        for _ in 0..40 {
            let target = Id(rng.bytes());
            walk.reset(target);
            for _ in 0..3 {
                walk.add(network.nodes[rng.below(1_000) as usize]);
            }
            sum.queries += run(&mut rng, &mut walk, |addr| network.reply(addr, target));
            let answered: Vec<Contact> = walk.closest().take(K).collect();
            let truth = network.closest_living(target);
            sum.walks += 1;
            sum.exact += usize::from(answered == truth);
            sum.nearest += truth.iter().filter(|c| answered.contains(c)).count();
        }
    }
    sum
}

#[test]
fn walks_through_a_thousand_nodes_find_the_true_eight_nearest() {
    let sum = survey(0);
    assert!(sum.exact * 100 >= sum.walks * 99, "{} of {} exact", sum.exact, sum.walks);
    assert!(sum.queries <= 20 * sum.walks, "{} queries", sum.queries);
}

/// Tables that still name the dead third hide some of the living: without any rule against
/// referrers of the dead the same walks find the same share.
#[test]
fn walks_through_a_third_of_dead_nodes_still_find_nearly_all() {
    let sum = survey(33);
    assert!(sum.nearest * 100 >= sum.walks * K * 90, "{} of the nearest found", sum.nearest);
    assert!(sum.queries <= 30 * sum.walks, "{} queries", sum.queries);
}

#[test]
fn endless_living_fakes_end_with_bounded_queries() {
    for seed in 0..50 {
        let mut rng = Rng::new(Seed::from_u64(seed));
        let mut walk = seeded([1_000_000, 2_000_000]);
        let mut next = 900_000;
        let mut fakes = rng.fork("fakes");
        let queries = run(&mut rng, &mut walk, |addr| {
            let named = (0..20).map(|_| {
                next -= 1;
                node(next) // always nearer, always answering
            });
            let named = named.collect();
            let id = if fakes.below(2) == 0 { NodeId(fakes.bytes()) } else { node(next + 20).id };
            (addr != addr_of(0)).then_some((id, named))
        });
        assert!(queries <= WALK_CANDIDATES_MAX, "{queries} queries");
    }
}

#[test]
fn endless_dead_fakes_cost_little_beside_an_honest_network() {
    let mut rng = Rng::new(Seed::from_u64(1));
    let network = Network::new(&mut rng, 1_000, 0);
    let liar = Contact { id: NodeId([0x55; 20]), addr: SocketAddr::from(([90, 0, 0, 1], 1)) };
    for _ in 0..50 {
        let target = Id(rng.bytes());
        let mut walk = Walk::new(target, OWN, Public, Family::V4);
        walk.add(liar);
        walk.add(network.nodes[rng.below(1_000) as usize]);
        let mut fakes = rng.fork("fakes");
        let queries = run(&mut rng, &mut walk, |addr| {
            let fake = |_| Contact {
                id: NodeId(target.with_suffix(40, Id(fakes.bytes())).0),
                addr: SocketAddr::from(([91, fakes.bytes::<1>()[0], fakes.bytes::<1>()[0], 7], 1)),
            };
            if addr == liar.addr {
                return Some((liar.id, (0..8).map(fake).collect()));
            }
            network.reply(addr, target)
        });
        let answered: Vec<Contact> = walk.closest().take(K).collect();
        assert_eq!(answered, network.closest_living(target));
        assert!(queries <= 40, "{queries} queries");
    }
}

#[test]
fn nodes_that_name_only_themselves_us_or_martians_end_the_walk() {
    let mut rng = Rng::new(Seed::from_u64(1));
    let mut walk = seeded(1..=5);
    let named = |addr| {
        let martian = SocketAddr::from(([192, 168, 0, 1], 1));
        let own = Contact { id: OWN, addr: addr_of(99) };
        let itself = (1..=5).map(node).find(|c| c.addr == addr).expect("one of the five");
        let moved = Contact { id: itself.id, addr: addr_of(98) };
        Some((itself.id, vec![itself, own, Contact { id: node(6).id, addr: martian }, moved]))
    };
    assert_eq!(run(&mut rng, &mut walk, named), 5);
}

proptest! {
    /// Honest nodes that know what k-buckets hold, few or many, crowded or not, asked in any order.
    #[test]
    fn a_walk_through_any_honest_network_finds_its_true_eight_nearest(
        seed: u64, size in 1u32..300, starts in 1usize..4, crowd in 0u32..24,
    ) {
        let mut rng = Rng::new(Seed::from_u64(seed));
        let network = Network::crowded(&mut rng, size, crowd);
        let mut walk = walk();
        for near in [0, 4, 12, 40] {
            // Anywhere, and ever nearer to somebody.
            let somebody = network.nodes[rng.below(size.into()) as usize].id.id();
            let target = somebody.with_suffix(near, Id(rng.bytes()));
            walk.reset(target);
            for _ in 0..starts {
                walk.add(network.nodes[rng.below(size.into()) as usize]);
            }
            run(&mut rng, &mut walk, |addr| network.reply(addr, target));
            let answered: Vec<Contact> = walk.closest().take(K).collect();
            prop_assert_eq!(answered, network.closest_living(target));
        }
    }
}

#[test]
fn a_walk_stays_small() {
    assert!(size_of::<Candidate>() <= 48, "{} bytes", size_of::<Candidate>());
    let mut walk = seeded(0..1_000);
    assert_eq!(walk.candidates.len(), 100);
    walk.add(node(5_000));
    assert!(walk.candidates.iter().all(|c| c.addr() != addr_of(5_000)), "farther than all");
    walk.reset(TARGET);
    assert!(walk.candidates.capacity() <= 2 * WALK_CANDIDATES_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_reports_keeps_the_invariants(
        private in any::<bool>(),
        ops in proptest::collection::vec((0u8..8, 0u32..40, 0u32..40, any::<u64>()), 1..400),
    ) {
        let policy = if private { AllowPrivate } else { Public };
        let mut walk = Walk::new(TARGET, OWN, policy, Family::V4);
        let mut asked = BTreeSet::new();
        for (op, n, m, bits) in ops {
            let mut mixed = Contact { id: node(n).id, addr: addr_of(m) };
            if bits & 1 == 1 {
                mixed.addr.set_port(1);
            }
            let named = (0..12).map(|k| Contact {
                id: node((bits >> k) as u32 % 64).id,
                addr: addr_of((bits >> (2 * k)) as u32 % 64),
            });
            match op {
                0 => walk.add(mixed),
                1 => walk.add_address(mixed.addr),
                2 | 3 => {
                    if let Some(contact) = walk.poll_query() {
                        prop_assert!(asked.insert(contact.addr), "{contact:?} asked twice");
                    }
                }
                4 => walk.on_stall(mixed.addr),
                5 => walk.on_failure(mixed.addr),
                6 => walk.on_reply(mixed.addr, mixed.id, named),
                _ => walk.on_reply(mixed.addr, if bits & 2 == 0 { OWN } else { node(m).id }, named),
            }
            walk.check();
        }
        let mut left = 0;
        while let Some(contact) = walk.poll_query() {
            prop_assert!(asked.insert(contact.addr), "{contact:?} asked twice");
            walk.on_failure(contact.addr);
            left += 1;
        }
        for addr in asked {
            walk.on_failure(addr);
        }
        walk.check();
        prop_assert!(left <= WALK_CANDIDATES_MAX);
    }
}
