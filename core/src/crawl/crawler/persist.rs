//! Saving what a crawl knows, and taking it up again.
//!
//! What is settled leaves the state when its row is taken, not before: a row that nobody has
//! written yet must not be lost with the process.

use std::collections::BTreeSet;

use super::Crawler;
use crate::base::addr::{Contact, Family};
use crate::base::id::InfoHash;
use crate::base::planted::{self, Bug};
use crate::base::store::Key;
use crate::base::time::{Duration, Instant};
use crate::crawl::rows::Leaves;
use crate::dht::sweep::{Offer, Rested};
use crate::lead::{Lead, Origin};
use crate::limits::{FAILED_SAVED_MAX, JOBS_MAX, PENDING_SAVED_MAX};
use crate::state::{
    Failed, Pending, Rest, Restored, Saved, SnapshotWriter, StateError, WallTime, seconds_left,
};

impl Crawler {
    /// Appends the whole state, as of `wall`: node id, contacts of the tables, sampling calendar,
    /// infohashes under way with source and peers, failed ones and those settled for good. Its
    /// length is bounded by [`crate::limits::STATE_LEN_MAX`], and follows from the state alone.
    pub fn snapshot(&self, wall: WallTime, out: &mut Vec<u8>) {
        let table = |family: Family| self.networks[family.index()].as_ref().map(|p| &p.table);
        let depth = |family| table(family).map_or(0, |table| table.depth() as u8);
        let mut writer = SnapshotWriter::new(out, wall, self.id, Family::ALL.map(depth));
        for family in Family::ALL {
            let saved = table(family).map(|table| table.saved()).unwrap_or_default();
            saved.into_iter().for_each(|contact| writer.contact(contact));
        }
        for rested in self.networks.iter().flatten().flat_map(|network| network.sweep.saved()) {
            let Rested { contact, by_id, until } = rested;
            writer.rest(&Rest { contact, by_id, left: seconds_left(self.now, until) });
        }
        self.save_infohashes(&mut writer);
        writer.finish();
    }

    fn save_infohashes(&self, writer: &mut SnapshotWriter<'_>) {
        // Until somebody has taken its row, an infohash is under way.
        let rows = || self.rows.iter().map(|untaken| &untaken.row);
        let untaken: BTreeSet<InfoHash> = rows().map(|row| row.infohash).collect();
        for row in rows() {
            writer.pending(row.infohash, None, row.peers.iter().copied());
        }
        for lead in self.jobs.saved().filter(|lead| lead.round == 0) {
            writer.pending(lead.hash, lead.source, lead.peers.iter().copied());
        }
        // More than can be read again is not written; no run gets there.
        let room = PENDING_SAVED_MAX.saturating_sub(self.rows.len() + self.jobs.len());
        for lead in self.admission.saved_pending().take(room) {
            writer.pending(lead.hash, lead.source, lead.peers.iter().copied());
        }
        let room = FAILED_SAVED_MAX - JOBS_MAX;
        for (due, lead) in self.admission.saved_failed().take(room) {
            if !untaken.contains(&lead.hash) {
                let left = seconds_left(self.now, due);
                writer.failed(lead.hash, Failed { round: lead.round, left });
            }
        }
        for lead in self.jobs.saved().filter(|lead| lead.round > 0) {
            writer.failed(lead.hash, Failed { round: lead.round, left: 0 });
        }
        for hash in self.admission.saved_settled().filter(|hash| !untaken.contains(hash)) {
            writer.settled(hash);
        }
    }

    /// Takes up what an earlier run saved: one snapshot and any records appended after it. For a
    /// new crawler, before anything else is called but [`Crawler::handle_known`]. A torn or damaged
    /// tail of records is dropped, and said so.
    ///
    /// # Errors
    /// [`StateError`] when there is no whole snapshot of this format; then nothing is changed.
    pub fn restore(
        &mut self,
        now: Instant,
        wall: WallTime,
        saved: &[u8],
    ) -> Result<Restored, StateError> {
        let saved = Saved::read(saved, wall)?;
        self.advance(now);
        let mut restored = Restored {
            records: saved.records,
            torn_bytes: saved.torn_bytes,
            ..Restored::default()
        };
        self.id = saved.id;
        for (family, depth) in Family::ALL.into_iter().zip(saved.depths) {
            let now = self.now;
            if let Some(network) = self.network(family) {
                network.rebase(now, saved.id);
                network.table.reshape(now, usize::from(depth));
            }
        }
        self.restore_rests(&saved.rests, &mut restored);
        for contact in &saved.contacts {
            let taken = self.restore_contact(*contact);
            restored.contacts += usize::from(taken);
            restored.left_out += usize::from(!taken);
        }
        for network in self.networks.iter_mut().flatten() {
            network.sweep.on_restored();
            network.warm.begin();
        }
        self.restore_infohashes(saved, &mut restored);
        Ok(restored)
    }

