//! One scenario run to its end, and what the checker says about it.
//!
//! A verdict follows from the scenario and the planted bug alone. Whatever goes wrong inside a run
//! becomes part of it: a failed assertion of the core is a broken rule like any other.

mod panics;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::mem;
use std::rc::Rc;

use estudely_core::internal::planted::{self, Bug};
use estudely_core::session::Ended;
use estudely_core::{InfoHash, Instant, Verdict};

use self::panics::catch;
use crate::judge::checker::{Checker, HonestTally};
use crate::judge::compare::{Said, rows_equal_without_forgeries};
use crate::judge::curve::{Curve, CurvePoint};
use crate::judge::rule::{Broken, RULES};
use crate::judge::trace::{TAIL, Trace};
use crate::net::event::{Event, Observer};
use crate::run::direct;
use crate::run::gateway;
use crate::world::dht::PlanError;
use crate::world::draw::draw;
use crate::world::scenario::{Harness, Scenario};
use crate::world::universe::Universe;

/// Of the seeds run directly, one in so many is run again with other forged replies (rule 5).
const FORGED_SHARE: u8 = 8;
/// Forged datagrams for each thousand delivered in such a second run of a scenario without any.
const FORGED: u32 = 300;

/// A rule that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its number or letter, or `panic`.
    pub rule: String,
    /// What it is called.
    pub name: String,
    /// When, in the harness's time.
    pub at: Instant,
    /// What was seen.
    pub text: String,
}

impl Failure {
    fn of(broken: &Broken) -> Self {
        let Broken { rule, at, what } = broken;
        Self { rule: rule.mark.to_owned(), name: rule.name.to_owned(), at: *at, text: what.clone() }
    }
}

impl Failure {
    /// A failed assertion. Those of the harness begin with the rule that they stand for.
    fn of_panic(at: Instant, text: String) -> Self {
        let mark =
            text.strip_prefix("rule ").and_then(|rest| rest.split_once(':')).map(|cut| cut.0);
        let rule = RULES.iter().find(|rule| Some(rule.mark) == mark);
        let (mark, name) =
            rule.map_or(("panic", "no-assertion-fails"), |rule| (rule.mark, rule.name));
        Self { rule: mark.to_owned(), name: name.to_owned(), at, text }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at.as_micros() / 1_000_000;
        let micros = self.at.as_micros() % 1_000_000;
        write!(f, "at {seconds}.{micros:06} s rule {} ({})", self.rule, self.name)?;
        write!(f, ": {}", self.text.replace('\n', " "))
    }
}

/// What was counted while it ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunTally {
    /// Events that crossed the boundary.
    pub events: u64,
    /// Datagrams that the crawler sent.
    pub sent: u64,
    /// Connections that it began.
    pub dialled: u64,
    /// Rows with metadata.
    pub verified: u64,
    /// Other rows.
    pub failed: u64,
    /// When the last event happened.
    pub ended: Instant,
}

impl fmt::Display for RunTally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, sent, dialled, verified, failed, ended } = self;
        let seconds = ended.as_millis() as f64 / 1_000.0;
        write!(f, "{seconds:.3} s of virtual time, {events} events, {sent} datagrams sent, ")?;
        write!(f, "{dialled} dials, {verified} torrents verified, {failed} failed")
    }
}

/// What became of a run.
#[derive(Clone, Debug)]
pub struct RunVerdict {
    /// What was run.
    pub scenario: Scenario,
    /// The first rule broken, if any.
    pub failure: Option<Failure>,
    /// Of everything that crossed the boundary.
    pub hash: u64,
    /// The last events, readable; kept for failures only.
    pub tail: Vec<String>,
    /// What was counted.
    pub tally: RunTally,
    /// What became of honest work, where baiters are about.
    pub honest: Option<HonestTally>,
}

/// When a run ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Until {
    /// When everything is found, when a rule is broken, or at its time.
    #[default]
    Judged,
    /// The same, but a broken rule does not end it.
    Done,
}

/// What a trace is for besides its hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tracing {
    /// Nothing.
    #[default]
    Hash,
    /// Every event as a line of text.
    Text,
    /// To be held against another run.
    Record,
    /// To find the first event that is not as recorded.
    Compare(Vec<u64>),
}

/// What to do besides checking.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The bug to plant.
    pub bug: Option<Bug>,
    /// Keep what was found for each query sent.
    pub curve: bool,
    /// What the trace is for besides its hash.
    pub tracing: Tracing,
    /// When the run ends.
    pub until: Until,
}

