//! What we write: bytes until they are acknowledged, packets on their way, what was lost.

use std::collections::VecDeque;

use crate::base::time::{Duration, Instant};
use crate::limits::{
    UTP_ACK_BEHIND, UTP_DUPLICATES, UTP_FLIGHT_FIRST, UTP_FLIGHT_MAX, UTP_SEGMENT, UTP_SEND_FIRST,
    UTP_SEND_MAX, UTP_TIMEOUTS_MAX,
};
use crate::utp::congestion::Congestion;
use crate::utp::packet::{Kind, Packet};
use crate::utp::rtt::Rtt;
use crate::utp::seq::Seq;

/// The sending half of a stream.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    /// Bytes not acknowledged: first those of `flight`, then those never sent.
    bytes: VecDeque<u8>,
    /// Packets not acknowledged up to the last one, in order: the first is `first`.
    flight: VecDeque<Sent>,
    first: Seq,
    /// Bytes of `flight`.
    packed: usize,
    /// Those of them that are on their way, as far as is known.
    outstanding: usize,
    /// Packets of `flight` that are to be sent again.
    lost: u16,
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

/// One packet that was sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    /// Bytes of the stream; 0 is the FIN.
    len: u16,
    /// How often it was sent.
    times: u8,
    status: Status,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Flying,
    Lost,
    /// A selective ack names it.
    Arrived,
}

/// A packet to be sent now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) kind: Kind,
    pub(super) seq: Seq,
    /// Where its bytes begin among those not acknowledged.
    start: usize,
    len: usize,
}

