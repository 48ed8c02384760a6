//! Places of the keyspace, each with or without an answer that told of it.
//!
//! Answers name only nodes near their target. A neighbourhood of which no contact is known never
//! becomes a target, so it stays unknown. This map of the targets of answers finds such gaps.

use crate::base::id::Id;

/// Bits of a cell's number: finer than the neighbourhoods of the largest network expected (2^20
/// buckets of eight nodes, 4.5).
const CELL_BITS: u32 = 20;
const CELLS: usize = 1 << CELL_BITS;

/// One bit for each cell of the keyspace: 128 KiB, taken at the first mark.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage {
    words: Vec<u64>,
    /// Cells below this one have been looked at since the last reset, this finely.
    scanned: usize,
    depth: u32,
}

impl Coverage {
    /// Notes an answer about `target` that named a contact.
    pub(crate) fn mark(&mut self, target: Id) {
        self.words.resize(CELLS / 64, 0);
        let cell = cell_of(target);
        self.words[cell / 64] |= 1 << (cell % 64);
    }

    /// The next neighbourhood, of those that share as many leading bits as the look is fine,
    /// without a mark: its lowest point and how many bits it shares. Each is given at most
    /// once until [`Coverage::reset`], or until [`Coverage::look_closer`].
    pub(crate) fn next_gap(&mut self) -> Option<(Id, u32)> {
        let size = 1 << (CELL_BITS - self.depth);
        self.scanned = self.scanned.next_multiple_of(size);
        while self.scanned < CELLS {
            let cells = self.scanned..self.scanned + size;
            self.scanned = cells.end;
            if !self.is_marked(cells.clone()) {
                return Some((point_of(cells.start), self.depth));
            }
        }
        None
    }

    /// Begins a look that is finer by one bit, if it may be as fine as `depth`.
    pub(crate) fn look_closer(&mut self, depth: u32) -> bool {
        let closer = self.depth < depth.min(CELL_BITS);
        if closer {
            (self.depth, self.scanned) = (self.depth + 1, 0);
        }
        closer
    }

    /// Whether there is nothing left to look at this finely.
    pub(crate) fn is_scanned(&self, depth: u32) -> bool {
        depth.min(CELL_BITS) <= self.depth && self.scanned == CELLS
    }

    /// Forgets every mark.
    pub(crate) fn reset(&mut self) {
        self.words.fill(0);
        (self.scanned, self.depth) = (0, 0);
    }

    fn is_marked(&self, cells: std::ops::Range<usize>) -> bool {
        let words = &self.words;
        if cells.len() >= 64 {
            let range = cells.start / 64..cells.end / 64;
            return words.get(range).is_some_and(|words| words.iter().any(|word| *word != 0));
        }
        let bits = ((1u64 << cells.len()) - 1) << (cells.start % 64);
        words.get(cells.start / 64).is_some_and(|word| word & bits != 0)
    }
}

fn cell_of(target: Id) -> usize {
    let front = u32::from_be_bytes([target.0[0], target.0[1], target.0[2], target.0[3]]);
    (front >> (32 - CELL_BITS)) as usize
}

fn point_of(cell: usize) -> Id {
    let mut id = Id::ZERO;
    id.0[..4].copy_from_slice(&((cell as u32) << (32 - CELL_BITS)).to_be_bytes());
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_the_neighbourhoods_without_a_mark_each_given_once() {
        for depth in [0, 1, 5, 14, 20] {
            let mut coverage = Coverage::default();
            let all = 1usize << depth;
            let places = |index: usize| point_of(index << (CELL_BITS - depth));
            for index in (0..all).step_by(3) {
                coverage.mark(places(index).with_suffix(depth, Id::MAX));
            }
            while coverage.look_closer(depth) {}
            let gaps: Vec<Id> =
                std::iter::from_fn(|| coverage.next_gap()).map(|gap| gap.0).collect();
            let expected: Vec<Id> = (0..all).filter(|n| n % 3 != 0).map(places).collect();
            assert_eq!(gaps, expected, "{depth} bits");
            assert_eq!(coverage.next_gap(), None);
            assert!(!coverage.look_closer(depth));
            assert!(coverage.is_scanned(depth) && !coverage.is_scanned(depth + 1) || depth == 20);
            coverage.reset();
            assert_eq!(coverage.next_gap(), Some((Id::ZERO, 0)));
        }
    }

    #[test]
    fn before_any_mark_everything_is_a_gap() {
        assert_eq!(Coverage::default().next_gap(), Some((Id::ZERO, 0)));
    }
}