/// A verdict, and what was wanted besides.
#[derive(Debug)]
pub struct Report {
    /// The verdict.
    pub verdict: RunVerdict,
    /// Every event, if wanted.
    pub text: Vec<String>,
    /// What [`Tracing::Compare`] takes, if wanted.
    pub recorded: Vec<u64>,
    /// The curve as CSV, if wanted.
    pub curve: Option<Vec<u8>>,
    /// Where the curve stood when nearly all that is exposed was found, if wanted.
    pub nearly_all: Option<CurvePoint>,
}

/// Runs `scenario` and judges it.
///
/// # Errors
/// When no world can be built from its numbers.
pub fn run(scenario: &Scenario, wanted: &Wanted) -> Result<Report, PlanError> {
    let universe = Rc::new(Universe::build(scenario)?);
    let (mut report, told) = run_once(scenario, &universe, wanted);
    let again = draw(scenario.seed, "forged again", 0).u8(..FORGED_SHARE) == 0;
    // Which infohashes a limited run takes on before its limit is a matter of microseconds as well.
    let is_limited = scenario.max_infohashes > 0;
    let comparable = scenario.harness == Harness::Direct && !told.ended_early && !is_limited;
    if report.verdict.failure.is_none() && again && comparable {
        report.verdict.failure = compare_forged(scenario, &universe, wanted, told.rows);
    }
    Ok(report)
}

/// Rule 5: what strangers send changes nothing. The same run with other forged datagrams must give
/// the same rows. One of two that ended early is not compared: which rows come before that end is a
/// matter of microseconds. So it is with infohashes that are not due: whether their peers serve them
/// before the last one that is due ends the run is chance. Of an infohash with two rows the verified
/// one counts: a stream that is reset in one run and not in the other may cost a retry. What no
/// matched answer named has no row in either run (`check_knowledge`).
fn compare_forged(
    scenario: &Scenario,
    universe: &Rc<Universe>,
    wanted: &Wanted,
    rows: Vec<Said>,
) -> Option<Failure> {
    let mut forged = scenario.clone();
    if forged.forged == 0 {
        forged.forged = FORGED;
    }
    let wanted = Wanted { bug: wanted.bug, ..Wanted::default() };
    let due: BTreeSet<_> = universe.truth().due().map(|(hash, _)| hash.0).collect();
    let settled = |mut rows: Vec<Said>| {
        let held = rows.iter().filter(|said| said.raw.is_some()).map(|said| said.hash);
        let held: BTreeSet<_> = held.collect();
        rows.retain(|said| {
            due.contains(&said.hash) && (said.raw.is_some() || !held.contains(&said.hash))
        });
        rows
    };
    let (mut rows, mut failure, mut ended_early) = (Some(rows), None, false);
    let compared = rows_equal_without_forgeries(&forged, |other| {
        if other.forged == scenario.forged {
            return settled(rows.take().unwrap_or_default());
        }
        let (report, told) = run_once(other, universe, &wanted);
        (failure, ended_early) = (report.verdict.failure, told.ended_early);
        settled(told.rows)
    });
    // Whatever broke in the other run is the reason for the rows to differ.
    let compared = compared.err().filter(|_| !ended_early);
    failure.or_else(|| compared.as_ref().map(Failure::of))
}

/// What a run gave out.
#[derive(Debug, Default)]
struct Told {
    rows: Vec<Said>,
    /// Whether a crawler ended its run by itself, or its outputs took no more rows.
    ended_early: bool,
}

impl Told {
    fn note(&mut self, event: &Event<'_>) {
        match event {
            Event::Row { row, .. } => self.rows.push(Said::of(row)),
            Event::ShutDown { ended } => {
                self.ended_early |= ended.is_some_and(|ended| ended != Ended::Signal);
            }
            Event::Output(_) => self.ended_early = true,
            _ => {}
        }
    }
}

fn run_once(scenario: &Scenario, universe: &Rc<Universe>, wanted: &Wanted) -> (Report, Told) {
    let watch = Watch::new(scenario, universe, wanted);
    let panicked = {
        let _planted = wanted.bug.map(planted::plant);
        let watch = watch.clone();
        catch(|| {
            let run = match scenario.harness {
                Harness::Direct => direct::run::<Watch>,
                Harness::Turmoil => gateway::run::<Watch>,
            };
            let _ = run(scenario, Rc::clone(universe), watch);
        })
    };
    let mut watched = watch.0.borrow_mut();
    let ended = watched.tally.ended;
    let mut failure = watched.failure();
    if failure.is_none() {
        failure = panicked.map(|text| Failure::of_panic(ended, text));
    }
    if failure.is_none() {
        watched.checker.finish(ended);
        failure = watched.failure();
    }
    // That two runs differ is worth more than what either of them broke.
    failure = watched.trace.first_difference().as_ref().map(Failure::of).or(failure);
    watched.report(scenario, failure)
}

