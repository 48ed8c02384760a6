//! A fixed table of values without keys.

use std::hash::BuildHasher;

use super::KeyedState;
use crate::base::rng::Rng;

/// A value for every key there is, in a fixed number of cells: two keys that fall into one cell
/// share its value. Which do so follows from the seed, and a stranger cannot find out.
#[derive(Clone, Debug)]
pub(crate) struct Cells<T> {
    state: KeyedState,
    cells: Box<[T]>,
}

impl<T: Clone + Default> Cells<T> {
    /// A table of `count` cells, all of them at their default. `count` is not 0.
    pub(crate) fn new(rng: &mut Rng, count: usize) -> Self {
        debug_assert!(count > 0, "every key has a cell");
        Self { state: KeyedState::new(rng), cells: vec![T::default(); count].into() }
    }

    /// The value of `key`.
    pub(crate) fn get(&self, key: &[u8]) -> &T {
        &self.cells[self.place(key)]
    }

    /// The value of `key`, to be changed.
    pub(crate) fn get_mut(&mut self, key: &[u8]) -> &mut T {
        &mut self.cells[self.place(key)]
    }

    /// The place of the cell of `key`.
    fn place(&self, key: &[u8]) -> usize {
        self.state.hash_one(key) as usize % self.cells.len()
    }

    /// Every cell, in the order of the table.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.cells.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::base::rng::{Rng, Seed};

    proptest! {
        #[test]
        fn a_value_is_shared_by_the_keys_of_its_cell_and_by_no_other(
            steps in prop::collection::vec((0_u8..40, 1_u32..100), 1..200),
            count in 1_usize..30,
        ) {
            let mut cells: Cells<u32> = Cells::new(&mut Rng::new(Seed::from_u64(1)), count);
            let mut model: BTreeMap<usize, u32> = BTreeMap::new();
            for (key, more) in steps {
                *cells.get_mut(&[key]) += more;
                *model.entry(cells.place(&[key])).or_default() += more;
                prop_assert!(cells.place(&[key]) < count);
                for key in 0..40 {
                    let expected = model.get(&cells.place(&[key])).copied().unwrap_or_default();
                    prop_assert_eq!(*cells.get(&[key]), expected);
                }
            }
            prop_assert_eq!(cells.iter_mut().count(), count);
        }
    }
}
