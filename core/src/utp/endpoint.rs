//! Many streams over one socket.
//!
//! # Contract
//!
//! An [`Endpoint`] opens streams and keeps something of its caller's beside each. The caller passes
//! each datagram for which [`super::is_utp`] holds to [`Endpoint::handle_datagram`] and calls
//! [`Endpoint::handle_timeout`] at [`Endpoint::poll_timeout`]. After that, and after writing,
//! reading and closing, it drains [`Endpoint::poll_changed`], which names the streams that have
//! something to say, and [`Endpoint::poll_transmit`].
//!
//! - A stream is told by the peer's endpoint and the id that its packets carry (29.4). A datagram
//!   that belongs to none changes nothing and is not answered, a SYN among them: nobody can make
//!   this endpoint hold anything, or send to a third party (H32).
//! - Streams that want to send take turns, a packet each. All packets together keep one rate.
//! - Once every ring is as large as it was, a packet costs no allocation.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use crate::base::planted::{self, Bug};
use crate::base::rng::Rng;
use crate::base::store::{Key, KeyedMap, KeyedState, Slab};
use crate::base::time::{Instant, earliest};
use crate::limits::UTP_STREAMS_MAX;
use crate::utp::agenda::Agenda;
use crate::utp::packet::{Kind, Packet};
use crate::utp::rate::Rate;
use crate::utp::stream::{Reception, Stream};

/// How often a free id is looked for: with two streams to one peer, each try fails once in 10 000.
const DRAWS_MAX: usize = 8;

/// Names one stream for as long as its caller has not closed it; later it names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(Key);

/// A datagram to be sent: its bytes are the last `len` of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// How long it is, in bytes.
    pub len: usize,
}

/// What came and went, in packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Sent.
    pub sent: u64,
    /// Received, of a stream, and taken into account.
    pub taken: u64,
    /// Received, of a stream, and not plausible.
    pub implausible: u64,
    /// Received, of no stream.
    pub strange: u64,
    /// Wishes of others to connect.
    pub inbound_syns: u64,
    /// Datagrams that are no packets.
    pub malformed: u64,
}

impl Counters {
    /// Those of two endpoints together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            sent: self.sent + other.sent,
            taken: self.taken + other.taken,
            implausible: self.implausible + other.implausible,
            strange: self.strange + other.strange,
            inbound_syns: self.inbound_syns + other.inbound_syns,
            malformed: self.malformed + other.malformed,
        }
    }
}

/// The streams of one socket; see the module's contract. `T` is what the caller keeps beside each.
#[derive(Clone, Debug)]
pub struct Endpoint<T> {
    streams: Slab<Entry<T>>,
    /// By the peer's endpoint and our receive id.
    routes: KeyedMap<Route, Key>,
    agenda: Agenda,
    /// Streams that may have something to send, in the order of their turns.
    sending: VecDeque<Key>,
    /// Streams that have something to say, in the order in which it happened.
    changed: VecDeque<Key>,
    rate: Rate,
    rng: Rng,
    counters: Counters,
}

type Route = (IpAddr, u16, u16);

fn route(peer: SocketAddr, id: u16) -> Route {
    (peer.ip(), peer.port(), id)
}

#[derive(Clone, Debug)]
struct Entry<T> {
    stream: Stream,
    peer: SocketAddr,
    /// The id under which it is found.
    id: u16,
    /// `None` once the caller let go of it.
    value: Option<T>,
    is_sending: bool,
    is_changed: bool,
}

impl<T> Endpoint<T> {
    /// An endpoint without streams, that will have at most `streams` of them (and never more than
    /// [`UTP_STREAMS_MAX`]) and send at most `rate` packets a second. Ids are drawn from `rng`.
    pub fn new(streams: usize, rate: u32, mut rng: Rng) -> Self {
        Self {
            streams: Slab::new(streams.min(UTP_STREAMS_MAX)),
            routes: KeyedMap::with_hasher(KeyedState::new(&mut rng)),
            agenda: Agenda::default(),
            sending: VecDeque::new(),
            changed: VecDeque::new(),
            rate: Rate::new(rate),
            rng,
            counters: Counters::default(),
        }
    }

    /// Opens a stream to `peer`, which has until `deadline` to answer. Gives `value` back if there
    /// are too many streams.
    pub fn connect(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        deadline: Instant,
        value: T,
    ) -> Result<StreamId, T> {
        let mut stream = Stream::new(now, deadline, &mut self.rng);
        if !draw(&self.routes, &mut self.rng, peer, &mut stream) {
            return Err(value);
        }
        let id = stream.receive_id();
        let entry = Entry { stream, peer, id, value: None, is_sending: false, is_changed: false };
        let Ok(key) = self.streams.insert(entry) else { return Err(value) };
        if let Some(entry) = self.streams.get_mut(key) {
            entry.value = Some(value);
        }
        self.routes.insert(route(peer, id), key);
        self.settle(key);
        Ok(StreamId(key))
    }

