//! Jobs that wait for one thing, in order.

use std::collections::VecDeque;

use crate::base::store::Key;
use crate::limits::JOBS_MAX;

/// A queue of jobs. One that is gone leaves its key behind until that comes to the front; when more
/// keys stand here than jobs can live twice over, those of the dead are cleared away.
#[derive(Debug, Default)]
pub(super) struct Line(VecDeque<Key>);

impl Line {
    /// Most keys that stand here.
    const MAX: usize = 2 * JOBS_MAX;

    pub(super) fn push(&mut self, key: Key, lives: impl Fn(Key) -> bool) {
        if self.0.len() >= Self::MAX {
            self.0.retain(|key| lives(*key));
        }
        self.0.push_back(key);
    }

    pub(super) fn pop(&mut self) -> Option<Key> {
        self.0.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every key that stands here.
    pub(super) fn iter(&self) -> impl Iterator<Item = Key> {
        self.0.iter().copied()
    }
}
