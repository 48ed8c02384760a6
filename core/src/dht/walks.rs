//! The walks under way in one family, and the order in which they ask.
//!
//! Must never hold more than [`WALKS_MAX`] walks, nor let one of them ask twice before all others
//! that can ask did.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::base::addr::{AddressPolicy, Contact, Family};
use crate::base::id::{InfoHash, NodeId};
use crate::base::store::{Key, Slab};
use crate::dht::walk::{Walk, WalkContact};
use crate::limits::WALKS_MAX;

/// When a walk asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// In turn with others.
    InOrder,
    /// Only when none of those in order can ask. Walks of this kind have an eighth of the places.
    Last,
}

/// A walk and the job it serves.
#[derive(Debug)]
struct Slot {
    walk: Walk,
    job: Key,
    hash: InfoHash,
    turn: Turn,
    queued: bool,
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
    /// Walks that can ask, by [`Turn`].
    turns: [VecDeque<Key>; 2],
    most: usize,
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
            Turn::Last => self.slots.len() < self.most.div_ceil(8),
        }
    }

    /// Begins a walk for `job` from `seeds` and from `addresses` of unknown id. `None`, and no walk,
    /// if none of them may be asked or there is no room.
    pub(crate) fn begin(
        &mut self,
        job: Key,
        hash: InfoHash,
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
        match self.slots.insert(Slot { walk, job, hash, turn, queued: true, paused: false }) {
            Ok(key) => {
                self.turns[turn as usize].push_back(key);
                Some(key)
            }
            Err(slot) => {
                self.spare.push(slot.walk);
                None
            }
        }
    }

    /// The next query of any walk, in turn.
    pub(crate) fn poll_query(&mut self) -> Option<(Key, InfoHash, WalkContact)> {
        [Turn::InOrder, Turn::Last].into_iter().find_map(|turn| self.poll_turn(turn))
    }

    fn poll_turn(&mut self, turn: Turn) -> Option<(Key, InfoHash, WalkContact)> {
        let turns = &mut self.turns[turn as usize];
        while let Some(key) = turns.pop_front() {
            let Some(slot) = self.slots.get_mut(key) else { continue };
            if slot.paused {
                slot.queued = false;
                continue;
            }
            if let Some(contact) = slot.walk.poll_query() {
                turns.push_back(key);
                return Some((key, slot.hash, contact));
            }
            slot.queued = false;
        }
        None
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
        if let Some(slot) = self.slots.get_mut(key) {
            slot.paused = true;
        }
    }

    /// Goes on with a walk; `false` if it was not paused.
    pub(crate) fn resume(&mut self, key: Key) -> bool {
        let Some(slot) = self.slots.get_mut(key).filter(|slot| slot.paused) else { return false };
        slot.paused = false;
        self.change(key, |_| {});
        true
    }

    /// Ends one paused walk of at most [`WALKS_MAX`], if there is any; the job that it served.
    pub(crate) fn end_paused(&mut self) -> Option<Key> {
        let key = self.slots.iter().find(|(_, slot)| slot.paused)?.0;
        self.end(key)
    }

    /// Every walk and the job that it serves, if that still lives.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, Key)> {
        self.slots.iter().map(|(key, slot)| (key, slot.job))
    }

    /// Ends a walk and returns the job it served; answers that still come find nothing.
    pub(crate) fn end(&mut self, key: Key) -> Option<Key> {
        let slot = self.slots.remove(key)?;
        self.spare.push(slot.walk);
        Some(slot.job)
    }

    pub(crate) fn check(&self) {
        assert!(self.slots.len() <= WALKS_MAX && self.spare.len() <= WALKS_MAX);
        self.slots.iter().for_each(|(_, slot)| slot.walk.check());
    }

    fn change(&mut self, key: Key, change: impl FnOnce(&mut Walk)) {
        if let Some(slot) = self.slots.get_mut(key) {
            change(&mut slot.walk);
            if !slot.queued {
                slot.queued = true;
                self.turns[slot.turn as usize].push_back(key);
            }
        }
    }
}
