//! A world small enough to read: nodes that all know their neighbourhood, peers that answer at
//! once or misbehave in one way, a fixed latency, and a driver loop that jumps through time.
//!
//! The core's own tests have this one because the simulator (`sim/src/world`) depends on the core;
//! everything outside of the core takes the simulator's.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::SocketAddr;

use sha1::{Digest, Sha1};

use crate::base::addr::{AddressPolicy, Contact, Family};
use crate::base::fault::PeerFault;
use crate::base::id::{Id, InfoHash, NodeId};
use crate::base::rng::{Rng, Seed};
use crate::base::time::{Duration, Instant};
use crate::codec::bencode::Writer;
use crate::codec::krpc::{self, Envelope, Kind, Message, Method, Query, ReplyBody};
use crate::codec::wire::{Extensions, Handshake, MetadataMessage, OUR_METADATA_ID};
use crate::config::{Config, Mode, TransportPolicy};
use crate::crawl::crawler::{Bootstrap, Crawler, Dial};
use crate::crawl::row::Row;
use crate::lead::Request;
use crate::peer::exchange::Step;
use crate::state::{Restored, WallTime};

const LATENCY: Duration = Duration::from_millis(20);

pub(super) fn node_addr(index: usize) -> SocketAddr {
    SocketAddr::from(([20, (index / 250) as u8, (index % 250) as u8, 1], 6881))
}

pub(super) fn peer_addr(torrent: usize, index: usize) -> SocketAddr {
    SocketAddr::from(([30, torrent as u8, index as u8, 1], 6881))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerKind {
    Seed,
    Refuses,
    Silent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeKind {
    Samples,
    SilentToSamples,
    ErrorToSamples,
    FindNodeForSamples,
    /// Names a hundred peers that refuse, for everything.
    BogusPeers,
    /// Names eight invented contacts that share so many bits with what it is asked about.
    InventsContacts(u32),
}

#[derive(Debug)]
pub(super) struct Node {
    contact: Contact,
    pub(super) kind: NodeKind,
    stored: BTreeMap<InfoHash, Vec<SocketAddr>>,
    pub(super) asked: u32,
    pub(super) samples_asked: u32,
    pub(super) also_names: Option<SocketAddr>,
}

/// What a query asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    Ping,
    FindNode,
    GetPeers,
    Sample,
}

/// A query that the crawler sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) at: Instant,
    pub(super) to: SocketAddr,
    pub(super) asks: Asks,
}

#[derive(Debug)]
enum Event {
    ToNode(usize, Vec<u8>),
    ToCrawler(SocketAddr, Vec<u8>),
    Connect(usize),
}

pub(super) struct World {
    pub(super) config: Config,
    pub(super) crawler: Crawler,
    pub(super) now: Instant,
    pub(super) known: Vec<InfoHash>,
    pub(super) requests: Vec<(InfoHash, Vec<SocketAddr>)>,
    pub(super) bootstrap_kind: Bootstrap,
    pub(super) bootstrap_silent_until: Instant,
    pub(super) forge: bool,
    /// From when to when nothing gets through.
    pub(super) cut: Option<(Instant, Instant)>,
    /// Rows are left where they are.
    pub(super) hold_rows: bool,
    /// The output takes so many rows and then none: it is full.
    pub(super) rows_left: Option<usize>,
    /// Rows that the output has of this crawler.
    rows_written: u64,
    /// A seed of everything that hangs up on a second connection.
    pub(super) one_at_a_time: Option<SocketAddr>,
    pub(super) strict_deadlines: bool,
    /// The state file: a snapshot whenever [`World::save`] is called, and records since.
    pub(super) disk: Option<Vec<u8>>,
    /// What the wall clock is wrong by, in seconds.
    pub(super) wall_error: i64,
    /// After so many turns the world stands still.
    pub(super) turns_left: Option<u32>,
    /// Every query, in order.
    pub(super) sent: Vec<Sent>,
    /// Whose samples arrived when.
    pub(super) samples_arrived: Vec<(SocketAddr, Instant)>,
    pub(super) trace: Vec<u8>,
    contacts: Vec<(SocketAddr, Instant)>,
    seed: u64,
    rng: Rng,
    nodes: Vec<Node>,
    torrents: BTreeMap<InfoHash, Vec<u8>>,
    peers: BTreeMap<SocketAddr, PeerKind>,
    dials: Vec<Option<Dial>>,
    events: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
}

