//! Asking for a connection, several times if need be.

use crate::base::rng::Rng;
use crate::base::time::{Duration, Instant};
use crate::limits::{UTP_SYN_TIMEOUT, UTP_SYNS_MAX};
use crate::utp::seq::Seq;

/// The SYNs of a connection. A peer may take a repeated one for another connection, so each has an
/// id and a number of its own (29.8).
#[derive(Clone, Copy, Debug)]
pub(super) struct Syn {
    /// Drawn when the stream was made: id and number of each.
    draws: [(u16, u16); UTP_SYNS_MAX],
    /// The latest one.
    attempt: u8,
    is_due: bool,
    sent: Option<Instant>,
    /// When the next one is due.
    next: Option<Instant>,
}

impl Syn {
    /// None was sent.
    pub(super) fn new(rng: &mut Rng) -> Self {
        let draws = [(); UTP_SYNS_MAX].map(|()| {
            let [a, b, c, d] = rng.bytes();
            (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
        });
        Self { draws, attempt: 0, is_due: true, sent: None, next: None }
    }

    /// Draws anew, unless the SYN was sent.
    pub(super) fn redraw(&mut self, rng: &mut Rng) {
        if self.is_due {
            self.draws = Self::new(rng).draws;
        }
    }

    /// Whether a SYN is to be sent.
    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    /// When the latest one was sent, if it was.
    pub(super) fn sent(&self) -> Option<Instant> {
        self.sent
    }

    /// When the next one is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// The id of the latest one.
    pub(super) fn id(&self) -> u16 {
        self.draws[usize::from(self.attempt)].0
    }

    /// Its number.
    pub(super) fn seq(&self) -> Seq {
        Seq(self.draws[usize::from(self.attempt)].1)
    }

    /// It leaves.
    pub(super) fn on_sent(&mut self, now: Instant) {
        self.is_due = false;
        self.sent = Some(now);
        let is_last = usize::from(self.attempt) + 1 == UTP_SYNS_MAX;
        let wait: Duration = UTP_SYN_TIMEOUT * (1 << self.attempt);
        self.next = (!is_last).then(|| now + wait);
    }

    /// Time passed: perhaps the next one is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.next.is_some_and(|next| next <= now) {
            (self.sent, self.next) = (None, None);
            self.attempt += 1;
            self.is_due = true;
        }
    }
}
