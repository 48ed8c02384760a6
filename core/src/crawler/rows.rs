//! Rows that nobody has taken yet, bounded in number and in bytes: a sink that is full is not
//! polled, and must not cost more memory for it than is said here.

use std::collections::VecDeque;

use super::persist::Untaken;
use crate::exchange::Metadata;
use crate::limits::{JOBS_MAX, ROW_BYTES_ENOUGH, ROW_BYTES_MAX, ROWS_MAX};

/// The rows, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Rows {
    waiting: VecDeque<Untaken>,
    /// [`crate::row::Row::bytes_held`] of all of them.
    bytes: usize,
}

impl Rows {
    /// Whether new work may begin.
    pub(super) fn have_room(&self) -> bool {
        self.waiting.len() < ROWS_MAX && self.bytes < ROW_BYTES_ENOUGH
    }

    /// Whether the row of this metadata may wait here, however long a name it holds.
    pub(super) fn have_room_for(&self, metadata: &Metadata) -> bool {
        self.bytes + 2 * metadata.raw().len() <= ROW_BYTES_MAX
    }

    pub(super) fn push(&mut self, untaken: Untaken) {
        self.bytes += untaken.row.bytes_held();
        self.waiting.push_back(untaken);
    }

    pub(super) fn pop(&mut self) -> Option<Untaken> {
        let untaken = self.waiting.pop_front()?;
        self.bytes -= untaken.row.bytes_held();
        Some(untaken)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Untaken> {
        self.waiting.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn check(&self) {
        let held: usize = self.waiting.iter().map(|untaken| untaken.row.bytes_held()).sum();
        assert_eq!(held, self.bytes, "every row is counted");
        assert!(self.bytes <= ROW_BYTES_MAX, "{} bytes of rows", self.bytes);
        // Work begun before there were too many still ends in rows.
        assert!(self.waiting.len() <= ROWS_MAX + JOBS_MAX, "{} rows", self.waiting.len());
    }
}
