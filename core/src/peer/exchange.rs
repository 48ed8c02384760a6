//! One conversation with one peer about one infohash: BEP 3 handshake, BEP 10 handshake, BEP 9
//! pieces, hash check, and the info dictionary read.
//!
//! # Contract
//!
//! An [`Exchange`] knows a byte stream and nothing else: the adapter connects, passes what arrives
//! to [`Exchange::handle_bytes`], writes what was appended to `out`, calls
//! [`Exchange::handle_timeout`] at [`Exchange::poll_timeout`], and says when the stream ended. It
//! ends with exactly one [`Outcome`]: as [`Step::Finished`], or returned by
//! [`Exchange::handle_closed`] or [`Exchange::handle_failed`]; after that it must be dropped.
//!
//! - Input is consumed whole, however it is split; splitting it differently changes neither a
//!   byte of the output nor the outcome.
//! - Before a size is accepted nothing is buffered but an extension handshake that is really
//!   coming in; after that memory grows with the pieces received (H23).
//! - There always is a deadline; only a new piece moves it, and never beyond the absolute one.
//! - Nothing that a peer sends makes it panic, and nothing unverified leaves it as [`Metadata`].
//! - Whatever takes time in proportion to the metadata is done here, behind the hash: adapters may
//!   run exchanges on any thread, and the control plane only moves what they bring.

mod outcome;
mod reading;

use std::mem;
use std::net::SocketAddr;
use std::ops::ControlFlow;

use self::reading::Reading;
use crate::base::fault::PeerFault;
use crate::base::id::InfoHash;
use crate::base::planted::{self, Bug};
use crate::base::rng::{Rng, Seed};
use crate::base::time::{Duration, Instant};
use crate::codec::wire::{Extensions, Handshake, MetadataMessage, OUR_EXTENSIONS, PEER_ID_PREFIX};
use crate::limits::{
    CONNECT_TIMEOUT, DELIVERY_GRACE, DELIVERY_TIME, EXCHANGE_RATE, EXCHANGE_TIMEOUT,
    EXTENSION_TIMEOUT, HANDSHAKE_TIMEOUT, PIECE_LEN, PIECE_TIMEOUT, RATE_MIN, REQUESTS_MAX,
    SKIPPED_MAX, STRAYS_MAX, UNWANTED_MAX,
};
use crate::peer::pieces::{PieceSet, Pieces};

pub use self::outcome::{
    Attempt, Fetched, Metadata, Outcome, Pipeline, Progress, Step, Timings, Transport, UNGUARDED,
};

/// The end of the conversation, or not yet.
type Flow = ControlFlow<Result<Metadata, PeerFault>>;

/// Shorthand: the peer failed.
fn fail(fault: PeerFault) -> Flow {
    ControlFlow::Break(Err(fault))
}

/// Goes on while `count` keeps within `cap`.
fn within(count: u32, cap: u32) -> Flow {
    if count > cap { fail(PeerFault::Unwanted) } else { Flow::Continue(()) }
}

/// What the peer brought that nobody asked for (H27, M8, M10, M12).
#[derive(Clone, Copy, Debug, Default)]
struct Nuisance {
    unwanted: u32,
    skipped: u32,
    requests: u32,
    strays: u32,
}

/// One conversation; see the module's contract.
#[derive(Clone, Debug)]
pub struct Exchange {
    hash: InfoHash,
    attempt: Attempt,
    peer_id: [u8; 20],
    progress: Progress,
    timings: Timings,
    /// When this phase must be over.
    phase_ends: Instant,
    /// When everything must be over.
    all_ends: Instant,
    reading: Reading,
    /// Under which id the peer wants metadata messages (10.2); 0 before it said so.
    peer_metadata_id: u8,
    /// Pieces of an earlier peer, until this one names the same size.
    resume: Option<Pieces>,
    /// What this peer has part in; present once a size is accepted.
    pieces: Option<Pieces>,
    /// How many of these came from an earlier peer: the first ones in order of arrival.
    inherited: u16,
    /// Asked for and neither come nor refused.
    asked: PieceSet,
    nuisance: Nuisance,
    /// Peers that this one told of.
    found_peers: Vec<SocketAddr>,
    ended: bool,
}

