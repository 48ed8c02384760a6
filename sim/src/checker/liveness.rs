//! Rules a to e: once links are healed, what is there is found, and shutdown ends everything.
//!
//! T1 is [`TABLE_WITHIN`] from the first honest bootstrap answer after healing. T2 and T3 are the
//! time from healing to the end of the run (`healed_s`), which the scenario chooses so that its
//! rates and sizes allow it. Up to half of the nodes or peers hostile these are stretched by
//! [`HOSTILE_FACTOR`], and what is still missing then breaks rule e; beyond half nothing is
//! promised.

use std::cell::Cell;
use std::net::SocketAddr;

use estudely_core::stats::Stats;
use estudely_core::time::{Duration, Instant};

use super::address::{endpoint_key, ip_key};
use super::rows::Rows;
use super::rule::{
    Findings, HOSTILITY_ONLY_SLOWS, IDLE_AFTER_SHUTDOWN, NODES_SAMPLED, Rule, TABLE_FILLS,
    TORRENTS_FOUND,
};
use super::sets::Seen;
use super::{Due, Truth, hex};
use crate::scenario::Scenario;

/// T1: how long after one honest bootstrap answer the table holds nodes.
pub const TABLE_WITHIN: Duration = Duration::from_secs(60);
/// How much slower than that everything may be with up to half of the nodes or peers hostile.
pub const HOSTILE_FACTOR: u32 = 4;
/// Beyond this percentage of hostile nodes or peers nothing is promised.
pub const HOSTILE_MAX: u32 = 50;
/// So many nodes are a table.
const TABLE_MIN: u64 = 8;

/// What must still come.
#[derive(Debug)]
pub(super) struct Liveness {
    hostile: u32,
    quota: usize,
    healed: Option<Instant>,
    over: bool,
    bootstrapped: Option<Instant>,
    table: u64,
    bootstrap: Seen,
    nodes: Vec<SocketAddr>,
    due: Vec<Due>,
    /// How far those lists are known to be done: progress only moves forward.
    done: Cell<(usize, usize)>,
    sampled: Seen,
}

impl Liveness {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            hostile: scenario.hostile_nodes.max(scenario.hostile_peers),
            quota: scenario.max_infohashes as usize,
            healed: None,
            over: false,
            bootstrapped: None,
            table: 0,
            bootstrap: Seen::default(),
            nodes: Vec::new(),
            due: Vec::new(),
            done: Cell::default(),
            sampled: Seen::default(),
        }
    }

    pub(super) fn on_started(&mut self, truth: &dyn Truth) {
        self.bootstrap = truth.bootstrap().into_iter().map(endpoint_key).collect();
        (self.bootstrapped, self.table) = (None, 0);
    }

    pub(super) fn on_healed(&mut self, now: Instant, truth: &dyn Truth) {
        self.healed = Some(now);
        self.bootstrapped = self.bootstrapped.map(|_| now);
        self.nodes = truth.nodes_due();
        self.due = truth.due();
    }

    pub(super) fn on_shut_down(&mut self) {
        self.over = true;
    }

    /// A matched answer.
    pub(super) fn on_reply(&mut self, now: Instant, from: SocketAddr, samples: bool) {
        if samples {
            self.sampled.insert(ip_key(from));
        }
        if self.bootstrapped.is_none() && self.bootstrap.contains(&endpoint_key(from)) {
            self.bootstrapped = Some(now);
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

    /// Whether everything that is promised came.
    pub(super) fn is_done(&self, rows: &Rows) -> bool {
        self.healed.is_some() && self.is_promised() && !self.has_pending(rows)
    }

    /// What has not converged yet, if anything; `None` also before healing.
    pub(super) fn pending(&self, rows: &Rows) -> Option<(&'static Rule, String)> {
        if self.healed.is_none() || !self.is_promised() || !self.has_pending(rows) {
            return None;
        }
        let (nodes, torrents) = self.done.get();
        if let Some(Due { hash, node, peer }) = self.due.get(torrents) {
            let left = self.due[torrents..].iter().filter(|due| !rows.is_verified(&due.hash));
            let asked = if self.is_sampled(node) { "" } else { ", not sampled yet" };
            let (left, all) = (left.count(), self.due.len());
            let what = format!(
                "{} is missing, {left} of {all} are: node {node} exposes it{asked}, peer {peer} serves it",
                hex(hash)
            );
            return Some((TORRENTS_FOUND, what));
        }
        let node = self.nodes.get(nodes)?;
        Some((NODES_SAMPLED, format!("node {node} was never sampled")))
    }

    /// Moves on over what is done. Amortised, a step for each node and torrent.
    fn has_pending(&self, rows: &Rows) -> bool {
        if self.quota > 0 && rows.verified() >= self.quota.min(self.due.len()) {
            return false;
        }
        let (mut nodes, mut torrents) = self.done.get();
        while self.nodes.get(nodes).is_some_and(|node| self.quota > 0 || self.is_sampled(node)) {
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
        if let Some((rule, what)) = self.pending(rows) {
            found.fail(self.rule(rule), || what);
        }
    }

    fn is_promised(&self) -> bool {
        self.hostile <= HOSTILE_MAX
    }

    /// With hostile ones about, whatever does not come in the end is rule e.
    fn rule(&self, rule: &'static Rule) -> &'static Rule {
        if self.hostile > 0 { HOSTILITY_ONLY_SLOWS } else { rule }
    }
}
