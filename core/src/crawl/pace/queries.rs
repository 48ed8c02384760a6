//! Queries a second, both families together. Must never let one family starve the other.

use super::shared::SharedBucket;
use crate::base::addr::Family;
use crate::base::planted::{self, Bug};
use crate::base::time::{Duration, Instant};

/// The whole query rate, shared by the families so that each one that has work is sure of a
/// quarter.
#[derive(Clone, Debug)]
pub(crate) struct QueryPacer(SharedBucket);

impl QueryPacer {
    /// At most `rate` queries in every second.
    pub(crate) fn new(rate: Option<u32>) -> Self {
        Self(SharedBucket::new(rate, 3, Duration::from_secs(1)))
    }

    /// Whether `family`, which has a query to send, may send it at `now`.
    pub(crate) fn ready(&mut self, now: Instant, family: Family) -> Result<(), Instant> {
        let ready = self.0.ready(now, family.index());
        if planted::is(Bug::RateUnlimited) { Ok(()) } else { ready }
    }

    /// Counts a query sent.
    pub(crate) fn take(&mut self, now: Instant, family: Family) {
        self.0.take(now, family.index());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crawl::pace::testing::contend;

    #[test]
    fn a_busy_family_leaves_a_quarter_to_the_other() {
        let mut pacer = QueryPacer::new(Some(400));
        let mut sent = [0u32; 2];
        for micros in (0..2_000_000).step_by(100) {
            let now = Instant::from_micros(micros);
            // V4 always asks first and takes all it can get.
            for family in Family::ALL {
                while pacer.ready(now, family).is_ok() {
                    pacer.take(now, family);
                    sent[family.index()] += 1;
                }
            }
        }
        assert!(sent[1] * 5 >= sent[0] + sent[1], "{sent:?}");
        assert!(sent[0] + sent[1] <= 800);
    }

    #[test]
    fn hours_alone_leave_no_debt_when_the_other_family_wakes() {
        let mut pacer = QueryPacer::new(Some(200));
        let mut now = Instant::START;
        while now < Instant::from_micros(3_600_000_000) {
            match pacer.ready(now, Family::V4) {
                Ok(()) => pacer.take(now, Family::V4),
                Err(at) => now = at,
            }
        }
        let mut sent = [0; 2];
        for micros in (0..10_000_000).step_by(1_000) {
            let at = now + Duration::from_micros(micros);
            for family in Family::ALL {
                while pacer.ready(at, family).is_ok() {
                    pacer.take(at, family);
                    sent[family.index()] += 1;
                }
            }
        }
        assert!(sent.iter().all(|sent| *sent >= 450), "{sent:?}");
    }

    #[test]
    fn one_query_a_second_is_shared_by_the_families() {
        let mut pacer = QueryPacer::new(Some(1));
        let taken = contend(100, |now, family| pacer.0.try_take(now, family));
        assert!(taken.iter().filter(|family| **family == 1).count() >= 25, "{taken:?}");
    }
}
