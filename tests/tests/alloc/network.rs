//! A DHT in memory, as plain as it can be: every node knows every other, answers after the same
//! delay, and samples what exists at that time. The crawler's calls are the only ones that are
//! measured.

use std::collections::VecDeque;
use std::net::SocketAddr;

use estudely_core::keyed::Rng;
use estudely_core::krpc::{Envelope, Kind, Message, Method, ReplyBody, emit_reply};
use estudely_core::state::WallTime;
use estudely_core::{
    Bootstrap, Config, Contact, Crawler, Dial, Duration, Family, Id, InfoHash, Instant, Mode,
    NodeId, Seed, Transmit,
};

use crate::counting::{Cost, cost};

/// From a query to its answer.
const DELAY: Duration = Duration::from_millis(50);
/// Contacts in an answer.
const K: usize = 8;
/// Infohashes in a sample.
const SAMPLES: usize = 20;
/// What every node says of its sample's interval: the shortest that is kept.
const INTERVAL_SECS: i64 = 300;

/// Infohashes that appear together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    /// Since when nodes sample them.
    pub(crate) from: Instant,
    /// How many.
    pub(crate) count: usize,
    /// Whether each has a peer.
    pub(crate) has_peers: bool,
}

/// A datagram on its way to the crawler.
#[derive(Debug)]
struct Answer {
    due: Instant,
    from: SocketAddr,
    bytes: Vec<u8>,
}

/// The network and the crawler in it.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) crawler: Crawler,
    pub(crate) now: Instant,
    /// What the crawler's calls cost so far.
    pub(crate) spent: u64,
    /// Datagrams that the crawler was given so far.
    pub(crate) given: u64,
    /// Of these, what no query asked for.
    pub(crate) noise: u64,
    /// Dials that the crawler asked for; all were refused.
    pub(crate) dials: u64,
    /// Rows taken, each of them written at once.
    rows: u64,
    /// Records of what changed, if they are kept.
    pub(crate) journal: Option<Vec<u8>>,
    /// In the order of their ids.
    nodes: Vec<Contact>,
    batches: Vec<Batch>,
    answers: VecDeque<Answer>,
    spare: Vec<Vec<u8>>,
    buf: Vec<u8>,
}

impl Network {
    /// A network of `count` nodes and a crawler that knows one of them.
    pub(crate) fn new(count: usize, batches: Vec<Batch>) -> Self {
        let mut rng = Rng::new(Seed::from_u64(51));
        let mut nodes: Vec<Contact> = (0..count)
            .map(|n| {
                let addr = SocketAddr::from(([20, 1, (n >> 8) as u8, n as u8], 6_881));
                Contact { id: NodeId(rng.bytes()), addr }
            })
            .collect();
        nodes.sort_by_key(|node| node.id);
        let own = SocketAddr::from(([30, 1, 1, 1], 6_881));
        let config =
            Config::new(Mode::Crawl).with_own(own).and_then(|config| config.with_rate(None));
        let config = config.and_then(|config| config.with_new_flows(None)).expect("in range");
        let mut crawler = Crawler::new(config, Seed::from_u64(1), Instant::START);
        crawler.handle_bootstrap(Instant::START, &[nodes[0].addr], Bootstrap::Node);
        Self {
            crawler,
            now: Instant::START,
            spent: 0,
            given: 0,
            noise: 0,
            dials: 0,
            rows: 0,
            journal: None,
            nodes,
            batches,
            answers: VecDeque::new(),
            spare: Vec::new(),
            // As an adapter's, it is there before the first datagram.
            buf: Vec::with_capacity(2_048),
        }
    }

    /// Lets time pass until `until` says so.
    pub(crate) fn run(&mut self, until: impl Fn(&Self) -> bool) {
        while !until(self) {
            self.drain();
            let due = self.answers.front().map(|answer| answer.due);
            let next = [due, self.crawler.poll_timeout()].into_iter().flatten().min();
            self.now = next.expect("a sweep never ends").max(self.now);
            while let Some(answer) = self.answers.pop_front_if(|answer| answer.due <= self.now) {
                self.give(answer.from, &answer.bytes);
                self.disturb(answer.from, &answer.bytes);
                self.spare.push(answer.bytes);
            }
            self.measured(|crawler, now| crawler.handle_timeout(now));
        }
    }

    /// A call of the crawler's, on the bill.
    fn measured<T>(&mut self, call: impl FnOnce(&mut Crawler, Instant) -> T) -> T {
        let (result, Cost { allocations, .. }) = cost(|| call(&mut self.crawler, self.now));
        self.spent += allocations;
        result
    }

    fn give(&mut self, from: SocketAddr, bytes: &[u8]) {
        self.given += 1;
        self.measured(|crawler, now| crawler.handle_datagram(now, from, bytes));
    }

