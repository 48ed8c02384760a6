//! Which infohashes become jobs, and when: those asked for by name, and those that wait in the
//! admission until a job is free.

use super::{Crawler, Full};
use crate::base::addr::Family;
use crate::base::store::Key;
use crate::base::time::Duration;
use crate::crawl::admission::{Admitted, Room};
use crate::lead::{Lead, Origin, Request};
use crate::limits::JOB_COST;

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

    /// Peers are named for an infohash that is settled, or waits for its turn. If it has failed, those
    /// are tried that were not yet; otherwise there is nothing to begin.
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
    pub(super) fn takes_jobs(&self) -> bool {
        let cut_off = self.stats.answered == 0 && self.networks.iter().any(Option::is_some);
        !self.shut_down && !cut_off && !self.jobs.is_full() && self.rows.have_room()
    }

    /// Gives free jobs to infohashes that wait for one.
    pub(super) fn fill_jobs(&mut self) {
        while self.takes_jobs() {
            let (room, standing) = (self.room(), &self.standing);
            let Some(lead) = self.admission.next(self.now, room, standing) else { break };
            if self.begin_job(&lead).is_none() {
                break;
            }
            self.carry_out();
        }
        self.admission.sort(&self.standing);
    }

    /// For whom a free job is.
    pub(super) fn room(&self) -> Room {
        if self.jobs.is_scarce() { Room::Scarce } else { Room::Plenty }
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
