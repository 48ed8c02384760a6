//! What a crawl leaves behind for the next one: a snapshot, and the records appended to it since.
//!
//! A state file is `snapshot record*`. The snapshot is written whole, as often as the adapter
//! likes; in between, each turn of the loop appends what a snapshot would say differently by now.
//! So a run that is killed at any point loses at most answers that were still on their way.
//!
//! ```text
//! "DHT-Estudely state 1\n"  chunk*  record*        all numbers big-endian
//! chunk, record:  kind u8 · length of the body u32 · body · the first 8 bytes of a SHA-1
//! ```
//!
//! The sum of a chunk covers the sum of the chunk before it, so nothing can be missing from a
//! snapshot that is accepted; a record stands alone, and reading ends before the first that is
//! torn or damaged. When a node may be sampled again is written in one record with the infohashes
//! it named: whoever reads that it rests has its samples, too.
//!
//! Times are kept as seconds left from the second of the wall clock at which they were written. A
//! clock that was set back since then ends no rest early, and makes none longer than it was.
//!
//! Reading trusts nothing: every count is bounded by a constant, nothing is allocated because a
//! length says so, and what cannot be read is a [`StateError`], never a panic. Nothing here opens
//! a file.

mod codec;
mod item;
mod journal;
mod saved;
#[cfg(test)]
mod tests;

use std::fmt;

pub(crate) use self::codec::SnapshotWriter;
pub(crate) use self::item::{Failed, Pending, Rest};
pub(crate) use self::journal::{Journal, seconds_left};
pub(crate) use self::saved::Saved;

/// Whole seconds since the Unix epoch, as the caller's clock tells them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub u64);

/// Why a saved state cannot be taken up. Nothing of it was. More may follow: each has its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// It is no state of this program.
    Foreign,
    /// It was written by a version that this one does not know: the format's number.
    Version(u32),
    /// It ends before the snapshot does.
    Truncated,
    /// The snapshot was changed after it was written; the offset in bytes of the chunk.
    Damaged(usize),
    /// It holds more than any run can: of what.
    TooMany(&'static str),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("not a state file of this program"),
            Self::Version(version) => write!(f, "state format {version} is not known"),
            Self::Truncated => f.write_str("the snapshot is cut short"),
            Self::Damaged(at) => write!(f, "the snapshot is damaged at byte {at}"),
            Self::TooMany(what) => write!(f, "more {what} than any run can hold"),
        }
    }
}

impl std::error::Error for StateError {}

/// What was taken up from a saved state. More may follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// Contacts of the routing tables.
    pub contacts: usize,
    /// Nodes that must not be sampled yet.
    pub resting: usize,
    /// Nodes whose rest is over: to be visited soon.
    pub due: usize,
    /// Infohashes under way when the state was written, taken on now.
    pub pending: usize,
    /// Such infohashes beyond what this run may take on: kept for the next one.
    pub held: usize,
    /// Infohashes that failed and get another chance later.
    pub failed: usize,
    /// Infohashes settled for good that are in no output as verified.
    pub settled: usize,
    /// Contacts left out because policy, families or our own address refuse them.
    pub left_out: usize,
    /// Records that followed the snapshot.
    pub records: usize,
    /// Bytes of a torn or damaged tail that were dropped.
    pub torn_bytes: usize,
}
