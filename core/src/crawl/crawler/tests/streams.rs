//! Connections over uTP, against a peer that is scripted down to its packets.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use sha1::{Digest, Sha1};

use super::{SECOND, in_window};
use crate::base::addr::{AddressPolicy, Family};
use crate::base::fault::PeerFault;
use crate::base::id::InfoHash;
use crate::base::rng::Seed;
use crate::base::time::{Duration, Instant};
use crate::base::work;
use crate::codec::bencode::Writer;
use crate::codec::wire::{Extensions, HANDSHAKE_LEN, Handshake, MetadataMessage, OUR_METADATA_ID};
use crate::config::{Config, EncryptionPolicy, Mode, TransportPolicy};
use crate::crawl::crawler::{Bootstrap, Crawler, Dial, Row};
use crate::crawl::row::Verdict;
use crate::crawl::streams::StreamState;
use crate::lead::Request;
use crate::limits::{DATAGRAM_LEN_MAX, PIECE_LEN, UTP_CONNECT_TIMEOUT, UTP_SYNS_MAX};
use crate::peer::exchange::{Outcome, Step, Transport};
use crate::utp::packet::{Header, Kind, Packet};
use crate::utp::seq::Seq;

const LATENCY: Duration = Duration::from_millis(20);
/// A packet of the peer that is not acknowledged is sent again after so long.
const PATIENCE: Duration = Duration::from_millis(300);
const SEGMENT: usize = 1_000;
const FLIGHT: usize = 32;

/// An info dictionary of about so many bytes.
fn torrent(size: usize) -> Vec<u8> {
    let mut info = Vec::new();
    Writer::new(&mut info).dict().bytes(b"length").int(1).bytes(b"name").bytes(b"over utp");
    Writer::new(&mut info).bytes(b"piece length").int(16_384).bytes(b"pieces");
    Writer::new(&mut info).bytes(&vec![7; size / 20 * 20]).end();
    info
}

fn hash(info: &[u8]) -> InfoHash {
    InfoHash(Sha1::digest(info).into())
}

/// The peer: it accepts over uTP and serves `info`.
struct Peer {
    info: Vec<u8>,
    /// The id of its own packets, once a SYN came.
    id: Option<u16>,
    next: Seq,
    ack: Seq,
    /// Sent and not acknowledged, and bytes not sent.
    flight: VecDeque<(Seq, Vec<u8>)>,
    unsent: Vec<u8>,
    early: BTreeMap<u16, Vec<u8>>,
    /// What came in order and was not understood yet.
    heard: Vec<u8>,
    shook_hands: bool,
    resend_at: Option<Instant>,
}

impl Peer {
    fn new(info: &[u8]) -> Self {
        Self {
            info: info.to_vec(),
            id: None,
            next: Seq(9),
            ack: Seq(0),
            flight: VecDeque::new(),
            unsent: Vec::new(),
            early: BTreeMap::new(),
            heard: Vec::new(),
            shook_hands: false,
            resend_at: None,
        }
    }

    fn packet(&self, now: Instant, kind: Kind, seq: Seq, payload: &[u8]) -> Vec<u8> {
        let header = Header {
            kind,
            connection_id: self.id.expect("a SYN came"),
            timestamp: now.as_micros() as u32,
            timestamp_difference: 0,
            window: 1 << 20,
            seq,
            ack: self.ack,
        };
        let mut out = Vec::new();
        Packet { payload, ..Packet::bare(header) }.emit(&mut out);
        out
    }

    fn hears(&mut self, now: Instant, datagram: &[u8]) -> Vec<Vec<u8>> {
        let packet = Packet::parse(datagram).expect("a packet");
        let Header { kind, connection_id, seq, ack, .. } = packet.header;
        match kind {
            Kind::Syn => {
                *self = Self::new(&self.info.clone());
                (self.id, self.ack) = (Some(connection_id), seq);
                return vec![self.packet(now, Kind::State, self.next, b"")];
            }
            Kind::Reset => {
                *self = Self::new(&self.info.clone());
                return vec![];
            }
            _ if self.id.is_none() => return vec![],
            _ => {}
        }
        while self.flight.front().is_some_and(|(seq, _)| ack.0.wrapping_sub(seq.0) < 1_000) {
            self.flight.pop_front();
            self.resend_at = Some(now + PATIENCE);
        }
        let mut said = Vec::new();
        if kind == Kind::Data {
            self.early.insert(seq.0, packet.payload.to_vec());
            while let Some(bytes) = self.early.remove(&self.ack.0.wrapping_add(1)) {
                self.ack = Seq(self.ack.0.wrapping_add(1));
                self.heard.extend(bytes);
            }
            self.early.retain(|at, _| at.wrapping_sub(self.ack.0) < 1_000);
            self.understand();
            said.push(self.packet(now, Kind::State, self.next, b""));
        }
        said.extend(self.speak(now));
        said
    }

