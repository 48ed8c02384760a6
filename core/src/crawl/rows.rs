//! Rows that wait for a sink, and what is known of those that were taken and are not yet held by
//! every output. A sink that is full is not polled; its rows must never exceed the number and the
//! bytes that are said here.
//!
//! An infohash stays under way, for a saved state, until its row is acknowledged: a row that was
//! taken may still meet a full disk.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use crate::base::id::InfoHash;
use crate::base::planted::{self, Bug};
use crate::base::time::Instant;
use crate::crawl::row::Row;
use crate::lead::{Lead, Origin};
use crate::limits::{JOBS_MAX, ROWS_MAX, ROWS_TAKEN_MAX, SAVED_PEERS_MAX};
use crate::peer::exchange::Fetched;

/// What a settled infohash leaves behind in a saved state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// Nothing: an output has it, or it is forgotten.
    Nothing,
    /// Another chance, at this time and of this round.
    Retry(Instant, u8),
    /// That it must never be tried again.
    Over,
}

/// A row that was not taken yet.
#[derive(Clone, Debug)]
pub(crate) struct Untaken {
    pub(crate) row: Row,
    /// How its infohash was heard of: a saved state says so as long as the row waits.
    pub(crate) origin: Origin,
    pub(crate) leaves: Leaves,
}

/// What is kept of a row that was taken: enough to begin its infohash again.
#[derive(Clone, Debug)]
struct Taken {
    hash: InfoHash,
    found: Instant,
    origin: Origin,
    /// As many as are saved.
    peers: Vec<SocketAddr>,
    /// Nothing once the outputs that held the row have lost it: it is under way again, whatever
    /// the others take yet.
    leaves: Option<Leaves>,
}

/// The rows, the oldest first.
#[derive(Debug)]
pub(crate) struct Rows {
    /// Most bytes that wait, but for one larger row.
    most: usize,
    /// Taken and not acknowledged: all of them are older than those that wait.
    taken: VecDeque<Taken>,
    /// Lists of peers of rows that were acknowledged, for the next ones: a row that is taken costs
    /// no allocation once there are some.
    spare: Vec<Vec<SocketAddr>>,
    /// Rows acknowledged since the beginning.
    acknowledged: u64,
    waiting: VecDeque<Untaken>,
    /// [`crate::crawl::row::Row::bytes_held`] of all of them.
    bytes: usize,
}

impl Rows {
    /// None; `most` bytes may wait, but for one larger row.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            taken: VecDeque::new(),
            spare: Vec::new(),
            acknowledged: 0,
            waiting: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Whether new work may begin.
    pub(crate) fn have_room(&self) -> bool {
        self.waiting.len() < ROWS_MAX && self.bytes < self.most / 3
    }

    /// Whether the row of this metadata may wait here.
    pub(crate) fn have_room_for(&self, fetched: &Fetched) -> bool {
        self.bytes == 0 || self.bytes + fetched.bytes_held() <= self.most
    }

    pub(crate) fn push(&mut self, untaken: Untaken) {
        self.bytes += untaken.row.bytes_held();
        self.waiting.push_back(untaken);
    }

    /// The next row for a sink; none while too many of those taken are not acknowledged.
    pub(crate) fn take(&mut self) -> Option<Row> {
        if self.taken.len() >= ROWS_TAKEN_MAX {
            return None;
        }
        let Untaken { row, origin, leaves } = self.waiting.pop_front()?;
        self.bytes -= row.bytes_held();
        let mut peers = self.spare.pop().unwrap_or_default();
        peers.extend(row.peers.iter().take(SAVED_PEERS_MAX));
        let (hash, found) = (row.infohash, row.found);
        self.taken.push_back(Taken { hash, found, origin, peers, leaves: Some(leaves) });
        Some(row)
    }

    /// The oldest row that was taken, if it is among the first `held` of the run, which every
    /// output holds: its infohash, and what that leaves behind unless it was lost meanwhile.
    pub(crate) fn acknowledge(&mut self, held: u64) -> Option<(InfoHash, Option<Leaves>)> {
        if self.acknowledged >= held {
            return None;
        }
        let Taken { hash, mut peers, leaves, .. } = self.taken.pop_front()?;
        self.acknowledged += 1;
        peers.clear();
        self.spare.push(peers);
        Some((hash, leaves))
    }

    /// No output holds rows of these any more: when one that was taken is acknowledged, its
    /// infohash is not settled by that.
    pub(crate) fn lose(&mut self, lost: &BTreeSet<InfoHash>) {
        for taken in self.taken.iter_mut().filter(|taken| lost.contains(&taken.hash)) {
            taken.leaves = None;
        }
    }

    /// Whether a row of this infohash waits for a sink.
    pub(crate) fn awaits(&self, hash: InfoHash) -> bool {
        self.waiting.iter().any(|untaken| untaken.row.infohash == hash)
    }

    /// Every infohash whose row some output still lacks, and peers of it.
    pub(crate) fn unheld(&self) -> impl Iterator<Item = (Lead, &[SocketAddr])> {
        let all = !planted::is(Bug::SettledBeforeWritten);
        // What was lost is under way anew, and saved as that.
        let taken = self.taken.iter().filter(move |taken| all && taken.leaves.is_some());
        let taken =
            taken.map(|taken| (Lead::new(taken.hash, taken.found, taken.origin), &*taken.peers));
        let waiting = self.waiting.iter().map(|Untaken { row, origin, .. }| {
            (Lead::new(row.infohash, row.found, *origin), &*row.peers)
        });
        taken.chain(waiting)
    }

    /// How many infohashes that are.
    pub(crate) fn unheld_count(&self) -> usize {
        self.taken.len() + self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn bytes_held(&self) -> usize {
        self.bytes
    }

    pub(crate) fn check(&self) {
        let held: usize = self.waiting.iter().map(|untaken| untaken.row.bytes_held()).sum();
        assert_eq!(held, self.bytes, "every row is counted");
        let largest = self.waiting.iter().map(|untaken| untaken.row.bytes_held()).max();
        let fits = self.bytes <= self.most || Some(self.bytes) == largest;
        assert!(fits, "{} bytes of rows", self.bytes);
        assert!(self.taken.len() <= ROWS_TAKEN_MAX, "{} rows taken", self.taken.len());
        // Work begun before there were too many still ends in rows.
        assert!(self.waiting.len() <= ROWS_MAX + JOBS_MAX, "{} rows", self.waiting.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crawl::row::{FailureCause, Verdict};

    #[test]
    fn no_row_is_given_while_too_many_others_lack_an_output() {
        let mut rows = Rows::new(1 << 20);
        for n in 0..=ROWS_TAKEN_MAX {
            let hash = InfoHash([(n % 256) as u8; 20]);
            let row = Row::new(hash, Verdict::Failed { cause: FailureCause::NoPeers });
            rows.push(Untaken { row, origin: Origin::Sample, leaves: Leaves::Nothing });
        }
        assert_eq!(std::iter::from_fn(|| rows.take()).count(), ROWS_TAKEN_MAX);
        rows.waiting.truncate(1);
        rows.check();
        assert_eq!(rows.unheld_count(), ROWS_TAKEN_MAX + 1);
        assert!(rows.acknowledge(1).is_some() && rows.acknowledge(1).is_none());
        assert!(rows.take().is_some() && rows.take().is_none());
        assert!(rows.is_empty());
        assert_eq!(rows.unheld().count(), ROWS_TAKEN_MAX);
    }
}
