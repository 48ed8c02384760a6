//! What a run is told: limits, policy and mode. Validated by whoever reads flags; nothing here can
//! be out of range.

use std::net::SocketAddr;

use crate::base::addr::AddressPolicy;

/// What the crawler is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Sweep the keyspace, look peers up, fetch metadata.
    Crawl,
    /// Sweep the keyspace and look peers up; dial nobody.
    Peers,
    /// Fetch what is requested, looking peers up where none are given or none works.
    Fetch,
    /// Fetch what is requested from the peers given, without any DHT traffic.
    Direct,
}

impl Mode {
    /// Whether infohashes are to be discovered.
    pub const fn sweeps(self) -> bool {
        matches!(self, Self::Crawl | Self::Peers)
    }

    /// Whether the DHT is used at all.
    pub const fn uses_dht(self) -> bool {
        !matches!(self, Self::Direct)
    }

    /// Whether peers are dialled.
    pub const fn dials(self) -> bool {
        !matches!(self, Self::Peers)
    }
}

/// The settings of one run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which addresses from hearsay may be used.
    pub policy: AddressPolicy,
    /// Our bound UDP address in each family, by [`crate::base::addr::Family::index`]; `None` turns the
    /// family off.
    pub own: [Option<SocketAddr>; 2],
    /// What to do.
    pub mode: Mode,
    /// Admit at most so many infohashes; `None` for no end.
    pub max_infohashes: Option<u64>,
    /// Most peers kept, hence dialled, per infohash.
    pub peers_per_infohash: u32,
    /// Most peers per infohash that accepted a connection.
    pub peer_attempts: u32,
    /// Queries a second, both families together; `None` for no limit.
    pub rate: Option<u32>,
    /// New remote endpoints a minute, UDP and TCP together; `None` for no limit.
    pub new_flows: Option<u32>,
    /// Open peer connections, half-open ones included.
    pub max_connections: u32,
}

impl Default for Config {
    /// The `home` profile on the public network, both families off.
    fn default() -> Self {
        Self {
            policy: AddressPolicy::Public,
            own: [None; 2],
            mode: Mode::Crawl,
            max_infohashes: None,
            peers_per_infohash: 20,
            peer_attempts: 5,
            rate: Some(200),
            new_flows: Some(1_800),
            max_connections: 200,
        }
    }
}
