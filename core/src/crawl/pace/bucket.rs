//! A limit of so many tokens a period. Must never be exceeded in any window of that length.

use crate::base::time::{Duration, Instant};

/// A token bucket in its arithmetic form (GCRA): one word of state, no ticks.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    /// Nanoseconds one token takes to come back; 0 means no limit.
    step: u64,
    /// How far ahead of real time the theoretical arrival may run.
    slack: u64,
    /// Theoretical arrival time of the next token, in nanoseconds.
    arrival: u64,
}

impl Bucket {
    /// At most `n` tokens in every window of `period`; `None` means no limit.
    pub(super) fn new(n: Option<u32>, period: Duration) -> Self {
        let Some(n) = n.map(|n| u64::from(n.max(1))) else {
            return Self { step: 0, slack: 0, arrival: 0 };
        };
        let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        let burst = n / 20;
        let step = period.div_ceil((n - burst).max(1));
        Self { step, slack: step.saturating_mul(burst), arrival: 0 }
    }

    /// Whether a token is there at `now`, or when it will be.
    pub(super) fn ready(&self, now: Instant) -> Result<(), Instant> {
        let earliest = self.arrival.saturating_sub(self.slack);
        if earliest <= nanos(now) {
            return Ok(());
        }
        Err(Instant::from_micros(earliest.div_ceil(1_000)))
    }

    /// Takes a token that [`Bucket::ready`] said is there.
    pub(super) fn take(&mut self, now: Instant) {
        self.arrival = self.arrival.max(nanos(now)).saturating_add(self.step);
    }

    /// Whether there is a limit at all.
    pub(super) fn is_limited(&self) -> bool {
        self.step != 0
    }

    /// How long one token takes to come back.
    pub(super) fn token(&self) -> Duration {
        Duration::from_nanos(self.step)
    }

    /// So many quarters of this one. Its tokens come exactly that much more slowly, however few
    /// there are: a part rounded to whole tokens would be all of one token, and a third of three.
    pub(super) fn part(&self, quarters: u32) -> Self {
        let step = (self.step.saturating_mul(4)).div_ceil(u64::from(quarters));
        let burst = self.slack.checked_div(self.step).unwrap_or(0) * u64::from(quarters) / 4;
        Self { step, slack: step.saturating_mul(burst), arrival: 0 }
    }
}

fn nanos(now: Instant) -> u64 {
    now.as_micros().saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crawl::pace::testing::{drive, most_in_a_window};

    #[test]
    fn a_bucket_keeps_its_limit_in_every_window_and_uses_nearly_all_of_it() {
        for n in [1, 7, 200, 2_000] {
            let mut bucket = Bucket::new(Some(n), Duration::from_secs(1));
            let sent = drive(3_000_000, |now| bucket.ready(now).map(|()| bucket.take(now)));
            assert!(most_in_a_window(&sent, 1_000_000) <= n as usize, "{n}");
            assert!(sent.len() * 100 >= n as usize * 3 * 94, "{n}: only {}", sent.len());
        }
    }

    #[test]
    fn no_limit_means_always_ready() {
        let mut bucket = Bucket::new(None, Duration::from_secs(1));
        for _ in 0..1_000 {
            assert_eq!(bucket.ready(Instant::START), Ok(()));
            bucket.take(Instant::START);
        }
    }
}