    /// Beside every fourth answer: itself again, itself from elsewhere, torn, and garbage.
    fn disturb(&mut self, from: SocketAddr, bytes: &[u8]) {
        let elsewhere = SocketAddr::new(from.ip(), 7);
        let noise: [(SocketAddr, &[u8]); 4] = [
            (from, bytes),
            (elsewhere, bytes),
            (from, &bytes[..bytes.len() / 2]),
            (from, b"\x00not bencode at all"),
        ];
        if let Some((from, bytes)) = noise.get((self.given % 16) as usize / 4)
            && self.given.is_multiple_of(4)
        {
            self.noise += 1;
            self.give(*from, bytes);
        }
    }

    /// Polls everything that may be polled.
    fn drain(&mut self) {
        let mut buf = std::mem::take(&mut self.buf);
        while let Some(Transmit { to, len }) =
            self.measured(|crawler, now| crawler.poll_transmit(now, Family::V4, &mut buf))
        {
            let query = &buf[buf.len() - len..];
            let mut bytes = self.spare.pop().unwrap_or_default();
            bytes.clear();
            self.answer(to, query, &mut bytes);
            self.answers.push_back(Answer { due: self.now + DELAY, from: to, bytes });
            buf.clear();
        }
        self.buf = buf;
        while let Some(Dial { peer, mut exchange, .. }) =
            self.measured(|crawler, now| crawler.poll_dial(now))
        {
            self.dials += 1;
            let refused = estudely_core::PeerFault::Refused;
            let outcome = exchange.handle_failed(self.now, refused);
            self.measured(|crawler, now| crawler.handle_outcome(now, peer, outcome));
        }
        while self.measured(|crawler, _| crawler.poll_row()).is_some() {
            self.rows += 1;
            let rows = self.rows;
            self.measured(|crawler, _| crawler.acknowledge_rows(rows));
        }
        if let Some(mut journal) = self.journal.take() {
            let wall = WallTime(self.now.as_micros() / 1_000_000);
            self.measured(|crawler, _| crawler.poll_journal(wall, &mut journal));
            journal.clear();
            self.journal = Some(journal);
        }
    }

    fn answer(&self, to: SocketAddr, query: &[u8], out: &mut Vec<u8>) {
        let number = self.nodes.iter().position(|node| node.addr == to).expect("a node");
        let message = Message::parse(query).expect("a valid query");
        let Kind::Query(query) = message.kind else { panic!("not a query") };
        let (mut samples, mut values) = ([InfoHash([0; 20]); SAMPLES], Vec::new());
        let mut reply = ReplyBody::new(self.nodes[number].id);
        let target = match query.method {
            Method::Ping => None,
            Method::FindNode { target } => Some(target),
            Method::SampleInfohashes { target } => {
                let exist = self.existing();
                for (place, sample) in samples.iter_mut().enumerate() {
                    *sample = infohash((number * SAMPLES + place) % exist);
                }
                reply = ReplyBody {
                    samples: Some(&samples),
                    interval: Some(INTERVAL_SECS),
                    num: Some(exist as i64),
                    ..reply
                };
                Some(target)
            }
            Method::GetPeers { info_hash, .. } => {
                values.extend(self.peer_of(info_hash));
                Some(info_hash.id())
            }
            other => panic!("{other:?}"),
        };
        let nearest = target.map(|target| self.nearest(target));
        let nodes = nearest.as_ref().map_or(&[][..], |nearest| &nearest[..]);
        let envelope = Envelope {
            transaction: message.transaction,
            version: None,
            read_only: false,
            external: None,
        };
        let token = values.is_empty().then_some(&b"token"[..]);
        emit_reply(out, &envelope, &ReplyBody { nodes, values: &values, token, ..reply });
    }

    /// Infohashes that exist by now.
    fn existing(&self) -> usize {
        let begun = self.batches.iter().filter(|batch| batch.from <= self.now);
        begun.map(|batch| batch.count).sum()
    }

    /// The peer of an infohash whose batch has peers.
    fn peer_of(&self, hash: InfoHash) -> Option<SocketAddr> {
        let mut index = number_of(hash);
        let batch = self.batches.iter().find(|batch| {
            let inside = index < batch.count;
            index = index.saturating_sub(batch.count);
            inside
        })?;
        let [a, b, ..] = hash.0;
        batch.has_peers.then(|| SocketAddr::from(([40, a, b, 1], 50_000)))
    }

    /// The nodes nearest to `target`: in a sorted list they share its longest prefix.
    fn nearest(&self, target: Id) -> [Contact; K] {
        let place = self.nodes.partition_point(|node| node.id.id() < target);
        let start = place.saturating_sub(2 * K).min(self.nodes.len() - 4 * K);
        let mut near: [Contact; 4 * K] = std::array::from_fn(|n| self.nodes[start + n]);
        near.sort_by_key(|node| node.id.id().distance(target));
        std::array::from_fn(|n| near[n])
    }
}

/// Infohash number `n`: all over the keyspace, and its number at the end.
fn infohash(n: usize) -> InfoHash {
    let mut bytes: [u8; 20] = Rng::new(Seed::from_u64(n as u64)).bytes();
    bytes[16..].copy_from_slice(&(n as u32).to_be_bytes());
    InfoHash(bytes)
}

fn number_of(hash: InfoHash) -> usize {
    let [.., a, b, c, d] = hash.0;
    u32::from_be_bytes([a, b, c, d]) as usize
}