impl World {
    pub(super) fn new(seed: u64, nodes: usize) -> Self {
        let mut rng = Rng::new(Seed::from_u64(seed)).fork("world");
        let node = |index| Node {
            contact: Contact { id: NodeId(rng.bytes()), addr: node_addr(index) },
            kind: NodeKind::Samples,
            stored: BTreeMap::new(),
            asked: 0,
            samples_asked: 0,
            also_names: None,
        };
        let nodes = (0..nodes).map(node).collect();
        let config = Config {
            policy: AddressPolicy::AllowPrivate,
            own: [Some(SocketAddr::from(([9, 9, 9, 9], 6881))), None],
            rate: None,
            new_flows: None,
            transports: TransportPolicy::Tcp,
            ..Config::new(Mode::Crawl)
        };
        Self {
            crawler: Crawler::new(config.clone(), Seed::from_u64(seed), Instant::START),
            config,
            now: Instant::START,
            known: Vec::new(),
            requests: Vec::new(),
            bootstrap_kind: Bootstrap::Node,
            bootstrap_silent_until: Instant::START,
            forge: false,
            cut: None,
            hold_rows: false,
            rows_left: None,
            rows_written: 0,
            one_at_a_time: None,
            strict_deadlines: false,
            disk: None,
            wall_error: 0,
            turns_left: None,
            sent: Vec::new(),
            samples_arrived: Vec::new(),
            trace: Vec::new(),
            contacts: Vec::new(),
            seed,
            rng,
            nodes,
            torrents: BTreeMap::new(),
            peers: BTreeMap::new(),
            dials: Vec::new(),
            events: BTreeMap::new(),
            sequence: 0,
        }
    }

    /// Adds torrents, each with one peer of each kind given, stored on the eight nearest nodes.
    /// Every node holds at most twenty, so all are exposed.
    pub(super) fn add_torrents(&mut self, count: usize, kinds: &[PeerKind]) -> Vec<InfoHash> {
        let mut added = Vec::new();
        for _ in 0..count {
            let number = self.torrents.len();
            let mut info = Vec::new();
            let name = format!("torrent {number}");
            Writer::new(&mut info).dict().bytes(b"length").int(1_000 + number as i64);
            Writer::new(&mut info).bytes(b"name").bytes(name.as_bytes());
            Writer::new(&mut info).bytes(b"piece length").int(16_384);
            Writer::new(&mut info).bytes(b"pieces").bytes(&self.rng.bytes::<20>()).end();
            added.push(self.add_metadata(info, kinds));
        }
        added.sort();
        added
    }

    /// Adds what goes by the hash of `info`, whatever that is.
    pub(super) fn add_metadata(&mut self, info: Vec<u8>, kinds: &[PeerKind]) -> InfoHash {
        let number = self.torrents.len();
        let hash = InfoHash(Sha1::digest(&info).into());
        let addrs: Vec<_> = (0..kinds.len()).map(|index| peer_addr(number, index)).collect();
        self.peers.extend(addrs.iter().copied().zip(kinds.iter().copied()));
        for index in self.nearest(hash.id(), 8) {
            self.nodes[index].stored.insert(hash, addrs.clone());
        }
        self.torrents.insert(hash, info);
        hash
    }

    pub(super) fn only_the_nearest_knows_peers(&mut self, hashes: &[InfoHash]) {
        for hash in hashes {
            for index in self.nearest(hash.id(), 8).into_iter().skip(1) {
                self.nodes[index].stored.insert(*hash, Vec::new());
            }
        }
    }

    /// Leaves these torrents on the one node nearest to each.
    pub(super) fn store_on_one_node(&mut self, hashes: &[InfoHash]) {
        for hash in hashes {
            for index in self.nearest(hash.id(), 8).into_iter().skip(1) {
                self.nodes[index].stored.remove(hash);
            }
        }
    }

    pub(super) fn node_id(&self, index: usize) -> NodeId {
        self.nodes[index].contact.id
    }

    pub(super) fn move_node(&mut self, index: usize, addr: SocketAddr) {
        self.nodes[index].contact.addr = addr;
    }

