//! When each stream is due next, the earliest first: a heap in which a deadline can be moved, so
//! that there is one entry for each stream and nothing to be searched.

use crate::base::store::Key;
use crate::base::time::Instant;

/// No place in the heap.
const NOWHERE: u32 = u32::MAX;

/// At most one deadline for each entry of a slab. Equal deadlines are due in the order of keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Agenda {
    /// A binary heap: neither child of the entry at `i`, at `2 i + 1` and `2 i + 2`, is earlier.
    heap: Vec<(Instant, Key)>,
    /// Where in it the key of a slot is.
    places: Vec<u32>,
}

impl Agenda {
    /// Sets, moves or removes the deadline of `key`.
    pub(super) fn set(&mut self, key: Key, due: Option<Instant>) {
        if self.places.len() <= key.slot() {
            self.places.resize(key.slot() + 1, NOWHERE);
        }
        let place = self.places[key.slot()];
        match (place, due) {
            (NOWHERE, None) => {}
            (NOWHERE, Some(due)) => {
                self.heap.push((due, key));
                self.rise(self.heap.len() - 1);
            }
            (place, None) => self.remove(place as usize),
            (place, Some(due)) => {
                self.heap[place as usize] = (due, key);
                self.rise(place as usize);
                self.sink(place as usize);
            }
        }
    }

    /// The earliest deadline.
    pub(super) fn first(&self) -> Option<Instant> {
        self.heap.first().map(|(due, _)| *due)
    }

    /// Takes the earliest one out if it is not after `now`.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Key> {
        let (_, key) = self.heap.first().copied().filter(|(due, _)| *due <= now)?;
        self.remove(0);
        Some(key)
    }

    fn remove(&mut self, place: usize) {
        let (_, key) = self.heap.swap_remove(place);
        self.places[key.slot()] = NOWHERE;
        if place < self.heap.len() {
            self.rise(place);
            self.sink(place);
        }
    }

    /// Moves an entry up while it is earlier than its parent, and notes where it ends.
    fn rise(&mut self, mut place: usize) {
        while place > 0 && self.heap[place] < self.heap[(place - 1) / 2] {
            self.heap.swap(place, (place - 1) / 2);
            self.note(place);
            place = (place - 1) / 2;
        }
        self.note(place);
    }

    /// Moves an entry down while a child is earlier, and notes where it ends.
    fn sink(&mut self, mut place: usize) {
        loop {
            let children = (2 * place + 1)..(2 * place + 3).min(self.heap.len());
            let least = children.min_by_key(|child| self.heap[*child]);
            let Some(child) = least.filter(|child| self.heap[*child] < self.heap[place]) else {
                break;
            };
            self.heap.swap(place, child);
            self.note(place);
            place = child;
        }
        self.note(place);
    }

    fn note(&mut self, place: usize) {
        self.places[self.heap[place].1.slot()] = place as u32;
    }

    /// Panics if the order is broken; for tests and simulations.
    pub(super) fn check(&self) {
        for (place, (due, key)) in self.heap.iter().enumerate() {
            assert_eq!(self.places[key.slot()] as usize, place);
            assert!(place == 0 || self.heap[(place - 1) / 2] <= (*due, *key));
        }
        let held = self.places.iter().filter(|place| **place != NOWHERE).count();
        assert_eq!(held, self.heap.len());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::base::store::Slab;

    proptest! {
        #[test]
        fn an_agenda_is_a_sorted_map_from_keys_to_deadlines(
            steps in vec((0..20_usize, prop::option::of(0..50_u64), any::<bool>()), 0..300),
        ) {
            let mut slab = Slab::new(20);
            let keys: Vec<Key> = (0..20).filter_map(|n| slab.insert(n).ok()).collect();
            let (mut agenda, mut model) = (Agenda::default(), BTreeMap::new());
            for (which, due, pops) in steps {
                let key = keys[which];
                if pops {
                    let now = Instant::from_micros(due.unwrap_or(0));
                    let first = model.iter().map(|(key, due)| (*due, *key)).min();
                    let expected = first.filter(|(due, _)| *due <= now).map(|(_, key)| key);
                    prop_assert_eq!(agenda.pop_due(now), expected);
                    expected.map(|key| model.remove(&key));
                } else {
                    let due = due.map(Instant::from_micros);
                    agenda.set(key, due);
                    model.remove(&key);
                    model.extend(due.map(|due| (key, due)));
                }
                agenda.check();
                prop_assert_eq!(agenda.first(), model.values().min().copied());
            }
        }
    }
}
