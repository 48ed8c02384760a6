//! The codec alone: what is written is what is read, and nothing else is read.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use proptest::prelude::*;

use super::codec::{CHAIN_START, HEADER_LEN, MAGIC, SUM_LEN, put_record, sum};
use super::codec::{kind, put_pending};
use super::*;
use crate::base::addr::Contact;
use crate::base::id::{InfoHash, NodeId};
use crate::base::time::{Duration, Instant};
use crate::limits::{
    SAMPLES_PER_REPLY, SAVED_PEERS_MAX, SETTLED_MAX, STATE_CHUNK_MAX, TABLE_SAVED_MAX,
};

const WALL: WallTime = WallTime(1_700_000_000);

fn write(saved: &Saved, wall: WallTime) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = SnapshotWriter::new(&mut out, wall, saved.id, saved.depths);
    saved.contacts.iter().for_each(|contact| writer.contact(*contact));
    saved.rests.iter().for_each(|rest| writer.rest(rest));
    for (hash, pending) in &saved.pending {
        writer.pending(*hash, pending.source, pending.peers.iter().copied());
    }
    saved.failed.iter().for_each(|(hash, failed)| writer.failed(*hash, *failed));
    saved.settled.iter().for_each(|hash| writer.settled(*hash));
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

fn pending() -> impl Strategy<Value = Pending> {
    (prop::option::of(contact()), prop::collection::vec(addr(), 0..SAVED_PEERS_MAX))
        .prop_map(|(source, peers)| Pending { source, peers })
}

fn rest() -> impl Strategy<Value = Rest> {
    (contact(), any::<bool>(), 0..=86_400u32).prop_map(|(contact, by_id, left)| Rest {
        contact,
        by_id,
        left,
    })
}

prop_compose! {
    fn saved()(
        id in any::<[u8; 20]>(),
        depths in any::<[u8; 2]>(),
        contacts in prop::collection::vec(contact(), 0..50),
        mut rests in prop::collection::vec(rest(), 0..50),
        pending in prop::collection::btree_map(hash(), pending(), 0..40),
        failed in prop::collection::btree_map(hash(), (1..=3u8, 0..=86_400u32), 0..50),
        settled in prop::collection::vec(hash(), 0..50),
    ) -> Saved {
        rests.sort_by_key(|rest| rest.contact.addr);
        rests.dedup_by_key(|rest| rest.contact.addr);
        let failed = failed.into_iter().map(|(hash, (round, left))| (hash, Failed { round, left }));
        let failed: BTreeMap<_, _> = failed.collect();
        let id = NodeId(id);
        Saved { id, depths, contacts, rests, pending, failed, settled, records: 0, torn_bytes: 0 }
    }
}

/// A state of each kind of thing, and four records after it.
fn sample() -> (Vec<u8>, usize) {
    let node = |n| Contact { id: NodeId([n; 20]), addr: ([9, 9, 9, n], 1).into() };
    let peers = vec![([7, 7, 7, 7], 7).into(), ([7u16; 8], 7).into()];
    let saved = Saved {
        id: NodeId([1; 20]),
        depths: [3, 0],
        contacts: vec![node(2)],
        rests: vec![Rest { contact: node(3), by_id: true, left: 600 }],
        pending: [(InfoHash([4; 20]), Pending { source: Some(node(4)), peers })].into(),
        failed: [(InfoHash([5; 20]), Failed { round: 1, left: 3_600 })].into(),
        settled: vec![InfoHash([6; 20])],
        records: 0,
        torn_bytes: 0,
    };
    let mut bytes = write(&saved, WALL);
    let len = bytes.len();
    let mut journal = Journal::default();
    (10..13).for_each(|n| journal.sample(InfoHash([n; 20])));
    journal.answer(node(10), true, Instant::from_micros(300_000_000));
    journal.dropped(InfoHash([4; 20]));
    journal.retry(InfoHash([10; 20]), 2, Instant::from_micros(60_000_000));
    journal.over(InfoHash([11; 20]));
    journal.check();
    journal.drain(Instant::START, WALL, &mut bytes);
    (bytes, len)
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(saved in saved()) {
        let bytes = write(&saved, WALL);
        prop_assert_eq!(Saved::read(&bytes, WALL), Ok(saved.clone()));
        let mut later = saved;
        later.rests.iter_mut().for_each(|rest| rest.left = rest.left.saturating_sub(1_000));
        later.failed.values_mut().for_each(|f| f.left = f.left.saturating_sub(1_000));
        prop_assert_eq!(Saved::read(&bytes, WallTime(WALL.0 + 1_000)), Ok(later));
    }

    #[test]
    fn a_flipped_bit_is_never_believed(at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let (whole, snapshot_len) = sample();
        let mut bytes = whole.clone();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        match Saved::read(&bytes, WALL) {
            Ok(saved) => {
                prop_assert!(at >= snapshot_len, "only a record may be damaged");
                prop_assert!(saved.records < 4 && saved.torn_bytes > bytes.len() - at - 1);
            }
            Err(_) => prop_assert!(at < snapshot_len),
        }
    }

    #[test]
    fn any_bytes_after_a_first_line_are_refused(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        let bytes = [MAGIC, b"1\n", &noise].concat();
        prop_assert!(Saved::read(&bytes, WALL).is_err());
        let _ = Saved::read(&noise, WALL);
        let (whole, _) = sample();
        let tail = Saved::read(&[whole, noise.clone()].concat(), WALL).expect("whole");
        prop_assert_eq!((tail.records, tail.torn_bytes), (4, noise.len()));
    }
}

