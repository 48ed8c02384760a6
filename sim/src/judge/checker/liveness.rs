//! Rules a to e: once links are healed, what is there is found, and shutdown ends everything.
//!
//! T1 is [`TABLE_WITHIN`] from the first honest bootstrap answer after healing. T2 and T3 are the
//! time from healing to the end of the run (`healed_s`), which the scenario chooses so that its
//! rates and sizes allow it; but what a fault of the links made the crawler put off has its time
//! from there: a node that seemed not to sample is left alone for an hour, one that stayed silent
//! for a quarter, and an infohash that was looked for in vain has its second chance after an hour.
//! Each is seen in the traffic before links healed, and what ran after that excuses nothing. With a
//! limit on infohashes so many must have rows, and those that are due be true. With up to half of
//! the nodes or peers hostile T1 is stretched by [`HOSTILE_FACTOR`], and what is still missing
//! then breaks rule e; beyond half nothing is promised. A run that is asked for infohashes samples
//! no node, and owes those infohashes alone. A run that ended by itself owes nothing more: whether
//! it had reason to end is rule 25. Where nothing is broken but that, most of it
//! must come much sooner: see [`super::calm`].

use std::cell::Cell;
use std::net::SocketAddr;

use estudely_core::limits::{
    EXPIRE_AFTER, JOB_PATIENCE, LATE_UNTIL, SECOND_CHANCE_AFTER, SILENT_REST, SWEEP_PAUSE_MAX,
    UNSUPPORTED_REST,
};
use estudely_core::session::Ended;
use estudely_core::{Duration, Instant, Stats};

use super::address::{endpoint_key, ip_key, key};
use super::calm::{Demand, HOSTILE_FACTOR, HOSTILE_MAX, hostile_share, lured_spared};
use super::expected::{Due, GroundTruth};
use super::rows::Rows;
use super::sent::Ask;
use super::sets::{Known, Seen};
use crate::judge::rule::hex;
use crate::judge::rule::{
    Findings, HOSTILITY_ONLY_SLOWS, IDLE_AFTER_SHUTDOWN, NODES_SAMPLED, Rule, TABLE_FILLS,
    TORRENTS_FOUND,
};
use crate::world::scenario::Scenario;

/// T1: how long after one honest bootstrap answer the table holds nodes.
const TABLE_WITHIN: Duration = Duration::from_secs(60);
/// Between the end of a rest, or of the wait for a second chance, and its use lie the rounding of
/// rests to minutes, the longest pause between passes, and the time that the work itself takes.
const LATE: Duration = Duration::from_secs(60 + SWEEP_PAUSE_MAX.as_secs() + 120);
/// A lookup begun before links healed may fail so long afterwards, and for that.
const UNDER_WAY: Duration = Duration::from_secs(2 * JOB_PATIENCE.as_secs());
/// So many nodes are a table.
const TABLE_MIN: u64 = 8;

/// In so long a run that rests, or has served every request, should have ended by itself.
const OWN_END: Duration = Duration::from_secs(300);

/// What must still come.
#[derive(Debug)]
pub(super) struct Liveness {
    hostile: u32,
    /// Of a hundred torrents those that may be missing in the end.
    spared: usize,
    quota: usize,
    /// What must be there soon, where nothing is broken.
    demand: Demand,
    /// The first answer of a bootstrap node.
    first: Option<Instant>,
    healed: Option<Instant>,
    over: bool,
    /// Whether the run ended by itself: then nothing more is due of it.
    cut_short: bool,
    /// Whether bootstrap nodes are public routers, which are never sampled.
    routers: bool,
    /// The infohashes that the run is asked for; none: it crawls.
    requested: Option<Seen>,
    /// How long it goes on although all that is promised came: it may end by itself.
    own_end: Duration,
    bootstrapped: Option<Instant>,
    table: u64,
    bootstrap: Seen,
    nodes: Vec<SocketAddr>,
    due: Vec<Due>,
    /// How far those lists are known to be done: progress only moves forward.
    done: Cell<(usize, usize)>,
    sampled: Seen,
    /// Until when a node that was asked for samples in vain before links healed is left alone.
    resting: Known<Instant>,
    /// Infohashes looked for before links healed.
    sought: Seen,
}

