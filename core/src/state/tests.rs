//! The format alone: what is written is what is read, and nothing else is read.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use proptest::prelude::*;

use super::body::put_lead;
use super::frame::{HEADER_LEN, SUM_LEN, Salt, put_record};
use super::saved::HEAD_LEN;
use super::version::FIRST_LINE;
use super::*;
use crate::base::addr::{Contact, Family};
use crate::base::id::{InfoHash, NodeId};
use crate::base::time::{Duration, Instant};
use crate::lead::{Lead, Origin};
use crate::limits::{
    SAMPLES_PER_REPLY, SAVED_PEERS_MAX, SETTLED_MAX, STATE_CHUNK_MAX, STATE_UNKNOWN_MAX,
    TABLE_SAVED_MAX,
};

const WALL: WallTime = WallTime(1_700_000_000);
const SALT: Salt = *b"a secret";
/// Where the first record behind the heads stands.
const BODY: usize = FIRST_LINE.len() + 2 * HEAD_LEN;

fn write(saved: &Saved) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = SnapshotWriter::new(&mut out, WALL.into(), SALT);
    saved.families.iter().flatten().for_each(|family| writer.family(family));
    saved.contacts.iter().for_each(|contact| writer.contact(*contact));
    saved.rests.iter().for_each(|rest| writer.rest(rest));
    for lead in saved.pending.values() {
        writer.lead(lead, 0, lead.peers.iter().copied());
    }
    for SavedLead { lead, left } in saved.failed.values() {
        writer.lead(lead, *left, lead.peers.iter().copied());
    }
    saved.settled.iter().for_each(|hash| writer.settled(*hash));
    saved.unknown.iter().for_each(|unknown| writer.unknown(unknown));
    writer.finish();
    out
}

fn addr() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        (any::<[u8; 4]>(), any::<u16>()).prop_map(SocketAddr::from),
        (any::<[u8; 16]>(), any::<u16>()).prop_map(SocketAddr::from),
    ]
}

fn hash() -> impl Strategy<Value = InfoHash> {
    any::<[u8; 20]>().prop_map(InfoHash)
}

fn contact() -> impl Strategy<Value = Contact> {
    (any::<[u8; 20]>(), addr()).prop_map(|(id, addr)| Contact { id: NodeId(id), addr })
}

prop_compose! {
    fn lead(rounds: std::ops::RangeInclusive<u8>)(
        hash in hash(),
        source in prop::option::of(contact()),
        peers in prop::collection::vec(addr(), 0..SAVED_PEERS_MAX),
        round in rounds,
        asked_for in any::<bool>(),
    ) -> Lead {
        let origin = if asked_for { Origin::Request } else { Origin::Sample };
        Lead { source, peers, round, ..Lead::new(hash, Instant::START, origin) }
    }
}

fn rest() -> impl Strategy<Value = Rest> {
    (contact(), any::<bool>(), 0..=86_400u32).prop_map(|(contact, by_id, left)| Rest {
        contact,
        by_id,
        left,
    })
}

fn family(family: Family) -> impl Strategy<Value = Option<SavedFamily>> {
    let parts = (any::<[u8; 20]>(), any::<u8>(), prop::option::of(addr()));
    prop::option::of(parts.prop_map(move |(id, depth, external)| {
        let external = external.filter(|addr| Family::of(*addr) == family);
        SavedFamily { family, id: NodeId(id), depth, external }
    }))
}

/// Of kinds that this version does not have.
fn unknown() -> impl Strategy<Value = item::Unknown> {
    (kind::CLOCK + 1..=255, prop::collection::vec(any::<u8>(), 0..200))
        .prop_map(|(kind, body)| item::Unknown { kind, body: body.into() })
}

prop_compose! {
    fn saved()(
        v4 in family(Family::V4),
        v6 in family(Family::V6),
        contacts in prop::collection::vec(contact(), 0..150),
        mut rests in prop::collection::vec(rest(), 0..150),
        pending in prop::collection::vec(lead(0..=0), 0..20),
        failed in prop::collection::vec((lead(1..=3), 0..=86_400u32), 0..20),
        settled in prop::collection::vec(hash(), 0..300),
        unknown in prop::collection::vec(unknown(), 0..4),
    ) -> Saved {
        rests.sort_by_key(|rest| rest.contact.addr);
        rests.dedup_by_key(|rest| rest.contact.addr);
        let pending = pending.into_iter().map(|lead| (lead.hash, lead)).collect();
        let failed = failed.into_iter().map(|(lead, left)| (lead.hash, SavedLead { lead, left }));
        let (families, salt, failed) = ([v4, v6], Some(SALT), failed.collect());
        let rest = Saved::default();
        Saved { families, contacts, rests, pending, failed, settled, unknown, salt, ..rest }
    }
}

