//! From infohash to row: jobs, their questions to sources and walks, and the ends of their dials.

use std::net::SocketAddr;

use super::{Crawler, Full};
use crate::base::addr::Family;
use crate::base::fault::PeerFault;
use crate::base::id::InfoHash;
use crate::base::planted::{self, Bug};
use crate::base::store::Key;
use crate::crawl::admission::Admitted;
use crate::crawl::dialer::OpenDial;
use crate::crawl::job::{Job, Need, Source, WalkState};
use crate::crawl::row::{FailureCause, Row, Verdict};
use crate::crawl::rows::{Leaves, Untaken};
use crate::lead::{Lead, Origin};
use crate::limits::{JOB_PATIENCE, JOBS_MAX, SEEDS_WITHIN, SOURCE_ASKS_MAX, WALK_PEERS_ENOUGH};
use crate::peer::exchange::{Fetched, Outcome, Progress, Transport};

impl Crawler {
    pub(super) fn request(&mut self, hash: InfoHash, peers: &[SocketAddr]) -> Result<(), Full> {
        let key = match self.by_hash.get(&hash) {
            Some(key) => *key,
            None if self.jobs.is_full() || !self.rows.have_room() => return Err(Full),
            None => match self.admission.admit(hash) {
                Admitted::Full => return Err(Full),
                Admitted::Known => match self.claim(hash) {
                    Some(key) => key,
                    None => return Ok(()),
                },
                Admitted::Closed | Admitted::Held => return Ok(()),
                Admitted::New => {
                    self.stats.infohashes_new += 1;
                    let new = Lead::new(hash, self.now, Origin::Request);
                    let Some(key) = self.begin_job(new) else { return Err(Full) };
                    if let Some(journal) = &mut self.journal {
                        journal.taken(hash, peers.iter().copied());
                    }
                    key
                }
            },
        };
        // The user named these addresses: only what no host can own is refused.
        let policy = crate::base::addr::AddressPolicy::AllowPrivate;
        let named = peers.iter().copied().filter(|peer| policy.admits(*peer));
        self.keep_admitted(key, named, usize::MAX);
        self.settle_or_continue(key);
        Ok(())
    }

    /// Whether an infohash that waits for a job may have one: as long as rows are taken, and not
    /// before somebody answered. What waits until then is an earlier run's; in a dead network it
    /// would only fail, and have lost its source.
    pub(super) fn takes_jobs(&self) -> bool {
        let cut_off = self.stats.answered == 0 && self.networks.iter().any(Option::is_some);
        !self.shut_down && !cut_off && !self.jobs.is_full() && self.rows.have_room()
    }

    /// Gives free jobs to infohashes that wait for one.
    pub(super) fn fill_jobs(&mut self) {
        while self.takes_jobs() {
            let Some(next) = self.admission.next(self.now) else { break };
            let Some(key) = self.begin_job(next) else { break };
            self.settle_or_continue(key);
        }
    }

    /// Begins work on `new`.
    pub(super) fn begin_job(&mut self, new: Lead) -> Option<Key> {
        let job = Job::new(new.found, new.hash, new.source, new.round, new.origin);
        let source = job.source;
        let key = self.jobs.insert(job).ok()?;
        self.by_hash.insert(new.hash, key);
        if self.patience.len() >= 2 * JOBS_MAX {
            // Most are of jobs long settled; those that live are at most half.
            self.patience.retain(|key| self.jobs.get(*key).is_some());
        }
        self.patience.push(self.now, key);
        if let Source::Pending { node, .. } = source {
            match self.network(Family::of(node.addr)) {
                Some(network) => network.asking.push_back(key),
                None => self.forget_source(key),
            }
        }
        if !new.peers.is_empty() {
            self.keep_saved(key, &new.peers);
        }
        Some(key)
    }

    /// Gives up on jobs to which nothing has happened for too long: whoever is over some limit
    /// must not hold a place for ever.
    pub(super) fn expire_jobs(&mut self) {
        let now = self.now;
        // Then it waits for a sink, or for a place among the walks, which is nobody's fault.
        let held_up = !self.rows.have_room();
        let busy = self.networks.iter().flatten().any(|network| !network.walks.has_room());
        while let Some(key) = self.patience.pop_due(now) {
            match self.jobs.get(key) {
                Some(job)
                    if now.since(job.touched) < JOB_PATIENCE
                        || held_up
                        || job.waits_for_walk() && busy =>
                {
                    self.patience.push(now, key);
                }
                Some(job) => self.give_up(key, job.cause()),
                None => {}
            }
        }
        let nobody = self.stats.answered == 0 && now.since(self.begun) >= SEEDS_WITHIN;
        while nobody && !self.shut_down {
            // Nobody has answered, so no walk can begin: waiting longer would be for ever.
            let Some(key) = self.waiting_for_walk.pop_front() else { break };
            if let Some(job) = self.jobs.get_mut(key) {
                job.walk = WalkState::Done;
                self.settle_or_continue(key);
            }
        }
    }