    fn restore_rests(&mut self, rests: &[Rest], restored: &mut Restored) {
        let now = self.now;
        for rest in rests {
            let Rest { contact, by_id, left } = *rest;
            let until = now + Duration::from_secs(u64::from(left));
            let router = self.bootstraps.is_router(contact.addr);
            let network = self.network(Family::of(contact.addr)).filter(|_| !router);
            let rested = Rested { contact, by_id, until };
            if network.is_some_and(|n| n.sweep.restore(&mut n.known, now, rested)) {
                restored.resting += usize::from(left > 0);
                restored.due += usize::from(left == 0);
                self.stats.contacts_heard += 1;
            } else {
                restored.left_out += 1;
            }
        }
        // Whoever rests longest was met last.
        let mut latest: Vec<&Rest> = rests.iter().collect();
        latest.sort_by_key(|rest| std::cmp::Reverse(rest.left));
        for rest in latest {
            let contact = rest.contact;
            let admitted = self.config.policy.admits_node(contact.addr);
            if let Some(network) = self.network(Family::of(contact.addr)).filter(|_| admitted) {
                network.warm.add_reserve(now, contact);
            }
        }
    }

    fn restore_contact(&mut self, contact: Contact) -> bool {
        let (now, sweeps) = (self.now, self.config.mode.sweeps());
        if self.bootstraps.is_router(contact.addr) {
            return false;
        }
        let Some(network) = self.network(Family::of(contact.addr)) else { return false };
        if !network.table.restore(now, contact) {
            return false;
        }
        let (new, queued) = if sweeps {
            let offer = network.sweep.offer(&mut network.known, now, contact, None);
            (offer == Offer::New, offer != Offer::Ignored)
        } else {
            (network.known.hear(now, contact), false)
        };
        network.warm.add_table(now, contact, queued);
        self.stats.contacts_heard += u64::from(new);
        true
    }

    fn restore_infohashes(&mut self, saved: Saved, restored: &mut Restored) {
        let now = self.now;
        if !self.config.mode.sweeps() {
            self.admission.restore_for_later();
        }
        for hash in saved.settled {
            restored.settled += usize::from(self.admission.restore_settled(hash));
        }
        for (hash, Failed { round, left }) in saved.failed {
            let due = now + Duration::from_secs(u64::from(left));
            let lead = Lead { round, ..Lead::new(hash, now, Origin::Sample) };
            let taken = self.admission.restore_failed(due, lead);
            restored.failed += usize::from(taken);
        }
        let kept = |_: &(InfoHash, Pending)| !planted::is(Bug::ForgetPending);
        for (hash, Pending { source, peers }) in saved.pending.into_iter().filter(kept) {
            // What names no source was asked for, or lost it with its first question.
            let origin = if source.is_some() { Origin::Sample } else { Origin::Request };
            let lead = Lead { source, peers, ..Lead::new(hash, now, origin) };
            self.admission.restore_pending(lead);
        }
        // Where only what is asked for by name is fetched, all else waits for another run.
        if self.config.mode.sweeps() {
            restored.pending = self.admission.admit_restored();
            self.stats.infohashes_new += restored.pending as u64;
        }
        restored.held = self.admission.held();
    }

    /// From now on keeps records of what [`Crawler::snapshot`] would say differently.
    pub fn keep_journal(&mut self) {
        self.admission.hold();
        self.journal.get_or_insert_default();
    }

    /// Appends the records since the last call, whole ones; nothing if there is none. To be called
    /// each turn once the rows of that turn are safe, and before a snapshot, which then makes the
    /// records before it superfluous. Between two calls at most
    /// [`crate::limits::JOURNAL_NOTES_MAX`] records are kept.
    pub fn poll_journal(&mut self, wall: WallTime, out: &mut Vec<u8>) {
        if let Some(journal) = &mut self.journal {
            journal.drain(self.now, wall, out);
        }
    }

    /// Begins work on an infohash that an earlier run left and that is now asked for by name.
    pub(super) fn claim(&mut self, hash: InfoHash) -> Option<Key> {
        let waited = self.admission.held();
        let lead = self.admission.claim(hash)?;
        self.stats.infohashes_new += u64::from(self.admission.held() < waited);
        self.begin_job(&Lead { found: self.now, ..lead })
    }

    /// Notes a node that has just begun to rest, if one has.
    pub(super) fn note_rest(&mut self, rested: Option<Rested>) {
        if let (Some(rested), Some(journal)) = (rested, &mut self.journal) {
            journal.answer(rested.contact, rested.by_id, rested.until);
        }
    }

    /// Notes that an infohash is settled, and its row taken if it has one.
    pub(super) fn note_settled(&mut self, hash: InfoHash, leaves: Leaves) {
        let Some(journal) = &mut self.journal else { return };
        match leaves {
            Leaves::Nothing => journal.dropped(hash),
            Leaves::Retry(due, round) => journal.retry(hash, round, due),
            Leaves::Over => journal.over(hash),
        }
    }
}
