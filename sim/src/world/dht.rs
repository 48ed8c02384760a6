//! The ground truth of one DHT: which nodes, torrents and peers exist, when and where they live,
//! what each node stores and shows, and what a perfect crawl could find.
//!
//! A world follows from its [`Plan`] alone and never changes; what varies with time (an interval's
//! samples, who is alive) is computed from the plan too. It holds no bytes of metadata, only hashes
//! and sizes. Nothing here speaks a protocol.
//!
//! With churn, what nodes know of each other is that of the running epoch's start ([`EPOCH_S`]).

mod carriage;
mod lives;
mod lures;
mod plan;
mod resident;
mod view;
mod knowledge;
mod make;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

use estudely_core::internal::store::KeyedMap;
use estudely_core::{Contact, Family, InfoHash, Instant, NodeId};

use crate::world::draw::draw;
use crate::world::routing::Population;
use crate::world::torrent::{self, Facts, Torrent};
use crate::world::vice::{NodeVice, PeerVice};
use knowledge::Knowledge;
use lives::{Slots, seconds};
use lures::Lures;

pub use crate::world::addresses::{Addresses, Loopback};
pub use carriage::{Carriage, UtpShares};
pub use lives::Life;
pub use lures::{Decoy, Luring};
pub use plan::{
    Churn, Hostility, INTERVAL_DEFAULT, LIVES_MAX, PEERS_PER_TORRENT_MAX, Percent, Plan, PlanError,
    Routing, SAMPLES_MAX,
};
pub(crate) use plan::{check, check_addresses};
pub use resident::{Door, NodeKind, PeerRecord, PeerState, Resident};
pub use view::EPOCH_S;

/// One torrent of a world, without its bytes.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its DHT key.
    pub key: InfoHash,
    /// Bytes of its info dictionary.
    pub metadata_len: u32,
    /// What is in it.
    pub facts: Facts,
}

/// Makes every torrent of `plan` once. Worlds of both families share them.
pub fn make_torrents(plan: &Plan) -> Arc<[Made]> {
    (0..plan.torrents)
        .map(|index| {
            let Torrent { key, info, facts } = torrent::make(plan.seed, index, &plan.metadata);
            Made { key, metadata_len: info.len() as u32, facts }
        })
        .collect()
}

/// A whole DHT with its torrents. Nodes, torrents and peers go by number, from 0; with churn, each
/// life of a node or peer has a number of its own.
pub struct World {
    plan: Plan,
    /// Of all that families do not share.
    seed: u64,
    nodes: Vec<NodeRecord>,
    /// By seat.
    kinds: Vec<NodeKind>,
    vices: Vec<Option<NodeVice>>,
    /// Seats of the nodes that surround the first torrent's key.
    ring: Range<u32>,
    lures: Lures,
    nodes_in: Slots,
    bootstraps: Vec<u32>,
    torrents: Arc<[Made]>,
    by_key: KeyedMap<InfoHash, u32>,
    /// Torrents in order of their keys.
    keys: Population,
    peers: Vec<PeerRecordInner>,
    peers_in: Slots,
    /// Each torrent's first peer, and the end.
    first_peers: Vec<u32>,
    knowledge: Knowledge,
    utp: UtpShares,
}

#[derive(Clone, Copy)]
struct NodeRecord {
    id: NodeId,
    seat: u32,
    slot: u32,
    life: Life,
}

#[derive(Clone, Copy)]
struct PeerRecordInner {
    seat: u32,
    slot: u32,
    torrent: u32,
    life: Life,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("plan", &self.plan).finish_non_exhaustive()
    }
}

impl World {
    /// Builds the world of `plan`: hashes every torrent once.
    pub fn build(plan: Plan) -> Result<Self, PlanError> {
        check(&plan)?;
        let torrents = make_torrents(&plan);
        Self::build_with(plan, torrents)
    }

    /// What the world follows from.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The DHT that it is.
    pub fn family(&self) -> Family {
        self.plan.addresses.family()
    }

    /// Lives of nodes, the dead included.
    pub fn node_count(&self) -> u32 {
        self.nodes.len() as u32
    }

    /// Torrents.
    pub fn torrent_count(&self) -> u32 {
        self.torrents.len() as u32
    }

