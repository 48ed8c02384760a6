//! A BitTorrent peer that has one torrent and serves its metadata, sans-IO: the accepting end of
//! one connection, bytes in and bytes out (BEP 3, 9, 10).
//!
//! It answers the handshake only for its own torrent, offers `ut_metadata` and serves pieces of
//! the true info dictionary, as real seeds do in all their permitted variety: other extension ids,
//! bitfields and PORT messages first, the extension handshake at once or only after the dialler's.
//! A silent peer reads and never says a word. It never asks for anything.

use estudely_core::bencode::{Reader, Writer};
use estudely_core::time::{Duration, Instant};

use crate::draw::draw;
use crate::torrent::METADATA_PIECE_LEN;
use crate::world::{PeerState, World};

/// Bytes of the first message (3.1).
pub const HANDSHAKE_LEN: usize = 68;
/// How long a peer waits for a dialler that says nothing, as libtorrent (H26).
pub const IDLE: Duration = Duration::from_secs(120);
/// Longest message taken from a dialler; a fetcher has no use for longer ones.
pub const MESSAGE_LEN_MAX: usize = 64 * 1024;
/// Message id of BEP 10.
const EXTENDED: u8 = 20;
/// Depth and tokens of an extension message (B.7).
const DEPTH_MAX: usize = 10;
const TOKENS_MAX: u32 = 1_000;

/// What the connection's owner does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Send what was written, then wait for bytes, the end or the deadline.
    Continue,
    /// Close.
    Close,
}

/// One accepted connection to one peer of a world.
#[derive(Debug)]
pub struct Peer {
    number: u32,
    torrent: u32,
    silent: bool,
    manners: Manners,
    handshaken: bool,
    /// Whether our extension handshake is out.
    introduced: bool,
    /// The id under which the dialler takes `ut_metadata`; 0 until it said so.
    remote_id: u8,
    /// An incomplete message.
    pending: Vec<u8>,
    /// The info dictionary, made when first asked for.
    info: Option<Vec<u8>>,
    deadline: Instant,
}

/// In what permitted way this peer speaks.
#[derive(Clone, Copy, Debug)]
struct Manners {
    /// Our id of `ut_metadata`.
    own_id: u8,
    /// A bitfield, unchoke and PORT before the extension handshake (M3).
    chatters: bool,
    /// Waits for the dialler's extension handshake before sending its own.
    waits: bool,
    /// Sends its extension handshake once more after the first piece (10.3).
    repeats: bool,
}

impl Manners {
    fn of(seed: u64, peer: u32) -> Self {
        let mut draw = draw(seed, "manners", u64::from(peer));
        Self {
            own_id: if draw.bool() { 2 } else { draw.u8(1..=255) },
            chatters: draw.u8(0..4) == 0,
            waits: draw.u8(0..4) == 0,
            repeats: draw.u8(0..20) == 0,
        }
    }
}

