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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerKey(pub u64);

#[derive(Debug)]
pub struct Exchange {
    due: Instant,
}

pub enum Step {
    Continue,
    Finished(Box<Outcome>),
}

#[derive(Debug)]
pub struct Outcome {
    pub result: Result<(), PeerFault>,
}

impl Exchange {
    pub fn new(now: Instant) -> Self {
        Self { due: now + std::time::Duration::from_secs(3) }
    }
    pub fn handle_connected(&mut self, _now: Instant, out: &mut Vec<u8>) {
        out.extend_from_slice(&[0; 68]);
    }
    pub fn handle_bytes(&mut self, _now: Instant, _input: &[u8], _out: &mut Vec<u8>) -> Step {
        Step::Continue
    }
    pub fn handle_closed(&mut self, _now: Instant) -> Outcome {
        Outcome { result: Err(PeerFault::ClosedEarly) }
    }
    pub fn handle_failed(&mut self, _now: Instant, fault: PeerFault) -> Outcome {
        Outcome { result: Err(fault) }
    }
    pub fn handle_timeout(&mut self, now: Instant) -> Step {
        if now < self.due {
            return Step::Continue;
        }
        let outcome = Outcome { result: Err(PeerFault::HandshakeTimeout) };
        Step::Finished(Box::new(outcome))
    }
    pub fn poll_timeout(&self) -> Instant {
        self.due
    }
}
