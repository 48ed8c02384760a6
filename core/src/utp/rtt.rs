//! The round trip, and how long to wait for an acknowledgement (29.6).

use crate::base::time::Duration;
use crate::limits::{UTP_RTO_FIRST, UTP_RTO_MAX, UTP_RTO_MIN};

/// A round trip beyond this is a stopped clock, in microseconds.
const LONGEST: u32 = 60_000_000;

/// Mean and variance of the round trip in microseconds, and how often the wait was doubled.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rtt {
    /// `None` before the first sample.
    mean: Option<u32>,
    variance: u32,
    doublings: u8,
}

impl Rtt {
    /// A packet that was sent once was acknowledged after `took`. Of one that was sent again
    /// nobody knows which copy arrived, so it is no sample (Karn).
    pub(super) fn sample(&mut self, took: Duration) {
        let took = u32::try_from(took.as_micros()).unwrap_or(LONGEST).min(LONGEST);
        let Some(mean) = self.mean else {
            (self.mean, self.variance) = (Some(took), took / 2);
            return;
        };
        let deviation = took.abs_diff(mean);
        self.variance = (self.variance * 3 + deviation) / 4;
        self.mean = Some(((u64::from(mean) * 7 + u64::from(took)) / 8) as u32);
    }

    /// The mean, once there is one.
    pub(super) fn mean(&self) -> Option<Duration> {
        self.mean.map(|mean| Duration::from_micros(u64::from(mean)))
    }

    /// How long to wait for an acknowledgement.
    pub(super) fn timeout(&self) -> Duration {
        let plain = self.mean.map_or(UTP_RTO_FIRST, |mean| {
            Duration::from_micros(u64::from(mean) + 4 * u64::from(self.variance)).max(UTP_RTO_MIN)
        });
        plain.saturating_mul(1 << self.doublings.min(16)).min(UTP_RTO_MAX)
    }

    /// A wait was in vain: the next is twice as long.
    pub(super) fn on_timeout(&mut self) {
        self.doublings = self.doublings.saturating_add(1);
    }

    /// Something new was acknowledged.
    pub(super) fn on_progress(&mut self) {
        self.doublings = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn the_wait_follows_the_round_trip_between_its_bounds_and_doubles() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.timeout(), ms(1_000));
        rtt.sample(ms(20));
        assert_eq!(rtt.timeout(), ms(500));
        for _ in 0..100 {
            rtt.sample(ms(800));
        }
        assert!((ms(790)..ms(900)).contains(&rtt.timeout()), "{:?}", rtt.timeout());
        rtt.sample(ms(2_000));
        assert!(rtt.timeout() > ms(2_000), "{:?}", rtt.timeout());
        let plain = rtt.timeout();
        rtt.on_timeout();
        rtt.on_timeout();
        assert_eq!(rtt.timeout(), plain * 4);
        for _ in 0..300 {
            rtt.on_timeout();
        }
        assert_eq!(rtt.timeout(), ms(60_000));
        rtt.on_progress();
        assert_eq!(rtt.timeout(), plain);
        rtt.sample(Duration::MAX);
        assert_eq!(rtt.timeout(), ms(60_000));
    }
}