impl Exchange {
    /// A conversation that starts with connecting, at `now`. `resume` is what an earlier peer left
    /// in [`Outcome::partial`]; `seed` makes the peer id.
    pub fn new(
        now: Instant,
        hash: InfoHash,
        attempt: Attempt,
        resume: Option<Pieces>,
        seed: Seed,
    ) -> Self {
        let mut peer_id = [0; 20];
        peer_id[..PEER_ID_PREFIX.len()].copy_from_slice(&PEER_ID_PREFIX);
        Rng::new(seed).fill(&mut peer_id[PEER_ID_PREFIX.len()..]);
        Self {
            hash,
            attempt,
            peer_id,
            progress: Progress::Nothing,
            timings: Timings {
                started: now,
                connected: None,
                handshaken: None,
                offered: None,
                ended: now,
            },
            phase_ends: now + CONNECT_TIMEOUT,
            all_ends: now + EXCHANGE_TIMEOUT,
            reading: Reading::new(),
            peer_metadata_id: 0,
            resume,
            pieces: None,
            inherited: 0,
            asked: PieceSet::default(),
            nuisance: Nuisance::default(),
            found_peers: Vec::new(),
            ended: false,
        }
    }

    /// The stream is connected: appends our base handshake. The extension handshake waits for the
    /// peer's 68 bytes, because aria2 hangs up when both come in one segment.
    pub fn handle_connected(&mut self, now: Instant, out: &mut Vec<u8>) {
        if self.progress != Progress::Nothing || self.ended {
            return;
        }
        self.progress = Progress::Connected;
        self.timings.connected = Some(self.clamp(now));
        self.phase_ends = now + HANDSHAKE_TIMEOUT;
        Handshake::new(self.hash, self.peer_id).emit(out);
    }

    /// Bytes arrived. Consumes all of them; appends what is to be written. Bytes that arrive after
    /// the deadline no longer count.
    pub fn handle_bytes(&mut self, now: Instant, input: &[u8], out: &mut Vec<u8>) -> Step {
        if let late @ Step::Finished(_) = self.handle_timeout(now) {
            return late;
        }
        if self.ended || self.progress == Progress::Nothing {
            return Step::Continue;
        }
        if planted::is(Bug::EndlessExchange) {
            (self.phase_ends, self.all_ends) = (now + PIECE_TIMEOUT, now + EXCHANGE_TIMEOUT);
        }
        match self.read(now, input, out) {
            ControlFlow::Continue(()) => Step::Continue,
            ControlFlow::Break(result) => Step::Finished(Box::new(self.finish(now, result))),
        }
    }

    /// The connected stream ended: end of file, reset, or any other error.
    #[must_use]
    pub fn handle_closed(&mut self, now: Instant) -> Outcome {
        let fault = match self.progress {
            Progress::Nothing | Progress::Connected => PeerFault::ClosedEarly,
            Progress::Handshaken | Progress::Offered | Progress::Complete => PeerFault::ClosedLate,
        };
        self.finish(now, Err(fault))
    }

    /// The adapter gives up, for what `fault` says: refused, unreachable, out of resources, run
    /// over.
    #[must_use]
    pub fn handle_failed(&mut self, now: Instant, fault: PeerFault) -> Outcome {
        self.finish(now, Err(fault))
    }

    /// Time passed. Before the deadline this does nothing.
    pub fn handle_timeout(&mut self, now: Instant) -> Step {
        if self.ended || now < self.poll_timeout() {
            return Step::Continue;
        }
        let fault = match self.progress {
            Progress::Nothing => PeerFault::ConnectTimeout,
            Progress::Connected => PeerFault::HandshakeTimeout,
            Progress::Handshaken => PeerFault::ExtensionTimeout,
            Progress::Offered | Progress::Complete => PeerFault::MetadataTimeout,
        };
        Step::Finished(Box::new(self.finish(now, Err(fault))))
    }

    /// When [`Exchange::handle_timeout`] is due. There always is such an instant.
    pub fn poll_timeout(&self) -> Instant {
        self.phase_ends.min(self.all_ends)
    }

    /// Whether [`Exchange::handle_connected`] was called.
    pub fn is_connected(&self) -> bool {
        self.progress != Progress::Nothing
    }

