//! A BitTorrent peer that takes encrypted connections only (message stream encryption): the
//! accepting end, bytes in and bytes out. Behind the exchange of keys it is an ordinary [`Peer`].
//!
//! Written from the specification, with no code of the core's: what the core does wrong must not go
//! right here. A dialler that begins in the clear is hung up on, as clients do that require
//! encryption. One with a [`MseVice`] departs from the specification in one way; whatever a dialler
//! says, what it makes this end keep is bounded by the longest exchange of keys.

pub(crate) mod keys;
mod guard;

use estudely_core::Instant;

use self::guard::Guard;
use self::keys::PRIVATE_LEN;
use super::peer::{Peer, Step};
use crate::world::dht::{Door, World};
use crate::world::draw::draw;

/// Longest padding that is legal, in bytes.
pub const PAD_MAX: usize = 512;

/// Which way to go on this end selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selects {
    /// The clear, behind the exchange of keys; hangs up where it is not offered.
    Plaintext,
    /// RC4 to the end; hangs up where it is not offered.
    Rc4,
}

/// How this end departs from the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MseVice {
    /// Says its key, and padding that never ends.
    EndlessPadding,
    /// Says its key, and more than the longest padding in which nothing is to be found.
    NoConstant,
    /// Says its key and nothing more.
    MuteAfterKey,
    /// Its key is one of those whose secret everybody knows.
    DegenerateKey,
    /// Selects both ways at once, and goes on in the clear.
    BothBits,
    /// Selects nothing that there is.
    NoBits,
    /// Announces a padding that is too long.
    LongPadding,
}

impl MseVice {
    /// Every one, in order of declaration.
    pub const ALL: [Self; 7] = [
        Self::EndlessPadding,
        Self::NoConstant,
        Self::MuteAfterKey,
        Self::DegenerateKey,
        Self::BothBits,
        Self::NoBits,
        Self::LongPadding,
    ];
}

/// On which terms encrypted connections are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What is selected.
    pub selects: Selects,
    /// Bytes of padding behind the key.
    pub pad_b: usize,
    /// Bytes of padding behind the selection.
    pub pad_d: usize,
    /// What is odd about it.
    pub vice: Option<MseVice>,
}

impl Terms {
    /// Those of a peer, the same on every connection; `None` if it takes none but those in the
    /// clear. The shortest and the longest padding are frequent. Of the hostile ones that serve
    /// nobody some are so before they say a word of BitTorrent.
    pub fn of(world: &World, peer: u32) -> Option<Self> {
        let selects = match world.peer_door(peer) {
            Door::Clear => return None,
            Door::Keys => Selects::Plaintext,
            Door::Rc4 => Selects::Rc4,
        };
        let mut draw = draw(world.plan().seed, "terms", u64::from(peer));
        let mut pad = || match draw.u8(0..4) {
            0 => 0,
            1 => PAD_MAX,
            _ => draw.usize(0..=PAD_MAX),
        };
        let (pad_b, pad_d) = (pad(), pad());
        let (is_early, vice) = (draw.bool(), draw.usize(..MseVice::ALL.len()));
        let is_hostile = world.peer_vice(peer).is_some_and(|vice| !vice.serves());
        let vice = (is_hostile && is_early).then(|| MseVice::ALL[vice]);
        Some(Self { selects, pad_b, pad_d, vice })
    }
}

/// The private key of a peer, the same on every connection.
pub fn private_key(world: &World, peer: u32) -> [u8; PRIVATE_LEN] {
    let mut private = [0; PRIVATE_LEN];
    draw(world.plan().seed, "private key", u64::from(peer)).fill(&mut private);
    private
}

/// One accepted connection to one peer of a world.
#[derive(Debug)]
pub struct MsePeer {
    guard: Guard,
    peer: Peer,
}

impl MsePeer {
    /// Peer `number` of the world has accepted a connection at `now`; nothing is said before the
    /// dialler's key is here.
    pub fn new(world: &World, now: Instant, number: u32, terms: Terms) -> Self {
        let key = world.key(world.peer(number).torrent);
        let draw = draw(world.plan().seed, "mse", u64::from(number));
        let guard = Guard::new(key, private_key(world, number), terms, draw);
        Self { guard, peer: Peer::new(world, now, number) }
    }

    /// Takes the stream's next bytes, however they were cut, and appends what is to be sent.
    pub fn handle_bytes(
        &mut self,
        world: &World,
        now: Instant,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Step {
        let was_open = self.guard.is_open();
        let payload = match self.guard.receive(now, input, out) {
            Ok(payload) => payload,
            Err(step) => return step,
        };
        if !self.guard.is_open() {
            return Step::Continue;
        }
        let start = out.len();
        let mut step = Step::Continue;
        if !was_open {
            step = self.peer.handle_connected(world, now, out);
        }
        if step == Step::Continue && !payload.is_empty() {
            step = self.peer.handle_bytes(world, now, &payload, out);
        }
        self.guard.seal(&mut out[start..]);
        step
    }

    /// When [`MsePeer::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Instant {
        let peer = self.peer.poll_timeout();
        self.guard.poll_timeout().map_or(peer, |at| at.min(peer))
    }

    /// Takes note of the time and appends what is to be sent by now.
    pub fn handle_timeout(&mut self, world: &World, now: Instant, out: &mut Vec<u8>) -> Step {
        self.guard.handle_timeout(now, out);
        let start = out.len();
        let step = self.peer.handle_timeout(world, now, out);
        self.guard.seal(&mut out[start..]);
        step
    }
}

#[cfg(test)]
mod tests;
