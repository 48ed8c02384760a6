//! What a harness does to the crawler, and when: crashes and restarts while everything is broken,
//! then healing, then the shutdown. Follows from the scenario alone, so that every harness plays
//! the same run.

use estudely_core::{Duration, Instant};

use crate::world::draw::draw;
use crate::world::scenario::Scenario;

/// How long a run goes on after the shutdown: what is still on its way arrives, and must lead to
/// nothing.
pub(crate) const SETTLE: Duration = Duration::from_secs(10);
/// Longest that a killed crawler stays away.
const DOWN_MAX: u64 = 30_000_000;

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// The crawler dies.
    Kill,
    /// It begins anew with what its files hold.
    Start,
    /// Faults of the links end.
    Heal,
    /// It is told to end.
    ShutDown,
    /// The run is over.
    End,
}

/// What is left to do, in order.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// The next act last.
    acts: Vec<(Instant, Act)>,
}

impl Script {
    pub(crate) fn of(scenario: &Scenario) -> Self {
        let mut acts = vec![(Instant::START, Act::Start)];
        let broken = u64::from(scenario.broken_s) * 1_000_000;
        let crashes = u64::from(scenario.crashes);
        let share = broken / crashes.max(1);
        for nth in 0..crashes {
            let mut draw = draw(scenario.seed, "crash", nth);
            // Each within its own part of the time, up again before that is over.
            let down = draw.u64(0..=DOWN_MAX.min(share / 2));
            let at = nth * share + draw.u64(0..=share - down);
            acts.push((Instant::from_micros(at), Act::Kill));
            acts.push((Instant::from_micros(at + down), Act::Start));
        }
        let healed = Instant::from_micros(broken);
        let over = healed + Duration::from_secs(u64::from(scenario.healed_s));
        acts.extend([(healed, Act::Heal), (over, Act::ShutDown), (over + SETTLE, Act::End)]);
        acts.reverse();
        Self { acts }
    }

    /// The next act that is due at `now`.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Act> {
        self.acts.pop_if(|(at, _)| *at <= now).map(|(_, act)| act)
    }

    /// When the next act is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.acts.last().map(|(at, _)| *at)
    }

    /// The run ended by itself: unless it is begun once more, nothing else is to come.
    pub(crate) fn run_ended(&mut self, now: Instant) {
        if !self.acts.iter().any(|(_, act)| *act == Act::Start) {
            self.cut_short(now);
        }
    }

    /// Nothing more is wanted: the shutdown comes now. A crawler that is down stays down.
    pub(crate) fn cut_short(&mut self, now: Instant) {
        if self.acts.iter().any(|(_, act)| *act == Act::ShutDown) {
            self.acts = vec![(now + SETTLE, Act::End), (now, Act::ShutDown)];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn play(scenario: &Scenario) -> Vec<(Instant, Act)> {
        let mut script = Script::of(scenario);
        let next = |script: &mut Script| {
            let at = script.poll_timeout()?;
            script.poll(at).map(|act| (at, act))
        };
        std::iter::from_fn(|| next(&mut script)).collect()
    }

    proptest! {
        #[test]
        fn a_crawler_is_up_when_links_heal_and_never_started_twice(
            seed: u64, crashes in 0u32..8, broken_s in 0u32..300,
        ) {
            let scenario = Scenario { crashes, broken_s, ..Scenario::calm(seed) };
            let acts = play(&scenario);
            prop_assert!(acts.is_sorted_by_key(|(at, _)| *at));
            let mut up = false;
            for (at, act) in &acts {
                match act {
                    Act::Start => prop_assert!(!std::mem::replace(&mut up, true)),
                    Act::Kill => prop_assert!(std::mem::replace(&mut up, false)),
                    Act::Heal => prop_assert_eq!(at.as_millis(), u64::from(broken_s) * 1_000),
                    Act::ShutDown | Act::End => {}
                }
                prop_assert!(up || !matches!(act, Act::Heal | Act::ShutDown));
            }
            prop_assert_eq!(acts.last().map(|(_, act)| *act), Some(Act::End));
        }
    }

    #[test]
    fn a_run_cut_short_is_shut_down_once_and_settles() {
        let mut script = Script::of(&Scenario::calm(1));
        let now = Instant::from_micros(5_000_000);
        assert_eq!(script.poll(now), Some(Act::Start));
        script.cut_short(now);
        assert_eq!(script.poll(now), Some(Act::ShutDown));
        script.cut_short(now + Duration::from_secs(1));
        assert_eq!(script.poll_timeout(), Some(now + SETTLE));
        assert_eq!(script.poll(now + SETTLE), Some(Act::End));
    }
}
