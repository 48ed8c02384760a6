//! How crowded the keyspace is, learned from answers: how much of an id a target keeps, and how
//! finely to look for places that no answer told of.

use crate::base::addr::Contact;
use crate::base::id::{Id, NodeId};
use crate::limits::CONTACTS_PER_REPLY;

/// How many leading bits the eight nodes nearest to a point share: a running median, so that a few
/// liars cannot move it far. A node knows few nodes that are far from itself: if no contact of an
/// answer is farther from the target, by shared bits, than the answering node, the answer comes
/// from one bucket of a table, and only says that there are at least so many.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Density {
    /// In quarters of a bit.
    level: u32,
}

impl Density {
    /// Deeper than any network: 2^32 neighbourhoods of eight.
    const DEPTH_MAX: u32 = 32;

    fn shared(self) -> u32 {
        self.level / 4
    }

    /// How much of a contact's id a target keeps: one bit less, so that about sixteen nodes share
    /// a neighbourhood and every place in it is near several random targets.
    pub(super) fn depth(self) -> u32 {
        self.shared().saturating_sub(1)
    }

    /// How finely to look for gaps: about four nodes share a place, so that one answer of eight
    /// names them all.
    pub(super) fn gap_depth(self) -> u32 {
        self.shared() + 1
    }

    /// About what a run that met these nodes had learned: the median over them. `ids` are sorted.
    pub(super) fn of(ids: &[NodeId]) -> Self {
        // The eight nearest to a node are among its neighbours in order.
        let windows: Vec<u32> = ids
            .windows(CONTACTS_PER_REPLY)
            .map(|eight| eight[0].id().common_prefix(eight[CONTACTS_PER_REPLY - 1].id()))
            .collect();
        let deepest = |near: &[u32]| near.iter().copied().max().unwrap_or(0);
        let mut shared: Vec<u32> = windows.chunks(CONTACTS_PER_REPLY).map(deepest).collect();
        shared.sort_unstable();
        let median = shared.get(shared.len() / 2).copied().unwrap_or(0);
        Self { level: 4 * median.min(Self::DEPTH_MAX) }
    }

    /// Learns from the contacts of one answer of the node `from` about `target`.
    pub(super) fn learn(
        &mut self,
        target: Id,
        from: NodeId,
        contacts: impl Iterator<Item = Contact>,
    ) {
        let (mut count, mut shared) = (0, Self::DEPTH_MAX);
        for contact in contacts.take(CONTACTS_PER_REPLY) {
            count += 1;
            shared = shared.min(contact.id.id().common_prefix(target));
        }
        let at_least = shared >= from.id().common_prefix(target);
        let step = match shared > self.shared() {
            _ if count < CONTACTS_PER_REPLY => return,
            true => 1,
            false if at_least => return,
            false => -1,
        };
        self.level = self.level.saturating_add_signed(step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::{Rng, Seed};

    /// What a routing table of `own` names for `target`: at most `room` nodes of each bucket.
    fn named(ids: &[Id], own: Id, room: usize, target: Id) -> Vec<Contact> {
        let mut held = [0; 161];
        let mut known: Vec<Id> = ids.iter().copied().filter(|&id| id != own).collect();
        known.retain(|id| {
            let held = &mut held[own.common_prefix(*id) as usize];
            *held += 1;
            *held <= room
        });
        known.sort_unstable_by_key(|id| id.distance(target));
        let addr = std::net::SocketAddr::from(([8, 8, 8, 8], 6_881));
        known.iter().take(CONTACTS_PER_REPLY).map(|id| Contact { id: NodeId(id.0), addr }).collect()
    }

    /// Found by the simulator: seeds 613, 874 and 1793. Half of all targets lie beyond the bucket
    /// that a node knows well; counted as sparse, they made the level wander wherever it liked.
    #[test]
    fn the_density_is_learned_from_nodes_that_know_few_of_those_far_away() {
        let worlds = (0..8).flat_map(|seed| [(seed, 512, 4..=7), (seed, 64, 1..=4)]);
        for ((seed, nodes, shared), room) in
            worlds.flat_map(|world| [8, 7, 4].map(|r| (world.clone(), r)))
        {
            let mut rng = Rng::new(Seed::from_u64(seed));
            let ids: Vec<Id> = (0..nodes).map(|_| Id(rng.bytes())).collect();
            let mut density = Density::default();
            for turn in 0..600 {
                let own = ids[rng.below(nodes) as usize];
                let target = own.with_suffix(density.depth(), Id(rng.bytes()));
                let answer = named(&ids, own, room, target);
                density.learn(target, NodeId(own.0), answer.into_iter());
                let learned = turn < 150 || shared.contains(&density.shared());
                assert!(
                    learned,
                    "{} bits for {nodes} after {turn}, {room} in a bucket",
                    density.shared()
                );
            }
        }
    }
}
