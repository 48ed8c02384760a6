//! Sets and maps by 64-bit keys that are already spread: nothing here depends on their order.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// Passes a key through.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Through(u64);

impl Hasher for Through {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Things seen.
pub(super) type Seen = HashSet<u64, BuildHasherDefault<Through>>;
/// What is known of things.
pub(super) type Known<T> = HashMap<u64, T, BuildHasherDefault<Through>>;

/// Entries that are kept before looking for old ones.
const FEW: usize = 1 << 14;

/// Drops what `keep` says is old, whenever the map has doubled since the last look: amortised, a
/// few steps for each insertion. `looked` is how many were left then.
pub(super) fn forget<T>(map: &mut Known<T>, looked: &mut usize, keep: impl Fn(&T) -> bool) {
    if map.len() >= FEW.max(2 * *looked) {
        map.retain(|_, value| keep(value));
        *looked = map.len();
    }
}
