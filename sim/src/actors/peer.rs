//! A BitTorrent peer that has one torrent and serves its metadata, sans-IO: the accepting end of
//! one connection, bytes in and bytes out (BEP 3, 9, 10).
//!
//! It answers the handshake only for its own torrent, offers `ut_metadata` and serves pieces of
//! the true info dictionary, as real seeds do in all their permitted variety: other extension ids,
//! bitfields and PORT messages first, the extension handshake at once or only after the dialler's.
//! A silent peer reads and never says a word. It never asks for anything.
//!
//! One with a [`PeerVice`] departs from that in one way, the same on every connection. Everything
//! follows from the plan's seed, the peer's number, the bytes heard and the times given; nothing
//! here looks at a clock, and what a peer says of itself is bounded, however long it is listened
//! to.

mod hearing;
mod role;
mod serving;
pub(crate) mod speech;
mod talk;
mod timed;

use estudely_core::{Duration, Instant};

use self::role::{BANNERS, HUGE_HEADERS, Point, Role};
use self::timed::{Storm, Timed};
use crate::world::dht::{PeerState, World};
use crate::world::draw::draw;
use crate::world::vice::PeerVice;

pub(crate) use self::hearing::{message, metadata_id, piece_asked_for};
pub use self::talk::{Talk, talk};

/// Bytes of the first message (3.1).
pub const HANDSHAKE_LEN: usize = 68;
/// How long a peer waits for a dialler that says nothing, as libtorrent (H26).
pub const IDLE: Duration = Duration::from_secs(120);
/// Longest message taken from a dialler; a fetcher has no use for longer ones.
pub const MESSAGE_LEN_MAX: usize = 64 * 1024;
/// Message id of BEP 10.
pub(crate) const EXTENDED: u8 = 20;
/// Bytes that follow the header of a frame that is much too long (H28).
const FILLER_LEN: usize = 256;

/// What the connection's owner does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Send what was written, then wait for bytes, the end or the deadline.
    Continue,
    /// Send what was written, then close.
    Close,
    /// Send what was written, then reset the connection.
    Reset,
}

/// One accepted connection to one peer of a world.
#[derive(Debug)]
pub struct Peer {
    number: u32,
    torrent: u32,
    role: Role,
    manners: Manners,
    phase: Phase,
    /// Whether our extension handshake is out.
    introduced: bool,
    /// Whether a first request has come.
    asked: bool,
    /// Under which ids of `ut_metadata` requests are taken; the second is 0 until it is announced.
    own_ids: [u8; 2],
    /// The id under which the dialler takes `ut_metadata`; 0 until it said so.
    remote_id: u8,
    /// An incomplete message.
    pending: Vec<u8>,
    /// The info dictionary as it is shown, made when first asked for.
    info: Option<Vec<u8>>,
    /// When it leaves for want of bytes.
    deadline: Instant,
    timed: Timed,
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The dialler's handshake is due.
    Handshake,
    /// Messages are answered.
    Messages,
    /// Reads and says nothing, or nothing more.
    Mute,
}

/// When a peer sends its extension handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Introduces {
    /// Right after the base handshake.
    Unasked,
    /// After the dialler's.
    InReturn,
}

/// In what permitted way this peer speaks.
#[derive(Clone, Copy, Debug)]
struct Manners {
    /// Our id of `ut_metadata`.
    own_id: u8,
    /// A bitfield, unchoke and PORT before the extension handshake (M3).
    chatters: bool,
    introduces: Introduces,
    /// Sends its extension handshake once more after the first piece (10.3).
    repeats: bool,
    /// Claims to know the torrent's v2 side, rightly or not (BEP 52).
    claims_v2: bool,
}

impl Manners {
    fn of(seed: u64, peer: u32) -> Self {
        let mut draw = draw(seed, "manners", u64::from(peer));
        Self {
            own_id: if draw.bool() { 2 } else { draw.u8(1..=255) },
            chatters: draw.u8(0..4) == 0,
            introduces: match draw.u8(0..4) {
                0 => Introduces::InReturn,
                _ => Introduces::Unasked,
            },
            repeats: draw.u8(0..20) == 0,
            claims_v2: draw.u8(0..4) == 0,
        }
    }
}

impl Peer {
    /// Peer `number` of the world has accepted a connection at `now`, to play what the world
    /// gave it; call [`Peer::handle_connected`] next.
    pub fn new(world: &World, now: Instant, number: u32) -> Self {
        Self::with_vice(world, now, number, world.peer_vice(number))
    }

    /// As [`Peer::new`], with this vice whatever the world says.
    pub fn with_vice(world: &World, now: Instant, number: u32, vice: Option<PeerVice>) -> Self {
        Self::with_role(world, now, number, Role::of(world.plan().seed, number, vice))
    }

    fn with_role(world: &World, now: Instant, number: u32, role: Role) -> Self {
        let record = world.peer(number);
        let manners = Manners::of(world.plan().seed, number);
        Self {
            number,
            torrent: record.torrent,
            role,
            manners,
            phase: match record.state {
                PeerState::Live => Phase::Handshake,
                PeerState::Refuses | PeerState::Silent | PeerState::Hangs => Phase::Mute,
            },
            introduced: false,
            asked: false,
            own_ids: [manners.own_id, 0],
            remote_id: 0,
            pending: Vec::new(),
            info: None,
            deadline: now + IDLE,
            timed: Timed::default(),
        }
    }

