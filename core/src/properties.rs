//! Timers, sets, transactions, partial metadata and the sweep against models too naive to be wrong.
//! A case that fails is saved in `core/proptest-regressions`, which is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use proptest::prelude::*;

use crate::base::addr::{AddressPolicy, Contact, Family};
use crate::base::id::{Id, NodeId};
use crate::base::rng::{Rng, Seed};
use crate::base::store::{FingerprintSet, Key, Seen, Slab};
use crate::base::time::{Duration, Instant, Lane, earliest};
use crate::codec::krpc::{Ask, Message};
use crate::dht::endpoint::{Endpoint, Silence, Timing};
use crate::dht::sweep::tests::SweepAlone;
use crate::dht::sweep::{Offer, Reason, SweepAsk};
use crate::limits::{EXPIRE_AFTER, INTERVAL_MIN, LATE_MAX, LATE_UNTIL, OPEN_MAX};

fn rng() -> Rng {
    Rng::new(Seed::from_u64(7))
}

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1_000)
}

/// A node of a small world: a public address and an id of its own.
fn node(n: u8) -> Contact {
    let id = [n.wrapping_mul(0x9d), n, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1];
    Contact { id: NodeId(id), addr: SocketAddr::from(([20, n, 0, 1], 6_881)) }
}

proptest! {
    /// Pushes, pops, cancellations and a clock that may step back.
    #[test]
    fn a_lane_behaves_like_a_list_sorted_by_deadline(
        steps in prop::collection::vec((0u8..6, 0u64..5_000), 1..200),
    ) {
        let duration = Duration::from_millis(700);
        let mut lane = Lane::new(duration);
        let mut model: Vec<(Instant, usize)> = Vec::new();
        for (n, (kind, millis)) in steps.into_iter().enumerate() {
            let now = at(millis);
            match kind {
                0..=2 => {
                    lane.push(now, n);
                    let last = model.last().map_or(Instant::START, |(due, _)| *due);
                    model.push(((now + duration).max(last), n));
                }
                3 => {
                    let due = model.first().is_some_and(|(due, _)| *due <= now);
                    prop_assert_eq!(lane.pop_due(now), due.then(|| model.remove(0).1));
                }
                4 => {
                    let first = (!model.is_empty()).then(|| model.remove(0).1);
                    prop_assert_eq!(lane.pop_front(), first);
                }
                _ => {
                    let keep = |item: &usize| item % 3 != millis as usize % 3;
                    lane.retain(keep);
                    model.retain(|(_, item)| keep(item));
                }
            }
            prop_assert_eq!((lane.len(), lane.is_empty()), (model.len(), model.is_empty()));
            prop_assert_eq!(lane.front(), model.first().map(|(_, item)| item));
            prop_assert_eq!(lane.poll_timeout(), model.first().map(|(due, _)| *due));
            prop_assert!(model.is_sorted_by_key(|(due, _)| *due));
        }
    }

    #[test]
    fn earliest_is_the_least_of_what_is_there(a: Option<u32>, b: Option<u32>) {
        let instant = |n: u32| at(n.into());
        let least = [a, b].into_iter().flatten().min();
        prop_assert_eq!(earliest(a.map(instant), b.map(instant)), least.map(instant));
        if let (Some(a), Some(b)) = (a.map(instant), b.map(instant)) {
            prop_assert_eq!(a.max(b) - a.min(b), a.max(b).since(a.min(b)));
            prop_assert_eq!(a.min(b) - a.max(b), Duration::ZERO);
        }
    }

    /// Few keys, so that they repeat; a small limit, so that it is met.
    #[test]
    fn the_seen_filter_behaves_like_a_set(
        limit in 0usize..80,
        keys in prop::collection::vec(0u16..120, 0..400),
        clears in any::<prop::sample::Index>(),
    ) {
        let mut set = FingerprintSet::new(&mut rng(), limit);
        let mut model = BTreeSet::new();
        let clears = clears.index(keys.len().max(1));
        for (n, key) in keys.into_iter().enumerate() {
            if n == clears {
                set.clear();
                model.clear();
            }
            let expected = match model.contains(&key) {
                true => Seen::Known,
                false if model.len() >= limit => Seen::Full,
                false => Seen::New,
            };
            if expected == Seen::New {
                model.insert(key);
            }
            prop_assert_eq!(set.insert(&key.to_be_bytes()), expected);
            prop_assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
        }
        for key in 0u16..120 {
            prop_assert_eq!(set.contains(&key.to_be_bytes()), model.contains(&key));
        }
    }

    #[test]
    fn a_slab_behaves_like_a_map_from_keys_that_never_come_again(
        limit in 1usize..20,
        steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..200),
    ) {
        let mut slab = Slab::new(limit);
        let mut living: BTreeMap<Key, usize> = BTreeMap::new();
        let mut dead: Vec<Key> = Vec::new();
        for (n, (inserts, which)) in steps.into_iter().enumerate() {
            if inserts {
                match slab.insert(n) {
                    Ok(key) => prop_assert!(!dead.contains(&key) && living.insert(key, n).is_none()),
                    Err(value) => prop_assert!(value == n && living.len() == limit),
                }
            } else if !living.is_empty() {
                let key = *living.keys().nth(which.index(living.len())).expect("one of them");
                prop_assert_eq!(slab.remove(key), living.remove(&key));
                dead.push(key);
            }
            prop_assert_eq!(slab.is_full(), living.len() == limit);
            prop_assert!(slab.iter().map(|(key, value)| (key, *value)).eq(living.clone()));
            prop_assert!(dead.iter().all(|key| slab.get(*key).is_none()));
        }
    }

    /// Answers, refusals, silence, answers under other ids and hearsay, in any order.
    #[test]
    fn a_sweep_keeps_its_invariants_and_samples_nobody_inside_the_interval(
        steps in prop::collection::vec((0u8..8, 0u8..40, 0u16..2_000), 1..300),
    ) {
        let mut sweep = SweepAlone::new(rng());
        let mut now = Instant::START;
        let mut not_before: BTreeMap<SocketAddr, Instant> = BTreeMap::new();
        for (kind, n, extra) in steps {
            match kind {
                0 | 1 => drop(sweep.offer(now, node(n), (kind == 1).then(|| node(n / 2).addr))),
                2 => now = now + Duration::from_secs(extra.into()),
                _ => {
                    let Some(query) = sweep.poll_query(now) else { continue };
                    let contact = query.waiting.contact;
                    prop_assert!(AddressPolicy::Public.admits_node(contact.addr));
                    if query.ask == SweepAsk::Sample {
                        let due = not_before.get(&contact.addr);
                        prop_assert!(due.is_none_or(|due| *due <= now), "{:?}", contact);
                    }
                    let id = if n == 39 { NodeId([n; 20]) } else { contact.id };
                    if (3..=5).contains(&kind) {
                        sweep.on_neighbours(&query, id, (0..n % 9).map(|m| node(m * 3)));
                    }
                    match (kind, query.ask) {
                        (3..=5, SweepAsk::Sample) => {
                            let rest = Duration::from_secs(u64::from(extra)).max(INTERVAL_MIN);
                            not_before.insert(contact.addr, now + rest);
                            sweep.on_samples(now, query, id, Some(extra.into()));
                        }
                        (3..=5, SweepAsk::FindNode) => sweep.on_reply(now, query, id),
                        (6, _) => sweep.on_error(now, query),
                        _ => sweep.on_silence(now, query),
                    }
                }
            }
            sweep.check();
        }
        let mut asked = 0;
        while let Some(query) = sweep.poll_query(now) {
            sweep.on_silence(now, query);
            asked += 1;
            prop_assert!(asked < 10_000, "silence ends a pass");
        }
        prop_assert!(sweep.poll_timeout().is_none_or(|due| due > now), "no spinning");
    }
}

