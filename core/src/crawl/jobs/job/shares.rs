//! When another of the nodes that named an infohash is asked, and which peers may be dialled. Must
//! never let one node's bad peers use up all attempts while a second source is known.

use super::{Job, Other, Race, Source, WalkState};
use crate::base::addr::Contact;
use crate::crawl::jobs::JobLimits;
use crate::crawl::jobs::peers::Among;
use crate::crawl::standing::Standing;
use crate::lead::Origin;
use crate::limits::{DIALS_BEFORE_GIVEN_UP, OTHER_SOURCE_MARGIN};

impl Job {
    /// Whether `node` may become its other source: of what a node named, in its first round, if it
    /// is of another net, not deep in debt, and owes much less than the other one known.
    pub(in crate::crawl::jobs) fn takes_other(&self, node: Contact, standing: &Standing) -> bool {
        let new = standing.sponsor(node.addr);
        let is_fresh = self.origin == Origin::Sample && self.round == 0;
        let is_other = self.sponsor().is_some_and(|sponsor| !sponsor.shares_net(new));
        let is_better = match self.other {
            Other::Unknown => true,
            Other::Named(known) => {
                let known = standing.sponsor(known.addr);
                standing.spent(new) + OTHER_SOURCE_MARGIN < standing.spent(known)
            }
            Other::Tried => false,
        };
        is_fresh && is_other && is_better && !standing.is_deep_in_debt(new)
    }

    /// Whether the other node that named it is to be asked before anything else: the first one has
    /// had its say, no walk is under way or waited for, and much more was spent for it in vain, or
    /// its peers have had their share here.
    pub(in crate::crawl::jobs) fn has_better_source(
        &self,
        limits: &JobLimits,
        standing: &Standing,
    ) -> bool {
        let (Some(other), Some(sponsor)) = (self.other.node(), self.sponsor()) else {
            return false;
        };
        let other = standing.sponsor(other.addr);
        let asks_others = matches!(self.walk, WalkState::Waiting | WalkState::Walking(_));
        let owes_much = standing.spent(other) + OTHER_SOURCE_MARGIN < standing.spent(sponsor);
        // What it named was tried in vain several times, and not for the first infohash.
        let failed = || {
            standing.is_deep_in_debt(sponsor)
                && self.peers.tried().nth(DIALS_BEFORE_GIVEN_UP - 1).is_some()
        };
        let is_alone = self.in_flight == 0 || self.race != Race::Closed;
        let has_had_share = || is_alone && (self.rests_on_spent_nets(limits) || failed());
        self.source == Source::Done && !asks_others && (owes_much || has_had_share())
    }

    /// Whether peers wait, all of them of nets that have had their share of the attempts: mute
    /// peers of one node must not use up all before its other source was heard.
    fn rests_on_spent_nets(&self, limits: &JobLimits) -> bool {
        let share = (usize::from(limits.attempts) * 3 / 5).max(1);
        let taken = usize::from(self.in_vain) + usize::from(self.in_flight);
        taken >= share && self.peers.are_of_spent_nets(share)
    }

    /// Whether a peer may be tried now.
    pub(in crate::crawl::jobs) fn has_peers(&self, limits: &JobLimits) -> bool {
        self.peers.has_due(self.among(limits))
    }

    /// Which peers may be dialled: once the attempts are used up, those alone that cost nothing
    /// more; and those that said nothing so far when no node is left to name better ones.
    pub(super) fn among(&self, limits: &JobLimits) -> Among {
        let in_play = self.spent.saturating_add(self.in_flight);
        if in_play >= limits.attempts {
            Among::Free
        } else if self.may_hear_more(limits) {
            Among::Likely
        } else {
            Among::All
        }
    }

    /// Whether the source or a walk may still name peers.
    fn may_hear_more(&self, limits: &JobLimits) -> bool {
        let may_walk = limits.may_walk && self.peers.heard() < limits.peers;
        self.source != Source::Done
            || match self.walk {
                WalkState::NotNeeded => may_walk,
                WalkState::Waiting | WalkState::Walking(_) => true,
                WalkState::Done => false,
            }
    }
}