    /// Somebody answered, so the network is there.
    pub(super) fn sign_of_life(&mut self) {
        self.stats.outages += u64::from(self.outage.on_sign_of_life(self.now));
        self.rescue_jobs();
    }

    /// Goes on with infohashes that an outage has held up.
    pub(super) fn rescue_jobs(&mut self) {
        while let Some(key) = self.outage.rescue(self.now) {
            if let Some(job) = self.jobs.get_mut(key) {
                job.held_by_outage = false;
                if job.walk_in_doubt && !self.outage.was_false_alarm() {
                    job.walk = WalkState::None; // perhaps nobody could answer the one it had
                }
                job.walk_in_doubt = false;
                self.settle_or_continue(key);
            }
        }
    }

    fn forget_source(&mut self, key: Key) {
        if let Some(job) = self.jobs.get_mut(key) {
            job.source = Source::Done;
        }
    }

    pub(super) fn source_answered(&mut self, key: Key) {
        self.forget_source(key);
        self.settle_or_continue(key);
    }

    pub(super) fn source_failed(&mut self, key: Key) {
        let blameless = self.outage.is_suspected(self.now);
        let Some(job) = self.jobs.get_mut(key) else { return };
        match job.source {
            Source::Pending { node, asks } if asks < SOURCE_ASKS_MAX || blameless => {
                if let Some(network) = self.network(Family::of(node.addr)) {
                    network.asking.push_back(key);
                }
            }
            _ => self.source_answered(key),
        }
    }

    /// Keeps peers of one answer: usable ones, of a family that is on, as far as one answer may
    /// fill the places. `true` if any was usable.
    pub(super) fn keep_peers(
        &mut self,
        key: Key,
        peers: impl Iterator<Item = SocketAddr>,
        source: bool,
    ) -> bool {
        let limits = self.job_limits();
        let Some(job) = self.jobs.get(key) else { return false };
        let places = job.places_for_answer(&limits, source);
        let usable = self.usable();
        self.keep_admitted(key, peers.filter(usable), places)
    }

    /// Keeps the usable ones of the peers that an earlier run kept.
    fn keep_saved(&mut self, key: Key, peers: &[SocketAddr]) {
        let usable = self.usable();
        self.keep_admitted(key, peers.iter().copied().filter(usable), usize::MAX);
    }

    /// Which peers may be dialled: those of a family that is on, unless they are ourselves.
    fn usable(&self) -> impl Fn(&SocketAddr) -> bool + use<> {
        let (policy, own) = (self.config.policy, self.config.own);
        move |peer| {
            let family = own[Family::of(*peer).index()];
            policy.admits(*peer) && family.is_some() && family != Some(*peer)
        }
    }

    fn keep_admitted(
        &mut self,
        key: Key,
        peers: impl Iterator<Item = SocketAddr>,
        places: usize,
    ) -> bool {
        let (limits, now) = (self.job_limits(), self.now);
        let Some(job) = self.jobs.get_mut(key) else { return false };
        let before = job.peer_count();
        let mut usable = false;
        for peer in peers {
            usable = true;
            if job.peer_count() - before < places {
                job.add_peer(&limits, peer);
            } else {
                job.reserve_peer(peer);
            }
        }
        job.touched = now;
        job.answers = job.answers.saturating_add(u8::from(usable));
        let added = job.peer_count() - before;
        self.stats.peers_found += added as u64;
        self.stats.infohashes_with_peers += u64::from(before == 0 && added > 0);
        usable
    }

    /// Does what a job needs now.
    pub(super) fn settle_or_continue(&mut self, key: Key) {
        let limits = self.job_limits();
        let Some(job) = self.jobs.get_mut(key) else { return };
        let mut need = job.need(&limits);
        if matches!(need, Need::Settle(_)) {
            let admitted = job.admit_reserve(&limits);
            self.stats.peers_found += admitted as u64;
            need = job.need(&limits);
        }
        if job.walks_paused && job.peers_waiting() == 0 && need == Need::Wait {
            return self.resume_walks(key);
        }
        match need {
            Need::Wait => {}
            Need::Dial => self.dialer.enqueue(key, job),
            Need::Walk => {
                job.walk = WalkState::Pending;
                self.waiting_for_walk.push_back(key);
                self.begin_walks();
            }
            Need::Settle(cause) => self.settle_failed(key, cause),
        }
    }

