//! A peer as a dialler meets it: in the clear, or behind encryption.

use estudely_core::Instant;

use super::mse::{MsePeer, Terms};
use super::peer::{Peer, Step};
use crate::world::dht::World;

/// One accepted connection to one peer of a world, whatever it takes.
#[derive(Debug)]
pub enum AnyPeer {
    /// In the clear.
    Clear(Peer),
    /// With encryption alone.
    Sealed(Box<MsePeer>),
}

impl AnyPeer {
    /// Peer `number` of the world has accepted a connection at `now`; call
    /// [`AnyPeer::handle_connected`] next.
    pub fn new(world: &World, now: Instant, number: u32) -> Self {
        match Terms::of(world, number) {
            Some(terms) => Self::Sealed(Box::new(MsePeer::new(world, now, number, terms))),
            None => Self::Clear(Peer::new(world, now, number)),
        }
    }

    /// The connection is there: appends what is to be sent before the dialler said anything.
    pub fn handle_connected(&mut self, world: &World, now: Instant, out: &mut Vec<u8>) -> Step {
        match self {
            Self::Clear(peer) => peer.handle_connected(world, now, out),
            Self::Sealed(_) => Step::Continue,
        }
    }

    /// Takes the stream's next bytes, however they were cut, and appends what is to be sent.
    pub fn handle_bytes(
        &mut self,
        world: &World,
        now: Instant,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Step {
        match self {
            Self::Clear(peer) => peer.handle_bytes(world, now, input, out),
            Self::Sealed(peer) => peer.handle_bytes(world, now, input, out),
        }
    }

    /// When [`AnyPeer::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Instant {
        match self {
            Self::Clear(peer) => peer.poll_timeout(),
            Self::Sealed(peer) => peer.poll_timeout(),
        }
    }

    /// Takes note of the time and appends what is to be sent by now.
    pub fn handle_timeout(&mut self, world: &World, now: Instant, out: &mut Vec<u8>) -> Step {
        match self {
            Self::Clear(peer) => peer.handle_timeout(world, now, out),
            Self::Sealed(peer) => peer.handle_timeout(world, now, out),
        }
    }
}