    fn speak(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut said = Vec::new();
        while self.flight.len() < FLIGHT && !self.unsent.is_empty() {
            let rest = self.unsent.split_off(self.unsent.len().min(SEGMENT));
            let segment = std::mem::replace(&mut self.unsent, rest);
            said.push(self.packet(now, Kind::Data, self.next, &segment));
            self.flight.push_back((self.next, segment));
            self.next = Seq(self.next.0.wrapping_add(1));
            self.resend_at.get_or_insert(now + PATIENCE);
        }
        if self.flight.is_empty() {
            self.resend_at = None;
        }
        said
    }

    fn wakes(&mut self, now: Instant) -> Vec<Vec<u8>> {
        if self.id.is_none() || self.resend_at.is_none_or(|at| at > now) {
            return vec![];
        }
        self.resend_at = Some(now + PATIENCE);
        let again = self.flight.iter().take(4);
        again.map(|(seq, bytes)| self.packet(now, Kind::Data, *seq, bytes)).collect()
    }

    /// Answers what was said so far, as a seed.
    fn understand(&mut self) {
        let size = Some(self.info.len() as i64);
        if !self.shook_hands && self.heard.len() >= HANDSHAKE_LEN {
            self.shook_hands = true;
            self.heard.drain(..HANDSHAKE_LEN);
            Handshake::new(hash(&self.info), [b'x'; 20]).emit(&mut self.unsent);
            Extensions { ut_metadata: Some(7), metadata_size: size, client: None }
                .emit(&mut self.unsent);
        }
        while self.shook_hands && self.heard.len() >= 4 {
            let len = u32::from_be_bytes(self.heard[..4].try_into().expect("four")) as usize;
            if self.heard.len() < 4 + len {
                break;
            }
            let message: Vec<u8> = self.heard.drain(..4 + len).skip(4).collect();
            if message.starts_with(&[20, 7]) {
                let text = String::from_utf8_lossy(&message[2..]).into_owned();
                let piece = text.split("5:piecei").nth(1).and_then(|rest| rest.split('e').next());
                let piece: usize = piece.and_then(|number| number.parse().ok()).expect("a piece");
                let data = self.info.chunks(PIECE_LEN).nth(piece).expect("one of its pieces");
                MetadataMessage::Data { piece: piece as i64, total_size: size }.emit(
                    &mut self.unsent,
                    OUR_METADATA_ID,
                    data,
                );
            }
        }
    }
}

enum Event {
    ToPeer(Vec<u8>),
    ToCrawler(SocketAddr, Vec<u8>),
}

/// A crawler, an adapter for its streams, and one address where a peer is.
struct Wire {
    crawler: Crawler,
    now: Instant,
    at: SocketAddr,
    /// `None`: nobody answers there.
    peer: Option<Peer>,
    dials: Vec<(Dial, Vec<u8>)>,
    events: BTreeMap<(Instant, u64), Event>,
    number: u64,
    /// One datagram in so many is lost; 0 for none.
    lose: u64,
    /// What was tried, and when packets left.
    tried: Vec<Transport>,
    sent: Vec<(Instant, Kind)>,
    /// The most bytes that were hashed or read for one datagram.
    longest: u64,
    rows: Vec<Row>,
}

fn config(mode: Mode) -> Config {
    Config {
        policy: AddressPolicy::AllowPrivate,
        own: [Some(SocketAddr::from(([9, 9, 9, 9], 6_881))), None],
        new_flows: None,
        encryption: EncryptionPolicy::Off,
        ..Config::new(mode)
    }
}

impl Wire {
    fn new(config: Config, peer: Option<Peer>) -> Self {
        let now = Instant::START;
        Self {
            crawler: Crawler::new(config, Seed::from_u64(3), now),
            now,
            at: SocketAddr::from(([30, 1, 1, 1], 6_881)),
            peer,
            dials: Vec::new(),
            events: BTreeMap::new(),
            number: 0,
            lose: 0,
            tried: Vec::new(),
            sent: Vec::new(),
            longest: 0,
            rows: Vec::new(),
        }
    }

