//! The whole control plane: any answers, in any order, at any time, and `check()` after each.
//!
//! The input is decoded into operations, one event each; there is no DHT behind them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::LazyLock;

use arbitrary::{Arbitrary, Unstructured};
use estudely_core::internal::exchange::UNGUARDED;
use estudely_core::krpc::{Envelope, Kind, Message, Method, ReplyBody, emit_error, emit_reply};
use estudely_core::utp::is_utp;
use estudely_core::wire::{Extensions, Handshake, MetadataMessage, OUR_METADATA_ID};
use estudely_core::{
    AddressPolicy, Bootstrap, Config, Contact, Crawler, Dial, Duration, Family, InfoHash, Instant,
    Mode, NodeId, PeerFault, Request, Seed, Step, Verdict,
};

/// Queries that wait for an answer from the fuzzer; older ones stay unanswered.
const WAITING_MAX: usize = 256;
/// Operations of one input; a long one only repeats itself.
const OPERATIONS_MAX: usize = 120;
/// Datagrams, dials and rows that one drain may give out: more would be a loop without end.
const DRAIN_MAX: usize = 10_000;

/// The only metadata that there is.
const INFO: &[u8] = b"d6:lengthi9e4:name1:n12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";

/// What is done to the crawler next.
#[derive(Debug, Arbitrary)]
enum Operation<'a> {
    /// A node answers one of the open queries.
    Reply {
        which: u16,
        id: u8,
        nodes: Vec<(u8, u16)>,
        samples: Option<Vec<u8>>,
        interval: Option<i32>,
        values: Vec<(u8, u16)>,
    },
    /// A node refuses one.
    Refuse { which: u16, code: u8 },
    /// An answer with a byte changed or its end cut off.
    Garble { which: u16, at: u16, byte: u8, cut: bool },
    /// Any datagram.
    Datagram { from: (u8, u16), payload: &'a [u8] },
    /// A connection ends.
    Fail { which: u8, fault: u8 },
    /// A connected peer says something.
    Say { which: u8, bytes: &'a [u8] },
    /// A connected peer speaks BitTorrent, and serves this much of [`INFO`].
    Serve { which: u8, bytes: u8 },
    /// Time passes, or seems to step back.
    Wait { millis: u16 },
    /// Much time passes.
    WaitLong { minutes: u16 },
    /// The clock steps back.
    StepBack { millis: u16 },
    /// Somebody asks for an infohash.
    Request { hash: u8, peers: Vec<(u8, u16)> },
    /// An output holds an infohash.
    Known { hash: u8 },
    /// No new work.
    ShutDown,
}

/// Structured operations on a crawler.
pub(super) fn crawler(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(settings) = Settings::arbitrary(&mut input) else { return };
    let mut world = World::new(&settings);
    for _ in 0..OPERATIONS_MAX {
        if input.is_empty() {
            break;
        }
        let Ok(operation) = Operation::arbitrary(&mut input) else { break };
        world.apply(operation);
        world.drain();
        world.crawler.check();
    }
    world.end();
}

#[derive(Debug, Arbitrary)]
struct Settings {
    mode: u8,
    private: bool,
    both: bool,
    rate: Option<u8>,
    flows: Option<u8>,
    connections: u8,
    most: Option<u8>,
}

impl Settings {
    fn config(&self) -> Config {
        let v6 = SocketAddr::from(([0x2a00, 1, 2, 3, 4, 5, 6, 7], 6_881));
        let mode = [Mode::Crawl, Mode::Crawl, Mode::Peers, Mode::Fetch][usize::from(self.mode % 4)];
        let private = self.private.then_some(AddressPolicy::AllowPrivate);
        let config = Config::new(mode)
            .with_policy(private.unwrap_or(AddressPolicy::Public))
            .with_max_infohashes(self.most.map(u64::from))
            .with_rate(self.rate.map(|rate| u32::from(rate) + 1))
            .and_then(|c| c.with_new_flows(self.flows.map(|flows| u32::from(flows) * 8 + 1)))
            .and_then(|config| config.with_max_connections(u32::from(self.connections) + 1));
        let own = [Some(([9, 9, 9, 9], 6_881).into()), self.both.then_some(v6)];
        config
            .and_then(|config| own.into_iter().flatten().try_fold(config, Config::with_own))
            .expect("every value is in range")
    }
}

struct World {
    crawler: Crawler,
    now: Instant,
    /// Queries sent: to whom, and the bytes.
    queries: VecDeque<(SocketAddr, Vec<u8>)>,
    /// Rows taken, each of them written at once.
    rows_taken: u64,
    dials: Vec<Dial>,
    /// What was reported, and whether as verified.
    rows: BTreeMap<InfoHash, bool>,
    policy: AddressPolicy,
    /// Addresses that the user named, which no policy sees.
    named: BTreeSet<SocketAddr>,
}

impl World {
    fn new(settings: &Settings) -> Self {
        let now = Instant::from_micros(1_000_000);
        let mut crawler = Crawler::new(settings.config(), Seed::from_u64(1), now);
        let nodes: Vec<SocketAddr> = (0..4).map(|n| address((n, n.into()))).collect();
        crawler.handle_bootstrap(now, &nodes[..2], Bootstrap::Node);
        crawler.handle_bootstrap(now, &nodes[2..], Bootstrap::Router);
        let mut world = Self {
            crawler,
            now,
            queries: VecDeque::new(),
            rows_taken: 0,
            dials: Vec::new(),
            rows: BTreeMap::new(),
            policy: settings.config().policy(),
            named: nodes.iter().copied().collect(),
        };
        world.drain();
        world
    }

    fn apply(&mut self, operation: Operation<'_>) {
        match operation {
            Operation::Reply { which, id, nodes, samples, interval, values } => {
                let samples =
                    samples.map(|hashes| hashes.into_iter().map(hash).collect::<Vec<_>>());
                let nodes: Vec<Contact> = nodes.into_iter().map(contact).collect();
                let values: Vec<SocketAddr> = values.into_iter().map(address).collect();
                self.answer(which, |transaction, from| {
                    let id = if id < 200 { contact_id(from) } else { NodeId([id; 20]) };
                    let body = ReplyBody {
                        nodes: &nodes,
                        nodes6: &nodes,
                        values: &values[..values.len().min(100)],
                        samples: samples.as_deref(),
                        interval: interval.map(i64::from),
                        ..ReplyBody::new(id)
                    };
                    reply(transaction, &body)
                });
            }
            Operation::Refuse { which, code } => self.answer(which, |transaction, _| {
                let mut out = Vec::new();
                emit_error(&mut out, &envelope(transaction), 200 + i64::from(code), b"no");
                out
            }),
            Operation::Garble { which, at, byte, cut } => {
                self.answer(which, |transaction, from| garbled(transaction, from, at, byte, cut));
            }
            Operation::Datagram { from, payload } => {
                let payload = &payload[..payload.len().min(2_048)];
                self.crawler.handle_datagram(self.now, address(from), payload);
            }
            Operation::Fail { which, fault } => self.fail(which, fault),
            Operation::Say { which, bytes } => self.say(which, bytes),
            Operation::Serve { which, bytes } => self.serve(which, bytes),
            Operation::Wait { millis } => self.wait(Duration::from_millis(millis.into())),
            Operation::WaitLong { minutes } => {
                self.wait(Duration::from_secs(u64::from(minutes) * 60))
            }
            Operation::StepBack { millis } => {
                let back = Duration::from_millis(millis.into()).as_micros() as u64;
                let earlier = Instant::from_micros(self.now.as_micros().saturating_sub(back));
                self.crawler.handle_timeout(earlier);
            }
            Operation::Request { hash: n, peers } => {
                let peers: Vec<SocketAddr> = peers.into_iter().map(address).collect();
                self.named.extend(&peers);
                let _ = self.crawler.handle_request(self.now, &Request::new(hash(n), peers));
            }
            Operation::Known { hash: n } => self.crawler.handle_known(hash(n)),
            Operation::ShutDown => self.crawler.handle_shutdown(self.now),
        }
    }

    /// Answers a query that was sent, from where it was sent to.
    fn answer(&mut self, which: u16, body: impl FnOnce(&[u8], SocketAddr) -> Vec<u8>) {
        let at = usize::from(which) % self.queries.len().max(1);
        let Some((to, query)) = self.queries.remove(at) else { return };
        let message = Message::parse(&query).expect("the crawler writes what can be read");
        let payload = body(message.transaction, to);
        if payload.len() <= 2_048 {
            self.crawler.handle_datagram(self.now, to, &payload);
        }
    }

    fn fail(&mut self, which: u8, fault: u8) {
        let Some(mut dial) = self.dial(which) else { return };
        let fault = PeerFault::ALL[usize::from(fault) % PeerFault::COUNT];
        let outcome = dial.exchange.handle_failed(self.now, fault);
        self.crawler.handle_outcome(self.now, dial.peer, outcome.clone());
        self.crawler.handle_outcome(self.now, dial.peer, outcome); // told twice, counts once
    }

    /// A peer that speaks BitTorrent and serves so many bytes.
    fn serve(&mut self, which: u8, bytes: u8) {
        let (index, bytes) = (self.index(which), usize::from(bytes).min(INFO.len()));
        let Some(hash) = self.dials.get(index).map(|dial| dial.exchange.hash()) else { return };
        let mut said = Vec::new();
        Handshake::new(hash, *b"-FZ0001-fuzzfuzzfuzz").emit(&mut said);
        let size = Some(INFO.len() as i64);
        Extensions { ut_metadata: Some(3), metadata_size: size, client: None }.emit(&mut said);
        let data = MetadataMessage::Data { piece: 0, total_size: size };
        data.emit(&mut said, OUR_METADATA_ID, INFO);
        said.truncate(said.len() - INFO.len() + bytes);
        self.say(which, &said);
    }

    fn say(&mut self, which: u8, bytes: &[u8]) {
        let Some(mut dial) = self.dial(which) else { return };
        let mut out = Vec::new();
        dial.exchange.handle_connected(self.now, &mut out);
        match dial.exchange.handle_bytes(self.now, bytes, &mut out) {
            Step::Finished(outcome) => self.crawler.handle_outcome(self.now, dial.peer, *outcome),
            Step::Continue => self.dials.push(dial),
        }
    }

    fn index(&self, which: u8) -> usize {
        usize::from(which) % self.dials.len().max(1)
    }

    fn dial(&mut self, which: u8) -> Option<Dial> {
        let at = self.index(which);
        (at < self.dials.len()).then(|| self.dials.swap_remove(at))
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        let (over, open): (Vec<Dial>, Vec<Dial>) =
            self.dials.drain(..).partition(|dial| dial.exchange.poll_timeout() <= self.now);
        self.dials = open;
        for mut dial in over {
            match dial.exchange.handle_timeout(self.now, &mut Vec::new()) {
                Step::Finished(outcome) => {
                    self.crawler.handle_outcome(self.now, dial.peer, *outcome);
                }
                Step::Continue => {
                    assert!(dial.exchange.poll_timeout() > self.now, "a deadline moves or ends it");
                    self.dials.push(dial);
                }
            }
        }
        self.crawler.handle_timeout(self.now);
        self.drain();
        let due = self.crawler.poll_timeout();
        assert!(due.is_none_or(|due| due > self.now), "nothing is due twice: no spinning");
    }

    /// Everything that the crawler has to say.
    fn drain(&mut self) {
        let mut given = 0;
        let mut buf = Vec::new();
        for family in Family::ALL {
            while let Some(transmit) = self.crawler.poll_transmit(self.now, family, &mut buf) {
                given += 1;
                assert!(given < DRAIN_MAX, "polling returns");
                assert_eq!((transmit.len, Family::of(transmit.to)), (buf.len(), family));
                self.is_legitimate(transmit.to);
                if buf.first().is_some_and(|first| is_utp(*first)) {
                    buf.clear(); // nobody answers over uTP here
                    continue;
                }
                self.look_at(&buf);
                if self.queries.len() == WAITING_MAX {
                    self.queries.pop_front();
                }
                self.queries.push_back((transmit.to, std::mem::take(&mut buf)));
            }
        }
        while let Some(dial) = self.crawler.poll_dial(self.now) {
            given += 1;
            assert!(given < DRAIN_MAX, "polling returns");
            self.is_legitimate(dial.to);
            self.dials.push(dial);
        }
        while let Some(row) = self.crawler.poll_row() {
            self.rows_taken += 1;
            self.crawler.acknowledge_rows(self.rows_taken);
            // Where peers are all that is wanted, a second chance may end with some.
            let is_good = matches!(row.verdict, Verdict::Verified { .. } | Verdict::PeersOnly);
            let before = self.rows.insert(row.infohash, is_good);
            assert!(before.is_none_or(|good| !good && is_good), "False, then True");
            if let Verdict::Verified { metadata, .. } = &row.verdict {
                let open = cfg!(fuzzing) && row.infohash == UNGUARDED;
                assert!(open || metadata.raw() == INFO, "only what hashes is verified");
            }
        }
    }

    /// Nothing is ever sent to where hearsay may not lead us.
    fn is_legitimate(&self, to: SocketAddr) {
        assert!(self.policy.admits(to) || self.named.contains(&to), "{to}");
    }

    fn look_at(&self, datagram: &[u8]) {
        let message = Message::parse(datagram).expect("the crawler writes what can be read");
        let Kind::Query(query) = &message.kind else { panic!("it only asks") };
        assert!(message.read_only && message.flags.is_clean());
        assert!(!matches!(query.method, Method::Malformed { .. } | Method::Unknown { .. }));
    }

    /// Whatever was done, everything open ends by its deadline.
    fn end(mut self) {
        self.crawler.handle_shutdown(self.now);
        self.wait(Duration::from_secs(7_200));
        self.drain();
        self.crawler.check();
        assert_eq!(self.crawler.stats().connections_open, 0);
        assert!(self.crawler.is_finished());
    }
}

fn reply(transaction: &[u8], body: &ReplyBody<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    emit_reply(&mut out, &envelope(transaction), body);
    out
}

/// An answer with a byte changed, or cut off there.
fn garbled(transaction: &[u8], from: SocketAddr, at: u16, byte: u8, cut: bool) -> Vec<u8> {
    let mut out = reply(transaction, &ReplyBody::new(contact_id(from)));
    let at = usize::from(at) % out.len();
    out[at] ^= byte;
    if cut {
        out.truncate(at);
    }
    out
}

fn envelope(transaction: &[u8]) -> Envelope<'_> {
    Envelope { transaction, version: None, read_only: false, external: None }
}

