//! The BEP 51 sweep: visits every node of one family in keyspace order, samples those that let
//! themselves be sampled, and comes back when their interval ends.
//!
//! A pass takes the waiting contact nearest above a cursor, asks it for samples with a target in
//! its own neighbourhood, and adds the contacts of the answer to the frontier (catalogue 4.1, 4.2).
//! What stays silent gets one more chance at the end of the pass, by `find_node`: silence to
//! `sample_infohashes` means "unsupported", not "dead" (51.4). Before a pass ends, every
//! neighbourhood of which no answer told is asked about. The sweep decides only whom to ask
//! what; it sends nothing, and it never samples a node inside the interval the node named, by
//! address or by id.

pub mod frontier;
pub(crate) mod coverage;
pub(crate) mod calendar;
mod density;
mod referrers;

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::base::addr::{AddressPolicy, Contact, address_key};
use crate::base::id::{Id, NodeId};
use crate::base::planted::{self, Bug};
use crate::base::rng::Rng;
use crate::base::time::{Duration, Instant, earliest};
use crate::dht::node_memory::{NodeFacts, NodeMemory};
use crate::limits::{
    CALENDAR_MAX, COVERAGE_REST, GAP_ASKED_MAX, GAPS_FREE, GAPS_OPEN_MAX, INTERVAL_MAX,
    INTERVAL_MIN, NODE_MEMORY_MAX, SILENT_MAX, SILENT_REST, STALL_AFTER, STERILE_REST,
    SWEEP_PAUSE_MAX, SWEEP_PAUSE_MIN, UNANSWERED_MAX, UNANSWERED_PASSES, UNSUPPORTED_REST,
};
use calendar::{Calendar, Visit};
use coverage::Coverage;
use density::Density;
use frontier::{Frontier, Waiting};
use referrers::Referrers;

/// What to ask a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweepAsk {
    /// `sample_infohashes`.
    Sample,
    /// `find_node`: because sampling was refused, or to tell silent from dead.
    FindNode,
}

/// Why it is asked: what an answer or silence then means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Its first query of this pass.
    First,
    /// `find_node` after an error to `sample_infohashes`.
    Refused,
    /// `find_node` at the end of the pass after silence.
    Retry,
    /// `sample_infohashes` once more, since the retry was answered.
    Again,
    /// `find_node` to a node that lives nearest to a place that nobody was asked about.
    Gap,
}

/// One query of the sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepQuery {
    /// Whom to ask.
    pub waiting: Waiting,
    /// What.
    pub ask: SweepAsk,
    /// Why.
    pub turn: Turn,
    /// The point whose neighbours the answer is to name.
    pub target: Id,
}

/// A contact that answered.
#[derive(Clone, Copy, Debug)]
struct Alive {
    contact: Contact,
    /// Whether under the id that it was expected to have.
    as_expected: bool,
}

/// A node that was just told to rest: what a journal must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rested {
    /// The node.
    pub contact: Contact,
    /// Whether its id rests as well as its address.
    pub by_id: bool,
    /// Until when, to the second.
    pub until: Instant,
}

/// What became of an offered contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Never heard of before, and queued.
    New,
    /// Known, and queued for this pass.
    Queued,
    /// Not queued: visited already, resting, refused, or no room.
    Ignored,
}

/// The sweep of one address family.
#[derive(Debug)]
pub struct Sweep {
    policy: AddressPolicy,
    own: NodeId,
    own_addr: SocketAddr,
    rng: Rng,
    frontier: Frontier,
    addresses: NodeMemory,
    ids: NodeMemory,
    cursor: Id,
    pass: u64,
    news: bool,
    in_flight: usize,
    follow_ups: VecDeque<SweepQuery>,
    retries: VecDeque<Waiting>,
    draining: bool,
    unanswered: VecDeque<Waiting>,
    calendar: Calendar,
    /// The last rest that began, until somebody asks.
    rested: Option<Rested>,
    /// The pass only asks again who never answered, and has met nobody new.
    rerun: bool,
    /// The pass asks nobody but about gaps: whoever is due meanwhile is not made to wait for it.
    looking: bool,
    /// The pass has asked everybody; the next one waits for its pause, or for somebody to ask.
    pass_over: bool,
    paused_until: Option<Instant>,
    pause: Duration,
    density: Density,
    coverage: Coverage,
    /// Gaps are being filled, one query after the other.
    filling: bool,
    /// Queries into gaps on their way.
    gaps_open: usize,
    /// Gaps that may still be asked about.
    gaps_left: u32,
    /// Nobody of a restored calendar is known to live yet, nor to be within reach.
    cut_off: bool,
    /// When a query of the sweep was last answered, or the first of those on their way was sent.
    answered_at: Instant,
    covered_since: Instant,
    /// Nothing was forgotten of which places answers told.
    is_first_look: bool,
    referrers: Referrers,
}

