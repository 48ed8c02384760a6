//! Pieces that peers gave before they failed, kept for the next peer of the same infohash, within
//! one budget for all: what those have brought whose infohashes cost most goes first.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::base::store::Key;
use crate::peer::pieces::Pieces;

/// Unfinished metadata by job.
#[derive(Debug)]
pub(super) struct PieceCache {
    /// Most bytes, but for one larger dictionary.
    most: usize,
    by_job: BTreeMap<Key, Pieces>,
    bytes: usize,
}

impl PieceCache {
    /// Nothing is kept; `most` bytes may be, but for one larger dictionary.
    pub(super) fn new(most: usize) -> Self {
        Self { most, by_job: BTreeMap::new(), bytes: 0 }
    }

    /// Keeps pieces for a job in place of fewer kept before; else those before. If the budget is
    /// spent, those of jobs with a greater `debt` make room, the greatest first. `false` if they are
    /// not kept.
    pub(super) fn put(&mut self, job: Key, pieces: Pieces, debt: impl Fn(Key) -> i64) -> bool {
        let before = self.by_job.get(&job).map_or(0, Pieces::bytes_held);
        if before > pieces.bytes_held() || !self.make_room(job, &pieces, debt) {
            return false;
        }
        self.take(job);
        self.bytes += pieces.bytes_held();
        self.by_job.insert(job, pieces);
        true
    }

    /// Drops as many pieces of jobs with a greater debt than `job` has as `pieces` of it need;
    /// `false`, and drops none, if all of those are not enough.
    fn make_room(&mut self, job: Key, pieces: &Pieces, debt: impl Fn(Key) -> i64) -> bool {
        let own = self.by_job.get(&job).map_or(0, Pieces::bytes_held);
        let mut held = self.bytes - own;
        let fits = |held: usize| held == 0 || held + pieces.bytes_held() <= self.most;
        if fits(held) {
            return true;
        }
        let others = self.by_job.iter().map(|(key, other)| (debt(*key), *key, other.bytes_held()));
        let mut others: Vec<_> = others.filter(|(owed, ..)| *owed > debt(job)).collect();
        others.sort_unstable_by_key(|(owed, key, _)| (Reverse(*owed), *key));
        let mut leave = Vec::new();
        for (_, key, bytes) in others {
            if fits(held) {
                break;
            }
            held -= bytes;
            leave.push(key);
        }
        let is_room = fits(held);
        if is_room {
            leave.into_iter().for_each(|key| drop(self.take(key)));
        }
        is_room
    }

    /// Takes out what is kept for a job.
    pub(super) fn take(&mut self, job: Key) -> Option<Pieces> {
        let pieces = self.by_job.remove(&job)?;
        self.bytes -= pieces.bytes_held();
        Some(pieces)
    }

    pub(super) fn bytes_held(&self) -> usize {
        self.bytes
    }

    /// `lives` answers whether a job is under way.
    pub(super) fn check(&self, lives: impl Fn(Key) -> bool) {
        let alone = self.by_job.len() == 1;
        assert!(self.bytes <= self.most || alone, "{} bytes of pieces", self.bytes);
        assert!(self.by_job.keys().all(|key| lives(*key)), "pieces are kept for living jobs");
        assert_eq!(self.by_job.values().map(Pieces::bytes_held).sum::<usize>(), self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::store::Slab;
    use crate::limits::PIECE_LEN;

    const MIB: usize = 1 << 20;

    /// The first `held` pieces of metadata of so many bytes.
    fn unfinished(size: usize, held: usize) -> Pieces {
        let mut pieces = Pieces::new(size as i64).expect("a legal size");
        for piece in 0..held as u16 {
            let len = pieces.piece_len(piece);
            assert!(pieces.begin(piece) && pieces.fill(&vec![0; len]));
        }
        pieces
    }

    #[test]
    fn of_two_the_fuller_one_is_kept() {
        let mut cache = PieceCache::new(MIB);
        let first = Slab::new(1).insert(()).expect("room");
        cache.put(first, unfinished(MIB, 2), |_| 0);
        cache.put(first, unfinished(MIB, 1), |_| 0);
        assert_eq!(cache.take(first).map(|kept| kept.pieces_held()), Some(2));
        assert!(cache.take(first).is_none());
    }

    #[test]
    fn pieces_beyond_the_budget_leave_those_that_were_kept_before() {
        let mut cache = PieceCache::new(4 * MIB);
        let mut keys = Slab::new(100);
        // 4 MiB are 256 pieces of 16 KiB: so many are left for the last job.
        for held in [120, 130] {
            cache.put(keys.insert(()).expect("room"), unfinished(10 * MIB, held), |_| 0);
        }
        let job = keys.insert(()).expect("room");
        for (held, kept) in [(2, 2), (7, 2), (3, 3), (6, 6), (7, 6)] {
            cache.put(job, unfinished(10 * MIB, held), |_| 0);
            cache.check(|_| true);
            let by_job = cache.by_job.get(&job).map(Pieces::pieces_held);
            assert_eq!(by_job, Some(kept), "{held}");
        }
    }

    #[test]
    fn h24_unfinished_metadata_is_kept_within_the_budget_and_not_a_byte_more() {
        for (last, kept) in [(4 * MIB, true), (4 * MIB + 1, false)] {
            let mut keys = Slab::new(100);
            let mut cache = PieceCache::new(64 * MIB);
            for size in [10 * MIB; 6].into_iter().chain([last]) {
                let key = keys.insert(()).expect("room");
                cache.put(key, unfinished(size, size.div_ceil(PIECE_LEN)), |_| 0);
                cache.check(|_| true);
                if size == last {
                    assert_eq!(cache.take(key).is_some(), kept, "{size}");
                }
            }
        }
    }

    #[test]
    fn h24_one_dictionary_larger_than_the_budget_is_kept_alone() {
        let mut keys = Slab::new(2);
        let [large, small] = [(); 2].map(|()| keys.insert(()).expect("room"));
        let mut cache = PieceCache::new(MIB);
        cache.put(large, unfinished(2 * MIB, 128), |_| 0);
        cache.put(small, unfinished(MIB, 1), |_| 0);
        cache.check(|_| true);
        assert!(cache.take(small).is_none() && cache.take(large).is_some());
    }

    #[test]
    fn what_cost_most_makes_room_and_what_cost_least_never_does() {
        let mut keys = Slab::new(3);
        let [dear, fair, cheap] = [(); 3].map(|()| keys.insert(()).expect("room"));
        let debt = |key: Key| [(dear, 9), (fair, 5), (cheap, 1)].into_iter().find(|d| d.0 == key);
        let debt = |key: Key| debt(key).map_or(0, |debt| debt.1);
        let mut cache = PieceCache::new(4 * PIECE_LEN);
        cache.put(dear, unfinished(MIB, 2), debt);
        cache.put(fair, unfinished(MIB, 2), debt);
        cache.put(cheap, unfinished(MIB, 1), debt);
        cache.check(|_| true);
        assert!(cache.take(dear).is_none(), "it made room");
        cache.put(dear, unfinished(MIB, 2), debt);
        assert!(cache.take(dear).is_none(), "nobody makes room for it");
        assert!(cache.take(fair).is_some() && cache.take(cheap).is_some());
    }
}
