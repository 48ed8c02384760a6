//! A run from its beginning to its end: by which doors it enters the DHT, when it fails for want
//! of an answer, when it rests, and when and how it is over.
//!
//! An adapter tells what happened through `handle_*`, calls [`Session::handle_turn`] once in each
//! turn of its loop, does what [`Session::poll_step`] says, and waits no longer than until
//! [`Session::poll_timeout`]. The session must never see a message of the DHT or of a peer, nor
//! touch the crawler: the adapter gives it a summary ([`Facts`]), and it returns steps ([`Step`]).
//!
//! ```text
//! Running ⇄ Idle ─► Draining ─► ShuttingDown ─► Closing ─► Over
//!    └────────┴───────┴── signal, timeout, failure: at once ──▲ ShuttingDown
//! ```
//!
//! The ends ([`Ended`], in `session/terms.rs`), the first that is true in a turn: failed (no name
//! resolves, no node answers, an output is lost), a signal, the overall timeout; and of the work's
//! own, after the outputs are flushed: the limit of infohashes, idle, every request settled, an
//! output full or closed.

mod doors;
mod terms;

use std::collections::VecDeque;
use std::net::SocketAddr;

use self::doors::Doors;
use crate::base::planted::{self, Bug};
use crate::base::time::{Duration, Instant};
use crate::limits::{SHUTDOWN_GRACE, SHUTDOWN_LEAD};

pub use self::terms::{
    BootstrapReport, Door, Due, Ended, Facts, Failure, Given, Goal, Output, Progress, Requests,
    Start, Step, Supply, Terms, Work,
};

/// One run; see the module.
#[derive(Debug)]
pub struct Session {
    terms: Terms,
    begun: Instant,
    now: Instant,
    doors: Doors,
    answer: Answer,
    outlet: Outlet,
    signal: Signal,
    phase: Phase,
    /// Steps beside those of the doors: at most one of each kind.
    steps: VecDeque<Step>,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// There is work, or there may be.
    Running,
    /// Nothing has been open or due since then.
    Idle {
        /// Since when.
        since: Instant,
    },
    /// The work came to this end, and the outputs still hold rows. New work takes the end back.
    Draining(Ended),
    /// Nothing new is begun; connections that were cut off hand in their outcomes.
    ShuttingDown {
        /// Why.
        ended: Ended,
        /// When the run stops waiting for them.
        until: Instant,
    },
    /// No connection is left; the last rows and the state are written.
    Closing(Ended),
    /// It is over, for this reason.
    Over(Ended),
}

/// Whether there is a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// No node has answered.
    Awaited,
    /// A node answered.
    Given,
    /// No node has to answer: there is something to do all the same.
    Waived,
}

/// Whether the outputs take rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outlet {
    Open,
    Full,
}

/// Whether a signal was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    Silent,
    Heard,
}

impl Session {
    /// A run that begins at `begun`, with these ways into the DHT; none without DHT traffic.
    pub fn new(terms: Terms, doors: &[Door], begun: Instant) -> Self {
        Self {
            terms,
            begun,
            now: begun,
            doors: Doors::new(begun, doors, terms.start),
            answer: Answer::Awaited,
            outlet: Outlet::Open,
            signal: Signal::Silent,
            phase: Phase::Running,
            steps: VecDeque::new(),
        }
    }

    /// The name at this place of the list of doors has these addresses.
    pub fn handle_resolved(&mut self, now: Instant, at: usize, addresses: &[SocketAddr]) {
        self.advance(now);
        self.doors.handle_resolved(at, addresses);
    }

    /// The name at this place does not resolve. Whether that is news to a person: it is not when
    /// the name was asked again.
    pub fn handle_unresolved(&mut self, now: Instant, at: usize) -> bool {
        self.advance(now);
        self.doors.handle_unresolved(at)
    }

    /// A datagram came from this address.
    pub fn handle_datagram(&mut self, from: SocketAddr) {
        self.doors.handle_datagram(from);
    }

    /// A person or the system asks for the end.
    pub fn handle_signal(&mut self, now: Instant) {
        self.advance(now);
        self.signal = Signal::Heard;
    }

