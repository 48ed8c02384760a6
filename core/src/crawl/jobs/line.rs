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

    /// The first that lives; those before it are gone.
    pub(super) fn front(&mut self, lives: impl Fn(Key) -> bool) -> Option<Key> {
        while let Some(key) = self.0.front() {
            if lives(*key) {
                return Some(*key);
            }
            self.0.pop_front();
        }
        None
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Asserts that each job stands here once if it says so, and not at all if it does not: `says`
    /// answers for the key of a job that lives.
    pub(super) fn check(&self, what: &str, saying: usize, says: impl Fn(Key) -> Option<bool>) {
        assert!(self.0.len() <= Self::MAX, "{} keys wait {what}", self.0.len());
        let standing = self.0.iter().filter_map(|key| says(*key));
        let (mut count, mut all) = (0, true);
        standing.for_each(|says| (count, all) = (count + 1, all && says));
        assert!(all, "a job stands in line {what} and does not know it");
        assert_eq!(count, saying, "jobs that wait {what} stand in line once");
    }
}