    fn ask(&mut self, hash: InfoHash) {
        self.crawler.handle_request(self.now, &Request::new(hash, [self.at])).expect("room");
    }

    fn schedule(&mut self, event: Event) {
        self.number += 1;
        if self.lose == 0 || !self.number.is_multiple_of(self.lose) {
            self.events.insert((self.now + LATENCY, self.number), event);
        }
    }

    fn peer_says(&mut self, said: Vec<Vec<u8>>) {
        let at = self.at;
        said.into_iter().for_each(|datagram| self.schedule(Event::ToCrawler(at, datagram)));
    }

    /// Until `until`, or nothing is left that could happen.
    fn run(&mut self, until: Instant) {
        loop {
            self.turn();
            self.crawler.check();
            let dials = self.dials.iter().map(|(dial, _)| dial.exchange.poll_timeout());
            let event = self.events.keys().next().map(|(at, _)| *at);
            let peer = self.peer.as_ref().and_then(|peer| peer.resend_at);
            let next = dials.chain(event).chain(peer).chain(self.crawler.poll_timeout()).min();
            match next.filter(|at| *at <= until) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
            while self.events.first_key_value().is_some_and(|((at, _), _)| *at <= self.now) {
                let Some((_, event)) = self.events.pop_first() else { break };
                self.deliver(event);
            }
            let said = self.peer.as_mut().map_or(vec![], |peer| peer.wakes(self.now));
            self.peer_says(said);
            self.crawler.handle_timeout(self.now);
        }
        self.now = self.now.max(until);
    }

    fn deliver(&mut self, event: Event) {
        match event {
            Event::ToPeer(datagram) => {
                let said = self.peer.as_mut().map(|peer| peer.hears(self.now, &datagram));
                self.peer_says(said.unwrap_or_default());
            }
            Event::ToCrawler(from, datagram) => {
                let (crawler, now) = (&mut self.crawler, self.now);
                let ((), work) = work::of(|| crawler.handle_datagram(now, from, &datagram));
                self.longest = self.longest.max(work);
            }
        }
    }

    fn turn(&mut self) {
        let mut buf = Vec::new();
        while let Some(mut dial) = self.crawler.poll_dial(self.now) {
            self.tried.push(dial.transport);
            if dial.transport.is_utp() {
                self.dials.push((dial, Vec::new()));
            } else {
                let refused = dial.exchange.handle_failed(self.now, PeerFault::Refused);
                self.crawler.handle_outcome(self.now, dial.peer, refused);
            }
        }
        while self.crawler.poll_stream().is_some() {}
        for (mut dial, mut unsent) in std::mem::take(&mut self.dials) {
            match self.converse(&mut dial, &mut unsent) {
                Some(outcome) => self.crawler.handle_outcome(self.now, dial.peer, outcome),
                None => self.dials.push((dial, unsent)),
            }
        }
        while let Some(transmit) = self.crawler.poll_transmit(self.now, Family::V4, &mut buf) {
            if let Ok(packet) = Packet::parse(&buf) {
                assert_eq!(transmit.to, self.at);
                self.sent.push((self.now, packet.header.kind));
                self.schedule(Event::ToPeer(std::mem::take(&mut buf)));
            }
            buf.clear();
        }
        self.rows.extend(std::iter::from_fn(|| self.crawler.poll_row()));
        self.crawler.acknowledge_rows(self.rows.len() as u64);
    }

    /// What an adapter does for one connection.
    fn converse(&mut self, dial: &mut Dial, unsent: &mut Vec<u8>) -> Option<Outcome> {
        let (now, peer) = (self.now, dial.peer);
        let state = self.crawler.stream_state(peer).expect("its outcome was not handed in");
        match state {
            StreamState::Failed(_) if dial.exchange.is_connected() => {
                return Some(dial.exchange.handle_closed(now));
            }
            StreamState::Failed(fault) => return Some(dial.exchange.handle_failed(now, fault)),
            StreamState::Connecting => return None,
            StreamState::Connected | StreamState::Ended => {
                dial.exchange.handle_connected(now, unsent);
            }
        }
        let mut bytes = [0; 4_096];
        let mut step = dial.exchange.handle_timeout(now, unsent);
        while step == Step::Continue {
            let count = self.crawler.read_stream(now, peer, &mut bytes);
            if count == 0 {
                break;
            }
            step = dial.exchange.handle_bytes(now, &bytes[..count], unsent);
        }
        if let Step::Finished(outcome) = step {
            return Some(*outcome);
        }
        if let Some(size) = dial.exchange.accepted_size() {
            self.crawler.expect_stream(now, peer, size);
        }
        let written = self.crawler.write_stream(now, peer, unsent);
        unsent.drain(..written);
        None
    }

