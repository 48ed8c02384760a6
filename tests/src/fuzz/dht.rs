//! The DHT's books: open queries and the routing table, against models too naive to be wrong.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use estudely_core::addr::{AddressPolicy, Contact, Family};
use estudely_core::endpoint::{Endpoint, Silence};
use estudely_core::id::{Id, NodeId};
use estudely_core::krpc::{Ask, Kind, Message};
use estudely_core::limits::{EXPIRE_AFTER, STALL_AFTER};
use estudely_core::rng::{Rng, Seed};
use estudely_core::table::{K, Table};
use estudely_core::time::{Duration, Instant};

use super::input::Input;

/// Queries that the model keeps open at most; the real cap is tested elsewhere.
const OPEN: usize = 64;

/// Queries asked, replies right, wrong, late and invented: each query ends exactly once, by the
/// right reply or in time.
pub(super) fn endpoint(data: &[u8]) {
    let mut input = Input(data);
    let rng = Rng::new(Seed::from_u64(1));
    let mut endpoint: Endpoint<u32> = Endpoint::new(Family::V4, NodeId([7; 20]), rng);
    let mut now = Instant::START;
    // Every query still open: by number, whom it went to, under which transaction, when, stalled.
    let mut open: BTreeMap<u32, (SocketAddr, Vec<u8>, Instant, bool)> = BTreeMap::new();
    let mut asked = 0;
    while !input.is_empty() {
        match input.u8() % 8 {
            0..=2 if open.len() < OPEN => {
                let to = addr(&mut input);
                let mut out = Vec::new();
                let target = Id(input.bytes());
                endpoint.ask(now, to, &Ask::FindNode { target }, asked, &mut out);
                let message = Message::parse(&out).expect("we write what can be read");
                assert!(message.read_only && matches!(message.kind, Kind::Query(_)));
                open.insert(asked, (to, message.transaction.to_vec(), now, false));
                asked += 1;
            }
            3 => {
                // The right reply to some query.
                let Some((&number, (to, transaction, ..))) = nth(&open, input.u8()) else {
                    continue;
                };
                let (to, transaction) = (*to, transaction.clone());
                assert_eq!(endpoint.take(to, &transaction).map(|open| open.owner), Some(number));
                assert!(endpoint.take(to, &transaction).is_none(), "once");
                open.remove(&number);
            }
            4 => {
                // Right transaction, wrong address; right address, transaction changed by a bit.
                let Some((_, (to, transaction, ..))) = nth(&open, input.u8()) else { continue };
                let other = SocketAddr::new(to.ip(), to.port() ^ (1 + u16::from(input.u8())));
                assert!(endpoint.take(other, transaction).is_none(), "from elsewhere");
                let mut wrong = transaction.clone();
                let at = usize::from(input.u8()) % wrong.len();
                wrong[at] ^= 1 << (input.u8() % 8);
                let names_another = open.values().any(|(addr, t, ..)| addr == to && *t == wrong);
                assert!(names_another || endpoint.take(*to, &wrong).is_none(), "a guess");
            }
            5 => {
                let from = addr(&mut input);
                let length = input.u8() % 12;
                let transaction = input.slice(usize::from(length));
                let right = open.iter().find(|(_, (to, t, ..))| *to == from && t == transaction);
                let right = right.map(|(number, _)| *number);
                assert_eq!(endpoint.take(from, transaction).map(|open| open.owner), right);
                right.and_then(|number| open.remove(&number));
            }
            _ => {
                now = now + Duration::from_millis(u64::from(input.u8()) * 20);
                expire(&mut endpoint, now, &mut open);
            }
        }
        assert_eq!(endpoint.open_count(), open.len());
        endpoint.check();
    }
}

