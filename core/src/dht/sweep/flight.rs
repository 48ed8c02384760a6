//! The sweep's queries on their way: how many, and for how long none was answered.

use crate::base::time::Instant;
use crate::limits::STALL_AFTER;

/// Queries on their way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    open: usize,
    /// Since when nothing was answered while queries were on their way.
    silent_since: Instant,
}

impl Flight {
    /// Nothing is on its way.
    pub(super) const NONE: Self = Self { open: 0, silent_since: Instant::START };

    /// A query was sent.
    pub(super) fn on_sent(&mut self, now: Instant) {
        if self.open == 0 {
            self.silent_since = now;
        }
        self.open += 1;
    }

    /// A node answered a query.
    pub(super) fn on_answer(&mut self, now: Instant) {
        self.silent_since = now;
    }

    /// A query is over, answered or not.
    pub(super) fn on_ended(&mut self) {
        debug_assert!(self.open > 0, "a query ends once");
        self.open -= 1;
    }

    /// Whether nothing is on its way.
    pub(super) fn is_empty(self) -> bool {
        self.open == 0
    }

    /// When what is on its way counts as slow if nothing is answered until then.
    pub(super) fn slow_from(self) -> Instant {
        self.silent_since + STALL_AFTER
    }

    /// Whether nothing quick is to be expected: no query is on its way, or all are slow.
    pub(super) fn is_quiet(self, now: Instant) -> bool {
        self.is_empty() || now >= self.slow_from()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Duration;

    #[test]
    fn it_is_quiet_while_empty_and_a_while_after_the_last_answer() {
        let at = |millis| Instant::START + Duration::from_millis(millis);
        let mut flight = Flight::NONE;
        assert!(flight.is_quiet(at(0)));
        flight.on_sent(at(5_000));
        flight.on_sent(at(5_900));
        assert!(!flight.is_quiet(at(5_999)) && flight.is_quiet(at(6_000)));
        flight.on_answer(at(6_500));
        flight.on_ended();
        assert!(!flight.is_quiet(at(7_499)) && flight.is_quiet(at(7_500)));
        flight.on_ended();
        assert!(flight.is_empty() && flight.is_quiet(at(6_600)));
    }
}
