//! One iterative lookup (BEP 5): ask the nearest nodes known for nearer ones, until the eight
//! nearest have answered. The same state serves `find_node` and `get_peers`: the owner builds the
//! queries, keeps the transactions and may stop early.
//!
//! Must never ask an address or an id twice, have more than [`ALPHA`] queries in flight (stalled
//! ones do not count), ask more than [`WALK_CANDIDATES_MAX`] nodes in all, or believe a single
//! referrer for long. Holds no time: the owner says when a query stalled or failed, and must say so
//! in the end for every query, or the walk does not end.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use crate::base::addr::{AddressPolicy, Contact, Family};
use crate::base::id::{ID_LEN, Id, NodeId};
use crate::base::planted::{self, Bug};
use crate::dht::table::K;
use crate::limits::{
    ALPHA, CONTACTS_PER_REPLY, DEAD_REFERRALS_MAX, SOLE_REFERRALS_MAX, WALK_CANDIDATES_MAX,
};

/// A node to ask next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkContact {
    /// Where to send the query.
    pub addr: SocketAddr,
    /// The id it is said to have; unknown for bootstrap addresses.
    pub id: Option<NodeId>,
}

/// The state of one lookup, about 5 KB at most; reusable through [`Self::reset`].
///
/// After any `on_*` or `add*` the owner drains [`Self::poll_query`], then asks [`Self::is_done`].
/// Reports about an address that is not being asked change nothing.
#[derive(Clone, Debug)]
pub struct Walk {
    target: Id,
    own: NodeId,
    own_addr: Option<SocketAddr>,
    policy: AddressPolicy,
    family: Family,
    /// Unknown ids first, then nearest first.
    candidates: Vec<Candidate>,
    /// What each asked node's referrals turned out to be, in the order of asking.
    referrers: Vec<Reputation>,
    /// Queries that are neither settled nor stalled.
    in_flight: u8,
}

/// A contact of the walk: 46 bytes.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// Whether `distance` means anything: bootstrap addresses come without an id.
    known: bool,
    distance: Id,
    ip: IpAddr,
    port: u16,
    state: State,
    /// Its place in `referrers`, once asked.
    asked: u8,
    /// The node that named it first and is still followed; [`NO_NODE`] for the owner.
    referrer: u8,
    /// The node that named it last, so that naming it twice in one reply counts once.
    latest: u8,
    /// How many different nodes named it.
    named: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    InFlight,
    Stalled,
    Answered,
    Failed,
}

#[derive(Clone, Copy, Debug, Default)]
struct Reputation {
    dead: u8,
    live: u8,
}

/// What the list asks for now.
enum Next {
    Ask(usize),
    /// Each node that could be asked has had its share of datagrams for the moment.
    Busy,
    Wait,
    Done,
}

/// What a walk does when it may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkStep {
    /// It asks this node, from now on.
    Ask(WalkContact),
    /// It has nodes to ask, and none of them may get a datagram for the moment.
    Busy,
    /// It asks none: enough are being asked, or none is left.
    Idle,
}

/// Stands for no node of the walk: its owner as a referrer, or a candidate that was not asked.
const NO_NODE: u8 = u8::MAX;

const _: () = assert!(WALK_CANDIDATES_MAX < NO_NODE as usize, "every asked node has a number");

impl Walk {
    /// A walk to `target` that knows no node yet.
    pub fn new(target: Id, own: NodeId, policy: AddressPolicy, family: Family) -> Self {
        Self {
            target,
            own,
            own_addr: None,
            policy,
            family,
            // All room that it may ever need, for it is handed on to later walks.
            candidates: Vec::with_capacity(WALK_CANDIDATES_MAX),
            referrers: Vec::with_capacity(WALK_CANDIDATES_MAX),
            in_flight: 0,
        }
    }

    /// Starts over to another target, keeping the memory, own id and excluded address.
    pub fn reset(&mut self, target: Id) {
        self.target = target;
        self.candidates.clear();
        self.referrers.clear();
        self.in_flight = 0;
    }

    /// Never asks `addr` from now on: the endpoint under which others see us.
    pub fn exclude(&mut self, addr: SocketAddr) {
        self.own_addr = Some(SocketAddr::new(addr.ip(), addr.port()));
    }

    /// Adds a contact that the owner vouches for, as from the routing table.
    pub fn add(&mut self, c: Contact) {
        if self.admits(c) {
            self.consider(c, NO_NODE);
        }
    }

