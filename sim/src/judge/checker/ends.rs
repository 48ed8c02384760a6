//! Rule 25: a run that says that its work is done has done it and handed its rows on, and one that
//! ends by its outputs has lost them. And of rule 24 that a run without work, or whose outputs are
//! full, does end.
//!
//! Seen from outside: lookups, connections, requests and rows. What only the crawler knows
//! (contacts that wait, samples not yet taken on) is not judged, so a run may rest later than it
//! seems here, and never sooner.

use std::collections::BTreeSet;
use std::rc::Rc;

use estudely_core::session::{Ended, Failure, Output};
use estudely_core::{Duration, Instant};

use super::address::key;
use super::lag::Lag;
use super::saved::Kept;
use super::sets::Seen;
use crate::judge::rule::{ENDS_ON_TIME, Findings, NOT_TOO_EARLY, hex};
use crate::world::scenario::Scenario;

/// A run whose outputs are full ends so soon after it has handed on its rows.
const SOON: Duration = Duration::from_secs(1);
/// A run without work that is seen from outside ends so long after it might.
const RESTS_WITHIN: Duration = Duration::from_secs(60);

/// One run after the other; see the module.
#[derive(Debug)]
pub(super) struct Ends {
    lag: Rc<Lag>,
    /// Whether a run ends by itself.
    ends: bool,
    /// How long its outputs take to hand on their last rows.
    flush: Duration,
    /// How long a run must have rested.
    idle: Duration,
    /// How many infohashes it may take on.
    limit: u64,
    /// How many it is asked for.
    requests: usize,
    /// Infohashes that ever had a row: whatever is tried for them later need not end in another.
    settled: Seen,
    /// The run under way; none before the first, and after an end or a kill.
    run: Option<Run>,
}

/// One run.
#[derive(Debug)]
struct Run {
    /// Whether it began without what an earlier one left.
    is_first: bool,
    /// When it last had work that is seen from outside.
    worked: Instant,
    /// When it last sent a datagram.
    spoke: Instant,
    /// When its last row was given out.
    told: Option<Instant>,
    /// Infohashes looked up in it that never had a row.
    open: BTreeSet<[u8; 20]>,
    /// Infohashes that it is asked for.
    requested: BTreeSet<[u8; 20]>,
    rows: u64,
    /// What became of its outputs, and when.
    output: Option<(Output, Instant)>,
}

impl Ends {
    pub(super) fn new(scenario: &Scenario, lag: Rc<Lag>) -> Self {
        Self {
            lag,
            ends: scenario.ends > 0,
            flush: Duration::from_millis(u64::from(scenario.flush_ms)),
            idle: Duration::from_secs(u64::from(scenario.idle_s)),
            limit: u64::from(scenario.max_infohashes),
            requests: scenario.requests.min(scenario.torrents) as usize,
            settled: Seen::default(),
            run: None,
        }
    }

    pub(super) fn on_started(&mut self, now: Instant, kept: Kept) {
        self.run = Some(Run {
            is_first: kept == Kept::Nothing,
            worked: now,
            spoke: now,
            told: None,
            open: BTreeSet::new(),
            requested: BTreeSet::new(),
            rows: 0,
            output: None,
        });
    }

    pub(super) fn on_killed(&mut self) {
        self.run = None;
    }

    /// A datagram was sent.
    pub(super) fn on_sent(&mut self, now: Instant) {
        if let Some(run) = &mut self.run {
            run.spoke = now;
        }
    }

    /// A connection begins or ends.
    pub(super) fn on_connection(&mut self, now: Instant) {
        if let Some(run) = &mut self.run {
            run.worked = now;
        }
    }

    /// `get_peers` was sent.
    pub(super) fn on_looked_up(&mut self, now: Instant, hash: &[u8; 20]) {
        let Some(run) = &mut self.run else { return };
        run.worked = now;
        if !self.settled.contains(&key(&[hash])) {
            run.open.insert(*hash);
        }
    }

    /// The run is asked for this infohash.
    pub(super) fn on_requested(&mut self, now: Instant, hash: &[u8; 20]) {
        if let Some(run) = &mut self.run {
            run.worked = now;
            run.requested.insert(*hash);
        }
    }

    /// A row is written. The work was over when it was given out: a disk that stalls is none.
    pub(super) fn on_row(&mut self, taken: Instant, hash: &[u8; 20]) {
        self.settled.insert(key(&[hash]));
        if let Some(run) = &mut self.run {
            run.worked = run.worked.max(taken);
            run.told = run.told.max(Some(taken));
            run.open.remove(hash);
            run.rows += 1;
        }
    }

    /// The outputs take no more rows.
    pub(super) fn on_output(&mut self, now: Instant, news: Output) {
        if let Some(run) = &mut self.run {
            run.output = Some((news, now));
        }
    }