    /// News of the outputs.
    pub fn handle_output(&mut self, now: Instant, output: Output) {
        self.advance(now);
        let loss = match output {
            Output::Closed => Some(Ended::OutputClosed),
            Output::Lost => Some(Ended::Failed(Failure::OutputLost)),
            Output::Full | Output::Flushed => None,
        };
        if output == Output::Full {
            self.outlet = Outlet::Full;
        }
        match (self.phase, loss) {
            (Phase::Draining(ended), None) if output == Output::Flushed => self.shut_down(ended),
            (Phase::Running | Phase::Idle { .. } | Phase::Draining(_), Some(loss)) => {
                self.shut_down(loss);
            }
            // What failed has failed; a clean end is spoilt by a loss.
            (Phase::ShuttingDown { ended, until }, Some(loss)) if ended.is_clean() => {
                self.phase = Phase::ShuttingDown { ended: loss, until };
            }
            (Phase::Closing(ended), Some(loss)) => {
                self.phase = Phase::Over(if ended.is_clean() { loss } else { ended });
            }
            (Phase::Closing(ended), None) if output == Output::Flushed => {
                self.phase = Phase::Over(ended);
            }
            _ => {}
        }
    }

    /// No connection is open any more: a shutdown need not wait.
    pub fn handle_disconnected(&mut self, now: Instant) {
        self.advance(now);
        if let Phase::ShuttingDown { ended, .. } = self.phase {
            self.phase = Phase::Closing(ended);
        }
    }

    /// Once in each turn, and when [`Self::poll_timeout`] is due: looks at what the work has come
    /// to. The order is the order of what weighs more: failure, signal, timeout, an end of the
    /// work.
    pub fn handle_turn(&mut self, now: Instant, facts: &Facts) {
        self.advance(now);
        if let Phase::ShuttingDown { ended, until } = self.phase
            && until <= self.now
        {
            self.phase = Phase::Closing(ended);
        }
        if !self.is_working() {
            return;
        }
        if let Some(failure) = self.judge(facts) {
            return self.shut_down(Ended::Failed(failure));
        }
        if self.signal == Signal::Heard {
            return self.shut_down(Ended::Signal);
        }
        if self.overall_due().is_some_and(|at| at <= self.now) {
            return self.shut_down(Ended::Timeout);
        }
        self.doors.handle_turn(self.now, facts.progress.replies);
        self.phase = self.after_work(facts);
    }

    /// What the adapter is to do next.
    pub fn poll_step(&mut self) -> Option<Step> {
        self.doors.poll_step().or_else(|| self.steps.pop_front())
    }