/// A state of each kind of thing, and four records after it.
fn sample() -> (Vec<u8>, usize) {
    let node = |n| Contact { id: NodeId([n; 20]), addr: ([9, 9, 9, n], 1).into() };
    let lead = |n| Lead::new(InfoHash([n; 20]), Instant::START, Origin::Sample);
    let peers = vec![([7, 7, 7, 7], 7).into(), ([7u16; 8], 7).into()];
    let under_way = Lead { peers, ..lead(4).from(Some(node(4))) };
    let failed = SavedLead { lead: Lead { round: 1, ..lead(5) }, left: 3_600 };
    let of =
        |family, n, external| Some(SavedFamily { family, id: NodeId([n; 20]), depth: n, external });
    let saved = Saved {
        families: [of(Family::V4, 1, Some(([1, 2, 3, 4], 5).into())), of(Family::V6, 2, None)],
        contacts: vec![node(2)],
        rests: vec![Rest { contact: node(3), by_id: true, left: 600 }],
        pending: [(under_way.hash, under_way)].into(),
        failed: [(failed.lead.hash, failed)].into(),
        settled: vec![InfoHash([6; 20])],
        unknown: vec![item::Unknown { kind: 200, body: [1, 2, 3].into() }],
        ..Saved::default()
    };
    let mut bytes = write(&saved);
    let len = bytes.len();
    let mut journal = Journal::new(SALT);
    (10..13).for_each(|n| journal.sample(InfoHash([n; 20])));
    journal.answer(node(10), true, Instant::from_micros(300_000_000));
    journal.dropped(InfoHash([4; 20]));
    journal.retry(InfoHash([10; 20]), 2, Instant::from_micros(60_000_000));
    journal.over(InfoHash([11; 20]));
    journal.check();
    journal.drain(Instant::START, WALL.into(), &mut bytes);
    (bytes, len)
}

/// Everything that a state says about infohashes.
fn infohashes(saved: &Saved) -> BTreeSet<InfoHash> {
    saved.pending.keys().chain(saved.failed.keys()).chain(&saved.settled).copied().collect()
}

/// Where each record of a state begins, and at last where it ends.
fn borders(bytes: &[u8]) -> Vec<usize> {
    let head = FIRST_LINE.len();
    let mut borders = vec![head, head + HEAD_LEN, BODY];
    while let Some(end) = borders.last().copied().filter(|at| *at < bytes.len()) {
        let length = bytes[end + 1..end + 5].try_into().map(u32::from_be_bytes).expect("four");
        borders.push(end + HEADER_LEN + length as usize + SUM_LEN);
    }
    borders
}

