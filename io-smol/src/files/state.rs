//! The state file of `--state`: one snapshot of the core, and behind it the records appended since.
//!
//! The bytes are the core's and are never looked into here. What this file promises is that a
//! `kill -9` at any instant leaves a file that restores: the whole is only ever replaced by a
//! rename of a file that was written and synchronised before, and records only ever grow at the
//! end, where the core drops a torn one.
//!
//! The file is locked as outputs are. A lock belongs to the inode, and each whole write brings a
//! new one: it is locked before the rename, and a process that waited for the lock of the old file
//! opens the path again.

mod file;
mod keeper;

pub(crate) use file::with_ending;
pub use file::{APPENDED_BYTES_MAX, STATE_BYTES_MAX, StateFile, StateFileError};
pub use keeper::Kept;
pub(crate) use keeper::{Core, Keeper};
