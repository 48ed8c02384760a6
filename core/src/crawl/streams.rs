//! The streams of connections over uTP: one endpoint for each address family, on the socket that
//! the queries of that family use.
//!
//! What is done here is the carrying: packets become bytes of a stream and back. The conversation
//! is an `Exchange`, handed out inside a `Dial` like any other, so that no hash is computed and no
//! info dictionary is read where datagrams arrive. Must never do more for one datagram than its
//! length asks for, nor hold more than the endpoint's limits say (H32).
//!
//! A connection that ends is reset, as those over TCP are: one packet, and nothing is left of it
//! here. Nobody who sends first is answered, nor leaves anything here (29.9).

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use crate::base::addr::Family;
use crate::base::fault::PeerFault;
use crate::base::rng::Rng;
use crate::base::time::{Instant, earliest};
use crate::crawl::dial::PeerKey;
use crate::limits::{UTP_CONNECT_TIMEOUT, UTP_EXPECTED_MAX, UTP_STREAMS_MAX};
use crate::utp::endpoint::Counters;
use crate::utp::{Endpoint, Fault, Reception, State, StreamId, Transmit};

/// How far the stream of a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamState {
    /// The peer has not answered.
    Connecting,
    /// Bytes may pass.
    Connected,
    /// The peer has ended its side, and all of it was read.
    Ended,
    /// It came to nothing, or was broken off: why no connection came about, where none had.
    Failed(PeerFault),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Streams {
    /// By [`Family::index`]; none where there is no socket, or uTP is off.
    endpoints: [Option<Box<Endpoint<PeerKey>>>; 2],
    /// The streams of open connections; why there is none where there could be none.
    open: BTreeMap<PeerKey, Result<(Family, StreamId), PeerFault>>,
    /// Connections that have none, until that was told.
    barren: VecDeque<PeerKey>,
    /// Whether the next datagram of a family is a packet, if there is one.
    has_turn: [bool; 2],
}

impl Streams {
    /// No streams. At most as many at a time as `connections`, in families that are `on`, with
    /// `rate` packets a second each.
    pub(crate) fn new(on: [bool; 2], connections: u32, rate: u32, rng: &Rng) -> Self {
        // Those that still owe their reset need room for a moment.
        let streams = (connections as usize).saturating_mul(2).min(UTP_STREAMS_MAX);
        let endpoint = |family: Family| {
            let label = if family == Family::V4 { "v4" } else { "v6" };
            let is_on = on[family.index()];
            is_on.then(|| Box::new(Endpoint::new(streams, rate, rng.fork(label))))
        };
        Self {
            endpoints: Family::ALL.map(endpoint),
            open: BTreeMap::new(),
            barren: VecDeque::new(),
            has_turn: [false; 2],
        }
    }

    /// Whether peers of a family can be reached.
    pub(crate) fn has(&self, family: Family) -> bool {
        self.endpoints[family.index()].is_some()
    }

    fn endpoint(&mut self, family: Family) -> Option<&mut Endpoint<PeerKey>> {
        self.endpoints[family.index()].as_deref_mut()
    }

    /// Opens the stream of a connection. Where there can be none, that is its state.
    pub(crate) fn open(&mut self, now: Instant, peer: PeerKey, to: SocketAddr) {
        let family = Family::of(to);
        let stream = match self.endpoint(family) {
            Some(endpoint) => {
                let id = endpoint.connect(now, to, now + UTP_CONNECT_TIMEOUT, peer);
                id.map(|id| (family, id)).map_err(|_| PeerFault::Pressure)
            }
            None => Err(PeerFault::Unreachable),
        };
        if stream.is_err() {
            self.barren.push_back(peer);
        }
        self.open.insert(peer, stream);
    }

    /// The connection has ended, whatever its state.
    pub(crate) fn close(&mut self, peer: PeerKey) {
        match self.open.remove(&peer) {
            Some(Ok((family, id))) => {
                self.endpoint(family).and_then(|endpoint| endpoint.abort(id));
            }
            Some(Err(_)) => self.barren.retain(|other| *other != peer),
            None => {}
        }
    }

    /// The run is over: every stream that is open is.
    pub(crate) fn close_all(&mut self) {
        let streams: Vec<_> = self.open.values().filter_map(|stream| stream.ok()).collect();
        for (family, id) in streams {
            self.endpoint(family).and_then(|endpoint| endpoint.abort(id));
        }
        self.open.values_mut().for_each(|stream| *stream = Err(PeerFault::Aborted));
        self.barren.clear();
    }

    /// A datagram that may be a packet. Whether it belongs to a stream, so that its peer is there.
    pub(crate) fn receive(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> bool {
        let endpoint = self.endpoint(Family::of(from));
        endpoint.is_some_and(|endpoint| {
            endpoint.handle_datagram(now, from, datagram) == Reception::Taken
        })
    }

    /// Time passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.endpoints.iter_mut().flatten().for_each(|endpoint| endpoint.handle_timeout(now));
    }

