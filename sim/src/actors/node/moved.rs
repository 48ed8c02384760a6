//! Peers that are not where the world has them.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::world::dht::World;

/// Peers that listen on another port than the world says: on one that they share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Their numbers.
    pub peers: BTreeSet<u32>,
    /// Their port.
    pub port: u16,
}

impl Moved {
    /// Where a peer is.
    pub fn addr(&self, world: &World, peer: u32) -> SocketAddr {
        let mut addr = world.peer(peer).addr;
        if self.peers.contains(&peer) {
            addr.set_port(self.port);
        }
        addr
    }
}
