//! Gaps: neighbourhoods of the keyspace that no answer told of, and the questions about them.
//!
//! Once contacts are visited, the nodes nearest to each gap are asked about it, coarsely at first,
//! then more and more finely. Must never ask more than [`GAPS_OPEN_MAX`] questions at once, one
//! node twice about one gap, more than [`GAP_ASKED_MAX`] nodes about it, or more often in all than
//! answers paid for.

use super::coverage::Coverage;
use super::frontier::Waiting;
use super::query::{Reason, SweepAsk, SweepQuery};
use crate::base::id::Id;
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::dht::known::Landmarks;
use crate::limits::{COVERAGE_REST, GAP_ASKED_MAX, GAPS_FREE, GAPS_OPEN_MAX};

/// Since when coverage marks are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marks {
    /// They were never reset: few gaps are left.
    Whole,
    /// At first every place is a gap.
    Since(Instant),
}

/// Whether gaps are being asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filling {
    /// No: the next look waits until the sweep is quiet.
    Paused,
    /// All gaps of this look, one after the other.
    Running,
}

/// Whether some node is known to be within reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Some node answered, or an earlier run left none.
    Proven,
    /// No restored node has answered since the restart.
    Unproven,
}

/// What a question about a gap depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting<'a> {
    /// Whether no quick answer is on its way to any query of the sweep.
    pub(super) is_quiet: bool,
    /// How finely the density of nodes allows to look, in bits.
    pub(super) depth: u32,
    /// The nodes that may be asked.
    pub(super) landmarks: &'a Landmarks,
}

/// What is to be done about gaps now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextGap {
    /// Ask this.
    Ask(SweepQuery),
    /// Nothing before a question on its way is over.
    Wait,
    /// Nothing.
    None,
}

/// The gaps of one sweep.
#[derive(Debug)]
pub(super) struct Gaps {
    coverage: Coverage,
    marks: Marks,
    filling: Filling,
    reach: Reach,
    /// Questions on their way, or about to be.
    open: usize,
    /// Questions that may still be asked: [`GAPS_FREE`] and one for each answer, less those asked.
    budget: u32,
}

impl Gaps {
    /// No answer has told of any place.
    pub(super) fn new() -> Self {
        Self {
            coverage: Coverage::default(),
            marks: Marks::Whole,
            filling: Filling::Paused,
            reach: Reach::Proven,
            open: 0,
            budget: GAPS_FREE,
        }
    }

    /// The next question. The caller has no contact to visit.
    pub(super) fn poll(&mut self, setting: &Setting<'_>, rng: &mut Rng) -> NextGap {
        while self.may_ask(setting) {
            if self.open >= GAPS_OPEN_MAX {
                return NextGap::Wait;
            }
            if let Some(query) = self.next_question(setting.landmarks, rng) {
                return NextGap::Ask(query);
            }
            let was_filling = std::mem::replace(&mut self.filling, Filling::Paused);
            let is_closer = self.coverage.look_closer(self.depth(setting));
            // A node found by a coarse look is nearer to the gaps of a finer one: the finer look
            // waits for the answers to the coarse one.
            if !is_closer || (was_filling == Filling::Running && self.open > 0) {
                break;
            }
        }
        self.filling = Filling::Paused;
        NextGap::None
    }

    /// Whether [`Gaps::poll`] would do something.
    pub(super) fn has_work(&self, setting: &Setting<'_>) -> bool {
        self.may_ask(setting) && self.open < GAPS_OPEN_MAX
    }

    /// Any query was answered; `told` if it named a contact to visit. Gives the next question about
    /// the same gap, if it was a question about one and is still open.
    pub(super) fn on_answer(
        &mut self,
        query: SweepQuery,
        told: bool,
        landmarks: &Landmarks,
    ) -> Option<SweepQuery> {
        if told {
            self.coverage.mark(query.target);
            return None;
        }
        self.ask_next_nearest(query, landmarks)
    }

    /// A node that was asked about a gap stayed silent or refused. Gives the next question about
    /// the same gap.
    pub(super) fn on_silence(
        &mut self,
        query: SweepQuery,
        landmarks: &mut Landmarks,
    ) -> Option<SweepQuery> {
        landmarks.remove(query.waiting.contact);
        self.ask_next_nearest(query, landmarks)
    }

