//! A connection that the crawl wants opened, and the key that names it.

use std::net::SocketAddr;

use crate::base::store::Key;
use crate::peer::exchange::{Exchange, Transport};

/// Names one open connection.
pub type PeerKey = Key;

/// A connection to open.
#[must_use]
#[derive(Debug)]
pub struct Dial {
    /// The key to give back with the outcome.
    pub peer: PeerKey,
    /// Where to connect.
    pub to: SocketAddr,
    /// How.
    pub transport: Transport,
    /// The conversation to have.
    pub exchange: Exchange,
}
