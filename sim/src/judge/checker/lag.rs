//! How much later than by the harness's clock the crawler may do what it has set a time for.
//!
//! A clock that stands still, or steps back and is not believed until it is where it was (H47),
//! only delays the crawler: it never measures a time longer than it was. The checker allows what
//! ends late, and only where the clock really stood in between.

use estudely_core::{Duration, Instant};

use crate::world::scenario::Scenario;
use crate::world::skew::Clock;

/// The times during which the crawler's clock does not move, in order and apart from one another.
#[derive(Clone, Debug, Default)]
pub(super) struct Lag {
    stands: Vec<(Instant, Instant)>,
}

impl Lag {
    /// Of the crawler's clock in a run of `scenario`.
    pub(super) fn of(scenario: &Scenario) -> Self {
        Self { stands: Clock::of(scenario).stands().collect() }
    }

    /// Until when what was begun at `start`, to end `wait` later, may last.
    pub(super) fn end(&self, start: Instant, wait: Duration) -> Instant {
        let mut end = start + wait;
        for (from, to) in &self.stands {
            if *from >= end {
                break;
            }
            end = end + to.since(start.max(*from));
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_while_the_clock_stands_ends_later_and_nothing_else_does() {
        let at = |second: u64| Instant::from_micros(second * 1_000_000);
        let lag = Lag { stands: vec![(at(10), at(14)), (at(20), at(21))] };
        for (start, wait, end) in [
            (0, 10, 10),
            (0, 11, 15),
            (5, 6, 15),
            (12, 3, 17),
            (14, 6, 20),
            (9, 8, 22),
            (21, 6, 27),
        ] {
            assert_eq!(lag.end(at(start), Duration::from_secs(wait)), at(end), "{start} + {wait}");
        }
    }
}
