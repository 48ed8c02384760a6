//! One limit shared by two claimants. Must never let both together exceed it, nor leave one without
//! its part while it has work.

use super::bucket::Bucket;
use crate::base::time::{Duration, Instant};

/// One allowance for two claimants, so that each is sure of its share while both want some, and of
/// all of it while the other wants none.
#[derive(Clone, Debug)]
pub(super) struct SharedBucket {
    all: Bucket,
    /// What one may use while the other has work: charged only then, so no debt grows meanwhile.
    most: [Bucket; 2],
    wanted: [Option<Instant>; 2],
    wanted_for: Duration,
}

impl SharedBucket {
    /// How long a claimant counts as having work after it last asked, at least.
    pub(super) const WANTED_FOR: Duration = Duration::from_secs(1);
    /// The same in tokens of a claimant's part: a claimant that is told to wait for one asks again
    /// when it comes, and must not have been forgotten by then.
    const WANTED_TOKENS: u32 = 2;

    /// `n` tokens a `period`. While both claimants want some, each gets at most `quarters` of them.
    pub(super) fn new(n: Option<u32>, quarters: u32, period: Duration) -> Self {
        let all = Bucket::new(n, period);
        let most = all.part(quarters);
        let tokens = most.token().saturating_mul(Self::WANTED_TOKENS);
        let wanted_for = Self::WANTED_FOR.max(tokens);
        Self { all, most: [most.clone(), most], wanted: [None; 2], wanted_for }
    }

    /// Whether `claimant`, which has work, may take a token at `now`.
    pub(super) fn ready(&mut self, now: Instant, claimant: usize) -> Result<(), Instant> {
        self.wanted[claimant] = Some(now);
        self.all.ready(now)?;
        if self.is_contested(now, claimant) { self.most[claimant].ready(now) } else { Ok(()) }
    }

    /// Takes a token that [`SharedBucket::ready`] said is there.
    pub(super) fn take(&mut self, now: Instant, claimant: usize) {
        self.all.take(now);
        if self.is_contested(now, claimant) {
            self.most[claimant].take(now);
        }
    }

    /// Whether there is a limit at all.
    pub(super) fn is_limited(&self) -> bool {
        self.all.is_limited()
    }

    /// How long one token of `claimant`'s part takes to come back.
    pub(super) fn token(&self, claimant: usize) -> Duration {
        self.most[claimant].token()
    }

    #[cfg(test)]
    pub(super) fn try_take(&mut self, now: Instant, claimant: usize) -> Result<(), Instant> {
        self.ready(now, claimant).map(|()| self.take(now, claimant))
    }

    /// Whether the other claimant has work as well.
    fn is_contested(&self, now: Instant, claimant: usize) -> bool {
        self.wanted[1 - claimant].is_some_and(|at| now.since(at) < self.wanted_for)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, prop_assert, prop_oneof, proptest};

    use super::*;
    use crate::crawl::pace::testing::contend;

    /// How many more than its share of any window of `taken` claimant `of` ever got.
    fn most_above(taken: &[usize], of: usize, quarters: i64) -> i64 {
        // In quarters of tokens, so that all is whole.
        let (mut above, mut most) = (0, 0);
        for claimant in taken {
            let got = if *claimant == of { 4 - quarters } else { -quarters };
            above = (above + got).max(0);
            most = most.max(above);
        }
        most.div_euclid(4) + i64::from(most % 4 != 0)
    }

    proptest! {
        #[test]
        fn with_both_wanting_each_gets_its_part_of_every_window_at_every_rate(
            n in prop_oneof![1..120_u32, 1..3_000_u32],
            quarters in 2..=3_u32,
            seconds in prop_oneof![Just(1_u64), Just(60)],
        ) {
            let mut bucket = SharedBucket::new(Some(n), quarters, Duration::from_secs(seconds));
            let tokens = 40 * (n as usize).clamp(10, 100);
            let taken = contend(tokens, |now, claimant| bucket.try_take(now, claimant));
            // A burst of each part may be on top.
            let most = 1 + i64::from(n / 20);
            for claimant in [0, 1] {
                let above = most_above(&taken, claimant, i64::from(quarters));
                prop_assert!(above <= most, "{n} in {seconds} s: {above} above {quarters}/4");
            }
        }
    }
}
