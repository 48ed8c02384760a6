//! The control plane: everything a crawl decides, composed from machines that each know one thing.
//!
//! Bytes, addresses and virtual time go in through `handle_*`; datagrams, dials, rows and the next
//! deadline come out of `poll_*`. After any `handle_*`, drain every `poll_*` before waiting. A sink
//! that is full is simply not polled: that is the only backpressure. Nothing here does I/O, reads
//! a clock or draws randomness of its own.
//!
//! ```text
//! sweep ─► infohash ─► admission ─► job: get_peers to its source ─► (none) walk ─► peers
//!                                  └─► dialer ─► Exchange ─► outcome ─► Row
//! ```

mod begin;
mod check;
mod dials;
mod needs;
mod persist;
mod receive;
mod settle;
mod sources;
mod streams;
mod transmit;

use std::net::SocketAddr;

use self::sources::Sending;
use crate::base::addr::Family;
use crate::base::fault::PeerFault;
use crate::base::id::{InfoHash, NodeId};
use crate::base::planted::{self, Bug};
use crate::base::rng::{Rng, Seed};
use crate::base::time::Instant;
use crate::config::{Config, TransportPolicy};
use crate::crawl::admission::Admission;
use crate::crawl::again::Again;
use crate::crawl::deadline::{Deadline, Why};
use crate::crawl::dialer::Dialer;
use crate::crawl::jobs::{JobLimits, Jobs};
use crate::crawl::outage::Outage;
use crate::crawl::pace::{AddressPacer, FlowPacer, QueryPacer};
use crate::crawl::row::Row;
use crate::crawl::rows::{Leaves, Rows};
use crate::crawl::samples::KeptSamples;
use crate::crawl::session::{Progress, Work};
use crate::crawl::standing::Standing;
use crate::crawl::streams::Streams;
use crate::dht::bootstrap::Bootstraps;
use crate::dht::network::Network;
use crate::lead::Request;
use crate::limits::{
    DISPLACE_PAUSE, JOBS_BACKLOG_MINUTES, JOBS_MAX, JOBS_PER_CONNECTION, PENDING_ENOUGH,
    SEEDS_WITHIN, WALKS_MAX, WALKS_PER_RATE,
};
use crate::peer::exchange::Outcome;
use crate::state::{Carried, Journal};
use crate::stats::Stats;

pub use crate::crawl::dial::{Dial, PeerKey};
pub use crate::dht::bootstrap::Bootstrap;

/// A datagram to send. Its bytes are the last `len` of the buffer that was passed in.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// How many bytes.
    pub len: usize,
}

/// Too many infohashes are under way, or too many rows wait to be taken; try again after polling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The crawl: see the module.
#[derive(Debug)]
pub struct Crawler {
    config: Config,
    begun: Instant,
    now: Instant,
    networks: [Option<Box<Network>>; 2],
    sending: [Sending; 2],
    bootstraps: Bootstraps,
    queries: QueryPacer,
    flows: FlowPacer,
    per_address: AddressPacer,
    standing: Standing,
    admission: Admission,
    /// What nodes sampled beyond what was taken at once.
    samples: KeptSamples,
    jobs: Jobs,
    again: Again,
    outage: Outage,
    /// For so many events no job is looked for that makes room: none could a moment ago. And for how
    /// many if none can then.
    no_displacing: u8,
    displacing_pause: u8,
    dialer: Dialer,
    streams: Streams,
    rows: Rows,
    journal: Option<Journal>,
    carried: Carried,
    stats: Stats,
    shut_down: bool,
}

