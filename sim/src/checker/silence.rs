//! Silences: how long nobody has answered anything, and the times that this lasted.
//!
//! While the network may be gone nothing that fails is anybody's fault (ARCHITECTURE, outages): a
//! peer that failed meanwhile is dialled again, and a lookup that failed meanwhile is made once
//! more. What is excused for it must have happened in a silence that the observer heard itself.

use estudely_core::limits::{EXPIRE_AFTER, OUTAGE_HOLD, SUSPECT_AFTER};
use estudely_core::time::{Duration, Instant};

/// When nobody answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Silence {
    /// The last answer, or refused or useful connection.
    life: Instant,
    /// When each long silence began. With a clock that may be as far behind as a silence is long,
    /// everything is one to the crawler.
    began: Vec<Instant>,
    lag: Duration,
}

impl Silence {
    /// `lag`: how far the crawler's clock may be behind.
    pub(super) fn new(now: Instant, lag: Duration) -> Self {
        Self { life: now, began: Vec::new(), lag }
    }

    /// Somebody answered.
    pub(super) fn on_life(&mut self, now: Instant) {
        if self.is_on(now) {
            self.began.push(self.life);
        }
        self.life = now;
    }

    /// Whether nobody has answered for so long that the network may be gone.
    pub(super) fn is_on(&self, now: Instant) -> bool {
        now.since(self.life) + self.lag >= SUSPECT_AFTER
    }

    /// Numbers the times between silences; one too long to wait for its end ends a time as well.
    pub(super) fn number(&self, now: Instant) -> usize {
        2 * self.began.len() + usize::from(now.since(self.life) + self.lag >= OUTAGE_HOLD)
    }

    /// Whether a query sent at `sent`, in the time numbered `number`, may have been given up in a
    /// silence since.
    pub(super) fn covers(&self, sent: Instant, number: usize) -> bool {
        let began = self.began.get(number / 2).copied().unwrap_or(self.life);
        sent + EXPIRE_AFTER + self.lag >= began
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_long_silence_excuses_and_only_what_it_covers() {
        let at = |second: u64| Instant::from_micros(second * 1_000_000);
        let mut silence = Silence::new(at(0), Duration::ZERO);
        silence.on_life(at(2));
        silence.on_life(at(4));
        assert_eq!((silence.number(at(4)), silence.is_on(at(6))), (0, false));
        assert!(silence.is_on(at(20)));
        silence.on_life(at(20));
        assert_eq!((silence.number(at(20)), silence.is_on(at(20))), (2, false));
        let covered = [0, 5].map(|sent| silence.covers(at(sent), 0));
        assert_eq!(covered, [true, true]);
        silence.on_life(at(40));
        assert!(silence.covers(at(14), 2) && !silence.covers(at(13), 2));
        assert!(silence.covers(at(5), 0), "the first of two");
    }

    #[test]
    fn where_the_clock_may_be_far_behind_a_short_silence_hides_no_long_one() {
        let at = |second: u64| Instant::from_micros(second * 1_000_000);
        let mut silence = Silence::new(at(0), SUSPECT_AFTER);
        silence.on_life(at(7));
        let number = silence.number(at(8));
        for second in 54..80 {
            silence.on_life(at(second));
        }
        assert!(silence.number(at(80)) != number && silence.covers(at(8), number));
    }
}
