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
//! - There always is a deadline; only a new piece moves it, and never beyond the absolute one. An
//!   exchange may be due before it, to ask again for what did not come.
//! - An encrypted one says and hears the same, behind a filter for the bytes of both directions
//!   ([`Exchange::with_encryption`]). No other encryption is accepted inside (2.8).
//! - Nothing that a peer sends makes it panic, and nothing unverified leaves it as [`Metadata`].
//! - Whatever takes time in proportion to the metadata is done here, behind the hash: adapters may
//!   run exchanges on any thread, and the control plane only moves what they bring.

mod asking;
mod nuisance;
mod outcome;
mod reading;
mod sealed;

use std::mem;
use std::net::SocketAddr;
use std::ops::ControlFlow;

use self::asking::{Asking, Next};
use self::nuisance::Nuisance;
use self::reading::Reading;
use crate::base::fault::PeerFault;
use crate::base::id::InfoHash;
use crate::base::planted::{self, Bug};
use crate::base::rng::{Rng, Seed};
use crate::base::time::{Duration, Instant};
use crate::codec::wire::{
    Extensions, HANDSHAKE_LEN, Handshake, MetadataMessage, OUR_EXTENSIONS, PEER_ID_PREFIX,
};
use crate::limits::{
    CONNECT_TIMEOUT, DELIVERY_GRACE, DELIVERY_TIME, EXCHANGE_RATE, EXCHANGE_TIMEOUT,
    EXTENSION_TIMEOUT, HANDSHAKE_TIMEOUT, METADATA_MIN, OFFER_PATIENCE, PIECE_LEN, PIECE_TIMEOUT,
    RATE_MIN, UTP_REQUESTS_AT_ONCE,
};
use crate::peer::clients::{ClientName, Clients, Learnt};
use crate::peer::mse::Filter;
use crate::peer::pieces::Pieces;

pub use self::outcome::{
    Attempt, Fetched, Metadata, Outcome, Pipeline, Progress, Step, Timings, Transport, UNGUARDED,
};

/// The end of the conversation, or not yet.
type Flow = ControlFlow<Result<Metadata, PeerFault>>;

/// Shorthand: the peer failed.
fn fail(fault: PeerFault) -> Flow {
    ControlFlow::Break(Err(fault))
}

