//! The BEP 51 sweep: visits every node of one family in keyspace order, samples those that let
//! themselves be sampled, and comes back when their interval ends.
//!
//! A pass takes the waiting contact nearest above a cursor, asks it for samples with a target in
//! its own neighbourhood, and adds the contacts of the answer to the frontier (catalogue 4.1, 4.2).
//! What stays silent gets one more chance at the end of the pass, by `find_node`: silence to
//! `sample_infohashes` means "unsupported", not "dead" (51.4). Before a pass ends, every
//! neighbourhood that no answer told of is asked about.
//!
//! The sweep decides only which node is asked what. It must never send anything, nor sample a node
//! inside the interval that the node named, by address or by id. Three machines share the work:
//! [`Visits`] says which contact is next, [`Gaps`] asks about places, [`Pass`] says when it all
//! begins again. What is known of nodes ([`Known`]) is lent by the network with each call.

mod answers;
mod calendar;
mod coverage;
mod density;
mod flight;
mod frontier;
mod gaps;
mod pass;
mod query;
mod visits;

use std::net::SocketAddr;

pub(crate) use self::calendar::Rested;
use self::density::Density;
use self::flight::Flight;
use self::frontier::Waiting;
use self::gaps::{Gaps, NextGap, Setting};
use self::pass::{Pass, Purpose};
pub(crate) use self::query::{Reason, SweepAsk, SweepQuery};
use self::visits::{NextVisit, Visits};
use crate::base::addr::{AddressPolicy, Contact};
use crate::base::id::{Id, NodeId};
use crate::base::rng::Rng;
use crate::base::time::{Instant, earliest};
use crate::dht::known::Known;

/// What became of an offered contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Never heard of before, and queued.
    New,
    /// Known, and queued for this pass.
    Queued,
    /// Not queued: visited already, resting, refused, or no room.
    Ignored,
}

/// The sweep of one address family.
#[derive(Debug)]
pub(crate) struct Sweep {
    policy: AddressPolicy,
    own: NodeId,
    own_addr: SocketAddr,
    rng: Rng,
    visits: Visits,
    gaps: Gaps,
    pass: Pass,
    density: Density,
    flight: Flight,
}

impl Sweep {
    /// A sweep that starts at the bottom of the keyspace and knows no contact.
    pub(crate) fn new(policy: AddressPolicy, own: NodeId, own_addr: SocketAddr, rng: Rng) -> Self {
        Self {
            policy,
            own,
            own_addr,
            rng,
            visits: Visits::new(),
            gaps: Gaps::new(),
            pass: Pass::first(),
            density: Density::default(),
            flight: Flight::NONE,
        }
    }

    /// Our id from now on.
    pub(crate) fn set_own(&mut self, own: NodeId) {
        self.own = own;
    }

    /// Considers a contact that `referrer` named.
    pub(crate) fn offer(
        &mut self,
        known: &mut Known,
        now: Instant,
        contact: Contact,
        referrer: Option<SocketAddr>,
    ) -> Offer {
        if !self.is_usable(known, contact, referrer) {
            return Offer::Ignored;
        }
        let offer = self.visits.queue(known, now, Waiting::new(contact, referrer));
        if offer == Offer::New {
            self.pass.on_news();
        }
        offer
    }

    /// The next query, if any contact's turn has come.
    pub(crate) fn poll_query(&mut self, known: &mut Known, now: Instant) -> Option<SweepQuery> {
        let query = self.next_query(known, now)?;
        self.flight.on_sent(now);
        Some(query)
    }

    /// Whether [`Sweep::poll_query`] would give a query at `now`, or start a pass.
    pub(crate) fn has_work(&self, known: &Known, now: Instant) -> bool {
        // Polling is what ends a pass and begins the next. Contacts that stayed silent have their
        // second chance whether the pass is over or not.
        let is_paused = self.pass.paused_until() > now;
        let turns = !self.pass.is_over() || self.has_next_pass(known, now);
        let at_end = self.visits.has_silent() || (turns && !is_paused);
        self.visits.has_next() || self.has_gaps(known, now) || (self.flight.is_empty() && at_end)
    }

    /// When [`Sweep::poll_query`] may have something to say without further input.
    pub(crate) fn poll_timeout(&self, known: &Known) -> Option<Instant> {
        let waiting = self.visits.len() > 0;
        if !self.visits.is_all_silent() || (self.flight.is_empty() && waiting) {
            return None; // a poll comes first
        }
        if !self.flight.is_empty() {
            // Slow queries do not hold up a look for gaps.
            let setting = self.setting(known, Instant::START);
            return (!self.gaps.is_scanned(&setting)).then(|| self.flight.slow_from());
        }
        let look = (!known.landmarks.is_empty()).then(|| self.gaps.looks_again_at());
        let work = match self.visits.has_unanswered() {
            true => Instant::START,
            false => earliest(self.visits.calendar.next_due(), look)?,
        };
        Some(self.pass.paused_until().max(work))
    }

    /// Some node answered some query: the network is within reach.
    pub(crate) fn on_sign_of_life(&mut self) {
        self.gaps.on_reach_proven();
    }

