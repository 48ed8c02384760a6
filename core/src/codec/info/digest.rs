//! Digests of paths, by which the two descriptions of a hybrid are compared.
//!
//! A name is hashed once, however many files lie below it: a directory's digest goes on from its
//! parent's. Whatever is hashed is counted, so that tests can hold the work against the input.

use std::cell::Cell;
use std::hash::{DefaultHasher, Hasher};

/// Over names or numbers, in order. Not collision resistant: all that a collision wins is a flag
/// less.
#[derive(Clone, Debug)]
pub(super) struct Digest<'w> {
    hasher: DefaultHasher,
    /// Bytes hashed by this one and all that share the counter.
    hashed: &'w Cell<u64>,
}

impl<'w> Digest<'w> {
    /// Over nothing yet, counting into `hashed`.
    pub(super) fn new(hashed: &'w Cell<u64>) -> Self {
        Self { hasher: DefaultHasher::new(), hashed }
    }

    /// Adds one name of a path, its length first: no two paths look the same.
    pub(super) fn name(&mut self, name: &[u8]) {
        self.number(name.len() as u64);
        self.hasher.write(name);
        self.count(name.len() as u64);
    }

    /// Adds a number.
    pub(super) fn number(&mut self, number: u64) {
        self.hasher.write_u64(number);
        self.count(u64::from(u64::BITS / 8));
    }

    /// The digest of a whole path.
    pub(super) fn of(mut self, path: &[&[u8]]) -> u64 {
        path.iter().for_each(|name| self.name(name));
        self.value()
    }

    /// Over what was added so far.
    pub(super) fn value(&self) -> u64 {
        self.hasher.finish()
    }

    fn count(&self, bytes: u64) {
        self.hashed.set(self.hashed.get() + bytes);
    }
}