    /// Adds a bootstrap address of unknown id; it is asked before all others. A user may name a
    /// private one, so only what no host can own is refused.
    pub fn add_address(&mut self, a: SocketAddr) {
        let usable = AddressPolicy::AllowPrivate.admits(a) && Family::of(a) == self.family;
        if !usable || self.own_addr == Some(a) || self.holds_address(a) {
            return;
        }
        let unknown = Candidate { known: false, ..Candidate::new(Id::ZERO, a, NO_NODE) };
        self.insert(unknown);
    }

    /// The next node to ask, or `None` if enough are being asked or nothing is left. The query
    /// counts as sent.
    pub fn poll_query(&mut self) -> Option<WalkContact> {
        match self.poll_step(|_| true) {
            WalkStep::Ask(contact) => Some(contact),
            WalkStep::Busy | WalkStep::Idle => None,
        }
    }

    /// The same among the nodes that are free: those that may get a datagram now. A node that is
    /// not is passed over for a farther one, since many walks begin at the same few nodes.
    pub fn poll_step(&mut self, is_free: impl Fn(SocketAddr) -> bool) -> WalkStep {
        if usize::from(self.in_flight) >= ALPHA {
            return WalkStep::Idle;
        }
        let index = match self.next(is_free) {
            Next::Ask(index) => index,
            Next::Busy => return WalkStep::Busy,
            Next::Wait | Next::Done => return WalkStep::Idle,
        };
        let number = self.referrers.len() as u8;
        let target = self.target;
        let Some(candidate) = self.candidates.get_mut(index) else { return WalkStep::Idle };
        candidate.state = State::InFlight;
        candidate.asked = number;
        let contact = WalkContact {
            addr: candidate.addr(),
            id: candidate.known.then(|| candidate.contact(target).id),
        };
        self.referrers.push(Reputation::default());
        self.in_flight += 1;
        WalkStep::Ask(contact)
    }

    /// The node at `from` answered as `id` and named `found`, of which at most
    /// [`CONTACTS_PER_REPLY`] usable ones are taken. An id other than the expected one takes its
    /// place, unless it is ours or someone else's: then the node counts as failed.
    pub fn on_reply(&mut self, from: SocketAddr, id: NodeId, found: impl Iterator<Item = Contact>) {
        let Some(index) = self.outstanding(from) else { return };
        let distance = id.id().distance(self.target);
        let (known, expected) = (self.candidates[index].known, self.candidates[index].distance);
        let honest = !known || expected == distance;
        let as_named = known && honest;
        let taken = id == self.own || (!as_named && self.place(distance).is_ok());
        self.settle(index, if taken { State::Failed } else { State::Answered }, honest && !taken);
        let number = self.candidates[index].asked;
        if !(taken || as_named) {
            let mut candidate = self.candidates.remove(index);
            candidate.known = true;
            candidate.distance = distance;
            let place = self.place(distance).unwrap_or_else(|place| place);
            self.candidates.insert(place, candidate);
        }
        if id == self.own {
            return; // a reflector: what it names is our own answer (catalogue H16)
        }
        let (policy, family) = (self.policy, self.family);
        let usable = found.filter(|c| Family::of(c.addr) == family && policy.admits_node(c.addr));
        for contact in usable.take(CONTACTS_PER_REPLY) {
            if self.admits(contact) {
                self.consider(contact, number);
            }
        }
    }

    /// The same of a node that did not answer in time and counts as failed: that it does, and that
    /// its referrer named a dead one, is taken back.
    pub fn on_late_reply(
        &mut self,
        from: SocketAddr,
        id: NodeId,
        found: impl Iterator<Item = Contact>,
    ) {
        let failed = |c: &Candidate| c.state == State::Failed && c.addr() == from;
        let Some(candidate) = self.candidates.iter_mut().find(|c| failed(c)) else { return };
        candidate.state = State::Stalled;
        let referrer = usize::from(candidate.referrer);
        if let Some(referrer) = self.referrers.get_mut(referrer) {
            referrer.dead = referrer.dead.saturating_sub(1);
        }
        self.on_reply(from, id, found);
    }

    /// The query to `addr` is slow: another may be sent beside it, and it may still be answered.
    pub fn on_stall(&mut self, addr: SocketAddr) {
        if let Some(index) = self.outstanding(addr)
            && let Some(candidate) = self.candidates.get_mut(index)
            && candidate.state == State::InFlight
        {
            candidate.state = State::Stalled;
            self.in_flight -= 1;
        }
    }

