//! A compact set of infohashes: what outputs of many gigabytes hold already.
//!
//! Built once by scanning, then only asked. 19 bytes an entry when finished, at most 32 on the
//! way: entries are split by their first byte, so that growing one of 256 vectors
//! never doubles the whole.

use estudely_core::InfoHash;

/// An infohash without its first byte.
type Tail = [u8; InfoHash::LEN - 1];

/// Infohashes being gathered, duplicates allowed.
#[derive(Clone, Debug)]
pub struct InfoHashSetBuilder {
    shards: Vec<Vec<Tail>>,
}

impl Default for InfoHashSetBuilder {
    fn default() -> Self {
        Self { shards: vec![Vec::new(); 256] }
    }
}

impl InfoHashSetBuilder {
    /// Adds an infohash, whether or not it is there.
    pub fn insert(&mut self, hash: InfoHash) {
        let (first, tail) = split(hash);
        let Some(shard) = self.shards.get_mut(first) else { return };
        if shard.len() == shard.capacity() {
            shard.sort_unstable();
            shard.dedup();
            // A quarter more at a time: memory stays near what is held.
            if shard.len() * 8 >= shard.capacity() * 7 {
                shard.reserve_exact((shard.len() / 4).max(16));
            }
        }
        shard.push(tail);
    }

    /// The set of what was added.
    pub fn finish(mut self) -> InfoHashSet {
        for shard in &mut self.shards {
            shard.sort_unstable();
            shard.dedup();
            shard.shrink_to_fit();
        }
        InfoHashSet { shards: self.shards }
    }
}

/// A finished set.
#[derive(Clone, Debug, Default)]
pub struct InfoHashSet {
    shards: Vec<Vec<Tail>>,
}

impl InfoHashSet {
    /// Whether `hash` is in the set.
    pub fn contains(&self, hash: InfoHash) -> bool {
        let (first, tail) = split(hash);
        self.shards.get(first).is_some_and(|shard| shard.binary_search(&tail).is_ok())
    }

    /// The same, to add more.
    pub fn into_builder(self) -> InfoHashSetBuilder {
        let Self { mut shards } = self;
        shards.resize(256, Vec::new());
        InfoHashSetBuilder { shards }
    }

    /// How many infohashes are in the set.
    pub fn len(&self) -> usize {
        self.shards.iter().map(Vec::len).sum()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every infohash in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = InfoHash> {
        self.shards.iter().zip(0..=u8::MAX).flat_map(|(shard, first)| {
            shard.iter().map(move |tail| {
                let mut bytes = [first; InfoHash::LEN];
                bytes[1..].copy_from_slice(tail);
                InfoHash(bytes)
            })
        })
    }

    /// Keeps the infohashes for which `keep` holds, and gives the memory of the rest back.
    pub fn retain(&mut self, keep: impl Fn(InfoHash) -> bool) {
        for (shard, first) in self.shards.iter_mut().zip(0..=u8::MAX) {
            shard.retain(|tail| {
                let mut bytes = [first; InfoHash::LEN];
                bytes[1..].copy_from_slice(tail);
                keep(InfoHash(bytes))
            });
            shard.shrink_to_fit();
        }
    }
}

fn split(hash: InfoHash) -> (usize, Tail) {
    let mut tail = [0; InfoHash::LEN - 1];
    tail.copy_from_slice(&hash.0[1..]);
    (usize::from(hash.0[0]), tail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_holds_what_was_added_and_nothing_else(
            added in prop::collection::vec(prop::array::uniform20(0u8..4), 0..300),
            asked in prop::array::uniform20(0u8..4),
        ) {
            let mut builder = InfoHashSetBuilder::default();
            let mut model = BTreeSet::new();
            for bytes in added.iter().chain(&added) {
                builder.insert(InfoHash(*bytes));
                model.insert(InfoHash(*bytes));
            }
            let mut set = builder.finish().into_builder().finish();
            prop_assert!(set.iter().eq(model.iter().copied()));
            prop_assert_eq!(set.len(), model.len());
            prop_assert_eq!(set.contains(InfoHash(asked)), model.contains(&InfoHash(asked)));
            set.retain(|hash| hash.0[19] == 0);
            model.retain(|hash| hash.0[19] == 0);
            prop_assert!(set.iter().eq(model.into_iter()));
        }
    }

    #[test]
    fn an_empty_set_holds_nothing() {
        assert!(InfoHashSet::default().is_empty());
        assert!(!InfoHashSet::default().contains(InfoHash([0; 20])));
        assert!(InfoHashSetBuilder::default().finish().is_empty());
    }
}
