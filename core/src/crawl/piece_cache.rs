//! Pieces that peers gave before they failed, kept for the next peer of the same infohash, within
//! one budget for all.

use std::collections::BTreeMap;

use crate::base::store::Key;
use crate::limits::PARTIAL_BYTES_MAX;
use crate::peer::pieces::Pieces;

/// Unfinished metadata by job.
#[derive(Debug, Default)]
pub(crate) struct PieceCache {
    by_job: BTreeMap<Key, Pieces>,
    bytes: usize,
}

impl PieceCache {
    /// Keeps pieces for a job in place of fewer kept before, if the budget allows.
    pub(crate) fn put(&mut self, job: Key, pieces: Pieces) {
        if self.by_job.get(&job).is_some_and(|kept| kept.bytes_held() > pieces.bytes_held()) {
            return;
        }
        self.take(job);
        if self.bytes + pieces.bytes_held() <= PARTIAL_BYTES_MAX {
            self.bytes += pieces.bytes_held();
            self.by_job.insert(job, pieces);
        }
    }

    /// Takes out what is kept for a job.
    pub(crate) fn take(&mut self, job: Key) -> Option<Pieces> {
        let pieces = self.by_job.remove(&job)?;
        self.bytes -= pieces.bytes_held();
        Some(pieces)
    }

    pub(crate) fn check(&self) {
        assert!(self.bytes <= PARTIAL_BYTES_MAX);
        assert_eq!(self.by_job.values().map(Pieces::bytes_held).sum::<usize>(), self.bytes);
    }
}
