//! Stand-ins with the signatures of core modules that have not landed yet.
#![allow(missing_docs)]

use std::net::SocketAddr;

use estudely_core::addr::AddressPolicy;
use estudely_core::exchange::{Attempt, Exchange, Metadata, Outcome, Pipeline, Transport};
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
    Verified { metadata: Metadata },
    Failed { cause: PeerFault },
    PeersOnly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerKey(pub u64);

use estudely_core::addr::Family;
use estudely_core::rng::Seed;
use estudely_core::stats::Stats;

#[derive(Debug)]
pub struct Full;
pub struct Transmit {
    pub to: SocketAddr,
    pub len: usize,
}
pub struct Dial {
    pub peer: PeerKey,
    pub to: SocketAddr,
    pub transport: Transport,
    pub exchange: Exchange,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bootstrap {
    Router,
    Node,
}
pub struct Crawler {
    stats: Stats,
    now: Instant,
    open: u64,
    queue: std::collections::VecDeque<(InfoHash, Vec<SocketAddr>)>,
    rows: Vec<Row>,
    max: u64,
    shut: bool,
}
impl Crawler {
    pub fn new(config: Config, _seed: Seed, now: Instant) -> Self {
        Self {
            stats: Stats::default(),
            now,
            open: 0,
            queue: Default::default(),
            rows: Vec::new(),
            max: config.max_connections.into(),
            shut: false,
        }
    }
    pub fn handle_bootstrap(&mut self, _now: Instant, _nodes: &[SocketAddr], _kind: Bootstrap) {}
    pub fn handle_known(&mut self, _hash: InfoHash) {}
    pub fn handle_request(
        &mut self,
        _now: Instant,
        hash: InfoHash,
        peers: &[SocketAddr],
    ) -> Result<(), Full> {
        if self.queue.len() > 1000 {
            return Err(Full);
        }
        self.queue.push_back((hash, peers.to_vec()));
        Ok(())
    }
    pub fn handle_datagram(&mut self, _now: Instant, _from: SocketAddr, _payload: &[u8]) {
        self.stats.datagrams_received += 1;
    }
    pub fn handle_outcome(&mut self, now: Instant, peer: PeerKey, outcome: Outcome) {
        self.open -= 1;
        self.stats.connected += u64::from(outcome.timings.connected.is_some());
        let (infohash, verdict) = match outcome.result {
            Ok(metadata) => (metadata.hash(), Verdict::Verified { metadata }),
            Err(cause) => {
                self.stats.faults[cause as usize] += 1;
                (InfoHash([0; 20]), Verdict::Failed { cause })
            }
        };
        self.rows.push(Row {
            infohash,
            verdict,
            peers: vec![],
            transport: None,
            found: now,
            settled: now,
        });
        let _ = peer;
    }
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
    }
    pub fn handle_shutdown(&mut self, _now: Instant) {
        self.shut = true;
    }
    pub fn poll_transmit(
        &mut self,
        _now: Instant,
        _family: Family,
        _buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        None
    }
    pub fn poll_dial(&mut self, now: Instant) -> Option<Dial> {
        if self.open >= self.max || self.shut {
            return None;
        }
        let (hash, peers) = self.queue.pop_front()?;
        self.open += 1;
        self.stats.dialled += 1;
        Some(Dial {
            peer: PeerKey(self.stats.dialled),
            to: peers[0],
            transport: Transport::Tcp,
            exchange: Exchange::new(
                now,
                hash,
                Attempt { transport: Transport::Tcp, pipeline: Pipeline::All },
                None,
                Seed::from_u64(self.stats.dialled),
            ),
        })
    }
    pub fn poll_row(&mut self) -> Option<Row> {
        self.rows.pop()
    }
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    pub fn is_idle(&self) -> bool {
        self.open == 0 && self.queue.is_empty() && self.rows.is_empty()
    }
    pub fn is_finished(&self) -> bool {
        self.shut && self.is_idle()
    }
    pub fn stats(&self) -> &Stats {
        &self.stats
    }
}
