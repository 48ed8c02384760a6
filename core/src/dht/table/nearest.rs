//! The nodes nearest to a target: one pass over candidates, no allocation.

use super::K;
use super::bucket::Bucket;
use crate::base::addr::Contact;
use crate::base::id::Id;

/// The best found so far, nearest first.
pub(super) struct Nearest<'a> {
    target: Id,
    out: &'a mut [Contact; K],
    len: usize,
}

impl<'a> Nearest<'a> {
    /// Nothing found yet for `target`.
    pub(super) fn new(target: Id, out: &'a mut [Contact; K]) -> Self {
        Self { target, out, len: 0 }
    }

    /// How many were found.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether no farther node can enter.
    pub(super) fn is_full(&self) -> bool {
        self.len == K
    }

    /// Considers every node of a bucket that may be handed out.
    pub(super) fn add_all(&mut self, bucket: &Bucket) {
        for entry in bucket.live.iter().filter(|entry| !entry.is_bad()) {
            self.add(entry.contact);
        }
    }

    fn add(&mut self, contact: Contact) {
        let target = self.target;
        let distance = contact.id.id().distance(target);
        let nearer = |other: &Contact| other.id.id().distance(target) < distance;
        if self.is_full() && self.out.last().is_some_and(nearer) {
            return;
        }
        let place = self.out[..self.len].partition_point(nearer);
        self.len = (self.len + 1).min(K);
        self.out[place..self.len].rotate_right(1);
        self.out[place] = contact;
    }
}
