//! Jobs that make room for others when all are taken, and whose source owes much more than
//! another's: those for which nothing has begun but a question wait again, and those that have
//! tried several peers in vain are given up until their second chance. Must never touch one that
//! has a connection open, that is asking its source, or that the user asked for.

use super::job::{Job, Source, WalkState, Work};
use super::{FailureCause, Finished, Jobs};
use crate::base::store::Key;
use crate::crawl::fair_line::Behalf;
use crate::crawl::standing::Standing;
use crate::limits::{DIALS_BEFORE_GIVEN_UP, DISPLACE_SCAN_MAX};

/// How a job makes room.
pub(crate) enum Displaced {
    /// It is taken out, and its infohash is to wait for a job again.
    ToWait(Box<Finished>),
    /// It is to be settled without metadata: what it would do again was done.
    ToSettle(Key, FailureCause),
}

impl Jobs {
    /// Of the next few jobs that may make room the one whose source owes most, if that is more than
    /// `most`.
    pub(crate) fn displace(&mut self, standing: &Standing, most: i64) -> Option<Displaced> {
        let slots = self.jobs.slots();
        let hands = (0..DISPLACE_SCAN_MAX.min(slots)).map(|next| (self.hand + next) % slots);
        let giving = hands.filter_map(|slot| self.jobs.at(slot)).filter_map(|(key, job)| {
            let Behalf::Hearsay(sponsor) = job.behalf() else { return None };
            job.room().map(|room| (standing.debt_with_jobs(sponsor), key, room))
        });
        let worst = giving.max_by_key(|(debt, ..)| *debt).filter(|(debt, ..)| *debt > most);
        self.hand = (self.hand + DISPLACE_SCAN_MAX) % slots.max(1);
        let (_, key, room) = worst?;
        if room == Room::AfterDials {
            let cause = self.jobs.get(key)?.cause();
            return Some(Displaced::ToSettle(key, cause));
        }
        let displaced = self.finish(key)?;
        // It is counted again when it has found peers again.
        let peers = displaced.peer_count();
        self.finds.peers = self.finds.peers.saturating_sub(peers as u64);
        self.finds.infohashes = self.finds.infohashes.saturating_sub(u64::from(peers > 0));
        Some(Displaced::ToWait(Box::new(displaced)))
    }
}

/// Why a job may make room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// Nothing has begun for it but the question to its source.
    Untouched,
    /// It has had its share of dials, none is under way, and no other source is left to ask.
    AfterDials,
}

impl Job {
    fn room(&self) -> Option<Room> {
        let asks = matches!(self.source, Source::Asked(_) | Source::Queued(1..));
        if asks || self.is_connected() || self.work != Work::Goes {
            return None;
        }
        let walks = matches!(self.walk, WalkState::Walking(_) | WalkState::Done);
        // Of many jobs this is asked often: their peers are looked at last.
        if !walks && self.peers.are_untouched() {
            return Some(Room::Untouched);
        }
        let has_had_share = self.peers.tried().nth(DIALS_BEFORE_GIVEN_UP - 1).is_some();
        let has_more = self.other.node().is_some() || self.peers.has_orders_due();
        (has_had_share && !has_more).then_some(Room::AfterDials)
    }
}
