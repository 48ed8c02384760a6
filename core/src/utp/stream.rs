//! One connection: a byte stream each way over packets that may be lost, late, doubled or forged.
//!
//! # Contract
//!
//! A [`Stream`] opens one connection and knows one peer. The caller passes each packet of the peer
//! to [`Stream::handle_packet`], calls [`Stream::handle_timeout`] at [`Stream::poll_timeout`], and
//! sends what [`Stream::poll_transmit`] makes. After each of these, and after [`Stream::write`],
//! [`Stream::consume`] and [`Stream::close`], there may be more to send.
//!
//! - Bytes arrive as they were written, in order and once, or the stream ends with a [`Fault`].
//! - What it holds is bounded: less than 4 KiB until [`Stream::expect`] was called, and what
//!   `limits` says after that (H32).
//! - No packet makes it panic, and none that is implausible changes it (29.10).
//! - An instant before the latest one seen counts as that one (H47).

use crate::base::rng::Rng;
use crate::base::time::{Instant, earliest};
use crate::limits::UTP_SEQ_SPAN;
use crate::utp::acks::Acks;
use crate::utp::fault::Fault;
use crate::utp::packet::{Header, Kind, Packet, PacketError, SelectiveAck};
use crate::utp::receive::{MASK_MAX, Receiver, Taken};
use crate::utp::send::Sender;
use crate::utp::seq::Seq;
use crate::utp::syn::Syn;

/// How far a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No SYN was answered.
    Connecting,
    /// The peer answered. It may have ended its side: see [`Stream::is_finished`].
    Connected,
    /// [`Stream::close`] was called: what was written and the FIN are on their way.
    Closing,
    /// All that was written arrived, or the caller gave the stream up.
    Closed,
    /// It came to nothing.
    Failed(Fault),
}

impl State {
    /// Whether nothing will happen any more.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::Failed(_))
    }
}

/// What became of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reception {
    /// It was the peer's, and was taken into account.
    Taken,
    /// It is a packet that is not, or cannot be, one of this connection.
    Ignored,
    /// It is no packet.
    Malformed(PacketError),
}

/// One connection that we opened. The module's head says how it is used.
#[derive(Clone, Debug)]
pub struct Stream {
    state: State,
    /// The latest instant seen.
    now: Instant,
    deadline: Instant,
    syn: Syn,
    /// A RESET is to be sent.
    owes_reset: bool,
    /// The peer's clock, as far as its packets told: ours minus theirs, in microseconds.
    difference: u32,
    /// The window that the peer was told last.
    told: u32,
    acks: Acks,
    sender: Sender,
    receiver: Receiver,
}

impl Stream {
    /// A connection to be opened, at the latest by `deadline`. Ids and numbers are drawn now.
    pub fn new(now: Instant, deadline: Instant, rng: &mut Rng) -> Self {
        let receiver = Receiver::new();
        Self {
            state: State::Connecting,
            now,
            deadline,
            syn: Syn::new(rng),
            owes_reset: false,
            difference: 0,
            told: receiver.window(),
            acks: Acks::default(),
            sender: Sender::new(),
            receiver,
        }
    }

    /// Draws ids and numbers anew: for an endpoint that finds the next id taken. Does nothing once
    /// the SYN with that id was sent.
    pub fn redraw(&mut self, rng: &mut Rng) {
        if self.state == State::Connecting {
            self.syn.redraw(rng);
        }
    }

    /// How far it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// The id that the peer's packets carry (29.4). Another one after each SYN that was not
    /// answered in time.
    pub fn receive_id(&self) -> u16 {
        self.syn.id()
    }

