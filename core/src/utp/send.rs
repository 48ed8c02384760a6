//! What we write: bytes until they are acknowledged, and when the next packet may leave.

use std::collections::VecDeque;

use crate::base::planted::{self, Bug};
use crate::base::time::Instant;
use crate::limits::{
    UTP_ACK_BEHIND, UTP_DUPLICATES, UTP_FLIGHT_FIRST, UTP_FLIGHT_MAX, UTP_SEGMENT, UTP_SEND_FIRST,
    UTP_SEND_MAX, UTP_TIMEOUTS_MAX,
};
use crate::utp::congestion::Congestion;
use crate::utp::flight::{Flight, Place};
use crate::utp::packet::{Kind, Packet};
use crate::utp::rtt::Rtt;
use crate::utp::seq::Seq;

/// The sending half of a stream.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    /// Bytes not acknowledged: first those of `flight`, then those never sent.
    bytes: VecDeque<u8>,
    flight: Flight,
    end: End,
    duplicates: u8,
    timeouts: u8,
    /// The peer's window is shut, and one packet may ask whether it still is.
    may_probe: bool,
    /// When what is on its way counts as lost, or a shut window is probed.
    timer: Option<Instant>,
    /// Bytes that the peer has room for.
    peer_window: u32,
    bytes_max: u32,
    flight_max: u16,
    rtt: Rtt,
    congestion: Congestion,
}

/// How far our end of the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    /// A FIN follows the last byte.
    Wanted,
    /// It is the last packet of `flight`, or acknowledged.
    Sent,
}

/// A packet to be sent now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) kind: Kind,
    pub(super) place: Place,
}

impl Sender {
    pub(super) fn new() -> Self {
        Self {
            bytes: VecDeque::new(),
            flight: Flight::default(),
            end: End::Open,
            duplicates: 0,
            timeouts: 0,
            may_probe: false,
            timer: None,
            peer_window: 0,
            bytes_max: UTP_SEND_FIRST as u32,
            flight_max: UTP_FLIGHT_FIRST as u16,
            rtt: Rtt::default(),
            congestion: Congestion::new(),
        }
    }

    /// The SYN `syn` was acknowledged, sent once at `sent`.
    pub(super) fn start(&mut self, now: Instant, syn: Seq, sent: Instant) {
        self.flight.start(syn.plus(1));
        self.rtt.sample(now.since(sent));
    }

    /// From now on more is held.
    pub(super) fn grow(&mut self) {
        self.bytes_max = UTP_SEND_MAX as u32;
        self.flight_max = UTP_FLIGHT_MAX as u16;
    }

    /// Takes as many bytes as there is room for, none after [`Sender::finish`].
    pub(super) fn write(&mut self, bytes: &[u8]) -> usize {
        if self.end != End::Open {
            return 0;
        }
        let most = self.bytes_max as usize;
        let taken = bytes.len().min(most - self.bytes.len().min(most));
        let needed = self.bytes.len() + taken;
        if needed > self.bytes.capacity() {
            let capacity = needed.max((2 * self.bytes.capacity()).min(most));
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend(&bytes[..taken]);
        taken
    }

    /// A FIN follows what was written.
    pub(super) fn finish(&mut self) {
        if self.end == End::Open {
            self.end = End::Wanted;
        }
    }

    /// Whether all that was written, and the FIN, is acknowledged.
    pub(super) fn is_done(&self) -> bool {
        self.end == End::Sent && self.flight.is_empty()
    }

    /// Bytes that were written and not acknowledged.
    pub(super) fn unacknowledged(&self) -> usize {
        self.bytes.len()
    }

    /// The number of the next new packet. A FIN is not advanced over: libtorrent ignores whatever
    /// has a number above it, acknowledgements included (29.12).
    pub(super) fn next(&self) -> Seq {
        match self.end {
            End::Sent => self.flight.next().minus(1),
            End::Open | End::Wanted => self.flight.next(),
        }
    }

    /// Whether a packet may acknowledge `ack`: at most what was sent, at least what is acknowledged
    /// but for a few (29.10). `beyond` is 1 for a RESET, which may answer a packet that took no
    /// number (29.9).
    pub(super) fn is_plausible(&self, ack: Seq, beyond: u16) -> bool {
        let distance = ack.after(self.flight.acked());
        let most = self.flight.len() as i32 + i32::from(beyond);
        let is_believed = planted::is(Bug::UtpAcksUnsentTrusted) && distance > most;
        is_believed || (-UTP_ACK_BEHIND..=most).contains(&distance)
    }

    /// A packet whose acknowledgement is plausible arrived.
    pub(super) fn on_ack(&mut self, now: Instant, packet: &Packet<'_>) {
        let header = &packet.header;
        self.peer_window = header.window;
        let flight = self.flight.outstanding();
        let arrivals = self.flight.acknowledge(now, header.ack, packet.selective_ack);
        self.bytes.drain(..arrivals.freed);
        if arrivals.covered > 0 || self.flight.is_empty() {
            self.duplicates = 0;
        } else if header.kind == Kind::State && header.ack == self.flight.acked() {
            // A later packet arrived. One with data comes for the sake of the data (29.11).
            self.duplicates = self.duplicates.saturating_add(1);
        }
        let is_loss = self.flight.find_losses(self.duplicates == UTP_DUPLICATES);
        if let Some(took) = arrivals.round_trip {
            self.rtt.sample(took);
        }
        let (acked, flight) = (arrivals.bytes as u32, flight as u32);
        let sample = header.timestamp_difference;
        self.congestion.on_ack(now, sample, acked, flight, self.rtt.mean());
        if is_loss {
            self.congestion.on_loss(now);
        }
        if arrivals.bytes > 0 || arrivals.covered > 0 {
            self.timeouts = 0;
            self.rtt.on_progress();
            self.timer = (!self.flight.is_empty()).then(|| now + self.rtt.timeout());
        } else if self.flight.is_empty() && self.peer_window > 0 {
            // No window is waited for any more.
            self.timer = None;
        }
    }

    /// The next packet to be sent, if there is one that may be sent now; it counts as sent.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Segment> {
        let segment = self.poll_lost(now).or_else(|| self.poll_new(now));
        let waits = segment.is_some() || self.is_shut_out();
        if waits && self.timer.is_none() {
            self.timer = Some(now + self.rtt.timeout());
        }
        segment
    }