    /// Begins walks for jobs that wait for one, as far as there is room and somebody to ask. A
    /// family without room is passed over rather than waited for.
    pub(super) fn begin_walks(&mut self) {
        while !self.shut_down {
            let Some(&key) = self.waiting_for_walk.front() else { break };
            if !self.networks.iter().flatten().any(|network| network.walks.has_room())
                && !self.end_paused_walk(None)
            {
                break;
            }
            let Some(job) = self.jobs.get_mut(key) else {
                self.waiting_for_walk.pop_front();
                continue;
            };
            for family in Family::ALL {
                if let Some(network) = &mut self.networks[family.index()] {
                    let named = self.bootstraps.answering_nodes(family);
                    job.walks_open += u8::from(network.begin_walk(key, job.hash, named));
                }
            }
            if job.walks_open == 0 {
                break; // nobody is known yet: wait for a first answer
            }
            job.touched = self.now;
            self.stats.walks += 1;
            self.waiting_for_walk.pop_front();
        }
    }

    /// Ends a walk that has nobody left to ask, or whose job needs it no more.
    pub(super) fn end_walk_if_done(&mut self, family: Family, walk: Key) {
        let Some(network) = self.networks[family.index()].as_deref_mut() else { return };
        let Some(key) = network.walks.job(walk) else { return };
        let most = self.config.peers_per_infohash as usize;
        let full = self.jobs.get(key).is_none_or(|job| job.peer_count() >= most);
        // One node alone may have made them all up (H21).
        let enough = self
            .jobs
            .get(key)
            .is_some_and(|job| job.peers_waiting() >= WALK_PEERS_ENOUGH && job.answers > 1);
        // Nodes that collude may be the nearest: as long as no peer is named, whoever else has been
        // asked still has its say.
        let hoping = self.jobs.get(key).is_some_and(|job| job.peer_count() == 0);
        let waits = hoping && network.walks.is_waiting(walk);
        if !full && (waits || !network.walks.is_done(walk)) {
            if !enough {
                return;
            }
            if self.config.mode.dials() {
                // Several may have made them up: should none of them serve, the walk goes on.
                network.walks.pause(walk);
                self.jobs.get_mut(key).into_iter().for_each(|job| job.walks_paused = true);
                return;
            }
        }
        network.walks.end(walk);
        let suspected = self.outage.is_suspected(self.now);
        if let Some(job) = self.jobs.get_mut(key) {
            job.walks_open = job.walks_open.saturating_sub(1);
            job.walk_in_doubt |= suspected;
            if job.walks_open == 0 {
                job.walk = WalkState::Done;
            }
            self.settle_or_continue(key);
        }
        self.begin_walks();
    }

    /// Goes on with the walks of a job that has tried all that they have found so far.
    fn resume_walks(&mut self, key: Key) {
        if let Some(job) = self.jobs.get_mut(key) {
            job.walks_paused = false;
        }
        for family in Family::ALL {
            if let Some(walk) = self.network(family).and_then(|network| network.walks.resume(key)) {
                self.end_walk_if_done(family, walk);
            }
        }
    }

    /// Ends a paused walk, of `job` if that is given: it holds a place that another one needs, or
    /// its job is over. `false` if there is none.
    fn end_paused_walk(&mut self, job: Option<Key>) -> bool {
        let ended =
            self.networks.iter_mut().flatten().find_map(|network| network.walks.end_paused(job));
        if let Some(job) = ended.and_then(|key| self.jobs.get_mut(key)) {
            job.walks_open = job.walks_open.saturating_sub(1);
            if job.walks_open == 0 {
                job.walk = WalkState::Done;
                job.walks_paused = false;
            }
        }
        ended.is_some()
    }

    pub(super) fn finish_dial(&mut self, dial: OpenDial, mut outcome: Outcome) {
        let too_much = |fetched: &Fetched| !self.rows.have_room_for(fetched);
        if outcome.result.as_ref().is_ok_and(too_much) {
            // Rows are not taken: the peer, to whom nothing of that is due, is asked once more.
            outcome.result = Err(PeerFault::Pressure);
        }
        self.count_progress(&outcome);
        if let Some(done) = outcome.timings.handshaken {
            self.dialer.on_handshake(done.since(outcome.timings.started));
        }
        match outcome.result {
            Ok(fetched) => {
                self.sign_of_life();
                self.stats.delivered += 1;
                self.dialer.on_relief();
                self.settle_verified(dial, fetched, outcome.transport);
            }
            Err(fault) => {
                if fault == PeerFault::Refused {
                    self.sign_of_life();
                }
                self.count_fault(fault);
                self.dial_failed(dial, fault, outcome);
            }
        }
    }

