//! Saving what a crawl knows, and taking it up again.
//!
//! An infohash leaves the state when every output holds its row, not before. If the process dies
//! earlier, or the disk is full, the next run fetches it again.

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
    self, Journal, Rest, Restored, Saved, SavedFamily, SavedLead, SnapshotWriter, Stamp,
    StateError, seconds_left,
};

impl Crawler {
    /// Appends the whole state, as of the second `at`: of each family its id, address and table,
    /// the sampling calendar, infohashes under way with source and peers, failed ones and those
    /// settled for good, and what another version left that this one does not know. Its length is
    /// bounded by [`crate::limits::STATE_LEN_MAX`], and follows from the state alone.
    pub fn snapshot(&self, at: impl Into<Stamp>, out: &mut Vec<u8>) {
        let mut writer = SnapshotWriter::new(out, at.into(), self.carried.salt);
        for family in Family::ALL {
            self.saved_family(family).iter().for_each(|saved| writer.family(saved));
        }
        for network in self.networks.iter().flatten() {
            network.table.saved().into_iter().for_each(|contact| writer.contact(contact));
        }
        for rested in self.networks.iter().flatten().flat_map(|network| network.sweep.saved()) {
            let Rested { contact, by_id, until } = rested;
            writer.rest(&Rest { contact, by_id, left: seconds_left(self.now, until) });
        }
        self.save_infohashes(&mut writer);
        self.carried.unknown.iter().for_each(|unknown| writer.unknown(unknown));
        writer.finish();
    }

    /// What a family has for itself; what was saved of it, if it is off in this run.
    fn saved_family(&self, family: Family) -> Option<SavedFamily> {
        let Some(network) = &self.networks[family.index()] else {
            return self.carried.dormant[family.index()];
        };
        let (id, depth) = (network.endpoint.id(), network.table.depth() as u8);
        Some(SavedFamily { family, id, depth, external: network.external })
    }

    fn save_infohashes(&self, writer: &mut SnapshotWriter<'_>) {
        // Until every output holds its row, an infohash is under way.
        let unheld: BTreeSet<InfoHash> = self.rows.unheld().map(|(lead, _)| lead.hash).collect();
        for (lead, peers) in self.rows.unheld() {
            writer.lead(&lead, 0, peers.iter().copied());
        }
        for lead in self.jobs.saved().filter(|lead| lead.round == 0) {
            writer.lead(&lead, 0, lead.peers.iter().copied());
        }
        // More than can be read again is not written; no run gets there.
        let room = PENDING_SAVED_MAX.saturating_sub(self.rows.unheld_count() + self.jobs.len());
        for lead in self.admission.saved_pending().take(room) {
            writer.lead(lead, 0, lead.peers.iter().copied());
        }
        let room = FAILED_SAVED_MAX - JOBS_MAX;
        for (due, lead) in self.admission.saved_failed().take(room) {
            if !unheld.contains(&lead.hash) {
                let left = seconds_left(self.now, due);
                writer.lead(lead, left, lead.peers.iter().copied());
            }
        }
        let again = |lead: &Lead| lead.round > 0 && !unheld.contains(&lead.hash);
        for lead in self.jobs.saved().filter(again) {
            // Its next round begins anew: the peers of this one have failed, or are about to.
            writer.lead(&Lead { source: None, ..lead }, 0, std::iter::empty());
        }
        for hash in self.admission.saved_settled().filter(|hash| !unheld.contains(hash)) {
            writer.settled(hash);
        }
    }

