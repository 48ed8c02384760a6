//! Rule 22 in runs: what some connections received is read once more by copies of their exchange,
//! in other portions, when the connection ends.
//!
//! A copy never meets the world: what it writes is compared and dropped.

use estudely_core::{Exchange, Instant};

use crate::judge::compare::{End, Heard, splits};
use crate::net::event::Conn;

/// One connection in so many is read again. Which ones follows from their numbers alone.
const SHARE: u64 = 8;
/// Of one that received more, so much is read again: a handshake and three pieces.
const READ_MAX: usize = 64 * 1024;

/// What one connection received and wrote since it was connected.
#[derive(Debug)]
pub(super) struct Recording {
    conn: Conn,
    /// As it was then.
    before: Exchange,
    read: Vec<u8>,
    /// When which part of it was read.
    times: Vec<Heard>,
    written: Vec<u8>,
}

impl Recording {
    /// Of a connection that is connected now, if it is one of those.
    pub(super) fn of(now: Instant, conn: Conn, exchange: &Exchange) -> Option<Box<Self>> {
        let (read, times, written) = (Vec::new(), vec![Heard { at: now, end: 0 }], Vec::new());
        let fresh = || Self { conn, before: exchange.clone(), read, times, written };
        conn.0.is_multiple_of(SHARE).then(|| Box::new(fresh()))
    }

    /// Whether so many bytes more fit.
    pub(super) fn has_room(&self, more: usize) -> bool {
        self.read.len() + more <= READ_MAX
    }

    /// The exchange read this, and wrote that.
    pub(super) fn on_read(&mut self, now: Instant, read: &[u8], written: &[u8]) {
        self.read.extend_from_slice(read);
        self.times.push(Heard { at: now, end: self.read.len() });
        self.written.extend_from_slice(written);
    }

    /// Time passed, and the exchange wrote that.
    pub(super) fn on_timeout(&mut self, now: Instant, written: &[u8]) {
        self.times.push(Heard { at: now, end: self.read.len() });
        self.written.extend_from_slice(written);
    }

    /// Reads everything again.
    ///
    /// # Panics
    /// When that leads elsewhere: it breaks the rule.
    pub(super) fn judge(&self, end: End<'_>) {
        let seed = self.conn.0;
        let result = splits(&self.before, &self.times, &self.read, (&self.written, end), seed);
        if let Err(broken) = result {
            panic!("rule {}: {:?}: {}", broken.rule.mark, self.conn, broken.what);
        }
    }
}
