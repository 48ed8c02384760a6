//! A saved state, read: bounded lists, each thing once, times as they are left now.

use std::collections::BTreeMap;

use super::body::Body;
use super::frame::{Frame, Frames, Salt};
use super::item::{Rest, SavedFamily, SavedLead, Unknown};
use super::snapshot::HEAD_SALT;
use super::stamp::Reader;
use super::{Stamp, StateError, WallTime, kind};
use crate::base::addr::{Contact, Family};
use crate::base::id::InfoHash;
use crate::base::time::{Duration, Instant};
use crate::lead::{Lead, Origin};
use crate::limits::{
    FAILED_SAVED_MAX, PENDING_SAVED_MAX, RESTS_SAVED_MAX, SAMPLES_PER_REPLY, SECOND_CHANCE_AFTER,
    SETTLED_MAX, STATE_UNKNOWN_MAX, STERILE_REST, TABLE_SAVED_MAX,
};

/// The longest a rest or a wait can be; whatever is beyond it is not believed.
const REST_MAX: Duration = STERILE_REST;
const WAIT_MAX: Duration = SECOND_CHANCE_AFTER[SECOND_CHANCE_AFTER.len() - 1];

/// What a record that is not known costs besides its body, in bytes.
const UNKNOWN_COST: usize = 64;

/// Everything a state says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Saved {
    pub(crate) families: [Option<SavedFamily>; Family::ALL.len()],
    pub(crate) contacts: Vec<Contact>,
    /// Each address once, in order.
    pub(crate) rests: Vec<Rest>,
    /// Infohashes under way.
    pub(crate) pending: BTreeMap<InfoHash, Lead>,
    /// Infohashes that failed and get another chance.
    pub(crate) failed: BTreeMap<InfoHash, SavedLead>,
    pub(crate) settled: Vec<InfoHash>,
    /// Records of kinds that this version does not know.
    pub(crate) unknown: Vec<Unknown>,
    /// Such records beyond what is kept.
    pub(crate) unknown_left_out: usize,
    /// What the sums cover; `None` in the format before this one.
    pub(crate) salt: Option<Salt>,
    /// It is in the format before this one: no record may follow it.
    pub(crate) is_outdated: bool,
    /// Records appended to the snapshot.
    pub(crate) records: usize,
    /// Records that were damaged.
    pub(crate) damaged: usize,
    /// Bytes after the last good record.
    pub(crate) torn_bytes: usize,
}

impl Saved {
    /// Reads what follows the first line, which ends at `begin`.
    pub(super) fn read(bytes: &[u8], begin: usize, now: Stamp) -> Result<Self, StateError> {
        let bytes = bytes.get(begin..).unwrap_or_default();
        if bytes.len() < 2 * HEAD_LEN {
            return Err(StateError::Truncated);
        }
        let (written, salt) = heads(bytes).ok_or(StateError::Damaged(begin))?;
        let mut clock = Reader::new(now, written);
        let mut saved = Self { salt: Some(salt), ..Self::default() };
        // The heads stand under another salt, at the front and equally long.
        let behind = bytes.get(2 * HEAD_LEN..).unwrap_or_default();
        let mut frames = Frames::new(salt, behind);
        let (mut senseless, mut has_end, mut unknown_bytes) = (0, false, 0);
        for Frame { kind, body, .. } in frames.by_ref() {
            has_end |= kind == kind::END;
            // One of ours that makes sense; what a later version made of the kind is kept.
            if kind == kind::CLOCK
                && let Some(writer) = Body(body).last_clock()
            {
                clock.writer = Some(writer);
                continue;
            }
            if kind & kind::OPTIONAL != 0 {
                saved.keep_unknown(kind, body, &mut unknown_bytes);
                continue;
            }
            senseless += usize::from(saved.take(kind, Body(body), &clock).is_none());
            saved.check_counts()?;
        }
        // A snapshot without its end lacks at least that.
        saved.damaged = (frames.damaged + senseless).max(usize::from(!has_end));
        saved.torn_bytes = frames.torn_bytes;
        saved.sort_rests();
        Ok(saved)
    }

    /// Takes a record in whole; `None`, and nothing done, if it makes no sense or is beyond all
    /// bounds.
    fn take(&mut self, kind: u8, body: Body<'_>, clock: &Reader) -> Option<()> {
        let passed = clock.passed_since(clock.snapshot);
        match kind {
            kind::FAMILY => {
                let saved = body.last_family()?;
                self.families[saved.family.index()] = Some(saved);
            }
            kind::CONTACTS => self.contacts.extend(body.all(Body::contact)?),
            kind::RESTS => {
                let rests = body.all(Body::rest)?;
                self.rests.extend(rests.into_iter().map(|rest| left_after(rest, passed)));
            }
            kind::LEADS => self.leads(&body.all(Body::lead)?, passed)?,
            kind::SETTLED => self.settled.extend(body.all(Body::hash)?),
            kind::END => body.is_empty().then_some(())?,
            kind => {
                self.appended(kind, body, clock)?;
                self.records += 1;
            }
        }
        Some(())
    }

