//! What one simulated run is made of: every number and every fault, from one seed.
//!
//! A scenario is a flat list of named fields in five independent groups (world, links, hostility,
//! workload, session), so that it prints as one line, each field can be overridden by name, and the
//! shrinker can work on all of them alike. It decides nothing itself: it is data.

mod carries;
mod drawing;
mod text;

use std::fmt;
use std::str::FromStr;

use estudely_core::session::Output;
use estudely_core::{Config, ConfigError, EncryptionPolicy, Mode};

use crate::world::dht::{Door, Routing};
use crate::world::vice::{Baits, NodeVices, PeerVices, UtpVices};

pub use self::carries::Carries;
pub use self::text::near;

/// Which DHTs there are: one for each address family (BEP 32).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
    /// Both, with the same torrents and different nodes and peers.
    Both,
}

/// What moves the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harness {
    /// A plain event loop: time skips from event to event.
    Direct,
    /// turmoil hosts with gateways to the virtual addresses.
    Turmoil,
}

/// Whether the crawler encrypts connections to peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encrypts {
    /// Where a peer takes nothing else.
    Auto,
    /// All of them, by RC4.
    Require,
    /// None.
    Off,
}

impl Encrypts {
    /// Each, with its word.
    const WORDS: [(Self, &'static str); 3] =
        [(Self::Auto, "auto"), (Self::Require, "require"), (Self::Off, "off")];

    /// The crawler's setting.
    const fn policy(self) -> EncryptionPolicy {
        match self {
            Self::Auto => EncryptionPolicy::Auto,
            Self::Require => EncryptionPolicy::Require,
            Self::Off => EncryptionPolicy::Off,
        }
    }

    /// Whether it comes to terms with a peer that takes what `door` says.
    pub const fn opens(self, door: Door) -> bool {
        match (self, door) {
            (Self::Auto, _) | (Self::Require, Door::Rc4) | (Self::Off, Door::Clear) => true,
            (Self::Require | Self::Off, _) => false,
        }
    }
}

/// What becomes of the outputs in the middle of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFate {
    /// Nothing.
    None,
    /// They reach their size limit.
    Full,
    /// The reader of one goes away.
    Closed,
    /// One can no longer be written.
    Lost,
}

impl OutputFate {
    /// Each, with its word.
    const WORDS: [(Self, &'static str); 4] = [
        (Self::None, "none"),
        (Self::Full, "full"),
        (Self::Closed, "closed"),
        (Self::Lost, "lost"),
    ];

    /// What the session is told of it; `None` if all goes well.
    pub const fn news(self) -> Option<Output> {
        match self {
            Self::None => None,
            Self::Full => Some(Output::Full),
            Self::Closed => Some(Output::Closed),
            Self::Lost => Some(Output::Lost),
        }
    }
}

/// Declares the fields once: group, name, type, default and meaning.
macro_rules! scenario {
    ($($group:ident { $($(#[doc = $doc:literal])+ $name:ident: $kind:ty = $default:expr,)* })*) => {
        /// One run.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Scenario {
            /// What everything that is drawn follows from.
            pub seed: u64,
            $($($(#[doc = $doc])+ pub $name: $kind,)*)*
        }

        impl Scenario {
            /// Every field but the seed: its group, name and meaning.
            pub const FIELDS: &'static [(&'static str, &'static str, &'static str)] =
                &[$($((stringify!($group), stringify!($name), concat!($($doc),+)),)*)*];

            /// A small, friendly world without any fault.
            pub fn calm(seed: u64) -> Self {
                Self { seed, $($($name: $default,)*)* }
            }

            /// Sets the field `name` from text; `None` if there is no such field.
            pub fn set(&mut self, name: &str, value: &str) -> Option<Result<(), String>> {
                match name {
                    $($(stringify!($name) => Some(value.parse().map(|parsed| self.$name = parsed)
                        .map_err(|error| format!("{name}={value}: {error}"))),)*)*
                    _ => None,
                }
            }

            /// Every field but the seed with its value as text, in order of declaration.
            pub fn values(&self) -> Vec<(&'static str, String)> {
                vec![$($((stringify!($name), self.$name.to_string()),)*)*]
            }
        }
    };
}

scenario! {
    world {
        /// Which DHTs there are: 4, 6 or both.
        families: Families = Families::V4,
        /// Nodes of each DHT, the dead included.
        nodes: u32 = 300,
        /// Percent of them whose address never has a resident.
        dead_nodes: u32 = 0,
        /// Percent of the live nodes without BEP 51.
        unsampled: u32 = 0,
        /// Torrents.
        torrents: u32 = 300,
        /// Fewest peers of a torrent in each DHT.
        peers_min: u32 = 1,
        /// Most peers of a torrent in each DHT.
        peers_max: u32 = 4,
        /// Percent of peers that refuse, stay silent or never complete a connection.
        dead_peers: u32 = 0,
        /// Percent of the live peers that take encrypted connections only.
        mse_peers: u32 = 0,
        /// Percent of these that select RC4; the others go on in the clear behind the keys.
        mse_rc4: u32 = 50,
        /// Percent of the live peers that take uTP alone: over TCP a third of them refuse, a third
        /// are silent, and a third accept and hang up.
        utp_peers: u32 = 0,
        /// Percent of the other live peers that take uTP as well.
        utp_beside: u32 = 0,
        /// Longest info dictionary in bytes; 0 for the usual mixture.
        metadata_max: u32 = 0,
        /// Torrents whose info dictionary is longer than that, of 65 to 80 pieces.
        heavy: u32 = 0,
        /// Interval that nodes name in samples, in seconds.
        interval_s: u32 = 21_600,
        /// How nodes choose the contacts they name: tables or ideal.
        routing: Routing = Routing::Tables,
        /// Mean life of a node in seconds; 0 for ever.
        node_life_s: u32 = 0,
        /// Mean life of a peer in seconds; 0 for ever.
        peer_life_s: u32 = 0,
        /// Of nodes that come back, the percentage that has a new id at the old address.
        new_ids: u32 = 30,
        /// Of nodes that come back, the percentage that has a new address and the old id.
        moves: u32 = 30,
        /// Percent of the live nodes that go for good, all at once.
        vanishing: u32 = 0,
        /// The second in which they go.
        vanish_s: u32 = 60,
        /// Second from which nodes store no peers any more, for want of announces; 0 for never.
        expires_s: u32 = 0,
    }
    links {
        /// Datagrams lost at random, in thousandths.
        loss: u32 = 0,
        /// Chance that a datagram begins a burst of losses, in thousandths.
        burst: u32 = 0,
        /// How long a burst lasts, in milliseconds.
        burst_ms: u32 = 200,
        /// Shortest one-way delay in milliseconds.
        delay_ms: u32 = 10,
        /// Most further delay in milliseconds, fixed per remote address.
        spread_ms: u32 = 60,
        /// Most further delay in milliseconds, drawn per packet.
        jitter_ms: u32 = 0,
        /// Datagrams delivered twice, in thousandths.
        duplicate: u32 = 0,
        /// Datagrams held back so that later ones overtake them, in thousandths.
        reorder: u32 = 0,
        /// Datagrams of which a byte is changed, in thousandths.
        corrupt: u32 = 0,
        /// Longest datagram that gets through, in bytes; 0 for any.
        size_cap: u32 = 0,
        /// Bytes a second of the crawler's bottleneck in each direction; 0 for any.
        bandwidth: u32 = 0,
        /// Forged datagrams from spoofed sources for each thousand delivered.
        forged: u32 = 0,
        /// Partitions of the crawler from all remote addresses.
        partitions: u32 = 0,
        /// How long each lasts, in seconds.
        partition_s: u32 = 20,
        /// Percent of partitions that cut one direction only.
        one_way: u32 = 50,
        /// Longest piece of a stream delivered at once, in bytes; 0 for whole writes.
        chunk: u32 = 0,
        /// Stream deliveries that end in a reset instead, in thousandths.
        resets: u32 = 0,
        /// Stream deliveries after which nothing ever comes, in thousandths.
        stalls: u32 = 0,
    }
    hostility {
        /// Percent of the live nodes with a vice.
        hostile_nodes: u32 = 0,
        /// Which vices: names joined by +, all or none.
        node_vices: NodeVices = NodeVices::ALL,
        /// Percent of the live peers with a vice.
        hostile_peers: u32 = 0,
        /// Which vices: names joined by +, all or none.
        peer_vices: PeerVices = PeerVices::ALL,
        /// Percent of the peers that take uTP with a vice there.
        hostile_utp: u32 = 0,
        /// Which vices: names joined by +, all or none.
        utp_vices: UtpVices = UtpVices::ALL,
        /// Colluding nodes whose ids surround the first torrent's key and that name only each
        /// other.
        eclipse: u32 = 0,
        /// Nodes of each DHT, beyond the others, whose samples are 64 new keys each time, interval
        /// 0.
        baiters: u32 = 0,
        /// What those keys lead to, in turns: trickle, dead, empty, joined by +, or all.
        bait: Baits = Baits::ALL,
        /// Hostile peers of each baiter, of which it names 30 for a key.
        bait_peers: u32 = 100,
        /// Networks (/24) that baiters and their peers share; 0 for one each.
        bait_networks: u32 = 0,
        /// 1: baiters name their peers for any key; 0: for keys of their own.
        bait_any: u32 = 0,
    }
    workload {
        /// What moves the bytes: direct or turmoil.
        harness: Harness = Harness::Direct,
        /// Virtual seconds with every fault on.
        broken_s: u32 = 120,
        /// Virtual seconds after links healed, in which the rest must be found.
        healed_s: u32 = 600,
        /// Queries a second; 0 for no limit.
        rate: u32 = 0,
        /// New remote endpoints a minute; 0 for no limit.
        new_flows: u32 = 0,
        /// Most connections at once.
        connections: u32 = 200,
        /// Most peers kept for an infohash.
        peers_per_infohash: u32 = 20,
        /// Most peers for an infohash that accepted a connection.
        peer_attempts: u32 = 5,
        /// Whether connections to peers are encrypted: auto, require or off.
        encryption: Encrypts = Encrypts::Auto,
        /// Over what connections to peers go: tcp, both or utp.
        transports: Carries = Carries::Tcp,
        /// Packets of uTP a second in each family.
        utp_rate: u32 = 1_000,
        /// Most infohashes to take on; 0 for no end.
        max_infohashes: u32 = 0,
        /// Times that the crawler is killed and started again with its files.
        crashes: u32 = 0,
        /// Times that the crawler's clock stands still for some seconds, or steps back.
        clock_stalls: u32 = 0,
        /// Seconds for which bootstrap nodes answer nothing at first.
        silent_s: u32 = 0,
    }
    session {
        /// 1: a run ends by itself as the program's does, 30 s without an answer or at its limit;
        /// 0: when it is told to.
        ends: u32 = 0,
        /// Seconds after which a run ends, shutdown included; 0 for never.
        overall_s: u32 = 0,
        /// 1: bootstrap nodes are public routers, which wait after a warm start; 0: the user named
        /// them.
        routers: u32 = 0,
        /// Milliseconds until the name of a bootstrap node resolves; 0 for addresses.
        names_ms: u32 = 0,
        /// How often each of these names fails to resolve first.
        names_fail: u32 = 0,
        /// Seconds without work after which a run that ends by itself is over; 0 for never.
        idle_s: u32 = 0,
        /// Infohashes that the run is asked for, and that end it; 0: it crawls.
        requests: u32 = 0,
        /// What becomes of the outputs: none, full, closed or lost.
        output: OutputFate = OutputFate::None,
        /// After how many rows of a run.
        output_rows: u32 = 10,
        /// Milliseconds that outputs take to hand on their last rows.
        flush_ms: u32 = 0,
        /// Milliseconds until connections that a shutdown cut off are reported; beyond 1 500 in
        /// vain.
        cut_ms: u32 = 0,
    }
}

impl Scenario {
    /// The crawler's settings, both families off.
    ///
    /// # Errors
    /// One of them is out of range.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let limit = |value: u32| (value > 0).then_some(value);
        Config::new(if self.requests > 0 { Mode::Fetch } else { Mode::Crawl })
            .with_encryption(self.encryption.policy())
            .with_transports(self.transports.policy())
            .with_utp_rate(self.utp_rate)?
            .with_max_infohashes(limit(self.max_infohashes).map(u64::from))
            .with_peers_per_infohash(self.peers_per_infohash)?
            .with_peer_attempts(self.peer_attempts)?
            .with_rate(limit(self.rate))?
            .with_new_flows(limit(self.new_flows))?
            .with_max_connections(self.connections)
    }
}

impl fmt::Display for Families {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "4",
            Self::V6 => "6",
            Self::Both => "both",
        })
    }
}

impl FromStr for Families {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "4" => Ok(Self::V4),
            "6" => Ok(Self::V6),
            "both" => Ok(Self::Both),
            _ => Err("want 4, 6 or both"),
        }
    }
}

impl fmt::Display for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Turmoil => "turmoil",
        })
    }
}

impl FromStr for Harness {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "direct" => Ok(Self::Direct),
            "turmoil" => Ok(Self::Turmoil),
            _ => Err("want direct or turmoil"),
        }
    }
}

impl fmt::Display for Encrypts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_this = |(word_of, word): (Self, &'static str)| (word_of == *self).then_some(word);
        f.write_str(Self::WORDS.into_iter().find_map(of_this).unwrap_or_default())
    }
}

impl FromStr for Encrypts {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let of_this = |(word_of, word): (Self, &str)| (word == text).then_some(word_of);
        Self::WORDS.into_iter().find_map(of_this).ok_or("want auto, require or off")
    }
}

impl fmt::Display for OutputFate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_this = |(fate, word): (Self, &'static str)| (fate == *self).then_some(word);
        f.write_str(Self::WORDS.into_iter().find_map(of_this).unwrap_or_default())
    }
}

impl FromStr for OutputFate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let of_this = |(fate, word): (Self, &str)| (word == text).then_some(fate);
        Self::WORDS.into_iter().find_map(of_this).ok_or("want none, full, closed or lost")
    }
}