#[test]
fn records_change_what_the_snapshot_said() {
    let (bytes, _) = sample();
    let saved = Saved::read(&bytes, WALL).expect("whole");
    let set = |hashes: &[u8]| hashes.iter().map(|n| InfoHash([*n; 20])).collect::<BTreeSet<_>>();
    assert_eq!(saved.pending.keys().copied().collect::<BTreeSet<_>>(), set(&[12]));
    assert_eq!(saved.failed.keys().copied().collect::<BTreeSet<_>>(), set(&[5, 10]));
    assert_eq!(saved.failed[&InfoHash([10; 20])], Failed { round: 2, left: 60 });
    assert_eq!(saved.settled.iter().copied().collect::<BTreeSet<_>>(), set(&[6, 11]));
    let source = saved.pending[&InfoHash([12; 20])].source.map(|node| node.id);
    assert_eq!(source, Some(NodeId([10; 20])));
    assert_eq!(saved.rests.iter().map(|rest| rest.left).collect::<Vec<_>>(), [600, 300]);
    assert_eq!((saved.records, saved.torn_bytes), (4, 0));
}

#[test]
fn cut_at_any_byte_the_snapshot_is_named_and_a_record_dropped_whole() {
    let (bytes, snapshot_len) = sample();
    let mut counts = BTreeSet::new();
    for len in 0..bytes.len() {
        match Saved::read(&bytes[..len], WALL) {
            Ok(saved) => {
                assert!(len >= snapshot_len);
                counts.insert(saved.records);
                let rests = saved.rests.len() == 2;
                let samples = saved.pending.len() + saved.failed.len() + saved.settled.len() > 3;
                assert_eq!(rests, samples, "an entry of the calendar comes with its samples");
            }
            Err(error) => {
                assert!(len < snapshot_len, "{len}");
                assert_eq!(error, StateError::Truncated, "{len}");
            }
        }
    }
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn foreign_files_and_unknown_versions_are_named() {
    let read = |bytes: &[u8]| Saved::read(bytes, WALL).err();
    assert_eq!(read(b"infohash,name\n"), Some(StateError::Foreign));
    assert_eq!(read(b"DHT-Estudely state x\n"), Some(StateError::Foreign));
    assert_eq!(read(b"DHT-Estudely state 99999999999\n"), Some(StateError::Foreign));
    assert_eq!(read(b"DHT-Estudely state 2\nanything"), Some(StateError::Version(2)));
    assert_eq!(read(b""), Some(StateError::Truncated));
    assert_eq!(StateError::Version(2).to_string(), "state format 2 is not known");
}

#[test]
fn a_chunk_of_another_snapshot_does_not_fit_in() {
    let (bytes, _) = sample();
    let other =
        write(&Saved { id: NodeId([2; 20]), ..Saved::read(&bytes, WALL).expect("whole") }, WALL);
    // The heads are equally long: splice one onto the other's rest.
    let head = MAGIC.len() + 2 + HEADER_LEN + 30 + SUM_LEN;
    let spliced = [&other[..head], &bytes[head..]].concat();
    assert_eq!(Saved::read(&spliced, WALL), Err(StateError::Damaged(head)));
}

#[test]
fn absurd_counts_and_lengths_are_refused_with_the_right_sum() {
    let node = Contact { id: NodeId([2; 20]), addr: ([9, 9, 9, 9], 1).into() };
    let many = |contacts: usize, settled: usize| {
        let mut out = Vec::new();
        let mut writer = SnapshotWriter::new(&mut out, WALL, NodeId([1; 20]), [255; 2]);
        (0..contacts).for_each(|_| writer.contact(node));
        (0..settled).for_each(|_| writer.settled(InfoHash([1; 20])));
        writer.finish();
        Saved::read(&out, WALL).err()
    };
    assert_eq!(many(TABLE_SAVED_MAX, SETTLED_MAX), None);
    assert_eq!(many(TABLE_SAVED_MAX + 1, 0), Some(StateError::TooMany("contacts")));
    assert_eq!(many(0, SETTLED_MAX + 1), Some(StateError::TooMany("settled infohashes")));

    let line = [MAGIC, b"1\n"].concat();
    for length in [STATE_CHUNK_MAX as u32 + 1, u32::MAX] {
        let long = [&line[..], &[kind::HEAD], &length.to_be_bytes(), &[0; 100]].concat();
        assert_eq!(Saved::read(&long, WALL), Err(StateError::Damaged(line.len())));
    }
    let senseless = |kind: u8, body: &[u8]| {
        let framed = [&[kind][..], &(body.len() as u32).to_be_bytes(), body].concat();
        let bytes = [&line[..], &framed, &sum(CHAIN_START, &framed)].concat();
        Saved::read(&bytes, WALL).err()
    };
    assert_eq!(senseless(kind::END, &[]), Some(StateError::Damaged(line.len())));
    assert_eq!(senseless(kind::HEAD, &[0; 29]), Some(StateError::Damaged(line.len())));
    assert_eq!(senseless(kind::CONTACTS, &[]), Some(StateError::Damaged(line.len())));
    assert_eq!(senseless(kind::HEAD, &[0; 30]), Some(StateError::Truncated));
}

#[test]
fn a_senseless_record_ends_the_reading() {
    let (bytes, snapshot_len) = sample();
    let tail = |kind: u8, body: &[u8]| {
        let mut file = bytes[..snapshot_len].to_vec();
        put_record(kind, &mut file, |out| out.extend_from_slice(body));
        Saved::read(&file, WALL).map(|saved| saved.records)
    };
    assert_eq!(tail(kind::DROPPED, &[1; 20]), Ok(1));
    assert_eq!(tail(kind::DROPPED, &[1; 21]), Ok(0));
    assert_eq!(tail(kind::OVER, &[1; 19]), Ok(0));
    assert_eq!(tail(99, &[]), Ok(0));
    let retry = |round: u8| [&WALL.0.to_be_bytes()[..], &[3; 20], &[round], &[0; 4]].concat();
    assert_eq!((tail(kind::RETRY, &retry(3)), tail(kind::RETRY, &retry(4))), (Ok(1), Ok(0)));
    let mut peers = Vec::new();
    let peer = SocketAddr::from(([9, 9, 9, 9], 1));
    put_pending(InfoHash([3; 20]), None, std::iter::repeat_n(peer, SAVED_PEERS_MAX), &mut peers);
    assert_eq!(tail(kind::TAKEN, &peers), Ok(1));
    peers[21] += 1;
    peers.extend_from_slice(&[0, 9, 9, 9, 9, 0, 1]);
    assert_eq!(tail(kind::TAKEN, &peers), Ok(0), "one peer more than is saved");
}

#[test]
fn an_undrained_journal_stays_within_its_bounds_and_drops_whole_records() {
    let mut journal = Journal::default();
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
    journal.drain(Instant::START, WALL, &mut bytes);
    let saved = Saved::read(&bytes, WALL).expect("whole");
    assert!(saved.records > 2_000 && saved.records < 6_000);
    assert_eq!(saved.pending.len(), 1 + saved.records * SAMPLES_PER_REPLY);
    let before = bytes.len();
    journal.drain(Instant::START, WALL, &mut bytes);
    assert_eq!(bytes.len(), before, "what was drained is gone");
}
