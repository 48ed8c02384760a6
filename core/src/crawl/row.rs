//! What the crawl has to say about one infohash, once: the unit every sink writes.

use std::net::SocketAddr;

use crate::base::fault::PeerFault;
use crate::base::id::InfoHash;
use crate::base::time::Instant;
use crate::codec::info::{Info, InfoError};
use crate::peer::exchange::{Metadata, Transport};

/// A settled infohash. Fields may follow: a maker of rows begins with [`Row::new`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Row {
    /// The DHT key.
    pub infohash: InfoHash,
    /// How it was settled.
    pub verdict: Verdict,
    /// Every peer kept, at most the configured number; the one that served the metadata first. Of
    /// an infohash that failed without any peer accepting a connection the first one only.
    pub peers: Vec<SocketAddr>,
    /// How the serving peer was reached.
    pub transport: Option<Transport>,
    /// When the infohash was admitted.
    pub found: Instant,
    /// When it was settled.
    pub settled: Instant,
}

impl Row {
    /// A row without peers, settled the moment it was found: for tests of sinks.
    pub const fn new(infohash: InfoHash, verdict: Verdict) -> Self {
        let (found, settled) = (Instant::START, Instant::START);
        Self { infohash, verdict, peers: Vec::new(), transport: None, found, settled }
    }

    /// Bytes of metadata and name that this holds: what can be large about it, up to twice
    /// [`crate::limits::METADATA_MAX`].
    pub fn bytes_held(&self) -> usize {
        match &self.verdict {
            Verdict::Verified { metadata, info } => metadata.raw().len() + info.name.capacity(),
            Verdict::Broken { metadata, .. } => metadata.raw().len(),
            Verdict::Failed { .. } | Verdict::PeersOnly => 0,
        }
    }
}

/// How an infohash was settled. The list is closed: a sink that lists all of it is told by the
/// compiler when there is another, before it loses a row.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Metadata that hashes to the infohash and reads as an info dictionary.
    Verified {
        /// The exact bytes.
        metadata: Metadata,
        /// What they say.
        info: Info,
    },
    /// Metadata that hashes to the infohash but is no usable info dictionary (M15): never fetched
    /// again.
    Broken {
        /// The exact bytes.
        metadata: Metadata,
        /// What is missing.
        error: InfoError,
    },
    /// The first round ended without metadata.
    Failed {
        /// The most telling reason.
        cause: FailureCause,
    },
    /// Peers were all that was asked for.
    PeersOnly,
}

/// Why an infohash has no metadata. More may follow: each has a [`word`](Self::word).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureCause {
    /// Nobody named a peer.
    NoPeers,
    /// No peer delivered; how the one that came furthest failed.
    Peer(PeerFault),
}

impl FailureCause {
    /// The word that outputs use.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoPeers => "no-peers",
            Self::Peer(fault) => fault.word(),
        }
    }
}