    /// Takes a datagram of the peer.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) -> Reception {
        match Packet::parse(datagram) {
            Ok(packet) => self.handle_packet(now, &packet),
            Err(error) => Reception::Malformed(error),
        }
    }

    /// Takes a packet of the peer. One of another connection, or that no peer would send now, is
    /// ignored.
    pub fn handle_packet(&mut self, now: Instant, packet: &Packet<'_>) -> Reception {
        let now = self.clamp(now);
        let header = &packet.header;
        if self.state.is_over() || header.kind == Kind::Syn {
            return Reception::Ignored;
        }
        let is_taken = match header.kind {
            Kind::Reset => self.on_reset(header),
            _ if header.connection_id != self.receive_id() => false,
            _ => self.on_packet(now, packet),
        };
        if is_taken { Reception::Taken } else { Reception::Ignored }
    }

    /// A RESET carries the peer's id or ours, and acknowledges what it answers (29.9).
    fn on_reset(&mut self, header: &Header) -> bool {
        let id = header.connection_id;
        let is_ours = id == self.receive_id() || id == self.receive_id().wrapping_add(1);
        let is_plausible = match self.state {
            State::Connecting => self.syn.sent().is_some() && header.ack == self.syn.seq(),
            _ => self.sender.is_plausible(header.ack, 1),
        };
        if !(is_ours && is_plausible) {
            return false;
        }
        self.end(match self.state {
            State::Connecting => State::Failed(Fault::Refused),
            // Whoever knows no such connection any more has read our FIN, or will not.
            State::Closing => State::Closed,
            _ => State::Failed(Fault::Reset),
        });
        true
    }

    fn on_packet(&mut self, now: Instant, packet: &Packet<'_>) -> bool {
        let header = &packet.header;
        if self.state == State::Connecting && !self.on_answer(now, header) {
            return false;
        }
        let distance = self.receiver.distance(header.seq);
        if !(-UTP_SEQ_SPAN..=UTP_SEQ_SPAN).contains(&distance)
            || !self.sender.is_plausible(header.ack, 0)
        {
            return false;
        }
        self.difference = (now.as_micros() as u32).wrapping_sub(header.timestamp);
        self.sender.on_ack(now, packet);
        if matches!(header.kind, Kind::Data | Kind::Fin) {
            match self.receiver.take(header.kind, header.seq, packet.payload) {
                Taken::InOrder if header.kind == Kind::Data => {
                    self.acks.on_in_order(now);
                    if self.receiver.has_gap() {
                        self.acks.hurry();
                    }
                }
                Taken::InOrder | Taken::Early | Taken::Known | Taken::Refused => self.acks.hurry(),
            }
        }
        if self.state == State::Closing && self.sender.is_done() {
            self.end(State::Closed);
        }
        true
    }

    /// Whether a packet answers our SYN: then we are connected. It is a STATE with the number of
    /// the peer's first packet, which it does not use up (29.5). A packet with data could have
    /// overtaken the first one, so it does not tell where the stream begins (29.8).
    fn on_answer(&mut self, now: Instant, header: &Header) -> bool {
        let is_answer = header.kind == Kind::State && header.ack == self.syn.seq();
        let Some(sent) = self.syn.sent().filter(|_| is_answer) else { return false };
        self.sender.start(now, self.syn.seq(), sent);
        self.receiver.start(header.seq);
        self.state = State::Connected;
        true
    }

    /// Takes as many bytes as there is room for, and says how many; none once it is being closed.
    /// May be called before it is connected.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        match self.state {
            State::Connecting | State::Connected => self.sender.write(bytes),
            State::Closing | State::Closed | State::Failed(_) => 0,
        }
    }

    /// Bytes that were written and not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.sender.unacknowledged()
    }

    /// The next bytes that arrived, as many as lie together; empty if there is none.
    pub fn peek(&self) -> &[u8] {
        self.receiver.peek()
    }

    /// Lets go of the next `count` bytes that arrived.
    pub fn consume(&mut self, count: usize) {
        self.receiver.consume(count);
        // The peer may have waited for room (29.11).
        let (window, most) = (self.receiver.window(), self.receiver.window_max());
        if count > 0 && self.told <= most / 2 && window > most / 2 {
            self.acks.hurry();
        }
    }

    /// Copies the next bytes that arrived, lets go of them, and says how many they are.
    pub fn read(&mut self, out: &mut [u8]) -> usize {
        let mut copied = 0;
        while copied < out.len() {
            let bytes = self.peek();
            let count = bytes.len().min(out.len() - copied);
            if count == 0 {
                break;
            }
            out[copied..copied + count].copy_from_slice(&bytes[..count]);
            self.consume(count);
            copied += count;
        }
        copied
    }

    /// Whether the peer ended its side, and all of it was read.
    pub fn is_finished(&self) -> bool {
        self.receiver.is_finished()
    }

    /// The caller accepted that `size` bytes are to come: buffers may grow as far as that needs,
    /// within `limits`.
    pub fn expect(&mut self, size: usize) {
        self.receiver.grow(size);
        self.sender.grow();
        if self.state == State::Connected && self.told <= self.receiver.window_max() / 2 {
            self.acks.hurry();
        }
    }

    /// Ends our side behind what was written. Nothing more is read; what still arrives is
    /// acknowledged and dropped. Over once the peer has all, or is gone.
    pub fn close(&mut self) {
        match self.state {
            State::Connecting => self.end(State::Closed),
            State::Connected => {
                self.state = State::Closing;
                self.sender.finish();
                self.receiver.discard();
            }
            State::Closing | State::Closed | State::Failed(_) => {}
        }
    }

    /// Gives the stream up at once: one RESET, if the peer knows of it.
    pub fn abort(&mut self) {
        if self.state.is_over() {
            return;
        }
        let is_known = self.state != State::Connecting;
        self.end(State::Closed);
        self.owes_reset = is_known;
    }

    /// The end; buffers go.
    fn end(&mut self, state: State) {
        self.state = state;
        if state.is_over() {
            self.receiver.discard();
        }
    }

    /// Whether a RESET waits to be sent, the last packet of an aborted stream.
    pub fn owes_reset(&self) -> bool {
        self.owes_reset
    }

    /// Appends the next packet that may be sent now, and says how long it is: at most 548 bytes.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<usize> {
        let now = self.clamp(now);
        let start = out.len();
        match self.state {
            State::Connecting if self.syn.is_due() && now < self.deadline => {
                self.syn.on_sent(now);
                let syn = self.syn;
                self.emit(now, Kind::Syn, syn.seq(), out);
            }
            State::Connecting | State::Failed(_) => return None,
            State::Connected | State::Closing => self.transmit(now, out)?,
            State::Closed if std::mem::take(&mut self.owes_reset) => {
                self.emit(now, Kind::Reset, self.sender.next(), out);
            }
            State::Closed => return None,
        }
        Some(out.len() - start)
    }

    /// A packet with data, which acknowledges as well, or one that only does that.
    fn transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<()> {
        if let Some(segment) = self.sender.poll(now) {
            self.emit(now, segment.kind, segment.place.seq, out);
            self.sender.append(&segment, out);
            // What arrived beyond a gap is named in a packet of its own: there is no room here.
            if !self.receiver.has_gap() {
                self.acks.on_sent();
            }
            return Some(());
        }
        if !self.acks.is_due() {
            return None;
        }
        self.acks.on_sent();
        self.emit(now, Kind::State, self.sender.next(), out);
        Some(())
    }

    /// Appends a packet without data; a STATE with the mask of what arrived beyond a gap.
    fn emit(&mut self, now: Instant, kind: Kind, seq: Seq, out: &mut Vec<u8>) {
        let is_syn = kind == Kind::Syn;
        let connection_id = self.receive_id().wrapping_add(u16::from(!is_syn));
        self.told = self.receiver.window();
        let header = Header {
            kind,
            connection_id,
            timestamp: now.as_micros() as u32,
            timestamp_difference: self.difference,
            window: self.told,
            seq,
            ack: if is_syn { Seq(0) } else { self.receiver.ack() },
        };
        let mut mask = [0; MASK_MAX];
        let len = if kind == Kind::State { self.receiver.mask(&mut mask) } else { 0 };
        let selective_ack = SelectiveAck::new(&mask[..len]);
        Packet { selective_ack, ..Packet::bare(header) }.emit(out);
    }

    /// When [`Stream::handle_timeout`] is due; `None` if only a packet or the caller can help.
    /// After that call it is later than the instant given.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Connecting => earliest(Some(self.deadline), self.syn.poll_timeout()),
            State::Connected | State::Closing => {
                earliest(self.sender.poll_timeout(), self.acks.poll_timeout())
            }
            State::Closed | State::Failed(_) => None,
        }
    }

    /// Time passed. Before [`Stream::poll_timeout`] this does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.clamp(now);
        match self.state {
            State::Connecting if now >= self.deadline => {
                self.end(State::Failed(Fault::ConnectTimeout));
            }
            State::Connecting => self.syn.handle_timeout(now),
            State::Connected | State::Closing => {
                self.acks.handle_timeout(now);
                if self.sender.handle_timeout(now) {
                    self.end(State::Failed(Fault::DeliveryTimeout));
                }
            }
            State::Closed | State::Failed(_) => {}
        }
    }

    /// Never before what was seen already (H47).
    fn clamp(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// Panics if the parts do not agree; for tests and simulations.
    #[doc(hidden)]
    pub fn check(&self) {
        self.sender.check();
        self.receiver.check();
    }
}

#[cfg(test)]
mod tests;