    /// Takes a datagram from `peer`.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        datagram: &[u8],
    ) -> Reception {
        let packet = match Packet::parse(datagram) {
            Ok(packet) => packet,
            Err(error) => {
                self.counters.malformed += 1;
                return Reception::Malformed(error);
            }
        };
        let Some(key) = self.find(peer, &packet) else {
            let is_syn = packet.header.kind == Kind::Syn;
            self.counters.inbound_syns += u64::from(is_syn);
            self.counters.strange += u64::from(!is_syn);
            return Reception::Ignored;
        };
        let Some(entry) = self.streams.get_mut(key) else { return Reception::Ignored };
        let reception = entry.stream.handle_packet(now, &packet);
        if reception == Reception::Taken {
            self.counters.taken += 1;
            self.settle(key);
            self.note_change(key);
        } else {
            self.counters.implausible += 1;
        }
        reception
    }

    /// The stream of a packet.
    fn find(&self, peer: SocketAddr, packet: &Packet<'_>) -> Option<Key> {
        let id = packet.header.connection_id;
        let of = |id| match planted::is(Bug::UtpIdConfusion) {
            false => self.routes.get(&route(peer, id)).copied(),
            true => self.streams.iter().find(|(_, entry)| entry.id == id).map(|(key, _)| key),
        };
        match packet.header.kind {
            // Its id is one that the peer chose.
            Kind::Syn => None,
            Kind::Reset => of(id).or_else(|| of(id.wrapping_sub(1))),
            Kind::Data | Kind::Fin | Kind::State => of(id),
        }
    }

    /// Takes as many bytes for a stream as there is room for, and says how many.
    pub fn write(&mut self, id: StreamId, bytes: &[u8]) -> usize {
        let written = self.live_mut(id).map_or(0, |stream| stream.write(bytes));
        self.settle(id.0);
        written
    }

    /// Copies the next bytes that arrived, lets go of them, and says how many they are.
    pub fn read(&mut self, id: StreamId, out: &mut [u8]) -> usize {
        let count = self.live_mut(id).map_or(0, |stream| stream.read(out));
        self.settle(id.0);
        count
    }

    /// Lets go of the next `count` bytes that [`Stream::peek`] shows.
    pub fn consume(&mut self, id: StreamId, count: usize) {
        if let Some(stream) = self.live_mut(id) {
            stream.consume(count);
        }
        self.settle(id.0);
    }

    /// The caller accepted that `size` bytes are to come: see [`Stream::expect`].
    pub fn expect(&mut self, id: StreamId, size: usize) {
        if let Some(stream) = self.live_mut(id) {
            stream.expect(size);
        }
        self.settle(id.0);
    }

    /// Ends a stream behind what was written, and gives back what was kept beside it; the rest is
    /// done without the caller. `None` if it was closed already.
    pub fn close(&mut self, id: StreamId) -> Option<T> {
        self.let_go(id, Stream::close)
    }

    /// Gives a stream up at once, with a RESET if the peer knows of it, and gives back what was
    /// kept beside it.
    pub fn abort(&mut self, id: StreamId) -> Option<T> {
        self.let_go(id, Stream::abort)
    }

    fn let_go(&mut self, id: StreamId, how: fn(&mut Stream)) -> Option<T> {
        let entry = self.streams.get_mut(id.0)?;
        let value = entry.value.take()?;
        how(&mut entry.stream);
        self.settle(id.0);
        Some(value)
    }

    /// A stream that its caller has not closed.
    pub fn stream(&self, id: StreamId) -> Option<&Stream> {
        self.streams.get(id.0).filter(|entry| entry.value.is_some()).map(|entry| &entry.stream)
    }

    fn live_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        let entry = self.streams.get_mut(id.0)?;
        entry.value.is_some().then_some(&mut entry.stream)
    }

    /// What is kept beside a stream.
    pub fn value(&self, id: StreamId) -> Option<&T> {
        self.streams.get(id.0)?.value.as_ref()
    }

    /// What is kept beside a stream.
    pub fn value_mut(&mut self, id: StreamId) -> Option<&mut T> {
        self.streams.get_mut(id.0)?.value.as_mut()
    }

    /// The peer of a stream.
    pub fn peer(&self, id: StreamId) -> Option<SocketAddr> {
        self.streams.get(id.0).map(|entry| entry.peer)
    }

    /// The next stream that has something to say: it is connected, has bytes to read or room to
    /// write, is ended by its peer, or failed. Each is named once, whatever happened to it since.
    pub fn poll_changed(&mut self) -> Option<StreamId> {
        while let Some(key) = self.changed.pop_front() {
            if let Some(entry) = self.streams.get_mut(key) {
                entry.is_changed = false;
                if entry.value.is_some() {
                    return Some(StreamId(key));
                }
            }
        }
        None
    }

    /// Appends the next datagram that may be sent now, of the stream whose turn it is.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Transmit> {
        while !self.sending.is_empty() && self.rate.ready_at() <= now {
            let key = self.sending.pop_front()?;
            let Some(entry) = self.streams.get_mut(key) else { continue };
            entry.is_sending = false;
            let (to, len) = (entry.peer, entry.stream.poll_transmit(now, out));
            if let Some(len) = len {
                self.rate.take(now);
                self.counters.sent += 1;
                self.settle(key);
                return Some(Transmit { to, len });
            }
            self.schedule(key);
        }
        None
    }

    /// When [`Endpoint::handle_timeout`] is due, or [`Endpoint::poll_transmit`] has more.
    pub fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.due_at(), self.may_send_at())
    }

    /// When [`Endpoint::handle_timeout`] is due.
    pub fn due_at(&self) -> Option<Instant> {
        self.agenda.first()
    }

    /// When [`Endpoint::poll_transmit`] may have more, if it may have any.
    pub fn may_send_at(&self) -> Option<Instant> {
        (!self.sending.is_empty()).then(|| self.rate.ready_at())
    }

    /// Time passed. Before [`Endpoint::poll_timeout`] this does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(key) = self.agenda.pop_due(now) {
            let Some(entry) = self.streams.get_mut(key) else { continue };
            entry.stream.handle_timeout(now);
            if entry.stream.state().is_over() {
                self.note_change(key);
            }
            self.settle(key);
        }
    }

    /// Streams, those included that are only being closed.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether there is no stream.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// What came and went.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// After anything that may have moved a stream: where it is found, when it is due, whether it
    /// is still needed, and its turn to send.
    fn settle(&mut self, key: Key) {
        let Some(entry) = self.streams.get(key) else { return };
        if entry.value.is_none() && entry.stream.state().is_over() && !entry.stream.owes_reset() {
            let (peer, id) = (entry.peer, entry.id);
            self.agenda.set(key, None);
            self.routes.remove(&route(peer, id));
            self.streams.remove(key);
            return;
        }
        if entry.id != entry.stream.receive_id() {
            self.move_route(key);
        }
        self.schedule(key);
        let limit = 2 * self.streams.len() + 16;
        if let Some(entry) = self.streams.get_mut(key).filter(|entry| !entry.is_sending) {
            entry.is_sending = true;
            push(&mut self.sending, key, limit, &self.streams);
        }
    }

    /// The stream's next SYN has another id (29.8).
    fn move_route(&mut self, key: Key) {
        let Some(entry) = self.streams.get_mut(key) else { return };
        let peer = entry.peer;
        self.routes.remove(&route(peer, entry.id));
        if !draw(&self.routes, &mut self.rng, peer, &mut entry.stream) {
            entry.stream.close();
        }
        entry.id = entry.stream.receive_id();
        self.routes.entry(route(peer, entry.id)).or_insert(key);
    }

    fn schedule(&mut self, key: Key) {
        let due = self.streams.get(key).and_then(|entry| entry.stream.poll_timeout());
        self.agenda.set(key, due);
    }

    fn note_change(&mut self, key: Key) {
        let limit = 2 * self.streams.len() + 16;
        if let Some(entry) = self.streams.get_mut(key).filter(|entry| !entry.is_changed) {
            entry.is_changed = true;
            push(&mut self.changed, key, limit, &self.streams);
        }
    }

    /// Panics if the parts do not agree; for tests and simulations.
    #[doc(hidden)]
    pub fn check(&self) {
        self.agenda.check();
        assert_eq!(self.routes.len(), self.streams.len());
        for (key, entry) in self.streams.iter() {
            entry.stream.check();
            assert_eq!(entry.id, entry.stream.receive_id());
            assert_eq!(self.routes.get(&route(entry.peer, entry.id)), Some(&key));
            let in_line = |line: &VecDeque<Key>| line.iter().filter(|other| **other == key).count();
            assert_eq!(in_line(&self.sending), usize::from(entry.is_sending));
            assert_eq!(in_line(&self.changed), usize::from(entry.is_changed));
        }
        for line in [&self.sending, &self.changed] {
            assert!(line.len() <= 2 * self.streams.limit() + 16);
        }
    }
}

/// Draws until neither the stream's id nor its neighbours are those of another stream to `peer`: a
/// RESET may carry either of two (29.9).
fn draw(
    routes: &KeyedMap<Route, Key>,
    rng: &mut Rng,
    peer: SocketAddr,
    stream: &mut Stream,
) -> bool {
    for _ in 0..DRAWS_MAX {
        let id = stream.receive_id();
        let near = [id.wrapping_sub(1), id, id.wrapping_add(1)];
        if !near.iter().any(|id| routes.contains_key(&route(peer, *id))) {
            return true;
        }
        stream.redraw(rng);
    }
    false
}

/// Adds a key to a line; first drops those of streams that are gone if there are too many.
fn push<T>(line: &mut VecDeque<Key>, key: Key, limit: usize, streams: &Slab<Entry<T>>) {
    if line.len() >= limit {
        line.retain(|key| streams.get(*key).is_some());
    }
    line.push_back(key);
}

#[cfg(test)]
mod tests;