impl Sweep {
    /// A sweep that starts at the bottom of the keyspace and knows nobody.
    pub fn new(policy: AddressPolicy, own: NodeId, own_addr: SocketAddr, mut rng: Rng) -> Self {
        let referrers = Referrers::new(policy, &mut rng);
        Self {
            policy,
            own,
            own_addr,
            frontier: Frontier::default(),
            addresses: NodeMemory::new(&mut rng, NODE_MEMORY_MAX),
            ids: NodeMemory::new(&mut rng, NODE_MEMORY_MAX),
            rng,
            cursor: Id::ZERO,
            pass: 0,
            news: false,
            in_flight: 0,
            follow_ups: VecDeque::new(),
            retries: VecDeque::new(),
            draining: false,
            unanswered: VecDeque::new(),
            calendar: Calendar::new(CALENDAR_MAX),
            rested: None,
            rerun: false,
            looking: false,
            pass_over: false,
            paused_until: None,
            pause: SWEEP_PAUSE_MIN,
            density: Density::default(),
            coverage: Coverage::default(),
            filling: false,
            gaps_open: 0,
            gaps_left: GAPS_FREE,
            cut_off: false,
            answered_at: Instant::START,
            covered_since: Instant::START,
            is_first_look: true,
            referrers,
        }
    }

    /// Considers a contact that `referrer` named.
    pub fn offer(&mut self, now: Instant, contact: Contact, referrer: Option<SocketAddr>) -> Offer {
        if !self.is_usable(contact, referrer) {
            return Offer::Ignored;
        }
        let offer = self.queue(now, Waiting { contact, referrer, silent_passes: 0, alive: false });
        if offer == Offer::New {
            self.news = true;
            self.pause = SWEEP_PAUSE_MIN;
            self.paused_until = None;
            self.pass_over = false;
            self.rerun = false;
        }
        offer
    }

    /// The next query, if any contact's turn has come.
    pub fn poll_query(&mut self, now: Instant) -> Option<SweepQuery> {
        let query = self.next_query(now)?;
        if self.in_flight == 0 {
            self.answered_at = now;
        }
        self.in_flight += 1;
        Some(query)
    }

    /// Whether [`Sweep::poll_query`] would give a query at `now`, or start a pass.
    pub fn has_work(&self, now: Instant) -> bool {
        let rested = self.paused_until.is_none_or(|until| until <= now);
        // At the end of a pass polling is what ends it, or finds a gap.
        let at_end = !self.retries.is_empty() || !self.pass_over || self.has_next_pass(now);
        let idle_end = self.in_flight == 0 && at_end;
        !self.follow_ups.is_empty()
            || !self.frontier.is_empty()
            || (self.draining && !self.retries.is_empty())
            || (self.may_fill_gaps(now) && self.gaps_open < GAPS_OPEN_MAX)
            || (rested && idle_end)
    }

    /// A node answered with samples: `interval` and `num` as it sent them.
    pub fn on_samples(
        &mut self,
        now: Instant,
        query: SweepQuery,
        id: NodeId,
        interval: Option<i64>,
    ) {
        self.ended(query.turn);
        let node = self.replied(now, query, id);
        if self.referrers.is_sterile(node.contact.addr) {
            self.referrers.forgive(node.contact.addr);
            return self.rest(now, node, STERILE_REST);
        }
        self.rest(now, node, clamp_interval(interval));
    }

