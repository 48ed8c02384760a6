//! How much may be on its way: LEDBAT, the window that yields to others (29.6, 29.11).

use crate::base::time::{Duration, Instant};
use crate::limits::{UTP_CUT_EVERY, UTP_GAIN, UTP_SEGMENT, UTP_SEND_MAX, UTP_TARGET_DELAY};
use crate::utp::delay::Delays;

/// The least window, in bytes (29.11).
const LEAST: u32 = UTP_SEGMENT as u32;

/// The largest window, in bytes: more is never held.
const MOST: u32 = UTP_SEND_MAX as u32;

/// A window to begin with, in bytes.
const FIRST: u32 = 2 * LEAST;

/// The window of one direction of one stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Congestion {
    window: u32,
    /// Up to here the window grows by what is acknowledged, not by the delay.
    threshold: u32,
    last_cut: Option<Instant>,
    delays: Delays,
}

impl Congestion {
    pub(super) fn new() -> Self {
        Self { window: FIRST, threshold: MOST, last_cut: None, delays: Delays::default() }
    }

    /// Bytes that may be on their way, at least one packet's.
    pub(super) fn window(&self) -> u32 {
        self.window
    }

    /// `acked` bytes were acknowledged while `flight` were on their way; the packet that says so
    /// carries `sample` as the delay of ours. A delay is never longer than the round trip `rtt`.
    pub(super) fn on_ack(
        &mut self,
        now: Instant,
        sample: u32,
        acked: u32,
        flight: u32,
        rtt: Option<Duration>,
    ) {
        let Some(delay) = self.delays.sample(now, sample) else { return };
        let delay = rtt.map_or(delay, |rtt| delay.min(rtt));
        if acked == 0 {
            return;
        }
        let target = UTP_TARGET_DELAY.as_micros() as i64;
        // Off the target by at most as much as it is, either way.
        let off = (target - delay.as_micros() as i64).max(-target);
        // A window that was not used says nothing about the path: it may shrink, and not grow.
        let is_used = flight + LEAST > self.window;
        let change = if self.window < self.threshold && delay < UTP_TARGET_DELAY {
            i64::from(acked)
        } else {
            self.threshold = self.threshold.min(self.window);
            let whole = i64::from(self.window.max(acked));
            i64::from(UTP_GAIN) * off * i64::from(acked) / (target * whole)
        };
        if is_used || change < 0 {
            let window = i64::from(self.window) + change;
            self.window = window.clamp(i64::from(LEAST), i64::from(MOST)) as u32;
        }
    }

    /// A packet was lost: half the window, once in [`UTP_CUT_EVERY`].
    pub(super) fn on_loss(&mut self, now: Instant) {
        if self.last_cut.is_some_and(|last| now < last + UTP_CUT_EVERY) {
            return;
        }
        self.last_cut = Some(now);
        self.window = (self.window / 2).max(LEAST);
        self.threshold = self.window;
    }

    /// Nothing was acknowledged in time: one packet, and from there on as at first.
    pub(super) fn on_timeout(&mut self, now: Instant) {
        self.last_cut = Some(now);
        self.threshold = (self.window / 2).max(2 * LEAST);
        self.window = LEAST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Option<Duration> = Some(Duration::from_secs(1));

    /// A window that had `delays` in milliseconds, each with a full window acknowledged.
    fn after(delays: &[u32]) -> Congestion {
        let mut congestion = Congestion::new();
        congestion.on_ack(Instant::START, 1, 0, 0, RTT);
        for delay in delays {
            for _ in 0..3 {
                let flight = congestion.window();
                congestion.on_ack(Instant::START, 1 + delay * 1_000, flight / 3, flight, RTT);
            }
        }
        congestion
    }

    #[test]
    fn a_window_grows_below_the_target_shrinks_above_it_and_keeps_one_packet() {
        assert!(after(&[0, 0]).window() > 2 * FIRST);
        assert_eq!(after(&[0; 100]).window(), 24 * 1024);
        let (full, less) = (after(&[0; 100]), after(&[&[0; 100][..], &[200; 3]].concat()));
        assert!(less.window() < full.window());
        // At most the gain in a round trip, however long the delay is.
        assert!(less.window() >= full.window() - 3 * 3_000, "{}", less.window());
        assert_eq!(after(&[200; 100]).window(), 528);
        assert!(after(&[&[200; 100][..], &[50; 3]].concat()).window() > 528);
    }

    #[test]
    fn a_window_that_is_not_used_does_not_grow() {
        let mut congestion = Congestion::new();
        for _ in 0..10 {
            congestion.on_ack(Instant::START, 1, 100, 100, RTT);
        }
        assert_eq!(congestion.window(), FIRST);
    }

    #[test]
    fn a_window_is_cut_once_in_a_hundred_milliseconds() {
        let mut congestion = after(&[0; 100]);
        let at = |ms: u64| Instant::from_micros(ms * 1_000);
        for ms in [0, 1, 99] {
            congestion.on_loss(at(ms));
            assert_eq!(congestion.window(), 12 * 1024, "{ms}");
        }
        congestion.on_loss(at(100));
        assert_eq!(congestion.window(), 6 * 1024);
        for ms in 2..100 {
            congestion.on_loss(at(ms * 100));
        }
        assert_eq!(congestion.window(), 528);
        congestion.on_timeout(at(20_000));
        assert_eq!(congestion.window(), 528);
    }
}