/// Asserts that of `whole` only what is between `from` and `to` is missing from `bytes`, which were
/// damaged there.
fn assert_costs(whole: &[u8], bytes: &[u8], from: usize, to: usize) {
    let read = |bytes: &[u8]| read(bytes, WALL).expect("a head is left");
    let (all, found) = (read(whole), read(bytes));
    let without = read(&[&whole[..from], &whole[to..]].concat());
    let told = found.damaged + found.torn_bytes;
    assert!(infohashes(&found).is_subset(&{
        let mut known = infohashes(&all);
        // Dropped later, if the record that says so is not the one that is damaged.
        known.insert(InfoHash([4; 20]));
        known
    }));
    let counts = |s: &Saved| (s.damaged, s.torn_bytes);
    let (damaged, torn) = (found.damaged, found.torn_bytes);
    assert_eq!(
        Saved { damaged: 0, torn_bytes: 0, ..found },
        Saved { damaged: 0, torn_bytes: 0, ..without.clone() }
    );
    assert!(told > 0 || from == to, "{:?}", counts(&without));
    assert!(damaged <= 1 && torn <= to - from, "{damaged} damaged, {torn} torn");
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(saved in saved()) {
        let bytes = write(&saved);
        prop_assert_eq!(read(&bytes, WALL), Ok(saved.clone()));
        prop_assert_eq!(&write(&saved), &bytes, "what is not known stays byte for byte");
        let mut later = saved;
        later.rests.iter_mut().for_each(|rest| rest.left = rest.left.saturating_sub(1_000));
        later.failed.values_mut().for_each(|f| f.left = f.left.saturating_sub(1_000));
        prop_assert_eq!(read(&bytes, WallTime(WALL.0 + 1_000)), Ok(later));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic_and_tell_of_no_infohash(
        noise in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let _ = read(&noise, WALL);
        prop_assert!(read(&[FIRST_LINE, &noise].concat(), WALL).is_err());
        let (whole, _) = sample();
        let clean = read(&whole, WALL).expect("whole");
        let read = read(&[whole, noise.clone()].concat(), WALL).expect("whole");
        prop_assert_eq!(Saved { torn_bytes: noise.len(), ..clean }, read);
    }

    #[test]
    fn a_flipped_bit_of_any_state_costs_at_most_its_record(
        saved in saved(),
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
    ) {
        let whole = write(&saved);
        let mut bytes = whole.clone();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let borders = borders(&whole);
        let record = borders.partition_point(|border| *border <= at);
        if let (Some(from), Some(to)) = (record.checked_sub(1), borders.get(record)) {
            let from = borders[from];
            // One head is enough.
            let (from, to) = if from < BODY { (BODY, BODY) } else { (from, *to) };
            let found = read(&bytes, WALL).expect("a head is left");
            let without = [&whole[..from], &whole[to..]].concat();
            let without = read(&without, WALL).expect("a head is left");
            prop_assert!(infohashes(&found).is_subset(&infohashes(&saved)));
            let silent = |s: Saved| Saved { damaged: 0, torn_bytes: 0, ..s };
            prop_assert_eq!(silent(found), silent(without));
        } else {
            prop_assert!(read(&bytes, WALL).is_err(), "the first line");
        }
    }
}

#[test]
fn any_flipped_bit_costs_the_record_it_is_in_and_is_counted() {
    let (whole, _) = sample();
    let borders = borders(&whole);
    for at in FIRST_LINE.len()..whole.len() {
        let record = borders.partition_point(|border| *border <= at);
        let (from, to) = (borders[record - 1], borders[record]);
        let (from, to) = if from < BODY { (BODY, BODY) } else { (from, to) };
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            assert_costs(&whole, &bytes, from, to);
        }
    }
}

#[test]
fn cut_at_any_byte_whole_records_are_taken_and_the_rest_is_torn() {
    let (bytes, _) = sample();
    let borders = borders(&bytes);
    for len in 0..bytes.len() {
        match read(&bytes[..len], WALL) {
            Ok(saved) => {
                let whole = borders.iter().rev().find(|border| **border <= len).expect("heads");
                assert_eq!(saved.torn_bytes, len - whole, "{len}");
                let same = read(&bytes[..*whole], WALL).expect("heads");
                assert_eq!(Saved { torn_bytes: 0, ..saved.clone() }, same, "{len}");
                let rests = saved.rests.len() == 2;
                assert_eq!(rests, saved.records > 0, "a rest comes with its samples");
            }
            Err(error) => assert_eq!((error, len < BODY), (StateError::Truncated, true), "{len}"),
        }
    }
}

#[test]
fn records_change_what_the_snapshot_said() {
    let (bytes, _) = sample();
    let saved = read(&bytes, WALL).expect("whole");
    let set = |hashes: &[u8]| hashes.iter().map(|n| InfoHash([*n; 20])).collect::<BTreeSet<_>>();
    assert_eq!(saved.pending.keys().copied().collect::<BTreeSet<_>>(), set(&[12]));
    assert_eq!(saved.failed.keys().copied().collect::<BTreeSet<_>>(), set(&[5, 10]));
    let failed = &saved.failed[&InfoHash([10; 20])];
    assert_eq!((failed.lead.round, failed.left), (2, 60));
    assert_eq!(saved.settled.iter().copied().collect::<BTreeSet<_>>(), set(&[6, 11]));
    let source = saved.pending[&InfoHash([12; 20])].source.map(|node| node.id);
    assert_eq!(source, Some(NodeId([10; 20])));
    assert_eq!(saved.rests.iter().map(|rest| rest.left).collect::<Vec<_>>(), [600, 300]);
    assert_eq!((saved.records, saved.torn_bytes, saved.damaged), (4, 0, 0));
}

#[test]
fn how_an_infohash_was_heard_of_outlives_its_failure() {
    let mut journal = Journal::new(SALT);
    let mut bytes = write(&Saved::default());
    journal.taken(InfoHash([1; 20]), std::iter::empty());
    journal.retry(InfoHash([1; 20]), 1, Instant::START);
    journal.drain(Instant::START, WALL.into(), &mut bytes);
    let saved = read(&bytes, WALL).expect("whole");
    assert_eq!(saved.failed[&InfoHash([1; 20])].lead.origin, Origin::Request);
}