    fn dial_failed(&mut self, dial: OpenDial, fault: PeerFault, outcome: Outcome) {
        if self.shut_down || fault == PeerFault::Aborted {
            return; // cut off, not failed: the infohash is new to the next run
        }
        // Without a connection it was the system that refused; with one, the budget for metadata.
        let refused = fault == PeerFault::Pressure && outcome.progress == Progress::Nothing;
        if refused {
            self.dialer.on_pressure(self.now);
        } else {
            self.dialer.on_relief();
        }
        let too_many = fault == PeerFault::ClosedEarly && dial.crowded;
        if too_many {
            self.dialer.serialise(dial.to);
        }
        let now = self.now;
        let Some(job) = self.jobs.get_mut(dial.job) else { return };
        job.touched = now;
        let accepted = outcome.progress >= Progress::Connected;
        // Pieces that other peers left say nothing about this one.
        let several = outcome.pieces_offered > 1 && outcome.partial.is_some();
        let choked = matches!(fault, PeerFault::MetadataTimeout | PeerFault::ClosedLate);
        let cut_off = self.outage.is_suspected(now) && fault.may_be_outage();
        let blameless = too_many || cut_off || fault == PeerFault::Pressure;
        let counted = !refused && !cut_off && self.rows.have_room();
        if !(blameless && job.put_back(dial.to, counted)) {
            job.on_fault(dial.to, fault, accepted, choked && several);
        }
        if job.may_pool()
            && let Some(pieces) = outcome.partial
        {
            self.piece_cache.put(dial.job, pieces);
        }
        self.settle_or_continue(dial.job);
    }

    fn count_progress(&mut self, outcome: &Outcome) {
        let reached = |step| u64::from(outcome.progress >= step);
        self.stats.connected += reached(Progress::Connected);
        self.stats.handshaken += reached(Progress::Handshaken);
        self.stats.offering_metadata += reached(Progress::Offered);
        self.stats.complete += reached(Progress::Complete);
    }

    fn settle_verified(&mut self, dial: OpenDial, fetched: Fetched, transport: Transport) {
        let Some(job) = self.take_job(dial.job) else { return };
        let Fetched { metadata, info } = fetched;
        let (verdict, leaves) = match info {
            Ok(info) => {
                self.stats.verified += 1;
                (Verdict::Verified { metadata, info }, Leaves::Nothing)
            }
            Err(error) => {
                self.admission.settle_for_good(job.hash);
                if job.round > 0 {
                    // A row says already that there is nothing usable.
                    return self.note_settled(job.hash, Leaves::Over);
                }
                self.stats.broken += 1;
                (Verdict::Broken { metadata, error }, Leaves::Over)
            }
        };
        self.stats.settled += u64::from(job.round == 0);
        self.push_row(&job, verdict, leaves, Some((dial.to, transport)));
    }

    /// Settles an infohash without metadata, unless the network seems to be gone: then it waits.
    fn settle_failed(&mut self, key: Key, cause: FailureCause) {
        if self.shut_down || !self.outage.is_suspected(self.now) {
            return self.give_up(key, cause);
        }
        if let Some(job) = self.jobs.get_mut(key).filter(|job| !job.held_by_outage) {
            job.held_by_outage = true;
            self.outage.hold(key);
        }
    }

    fn give_up(&mut self, key: Key, cause: FailureCause) {
        if self.shut_down {
            return;
        }
        let Some(job) = self.take_job(key) else { return };
        let failed = Lead { round: job.round, ..Lead::new(job.hash, job.found, job.origin) };
        if !self.config.mode.dials() && job.peer_count() > 0 {
            self.stats.settled += u64::from(job.round == 0);
            return self.push_row(&job, Verdict::PeersOnly, Leaves::Nothing, None);
        }
        let leaves = if self.config.mode.sweeps() {
            let retry = self.admission.retry_later(self.now, failed);
            retry.map_or(Leaves::Over, |(due, round)| Leaves::Retry(due, round))
        } else {
            Leaves::Nothing
        };
        if job.round == 0 {
            self.stats.settled += 1;
            self.stats.failed += 1;
            self.push_row(&job, Verdict::Failed { cause }, leaves, None);
        } else {
            self.note_settled(job.hash, leaves); // there is no row to wait for
        }
    }

    fn take_job(&mut self, key: Key) -> Option<Job> {
        let job = self.jobs.remove(key)?;
        while job.walks_paused && self.end_paused_walk(Some(key)) {}
        self.by_hash.remove(&job.hash);
        self.piece_cache.take(key);
        Some(job)
    }

    fn push_row(
        &mut self,
        job: &Job,
        verdict: Verdict,
        leaves: Leaves,
        serving: Option<(SocketAddr, Transport)>,
    ) {
        let row = Row {
            infohash: job.hash,
            verdict,
            peers: job.peers(serving.map(|(addr, _)| addr)),
            transport: serving.map(|(_, transport)| transport),
            found: job.found,
            settled: self.now,
        };
        let times = 1 + usize::from(planted::is(Bug::RepeatedRows));
        std::iter::repeat_n(Untaken { row, leaves }, times).for_each(|row| self.rows.push(row));
    }
}