    fn count(&self, kind: Kind) -> usize {
        self.sent.iter().filter(|(_, sent)| *sent == kind).count()
    }
}

#[test]
fn metadata_comes_over_utp_where_tcp_is_refused_whatever_is_lost() {
    let info = torrent(40_000);
    for lose in [0, 11, 7] {
        let mut wire = Wire::new(config(Mode::Direct), Some(Peer::new(&info)));
        wire.lose = lose;
        wire.ask(hash(&info));
        wire.run(Instant::START + 60 * SECOND);
        let row = wire.rows.first().expect("settled");
        assert!(matches!(row.verdict, Verdict::Verified { .. }), "1 in {lose} lost: {row:?}");
        assert_eq!(row.transport, Some(Transport::Utp));
        assert_eq!(wire.tried, [Transport::Tcp, Transport::Utp]);
        let stats = wire.crawler.stats();
        assert_eq!((stats.dialled, stats.tcp_dialled, stats.utp_dialled), (2, 1, 1));
        assert_eq!((stats.utp_connected, stats.utp_handshaken, stats.utp_complete), (1, 1, 1));
        assert_eq!(stats.utp_packets_sent as usize, wire.sent.len());
        assert!(stats.utp_packets_received > 40 && stats.datagrams_sent == 0);
        assert_eq!(wire.count(Kind::Reset), 1, "and nothing is left of it");
        assert!(wire.crawler.is_idle());
        // What it answered to comes first the next time.
        wire.tried.clear();
        wire.ask(InfoHash([7; 20]));
        wire.run(wire.now + 60 * SECOND);
        assert_eq!(wire.tried[0], Transport::Utp);
    }
}

#[test]
fn who_is_silent_over_both_costs_three_syns_and_its_infohash_fails() {
    let mut wire = Wire::new(config(Mode::Direct), None);
    wire.ask(InfoHash([7; 20]));
    wire.run(Instant::START + (UTP_CONNECT_TIMEOUT - Duration::from_millis(1)));
    assert!(wire.rows.is_empty());
    wire.run(Instant::START + UTP_CONNECT_TIMEOUT);
    assert_eq!(wire.rows.len(), 1);
    assert_eq!((wire.sent.len(), wire.count(Kind::Syn)), (UTP_SYNS_MAX, UTP_SYNS_MAX));
    let stats = wire.crawler.stats();
    assert_eq!((stats.utp_dialled, stats.utp_connected), (1, 0));
    assert_eq!(stats.faults[PeerFault::ConnectTimeout as usize], 1);
}

#[test]
fn transports_that_are_off_are_not_used() {
    for (transports, tried) in
        [(TransportPolicy::Tcp, [Transport::Tcp]), (TransportPolicy::Utp, [Transport::Utp])]
    {
        let mut wire = Wire::new(Config { transports, ..config(Mode::Direct) }, None);
        wire.ask(InfoHash([7; 20]));
        wire.run(Instant::START + 60 * SECOND);
        assert_eq!((&wire.tried[..], wire.rows.len()), (&tried[..], 1));
    }
    // Without a socket there is no uTP, though it is all that was asked for.
    let transports = TransportPolicy::Utp;
    let config = Config { transports, own: [None; 2], ..config(Mode::Direct) };
    let mut wire = Wire::new(config, None);
    wire.ask(InfoHash([7; 20]));
    wire.run(Instant::START + SECOND);
    assert_eq!(wire.crawler.stats().faults[PeerFault::Unreachable as usize], 1);
}

/// What takes time with metadata is the exchange's, which is not called where datagrams arrive.
#[test]
fn no_datagram_of_a_stream_has_a_byte_hashed_or_read_and_the_rate_holds() {
    let info = torrent(1 << 20);
    let config = Config { utp_rate: 20, ..config(Mode::Direct) };
    let mut wire = Wire::new(config, Some(Peer::new(&info)));
    wire.ask(hash(&info));
    let ((), work) = work::of(|| wire.run(Instant::START + 120 * SECOND));
    assert!(matches!(wire.rows[0].verdict, Verdict::Verified { .. }));
    assert!(work > 1 << 20, "it was hashed, by whoever drives the exchange");
    assert_eq!(wire.longest, 0);
    let times: Vec<Instant> = wire.sent.iter().map(|(at, _)| *at).collect();
    assert!(in_window(&times, SECOND) <= 20 && times.len() > 40, "{}", times.len());
}

