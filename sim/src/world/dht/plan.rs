//! What a world follows from: numbers and shares, checked before anything is made.

use std::fmt;
use std::ops::RangeInclusive;

use super::lures::{self, Luring};
use crate::world::addresses::Addresses;
use crate::world::torrent::{self, MetadataSizes};
use crate::world::vice::{NodeVices, PeerVices};

/// Most peers that a torrent may have: what fits a reply beside eight nodes within the 1 024 bytes
/// of BEP 32 (32.3), as mldht caps it (5.15).
pub const PEERS_PER_TORRENT_MAX: u32 = 50;
/// Most infohashes in one sample (51.4).
pub const SAMPLES_MAX: usize = 20;
/// The interval that most real nodes name, seconds (51.4).
pub const INTERVAL_DEFAULT: u32 = 21_600;

/// Most lives of nodes, and of peers, that churn may draw.
pub const LIVES_MAX: u64 = 8_000_000;

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

/// What comes and goes. Lives are drawn for `horizon_s`; what is alive then stays for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Churn {
    /// Mean life of a node, seconds; 0 for ever.
    pub node_life_s: u32,
    /// Mean life of a peer, seconds; 0 for ever.
    pub peer_life_s: u32,
    /// Of nodes that come back, the share that has a new id at the old address.
    pub new_ids: Percent,
    /// Of nodes and peers that come back, the share that has a new address (and the old id).
    pub moves: Percent,
    /// Share of the live nodes that go for good, all at once; bootstrap nodes stay.
    pub vanishing: Percent,
    /// The second in which they go.
    pub vanish_s: u32,
    /// From this second on nodes store no peers any more, for want of announces; 0 for never.
    pub expires_s: u32,
    /// For how long lives are drawn, seconds.
    pub horizon_s: u32,
}

impl Churn {
    /// All nodes and peers live for ever.
    pub const NONE: Self = Self {
        node_life_s: 0,
        peer_life_s: 0,
        new_ids: Percent::ZERO,
        moves: Percent::ZERO,
        vanishing: Percent::ZERO,
        vanish_s: 0,
        expires_s: 0,
        horizon_s: 0,
    };
}

/// Who is hostile or odd, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hostility {
    /// Share of the live nodes with a vice; bootstrap nodes have none.
    pub nodes: Percent,
    /// Which, in equal parts.
    pub node_vices: NodeVices,
    /// Share of the live peers with a vice.
    pub peers: Percent,
    /// Which, in equal parts.
    pub peer_vices: PeerVices,
    /// Of the nodes, so many collude: their ids surround the key of torrent 0, each names only
    /// others of them, and each shows that key as its sample without knowing a peer. They live for
    /// ever, and nobody's peers were ever announced to them.
    pub eclipse: u32,
    /// Per query answered, the thousandths after which the node asks the asker something.
    pub curiosity: u32,
    /// For so long bootstrap nodes answer nothing, seconds.
    pub silent_s: u32,
    /// Who draws work to itself by samples that it makes up.
    pub luring: Luring,
}

impl Hostility {
    /// All are honest, and speak only when spoken to.
    pub const NONE: Self = Self {
        nodes: Percent::ZERO,
        node_vices: NodeVices::NONE,
        peers: Percent::ZERO,
        peer_vices: PeerVices::NONE,
        eclipse: 0,
        curiosity: 0,
        silent_s: 0,
        luring: Luring::NONE,
    };
}

/// Everything a world follows from.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Chooses one world among all of this shape.
    pub seed: u64,
    /// Addresses of nodes, the dead included.
    pub nodes: u32,
    /// Share of them without a resident.
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
    /// Share of the live peers that take encrypted connections only.
    pub sealed_peers: Percent,
    /// Share of these that select RC4; the others go on in the clear behind the keys.
    pub sealed_rc4: Percent,
    /// Lengths of info dictionaries.
    pub metadata: MetadataSizes,
    /// `interval` of samples in seconds (51.1).
    pub interval: u32,
    /// How contacts are chosen.
    pub routing: Routing,
    /// Where all live.
    pub addresses: Addresses,
    /// What comes and goes.
    pub churn: Churn,
    /// Who misbehaves.
    pub hostility: Hostility,
}