    /// When that is due, or a packet may be sent that has to wait now. What may be sent already
    /// waits for a socket that has room.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let due = |endpoint: &Endpoint<PeerKey>| {
            let may_send = endpoint.may_send_at().filter(|at| *at > now);
            earliest(endpoint.due_at(), may_send)
        };
        self.endpoints.iter().flatten().filter_map(|endpoint| due(endpoint)).min()
    }

    /// Whether the next datagram of a family is a packet rather than a query, if there is one.
    pub(crate) fn has_turn(&self, family: Family) -> bool {
        self.has_turn[family.index()]
    }

    /// A query was sent: a packet has the next turn.
    pub(crate) fn give_turn(&mut self, family: Family) {
        self.has_turn[family.index()] = true;
    }

    /// The next packet; after it a query has its turn.
    pub(crate) fn poll_transmit(
        &mut self,
        now: Instant,
        family: Family,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        let transmit = self.endpoint(family)?.poll_transmit(now, buf);
        self.has_turn[family.index()] &= transmit.is_none();
        transmit
    }

    /// The next connection whose stream has something to say.
    pub(crate) fn poll_changed(&mut self) -> Option<PeerKey> {
        if let Some(peer) = self.barren.pop_front() {
            return Some(peer);
        }
        self.endpoints.iter_mut().flatten().find_map(|endpoint| {
            let id = endpoint.poll_changed()?;
            endpoint.value(id).copied()
        })
    }

    /// How far the stream of an open connection is.
    pub(crate) fn state(&self, peer: PeerKey) -> Option<StreamState> {
        let (family, id) = match self.open.get(&peer)? {
            Ok(stream) => *stream,
            Err(fault) => return Some(StreamState::Failed(*fault)),
        };
        let stream = self.endpoints[family.index()].as_ref()?.stream(id)?;
        Some(match stream.state() {
            State::Connecting => StreamState::Connecting,
            State::Connected if stream.is_finished() => StreamState::Ended,
            State::Connected => StreamState::Connected,
            State::Closing | State::Closed => StreamState::Ended,
            State::Failed(fault) => StreamState::Failed(peer_fault(fault)),
        })
    }

    /// Moves the next bytes that arrived into `out`, and says how many they are.
    pub(crate) fn read(&mut self, peer: PeerKey, out: &mut [u8]) -> usize {
        let Some(Ok((family, id))) = self.open.get(&peer).copied() else { return 0 };
        self.endpoint(family).map_or(0, |endpoint| endpoint.read(id, out))
    }

    /// Takes as many of `bytes` as there is room for, and says how many.
    pub(crate) fn write(&mut self, peer: PeerKey, bytes: &[u8]) -> usize {
        let Some(Ok((family, id))) = self.open.get(&peer).copied() else { return 0 };
        self.endpoint(family).map_or(0, |endpoint| endpoint.write(id, bytes))
    }

    /// The exchange has accepted that so many bytes are to come. It never asks for all of many at
    /// once, so that its stream need not hold them.
    pub(crate) fn expect(&mut self, peer: PeerKey, size: usize) {
        if let Some(Ok((family, id))) = self.open.get(&peer).copied()
            && let Some(endpoint) = self.endpoint(family)
        {
            endpoint.expect(id, size.min(UTP_EXPECTED_MAX));
        }
    }

    /// What came and went, in both families.
    pub(crate) fn counters(&self) -> Counters {
        let endpoints = self.endpoints.iter().flatten();
        endpoints.fold(Counters::default(), |sum, endpoint| sum.plus(endpoint.counters()))
    }

    /// Connections that have a stream, or should.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether this is such a connection.
    pub(crate) fn has_stream(&self, peer: PeerKey) -> bool {
        self.open.contains_key(&peer)
    }

    pub(crate) fn check(&self) {
        self.endpoints.iter().flatten().for_each(|endpoint| endpoint.check());
        assert!(self.barren.len() <= self.open.len());
        for (peer, stream) in &self.open {
            if let Ok((family, id)) = stream {
                let endpoint = self.endpoints[family.index()].as_ref();
                assert_eq!(endpoint.and_then(|endpoint| endpoint.value(*id)), Some(peer));
            }
        }
    }
}

/// How a stream's fault is called of a peer.
const fn peer_fault(fault: Fault) -> PeerFault {
    match fault {
        Fault::ConnectTimeout => PeerFault::ConnectTimeout,
        Fault::Refused => PeerFault::Refused,
        Fault::Reset | Fault::DeliveryTimeout => PeerFault::ClosedEarly,
    }
}
