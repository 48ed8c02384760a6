//! Rules 23 and 24: when public routers are asked after a warm start, and when a run is over.
//!
//! Seen from outside: what was sent where, which answers matched, and the moment of the shutdown.
//! An answer that may or may not have counted excuses either way.

use std::net::SocketAddr;
use std::rc::Rc;

use estudely_core::limits::{
    ANSWER_WITHIN, ROUTERS_AFTER, ROUTERS_AFTER_QUIET, SHUTDOWN_GRACE, SHUTDOWN_LEAD,
};
use estudely_core::session::{Ended, Failure};
use estudely_core::{Duration, Instant};

use super::address::{endpoint_key, family};
use super::expected::GroundTruth;
use super::lag::Lag;
use super::saved::Kept;
use super::sets::Seen;
use super::table;
use crate::judge::rule::{ENDS_ON_TIME, Findings, ROUTERS_WAIT};
use crate::world::scenario::Scenario;

/// What a run has to do once all is reported is done so soon.
const SOON: Duration = Duration::from_secs(1);

/// One run after the other; see the module.
#[derive(Debug)]
pub(super) struct Sessions {
    lag: Rc<Lag>,
    /// Whether a run ends by itself.
    ends: bool,
    overall: Option<Duration>,
    /// Those of each family: what one family hears says nothing of the other.
    routers: [Routers; 2],
    bootstrap: Seen,
    /// Whether bootstrap nodes are names, so that any of them may be met before it resolves.
    names: bool,
    /// Routers that some node named while the crawler could not know that they are routers: to it
    /// they are contacts like any other, also after a restart.
    met: Seen,
    /// Whether the last snapshot holds contacts.
    contacts_saved: bool,
    /// The run under way; none before the first, and after an end or a kill.
    run: Option<Run>,
    /// How long connections that a shutdown cut off take to be reported.
    cut: Duration,
    /// The end under way, until another run begins.
    closing: Option<Closing>,
}

/// A run that is told to end: its last snapshot says when it is over.
#[derive(Clone, Copy, Debug)]
struct Closing {
    /// When the connections that it cut off are reported, or their grace is over.
    earliest: Instant,
    latest: Instant,
    saved: Option<Instant>,
}

/// One run.
#[derive(Clone, Copy, Debug)]
struct Run {
    begun: Instant,
    /// The last answer of each family that must have counted.
    answered: [Option<Instant>; 2],
    /// Whether anything came that may have counted as an answer.
    heard: bool,
    /// Datagrams sent.
    sent: u64,
}

/// What is known of the public routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Routers {
    /// Bootstrap nodes are none.
    None,
    /// They may be asked.
    Free,
    /// They wait, because the run began with contacts.
    Wait,
}

impl Sessions {
    pub(super) fn new(scenario: &Scenario, lag: Rc<Lag>) -> Self {
        let overall = Duration::from_secs(u64::from(scenario.overall_s));
        Self {
            lag,
            ends: scenario.ends > 0,
            overall: Some(overall).filter(|most| !most.is_zero()),
            routers: [if scenario.routers > 0 { Routers::Free } else { Routers::None }; 2],
            bootstrap: Seen::default(),
            names: scenario.names_ms > 0,
            met: Seen::default(),
            contacts_saved: false,
            run: None,
            cut: Duration::from_millis(u64::from(scenario.cut_ms)),
            closing: None,
        }
    }

    pub(super) fn on_started(&mut self, now: Instant, truth: &dyn GroundTruth, kept: Kept) {
        self.closing = None;
        self.bootstrap = truth.bootstrap().into_iter().map(endpoint_key).collect();
        if self.routers != [Routers::None; 2] {
            let warm = kept != Kept::Nothing && self.contacts_saved;
            self.routers = [if warm { Routers::Wait } else { Routers::Free }; 2];
        }
        self.run = Some(Run { begun: now, answered: [None; 2], heard: false, sent: 0 });
    }

    pub(super) fn on_killed(&mut self) {
        self.run = None;
        self.closing = None;
    }

    pub(super) fn on_saved(&mut self, now: Instant, bytes: &[u8], whole: bool) {
        if let Some(closing) = self.closing.as_mut().filter(|_| whole) {
            closing.saved = Some(now);
        }
        if whole && self.routers != [Routers::None; 2] {
            self.contacts_saved = table::holds_contacts(bytes);
        }
    }

    /// An answer that matched names this contact.
    pub(super) fn on_named(&mut self, contact: SocketAddr) {
        let unknown = self.routers.contains(&Routers::Wait) || self.names;
        if unknown && self.bootstrap.contains(&endpoint_key(contact)) {
            self.met.insert(endpoint_key(contact));
        }
    }