#[test]
fn a_million_keys_that_were_never_seen_are_all_new() {
    let mut set = FingerprintSet::new(&mut rng(), 1_000_000);
    let mut draw = Rng::new(Seed::from_u64(8));
    for _ in 0..1_000_000 {
        assert_eq!(set.insert(&draw.bytes::<20>()), Seen::New, "a false positive");
    }
    for _ in 0..1_000_000 {
        assert!(!set.contains(&draw.bytes::<20>()), "a false positive");
    }
}

#[test]
fn quick_answers_behind_one_open_query_do_not_grow_the_books() {
    let mut endpoint = Endpoint::new(Family::V4, NodeId([7; 20]), rng());
    let to = node(1).addr;
    let mut out = Vec::new();
    let ask = Ask::FindNode { target: Id::ZERO };
    endpoint.ask(Instant::START, to, &ask, 0, &mut out);
    for n in 1..=5 * OPEN_MAX {
        out.clear();
        endpoint.ask(Instant::START, to, &ask, n, &mut out);
        let transaction = Message::parse(&out).expect("our own query").transaction.to_vec();
        assert_eq!(endpoint.take(Instant::START, to, &transaction).map(|open| open.owner), Some(n));
    }
    endpoint.check();
    assert_eq!(endpoint.open_count(), 1);
    let silence = endpoint.poll_silence(Instant::START + EXPIRE_AFTER);
    assert_eq!(silence.map(|(silence, open)| (silence, open.owner)), Some((Silence::Stalled, 0)));
    let silence = endpoint.poll_silence(Instant::START + EXPIRE_AFTER);
    assert_eq!(silence.map(|(silence, open)| (silence, open.owner)), Some((Silence::Expired, 0)));
    assert!(endpoint.poll_silence(Instant::START + EXPIRE_AFTER).is_none());
}