impl Sender {
    pub(super) fn new() -> Self {
        Self {
            bytes: VecDeque::new(),
            flight: VecDeque::new(),
            first: Seq(0),
            packed: 0,
            outstanding: 0,
            lost: 0,
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
        self.first = syn.plus(1);
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
        let sent = self.flight.len() as u16;
        match self.end {
            End::Sent => self.first.plus(sent).minus(1),
            End::Open | End::Wanted => self.first.plus(sent),
        }
    }

    /// Whether a packet may acknowledge `ack`: at most what was sent, at least what is acknowledged
    /// but for a few (29.10). `beyond` is 1 for a RESET, which may answer a packet that took no
    /// number (29.9).
    pub(super) fn is_plausible(&self, ack: Seq, beyond: u16) -> bool {
        let distance = ack.after(self.first.minus(1));
        let most = self.flight.len() as i32 + i32::from(beyond);
        (-UTP_ACK_BEHIND..=most).contains(&distance)
    }

    /// A packet whose acknowledgement is plausible arrived.
    pub(super) fn on_ack(&mut self, now: Instant, packet: &Packet<'_>) {
        let header = &packet.header;
        self.peer_window = header.window;
        let flight = self.outstanding;
        let ended_before = self.flight.len();
        let mut round_trip = None;
        let mut acked = 0;
        let covered = header.ack.after(self.first.minus(1)).max(0) as usize;
        for index in 0..covered {
            acked += self.arrive(now, index, &mut round_trip);
        }
        self.drop_front(covered);
        if let Some(mask) = packet.selective_ack {
            // The first bit stands for the packet after the one that is missing (29.3).
            let first_bit = header.ack.after(self.first) + 2;
            for index in 0..self.flight.len() {
                let bit = usize::try_from(index as i32 - first_bit);
                if bit.is_ok_and(|bit| mask.has(bit)) {
                    acked += self.arrive(now, index, &mut round_trip);
                }
            }
        }
        let is_progress = acked > 0 || self.flight.len() < ended_before;
        self.count_duplicate(header.kind, covered);
        let is_loss = self.find_losses();
        if let Some(took) = round_trip {
            self.rtt.sample(took);
        }
        let (acked, flight) = (acked as u32, flight as u32);
        let sample = header.timestamp_difference;
        self.congestion.on_ack(now, sample, acked, flight, self.rtt.mean());
        if is_loss {
            self.congestion.on_loss(now);
        }
        if is_progress {
            self.timeouts = 0;
            self.rtt.on_progress();
            self.timer = (!self.flight.is_empty()).then(|| now + self.rtt.timeout());
        } else if self.flight.is_empty() && self.peer_window > 0 {
            // No window is waited for any more.
            self.timer = None;
        }
    }

    /// The packet at `index` arrived: says how many bytes are new, and what the round trip was if
    /// it was sent once.
    fn arrive(&mut self, now: Instant, index: usize, round_trip: &mut Option<Duration>) -> usize {
        let Some(sent) = self.flight.get_mut(index) else { return 0 };
        let len = usize::from(sent.len);
        match sent.status {
            Status::Arrived => return 0,
            Status::Lost => self.lost -= 1,
            Status::Flying => self.outstanding -= len,
        }
        sent.status = Status::Arrived;
        if sent.times == 1 {
            *round_trip = Some(now.since(sent.at));
        }
        len
    }

    /// Forgets the first `count` packets, which arrived, and their bytes.
    fn drop_front(&mut self, count: usize) {
        let count = count.min(self.flight.len());
        let bytes: usize = self.flight.drain(..count).map(|sent| usize::from(sent.len)).sum();
        self.bytes.drain(..bytes);
        self.packed -= bytes;
        self.first = self.first.plus(count as u16);
    }

    /// A packet that only acknowledges the same again says that a later one arrived. One with data
    /// comes for the sake of the data (29.11).
    fn count_duplicate(&mut self, kind: Kind, covered: usize) {
        if covered > 0 || self.flight.is_empty() {
            self.duplicates = 0;
        } else if kind == Kind::State {
            self.duplicates = self.duplicates.saturating_add(1);
        }
    }

    /// Marks packets that must be lost, those only that were sent once: whether another copy is
    /// lost, only time tells. Returns whether there is one.
    fn find_losses(&mut self) -> bool {
        let (mut beyond, mut found) = (0_u16, 0);
        let front_is_lost = self.duplicates == UTP_DUPLICATES;
        for (index, sent) in self.flight.iter_mut().enumerate().rev() {
            let is_lost = beyond >= u16::from(UTP_DUPLICATES) || index == 0 && front_is_lost;
            match sent.status {
                Status::Arrived => beyond += 1,
                Status::Flying if is_lost && sent.times == 1 => {
                    sent.status = Status::Lost;
                    self.outstanding -= usize::from(sent.len);
                    found += 1;
                }
                Status::Flying | Status::Lost => {}
            }
        }
        self.lost += found;
        found > 0
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
        if self.lost == 0 {
            return None;
        }
        let index = self.flight.iter().position(|sent| sent.status == Status::Lost)?;
        let start = self.flight.iter().take(index).map(|sent| usize::from(sent.len)).sum();
        let len = usize::from(self.flight[index].len);
        if !self.has_room(len) {
            return None;
        }
        let sent = self.flight.get_mut(index)?;
        (sent.status, sent.at) = (Status::Flying, now);
        sent.times = sent.times.saturating_add(1);
        self.lost -= 1;
        self.outstanding += len;
        let kind = if len == 0 { Kind::Fin } else { Kind::Data };
        Some(Segment { kind, seq: self.first.plus(index as u16), start, len })
    }

    fn poll_new(&mut self, now: Instant) -> Option<Segment> {
        let seq = self.first.plus(self.flight.len() as u16);
        let (start, unsent) = (self.packed, self.bytes.len() - self.packed);
        let len = if unsent > 0 { self.new_len(unsent)? } else { 0 };
        let kind = match (len, self.end) {
            (0, End::Wanted) => Kind::Fin,
            (0, _) => return None,
            _ => Kind::Data,
        };
        if kind == Kind::Fin {
            self.end = End::Sent;
        }
        if self.flight.capacity() == 0 {
            self.flight.reserve_exact(UTP_FLIGHT_FIRST);
        }
        self.flight.push_back(Sent { at: now, len: len as u16, times: 1, status: Status::Flying });
        self.packed += len;
        self.outstanding += len;
        Some(Segment { kind, seq, start, len })
    }

    /// How long a new packet may be, of which there are `unsent` bytes.
    fn new_len(&mut self, unsent: usize) -> Option<usize> {
        if self.flight.len() >= usize::from(self.flight_max) {
            return None;
        }
        let len = unsent.min(UTP_SEGMENT);
        if self.outstanding > 0 {
            let fits = self.outstanding + len <= self.peer_window as usize;
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
        self.outstanding == 0 || self.outstanding + len <= self.congestion.window() as usize
    }

    /// Appends the bytes of a segment that [`Sender::poll`] returned last.
    pub(super) fn append(&self, segment: &Segment, out: &mut Vec<u8>) {
        let (front, back) = self.bytes.as_slices();
        let end = segment.start + segment.len;
        let border = front.len();
        out.extend_from_slice(&front[segment.start.min(border)..end.min(border)]);
        let range = segment.start.saturating_sub(border)..end.saturating_sub(border);
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
        self.lost = 0;
        for sent in self.flight.iter_mut().filter(|sent| sent.status != Status::Arrived) {
            sent.status = Status::Lost;
            self.lost += 1;
        }
        self.outstanding = 0;
        self.timer = Some(now + self.rtt.timeout());
        self.timeouts > UTP_TIMEOUTS_MAX
    }

    /// Panics if the parts do not agree; for tests and simulations.
    pub(super) fn check(&self) {
        let of = |status| self.flight.iter().filter(move |sent: &&Sent| sent.status == status);
        let bytes = |sent: &Sent| usize::from(sent.len);
        assert_eq!(self.packed, self.flight.iter().map(bytes).sum::<usize>());
        assert_eq!(self.outstanding, of(Status::Flying).map(bytes).sum::<usize>());
        assert_eq!(usize::from(self.lost), of(Status::Lost).count());
        assert!(self.packed <= self.bytes.len() && self.bytes.len() <= self.bytes_max as usize);
        assert!(self.bytes.capacity() <= UTP_SEND_MAX);
        // The FIN is allowed beyond.
        assert!(self.flight.len() <= usize::from(self.flight_max) + 1);
        assert!(self.flight.is_empty() || self.timer.is_some(), "nothing would be sent again");
    }
}
