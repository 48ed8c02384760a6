//! The format before this one, read and taken over; nothing writes it any more.
//!
//! ```text
//! "DHT-Estudely state 1\n"  chunk*  record*        all numbers big-endian
//! chunk, record:  kind u8 · length of the body u32 · body · the first 8 bytes of a SHA-1
//! ```
//!
//! The sum of a chunk covers the sum of the chunk before it, so a snapshot is whole or refused; a
//! record stands alone, and reading ends before the first that is torn or damaged.

use sha1::{Digest, Sha1};

use super::body::Body;
use super::item::{SavedFamily, SavedLead};
use super::saved::{Saved, left_after};
use super::stamp::Reader;
use super::{Stamp, StateError, WallTime};
use crate::base::addr::Family;
use crate::base::time::Instant;
use crate::lead::{Lead, Origin};
use crate::limits::{SAVED_PEERS_MAX, STATE_CHUNK_MAX};

/// What a chunk or record holds.
mod kind {
    /// Wall time u64, node id, depth of the table of each family u8.
    pub(super) const HEAD: u8 = 1;
    /// Contacts of the routing tables.
    pub(super) const CONTACTS: u8 = 2;
    /// Rests.
    pub(super) const RESTS: u8 = 3;
    /// Infohashes under way.
    pub(super) const PENDING: u8 = 4;
    /// Failed infohashes.
    pub(super) const FAILED: u8 = 5;
    /// Infohashes settled for good.
    pub(super) const SETTLED: u8 = 6;
    /// The end of the snapshot; empty.
    pub(super) const END: u8 = 7;
    /// Record: wall time u64, a rest, a count u8 and the new infohashes of that answer.
    pub(super) const ANSWER: u8 = 16;
    /// Record: an infohash taken on without a source.
    pub(super) const TAKEN: u8 = 17;
    /// Record: an infohash of which nothing needs to be remembered any more.
    pub(super) const DROPPED: u8 = 18;
    /// Record: wall time u64 and a failed infohash.
    pub(super) const RETRY: u8 = 19;
    /// Record: an infohash settled for good.
    pub(super) const OVER: u8 = 20;
}

const SUM_LEN: usize = 8;
const HEADER_LEN: usize = 5;
/// What the first chunk's sum continues.
const CHAIN_START: [u8; SUM_LEN] = *b"snapshot";
/// What every record's sum continues.
const RECORD_START: [u8; SUM_LEN] = *b"a record";

/// Reads what follows the first line, which ends at `begin`.
pub(super) fn read(bytes: &[u8], begin: usize, now: Stamp) -> Result<Saved, StateError> {
    let mut rest = bytes.get(begin..).unwrap_or_default();
    let at = |rest: &[u8]| bytes.len() - rest.len();
    let mut before = CHAIN_START;
    let mut saved = Saved { is_outdated: true, ..Saved::default() };
    let mut written = None;
    loop {
        let chunk = chunk(before, rest).map_err(|error| match error {
            ChunkError::Torn => StateError::Truncated,
            ChunkError::Damaged => StateError::Damaged(at(rest)),
        })?;
        let damaged = StateError::Damaged(at(rest));
        match (chunk.kind, written) {
            (kind::HEAD, None) => written = Some(head(&mut saved, chunk.body).ok_or(damaged)?),
            (kind::END, Some(_)) if chunk.body.is_empty() => {
                rest = &rest[chunk.len..];
                break;
            }
            (kind, Some(written)) => {
                let passed = Reader::new(now, written).passed_since(written);
                section(&mut saved, kind, chunk.body, passed).ok_or(damaged)?;
            }
            (_, None) => return Err(damaged),
        }
        saved.check_counts()?;
        (before, rest) = (chunk.sum, &rest[chunk.len..]);
    }
    let clock = Reader::new(now, written.unwrap_or_default());
    while let Ok(chunk) = chunk(RECORD_START, rest) {
        if record(&mut saved, chunk.kind, chunk.body, &clock).is_none() {
            break;
        }
        saved.records += 1;
        rest = &rest[chunk.len..];
    }
    saved.torn_bytes = rest.len();
    saved.sort_rests();
    Ok(saved)
}

/// One id was that of both families.
fn head(saved: &mut Saved, mut body: Body<'_>) -> Option<WallTime> {
    let wall = body.wall()?;
    let id = body.id()?;
    let depths = [body.byte()?, body.byte()?];
    for (family, depth) in Family::ALL.into_iter().zip(depths) {
        saved.families[family.index()] = Some(SavedFamily { family, id, depth, external: None });
    }
    body.is_empty().then_some(wall)
}

/// Takes one chunk of the snapshot in; `None` if it makes no sense.
fn section(saved: &mut Saved, kind: u8, mut body: Body<'_>, passed: u32) -> Option<()> {
    while !body.is_empty() {
        match kind {
            kind::CONTACTS => saved.contacts.push(body.contact()?),
            kind::RESTS => saved.rests.push(left_after(body.rest()?, passed)),
            kind::PENDING => {
                let lead = pending(&mut body)?;
                saved.pending.insert(lead.hash, lead);
            }
            kind::FAILED => saved.put_failed(failed(&mut body)?, passed)?,
            kind::SETTLED => saved.settled.push(body.hash()?),
            _ => return None,
        }
    }
    (kind::CONTACTS..=kind::SETTLED).contains(&kind).then_some(())
}

