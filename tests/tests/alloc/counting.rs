//! A global allocator that counts what each thread asks for, and what it holds.

#![allow(unsafe_code, reason = "an allocator cannot be replaced without it; nothing else here is")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The system's allocator, with the counters of the calling thread around it.
struct Counting;

/// What one thread did. Memory freed by another thread than the one that took it is counted there;
/// the tests of this suite stay on their own threads.
#[derive(Clone, Copy, Debug, Default)]
struct Counters {
    /// Blocks taken, growths of a block included.
    allocations: u64,
    /// Bytes held.
    held: i64,
    /// Most bytes held since the last reset.
    peak: i64,
}

thread_local! {
    // Constant and without a destructor: reading it allocates nothing.
    static COUNTERS: Cell<Counters> =
        const { Cell::new(Counters { allocations: 0, held: 0, peak: 0 }) };
}

fn count(allocations: u64, bytes: i64) {
    let mut counters = COUNTERS.get();
    counters.allocations += allocations;
    counters.held += bytes;
    counters.peak = counters.peak.max(counters.held);
    COUNTERS.set(counters);
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of the
// heap.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // Old and new block may exist side by side.
        count(1, new_size as i64);
        count(0, -(layout.size() as i64));
        // SAFETY: the caller's promise, passed on.
        unsafe { System.realloc(block, layout, new_size) }
    }
}

/// What a piece of work cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Blocks taken, growths included.
    pub(crate) allocations: u64,
    /// Bytes held afterwards that were not held before.
    pub(crate) kept: i64,
    /// Most bytes held on the way beyond those held before.
    pub(crate) peak: i64,
}

/// Runs `work` and says what it cost on this thread.
pub(crate) fn cost<T>(work: impl FnOnce() -> T) -> (T, Cost) {
    let before = COUNTERS.get();
    COUNTERS.set(Counters { peak: before.held, ..before });
    let result = work();
    let after = COUNTERS.get();
    let cost = Cost {
        allocations: after.allocations - before.allocations,
        kept: after.held - before.held,
        peak: after.peak - before.held,
    };
    (result, cost)
}

#[test]
fn a_block_is_counted_taken_grown_and_freed() {
    let (mut block, taken) = cost(|| Vec::<u8>::with_capacity(100));
    assert_eq!(taken, Cost { allocations: 1, kept: 100, peak: 100 });
    let ((), grown) = cost(|| block.reserve_exact(300));
    assert_eq!(grown, Cost { allocations: 1, kept: 200, peak: 300 });
    let ((), freed) = cost(|| drop(block));
    assert_eq!(freed, Cost { allocations: 0, kept: -300, peak: 0 });
    assert_eq!(cost(|| 7).1, Cost::default());
}