    /// The connection is there: appends what is to be sent before the dialler said anything.
    pub fn handle_connected(&mut self, _: &World, now: Instant, out: &mut Vec<u8>) -> Step {
        self.deadline = now + IDLE;
        if self.phase == Phase::Mute {
            return Step::Continue;
        }
        if let Some(banner) = self.role.banner_first() {
            out.extend_from_slice(banner);
            self.phase = Phase::Mute;
        }
        self.role.leaves(Point::Connected).unwrap_or(Step::Continue)
    }

    /// Takes the stream's next bytes, however they were cut, and appends what is to be sent.
    pub fn handle_bytes(
        &mut self,
        world: &World,
        now: Instant,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Step {
        self.deadline = now + IDLE;
        if self.phase == Phase::Mute {
            return Step::Continue;
        }
        let start = out.len();
        let step = if self.pending.is_empty() {
            self.take(world, now, input, out)
        } else {
            let mut pending = std::mem::take(&mut self.pending);
            pending.extend_from_slice(input);
            self.take(world, now, &pending, out)
        };
        if self.role.is(PeerVice::Drip) {
            self.timed.drip(now, &out[start..]);
            out.truncate(start);
        }
        step
    }

    /// When [`Peer::handle_timeout`] is due: something is to be said, or the connection ends for
    /// want of bytes.
    pub fn poll_timeout(&self) -> Instant {
        self.timed.next().map_or(self.deadline, |next| next.min(self.deadline))
    }

    /// Takes note of the time and appends what is to be sent by now.
    pub fn handle_timeout(&mut self, world: &World, now: Instant, out: &mut Vec<u8>) -> Step {
        if now >= self.deadline {
            return Step::Close;
        }
        self.timed.handle_timeout(now, out);
        match self.timed.ready(now) {
            Some(piece) => self.serve(world, piece, out),
            None => Step::Continue,
        }
    }

    /// Consumes the whole messages of `bytes` and keeps the rest.
    fn take(&mut self, world: &World, now: Instant, mut bytes: &[u8], out: &mut Vec<u8>) -> Step {
        if self.phase == Phase::Handshake {
            let Some((handshake, rest)) = bytes.split_at_checked(HANDSHAKE_LEN) else {
                self.pending = bytes.to_vec();
                return Step::Continue;
            };
            let step = self.answer_handshake(world, now, handshake, out);
            if step != Step::Continue {
                return step;
            }
            bytes = rest;
        }
        loop {
            let (message, rest) = match message(bytes) {
                Ok(Some(split)) => split,
                Ok(None) => break,
                Err(step) => return step,
            };
            if let [EXTENDED, id, payload @ ..] = message
                && self.phase != Phase::Mute
            {
                let step = self.handle_extended(world, now, (*id, payload), out);
                if step != Step::Continue {
                    return step;
                }
            }
            bytes = rest;
        }
        self.pending.extend_from_slice(bytes);
        Step::Continue
    }

    fn answer_handshake(
        &mut self,
        world: &World,
        now: Instant,
        theirs: &[u8],
        out: &mut Vec<u8>,
    ) -> Step {
        let mut key = world.key(self.torrent);
        let for_us = theirs.starts_with(b"\x13BitTorrent protocol") && theirs[28..48] == key.0;
        if !for_us {
            return Step::Close;
        }
        self.phase = Phase::Messages;
        let mut peer_id = *b"-SW0001-000000000000";
        peer_id[8..].copy_from_slice(format!("{:012}", self.number).as_bytes());
        let mut knows_extensions = true;
        match self.role.vice {
            Some(PeerVice::NotBittorrent) => {
                out.extend_from_slice(self.role.pick(&BANNERS));
                self.phase = Phase::Mute;
                return Step::Continue;
            }
            Some(PeerVice::NoExtensions) => knows_extensions = false,
            Some(PeerVice::OtherInfohash) => key.0[self.role.whim % 20] ^= 0x55,
            Some(PeerVice::OwnPeerId) => peer_id.copy_from_slice(&theirs[48..HANDSHAKE_LEN]),
            _ => {}
        }
        let reserved = speech::reserved(knows_extensions, self.manners.claims_v2);
        let ours = speech::handshake(reserved, key, &peer_id);
        if let Some(step) = self.role.leaves(Point::Handshake) {
            out.extend_from_slice(&ours[..1 + self.role.whim % (HANDSHAKE_LEN - 1)]);
            return step;
        }
        out.extend_from_slice(&ours);
        if let Some(step) = self.role.leaves(Point::Greeted) {
            return step;
        }
        self.go_on(world, now, out);
        Step::Continue
    }

    /// What follows our base handshake unasked.
    fn go_on(&mut self, world: &World, now: Instant, out: &mut Vec<u8>) {
        match self.role.vice {
            Some(PeerVice::SilentAfterHandshake) => self.phase = Phase::Mute,
            Some(PeerVice::HugeFrame) => {
                out.extend_from_slice(self.role.pick(&HUGE_HEADERS));
                out.resize(out.len() + FILLER_LEN, b'd');
                self.phase = Phase::Mute;
            }
            Some(PeerVice::MessageStorm) => {
                let bulk = self.role.whim.is_multiple_of(8);
                let storm = if bulk { Storm::Bulk } else { Storm::Unannounced };
                self.timed.begin(now, storm, out);
                self.phase = Phase::Mute;
            }
            _ => {}
        }
        if self.phase == Phase::Mute {
            return;
        }
        if self.manners.chatters || self.role.is(PeerVice::Chatter) {
            speech::chatter(out, world.peer(self.number).addr.port());
        }
        if self.role.is(PeerVice::Chatter) {
            speech::more_chatter(out);
        }
        if self.manners.introduces == Introduces::Unasked {
            self.introduce(world, out);
        }
    }
}

#[cfg(test)]
mod tests;