impl Crawler {
    /// A crawl that has not begun: tell it of bootstrap nodes or requests, then poll.
    pub fn new(config: Config, seed: Seed, now: Instant) -> Self {
        let rng = Rng::new(seed);
        let id = NodeId(rng.fork("node id").bytes());
        let network = |family: Family| {
            let own = config.own[family.index()].filter(|_| config.mode.uses_dht())?;
            let label = if family == Family::V4 { "v4" } else { "v6" };
            let walks_max = config.rate.map_or(WALKS_MAX, |rate| rate as usize * WALKS_PER_RATE);
            let walks_max = walks_max.min(WALKS_MAX);
            Some(Box::new(Network::new(config.policy, id, own, walks_max, &rng.fork(label))))
        };
        let jobs_max = jobs_max(&config);
        let enough = jobs_max.min(PENDING_ENOUGH);
        let networks = Family::ALL.map(network);
        let limits = job_limits(&config, networks.iter().any(Option::is_some));
        let over_utp = config.own.map(|own| own.is_some() && config.transports.has_utp());
        Self {
            networks,
            sending: Default::default(),
            bootstraps: Bootstraps::new(now, rng.fork("bootstrap")),
            queries: QueryPacer::new(config.rate),
            flows: FlowPacer::new(config.new_flows, &mut rng.fork("flows")),
            per_address: AddressPacer::new(config.policy, &mut rng.fork("courtesy")),
            standing: Standing::new(config.policy, rng.fork("standing")),
            samples: KeptSamples::new(&mut rng.fork("samples")),
            admission: Admission::new(config.max_infohashes, enough, &mut rng.fork("intake")),
            jobs: Jobs::new(limits, (jobs_max, config.partial_bytes()), &rng),
            again: Again::default(),
            outage: Outage::default(),
            no_displacing: 0,
            displacing_pause: DISPLACE_PAUSE,
            dialer: Dialer::new(
                (config.policy, config.encryption),
                over_utp.map(|has_utp| transports(config.transports, has_utp)),
                config.max_connections,
                rng.fork("dialer"),
            ),
            streams: Streams::new(
                over_utp,
                config.max_connections,
                config.utp_rate,
                &rng.fork("streams"),
            ),
            rows: Rows::new(config.row_bytes()),
            journal: None,
            carried: Carried::new(rng.fork("state").bytes()),
            stats: Stats::default(),
            shut_down: false,
            config,
            begun: now,
            now,
        }
    }

    /// Names nodes to begin with, already resolved.
    pub fn handle_bootstrap(&mut self, now: Instant, nodes: &[SocketAddr], kind: Bootstrap) {
        self.advance(now);
        for addr in nodes {
            self.bootstraps.add(self.now, *addr, kind);
        }
    }

    /// Says that every output holds `hash` as verified: it is never taken on, and no longer
    /// pending if a saved state said so.
    pub fn handle_known(&mut self, hash: InfoHash) {
        let freed = self.admission.ban(hash);
        self.stats.infohashes_new -= u64::from(freed);
    }

    /// Asks for a torrent, of the peers named first. May be called again with more peers for the
    /// same infohash while it is under way. What of it cannot be used is counted.
    ///
    /// # Errors
    /// [`Full`] when too many infohashes are under way or rows wait: poll, and try again.
    pub fn handle_request(&mut self, now: Instant, request: &Request) -> Result<(), Full> {
        self.advance(now);
        self.request(request)
    }

    /// Whether the address policy admits a peer that is known from hearsay.
    pub fn admits(&self, peer: SocketAddr) -> bool {
        self.config.policy.admits(peer)
    }

