//! Jobs that make room for others when all are taken: those for which nothing has begun but a
//! question, and whose source owes much more than another's. Must never touch one that has a walk
//! or a connection of its own, or that the user asked for.

use super::job::{Job, Source, WalkState, Work};
use super::{Finished, Jobs};
use crate::crawl::fair_line::Behalf;
use crate::crawl::standing::Standing;
use crate::limits::DISPLACE_SCAN_MAX;

impl Jobs {
    /// Takes out, of the next few jobs that only wait, the one whose source owes most, if that is
    /// more than `most`. Its infohash is to wait for a job again.
    pub(crate) fn displace(&mut self, standing: &Standing, most: i64) -> Option<Finished> {
        let slots = self.jobs.slots();
        let hands = (0..DISPLACE_SCAN_MAX.min(slots)).map(|next| (self.hand + next) % slots);
        let waiting = hands.filter_map(|slot| self.jobs.at(slot)).filter_map(|(key, job)| {
            let Behalf::Hearsay(sponsor) = job.behalf() else { return None };
            job.only_waits().then(|| (standing.debt_with_jobs(sponsor), key))
        });
        let worst = waiting.max_by_key(|(debt, _)| *debt).filter(|(debt, _)| *debt > most);
        self.hand = (self.hand + DISPLACE_SCAN_MAX) % slots.max(1);
        let (_, key) = worst?;
        let displaced = self.finish(key)?;
        // It is counted again when it has found peers again.
        let peers = displaced.peer_count();
        self.finds.peers = self.finds.peers.saturating_sub(peers as u64);
        self.finds.infohashes = self.finds.infohashes.saturating_sub(u64::from(peers > 0));
        Some(displaced)
    }
}

impl Job {
    /// Whether nothing is under way for it, nor was, but the question to its source.
    fn only_waits(&self) -> bool {
        let asks = matches!(self.source, Source::Asked(_) | Source::Queued(1..));
        let walks = matches!(self.walk, WalkState::Walking(_) | WalkState::Done);
        // Of many jobs this is asked often: their peers are looked at last.
        !asks && !walks && self.work == Work::Goes && self.peers.are_untouched()
    }
}
