//! Nodes that lure a crawler away from honest work, and the peers that they name: who they are and
//! where they live.
//!
//! They come on top of the honest nodes: of two worlds that differ in their number alone, each
//! honest node has the same id, stores the same torrents and shows them in the same samples. Peers
//! never announced themselves to them. They live for ever, at the last slots of those that nodes
//! have at first; their decoys come after all peers. A key that they make up can be told from an
//! infohash by the world, and by nobody else.

use std::ops::Range;

use estudely_core::{InfoHash, NodeId};

use super::World;
use crate::world::addresses::{Addresses, NET_BITS, mix};
use crate::world::draw::draw;
use crate::world::vice::{Bait, Baits};

/// Decoys that a baiter names for a key.
const NAMED: u32 = 30;
/// Most addresses of baiters and decoys in a network that they share.
pub(super) const SHARED_MAX: u32 = 250;
/// Bytes of a made-up key that are random; the others follow from them.
const RANDOM: usize = 12;

/// How many lure, and by what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Luring {
    /// Nodes.
    pub nodes: u32,
    /// What their keys lead to, in equal parts.
    pub baits: Baits,
    /// Decoys of each.
    pub decoys: u32,
    /// Networks that all of them share; 0 for one each.
    pub networks: u32,
    /// Whether they name decoys for any key.
    pub any_key: bool,
}

impl Luring {
    /// Nobody.
    pub const NONE: Self =
        Self { nodes: 0, baits: Baits::NONE, decoys: 0, networks: 0, any_key: false };

    /// Addresses of baiters and decoys.
    pub(super) fn addresses(&self) -> u64 {
        u64::from(self.nodes) * (1 + u64::from(self.decoys))
    }

    /// Whether so many baiters and decoys can share so many networks at such addresses.
    pub(super) fn fits(&self, addresses: Addresses) -> bool {
        let public_v4 = matches!(addresses, Addresses::Public(estudely_core::Family::V4));
        let fits = self.networks <= self.nodes
            && self.addresses() <= u64::from(self.networks) * u64::from(SHARED_MAX);
        self.networks == 0 || (public_v4 && fits)
    }
}

/// Who lures in a world.
#[derive(Debug, Default)]
pub(super) struct Lures {
    /// Seats of the baiters, ascending.
    seats: Vec<u32>,
    ids: Vec<NodeId>,
    networks: u32,
    /// The first slot of baiters, and the slots of decoys.
    first: u32,
    decoys: Range<u32>,
}

impl Lures {
    /// Draws baiters among honest nodes with these ids, ascending.
    pub(super) fn draw(luring: &Luring, seed: u64, honest: &[NodeId]) -> Self {
        let mut draw = draw(seed, "baiters", 0);
        let mut ids: Vec<NodeId> = (0..luring.nodes)
            .map(|_| {
                let mut id = [0; 20];
                draw.fill(&mut id);
                NodeId(id)
            })
            .collect();
        ids.sort_unstable();
        let seats = ids
            .iter()
            .zip(0..)
            .map(|(id, before)| honest.partition_point(|honest| honest < id) as u32 + before)
            .collect();
        let first = honest.len() as u32;
        Self { seats, ids, networks: luring.networks, first, decoys: 0..0 }
    }

    /// The first slot of theirs.
    pub(super) fn first(&self) -> u32 {
        self.first
    }

    /// Gives decoys the slots from `first` on.
    pub(super) fn place_decoys(&mut self, luring: &Luring, first: u32) {
        self.decoys = first..first + luring.nodes * luring.decoys;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.ids.iter().copied()
    }

    /// What honest seats have, and between them what baiters have, by seat.
    pub(super) fn seated<T>(&self, honest: Vec<T>, mut baiters: impl Iterator<Item = T>) -> Vec<T> {
        let count = honest.len() + self.seats.len();
        let mut honest = honest.into_iter();
        let of = |seat| match self.number(seat) {
            Some(_) => baiters.next(),
            None => honest.next(),
        };
        (0..count as u32).filter_map(of).collect()
    }

    /// The seat of the honest node that had this one without baiters.
    pub(super) fn seat(&self, honest: u32) -> u32 {
        let before = (0..).zip(&self.seats).filter(|&(before, &seat)| seat <= honest + before);
        honest + before.count() as u32
    }

    /// The number of a seat among those of its kind.
    pub(super) fn rank(&self, seat: u32) -> u32 {
        match self.seats.binary_search(&seat) {
            Ok(number) => self.first + number as u32,
            Err(before) => seat - before as u32,
        }
    }

    /// Which baiter has that seat.
    pub(super) fn number(&self, seat: u32) -> Option<u32> {
        self.seats.binary_search(&seat).ok().map(|number| number as u32)
    }