/// Everything that looks on. Shared, because a run that panics takes its observer with it.
struct Watched {
    checker: Checker,
    until: Until,
    trace: Trace,
    curve: Option<Curve>,
    tally: RunTally,
    told: Told,
    /// Whether to keep every event as text, and what is kept so far.
    text: Option<Vec<String>>,
}

impl Watched {
    fn failure(&self) -> Option<Failure> {
        self.checker.broken().map(Failure::of)
    }

    fn report(&mut self, scenario: &Scenario, failure: Option<Failure>) -> (Report, Told) {
        let mut tail = Vec::new();
        if failure.is_some() {
            tail.extend(self.trace.tail().chain([self.trace.waits_for()]));
        }
        let verdict = RunVerdict {
            scenario: scenario.clone(),
            failure,
            hash: self.trace.hash(),
            tail,
            tally: self.tally,
            honest: self.checker.honest(),
        };
        let curve = self.curve.as_ref().map(|curve| {
            let mut csv = Vec::new();
            // Memory does not refuse.
            let _ = curve.write(&mut csv);
            csv
        });
        let nearly_all = self.curve.as_ref().and_then(Curve::nearly_all);
        self.keep_text(1);
        let text = self.text.take().unwrap_or_default();
        let recorded = mem::take(&mut self.trace).recorded();
        (Report { verdict, text, recorded, curve, nearly_all }, mem::take(&mut self.told))
    }

    /// Takes over what the trace's tail has that the text has not, if it is so many events.
    fn keep_text(&mut self, at_least: usize) {
        let Some(text) = &mut self.text else { return };
        let events = self.trace.events() as usize;
        let missing = events - text.len();
        if missing >= at_least {
            text.extend(self.trace.tail().skip(events.min(TAIL) - missing));
        }
    }
}

/// The infohashes that some node exposes.
fn exposed(universe: &Universe) -> Vec<InfoHash> {
    let Some(world) = universe.worlds().next() else { return Vec::new() };
    let facts = universe.truth().facts().iter().filter(|fact| fact.exposed);
    facts.map(|fact| world.key(fact.number)).collect()
}

#[derive(Clone)]
struct Watch(Rc<RefCell<Watched>>);

impl Watch {
    fn new(scenario: &Scenario, universe: &Rc<Universe>, wanted: &Wanted) -> Self {
        let trace = match &wanted.tracing {
            Tracing::Hash | Tracing::Text => Trace::new(),
            Tracing::Record => Trace::recording(),
            Tracing::Compare(recorded) => Trace::comparing(recorded.clone()),
        };
        Self(Rc::new(RefCell::new(Watched {
            checker: Checker::new(scenario, Rc::clone(universe)),
            until: wanted.until,
            trace,
            curve: wanted.curve.then(|| Curve::new(exposed(universe), None)),
            tally: RunTally::default(),
            told: Told::default(),
            text: (wanted.tracing == Tracing::Text).then(Vec::new),
        })))
    }
}

impl Observer for Watch {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        let mut watched = self.0.borrow_mut();
        watched.trace.observe(now, event);
        watched.keep_text(TAIL);
        let tally = &mut watched.tally;
        tally.events += 1;
        tally.ended = now;
        match event {
            Event::Sent { .. } => tally.sent += 1,
            Event::Dialled { .. } => tally.dialled += 1,
            Event::Row { row, .. } => match row.verdict {
                Verdict::Verified { .. } => tally.verified += 1,
                _ => tally.failed += 1,
            },
            _ => {}
        }
        watched.told.note(event);
        watched.checker.observe(now, event);
        if let Some(curve) = &mut watched.curve {
            curve.observe(now, event);
        }
    }

    fn satisfied(&self) -> bool {
        let watched = self.0.borrow();
        match watched.until {
            Until::Judged => watched.checker.satisfied(),
            Until::Done => watched.checker.is_done(),
        }
    }
}

#[cfg(test)]
mod tests {
    use estudely_core::session::Output;

    use super::*;

    #[test]
    fn only_a_run_that_did_end_early_is_not_compared_with_another() {
        for (event, early) in [
            (Event::ShutDown { ended: Some(Ended::Signal) }, false),
            (Event::ShutDown { ended: None }, false),
            (Event::ShutDown { ended: Some(Ended::Idle) }, true),
            (Event::ShutDown { ended: Some(Ended::Timeout) }, true),
            (Event::Output(Output::Full), true),
            (Event::Killed, false),
        ] {
            let mut told = Told::default();
            told.note(&event);
            told.note(&Event::ShutDown { ended: Some(Ended::Signal) });
            assert_eq!(told.ended_early, early, "{event:?}");
        }
    }
}
