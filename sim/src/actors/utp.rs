//! The accepting end of a uTP stream (BEP 29), sans-IO: datagrams and virtual time in, datagrams
//! and bytes out.
//!
//! Written for the simulator alone and sharing nothing with the core's end, so that a mistake there
//! is not mirrored here: numbers are unwrapped to 64 bits, packets lie in trees, what is lost is
//! found by age or by what arrived beyond it. It is plain rather than fast.

pub mod packet;
pub mod liar;
pub mod listener;
pub mod host;

use std::collections::{BTreeMap, VecDeque};

use estudely_core::{Duration, Instant};

use self::packet::{DATA, FIN, Packet, RESET, STATE, SYN};

/// What is on its way is sent again after so long, doubled each time in a row.
const RESEND_AFTER: Duration = Duration::from_millis(700);
/// After so many times in a row the other end is gone.
const RESENDS_MAX: u32 = 8;
/// Most packets on their way.
const FLIGHT_MAX: usize = 256;
/// Packets kept beyond a gap.
const EARLY_MAX: i64 = 512;
/// Packets beyond one after which it is lost.
const BEYOND_MAX: usize = 3;

/// In what permitted way an end speaks.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// Number of its first packet.
    pub first: u16,
    /// Bytes of the stream in a packet.
    pub segment: usize,
    /// The window that it names, in bytes.
    pub window: u32,
    /// Offset of its clock, in microseconds.
    pub clock: u32,
}

impl Default for Manners {
    fn default() -> Self {
        Self { first: 1, segment: 1_382, window: 1 << 20, clock: 0 }
    }
}

/// How an end stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Both ends may speak.
    Open,
    /// Both ends are closed, and the other one has all of ours.
    Closed,
    /// The other end reset the connection.
    Reset,
    /// The other end answers no more.
    Gone,
}

/// One accepted connection.
#[derive(Clone, Debug)]
pub struct Acceptor {
    manners: Manners,
    standing: Standing,
    /// What its own packets carry: the id in the SYN. What it receives carries one more.
    send_id: u16,
    /// The number of the SYN, unwrapped.
    syn: i64,
    /// The next packet expected, and those beyond it.
    next: i64,
    early: BTreeMap<i64, Vec<u8>>,
    /// The number of the other end's FIN.
    their_fin: Option<i64>,
    received: Vec<u8>,
    /// Bytes to be sent.
    unsent: VecDeque<u8>,
    /// The next packet's number, and packets that are not acknowledged.
    seq: i64,
    flight: BTreeMap<i64, Sent>,
    window: usize,
    their_window: usize,
    wants_close: bool,
    own_fin: Option<i64>,
    resends: u32,
    resend_at: Option<Instant>,
    owes_ack: bool,
    difference: u32,
}

/// A packet on its way.
#[derive(Clone, Debug)]
struct Sent {
    payload: Vec<u8>,
    is_lost: bool,
    has_arrived: bool,
    times: u32,
}

impl Acceptor {
    /// Takes a SYN; `None` if it is none.
    pub fn accept(now: Instant, datagram: &[u8], manners: Manners) -> Option<Self> {
        let syn = Packet::read(datagram).filter(|packet| packet.kind == SYN)?;
        let number = i64::from(syn.seq) + (1 << 20);
        let first = i64::from(manners.first) + (1 << 20);
        Some(Self {
            manners,
            standing: Standing::Open,
            send_id: syn.id,
            syn: number,
            next: number + 1,
            early: BTreeMap::new(),
            their_fin: None,
            received: Vec::new(),
            unsent: VecDeque::new(),
            seq: first,
            flight: BTreeMap::new(),
            window: 2,
            // A SYN's window says nothing; two packets are sent on trust.
            their_window: 2 * manners.segment,
            wants_close: false,
            own_fin: None,
            resends: 0,
            resend_at: None,
            owes_ack: true,
            difference: Self::clock(now, manners).wrapping_sub(syn.time),
        })
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// The id that packets to it carry.
    pub fn receive_id(&self) -> u16 {
        self.send_id.wrapping_add(1)
    }

    /// Whether the other end ended its side and all of it is here.
    pub fn is_finished(&self) -> bool {
        self.their_fin.is_some_and(|fin| fin < self.next)
    }

    /// What arrived since the last call.
    pub fn take_received(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.received)
    }