    /// The infohash that this is about.
    pub fn hash(&self) -> InfoHash {
        self.hash
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Bytes of metadata held, own and inherited: what counts against
    /// [`crate::Config::assembly_bytes`].
    pub fn bytes_held(&self) -> usize {
        self.pieces.iter().chain(&self.resume).map(Pieces::bytes_held).sum()
    }

    /// Never before what was seen already (H47).
    fn clamp(&self, now: Instant) -> Instant {
        let timings = &self.timings;
        let last = timings.offered.or(timings.handshaken).or(timings.connected);
        now.max(last.unwrap_or(timings.started))
    }

    fn finish(&mut self, now: Instant, result: Result<Metadata, PeerFault>) -> Outcome {
        self.ended = true;
        self.timings.ended = self.clamp(now);
        self.reading = Reading::new();
        let pieces_offered = self.pieces.as_ref().map_or(0, Pieces::pieces_total);
        let pieces_held = self.pieces.as_ref().map_or(0, Pieces::pieces_held);
        let fetched = self.pieces.take().filter(|_| result != Err(PeerFault::BadHash));
        let partial = fetched.into_iter().chain(self.resume.take()).map(|mut pieces| {
            pieces.abandon();
            pieces
        });
        let partial = partial.max_by_key(Pieces::bytes_held).filter(|p| p.pieces_held() > 0);
        Outcome {
            partial: partial.filter(|_| result.is_err()),
            result: result.map(Fetched::read),
            found_peers: mem::take(&mut self.found_peers),
            transport: self.attempt.transport,
            timings: self.timings,
            progress: self.progress,
            pieces_offered,
            pieces_new: pieces_held.saturating_sub(self.inherited),
        }
    }

    /// The peer's base handshake was complete.
    fn on_handshake(&mut self, now: Instant, theirs: &Handshake, out: &mut Vec<u8>) -> Flow {
        if theirs.peer_id == self.peer_id {
            return fail(PeerFault::OwnConnection);
        }
        self.progress = Progress::Handshaken;
        self.timings.handshaken = Some(self.clamp(now));
        if !theirs.has_extensions() {
            return fail(PeerFault::NoExtensions);
        }
        self.phase_ends = now + EXTENSION_TIMEOUT;
        OUR_EXTENSIONS.emit(out);
        Flow::Continue(())
    }

    /// An extension handshake was complete: the first, or a later one (10.3, M11). One that cannot
    /// be read is ignored, as other clients do.
    /// Of a very long one only the front is here.
    fn on_extensions(
        &mut self,
        now: Instant,
        front: &[u8],
        is_whole: bool,
        out: &mut Vec<u8>,
    ) -> Flow {
        let parse = if is_whole { Extensions::parse } else { Extensions::parse_front };
        let Ok(theirs) = parse(front) else { return self.on_unwanted() };
        if let Some(id) = theirs.ut_metadata {
            // 10.5: what is no id means unsupported, 0 means withdrawn.
            self.peer_metadata_id = u8::try_from(id).unwrap_or(0);
            if planted::is(Bug::ForeignExtensionId) {
                self.peer_metadata_id = crate::codec::wire::OUR_METADATA_ID;
            }
        }
        if self.peer_metadata_id == 0 {
            return fail(PeerFault::NoMetadataExtension);
        }
        let Some(pieces) = &self.pieces else { return self.on_offer(now, &theirs, out) };
        if theirs.metadata_size.is_some_and(|size| size != pieces.size() as i64) {
            return fail(PeerFault::SizeChanged);
        }
        self.on_unwanted()
    }

    /// The first usable extension handshake: asks for what is missing.
    fn on_offer(&mut self, now: Instant, theirs: &Extensions<'_>, out: &mut Vec<u8>) -> Flow {
        let size = theirs.metadata_size.unwrap_or(0);
        if size == 0 {
            return fail(PeerFault::NoMetadata);
        }
        let Some(mut pieces) = Pieces::new(size) else { return fail(PeerFault::BadSize) };
        if let Some(resume) = self.resume.take_if(|resume| resume.size() == pieces.size()) {
            self.inherited = resume.pieces_held();
            pieces = resume;
        }
        self.progress = Progress::Offered;
        self.timings.offered = Some(self.clamp(now));
        self.phase_ends = now + PIECE_TIMEOUT;
        let allowance = Duration::from_secs((pieces.size() as u64).div_ceil(EXCHANGE_RATE));
        self.all_ends = self.timings.started + EXCHANGE_TIMEOUT + allowance;
        let complete = pieces.is_complete();
        self.pieces = Some(pieces);
        if complete { self.verify(out) } else { self.ask(out) }
    }

    /// Asks for every missing piece, or for the next one.
    fn ask(&mut self, out: &mut Vec<u8>) -> Flow {
        let Some(pieces) = &self.pieces else { return Flow::Continue(()) };
        let count = match self.attempt.pipeline {
            Pipeline::All => usize::MAX,
            Pipeline::OneByOne => 1,
        };
        for piece in pieces.missing().take(count) {
            self.asked.insert(piece);
            let request = MetadataMessage::Request { piece: i64::from(piece) };
            request.emit(out, self.peer_metadata_id, b"");
        }
        Flow::Continue(())
    }

    /// A metadata message began: its dictionary, and `length` bytes of data behind it. For data
    /// that was asked for, the piece's buffer is ready on return and `true` says to fill it.
    fn on_message(
        &mut self,
        message: MetadataMessage,
        length: usize,
        out: &mut Vec<u8>,
    ) -> ControlFlow<Result<Metadata, PeerFault>, bool> {
        match message {
            MetadataMessage::Data { piece, total_size } => {
                return self.on_data(piece, total_size, length);
            }
            MetadataMessage::Request { piece } => self.on_request(piece, out)?,
            MetadataMessage::Reject { piece } => self.on_reject(piece)?,
            MetadataMessage::Unknown => self.on_unwanted()?,
        }
        ControlFlow::Continue(false)
    }

    /// M4, M5, M7, M8: data is filled in only if it is due and of exactly the due length.
    fn on_data(
        &mut self,
        piece: i64,
        total_size: Option<i64>,
        length: usize,
    ) -> ControlFlow<Result<Metadata, PeerFault>, bool> {
        if let Some(pieces) = &mut self.pieces {
            if total_size.is_some_and(|size| size != pieces.size() as i64) {
                return ControlFlow::Break(Err(PeerFault::SizeChanged));
            }
            let due = u16::try_from(piece).ok().filter(|piece| self.asked.contains(*piece));
            if let Some(piece) = due {
                if length != pieces.piece_len(piece) || !pieces.begin(piece) {
                    return ControlFlow::Break(Err(PeerFault::BadPiece));
                }
                self.asked.remove(piece);
                return ControlFlow::Continue(true);
            }
        }
        self.on_stray()?;
        ControlFlow::Continue(false)
    }

    /// When the next piece must have come, by the lowest throughput for what is on offer (H26).
    fn next_piece_by(&self) -> Instant {
        let Some(pieces) = &self.pieces else { return self.all_ends };
        let own = u64::from(pieces.pieces_held().saturating_sub(self.inherited)) + 1;
        let rate = RATE_MIN.max(pieces.size() as u64 / DELIVERY_TIME.as_secs());
        let offered = self.timings.offered.unwrap_or(self.timings.started);
        offered + DELIVERY_GRACE + Duration::from_millis(own * PIECE_LEN as u64 * 1_000 / rate)
    }

    /// A piece became whole.
    fn on_piece(&mut self, now: Instant, out: &mut Vec<u8>) -> Flow {
        self.phase_ends = (now + PIECE_TIMEOUT).min(self.next_piece_by());
        if self.pieces.as_ref().is_some_and(Pieces::is_complete) {
            return self.verify(out);
        }
        match self.attempt.pipeline {
            Pipeline::OneByOne => self.ask(out),
            // The rest was refused.
            Pipeline::All if self.asked.is_empty() => fail(PeerFault::Rejected),
            Pipeline::All => Flow::Continue(()),
        }
    }

    /// Every piece is here. If the hash is wrong and pieces of an earlier peer are among them,
    /// those may be at fault: this peer is asked for them before it is blamed (H29).
    fn verify(&mut self, out: &mut Vec<u8>) -> Flow {
        self.progress = Progress::Complete;
        let Some(pieces) = &mut self.pieces else { return Flow::Continue(()) };
        if self.inherited == 0 {
            let raw = self.pieces.take().map(Pieces::into_assembled).unwrap_or_default();
            return ControlFlow::Break(Metadata::verify(self.hash, raw).ok_or(PeerFault::BadHash));
        }
        if let Some(metadata) = Metadata::verify(self.hash, pieces.assembled().into_owned()) {
            return ControlFlow::Break(Ok(metadata));
        }
        pieces.forget_first(mem::take(&mut self.inherited));
        self.progress = Progress::Offered;
        self.ask(out)
    }

    /// M10: we serve nothing, and say so.
    fn on_request(&mut self, piece: i64, out: &mut Vec<u8>) -> Flow {
        self.nuisance.requests += 1;
        within(self.nuisance.requests, REQUESTS_MAX)?;
        // Before its extension handshake we do not know under which id to answer.
        if self.peer_metadata_id != 0 {
            MetadataMessage::Reject { piece }.emit(out, self.peer_metadata_id, b"");
        }
        Flow::Continue(())
    }

    /// M9: what else was asked for may still come, and the next peer continues from there.
    fn on_reject(&mut self, piece: i64) -> Flow {
        if !u16::try_from(piece).is_ok_and(|piece| self.asked.remove(piece)) {
            return self.on_stray();
        }
        if self.asked.is_empty() { fail(PeerFault::Rejected) } else { Flow::Continue(()) }
    }

    /// M8: repeated, unrequested or impossible pieces and rejects.
    fn on_stray(&mut self) -> Flow {
        self.nuisance.strays += 1;
        within(self.nuisance.strays, STRAYS_MAX)
    }

    /// H27, M12: extension messages that mean nothing to us.
    fn on_unwanted(&mut self) -> Flow {
        self.nuisance.unwanted += 1;
        within(self.nuisance.unwanted, UNWANTED_MAX)
    }

    /// H27: bytes that are of no use, prefixes included.
    fn on_skipped(&mut self, bytes: u32) -> Flow {
        self.nuisance.skipped = self.nuisance.skipped.saturating_add(bytes);
        within(self.nuisance.skipped, SKIPPED_MAX)
    }
}

#[cfg(test)]
mod tests;
