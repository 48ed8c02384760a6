//! The ground truth: which nodes, torrents and peers exist, where they live, what each node
//! stores and shows, and what a perfect crawl could find.
//!
//! A world follows from its [`Plan`] alone and never changes; what varies with time (an interval's
//! samples) is computed from the plan too. It holds no bytes of metadata, only hashes and sizes.
//! Nothing here speaks a protocol.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::{Range, RangeInclusive};

use estudely_core::addr::Contact;
use estudely_core::id::{Id, InfoHash, NodeId};
use estudely_core::rng::{Rng, Seed};
use estudely_core::store::{KeyedMap, KeyedState};
use estudely_core::time::Instant;

use crate::draw::draw;
use crate::routing::{Closest, K, Population, Tables};
use crate::torrent::{self, MetadataSizes, Torrent};

/// Most peers that a torrent may have: what fits a reply beside eight nodes within the 1 024 bytes
/// of BEP 32 (32.3), as mldht caps it (5.15).
pub const PEERS_PER_TORRENT_MAX: u32 = 50;
/// Most infohashes in one sample (51.4).
pub const SAMPLES_MAX: usize = 20;
/// The interval that most real nodes name, seconds (51.4).
pub const INTERVAL_DEFAULT: u32 = 21_600;

/// A share in whole percent, 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent(u8);

impl Percent {
    /// None.
    pub const ZERO: Self = Self(0);

    /// `None` above 100.
    pub const fn new(value: u8) -> Option<Self> {
        if value <= 100 { Some(Self(value)) } else { None }
    }

    /// That share of `count`, rounded down.
    pub const fn of(self, count: u32) -> u32 {
        (count as u64 * self.0 as u64 / 100) as u32
    }

    /// Whether a throw of these dice falls within the share.
    pub fn hit(self, draw: &mut fastrand::Rng) -> bool {
        draw.u8(0..100) < self.0
    }

    /// 0 to 100.
    pub const fn value(self) -> u8 {
        self.0
    }
}

impl std::str::FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let value = text.trim_end_matches('%').parse().ok();
        value
            .and_then(Self::new)
            .ok_or_else(|| format!("{text}: want a whole percentage, 0 to 100"))
    }
}

/// How nodes choose the contacts they name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// From their own k-buckets, in which dead addresses stand too.
    Tables,
    /// The true closest live nodes.
    Ideal,
}

impl fmt::Display for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tables => "tables",
            Self::Ideal => "ideal",
        })
    }
}

impl std::str::FromStr for Routing {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "tables" => Ok(Self::Tables),
            "ideal" => Ok(Self::Ideal),
            _ => Err("want tables or ideal"),
        }
    }
}

/// Where everybody lives: one address each from `base` upwards, one port for all that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The first address.
    pub base: Ipv4Addr,
    /// Where nodes and peers listen.
    pub port: u16,
    /// Where a connection is refused.
    pub refusing_port: u16,
    /// Where a connection never completes.
    pub silent_port: u16,
}

/// Everything a world follows from.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Chooses one world among all of this shape.
    pub seed: u64,
    /// Addresses of nodes, the dead included.
    pub nodes: u32,
    /// Share of them at which nobody lives.
    pub dead_nodes: Percent,
    /// Share of the live nodes without BEP 51: a third silent, a third answering error 204, a
    /// third answering as to find_node (5.14, 51.4).
    pub no_bep51: Percent,
    /// Torrents.
    pub torrents: u32,
    /// Peers of each.
    pub peers: RangeInclusive<u32>,
    /// Share of peers that cannot serve: a third refuse, a third accept and stay silent, a third
    /// never complete the TCP handshake.
    pub dead_peers: Percent,
    /// Lengths of info dictionaries.
    pub metadata: MetadataSizes,
    /// `interval` of samples in seconds (51.1).
    pub interval: u32,
    /// How contacts are chosen.
    pub routing: Routing,
    /// Where all live.
    pub addresses: Addresses,
}

/// Why a plan has no world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// More nodes and peers than addresses from the base to 127.255.255.254 (or outside 127/8,
    /// to the end of IPv4).
    AddressesExhausted {
        /// How many are needed.
        needed: u64,
        /// How many there are.
        available: u64,
    },
    /// A range of peers that is empty, starts at 0 or ends above [`PEERS_PER_TORRENT_MAX`].
    Peers,
    /// A range of metadata sizes that is empty or leaves 256 B to 10 MiB.
    MetadataSizes,
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressesExhausted { needed, available } => {
                write!(
                    f,
                    "{needed} addresses are needed, {available} left from the base address on"
                )
            }
            Self::Peers => write!(f, "peers per torrent: want 1..{PEERS_PER_TORRENT_MAX}"),
            Self::MetadataSizes => write!(
                f,
                "metadata size: want {}..{} bytes",
                torrent::METADATA_LEN_MIN,
                torrent::METADATA_LEN_MAX
            ),
        }
    }
}

