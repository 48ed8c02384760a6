//! How crowded the keyspace is, learned from answers: how much of an id a target keeps, and how
//! finely to look for places that nobody was asked about.

use crate::addr::Contact;
use crate::id::{Id, NodeId};
use crate::limits::CONTACTS_PER_REPLY;

/// How many leading bits the eight nodes nearest to a point share: a running median, so that a few
/// liars cannot move it far.
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

    /// What whoever met these nodes had learned, give or take: the median over them. `ids` are
    /// sorted.
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

    /// Learns from the contacts of one answer about `target`.
    pub(super) fn learn(&mut self, target: Id, contacts: impl Iterator<Item = Contact>) {
        let (mut count, mut shared) = (0, Self::DEPTH_MAX);
        for contact in contacts.take(CONTACTS_PER_REPLY) {
            count += 1;
            shared = shared.min(contact.id.id().common_prefix(target));
        }
        if count == CONTACTS_PER_REPLY {
            let step = if shared > self.shared() { 1 } else { -1 };
            self.level = self.level.saturating_add_signed(step);
        }
    }
}
