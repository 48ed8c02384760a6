//! The same allowance for each of very many keys: a burst at once, then one at a time.

use crate::base::rng::Rng;
use crate::base::store::Cells;
use crate::base::time::Instant;

/// Allowances in a fixed table: keys that fall into one cell share one, which can only make us
/// slower, never ruder.
#[derive(Clone, Debug)]
pub(super) struct Allowances {
    /// Microseconds one use takes to be forgiven.
    step: u64,
    /// How far ahead of real time the theoretical arrival may run.
    slack: u64,
    /// Theoretical arrival times in microseconds.
    arrivals: Cells<u64>,
}

impl Allowances {
    /// `burst` uses at once and never more than `most` within `period` microseconds, for each key.
    pub(super) fn new(burst: u64, most: u64, period: u64, cells: usize, rng: &mut Rng) -> Self {
        let step = period / (most - burst);
        Self { step, slack: step * (burst - 1), arrivals: Cells::new(rng, cells) }
    }

    /// Whether `key` has a use left at `now`, or when it will.
    pub(super) fn ready(&self, now: Instant, key: &[u8]) -> Result<(), Instant> {
        let earliest = self.arrivals.get(key).saturating_sub(self.slack);
        if earliest <= now.as_micros() { Ok(()) } else { Err(Instant::from_micros(earliest)) }
    }

    /// Counts one use.
    pub(super) fn take(&mut self, now: Instant, key: &[u8]) {
        let arrival = self.arrivals.get_mut(key);
        *arrival = (*arrival).max(now.as_micros()) + self.step;
    }
}
