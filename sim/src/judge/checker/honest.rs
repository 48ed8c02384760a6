//! Rule e where baiters draw the crawler's work to themselves: honest work goes on all the time,
//! not only in the end. And what is worth knowing of such a run, as numbers.
//!
//! Honest work is the torrents that are due: shown and served by honest nodes and peers for the
//! whole run. One of them waits from the first sample that has it until its first row.

use std::collections::BTreeSet;
use std::fmt;

use estudely_core::limits::METADATA_MAX;
use estudely_core::{Duration, InfoHash, Instant, Row, Verdict};

use super::address::key;
use super::calm;
use super::expected::GroundTruth;
use super::rows::Rows;
use super::sets::Seen;
use crate::judge::rule::{Findings, HOSTILITY_ONLY_SLOWS, MEMORY_BOUNDED};
use crate::net::event::Held;
use crate::world::scenario::Scenario;

/// How long no honest infohash may be settled while some wait.
const STANDSTILL_MAX: Duration = Duration::from_secs(30);
/// The settings of a home line, for which that holds: queries a second, new flows a minute,
/// connections that an honest crawl of such a line keeps busy.
const HOME: [u32; 3] = [200, 1_800, 50];

/// What a crawler on a home line may hold, beside one larger dictionary each.
const HOME_CONNECTIONS: u32 = 200;
const HOME_UNFINISHED: usize = 24 << 20;
const HOME_ROWS: usize = 16 << 20;

/// What became of honest work so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HonestTally {
    /// Torrents that are due.
    pub due: usize,
    /// Those of them with a true row.
    pub found: usize,
    /// When 95 % of them had one.
    pub nearly: Option<Instant>,
    /// The longest time without a row for one of them while some waited, and when it ended.
    pub standstill: (Duration, Instant),
    /// Keys made up by baiters that were looked up.
    pub invented: u64,
    /// Rows without metadata, one for each peer that they name.
    pub false_rows: u64,
    /// Most bytes held for strangers, of either kind.
    pub held: Held,
}

impl fmt::Display for HonestTally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { due, found, nearly, standstill, invented, false_rows, held } = self;
        write!(f, "{found} of {due} honest torrents found, 95 % ")?;
        match nearly {
            Some(at) => write!(f, "after {:.1} s", at.as_millis() as f64 / 1_000.0)?,
            None => f.write_str("never")?,
        }
        let (lasted, until) = (standstill.0.as_secs_f64(), standstill.1.as_millis() as f64 / 1e3);
        write!(f, ", longest standstill {lasted:.1} s until {until:.1} s, ")?;
        write!(f, "{invented} made-up keys looked up, {false_rows} False rows, ")?;
        let Held { unfinished, rows } = held;
        write!(f, "at most {} KiB unfinished and {} KiB of rows", unfinished >> 10, rows >> 10)
    }
}

/// See the module. Without baiters nothing is kept.
#[derive(Debug)]
pub(super) struct HonestWork {
    /// How long a standstill may last; `None` where something else excuses it.
    patience: Option<Duration>,
    is_lured: bool,
    /// Whether no more connections are allowed than on a home line.
    is_home: bool,
    due: BTreeSet<[u8; 20]>,
    waiting: BTreeSet<[u8; 20]>,
    /// Since when some wait and none had a row.
    since: Instant,
    invented: Seen,
    tally: HonestTally,
}

impl HonestWork {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let limits = [scenario.rate, scenario.new_flows, scenario.connections];
        let slower = |(home, limit): (u32, u32)| home.div_ceil(limit.max(1)) * u32::from(limit > 0);
        let factor = HOME.into_iter().zip(limits).map(slower).fold(1, u32::max);
        let promised = calm::is_promised(scenario) && !calm::is_broken(scenario);
        Self {
            patience: promised.then(|| STANDSTILL_MAX * factor),
            is_lured: scenario.baiters > 0,
            is_home: scenario.connections <= HOME_CONNECTIONS,
            due: BTreeSet::new(),
            waiting: BTreeSet::new(),
            since: Instant::START,
            invented: Seen::default(),
            tally: HonestTally::default(),
        }
    }

    /// What it came to, if there are baiters.
    pub(super) fn tally(&self) -> Option<HonestTally> {
        self.is_lured.then_some(self.tally)
    }

    pub(super) fn on_started(&mut self, truth: &dyn GroundTruth) {
        if self.is_lured && self.due.is_empty() {
            self.due = truth.due().into_iter().map(|due| due.hash).collect();
            self.tally.due = self.due.len();
        }
        self.waiting.clear();
    }

    /// A sample in a matched answer.
    pub(super) fn on_heard(&mut self, now: Instant, rows: &Rows, hash: [u8; 20]) {
        if !self.due.contains(&hash) || rows.is_verified(&hash) || rows.failed_at(&hash).is_some() {
            return;
        }
        if self.waiting.is_empty() {
            self.since = now;
        }
        self.waiting.insert(hash);
    }

    /// A lookup's query.
    pub(super) fn on_sought(&mut self, truth: &dyn GroundTruth, hash: &[u8; 20]) {
        if self.is_lured && truth.is_invented(&InfoHash(*hash)) {
            self.tally.invented += u64::from(self.invented.insert(key(&[hash])));
        }
    }

    /// A row; `first` unless the infohash had a true one before.
    pub(super) fn on_row(&mut self, now: Instant, row: &Row, first: bool) {
        let verified = matches!(row.verdict, Verdict::Verified { .. } | Verdict::Broken { .. });
        if !verified {
            self.tally.false_rows += row.peers.len().max(1) as u64;
        }
        if !self.due.contains(&row.infohash.0) {
            return;
        }
        self.note(now);
        self.since = now;
        self.waiting.remove(&row.infohash.0);
        self.tally.found += usize::from(verified && first);
        let nearly = self.tally.found * 100 >= self.due.len() * 95;
        self.tally.nearly = self.tally.nearly.or(nearly.then_some(now));
    }

    /// Rule 10 where the settings are those of a home line.
    pub(super) fn on_held(&mut self, found: &mut Findings, held: Held) {
        let most = &mut self.tally.held;
        most.unfinished = most.unfinished.max(held.unfinished);
        most.rows = most.rows.max(held.rows);
        let Held { unfinished, rows } = held;
        let fits = unfinished <= HOME_UNFINISHED + METADATA_MAX && rows <= HOME_ROWS + METADATA_MAX;
        found.check(fits || !self.is_lured || !self.is_home, MEMORY_BOUNDED, || {
            format!("{unfinished} bytes of unfinished metadata and {rows} of rows")
        });
    }

    /// Rule e, when everything is drained.
    pub(super) fn on_drained(&mut self, found: &mut Findings) {
        let lasted = self.note(found.now);
        let (waiting, since) = (self.waiting.len(), self.since);
        let holds = self.patience.is_none_or(|patience| lasted <= patience);
        found.check(holds, HOSTILITY_ONLY_SLOWS, || {
            format!("{waiting} honest infohashes wait, and none was settled since {since:?}")
        });
    }

    /// How long none was settled while some wait.
    fn note(&mut self, now: Instant) -> Duration {
        if self.waiting.is_empty() {
            return Duration::ZERO;
        }
        let lasted = now.since(self.since);
        if lasted > self.tally.standstill.0 {
            self.tally.standstill = (lasted, now);
        }
        lasted
    }
}
