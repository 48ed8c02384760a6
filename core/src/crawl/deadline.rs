//! When the crawler next has something to do by itself, and why: what wakes an adapter, and what a
//! trace or the report of a stalled run shows. Must never decide anything.

use std::fmt;

use crate::base::time::Instant;

/// A deadline with its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// When.
    pub at: Instant,
    /// Why then.
    pub why: Why,
}

impl Deadline {
    /// One that is there only if there is a time for it.
    pub(crate) fn of(at: Option<Instant>, why: Why) -> Option<Self> {
        at.map(|at| Self { at, why })
    }

    /// The first of several; of equal ones that which is named first.
    pub(crate) fn first(several: impl IntoIterator<Item = Option<Self>>) -> Option<Self> {
        several.into_iter().flatten().min_by_key(|deadline| deadline.at)
    }
}

impl fmt::Display for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.at.as_micros();
        write!(f, "{}.{:06} s: {}", micros / 1_000_000, micros % 1_000_000, self.why.words())
    }
}

/// Declares the reasons once: variant and words.
macro_rules! reasons {
    ($(#[doc = $words:literal] $why:ident,)*) => {
        /// Why a deadline is set.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Why { $(#[doc = $words] $why,)* }

        impl Why {
            /// What it is called in traces and reports.
            pub const fn words(self) -> &'static str {
                match self { $(Self::$why => $words.trim_ascii()),* }
            }
        }
    };
}

reasons! {
    /// a query stays unanswered
    Silence,
    /// the query rate allows the next query
    Rate,
    /// the limit of new flows allows the next endpoint
    NewFlows,
    /// a delayed query makes room for others
    DelayedFull,
    /// a node of the table is probed, to tell dead nodes from a dead network
    LivenessProbe,
    /// an address may be sent the next query
    Delayed,
    /// a job asks the node that named its infohash
    Question,
    /// bootstrap nodes are asked again
    Bootstrap,
    /// nodes of the saved state are asked again
    WarmStart,
    /// the sweep has a node to ask
    Sweep,
    /// a walk has a node to ask
    Walk,
    /// the routing table needs upkeep
    Upkeep,
    /// a slow connection is overtaken
    Overtake,
    /// a peer may be dialled
    Dial,
    /// a connection has had its turn, and others wait
    Recall,
    /// a stream over uTP is due, or may send
    Stream,
    /// an infohash waits for a job
    Begin,
    /// a failed infohash is due again
    SecondChance,
    /// a job is given up
    Patience,
    /// no node has answered for so long that lookups are given up
    NoAnswer,
    /// an outage has lasted as long as jobs are held for it
    OutageOver,
}
