//! A run by hand: events as a crawler and its harness would report them, with counters to match.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use estudely_core::info::Info;
use estudely_core::session::Ended;
use estudely_core::{
    Duration, FailureCause, InfoHash, Instant, Metadata, PeerFault, Row, Stats, Transport, Verdict,
};

use super::super::Checker;
use super::super::expected::{Due, Fields, GroundTruth};
use crate::judge::rule::Rule;
use crate::net::event::{Conn, Event, Held, Observer};
use crate::world::scenario::Scenario;

/// What is true.
#[derive(Default)]
pub(super) struct HandMade {
    pub(super) torrents: Vec<(InfoHash, Fields)>,
    pub(super) due: Vec<Due>,
    pub(super) nodes: Vec<SocketAddr>,
}

struct SharedHandMade(Rc<RefCell<HandMade>>);

impl GroundTruth for SharedHandMade {
    fn fields(&self, hash: &InfoHash) -> Option<Fields> {
        let facts = self.0.borrow();
        facts.torrents.iter().find(|(key, _)| key == hash).map(|(_, fields)| fields.clone())
    }

    fn due(&self) -> Vec<Due> {
        self.0.borrow().due.clone()
    }

    fn nodes_due(&self) -> Vec<SocketAddr> {
        self.0.borrow().nodes.clone()
    }

    fn bootstrap(&self) -> Vec<SocketAddr> {
        vec![addr("20.0.1.1:6881"), addr("[2a00::1]:6881")]
    }
}

pub(super) fn addr(text: &str) -> SocketAddr {
    text.parse().expect("address")
}

pub(super) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// The torrent that rows are about.
pub(super) const RAW: &[u8] =
    b"d6:lengthi5e4:name1:a12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae";

pub(super) fn hash_of(raw: &[u8]) -> [u8; 20] {
    sha1_smol::Sha1::from(raw).digest().bytes()
}

/// A row that says `hash` is verified by `raw`, served by `peer`.
pub(super) fn verified(hash: [u8; 20], raw: &[u8], peers: Vec<SocketAddr>) -> Row {
    let metadata = Metadata::verify(InfoHash(hash_of(raw)), raw.to_vec()).expect("its own hash");
    let verdict = Verdict::Verified { metadata, info: Info::parse(raw).expect("info") };
    let mut row = Row::new(InfoHash(hash), verdict);
    (row.peers, row.transport) = (peers, Some(Transport::Tcp));
    row
}

/// A query as the crawler writes it, with `UUU...` as its id.
pub(super) fn query(transaction: &[u8], method: &str) -> Vec<u8> {
    query_of(transaction, method, "6:target20:tttttttttttttttttttt".as_bytes())
}

fn query_of(transaction: &[u8], method: &str, argument: &[u8]) -> Vec<u8> {
    asked(transaction, method, argument, "2:roi1e")
}

/// The same with `ro` or without.
fn asked(transaction: &[u8], method: &str, argument: &[u8], ro: &str) -> Vec<u8> {
    let mut out = b"d1:ad2:id20:UUUUUUUUUUUUUUUUUUUU".to_vec();
    out.extend_from_slice(argument);
    out.extend(format!("e1:q{}:{method}{ro}1:t{}:", method.len(), transaction.len()).bytes());
    out.extend_from_slice(transaction);
    out.extend_from_slice(b"1:y1:qe");
    out
}

pub(super) fn compact(peer: SocketAddr) -> Vec<u8> {
    let mut out = match peer.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    out.extend(peer.port().to_be_bytes());
    out
}

pub(super) fn reply_text(transaction: &[u8], id: [u8; 20], fields: &[u8]) -> Vec<u8> {
    let mut out = b"d1:rd2:id20:".to_vec();
    out.extend(id);
    out.extend(fields);
    out.extend(format!("e1:t{}:", transaction.len()).bytes());
    out.extend(transaction);
    out.extend(b"1:y1:re");
    out
}

