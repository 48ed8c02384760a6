//! Counts work in tests: bytes hashed and bytes given to a reader of bencode, on this thread.
//!
//! Time says little about what one call does on a busy machine; the bytes that it looks at do.

use std::cell::Cell;

thread_local! {
    static BYTES: Cell<u64> = const { Cell::new(0) };
}

/// Notes that so many bytes are hashed or read.
pub(crate) fn note(bytes: usize) {
    BYTES.set(BYTES.get() + bytes as u64);
}

/// Runs `task`; how many bytes it hashed and read.
pub(crate) fn of<T>(task: impl FnOnce() -> T) -> (T, u64) {
    let before = BYTES.get();
    let result = task();
    (result, BYTES.get() - before)
}