impl std::error::Error for PlanError {}

/// What lives at a node's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// Nobody.
    Dead,
    /// A node with BEP 51.
    Sampler,
    /// Does not answer sample_infohashes at all.
    SampleSilent,
    /// Answers it with error 204.
    SampleUnknown,
    /// Answers it as find_node.
    SampleAsFindNode,
}

/// What a dialler meets at a peer's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// Serves the metadata.
    Live,
    /// Refuses the connection.
    Refuses,
    /// Accepts the connection and stays silent.
    Silent,
    /// Never completes the connection.
    Hangs,
}

impl PeerState {
    /// The word in the truth file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Refuses => "refuses",
            Self::Silent => "silent",
            Self::Hangs => "hangs",
        }
    }
}

/// One peer of one torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerRecord {
    /// The peer's number in the world.
    pub number: u32,
    /// The torrent it has.
    pub torrent: u32,
    /// How it behaves.
    pub state: PeerState,
    /// Where it is.
    pub addr: SocketAddr,
}

/// Who owns an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resident {
    /// The node of this number.
    Node(u32),
    /// The peer of this number.
    Peer(u32),
}

/// A whole DHT with its torrents. Nodes, torrents and peers go by number, from 0.
pub struct World {
    plan: Plan,
    ids: Vec<NodeId>,
    kinds: Vec<NodeKind>,
    /// Which address a node has, and which node an address.
    slot_of_node: Vec<u32>,
    node_at_slot: Vec<u32>,
    everyone: Population,
    live: Population,
    tables: Tables,
    torrents: Vec<TorrentRecord>,
    by_key: KeyedMap<InfoHash, u32>,
    /// Torrents stored by each node, side by side.
    stored: Vec<u32>,
    stored_starts: Vec<u32>,
    peer_count: u32,
}

