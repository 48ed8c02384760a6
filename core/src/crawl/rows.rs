//! Rows that wait for a sink. A sink that is full is not polled; its rows must never exceed the number
//! and the bytes that are said here.

use std::collections::VecDeque;

use crate::base::time::Instant;
use crate::crawl::row::Row;
use crate::lead::Origin;
use crate::limits::{JOBS_MAX, ROW_BYTES_ENOUGH, ROW_BYTES_MAX, ROWS_MAX};
use crate::peer::exchange::Fetched;

/// What a settled infohash leaves behind in a saved state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// Nothing: an output has it, or it is forgotten.
    Nothing,
    /// Another chance, at this time and of this round.
    Retry(Instant, u8),
    /// That it must never be tried again.
    Over,
}

/// A row that nobody has taken yet.
#[derive(Clone, Debug)]
pub(crate) struct Untaken {
    pub(crate) row: Row,
    /// How its infohash was heard of: a saved state says so as long as the row waits.
    pub(crate) origin: Origin,
    pub(crate) leaves: Leaves,
}

/// The rows, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    waiting: VecDeque<Untaken>,
    /// [`crate::crawl::row::Row::bytes_held`] of all of them.
    bytes: usize,
}

impl Rows {
    /// Whether new work may begin.
    pub(crate) fn have_room(&self) -> bool {
        self.waiting.len() < ROWS_MAX && self.bytes < ROW_BYTES_ENOUGH
    }

    /// Whether the row of this metadata may wait here.
    pub(crate) fn have_room_for(&self, fetched: &Fetched) -> bool {
        self.bytes + fetched.bytes_held() <= ROW_BYTES_MAX
    }

    pub(crate) fn push(&mut self, untaken: Untaken) {
        self.bytes += untaken.row.bytes_held();
        self.waiting.push_back(untaken);
    }

    pub(crate) fn pop(&mut self) -> Option<Untaken> {
        let untaken = self.waiting.pop_front()?;
        self.bytes -= untaken.row.bytes_held();
        Some(untaken)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Untaken> {
        self.waiting.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn check(&self) {
        let held: usize = self.waiting.iter().map(|untaken| untaken.row.bytes_held()).sum();
        assert_eq!(held, self.bytes, "every row is counted");
        assert!(self.bytes <= ROW_BYTES_MAX, "{} bytes of rows", self.bytes);
        // Work begun before there were too many still ends in rows.
        assert!(self.waiting.len() <= ROWS_MAX + JOBS_MAX, "{} rows", self.waiting.len());
    }
}
