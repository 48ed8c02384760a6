//! A bottleneck: so many bytes a second, a bounded queue before it, and the tail dropped.

use estudely_core::{Duration, Instant};

/// What a queue holds, as the time that it takes to drain.
pub const QUEUE_TIME: Duration = Duration::from_millis(250);
/// Least that a queue holds, bytes: ten full Ethernet frames.
pub const QUEUE_LEN_MIN: u64 = 15_000;

/// One direction of a bottleneck.
#[derive(Clone, Debug)]
pub struct Pipe {
    /// Nanoseconds that one byte takes; `None` without a limit.
    nanos_per_byte: Option<u64>,
    queue_nanos: u64,
    /// When the last byte so far has passed, nanoseconds.
    free_at: u64,
}

impl Pipe {
    /// A share of one in `shares` of a bottleneck of so many bytes a second; 0 bytes for no limit.
    pub fn new(bytes_per_second: u64, shares: u64) -> Self {
        let nanos_per_byte = (bytes_per_second > 0)
            .then(|| (1_000_000_000 * shares.max(1)).div_ceil(bytes_per_second));
        let least = QUEUE_LEN_MIN * nanos_per_byte.unwrap_or(0);
        Self { nanos_per_byte, queue_nanos: least.max(QUEUE_TIME.as_nanos() as u64), free_at: 0 }
    }

    /// Queues `len` bytes and says when the last of them has passed, counted from `now`; `None` if
    /// the queue has no room for them.
    pub fn admit(&mut self, now: Instant, len: usize) -> Option<Duration> {
        let waits = self.free_at.saturating_sub(now.as_micros() * 1_000);
        let takes = self.nanos_per_byte.unwrap_or(0) * len as u64;
        (waits + takes <= self.queue_nanos).then(|| self.pass(now, len))
    }

    /// The same for a packet that begins a connection: it waits behind a full queue at most,
    /// because streams that share a bottleneck slow down to what the queue holds.
    pub fn begin(&mut self, now: Instant, len: usize) -> Duration {
        let waits = Duration::from_nanos(self.queue_nanos);
        let takes = Duration::from_nanos(self.nanos_per_byte.unwrap_or(0) * len as u64);
        self.pass(now, len).min(waits + takes)
    }

    /// The same for bytes that wait as long as it takes: those of a stream.
    pub fn pass(&mut self, now: Instant, len: usize) -> Duration {
        let Some(nanos_per_byte) = self.nanos_per_byte else { return Duration::ZERO };
        let now = now.as_micros() * 1_000;
        self.free_at = self.free_at.max(now) + nanos_per_byte * len as u64;
        // Whole microseconds are all that instants know.
        Duration::from_micros((self.free_at - now).div_ceil(1_000))
    }

    /// Gives the place of `len` bytes that wait to whatever comes next: whoever sends them stopped.
    pub fn give_back(&mut self, now: Instant, len: usize) {
        let takes = self.nanos_per_byte.unwrap_or(0) * len as u64;
        self.free_at = self.free_at.saturating_sub(takes).max(now.as_micros() * 1_000);
    }
}