pub(super) fn samples_text(
    transaction: &[u8],
    id: [u8; 20],
    interval: Option<i64>,
    hashes: &[[u8; 20]],
) -> Vec<u8> {
    let interval = interval.map_or(String::new(), |seconds| format!("8:intervali{seconds}e"));
    let mut fields = format!("{interval}7:samples{}:", 20 * hashes.len()).into_bytes();
    fields.extend(hashes.concat());
    reply_text(transaction, id, &fields)
}

/// The run.
pub(super) struct Bench {
    pub(super) checker: Checker,
    facts: Rc<RefCell<HandMade>>,
    now: Instant,
    next: u32,
    pub(super) stats: Stats,
    /// How long after it was given out a row is written.
    pub(super) disk_lag: Duration,
    asked: BTreeSet<IpAddr>,
    answered: BTreeSet<IpAddr>,
    open: Vec<(Vec<u8>, SocketAddr, Instant, bool)>,
    /// Queries that have failed.
    late: Vec<(Vec<u8>, SocketAddr, Instant, bool)>,
    /// What queries say of answering.
    ro: &'static str,
    /// Whether the crawler connects over uTP.
    has_utp: bool,
}

impl Bench {
    pub(super) fn new(scenario: Scenario) -> Self {
        let facts = Rc::new(RefCell::new(HandMade::default()));
        let checker = Checker::with_truth(&scenario, Box::new(SharedHandMade(facts.clone())));
        let (now, stats) = (Instant::START, Stats::default());
        let (asked, answered) = (BTreeSet::new(), BTreeSet::new());
        let (open, late, ro) = (Vec::new(), Vec::new(), "2:roi1e");
        let (disk_lag, has_utp) = (Duration::ZERO, scenario.transports.has_utp());
        Self {
            checker,
            facts,
            now,
            next: 0,
            stats,
            disk_lag,
            asked,
            answered,
            open,
            late,
            ro,
            has_utp,
        }
    }

    /// The same with a crawler that serves, and does not say `ro`.
    pub(super) fn serving(scenario: Scenario) -> Self {
        let bench = Self::new(scenario);
        Self { checker: bench.checker.serving(), ro: "", ..bench }
    }

    /// From now on queries say `ro`, or not.
    pub(super) fn say_read_only(&mut self, says: bool) {
        self.ro = if says { "2:roi1e" } else { "" };
    }