#[test]
fn files_of_others_and_of_newer_versions_are_told_apart() {
    let read = |bytes: &[u8]| read(bytes, WALL).err();
    assert_eq!(read(b"infohash,name\n"), Some(StateError::Foreign));
    assert_eq!(read(b"DHT-Estudely state 3.0\nanything"), Some(StateError::Newer(3)));
    assert_eq!(check_version(b"DHT-Estudely state 3.0\n"), Err(StateError::Newer(3)));
    let said = StateError::Newer(3).to_string();
    assert_eq!(said, "a newer version wrote it (state format 3)");
    let (mut bytes, _) = sample();
    let dot = FIRST_LINE.len() - 2;
    bytes[dot] = b'9';
    assert!(read(&bytes).is_none(), "a higher minor version is read");
    assert_eq!(check_version(&bytes), Ok(()));
    let (one, both) = (FIRST_LINE.len() + 9, FIRST_LINE.len() + 9 + HEAD_LEN);
    bytes[one] ^= 1;
    assert_eq!(read(&bytes), None, "one head is enough");
    bytes[both] ^= 1;
    assert_eq!(read(&bytes), Some(StateError::Damaged(FIRST_LINE.len())));
}

#[test]
fn unknown_kinds_are_kept_within_their_bound_if_they_are_optional() {
    let with = |records: &[(u8, usize)]| {
        let mut bytes = write(&Saved::default());
        for (kind, len) in records {
            put_record(SALT, *kind, &mut bytes, |out| out.resize(out.len() + len, 7));
        }
        let saved = read(&bytes, WALL).expect("whole");
        (saved.unknown.len(), saved.unknown_left_out, saved.damaged, saved.records)
    };
    assert_eq!(with(&[(128, 0), (255, 9)]), (2, 0, 0, 0));
    assert_eq!(with(&[(99, 9), (127, 0)]), (0, 0, 2, 0), "none that must be understood");
    let full = STATE_UNKNOWN_MAX / STATE_CHUNK_MAX - 1;
    let mut records = vec![(200, STATE_CHUNK_MAX); full];
    let left = STATE_UNKNOWN_MAX - full * (STATE_CHUNK_MAX + 64);
    records.push((200, left - 64));
    assert_eq!(with(&records), (full + 1, 0, 0, 0));
    records.push((200, 0));
    assert_eq!(with(&records), (full + 1, 1, 0, 0));
}

#[test]
fn absurd_counts_and_lengths_are_refused_with_the_right_sum() {
    let node = Contact { id: NodeId([2; 20]), addr: ([9, 9, 9, 9], 1).into() };
    let many = |contacts: usize, settled: usize| {
        let (contacts, settled) = (vec![node; contacts], vec![InfoHash([1; 20]); settled]);
        read(&write(&Saved { contacts, settled, ..Saved::default() }), WALL).err()
    };
    assert_eq!(many(TABLE_SAVED_MAX, SETTLED_MAX), None);
    assert_eq!(many(TABLE_SAVED_MAX + 1, 0), Some(StateError::TooMany("contacts")));
    assert_eq!(many(0, SETTLED_MAX + 1), Some(StateError::TooMany("settled infohashes")));
    let lengths = [(STATE_CHUNK_MAX, 1), (STATE_CHUNK_MAX + 1, 0)];
    for (length, expected) in lengths {
        let mut bytes = write(&Saved::default());
        put_record(SALT, 200, &mut bytes, |out| out.resize(out.len() + length, 0));
        let saved = read(&bytes, WALL).expect("whole");
        assert_eq!(saved.unknown.len() + saved.unknown_left_out, expected, "{length}");
    }
}

