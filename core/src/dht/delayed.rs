//! Queries that must wait because their address has had its share for the moment.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::query::Query;
use crate::base::time::Instant;
use crate::limits::DELAYED_MAX;

#[derive(Debug)]
struct Item {
    at: Instant,
    sequence: u64,
    query: Query,
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Item {}

impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Item {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// Queries by the time they may be sent; equals in the order they came.
#[derive(Debug, Default)]
pub(crate) struct Delayed {
    heap: BinaryHeap<Reverse<Item>>,
    sequence: u64,
}

impl Delayed {
    /// Sets a query aside until `at`. The caller asked [`Delayed::full_until`].
    pub(crate) fn push(&mut self, at: Instant, query: Query) {
        debug_assert!(self.heap.len() < DELAYED_MAX, "the caller asked");
        self.sequence += 1;
        self.heap.push(Reverse(Item { at, sequence: self.sequence, query }));
    }

    /// Until when nothing more may be set aside; `None` if something may, or one is due at `now`
    /// and makes room.
    pub(crate) fn full_until(&self, now: Instant) -> Option<Instant> {
        let first = self.poll_timeout()?;
        (self.heap.len() >= DELAYED_MAX && first > now).then_some(first)
    }

    /// The next query whose time has come.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Query> {
        self.heap.peek().filter(|Reverse(item)| item.at <= now)?;
        self.heap.pop().map(|Reverse(item)| item.query)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(item)| item.at)
    }

    pub(crate) fn check(&self) {
        assert!(self.heap.len() <= DELAYED_MAX);
    }
}
