//! Cutting the byte stream into what it says, whatever way it arrives split.
//!
//! Every decision falls at a fixed byte of the stream: a check is made as soon as the bytes it
//! needs are there and never waits for more, so the same stream always ends the same way.

use std::mem;
use std::ops::ControlFlow;

use super::{Exchange, Flow, fail};
use crate::base::fault::PeerFault;
use crate::base::planted::{self, Bug};
use crate::base::time::Instant;
use crate::codec::wire::{
    EXTENDED, EXTENDED_HANDSHAKE, HANDSHAKE_HASH_END, HANDSHAKE_LEN, Handshake, LENGTH_LEN,
    MetadataMessage, OUR_METADATA_ID, PROTOCOL,
};
use crate::limits::{
    EXTENDED_HANDSHAKE_FRONT, EXTENDED_HANDSHAKE_MAX, EXTENDED_HANDSHAKE_STEP, EXTENDED_MAX,
    FRAME_MAX, METADATA_HEAD_MAX,
};
use crate::peer::exchange::outcome::Metadata;

/// What is left of the input, or the end of the conversation.
type Rest<'a> = ControlFlow<Result<Metadata, PeerFault>, &'a [u8]>;

/// Bytes of a frame up to and including its message id.
const ID_END: usize = LENGTH_LEN + 1;
/// Bytes of a frame up to and including its extension id.
const EXTENSION_ID_END: usize = LENGTH_LEN + 2;

/// Where in the stream we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the base handshake.
    Handshake,
    /// In a frame's length, message id or extension id.
    Header,
    /// At the front of an extension message, of which `want` bytes are needed at once and `rest`
    /// follow.
    Front { kind: Front, want: usize, rest: usize },
    /// In the bytes of a piece that is wanted.
    Piece { left: usize },
    /// In bytes of no use.
    Skip { left: usize },
}

/// Which extension message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Front {
    /// The extension handshake, of which the front is needed.
    Handshake,
    /// A metadata message, of which the dictionary is needed.
    Metadata,
}

/// Position in the stream and what had to be kept of it.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    place: Place,
    /// The base handshake, or the header of a frame, as far as it is here.
    head: [u8; HANDSHAKE_LEN],
    filled: usize,
    /// An extension message's front that arrived in several parts; else never allocated. Of a
    /// handshake it is at most [`EXTENDED_HANDSHAKE_FRONT`] and given back once it is read, of any
    /// other [`METADATA_HEAD_MAX`].
    parts: Vec<u8>,
}

impl Reading {
    /// At the start of the stream.
    pub(super) fn new() -> Self {
        Self { place: Place::Handshake, head: [0; HANDSHAKE_LEN], filled: 0, parts: Vec::new() }
    }

    /// Moves input into the head until `need` bytes are there; what is left of the input.
    fn fill_head<'a>(&mut self, need: usize, input: &'a [u8]) -> &'a [u8] {
        let (taken, rest) = input.split_at(input.len().min(need.saturating_sub(self.filled)));
        self.head[self.filled..self.filled + taken.len()].copy_from_slice(taken);
        self.filled += taken.len();
        rest
    }

    /// The next frame begins after `left` more bytes.
    fn skip(&mut self, left: usize) {
        self.filled = 0;
        self.place = if left == 0 { Place::Header } else { Place::Skip { left } };
    }

    /// The length that the frame announces, once its prefix is here.
    fn frame_length(&self) -> u32 {
        let [a, b, c, d, ..] = self.head;
        u32::from_be_bytes([a, b, c, d])
    }
}

impl Exchange {
    /// Reads all of `input`, or as far as the conversation goes.
    pub(super) fn read(&mut self, now: Instant, mut input: &[u8], out: &mut Vec<u8>) -> Flow {
        while !input.is_empty() {
            input = match self.reading.place {
                Place::Handshake => self.read_handshake(now, input, out)?,
                Place::Header => self.read_header(now, input, out)?,
                Place::Front { kind, want, rest } => {
                    self.read_front(now, kind, (want, rest), input, out)?
                }
                Place::Piece { left } => self.read_piece(now, left, input, out)?,
                Place::Skip { left } => {
                    let skipped = input.len().min(left);
                    self.reading.skip(left - skipped);
                    &input[skipped..]
                }
            };
        }
        Flow::Continue(())
    }