    /// A datagram of at most 2 048 bytes arrived. Never fails: what it is worth is in the counters.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, payload: &[u8]) {
        self.advance(now);
        if self.receive_packet(from, payload) {
            return;
        }
        self.receive(from, payload);
        self.give_places();
    }

    /// A connection that [`Crawler::poll_dial`] asked for has ended.
    pub fn handle_outcome(&mut self, now: Instant, peer: PeerKey, outcome: Outcome) {
        self.advance(now);
        self.streams.close(peer);
        if let Some(dial) = self.dialer.close(peer) {
            self.finish_dial(dial, outcome);
            self.give_places();
        }
    }

    /// Time has passed: [`Crawler::poll_timeout`] is due. Too early a call changes nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        self.streams.handle_timeout(self.now);
        for family in Family::ALL {
            self.expire_queries(family);
        }
        while let Some((peer, key)) = self.dialer.poll_overtake(self.now) {
            self.dialer.on_slow(peer, &mut self.standing);
            self.jobs.on_dial_slow(key, peer);
            self.carry_out();
        }
        self.release_jobs();
        self.expire_jobs();
        self.carry_out();
        self.fill_jobs();
        self.begin_walks();
    }

    /// Begins nothing new from now on: no query, no dial. What is finished is still reported.
    /// Streams are broken off at once: [`Crawler::poll_transmit`] has one packet more for each that
    /// its peer knows of, to be sent or not, and [`Crawler::poll_timeout`] names no time for that.
    pub fn handle_shutdown(&mut self, now: Instant) {
        self.advance(now);
        self.streams.close_all();
        self.shut_down = !planted::is(Bug::WorkAfterEnd);
        self.admission.close();
    }

    /// The next datagram of a family's socket, appended to `buf`.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        family: Family,
        buf: &mut Vec<u8>,
    ) -> Option<Transmit> {
        self.advance(now);
        if !self.streams.has_turn(family)
            && let query @ Some(_) = self.poll_query(family, buf)
        {
            return query;
        }
        if let packet @ Some(_) = self.poll_packet(family, buf) {
            return packet;
        }
        if self.streams.has_turn(family) { self.poll_query(family, buf) } else { None }
    }

    /// The next connection to open. One over uTP ([`Transport::is_utp`]) is opened already, and has
    /// a packet for [`Crawler::poll_transmit`], which is to be drained after this: its bytes pass by
    /// [`Crawler::poll_stream`], [`Crawler::read_stream`] and [`Crawler::write_stream`].
    ///
    /// [`Transport::is_utp`]: crate::Transport::is_utp
    pub fn poll_dial(&mut self, now: Instant) -> Option<Dial> {
        self.advance(now);
        if self.shut_down || !self.rows.have_room() || self.outage.is_suspected(self.now) {
            return None;
        }
        let (jobs, flows) = (&mut self.jobs, &mut self.flows);
        let dial = self.dialer.poll_dial(self.now, jobs, flows, &mut self.standing)?;
        self.count_dial(dial.transport);
        if dial.transport.is_utp() {
            self.streams.open(self.now, dial.peer, dial.to);
        }
        self.admission.sort(&self.standing);
        Some(dial)
    }

    /// The next connection that is to give up its place for others, which wait for one: the adapter
    /// ends it at once with [`PeerFault::Yielded`], and hands in the outcome. Its pieces are kept,
    /// and its peer has another turn later.
    pub fn poll_recall(&mut self, now: Instant) -> Option<PeerKey> {
        self.advance(now);
        if self.shut_down || !self.rows.have_room() || self.outage.is_suspected(self.now) {
            return None;
        }
        let (jobs, flows) = (&mut self.jobs, &mut self.flows);
        self.dialer.poll_recall(self.now, jobs, flows, &self.standing)
    }

    /// The next settled infohash, for every output. For a saved state it stays under way until
    /// [`Crawler::acknowledge_rows`]; after [`crate::limits::ROWS_TAKEN_MAX`] rows without that
    /// there is no other.
    pub fn poll_row(&mut self) -> Option<Row> {
        let row = self.rows.take()?;
        if planted::is(Bug::SettledBeforeWritten) {
            self.note_settled(row.infohash, Leaves::Nothing);
        }
        if self.rows.is_empty() {
            self.fill_jobs(); // which may have waited for room among the rows
        }
        Some(row)
    }

    /// Every output holds the first `held` rows that [`Crawler::poll_row`] has given: these are
    /// settled for a saved state too. Rows are acknowledged in their order; a number at or below
    /// an earlier one says nothing new.
    pub fn acknowledge_rows(&mut self, held: u64) {
        while let Some((hash, leaves)) = self.rows.acknowledge(held) {
            if let Some(leaves) = leaves {
                self.note_settled(hash, leaves);
            }
        }
    }

    /// When [`Crawler::handle_timeout`] must be called, after every other `poll_*` was drained.
    /// `None`: only input can help.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.poll_deadline().map(|deadline| deadline.at)
    }

    /// The same with the reason.
    pub fn poll_deadline(&self) -> Option<Deadline> {
        if self.shut_down {
            return None;
        }
        if planted::is(Bug::StaleDeadline) {
            return Some(Deadline { at: self.now, why: Why::Begin });
        }
        let takes_jobs = self.takes_jobs();
        let waits = takes_jobs && self.admission.has_next();
        let begins = waits.then_some(self.now);
        let second_chance = self.admission.poll_timeout().filter(|_| takes_jobs);
        let waits = self.stats.answered == 0 && self.jobs.has_to_walk();
        let no_answer = waits.then_some(self.begun + SEEDS_WITHIN);
        let outage_over = self.outage.holds_until().filter(|_| self.jobs.has_held());
        let own = [
            Deadline::of(begins, Why::Begin),
            Deadline::of(second_chance, Why::SecondChance),
            Deadline::of(self.jobs.poll_timeout(), Why::Patience),
            Deadline::of(no_answer, Why::NoAnswer),
            Deadline::of(outage_over, Why::OutageOver),
            self.dialer.poll_deadline(self.now, self.jobs.has_to_dial()),
            Deadline::of(self.jobs.unblocked_at().filter(|at| *at > self.now), Why::Dial),
            Deadline::of(self.streams.poll_timeout(self.now), Why::Stream),
        ];
        let of_family = |family: Family| {
            let network = self.networks[family.index()].as_ref()?;
            // Only `handle_timeout` does these, so they stay due until it was called.
            let bootstrap = self.bootstraps.poll_timeout(family);
            Deadline::first([
                Deadline::of(network.endpoint.poll_timeout(), Why::Silence),
                Deadline::of(bootstrap, Why::Bootstrap),
                Deadline::of(network.warm.poll_timeout(), Why::WarmStart),
                self.sending_deadline(family),
            ])
        };
        Deadline::first(own.into_iter().chain(Family::ALL.map(of_family)))
    }

    /// Whether nothing is open or due: no connection, infohash or row is under way, and the sweep
    /// has nobody to ask. Its next pass may be scheduled, the table's upkeep goes on, and silent
    /// bootstrap nodes are asked again; none of that keeps a run alive.
    pub fn is_idle(&self) -> bool {
        self.is_settled()
            && self.dialer.open_count() == 0
            && self.networks.iter().flatten().all(|network| network.sweep.is_idle(self.now))
    }

    /// Whether the run has nothing left to say: its limit is reached and all is settled, or it was
    /// shut down and every row is taken.
    pub fn is_finished(&self) -> bool {
        if self.shut_down {
            self.rows.is_empty()
        } else {
            self.admission.is_closed() && (self.is_settled() || planted::is(Bug::EarlyLimit))
        }
    }

    /// What a [`Session`](crate::session::Session) asks in every turn: cheaper than
    /// [`Crawler::stats`].
    pub fn progress(&self) -> Progress {
        let is_idle = self.is_idle() || planted::is(Bug::IdleAtWork);
        let work = match (self.is_finished(), is_idle) {
            (true, _) => Work::Finished,
            (false, true) => Work::Idle,
            (false, false) => Work::Busy,
        };
        Progress {
            replies: Family::ALL
                .map(|family| Some(self.networks[family.index()].as_ref()?.replies)),
            asked: self.stats.contacts_asked,
            dialled: self.stats.dialled,
            work,
        }
    }

    /// Every counter, with the levels as they are now.
    pub fn stats(&self) -> Stats {
        let networks = || self.networks.iter().flatten();
        let finds = self.jobs.finds();
        let packets = self.streams.counters();
        Stats {
            infohashes_with_peers: finds.infohashes,
            peers_found: finds.peers,
            unfinished: (self.jobs.first_rounds() + self.admission.pending()) as u64,
            infohashes_open: (self.jobs.len() + self.admission.pending()) as u64,
            queries_open: networks().map(|network| network.endpoint.open_count() as u64).sum(),
            connections_open: self.dialer.open_count() as u64,
            contacts_queued: networks().map(|network| network.sweep.waiting() as u64).sum(),
            utp_packets_sent: packets.sent,
            utp_packets_received: packets.taken,
            utp_packets_ignored: packets.implausible + packets.strange + packets.malformed,
            utp_syns_ignored: packets.inbound_syns,
            table_nodes: networks().map(|network| network.table.len() as u64).sum(),
            ..self.stats.clone()
        }
    }

    fn is_settled(&self) -> bool {
        self.jobs.is_empty() && self.admission.pending() == 0 && self.rows.is_empty()
    }

    /// Time never runs backwards in here, whatever the caller's clock does (H47).
    fn advance(&mut self, now: Instant) {
        self.now = if planted::is(Bug::BackwardClock) { now } else { self.now.max(now) };
        self.standing.advance(self.now);
    }

    fn network(&mut self, family: Family) -> Option<&mut Network> {
        self.networks[family.index()].as_deref_mut()
    }

    fn count_fault(&mut self, fault: PeerFault) {
        self.stats.faults[fault as usize] += 1;
    }
}

