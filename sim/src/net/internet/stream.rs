//! Connections: a peer at the far end, bytes in order both ways, and what a network does to them.
//!
//! A partition delays what is sent into it until it is over, as TCP sends again, or resets the
//! connection if that takes too long. Once either end is gone nothing that is still under way
//! arrives.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;

use estudely_core::{Duration, Family, Instant};

use super::{Delivery, Flight, Net};
use crate::actors::decoy::DecoyPeer;
use crate::actors::door::AnyPeer;
use crate::actors::peer::Step;
use crate::net::event::Conn;
use crate::net::link::{Direction, hit};
use crate::world::dht::{Carriage, Decoy, NodeKind, PeerState, Resident, World};
use crate::world::draw::draw;
use crate::world::universe::Universe;

/// When a packet that begins a connection is sent again if it was not answered, seconds after the
/// first (Linux: one second, doubling).
pub const SYN_RETRIES: [u64; 6] = [1, 3, 7, 15, 31, 63];
/// How long data may be held up until the connection is reset.
pub const DATA_RETRIES: Duration = Duration::from_secs(60);
/// Least time between two deadlines of one peer: none keeps virtual time from going on.
const WAKE_GAP: Duration = Duration::from_millis(1);

/// One connection that the crawler began and has not ended.
#[derive(Debug)]
pub(super) struct Stream {
    to: SocketAddr,
    dice: fastrand::Rng,
    /// Who accepted it.
    host: Option<Host>,
    /// By direction.
    lanes: [Lane; 2],
    /// The earliest wake-up that is planned.
    wake: Option<Instant>,
}

/// The accepting end.
#[derive(Debug)]
struct Host {
    actor: Actor,
    family: Family,
    resident: Resident,
}

/// Who accepted.
#[derive(Debug)]
enum Actor {
    Peer(AnyPeer),
    Decoy(DecoyPeer),
    /// One that hangs up at once.
    HangsUp,
}

impl Actor {
    fn handle_connected(&mut self, world: &World, now: Instant, out: &mut Vec<u8>) -> Step {
        match self {
            Self::Peer(peer) => peer.handle_connected(world, now, out),
            Self::Decoy(_) => Step::Continue,
            Self::HangsUp => Step::Close,
        }
    }

