//! Which infohashes become jobs, and when: those asked for by name, and those that wait in the
//! admission until a job is free.

use super::{Crawler, Full};
use crate::base::addr::Family;
use crate::base::store::Key;
use crate::base::time::Duration;
use crate::crawl::admission::Admitted;
use crate::crawl::jobs::Displaced;
use crate::lead::{Lead, Origin, Request};
use crate::limits::{DISPLACE_MARGIN, DISPLACE_PAUSE, DISPLACE_PAUSE_MAX, JOB_COST};

impl Crawler {
    pub(super) fn request(&mut self, request: &Request) -> Result<(), Full> {
        let hash = request.hash;
        let key = match self.jobs.find(hash) {
            Some(key) => key,
            None if self.jobs.is_full() || !self.rows.have_room() => return Err(Full),
            None => match self.admission.admit(hash) {
                Admitted::Full => return Err(Full),
                Admitted::Known => match self.claim(hash) {
                    Some(key) => key,
                    None => return self.request_again(request),
                },
                Admitted::Closed | Admitted::Held => return Ok(()),
                Admitted::New => {
                    self.stats.infohashes_new += 1;
                    let lead = Lead::new(hash, self.now, Origin::Request);
                    let Some(key) = self.begin_job(&lead) else { return Err(Full) };
                    if let Some(journal) = &mut self.journal {
                        let peers = request.orders.iter().chain(&request.hearsay);
                        journal.taken(hash, peers.copied());
                    }
                    key
                }
            },
        };
        self.name_peers(key, request);
        Ok(())
    }

    /// Peers are named for an infohash that is settled, or waits for its turn. If it has failed,
    /// those are tried that were not yet; otherwise there is nothing to begin.
    fn request_again(&mut self, request: &Request) -> Result<(), Full> {
        let orders = self.again.untried(request.hash, &request.orders);
        if orders.is_empty() || self.shut_down {
            return Ok(());
        }
        // Another round: there is a row already that says that it failed.
        let lead = Lead { round: 1, ..Lead::new(request.hash, self.now, Origin::Request) };
        let key = self.begin_job(&lead).ok_or(Full)?;
        self.jobs.forgo_walk(key);
        self.name_peers(key, &Request::new(request.hash, orders));
        Ok(())
    }

    fn name_peers(&mut self, key: Key, request: &Request) {
        let left_out = self.jobs.on_request(self.now, key, request);
        self.stats.orders_left_out += left_out.orders;
        self.stats.hearsay_private += left_out.private;
        self.stats.hearsay_left_out += left_out.hearsay;
        self.carry_out();
    }

    /// Whether an infohash that waits for a job may have one: as long as rows are taken, and not
    /// before some node answered. What waits until then is an earlier run's; in a dead network it
    /// would only fail, and have lost its source.
    fn may_begin(&self) -> bool {
        let cut_off = self.stats.answered == 0 && self.networks.iter().any(Option::is_some);
        !self.shut_down && !cut_off && self.rows.have_room()
    }

    /// The same where a job is free.
    pub(super) fn takes_jobs(&self) -> bool {
        self.may_begin() && !self.jobs.is_full()
    }

    /// Something has happened: what follows for jobs, their places, and walks, whose order may have
    /// changed with what sources owe.
    pub(super) fn give_places(&mut self) {
        self.carry_out();
        self.fill_jobs();
        self.displace_jobs();
        self.begin_walks();
    }

    /// Gives free jobs to infohashes that wait for one.
    pub(super) fn fill_jobs(&mut self) {
        while self.takes_jobs() {
            let Some(lead) = self.admission.next(self.now, &self.standing) else { break };
            if self.begin_job(&lead).is_none() {
                break;
            }
            self.carry_out();
        }
        self.admission.sort(&self.standing);
    }

    /// Where all jobs are taken, gives those that may make room to infohashes whose sources owe
    /// much less. To be called when something has happened: time alone changes nothing here.
    fn displace_jobs(&mut self) {
        self.no_displacing = self.no_displacing.saturating_sub(1);
        while self.no_displacing == 0
            && self.jobs.is_full()
            && self.may_begin()
            // What is given up now would only be held, and make no room.
            && !self.outage.is_suspected(self.now)
            && let Some(least) = self.admission.least_debt()
        {
            match self.jobs.displace(&self.standing, least + DISPLACE_MARGIN) {
                Some(Displaced::ToWait(job)) => {
                    self.release_reserve(&job);
                    let next = self.admission.next_of_least_debt(&self.standing);
                    self.admission.put_back(job.displaced(), &self.standing);
                    self.begin_instead(next);
                }
                Some(Displaced::ToSettle(key, cause)) => {
                    let next = self.admission.next_of_least_debt(&self.standing);
                    self.settle_failed(key, cause);
                    self.begin_instead(next);
                }
                None => {
                    self.no_displacing = self.displacing_pause;
                    self.displacing_pause = (2 * self.no_displacing).min(DISPLACE_PAUSE_MAX);
                    break;
                }
            }
            self.displacing_pause = DISPLACE_PAUSE;
        }
        self.fill_jobs(); // what began may have ended at once
    }

    /// A job has made room for the infohash that is `next`.
    fn begin_instead(&mut self, next: Option<Lead>) {
        if let Some(lead) = next {
            self.begin_job(&lead);
            self.carry_out();
        }
        self.admission.sort(&self.standing);
    }

    /// Begins work on `lead`. The caller carries out what it needs.
    pub(super) fn begin_job(&mut self, lead: &Lead) -> Option<Key> {
        let of_source = |node| self.networks[Family::of(node).index()].is_some();
        let asks = lead.source.is_some_and(|node| of_source(node.addr));
        let key = self.jobs.begin(self.now, lead, asks, &mut self.standing)?;
        self.spend(key, JOB_COST);
        Some(key)
    }

    /// Charges what was spent for a job to the node that named its infohash.
    pub(super) fn spend(&mut self, key: Key, cost: Duration) {
        if let Some(sponsor) = self.jobs.spend(key, cost) {
            self.standing.charge(sponsor, cost);
        }
    }
}
