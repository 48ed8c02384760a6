//! What a peer brings that nobody asked for, and how much of it is borne (H27, M8, M10, M12).
//!
//! Messages and bytes that cost nothing but reading have a rate: the seed of a huge torrent has a
//! long bitfield and much to tell, and the exchange's deadline bounds all of it. Requests and stray
//! pieces have a number.

use std::ops::ControlFlow;

use super::{Flow, fail};
use crate::base::fault::PeerFault;
use crate::base::time::Duration;
use crate::limits::{
    REQUESTS_MAX, SKIPPED_AT_ONCE, SKIPPED_PER_SECOND, STRAYS_MAX, UNWANTED_AT_ONCE,
    UNWANTED_PER_SECOND,
};

/// Counts of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Nuisance {
    unwanted: u64,
    skipped: u64,
    requests: u32,
    strays: u32,
}

impl Nuisance {
    /// The peer asks for a piece.
    pub(super) fn on_request(&mut self) -> Flow {
        self.requests += 1;
        within(self.requests.into(), REQUESTS_MAX.into())
    }

    /// A piece or a reject that is not due.
    pub(super) fn on_stray(&mut self) -> Flow {
        self.strays += 1;
        within(self.strays.into(), STRAYS_MAX.into())
    }

    /// An extension message of no use, so long after the exchange began.
    pub(super) fn on_unwanted(&mut self, elapsed: Duration) -> Flow {
        self.unwanted += 1;
        within(self.unwanted, allowance(UNWANTED_AT_ONCE, UNWANTED_PER_SECOND, elapsed))
    }

    /// Bytes of no use, so long after the exchange began.
    pub(super) fn on_skipped(&mut self, elapsed: Duration, bytes: u32) -> Flow {
        self.skipped = self.skipped.saturating_add(bytes.into());
        within(self.skipped, allowance(SKIPPED_AT_ONCE, SKIPPED_PER_SECOND, elapsed))
    }
}

/// So many at once, and so many more for each second, begun seconds in parts.
fn allowance(at_once: u32, per_second: u32, elapsed: Duration) -> u64 {
    let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    let more = micros.saturating_mul(per_second.into()) / 1_000_000;
    more.saturating_add(at_once.into())
}

/// Goes on while `count` keeps within `cap`.
fn within(count: u64, cap: u64) -> Flow {
    if count > cap { fail(PeerFault::Unwanted) } else { ControlFlow::Continue(()) }
}
