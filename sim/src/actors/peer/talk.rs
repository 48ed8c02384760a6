//! One conversation between an exchange and a peer over a perfect line in virtual time: what the
//! two would say to each other if nothing stood between them.
//!
//! The measure for every other way of connecting the two: it has no sockets, no delays and no
//! faults of its own.

use estudely_core::internal::exchange::{self};
use estudely_core::{Duration, Exchange, Instant, Outcome};

use super::{Peer, Step};
use crate::world::dht::World;

/// What a conversation came to.
#[derive(Debug)]
pub struct Talk {
    /// How it ended for the exchange.
    pub outcome: Outcome,
    /// How long it lasted.
    pub took: Duration,
    /// Everything that the exchange appended to its output, however the stream was cut.
    pub asked: Vec<u8>,
    /// What of it reached the peer: all but what came after the peer had left, or together with
    /// the end of the exchange, after which nothing is written.
    pub heard: Vec<u8>,
    /// Bytes that the peer wrote.
    pub told: usize,
    /// The most bytes of metadata that the exchange held at once.
    pub held_max: usize,
}

/// Lets `exchange`, made at `start` and not yet connected, talk to `peer`. What the peer says
/// arrives in parts of at most `part` bytes; `between` is said by the peer right after its base
/// handshake.
pub fn talk(
    world: &World,
    start: Instant,
    peer: &mut Peer,
    exchange: &mut Exchange,
    (part, between): (usize, &[u8]),
) -> Talk {
    let mut line = Line { now: start, between: Some(between), ..Line::default() };
    let mut to_peer = Vec::new();
    exchange.handle_connected(start, &mut to_peer);
    let mut step = peer.handle_connected(world, start, &mut line.to_exchange);
    let outcome = loop {
        if let Some((outcome, written)) = line.deliver(exchange, &mut to_peer, part) {
            if step == Step::Continue {
                line.heard.extend_from_slice(&to_peer[..written]);
            }
            line.asked.append(&mut to_peer);
            break outcome;
        }
        line.asked.extend_from_slice(&to_peer);
        if step != Step::Continue {
            break exchange.handle_closed(line.now);
        }
        if !to_peer.is_empty() {
            let said = std::mem::take(&mut to_peer);
            line.heard.extend_from_slice(&said);
            step = peer.handle_bytes(world, line.now, &said, &mut line.to_exchange);
            continue;
        }
        line.now = line.now.max(exchange.poll_timeout().min(peer.poll_timeout()));
        if let exchange::Step::Finished(outcome) = exchange.handle_timeout(line.now, &mut to_peer) {
            break *outcome;
        }
        if line.now >= peer.poll_timeout() {
            step = peer.handle_timeout(world, line.now, &mut line.to_exchange);
        }
    };
    Talk {
        took: line.now.since(start),
        outcome,
        asked: line.asked,
        heard: line.heard,
        told: line.told,
        held_max: line.held_max,
    }
}

/// What lies between the two.
#[derive(Default)]
struct Line<'a> {
    now: Instant,
    /// What the peer wrote and the exchange has not read.
    to_exchange: Vec<u8>,
    /// To be put in after the peer's base handshake.
    between: Option<&'a [u8]>,
    asked: Vec<u8>,
    heard: Vec<u8>,
    told: usize,
    held_max: usize,
}

impl Line<'_> {
    /// Passes on what the peer wrote; the outcome if the exchange ends by it, and how much of what
    /// it appended was written before.
    fn deliver(
        &mut self,
        exchange: &mut Exchange,
        to_peer: &mut Vec<u8>,
        part: usize,
    ) -> Option<(Outcome, usize)> {
        let mut said = std::mem::take(&mut self.to_exchange);
        if said.len() >= super::HANDSHAKE_LEN
            && let Some(between) = self.between.take()
        {
            said.splice(super::HANDSHAKE_LEN..super::HANDSHAKE_LEN, between.iter().copied());
        }
        self.told += said.len();
        for bytes in said.chunks(part) {
            let written = to_peer.len();
            let step = exchange.handle_bytes(self.now, bytes, to_peer);
            self.held_max = self.held_max.max(exchange.bytes_held());
            if let exchange::Step::Finished(outcome) = step {
                return Some((*outcome, written));
            }
        }
        None
    }
}