    /// Whether only the peer's window keeps us from sending.
    fn is_shut_out(&self) -> bool {
        self.flight.is_empty() && !self.bytes.is_empty() && self.peer_window == 0
    }

    fn poll_lost(&mut self, now: Instant) -> Option<Segment> {
        let place = self.flight.first_lost().filter(|place| self.has_room(place.len))?;
        self.flight.resend(now, place.seq);
        let kind = if place.len == 0 { Kind::Fin } else { Kind::Data };
        Some(Segment { kind, place })
    }

    fn poll_new(&mut self, now: Instant) -> Option<Segment> {
        let unsent = self.bytes.len() - self.flight.bytes();
        let len = if unsent > 0 { self.new_len(unsent)? } else { 0 };
        let kind = match (len, self.end) {
            (0, End::Wanted) => Kind::Fin,
            (0, _) => return None,
            _ => Kind::Data,
        };
        if kind == Kind::Fin {
            self.end = End::Sent;
        }
        Some(Segment { kind, place: self.flight.push(now, len) })
    }

    /// How long a new packet may be, of which there are `unsent` bytes.
    fn new_len(&mut self, unsent: usize) -> Option<usize> {
        if self.flight.len() >= usize::from(self.flight_max) {
            return None;
        }
        let len = unsent.min(UTP_SEGMENT);
        if self.flight.outstanding() > 0 {
            let fits = self.flight.outstanding() + len <= self.peer_window as usize;
            return (fits && self.has_room(len)).then_some(len);
        }
        // One packet is always allowed, as large as the peer has room for; none if its window is
        // shut, but for a probe now and then.
        let probes = self.peer_window == 0 && std::mem::take(&mut self.may_probe);
        let len = if probes { len } else { len.min(self.peer_window as usize) };
        (len > 0).then_some(len)
    }

    /// Whether the path takes `len` more bytes.
    fn has_room(&self, len: usize) -> bool {
        self.flight.outstanding() == 0
            || self.flight.outstanding() + len <= self.congestion.window() as usize
    }

    /// Appends the bytes of a segment that [`Sender::poll`] returned last.
    pub(super) fn append(&self, segment: &Segment, out: &mut Vec<u8>) {
        let (front, back) = self.bytes.as_slices();
        let Place { start, len, .. } = segment.place;
        let (end, border) = (start + len, front.len());
        out.extend_from_slice(&front[start.min(border)..end.min(border)]);
        let range = start.saturating_sub(border)..end.saturating_sub(border);
        out.extend_from_slice(&back[range]);
    }

    /// When [`Sender::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.timer
    }

    /// Time passed. Returns whether the peer is gone.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.timer.is_none_or(|timer| now < timer) {
            return false;
        }
        self.timer = None;
        self.rtt.on_timeout();
        if self.flight.is_empty() {
            self.may_probe = true;
            return false;
        }
        self.timeouts += 1;
        self.duplicates = 0;
        self.congestion.on_timeout(now);
        self.flight.lose_all();
        self.timer = Some(now + self.rtt.timeout());
        self.timeouts > UTP_TIMEOUTS_MAX
    }

    /// Panics if the parts do not agree; for tests and simulations.
    pub(super) fn check(&self) {
        self.flight.check();
        assert!(self.flight.bytes() <= self.bytes.len());
        assert!(self.bytes.len() <= self.bytes_max as usize);
        assert!(self.bytes.capacity() <= UTP_SEND_MAX);
        // The FIN is allowed beyond.
        assert!(self.flight.len() <= usize::from(self.flight_max) + 1);
        assert!(self.flight.is_empty() || self.timer.is_some(), "nothing would be sent again");
    }
}