    /// Lives of peers of all torrents.
    pub fn peer_count(&self) -> u32 {
        self.peers.len() as u32
    }

    /// Id and address of a node.
    pub fn contact(&self, node: u32) -> Contact {
        let node = &self.nodes[node as usize];
        let slot = self.lures.shown(node.slot);
        Contact { id: node.id, addr: self.plan.addresses.addr(self.seed, slot) }
    }

    /// What lives at a node's address.
    pub fn node_kind(&self, node: u32) -> NodeKind {
        self.kinds[self.nodes[node as usize].seat as usize]
    }

    /// When a node lives.
    pub fn node_life(&self, node: u32) -> Life {
        self.nodes[node as usize].life
    }

    /// What a node does wrong, in all its lives.
    pub fn node_vice(&self, node: u32) -> Option<NodeVice> {
        self.vices[self.nodes[node as usize].seat as usize]
    }

    /// Whether a node is one of those that surround the first torrent's key.
    pub fn colludes(&self, node: u32) -> bool {
        self.ring.contains(&self.nodes[node as usize].seat)
    }

    /// The numbers of all those nodes: they live for ever, and in the order of ids no other node is
    /// between them.
    pub fn colluders(&self) -> Range<u32> {
        let number = |seat| self.nodes.partition_point(|node| node.seat < seat) as u32;
        number(self.ring.start)..number(self.ring.end)
    }

    /// The node's number among all seats: the same in all its lives.
    pub fn node_seat(&self, node: u32) -> u32 {
        self.nodes[node as usize].seat
    }

    /// When a peer lives.
    pub fn peer_life(&self, peer: u32) -> Life {
        self.peers[peer as usize].life
    }

    /// What a live peer does wrong, in all its lives.
    pub fn peer_vice(&self, peer: u32) -> Option<PeerVice> {
        let hostility = &self.plan.hostility;
        let vices = hostility.peer_vices.iter();
        let seat = u64::from(self.peers[peer as usize].seat);
        let mut draw = draw(self.seed, "peer vice", seat);
        let hostile = hostility.peers.hit(&mut draw) && self.peer_state(peer) == PeerState::Live;
        let count = vices.clone().count();
        if hostile && count > 0 { vices.clone().nth(draw.usize(0..count)) } else { None }
    }

    /// How connections to a peer must begin, in all its lives.
    pub fn peer_door(&self, peer: u32) -> Door {
        let seat = u64::from(self.peers[peer as usize].seat);
        let mut draw = draw(self.seed, "door", seat);
        let is_sealed = self.plan.sealed_peers.hit(&mut draw);
        match (is_sealed, self.plan.sealed_rc4.hit(&mut draw)) {
            _ if self.peer_state(peer) != PeerState::Live => Door::Clear,
            (false, _) => Door::Clear,
            (true, true) => Door::Rc4,
            (true, false) => Door::Keys,
        }
    }

    /// A live node to start from, one with BEP 51 if any has it.
    pub fn bootstrap(&self) -> Option<Contact> {
        self.bootstraps.first().map(|&node| self.contact(node))
    }

    /// Up to three honest nodes that live for ever.
    pub fn bootstraps(&self) -> &[u32] {
        &self.bootstraps
    }

    /// Empty address number `index` of those that liars name, or seem to answer from.
    pub(crate) fn nobody(&self, seed: u64, index: u64) -> SocketAddr {
        self.plan.addresses.nobody(seed, index)
    }

    /// Dice of this world for what its actors do.
    pub(crate) fn dice(&self, label: &str, index: u64) -> fastrand::Rng {
        draw(self.seed, label, index)
    }

    /// Whether a node keeps silent at `now` because bootstrap nodes do.
    pub fn is_hushed(&self, now: Instant, node: u32) -> bool {
        seconds(now) < u64::from(self.plan.hostility.silent_s) && self.bootstraps.contains(&node)
    }

    /// Who lives at `ip` for ever, or first. Ports are the caller's affair.
    pub fn resident(&self, ip: IpAddr) -> Option<Resident> {
        self.residents(ip)?.next()
    }