    fn handle_bytes(
        &mut self,
        world: &World,
        now: Instant,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Step {
        match self {
            Self::Peer(peer) => peer.handle_bytes(world, now, bytes, out),
            Self::Decoy(decoy) => decoy.handle_bytes(now, bytes, out),
            Self::HangsUp => Step::Close,
        }
    }

    fn handle_timeout(&mut self, world: &World, now: Instant, out: &mut Vec<u8>) -> Step {
        match self {
            Self::Peer(peer) => peer.handle_timeout(world, now, out),
            Self::Decoy(decoy) => decoy.handle_timeout(now, out),
            Self::HangsUp => Step::Close,
        }
    }

    fn poll_timeout(&self) -> Instant {
        match self {
            Self::Peer(peer) => peer.poll_timeout(),
            Self::Decoy(decoy) => decoy.poll_timeout(),
            Self::HangsUp => Instant::START,
        }
    }
}

/// What a dialler meets at an address.
enum Meeting {
    Accepts(Host),
    Refuses,
    Hangs,
}

/// Who is met at `to`.
fn meet(universe: &Universe, at: Instant, to: SocketAddr) -> Meeting {
    let Some((family, resident)) = universe.resident(at, to) else { return Meeting::Hangs };
    let Some(world) = universe.world(family) else { return Meeting::Hangs };
    let accepts = |actor| Meeting::Accepts(Host { actor, family, resident });
    match resident {
        Resident::Peer(number) => match (world.peer(number).state, world.peer_carriage(number)) {
            (PeerState::Live, Carriage::UtpRefuses) => Meeting::Refuses,
            (PeerState::Live, Carriage::UtpHangs) => Meeting::Hangs,
            (PeerState::Live, Carriage::UtpHangsUp) => accepts(Actor::HangsUp),
            (PeerState::Live | PeerState::Silent, _) => {
                accepts(Actor::Peer(AnyPeer::new(world, at, number)))
            }
            (PeerState::Refuses, _) => Meeting::Refuses,
            (PeerState::Hangs, _) => Meeting::Hangs,
        },
        Resident::Decoy(number) => match world.decoy(number) {
            Decoy::Trickles => accepts(Actor::Decoy(DecoyPeer::new(at, number))),
            Decoy::Refuses => Meeting::Refuses,
            Decoy::Hangs => Meeting::Hangs,
        },
        // A host that runs a node and nothing else.
        Resident::Node(node) if world.node_kind(node) != NodeKind::Dead => Meeting::Refuses,
        Resident::Node(_) => Meeting::Hangs,
    }
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Lane {
    /// Bytes under way, in order.
    bytes: VecDeque<u8>,
    /// When the last of them arrives: nothing later may overtake it.
    last: Instant,
    /// Whether nothing more ever passes.
    dead: bool,
}

/// What happens to one write, after so many of its bytes.
enum Mishap {
    None,
    Reset(usize),
    Stall(usize),
}

impl Net {
    /// Begins a connection. `conn` was never used before.
    pub fn dial(&mut self, now: Instant, conn: Conn, to: SocketAddr) {
        debug_assert!(self.shard.owns(to.ip()), "{to} belongs to another shard");
        self.census.dialled += 1;
        let dice = draw(self.settings.seed, "stream", conn.0);
        let lanes = [Lane::default(), Lane::default()];
        self.streams.insert(conn, Stream { to, dice, host: None, lanes, wake: None });
        self.handshake(now, conn, Direction::Out, Flight::Syn(conn));
    }

    /// Writes to a connection that was accepted. What is written to others goes nowhere.
    pub fn write(&mut self, now: Instant, conn: Conn, bytes: &[u8]) {
        self.transmit(now, conn, Direction::Out, bytes);
    }

    /// Ends a connection from the crawler's side. What was under way stops where it is: nobody
    /// keeps sending for long what is answered with resets.
    pub fn close(&mut self, now: Instant, conn: Conn) {
        let Some(Stream { lanes, .. }) = self.streams.remove(&conn) else { return };
        for direction in [Direction::Out, Direction::In] {
            self.link.stream_over(now, direction, lanes[direction as usize].bytes.len());
        }
    }

    /// Ends all of them: the crawler was killed.
    pub fn close_all(&mut self, now: Instant) {
        let all: Vec<Conn> = self.streams.keys().copied().collect();
        all.into_iter().for_each(|conn| self.close(now, conn));
    }

    /// Something of a connection arrives.
    pub(super) fn stream_flight(&mut self, at: Instant, flight: Flight) -> Option<Delivery> {
        match flight {
            Flight::Syn(conn) => self.knock(at, conn),
            Flight::Accept(conn) => {
                return self.streams.contains_key(&conn).then_some(Delivery::Accepted(conn));
            }
            Flight::Refuse(conn) => {
                return self.streams.remove(&conn).map(|_| Delivery::Refused(conn));
            }
            Flight::ToPeer(conn, len) => {
                let mut bytes = self.arrived(conn, Direction::Out, len)?;
                self.act(at, conn, |actor, world, out| actor.handle_bytes(world, at, &bytes, out));
                bytes.clear();
                self.pool.put(bytes);
            }
            Flight::FromPeer(conn, len) => {
                return self
                    .arrived(conn, Direction::In, len)
                    .map(|bytes| Delivery::Bytes(conn, bytes));
            }
            Flight::Close(conn) => {
                return self.streams.remove(&conn).map(|_| Delivery::Closed(conn));
            }
            Flight::Reset(conn) => {
                return self.streams.remove(&conn).map(|_| Delivery::Reset(conn));
            }
            Flight::Wake(conn) => self.wake(at, conn),
            Flight::Outbound { .. }
            | Flight::Late { .. }
            | Flight::Inbound { .. }
            | Flight::Host(_) => {}
        }
        None
    }

    /// The first packet of a connection arrives, at a resident or at an empty address.
    fn knock(&mut self, at: Instant, conn: Conn) {
        let Some(stream) = self.streams.get_mut(&conn) else { return };
        let universe = Rc::clone(&self.universe);
        match meet(&universe, at, stream.to) {
            Meeting::Hangs => return self.census.hung += 1,
            Meeting::Refuses => {
                self.census.refused += 1;
                self.handshake(at, conn, Direction::In, Flight::Refuse(conn));
                return;
            }
            Meeting::Accepts(host) => stream.host = Some(host),
        }
        self.census.accepted += 1;
        if !self.handshake(at, conn, Direction::In, Flight::Accept(conn)) {
            return;
        }
        self.act(at, conn, |actor, world, out| actor.handle_connected(world, at, out));
    }

    /// Sends a packet that begins a connection, again and again while something is cut; says
    /// whether it gets through in the end. If not, the connection hangs.
    fn handshake(
        &mut self,
        now: Instant,
        conn: Conn,
        direction: Direction,
        flight: Flight,
    ) -> bool {
        let start = self.first_passing(now, direction);
        let Some(stream) = self.streams.get_mut(&conn) else { return false };
        let Some(start) = start else {
            stream.host = None;
            self.census.hung += 1;
            return false;
        };
        let delay = self.link.begin_delay(start, direction, stream.to, 40, &mut stream.dice);
        let lane = &mut stream.lanes[direction as usize];
        lane.last = lane.last.max(start + delay);
        self.agenda.push(lane.last, flight);
        true
    }

    fn first_passing(&self, now: Instant, direction: Direction) -> Option<Instant> {
        let tries = SYN_RETRIES.iter().map(|&secs| now + Duration::from_secs(secs));
        std::iter::once(now).chain(tries).find(|&at| self.link.cut_until(at, direction).is_none())
    }

    /// Lets the peer act, sends what it says and plans when it wants to act by itself.
    fn act(
        &mut self,
        at: Instant,
        conn: Conn,
        act: impl FnOnce(&mut Actor, &World, &mut Vec<u8>) -> Step,
    ) {
        let universe = Rc::clone(&self.universe);
        let Some(stream) = self.streams.get_mut(&conn) else { return };
        let Some(Host { actor, family, resident }) = &mut stream.host else { return };
        let Some(world) = universe.world(*family) else { return };
        // Whoever left meanwhile left a host that knows nothing of the connection.
        if universe.resident(at, stream.to) != Some((*family, *resident)) {
            return self.end(at, conn, Flight::Reset(conn));
        }
        let mut out = self.pool.take();
        let step = act(actor, world, &mut out);
        self.transmit(at, conn, Direction::In, &out);
        self.pool.put(out);
        match step {
            Step::Continue => self.plan_wake(at, conn),
            Step::Close => self.end(at, conn, Flight::Close(conn)),
            Step::Reset => self.end(at, conn, Flight::Reset(conn)),
        }
    }

    fn plan_wake(&mut self, at: Instant, conn: Conn) {
        let Some(stream) = self.streams.get_mut(&conn) else { return };
        let Some(Host { actor, .. }) = &stream.host else { return };
        let due = actor.poll_timeout().max(at + WAKE_GAP);
        if stream.wake.is_none_or(|planned| due < planned) {
            stream.wake = Some(due);
            self.agenda.push(due, Flight::Wake(conn));
        }
    }

    fn wake(&mut self, at: Instant, conn: Conn) {
        let Some(stream) = self.streams.get_mut(&conn) else { return };
        // An earlier one was planned after this.
        if stream.wake != Some(at) {
            return;
        }
        stream.wake = None;
        let Some(Host { actor, .. }) = &stream.host else { return };
        if actor.poll_timeout() <= at {
            self.act(at, conn, |actor, world, out| actor.handle_timeout(world, at, out));
        } else {
            self.plan_wake(at, conn);
        }
    }

    /// Sends bytes, cut into pieces, after those sent before.
    fn transmit(&mut self, now: Instant, conn: Conn, direction: Direction, bytes: &[u8]) {
        let Some(stream) = self.streams.get_mut(&conn) else { return };
        if bytes.is_empty() || stream.host.is_none() || stream.lanes[direction as usize].dead {
            return;
        }
        let start = self.link.cut_until(now, direction).unwrap_or(now);
        if start.since(now) > DATA_RETRIES {
            return self.give_up(now, conn);
        }
        let mishap = if self.link.faulty(now) {
            let (resets, stalls) = (self.settings.resets, self.settings.stalls);
            mishap(&mut stream.dice, resets, stalls, bytes.len())
        } else {
            Mishap::None
        };
        let passes = match mishap {
            Mishap::None => bytes.len(),
            Mishap::Reset(passes) | Mishap::Stall(passes) => passes,
        };
        let Stream { to, dice, lanes, .. } = stream;
        let lane = &mut lanes[direction as usize];
        lane.bytes.extend(&bytes[..passes]);
        let mut left = passes;
        while left > 0 {
            let most =
                if self.settings.chunk == 0 { left } else { dice.usize(1..=self.settings.chunk) };
            let len = most.min(left);
            left -= len;
            let delay = self.link.stream_delay(start, direction, *to, len, dice);
            lane.last = lane.last.max(start + delay);
            let flight = match direction {
                Direction::Out => Flight::ToPeer(conn, len),
                Direction::In => Flight::FromPeer(conn, len),
            };
            self.agenda.push(lane.last, flight);
        }
        match mishap {
            Mishap::None => {}
            Mishap::Stall(_) => {
                lane.dead = true;
                self.census.stalls += 1;
            }
            Mishap::Reset(_) => {
                self.census.resets += 1;
                let last = lane.last.max(start);
                // What was on its way out is answered from the far end.
                let back = match direction {
                    Direction::Out => self.link.path_delay(*to),
                    Direction::In => Duration::ZERO,
                };
                lanes.iter_mut().for_each(|lane| lane.dead = true);
                self.agenda.push(last + back, Flight::Reset(conn));
            }
        }
    }

    /// The peer ends the connection: that arrives after what it said.
    fn end(&mut self, now: Instant, conn: Conn, flight: Flight) {
        let Some(stream) = self.streams.get_mut(&conn) else { return };
        let dead = stream.lanes[Direction::In as usize].dead;
        let start = self.link.cut_until(now, Direction::In).unwrap_or(now);
        if !dead && start.since(now) <= DATA_RETRIES {
            let Stream { to, dice, lanes, .. } = stream;
            let delay = self.link.stream_delay(start, Direction::In, *to, 40, dice);
            let at = lanes[Direction::In as usize].last.max(start + delay);
            self.agenda.push(at, flight);
        } else if !dead {
            self.give_up(now, conn);
        }
        if let Some(stream) = self.streams.get_mut(&conn) {
            stream.host = None;
            stream.lanes.iter_mut().for_each(|lane| lane.dead = true);
        }
    }

    /// Data could not be delivered for too long.
    fn give_up(&mut self, now: Instant, conn: Conn) {
        let Some(stream) = self.streams.get_mut(&conn) else { return };
        stream.lanes.iter_mut().for_each(|lane| lane.dead = true);
        self.census.resets += 1;
        self.agenda.push(now + DATA_RETRIES, Flight::Reset(conn));
    }

    /// The next bytes under way in that direction.
    fn arrived(&mut self, conn: Conn, direction: Direction, len: usize) -> Option<Vec<u8>> {
        let lane = &mut self.streams.get_mut(&conn)?.lanes[direction as usize];
        let mut bytes = self.pool.take();
        bytes.extend(lane.bytes.drain(..len.min(lane.bytes.len())));
        Some(bytes)
    }
}

fn mishap(dice: &mut fastrand::Rng, resets: u32, stalls: u32, len: usize) -> Mishap {
    let (reset, stall) = (hit(dice, resets), hit(dice, stalls));
    let passes = dice.usize(..=len);
    match (reset, stall) {
        (true, _) => Mishap::Reset(passes),
        (false, true) => Mishap::Stall(passes),
        (false, false) => Mishap::None,
    }
}
