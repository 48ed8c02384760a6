//! Contacts waiting to be visited, in keyspace order, and the nodes that answered near each place.
//!
//! The keyspace is cut into regions by its first bits. Each region holds a bounded, sorted list of
//! waiting contacts and a few landmarks: nodes that answered, from which walks start close to
//! their goal. A flood of invented contacts (catalogue H17) fills its own region and no other.

use std::net::SocketAddr;

use crate::base::addr::Contact;
use crate::base::id::Id;
use crate::base::planted::{self, Bug};
use crate::limits::{REGION_LANDMARKS, REGION_WAITING_MAX};

/// Bits of the region number.
const REGION_BITS: u32 = 12;
/// Regions of the keyspace.
pub const REGIONS: usize = 1 << REGION_BITS;

/// A contact waiting for its turn, and who named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The contact.
    pub contact: Contact,
    /// The node that named it; `None` for bootstrap and calendar.
    pub referrer: Option<SocketAddr>,
    /// Passes in which it stayed silent.
    pub silent_passes: u8,
    /// Whether it is known to live and to be silent to `sample_infohashes` only.
    pub alive: bool,
}

#[derive(Clone, Debug, Default)]
struct Region {
    /// In descending order of id, so that the lowest is taken from the end.
    waiting: Vec<Waiting>,
    landmarks: Vec<Contact>,
    /// The landmark to be replaced next.
    oldest: u8,
}

/// Waiting contacts and landmarks of one address family.
#[derive(Clone, Debug)]
pub struct Frontier {
    regions: Vec<Region>,
    /// One bit per region: whether anything waits there.
    occupied: [u64; REGIONS / 64],
    len: usize,
    landmarks: usize,
}

impl Default for Frontier {
    fn default() -> Self {
        Self {
            regions: vec![Region::default(); REGIONS],
            occupied: [0; REGIONS / 64],
            len: 0,
            landmarks: 0,
        }
    }
}

impl Frontier {
    /// Adds a contact to its region. A full region keeps its lowest contacts: the sweep meets those
    /// first, and hears of the others again when it comes near. Gives back what did not fit.
    pub fn insert(&mut self, waiting: Waiting) -> Option<Waiting> {
        let index = region_of(waiting.contact.id.id());
        let list = &mut self.regions[index].waiting;
        let evicted = if list.len() < REGION_WAITING_MAX || planted::is(Bug::UnboundedFrontier) {
            None
        } else if list.first().is_some_and(|highest| highest.contact.id > waiting.contact.id) {
            self.len -= 1;
            Some(list.remove(0))
        } else {
            return Some(waiting);
        };
        let at = list.partition_point(|other| other.contact.id > waiting.contact.id);
        list.insert(at, waiting);
        self.len += 1;
        self.occupied[index / 64] |= 1 << (index % 64);
        evicted
    }

    /// Takes the lowest contact at or above `cursor`, or the lowest of all if there is none above.
    pub fn take_next(&mut self, cursor: Id) -> Option<Waiting> {
        let start = region_of(cursor);
        let here = &self.regions[start].waiting;
        let at_or_above = here.partition_point(|w| w.contact.id.id() >= cursor);
        if at_or_above > 0 {
            return Some(self.take(start, at_or_above - 1));
        }
        let region = self.next_occupied(start + 1).or_else(|| self.next_occupied(0))?;
        let last = self.regions[region].waiting.len() - 1;
        Some(self.take(region, last))
    }

    /// Remembers a node that answered.
    pub fn add_landmark(&mut self, contact: Contact) {
        let region = &mut self.regions[region_of(contact.id.id())];
        if let Some(same) = region.landmarks.iter_mut().find(|l| l.addr == contact.addr) {
            *same = contact;
        } else if region.landmarks.len() < REGION_LANDMARKS {
            region.landmarks.push(contact);
            self.landmarks += 1;
        } else {
            region.landmarks[usize::from(region.oldest)] = contact;
            region.oldest = (region.oldest + 1) % REGION_LANDMARKS as u8;
        }
    }

    /// Forgets a landmark that stopped answering.
    pub fn remove_landmark(&mut self, contact: Contact) {
        let region = &mut self.regions[region_of(contact.id.id())];
        let before = region.landmarks.len();
        region.landmarks.retain(|landmark| landmark.addr != contact.addr);
        self.landmarks -= before - region.landmarks.len();
        region.oldest = 0;
    }

    /// Landmarks near `target`, its own region first, then its neighbours by XOR distance; at most
    /// `wanted`, not sorted within a region.
    pub fn landmarks(&self, target: Id, wanted: usize) -> impl Iterator<Item = Contact> {
        /// Regions looked at: half a thousandth of the keyspace around the target.
        const NEIGHBOURS: usize = 64;
        let home = region_of(target);
        (0..NEIGHBOURS)
            .flat_map(move |offset| self.regions[home ^ offset].landmarks.iter().copied())
            .take(wanted)
    }

    /// Whether any node that answered is remembered.
    pub fn has_landmarks(&self) -> bool {
        self.landmarks > 0
    }

    /// The landmark nearest to `target`, wherever that is, of those farther from it than `beyond`.
    pub fn nearest_landmark(&self, target: Id, beyond: Option<Id>) -> Option<Contact> {
        let home = region_of(target);
        let near = beyond.map(|id| id.distance(target));
        let distance = |landmark: &&Contact| landmark.id.id().distance(target);
        let nearest = |region: &Region| {
            let landmarks = region.landmarks.iter();
            let farther = landmarks.filter(|l| near.is_none_or(|near| distance(l) > near));
            farther.min_by_key(distance).copied()
        };
        let first = beyond.map_or(0, |id| home ^ region_of(id));
        (first..REGIONS).find_map(|offset| nearest(&self.regions[home ^ offset]))
    }