    /// Takes out who began to rest since this was last asked: at most one node per `on_*`.
    pub fn take_rested(&mut self) -> Option<Rested> {
        self.rested.take()
    }

    /// Our id from now on.
    pub fn set_own(&mut self, own: NodeId) {
        self.own = own;
    }

    /// Takes up a node of a saved calendar. While its rest lasts it is not sampled, neither by
    /// address nor by id; when it is over, it is visited in the next pass. `false` if it may not
    /// be visited at all.
    pub fn restore(&mut self, now: Instant, rested: Rested) -> bool {
        let Rested { contact, by_id, until } = rested;
        if !self.policy.admits(contact.addr) || !self.is_usable(contact, None) {
            return false;
        }
        if until > now {
            self.mark_resting(now, contact, by_id, until);
            self.frontier.add_landmark(contact);
            // It answered. Whom it named then is not saved, so places are to be asked about again.
            self.gaps_left = self.gaps_left.saturating_add(1);
            self.cut_off = true;
        }
        let due = if until > now { until } else { Instant::START };
        self.calendar.note(due, Visit { contact, by_id, until })
    }

    /// Ends restoring: how crowded the keyspace is follows from whom an earlier run had met. Without
    /// it a crawl that finds nearly everybody resting would look for gaps too coarsely to find any.
    pub fn on_restored(&mut self) {
        let mut ids: Vec<NodeId> = self.saved().map(|rested| rested.contact.id).collect();
        ids.sort_unstable();
        self.density = Density::of(&ids);
        self.is_first_look &= ids.is_empty();
    }

    /// Somebody answered some query: the network is within reach.
    pub fn on_sign_of_life(&mut self) {
        self.cut_off = false;
    }

    /// Every node of the calendar: those that rest, and those that are due.
    pub fn saved(&self) -> impl Iterator<Item = Rested> {
        self.calendar.iter().map(|Visit { contact, by_id, until }| Rested { contact, by_id, until })
    }

    /// Whether the samples of a node are worth looking at (H19).
    pub fn is_trusted(&self, node: SocketAddr) -> bool {
        !self.referrers.is_sterile(node)
    }

    /// A node named an infohash that was new.
    pub fn on_new_infohash(&mut self, node: SocketAddr) {
        self.referrers.on_new_infohash(node);
    }

    /// A node named a peer for an infohash that it had sampled.
    pub fn on_yield(&mut self, node: SocketAddr) {
        self.referrers.on_yield(node);
    }

    /// A node answered without samples, as to `find_node`.
    pub fn on_reply(&mut self, now: Instant, query: SweepQuery, id: NodeId) {
        self.ended(query.turn);
        let node = self.replied(now, query, id);
        match query.turn {
            Turn::Gap => {}
            Turn::Retry if query.waiting.alive => self.rest(now, node, SILENT_REST),
            Turn::Retry => {
                self.follow_up(SweepQuery { ask: SweepAsk::Sample, turn: Turn::Again, ..query });
            }
            _ => self.rest(now, node, UNSUPPORTED_REST),
        }
    }

    /// A node answered with an error: it lives, and does not sample.
    pub fn on_error(&mut self, now: Instant, query: SweepQuery) {
        self.ended(query.turn);
        let node = self.alive(now, query, query.waiting.contact.id);
        match (query.ask, query.turn) {
            (SweepAsk::Sample, _) => {
                self.follow_up(SweepQuery { ask: SweepAsk::FindNode, turn: Turn::Refused, ..query })
            }
            (SweepAsk::FindNode, Turn::Gap) => self.no_help(query),
            (SweepAsk::FindNode, _) => self.rest(now, node, UNSUPPORTED_REST),
        }
    }

    /// A node did not answer in time.
    pub fn on_silence(&mut self, now: Instant, query: SweepQuery) {
        self.ended(query.turn);
        let contact = query.waiting.contact;
        match query.turn {
            Turn::First => {
                self.draining |= self.retries.len() >= SILENT_MAX;
                self.retries.push_back(query.waiting);
            }
            Turn::Retry => {
                self.judge(query.waiting, false);
                self.frontier.remove_landmark(contact);
                self.keep_unanswered(query.waiting);
            }
            Turn::Refused => {
                self.rest(now, Alive { contact, as_expected: true }, UNSUPPORTED_REST);
            }
            // Two packets may have been lost: the next pass tries once more.
            Turn::Again => self.keep_unanswered(Waiting { alive: true, ..query.waiting }),
            Turn::Gap => self.no_help(query),
        }
    }

