//! Pieces that peers gave before they failed, kept for the next peer of the same infohash, within
//! one budget for all.

use std::collections::BTreeMap;

use crate::base::store::Key;
use crate::limits::PARTIAL_BYTES_MAX;
use crate::peer::pieces::Pieces;

/// Unfinished metadata by job.
#[derive(Debug, Default)]
pub(super) struct PieceCache {
    by_job: BTreeMap<Key, Pieces>,
    bytes: usize,
}

impl PieceCache {
    /// Keeps pieces for a job in place of fewer kept before, if the budget allows; else those before.
    pub(super) fn put(&mut self, job: Key, pieces: Pieces) {
        let (before, held) =
            (self.by_job.get(&job).map_or(0, Pieces::bytes_held), pieces.bytes_held());
        let bytes = self.bytes - before + held;
        if before <= held && bytes <= PARTIAL_BYTES_MAX {
            self.bytes = bytes;
            self.by_job.insert(job, pieces);
        }
    }

    /// Takes out what is kept for a job.
    pub(super) fn take(&mut self, job: Key) -> Option<Pieces> {
        let pieces = self.by_job.remove(&job)?;
        self.bytes -= pieces.bytes_held();
        Some(pieces)
    }

    /// `lives` answers whether a job is under way.
    pub(super) fn check(&self, lives: impl Fn(Key) -> bool) {
        assert!(self.bytes <= PARTIAL_BYTES_MAX);
        assert!(self.by_job.keys().all(|key| lives(*key)), "pieces are kept for living jobs");
        assert_eq!(self.by_job.values().map(Pieces::bytes_held).sum::<usize>(), self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::store::Slab;
    use crate::limits::PIECE_LEN;

    #[test]
    fn unfinished_metadata_is_kept_within_one_budget_and_the_fuller_one_wins() {
        let size = PARTIAL_BYTES_MAX / 8;
        let unfinished = |held: usize| {
            let mut pieces = Pieces::new(size.min(10 << 20) as i64).expect("a legal size");
            for piece in 0..held {
                let len = pieces.piece_len(piece as u16);
                assert!(pieces.begin(piece as u16) && pieces.fill(&vec![0; len]));
            }
            pieces
        };
        let mut slab = Slab::new(100);
        let mut piece_cache = PieceCache::default();
        let first = slab.insert(()).expect("room");
        piece_cache.put(first, unfinished(2));
        piece_cache.put(first, unfinished(1));
        assert_eq!(piece_cache.take(first).map(|kept| kept.pieces_held()), Some(2));
        assert!(piece_cache.take(first).is_none());
        let fits = PARTIAL_BYTES_MAX / (500 * PIECE_LEN);
        for n in 0..fits + 3 {
            let key = slab.insert(()).expect("room");
            piece_cache.put(key, unfinished(500));
            piece_cache.check(|_| true);
            assert_eq!(piece_cache.take(key).is_some(), n < fits, "{n}");
            piece_cache.put(key, unfinished(500));
        }
    }

    #[test]
    fn pieces_beyond_the_budget_leave_those_that_were_kept_before() {
        let mut cache = PieceCache::default();
        let mut keys = Slab::new(100);
        let pieces = |held: u16| {
            let mut pieces = Pieces::new(10 << 20).expect("a legal size");
            for piece in 0..held {
                let len = pieces.piece_len(piece);
                assert!(pieces.begin(piece) && pieces.fill(&vec![0; len]));
            }
            pieces
        };
        // 64 MiB are 4 096 pieces of 16 KiB: so many are left for the last job.
        let others: [u16; 7] = [640, 640, 640, 640, 640, 640, 250];
        for held in others {
            cache.put(keys.insert(()).expect("room"), pieces(held));
        }
        let job = keys.insert(()).expect("room");
        for (held, kept) in [(2, 2), (7, 2), (3, 3), (6, 6), (7, 6)] {
            cache.put(job, pieces(held));
            cache.check(|_| true);
            let by_job = cache.by_job.get(&job).map(Pieces::pieces_held);
            assert_eq!(by_job, Some(kept), "{held}");
        }
    }

    #[test]
    fn h24_unfinished_metadata_is_kept_up_to_64_mib_and_not_a_byte_more() {
        const MIB: usize = 1 << 20;
        for (last, kept) in [(4 * MIB, true), (4 * MIB + 1, false)] {
            let mut keys = Slab::new(100);
            let mut cache = PieceCache::default();
            for size in [10 * MIB; 6].into_iter().chain([last]) {
                let mut pieces = Pieces::new(size as i64).expect("a legal size");
                for piece in 0..pieces.pieces_total() {
                    let len = pieces.piece_len(piece);
                    assert!(pieces.begin(piece) && pieces.fill(&vec![0; len]));
                }
                let key = keys.insert(()).expect("room");
                cache.put(key, pieces);
                if size == last {
                    assert_eq!(cache.take(key).is_some(), kept, "{size}");
                }
            }
        }
    }
}
