//! Carries out what jobs need: walks begin, pause, go on and end, jobs wait for the network or are
//! given up. No step calls the one before it: each changes a job, and what follows is polled.

use super::Crawler;
use crate::base::addr::Family;
use crate::base::store::Key;
use crate::base::time::Duration;
use crate::crawl::jobs::{Demand, Need};
use crate::dht::walks::Turn;
use crate::limits::{SEEDS_WITHIN, WALK_COST};

impl Crawler {
    /// Carries out what every job that changed needs now. To be called after each verb of
    /// [`crate::crawl::jobs::Jobs`], before anything else is done.
    pub(super) fn carry_out(&mut self) {
        while let Some((key, need)) = self.jobs.poll_need(&self.standing) {
            match need {
                Need::Walk => self.begin_walks(),
                Need::OtherSource => self.turn_to_other_source(key),
                Need::MorePeers => self.resume_walks(key),
                Need::Settle(cause) => self.settle_failed(key, cause),
            }
        }
    }

    /// Much was spent in vain for the node that named an infohash first: the other one is asked.
    fn turn_to_other_source(&mut self, key: Key) {
        let networks = &self.networks;
        let asks = |family: Family| networks[family.index()].is_some();
        if let Some(before) =
            self.jobs.turn_to_other_source(self.now, key, asks, &mut self.standing)
        {
            self.standing.settle(before, Duration::ZERO);
            before.payers().for_each(|payer| self.on_eased(payer));
        }
    }

    /// Begins walks for jobs that wait for one, as far as there is room and some node to ask. A
    /// family without room is passed over rather than waited for.
    pub(super) fn begin_walks(&mut self) {
        while !self.shut_down {
            let Some((key, hash, sponsor)) = self.jobs.next_to_walk(&self.standing) else { break };
            let is_deep = sponsor.is_some_and(|sponsor| self.standing.is_deep_in_debt(sponsor));
            let turn = if is_deep { Turn::Last } else { Turn::InOrder };
            let walks = Family::ALL.map(|family| {
                let network = self.networks[family.index()].as_deref_mut()?;
                let named = self.bootstraps.answering_nodes(family);
                network.begin_walk(self.now, (key, hash), turn, named)
            });
            if walks.iter().any(Option::is_some) {
                self.jobs.on_walks_begun(self.now, walks, &self.standing);
                self.stats.walks += 1;
                self.spend(key, WALK_COST);
            } else if !self.displace_walk(turn) {
                // Either no node is known yet: wait for a first answer; or for the end of a walk.
                break;
            }
        }
    }

    /// Ends a paused walk of a family that is full: it holds a place that another one of this
    /// `turn` needs. `false` if there is none, which comes soon, since whatever is displaced leaves
    /// a family with room.
    fn displace_walk(&mut self, turn: Turn) -> bool {
        for family in Family::ALL {
            let full =
                self.network(family).filter(|network| !network.walks.has_room(Turn::InOrder));
            if let Some(job) = full.and_then(|network| network.walks.end_paused(turn)) {
                self.jobs.on_walk_displaced(job, family);
                return true;
            }
        }
        false
    }

    /// Ends a walk that has no node left to ask, or whose job needs it no more; then others begin.
    pub(super) fn end_walk_if_done(&mut self, family: Family, walk: Key) {
        if self.judge_walk(family, walk) {
            self.carry_out();
            self.begin_walks();
        }
    }

    /// Ends a walk if it is done, or pauses it; whether it ended.
    fn judge_walk(&mut self, family: Family, walk: Key) -> bool {
        let Some(network) = self.networks[family.index()].as_deref_mut() else { return false };
        let Some(key) = network.walks.job(walk) else { return false };
        let demand = self.jobs.demand(key);
        let mut done = network.walks.is_done(walk);
        if done && !matches!(demand, Demand::None) && network.walk_on(walk) {
            done = false; // the nodes that it began with may be gone: others have answered since
        }
        let goes_on = match demand {
            Demand::None => false,
            // Nodes that collude may be the nearest: as long as no peer is named, every other node
            // that was asked still has its say.
            Demand::Any => network.walks.is_waiting(walk) || !done,
            Demand::More => !done,
            Demand::Later if done => false,
            Demand::Later => {
                // Several nodes may have made the peers up: should none serve, the walk goes on.
                // Where no peer is dialled there is nothing to wait for.
                if self.config.mode.dials() {
                    network.walks.pause(walk);
                }
                self.config.mode.dials()
            }
        };
        if goes_on {
            return false;
        }
        network.walks.end(walk);
        let in_doubt = self.outage.is_suspected(self.now);
        self.jobs.on_walk_ended(key, family, in_doubt);
        true
    }

    /// Goes on with the paused walks of a job that has tried every peer found so far.
    fn resume_walks(&mut self, key: Key) {
        let mut ended = false;
        for (family, walk) in self.jobs.walks(key) {
            let resumed = self.network(family).is_some_and(|network| network.walks.resume(walk));
            ended |= resumed && self.judge_walk(family, walk);
        }
        if ended {
            self.begin_walks();
        }
    }

    /// Gives up on jobs to which nothing has happened for too long.
    pub(super) fn expire_jobs(&mut self) {
        let now = self.now;
        // Then they wait for a sink, or for a place among the walks, which is not their fault.
        let held_up = !self.rows.have_room();
        let walks_full =
            self.networks.iter().flatten().any(|network| !network.walks.has_room(Turn::InOrder));
        while let Some((key, cause)) = self.jobs.poll_impatient(now, held_up, walks_full) {
            self.give_up(key, cause);
        }
        let nobody = self.stats.answered == 0 && now.since(self.begun) >= SEEDS_WITHIN;
        if nobody && !self.shut_down {
            // No node has answered, so no walk can begin: waiting longer would be for ever.
            self.jobs.forgo_walks(&self.standing);
            self.carry_out();
        }
    }

    /// A node or peer answered, so the network is there.
    pub(super) fn sign_of_life(&mut self) {
        self.stats.outages += u64::from(self.outage.on_sign_of_life(self.now));
        self.release_jobs();
    }

    /// Goes on with infohashes that an outage has held up, if it is over.
    pub(super) fn release_jobs(&mut self) {
        if !self.outage.is_suspected(self.now) {
            // After a false alarm the walks that ended meanwhile had nodes to ask.
            self.jobs.release_held(!self.outage.was_false_alarm());
            self.carry_out();
        }
    }
}