impl Liveness {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let may_rest = scenario.ends > 0 && (scenario.idle_s > 0 || scenario.requests > 0);
        Self {
            hostile: hostile_share(scenario),
            spared: lured_spared(scenario),
            quota: scenario.max_infohashes as usize,
            demand: Demand::of(scenario),
            first: None,
            healed: None,
            over: false,
            cut_short: false,
            routers: scenario.routers > 0,
            requested: (scenario.requests > 0).then(Seen::default),
            own_end: if may_rest { OWN_END } else { Duration::ZERO },
            bootstrapped: None,
            table: 0,
            bootstrap: Seen::default(),
            nodes: Vec::new(),
            due: Vec::new(),
            done: Cell::default(),
            sampled: Seen::default(),
            resting: Known::default(),
            sought: Seen::default(),
        }
    }

    pub(super) fn on_started(&mut self, truth: &dyn GroundTruth) {
        self.bootstrap = truth.bootstrap().into_iter().map(endpoint_key).collect();
        (self.bootstrapped, self.table) = (None, 0);
        (self.over, self.cut_short) = (false, false);
    }

    pub(super) fn on_healed(&mut self, now: Instant, truth: &dyn GroundTruth) {
        self.healed = Some(now);
        self.bootstrapped = self.bootstrapped.map(|_| now);
        (self.nodes, self.due) = self.expected(truth);
    }

    /// The nodes that must be sampled and the torrents that must be found.
    fn expected(&self, truth: &dyn GroundTruth) -> (Vec<SocketAddr>, Vec<Due>) {
        let (mut nodes, mut due) = (truth.nodes_due(), truth.due());
        if self.routers {
            let is_router = |node: &SocketAddr| self.bootstrap.contains(&endpoint_key(*node));
            nodes.retain(|node| !is_router(node));
            due.retain(|due| !is_router(&due.node));
        }
        if let Some(requested) = &self.requested {
            nodes.clear();
            due.retain(|due| requested.contains(&key(&[&due.hash])));
        }
        (nodes, due)
    }

    /// The run is asked for this infohash.
    pub(super) fn on_requested(&mut self, hash: &[u8; 20]) {
        if let Some(requested) = &mut self.requested {
            requested.insert(key(&[hash]));
        }
    }

    pub(super) fn on_shut_down(&mut self, ended: Option<Ended>) {
        self.over = true;
        self.cut_short = ended.is_some_and(|ended| ended != Ended::Signal);
    }

    /// A query was sent.
    pub(super) fn on_asked(&mut self, now: Instant, to: SocketAddr, ask: Ask) {
        match ask {
            _ if self.healed.is_some() => {}
            // It may be asked in four more passes before it rests.
            Ask::Sample => self.rests(to, now + 4 * SWEEP_PAUSE_MAX + SILENT_REST),
            Ask::GetPeers(hash) => drop(self.sought.insert(key(&[&hash]))),
            Ask::Ping | Ask::FindNode => {}
        }
    }

    /// A query that was sent at `sent` was answered, but not with samples.
    pub(super) fn on_no_samples(&mut self, sent: Instant, from: SocketAddr, ask: Ask) {
        let before = self.healed.is_none_or(|healed| sent < healed + EXPIRE_AFTER);
        if before && matches!(ask, Ask::Sample | Ask::FindNode) {
            self.rests(from, sent + LATE_UNTIL + UNSUPPORTED_REST);
        }
    }

    fn rests(&mut self, node: SocketAddr, until: Instant) {
        let before = self.resting.entry(ip_key(node)).or_insert(until);
        *before = until.max(*before);
    }

    /// A matched answer.
    pub(super) fn on_reply(&mut self, now: Instant, from: SocketAddr, samples: bool) {
        if samples {
            self.sampled.insert(ip_key(from));
        }
        if self.bootstrapped.is_none() && self.bootstrap.contains(&endpoint_key(from)) {
            self.bootstrapped = Some(now);
            self.first = self.first.or(Some(now));
        }
    }

    /// Rule d, of what begins.
    pub(super) fn on_begun(&self, found: &mut Findings, what: &str, to: SocketAddr) {
        found.check(!self.over, IDLE_AFTER_SHUTDOWN, || format!("{what} to {to} after shutdown"));
    }

    pub(super) fn on_drained(&mut self, found: &mut Findings, stats: &Stats) {
        self.table = stats.table_nodes;
        let (Some(healed), Some(first)) = (self.healed, self.bootstrapped) else { return };
        let factor = if self.hostile > 0 { HOSTILE_FACTOR } else { 1 };
        let late = found.now >= healed.max(first) + TABLE_WITHIN * factor;
        let least = TABLE_MIN.min(self.nodes.len() as u64 / 2);
        if late && !self.over && self.is_promised() && self.table < least {
            let table = self.table;
            found.fail(self.rule(TABLE_FILLS), || {
                format!("{table} nodes in the table long after a bootstrap node answered")
            });
        }
    }

    /// What must be there soon where nothing is broken: see [`Demand`].
    pub(super) fn check_demand(
        &mut self,
        found: &mut Findings,
        truth: &dyn GroundTruth,
        rows: &Rows,
    ) {
        let due = self.first.and_then(|first| self.demand.due(first));
        if self.over || due.is_none_or(|due| found.now < due) {
            return;
        }
        let (demand, at) = (self.demand, found.now);
        self.demand = demand.next();
        let (nodes, torrents) = self.expected(truth);
        let unsampled = nodes.iter().filter(|node| !self.is_sampled(node));
        let waits = |due: &&Due| !rows.is_verified(&due.hash) && self.is_sampled(&due.node);
        let missing = torrents.iter().filter(waits);
        let (left, all) = (unsampled.clone().count(), nodes.len());
        found.check(left <= demand.spared(all), self.rule(NODES_SAMPLED), || {
            let node = unsampled.clone().next();
            format!("{left} of {all} nodes, {node:?} first, are not sampled at {at:?}: {demand:?}")
        });
        let (left, all) = (missing.clone().count(), torrents.len());
        found.check(left <= demand.spared(all), self.rule(TORRENTS_FOUND), || {
            let hash = missing.clone().next().map(|due| hex(&due.hash));
            format!("{left} of {all} torrents, {hash:?} first, are missing at {at:?}: {demand:?}")
        });
    }

    /// Whether everything that is promised came, and a run that may end by itself had time for it.
    pub(super) fn is_done(&self, now: Instant, rows: &Rows) -> bool {
        self.healed.is_some_and(|healed| now >= healed + self.own_end)
            && self.is_promised()
            && !self.has_pending(rows)
    }

    /// What has not converged yet, if anything; `None` also before healing.
    pub(super) fn pending(&self, rows: &Rows) -> Option<(&'static Rule, String)> {
        self.missing(rows, None)
    }

    /// What is missing, but for what was put off beyond `end` for good reasons.
    fn missing(&self, rows: &Rows, end: Option<Instant>) -> Option<(&'static Rule, String)> {
        if self.healed.is_none() || !self.is_promised() || !self.has_pending(rows) {
            return None;
        }
        let (nodes, torrents) = self.done.get();
        let missing = |due: &&Due| {
            let wanted = self.quota == 0 || rows.failed_at(&due.hash).is_some();
            let put_off = end.is_some_and(|end| self.is_put_off(rows, &due.hash, end));
            wanted && !rows.is_verified(&due.hash) && !put_off
        };
        let left = self.due[torrents..].iter().filter(missing);
        let spared = end.map_or(0, |_| self.due.len() * self.spared / 100);
        if left.clone().count() > spared
            && let Some(Due { hash, node, peer }) = left.clone().next()
        {
            let asked = if self.is_sampled(node) { "" } else { ", not sampled yet" };
            let (left, all) = (left.count(), self.due.len());
            let what = format!(
                "{} is missing, {left} of {all} are: node {node} exposes it{asked}, peer {peer} serves it",
                hex(hash)
            );
            return Some((TORRENTS_FOUND, what));
        }
        if self.quota > 0 {
            let (rows, most) = (rows.len(), self.quota.min(self.due.len()));
            return (rows < most)
                .then(|| (TORRENTS_FOUND, format!("{rows} infohashes of {most} have rows")));
        }
        let rests = |node: &&SocketAddr| {
            let until = self.resting.get(&ip_key(**node));
            end.zip(until).is_some_and(|(end, until)| end < *until + LATE)
        };
        let node =
            self.nodes[nodes..].iter().find(|node| !self.is_sampled(node) && !rests(node))?;
        Some((NODES_SAMPLED, format!("node {node} was never sampled")))
    }

    /// Whether an infohash failed for what happened before links healed, and its second chance
    /// would come too late.
    fn is_put_off(&self, rows: &Rows, hash: &[u8; 20], end: Instant) -> bool {
        let Some((failed, healed)) = rows.failed_at(hash).zip(self.healed) else { return false };
        self.sought.contains(&key(&[hash]))
            && failed < healed + UNDER_WAY
            && end < failed + SECOND_CHANCE_AFTER[0] + LATE
    }

    /// Moves on over what is done. Amortised, a step for each node and torrent.
    fn has_pending(&self, rows: &Rows) -> bool {
        if self.quota > 0 {
            let failed =
                |due: &Due| rows.failed_at(&due.hash).is_some() && !rows.is_verified(&due.hash);
            return rows.len() < self.quota.min(self.due.len()) || self.due.iter().any(failed);
        }
        let (mut nodes, mut torrents) = self.done.get();
        while self.nodes.get(nodes).is_some_and(|node| self.is_sampled(node)) {
            nodes += 1;
        }
        while self.due.get(torrents).is_some_and(|due| rows.is_verified(&due.hash)) {
            torrents += 1;
        }
        self.done.set((nodes, torrents));
        nodes < self.nodes.len() || torrents < self.due.len()
    }

    fn is_sampled(&self, node: &SocketAddr) -> bool {
        self.sampled.contains(&ip_key(*node))
    }

    /// The run is over, with so many connections left open.
    pub(super) fn finish(&self, found: &mut Findings, rows: &Rows, open: usize) {
        found.check(!self.over || open == 0, IDLE_AFTER_SHUTDOWN, || {
            format!("{open} connections are left open")
        });
        if let Some((rule, what)) = self.missing(rows, Some(found.now)) {
            found.fail(self.rule(rule), || what);
        }
    }

    fn is_promised(&self) -> bool {
        self.hostile <= HOSTILE_MAX && !self.cut_short
    }

    /// With hostile ones about, whatever does not come in the end is rule e.
    fn rule(&self, rule: &'static Rule) -> &'static Rule {
        if self.hostile > 0 { HOSTILITY_ONLY_SLOWS } else { rule }
    }
}
