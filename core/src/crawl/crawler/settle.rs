//! The ends of infohashes: verified, broken, failed, or waiting for the network to come back. Each
//! leaves a row, another chance, or the note that there is none.

use std::net::SocketAddr;

use super::Crawler;
use crate::base::planted::{self, Bug};
use crate::base::store::Key;
use crate::base::time::Duration;
use crate::crawl::dialer::OpenDial;
use crate::crawl::jobs::Finished;
use crate::crawl::row::{FailureCause, Row, Verdict};
use crate::crawl::rows::{Leaves, Untaken};
use crate::crawl::standing::Sponsor;
use crate::peer::exchange::{Fetched, Transport};

impl Crawler {
    pub(super) fn settle_fetched(&mut self, dial: OpenDial, fetched: Fetched, how: Transport) {
        let Some(job) = self.finish_job(dial.job) else { return };
        self.again.forget(job.hash());
        let Fetched { metadata, info } = fetched;
        let (verdict, leaves) = match info {
            Ok(info) => {
                self.pay(&job, dial.reserve.namer);
                self.stats.verified += 1;
                (Verdict::Verified { metadata, info }, Leaves::Nothing)
            }
            Err(error) => {
                self.admission.settle_for_good(job.hash());
                if job.round() > 0 {
                    // A row says already that there is nothing usable.
                    return self.note_settled(job.hash(), Leaves::Over);
                }
                self.stats.broken += 1;
                (Verdict::Broken { metadata, error }, Leaves::Over)
            }
        };
        self.stats.settled += u64::from(job.round() == 0);
        self.push_row(&job, verdict, leaves, Some((dial.to, how)));
    }

    /// Settles an infohash without metadata, unless the network seems to be gone: then it waits.
    pub(super) fn settle_failed(&mut self, key: Key, cause: FailureCause) {
        if !self.shut_down && self.outage.is_suspected(self.now) {
            self.jobs.hold(key);
        } else {
            self.give_up(key, cause);
        }
    }

    /// Settles an infohash without metadata. A run that ends leaves it as it is: for the next one
    /// it is still under way.
    pub(super) fn give_up(&mut self, key: Key, cause: FailureCause) {
        if self.shut_down {
            return;
        }
        let Some(job) = self.finish_job(key) else { return };
        let (hash, first) = (job.hash(), job.round() == 0);
        if !self.config.mode.dials() && job.peer_count() > 0 {
            self.stats.settled += u64::from(first);
            self.pay(&job, None); // where nothing is dialled there is no other result
            return self.push_row(&job, Verdict::PeersOnly, Leaves::Nothing, None);
        }
        let leaves = if self.config.mode.sweeps() {
            let retry = self.admission.retry_later(self.now, job.lead());
            retry.map_or(Leaves::Over, |(due, round)| Leaves::Retry(due, round))
        } else {
            self.again.on_failed(hash, job.tried());
            Leaves::Nothing
        };
        if first {
            self.stats.settled += 1;
            self.stats.failed += 1;
            self.push_row(&job, Verdict::Failed { cause }, leaves, None);
        } else {
            self.note_settled(hash, leaves); // there is no row to wait for
        }
    }

    /// Pays the node that named the infohash of a job, which has brought what it was for, and the
    /// one that named the peer which served it. What else the first had sampled is taken on now.
    fn pay(&mut self, job: &Finished, namer: Option<Sponsor>) {
        let sponsor = job.sponsor();
        let paid = sponsor.into_iter().chain(namer.map(|namer| (namer, Duration::ZERO)));
        for (sponsor, spent) in paid {
            self.standing.pay(sponsor, spent);
            self.on_eased(sponsor);
        }
        if let Some((sponsor, _)) = sponsor {
            self.take_kept_samples(sponsor);
        }
    }

    /// The debt of a node has become less: what it named moves up.
    pub(super) fn on_eased(&mut self, sponsor: Sponsor) {
        self.admission.on_paid(&self.standing, sponsor);
        self.jobs.on_paid(&self.standing, sponsor);
    }

    /// Takes a job out and ends its walks: one that waits for its turn, which takes minutes while
    /// new flows are few, would ask on for a settled infohash.
    fn finish_job(&mut self, key: Key) -> Option<Finished> {
        let job = self.jobs.finish(key)?;
        if job.is_connected() {
            self.dialer.release(key);
        }
        self.release_reserve(&job);
        let mut ended = false;
        for (family, walk) in job.walks() {
            ended |= self.network(family).and_then(|network| network.walks.end(walk)).is_some();
        }
        if ended {
            self.begin_walks(); // for jobs that wait for a place
        }
        Some(job)
    }

    /// A job is not under way any more: its source owes so much less.
    pub(super) fn release_reserve(&mut self, job: &Finished) {
        self.standing.settle(job.reserve(), Duration::ZERO);
        job.reserve().sponsor.into_iter().for_each(|sponsor| self.on_eased(sponsor));
    }

    fn push_row(
        &mut self,
        job: &Finished,
        verdict: Verdict,
        leaves: Leaves,
        serving: Option<(SocketAddr, Transport)>,
    ) {
        let mut peers = job.peers(serving.map(|(addr, _)| addr));
        if matches!(verdict, Verdict::Failed { .. }) && !job.was_accepted() {
            // Perhaps none of them is a peer: a line for each would be a stranger's to order.
            peers.truncate(1);
        }
        let row = Row {
            infohash: job.hash(),
            verdict,
            peers,
            transport: serving.map(|(_, transport)| transport),
            found: job.found(),
            settled: self.now,
        };
        let times = 1 + usize::from(planted::is(Bug::RepeatedRows));
        let untaken = Untaken { row, origin: job.origin(), leaves };
        std::iter::repeat_n(untaken, times).for_each(|untaken| self.rows.push(untaken));
    }
}