    /// When [`Self::handle_turn`] must be called even if nothing else happens, and why. Lies ahead
    /// after it was called.
    pub fn poll_timeout(&self) -> Option<(Instant, Due)> {
        if let Phase::ShuttingDown { until, .. } = self.phase {
            return Some((until, Due::Grace));
        }
        if !self.is_working() {
            return None;
        }
        let idle = match self.phase {
            Phase::Idle { since } => self.rest().map(|rest| since + rest),
            _ => None,
        };
        // Once it is over, only requests can settle whether an answer is needed.
        let awaited = self.answer == Answer::Awaited;
        let answer = self.answer_due().filter(|at| awaited && *at > self.now);
        let [names, routers] = self.doors.deadlines();
        let deadlines = [
            names,
            routers,
            answer.map(|at| (at, Due::Answer)),
            idle.map(|at| (at, Due::Idle)),
            self.overall_due().map(|at| (at, Due::Overall)),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// How far the run is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether the run goes on: it is neither shutting down nor over.
    pub fn is_working(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Idle { .. } | Phase::Draining(_))
    }

    /// Why the run ends, from the moment that this is settled.
    pub fn ended(&self) -> Option<Ended> {
        match self.phase {
            Phase::Running | Phase::Idle { .. } | Phase::Draining(_) => None,
            Phase::ShuttingDown { ended, .. } | Phase::Closing(ended) | Phase::Over(ended) => {
                Some(ended)
            }
        }
    }

    /// How entering the DHT went so far.
    pub fn bootstrap(&self) -> BootstrapReport {
        self.doors.report()
    }

    /// Places of the names that were to be resolved.
    pub fn names(&self) -> impl Iterator<Item = usize> {
        self.doors.names().map(|(at, _)| at)
    }

    /// How a run without an answer fails, if now is the time. Settles otherwise that an answer
    /// came, or that none is needed.
    fn judge(&mut self, facts: &Facts) -> Option<Failure> {
        let Facts { progress, requests } = facts;
        let warm = self.terms.start == Start::Warm;
        if self.answer != Answer::Awaited {
            return None;
        }
        if self.doors.has_answer() || (warm && progress.has_reply()) {
            self.answer = Answer::Given;
            self.steps.push_back(Step::Begin);
            return None;
        }
        let due = self.answer_due()?;
        let by_request = self.terms.goal == Goal::Requests;
        let needed = !by_request || requests.given == Given::HashesAlone;
        // Names alone, and none of them resolves: there is nothing to wait for, unless contacts of
        // an earlier run may answer, or the next request brings peers.
        let may_change = warm || (by_request && requests.supply == Supply::Open);
        if needed && !may_change && self.doors.are_hopeless() {
            return Some(Failure::NoNameResolved);
        }
        if self.now < due {
            return None;
        }
        if progress.has_reply() {
            self.answer = Answer::Waived;
        } else if needed && (!by_request || progress.dialled == 0) {
            // A list of requests may bring peers as long as it goes on.
            return Some(self.unanswered(progress.asked));
        } else if requests.are_judged() {
            self.answer = Answer::Waived;
        }
        None
    }

    fn unanswered(&self, asked: u64) -> Failure {
        if self.doors.are_hopeless() {
            return Failure::NoNameResolved;
        }
        let mut tried = self.doors.report().addresses_tried;
        if self.terms.start == Start::Warm {
            tried = tried.max(u32::try_from(asked).unwrap_or(u32::MAX));
        }
        Failure::NoNodeAnswered { waited: self.patience().unwrap_or_default(), tried }
    }

    /// The phase that the work itself leads to.
    fn after_work(&self, facts: &Facts) -> Phase {
        let by_request = self.terms.goal == Goal::Requests;
        let may_rest = by_request || self.terms.until_idle.is_some();
        let is_idle = facts.progress.work == Work::Idle
            || (by_request && planted::is(Bug::AbandonedRequests));
        let rests = may_rest && facts.requests.supply == Supply::Exhausted && is_idle;
        if self.outlet == Outlet::Full {
            return Phase::Draining(Ended::OutputLimit);
        }
        if facts.progress.work == Work::Finished {
            return Phase::Draining(Ended::Limit);
        }
        if !rests {
            return Phase::Running;
        }
        if by_request {
            return Phase::Draining(Ended::RequestsDone);
        }
        let since = match self.phase {
            Phase::Idle { since } => since,
            // It has rested long enough, and still does.
            Phase::Draining(Ended::Idle) => return self.phase,
            _ => self.now,
        };
        match self.rest() {
            Some(rest) if self.now.since(since) >= rest => Phase::Draining(Ended::Idle),
            _ => Phase::Idle { since },
        }
    }

    /// How long a run rests before it is over.
    fn rest(&self) -> Option<Duration> {
        let rest = self.terms.until_idle?;
        Some(if planted::is(Bug::HastyIdle) { rest / 2 } else { rest })
    }

    fn shut_down(&mut self, ended: Ended) {
        self.phase = Phase::ShuttingDown { ended, until: self.now + SHUTDOWN_GRACE };
        self.steps.push_back(Step::ShutDown);
    }

    /// How long a run waits for its first answer.
    fn patience(&self) -> Option<Duration> {
        let within = self.terms.answer_within?;
        let within = if planted::is(Bug::EndlessPatience) { within * 2 } else { within };
        Some(self.terms.overall_timeout.map_or(within, |most| most.min(within)))
    }

    /// When a run without an answer fails: before the overall timeout ends it cleanly.
    fn answer_due(&self) -> Option<Instant> {
        let due = self.begun + self.patience()?;
        Some(self.overall_due().map_or(due, |at| at.min(due)))
    }

    /// When the overall timeout begins to end the run, so that the end falls on it.
    fn overall_due(&self) -> Option<Instant> {
        let most = self.terms.overall_timeout?;
        Some(self.begun + (most - SHUTDOWN_LEAD.min(most / 2)))
    }

    /// Time never runs backwards in here, whatever the caller's clock does (H47).
    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }
}

#[cfg(test)]
mod tests;