    /// Contacts waiting.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Asserts the invariants: sorted, counted, bounded.
    pub fn check(&self) {
        // Sums over all regions and details of the occupied ones: this runs after every step of a
        // fuzzed crawl, and most regions are empty.
        let mut total = 0;
        let words = self.occupied.iter().enumerate().filter(|(_, word)| **word != 0);
        let regions = words.flat_map(|(at, _)| at * 64..(at + 1) * 64);
        for index in regions.filter(|index| self.is_occupied(*index)) {
            let waiting = &self.regions[index].waiting;
            let ids = waiting.iter().map(|waiting| waiting.contact.id);
            assert!(ids.clone().is_sorted_by(|a, b| a >= b));
            assert!(ids.clone().all(|id| region_of(id.id()) == index));
            assert!((1..=REGION_WAITING_MAX).contains(&waiting.len()));
            total += waiting.len();
        }
        assert_eq!(total, self.len, "what waits, waits in an occupied region");
        let (mut waiting, mut landmarks, mut most) = (0, 0, 0);
        // Eight at a time: coverage instrumentation pays for every turn of a loop.
        for eight in self.regions.as_chunks::<8>().0 {
            for region in eight {
                waiting += region.waiting.len();
                landmarks += region.landmarks.len();
                most = most.max(region.landmarks.len());
            }
        }
        assert_eq!((waiting, landmarks), (self.len, self.landmarks));
        assert!(most <= REGION_LANDMARKS);
    }

    fn take(&mut self, region: usize, at: usize) -> Waiting {
        let list = &mut self.regions[region].waiting;
        let waiting = list.remove(at);
        if list.is_empty() {
            self.occupied[region / 64] &= !(1 << (region % 64));
        }
        self.len -= 1;
        waiting
    }

    fn is_occupied(&self, region: usize) -> bool {
        self.occupied[region / 64] >> (region % 64) & 1 != 0
    }

    /// The first region from `start` on in which something waits.
    fn next_occupied(&self, start: usize) -> Option<usize> {
        let mut word = start / 64;
        let mut bits = self.occupied.get(word)? & (u64::MAX << (start % 64));
        while bits == 0 {
            word += 1;
            bits = *self.occupied.get(word)?;
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }
}

fn region_of(id: Id) -> usize {
    usize::from(u16::from_be_bytes([id.0[0], id.0[1]]) >> (16 - REGION_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::NodeId;

    fn waiting(first: u8, second: u8, last: u8) -> Waiting {
        let mut id = [0; 20];
        (id[0], id[1], id[19]) = (first, second, last);
        let addr = SocketAddr::from(([10, first, second, last], 1));
        Waiting {
            contact: Contact { id: NodeId(id), addr },
            referrer: None,
            silent_passes: 0,
            alive: false,
        }
    }

    #[test]
    fn contacts_are_taken_in_keyspace_order_from_the_cursor_and_then_from_the_start() {
        let mut frontier = Frontier::default();
        let (a, b, c, d) =
            (waiting(0, 0, 1), waiting(7, 0, 0), waiting(7, 0, 9), waiting(255, 255, 0));
        for w in [c, a, d, b] {
            assert_eq!(frontier.insert(w), None);
        }
        frontier.check();
        let cursor = c.contact.id.id();
        for expected in [c, d, a, b] {
            assert_eq!(frontier.take_next(cursor), Some(expected));
        }
        assert_eq!(frontier.take_next(cursor), None);
        frontier.check();
    }

    #[test]
    fn a_flooded_region_keeps_its_lowest_and_leaves_others_alone() {
        let mut frontier = Frontier::default();
        for n in (0..=255).rev() {
            assert_eq!(frontier.insert(waiting(1, 0, n)), None);
        }
        assert_eq!(frontier.insert(waiting(1, 1, 0)), Some(waiting(1, 1, 0)));
        assert_eq!(frontier.insert(waiting(1, 0, 7)), Some(waiting(1, 0, 255)));
        assert_eq!(frontier.insert(waiting(2, 0, 0)), None);
        assert_eq!(frontier.len(), REGION_WAITING_MAX + 1);
        frontier.check();
    }

    #[test]
    fn the_next_nearest_landmark_may_share_its_region_with_the_last_or_lie_anywhere() {
        let mut frontier = Frontier::default();
        let near: Vec<Contact> = (0..3).map(|n| waiting(8, 0x10, n).contact).collect();
        let far = [waiting(8, 0x20, 0).contact, waiting(0x70, 0, 0).contact];
        near.iter().chain(&far).for_each(|contact| frontier.add_landmark(*contact));
        let target = near[0].id.id();
        let mut expected: Vec<Contact> = near.iter().chain(&far).copied().collect();
        expected.sort_unstable_by_key(|contact| contact.id.id().distance(target));
        let (mut found, mut last) = (Vec::new(), None);
        while let Some(contact) = frontier.nearest_landmark(target, last) {
            (found, last) = ([found, vec![contact]].concat(), Some(contact.id.id()));
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn landmarks_come_from_the_nearest_regions_first() {
        let mut frontier = Frontier::default();
        let (near, far) = (waiting(8, 0x10, 0).contact, waiting(8, 0x20, 0).contact);
        frontier.add_landmark(far);
        frontier.add_landmark(near);
        let target = waiting(8, 0x11, 0).contact.id.id();
        assert_eq!(frontier.landmarks(target, 8).collect::<Vec<_>>(), [near, far]);
        frontier.remove_landmark(near);
        assert_eq!(frontier.landmarks(target, 8).collect::<Vec<_>>(), [far]);
        for n in 0..20 {
            frontier.add_landmark(waiting(9, 0, n).contact);
        }
        frontier.check();
    }
}