/// What carries connections to peers of a family, which has streams over uTP or not.
fn transports(wanted: TransportPolicy, has_utp: bool) -> TransportPolicy {
    match wanted {
        TransportPolicy::Any if !has_utp => TransportPolicy::Tcp,
        other => other,
    }
}

/// The settings that bear on one infohash; `networks` if any family is on.
fn job_limits(config: &Config, networks: bool) -> JobLimits {
    JobLimits {
        peers: config.peers_per_infohash as usize,
        attempts: u8::try_from(config.peer_attempts).unwrap_or(u8::MAX),
        may_walk: config.mode.uses_dht() && networks,
        dials: config.mode.dials(),
        policy: config.policy,
        own: config.own,
    }
}

/// How many infohashes may be under way: as many as connections, dials and queries allow to be
/// served before anybody loses patience. What cannot be fetched soon had better be found later.
fn jobs_max(config: &Config) -> usize {
    let minutes = JOBS_BACKLOG_MINUTES;
    // Half of the new flows are for dials.
    let by_flows = config.new_flows.map_or(JOBS_MAX, |flows| (flows * minutes / 2) as usize);
    let by_rate = config.rate.map_or(JOBS_MAX, |rate| rate.saturating_mul(60 * minutes) as usize);
    let by_connections = config.max_connections as usize * JOBS_PER_CONNECTION;
    if config.mode.dials() {
        by_connections.min(by_flows).min(by_rate).clamp(16, JOBS_MAX)
    } else {
        PENDING_ENOUGH.min(by_rate).max(16)
    }
}

#[cfg(test)]
mod tests;
