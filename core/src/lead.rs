//! An infohash that is not fetched yet, with all that is known of it: the one shape it has while it
//! waits, from whichever way it was heard of, in memory and in the saved state. And what a user
//! asks for, which keeps orders and hearsay apart.

use std::net::SocketAddr;

use crate::base::addr::Contact;
use crate::base::id::InfoHash;
use crate::base::time::Instant;

/// A torrent that the user asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What to fetch.
    pub hash: InfoHash,
    /// Peers that the user names, wherever they are: every one of them is tried, as long as the
    /// metadata is missing.
    pub orders: Vec<SocketAddr>,
    /// Peers that a magnet link names: they count for no more than what a node says.
    pub hearsay: Vec<SocketAddr>,
}

impl Request {
    /// A torrent with the peers that the user names for it.
    pub fn new(hash: InfoHash, orders: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self { hash, orders: orders.into_iter().collect(), hearsay: Vec::new() }
    }
}

/// What is known of a torrent before it is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lead {
    /// The DHT key.
    pub(crate) hash: InfoHash,
    /// The node that named it: it is asked for peers first.
    pub(crate) source: Option<Contact>,
    /// Another node that named it: it is asked instead if the first one owes much more.
    pub(crate) also: Option<Contact>,
    /// Whether the node that named it is still to be asked.
    pub(crate) say: Say,
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
        Self {
            hash,
            source: None,
            also: None,
            say: Say::Due,
            peers: Vec::new(),
            found,
            round: 0,
            origin,
        }
    }

    /// The same, named by `source`.
    pub(crate) fn from(self, source: Option<Contact>) -> Self {
        Self { source, ..self }
    }
}

/// Whether a node that named an infohash was asked for its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Say {
    /// It is to be asked.
    Due,
    /// It has had its say, in this run.
    Had,
}

/// How an infohash was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A node named it among its samples (BEP 51).
    Sample,
    /// The user asked for it.
    Request,
}
