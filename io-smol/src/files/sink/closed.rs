//! Whether standard output was closed when the process began.
//!
//! Before `main` the standard library opens `/dev/null` in the place of a closed descriptor, for
//! reading and writing. From then on it cannot be told from one that a parent gave on purpose, as
//! Python does for `subprocess.DEVNULL`: so the descriptor is looked at before that. Only Linux has
//! this; elsewhere a closed standard output is taken for one that swallows everything.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(target_os = "linux")]
use rustix::fs::lstat;

static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Called by the system before the standard library begins: nothing of that is used here.
#[cfg(target_os = "linux")]
extern "C" fn look() {
    let closed = lstat("/proc/self/fd").is_ok() && lstat("/proc/self/fd/1").is_err();
    WAS_CLOSED.store(closed, Ordering::Relaxed);
}

#[cfg(target_os = "linux")]
#[used]
#[allow(unsafe_code, reason = "nothing else runs before the standard library; it only looks")]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = look;

/// An error if standard output was closed when the process began. A pipe without a reader is not:
/// that is an end like any other, and found by the first look.
///
/// # Errors
/// One line.
pub fn check_stdout() -> io::Result<()> {
    const CLOSED: &str = "standard output is closed; name a file, or open it";
    if WAS_CLOSED.load(Ordering::Relaxed) {
        return Err(io::Error::new(io::ErrorKind::BrokenPipe, CLOSED));
    }
    Ok(())
}
