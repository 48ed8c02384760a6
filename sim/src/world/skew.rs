//! The clock that the crawler under test reads: the harness's time, except that it stands still
//! for a while or steps back where the scenario says so (H47).
//!
//! It only translates, both ways: what the crawler's clock reads at an instant of the harness, and
//! when it will first read a given time.

use estudely_core::{Duration, Instant};

use crate::world::draw::draw;
use crate::world::scenario::Scenario;

/// Longest that a clock stands still or steps back.
const LOST_MAX: Duration = Duration::from_secs(5);

/// Something happens to the clock.
#[derive(Clone, Copy, Debug)]
struct Slip {
    at: Instant,
    /// By how much the clock is behind for ever after.
    lost: Duration,
    /// Whether it loses that by standing still; else by one step back.
    stands: bool,
}

/// A clock with its slips, in order and apart from one another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    slips: Vec<Slip>,
}

impl Clock {
    /// The clock of a scenario: its slips fall into the time before links heal, or after if there
    /// is none.
    pub(crate) fn of(scenario: &Scenario) -> Self {
        let seconds = if scenario.broken_s > 0 { scenario.broken_s } else { scenario.healed_s };
        let count = u64::from(scenario.clock_stalls);
        let share = Duration::from_secs(u64::from(seconds)).as_micros() as u64 / count.max(1);
        let slip = |nth| {
            let mut draw = draw(scenario.seed, "clock", nth);
            // Its own part of the time, with room for the longest loss.
            let room = share.saturating_sub(LOST_MAX.as_micros() as u64);
            let lost = draw.u64(1..=(LOST_MAX.as_micros() as u64).min(share.max(1)));
            let at = Instant::from_micros(nth * share + draw.u64(0..=room));
            Slip { at, lost: Duration::from_micros(lost), stands: draw.bool() }
        };
        Self { slips: (0..count).map(slip).collect() }
    }

    /// From when to when each slip keeps a reader that believes no step back at the same time.
    pub(crate) fn stands(&self) -> impl Iterator<Item = (Instant, Instant)> {
        self.slips.iter().map(|slip| (slip.at, slip.at + slip.lost))
    }

    /// What the clock reads at `now`.
    pub(crate) fn reading(&self, now: Instant) -> Instant {
        let lost = |slip: &Slip| match slip.stands {
            true => slip.lost.min(now.since(slip.at)),
            false => slip.lost,
        };
        let lost: Duration = self.slips.iter().take_while(|slip| slip.at <= now).map(lost).sum();
        Instant::START + now.since(Instant::START + lost)
    }

    /// The first instant, `now` or later, at which the clock reads `wanted` or more.
    pub(crate) fn when(&self, now: Instant, wanted: Instant) -> Instant {
        let mut at = wanted;
        for slip in &self.slips {
            // One that lies ahead matters only if the time is not reached before it.
            if slip.at > now && at <= slip.at {
                break;
            }
            at = at + slip.lost;
        }
        at.max(now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1_000)
    }

    fn slips(slips: &[(u64, u64, bool)]) -> Clock {
        let slip = |&(when, lost, stands)| Slip {
            at: at(when),
            lost: Duration::from_millis(lost),
            stands,
        };
        Clock { slips: slips.iter().map(slip).collect() }
    }

    #[test]
    fn a_clock_that_stands_reads_the_same_until_it_goes_on_behind() {
        let clock = slips(&[(1_000, 500, true)]);
        let readings = [999, 1_000, 1_200, 1_500, 1_600].map(|now| clock.reading(at(now)));
        assert_eq!(readings, [999, 1_000, 1_000, 1_000, 1_100].map(at));
        assert_eq!(clock.when(at(1_200), at(1_001)), at(1_501));
        assert_eq!(clock.when(at(0), at(1_000)), at(1_000));
    }

    #[test]
    fn a_clock_that_steps_back_reads_some_times_twice() {
        let clock = slips(&[(1_000, 500, false)]);
        assert_eq!(
            [999, 1_000, 1_600].map(|now| clock.reading(at(now))),
            [999, 500, 1_100].map(at)
        );
        assert_eq!(clock.when(at(0), at(900)), at(900), "before the step");
        assert_eq!(clock.when(at(1_000), at(900)), at(1_400), "and again after it");
    }

    proptest! {
        #[test]
        fn a_deadline_is_met_at_the_first_instant_that_reads_it(
            seed: u64, stalls in 0u32..6, now in 0u64..130_000, ahead in 0u64..60_000,
        ) {
            let scenario = Scenario { clock_stalls: stalls, ..Scenario::calm(seed) };
            let clock = Clock::of(&scenario);
            let wanted = clock.reading(at(now)) + Duration::from_millis(ahead);
            let met = clock.when(at(now), wanted);
            prop_assert!(met >= at(now));
            prop_assert!(clock.reading(met) >= wanted);
            let before = Instant::from_micros(met.as_micros().saturating_sub(1));
            prop_assert!(before < at(now) || clock.reading(before) < wanted);
        }
    }
}
