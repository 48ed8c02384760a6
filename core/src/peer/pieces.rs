//! Assembly of metadata from its pieces (BEP 9).
//!
//! Memory grows only with bytes received, never with a size that a peer names (H23). Each piece has
//! a block of exactly its length, so that what is counted against the budgets (H24) is what is
//! taken: one growing buffer would hold up to twice as much, and keep it when pieces are forgotten.

use std::borrow::Cow;
use std::fmt;

use crate::base::planted::{self, Bug};
use crate::limits::{METADATA_MAX, METADATA_MIN, PIECE_LEN, PIECES_MAX};

/// A set of piece indices below [`PIECES_MAX`]. It takes a bit for each piece up to the last one
/// that was ever added, and no block of its own for the metadata of most torrents.
#[derive(Clone, Default)]
pub struct PieceSet {
    /// The first 64, and words of as many for those after them.
    first: u64,
    more: Vec<u64>,
    len: u16,
}

impl PieceSet {
    /// Adds `piece`; whether it was absent. Indices that no metadata has are never added.
    pub fn insert(&mut self, piece: u16) -> bool {
        if usize::from(piece) >= PIECES_MAX || self.contains(piece) {
            return false;
        }
        let needed = usize::from(piece / 64);
        if needed > self.more.len() {
            self.more.resize(needed, 0);
        }
        if let Some(word) = self.word_mut(piece) {
            *word |= 1 << (piece % 64);
            self.len += 1;
        }
        true
    }

    /// Takes `piece` out; whether it was in.
    pub fn remove(&mut self, piece: u16) -> bool {
        let bit = 1 << (piece % 64);
        let word = self.word_mut(piece).filter(|word| **word & bit != 0);
        let Some(word) = word else { return false };
        *word &= !bit;
        self.len -= 1;
        true
    }

    /// Whether `piece` is in.
    pub fn contains(&self, piece: u16) -> bool {
        self.word(usize::from(piece / 64)) & (1 << (piece % 64)) != 0
    }

    /// How many are in.
    pub fn len(&self) -> u16 {
        self.len
    }

    /// Whether no piece is in.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes all out of `other` and adds it.
    pub fn append(&mut self, other: &mut Self) {
        let other = std::mem::take(other);
        (0..PIECES_MAX as u16).filter(|piece| other.contains(*piece)).for_each(|piece| {
            self.insert(piece);
        });
    }

    /// The word at this place; 0 where none is kept.
    fn word(&self, at: usize) -> u64 {
        let more = at.checked_sub(1).map(|at| self.more.get(at).copied().unwrap_or(0));
        more.unwrap_or(self.first)
    }

    /// The word that `piece` stands in, if it is kept.
    fn word_mut(&mut self, piece: u16) -> Option<&mut u64> {
        match usize::from(piece / 64).checked_sub(1) {
            None => Some(&mut self.first),
            Some(at) => self.more.get_mut(at),
        }
    }
}

/// Whatever the sets held before.
impl PartialEq for PieceSet {
    fn eq(&self, other: &Self) -> bool {
        let last = self.more.len().max(other.more.len());
        (0..=last).all(|at| self.word(at) == other.word(at))
    }
}

impl Eq for PieceSet {}

/// Shows the indices.
impl fmt::Debug for PieceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries((0..PIECES_MAX as u16).filter(|piece| self.contains(*piece))).finish()
    }
}

/// Metadata of a known size of which some pieces are here. Between exchanges it holds whole pieces
/// only.
#[derive(Clone, PartialEq, Eq)]
pub struct Pieces {
    size: u32,
    held: PieceSet,
    /// Whole pieces with their indices, in the order they came.
    whole: Vec<(u16, Vec<u8>)>,
    /// The piece that is coming in.
    incoming: Option<(u16, Vec<u8>)>,
}

impl Pieces {
    /// Nothing yet of metadata of `size` bytes; `None` for sizes outside
    /// [`METADATA_MIN`]..=[`METADATA_MAX`].
    pub fn new(size: i64) -> Option<Self> {
        let size = usize::try_from(size).ok()?;
        (METADATA_MIN..=METADATA_MAX).contains(&size).then(|| Self {
            size: size as u32,
            held: PieceSet::default(),
            whole: Vec::new(),
            incoming: None,
        })
    }

    /// The metadata's size in bytes.
    pub fn size(&self) -> usize {
        self.size as usize
    }

    /// How many pieces the metadata has.
    pub fn pieces_total(&self) -> u16 {
        self.size().div_ceil(PIECE_LEN) as u16
    }

    /// How many pieces are held.
    pub fn pieces_held(&self) -> u16 {
        self.whole.len() as u16
    }

