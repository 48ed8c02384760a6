//! Visits: the contacts that wait for a query in this pass, in a later one, or for their interval
//! to end, and the order in which they are taken.
//!
//! Follow-ups of answers come first, then the frontier in keyspace order; contacts that stayed
//! silent get a second chance once the frontier is empty, or when too many of them wait. Must never
//! hold a contact twice for one pass, nor give out a node whose id rests.

use std::collections::VecDeque;

use super::Offer;
use super::calendar::Calendar;
use super::frontier::{Frontier, Waiting};
use super::query::{SweepAsk, SweepQuery};
use crate::base::addr::Contact;
use crate::base::id::Id;
use crate::base::time::Instant;
use crate::dht::known::{Encounter, Known};
use crate::limits::{CALENDAR_MAX, SILENT_MAX, UNANSWERED_MAX, UNANSWERED_PASSES};

/// Which contacts are taken first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Those of the frontier.
    FrontierFirst,
    /// Those that stayed silent, until none is left.
    SilentFirst,
}

/// What is to be asked next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextVisit {
    /// This query, as it is.
    FollowUp(SweepQuery),
    /// A contact that stayed silent in this pass.
    Silent(Waiting),
    /// A contact not yet asked in this pass.
    First(Waiting),
}

/// The contacts to be visited.
#[derive(Debug)]
pub(super) struct Visits {
    /// Contacts not yet asked in this pass.
    frontier: Frontier,
    /// Where in the keyspace the pass is.
    cursor: Id,
    /// Queries that follow from an answer or from silence: one for each that ended, so that they
    /// are bounded like the queries on their way.
    follow_ups: VecDeque<SweepQuery>,
    /// Contacts that stayed silent in this pass.
    silent: VecDeque<Waiting>,
    order: Order,
    /// Contacts that stayed silent to the end of their pass, for the next one.
    unanswered: VecDeque<Waiting>,
    /// Nodes that rest, and those that are due.
    pub(super) calendar: Calendar,
}

impl Visits {
    /// No contact is known.
    pub(super) fn new() -> Self {
        Self {
            frontier: Frontier::default(),
            cursor: Id::ZERO,
            follow_ups: VecDeque::new(),
            silent: VecDeque::new(),
            order: Order::FrontierFirst,
            unanswered: VecDeque::new(),
            calendar: Calendar::new(CALENDAR_MAX),
        }
    }

    /// Puts a contact on the frontier unless this pass has met it or its interval still runs.
    pub(super) fn queue(&mut self, known: &mut Known, now: Instant, waiting: Waiting) -> Offer {
        let encounter = known.visit(now, waiting.contact.addr);
        if encounter == Encounter::Refused {
            return Offer::Ignored;
        }
        if let Some(evicted) = self.frontier.insert(waiting) {
            // It may be named again, when the pass comes near.
            known.unvisit(now, evicted.contact.addr);
            if evicted == waiting {
                return Offer::Ignored;
            }
        }
        if encounter == Encounter::First { Offer::New } else { Offer::Queued }
    }

    /// Takes what is to be asked next.
    pub(super) fn take_next(&mut self, known: &Known, now: Instant) -> Option<NextVisit> {
        // The node of a follow-up has just answered, or a gap is being asked about: both are quick.
        // Whatever rests has given its samples after all: late, or at another address.
        while let Some(query) = self.follow_ups.pop_front() {
            if query.ask != SweepAsk::Sample || !known.rests_at(now, query.addr()) {
                return Some(NextVisit::FollowUp(query));
            }
        }
        // Its second chance is the last query of the pass to a contact, and it has come.
        if self.order == Order::SilentFirst {
            while let Some(waiting) = self.silent.pop_front() {
                if !known.rests_at(now, waiting.contact.addr) {
                    return Some(NextVisit::Silent(waiting));
                }
            }
            self.order = Order::FrontierFirst;
        }
        while let Some(waiting) = self.frontier.take_next(self.cursor) {
            self.cursor = waiting.contact.id.id();
            let Contact { id, addr } = waiting.contact;
            if !known.is_resting(now, id) && !known.rests_at(now, addr) {
                return Some(NextVisit::First(waiting));
            }
        }
        None
    }

