//! Silences: how long no node has answered anything, and the times that this lasted.
//!
//! While the network may be gone nothing that fails is anybody's fault (ARCHITECTURE, outages): a
//! peer that failed meanwhile is dialled again, and a lookup that failed meanwhile is made once
//! more. What is excused for it must have happened in a silence that the observer heard itself.

use std::rc::Rc;

use estudely_core::Instant;
use estudely_core::limits::{EXPIRE_AFTER, OUTAGE_HOLD, SUSPECT_AFTER};

use super::lag::Lag;

/// When no node answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Silence {
    /// The last answer, or refused or useful connection.
    life: Instant,
    /// The last packet of uTP that the crawler has perhaps taken for one.
    doubtful: Instant,
    /// When each long silence began: what one ended may wait for its turn until after the next.
    began: Vec<Instant>,
    lag: Rc<Lag>,
}

impl Silence {
    /// From `now` on. The crawler, whose clock `lag` is about, takes no silence for longer than it
    /// is.
    pub(super) fn new(now: Instant, lag: Rc<Lag>) -> Self {
        Self { life: now, doubtful: now, began: Vec::new(), lag }
    }

    /// A node answered.
    pub(super) fn on_life(&mut self, now: Instant) {
        if self.is_on(now) {
            self.began.push(self.life);
        }
        self.life = now;
    }

    /// A packet of uTP came that is perhaps taken: then the crawler knows that the network is there.
    /// The silence goes on all the same, since what fails in it may have been excused before.
    pub(super) fn on_doubtful_life(&mut self, now: Instant) {
        if now.since(self.life.max(self.doubtful)) >= SUSPECT_AFTER {
            self.began.push(self.life);
        }
        self.doubtful = now;
    }

    /// Whether no node has answered for so long that the network may be gone.
    pub(super) fn is_on(&self, now: Instant) -> bool {
        now.since(self.life) >= SUSPECT_AFTER
    }

    /// Numbers the times between silences; one too long to wait for its end ends a time as well.
    pub(super) fn number(&self, now: Instant) -> usize {
        2 * self.began.len() + usize::from(now.since(self.life) >= OUTAGE_HOLD)
    }

    /// Whether a query sent at `sent`, in the time numbered `number`, may have been given up in a
    /// silence since.
    pub(super) fn covers(&self, sent: Instant, number: usize) -> bool {
        let began = self.began.get(number / 2).copied().unwrap_or(self.life);
        self.lag.end(sent, EXPIRE_AFTER) >= began
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_long_silence_excuses_and_only_what_it_covers() {
        let at = |second: u64| Instant::from_micros(second * 1_000_000);
        let mut silence = Silence::new(at(0), Rc::default());
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
    fn a_packet_that_is_perhaps_taken_ends_a_time_between_silences_once() {
        let at = |second: u64| Instant::from_micros(second * 1_000_000);
        let mut silence = Silence::new(at(0), Rc::default());
        silence.on_doubtful_life(at(2));
        assert_eq!(silence.number(at(4)), 0);
        silence.on_doubtful_life(at(14));
        silence.on_doubtful_life(at(15));
        assert_eq!((silence.number(at(15)), silence.is_on(at(15))), (2, true));
        silence.on_life(at(16));
        assert_eq!((silence.number(at(16)), silence.is_on(at(16))), (4, false));
    }
}