    /// Takes note of which place the contacts that the node `id` answered with tell about, if it
    /// named anybody to visit, and learns from them how crowded the keyspace is. Not from those
    /// about gaps: a finer look for gaps must not be a reason to look more finely.
    pub fn on_neighbours(
        &mut self,
        query: &SweepQuery,
        id: NodeId,
        contacts: impl Iterator<Item = Contact> + Clone,
    ) {
        let from = query.waiting.contact.addr;
        let is_new = |contact: Contact| contact.addr != from && self.is_usable(contact, Some(from));
        if contacts.clone().any(is_new) {
            self.coverage.mark(query.target);
        } else if query.turn == Turn::Gap {
            self.ask_somebody_else(*query);
        }
        if query.turn != Turn::Gap {
            self.density.learn(query.target, id, contacts);
        }
    }

    /// Notes a contact that is not to be visited; `true` the first time.
    pub fn hear(&mut self, now: Instant, contact: Contact) -> bool {
        let key = address_key(self.policy, contact.addr);
        self.policy.admits(contact.addr)
            && self.addresses.get(&key).is_none()
            && self.addresses.set(now, self.pass, &key, NodeFacts::default())
    }

    /// Marks an address as sent a query; `true` the first time.
    pub fn note_asked(&mut self, now: Instant, addr: SocketAddr) -> bool {
        self.note(now, addr, |note| std::mem::replace(&mut note.asked, true))
    }

    /// Marks an address as having answered; `true` the first time.
    pub fn note_answered(&mut self, now: Instant, addr: SocketAddr) -> bool {
        self.note(now, addr, |note| std::mem::replace(&mut note.answered, true))
    }

    /// Marks an address as having answered with samples; `true` the first time.
    pub fn note_sampled(&mut self, now: Instant, addr: SocketAddr) -> bool {
        self.note(now, addr, |note| std::mem::replace(&mut note.sampled, true))
    }

    /// Nodes that answered near `target`, nearest region first.
    pub fn landmarks(&self, target: Id, wanted: usize) -> impl Iterator<Item = Contact> {
        self.frontier.landmarks(target, wanted)
    }

    /// Remembers a node that answered some other query.
    pub fn add_landmark(&mut self, contact: Contact) {
        self.frontier.add_landmark(contact);
    }

    /// Contacts waiting for their turn.
    pub fn waiting(&self) -> usize {
        self.frontier.len() + self.retries.len() + self.follow_ups.len()
    }

    /// Whether nothing is on its way, waiting, or due at `now`. Asking again who never answered
    /// does not count: there is always somebody dead to ask.
    pub fn is_idle(&self, now: Instant) -> bool {
        let quiet = self.in_flight == 0 && self.waiting() == 0;
        (quiet || self.rerun) && self.calendar.next_due().is_none_or(|due| due > now)
    }

