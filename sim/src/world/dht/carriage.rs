//! Over what peers take connections.

use super::{PeerState, Percent, World};
use crate::world::draw::draw;

/// Over what a peer takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriage {
    /// TCP alone.
    Tcp,
    /// TCP and uTP.
    Both,
    /// uTP alone; over TCP it refuses.
    UtpRefuses,
    /// uTP alone; over TCP it is silent.
    UtpHangs,
}

impl Carriage {
    /// Whether connections over TCP are taken.
    pub const fn has_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Both)
    }

    /// Whether connections over uTP are taken.
    pub const fn has_utp(self) -> bool {
        !matches!(self, Self::Tcp)
    }
}

/// How many peers take uTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UtpShares {
    /// Share of the live peers that take it alone.
    pub only: Percent,
    /// Share of the others that take it beside TCP.
    pub beside: Percent,
}

impl UtpShares {
    /// None does.
    pub const NONE: Self = Self { only: Percent::ZERO, beside: Percent::ZERO };
}

impl World {
    /// The same with so many peers that take uTP. Nothing else of it changes.
    #[must_use]
    pub fn with_utp(self, utp: UtpShares) -> Self {
        Self { utp, ..self }
    }

    /// Over what a peer takes connections, in all its lives.
    pub fn peer_carriage(&self, peer: u32) -> Carriage {
        let seat = u64::from(self.peers[peer as usize].seat);
        let mut draw = draw(self.seed, "carriage", seat);
        let (only, beside) = (self.utp.only.hit(&mut draw), self.utp.beside.hit(&mut draw));
        match (only, beside, draw.bool()) {
            _ if self.peer_state(peer) != PeerState::Live => Carriage::Tcp,
            (true, _, true) => Carriage::UtpRefuses,
            (true, _, false) => Carriage::UtpHangs,
            (false, true, _) => Carriage::Both,
            (false, false, _) => Carriage::Tcp,
        }
    }
}