    /// Takes a connection that a silent peer has accepted.
    pub(super) fn take_open_dial(&mut self) -> Option<Dial> {
        self.dials.iter_mut().find_map(Option::take)
    }

    /// When a sample was asked for, and of whom.
    pub(super) fn sampled(&self) -> impl Iterator<Item = (SocketAddr, Instant)> {
        let samples = self.sent.iter().filter(|sent| sent.asks == Asks::Sample);
        samples.map(|sent| (sent.to, sent.at))
    }

    /// When each datagram was sent or connection begun.
    pub(super) fn contact_times(&self) -> impl Iterator<Item = Instant> {
        self.contacts.iter().map(|(_, at)| *at)
    }

    pub(super) fn revive(&mut self, hash: InfoHash) {
        let peers = self.nodes.iter().filter_map(|node| node.stored.get(&hash)).flatten();
        for peer in peers.copied().collect::<Vec<_>>() {
            self.peers.insert(peer, PeerKind::Seed);
        }
    }

    /// Those of `hashes` that some node gives away as a sample.
    pub(super) fn exposed(&self, hashes: &[InfoHash]) -> Vec<InfoHash> {
        let samples = |node: &&Node| node.kind == NodeKind::Samples;
        let exposing = |hash: &InfoHash| {
            self.nodes.iter().filter(samples).any(|node| node.sample().contains(hash))
        };
        hashes.iter().copied().filter(exposing).collect()
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    pub(super) fn nodes_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.nodes.iter_mut()
    }

    pub(super) fn contacted(&self) -> impl Iterator<Item = SocketAddr> {
        self.contacts.iter().map(|(addr, _)| *addr)
    }

    /// When each endpoint was first contacted; every dial counts.
    pub(super) fn first_contacts(&self) -> Vec<Instant> {
        let mut seen = BTreeSet::new();
        let is_node = |addr: &SocketAddr| !self.peers.contains_key(addr);
        self.contacts.iter().filter(|(a, _)| !is_node(a) || seen.insert(*a)).map(|c| c.1).collect()
    }

    /// A crawl from the start with the world's settings, for so long.
    pub(super) fn crawl(&mut self, mode: Mode, time: Duration) -> Vec<Row> {
        self.config.mode = mode;
        self.crawler = Crawler::new(self.config.clone(), Seed::from_u64(self.seed), self.now);
        self.rows_written = 0;
        self.crawler.handle_bootstrap(self.now, &[node_addr(0)], self.bootstrap_kind);
        for hash in &self.known {
            self.crawler.handle_known(*hash);
        }
        for (hash, peers) in &self.requests {
            let request = Request::new(*hash, peers.iter().copied());
            self.crawler.handle_request(self.now, &request).expect("few requests");
        }
        self.resume(time)
    }

    pub(super) fn wall(&self) -> WallTime {
        let seconds = self.now.as_micros() / 1_000_000 + 1_700_000_000;
        WallTime(seconds.saturating_add_signed(self.wall_error))
    }

    /// Writes the state anew, and keeps records from now on.
    pub(super) fn save(&mut self) {
        let mut disk = Vec::new();
        self.crawler.keep_journal();
        self.crawler.snapshot(self.wall(), &mut disk);
        self.crawler.poll_journal(self.wall(), &mut Vec::new());
        self.disk = Some(disk);
    }

    /// The process dies with everything that was open and on its way; the next one has its disk,
    /// and no bootstrap node.
    pub(super) fn kill_and_restore(&mut self) -> Restored {
        self.events.clear();
        self.dials.clear();
        self.seed += 1;
        self.crawler = Crawler::new(self.config.clone(), Seed::from_u64(self.seed), self.now);
        self.rows_written = 0;
        let disk = self.disk.take().expect("it was saved");
        let restored = self.crawler.restore(self.now, self.wall(), &disk).expect("it is whole");
        self.crawler.check();
        for hash in &self.known {
            self.crawler.handle_known(*hash);
        }
        self.save();
        restored
    }

    /// Every crawl begun here saves its state from the start.
    pub(super) fn begin(&mut self) {
        self.rows_written = 0;
        self.crawler = Crawler::new(self.config.clone(), Seed::from_u64(self.seed), self.now);
        self.crawler.handle_bootstrap(self.now, &[node_addr(0)], self.bootstrap_kind);
        self.save();
    }