    /// Whether [`Visits::take_next`] may give something.
    pub(super) fn has_next(&self) -> bool {
        let silent_first = self.order == Order::SilentFirst && self.has_silent();
        !self.follow_ups.is_empty() || !self.frontier.is_empty() || silent_first
    }

    /// The frontier is empty: contacts that stayed silent get their second chance now. `false` if
    /// there is none.
    pub(super) fn begin_second_chances(&mut self) -> bool {
        if self.has_silent() {
            self.order = Order::SilentFirst;
        }
        self.has_silent()
    }

    /// Begins a pass: queues contacts that never answered, and nodes whose interval is over; each
    /// address once, however often and under whatever ids it stands among them.
    pub(super) fn begin_pass(&mut self, known: &mut Known, now: Instant) {
        self.cursor = Id::ZERO;
        // Marks of passes repeat: none of an earlier pass may count as one of this pass. From here
        // on a mark means that the address is queued.
        let unanswered = self.unanswered.iter().map(|waiting| waiting.contact);
        for contact in unanswered.chain(self.calendar.due(now).map(|rested| rested.contact)) {
            known.unvisit(now, contact.addr);
        }
        while let Some(waiting) = self.unanswered.pop_front() {
            self.queue(known, now, waiting);
        }
        while let Some(contact) = self.calendar.pop_due(now) {
            self.queue(known, now, Waiting::new(contact, None));
        }
    }

    /// Adds a query to be sent before any other visit.
    pub(super) fn follow_up(&mut self, query: SweepQuery) {
        self.follow_ups.push_back(query);
    }

    /// A contact did not answer its first query of this pass.
    pub(super) fn keep_silent(&mut self, waiting: Waiting) {
        if self.silent.len() >= SILENT_MAX {
            self.order = Order::SilentFirst;
        }
        self.silent.push_back(waiting);
    }

    /// A contact had its second chance: the next pass asks it once more, unless it had enough.
    pub(super) fn keep_unanswered(&mut self, waiting: Waiting) {
        let silent_passes = waiting.silent_passes + 1;
        if silent_passes >= UNANSWERED_PASSES {
            return;
        }
        if self.unanswered.len() >= UNANSWERED_MAX {
            self.unanswered.pop_front();
        }
        self.unanswered.push_back(Waiting { silent_passes, ..waiting });
    }

    /// Whether no contact waits for its first query of this pass.
    pub(super) fn is_frontier_empty(&self) -> bool {
        self.frontier.is_empty()
    }

    /// Whether a contact waits for its second chance.
    pub(super) fn has_silent(&self) -> bool {
        !self.silent.is_empty()
    }

    /// Whether a contact is left for the next pass that has never answered.
    pub(super) fn has_unanswered(&self) -> bool {
        !self.unanswered.is_empty()
    }

    /// Whether some node's interval is over at `now`.
    pub(super) fn is_any_due(&self, now: Instant) -> bool {
        self.calendar.next_due().is_some_and(|due| due <= now)
    }

    /// Contacts and queries that wait for their turn in this pass.
    pub(super) fn len(&self) -> usize {
        self.frontier.len() + self.silent.len() + self.follow_ups.len()
    }

    /// Whether all that waits are contacts that stayed silent.
    pub(super) fn is_all_silent(&self) -> bool {
        self.len() == self.silent.len()
    }

