//! Stand-ins with the signatures of core modules that have not landed yet.
#![allow(missing_docs)]

use std::net::SocketAddr;

use estudely_core::addr::AddressPolicy;
use estudely_core::fault::PeerFault;
use estudely_core::id::InfoHash;
use estudely_core::time::Instant;

#[derive(Clone, Debug)]
pub struct Config {
    pub policy: AddressPolicy,
    pub own: [Option<SocketAddr>; 2],
    pub mode: Mode,
    pub max_infohashes: Option<u64>,
    pub peers_per_infohash: u32,
    pub peer_attempts: u32,
    pub rate: Option<u32>,
    pub new_flows: Option<u32>,
    pub max_connections: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Crawl,
    Peers,
    Fetch,
    Direct,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
}

#[derive(Debug)]
pub struct Row {
    pub infohash: InfoHash,
    pub verdict: Verdict,
    pub peers: Vec<SocketAddr>,
    pub transport: Option<Transport>,
    pub found: Instant,
    pub settled: Instant,
}

#[derive(Debug)]
pub enum Verdict {
    Verified { raw: Box<[u8]> },
    Failed { cause: PeerFault },
    PeersOnly,
}
