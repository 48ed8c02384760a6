//! When whom to visit again: contacts by the minute in which their interval ends (BEP 51).
//!
//! Contacts of one minute are a chain through one shared store, so that a visit noted takes the
//! place of one that was made, and a warm calendar asks nothing of the allocator.

use std::collections::VecDeque;

use crate::addr::Contact;
use crate::time::Instant;

const MINUTE_MICROS: u64 = 60_000_000;

/// Ends a chain.
const NONE: u32 = u32::MAX;

/// A contact and its place in the chain of its minute, or of the free places.
#[derive(Clone, Copy, Debug)]
struct Entry {
    contact: Contact,
    next: u32,
}

/// The chain of one minute; never empty.
#[derive(Clone, Copy, Debug)]
struct Page {
    minute: u64,
    first: u32,
    last: u32,
}

/// A bounded set of visits to come. Those of one minute come in the order they were noted.
#[derive(Debug)]
pub(crate) struct Calendar {
    /// By minute. A few hundred: intervals are at most six hours.
    pages: VecDeque<Page>,
    entries: Vec<Entry>,
    free: u32,
    len: usize,
    limit: usize,
}

impl Calendar {
    /// An empty calendar of at most `limit` visits.
    pub(crate) fn new(limit: usize) -> Self {
        debug_assert!(limit < NONE as usize);
        Self { pages: VecDeque::new(), entries: Vec::new(), free: NONE, len: 0, limit }
    }

    /// Notes a visit at `until`, rounded up to whole minutes; `false` when there is no room.
    pub(crate) fn note(&mut self, until: Instant, contact: Contact) -> bool {
        if self.len >= self.limit {
            return false;
        }
        let place = self.store(contact);
        let minute = until.as_micros().div_ceil(MINUTE_MICROS);
        match self.pages.binary_search_by_key(&minute, |page| page.minute) {
            Ok(index) => {
                let page = &mut self.pages[index];
                self.entries[page.last as usize].next = place;
                page.last = place;
            }
            Err(index) => self.pages.insert(index, Page { minute, first: place, last: place }),
        }
        self.len += 1;
        true
    }

    /// Takes the next visit that is due at `now`.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Contact> {
        if self.next_due()? > now {
            return None;
        }
        let page = self.pages.front_mut()?;
        let place = page.first;
        let Entry { contact, next } = self.entries[place as usize];
        if next == NONE {
            self.pages.pop_front();
        } else {
            page.first = next;
        }
        self.entries[place as usize].next = self.free;
        self.free = place;
        self.len -= 1;
        Some(contact)
    }

    /// When the first visit is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let minute = self.pages.front()?.minute;
        Some(Instant::from_micros(minute.saturating_mul(MINUTE_MICROS)))
    }

    /// Asserts the invariants: chains whole, minutes in order, nothing lost.
    pub(crate) fn check(&self) {
        assert!(self.len <= self.limit);
        assert!(self.pages.iter().is_sorted_by(|a, b| a.minute < b.minute));
        let follow = |place: &u32| self.entries.get(*place as usize).map(|entry| entry.next);
        let chain = |first: u32| {
            std::iter::successors(Some(first), follow).take_while(|place| *place != NONE)
        };
        let noted: usize = self.pages.iter().map(|page| chain(page.first).count()).sum();
        assert_eq!(noted, self.len);
        assert_eq!(noted + chain(self.free).count(), self.entries.len());
        let ends = |page: &Page| chain(page.first).last() == Some(page.last);
        assert!(self.pages.iter().all(ends));
    }

    fn store(&mut self, contact: Contact) -> u32 {
        let entry = Entry { contact, next: NONE };
        match self.entries.get_mut(self.free as usize) {
            Some(free) => {
                let place = self.free;
                self.free = free.next;
                *free = entry;
                place
            }
            None => {
                self.entries.push(entry);
                (self.entries.len() - 1) as u32
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::id::NodeId;

    fn contact(n: u32) -> Contact {
        let mut id = [0; 20];
        id[..4].copy_from_slice(&n.to_be_bytes());
        Contact { id: NodeId(id), addr: ([9, 9, 9, 9], 1).into() }
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_visit_is_due_at_the_next_whole_minute_and_never_earlier() {
        let mut calendar = Calendar::new(2);
        assert!(calendar.note(at(61), contact(1)) && calendar.note(at(60), contact(2)));
        assert!(!calendar.note(at(1), contact(3)), "room for two");
        assert_eq!(calendar.next_due(), Some(at(60)));
        assert_eq!(calendar.pop_due(at(59)), None);
        assert_eq!(calendar.pop_due(at(119)), Some(contact(2)));
        assert_eq!(calendar.pop_due(at(119)), None);
        assert_eq!(calendar.pop_due(at(120)), Some(contact(1)));
        assert_eq!(calendar.next_due(), None);
    }

    proptest! {
        #[test]
        fn it_behaves_like_lists_by_minute(
            steps in prop::collection::vec((any::<bool>(), 0..2_000_u64), 1..200),
        ) {
            let mut calendar = Calendar::new(50);
            let mut model: BTreeMap<u64, Vec<Contact>> = BTreeMap::new();
            for (n, (notes, seconds)) in steps.into_iter().enumerate() {
                if notes {
                    let room = model.values().map(Vec::len).sum::<usize>() < 50;
                    prop_assert_eq!(calendar.note(at(seconds), contact(n as u32)), room);
                    if room {
                        model.entry(seconds.div_ceil(60)).or_default().push(contact(n as u32));
                    }
                } else {
                    let first = model.first_entry().filter(|page| *page.key() * 60 <= seconds);
                    let expected = first.map(|mut page| {
                        let contact = page.get_mut().remove(0);
                        if page.get().is_empty() {
                            page.remove();
                        }
                        contact
                    });
                    prop_assert_eq!(calendar.pop_due(at(seconds)), expected);
                }
                calendar.check();
                prop_assert_eq!(calendar.next_due(), model.keys().next().map(|m| at(m * 60)));
            }
        }
    }
}
