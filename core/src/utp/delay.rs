//! The delay in queues on the way to the peer: its one-way delay beyond the least one seen (29.6).

use crate::base::time::{Duration, Instant};
use crate::limits::UTP_DELAY_MAX;

/// The least delay is that of the last two minutes.
const SPAN: Duration = Duration::from_secs(60);

/// What uTorrent sends when it has no sample (29.10).
const NO_SAMPLE: u32 = i32::MAX as u32;

/// One-way delays in microseconds as the peer measures them: its clock minus ours, so they have an
/// unknown offset and wrap.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Delays {
    /// The least of this minute and of the two before it; all the same before there was a sample.
    least: [u32; 3],
    /// When this minute ends; `None` before the first sample.
    ends: Option<Instant>,
    /// The last three samples: one that is late by chance is no queue.
    recent: [u32; 3],
    next: u8,
}

impl Delays {
    /// Takes what a packet says of our own, and returns the delay in queues; `None` if it says
    /// nothing. What is absurd is cut to [`UTP_DELAY_MAX`].
    pub(super) fn sample(&mut self, now: Instant, sample: u32) -> Option<Duration> {
        if sample == 0 || sample == NO_SAMPLE {
            return None;
        }
        match self.ends {
            None => {
                (self.least, self.recent) = ([sample; 3], [sample; 3]);
                self.ends = Some(now + SPAN);
            }
            Some(ends) if ends <= now => {
                self.least = [sample, self.least[0], self.least[1]];
                self.ends = Some(now + SPAN);
            }
            Some(_) => self.least[0] = earlier(self.least[0], sample),
        }
        self.recent[usize::from(self.next)] = sample;
        self.next = (self.next + 1) % 3;
        let [a, b, c] = self.least;
        let base = earlier(earlier(a, b), c);
        let delay = self.recent.iter().map(|recent| recent.wrapping_sub(base)).min();
        Some(Duration::from_micros(u64::from(delay.unwrap_or(0))).min(UTP_DELAY_MAX))
    }
}

/// The lesser of two numbers on a circle.
const fn earlier(a: u32, b: u32) -> u32 {
    if (a.wrapping_sub(b) as i32) < 0 { a } else { b }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn ms(delay: Option<Duration>) -> u128 {
        delay.expect("a sample").as_millis()
    }

    #[test]
    fn the_delay_is_what_exceeds_the_least_of_the_last_two_minutes() {
        let mut delays = Delays::default();
        // The offset of the clocks makes the samples wrap.
        let base = u32::MAX - 5_000;
        assert_eq!(ms(delays.sample(at(0), base)), 0);
        for _ in 0..3 {
            delays.sample(at(1), base.wrapping_add(70_000));
        }
        assert_eq!(ms(delays.sample(at(1), base.wrapping_add(90_000))), 70);
        // A single late packet is none.
        assert_eq!(ms(delays.sample(at(2), base.wrapping_add(900_000))), 70);
        // A lower one is the new least.
        assert_eq!(ms(delays.sample(at(3), base.wrapping_sub(30_000))), 0);
        for minute in 1..=2 {
            for second in 0..3 {
                delays.sample(at(minute * 60 + 4 + second), base);
            }
            assert_eq!(ms(delays.sample(at(minute * 60 + 8), base)), 30, "{minute}");
        }
        assert_eq!(ms(delays.sample(at(190), base)), 0, "the old least is forgotten");
    }

    #[test]
    fn nothing_and_absurd_things_do_no_harm() {
        let mut delays = Delays::default();
        assert_eq!(delays.sample(at(0), 0), None);
        assert_eq!(delays.sample(at(0), 0x7fff_ffff), None);
        delays.sample(at(0), 1);
        for _ in 0..3 {
            delays.sample(at(1), 0x7fff_fff0);
        }
        let delay = delays.sample(at(1), 0x7fff_fff0);
        assert_eq!(delay, Some(Duration::from_secs(10)));
        for sample in [0x8000_0000, 0x8000_0001, 0x8000_0002, u32::MAX, 1, 2] {
            assert!(delays.sample(at(2), sample) <= Some(Duration::from_secs(10)));
        }
    }
}