    /// The query to `addr` was never answered, or answered by an error.
    pub fn on_failure(&mut self, addr: SocketAddr) {
        if let Some(index) = self.outstanding(addr) {
            let asked = if planted::is(Bug::AskTwice) { State::Fresh } else { State::Failed };
            self.settle(index, asked, false);
        }
    }

    /// Whether the walk is over: the eight nearest have answered and none nearer is outstanding, or
    /// no node is left to ask.
    pub fn is_done(&self) -> bool {
        matches!(self.next(|_| true), Next::Done)
    }

    /// The nodes that answered, nearest first.
    pub fn closest(&self) -> impl Iterator<Item = Contact> {
        let answered = self.candidates.iter().filter(|c| c.state == State::Answered);
        answered.map(|c| c.contact(self.target))
    }

    /// Where the walk leads.
    pub fn target(&self) -> Id {
        self.target
    }

    /// How many nodes were asked so far, at most [`WALK_CANDIDATES_MAX`].
    pub fn asked(&self) -> usize {
        self.referrers.len()
    }

    /// How many queries are neither settled nor stalled, at most [`ALPHA`].
    pub fn in_flight(&self) -> usize {
        usize::from(self.in_flight)
    }

    /// Asserts every invariant of the walk. For tests, simulation and fuzzing.
    pub fn check(&self) {
        assert!(self.candidates.len() <= WALK_CANDIDATES_MAX, "the list is bounded");
        assert!(self.in_flight() <= ALPHA, "at most alpha in flight");
        let count = |state| self.candidates.iter().filter(|c| c.state == state).count();
        assert_eq!(count(State::InFlight), self.in_flight(), "slots are counted");
        let asked = self.candidates.iter().filter(|c| c.state != State::Fresh);
        assert_eq!(
            asked.clone().count(),
            self.referrers.len(),
            "every node that was asked stays known"
        );
        let mut numbers: Vec<u8> = asked.map(|c| c.asked).collect();
        numbers.sort_unstable();
        assert!(numbers.iter().enumerate().all(|(n, number)| n == usize::from(*number)));
        let in_order = |a: &Candidate, b: &Candidate| a.key() < b.key() || !b.known;
        assert!(self.candidates.is_sorted_by(in_order), "nearest first, each id once");
        for (n, one) in self.candidates.iter().enumerate() {
            let clash = |other: &Candidate| self.same_address(other, one.addr());
            assert!(!self.candidates[..n].iter().any(clash), "each address once");
            assert_eq!(Family::of(one.addr()), self.family);
            assert!(!one.known || one.contact(self.target).id != self.own, "never ourselves");
        }
    }

    /// What the head of the list asks for. Walks it nearest first until the nodes that end the
    /// walk are counted.
    fn next(&self, is_free: impl Fn(SocketAddr) -> bool) -> Next {
        let mut missing = K;
        let mut waiting = false;
        let mut waiting_unknown = false;
        let mut is_busy = false;
        let mut doubtful = None;
        let mut sole = [0u8; WALK_CANDIDATES_MAX];
        for (index, candidate) in self.candidates.iter().enumerate() {
            match candidate.state {
                State::Failed => {}
                State::InFlight | State::Stalled if candidate.known => waiting = true,
                State::InFlight | State::Stalled => waiting_unknown = true,
                State::Fresh if !is_free(candidate.addr()) => is_busy = true,
                State::Fresh if self.is_followed(candidate.referrer) => return Next::Ask(index),
                State::Fresh => doubtful = doubtful.or(Some(index)),
                State::Answered => missing -= usize::from(candidate.counts(&mut sole)),
            }
            if missing == 0 {
                return match (is_busy, waiting) {
                    (true, _) => Next::Busy,
                    (false, true) => Next::Wait,
                    (false, false) => Next::Done,
                };
            }
        }
        match doubtful {
            _ if is_busy => Next::Busy,
            _ if waiting || waiting_unknown => Next::Wait,
            Some(index) => Next::Ask(index),
            None => Next::Done,
        }
    }

    /// Whether what `referrer` named is worth asking.
    fn is_followed(&self, referrer: u8) -> bool {
        let reputation = self.referrers.get(usize::from(referrer));
        reputation.is_none_or(|r| r.live > 0 || r.dead < DEAD_REFERRALS_MAX)
    }