    /// Adds bytes to be sent.
    pub fn write(&mut self, bytes: &[u8]) {
        if !self.wants_close {
            self.unsent.extend(bytes);
        }
    }

    /// Ends this side behind what was written.
    pub fn close(&mut self) {
        self.wants_close = true;
    }

    /// Gives the connection up: the packet that says so.
    pub fn reset(&mut self, now: Instant) -> Vec<u8> {
        self.standing = Standing::Reset;
        self.write_packet(now, RESET, self.seq, &[])
    }

    /// Takes a datagram; one that is not of this connection is passed over.
    pub fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        let Some(packet) = Packet::read(datagram) else { return };
        if self.standing != Standing::Open {
            // The last acknowledgement was lost.
            self.owes_ack |= packet.kind != RESET && packet.id == self.receive_id();
            return;
        }
        if packet.kind == SYN {
            // Its answer was lost.
            self.owes_ack |= packet.id == self.send_id && packet.seq == self.syn as u16;
            return;
        }
        if packet.id != self.receive_id() {
            return;
        }
        let acked = unwrap(self.seq - 1, packet.ack);
        let lowest = self.flight.keys().next().copied().unwrap_or(self.seq);
        if acked >= self.seq || acked < lowest - 4 {
            return;
        }
        if packet.kind == RESET {
            self.standing = Standing::Reset;
            return;
        }
        self.difference = Self::clock(now, self.manners).wrapping_sub(packet.time);
        self.their_window = packet.window as usize;
        self.on_ack(now, acked, packet.mask);
        self.on_data(&packet);
        if self.is_finished() && self.own_fin.is_some() && self.flight.is_empty() {
            self.standing = Standing::Closed;
        }
    }

    fn on_ack(&mut self, now: Instant, acked: i64, mask: &[u8]) {
        let before = self.flight.len();
        self.flight.retain(|seq, _| *seq > acked);
        let mut is_news = self.flight.len() < before;
        let bits = mask.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        for (offset, _) in (0_i64..).zip(bits).filter(|(_, is_set)| *is_set) {
            if let Some(sent) = self.flight.get_mut(&(acked + 2 + offset)) {
                is_news |= !sent.has_arrived;
                (sent.has_arrived, sent.is_lost) = (true, false);
            }
        }
        let mut beyond = 0;
        for sent in self.flight.values_mut().rev() {
            beyond += usize::from(sent.has_arrived);
            if beyond >= BEYOND_MAX && !sent.has_arrived && !sent.is_lost && sent.times == 1 {
                sent.is_lost = true;
                self.window = (self.window / 2).max(2);
            }
        }
        if is_news {
            self.window = (self.window + before - self.flight.len()).min(FLIGHT_MAX);
            self.resends = 0;
            self.resend_at = (!self.flight.is_empty()).then(|| now + RESEND_AFTER);
        }
    }

    fn on_data(&mut self, packet: &Packet<'_>) {
        if packet.kind != DATA && packet.kind != FIN {
            return;
        }
        self.owes_ack = true;
        let seq = unwrap(self.next, packet.seq);
        if seq < self.next || seq > self.next + EARLY_MAX {
            return;
        }
        if packet.kind == FIN {
            self.their_fin = Some(seq);
        }
        if self.their_fin.is_some_and(|fin| seq > fin) {
            return;
        }
        self.early.entry(seq).or_insert_with(|| packet.payload.to_vec());
        while let Some(payload) = self.early.remove(&self.next) {
            self.received.extend(payload);
            self.next += 1;
        }
    }

    /// The next datagram to be sent now.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.standing != Standing::Open {
            // The last acknowledgement.
            let is_owed = self.standing == Standing::Closed && std::mem::take(&mut self.owes_ack);
            return is_owed.then(|| self.write_packet(now, STATE, self.seq, &[]));
        }
        if let Some((seq, payload)) = self.next_packet() {
            self.resend_at = self.resend_at.or(Some(now + RESEND_AFTER));
            self.owes_ack &= !self.early.is_empty();
            let kind = if self.own_fin == Some(seq) { FIN } else { DATA };
            return Some(self.write_packet(now, kind, seq, &payload));
        }
        let is_owed = std::mem::take(&mut self.owes_ack);
        is_owed.then(|| self.write_packet(now, STATE, self.seq, &[]))
    }

    /// What is lost, what is new, or the FIN. Nothing new before the other end spoke, as with
    /// libutp: its first packet here would otherwise depend on which of ours arrives first.
    fn next_packet(&mut self) -> Option<(i64, Vec<u8>)> {
        if let Some((seq, sent)) = self.flight.iter_mut().find(|(_, sent)| sent.is_lost) {
            sent.is_lost = false;
            sent.times += 1;
            return Some((*seq, sent.payload.clone()));
        }
        if self.own_fin.is_some() || self.next == self.syn + 1 {
            return None;
        }
        let flying: usize = self.flight.values().map(|sent| sent.payload.len()).sum();
        let len = self.unsent.len().min(self.manners.segment);
        let is_idle = self.flight.is_empty();
        let has_room = self.flight.len() < self.window && flying + len <= self.their_window;
        if len > 0 && !has_room && !is_idle || len == 0 && !self.wants_close {
            return None;
        }
        let payload: Vec<u8> = self.unsent.drain(..len).collect();
        let seq = self.seq;
        self.seq += 1;
        if len == 0 {
            self.own_fin = Some(seq);
        }
        let sent = Sent { payload: payload.clone(), is_lost: false, has_arrived: false, times: 1 };
        self.flight.insert(seq, sent);
        Some((seq, payload))
    }

    fn write_packet(&self, now: Instant, kind: u8, seq: i64, payload: &[u8]) -> Vec<u8> {
        let last = self.early.keys().next_back().map_or(0, |seq| seq - self.next);
        let mut mask = vec![0; (last as usize).div_ceil(8)];
        for seq in self.early.keys() {
            let bit = (seq - self.next - 1) as usize;
            mask[bit / 8] |= 1 << (bit % 8);
        }
        let held: usize = self.early.values().map(Vec::len).sum();
        Packet {
            kind,
            id: self.send_id,
            time: Self::clock(now, self.manners),
            difference: self.difference,
            window: self.manners.window.saturating_sub(held as u32),
            seq: seq as u16,
            ack: (self.next - 1) as u16,
            mask: &mask,
            payload,
        }
        .write()
    }

    /// When [`Acceptor::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.resend_at.filter(|_| self.standing == Standing::Open)
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|at| now < at) {
            return;
        }
        self.resends += 1;
        if self.resends > RESENDS_MAX {
            self.standing = Standing::Gone;
            return;
        }
        self.window = 2;
        for sent in self.flight.values_mut().filter(|sent| !sent.has_arrived) {
            sent.is_lost = true;
        }
        self.resend_at = Some(now + RESEND_AFTER * 2_u32.pow(self.resends));
    }

    fn clock(now: Instant, manners: Manners) -> u32 {
        (now.as_micros() as u32).wrapping_add(manners.clock)
    }
}

/// The number near `about` that ends in these 16 bits.
fn unwrap(about: i64, wrapped: u16) -> i64 {
    about + i64::from(wrapped.wrapping_sub(about as u16) as i16)
}

#[cfg(test)]
mod tests;