    pub(super) fn truth(&self) -> std::cell::RefMut<'_, HandMade> {
        self.facts.borrow_mut()
    }

    pub(super) fn see(&mut self, event: Event<'_>) {
        self.checker.observe(self.now, &event);
    }

    /// Nothing but this rule is broken, if any.
    #[track_caller]
    pub(super) fn expect(&self, rule: Option<&Rule>) {
        let broken: Vec<_> = self.checker.broken_rules().collect();
        let expected: Vec<_> = rule.iter().map(|rule| rule.name).collect();
        assert_eq!(broken, expected, "{:?}", self.checker.broken().map(ToString::to_string));
    }

    pub(super) fn start(&mut self, state: Option<&[u8]>) {
        self.stats = Stats::default();
        self.asked.clear();
        self.answered.clear();
        self.open.clear();
        self.see(Event::Started { own: [Some(addr("9.9.9.9:6881")), None], state });
    }

    pub(super) fn start_both(&mut self) {
        let own = ["9.9.9.9:6881", "[2a00::9]:6881"].map(|text| Some(addr(text)));
        self.see(Event::Started { own, state: None });
    }

    pub(super) fn kill(&mut self) {
        self.see(Event::Killed);
    }

    pub(super) fn shut_down(&mut self) {
        self.see(Event::ShutDown { ended: Some(Ended::Signal) });
    }

    pub(super) fn healed(&mut self) {
        self.see(Event::Healed);
    }

    pub(super) fn finish(&mut self) {
        self.checker.finish(self.now);
    }

    pub(super) fn saved(&mut self, bytes: &[u8], whole: bool) {
        self.see(Event::Saved { bytes, whole });
    }

    pub(super) fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    pub(super) fn wait_until(&mut self, time: Duration) {
        self.now = Instant::START + time;
    }

    /// Sends a query.
    pub(super) fn send(&mut self, to: SocketAddr, payload: &[u8]) {
        self.stats.contacts_asked += u64::from(self.asked.insert(to.ip()));
        self.send_other(to, payload);
    }

    /// Sends an answer, a uTP packet, or what nothing is.
    pub(super) fn send_other(&mut self, to: SocketAddr, payload: &[u8]) {
        if payload.first().is_some_and(|first| first & 15 == 1) {
            self.stats.utp_packets_sent += 1;
        } else {
            self.stats.datagrams_sent += 1;
            self.stats.datagram_bytes_sent += payload.len() as u64;
        }
        self.see(Event::Sent { to, payload });
    }

    fn ask(&mut self, to: SocketAddr, method: &str, argument: &[u8]) -> Vec<u8> {
        self.next += 1;
        let transaction = format!("{:06}", self.next).into_bytes();
        self.open.push((transaction.clone(), to, self.now, method == "sample_infohashes"));
        let query = asked(&transaction, method, argument, self.ro);
        self.send(to, &query);
        transaction
    }

    pub(super) fn find_node(&mut self, to: SocketAddr) -> Vec<u8> {
        self.stats.queries_find_node += 1;
        self.ask(to, "find_node", b"6:target20:tttttttttttttttttttt")
    }

    /// Some query that is no sample.
    pub(super) fn ping_like(&mut self, to: SocketAddr) {
        self.find_node(to);
    }

    pub(super) fn ping(&mut self, to: SocketAddr) {
        self.stats.queries_ping += 1;
        self.ask(to, "ping", b"");
    }

    pub(super) fn sample(&mut self, to: SocketAddr) -> Vec<u8> {
        self.stats.queries_sample += 1;
        self.ask(to, "sample_infohashes", b"6:target20:tttttttttttttttttttt")
    }

    pub(super) fn get_peers(&mut self, to: SocketAddr, hash: [u8; 20]) -> Vec<u8> {
        self.stats.queries_get_peers += 1;
        self.ask(to, "get_peers", &[b"9:info_hash20:", &hash[..]].concat())
    }

    pub(super) fn received(&mut self, from: SocketAddr, payload: &[u8]) {
        if self.has_utp && payload.first().is_some_and(|first| first & 15 == 1) {
            self.stats.utp_packets_ignored += 1;
            return self.see(Event::Received { from, payload, forged: false });
        }
        self.stats.datagrams_received += 1;
        self.stats.datagram_bytes_received += payload.len() as u64;
        let is_answered = |t: &[u8], to: SocketAddr| {
            let tail = [format!("1:t{}:", t.len()).as_bytes(), t, b"1:y1:re"].concat();
            to == from && payload.ends_with(&tail)
        };
        let now = self.now;
        let open = self.open.iter().position(|(t, to, ..)| is_answered(t, *to));
        let late = self
            .late
            .iter()
            .position(|(t, to, sent, _)| is_answered(t, *to) && now < *sent + seconds(15));
        let query = match (open, late) {
            (Some(at), _) => Some((self.open.remove(at), &mut self.stats.answered)),
            (None, Some(at)) => Some((self.late.remove(at), &mut self.stats.late)),
            (None, None) => None,
        };
        match query {
            Some(((.., sample), count)) => {
                *count += 1;
                let new = self.answered.insert(from.ip());
                self.stats.contacts_answered += u64::from(new);
                self.stats.nodes_sampling += u64::from(sample);
                self.stats.infohashes_sampled += u64::from(sample);
                self.stats.infohashes_new += u64::from(sample);
            }
            None if payload.ends_with(b"1:y1:re") => self.stats.unmatched += 1,
            None if payload.ends_with(b"1:y1:qe") => self.stats.queries_received += 1,
            None => self.stats.malformed += 1,
        }
        self.see(Event::Received { from, payload, forged: false });
    }

    pub(super) fn reply(
        &mut self,
        from: SocketAddr,
        transaction: &[u8],
        id: [u8; 20],
        contacts: &[([u8; 20], SocketAddr)],
    ) {
        let v6 = contacts.first().is_some_and(|(_, addr)| addr.is_ipv6());
        let entry = |(id, addr): &([u8; 20], SocketAddr)| [&id[..], &compact(*addr)].concat();
        let nodes: Vec<u8> = contacts.iter().flat_map(entry).collect();
        let name = if v6 { "6:nodes6" } else { "5:nodes" };
        let mut fields = format!("{name}{}:", nodes.len()).into_bytes();
        fields.extend(nodes);
        self.received(from, &reply_text(transaction, id, &fields));
    }

    pub(super) fn samples(
        &mut self,
        from: SocketAddr,
        transaction: &[u8],
        id: [u8; 20],
        interval: Option<i64>,
        hashes: &[[u8; 20]],
    ) {
        self.received(from, &samples_text(transaction, id, interval, hashes));
    }

    pub(super) fn values(&mut self, from: SocketAddr, transaction: &[u8], peers: &[SocketAddr]) {
        let mut fields = b"6:valuesl".to_vec();
        for peer in peers {
            fields.extend(b"6:");
            fields.extend(compact(*peer));
        }
        fields.push(b'e');
        self.received(from, &reply_text(transaction, [1; 20], &fields));
    }

    pub(super) fn drain(&mut self) {
        let before = self.open.len();
        let now = self.now;
        let failed = self.open.extract_if(.., |(_, _, sent, _)| now >= *sent + seconds(6));
        self.late.extend(failed);
        self.stats.expired += (before - self.open.len()) as u64;
        self.stats.queries_open = self.open.len() as u64;
        self.drain_as_is();
    }

    pub(super) fn drain_with(&mut self, timeout: Option<Duration>) {
        let timeout = timeout.map(|timeout| Instant::START + timeout);
        let stats = self.stats.clone();
        self.see(Event::Drained { timeout, next: None, stats: &stats, held: Held::default() });
    }

    /// With the counters as they were set.
    pub(super) fn drain_as_is(&mut self) {
        let stats = self.stats.clone();
        let timeout = Some(self.now + seconds(1));
        self.see(Event::Drained { timeout, next: None, stats: &stats, held: Held::default() });
    }

    fn row(&mut self, row: &Row) {
        match row.verdict {
            Verdict::Verified { .. } => self.stats.verified += 1,
            Verdict::Broken { .. } => self.stats.broken += 1,
            Verdict::Failed { .. } | Verdict::PeersOnly => self.stats.failed += 1,
        }
        self.stats.settled += 1;
        let taken = Instant::START + self.now.since(Instant::START + self.disk_lag);
        self.see(Event::Row { row, taken });
    }

    pub(super) fn verified(&mut self, row: &Row) {
        self.row(row);
    }

    pub(super) fn failed(&mut self, hash: [u8; 20]) {
        let at = self.now.since(Instant::START);
        self.row_at(hash, at, at);
    }

    pub(super) fn row_at(&mut self, hash: [u8; 20], found: Duration, settled: Duration) {
        let verdict = Verdict::Failed { cause: FailureCause::NoPeers };
        let mut row = Row::new(InfoHash(hash), verdict);
        (row.found, row.settled) = (Instant::START + found, Instant::START + settled);
        self.row(&row);
    }

    pub(super) fn dial(&mut self, conn: u64, to: SocketAddr) {
        self.stats.dialled += 1;
        self.stats.tcp_dialled += 1;
        self.stats.connections_open += 1;
        self.see(Event::Dialled { conn: Conn(conn), to, utp: false });
    }

    pub(super) fn dial_utp(&mut self, conn: u64, to: SocketAddr) {
        self.stats.dialled += 1;
        self.stats.utp_dialled += 1;
        self.stats.connections_open += 1;
        self.see(Event::Dialled { conn: Conn(conn), to, utp: true });
    }

    pub(super) fn connected(&mut self, conn: u64) {
        self.see(Event::Connected { conn: Conn(conn) });
    }

    pub(super) fn wrote(&mut self, conn: u64, bytes: &[u8]) {
        self.see(Event::Wrote { conn: Conn(conn), bytes });
    }

    pub(super) fn read(&mut self, conn: u64, bytes: &[u8]) {
        self.see(Event::Read { conn: Conn(conn), bytes });
    }

    pub(super) fn ended(&mut self, conn: u64, fault: Option<PeerFault>) {
        self.stats.connections_open -= 1;
        self.see(Event::Ended { conn: Conn(conn), fault });
    }
}
