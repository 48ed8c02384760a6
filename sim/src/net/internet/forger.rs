//! A host off the path that sends datagrams in the names of others (H6).
//!
//! It sees no traffic. It may guess well whom the crawler asks, as anybody who crawls the same DHT
//! can, and so claims the sources just queried; it must never know an open transaction id, only
//! guess: whole ones at random, or ones shaped like the crawler's with most of their bits drawn.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use estudely_core::krpc::{Envelope, ReplyBody, emit_reply};
use estudely_core::{Contact, Duration, Family, InfoHash, NodeId};

use crate::net::link::{ROUTES, hit, route_of};
use crate::world::draw::draw;
use crate::world::scenario::Scenario;

/// Addresses just queried that a forger may guess, for each route.
const GUESSES: usize = 4;
/// Latest that a forged datagram follows the one it comes with, microseconds.
const AFTER_MAX: u64 = 100_000;

#[derive(Debug)]
pub(super) struct Forger {
    /// Forged ones for each thousand delivered.
    share: u32,
    routes: Vec<ForgedRoute>,
}

#[derive(Debug)]
struct ForgedRoute {
    dice: fastrand::Rng,
    guesses: [Option<SocketAddr>; GUESSES],
    next: usize,
}

impl Forger {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let route = |index| ForgedRoute {
            dice: draw(scenario.seed, "forger", index),
            guesses: [None; GUESSES],
            next: 0,
        };
        Self { share: scenario.forged, routes: (0..u64::from(ROUTES)).map(route).collect() }
    }

    /// The crawler has asked `to`, and only that is known of it.
    pub(super) fn guess(&mut self, to: SocketAddr) {
        let route = &mut self.routes[route_of(to.ip()) as usize];
        route.guesses[route.next % GUESSES] = Some(to);
        route.next += 1;
    }

    /// For a datagram delivered to `to` from `via`: perhaps a forged one, how much later it comes
    /// and whom it claims to be from.
    pub(super) fn forge(
        &mut self,
        via: SocketAddr,
        to: SocketAddr,
        payload: &mut Vec<u8>,
    ) -> Option<(Duration, SocketAddr)> {
        let route = &mut self.routes[route_of(via.ip()) as usize];
        if !hit(&mut route.dice, self.share) {
            return None;
        }
        let dice = &mut route.dice;
        let family = Family::of(to);
        let guessed = route.guesses[dice.usize(..GUESSES)];
        let from = guessed
            .filter(|guess| Family::of(*guess) == family && dice.bool())
            .unwrap_or_else(|| stranger(dice, family));
        poison(dice, family, to, payload);
        Some((Duration::from_micros(dice.u64(..=AFTER_MAX)), from))
    }
}

/// A reply that looks like one and holds nothing true.
fn poison(dice: &mut fastrand::Rng, family: Family, to: SocketAddr, out: &mut Vec<u8>) {
    let mut transaction = [0; 8];
    dice.fill(&mut transaction);
    let len = match dice.u8(..4) {
        0 => dice.usize(2..=8),
        // As long as the crawler's; sometimes with the first bytes that a small program would use.
        1 => {
            transaction[..2].fill(0);
            6
        }
        _ => 6,
    };
    let id = NodeId(bytes(dice));
    let contacts: [Contact; 8] =
        std::array::from_fn(|_| Contact { id: NodeId(bytes(dice)), addr: stranger(dice, family) });
    let values: [SocketAddr; 6] = std::array::from_fn(|_| stranger(dice, family));
    let samples: [InfoHash; 20] = std::array::from_fn(|_| InfoHash(bytes(dice)));
    let envelope = Envelope {
        transaction: &transaction[..len],
        version: None,
        read_only: false,
        external: Some(to),
    };
    let mut reply = ReplyBody { nodes: &contacts, nodes6: &contacts, ..ReplyBody::new(id) };
    match dice.u8(..3) {
        0 => {
            reply.samples = Some(&samples);
            reply.interval = Some(dice.i64(0..=21_600));
            reply.num = Some(dice.i64(20..=2_000));
        }
        1 => {
            reply.values = &values;
            reply.token = Some(b"good");
        }
        _ => {}
    }
    emit_reply(out, &envelope, &reply);
}

fn bytes(dice: &mut fastrand::Rng) -> [u8; 20] {
    let mut bytes = [0; 20];
    dice.fill(&mut bytes);
    bytes
}

/// An address that could be anybody's: of the ranges that are handed out to the public.
fn stranger(dice: &mut fastrand::Rng, family: Family) -> SocketAddr {
    let port = dice.u16(1_024..);
    let ip = match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from(dice.u32(0x1800_0000..0x6400_0000))),
        Family::V6 => {
            let low = dice.u128(..) >> 3;
            IpAddr::V6(Ipv6Addr::from(0x2a00 << 112 | low >> 13))
        }
    };
    SocketAddr::new(ip, port)
}
