//! What peers take: connections over TCP in the clear, uTP alone, or encrypted ones alone.
//!
//! The world says who takes encrypted ones alone. Of the others some take uTP alone: they listen on
//! a port of their own, one for all of them, on which the kernel refuses connections over TCP.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::actors::node::Moved;
use crate::world::dht::{Door, PeerState, Percent, World};

/// All of them.
const HUNDRED: u8 = 100;

/// What a peer takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// TCP in the clear.
    Plain,
    /// uTP alone, in the clear.
    Utp,
    /// TCP with encryption alone.
    Encrypted,
}

impl Way {
    /// Every one, in order of declaration.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Utp, Self::Encrypted];

    /// The word in the truth file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Plain => "tcp",
            Self::Utp => "utp",
            Self::Encrypted => "mse",
        }
    }
}

/// What each peer of a world takes, and where it listens.
#[derive(Clone, Debug)]
pub struct Ways {
    moved: Arc<Moved>,
}

impl Ways {
    /// Of all peers that serve, `utp` take uTP alone, and listen on `port`. They are drawn among
    /// those in the clear: together with the encrypted ones they cannot be more than all.
    pub fn draw(world: &World, utp: Percent, port: u16) -> Self {
        let clear = HUNDRED.saturating_sub(world.plan().sealed_peers.value());
        let takes_utp = |peer: &u32| {
            world.peer(*peer).state == PeerState::Live
                && world.peer_door(*peer) == Door::Clear
                && world.dice("utp", u64::from(*peer)).u8(..clear.max(1)) < utp.value()
        };
        let peers = (0..world.peer_count()).filter(takes_utp).collect();
        Self { moved: Arc::new(Moved { peers, port }) }
    }

    /// What a peer takes that serves; of others it means nothing.
    pub fn way(&self, world: &World, peer: u32) -> Way {
        match world.peer_door(peer) {
            _ if self.moved.peers.contains(&peer) => Way::Utp,
            Door::Clear => Way::Plain,
            Door::Keys | Door::Rc4 => Way::Encrypted,
        }
    }

    /// Where a peer is.
    pub fn addr(&self, world: &World, peer: u32) -> SocketAddr {
        self.moved.addr(world, peer)
    }

    /// How many peers serve in each way, in the order of [`Way::ALL`].
    pub fn count(&self, world: &World) -> [u32; 3] {
        let live = |peer: &u32| world.peer(*peer).state == PeerState::Live;
        let mut counts = [0; 3];
        for peer in (0..world.peer_count()).filter(live) {
            counts[self.way(world, peer) as usize] += 1;
        }
        counts
    }

    /// What nodes must know of it.
    pub(super) fn moved(&self) -> Arc<Moved> {
        self.moved.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::dht::Plan;
    use crate::world::dht::tests::{plan, share};

    fn count(sealed: u8, utp: u8) -> [u32; 3] {
        let plan = Plan { dead_peers: share(0), sealed_peers: share(sealed), ..plan(20, 400) };
        let world = World::build(plan).expect("world");
        let ways = Ways::draw(&world, share(utp), 9);
        for peer in 0..world.peer_count() {
            let is_moved = ways.way(&world, peer) == Way::Utp;
            assert_eq!(ways.addr(&world, peer).port() == 9, is_moved);
            assert_eq!(ways.addr(&world, peer).ip(), world.peer(peer).addr.ip());
        }
        ways.count(&world)
    }

    #[test]
    fn shares_are_of_all_peers_that_serve() {
        for (sealed, utp) in [(25, 25), (0, 100), (100, 0), (60, 40), (0, 0)] {
            let counts = count(sealed, utp);
            let all: u32 = counts.iter().sum();
            let shares = [100 - sealed - utp, utp, sealed].map(u32::from);
            for (count, share) in counts.into_iter().zip(shares) {
                let found = count * 100 / all;
                assert!(found.abs_diff(share) <= 5, "{found} of {share} percent");
                assert!(share > 0 || count == 0);
            }
        }
    }
}