    /// When [`Sweep::poll_query`] may have something to say without further input.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.waiting() > self.retries.len() || (self.in_flight == 0 && self.waiting() > 0) {
            return None; // a poll comes first
        }
        if self.in_flight > 0 {
            let scanned = self.coverage.is_scanned(self.gap_depth());
            return (!scanned).then(|| self.answered_at + STALL_AFTER);
        }
        let look = self.frontier.has_landmarks().then(|| self.looks_again_at());
        let work = match self.unanswered.is_empty() {
            true => earliest(self.calendar.next_due(), look)?,
            false => Instant::START,
        };
        Some(self.paused_until.map_or(work, |until| until.max(work)))
    }

    /// Asserts the invariants.
    pub fn check(&self) {
        self.frontier.check();
        assert!(self.unanswered.len() <= UNANSWERED_MAX);
        assert!(self.addresses.len() <= NODE_MEMORY_MAX && self.ids.len() <= NODE_MEMORY_MAX);
        self.calendar.check();
    }

    fn next_query(&mut self, now: Instant) -> Option<SweepQuery> {
        loop {
            if let Some(query) = self.follow_ups.pop_front() {
                return Some(query);
            }
            if self.draining {
                if let Some(waiting) = self.retries.pop_front() {
                    return Some(self.query(waiting, SweepAsk::FindNode, Turn::Retry));
                }
                self.draining = false;
            }
            if let Some(waiting) = self.frontier.take_next(self.cursor) {
                self.cursor = waiting.contact.id.id();
                if self.is_resting_id(now, waiting.contact.id) {
                    continue;
                }
                return Some(self.query(waiting, SweepAsk::Sample, Turn::First));
            }
            if self.may_fill_gaps(now) {
                if self.gaps_open >= GAPS_OPEN_MAX {
                    return None;
                }
                if let Some(query) = self.gap_query() {
                    return Some(query);
                }
                let looked = std::mem::take(&mut self.filling);
                let closer = self.coverage.look_closer(self.gap_depth());
                // Who is found by a coarse look is nearer to the gaps of a finer one.
                if closer && (!looked || self.gaps_open == 0) {
                    continue;
                }
            }
            self.filling = false;
            if self.in_flight > 0 {
                return None;
            }
            if !self.retries.is_empty() {
                self.draining = true;
            } else if !self.next_pass(now) {
                return None;
            }
        }
    }

    /// Whether it is time to look for gaps: nobody is waiting, and whoever has not answered yet is
    /// slow. Gaps are then filled all at once, and a finer look waits for the answers to the last.
    fn may_fill_gaps(&self, now: Instant) -> bool {
        let quiet = self.in_flight == 0 || now >= self.answered_at + STALL_AFTER;
        self.frontier.is_empty()
            && !self.cut_off
            && self.frontier.has_landmarks()
            && self.gaps_left > 0
            && !self.coverage.is_scanned(self.gap_depth())
            && (self.filling || (quiet && self.gaps_open == 0))
    }

    /// How finely to look for gaps. Those of a pass that began with nobody known by a bit more, since
    /// few are left then; after a restart, and half an hour later, every place is one.
    fn gap_depth(&self) -> u32 {
        self.density.gap_depth() + u32::from(self.is_first_look)
    }

    /// A query into the next neighbourhood of which no answer told, to whoever lives nearest.
    fn gap_query(&mut self) -> Option<SweepQuery> {
        let (gap, depth) = self.coverage.next_gap()?;
        self.filling = true;
        self.gaps_left -= 1;
        let target = gap.with_suffix(depth, Id(self.rng.bytes()));
        let contact = self.frontier.nearest_landmark(target, None)?;
        self.gaps_open += 1;
        let waiting = Waiting { contact, referrer: None, silent_passes: 0, alive: true };
        Some(SweepQuery { waiting, ask: SweepAsk::FindNode, turn: Turn::Gap, target })
    }

    /// A node that was asked about a gap did not answer the question.
    fn no_help(&mut self, query: SweepQuery) {
        self.frontier.remove_landmark(query.waiting.contact);
        self.ask_somebody_else(query);
    }

    /// Asks about a gap once more, of whoever lives next nearest.
    fn ask_somebody_else(&mut self, query: SweepQuery) {
        let asked = query.waiting.silent_passes + 1;
        let again = asked < GAP_ASKED_MAX && self.gaps_left > 0;
        let last = Some(query.waiting.contact.id.id());
        if let Some(contact) = self.frontier.nearest_landmark(query.target, last).filter(|_| again)
        {
            self.gaps_left -= 1;
            self.gaps_open += 1;
            let waiting = Waiting { contact, silent_passes: asked, ..query.waiting };
            self.follow_up(SweepQuery { waiting, ..query });
        }
    }

    /// A query with a random target in the contact's own neighbourhood.
    fn query(&mut self, waiting: Waiting, ask: SweepAsk, turn: Turn) -> SweepQuery {
        let suffix = Id(self.rng.bytes());
        let target = waiting.contact.id.id().with_suffix(self.density.depth(), suffix);
        SweepQuery { waiting, ask, turn, target }
    }

    /// Ends the pass and starts the next one if there is anything to ask; `false` if not yet.
    fn next_pass(&mut self, now: Instant) -> bool {
        if !self.pass_over {
            self.pass_over = true;
            if !self.news && !self.looking {
                self.paused_until = Some(now + self.pause);
                self.pause = (self.pause * 2).min(SWEEP_PAUSE_MAX);
            }
        }
        if !self.has_next_pass(now) || self.paused_until.is_some_and(|until| until > now) {
            return false;
        }
        self.paused_until = None;
        self.pass_over = false;
        self.pass += 1;
        self.news = false;
        self.cursor = Id::ZERO;
        if self.looks_again_at() <= now {
            self.coverage.reset();
            (self.covered_since, self.is_first_look) = (now, false);
            self.gaps_left = self.gaps_left.max(GAPS_FREE);
        }
        self.rerun = self.calendar.next_due().is_none_or(|due| due > now);
        self.requeue(now);
        self.looking = self.frontier.is_empty();
        !self.frontier.is_empty() || self.may_fill_gaps(now)
    }

    /// Puts a contact on the frontier unless this pass has met it or its interval still runs.
    fn queue(&mut self, now: Instant, waiting: Waiting) -> Offer {
        let key = address_key(self.policy, waiting.contact.addr);
        let known = self.addresses.get(&key);
        let met = known.is_some_and(|note| note.visited_in(self.pass) || note.is_resting(now));
        if met && !planted::is(Bug::UnboundedFrontier) {
            return Offer::Ignored;
        }
        let mut note = known.unwrap_or_default();
        note.visit(self.pass);
        if !self.addresses.set(now, self.pass, &key, note) {
            return Offer::Ignored;
        }
        if let Some(evicted) = self.frontier.insert(waiting) {
            self.forget_visit(now, evicted.contact);
            if evicted == waiting {
                return Offer::Ignored;
            }
        }
        if known.is_some() { Offer::Queued } else { Offer::New }
    }

    fn has_next_pass(&self, now: Instant) -> bool {
        !self.unanswered.is_empty()
            || self.calendar.next_due().is_some_and(|due| due <= now)
            || (self.frontier.has_landmarks() && self.looks_again_at() <= now)
    }

    /// When the whole keyspace is to be looked at again, even if nobody else is to be asked: who
    /// was missed, or given up, is named again by whoever lives beside it.
    fn looks_again_at(&self) -> Instant {
        self.covered_since + COVERAGE_REST
    }

    /// Queues who never answered, and whose interval is over: each address once, however often and
    /// under whatever ids it stands among them.
    fn requeue(&mut self, now: Instant) {
        // Marks of passes repeat; a mark from now on means that the address is queued.
        let before = self.pass.wrapping_sub(1);
        let unanswered = self.unanswered.iter().map(|waiting| waiting.contact);
        for contact in unanswered.chain(self.calendar.due(now).map(|visit| visit.contact)) {
            let key = address_key(self.policy, contact.addr);
            if let Some(mut note) = self.addresses.get(&key).filter(|n| n.visited_in(self.pass)) {
                note.visit(before);
                self.addresses.set(now, self.pass, &key, note);
            }
        }
        while let Some(waiting) = self.unanswered.pop_front() {
            self.queue(now, waiting);
        }
        while let Some(contact) = self.calendar.pop_due(now) {
            self.queue(now, Waiting { contact, referrer: None, silent_passes: 0, alive: false });
        }
    }

    /// A query is no longer on its way.
    fn ended(&mut self, turn: Turn) {
        self.in_flight -= 1;
        self.gaps_open -= usize::from(turn == Turn::Gap);
    }

    /// What every reply means: the contact can be asked about its neighbourhood.
    fn replied(&mut self, now: Instant, query: SweepQuery, id: NodeId) -> Alive {
        let node = self.alive(now, query, id);
        if node.as_expected {
            self.frontier.add_landmark(node.contact);
        }
        node
    }

    /// What every answer means, an error as well: the contact lives. One that answers under another
    /// id than it was expected to have (D12) is not believed to stand there.
    fn alive(&mut self, now: Instant, query: SweepQuery, id: NodeId) -> Alive {
        self.answered_at = now;
        let contact = query.waiting.contact;
        let as_expected = contact.id == id;
        if as_expected {
            self.judge(query.waiting, true);
        }
        if query.turn != Turn::Gap {
            self.gaps_left = self.gaps_left.saturating_add(1);
        }
        Alive { contact, as_expected }
    }

    /// Asks a node no more for so long: by address, and by id if it has shown that it is its own.
    fn rest(&mut self, now: Instant, node: Alive, rest: Duration) {
        let (contact, by_id, until) = (node.contact, node.as_expected, now + rest);
        self.mark_resting(now, contact, by_id, until);
        // Wall clocks are read to the second below: what is saved must not be early for that.
        let saved = until + Duration::from_secs(1);
        // A full calendar only means that the node is met again by walking.
        let _ = self.calendar.note(until, Visit { contact, by_id, until: saved });
        self.rested = Some(Rested { contact, by_id, until: saved });
    }

    fn mark_resting(&mut self, now: Instant, contact: Contact, by_id: bool, until: Instant) {
        if by_id {
            let mut note = self.ids.get(&contact.id.0).unwrap_or_default();
            note.rest_until(until);
            self.ids.set(now, self.pass, &contact.id.0, note);
        }
        let key = address_key(self.policy, contact.addr);
        let mut note = self.addresses.get(&key).unwrap_or_default();
        note.rest_until(until);
        note.visit(self.pass);
        self.addresses.set(now, self.pass, &key, note);
    }

    fn is_resting_id(&self, now: Instant, id: NodeId) -> bool {
        self.ids.get(&id.0).is_some_and(|note| note.is_resting(now))
    }

    fn is_usable(&self, contact: Contact, referrer: Option<SocketAddr>) -> bool {
        let admitted = match referrer {
            Some(_) => self.policy.admits_node(contact.addr),
            None => AddressPolicy::AllowPrivate.admits(contact.addr),
        };
        admitted
            && contact.id != self.own
            && contact.addr != self.own_addr
            && referrer.is_none_or(|referrer| self.referrers.is_followed(referrer))
    }

    /// Whoever named it is judged by whether it lives.
    fn judge(&mut self, waiting: Waiting, lives: bool) {
        if let Some(referrer) = waiting.referrer {
            self.referrers.judge(referrer, lives);
        }
    }

    fn note(
        &mut self,
        now: Instant,
        addr: SocketAddr,
        set: impl FnOnce(&mut NodeFacts) -> bool,
    ) -> bool {
        let key = address_key(self.policy, addr);
        let mut note = self.addresses.get(&key).unwrap_or_default();
        let before = set(&mut note);
        if !before {
            self.addresses.set(now, self.pass, &key, note);
        }
        !before
    }

    fn forget_visit(&mut self, now: Instant, contact: Contact) {
        let key = address_key(self.policy, contact.addr);
        if let Some(mut note) = self.addresses.get(&key) {
            note.visit(self.pass.wrapping_sub(1));
            self.addresses.set(now, self.pass, &key, note);
        }
    }

    fn follow_up(&mut self, query: SweepQuery) {
        self.follow_ups.push_back(query); // one per query that just ended: bounded like those
    }

    fn keep_unanswered(&mut self, waiting: Waiting) {
        let silent_passes = waiting.silent_passes + 1;
        if silent_passes >= UNANSWERED_PASSES {
            return;
        }
        if self.unanswered.len() >= UNANSWERED_MAX {
            self.unanswered.pop_front();
        }
        self.unanswered.push_back(Waiting { silent_passes, ..waiting });
    }
}

/// The interval to keep: what is missing, of the wrong type or out of range counts as the longest.
fn clamp_interval(interval: Option<i64>) -> Duration {
    let seconds = interval.and_then(|seconds| u64::try_from(seconds).ok());
    match seconds.map(Duration::from_secs) {
        _ if planted::is(Bug::IgnoreInterval) => Duration::ZERO,
        Some(interval) if interval <= INTERVAL_MAX => interval.max(INTERVAL_MIN),
        _ => INTERVAL_MAX,
    }
}

#[cfg(test)]
mod tests;
