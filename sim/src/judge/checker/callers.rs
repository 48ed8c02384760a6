//! Rules 5 and 8, of uTP: which endpoints a crawler may send a packet to, and in what form. It
//! follows no connection: what a stream carries is judged as peer wire.

use std::net::SocketAddr;

use estudely_core::{Duration, Instant};

use super::address::endpoint_key;
use super::heard::Heard;
use super::sets::{Known, forget};
use super::utp::{Packet, PacketKind};
use crate::judge::rule::{Findings, MATCHED_REPLIES, WELL_FORMED};

/// The largest packet to be sent: it passes every path unfragmented.
pub(super) const SENT_MAX: usize = 548;
/// An endpoint that has sent a packet may be answered for so long: beyond the longest timeout of a
/// retransmission that clients use, with its repeats.
const CALLER_MEMORY: Duration = Duration::from_secs(300);

/// Endpoints that have sent uTP packets lately, and may be answered.
#[derive(Debug, Default)]
pub(super) struct Callers {
    last: Known<Instant>,
    looked: usize,
}

impl Callers {
    /// A new crawler began: it knows of no connection.
    pub(super) fn on_started(&mut self) {
        self.last.clear();
    }

    /// A packet was received.
    pub(super) fn on_received(&mut self, now: Instant, from: SocketAddr) {
        self.last.insert(endpoint_key(from), now);
        forget(&mut self.last, &mut self.looked, |at| now < *at + CALLER_MEMORY);
    }

    /// Whether a packet of this kind to that endpoint answers one of its own.
    pub(super) fn is_answer(&self, now: Instant, to: SocketAddr, kind: PacketKind) -> bool {
        let called = self.last.get(&endpoint_key(to));
        kind != PacketKind::Syn && called.is_some_and(|at| now < *at + CALLER_MEMORY)
    }

    /// Rules 5 and 8, of a packet that was sent.
    pub(super) fn on_sent(
        &self,
        found: &mut Findings,
        heard: &Heard,
        to: SocketAddr,
        bytes: usize,
        packet: Packet,
    ) {
        found.check(bytes <= SENT_MAX, WELL_FORMED, || format!("{bytes} bytes of uTP to {to}"));
        found.check(packet.payload == 0 || packet.kind.carries(), WELL_FORMED, || {
            format!("a uTP packet {:?} with {} bytes to {to}", packet.kind, packet.payload)
        });
        let named = heard.named_for.contains_key(&endpoint_key(to));
        let answers = self.is_answer(found.now, to, packet.kind);
        found.check(named || answers, MATCHED_REPLIES, || {
            format!("{to} gets uTP; no answer named it a peer, and it sent none")
        });
    }
}