/// Nothing asked yet, of a peer that is tried so.
fn asking(now: Instant, attempt: Attempt) -> Asking {
    let asking = Asking::new(now, attempt.pipeline);
    if attempt.transport.is_utp() { asking.cap(UTP_REQUESTS_AT_ONCE) } else { asking }
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
    /// What every byte passes if the stream is encrypted.
    filter: Option<Box<Filter>>,
    reading: Reading,
    /// Under which id the peer wants metadata messages (10.2); 0 before it said so.
    peer_metadata_id: u8,
    /// Pieces of an earlier peer, until this one names the same size.
    resume: Option<Pieces>,
    /// What this peer has part in; present once a size is accepted.
    pieces: Option<Pieces>,
    /// How many of these came from an earlier peer: the first ones in order of arrival.
    inherited: u16,
    /// How many pieces the metadata on offer has, and how many came from this peer.
    pieces_offered: u16,
    pieces_new: u16,
    asking: Asking,
    /// What the peer calls itself, and what is known of the clients of each name.
    client: ClientName,
    clients: Clients,
    /// Why there will be no metadata if the peer says no more than it did: it named no size, no id,
    /// or nothing at all.
    lack: PeerFault,
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
                keys_exchanged: None,
                handshaken: None,
                offered: None,
                ended: now,
            },
            phase_ends: now + CONNECT_TIMEOUT,
            all_ends: now + EXCHANGE_TIMEOUT,
            filter: None,
            reading: Reading::new(),
            peer_metadata_id: 0,
            resume,
            pieces: None,
            inherited: 0,
            pieces_offered: 0,
            pieces_new: 0,
            asking: asking(now, attempt),
            client: ClientName::default(),
            clients: Clients::default(),
            lack: PeerFault::ExtensionTimeout,
            nuisance: Nuisance::default(),
            found_peers: Vec::new(),
            ended: false,
        }
    }

    /// Says how many pieces at once the clients of each name are asked for.
    pub(crate) fn with_clients(self, clients: Clients) -> Self {
        Self { clients, ..self }
    }

    /// The stream is connected: appends our base handshake, or our public key if it is to be
    /// encrypted. The extension handshake waits for the peer's 68 bytes, because aria2 hangs up when
    /// both come in one segment.
    pub fn handle_connected(&mut self, now: Instant, out: &mut Vec<u8>) {
        if self.progress != Progress::Nothing || self.ended {
            return;
        }
        self.progress = Progress::Connected;
        self.timings.connected = Some(self.clamp(now));
        self.phase_ends = now + HANDSHAKE_TIMEOUT;
        match &mut self.filter {
            Some(filter) => filter.begin(out),
            None => out.extend_from_slice(&self.opening()),
        }
    }

    /// Our base handshake.
    fn opening(&self) -> [u8; HANDSHAKE_LEN] {
        Handshake::new(self.hash, self.peer_id).to_bytes()
    }

    /// Bytes arrived. Consumes all of them; appends what is to be written. Bytes that arrive after
    /// the deadline no longer count.
    pub fn handle_bytes(&mut self, now: Instant, input: &[u8], out: &mut Vec<u8>) -> Step {
        if let late @ Step::Finished(_) = self.handle_timeout(now, out) {
            return late;
        }
        if self.ended || self.progress == Progress::Nothing {
            return Step::Continue;
        }
        if planted::is(Bug::EndlessExchange) {
            (self.phase_ends, self.all_ends) = (now + PIECE_TIMEOUT, now + EXCHANGE_TIMEOUT);
        }
        match self.read_stream(now, input, out) {
            ControlFlow::Continue(()) => Step::Continue,
            ControlFlow::Break(result) => Step::Finished(Box::new(self.finish(now, result))),
        }
    }

    /// The connected stream ended: end of file, reset, or any other error.
    #[must_use]
    pub fn handle_closed(&mut self, now: Instant) -> Outcome {
        let fault = match self.progress {
            Progress::Connected if self.filter.is_some() => PeerFault::ClosedExchangingKeys,
            Progress::Nothing | Progress::Connected | Progress::KeysExchanged => {
                PeerFault::ClosedEarly
            }
            Progress::Handshaken if self.lack != PeerFault::ExtensionTimeout => self.lack,
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

    /// Time passed: appends what is to be written. Before [`Exchange::poll_timeout`] this does
    /// nothing.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<u8>) -> Step {
        if self.ended {
            return Step::Continue;
        }
        if now < self.ends() {
            if self.asking.poll_timeout().is_some_and(|at| at <= now) {
                let is_coming = self.pieces.as_ref().is_some_and(Pieces::is_one_coming);
                if self.asking.on_due(now, is_coming) == Next::Ask {
                    self.say_sealed(out, |exchange, out| exchange.ask(now, out));
                }
            }
            return Step::Continue;
        }
        let fault = match self.progress {
            Progress::Nothing => PeerFault::ConnectTimeout,
            Progress::Connected | Progress::KeysExchanged => PeerFault::HandshakeTimeout,
            Progress::Handshaken => self.lack,
            Progress::Offered | Progress::Complete => PeerFault::MetadataTimeout,
        };
        Step::Finished(Box::new(self.finish(now, Err(fault))))
    }

    /// When [`Exchange::handle_timeout`] is due. There always is such an instant.
    pub fn poll_timeout(&self) -> Instant {
        let ends = self.ends();
        self.asking.poll_timeout().map_or(ends, |at| at.min(ends))
    }

    /// When the conversation is over if nothing more comes.
    fn ends(&self) -> Instant {
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

    /// The size of the metadata that the peer offered and that was accepted, in bytes: so much is
    /// to come, and a carrier that keeps windows of its own may open them.
    pub fn accepted_size(&self) -> Option<usize> {
        self.pieces.as_ref().map(Pieces::size)
    }

    /// Never before what was seen already (H47).
    fn clamp(&self, now: Instant) -> Instant {
        let timings = &self.timings;
        let last = timings.offered.or(timings.handshaken).or(timings.keys_exchanged);
        let last = last.or(timings.connected);
        now.max(last.unwrap_or(timings.started))
    }

    fn finish(&mut self, now: Instant, result: Result<Metadata, PeerFault>) -> Outcome {
        self.ended = true;
        self.timings.ended = self.clamp(now);
        self.reading = Reading::new();
        let fetched = self.pieces.take().filter(|_| result != Err(PeerFault::BadHash));
        let partial = fetched.into_iter().chain(self.resume.take()).map(|mut pieces| {
            pieces.abandon();
            pieces
        });
        let partial = partial.max_by_key(Pieces::bytes_held).filter(|p| p.pieces_held() > 0);
        let learnt = self.asking.learnt().map(|(batch, lost_some)| Learnt {
            client: self.client,
            batch,
            lost_some,
        });
        self.asking = asking(now, self.attempt);
        Outcome {
            learnt,
            partial: partial.filter(|_| result.is_err()),
            result: result.map(Fetched::read),
            found_peers: mem::take(&mut self.found_peers),
            transport: self.attempt.transport,
            timings: self.timings,
            progress: self.progress,
            pieces_offered: self.pieces_offered,
            pieces_new: self.pieces_new,
        }
    }

    /// Keys are exchanged, and how to go on is agreed.
    fn on_keys(&mut self, now: Instant) {
        self.progress = Progress::KeysExchanged;
        self.timings.keys_exchanged = Some(self.clamp(now));
    }

    /// The peer's base handshake was complete.
    fn on_handshake(&mut self, now: Instant, theirs: &Handshake, out: &mut Vec<u8>) -> Flow {
        if theirs.peer_id == self.peer_id {
            return fail(PeerFault::OwnConnection);
        }
        self.progress = Progress::Handshaken;
        self.client = ClientName::new(&theirs.peer_id);
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
        let Ok(theirs) = parse(front) else { return self.on_unwanted(now) };
        if let Some(client) = theirs.client {
            self.client.set_version(client);
        }
        if let Some(id) = theirs.ut_metadata {
            // 10.5: what is no id means unsupported, 0 means withdrawn.
            self.peer_metadata_id = u8::try_from(id).unwrap_or(0);
            if planted::is(Bug::ForeignExtensionId) {
                self.peer_metadata_id = crate::codec::wire::OUR_METADATA_ID;
            }
        }
        let size = theirs.metadata_size.filter(|size| *size != 0);
        let Some(pieces) = &self.pieces else { return self.on_first_extensions(now, size, out) };
        if self.peer_metadata_id == 0 {
            return fail(PeerFault::NoMetadataExtension);
        }
        if size.is_some_and(|size| size != pieces.size() as i64) {
            return fail(PeerFault::SizeChanged);
        }
        self.on_unwanted(now)
    }

    /// An extension handshake before metadata of a size was offered. One that lacks something is
    /// perhaps followed by one that does not (M1, M2), and a peer without a size may have the
    /// metadata all the same.
    fn on_first_extensions(&mut self, now: Instant, size: Option<i64>, out: &mut Vec<u8>) -> Flow {
        if self.peer_metadata_id != 0
            && let Some(size) = size
        {
            let Some(pieces) = Pieces::new(size) else { return fail(PeerFault::BadSize) };
            self.on_offer(now, pieces);
            return self.go_on(now, out);
        }
        if self.lack == PeerFault::ExtensionTimeout {
            self.phase_ends = self.phase_ends.min(now + OFFER_PATIENCE);
        }
        if self.peer_metadata_id == 0 {
            self.lack = PeerFault::NoMetadataExtension;
        } else if self.lack != PeerFault::NoMetadata {
            self.lack = PeerFault::NoMetadata;
            self.asking.begin_blindly(now);
            MetadataMessage::Request { piece: 0 }.emit(out, self.peer_metadata_id, b"");
        }
        self.on_unwanted(now)
    }

    /// The peer has metadata of an acceptable size.
    fn on_offer(&mut self, now: Instant, mut pieces: Pieces) {
        if let Some(resume) = self.resume.take_if(|resume| resume.size() == pieces.size()) {
            self.inherited = resume.pieces_held();
            pieces = resume;
        }
        self.progress = Progress::Offered;
        self.timings.offered = Some(self.clamp(now));
        self.phase_ends = now + PIECE_TIMEOUT;
        let allowance = Duration::from_secs((pieces.size() as u64).div_ceil(EXCHANGE_RATE));
        self.all_ends = self.timings.started + EXCHANGE_TIMEOUT + allowance;
        if self.client.jams() {
            self.asking.ask_one_by_one();
        } else if let Some(batch) = self.clients.batch(&self.client) {
            self.asking.limit(batch);
        }
        self.pieces_offered = pieces.pieces_total();
        self.pieces = Some(pieces);
    }

    /// Checks metadata that is complete, or asks for more of it.
    fn go_on(&mut self, now: Instant, out: &mut Vec<u8>) -> Flow {
        if self.pieces.as_ref().is_some_and(Pieces::is_complete) {
            return self.verify(now, out);
        }
        self.ask(now, out);
        Flow::Continue(())
    }

    /// Asks for the next pieces that are missing, in one write.
    fn ask(&mut self, now: Instant, out: &mut Vec<u8>) {
        let Some(pieces) = &self.pieces else { return };
        self.asking.begin(now, pieces, |piece| {
            let request = MetadataMessage::Request { piece: i64::from(piece) };
            request.emit(out, self.peer_metadata_id, b"");
        });
    }

    /// Does what is next after an answer.
    fn follow(&mut self, now: Instant, next: Next, out: &mut Vec<u8>) -> Flow {
        match next {
            Next::Wait => {}
            Next::Ask => self.ask(now, out),
            Next::GiveUp => return fail(PeerFault::Rejected),
        }
        Flow::Continue(())
    }

    /// A metadata message began: its dictionary, and `length` bytes of data behind it. For data
    /// that was asked for, the piece's buffer is ready on return and `true` says to fill it.
    fn on_message(
        &mut self,
        now: Instant,
        message: MetadataMessage,
        length: usize,
        out: &mut Vec<u8>,
    ) -> ControlFlow<Result<Metadata, PeerFault>, bool> {
        match message {
            MetadataMessage::Data { piece, total_size } => {
                return self.on_data(now, (piece, total_size, length), out);
            }
            MetadataMessage::Request { piece } => self.on_request(piece, out)?,
            MetadataMessage::Reject { piece } => self.on_reject(now, piece, out)?,
            MetadataMessage::Unknown => self.on_unwanted(now)?,
        }
        ControlFlow::Continue(false)
    }

    /// M4, M5, M7, M8: data is filled in only if it is due and of exactly the due length.
    fn on_data(
        &mut self,
        now: Instant,
        (piece, total_size, length): (i64, Option<i64>, usize),
        out: &mut Vec<u8>,
    ) -> ControlFlow<Result<Metadata, PeerFault>, bool> {
        let total_size = total_size.filter(|size| *size != 0);
        let due = u16::try_from(piece).ok().filter(|piece| self.asking.is_due(*piece));
        if self.pieces.is_none() && due.is_some() {
            self.on_size_by_data(now, total_size, length)?;
        }
        if let Some(pieces) = &mut self.pieces {
            if total_size.is_some_and(|size| size != pieces.size() as i64) {
                return ControlFlow::Break(Err(PeerFault::SizeChanged));
            }
            if let Some(piece) = due {
                self.asking.on_begun(piece);
                if length != pieces.piece_len(piece) {
                    return ControlFlow::Break(Err(PeerFault::BadPiece));
                }
                if pieces.begin(piece) {
                    return ControlFlow::Continue(true);
                }
                // An earlier peer left it, and it was asked for before that was known to fit.
                self.go_on(now, out)?;
                return ControlFlow::Continue(false);
            }
        }
        self.on_stray()?;
        ControlFlow::Continue(false)
    }

    /// When the next piece must have come, by the lowest throughput for what is on offer (H26).
    fn next_piece_by(&self) -> Instant {
        let Some(pieces) = &self.pieces else { return self.all_ends };
        let own = u64::from(self.pieces_new) + 1;
        let rate = RATE_MIN.max(pieces.size() as u64 / DELIVERY_TIME.as_secs());
        let offered = self.timings.offered.unwrap_or(self.timings.started);
        offered + DELIVERY_GRACE + Duration::from_millis(own * PIECE_LEN as u64 * 1_000 / rate)
    }

    /// The first piece came from a peer that named no size: its head does (M1), or the piece is
    /// shorter than a first one of several could be.
    fn on_size_by_data(&mut self, now: Instant, total_size: Option<i64>, length: usize) -> Flow {
        let alone = (METADATA_MIN..PIECE_LEN).contains(&length).then_some(length as i64);
        if let Some(size) = total_size.or(alone) {
            let Some(pieces) = Pieces::new(size) else { return fail(PeerFault::BadSize) };
            self.on_offer(now, pieces);
        }
        Flow::Continue(())
    }

    /// A piece became whole.
    fn on_piece(&mut self, now: Instant, out: &mut Vec<u8>) -> Flow {
        self.pieces_new = self.pieces_new.saturating_add(1);
        self.phase_ends = (now + PIECE_TIMEOUT).min(self.next_piece_by());
        let next = self.asking.on_piece(now);
        if self.pieces.as_ref().is_some_and(Pieces::is_complete) {
            return self.verify(now, out);
        }
        self.follow(now, next, out)
    }

    /// Every piece is here. If the hash is wrong and pieces of an earlier peer are among them,
    /// those may be at fault: this peer is asked for them before it is blamed (H29).
    fn verify(&mut self, now: Instant, out: &mut Vec<u8>) -> Flow {
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
        self.asking.restart();
        self.ask(now, out);
        Flow::Continue(())
    }

    /// M10: we serve nothing, and say so.
    fn on_request(&mut self, piece: i64, out: &mut Vec<u8>) -> Flow {
        self.nuisance.on_request()?;
        // Before its extension handshake we do not know under which id to answer.
        if self.peer_metadata_id != 0 {
            MetadataMessage::Reject { piece }.emit(out, self.peer_metadata_id, b"");
        }
        Flow::Continue(())
    }

    /// M9: what else was asked for may still come, and what was refused be given later; else the
    /// next peer continues from there. A peer that has not offered anything yet still may.
    fn on_reject(&mut self, now: Instant, piece: i64, out: &mut Vec<u8>) -> Flow {
        let refused = u16::try_from(piece).ok();
        if self.pieces.is_none() && refused.is_some_and(|piece| self.asking.is_due(piece)) {
            self.asking.restart();
            return Flow::Continue(());
        }
        match refused.and_then(|piece| self.asking.on_reject(now, piece)) {
            None => self.on_stray(),
            Some(next) => self.follow(now, next, out),
        }
    }

    /// M8: repeated, unrequested or impossible pieces and rejects. What was asked for twice may be
    /// answered twice.
    fn on_stray(&mut self) -> Flow {
        if self.asking.is_repeat() { Flow::Continue(()) } else { self.nuisance.on_stray() }
    }

    /// H27, M12: extension messages that mean nothing to us.
    fn on_unwanted(&mut self, now: Instant) -> Flow {
        self.nuisance.on_unwanted(now.since(self.timings.started))
    }

    /// H27: bytes that are of no use, prefixes included.
    fn on_skipped(&mut self, now: Instant, bytes: u32) -> Flow {
        self.nuisance.on_skipped(now.since(self.timings.started), bytes)
    }
}

#[cfg(test)]
mod tests;