    fn read_handshake<'a>(&mut self, now: Instant, input: &'a [u8], out: &mut Vec<u8>) -> Rest<'a> {
        let rest = self.reading.fill_head(HANDSHAKE_LEN, input);
        let here = &self.reading.head[..self.reading.filled];
        if here.iter().zip(PROTOCOL).any(|(byte, expected)| *byte != expected) {
            fail(PeerFault::NotBitTorrent)?;
        }
        let hash = here.get(HANDSHAKE_HASH_END - self.hash.0.len()..HANDSHAKE_HASH_END);
        if hash.is_some_and(|hash| hash != self.hash.0) {
            fail(PeerFault::WrongInfoHash)?;
        }
        if here.len() == HANDSHAKE_LEN {
            let Some(theirs) = Handshake::parse(&self.reading.head) else {
                return ControlFlow::Break(Err(PeerFault::NotBitTorrent));
            };
            self.reading.skip(0);
            self.on_handshake(now, &theirs, out)?;
        }
        ControlFlow::Continue(rest)
    }

    fn read_header<'a>(&mut self, now: Instant, input: &'a [u8], out: &mut Vec<u8>) -> Rest<'a> {
        let need = match self.reading.filled {
            0..LENGTH_LEN => LENGTH_LEN,
            LENGTH_LEN => ID_END,
            _ => EXTENSION_ID_END,
        };
        let rest = self.reading.fill_head(need, input);
        if self.reading.filled < LENGTH_LEN && planted::is(Bug::SplitFrames) {
            self.reading.filled = 0;
        }
        if self.reading.filled == need {
            let length = self.reading.frame_length();
            match need {
                LENGTH_LEN => self.on_length(now, length)?,
                ID_END => self.on_id(now, self.reading.head[LENGTH_LEN], length)?,
                _ => self.on_extension_id(now, self.reading.head[ID_END], length, out)?,
            }
        }
        ControlFlow::Continue(rest)
    }

    fn on_length(&mut self, now: Instant, length: u32) -> Flow {
        if length > FRAME_MAX {
            return fail(PeerFault::BadMessage);
        }
        if length == 0 {
            // A keep-alive (3.2).
            self.reading.skip(0);
            return self.on_skipped(now, LENGTH_LEN as u32);
        }
        Flow::Continue(())
    }

    /// Whatever is no extension message is skipped: bitfields, haves, unknown ids (3.4, M3).
    fn on_id(&mut self, now: Instant, id: u8, length: u32) -> Flow {
        if id != EXTENDED {
            self.reading.skip(length as usize - 1);
            return self.on_skipped(now, LENGTH_LEN as u32 + length);
        }
        if length < 2 { fail(PeerFault::BadMessage) } else { Flow::Continue(()) }
    }

    fn on_extension_id(&mut self, now: Instant, id: u8, length: u32, out: &mut Vec<u8>) -> Flow {
        let payload = length as usize - 2;
        let largest = match id {
            EXTENDED_HANDSHAKE => EXTENDED_HANDSHAKE_MAX,
            OUR_METADATA_ID => EXTENDED_MAX,
            // It is skipped, as any other frame is.
            _ => FRAME_MAX as usize,
        };
        if payload > largest {
            return fail(PeerFault::BadMessage);
        }
        let (kind, want) = match id {
            EXTENDED_HANDSHAKE => (Front::Handshake, payload.min(EXTENDED_HANDSHAKE_FRONT)),
            OUR_METADATA_ID => (Front::Metadata, payload.min(METADATA_HEAD_MAX)),
            _ => {
                self.reading.skip(payload);
                self.on_skipped(now, LENGTH_LEN as u32 + length)?;
                return self.on_unwanted(now);
            }
        };
        if want == 0 {
            return self.on_front(now, kind, &[], 0, out);
        }
        self.reading.place = Place::Front { kind, want, rest: payload - want };
        Flow::Continue(())
    }

    fn read_front<'a>(
        &mut self,
        now: Instant,
        kind: Front,
        (want, rest): (usize, usize),
        input: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Rest<'a> {
        let mut parts = mem::take(&mut self.reading.parts);
        let (taken, input) = input.split_at(input.len().min(want - parts.len()));
        if taken.len() == want {
            // The usual case: all in one piece, read where it lies.
            self.reading.parts = parts;
            self.on_front(now, kind, taken, rest, out)?;
            return ControlFlow::Continue(input);
        }
        // In proportion to what came, whatever was announced.
        let (missing, room) = (want - parts.len(), parts.capacity() - parts.len());
        if room < taken.len() {
            parts.reserve_exact(taken.len().max(EXTENDED_HANDSHAKE_STEP).min(missing));
        }
        parts.extend_from_slice(taken);
        if parts.len() < want {
            self.reading.parts = parts;
            return ControlFlow::Continue(input);
        }
        self.on_front(now, kind, &parts, rest, out)?;
        if kind == Front::Metadata {
            parts.clear();
            self.reading.parts = parts;
        }
        ControlFlow::Continue(input)
    }

    /// The front of an extension message is here; `rest` bytes of it are still to come.
    fn on_front(
        &mut self,
        now: Instant,
        kind: Front,
        front: &[u8],
        rest: usize,
        out: &mut Vec<u8>,
    ) -> Flow {
        self.reading.skip(rest);
        let frame = (EXTENSION_ID_END + front.len() + rest) as u32;
        if kind == Front::Handshake {
            let wanted = self.pieces.is_none();
            self.on_extensions(now, front, rest == 0, out)?;
            let used = wanted && self.pieces.is_some();
            return if used { Flow::Continue(()) } else { self.on_skipped(now, frame) };
        }
        let Ok((message, consumed)) = MetadataMessage::parse(front) else {
            return fail(PeerFault::BadMessage);
        };
        let data = front.get(consumed..).unwrap_or_default();
        if !self.on_message(now, message, data.len() + rest, out)? {
            return self.on_skipped(now, frame);
        }
        if rest > 0 {
            self.reading.place = Place::Piece { left: rest };
        }
        self.fill(now, data, out)
    }

    fn read_piece<'a>(
        &mut self,
        now: Instant,
        left: usize,
        input: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Rest<'a> {
        let (taken, input) = input.split_at(input.len().min(left));
        match left - taken.len() {
            0 => self.reading.skip(0),
            left => self.reading.place = Place::Piece { left },
        }
        self.fill(now, taken, out)?;
        ControlFlow::Continue(input)
    }

    /// Bytes of the wanted piece, straight into the assembly.
    fn fill(&mut self, now: Instant, bytes: &[u8], out: &mut Vec<u8>) -> Flow {
        let whole = self.pieces.as_mut().is_some_and(|pieces| pieces.fill(bytes));
        if whole { self.on_piece(now, out) } else { Flow::Continue(()) }
    }
}
