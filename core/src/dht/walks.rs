//! The walks under way in one family, and the order in which they ask.
//!
//! Must never hold more than [`WALKS_MAX`] walks, nor let one of them ask twice before all others
//! that can ask did.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::base::addr::{AddressPolicy, Contact, Family};
use crate::base::id::{InfoHash, NodeId};
use crate::base::store::{Key, Slab};
use crate::base::time::{Instant, Lane};
use crate::dht::walk::{Walk, WalkContact, WalkStep};
use crate::limits::{WALK_BUSY_PAUSE, WALKS_MAX};

/// Most turns, and most pauses: living walks are at most half of them.
const TURNS_MAX: usize = 2 * WALKS_MAX;

/// When a walk asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// In turn with others.
    InOrder,
    /// Only when none of those in order can ask. Those that ask begin within an eighth of the
    /// places; those that are paused make room for any other.
    Last,
}

/// A walk and the job it serves.
#[derive(Debug)]
struct Slot {
    walk: Walk,
    job: Key,
    hash: InfoHash,
    turn: Turn,
    /// When it last took the nodes known near its infohash.
    seeded: Instant,
    /// Whether it stands among the turns.
    queued: bool,
    /// Whether it stands among the busy; it may stand among the turns as well, once it changed.
    busy: bool,
    /// Whether it asks no node for now.
    paused: bool,
}

/// A bounded set of `get_peers` walks.
#[derive(Debug)]
pub(crate) struct Walks {
    own: NodeId,
    own_addr: SocketAddr,
    policy: AddressPolicy,
    family: Family,
    slots: Slab<Slot>,
    /// Walks that may have a query, by [`Turn`], each once, and at most as many that ended since.
    turns: [VecDeque<Key>; 2],
    most: usize,
    /// How many walks there are, and how many of them are paused, by [`Turn`].
    held: [usize; 2],
    paused: [usize; 2],
    /// Walks whose nodes have had their share of datagrams: they have a turn again after a pause.
    busy: Lane<Key>,
    /// Walks that ended, kept for their memory.
    spare: Vec<Walk>,
}

impl Walks {
    pub(crate) fn new(
        own: NodeId,
        own_addr: SocketAddr,
        policy: AddressPolicy,
        most: usize,
    ) -> Self {
        Self {
            own,
            own_addr,
            policy,
            family: Family::of(own_addr),
            slots: Slab::new(most.clamp(1, WALKS_MAX)),
            turns: Default::default(),
            most: most.clamp(1, WALKS_MAX),
            held: [0; 2],
            paused: [0; 2],
            busy: Lane::new(WALK_BUSY_PAUSE),
            spare: Vec::new(),
        }
    }

    /// Keeps `own` out of walks begun from now on.
    pub(crate) fn set_own(&mut self, own: NodeId) {
        self.own = own;
        self.spare.clear(); // which were made for the id before
    }

    /// Whether another walk may begin that asks at this `turn`.
    pub(crate) fn has_room(&self, turn: Turn) -> bool {
        match turn {
            Turn::InOrder => !self.slots.is_full(),
            Turn::Last => !self.slots.is_full() && self.may_ask_last(),
        }
    }