    /// Who lives at exactly `addr` at `now`; dead nodes too. On loopback ports are the caller's
    /// affair.
    pub fn resident_at(&self, now: Instant, addr: SocketAddr) -> Option<Resident> {
        let resident = self.residents(addr.ip())?.find(|&resident| match resident {
            Resident::Node(node) => self.node_life(node).holds(now),
            Resident::Peer(peer) => self.peer_life(peer).holds(now),
            Resident::Decoy(_) => true,
        })?;
        let own = match resident {
            Resident::Node(node) => self.contact(node).addr,
            Resident::Peer(peer) => self.peer(peer).addr,
            Resident::Decoy(decoy) => self.decoy_addr(decoy),
        };
        (own == addr || matches!(self.plan.addresses, Addresses::Loopback(_))).then_some(resident)
    }

    /// All residents that ever live at `ip`, in order of time.
    fn residents(&self, ip: IpAddr) -> Option<impl Iterator<Item = Resident> + '_> {
        let slot = self.lures.real(self.plan.addresses.slot(self.seed, ip)?);
        let decoy = self.lures.decoy_in(slot);
        let (nodes, peers) = match slot.checked_sub(self.nodes_in.len()) {
            None => (self.nodes_in.lives(slot), &[][..]),
            Some(slot) if slot < self.peers_in.len() => (&[][..], self.peers_in.lives(slot)),
            Some(_) if decoy.is_some() => (&[][..], &[][..]),
            Some(_) => return None,
        };
        let nodes = nodes.iter().map(|&node| Resident::Node(node));
        let peers = peers.iter().map(|&peer| Resident::Peer(peer));
        Some(nodes.chain(peers).chain(decoy.map(Resident::Decoy)))
    }

    /// The torrent that goes by `key`.
    pub fn torrent_by_key(&self, key: InfoHash) -> Option<u32> {
        self.by_key.get(&key).copied()
    }

    /// The DHT key of a torrent.
    pub fn key(&self, torrent: u32) -> InfoHash {
        self.torrents[torrent as usize].key
    }

    /// Bytes of its info dictionary.
    pub fn metadata_len(&self, torrent: u32) -> u32 {
        self.torrents[torrent as usize].metadata_len
    }

    /// What is in its info dictionary.
    pub fn facts(&self, torrent: u32) -> &Facts {
        &self.torrents[torrent as usize].facts
    }

    /// Its info dictionary, made anew, and what is in it.
    pub fn torrent(&self, torrent: u32) -> Torrent {
        torrent::make(self.plan.seed, torrent, &self.plan.metadata)
    }

    /// The numbers of all peers that it ever has.
    pub fn peers_of(&self, torrent: u32) -> Range<u32> {
        self.first_peers[torrent as usize]..self.first_peers[torrent as usize + 1]
    }

    /// Its peers as holders know them at `now`: those that lived when the epoch began.
    pub fn known_peers_of(&self, now: Instant, torrent: u32) -> impl Iterator<Item = u32> + '_ {
        let start = seconds(now) / EPOCH_S * EPOCH_S;
        self.peers_of(torrent).filter(move |&peer| self.peer_life(peer).includes(start))
    }

    /// One peer.
    pub fn peer(&self, number: u32) -> PeerRecord {
        let PeerRecordInner { slot, torrent, .. } = self.peers[number as usize];
        let state = self.peer_state(number);
        let slot = self.nodes_in.len() + slot;
        let port = match (&self.plan.addresses, state) {
            (Addresses::Loopback(plan), PeerState::Refuses) => plan.refusing_port,
            (Addresses::Loopback(plan), PeerState::Hangs) => plan.silent_port,
            (addresses, _) => addresses.port(self.seed, slot),
        };
        let addr = SocketAddr::new(self.plan.addresses.ip(self.seed, slot), port);
        PeerRecord { number, torrent, state, addr }
    }

    fn peer_state(&self, number: u32) -> PeerState {
        let seat = self.peers[number as usize].seat;
        let mut draw = draw(self.seed, "peer", u64::from(seat));
        match (self.plan.dead_peers.hit(&mut draw), draw.u8(0..3)) {
            (false, _) => PeerState::Live,
            (true, 0) => PeerState::Refuses,
            (true, 1) => PeerState::Silent,
            (true, _) => PeerState::Hangs,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
