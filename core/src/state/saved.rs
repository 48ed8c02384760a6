//! A saved state, read: bounded lists, each thing once, times as they are left now.

use std::collections::BTreeMap;

use super::codec::{Body, CHAIN_START, ChunkError, RECORD_START, after_first_line, chunk, kind};
use super::{Failed, Pending, Rest, StateError, WallTime};
use crate::base::addr::{Contact, Family};
use crate::base::id::{InfoHash, NodeId};
use crate::base::time::Duration;
use crate::limits::{
    FAILED_SAVED_MAX, PENDING_SAVED_MAX, RESTS_SAVED_MAX, SAMPLES_PER_REPLY, SECOND_CHANCE_AFTER,
    SETTLED_MAX, STERILE_REST, TABLE_SAVED_MAX,
};

/// The longest a rest or a wait can be; whatever is beyond it is not believed.
const REST_MAX: Duration = STERILE_REST;
const WAIT_MAX: Duration = SECOND_CHANCE_AFTER[SECOND_CHANCE_AFTER.len() - 1];

/// Everything a state says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Saved {
    pub(crate) id: NodeId,
    /// Buckets of the table of each family; 0 for none.
    pub(crate) depths: [u8; Family::ALL.len()],
    pub(crate) contacts: Vec<Contact>,
    /// Each address once, in order.
    pub(crate) rests: Vec<Rest>,
    pub(crate) pending: BTreeMap<InfoHash, Pending>,
    pub(crate) failed: BTreeMap<InfoHash, Failed>,
    pub(crate) settled: Vec<InfoHash>,
    /// Records after the snapshot.
    pub(crate) records: usize,
    /// Bytes after the last good record.
    pub(crate) torn_bytes: usize,
}

impl Saved {
    /// Reads a snapshot and the records after it, at `wall`.
    pub(crate) fn read(bytes: &[u8], wall: WallTime) -> Result<Self, StateError> {
        let mut rest = after_first_line(bytes)?;
        let at = |rest: &[u8]| bytes.len() - rest.len();
        let mut before = CHAIN_START;
        let mut saved = Self::empty();
        let mut written = None;
        loop {
            let chunk = chunk(before, rest).map_err(|error| match error {
                ChunkError::Torn => StateError::Truncated,
                ChunkError::Damaged => StateError::Damaged(at(rest)),
            })?;
            let damaged = StateError::Damaged(at(rest));
            match (chunk.kind, written) {
                (kind::HEAD, None) => written = Some(saved.head(chunk.body).ok_or(damaged)?),
                (kind::END, Some(_)) if chunk.body.is_empty() => {
                    rest = &rest[chunk.len..];
                    break;
                }
                (kind, Some(written)) => {
                    let passed = seconds_between(written, wall);
                    saved.section(kind, chunk.body, passed).ok_or(damaged)?;
                }
                (_, None) => return Err(damaged),
            }
            saved.check_counts()?;
            (before, rest) = (chunk.sum, &rest[chunk.len..]);
        }
        saved.read_records(rest, wall);
        saved.sort_rests();
        Ok(saved)
    }

    fn empty() -> Self {
        Self {
            id: NodeId([0; 20]),
            depths: [0; 2],
            contacts: Vec::new(),
            rests: Vec::new(),
            pending: BTreeMap::new(),
            failed: BTreeMap::new(),
            settled: Vec::new(),
            records: 0,
            torn_bytes: 0,
        }
    }

    fn head(&mut self, mut body: Body<'_>) -> Option<WallTime> {
        let wall = body.wall()?;
        self.id = body.id()?;
        self.depths = [body.byte()?, body.byte()?];
        body.is_empty().then_some(wall)
    }

    /// Takes one chunk of the snapshot in; `None` if it makes no sense.
    fn section(&mut self, kind: u8, mut body: Body<'_>, passed: u32) -> Option<()> {
        while !body.is_empty() {
            match kind {
                kind::CONTACTS => self.contacts.push(body.contact()?),
                kind::RESTS => self.rests.push(left_after(body.rest()?, passed)),
                kind::PENDING => {
                    let (hash, source, peers) = body.pending()?;
                    self.pending.insert(hash, Pending { source, peers });
                }
                kind::FAILED => self.put_failed(body.failed()?, passed)?,
                kind::SETTLED => self.settled.push(body.hash()?),
                _ => return None,
            }
        }
        (kind::CONTACTS..=kind::SETTLED).contains(&kind).then_some(())
    }