#[derive(Clone, Copy)]
struct TorrentRecord {
    key: InfoHash,
    metadata_len: u32,
    first_peer: u32,
    /// The closest live nodes, `u32::MAX` where there are fewer.
    holders: [u32; K],
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
        let ids = draw_ids(&plan);
        let kinds = draw_kinds(&plan);
        let numbered = || ids.iter().copied().zip(0..);
        let everyone = Population::new(numbered());
        let live =
            Population::new(numbered().filter(|&(_, n)| kinds[n as usize] != NodeKind::Dead));
        let tables = Tables::draw(&everyone, |n| draw(plan.seed, "table", u64::from(n)));
        let (torrents, peer_count) = draw_torrents(&plan, &live);
        check_addresses(&plan, u64::from(plan.nodes) + u64::from(peer_count))?;
        let mut by_key = KeyedMap::with_capacity_and_hasher(
            torrents.len(),
            KeyedState::new(&mut Rng::new(Seed::from_u64(plan.seed))),
        );
        by_key.extend(torrents.iter().zip(0..).map(|(torrent, n)| (torrent.key, n)));
        let (stored, stored_starts) = group_by_holder(ids.len(), &torrents);
        let mut slot_of_node: Vec<u32> = (0..plan.nodes).collect();
        draw(plan.seed, "slots", 0).shuffle(&mut slot_of_node);
        let mut node_at_slot = vec![0; ids.len()];
        for (&slot, node) in slot_of_node.iter().zip(0..) {
            node_at_slot[slot as usize] = node;
        }
        Ok(Self {
            plan,
            ids,
            kinds,
            slot_of_node,
            node_at_slot,
            everyone,
            live,
            tables,
            torrents,
            by_key,
            stored,
            stored_starts,
            peer_count,
        })
    }

    /// What the world follows from.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Node addresses, the dead included.
    pub fn node_count(&self) -> u32 {
        self.ids.len() as u32
    }

    /// Torrents.
    pub fn torrent_count(&self) -> u32 {
        self.torrents.len() as u32
    }

    /// Peers of all torrents.
    pub fn peer_count(&self) -> u32 {
        self.peer_count
    }

    /// Id and address of a node.
    pub fn contact(&self, node: u32) -> Contact {
        let addr = self.slot_addr(self.slot_of_node[node as usize], self.plan.addresses.port);
        Contact { id: self.ids[node as usize], addr }
    }

    /// What lives at a node's address.
    pub fn node_kind(&self, node: u32) -> NodeKind {
        self.kinds[node as usize]
    }

    /// A live node to start from, one with BEP 51 if any has it.
    pub fn bootstrap(&self) -> Option<Contact> {
        let of_kind = |wanted: fn(NodeKind) -> bool| {
            (0..self.node_count()).find(|&node| wanted(self.node_kind(node)))
        };
        of_kind(|kind| kind == NodeKind::Sampler)
            .or_else(|| of_kind(|kind| kind != NodeKind::Dead))
            .map(|node| self.contact(node))
    }

    /// Who lives at `ip`. Ports are the caller's affair.
    pub fn resident(&self, ip: IpAddr) -> Option<Resident> {
        let IpAddr::V4(ip) = ip else { return None };
        let slot = u32::from(ip).checked_sub(u32::from(self.plan.addresses.base))?;
        match self.node_at_slot.get(slot as usize) {
            Some(&node) => Some(Resident::Node(node)),
            None => {
                let peer = slot - self.node_count();
                (peer < self.peer_count).then_some(Resident::Peer(peer))
            }
        }
    }

    /// The contacts that `node` names for `target`.
    pub fn closest(&self, node: u32, target: Id) -> Closest {
        match self.plan.routing {
            Routing::Tables => self.tables.closest(&self.everyone, node, target),
            Routing::Ideal => self.live.closest(target),
        }
    }

    /// The torrents whose peers `node` stores.
    pub fn stored(&self, node: u32) -> &[u32] {
        let node = node as usize;
        &self.stored[self.stored_starts[node] as usize..self.stored_starts[node + 1] as usize]
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

    /// Its info dictionary, made anew, and what is in it.
    pub fn torrent(&self, torrent: u32) -> Torrent {
        torrent::make(self.plan.seed, torrent, &self.plan.metadata)
    }

    /// The nodes that store its peers, nearest first.
    pub fn holders(&self, torrent: u32) -> impl Iterator<Item = u32> + '_ {
        self.torrents[torrent as usize].holders.iter().copied().filter(|&node| node != u32::MAX)
    }

    /// The numbers of its peers.
    pub fn peers_of(&self, torrent: u32) -> Range<u32> {
        let end = self.torrents.get(torrent as usize + 1).map_or(self.peer_count, |t| t.first_peer);
        self.torrents[torrent as usize].first_peer..end
    }

    /// One peer.
    pub fn peer(&self, number: u32) -> PeerRecord {
        let torrent = self.torrents.partition_point(|t| t.first_peer <= number) as u32 - 1;
        let state = self.peer_state(number);
        let addresses = &self.plan.addresses;
        let port = match state {
            PeerState::Live | PeerState::Silent => addresses.port,
            PeerState::Refuses => addresses.refusing_port,
            PeerState::Hangs => addresses.silent_port,
        };
        let addr = self.slot_addr(self.node_count() + number, port);
        PeerRecord { number, torrent, state, addr }
    }

    fn peer_state(&self, number: u32) -> PeerState {
        let mut draw = draw(self.plan.seed, "peer", u64::from(number));
        match (self.plan.dead_peers.hit(&mut draw), draw.u8(0..3)) {
            (false, _) => PeerState::Live,
            (true, 0) => PeerState::Refuses,
            (true, 1) => PeerState::Silent,
            (true, _) => PeerState::Hangs,
        }
    }

    /// Which interval of samples runs at `now`, counted from 0.
    pub fn sample_epoch(&self, now: Instant) -> u64 {
        now.as_micros() / 1_000_000 / u64::from(self.plan.interval.max(1))
    }

    /// The sample that `node` shows during an interval: up to [`SAMPLES_MAX`] of what it stores,
    /// the same until the interval ends (51.3). Empty for a node without BEP 51.
    pub fn samples(&self, node: u32, epoch: u64) -> Vec<u32> {
        if self.node_kind(node) != NodeKind::Sampler {
            return Vec::new();
        }
        let mut shown = self.stored(node).to_vec();
        let mut draw = draw(self.plan.seed, "samples", u64::from(node) ^ (epoch << 32));
        let count = shown.len().min(SAMPLES_MAX);
        for at in 0..count {
            let other = draw.usize(at..shown.len());
            shown.swap(at, other);
        }
        shown.truncate(count);
        shown
    }

    fn slot_addr(&self, slot: u32, port: u16) -> SocketAddr {
        let ip = Ipv4Addr::from(u32::from(self.plan.addresses.base) + slot);
        SocketAddr::new(ip.into(), port)
    }
}