/// One of a few thousand addresses of both families, some of which nobody can have.
fn address((a, b): (u8, u16)) -> SocketAddr {
    let [c, d] = b.to_be_bytes();
    match a {
        0..=199 => SocketAddr::from(([20 + a % 50, c, d, 1], 6_881)),
        200..=239 => SocketAddr::from(([0x2a00, u16::from(a), b, 0, 0, 0, 0, 1], 6_881)),
        _ => SocketAddr::from(([c, d, 0, a], b)),
    }
}

fn contact(at: (u8, u16)) -> Contact {
    let addr = address(at);
    Contact { id: contact_id(addr), addr }
}

/// Every address has its own id, so that answers fit what was heard of it.
fn contact_id(addr: SocketAddr) -> NodeId {
    NodeId(sha1_smol::Sha1::from(addr.to_string()).digest().bytes())
}

/// One of 256 infohashes; the first is that of [`INFO`], of the second any metadata will do where
/// a fuzzing build leaves the gate open.
fn hash(n: u8) -> InfoHash {
    static KEY: LazyLock<InfoHash> =
        LazyLock::new(|| InfoHash(sha1_smol::Sha1::from(INFO).digest().bytes()));
    match n {
        0 => *KEY,
        1 => UNGUARDED,
        n => InfoHash([n; 20]),
    }
}
