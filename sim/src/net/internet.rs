//! The virtual internet around the crawler, sans-IO: everything that is under way, and the actors
//! at the far end.
//!
//! Datagrams and connections of the crawler go in, deliveries come out in order of time. In between
//! lie the [`link`](crate::net::link)s and the nodes and peers of the [`Universe`], which are made
//! when something first reaches them. Where an address has no resident, a datagram is lost and a
//! connection hangs, as in real networks; ICMP is not modelled.
//!
//! A net serves one [`Shard`] of the address space and draws its dice by route or by connection,
//! so that one net and several give each packet the same fate. It must never look at the crawler.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use estudely_core::{Family, Instant};

use crate::actors::node::Sent;
use crate::actors::utp::packet::Packet;
use crate::net::event::Conn;
use crate::net::link::{Direction, Fate, Link};
use crate::world::dht::Resident;
use crate::world::scenario::Scenario;
use crate::world::universe::Universe;

mod agenda;
mod crowd;
mod forger;
mod hosts;
mod pool;
mod stream;

use agenda::Agenda;
use crowd::Crowd;
use forger::Forger;
use hosts::Served;
use pool::Pool;
use stream::Stream;

pub use crate::net::link::Shard;
pub use crowd::NODES_KEPT;
pub use pool::POOLED_MAX;
pub use stream::{DATA_RETRIES, SYN_RETRIES};

/// What reaches the crawler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// A datagram.
    Datagram {
        /// Where it claims to come from.
        from: SocketAddr,
        /// The crawler's address.
        to: SocketAddr,
        /// Its bytes. [`Net::recycle`] takes the buffer back.
        payload: Vec<u8>,
        /// Whether no node sent it.
        forged: bool,
    },
    /// A connection was accepted.
    Accepted(Conn),
    /// A connection was refused.
    Refused(Conn),
    /// The stream's next bytes.
    Bytes(Conn, Vec<u8>),
    /// The peer closed.
    Closed(Conn),
    /// The connection was reset.
    Reset(Conn),
}

/// What the far end saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Datagrams that reached a node, or a peer that takes uTP.
    pub reached: u64,
    /// Datagrams that arrived where nobody hears them.
    pub unheard: u64,
    /// Datagrams of nodes to other addresses than the crawler's.
    pub astray: u64,
    /// Forged datagrams made.
    pub forged: u64,
    /// Connections begun.
    pub dialled: u64,
    /// Connections accepted by a peer.
    pub accepted: u64,
    /// Connections refused.
    pub refused: u64,
    /// Connections without an answer for ever.
    pub hung: u64,
    /// Connections reset by the network.
    pub resets: u64,
    /// Directions of connections on which nothing comes any more.
    pub stalls: u64,
}

/// Something under way.
#[derive(Debug)]
enum Flight {
    /// A datagram of the crawler.
    Outbound {
        from: SocketAddr,
        to: SocketAddr,
        payload: Vec<u8>,
    },
    /// A datagram that the node at `via` sends only now.
    Late {
        via: SocketAddr,
        sent: Sent,
    },
    /// A datagram to the crawler.
    Inbound {
        from: SocketAddr,
        to: SocketAddr,
        payload: Vec<u8>,
        forged: bool,
    },
    /// A connection's wish to begin.
    Syn(Conn),
    /// Its answers.
    Accept(Conn),
    Refuse(Conn),
    /// So many bytes of a connection.
    ToPeer(Conn, usize),
    FromPeer(Conn, usize),
    /// Its end.
    Close(Conn),
    Reset(Conn),
    /// A deadline of the peer's own.
    Wake(Conn),
    /// A deadline of a peer that takes uTP.
    Host(SocketAddr),
}

/// The network as one shard has it.
#[derive(Debug)]
pub struct Net {
    universe: Rc<Universe>,
    shard: Shard,
    link: Link,
    agenda: Agenda<Flight>,
    crowd: Crowd,
    streams: BTreeMap<Conn, Stream>,
    /// Peers that take uTP, by address.
    hosts: BTreeMap<SocketAddr, Served>,
    forger: Forger,
    pool: Pool,
    census: Census,
    settings: NetSettings,
    /// Kept for its room.
    sends: Vec<Sent>,
}

/// The streams' fields of a scenario.
#[derive(Clone, Copy, Debug)]
struct NetSettings {
    seed: u64,
    chunk: usize,
    resets: u32,
    stalls: u32,
}

impl Net {
    /// The network of `scenario` around the crawler, as far as `shard` goes.
    pub fn new(universe: Rc<Universe>, scenario: &Scenario, shard: Shard) -> Self {
        Self {
            crowd: Crowd::new(&universe),
            universe,
            shard,
            link: Link::new(scenario, shard),
            agenda: Agenda::default(),
            streams: BTreeMap::new(),
            hosts: BTreeMap::new(),
            forger: Forger::new(scenario),
            pool: Pool::default(),
            census: Census::default(),
            settings: NetSettings {
                seed: scenario.seed,
                chunk: scenario.chunk as usize,
                resets: scenario.resets,
                stalls: scenario.stalls,
            },
            sends: Vec::new(),
        }
    }