    /// Bytes held: what this costs in memory, the room of a piece that is coming in included. The
    /// list of pieces is not in it: at most 64 bytes for each.
    pub fn bytes_held(&self) -> usize {
        self.whole.iter().chain(&self.incoming).map(|(_, data)| data.capacity()).sum()
    }

    /// Whether this piece is held.
    pub fn holds(&self, piece: u16) -> bool {
        self.held.contains(piece)
    }

    /// Whether every piece is held.
    pub fn is_complete(&self) -> bool {
        self.pieces_held() == self.pieces_total()
    }

    /// The pieces that are not held, in order.
    pub fn missing(&self) -> impl Iterator<Item = u16> {
        let end = self.pieces_total() + u16::from(planted::is(Bug::PieceIndexUnchecked));
        (0..end).filter(|piece| !self.held.contains(*piece))
    }

    /// The length that this piece must have; 0 for one that the metadata does not have.
    pub fn piece_len(&self, piece: u16) -> usize {
        self.size().saturating_sub(usize::from(piece) * PIECE_LEN).min(PIECE_LEN)
    }

    /// Makes room for a piece whose bytes follow through [`Pieces::fill`]. A piece that the
    /// metadata does not have or that is held already is refused.
    pub fn begin(&mut self, piece: u16) -> bool {
        let length = self.piece_len(piece);
        if length == 0 || self.holds(piece) {
            return false;
        }
        self.abandon();
        self.incoming = Some((piece, Vec::with_capacity(length)));
        true
    }

    /// Adds bytes to the incoming piece; `true` once it is whole. The caller never passes more
    /// than is missing; what exceeds it is dropped.
    pub fn fill(&mut self, bytes: &[u8]) -> bool {
        let Some((piece, mut data)) = self.incoming.take() else { return false };
        let length = self.piece_len(piece);
        data.extend_from_slice(&bytes[..bytes.len().min(length - data.len())]);
        if data.len() < length {
            self.incoming = Some((piece, data));
            return false;
        }
        self.held.insert(piece);
        self.whole.push((piece, data));
        true
    }

    /// Whether a piece is coming in.
    pub(crate) fn is_one_coming(&self) -> bool {
        self.incoming.is_some()
    }

    /// Forgets the bytes of a piece that did not become whole.
    pub fn abandon(&mut self) {
        self.incoming = None;
    }

    /// Forgets the `count` pieces that came first: those inherited from another peer.
    pub fn forget_first(&mut self, count: u16) {
        self.abandon();
        let count = usize::from(count).min(self.whole.len());
        for (piece, _) in self.whole.drain(..count) {
            self.held.remove(piece);
        }
    }

    /// What is held, in the metadata's order; the metadata itself once it is complete.
    pub fn assembled(&self) -> Cow<'_, [u8]> {
        if let [(_, only)] = &self.whole[..] {
            return Cow::Borrowed(only);
        }
        let mut sorted: Vec<(u16, &[u8])> =
            self.whole.iter().map(|(piece, data)| (*piece, &data[..])).collect();
        sorted.sort_unstable();
        let mut bytes = Vec::with_capacity(sorted.iter().map(|(_, data)| data.len()).sum());
        sorted.iter().for_each(|(_, data)| bytes.extend_from_slice(data));
        Cow::Owned(bytes)
    }

    /// As [`Pieces::assembled`], without a copy if there is one piece only, as nearly always.
    pub fn into_assembled(mut self) -> Vec<u8> {
        match &mut self.whole[..] {
            [(_, only)] => std::mem::take(only),
            _ => self.assembled().into_owned(),
        }
    }
}

