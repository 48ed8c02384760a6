//! One query of the sweep: what is asked, and why.

use std::net::SocketAddr;

use super::frontier::Waiting;
use crate::base::id::Id;

/// What to ask a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SweepAsk {
    /// `sample_infohashes`.
    Sample,
    /// `find_node`: because sampling was refused, or to tell silent from dead.
    FindNode,
}

/// Why it is asked: what an answer or silence then means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Its first query of this pass.
    First,
    /// `find_node` after an error to `sample_infohashes`.
    Refused,
    /// `find_node` at the end of the pass after silence.
    Retry,
    /// `sample_infohashes` once more, since the retry was answered.
    Again,
    /// `find_node` to the node that lives nearest to a place that no answer told of.
    Gap {
        /// How many nodes were asked about the place before.
        before: u8,
    },
}

impl Reason {
    /// Whether the query is about a place, not about the node.
    pub(crate) fn is_gap(self) -> bool {
        matches!(self, Self::Gap { .. })
    }
}

/// One query of the sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SweepQuery {
    /// The contact to ask.
    pub(crate) waiting: Waiting,
    /// What.
    pub(crate) ask: SweepAsk,
    /// Why.
    pub(crate) reason: Reason,
    /// The point whose neighbours the answer is to name.
    pub(crate) target: Id,
}

impl SweepQuery {
    /// Where it goes.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.waiting.contact.addr
    }
}