    /// Begins a walk for `job` from `seeds` and from `addresses` of unknown id. `None`, and no
    /// walk, if none of them may be asked or there is no room.
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        (job, hash): (Key, InfoHash),
        turn: Turn,
        seeds: impl Iterator<Item = Contact>,
        addresses: impl Iterator<Item = SocketAddr>,
    ) -> Option<Key> {
        let mut walk = self.spare.pop().unwrap_or_else(|| {
            let mut walk = Walk::new(hash.id(), self.own, self.policy, self.family);
            walk.exclude(self.own_addr);
            walk
        });
        walk.reset(hash.id());
        seeds.for_each(|contact| walk.add(contact));
        addresses.for_each(|addr| walk.add_address(addr));
        if walk.is_done() {
            self.spare.push(walk);
            return None;
        }
        let slot =
            Slot { walk, job, hash, turn, seeded: now, queued: true, busy: false, paused: false };
        match self.slots.insert(slot) {
            Ok(key) => {
                self.held[turn as usize] += 1;
                self.queue(turn, key);
                Some(key)
            }
            Err(slot) => {
                self.spare.push(slot.walk);
                None
            }
        }
    }

    /// The next query of any walk, in turn, to a node that `is_free` to get a datagram. A walk that
    /// no node has answered yet first takes what `seeds` adds: the nodes known now are more than
    /// those when it began.
    pub(crate) fn poll_query(
        &mut self,
        now: Instant,
        is_free: impl Fn(SocketAddr) -> bool,
        seeds: impl Fn(InfoHash, &mut Walk),
    ) -> Option<(Key, InfoHash, WalkContact)> {
        self.end_pauses(now);
        let in_order = self.poll_turn(now, Turn::InOrder, &is_free, &seeds);
        in_order.or_else(|| self.poll_turn(now, Turn::Last, &is_free, &seeds))
    }

    fn poll_turn(
        &mut self,
        now: Instant,
        turn: Turn,
        is_free: &impl Fn(SocketAddr) -> bool,
        seeds: &impl Fn(InfoHash, &mut Walk),
    ) -> Option<(Key, InfoHash, WalkContact)> {
        while let Some(key) = self.turns[turn as usize].pop_front() {
            let Some(slot) = self.slots.get_mut(key) else { continue };
            slot.queued = false;
            if slot.paused {
                continue;
            }
            if slot.seeded < now && slot.walk.closest().next().is_none() {
                slot.seeded = now;
                seeds(slot.hash, &mut slot.walk);
            }
            match slot.walk.poll_step(is_free) {
                WalkStep::Ask(contact) => {
                    slot.queued = true;
                    self.turns[turn as usize].push_back(key); // in the place that it has just left
                    return Some((key, slot.hash, contact));
                }
                WalkStep::Busy => self.pause_busy(now, key),
                WalkStep::Idle => {}
            }
        }
        None
    }

    /// Lets a walk wait until its nodes may get a datagram again.
    fn pause_busy(&mut self, now: Instant, key: Key) {
        let Some(slot) = self.slots.get_mut(key).filter(|slot| !slot.busy) else { return };
        slot.busy = true;
        if self.busy.len() >= TURNS_MAX {
            let slots = &self.slots; // of walks that live each key stands there once
            self.busy.retain(|key| slots.get(*key).is_some());
        }
        self.busy.push(now, key);
    }

    /// Gives their turn to walks that waited long enough.
    fn end_pauses(&mut self, now: Instant) {
        while let Some(key) = self.busy.pop_due(now) {
            if let Some(slot) = self.slots.get_mut(key) {
                slot.busy = false;
                self.change(key, |_| {});
            }
        }
    }

    /// When a walk has a turn again that waits for its nodes.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.busy.poll_timeout()
    }

    /// Whether some walk may have a query.
    pub(crate) fn has_turns(&self) -> bool {
        self.turns.iter().any(|turns| !turns.is_empty())
    }

    /// The job that a walk serves.
    pub(crate) fn job(&self, key: Key) -> Option<Key> {
        self.slots.get(key).map(|slot| slot.job)
    }

    pub(crate) fn on_reply(
        &mut self,
        key: Key,
        from: SocketAddr,
        id: NodeId,
        found: impl Iterator<Item = Contact>,
    ) {
        self.change(key, |walk| walk.on_reply(from, id, found));
    }

    /// A node answered that the walk had given up.
    pub(crate) fn on_late_reply(
        &mut self,
        key: Key,
        from: SocketAddr,
        id: NodeId,
        found: impl Iterator<Item = Contact>,
    ) {
        self.change(key, |walk| walk.on_late_reply(from, id, found));
    }

    pub(crate) fn on_stall(&mut self, key: Key, addr: SocketAddr) {
        self.change(key, |walk| walk.on_stall(addr));
    }

    pub(crate) fn on_failure(&mut self, key: Key, addr: SocketAddr) {
        self.change(key, |walk| walk.on_failure(addr));
    }

    /// Whether the walk has no node left to ask.
    pub(crate) fn is_done(&self, key: Key) -> bool {
        self.slots.get(key).is_some_and(|slot| slot.walk.is_done())
    }

    /// The infohash of a walk that no node has answered.
    pub(crate) fn unanswered(&self, key: Key) -> Option<InfoHash> {
        let slot = self.slots.get(key)?;
        slot.walk.closest().next().is_none().then_some(slot.hash)
    }

    /// Gives a walk more `seeds`. `false` if it knew all of them, and is still over.
    pub(crate) fn extend(&mut self, key: Key, seeds: impl Iterator<Item = Contact>) -> bool {
        self.change(key, |walk| seeds.for_each(|contact| walk.add(contact)));
        !self.is_done(key)
    }

    /// Whether answers are due from nodes that have not stalled.
    pub(crate) fn is_waiting(&self, key: Key) -> bool {
        self.slots.get(key).is_some_and(|slot| slot.walk.in_flight() > 0)
    }

    /// Asks no further node until the walk goes on; what is under way may still be answered.
    pub(crate) fn pause(&mut self, key: Key) {
        if let Some(slot) = self.slots.get_mut(key).filter(|slot| !slot.paused) {
            slot.paused = true;
            self.paused[slot.turn as usize] += 1;
        }
    }

    /// Goes on with a walk; `false` if it was not paused.
    pub(crate) fn resume(&mut self, key: Key) -> bool {
        let Some(slot) = self.slots.get_mut(key).filter(|slot| slot.paused) else { return false };
        slot.paused = false;
        self.paused[slot.turn as usize] -= 1;
        self.change(key, |_| {});
        true
    }

    /// Whether one more of those that ask last may ask.
    fn may_ask_last(&self) -> bool {
        let last = Turn::Last as usize;
        self.held[last] - self.paused[last] < self.most.div_ceil(8)
    }

    /// Ends one paused walk of at most [`WALKS_MAX`], if there is any that makes room for one of
    /// this `turn`: of those that ask last, or else of those in order. The job that it served.
    pub(crate) fn end_paused(&mut self, turn: Turn) -> Option<Key> {
        let of = match turn {
            Turn::Last if !self.may_ask_last() => return None,
            _ if self.paused[Turn::Last as usize] > 0 => Turn::Last,
            Turn::InOrder if self.paused[Turn::InOrder as usize] > 0 => Turn::InOrder,
            Turn::InOrder | Turn::Last => return None,
        };
        let is_one = |slot: &Slot| slot.paused && slot.turn == of;
        let key = self.slots.iter().find(|(_, slot)| is_one(slot))?.0;
        self.end(key)
    }

    /// Every walk and the job that it serves, if that still lives.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, Key)> {
        self.slots.iter().map(|(key, slot)| (key, slot.job))
    }

    /// Ends a walk and returns the job it served; answers that still come find nothing.
    pub(crate) fn end(&mut self, key: Key) -> Option<Key> {
        let slot = self.slots.remove(key)?;
        self.held[slot.turn as usize] -= 1;
        self.paused[slot.turn as usize] -= usize::from(slot.paused);
        self.spare.push(slot.walk);
        Some(slot.job)
    }

    pub(crate) fn check(&self) {
        assert!(self.slots.len() <= WALKS_MAX && self.spare.len() <= WALKS_MAX);
        let turns = self.turns.each_ref().map(VecDeque::len);
        assert!(turns.iter().all(|turns| *turns <= TURNS_MAX), "{turns:?} turns");
        assert!(self.busy.len() <= TURNS_MAX, "{} busy walks", self.busy.len());
        for turn in [Turn::InOrder, Turn::Last] {
            let of = || self.slots.iter().filter(|(_, slot)| slot.turn == turn);
            assert_eq!(of().count(), self.held[turn as usize]);
            assert_eq!(of().filter(|(_, slot)| slot.paused).count(), self.paused[turn as usize]);
        }
        self.slots.iter().for_each(|(_, slot)| slot.walk.check());
    }

    fn change(&mut self, key: Key, change: impl FnOnce(&mut Walk)) {
        if let Some(slot) = self.slots.get_mut(key) {
            change(&mut slot.walk);
            if !slot.queued {
                slot.queued = true;
                let turn = slot.turn;
                self.queue(turn, key);
            }
        }
    }

    /// Gives a walk its turn after all others.
    fn queue(&mut self, turn: Turn, key: Key) {
        let turns = &mut self.turns[turn as usize];
        if turns.len() >= TURNS_MAX {
            // While nothing is sent no turn is taken: most are of walks that ended.
            turns.retain(|key| self.slots.get(*key).is_some());
        }
        turns.push_back(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_that_end_while_nothing_is_sent_leave_a_bounded_number_of_turns() {
        let own = SocketAddr::from(([9, 9, 9, 9], 6881));
        let mut walks = Walks::new(NodeId([1; 20]), own, AddressPolicy::AllowPrivate, WALKS_MAX);
        let mut jobs = Slab::new(1);
        let job = jobs.insert(()).expect("room");
        let hash = InfoHash([7; 20]);
        let seed = Contact { id: NodeId([2; 20]), addr: SocketAddr::from(([9, 9, 9, 8], 6881)) };
        let begin = |walks: &mut Walks| {
            let key = walks.begin(
                Instant::START,
                (job, hash),
                Turn::InOrder,
                [seed].into_iter(),
                std::iter::empty(),
            );
            walks.check();
            key.expect("a node to ask, and room")
        };
        let first = begin(&mut walks);
        for _ in 0..3 * WALKS_MAX {
            let key = begin(&mut walks);
            walks.end(key);
        }
        assert_eq!(
            walks.poll_query(Instant::START, |_| true, |_, _| {}).map(|(key, ..)| key),
            Some(first),
            "it keeps its turn"
        );
    }
}