#[test]
fn strangers_leave_nothing_and_the_first_byte_tells_whose_a_datagram_is() {
    let syn = [&[0x41, 0, 1, 2][..], &[0; 16]].concat();
    for (transports, streams, queries) in
        [(TransportPolicy::Any, 1, 0), (TransportPolicy::Tcp, 0, 1)]
    {
        let mut crawler = Crawler::new(
            Config { transports, ..config(Mode::Crawl) },
            Seed::from_u64(1),
            Instant::START,
        );
        let stranger = SocketAddr::from(([60, 6, 6, 6], 6_881));
        for len in [1, 19, 20, DATAGRAM_LEN_MAX] {
            let mut datagram = syn.clone();
            datagram.resize(len, 0);
            crawler.handle_datagram(Instant::START, stranger, &datagram);
        }
        let stats = crawler.stats();
        assert_eq!(stats.utp_syns_ignored, streams);
        assert_eq!(stats.utp_packets_ignored, 3 * streams, "too short, or too long");
        assert_eq!((stats.datagrams_received, stats.malformed), (4 * queries, 4 * queries));
        let mut buf = Vec::new();
        assert!(crawler.poll_transmit(Instant::START, Family::V4, &mut buf).is_none());
        assert_eq!(crawler.poll_stream(), None);
        crawler.handle_datagram(Instant::START, stranger, b"d1:q");
        assert_eq!(crawler.stats().malformed, 4 * queries + 1);
        crawler.check();
    }
}

#[test]
fn the_end_of_a_run_resets_its_streams_and_sets_no_deadline() {
    let info = torrent(400_000);
    let mut wire = Wire::new(config(Mode::Direct), Some(Peer::new(&info)));
    wire.ask(hash(&info));
    wire.run(Instant::START + Duration::from_millis(150));
    let peer = wire.dials[0].0.peer;
    assert_eq!(wire.crawler.stream_state(peer), Some(StreamState::Connected));
    wire.crawler.handle_shutdown(wire.now);
    assert_eq!(wire.crawler.stream_state(peer), Some(StreamState::Failed(PeerFault::Aborted)));
    let mut buf = Vec::new();
    assert!(wire.crawler.poll_transmit(wire.now, Family::V4, &mut buf).is_some());
    assert_eq!(Packet::parse(&buf).map(|packet| packet.header.kind), Ok(Kind::Reset));
    assert!(wire.crawler.poll_transmit(wire.now, Family::V4, &mut buf).is_none());
    assert_eq!(wire.crawler.poll_timeout(), None);
    let outcome = wire.dials[0].0.exchange.handle_failed(wire.now, PeerFault::Aborted);
    wire.crawler.handle_outcome(wire.now, peer, outcome);
    assert_eq!(wire.crawler.stream_state(peer), None);
    wire.crawler.check();
}

#[test]
fn queries_and_packets_of_a_socket_take_turns() {
    let transports = TransportPolicy::Utp;
    let config = Config { transports, rate: None, ..config(Mode::Fetch) };
    let mut crawler = Crawler::new(config, Seed::from_u64(1), Instant::START);
    let nodes: Vec<_> = (0..30).map(|n| SocketAddr::from(([20, 1, n, 1], 6_881))).collect();
    for n in 0..30 {
        let peer = SocketAddr::from(([30, 1, n, 1], 6_881));
        let request = Request::new(InfoHash([n; 20]), [peer]);
        crawler.handle_request(Instant::START, &request).expect("room");
    }
    crawler.handle_bootstrap(Instant::START, &nodes, Bootstrap::Node);
    let now = Instant::START + SECOND;
    crawler.handle_timeout(now);
    while crawler.poll_dial(now).is_some() {}
    let mut buf = Vec::new();
    let mut kinds = Vec::new();
    while kinds.len() < 20
        && let Some(transmit) = crawler.poll_transmit(now, Family::V4, &mut buf)
    {
        kinds.push(buf[buf.len() - transmit.len] == b'd');
    }
    assert_eq!(kinds, [true, false].repeat(10));
}
