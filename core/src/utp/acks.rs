//! When what was received is acknowledged: at once, or a little later together with more.

use crate::base::time::Instant;
use crate::limits::{UTP_ACK_DELAY, UTP_ACK_EVERY, UTP_QUICK_ACKS};

/// What is owed to the peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Acks {
    /// Packets in order that were not acknowledged.
    waiting: u8,
    /// Packets acknowledged one by one so far, at most [`UTP_QUICK_ACKS`].
    quick: u8,
    is_due: bool,
    /// When it is due otherwise.
    at: Option<Instant>,
}

impl Acks {
    /// A packet in order arrived.
    pub(super) fn on_in_order(&mut self, now: Instant) {
        self.waiting = self.waiting.saturating_add(1);
        if self.quick < UTP_QUICK_ACKS {
            self.quick += 1;
            self.is_due = true;
        }
        if self.waiting >= UTP_ACK_EVERY {
            self.is_due = true;
        }
        self.at = self.at.or(Some(now + UTP_ACK_DELAY));
    }

    /// The peer must hear of it now: a gap, a repetition, the end, room after there was none.
    pub(super) fn hurry(&mut self) {
        self.is_due = true;
    }

    /// Whether an acknowledgement is to be sent.
    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    /// A packet with our acknowledgement was sent.
    pub(super) fn on_sent(&mut self) {
        *self = Self { quick: self.quick, ..Self::default() };
    }

    /// When [`Acks::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.at.filter(|_| !self.is_due)
    }

    /// Time passed.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.at.is_some_and(|at| at <= now) {
            self.is_due = true;
        }
    }
}