    /// Asserts the invariants.
    pub(super) fn check(&self) {
        self.frontier.check();
        self.calendar.check();
        assert!(self.unanswered.len() <= UNANSWERED_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::addr::AddressPolicy;
    use crate::base::id::NodeId;
    use crate::base::rng::{Rng, Seed};
    use crate::base::time::Duration;
    use crate::dht::sweep::Reason;

    fn waiting(n: u32) -> Waiting {
        let mut id = [0; 20];
        id[16..].copy_from_slice(&n.to_be_bytes());
        let addr = ([20, (n >> 16) as u8, (n >> 8) as u8, n as u8], 6_881).into();
        Waiting::new(Contact { id: NodeId(id), addr }, None)
    }

    fn known() -> Known {
        Known::new(AddressPolicy::Public, &mut Rng::new(Seed::from_u64(1)))
    }

    #[test]
    fn follow_ups_come_first_then_the_frontier_in_order_then_silent_contacts() {
        let (mut visits, mut known, now) = (Visits::new(), known(), Instant::START);
        for n in [3, 1] {
            assert_eq!(visits.queue(&mut known, now, waiting(n)), Offer::New);
        }
        visits.keep_silent(waiting(7));
        let (ask, reason) = (SweepAsk::Sample, Reason::Again);
        let follow_up = SweepQuery { waiting: waiting(9), ask, reason, target: Id::ZERO };
        visits.follow_up(follow_up);
        for expected in [
            NextVisit::FollowUp(follow_up),
            NextVisit::First(waiting(1)),
            NextVisit::First(waiting(3)),
        ] {
            assert_eq!(visits.take_next(&known, now), Some(expected));
        }
        assert_eq!(visits.take_next(&known, now), None, "its second chance has not begun");
        assert!(visits.begin_second_chances());
        assert_eq!(visits.take_next(&known, now), Some(NextVisit::Silent(waiting(7))));
        assert!(!visits.begin_second_chances());
    }

    #[test]
    fn too_many_silent_contacts_have_their_second_chance_before_the_frontier() {
        let (mut visits, mut known, now) = (Visits::new(), known(), Instant::START);
        visits.queue(&mut known, now, waiting(1));
        (0..65_536).for_each(|n| visits.keep_silent(waiting(n)));
        assert_eq!(visits.take_next(&known, now), Some(NextVisit::First(waiting(1))));
        visits.queue(&mut known, now, waiting(2));
        visits.keep_silent(waiting(1));
        for n in (0..65_536).chain([1]) {
            assert_eq!(visits.take_next(&known, now), Some(NextVisit::Silent(waiting(n))));
        }
        assert_eq!(visits.take_next(&known, now), Some(NextVisit::First(waiting(2))));
    }

    #[test]
    fn a_contact_for_which_its_region_had_no_room_may_be_named_again() {
        let (mut visits, mut known, now) = (Visits::new(), known(), Instant::START);
        let full = 256;
        for n in 1..=full {
            assert_eq!(visits.queue(&mut known, now, waiting(n)), Offer::New);
        }
        assert_eq!(visits.queue(&mut known, now, waiting(full + 1)), Offer::Ignored);
        assert_eq!(visits.queue(&mut known, now, waiting(0)), Offer::New);
        assert_eq!(visits.queue(&mut known, now, waiting(1)), Offer::Ignored, "it is queued");
        for n in [full, full + 1] {
            assert_eq!(visits.take_next(&known, now), Some(NextVisit::First(waiting(n - full))));
            assert_eq!(visits.queue(&mut known, now, waiting(n)), Offer::Queued);
        }
        visits.check();
    }

    #[test]
    fn a_contact_that_never_answers_is_kept_for_five_passes_and_a_node_that_rests_is_passed_over() {
        let (mut visits, mut known, now) = (Visits::new(), known(), Instant::START);
        visits.queue(&mut known, now, waiting(1));
        let mut asked = 0;
        while let Some(NextVisit::First(dead)) = visits.take_next(&known, now) {
            asked += 1;
            visits.keep_unanswered(dead);
            known.begin_pass();
            visits.begin_pass(&mut known, now);
        }
        assert_eq!(asked, 5);
        let (rests, other) = (waiting(2), waiting(3));
        visits.queue(&mut known, now, rests);
        visits.queue(&mut known, now, other);
        let elsewhere = Contact { addr: ([20, 9, 9, 9], 6_881).into(), ..rests.contact };
        known.rest(now, elsewhere, true, now + Duration::from_secs(300));
        assert_eq!(visits.take_next(&known, now), Some(NextVisit::First(other)));
        assert_eq!(visits.take_next(&known, now), None);
    }
}