#[test]
fn failed_queries_leave_their_places_at_once_and_the_last_of_them_are_read_until_they_are_too_late()
{
    let mut endpoint = Endpoint::new(Family::V4, NodeId([7; 20]), rng());
    let (to, start) = (node(1).addr, Instant::START);
    let mut transactions = Vec::new();
    for n in 0..OPEN_MAX {
        let mut out = Vec::new();
        endpoint.ask(start, to, &Ask::FindNode { target: Id::ZERO }, n, &mut out);
        transactions.push(Message::parse(&out).expect("our own query").transaction.to_vec());
    }
    assert!(!endpoint.has_room());
    let expired = start + EXPIRE_AFTER;
    while endpoint.poll_silence(expired).is_some() {}
    endpoint.check();
    assert!(endpoint.has_room() && endpoint.open_count() == 0 && endpoint.poll_timeout().is_none());
    let mut take = |at, n: usize| {
        let taken = endpoint.take(at, to, &transactions[n])?;
        endpoint.check();
        Some((taken.owner, taken.timing()))
    };
    let kept = OPEN_MAX - LATE_MAX;
    assert_eq!(take(expired, kept - 1), None, "the oldest gave way");
    assert_eq!(take(expired, kept), Some((kept, Timing::Late)));
    assert_eq!(take(expired, kept), None, "once");
    let (end, instant) = (start + LATE_UNTIL, Duration::from_micros(1));
    let just_before = start + (LATE_UNTIL - instant);
    assert_eq!(take(just_before, OPEN_MAX - 1), Some((OPEN_MAX - 1, Timing::Late)));
    assert_eq!(take(end, OPEN_MAX - 2), None);
    assert!(endpoint.poll_silence(end).is_none());
    endpoint.check();
}

/// Found by the property above: both of its pages of the calendar were due at once.
#[test]
fn a_node_sampled_again_before_its_page_came_up_is_not_sampled_twice_in_the_next_pass() {
    let mut sweep = SweepAlone::new(rng());
    let mut now = Instant::START + Duration::from_secs(60);
    let _ = sweep.offer(now, node(1), None);
    let query = sweep.poll_visit(now).expect("its turn");
    sweep.on_samples(now, query, node(1).id, Some(300));
    // A second pass, for somebody who was silent in the first.
    let _ = sweep.offer(now, node(3), None);
    for _ in 0..2 {
        let query = sweep.poll_visit(now).expect("its turn");
        assert_eq!(query.waiting.contact, node(3));
        sweep.on_silence(now, query);
    }
    let query = sweep.poll_visit(now).expect("its turn again");
    sweep.on_samples(now, query, node(3).id, None);

    // Its interval is over; its page of the calendar comes up with the next minute.
    now = now + Duration::from_secs(310);
    for offered in [node(2), node(1)] {
        assert_ne!(sweep.offer(now, offered, None), Offer::Ignored);
    }
    let mut open = None;
    for _ in 0..2 {
        let query = sweep.poll_visit(now).expect("two turns");
        if query.waiting.contact == node(1) {
            sweep.on_samples(now, query, node(1).id, Some(300));
        } else {
            open = Some(query); // holds up the next pass
        }
    }
    now = now + Duration::from_secs(410);
    sweep.on_samples(now, open.expect("the other's"), node(2).id, Some(300));
    // Before any answer: whoever rests by then is passed over anyway.
    let queries = std::iter::from_fn(|| sweep.poll_query(now));
    let to_it =
        queries.filter(|query| query.waiting.contact == node(1) && query.reason == Reason::First);
    assert_eq!(to_it.count(), 1);
}