    /// Which decoy lives in a slot.
    pub(super) fn decoy_in(&self, slot: u32) -> Option<u32> {
        self.decoys.contains(&slot).then(|| slot - self.decoys.start)
    }

    /// The slot whose address stands for `slot`: shared networks are those of the first baiters,
    /// and their hosts lie [`NET_BITS`] apart.
    pub(super) fn shown(&self, slot: u32) -> u32 {
        let baiters = self.first..self.first + self.seats.len() as u32;
        let member = match self.decoy_in(slot) {
            Some(decoy) => baiters.len() as u32 + decoy,
            None if baiters.contains(&slot) => slot - baiters.start,
            None => return slot,
        };
        match self.networks {
            0 => slot,
            networks => (self.first + member % networks) | ((member / networks) << NET_BITS),
        }
    }

    /// The slot for which that of an address stands.
    pub(super) fn real(&self, shown: u32) -> u32 {
        let (layer, slot) = (shown >> NET_BITS, shown & ((1 << NET_BITS) - 1));
        let Some(network) = slot.checked_sub(self.first).filter(|n| *n < self.networks) else {
            return shown;
        };
        let member = layer * self.networks + network;
        match member.checked_sub(self.seats.len() as u32) {
            None => self.first + member,
            Some(decoy) if decoy < self.decoys.len() as u32 => self.decoys.start + decoy,
            Some(_) => shown,
        }
    }
}

impl World {
    /// Which baiter a node is.
    pub fn baiter(&self, node: u32) -> Option<u32> {
        self.lures.number(self.node_seat(node))
    }

    /// Whether a node is none of those that peers announce themselves to.
    pub fn is_outside(&self, node: u32) -> bool {
        self.colludes(node) || self.baiter(node).is_some()
    }

    /// What the keys of a baiter lead to.
    pub fn bait(&self, baiter: u32) -> Option<Bait> {
        let baits = self.plan.hostility.luring.baits.iter();
        let count = baits.clone().count().max(1);
        baits.clone().nth(baiter as usize % count)
    }

    /// A key that no torrent has, new for each throw of these dice.
    pub fn invented_key(&self, dice: &mut fastrand::Rng) -> InfoHash {
        let mut key = [0; 20];
        dice.fill(&mut key[..RANDOM]);
        let rest = self.rest_of_key(&key);
        key[RANDOM..].copy_from_slice(&rest);
        InfoHash(key)
    }

    /// Whether a baiter of this world made up `key`.
    pub fn is_invented(&self, key: InfoHash) -> bool {
        !self.lures.is_empty() && key.0[RANDOM..] == self.rest_of_key(&key.0)
    }

    fn rest_of_key(&self, key: &[u8; 20]) -> [u8; 20 - RANDOM] {
        let words = key[..RANDOM].chunks_exact(4);
        let word = |bytes: &[u8]| bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        words.fold(self.seed ^ 0x6c75_7265, |hash, bytes| mix(hash, word(bytes))).to_be_bytes()
    }

    /// The decoys that a baiter names for `key`.
    pub fn decoys_for(&self, baiter: u32, key: InfoHash) -> impl Iterator<Item = u32> + '_ {
        let luring = &self.plan.hostility.luring;
        let spoken = luring.any_key || self.is_invented(key);
        let named = match self.bait(baiter) {
            Some(Bait::Trickle | Bait::Dead) if spoken => NAMED.min(luring.decoys),
            _ => 0,
        };
        let start = u32::from_be_bytes([key.0[0], key.0[1], key.0[2], key.0[3]]);
        let first = baiter * luring.decoys;
        let of = move |at| first + (start % luring.decoys.max(1) + at) % luring.decoys.max(1);
        (0..named).map(of)
    }

    /// What a dialler meets at a decoy.
    pub fn decoy(&self, decoy: u32) -> Decoy {
        let baiter = decoy / self.plan.hostility.luring.decoys.max(1);
        match self.bait(baiter) {
            Some(Bait::Trickle) => Decoy::Trickles,
            _ if decoy.is_multiple_of(2) => Decoy::Refuses,
            _ => Decoy::Hangs,
        }
    }

    /// Where a decoy lives.
    pub fn decoy_addr(&self, decoy: u32) -> std::net::SocketAddr {
        let slot = self.lures.shown(self.lures.decoys.start + decoy);
        self.plan.addresses.addr(self.seed, slot)
    }
}

/// What a dialler meets at a decoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoy {
    /// Completes both handshakes, offers much and sends little.
    Trickles,
    /// Refuses the connection.
    Refuses,
    /// Never completes the connection.
    Hangs,
}

#[cfg(test)]
mod tests;
