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

    /// The exchange read this, and wrote that. What is read at one instant, with nothing in
    /// between, is one portion: in which parts it came must not matter.
    pub(super) fn on_read(&mut self, now: Instant, read: &[u8], written: &[u8]) {
        self.read.extend_from_slice(read);
        let end = self.read.len();
        match self.times.as_mut_slice() {
            [.., before, last] if last.at == now && last.end > before.end => last.end = end,
            _ => self.times.push(Heard { at: now, end }),
        }
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

#[cfg(test)]
mod tests {
    use estudely_core::internal::exchange::{Attempt, Pipeline};
    use estudely_core::{InfoHash, Seed, Transport};

    use super::*;

    #[test]
    fn what_is_read_at_one_instant_is_one_portion_unless_time_was_handed_in_between() {
        let at = |second: u64| Instant::from_micros(second * 1_000_000);
        let attempt = Attempt { transport: Transport::Tcp, pipeline: Pipeline::All };
        let seed = Seed::from_u64(1);
        let exchange = Exchange::new(at(0), InfoHash([7; 20]), attempt, None, seed);
        let mut recording = Recording::of(at(0), Conn(SHARE), &exchange).expect("one of those");
        recording.on_read(at(0), b"ab", b"x");
        recording.on_read(at(0), b"c", b"y");
        recording.on_read(at(1), b"d", b"");
        recording.on_timeout(at(1), b"z");
        recording.on_read(at(1), b"e", b"");
        recording.on_read(at(1), b"f", b"");
        let ends: Vec<_> = recording.times.iter().map(|heard| (heard.at, heard.end)).collect();
        assert_eq!(ends, [(at(0), 0), (at(0), 3), (at(1), 4), (at(1), 4), (at(1), 6)]);
        assert_eq!((&recording.read[..], &recording.written[..]), (&b"abcdef"[..], &b"xyz"[..]));
    }
}
