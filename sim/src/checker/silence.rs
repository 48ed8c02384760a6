//! When nobody at all was heard. A question or dial to which nothing came then proves nothing about
//! whom it was for, and may be repeated: the crawler holds nobody to blame for an outage.

use std::collections::VecDeque;

use estudely_core::limits::SUSPECT_AFTER;
use estudely_core::time::Instant;

/// Silences remembered: of more than so many the oldest excuse nothing.
const PAST_MAX: usize = 32;

/// Times without a single datagram, each [`SUSPECT_AFTER`] long at least.
#[derive(Debug, Default)]
pub(super) struct Silence {
    heard: Instant,
    /// From, and until when; oldest first.
    past: VecDeque<(Instant, Instant)>,
}

impl Silence {
    /// A datagram came.
    pub(super) fn on_heard(&mut self, now: Instant) {
        if self.is_on(now) {
            if self.past.len() == PAST_MAX {
                self.past.pop_front();
            }
            self.past.push_back((self.heard, now));
        }
        self.heard = now;
    }

    /// Whether nobody has been heard for so long at `now`.
    pub(super) fn is_on(&self, now: Instant) -> bool {
        now.since(self.heard) >= SUSPECT_AFTER
    }

    /// Whether nobody was heard for so long at some time from `from` to `to`.
    pub(super) fn any(&self, now: Instant, from: Instant, to: Instant) -> bool {
        let present = self.is_on(now).then_some((self.heard, now));
        self.past.iter().copied().chain(present).any(|(begin, end)| begin <= to && end >= from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_silence_is_three_seconds_without_a_datagram_and_is_remembered() {
        let mut silence = Silence::default();
        [1, 3, 5].into_iter().for_each(|second| silence.on_heard(at(second)));
        assert!(!silence.is_on(at(7)) && !silence.any(at(7), at(0), at(7)));
        assert!(silence.is_on(at(8)) && silence.any(at(8), at(6), at(7)));
        silence.on_heard(at(9));
        assert!(!silence.is_on(at(9)));
        assert!(silence.any(at(11), at(9), at(11)) && !silence.any(at(11), at(10), at(11)));
        assert!(silence.any(at(11), at(0), at(5)) && !silence.any(at(11), at(0), at(4)));
    }
}
