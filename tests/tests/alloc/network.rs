//! The simulator's nodes and a crawler among them, in memory: truth and answers are the
//! simulator's, every node is honest and answers after the same delay. The crawler's calls are the
//! only ones that are measured, which the simulator's own harnesses could not do: they look on
//! after each of them.

use std::collections::VecDeque;
use std::net::SocketAddr;

use estudely_core::keyed::Rng;
use estudely_core::state::WallTime;
use estudely_core::{
    Bootstrap, Config, Crawler, Dial, Duration, Family, InfoHash, Instant, Mode, Seed, Transmit,
    TransportPolicy,
};
use estudely_sim::addresses::{self, Addresses};
use estudely_sim::node::Node;
use estudely_sim::world::World;
use estudely_sim::world::dht::{Plan, Resident};

use crate::counting::{Cost, cost};

/// From a query to its answer.
const DELAY: Duration = Duration::from_millis(50);
/// Nodes that store an infohash.
const HOLDERS: usize = 16;
/// What every node says of its sample's interval: the shortest that is kept.
const INTERVAL_SECS: u32 = 300;

/// Infohashes that appear together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    /// Since when nodes store them: the beginning of an interval, so that they show them at once.
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
    world: World,
    nodes: Vec<Node>,
    own: SocketAddr,
    /// Those to come.
    batches: VecDeque<Batch>,
    /// Infohashes that exist.
    existing: usize,
    answers: VecDeque<Answer>,
    spare: Vec<Vec<u8>>,
    buf: Vec<u8>,
}

impl Network {
    /// A network of `count` nodes and a crawler that knows one of them.
    pub(crate) fn new(count: usize, batches: Vec<Batch>) -> Self {
        let world = World::build(plan(count as u32)).expect("a world");
        let own = addresses::own(Family::V4);
        let config = Config::new(Mode::Crawl).with_transports(TransportPolicy::Tcp);
        let config = config.with_own(own).and_then(|config| config.with_rate(None));
        let config = config.and_then(|config| config.with_new_flows(None)).expect("in range");
        let mut crawler = Crawler::new(config, Seed::from_u64(1), Instant::START);
        crawler.handle_bootstrap(Instant::START, &[world.contact(0).addr], Bootstrap::Node);
        Self {
            crawler,
            now: Instant::START,
            spent: 0,
            given: 0,
            noise: 0,
            dials: 0,
            rows: 0,
            journal: None,
            nodes: (0..world.node_count()).map(Node::new).collect(),
            world,
            own,
            batches: batches.into(),
            existing: 0,
            answers: VecDeque::new(),
            spare: Vec::new(),
            // As an adapter's, it is there before the first datagram.
            buf: Vec::with_capacity(2_048),
        }
    }

    /// Lets time pass until `until` says so.
    pub(crate) fn run(&mut self, until: impl Fn(&Self) -> bool) {
        while !until(self) {
            self.store_what_is_due();
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

    fn answer(&mut self, to: SocketAddr, query: &[u8], out: &mut Vec<u8>) {
        let resident = self.world.resident_at(self.now, to);
        let Some(Resident::Node(number)) = resident else { panic!("{to} is no node") };
        let node = &mut self.nodes[number as usize];
        node.handle_datagram(&self.world, self.now, self.own, query, out);
    }

    /// Has nodes in turn store the infohashes of the batches that begin.
    fn store_what_is_due(&mut self) {
        while let Some(batch) = self.batches.pop_front_if(|batch| batch.from <= self.now) {
            for number in self.existing..self.existing + batch.count {
                let key = infohash(number);
                let [a, b, ..] = key.0;
                let peer = batch.has_peers.then(|| SocketAddr::from(([40, a, b, 1], 50_000)));
                for holder in number * HOLDERS..(number + 1) * HOLDERS {
                    let holder = holder % self.nodes.len();
                    self.nodes[holder].store(key, peer);
                }
            }
            self.existing += batch.count;
        }
    }
}

/// Honest nodes, and no torrents but those that they are given.
pub(crate) fn plan(nodes: u32) -> Plan {
    let addresses = Addresses::Public(Family::V4);
    Plan { interval: INTERVAL_SECS, ..Plan::without_torrents(51, nodes, addresses) }
}

/// Infohash number `n`: all over the keyspace.
fn infohash(n: usize) -> InfoHash {
    InfoHash(Rng::new(Seed::from_u64(n as u64)).bytes())
}
