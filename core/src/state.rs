//! What a crawl leaves behind for the next one: a snapshot, and the records appended to it since.
//!
//! A state file is a first line and records. The snapshot is written whole, as often as the adapter
//! likes; in between, each turn of the loop appends what a snapshot would say differently by now.
//! So a run that is killed at any point loses at most answers that were still on their way.
//!
//! ```text
//! "DHT-Estudely state 2.0\n"  head head  record*  end  record*      all numbers big-endian
//! ```
//!
//! Every record has its kind, its length and its sum (`frame.rs`), and stands alone: damage costs
//! the records that it is in, wherever that is, and is counted. A torn end is told apart, so that
//! it can be cut. What there is of each address family (our id in it, the depth of its table, our
//! address as others see it) has a record of its own. One record holds both the rest of a node and
//! the infohashes that it named, so neither is saved without the other.
//!
//! A record of an optional kind that this version does not know is kept, at most
//! [`STATE_UNKNOWN_MAX`](crate::limits::STATE_UNKNOWN_MAX) bytes of them, and written again byte
//! for byte with the next snapshot. A file of a higher major version is refused. The version before
//! is read and taken over (`v1.rs`); nothing may be appended to such a file.
//!
//! Times are kept as seconds left from the second at which they were written. Wall clocks jump (a
//! machine without a clock of its own is decades late until it is told the time), so beside the
//! wall time stands how long the machine had been up, and which of its starts that was: within one
//! start of the machine only this counts (`stamp.rs`). Across starts the wall clock is all there
//! is: one that was set back ends no rest early, and makes none longer than it was.
//!
//! Reading trusts nothing: every count is bounded by a constant, nothing is allocated because a
//! length says so, and what cannot be read is a [`StateError`], never a panic. Nothing here opens
//! a file.

mod item;
mod kind;
mod stamp;
mod version;
mod frame;
mod body;
mod snapshot;
mod journal;
mod saved;
mod v1;
#[cfg(test)]
mod tests;

use std::fmt;

use self::version::Version;

pub(crate) use self::item::{Carried, Rest, SavedFamily, SavedLead};
pub(crate) use self::journal::{Journal, seconds_left};
pub(crate) use self::saved::Saved;
pub(crate) use self::snapshot::SnapshotWriter;
pub use self::stamp::{Stamp, Uptime};

/// Whole seconds since the Unix epoch, as the caller's clock tells them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub u64);

/// Why a saved state cannot be taken up. Nothing of it was. More may follow: each has its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StateError {
    /// It is no state of this program.
    Foreign,
    /// It was written by a newer version of this program: the major number of its format. It is to
    /// be left as it is.
    Newer(u32),
    /// It ends before anything that could be taken up.
    Truncated,
    /// It was changed after it was written, where nothing can do without; the offset in bytes.
    Damaged(usize),
    /// It holds more than any run can: of what.
    TooMany(&'static str),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign => f.write_str("not a state file of this program"),
            Self::Newer(format) => write!(f, "a newer version wrote it (state format {format})"),
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
    /// Damaged records that were passed over.
    pub damaged: usize,
    /// Records of kinds that this version does not know, kept for one that does.
    pub unknown: usize,
    /// Such records beyond what is kept.
    pub unknown_left_out: usize,
    /// It is in an older format: a snapshot must replace it before records can follow.
    pub is_outdated: bool,
    /// Bytes of a torn or damaged tail that were dropped.
    pub torn_bytes: usize,
}

/// Whether a saved state may be read at all, by its first line: for what must be known
/// before anything is begun.
///
/// # Errors
/// It is no state, or [`StateError::Newer`].
pub fn check_version(bytes: &[u8]) -> Result<(), StateError> {
    Version::read(bytes).map(|_| ())
}

/// Appends a record of a kind that this version does not know.
#[cfg(test)]
pub(crate) fn put_unknown(carried: &Carried, kind: u8, body: &[u8], out: &mut Vec<u8>) {
    frame::put_record(carried.salt, kind, out, |out| out.extend_from_slice(body));
}

/// Reads a state of any version that is known, at the second `now`.
pub(crate) fn read(bytes: &[u8], now: impl Into<Stamp>) -> Result<Saved, StateError> {
    let now = now.into();
    match Version::read(bytes)? {
        Version::One(begin) => v1::read(bytes, begin, now),
        Version::Two(begin) => Saved::read(bytes, begin, now),
    }
}
