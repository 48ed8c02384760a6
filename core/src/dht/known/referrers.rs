//! What became of the contacts that each node named. What came of its infohashes and peers is the
//! crawl's to say.

use std::net::SocketAddr;

use crate::base::addr::{AddressPolicy, address_key};
use crate::base::rng::Rng;
use crate::base::store::Cells;
use crate::limits::{REFERRER_CELLS, REFERRER_DEAD_MAX};

/// How what a node named turned out. Saturating counts.
#[derive(Clone, Copy, Debug, Default)]
struct Score {
    /// Contacts that answered.
    live: u8,
    /// Contacts that did not.
    dead: u8,
}

/// The scores of all nodes, in a fixed table without keys: two that fall into one cell share it.
#[derive(Debug)]
pub(crate) struct Referrers {
    policy: AddressPolicy,
    scores: Cells<Score>,
    /// Contacts judged since all scores were halved.
    judged: usize,
}

impl Referrers {
    pub(crate) fn new(policy: AddressPolicy, rng: &mut Rng) -> Self {
        Self { policy, scores: Cells::new(rng, REFERRER_CELLS), judged: 0 }
    }

    /// Whether contacts that it names are worth a visit.
    pub(crate) fn is_followed(&self, node: SocketAddr) -> bool {
        let score = self.score(node);
        score.live > 0 || score.dead < REFERRER_DEAD_MAX
    }

    /// A contact that it had named answered, or never did.
    pub(crate) fn judge(&mut self, node: SocketAddr, lives: bool) {
        let score = self.score_mut(node);
        let count = if lives { &mut score.live } else { &mut score.dead };
        *count = count.saturating_add(1);
        self.judged += 1;
        // Old merits and old faults fade, so that a cell tells of its present nodes.
        if self.judged >= REFERRER_CELLS {
            self.judged = 0;
            for score in self.scores.iter_mut() {
                *score = Score { live: score.live / 2, dead: score.dead / 2 };
            }
        }
    }

    fn score(&self, node: SocketAddr) -> Score {
        *self.scores.get(&address_key(self.policy, node))
    }

    fn score_mut(&mut self, node: SocketAddr) -> &mut Score {
        self.scores.get_mut(&address_key(self.policy, node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Seed;

    fn referrers() -> (Referrers, SocketAddr) {
        let referrers = Referrers::new(AddressPolicy::Public, &mut Rng::new(Seed::from_u64(1)));
        (referrers, SocketAddr::from(([20, 1, 1, 1], 6_881)))
    }

    #[test]
    fn h17_a_referrer_of_two_dead_contacts_is_followed_and_of_three_only_if_one_lives() {
        let (mut referrers, node) = referrers();
        let mut dies = || {
            referrers.judge(node, false);
            referrers.is_followed(node)
        };
        assert_eq!([dies(), dies(), dies(), dies()], [true, true, false, false]);
        referrers.judge(node, true);
        assert!(referrers.is_followed(node));
    }
}
