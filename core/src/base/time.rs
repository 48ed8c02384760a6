//! Virtual time: an instant that only a caller can advance, and FIFO lanes of equal timeouts.
//!
//! Nothing here can read a clock. Adapters pass `Instant`s made from their own monotonic clock;
//! simulators pass simulated ones; the state machines cannot tell the difference.

use std::collections::VecDeque;
use std::ops::{Add, Sub};

pub use std::time::Duration;

/// Microseconds since the start of the run. Monotonic: callers never pass an earlier one, and
/// state machines clamp if they do (protocol catalogue H47).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The start of the run.
    pub const START: Self = Self(0);

    /// The instant `micros` microseconds after the start of the run.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the start of the run.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the start of the run.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// The time from `earlier` to `self`, zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Saturating: a deadline centuries away is as good as never.
impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        let micros = u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, rhs: Self) -> Duration {
        self.since(rhs)
    }
}

/// Deadlines of one fixed duration. Equal durations expire in the order they were started, so a
/// queue is enough: start and expiry are O(1). Cancelling is lazy: the owner checks whether an
/// expired item still means anything (items carry generational keys).
#[derive(Clone, Debug)]
pub struct Lane<T> {
    duration: Duration,
    queue: VecDeque<(Instant, T)>,
}

impl<T> Lane<T> {
    /// An empty lane whose items expire `duration` after they were pushed.
    pub fn new(duration: Duration) -> Self {
        Self { duration, queue: VecDeque::new() }
    }

    /// Starts a timeout at `now`. Starting at an earlier `now` than the last push keeps the queue
    /// ordered by using the later deadline.
    pub fn push(&mut self, now: Instant, item: T) {
        let due = now + self.duration;
        let due = self.queue.back().map_or(due, |(last, _)| due.max(*last));
        self.queue.push_back((due, item));
    }

    /// The next item whose deadline is not after `now`.
    pub fn pop_due(&mut self, now: Instant) -> Option<T> {
        match self.queue.front() {
            Some((due, _)) if *due <= now => self.queue.pop_front().map(|(_, item)| item),
            _ => None,
        }
    }

    /// The oldest item, whether due or not.
    pub fn front(&self) -> Option<&T> {
        self.queue.front().map(|(_, item)| item)
    }

    /// Every item and its deadline, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (Instant, &T)> {
        self.queue.iter().map(|(due, item)| (*due, item))
    }

    /// Drops the oldest item, whether due or not: for items the owner knows to be cancelled.
    pub fn pop_front(&mut self) -> Option<T> {
        self.queue.pop_front().map(|(_, item)| item)
    }

    /// Drops the items for which `keep` is false, whether due or not.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.queue.retain(|(_, item)| keep(item));
    }

    /// The deadline of the oldest item.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.queue.front().map(|(due, _)| *due)
    }

    /// Items waiting, cancelled ones included.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether no item waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// The earlier of two optional deadlines.
pub fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_expires_in_order_and_never_early() {
        let mut lane = Lane::new(Duration::from_secs(2));
        lane.push(Instant::from_micros(0), 'a');
        lane.push(Instant::from_micros(5), 'b');
        assert_eq!(lane.pop_due(Instant::from_micros(1_999_999)), None);
        assert_eq!(lane.pop_due(Instant::from_micros(2_000_004)), Some('a'));
        assert_eq!(lane.pop_due(Instant::from_micros(2_000_004)), None);
        assert_eq!(lane.poll_timeout(), Some(Instant::from_micros(2_000_005)));
    }

    #[test]
    fn a_clock_that_steps_back_keeps_the_lane_ordered() {
        let mut lane = Lane::new(Duration::from_secs(1));
        lane.push(Instant::from_micros(10), 1);
        lane.push(Instant::from_micros(3), 2);
        assert_eq!(lane.pop_due(Instant::from_micros(1_000_010)), Some(1));
        assert_eq!(lane.pop_due(Instant::from_micros(1_000_010)), Some(2));
    }

    #[test]
    fn addition_saturates_at_the_end_of_time() {
        assert_eq!(Instant::from_micros(5) + Duration::MAX, Instant::from_micros(u64::MAX));
    }
}
