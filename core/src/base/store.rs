//! Containers with stated bounds and replayable behaviour: a slab with generational keys, a keyed
//! hasher for maps whose keys strangers choose, a table of cells, and a compact set of
//! fingerprints.

mod cells;

use std::hash::{BuildHasher, DefaultHasher, Hasher};

pub(crate) use cells::Cells;

use crate::base::rng::Rng;

/// Names one entry of a [`Slab`] for as long as it lives; a late use after the entry is gone finds
/// nothing, even when the slot is taken again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    slot: u32,
    generation: u32,
}

impl Key {
    /// None is more.
    pub(crate) const MOST: Self = Self { slot: u32::MAX, generation: u32::MAX };

    /// Where the entry lies: for tables beside the slab with one place for each of its entries.
    pub(crate) const fn slot(self) -> usize {
        self.slot as usize
    }
}

/// A bounded store that hands out generational keys. Iteration is in slot order, so it replays.
#[derive(Clone, Debug)]
pub struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    limit: usize,
}

#[derive(Clone, Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    /// An empty slab that never holds more than `limit` entries.
    pub fn new(limit: usize) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), limit }
    }

    /// Stores `value`, or gives it back when the slab is full.
    pub fn insert(&mut self, value: T) -> Result<Key, T> {
        if let Some(slot) = self.free.pop() {
            let entry = &mut self.slots[slot as usize];
            entry.value = Some(value);
            return Ok(Key { slot, generation: entry.generation });
        }
        match u32::try_from(self.slots.len()) {
            Ok(slot) if self.slots.len() < self.limit => {
                self.slots.push(Slot { generation: 0, value: Some(value) });
                Ok(Key { slot, generation: 0 })
            }
            _ => Err(value),
        }
    }

    /// The entry that `key` names, if it still lives.
    pub fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.get(key.slot as usize)?;
        slot.value.as_ref().filter(|_| slot.generation == key.generation)
    }

    /// The entry that `key` names, if it still lives.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        slot.value.as_mut().filter(|_| slot.generation == key.generation)
    }

    /// Takes the entry out; its key is dead from then on.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.slot);
        Some(value)
    }

    /// Living entries in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        (0..self.slots.len()).filter_map(|slot| self.at(slot))
    }

    /// The entry in a slot, if one lives there.
    pub(crate) fn at(&self, slot: usize) -> Option<(Key, &T)> {
        let entry = self.slots.get(slot)?;
        let key = Key { slot: slot as u32, generation: entry.generation };
        entry.value.as_ref().map(|value| (key, value))
    }

    /// How many slots there are, with a living entry or without.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// How many entries live.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether nothing lives here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Most entries that it holds.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether the next insert will be refused.
    pub fn is_full(&self) -> bool {
        self.len() >= self.limit
    }
}

/// Hashes map keys that strangers choose (catalogue H46): SipHash keyed from the seed, so it
/// replays, and cannot be flooded by someone who does not know the seed.
#[derive(Clone, Debug)]
pub struct KeyedState(DefaultHasher);

impl KeyedState {
    /// A state keyed from `rng`.
    pub fn new(rng: &mut Rng) -> Self {
        let mut keyed = DefaultHasher::new();
        keyed.write_u64(rng.next_u64());
        keyed.write_u64(rng.next_u64());
        Self(keyed)
    }
}

impl BuildHasher for KeyedState {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        // A copy that has taken the key: to take it anew would cost as much as a short key.
        self.0.clone()
    }
}

/// A map whose hasher replays. Its order must never reach an output.
pub type KeyedMap<K, V> = std::collections::HashMap<K, V, KeyedState>;

/// A set of keyed 64-bit fingerprints in open addressing: 8 bytes a slot, at most 16 an entry
/// between growths. Two keys share a fingerprint with probability 2^-64, so among ten million a
/// false "seen" is expected once in 400 000 runs.
#[derive(Clone, Debug)]
pub struct FingerprintSet {
    state: KeyedState,
    slots: Vec<u64>,
    len: usize,
    limit: usize,
}

/// What [`FingerprintSet::insert`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The key was not there; it is now.
    New,
    /// The key was there already.
    Known,
    /// The key was not there, and the set is full.
    Full,
}

impl FingerprintSet {
    const MIN_SLOTS: usize = 64;

    /// An empty set of at most `limit` entries.
    pub fn new(rng: &mut Rng, limit: usize) -> Self {
        Self { state: KeyedState::new(rng), slots: Vec::new(), len: 0, limit }
    }

    /// Adds `key` if it is new and there is room.
    pub fn insert(&mut self, key: &[u8]) -> Seen {
        let fingerprint = self.fingerprint(key);
        match self.find(fingerprint) {
            Some(index) if self.slots[index] == fingerprint => return Seen::Known,
            _ if self.len >= self.limit => return Seen::Full,
            _ => {}
        }
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        if let Some(index) = self.find(fingerprint) {
            self.slots[index] = fingerprint;
            self.len += 1;
        }
        Seen::New
    }

    /// Whether `key` was added.
    pub fn contains(&self, key: &[u8]) -> bool {
        let fingerprint = self.fingerprint(key);
        self.find(fingerprint).is_some_and(|index| self.slots[index] == fingerprint)
    }

    /// How many keys were added.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.slots.fill(0);
        self.len = 0;
    }

    fn fingerprint(&self, key: &[u8]) -> u64 {
        let mut hasher = self.state.build_hasher();
        hasher.write(key);
        hasher.finish().max(1) // 0 marks a free slot
    }

    /// The slot that holds `fingerprint`, or the free one where it belongs.
    fn find(&self, fingerprint: u64) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut index = fingerprint as usize & mask;
        while self.slots[index] != 0 && self.slots[index] != fingerprint {
            index = (index + 1) & mask;
        }
        Some(index)
    }

    fn grow(&mut self) {
        let doubled = (self.slots.len() * 2).max(Self::MIN_SLOTS);
        let old = std::mem::replace(&mut self.slots, vec![0; doubled]);
        for fingerprint in old.into_iter().filter(|f| *f != 0) {
            if let Some(index) = self.find(fingerprint) {
                self.slots[index] = fingerprint;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Seed;

    #[test]
    fn a_stale_key_finds_nothing_after_its_slot_is_reused() {
        let mut slab = Slab::new(1);
        let first = slab.insert('a').expect("room");
        assert_eq!(slab.insert('b'), Err('b'));
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('c').expect("room");
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&'c'));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn the_set_knows_what_it_saw_and_stops_at_its_limit() {
        let mut set = FingerprintSet::new(&mut Rng::new(Seed::from_u64(1)), 1_000);
        for n in 0..1_000u32 {
            assert_eq!(set.insert(&n.to_be_bytes()), Seen::New);
            assert_eq!(set.insert(&n.to_be_bytes()), Seen::Known);
        }
        assert_eq!(set.insert(&1_000u32.to_be_bytes()), Seen::Full);
        assert_eq!(set.insert(&999u32.to_be_bytes()), Seen::Known);
        assert_eq!(set.len(), 1_000);
        assert!(set.contains(&0u32.to_be_bytes()));
        set.clear();
        assert!(!set.contains(&0u32.to_be_bytes()));
    }
}
