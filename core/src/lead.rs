//! An infohash that is not fetched yet, with all that is known of it: the one shape it has while it
//! waits, from whichever way it was heard of, in memory and in the saved state.

use std::net::SocketAddr;

use crate::base::addr::Contact;
use crate::base::id::InfoHash;
use crate::base::time::Instant;

/// What is known of a torrent before it is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lead {
    /// The DHT key.
    pub(crate) hash: InfoHash,
    /// The node that named it: it is asked for peers first.
    pub(crate) source: Option<Contact>,
    /// Peers known to have it, in the order they are to be tried.
    pub(crate) peers: Vec<SocketAddr>,
    /// When it was admitted.
    pub(crate) found: Instant,
    /// Rounds that ended without metadata: 0 for the first.
    pub(crate) round: u8,
    /// How it was heard of first.
    pub(crate) origin: Origin,
}

impl Lead {
    /// An infohash heard of at `found`, of which nothing else is known.
    pub(crate) fn new(hash: InfoHash, found: Instant, origin: Origin) -> Self {
        Self { hash, source: None, peers: Vec::new(), found, round: 0, origin }
    }

    /// The same, named by `source`.
    pub(crate) fn from(self, source: Option<Contact>) -> Self {
        Self { source, ..self }
    }
}

/// How an infohash was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A node named it among its samples (BEP 51).
    Sample,
    /// The user asked for it.
    Request,
}
