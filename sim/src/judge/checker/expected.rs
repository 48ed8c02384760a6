//! What the checker asks the world for: what a row must say, and what must be found.

use std::net::SocketAddr;

use estudely_core::{InfoHash, Instant};

/// What is true of the world, known to the simulator alone.
pub trait GroundTruth {
    /// What a row must say of a torrent; `None` if there is no such torrent.
    fn fields(&self, hash: &InfoHash) -> Option<Fields>;
    /// Torrents that must have been emitted as True when the run ends, in order.
    fn due(&self) -> Vec<Due>;
    /// Honest nodes with BEP 51 that can be reached for the whole run, in order.
    fn nodes_due(&self) -> Vec<SocketAddr>;
    /// Whether a hostile node made up this key.
    fn is_invented(&self, _hash: &InfoHash) -> bool {
        false
    }
    /// What opens an encrypted connection to whoever lives at `peer` at `now`; `None` if nobody
    /// there takes one.
    fn seal(&self, _now: Instant, _peer: SocketAddr) -> Option<Seal> {
        None
    }
    /// Where the crawler begins.
    fn bootstrap(&self) -> Vec<SocketAddr>;
}

/// What opens an encrypted connection, beside what is sent there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// The peer's private key.
    pub private: [u8; 20],
    /// Its torrent.
    pub torrent: InfoHash,
}

/// What a row must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// The name as the CSV shows it.
    pub name: String,
    /// Files, pad files left out.
    pub file_count: u64,
    /// Bytes of those files.
    pub total_bytes: u64,
    /// Bytes of a piece of payload.
    pub piece_length: u64,
}

/// A torrent that must be found, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its key.
    pub hash: [u8; 20],
    /// A reachable honest node that exposes it.
    pub node: SocketAddr,
    /// A reachable honest peer that serves it.
    pub peer: SocketAddr,
}