impl Plan {
    /// So many honest nodes that live for ever, and no torrents.
    pub const fn without_torrents(seed: u64, nodes: u32, addresses: Addresses) -> Self {
        Self {
            seed,
            nodes,
            dead_nodes: Percent::ZERO,
            no_bep51: Percent::ZERO,
            torrents: 0,
            peers: 1..=1,
            dead_peers: Percent::ZERO,
            sealed_peers: Percent::ZERO,
            sealed_rc4: Percent::ZERO,
            metadata: MetadataSizes::Realistic,
            interval: INTERVAL_DEFAULT,
            routing: Routing::Ideal,
            addresses,
            churn: Churn::NONE,
            hostility: Hostility::NONE,
        }
    }
}

/// Why a plan has no world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanError {
    /// More addresses of nodes and peers than the plan of addresses has.
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
    /// A percentage above 100.
    Percent,
    /// Lives so short for so long that there would be more than [`LIVES_MAX`] of them.
    Churn,
    /// More colluding nodes than half of all, or no torrent to surround.
    Eclipse,
    /// More hostile addresses than the networks that they share have, or shared ones in IPv6.
    SharedNetworks,
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
            Self::Percent => f.write_str("a percentage is above 100"),
            Self::Churn => write!(f, "churn: more than {LIVES_MAX} lives"),
            Self::SharedNetworks => write!(
                f,
                "shared networks: want IPv4, at most as many as baiters, and at most {} addresses in each",
                lures::SHARED_MAX
            ),
            Self::Eclipse => f.write_str("eclipse: want at most half of the nodes, and a torrent"),
        }
    }
}

impl std::error::Error for PlanError {}

pub(crate) fn check(plan: &Plan) -> Result<(), PlanError> {
    let peers = &plan.peers;
    if peers.is_empty() || *peers.start() == 0 || *peers.end() > PEERS_PER_TORRENT_MAX {
        return Err(PlanError::Peers);
    }
    if let Some(sizes) = plan.metadata.bounds() {
        let allowed = torrent::METADATA_LEN_MIN..=torrent::METADATA_LEN_MAX;
        if sizes.is_empty() || !allowed.contains(sizes.start()) || !allowed.contains(sizes.end()) {
            return Err(PlanError::MetadataSizes);
        }
    }
    check_churn(plan)?;
    let eclipse = plan.hostility.eclipse;
    if eclipse > 0 && (eclipse > plan.nodes / 2 || plan.torrents == 0) {
        return Err(PlanError::Eclipse);
    }
    // Before anything is made: the fewest addresses that this plan can need.
    let luring = &plan.hostility.luring;
    if !luring.fits(plan.addresses) {
        return Err(PlanError::SharedNetworks);
    }
    let fewest = u64::from(plan.torrents) * u64::from(*peers.start());
    check_addresses(plan, u64::from(plan.nodes) + luring.addresses() + fewest)
}

pub(crate) fn check_addresses(plan: &Plan, needed: u64) -> Result<(), PlanError> {
    let available = plan.addresses.capacity();
    if needed > available {
        return Err(PlanError::AddressesExhausted { needed, available });
    }
    Ok(())
}

/// Expected lives, twice over: they end and begin anew about once in a mean life.
fn check_churn(plan: &Plan) -> Result<(), PlanError> {
    let churn = &plan.churn;
    let lives = |seats: u64, life: u32| match life {
        0 => 0,
        life => seats * (1 + u64::from(churn.horizon_s / life)),
    };
    let peers = u64::from(plan.torrents) * u64::from(*plan.peers.end());
    let most = lives(u64::from(plan.nodes), churn.node_life_s).max(lives(peers, churn.peer_life_s));
    if most > LIVES_MAX { Err(PlanError::Churn) } else { Ok(()) }
}