/// Takes a record in whole; `None`, and nothing done, if it makes no sense or is beyond all bounds.
fn record(saved: &mut Saved, kind: u8, mut body: Body<'_>, clock: &Reader) -> Option<()> {
    match kind {
        kind::ANSWER => return saved.answer(body, clock),
        kind::TAKEN => {
            let lead = pending(&mut body)?;
            saved.room_for_pending(1, body)?;
            saved.take_on(lead);
        }
        kind::DROPPED => saved.drop(body.last_hash()?),
        kind::RETRY => {
            let passed = clock.passed_since(body.wall()?);
            let failed = failed(&mut body)?;
            body.is_empty().then_some(())?;
            saved.retry(failed, passed)?;
        }
        kind::OVER => saved.over(body.last_hash()?)?,
        _ => return None,
    }
    Some(())
}

/// An infohash under way. One that named no source was asked for, or had lost it with the first
/// question.
fn pending(body: &mut Body<'_>) -> Option<Lead> {
    let hash = body.hash()?;
    let source = if body.flag()? { Some(body.contact()?) } else { None };
    let peers = body.peers(SAVED_PEERS_MAX)?;
    let origin = if source.is_some() { Origin::Sample } else { Origin::Request };
    Some(Lead { source, peers, ..Lead::new(hash, Instant::START, origin) })
}

/// An infohash that failed, with the seconds left.
fn failed(body: &mut Body<'_>) -> Option<SavedLead> {
    let lead = Lead::new(body.hash()?, Instant::START, Origin::Sample);
    Some(SavedLead { lead: Lead { round: body.byte()?, ..lead }, left: body.u32()? })
}

/// One framed body as it stands in the file.
#[derive(Clone, Copy, Debug)]
struct Chunk<'a> {
    kind: u8,
    body: Body<'a>,
    sum: [u8; SUM_LEN],
    /// Bytes of the whole chunk.
    len: usize,
}

/// Why a chunk cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkError {
    /// The bytes end before it does.
    Torn,
    /// Its length or its sum is wrong.
    Damaged,
}

/// Reads the chunk at the front of `bytes`, whose sum must follow `before`.
fn chunk(before: [u8; SUM_LEN], bytes: &[u8]) -> Result<Chunk<'_>, ChunkError> {
    let header = bytes.get(..HEADER_LEN).ok_or(ChunkError::Torn)?;
    let [kind, length @ ..] = header else { return Err(ChunkError::Torn) };
    let length = length.try_into().map(u32::from_be_bytes).map_err(|_| ChunkError::Torn)?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > STATE_CHUNK_MAX {
        return Err(ChunkError::Damaged);
    }
    let framed = bytes.get(..HEADER_LEN + length).ok_or(ChunkError::Torn)?;
    let end = HEADER_LEN + length + SUM_LEN;
    let found = bytes.get(HEADER_LEN + length..end).ok_or(ChunkError::Torn)?;
    let digest = Sha1::new().chain_update(before).chain_update(framed).finalize();
    let mut sum = [0; SUM_LEN];
    sum.copy_from_slice(&digest[..SUM_LEN]);
    if found != sum {
        return Err(ChunkError::Damaged);
    }
    Ok(Chunk { kind: *kind, body: Body(&framed[HEADER_LEN..]), sum, len: end })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::base::id::{InfoHash, NodeId};
    use crate::state;

    /// What the version before wrote: an item of each kind and a record of each kind.
    const WRITTEN: &[u8] = include_bytes!("fixtures/v1.state");
    const WALL: WallTime = WallTime(1_700_000_000);

    #[test]
    fn what_the_version_before_wrote_is_taken_over() {
        let saved = state::read(WRITTEN, WALL).expect("whole");
        assert!(saved.is_outdated && saved.salt.is_none());
        let families = saved.families.each_ref().map(|family| family.expect("one id for both"));
        assert_eq!(families.map(|family| family.id), [NodeId([1; 20]); 2]);
        assert_eq!(families.map(|family| family.depth), [3, 0]);
        assert_eq!((saved.contacts.len(), saved.records, saved.torn_bytes), (1, 5, 0));
        assert_eq!(saved.rests.iter().map(|rest| rest.left).collect::<Vec<_>>(), [600, 300]);
        let set = |list: &[u8]| list.iter().map(|n| InfoHash([*n; 20])).collect::<BTreeSet<_>>();
        assert_eq!(saved.pending.keys().copied().collect::<BTreeSet<_>>(), set(&[12, 13]));
        assert_eq!(saved.failed.keys().copied().collect::<BTreeSet<_>>(), set(&[5, 10]));
        assert_eq!(saved.settled.iter().copied().collect::<BTreeSet<_>>(), set(&[6, 11]));
        let taken = &saved.pending[&InfoHash([13; 20])];
        assert_eq!((taken.origin, taken.peers.len()), (Origin::Request, 2));
        let sampled = &saved.pending[&InfoHash([12; 20])];
        assert_eq!((sampled.origin, sampled.source.is_some()), (Origin::Sample, true));
        assert_eq!(saved.failed[&InfoHash([10; 20])].lead.round, 2);
    }

    #[test]
    fn cut_or_changed_at_any_byte_it_is_refused_or_ends_sooner() {
        let assert_less = |bytes: &[u8], at: usize| {
            let Ok(saved) = state::read(bytes, WALL) else { return };
            assert!(saved.records < 5, "{at}");
            let known = saved.pending.keys().chain(saved.failed.keys()).chain(&saved.settled);
            let written = [4, 5, 6, 10, 11, 12, 13].map(|n| InfoHash([n; 20]));
            assert!(known.copied().all(|hash| written.contains(&hash)), "{at}");
        };
        for at in 0..WRITTEN.len() {
            assert_less(&WRITTEN[..at], at);
            for bit in 0..8 {
                let mut bytes = WRITTEN.to_vec();
                bytes[at] ^= 1 << bit;
                assert_less(&bytes, at);
            }
        }
    }
}
