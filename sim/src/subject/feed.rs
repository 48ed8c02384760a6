//! The infohashes that a run is asked for, on their way into the crawler under test.

use std::rc::Rc;

use estudely_core::session::{Given, Requests, Supply};
use estudely_core::{Crawler, InfoHash, Instant, Request};

/// Of one run.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    hashes: Rc<[InfoHash]>,
    /// How many of these the crawler has.
    taken: usize,
    /// What is still to come, as the session is told.
    supply: Supply,
}

impl Feed {
    pub(super) fn new(hashes: Rc<[InfoHash]>) -> Self {
        let supply = if hashes.is_empty() { Supply::Exhausted } else { Supply::Open };
        Self { hashes, taken: 0, supply }
    }

    /// Hands the next one in; `None` if there is none, or if the crawler takes no more for now.
    pub(super) fn hand_in(&mut self, now: Instant, crawler: &mut Crawler) -> Option<InfoHash> {
        let hash = *self.hashes.get(self.taken)?;
        if crawler.handle_request(now, &Request::new(hash, [])).is_err() {
            self.supply = Supply::Blocked;
            return None;
        }
        self.taken += 1;
        let is_last = self.taken == self.hashes.len();
        self.supply = if is_last { Supply::Exhausted } else { Supply::Open };
        Some(hash)
    }

    /// What the session is told of them.
    pub(super) fn progress(&self) -> Requests {
        let given = if self.taken > 0 { Given::HashesAlone } else { Given::Nothing };
        Requests { supply: self.supply, given }
    }
}