    /// The same crawl for so long again.
    pub(super) fn resume(&mut self, time: Duration) -> Vec<Row> {
        let end = self.now + time;
        let mut rows = Vec::new();
        loop {
            self.drain(&mut rows);
            self.crawler.check();
            let wall = self.wall();
            if let Some(disk) = &mut self.disk {
                self.crawler.poll_journal(wall, disk);
            }
            if let Some(turns) = &mut self.turns_left {
                if *turns == 0 {
                    return rows;
                }
                *turns -= 1;
            }
            let event = self.events.keys().next().map(|(at, _)| *at);
            let deadline = self.crawler.poll_timeout();
            assert!(
                !self.strict_deadlines || deadline.is_none_or(|at| at > self.now),
                "{deadline:?}"
            );
            let exchange = self.dials.iter().flatten().map(|d| d.exchange.poll_timeout()).min();
            let next = [event, deadline, exchange].into_iter().flatten().min();
            match next {
                Some(at) if at <= end => self.now = self.now.max(at),
                _ => break,
            }
            self.deliver();
            self.expire_dials();
            self.crawler.handle_timeout(self.now);
        }
        self.now = end;
        rows
    }

    fn drain(&mut self, rows: &mut Vec<Row>) {
        let mut buf = Vec::new();
        while let Some(transmit) = self.crawler.poll_transmit(self.now, Family::V4, &mut buf) {
            assert_eq!(transmit.len, buf.len());
            self.trace.extend_from_slice(&buf);
            self.sent.push(Sent { at: self.now, to: transmit.to, asks: asks(&buf) });
            self.contacts.push((transmit.to, self.now));
            if let Some(index) = self.nodes.iter().position(|n| n.contact.addr == transmit.to) {
                self.schedule(Event::ToNode(index, std::mem::take(&mut buf)));
            }
            buf.clear();
        }
        while let Some(dial) = self.crawler.poll_dial(self.now) {
            self.contacts.push((dial.to, self.now));
            self.dials.push(Some(dial));
            self.schedule(Event::Connect(self.dials.len() - 1));
        }
        while !self.hold_rows
            && let Some(row) = self.crawler.poll_row()
        {
            if self.rows_left == Some(0) {
                continue; // taken, and not written
            }
            self.rows_left = self.rows_left.map(|left| left - 1);
            self.rows_written += 1;
            rows.push(row);
        }
        self.crawler.acknowledge_rows(self.rows_written);
    }