    /// Takes up a node of a saved calendar. While its rest lasts it is not sampled, neither by
    /// address nor by id; when it is over, it is visited in the next pass. `false` if it may not
    /// be visited at all.
    pub(crate) fn restore(&mut self, known: &mut Known, now: Instant, rested: Rested) -> bool {
        let Rested { contact, by_id, until } = rested;
        if !self.policy.admits(contact.addr) || !self.is_usable(known, contact, None) {
            return false;
        }
        if until <= now {
            return self.visits.calendar.note(Instant::START, rested);
        }
        known.rest(now, contact, by_id, until);
        known.landmarks.add(contact);
        self.gaps.on_restored_rest();
        self.visits.calendar.note(until, rested)
    }

    /// Ends restoring: how crowded the keyspace is follows from the nodes that an earlier run had
    /// met. Without it a crawl that finds nearly all nodes resting would look for gaps too coarsely
    /// to find any.
    pub(crate) fn on_restored(&mut self) {
        let mut ids: Vec<NodeId> = self.saved().map(|rested| rested.contact.id).collect();
        ids.sort_unstable();
        self.density = Density::of(&ids);
        if !ids.is_empty() {
            self.gaps.on_marks_lost();
        }
    }

    /// Every node of the calendar: those that rest, and those that are due.
    pub(crate) fn saved(&self) -> impl Iterator<Item = Rested> {
        self.visits.calendar.iter()
    }

    /// Contacts waiting for their turn.
    pub(crate) fn waiting(&self) -> usize {
        self.visits.len()
    }

    /// Whether nothing is on its way, waiting, or due at `now`. A pass that is no work does not
    /// count.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        let is_quiet = self.flight.is_empty() && self.visits.len() == 0;
        (is_quiet || !self.pass.is_work()) && !self.visits.is_any_due(now)
    }

    /// Asserts the invariants.
    pub(crate) fn check(&self) {
        self.visits.check();
        self.gaps.check();
    }

    fn next_query(&mut self, known: &mut Known, now: Instant) -> Option<SweepQuery> {
        loop {
            match self.visits.take_next(known, now) {
                // It was decided when the answer before it came.
                Some(NextVisit::FollowUp(query)) => return Some(query),
                // A dead node and one that does not sample are told apart by `find_node`.
                Some(NextVisit::Silent(waiting)) => {
                    return Some(self.query(waiting, SweepAsk::FindNode, Reason::Retry));
                }
                // Samples first: the answer names neighbours as well.
                Some(NextVisit::First(waiting)) => {
                    return Some(self.query(waiting, SweepAsk::Sample, Reason::First));
                }
                None => {}
            }
            // Every contact was asked: the nodes beside a gap may know others.
            let setting = self.setting(known, now);
            match self.gaps.poll(&setting, &mut self.rng) {
                NextGap::Ask(query) => return Some(query),
                // Enough questions are on their way, and their answers may name contacts.
                NextGap::Wait => return None,
                NextGap::None => {}
            }
            // An answer on its way may still name contacts of this pass.
            if !self.flight.is_empty() {
                return None;
            }
            // Nothing is left but the contacts that stayed silent, or the next pass.
            if !self.visits.begin_second_chances() && !self.next_pass(known, now) {
                return None;
            }
        }
    }

    /// Ends the pass and starts the next one if there is anything to ask; `false` if not yet.
    fn next_pass(&mut self, known: &mut Known, now: Instant) -> bool {
        self.pass.end(now);
        if !self.has_next_pass(known, now) || self.pass.paused_until() > now {
            return false;
        }
        known.begin_pass();
        self.gaps.look_again_if_due(now);
        let was_due = self.visits.is_any_due(now);
        self.visits.begin_pass(known, now);
        let waits = !self.visits.is_frontier_empty();
        self.pass.begin(Purpose::of(was_due, waits));
        waits || self.has_gaps(known, now)
    }

    /// Whether a pass would have a reason: a contact that never answered, a node that is due, or
    /// a look at the whole keyspace.
    fn has_next_pass(&self, known: &Known, now: Instant) -> bool {
        self.visits.has_unanswered()
            || self.visits.is_any_due(now)
            || (!known.landmarks.is_empty() && self.gaps.looks_again_at() <= now)
    }

    /// Whether a gap may be asked about: never while a contact waits to be visited.
    fn has_gaps(&self, known: &Known, now: Instant) -> bool {
        self.visits.is_frontier_empty() && self.gaps.has_work(&self.setting(known, now))
    }

    fn setting<'k>(&self, known: &'k Known, now: Instant) -> Setting<'k> {
        Setting {
            is_quiet: self.flight.is_quiet(now),
            depth: self.density.gap_depth(),
            landmarks: &known.landmarks,
        }
    }

    /// A query with a random target in the contact's own neighbourhood.
    fn query(&mut self, waiting: Waiting, ask: SweepAsk, reason: Reason) -> SweepQuery {
        let suffix = Id(self.rng.bytes());
        let target = waiting.contact.id.id().with_suffix(self.density.depth(), suffix);
        SweepQuery { waiting, ask, reason, target }
    }

    /// Whether a contact may be visited: one that a node named, or one that the user or an earlier
    /// run named, which may be private.
    fn is_usable(&self, known: &Known, contact: Contact, referrer: Option<SocketAddr>) -> bool {
        let admitted = match referrer {
            Some(_) => self.policy.admits_node(contact.addr),
            None => AddressPolicy::AllowPrivate.admits(contact.addr),
        };
        admitted
            && contact.id != self.own
            && contact.addr != self.own_addr
            && referrer.is_none_or(|referrer| known.referrers.is_followed(referrer))
    }
}

#[cfg(test)]
pub(crate) mod tests;