fn check(plan: &Plan) -> Result<(), PlanError> {
    let peers = &plan.peers;
    if peers.is_empty() || *peers.start() == 0 || *peers.end() > PEERS_PER_TORRENT_MAX {
        return Err(PlanError::Peers);
    }
    if let MetadataSizes::Between(sizes) = &plan.metadata {
        let allowed = torrent::METADATA_LEN_MIN..=torrent::METADATA_LEN_MAX;
        if sizes.is_empty() || !allowed.contains(sizes.start()) || !allowed.contains(sizes.end()) {
            return Err(PlanError::MetadataSizes);
        }
    }
    // Before anything is made: the fewest addresses that this plan can need.
    let fewest = u64::from(plan.torrents) * u64::from(*peers.start());
    check_addresses(plan, u64::from(plan.nodes) + fewest)
}

fn check_addresses(plan: &Plan, needed: u64) -> Result<(), PlanError> {
    let base = plan.addresses.base;
    let last =
        if base.is_loopback() { Ipv4Addr::new(127, 255, 255, 254) } else { Ipv4Addr::BROADCAST };
    let available = u64::from(u32::from(last) - u32::from(base)) + 1;
    if needed > available {
        return Err(PlanError::AddressesExhausted { needed, available });
    }
    Ok(())
}

/// As many different ids as there are nodes, ascending.
fn draw_ids(plan: &Plan) -> Vec<NodeId> {
    let mut draw = draw(plan.seed, "ids", 0);
    let mut ids = Vec::with_capacity(plan.nodes as usize);
    while ids.len() < plan.nodes as usize {
        ids.extend((ids.len()..plan.nodes as usize).map(|_| {
            let mut id = [0; 20];
            draw.fill(&mut id);
            NodeId(id)
        }));
        ids.sort_unstable();
        ids.dedup();
    }
    ids
}

fn draw_kinds(plan: &Plan) -> Vec<NodeKind> {
    let dead = plan.dead_nodes.of(plan.nodes);
    let without = plan.no_bep51.of(plan.nodes - dead);
    let mut kinds: Vec<_> = (0..plan.nodes)
        .map(|n| match n.checked_sub(dead) {
            None => NodeKind::Dead,
            Some(n) if n >= without => NodeKind::Sampler,
            Some(n) if n % 3 == 0 => NodeKind::SampleSilent,
            Some(n) if n % 3 == 1 => NodeKind::SampleUnknown,
            Some(_) => NodeKind::SampleAsFindNode,
        })
        .collect();
    draw(plan.seed, "kinds", 0).shuffle(&mut kinds);
    kinds
}

/// Every torrent's record, and how many peers there are in all.
fn draw_torrents(plan: &Plan, live: &Population) -> (Vec<TorrentRecord>, u32) {
    let mut first_peer = 0;
    let torrents = (0..plan.torrents)
        .map(|index| {
            let made = torrent::make(plan.seed, index, &plan.metadata);
            let mut holders = [u32::MAX; K];
            for (holder, node) in holders.iter_mut().zip(live.closest(made.key.id()).iter()) {
                *holder = node;
            }
            let record = TorrentRecord {
                key: made.key,
                metadata_len: made.info.len() as u32,
                first_peer,
                holders,
            };
            first_peer += draw(plan.seed, "peers", u64::from(index)).u32(plan.peers.clone());
            record
        })
        .collect();
    (torrents, first_peer)
}

/// The holders' lists turned round: the torrents of each node side by side, and where each node's
/// begin.
fn group_by_holder(nodes: usize, torrents: &[TorrentRecord]) -> (Vec<u32>, Vec<u32>) {
    let mut pairs: Vec<(u32, u32)> = torrents
        .iter()
        .zip(0..)
        .flat_map(|(record, torrent)| record.holders.map(|holder| (holder, torrent)))
        .filter(|&(holder, _)| holder != u32::MAX)
        .collect();
    pairs.sort_unstable();
    let starts = (0..=nodes as u32)
        .map(|node| pairs.partition_point(|&(holder, _)| holder < node) as u32)
        .collect();
    (pairs.into_iter().map(|(_, torrent)| torrent).collect(), starts)
}

#[cfg(test)]
pub(crate) mod tests;