impl Peer {
    /// Peer `number` of the world has accepted a connection at `now`.
    pub fn new(world: &World, now: Instant, number: u32) -> Self {
        let record = world.peer(number);
        Self {
            number,
            torrent: record.torrent,
            silent: record.state != PeerState::Live,
            manners: Manners::of(world.plan().seed, number),
            handshaken: false,
            introduced: false,
            remote_id: 0,
            pending: Vec::new(),
            info: None,
            deadline: now + IDLE,
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
        self.deadline = now + IDLE;
        if self.silent {
            return Step::Continue;
        }
        if self.pending.is_empty() {
            return self.take(world, input, out);
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(input);
        self.take(world, &pending, out)
    }

    /// When the connection ends for want of bytes.
    pub const fn poll_timeout(&self) -> Instant {
        self.deadline
    }

    /// Takes note of the time.
    pub fn handle_timeout(&mut self, now: Instant) -> Step {
        if now >= self.deadline { Step::Close } else { Step::Continue }
    }

    /// Consumes the whole messages of `bytes` and keeps the rest.
    fn take(&mut self, world: &World, mut bytes: &[u8], out: &mut Vec<u8>) -> Step {
        if !self.handshaken {
            let Some((handshake, rest)) = bytes.split_at_checked(HANDSHAKE_LEN) else {
                self.pending = bytes.to_vec();
                return Step::Continue;
            };
            if self.answer_handshake(world, handshake, out) == Step::Close {
                return Step::Close;
            }
            bytes = rest;
        }
        while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
            let length = u32::from_be_bytes(*length) as usize;
            if length > MESSAGE_LEN_MAX {
                return Step::Close;
            }
            let Some((message, rest)) = rest.split_at_checked(length) else { break };
            if let [EXTENDED, id, payload @ ..] = message
                && self.handle_extended(world, *id, payload, out) == Step::Close
            {
                return Step::Close;
            }
            bytes = rest;
        }
        self.pending.extend_from_slice(bytes);
        Step::Continue
    }

    fn answer_handshake(&mut self, world: &World, theirs: &[u8], out: &mut Vec<u8>) -> Step {
        let key = world.key(self.torrent);
        let for_us = theirs.starts_with(b"\x13BitTorrent protocol") && theirs[28..48] == key.0;
        if !for_us {
            return Step::Close;
        }
        self.handshaken = true;
        out.extend_from_slice(b"\x13BitTorrent protocol");
        // BEP 10 and BEP 5, as any client with a DHT node says.
        out.extend_from_slice(&[0, 0, 0, 0, 0, 0x10, 0, 0x01]);
        out.extend_from_slice(&key.0);
        out.extend_from_slice(b"-SW0001-");
        out.extend_from_slice(format!("{:012}", self.number).as_bytes());
        if self.manners.chatters {
            // Bitfield of 33 pieces, unchoke, PORT.
            out.extend_from_slice(b"\x00\x00\x00\x06\x05\xff\xff\xff\xff\x80");
            out.extend_from_slice(b"\x00\x00\x00\x01\x01");
            out.extend_from_slice(b"\x00\x00\x00\x03\x09");
            out.extend_from_slice(&world.peer(self.number).addr.port().to_be_bytes());
        }
        if !self.manners.waits {
            self.introduce(world, out);
        }
        Step::Continue
    }

    /// Our extension handshake (10.1).
    fn introduce(&mut self, world: &World, out: &mut Vec<u8>) {
        self.introduced = true;
        framed(out, |out| {
            out.extend_from_slice(&[EXTENDED, 0]);
            let mut w = Writer::new(out);
            w.dict().bytes(b"m").dict();
            w.bytes(b"ut_metadata").int(i64::from(self.manners.own_id)).end();
            w.bytes(b"metadata_size").int(i64::from(world.metadata_len(self.torrent)));
            w.bytes(b"reqq").int(250);
            w.bytes(b"v").bytes(b"swarm 0.1").end();
        });
    }

    fn handle_extended(
        &mut self,
        world: &World,
        id: u8,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Step {
        if id == 0 {
            if let Some(id) = metadata_id(payload) {
                self.remote_id = id;
            }
            if !self.introduced {
                self.introduce(world, out);
            }
            return Step::Continue;
        }
        // Ids are the receiver's own (10.2); a dialler that mixes them up is not understood.
        if id != self.manners.own_id || self.remote_id == 0 {
            return Step::Continue;
        }
        if let Some(piece) = piece_asked_for(payload) {
            self.serve(world, piece, out);
        }
        Step::Continue
    }

    /// One piece of metadata, or a reject for what does not exist (9.2).
    fn serve(&mut self, world: &World, piece: i64, out: &mut Vec<u8>) {
        let info = self.info.get_or_insert_with(|| world.torrent(self.torrent).info);
        let start =
            usize::try_from(piece).ok().map(|p| p.saturating_mul(METADATA_PIECE_LEN as usize));
        let data = start.and_then(|start| info.get(start..)).filter(|rest| !rest.is_empty());
        let data = data.map(|rest| &rest[..rest.len().min(METADATA_PIECE_LEN as usize)]);
        framed(out, |out| {
            out.extend_from_slice(&[EXTENDED, self.remote_id]);
            let mut w = Writer::new(out);
            w.dict().bytes(b"msg_type").int(if data.is_some() { 1 } else { 2 });
            w.bytes(b"piece").int(piece);
            if let Some(data) = data {
                w.bytes(b"total_size").int(info.len() as i64).end();
                out.extend_from_slice(data);
            } else {
                w.end();
            }
        });
        if std::mem::take(&mut self.manners.repeats) {
            self.introduce(world, out);
        }
    }
}

/// Appends a message with its length in front (3.2).
fn framed(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// The id that an extension handshake gives to `ut_metadata`.
fn metadata_id(payload: &[u8]) -> Option<u8> {
    let mut reader = Reader::<DEPTH_MAX>::new(payload, TOKENS_MAX);
    let mut id = None;
    if !reader.enter_dict().ok()? {
        return None;
    }
    while let Some(key) = reader.next_key().ok()? {
        if key != b"m" {
            reader.raw().ok()?;
        } else if reader.enter_dict().ok()? {
            while let Some(name) = reader.next_key().ok()? {
                match name {
                    b"ut_metadata" => id = reader.int().ok()?,
                    _ => drop(reader.raw().ok()?),
                }
            }
        }
    }
    id.and_then(|id| u8::try_from(id).ok())
}

/// The piece that a `ut_metadata` message requests, if it is a request.
fn piece_asked_for(payload: &[u8]) -> Option<i64> {
    let mut reader = Reader::<DEPTH_MAX>::new(payload, TOKENS_MAX);
    let (mut kind, mut piece) = (None, None);
    if !reader.enter_dict().ok()? {
        return None;
    }
    while let Some(key) = reader.next_key().ok()? {
        match key {
            b"msg_type" => kind = reader.int().ok()?,
            b"piece" => piece = reader.int().ok()?,
            _ => drop(reader.raw().ok()?),
        }
    }
    (kind == Some(0)).then_some(piece).flatten()
}

#[cfg(test)]
mod tests;
