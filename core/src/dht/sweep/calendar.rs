//! When to visit nodes again: by the minute in which their interval ends (BEP 51).
//!
//! The contacts of one minute form a chain in one shared store. A new entry reuses the slot of a
//! finished visit, so a warm calendar allocates nothing.

use std::collections::VecDeque;

use crate::base::addr::Contact;
use crate::base::time::Instant;
use crate::limits::INTERVAL_MAX;

const MINUTE_MICROS: u64 = 60_000_000;

/// Ends a chain.
const NONE: u32 = u32::MAX;

/// A node that was told to rest, to be visited again: what a journal and a saved state say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the journal must be told"]
pub(crate) struct Rested {
    /// The node.
    pub(crate) contact: Contact,
    /// Whether its id rests as well as its address.
    pub(crate) by_id: bool,
    /// When its rest ends, to the second: what a saved state says. The visit itself comes a little
    /// later, so that restarts, each of which rounds anew, do not add up.
    pub(crate) until: Instant,
}

/// A visit to come, and the next one in the chain of its minute or of the free places.
#[derive(Clone, Copy, Debug)]
struct Link {
    contact: Contact,
    next: u32,
    /// [`Rested::until`] in seconds, rounded up, above one bit for [`Rested::by_id`].
    rest: u32,
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
    /// By minute; room for all from the start.
    pages: VecDeque<Page>,
    links: Vec<Link>,
    free: u32,
    len: usize,
    limit: usize,
}

impl Calendar {
    /// An empty calendar of at most `limit` visits.
    pub(crate) fn new(limit: usize) -> Self {
        debug_assert!(limit < NONE as usize);
        // Intervals are at most six hours.
        let minutes = INTERVAL_MAX.as_micros() as u64 / MINUTE_MICROS + 2;
        let pages = VecDeque::with_capacity(minutes as usize);
        Self { pages, links: Vec::new(), free: NONE, len: 0, limit }
    }

    /// Notes a visit at `until`, rounded up to whole minutes; `false` when there is no room.
    pub(crate) fn note(&mut self, until: Instant, visit: Rested) -> bool {
        if self.len >= self.limit {
            return false;
        }
        let place = self.store(visit);
        let minute = until.as_micros().div_ceil(MINUTE_MICROS);
        match self.pages.binary_search_by_key(&minute, |page| page.minute) {
            Ok(index) => {
                let page = &mut self.pages[index];
                self.links[page.last as usize].next = place;
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
        let Link { contact, next, .. } = self.links[place as usize];
        if next == NONE {
            self.pages.pop_front();
        } else {
            page.first = next;
        }
        self.links[place as usize].next = self.free;
        self.free = place;
        self.len -= 1;
        Some(contact)
    }

    /// When the first visit is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let minute = self.pages.front()?.minute;
        Some(Instant::from_micros(minute.saturating_mul(MINUTE_MICROS)))
    }

    /// Every visit to come, the earliest minute first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Rested> {
        self.until(u64::MAX)
    }

    /// Those that are due at `now`.
    pub(crate) fn due(&self, now: Instant) -> impl Iterator<Item = Rested> {
        self.until(now.as_micros() / MINUTE_MICROS)
    }

    fn until(&self, minute: u64) -> impl Iterator<Item = Rested> {
        let link = |place: u32| self.links.get(place as usize);
        self.pages.iter().take_while(move |page| page.minute <= minute).flat_map(move |page| {
            let next = move |last: &&Link| link(last.next);
            std::iter::successors(link(page.first), next).map(|link| Rested {
                contact: link.contact,
                by_id: link.rest & 1 == 1,
                until: Instant::from_micros(u64::from(link.rest >> 1) * 1_000_000),
            })
        })
    }

    /// Asserts the invariants: chains whole, minutes in order, nothing lost.
    pub(crate) fn check(&self) {
        assert!(self.len <= self.limit);
        assert!(self.pages.iter().is_sorted_by(|a, b| a.minute < b.minute));
        let follow = |place: &u32| self.links.get(*place as usize).map(|link| link.next);
        let chain = |first: u32| {
            std::iter::successors(Some(first), follow).take_while(|place| *place != NONE)
        };
        let noted: usize = self.pages.iter().map(|page| chain(page.first).count()).sum();
        assert_eq!(noted, self.len);
        assert_eq!(noted + chain(self.free).count(), self.links.len());
        let ends = |page: &Page| chain(page.first).last() == Some(page.last);
        assert!(self.pages.iter().all(ends));
    }

    fn store(&mut self, visit: Rested) -> u32 {
        let seconds = visit.until.as_micros().div_ceil(1_000_000).min(u64::from(u32::MAX >> 1));
        let rest = (seconds as u32) << 1 | u32::from(visit.by_id);
        let link = Link { contact: visit.contact, next: NONE, rest };
        match self.links.get_mut(self.free as usize) {
            Some(free) => {
                let place = self.free;
                self.free = free.next;
                *free = link;
                place
            }
            None => {
                self.links.push(link);
                (self.links.len() - 1) as u32
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::base::id::NodeId;

    fn contact(n: u32) -> Contact {
        let mut id = [0; 20];
        id[..4].copy_from_slice(&n.to_be_bytes());
        Contact { id: NodeId(id), addr: ([9, 9, 9, 9], 1).into() }
    }

    fn visit(n: u32, until: Instant) -> Rested {
        Rested { contact: contact(n), by_id: n.is_multiple_of(2), until }
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_visit_is_due_at_the_next_whole_minute_and_never_earlier() {
        let mut calendar = Calendar::new(2);
        let mut note = |s, n| calendar.note(at(s), visit(n, at(s)));
        assert!(note(61, 1) && note(60, 2));
        assert!(!note(1, 3), "room for two");
        let kept: Vec<_> = calendar.iter().collect();
        assert_eq!(kept, [visit(2, at(60)), visit(1, at(61))]);
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
                    let visit = visit(n as u32, at(seconds));
                    prop_assert_eq!(calendar.note(at(seconds), visit), room);
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
                let kept = calendar.iter().map(|visit| visit.contact);
                prop_assert!(kept.eq(model.values().flatten().copied()));
                prop_assert_eq!(calendar.next_due(), model.keys().next().map(|m| at(m * 60)));
            }
        }
    }
}