    /// The run was told to end, for this reason, with so many connections open.
    pub(super) fn on_shut_down(
        &mut self,
        found: &mut Findings,
        ended: Option<Ended>,
        connections: usize,
    ) {
        self.check_rest(found, connections);
        let Some((run, ended)) = self.run.take().zip(ended) else { return };
        self.check_handed_on(found, &run, ended);
        match ended {
            Ended::Limit => {
                let (rows, limit) = (run.rows, self.limit);
                let is_reached = limit > 0 && (rows >= limit || !run.is_first);
                found.check(is_reached, NOT_TOO_EARLY, || {
                    format!("at its limit of {limit}, it says, and {rows} rows were given out")
                });
            }
            Ended::Idle => {
                let (worked, due) = (run.worked, run.worked + self.idle);
                found.check(found.now >= due && !self.idle.is_zero(), NOT_TOO_EARLY, || {
                    format!("idle, it says, and there was work at {worked:?}")
                });
                check_nothing_is_open(found, &run.open, connections);
            }
            Ended::RequestsDone => {
                let (given, all) = (run.requested.len(), self.requests);
                found.check(given == all && all > 0, NOT_TOO_EARLY, || {
                    format!("done, it says, and took {given} of {all} requests")
                });
                let is_open = |hash: &[u8; 20]| !self.settled.contains(&key(&[hash]));
                let open = run.requested.into_iter().filter(is_open).collect();
                check_nothing_is_open(found, &open, connections);
            }
            Ended::OutputLimit | Ended::OutputClosed | Ended::Failed(Failure::OutputLost) => {
                let is_so = run.output.and_then(|(news, _)| end_by(news)) == Some(ended);
                found.check(is_so, NOT_TOO_EARLY, || {
                    format!("{ended:?}, it says, and of its outputs came {:?}", run.output)
                });
            }
            _ => {}
        }
    }

    /// Everything that was due is done, and so many connections are open.
    pub(super) fn on_drained(&self, found: &mut Findings, connections: usize) {
        let output = self.run.as_ref().and_then(|run| run.output);
        match output {
            Some((Output::Closed | Output::Lost, _)) => found.fail(NOT_TOO_EARLY, || {
                format!("its outputs are gone ({output:?}), and it goes on")
            }),
            Some((Output::Full, since)) if self.ends => {
                let until = self.lag.end(since, self.flush) + SOON;
                found.check(found.now <= until, ENDS_ON_TIME, || {
                    format!("its outputs are full since {since:?}, and it goes on")
                });
            }
            _ => self.check_rest(found, connections),
        }
    }

    /// An end of the work's own waits until the last rows are handed on.
    fn check_handed_on(&self, found: &mut Findings, run: &Run, ended: Ended) {
        let waits =
            matches!(ended, Ended::Limit | Ended::Idle | Ended::RequestsDone | Ended::OutputLimit);
        let due = run.told.filter(|_| waits).map(|told| told + self.flush);
        found.check(due.is_none_or(|due| found.now >= due), NOT_TOO_EARLY, || {
            format!("{ended:?}, it says, and its last row is handed on at {due:?}")
        });
    }

    /// A run that ends by itself does once it has served every request, or rests. One that crawls
    /// rests for certain only while it sends nothing at all.
    fn check_rest(&self, found: &mut Findings, connections: usize) {
        let by_request = self.requests > 0;
        let Some(run) = self.run.as_ref().filter(|_| self.ends && connections == 0) else {
            return;
        };
        let (since, rest) = match (by_request, self.idle.is_zero()) {
            (true, _) => (run.worked, Duration::ZERO),
            (false, false) => (run.worked.max(run.spoke), self.idle),
            (false, true) => return,
        };
        let until = self.lag.end(since, rest + self.flush + RESTS_WITHIN);
        if found.now <= until {
            return;
        }
        let is_settled = |hash: &[u8; 20]| self.settled.contains(&key(&[hash]));
        let works = match by_request {
            true => run.requested.len() < self.requests || !run.requested.iter().all(is_settled),
            false => !run.open.is_empty(),
        };
        found.check(works, ENDS_ON_TIME, || {
            format!("it has had no work since {since:?}, and goes on")
        });
    }
}

/// How a run ends after these news.
fn end_by(news: Output) -> Option<Ended> {
    match news {
        Output::Full => Some(Ended::OutputLimit),
        Output::Closed => Some(Ended::OutputClosed),
        Output::Lost => Some(Ended::Failed(Failure::OutputLost)),
        Output::Flushed => None,
    }
}

fn check_nothing_is_open(found: &mut Findings, open: &BTreeSet<[u8; 20]>, connections: usize) {
    let first = open.first();
    found.check(first.is_none() && connections == 0, NOT_TOO_EARLY, || {
        let first = first.map(hex);
        format!(
            "no work is left, it says; {connections} connections are open, {} infohashes, {first:?} first",
            open.len()
        )
    });
}
