//! A peer that takes uTP, sans-IO: what it hears and says in datagrams, as it does on streams of
//! TCP. It knows the other end by its datagrams alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use estudely_core::internal::time::earliest;
use estudely_core::{Duration, Instant};

use super::liar::{Liar, Stray};
use super::listener::{EndKey, Listener};
use super::packet::{DATA, Packet};
use super::{Manners, Standing};
use crate::actors::door::AnyPeer;
use crate::actors::peer::Step;
use crate::world::dht::World;

/// How long a connection that is over is remembered, for a last acknowledgement that was lost.
const REMEMBERED: Duration = Duration::from_secs(60);
/// What a host has to say: where to, what, and whether from another port.
pub type Said = Vec<(SocketAddr, Vec<u8>, bool)>;

/// One peer's accepting end of all its connections.
#[derive(Debug)]
pub struct Host {
    number: u32,
    listener: Listener,
    /// What it does wrong.
    liar: Option<Liar>,
    talks: BTreeMap<EndKey, Talk>,
}

/// One connection.
#[derive(Debug)]
struct Talk {
    peer: AnyPeer,
    /// When it is forgotten, once it is over.
    over: Option<Instant>,
    /// Whether its first data was passed over.
    has_dropped: bool,
}

impl Host {
    /// Peer `number` of the world, without a connection.
    pub fn new(world: &World, number: u32) -> Self {
        let mut dice = world.dice("manners", u64::from(number));
        let manners = Manners {
            first: dice.u16(..),
            segment: [500, 1_000, 1_382][dice.usize(..3)],
            window: [64 << 10, 1 << 20][dice.usize(..2)],
            clock: dice.u32(..),
        };
        let liar = world.peer_utp_vice(number).map(|vice| Liar::new(vice, dice.fork()));
        let is_shut = liar.as_ref().is_some_and(Liar::shuts_window);
        let manners = Manners { window: if is_shut { 0 } else { manners.window }, ..manners };
        let (listener, talks) = (Listener::new(manners, dice.bool()), BTreeMap::new());
        Self { number, listener, liar, talks }
    }

    /// Takes a datagram, and says what is to be sent now.
    pub fn hear(&mut self, world: &World, now: Instant, from: SocketAddr, datagram: &[u8]) -> Said {
        let mut strays = Vec::new();
        if let Some((liar, packet)) = self.liar.as_mut().zip(Packet::read(datagram)) {
            let talk = self.talks.get_mut(&(from, packet.id));
            let is_fresh = talk.as_ref().is_some_and(|talk| !talk.has_dropped);
            if packet.kind == DATA && is_fresh && liar.drops_first() {
                talk.into_iter().for_each(|talk| talk.has_dropped = true);
                return liar.hears(&packet).into_iter().map(|stray| stray.said(from)).collect();
            }
            if !liar.drops_first() {
                strays.extend(liar.hears(&packet).into_iter().map(|stray| stray.said(from)));
            }
        }
        if let Some(key) = self.listener.handle_datagram(now, from, datagram) {
            let number = self.number;
            let mut out = Vec::new();
            let talk = self.talks.entry(key).or_insert_with(|| {
                let mut peer = AnyPeer::new(world, now, number);
                // Nobody ends a connection before a word was said.
                let _ = peer.handle_connected(world, now, &mut out);
                Talk { peer, over: None, has_dropped: false }
            });
            let mut step = Step::Continue;
            if let Some(end) = self.listener.end(key) {
                let heard = end.take_received();
                if !heard.is_empty() && talk.over.is_none() {
                    step = talk.peer.handle_bytes(world, now, &heard, &mut out);
                }
                end.write(&out);
            }
            self.conclude(now, key, step);
        }
        strays.extend(self.say(now));
        strays
    }

    /// Takes note of the time, and says what is to be sent now.
    pub fn wake(&mut self, world: &World, now: Instant) -> Said {
        self.listener.handle_timeout(now);
        let due = |talk: &Talk| talk.over.is_none() && talk.peer.poll_timeout() <= now;
        let keys = self.talks.iter().filter(|(_, talk)| due(talk)).map(|(key, _)| *key);
        for key in keys.collect::<Vec<_>>() {
            let Some(talk) = self.talks.get_mut(&key) else { continue };
            let mut out = Vec::new();
            let step = talk.peer.handle_timeout(world, now, &mut out);
            if let Some(end) = self.listener.end(key) {
                end.write(&out);
            }
            self.conclude(now, key, step);
        }
        let gone = |talk: &Talk| talk.over.is_some_and(|at| at <= now);
        for key in self.talks.extract_if(.., |_, talk| gone(talk)).map(|(key, _)| key) {
            self.listener.forget(key);
        }
        self.say(now)
    }

    /// What the peer wants of a connection, or the crawler did to it.
    fn conclude(&mut self, now: Instant, key: EndKey, step: Step) {
        let Some(talk) = self.talks.get_mut(&key) else { return };
        let is_over = match self.listener.end(key) {
            Some(end) => {
                if step == Step::Close || end.is_finished() {
                    end.close();
                }
                step != Step::Continue || end.standing() != Standing::Open
            }
            None => true,
        };
        if step == Step::Reset {
            self.listener.reset(now, key);
        }
        if is_over && talk.over.is_none() {
            talk.over = Some(now + REMEMBERED);
        }
    }

    fn say(&mut self, now: Instant) -> Said {
        let next = || self.listener.poll_transmit(now);
        std::iter::from_fn(next).map(|(to, payload)| (to, payload, false)).collect()
    }

    /// When [`Host::wake`] is due; never for one without connections.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let talks = self.talks.values();
        let due = talks.map(|talk| talk.over.unwrap_or_else(|| talk.peer.poll_timeout())).min();
        earliest(due, self.listener.poll_timeout())
    }

    /// Connections, those remembered included.
    pub fn len(&self) -> usize {
        self.talks.len()
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.talks.is_empty()
    }
}

impl Stray {
    fn said(self, to: SocketAddr) -> (SocketAddr, Vec<u8>, bool) {
        (to, self.datagram, self.from_elsewhere)
    }
}