/// Everything that is due is reported, nothing else is.
fn expire(
    endpoint: &mut Endpoint<u32>,
    now: Instant,
    open: &mut BTreeMap<u32, (SocketAddr, Vec<u8>, Instant, bool)>,
) {
    while let Some((silence, query)) = endpoint.poll_silence(now) {
        let (to, _, sent, stalled) = open.get_mut(&query.owner).expect("an open query");
        assert_eq!((*to, *sent), (query.to, query.sent));
        match silence {
            Silence::Stalled => {
                assert!(!std::mem::replace(stalled, true) && now >= *sent + STALL_AFTER);
            }
            Silence::Expired => {
                assert!(now >= *sent + EXPIRE_AFTER);
                open.remove(&query.owner);
            }
        }
    }
    assert!(open.values().all(|(_, _, sent, _)| now < *sent + EXPIRE_AFTER));
    let stalled = |(_, _, sent, stalled): &(SocketAddr, Vec<u8>, Instant, bool)| {
        *stalled == (now >= *sent + STALL_AFTER)
    };
    assert!(open.values().all(stalled));
    assert!(endpoint.poll_timeout().is_none_or(|due| due > now));
}

fn nth<V>(map: &BTreeMap<u32, V>, choice: u8) -> Option<(&u32, &V)> {
    map.iter().nth(usize::from(choice) % map.len().max(1))
}

/// One of a few thousand addresses, so that they meet again.
fn addr(input: &mut Input<'_>) -> SocketAddr {
    let [a, b] = input.bytes();
    SocketAddr::from(([20 + a % 4, a, b % 16, 1 + b / 128], 6_881 + u16::from(b % 2)))
}

/// Answers, queries, failures, probes and moves; `closest` is compared with sorting everything.
pub(super) fn table(data: &[u8]) {
    let mut input = Input(data);
    let policy =
        if input.u8() & 1 == 0 { AddressPolicy::Public } else { AddressPolicy::AllowPrivate };
    let mut own = NodeId(input.bytes());
    let mut table = Table::new(own, Family::V4, policy);
    let mut now = Instant::START;
    while !input.is_empty() {
        match input.u8() % 16 {
            0..=7 => drop(table.on_reply(now, contact(&mut input, own))),
            8 => table.on_query(now, contact(&mut input, own)),
            9 | 10 => {
                let known = table.contacts().nth(usize::from(input.u8()) % table.len().max(1));
                let unlucky = known.unwrap_or_else(|| contact(&mut input, own));
                table.on_failure(now, unlucky);
            }
            11 => table.exclude(now, addr(&mut input)),
            12 => {
                own = NodeId(input.bytes());
                table.rebase(now, own);
            }
            13 => {
                let mut probes = 0;
                while table.poll_probe(now).is_some() {
                    probes += 1;
                    assert!(probes <= 100, "at most one probe a bucket and turn");
                }
                assert!(table.poll_timeout().is_none_or(|due| due > now), "drained");
            }
            _ => now = now + Duration::from_secs(u64::from(input.u16() % 2_000)),
        }
        table.check();
        compare(&table, Id(input.bytes()));
    }
}

fn compare(table: &Table, target: Id) {
    let mut sorted: Vec<Contact> = table.contacts().collect();
    sorted.sort_by_key(|contact| contact.id.id().distance(target));
    sorted.truncate(K);
    let mut nearest = Table::NOBODY;
    let count = table.closest(target, &mut nearest);
    assert_eq!(&nearest[..count], sorted, "the nearest, exactly");
}

/// A contact at a chosen depth from our own id, so that deep buckets are reached.
fn contact(input: &mut Input<'_>, own: NodeId) -> Contact {
    let bits = u32::from(input.u8() % 161);
    let mut id = own.id();
    if bits < 160 {
        let mut tail = Id::ZERO;
        tail.0[18..].copy_from_slice(&input.bytes::<2>());
        id = id.with_suffix(bits, tail);
        id.0[bits as usize / 8] ^=
            if id.bit(bits) == own.id().bit(bits) { 0x80 >> (bits % 8) } else { 0 };
    }
    Contact { id: NodeId(id.0), addr: addr(input) }
}