    fn schedule(&mut self, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + LATENCY, self.sequence), event);
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let event = entry.remove();
            if self.cut.is_some_and(|(from, to)| (from..to).contains(&self.now)) {
                continue; // of a connection the exchange's own deadline is what ends it
            }
            match event {
                Event::ToNode(index, datagram) => self.answer(index, &datagram),
                Event::ToCrawler(from, datagram) => {
                    if datagram.windows(9).any(|w| w == b"7:samples") {
                        self.samples_arrived.push((from, self.now));
                    }
                    self.crawler.handle_datagram(self.now, from, &datagram);
                }
                Event::Connect(index) => self.connect(index),
            }
        }
    }

    fn answer(&mut self, index: usize, datagram: &[u8]) {
        let message = Message::parse(datagram).expect("the crawler sends valid messages");
        let Kind::Query(query) = &message.kind else { panic!("the crawler only asks") };
        assert!(message.read_only, "it does not serve, so it says so");
        if index == 0 && self.now < self.bootstrap_silent_until {
            return;
        }
        let named = self.named(index, query);
        let node = &mut self.nodes[index];
        node.asked += 1;
        let from = node.contact;
        let Some(reply) = node.reply(query, message.transaction, &named) else { return };
        if self.forge {
            self.forge(from, message.transaction);
        }
        self.schedule(Event::ToCrawler(from.addr, reply));
    }

    /// The contacts of a node's answer.
    fn named(&mut self, index: usize, query: &Query<'_>) -> Vec<Contact> {
        let target = match query.method {
            Method::FindNode { target } | Method::SampleInfohashes { target } => target,
            Method::GetPeers { info_hash, .. } => info_hash.id(),
            _ => query.id.id(),
        };
        if let NodeKind::InventsContacts(bits) = self.nodes[index].kind {
            return [(); 8].map(|()| self.invent(target, bits)).into();
        }
        let mut nodes: Vec<Contact> =
            self.nearest(target, 8).into_iter().map(|n| self.nodes[n].contact).collect();
        if let (Some(addr), Some(last)) = (self.nodes[index].also_names, nodes.last_mut()) {
            last.addr = addr;
        }
        nodes
    }

    /// Answers that name a stranger and nothing else: one from elsewhere, and one from the right
    /// address under a transaction that was guessed.
    fn forge(&mut self, from: Contact, transaction: &[u8]) {
        let addr = SocketAddr::from(([60, 6, 6, 6], 6_881));
        let nodes = [Contact { id: NodeId([0x66; 20]), addr }];
        let body = ReplyBody { nodes: &nodes, ..ReplyBody::new(from.id) };
        let mut guess = transaction.to_vec();
        guess[3] ^= 1;
        for (addr, transaction) in [(node_addr(9_999), transaction), (from.addr, &guess[..])] {
            let mut out = Vec::new();
            let envelope =
                Envelope { transaction, version: None, read_only: false, external: None };
            krpc::emit_reply(&mut out, &envelope, &body);
            self.schedule(Event::ToCrawler(addr, out));
        }
    }

    /// A contact that nobody is, at an address where nobody listens.
    fn invent(&mut self, target: Id, bits: u32) -> Contact {
        let [a, b, c, port @ ..] = self.rng.bytes::<5>();
        let port = u16::from_be_bytes(port).max(1_024);
        Contact {
            id: NodeId(target.with_suffix(bits, Id(self.rng.bytes())).0),
            addr: SocketAddr::from(([a % 100 + 50, b, c, 1], port)),
        }
    }

    fn nearest(&self, target: Id, count: usize) -> Vec<usize> {
        let mut heap: BinaryHeap<_> = BinaryHeap::new();
        for (index, node) in self.nodes.iter().enumerate() {
            heap.push(Reverse((node.contact.id.id().distance(target), index)));
        }
        std::iter::from_fn(|| heap.pop().map(|Reverse((_, index))| index)).take(count).collect()
    }

    fn connect(&mut self, index: usize) {
        let Some(mut dial) = self.dials[index].take() else { return };
        if self.one_at_a_time == Some(dial.to) {
            return self.connect_to_serial(index, dial);
        }
        match self.peers.get(&dial.to) {
            Some(PeerKind::Seed) => self.converse(dial),
            Some(PeerKind::Silent) => {
                dial.exchange.handle_connected(self.now, &mut Vec::new());
                self.dials[index] = Some(dial);
            }
            Some(PeerKind::Refuses) | None => {
                let outcome = dial.exchange.handle_failed(self.now, PeerFault::Refused);
                self.crawler.handle_outcome(self.now, dial.peer, outcome);
            }
        }
    }

    /// The host of everything serves whoever comes when nobody else is there. Each conversation
    /// takes it one latency.
    fn connect_to_serial(&mut self, index: usize, mut dial: Dial) {
        if dial.exchange.is_connected() {
            return self.converse(dial);
        }
        let busy = self.dials.iter().flatten().any(|other| other.exchange.is_connected());
        dial.exchange.handle_connected(self.now, &mut Vec::new());
        if busy {
            let outcome = dial.exchange.handle_closed(self.now);
            self.crawler.handle_outcome(self.now, dial.peer, outcome);
        } else {
            self.dials[index] = Some(dial);
            self.schedule(Event::Connect(index));
        }
    }

    fn expire_dials(&mut self) {
        for index in 0..self.dials.len() {
            let due = |dial: &Dial| dial.exchange.poll_timeout() <= self.now;
            if !self.dials[index].as_ref().is_some_and(due) {
                continue;
            }
            let Some(mut dial) = self.dials[index].take() else { continue };
            match dial.exchange.handle_timeout(self.now, &mut Vec::new()) {
                Step::Continue => self.dials[index] = Some(dial),
                Step::Finished(outcome) => {
                    self.crawler.handle_outcome(self.now, dial.peer, *outcome)
                }
            }
        }
        self.dials
            .truncate(self.dials.iter().rposition(Option::is_some).map_or(0, |last| last + 1));
    }

    /// A seed's side of the whole conversation, at once.
    fn converse(&mut self, mut dial: Dial) {
        let info = self.torrents.get(&dial.exchange.hash()).cloned().unwrap_or_default();
        let mut out = Vec::new();
        dial.exchange.handle_connected(self.now, &mut out);
        let mut reply = Vec::new();
        Handshake::new(dial.exchange.hash(), [b'x'; 20]).emit(&mut reply);
        let step = dial.exchange.handle_bytes(self.now, &reply, &mut out);
        assert_eq!(step, Step::Continue);
        reply.clear();
        let size = i64::try_from(info.len()).expect("small");
        Extensions { ut_metadata: Some(7), metadata_size: Some(size), client: None }
            .emit(&mut reply);
        let step = dial.exchange.handle_bytes(self.now, &reply, &mut out);
        assert_eq!(step, Step::Continue);
        reply.clear();
        MetadataMessage::Data { piece: 0, total_size: Some(size) }.emit(
            &mut reply,
            OUR_METADATA_ID,
            &info,
        );
        match dial.exchange.handle_bytes(self.now, &reply, &mut out) {
            Step::Finished(outcome) => self.crawler.handle_outcome(self.now, dial.peer, *outcome),
            Step::Continue => panic!("one piece is all there is"),
        }
    }
}

