//! Things that happen later, in order of time and, at one time, in the order they were planned.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use estudely_core::Instant;
use slab::Slab;

/// A heap of small keys beside a slab of the things themselves: sifting moves no payloads.
#[derive(Debug)]
pub(super) struct Agenda<T> {
    heap: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    things: Slab<T>,
    planned: u64,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), things: Slab::new(), planned: 0 }
    }
}

impl<T> Agenda<T> {
    pub(super) fn push(&mut self, at: Instant, thing: T) {
        let slot = self.things.insert(thing);
        self.heap.push(Reverse((at, self.planned, slot)));
        self.planned += 1;
    }

    /// The next thing, if it is due at `now`, and when it was.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(Instant, T)> {
        let Reverse((at, _, slot)) = *self.heap.peek().filter(|next| next.0.0 <= now)?;
        self.heap.pop();
        Some((at, self.things.remove(slot)))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.heap.peek().map(|next| next.0.0)
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }
}