/// Shows what is held, not the bytes.
impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut pieces = f.debug_struct("Pieces");
        pieces.field("size", &self.size).field("held", &self.held).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn content(size: usize) -> Vec<u8> {
        (0..size).map(|at| (at / PIECE_LEN * 31 + at) as u8).collect()
    }

    /// Brings one piece in, split after `split` bytes.
    fn bring(pieces: &mut Pieces, content: &[u8], piece: u16, split: usize) {
        let start = usize::from(piece) * PIECE_LEN;
        let bytes = &content[start..start + pieces.piece_len(piece)];
        let (head, tail) = bytes.split_at(split.min(bytes.len() - 1));
        assert!(pieces.begin(piece));
        assert!(!pieces.fill(head));
        assert!(pieces.fill(tail));
    }

    #[test]
    fn sizes_are_accepted_at_the_limits_and_refused_one_past_them() {
        for size in [10, 33_554_432] {
            assert_eq!(Pieces::new(size as i64).map(|pieces| pieces.size()), Some(size));
        }
        for size in [i64::MIN, -1, 0, 9, 33_554_433, i64::MAX] {
            assert_eq!(Pieces::new(size), None, "{size}");
        }
    }

    #[test]
    fn an_even_multiple_ends_in_a_full_piece_and_anything_else_in_a_short_one() {
        let even = Pieces::new(49_152).expect("size");
        assert_eq!((even.pieces_total(), even.piece_len(2), even.piece_len(3)), (3, 16_384, 0));
        let odd = Pieces::new(49_153).expect("size");
        assert_eq!((odd.pieces_total(), odd.piece_len(3), odd.piece_len(u16::MAX)), (4, 1, 0));
        let largest = Pieces::new(33_554_432).expect("size");
        assert_eq!(largest.pieces_total(), 2_048);
    }

    #[test]
    fn memory_grows_with_bytes_received_and_not_with_the_size() {
        let mut pieces = Pieces::new(METADATA_MAX as i64).expect("size");
        assert_eq!(pieces.bytes_held(), 0);
        pieces.begin(5);
        assert_eq!(pieces.bytes_held(), PIECE_LEN);
        pieces.abandon();
        assert_eq!(pieces.bytes_held(), 0);
        let mut one = Pieces::new(1_000).expect("size");
        one.begin(0);
        assert_eq!(one.bytes_held(), 1_000);
    }

    #[test]
    fn pieces_that_are_forgotten_are_given_back() {
        let content = content(5 * PIECE_LEN);
        let mut pieces = Pieces::new(content.len() as i64).expect("size");
        for piece in [4, 0, 3, 1] {
            bring(&mut pieces, &content, piece, 9);
        }
        pieces.begin(2);
        assert_eq!(pieces.bytes_held(), 5 * PIECE_LEN);
        pieces.forget_first(3);
        assert_eq!((pieces.bytes_held(), pieces.pieces_held()), (PIECE_LEN, 1));
        assert_eq!(pieces.missing().collect::<Vec<_>>(), [0, 2, 3, 4]);
    }

    #[test]
    fn held_pieces_and_impossible_ones_are_refused() {
        let content = content(2 * PIECE_LEN);
        let mut pieces = Pieces::new(content.len() as i64).expect("size");
        bring(&mut pieces, &content, 1, 7);
        assert!(!pieces.begin(1) && !pieces.begin(2) && !pieces.begin(u16::MAX));
        assert_eq!(pieces.missing().collect::<Vec<_>>(), [0]);
    }

    proptest! {
        #[test]
        fn pieces_in_any_order_with_false_starts_become_the_metadata(
            size in METADATA_MIN..200_000,
            keys in prop::collection::vec(any::<u32>(), 13),
            split in 0..PIECE_LEN,
            forget in 0..5u16,
        ) {
            let content = content(size);
            let mut pieces = Pieces::new(size as i64).expect("size");
            let mut order: Vec<u16> = (0..pieces.pieces_total()).collect();
            order.sort_by_key(|piece| keys[usize::from(*piece)]);
            for piece in order.iter().copied() {
                pieces.begin(piece);
                pieces.fill(&content[..split.min(pieces.piece_len(piece) - 1)]);
                pieces.abandon();
                bring(&mut pieces, &content, piece, split);
            }
            prop_assert!(pieces.is_complete());
            pieces.forget_first(forget);
            let again: Vec<u16> = pieces.missing().collect();
            prop_assert_eq!(again.len(), usize::from(forget).min(order.len()));
            for piece in again {
                bring(&mut pieces, &content, piece, split);
            }
            prop_assert_eq!(pieces.assembled().into_owned(), &content[..]);
            prop_assert_eq!(pieces.into_assembled(), content);
        }

        #[test]
        fn a_piece_set_behaves_like_a_set(pieces in prop::collection::vec(0..2_100_u16, 0..50)) {
            let mut set = PieceSet::default();
            let mut model = std::collections::BTreeSet::new();
            for piece in pieces {
                prop_assert_eq!(set.contains(piece), model.contains(&piece));
                prop_assert_eq!(set.insert(piece), piece < 2_048 && model.insert(piece));
                if piece % 3 == 0 {
                    prop_assert_eq!(set.remove(piece), model.remove(&piece));
                }
                prop_assert_eq!(set.is_empty(), model.is_empty());
                prop_assert_eq!(usize::from(set.len()), model.len());
            }
            let mut again = PieceSet::default();
            model.iter().for_each(|piece| assert!(again.insert(*piece)));
            prop_assert_eq!(&again, &set);
            let first = model.first().copied().unwrap_or(0);
            prop_assert_eq!(again.remove(first), again != set);
            let mut rest = PieceSet::default();
            model.iter().skip(1).for_each(|piece| assert!(rest.insert(*piece)));
            rest.append(&mut set);
            prop_assert!(set.is_empty());
            prop_assert_eq!(usize::from(rest.len()), model.len());
            model.iter().for_each(|piece| assert!(rest.contains(*piece)));
        }
    }
}