    /// A datagram was sent.
    pub(super) fn on_sent(&mut self, found: &mut Findings, to: SocketAddr) {
        let Some(run) = &mut self.run else { return };
        run.sent += 1;
        let key = endpoint_key(to);
        let side = family(to);
        let held = self.routers[side] == Routers::Wait && self.bootstrap.contains(&key);
        if !held || self.met.contains(&key) {
            return;
        }
        let due = match run.answered[side] {
            None => run.begun + ROUTERS_AFTER,
            Some(last) => last + ROUTERS_AFTER_QUIET,
        };
        found.check(found.now >= due, ROUTERS_WAIT, || {
            format!("router {to} is asked, and not before {due:?} has it been silent for long")
        });
        self.routers[side] = Routers::Free;
    }

    /// Anything was received.
    pub(super) fn on_received(&mut self, from: SocketAddr) {
        if let Some(run) = &mut self.run {
            run.heard |= self.bootstrap.contains(&endpoint_key(from));
        }
    }

    /// An answer that matched an open query; `sure` if the crawler must think so too.
    pub(super) fn on_answer(&mut self, now: Instant, from: SocketAddr, sure: bool) {
        if let Some(run) = &mut self.run {
            run.heard = true;
            if sure {
                run.answered[family(from)] = Some(now);
            }
        }
    }

    /// The run was told to end, for this reason, with so many connections open.
    pub(super) fn on_shut_down(
        &mut self,
        found: &mut Findings,
        ended: Option<Ended>,
        connections: usize,
    ) {
        let Some(Run { begun, answered, sent, .. }) = self.run.take() else { return };
        let (now, ends, overall) = (found.now, self.ends, self.overall);
        let wait = if connections > 0 { self.cut.min(SHUTDOWN_GRACE) } else { Duration::ZERO };
        let latest = self.lag.end(now, wait) + SOON;
        let closing = Closing { earliest: now + wait, latest, saved: None };
        self.closing = ended.map(|_| closing);
        let answered = answered.into_iter().flatten().max();
        let soonest = match ended {
            Some(Ended::Failed(Failure::NoNodeAnswered { .. })) => {
                found.check(ends && answered.is_none(), ENDS_ON_TIME, || {
                    format!("no node answered, it says, and one did at {answered:?}")
                });
                self.fails_after()
            }
            Some(Ended::Failed(Failure::NoNameResolved)) => {
                found.check(sent == 0, ENDS_ON_TIME, || {
                    format!("no name resolves, it says, and {sent} datagrams were sent")
                });
                Duration::ZERO
            }
            Some(Ended::Timeout) => overall.map_or(Duration::MAX, begins_to_end),
            _ => Duration::ZERO,
        };
        found.check(now >= begun + soonest, ENDS_ON_TIME, || {
            format!("{ended:?} at {now:?}, begun at {begun:?}")
        });
    }

    /// Everything that was due is done.
    pub(super) fn on_drained(&self, found: &mut Findings) {
        self.check_closing(found);
        let Some(Run { begun, heard, .. }) = self.run else { return };
        let now = found.now;
        let fails = self.lag.end(begun, self.fails_after());
        let late = self.ends && !heard && now > fails;
        found.check(!late, ENDS_ON_TIME, || format!("no answer came by {fails:?}, and it goes on"));
        if let Some(most) = self.overall {
            let until = self.lag.end(begun, most);
            found.check(now <= until, ENDS_ON_TIME, || {
                format!("it was to be over at {until:?}, and goes on")
            });
        }
    }

    /// A run that was told to end is over when the connections that it cut off are reported, or
    /// their grace is over.
    pub(super) fn check_closing(&self, found: &mut Findings) {
        let Some(Closing { earliest, latest, saved }) = self.closing else { return };
        let is_over = saved.is_some_and(|saved| (earliest..=latest).contains(&saved));
        found.check(is_over || found.now <= latest, ENDS_ON_TIME, || {
            format!(
                "to be over between {earliest:?} and {latest:?}, it was last saved at {saved:?}"
            )
        });
    }

    /// How long a run waits for an answer.
    fn fails_after(&self) -> Duration {
        self.overall.map_or(ANSWER_WITHIN, |most| ANSWER_WITHIN.min(begins_to_end(most)))
    }
}

/// When the shutdown of a run that may take so long begins.
fn begins_to_end(most: Duration) -> Duration {
    most - SHUTDOWN_LEAD.min(most / 2)
}
