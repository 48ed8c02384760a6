//! Peers that take uTP: what they hear and say in datagrams, as they do on streams of TCP.
//!
//! A host is there once something reaches it, and for as long as it has a connection. It knows the
//! crawler by its datagrams alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use estudely_core::internal::time::earliest;
use estudely_core::{Duration, Family, Instant};

use super::{Flight, Net};
use crate::actors::door::AnyPeer;
use crate::actors::node::Sent;
use crate::actors::peer::Step;
use crate::actors::utp::liar::{Liar, Stray};
use crate::actors::utp::listener::{EndKey, Listener};
use crate::actors::utp::packet::{DATA, Packet};
use crate::actors::utp::{Manners, Standing};
use crate::world::dht::{Resident, World};

/// How long a connection that is over is remembered, for a last acknowledgement that was lost.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Least time between two deadlines of one host.
const WAKE_GAP: Duration = Duration::from_millis(1);

/// What a host has to say: where to, what, and whether from another port.
type Said = Vec<(SocketAddr, Vec<u8>, bool)>;

/// One peer's accepting end of all its connections.
#[derive(Debug)]
pub(super) struct Host {
    family: Family,
    number: u32,
    listener: Listener,
    /// What it does wrong.
    liar: Option<Liar>,
    talks: BTreeMap<EndKey, Talk>,
    /// The earliest wake-up that is planned.
    wake: Option<Instant>,
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
    fn new(world: &World, number: u32) -> Self {
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
        Self { family: world.family(), number, listener, liar, talks, wake: None }
    }

    /// A datagram came.
    fn hear(&mut self, world: &World, now: Instant, from: SocketAddr, datagram: &[u8]) -> Said {
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

    /// Time passed.
    fn wake(&mut self, world: &World, now: Instant) -> Said {
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

    fn poll_timeout(&self) -> Option<Instant> {
        let talks = self.talks.values();
        let due = talks.map(|talk| talk.over.unwrap_or_else(|| talk.peer.poll_timeout())).min();
        earliest(due, self.listener.poll_timeout())
    }
}

impl Stray {
    fn said(self, to: SocketAddr) -> (SocketAddr, Vec<u8>, bool) {
        (to, self.datagram, self.from_elsewhere)
    }
}

impl Net {
    /// A datagram arrives at a peer that takes uTP.
    pub(super) fn reach_host(
        &mut self,
        at: Instant,
        (from, to): (SocketAddr, SocketAddr),
        (family, number): (Family, u32),
        payload: &[u8],
    ) {
        let universe = Rc::clone(&self.universe);
        let Some(world) = universe.world(family) else { return };
        let host = self.hosts.entry(to).or_insert_with(|| Host::new(world, number));
        if (host.family, host.number) != (family, number) {
            *host = Host { wake: host.wake, ..Host::new(world, number) };
        }
        let said = host.hear(world, at, from, payload);
        self.after_host(at, to, said);
    }

    /// A deadline of a host has come.
    pub(super) fn wake_host(&mut self, at: Instant, addr: SocketAddr) {
        let universe = Rc::clone(&self.universe);
        // An earlier one was planned after this.
        let Some(host) = self.hosts.get_mut(&addr).filter(|host| host.wake == Some(at)) else {
            return;
        };
        host.wake = None;
        let resident = (host.family, Resident::Peer(host.number));
        let Some(world) = universe.world(host.family) else { return };
        // Whoever left meanwhile left a host that knows nothing of its connections.
        if universe.resident(at, addr) != Some(resident) {
            self.hosts.remove(&addr);
            return;
        }
        let said = host.wake(world, at);
        self.after_host(at, addr, said);
    }

    /// Sends what a host says, and plans when it acts by itself.
    fn after_host(&mut self, at: Instant, addr: SocketAddr, said: Said) {
        for (to, payload, from_elsewhere) in said {
            let port = if from_elsewhere { addr.port() ^ 1 } else { addr.port() };
            let from = SocketAddr::new(addr.ip(), port);
            self.launch(at, addr, Sent { from, to, payload, after: Duration::ZERO });
        }
        let Some(host) = self.hosts.get_mut(&addr) else { return };
        let Some(due) = host.poll_timeout() else {
            if host.talks.is_empty() {
                self.hosts.remove(&addr);
            }
            return;
        };
        let due = due.max(at + WAKE_GAP);
        if host.wake.is_none_or(|planned| due < planned) {
            host.wake = Some(due);
            self.agenda.push(due, Flight::Host(addr));
        }
    }
}
