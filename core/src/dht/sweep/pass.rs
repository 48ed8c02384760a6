//! Passes over the keyspace: what the present one is for, and when the next one may begin.
//!
//! A pass that met nothing new is followed by a pause, which doubles; a contact never heard of
//! before ends any pause. Knows no node and asks nothing.

use crate::base::time::{Duration, Instant};
use crate::limits::{SWEEP_PAUSE_MAX, SWEEP_PAUSE_MIN};

/// What a pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It visits nodes that are due, and has met nothing new so far.
    Visiting,
    /// It has met a contact never heard of before.
    Discovering,
    /// It only asks nodes again that never answered, and has met nothing new so far.
    AskingAgain,
    /// It began with no node to visit, and asks about gaps only.
    Looking,
    /// It began because nodes were due, and all of them had begun to rest again meanwhile.
    Superseded,
}

impl Purpose {
    /// The purpose of a pass that begins: whether some node `was_due`, and whether any contact
    /// `waits` to be visited.
    pub(super) fn of(was_due: bool, waits: bool) -> Self {
        match (was_due, waits) {
            (true, true) => Self::Visiting,
            (false, true) => Self::AskingAgain,
            (false, false) => Self::Looking,
            (true, false) => Self::Superseded,
        }
    }

    /// Whether the next pass must wait. After a look it need not: nodes that became due meanwhile
    /// are not made to wait for it.
    fn is_followed_by_pause(self) -> bool {
        matches!(self, Self::Visiting | Self::AskingAgain)
    }
}

/// How far the pass is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It may still have contacts to ask.
    Running,
    /// It has asked them all; the next one begins no earlier than `until`.
    Over { until: Instant },
}

/// The pass under way, and the pause after it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    purpose: Purpose,
    stage: Stage,
    /// How long the next pause is.
    pause: Duration,
}

impl Pass {
    /// The first pass.
    pub(super) fn first() -> Self {
        Self { purpose: Purpose::Visiting, stage: Stage::Running, pause: SWEEP_PAUSE_MIN }
    }

    /// A contact never heard of before is to be visited in this pass, even if that was over.
    pub(super) fn on_news(&mut self) {
        *self = Self { purpose: Purpose::Discovering, ..Self::first() };
    }

    /// Every contact was asked. A pass ends once, however often it is said.
    pub(super) fn end(&mut self, now: Instant) {
        if self.is_over() {
            return;
        }
        let mut until = Instant::START;
        if self.purpose.is_followed_by_pause() {
            until = now + self.pause;
            self.pause = (self.pause * 2).min(SWEEP_PAUSE_MAX);
        }
        self.stage = Stage::Over { until };
    }

    /// The next pass begins.
    pub(super) fn begin(&mut self, purpose: Purpose) {
        (self.purpose, self.stage) = (purpose, Stage::Running);
    }

    /// Whether every contact was asked.
    pub(super) fn is_over(self) -> bool {
        matches!(self.stage, Stage::Over { .. })
    }

    /// No pass begins before this.
    pub(super) fn paused_until(self) -> Instant {
        match self.stage {
            Stage::Running => Instant::START,
            Stage::Over { until } => until,
        }
    }

    /// Whether the pass keeps a run alive. Asking nodes again that never answered does not: some
    /// node is always dead.
    pub(super) fn is_work(self) -> bool {
        !matches!(self.purpose, Purpose::AskingAgain | Purpose::Looking)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What may happen to a pass.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        News,
        End,
        Begin { was_due: bool, waits: bool },
        Wait(u16),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            1 => Just(Event::News),
            3 => Just(Event::End),
            3 => any::<(bool, bool)>()
                .prop_map(|(was_due, waits)| Event::Begin { was_due, waits }),
            2 => (0_u16..400).prop_map(Event::Wait),
        ]
    }

    proptest! {
        /// The model keeps one fact a field and knows no purposes.
        #[test]
        fn a_pause_follows_a_pass_without_news_that_had_contacts_to_visit_and_doubles(
            events in prop::collection::vec(event(), 1..60),
        ) {
            let (mut pass, mut now) = (Pass::first(), Instant::START);
            let (mut news, mut had_visits, mut over, mut work) = (false, true, false, true);
            let (mut pauses, mut until) = (0_u32, Instant::START);
            for event in events {
                match event {
                    Event::News => {
                        pass.on_news();
                        (news, over, work) = (true, false, true);
                        (pauses, until) = (0, Instant::START);
                    }
                    Event::End => {
                        pass.end(now);
                        if !over && !news && had_visits {
                            until = now + (SWEEP_PAUSE_MIN * (1 << pauses)).min(SWEEP_PAUSE_MAX);
                            pauses = (pauses + 1).min(16);
                        }
                        over = true;
                    }
                    Event::Begin { was_due, waits } => {
                        pass.begin(Purpose::of(was_due, waits));
                        (news, over, work, until) = (false, false, was_due, Instant::START);
                        had_visits = waits;
                    }
                    Event::Wait(seconds) => now = now + Duration::from_secs(seconds.into()),
                }
                prop_assert_eq!(pass.is_over(), over);
                prop_assert_eq!(pass.is_work(), work);
                prop_assert_eq!(pass.paused_until(), until);
            }
        }
    }
}
