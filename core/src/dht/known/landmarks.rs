//! Nodes that answered, a few for each region of the keyspace: where walks start close to their
//! goal, and which node to ask about a place that no answer told of.

use crate::base::addr::Contact;
use crate::base::id::Id;
use crate::dht::region::{REGIONS, region_of};
use crate::limits::REGION_LANDMARKS;

/// The landmarks of one region.
#[derive(Clone, Debug, Default)]
struct Region {
    nodes: Vec<Contact>,
    /// The one to be replaced next.
    oldest: u8,
}

/// Nodes that answered, by region.
#[derive(Clone, Debug)]
pub(crate) struct Landmarks {
    regions: Vec<Region>,
    len: usize,
}

impl Default for Landmarks {
    fn default() -> Self {
        Self { regions: vec![Region::default(); REGIONS], len: 0 }
    }
}

impl Landmarks {
    /// Remembers a node that answered. A full region forgets one of its landmarks for it.
    pub(crate) fn add(&mut self, contact: Contact) {
        let region = &mut self.regions[region_of(contact.id.id())];
        if let Some(same) = region.nodes.iter_mut().find(|node| node.addr == contact.addr) {
            *same = contact;
        } else if region.nodes.len() < REGION_LANDMARKS {
            region.nodes.push(contact);
            self.len += 1;
        } else {
            region.nodes[usize::from(region.oldest)] = contact;
            region.oldest = (region.oldest + 1) % REGION_LANDMARKS as u8;
        }
    }

    /// Forgets a node that stopped answering.
    pub(crate) fn remove(&mut self, contact: Contact) {
        let region = &mut self.regions[region_of(contact.id.id())];
        let before = region.nodes.len();
        region.nodes.retain(|node| node.addr != contact.addr);
        self.len -= before - region.nodes.len();
        region.oldest = 0;
    }

    /// Landmarks near `target`, its own region first, then its neighbours by XOR distance; at most
    /// `wanted`, not sorted within a region.
    pub(crate) fn near(&self, target: Id, wanted: usize) -> impl Iterator<Item = Contact> {
        /// Regions looked at: a sixty-fourth of the keyspace around the target.
        const NEIGHBOURS: usize = 64;
        let home = region_of(target);
        (0..NEIGHBOURS)
            .flat_map(move |offset| self.regions[home ^ offset].nodes.iter().copied())
            .take(wanted)
    }

    /// The landmark nearest to `target`, wherever that is, of those farther from it than `beyond`.
    pub(crate) fn nearest(&self, target: Id, beyond: Option<Id>) -> Option<Contact> {
        let home = region_of(target);
        let near = beyond.map(|id| id.distance(target));
        let distance = |node: &&Contact| node.id.id().distance(target);
        let nearest = |region: &Region| {
            let farther =
                region.nodes.iter().filter(|n| near.is_none_or(|near| distance(n) > near));
            farther.min_by_key(distance).copied()
        };
        let first = beyond.map_or(0, |id| home ^ region_of(id));
        (first..REGIONS).find_map(|offset| nearest(&self.regions[home ^ offset]))
    }

    /// Whether no node that answered is remembered.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Asserts the invariants: counted and bounded.
    pub(crate) fn check(&self) {
        let (mut len, mut most) = (0, 0);
        // Eight at a time: coverage instrumentation pays for every turn of a loop.
        for eight in self.regions.as_chunks::<8>().0 {
            for region in eight {
                len += region.nodes.len();
                most = most.max(region.nodes.len());
            }
        }
        assert_eq!(len, self.len);
        assert!(most <= REGION_LANDMARKS);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::base::id::NodeId;

    fn contact(first: u8, second: u8, last: u8) -> Contact {
        let mut id = [0; 20];
        (id[0], id[1], id[19]) = (first, second, last);
        Contact { id: NodeId(id), addr: SocketAddr::from(([10, first, second, last], 1)) }
    }

    #[test]
    fn the_next_nearest_may_share_its_region_with_the_last_or_lie_anywhere() {
        let mut landmarks = Landmarks::default();
        let near: Vec<Contact> = (0..3).map(|n| contact(8, 0x10, n)).collect();
        let far = [contact(8, 0x20, 0), contact(0x70, 0, 0)];
        near.iter().chain(&far).for_each(|contact| landmarks.add(*contact));
        let target = near[0].id.id();
        let mut expected: Vec<Contact> = near.iter().chain(&far).copied().collect();
        expected.sort_unstable_by_key(|contact| contact.id.id().distance(target));
        let (mut found, mut last) = (Vec::new(), None);
        while let Some(contact) = landmarks.nearest(target, last) {
            (found, last) = ([found, vec![contact]].concat(), Some(contact.id.id()));
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn they_come_from_the_nearest_regions_first_and_at_most_so_many_from_each() {
        let mut landmarks = Landmarks::default();
        let (near, far) = (contact(8, 0x10, 0), contact(8, 0x20, 0));
        landmarks.add(far);
        landmarks.add(near);
        let target = contact(8, 0x11, 0).id.id();
        assert_eq!(landmarks.near(target, 8).collect::<Vec<_>>(), [near, far]);
        landmarks.remove(near);
        assert_eq!(landmarks.near(target, 8).collect::<Vec<_>>(), [far]);
        for n in 0..20 {
            landmarks.add(contact(9, 0, n));
            landmarks.check();
        }
        let crowded = contact(9, 0, 0).id.id();
        assert_eq!(landmarks.near(crowded, 100).count(), 8 + 1);
    }
}
