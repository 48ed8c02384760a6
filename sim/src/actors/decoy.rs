//! A peer without a torrent, that is there to hold connections: the accepting end of one of them,
//! bytes in and bytes out.
//!
//! It shakes hands for whatever infohash the dialler names, offers much, and sends one of the
//! pieces asked for every [`PIECE_EVERY`], of the right length and with bytes that mean nothing.
//! What it remembers of a dialler is bounded by the pieces that it offered.

use std::collections::VecDeque;

use estudely_core::{Duration, InfoHash, Instant};

use super::peer::{
    EXTENDED, HANDSHAKE_LEN, IDLE, Step, message, metadata_id, piece_asked_for, speech,
};
use crate::world::torrent::METADATA_PIECE_LEN;

/// Bytes of metadata that it claims to have.
pub const OFFERED: u32 = 10_000_000;
/// Between two pieces: just before a dialler gives up waiting for one (H25).
pub const PIECE_EVERY: Duration = Duration::from_secs(9);
/// Its id of `ut_metadata`.
const OWN_ID: u8 = 3;
const PIECES: u32 = OFFERED.div_ceil(METADATA_PIECE_LEN);

/// One accepted connection.
#[derive(Debug)]
pub struct DecoyPeer {
    number: u32,
    is_greeted: bool,
    /// The id under which the dialler takes `ut_metadata`; 0 until it said so.
    remote_id: u8,
    /// An incomplete message.
    pending: Vec<u8>,
    /// Pieces that were asked for and not sent.
    asked: VecDeque<u32>,
    /// When the next of them is.
    next: Option<Instant>,
    /// When it leaves for want of bytes, either way.
    deadline: Instant,
}

impl DecoyPeer {
    /// Decoy `number` has accepted a connection at `now`.
    pub fn new(now: Instant, number: u32) -> Self {
        Self {
            number,
            is_greeted: false,
            remote_id: 0,
            pending: Vec::new(),
            asked: VecDeque::new(),
            next: None,
            deadline: now + IDLE,
        }
    }

    /// Takes the stream's next bytes and appends what is to be sent.
    pub fn handle_bytes(&mut self, now: Instant, input: &[u8], out: &mut Vec<u8>) -> Step {
        self.deadline = now + IDLE;
        self.pending.extend_from_slice(input);
        let pending = std::mem::take(&mut self.pending);
        let mut bytes = &pending[..];
        if !self.is_greeted {
            let Some((handshake, rest)) = bytes.split_at_checked(HANDSHAKE_LEN) else {
                self.pending = pending;
                return Step::Continue;
            };
            if !self.greet(handshake, out) {
                return Step::Close;
            }
            bytes = rest;
        }
        loop {
            match message(bytes) {
                Ok(Some((message, rest))) => {
                    if let [EXTENDED, id, payload @ ..] = message {
                        self.handle_extended(now, *id, payload);
                    }
                    bytes = rest;
                }
                Ok(None) => {
                    self.pending = bytes.to_vec();
                    return Step::Continue;
                }
                Err(step) => return step,
            }
        }
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Instant {
        self.next.map_or(self.deadline, |next| next.min(self.deadline))
    }

    /// Takes note of the time and appends the piece that is due.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<u8>) -> Step {
        if now >= self.deadline {
            return Step::Close;
        }
        if self.next.take_if(|next| now >= *next).is_some()
            && let Some(piece) = self.asked.pop_front()
        {
            self.serve(piece, out);
            self.deadline = now + IDLE;
            self.next = (!self.asked.is_empty()).then_some(now + PIECE_EVERY);
        }
        Step::Continue
    }

    /// Answers the base handshake, whatever it is for; whether it is one.
    fn greet(&mut self, theirs: &[u8], out: &mut Vec<u8>) -> bool {
        if !theirs.starts_with(b"\x13BitTorrent protocol") {
            return false;
        }
        self.is_greeted = true;
        let mut hash = InfoHash([0; 20]);
        hash.0.copy_from_slice(&theirs[28..48]);
        let mut peer_id = *b"-SW0002-000000000000";
        peer_id[8..].copy_from_slice(format!("{:012}", self.number).as_bytes());
        out.extend(speech::handshake(speech::reserved(true, false), hash, &peer_id));
        let name = speech::metadata_name(OWN_ID);
        let offer = speech::introduction(Some(&name), Some(i64::from(OFFERED)), false);
        speech::extended(out, 0, &[offer.as_bytes()]);
        true
    }

    fn handle_extended(&mut self, now: Instant, id: u8, payload: &[u8]) {
        if id == 0 {
            self.remote_id = metadata_id(payload).unwrap_or(self.remote_id);
            return;
        }
        let piece = piece_asked_for(payload).and_then(|piece| u32::try_from(piece).ok());
        let piece = piece.filter(|piece| *piece < PIECES && !self.asked.contains(piece));
        if let Some(piece) = piece.filter(|_| id == OWN_ID && self.remote_id != 0) {
            self.asked.push_back(piece);
            self.next.get_or_insert(now + PIECE_EVERY);
        }
    }

    fn serve(&self, piece: u32, out: &mut Vec<u8>) {
        let start = piece * METADATA_PIECE_LEN;
        let len = METADATA_PIECE_LEN.min(OFFERED - start) as usize;
        let head = speech::data_head(i64::from(piece), Some(i64::from(OFFERED)), false);
        // As if an info dictionary began here.
        let data: Vec<u8> = b"d5:files".iter().copied().cycle().take(len).collect();
        speech::extended(out, self.remote_id, &[head.as_bytes(), &data]);
    }
}

#[cfg(test)]
mod tests;
