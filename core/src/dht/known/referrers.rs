//! What became of what each node named: of the contacts, and of the infohashes.

use std::net::SocketAddr;

use crate::base::addr::{AddressPolicy, address_key};
use crate::base::rng::Rng;
use crate::base::store::Cells;
use crate::limits::{REFERRER_CELLS, REFERRER_DEAD_MAX, STERILE_SAMPLES};

/// How what a node named turned out. Saturating counts.
#[derive(Clone, Copy, Debug, Default)]
struct Score {
    /// Contacts that answered.
    live: u8,
    /// Contacts that did not.
    dead: u8,
    /// Infohashes that no node had named before.
    sampled: u16,
    /// Of these, those for which it named a peer when asked.
    yielding: u16,
}

impl Score {
    /// Whether the node makes infohashes up (H19).
    fn is_sterile(self) -> bool {
        self.sampled >= STERILE_SAMPLES && u32::from(self.yielding) * 100 < u32::from(self.sampled)
    }
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

    /// Whether it makes infohashes up (H19).
    pub(crate) fn is_sterile(&self, node: SocketAddr) -> bool {
        self.score(node).is_sterile()
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
                *score = Score { live: score.live / 2, dead: score.dead / 2, ..*score };
            }
        }
    }

    /// It named an infohash that was new.
    pub(crate) fn on_new_infohash(&mut self, node: SocketAddr) {
        let score = self.score_mut(node);
        score.sampled = score.sampled.saturating_add(1);
    }

    /// It named a peer for an infohash that it had sampled.
    pub(crate) fn on_yield(&mut self, node: SocketAddr) {
        let score = self.score_mut(node);
        score.yielding = score.yielding.saturating_add(1);
    }

    /// Its infohashes are judged anew from now on.
    pub(crate) fn forgive(&mut self, node: SocketAddr) {
        let score = self.score_mut(node);
        (score.sampled, score.yielding) = (0, 0);
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

    #[test]
    fn h19_samples_are_distrusted_from_fifty_on_if_less_than_one_in_a_hundred_has_a_peer() {
        let (mut referrers, node) = referrers();
        (0..49).for_each(|_| referrers.on_new_infohash(node));
        assert!(!referrers.is_sterile(node));
        referrers.on_new_infohash(node);
        assert!(referrers.is_sterile(node));
        referrers.on_yield(node);
        (50..100).for_each(|_| referrers.on_new_infohash(node));
        assert!(!referrers.is_sterile(node), "one in a hundred");
        referrers.on_new_infohash(node);
        assert!(referrers.is_sterile(node), "one in a hundred and one");
    }
}