    /// Takes up what an earlier run saved: one snapshot and any records appended after it. For a
    /// new crawler, before anything else is called but [`Crawler::handle_known`]. A torn or damaged
    /// tail of records is dropped, and said so.
    ///
    /// # Errors
    /// [`StateError`] when it is no state, or one that cannot be read; then nothing is changed.
    pub fn restore(
        &mut self,
        now: Instant,
        at: impl Into<Stamp>,
        saved: &[u8],
    ) -> Result<Restored, StateError> {
        let saved = state::read(saved, at.into())?;
        self.advance(now);
        let mut restored = Restored {
            records: saved.records,
            damaged: saved.damaged,
            unknown: saved.unknown.len(),
            unknown_left_out: saved.unknown_left_out,
            is_outdated: saved.is_outdated,
            torn_bytes: saved.torn_bytes,
            ..Restored::default()
        };
        saved.families.iter().flatten().for_each(|family| self.restore_family(*family));
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

    fn restore_family(&mut self, saved: SavedFamily) {
        let now = self.now;
        match self.network(saved.family) {
            Some(network) => {
                network.rebase(now, saved.id);
                network.table.reshape(now, usize::from(saved.depth));
                network.external = saved.external;
            }
            None => self.carried.dormant[saved.family.index()] = Some(saved),
        }
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
        self.carried.salt = saved.salt.unwrap_or(self.carried.salt);
        self.carried.unknown = saved.unknown;
        if !self.config.mode.sweeps() {
            self.admission.restore_for_later();
        }
        for hash in saved.settled {
            restored.settled += usize::from(self.admission.restore_settled(hash));
        }
        for SavedLead { lead, left } in saved.failed.into_values() {
            let due = now + Duration::from_secs(u64::from(left));
            let lead = Lead { found: now, ..lead };
            let taken = self.admission.restore_failed(due, lead);
            restored.failed += usize::from(taken);
        }
        let kept = |_: &Lead| !planted::is(Bug::ForgetPending);
        for lead in saved.pending.into_values().filter(kept) {
            self.admission.restore_pending(Lead { found: now, ..lead });
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
        self.journal.get_or_insert_with(|| Journal::new(self.carried.salt));
    }

    /// Appends the records since the last call, whole ones; nothing if there is none. To be called
    /// each turn once the rows that outputs hold are acknowledged, and before a snapshot, which
    /// then makes the records before it superfluous. Between two calls at most
    /// [`crate::limits::JOURNAL_NOTES_MAX`] records are kept.
    pub fn poll_journal(&mut self, at: impl Into<Stamp>, out: &mut Vec<u8>) {
        if let Some(journal) = &mut self.journal {
            journal.drain(self.now, at.into(), out);
        }
    }

    /// No output holds rows of these infohashes any more: each is under way again, in a saved state
    /// and, as far as a crawl may take more on, in this run.
    pub fn handle_lost_rows(&mut self, now: Instant, hashes: &[InfoHash]) {
        self.advance(now);
        self.rows.lose(&hashes.iter().copied().collect());
        // What has a job, or a row that is still to be written, is under way.
        let is_idle = |hash: &InfoHash| self.jobs.find(*hash).is_none() && !self.rows.awaits(*hash);
        let lost: BTreeSet<InfoHash> = hashes.iter().copied().filter(is_idle).collect();
        self.admission.take_back(&lost);
        if let Some(journal) = &mut self.journal {
            lost.iter().for_each(|hash| journal.taken(*hash, std::iter::empty()));
        }
        if self.config.mode.sweeps() {
            self.stats.infohashes_new += self.admission.admit_restored() as u64;
            self.fill_jobs();
        }
    }

    /// Begins work on an infohash that an earlier run left and that is now asked for by name.
    pub(super) fn claim(&mut self, hash: InfoHash) -> Option<Key> {
        let waited = self.admission.held();
        let lead = self.admission.claim(hash)?;
        self.stats.infohashes_new += u64::from(self.admission.held() < waited);
        self.begin_job(&Lead { found: self.now, origin: Origin::Request, ..lead })
    }

    /// Notes a node that has just begun to rest, if one has.
    pub(super) fn note_rest(&mut self, rested: Option<Rested>) {
        if let (Some(rested), Some(journal)) = (rested, &mut self.journal) {
            journal.answer(rested.contact, rested.by_id, rested.until);
        }
    }

    /// Notes that an infohash is settled, and its row held by every output if it has one.
    pub(super) fn note_settled(&mut self, hash: InfoHash, leaves: Leaves) {
        let Some(journal) = &mut self.journal else { return };
        match leaves {
            Leaves::Nothing => journal.dropped(hash),
            Leaves::Retry(due, round) => journal.retry(hash, round, due),
            Leaves::Over => journal.over(hash),
        }
    }
}
