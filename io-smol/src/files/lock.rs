//! Locks on files: two runs never write one file, where the file system can tell them apart.

use std::fs::{File, TryLockError};
use std::io;

/// What came of locking a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Locked {
    /// It is ours until it is closed.
    Yes,
    /// Another process has it.
    ByAnother,
    /// Its file system has no locks: NFS without a lock daemon, for one. Nothing keeps another
    /// run off it.
    CannotBe,
}

/// Locks `file` without waiting.
///
/// # Errors
/// The system's, if it is none that a file system without locks gives.
pub(super) fn lock(file: &File) -> io::Result<Locked> {
    outcome(file.try_lock())
}

fn outcome(tried: Result<(), TryLockError>) -> io::Result<Locked> {
    match tried {
        Ok(()) => Ok(Locked::Yes),
        Err(TryLockError::WouldBlock) => Ok(Locked::ByAnother),
        Err(TryLockError::Error(error)) if has_no_locks(&error) => Ok(Locked::CannotBe),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn has_no_locks(error: &io::Error) -> bool {
    let is = |code| error.raw_os_error() == Some(code);
    error.kind() == io::ErrorKind::Unsupported
        || [libc::ENOLCK, libc::ENOSYS, libc::EOPNOTSUPP].into_iter().any(is)
}

/// What a person is told of a file that goes without a lock.
pub(super) fn without(shown: &str) -> String {
    format!("{shown}: cannot be locked on this file system; let no other crawl write it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_without_locks_is_no_obstacle_and_every_other_failure_is() {
        let failed = |code| outcome(Err(TryLockError::Error(io::Error::from_raw_os_error(code))));
        for code in [libc::ENOLCK, libc::ENOSYS, libc::EOPNOTSUPP] {
            assert_eq!(failed(code).expect("goes on"), Locked::CannotBe);
        }
        assert_eq!(failed(libc::EIO).expect_err("fails").raw_os_error(), Some(libc::EIO));
        assert_eq!(outcome(Err(TryLockError::WouldBlock)).expect("told"), Locked::ByAnother);
        assert_eq!(outcome(Ok(())).expect("locked"), Locked::Yes);
    }
}