    /// A question about a gap is over, whatever came of it.
    pub(super) fn on_ended(&mut self) {
        debug_assert!(self.open > 0, "a question ends once");
        self.open -= 1;
    }

    /// A node gave a sign of life that pays for one more question.
    pub(super) fn earn(&mut self) {
        self.budget = self.budget.saturating_add(1);
    }

    /// Some node answered some query.
    pub(super) fn on_reach_proven(&mut self) {
        self.reach = Reach::Proven;
    }

    /// A node of an earlier run rests. It answered then, which pays for one more question; the
    /// contacts that it named are not saved, so places are to be asked about again.
    pub(super) fn on_restored_rest(&mut self) {
        self.earn();
        self.reach = Reach::Unproven;
    }

    /// Ends restoring: an earlier run had marks, and they are not saved.
    pub(super) fn on_marks_lost(&mut self) {
        if self.marks == Marks::Whole {
            self.marks = Marks::Since(Instant::START);
        }
    }

    /// When the whole keyspace is to be looked at again, even if no contact is to be visited: a
    /// node that was missed or given up is named again by the nodes beside it.
    pub(super) fn looks_again_at(&self) -> Instant {
        let since = match self.marks {
            Marks::Whole => Instant::START,
            Marks::Since(at) => at,
        };
        since + COVERAGE_REST
    }

    /// Forgets what answers told if it is time to look again.
    pub(super) fn look_again_if_due(&mut self, now: Instant) {
        if self.looks_again_at() <= now {
            self.coverage.reset();
            self.marks = Marks::Since(now);
            self.budget = self.budget.max(GAPS_FREE);
        }
    }

    /// Whether nothing is left to look at as finely as that.
    pub(super) fn is_scanned(&self, setting: &Setting<'_>) -> bool {
        self.coverage.is_scanned(self.depth(setting))
    }

    /// Asserts the invariants.
    pub(super) fn check(&self) {
        assert!(self.open <= GAPS_OPEN_MAX, "few questions are on their way");
    }

    /// Gaps are filled all at once, and a look begins when the sweep is quiet: contacts not heard
    /// of yet may fill a gap without being asked.
    fn may_ask(&self, setting: &Setting<'_>) -> bool {
        let begins = self.filling == Filling::Running || (setting.is_quiet && self.open == 0);
        begins
            && self.reach == Reach::Proven
            && !setting.landmarks.is_empty()
            && self.budget > 0
            && !self.is_scanned(setting)
    }

    /// How finely to look: by one bit more while marks are whole, since few gaps are left then.
    fn depth(&self, setting: &Setting<'_>) -> u32 {
        setting.depth + u32::from(self.marks == Marks::Whole)
    }

    /// A question about the next gap, to the node that lives nearest.
    fn next_question(&mut self, landmarks: &Landmarks, rng: &mut Rng) -> Option<SweepQuery> {
        let (gap, depth) = self.coverage.next_gap()?;
        self.filling = Filling::Running;
        self.budget -= 1;
        let target = gap.with_suffix(depth, Id(rng.bytes()));
        let waiting = Waiting::new(landmarks.nearest(target, None)?, None);
        self.open += 1;
        let reason = Reason::Gap { before: 0 };
        Some(SweepQuery { waiting, ask: SweepAsk::FindNode, reason, target })
    }

    /// Asks about the same gap once more: the node that lives next nearest.
    fn ask_next_nearest(&mut self, query: SweepQuery, landmarks: &Landmarks) -> Option<SweepQuery> {
        let Reason::Gap { before } = query.reason else { return None };
        let before = before + 1;
        if before >= GAP_ASKED_MAX || self.budget == 0 {
            return None;
        }
        let last = query.waiting.contact.id.id();
        let contact = landmarks.nearest(query.target, Some(last))?;
        self.budget -= 1;
        self.open += 1;
        let waiting = Waiting::new(contact, None);
        Some(SweepQuery { waiting, reason: Reason::Gap { before }, ..query })
    }
}

#[cfg(test)]
mod tests;