    /// Takes a datagram of the crawler.
    pub fn send(&mut self, now: Instant, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        debug_assert!(self.shard.owns(to.ip()), "{to} belongs to another shard");
        self.forger.guess(to);
        for fate in self.link.datagram(now, Direction::Out, to, payload.len()) {
            let mut copy = self.pool.copy(payload);
            fate.damage(&mut copy);
            self.agenda.push(fate.at, Flight::Outbound { from, to, payload: copy });
        }
    }

    /// What reaches the crawler next, if that is due at `now`. Everything due before it has
    /// happened at its own time then.
    pub fn poll(&mut self, now: Instant) -> Option<Delivery> {
        while let Some((at, flight)) = self.agenda.pop_due(now) {
            let delivery = match flight {
                Flight::Outbound { from, to, payload } => {
                    self.reach(at, from, to, &payload);
                    self.pool.put(payload);
                    None
                }
                Flight::Late { via, sent } => {
                    self.launch(at, via, sent);
                    None
                }
                Flight::Inbound { from, to, payload, forged } => {
                    Some(Delivery::Datagram { from, to, payload, forged })
                }
                Flight::Host(addr) => {
                    self.wake_host(at, addr);
                    None
                }
                stream => self.stream_flight(at, stream),
            };
            if delivery.is_some() {
                return delivery;
            }
        }
        None
    }

    /// When [`poll`](Self::poll) has something to do next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.agenda.poll_timeout()
    }

    /// Takes back the buffer of a delivery.
    pub fn recycle(&mut self, buffer: Vec<u8>) {
        self.pool.put(buffer);
    }

    /// The paths, with their partitions and tallies.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// What the far end saw so far.
    pub fn census(&self) -> &Census {
        &self.census
    }

    /// Things under way.
    pub fn in_flight(&self) -> usize {
        self.agenda.len()
    }

    /// Connections that neither side has ended.
    pub fn connections(&self) -> usize {
        self.streams.len()
    }

    /// A datagram arrives at `to`.
    fn reach(&mut self, at: Instant, from: SocketAddr, to: SocketAddr, payload: &[u8]) {
        let universe = Rc::clone(&self.universe);
        let (family, number) = match universe.resident(at, to) {
            Some((family, Resident::Node(number))) => (family, number),
            Some(host @ (family, Resident::Peer(number)))
                if takes_utp(&universe, host, payload) =>
            {
                self.census.reached += 1;
                return self.reach_host(at, (from, to), (family, number), payload);
            }
            _ => return self.census.unheard += 1,
        };
        let Some(world) = universe.world(family) else { return };
        self.census.reached += 1;
        let mut sends = std::mem::take(&mut self.sends);
        self.crowd.node(family, number).handle(world, at, from, payload, &mut sends);
        for sent in sends.drain(..) {
            if sent.after.is_zero() {
                self.launch(at, to, sent);
            } else {
                self.agenda.push(at + sent.after, Flight::Late { via: to, sent });
            }
        }
        self.sends = sends;
    }

    /// The node at `via` sends a datagram. Whatever source it claims, it takes that node's path.
    fn launch(&mut self, at: Instant, via: SocketAddr, sent: Sent) {
        let Sent { from, to, payload, .. } = sent;
        if self.universe.own(Family::of(to)) != Some(to) {
            self.census.astray += 1;
            return self.pool.put(payload);
        }
        for fate in self.link.datagram(at, Direction::In, via, payload.len()) {
            let mut copy = self.pool.copy(&payload);
            fate.damage(&mut copy);
            self.agenda.push(fate.at, Flight::Inbound { from, to, payload: copy, forged: false });
            self.forge(at, fate, via, to);
        }
        self.pool.put(payload);
    }

    /// A forger's datagram arrives in the wake of an honest one, now and then.
    fn forge(&mut self, at: Instant, fate: Fate, via: SocketAddr, to: SocketAddr) {
        if !self.link.faulty(at) {
            return;
        }
        let mut payload = self.pool.take();
        match self.forger.forge(via, to, &mut payload) {
            Some((delay, from)) => {
                self.census.forged += 1;
                let forged = Flight::Inbound { from, to, payload, forged: true };
                self.agenda.push(fate.at + delay, forged);
            }
            None => self.pool.put(payload),
        }
    }
}

/// Whether a datagram is one of uTP to a peer that takes it.
fn takes_utp(universe: &Universe, (family, resident): (Family, Resident), datagram: &[u8]) -> bool {
    let (Some(world), Resident::Peer(number)) = (universe.world(family), resident) else {
        return false;
    };
    world.peer_carriage(number).has_utp() && Packet::read(datagram).is_some()
}

#[cfg(test)]
mod tests;