    fn appended(&mut self, kind: u8, mut body: Body<'_>, clock: &Reader) -> Option<()> {
        match kind {
            kind::ANSWER => self.answer(body, clock)?,
            kind::TAKEN => {
                let SavedLead { lead, .. } = body.lead()?;
                self.room_for_pending(1, body)?;
                self.take_on(lead);
            }
            kind::DROPPED => self.drop(body.last_hash()?),
            kind::RETRY => {
                let passed = clock.passed_since(body.wall()?);
                let hash = body.hash()?;
                let (round, left) = (body.byte()?, body.u32()?);
                body.is_empty().then_some(())?;
                // How it was heard of was said when it was taken on.
                let origin = self.pending.get(&hash).map_or(Origin::Sample, |lead| lead.origin);
                let lead = Lead { round, ..Lead::new(hash, Instant::START, origin) };
                self.retry(SavedLead { lead, left }, passed)?;
            }
            kind::OVER => self.over(body.last_hash()?)?,
            _ => return None,
        }
        Some(())
    }

    /// All of them or none.
    fn leads(&mut self, leads: &[SavedLead], passed: u32) -> Option<()> {
        let sensible = |saved: &SavedLead| saved.lead.round == 0 || is_round(saved.lead.round);
        leads.iter().all(sensible).then_some(())?;
        for saved in leads {
            if saved.lead.round == 0 {
                self.pending.insert(saved.lead.hash, saved.lead.clone());
            } else {
                self.put_failed(saved.clone(), passed)?;
            }
        }
        Some(())
    }

    /// Keeps a record of an unknown kind, if it fits in beside those that cost `bytes` so far.
    fn keep_unknown(&mut self, kind: u8, body: &[u8], bytes: &mut usize) {
        let with_it = *bytes + UNKNOWN_COST + body.len();
        if with_it <= STATE_UNKNOWN_MAX {
            *bytes = with_it;
            self.unknown.push(Unknown { kind, body: body.into() });
        } else {
            self.unknown_left_out += 1;
        }
    }

    /// Puts an infohash that failed where it belongs, as much nearer as time has passed.
    pub(super) fn put_failed(&mut self, failed: SavedLead, passed: u32) -> Option<()> {
        is_round(failed.lead.round).then_some(())?;
        let left = failed.left.min(WAIT_MAX.as_secs() as u32).saturating_sub(passed);
        self.failed.insert(failed.lead.hash, SavedLead { left, ..failed });
        Some(())
    }

    /// A state that holds more than any run can is not believed.
    pub(super) fn check_counts(&self) -> Result<(), StateError> {
        for (count, most, what) in [
            (self.contacts.len(), TABLE_SAVED_MAX, "contacts"),
            (self.rests.len(), RESTS_SAVED_MAX, "nodes that rest"),
            (self.pending.len(), PENDING_SAVED_MAX, "infohashes under way"),
            (self.failed.len(), FAILED_SAVED_MAX, "failed infohashes"),
            (self.settled.len(), SETTLED_MAX, "settled infohashes"),
        ] {
            if count > most {
                return Err(StateError::TooMany(what));
            }
        }
        Ok(())
    }

    /// A node rests, and the infohashes that it named are taken on.
    pub(super) fn answer(&mut self, mut body: Body<'_>, clock: &Reader) -> Option<()> {
        let passed = clock.passed_since(body.wall()?);
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
            let lead = Lead::new(*hash, Instant::START, Origin::Sample);
            self.take_on(lead.from(Some(rest.contact)));
        }
        Some(())
    }

    pub(super) fn room_for_pending(&self, count: usize, rest: Body<'_>) -> Option<()> {
        (rest.is_empty() && self.pending.len() + count <= PENDING_SAVED_MAX).then_some(())
    }

    pub(super) fn take_on(&mut self, lead: Lead) {
        if !self.failed.contains_key(&lead.hash) {
            self.pending.entry(lead.hash).or_insert(lead);
        }
    }

    pub(super) fn drop(&mut self, hash: InfoHash) {
        self.pending.remove(&hash);
        self.failed.remove(&hash);
    }

    pub(super) fn retry(&mut self, failed: SavedLead, passed: u32) -> Option<()> {
        (self.failed.len() < FAILED_SAVED_MAX).then_some(())?;
        let hash = failed.lead.hash;
        self.put_failed(failed, passed)?;
        self.pending.remove(&hash);
        Some(())
    }

    pub(super) fn over(&mut self, hash: InfoHash) -> Option<()> {
        (self.settled.len() < SETTLED_MAX).then_some(())?;
        self.drop(hash);
        self.settled.push(hash);
        Some(())
    }

    /// Keeps of each address the rest that ends last.
    pub(super) fn sort_rests(&mut self) {
        self.rests.sort_by_key(|rest| (rest.contact.addr, std::cmp::Reverse(rest.left)));
        self.rests.dedup_by_key(|rest| rest.contact.addr);
    }
}

/// Bytes of a head.
pub(super) const HEAD_LEN: usize = super::frame::HEADER_LEN + 16 + super::frame::SUM_LEN;

/// What the two heads say, of which one is enough.
fn heads(bytes: &[u8]) -> Option<(WallTime, Salt)> {
    let places = [bytes.get(..HEAD_LEN), bytes.get(HEAD_LEN..2 * HEAD_LEN)];
    places.into_iter().flatten().find_map(|place| {
        let Frame { kind, body, .. } = Frames::new(HEAD_SALT, place).next()?;
        let mut body = Body(body);
        (kind == kind::HEAD).then_some(())?;
        let head = (body.wall()?, body.eight()?);
        body.is_empty().then_some(head)
    })
}

fn is_round(round: u8) -> bool {
    (1..=SECOND_CHANCE_AFTER.len()).contains(&usize::from(round))
}

pub(super) fn left_after(rest: Rest, passed: u32) -> Rest {
    let left = rest.left.min(REST_MAX.as_secs() as u32).saturating_sub(passed);
    Rest { left, ..rest }
}