    fn put_failed(&mut self, (hash, failed): (InfoHash, Failed), passed: u32) -> Option<()> {
        if !(1..=SECOND_CHANCE_AFTER.len()).contains(&usize::from(failed.round)) {
            return None;
        }
        let left = failed.left.min(WAIT_MAX.as_secs() as u32).saturating_sub(passed);
        self.failed.insert(hash, Failed { left, ..failed });
        Some(())
    }

    fn check_counts(&self) -> Result<(), StateError> {
        let counts = [
            (self.contacts.len(), TABLE_SAVED_MAX, "contacts"),
            (self.rests.len(), RESTS_SAVED_MAX, "nodes that rest"),
            (self.pending.len(), PENDING_SAVED_MAX, "infohashes under way"),
            (self.failed.len(), FAILED_SAVED_MAX, "failed infohashes"),
            (self.settled.len(), SETTLED_MAX, "settled infohashes"),
        ];
        match counts.into_iter().find(|(count, most, _)| count > most) {
            Some((_, _, what)) => Err(StateError::TooMany(what)),
            None => Ok(()),
        }
    }

    /// Reads records up to the first that is torn, damaged or senseless.
    fn read_records(&mut self, mut rest: &[u8], wall: WallTime) {
        while let Ok(chunk) = chunk(RECORD_START, rest) {
            if self.record(chunk.kind, chunk.body, wall).is_none() {
                break;
            }
            self.records += 1;
            rest = &rest[chunk.len..];
        }
        self.torn_bytes = rest.len();
    }

    /// Takes a record in whole; `None`, and nothing done, if it makes no sense or is beyond all
    /// bounds.
    fn record(&mut self, kind: u8, mut body: Body<'_>, wall: WallTime) -> Option<()> {
        match kind {
            kind::ANSWER => return self.answer(body, wall),
            kind::TAKEN => {
                let (hash, source, peers) = body.pending()?;
                self.room_for_pending(1, body)?;
                self.take_on(hash, Pending { source, peers });
            }
            kind::DROPPED => {
                let hash = self.whole_hash(body)?;
                self.pending.remove(&hash);
                self.failed.remove(&hash);
            }
            kind::RETRY => {
                let passed = seconds_between(body.wall()?, wall);
                let failed = body.failed()?;
                (body.is_empty() && self.failed.len() < FAILED_SAVED_MAX).then_some(())?;
                self.put_failed(failed, passed)?;
                self.pending.remove(&failed.0);
            }
            kind::OVER => {
                let hash = self.whole_hash(body)?;
                (self.settled.len() < SETTLED_MAX).then_some(())?;
                self.pending.remove(&hash);
                self.failed.remove(&hash);
                self.settled.push(hash);
            }
            _ => return None,
        }
        Some(())
    }

    fn answer(&mut self, mut body: Body<'_>, wall: WallTime) -> Option<()> {
        let passed = seconds_between(body.wall()?, wall);
        let rest = body.rest()?;
        let count = usize::from(body.byte()?);
        let mut hashes = [InfoHash([0; 20]); SAMPLES_PER_REPLY];
        for hash in hashes.get_mut(..count)? {
            *hash = body.hash()?;
        }
        self.room_for_pending(count, body)?;
        (self.rests.len() < RESTS_SAVED_MAX).then_some(())?;
        self.rests.push(left_after(rest, passed));
        for hash in &hashes[..count] {
            self.take_on(*hash, Pending { source: Some(rest.contact), peers: Vec::new() });
        }
        Some(())
    }

    fn room_for_pending(&self, count: usize, rest: Body<'_>) -> Option<()> {
        (rest.is_empty() && self.pending.len() + count <= PENDING_SAVED_MAX).then_some(())
    }

    fn take_on(&mut self, hash: InfoHash, pending: Pending) {
        if !self.failed.contains_key(&hash) {
            self.pending.entry(hash).or_insert(pending);
        }
    }

    fn whole_hash(&self, mut body: Body<'_>) -> Option<InfoHash> {
        body.hash().filter(|_| body.is_empty())
    }

    /// Keeps of each address the rest that ends last.
    fn sort_rests(&mut self) {
        self.rests.sort_by_key(|rest| (rest.contact.addr, std::cmp::Reverse(rest.left)));
        self.rests.dedup_by_key(|rest| rest.contact.addr);
    }
}

fn left_after(rest: Rest, passed: u32) -> Rest {
    let left = rest.left.min(REST_MAX.as_secs() as u32).saturating_sub(passed);
    Rest { left, ..rest }
}

/// How much time has passed for certain: none, if the clock was set back.
fn seconds_between(written: WallTime, now: WallTime) -> u32 {
    u32::try_from(now.0.saturating_sub(written.0)).unwrap_or(u32::MAX)
}