#[test]
fn a_senseless_record_is_passed_over() {
    let (bytes, snapshot_len) = sample();
    let tail = |kind: u8, body: &[u8]| {
        let mut file = bytes[..snapshot_len].to_vec();
        put_record(SALT, kind, &mut file, |out| out.extend_from_slice(body));
        put_record(SALT, kind::DROPPED, &mut file, |out| out.extend_from_slice(&[1; 20]));
        let saved = read(&file, WALL).expect("whole");
        assert_eq!(saved.records + saved.damaged, 2);
        saved.records == 2
    };
    assert!(tail(kind::DROPPED, &[1; 20]) && !tail(kind::DROPPED, &[1; 21]));
    assert!(!tail(kind::OVER, &[1; 19]) && !tail(99, &[]));
    let retry = |round: u8| [&WALL.0.to_be_bytes()[..], &[3; 20], &[round], &[0; 4]].concat();
    assert!(tail(kind::RETRY, &retry(3)) && !tail(kind::RETRY, &retry(4)));
    let mut lead = Vec::new();
    let peer = SocketAddr::from(([9, 9, 9, 9], 1));
    let taken = Lead::new(InfoHash([3; 20]), Instant::START, Origin::Request);
    put_lead(&taken, 0, std::iter::repeat_n(peer, SAVED_PEERS_MAX), &mut lead);
    assert!(tail(kind::TAKEN, &lead));
    lead[27] += 1;
    lead.extend_from_slice(&[0, 9, 9, 9, 9, 0, 1]);
    assert!(!tail(kind::TAKEN, &lead), "one peer more than is saved");
}

#[test]
fn an_undrained_journal_stays_within_its_bounds_and_drops_whole_records() {
    let mut journal = Journal::new(SALT);
    let node = Contact { id: NodeId([2; 20]), addr: ([9, 9, 9, 9], 1).into() };
    let until = Instant::START + Duration::from_secs(300);
    for n in 0..6_000u32 {
        for k in 0..SAMPLES_PER_REPLY as u32 + 1 {
            let mut hash = [0; 20];
            hash[..4].copy_from_slice(&(n * 100 + k).to_be_bytes());
            journal.sample(InfoHash(hash));
        }
        journal.answer(node, true, until);
        journal.check();
    }
    let (mut bytes, snapshot_len) = sample();
    bytes.truncate(snapshot_len);
    journal.drain(Instant::START, WALL.into(), &mut bytes);
    let saved = read(&bytes, WALL).expect("whole");
    assert!(saved.records > 2_000 && saved.records < 6_000);
    assert_eq!(saved.pending.len(), 1 + saved.records * SAMPLES_PER_REPLY);
    let before = bytes.len();
    journal.drain(Instant::START, WALL.into(), &mut bytes);
    assert_eq!(bytes.len(), before, "what was drained is gone");
}

#[test]
fn a_wall_clock_that_is_set_while_it_runs_or_later_moves_no_rest() {
    let at = |wall, seconds| Stamp {
        wall: WallTime(wall),
        uptime: Some(Uptime { boot: [7; 16], seconds }),
    };
    let node = |n| Contact { id: NodeId([n; 20]), addr: ([9, 9, 9, n], 1).into() };
    let mut bytes = Vec::new();
    let mut writer = SnapshotWriter::new(&mut bytes, at(1_000, 100), SALT);
    writer.rest(&Rest { contact: node(1), by_id: false, left: 300 });
    writer.finish();
    let mut journal = Journal::new(SALT);
    let until = Instant::START + Duration::from_secs(300);
    for (n, stamp) in [(2, at(1_004, 104)), (3, at(1_800_000_006, 110)), (4, at(50, 114))] {
        journal.answer(node(n), true, until);
        journal.drain(Instant::START, stamp, &mut bytes);
    }
    for wall in [0, 60, 1_020, 1_800_000_016, u64::MAX] {
        let saved = read(&bytes, at(wall, 120)).expect("whole");
        let left: Vec<u32> = saved.rests.iter().map(|rest| rest.left).collect();
        assert_eq!(left, [280, 284, 290, 294], "read at {wall}");
        assert_eq!((saved.records, saved.unknown.len()), (3, 0));
    }
    // A snapshot that was written between two settings is no matter either.
    journal.drain(Instant::START, at(900_118, 118), &mut bytes);
    let before = std::mem::take(&mut bytes);
    SnapshotWriter::new(&mut bytes, at(900_118, 118), SALT).finish();
    journal.answer(node(5), true, until);
    journal.drain(Instant::START, at(55, 119), &mut bytes);
    let saved = read(&bytes, at(1_020, 120)).expect("whole");
    assert_eq!(saved.rests.iter().map(|rest| rest.left).collect::<Vec<_>>(), [299]);
    // Of another start of the machine only the wall clock tells; no rest grows by it.
    let later = Stamp { wall: WallTime(1_100), uptime: Some(Uptime { boot: [8; 16], seconds: 3 }) };
    let saved = read(&before, later).expect("whole");
    assert_eq!(saved.rests.iter().map(|rest| rest.left).max(), Some(300));
}
