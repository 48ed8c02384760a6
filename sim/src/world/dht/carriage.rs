//! Over what peers take connections.

use super::{PeerState, Percent, World};
use crate::world::draw::draw;
use crate::world::vice::{UtpVice, UtpVices};

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
    /// uTP alone; over TCP it accepts and hangs up, as libtorrent does.
    UtpHangsUp,
}

impl Carriage {
    /// Whether connections over TCP are taken.
    pub const fn has_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Both)
    }

    /// Whether connections over TCP come about, whatever comes of them.
    pub const fn accepts_tcp(self) -> bool {
        matches!(self, Self::Tcp | Self::Both | Self::UtpHangsUp)
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
    /// Of all that take it, those that do something wrong there.
    pub hostile: Percent,
    /// What, in equal parts.
    pub vices: UtpVices,
}

impl UtpShares {
    /// None does.
    pub const NONE: Self = Self {
        only: Percent::ZERO,
        beside: Percent::ZERO,
        hostile: Percent::ZERO,
        vices: UtpVices::NONE,
    };
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
        match (only, beside, draw.u8(..3)) {
            _ if self.peer_state(peer) != PeerState::Live => Carriage::Tcp,
            (true, _, 0) => Carriage::UtpRefuses,
            (true, _, 1) => Carriage::UtpHangs,
            (true, ..) => Carriage::UtpHangsUp,
            (false, true, _) => Carriage::Both,
            (false, false, _) => Carriage::Tcp,
        }
    }

    /// What a peer does wrong over uTP, in all its lives.
    pub fn peer_utp_vice(&self, peer: u32) -> Option<UtpVice> {
        let seat = u64::from(self.peers[peer as usize].seat);
        let mut draw = draw(self.seed, "utp vice", seat);
        let mut vices = self.utp.vices.iter();
        let (is_hostile, count) = (self.utp.hostile.hit(&mut draw), vices.clone().count());
        let is_hostile = is_hostile && count > 0 && self.peer_carriage(peer).has_utp();
        if is_hostile { vices.nth(draw.usize(..count)) } else { None }
    }
}