    /// Whether hearsay may name `c` at all.
    fn admits(&self, c: Contact) -> bool {
        Family::of(c.addr) == self.family
            && self.policy.admits(c.addr)
            && c.id != self.own
            && self.own_addr != Some(c.addr)
    }

    /// Takes note of an admissible contact that `referrer` named.
    fn consider(&mut self, c: Contact, referrer: u8) {
        let distance = c.id.id().distance(self.target);
        let Ok(index) = self.place(distance) else {
            if !self.holds_address(c.addr) {
                self.insert(Candidate::new(distance, c.addr, referrer));
            }
            return;
        };
        let held = &self.candidates[index];
        let abandoned = held.state == State::Fresh && !self.is_followed(held.referrer);
        if referrer != NO_NODE && held.asked == referrer {
            // A node that names itself vouches for none.
        } else if held.addr() == c.addr {
            let candidate = &mut self.candidates[index];
            if candidate.latest != referrer {
                candidate.latest = referrer;
                candidate.named = candidate.named.saturating_add(1);
            }
            if abandoned {
                candidate.referrer = referrer;
            }
        } else if abandoned && !self.holds_address(c.addr) {
            // Only a liar gave this id that address: do not let it hide the node.
            self.candidates[index] = Candidate::new(distance, c.addr, referrer);
        }
    }

    /// Puts a new candidate in its place; a full list gives up its farthest unasked one for a
    /// nearer one. Asked ones stay: they are the memory of what not to ask again.
    fn insert(&mut self, candidate: Candidate) {
        if self.candidates.len() >= WALK_CANDIDATES_MAX {
            let farthest = self.candidates.iter().rposition(|c| c.state == State::Fresh);
            match farthest {
                Some(index) if candidate.key() < self.candidates[index].key() => {
                    self.candidates.remove(index);
                }
                _ => return,
            }
        }
        let place = self.candidates.partition_point(|c| c.key() <= candidate.key());
        self.candidates.insert(place, candidate);
    }

    /// Ends a query: frees its slot and holds the node that named it to account.
    fn settle(&mut self, index: usize, state: State, genuine: bool) {
        let candidate = &mut self.candidates[index];
        if candidate.state == State::InFlight {
            self.in_flight -= 1;
        }
        candidate.state = state;
        if let Some(referrer) = self.referrers.get_mut(usize::from(candidate.referrer)) {
            let count = if genuine { &mut referrer.live } else { &mut referrer.dead };
            *count = count.saturating_add(1);
        }
    }

    /// The place where a known id at this distance stands, or belongs.
    fn place(&self, distance: Id) -> Result<usize, usize> {
        self.candidates.binary_search_by(|c| c.key().cmp(&(true, distance)))
    }

    fn outstanding(&self, addr: SocketAddr) -> Option<usize> {
        let open = |c: &Candidate| matches!(c.state, State::InFlight | State::Stalled);
        let (ip, port) = (addr.ip(), addr.port());
        self.candidates.iter().position(|c| c.port == port && c.ip == ip && open(c))
    }

    fn holds_address(&self, addr: SocketAddr) -> bool {
        self.candidates.iter().any(|c| self.same_address(c, addr))
    }

    /// One contact per IP on the public network (catalogue H13), per endpoint in a private one.
    fn same_address(&self, candidate: &Candidate, addr: SocketAddr) -> bool {
        let port_too = self.policy == AddressPolicy::AllowPrivate;
        candidate.ip == addr.ip() && (!port_too || candidate.port == addr.port())
    }
}

impl Candidate {
    fn new(distance: Id, addr: SocketAddr, referrer: u8) -> Self {
        Self {
            known: true,
            distance,
            ip: addr.ip(),
            port: addr.port(),
            state: State::Fresh,
            asked: NO_NODE,
            referrer,
            latest: referrer,
            named: 1,
        }
    }

    fn key(&self) -> (bool, Id) {
        (self.known, self.distance)
    }

    fn addr(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }

    fn contact(&self, target: Id) -> Contact {
        let id: [u8; ID_LEN] = self.distance.distance(target).0;
        Contact { id: NodeId(id), addr: self.addr() }
    }

    /// Whether this answered node is one of those that end the walk: not once its only referrer
    /// has supplied its share.
    fn counts(&self, sole: &mut [u8; WALK_CANDIDATES_MAX]) -> bool {
        match sole.get_mut(usize::from(self.referrer)) {
            Some(supplied) if self.named < 2 => {
                *supplied += 1;
                *supplied <= SOLE_REFERRALS_MAX
            }
            _ => true,
        }
    }
}