fn v4(addr: SocketAddr) -> [u8; 4] {
    match addr {
        SocketAddr::V4(addr) => addr.ip().octets(),
        SocketAddr::V6(addr) => panic!("{addr} in a world of IPv4"),
    }
}

/// What a datagram of the crawler asks for.
fn asks(datagram: &[u8]) -> Asks {
    let message = Message::parse(datagram).expect("the crawler sends valid messages");
    let Kind::Query(query) = message.kind else { panic!("the crawler only asks") };
    match query.method {
        Method::Ping => Asks::Ping,
        Method::FindNode { .. } => Asks::FindNode,
        Method::GetPeers { .. } => Asks::GetPeers,
        Method::SampleInfohashes { .. } => Asks::Sample,
        other => panic!("the crawler never sends {other:?}"),
    }
}

impl Node {
    /// What it answers, if it does.
    fn reply(
        &mut self,
        query: &Query<'_>,
        transaction: &[u8],
        nodes: &[Contact],
    ) -> Option<Vec<u8>> {
        let envelope = Envelope { transaction, version: None, read_only: false, external: None };
        let sampling = matches!(query.method, Method::SampleInfohashes { .. });
        let mut reply = Vec::new();
        let samples_given = match self.kind {
            NodeKind::SilentToSamples if sampling => return None,
            NodeKind::ErrorToSamples if sampling => {
                krpc::emit_error(&mut reply, &envelope, 204, b"Method Unknown");
                return Some(reply);
            }
            NodeKind::Samples | NodeKind::BogusPeers | NodeKind::InventsContacts(_) => sampling,
            _ => false,
        };
        self.samples_asked += u32::from(samples_given);
        let (samples, values) = (self.sample(), self.values(query));
        let body = ReplyBody {
            nodes,
            values: &values,
            samples: samples_given.then_some(&samples),
            interval: samples_given.then_some(21_600),
            ..ReplyBody::new(self.contact.id)
        };
        krpc::emit_reply(&mut reply, &envelope, &body);
        Some(reply)
    }

    /// The peers of its answer.
    fn values(&self, query: &Query<'_>) -> Vec<SocketAddr> {
        let Method::GetPeers { info_hash, .. } = query.method else { return Vec::new() };
        match self.kind {
            NodeKind::BogusPeers => {
                let [_, a, b, _] = v4(self.contact.addr);
                let own = a.wrapping_mul(250).wrapping_add(b);
                (0..100).map(|n| SocketAddr::from(([40, own, n, 1], 6_881))).collect()
            }
            _ => self.stored.get(&info_hash).cloned().unwrap_or_default(),
        }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.contact.addr
    }

    pub(super) fn sample(&self) -> Vec<InfoHash> {
        self.stored.keys().copied().take(20).collect()
    }
}
