//! Contacts waiting to be visited, in keyspace order.
//!
//! Each region of the keyspace holds a bounded, sorted list of them. A flood of invented contacts
//! (catalogue H17) fills its own region and no other.

use std::net::SocketAddr;

use crate::base::addr::Contact;
use crate::base::id::Id;
use crate::base::planted::{self, Bug};
use crate::dht::region::{REGIONS, region_of};
use crate::limits::REGION_WAITING_MAX;

/// A contact waiting for its turn, and the node that named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// The contact.
    pub(crate) contact: Contact,
    /// The node that named it; `None` for bootstrap and calendar.
    pub(crate) referrer: Option<SocketAddr>,
    /// Passes in which it stayed silent.
    pub(crate) silent_passes: u8,
    /// Whether it is known to live and to be silent to `sample_infohashes` only.
    pub(crate) alive: bool,
}

impl Waiting {
    /// A contact that waits for the first time.
    pub(crate) fn new(contact: Contact, referrer: Option<SocketAddr>) -> Self {
        Self { contact, referrer, silent_passes: 0, alive: false }
    }
}

/// Waiting contacts of one address family.
#[derive(Clone, Debug)]
pub(crate) struct Frontier {
    /// Those of each region in descending order of id, so that the lowest is taken from the end.
    regions: Vec<Vec<Waiting>>,
    /// One bit per region: whether anything waits there.
    occupied: [u64; REGIONS / 64],
    len: usize,
}

impl Default for Frontier {
    fn default() -> Self {
        Self { regions: vec![Vec::new(); REGIONS], occupied: [0; REGIONS / 64], len: 0 }
    }
}

impl Frontier {
    /// Adds a contact to its region. A full region keeps its lowest contacts: the sweep meets those
    /// first, and hears of the others again when it comes near. Gives back what did not fit.
    pub(crate) fn insert(&mut self, waiting: Waiting) -> Option<Waiting> {
        let index = region_of(waiting.contact.id.id());
        let list = &mut self.regions[index];
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
    pub(crate) fn take_next(&mut self, cursor: Id) -> Option<Waiting> {
        let start = region_of(cursor);
        let here = &self.regions[start];
        let at_or_above = here.partition_point(|w| w.contact.id.id() >= cursor);
        if at_or_above > 0 {
            return Some(self.take(start, at_or_above - 1));
        }
        let region = self.next_occupied(start + 1).or_else(|| self.next_occupied(0))?;
        let last = self.regions[region].len() - 1;
        Some(self.take(region, last))
    }

    /// Contacts waiting.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Asserts the invariants: sorted, counted, bounded.
    pub(crate) fn check(&self) {
        // Sums over all regions and details of the occupied ones: this runs after every step of a
        // fuzzed crawl, and most regions are empty.
        let mut total = 0;
        let words = self.occupied.iter().enumerate().filter(|(_, word)| **word != 0);
        let regions = words.flat_map(|(at, _)| at * 64..(at + 1) * 64);
        for index in regions.filter(|index| self.is_occupied(*index)) {
            let waiting = &self.regions[index];
            let ids = waiting.iter().map(|waiting| waiting.contact.id);
            assert!(ids.clone().is_sorted_by(|a, b| a >= b));
            assert!(ids.clone().all(|id| region_of(id.id()) == index));
            assert!((1..=REGION_WAITING_MAX).contains(&waiting.len()));
            total += waiting.len();
        }
        assert_eq!(total, self.len, "what waits, waits in an occupied region");
        // Eight at a time: coverage instrumentation pays for every turn of a loop.
        let eights = self.regions.as_chunks::<8>().0.iter();
        let all: usize = eights.map(|eight| eight.iter().map(Vec::len).sum::<usize>()).sum();
        assert_eq!(all, self.len);
    }

    fn take(&mut self, region: usize, at: usize) -> Waiting {
        let list = &mut self.regions[region];
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::NodeId;

    fn waiting(first: u8, second: u8, last: u8) -> Waiting {
        let mut id = [0; 20];
        (id[0], id[1], id[19]) = (first, second, last);
        let addr = SocketAddr::from(([10, first, second, last], 1));
        Waiting::new(Contact { id: NodeId(id), addr }, None)
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
}
