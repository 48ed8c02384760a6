//! What a session is told: the terms of a run, and at each turn what the crawl has come to.

use std::net::SocketAddr;

use crate::base::time::Duration;
use crate::dht::bootstrap::Bootstrap;
use crate::limits::{SAVE_AT_THE_END, SAVE_IN_A_HURRY};
use crate::state::Restored;

/// What a run was asked to do, as far as its beginning and its end depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What ends it by itself.
    pub goal: Goal,
    /// What it begins with.
    pub start: Start,
    /// It fails when no node answered for so long; `None`: it needs no answer, or waits for one for
    /// ever.
    pub answer_within: Option<Duration>,
    /// It ends after so long, shutdown included.
    pub overall_timeout: Option<Duration>,
    /// It ends when nothing was open or due for so long.
    pub until_idle: Option<Duration>,
}

/// What ends a run by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Nothing: it crawls on.
    Crawl,
    /// Every request is settled.
    Requests,
}

/// What a run begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// No contacts: only bootstrap nodes lead into the DHT.
    Cold,
    /// Contacts of an earlier run: public routers may wait.
    Warm,
}

impl Start {
    /// What a run begins with that took up this of an earlier one.
    pub fn after(restored: &Restored) -> Self {
        if restored.contacts + restored.due > 0 { Self::Warm } else { Self::Cold }
    }
}

/// A place to enter the DHT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// An address.
    Address(SocketAddr, Bootstrap),
    /// A name to resolve. The adapter knows which; the session calls it by its place in the list.
    Name(Bootstrap),
}

/// What the crawl and the requests have come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The crawl.
    pub progress: Progress,
    /// The requests.
    pub requests: Requests,
}

/// What a crawl has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Queries of each family that were answered, in whatever way; `None` for one that is off.
    pub replies: [Option<u64>; 2],
    /// Contacts that were asked.
    pub asked: u64,
    /// Peers that were dialled.
    pub dialled: u64,
    /// What is left to do.
    pub work: Work,
}

impl Progress {
    /// Whether any node answered.
    pub(super) fn has_reply(&self) -> bool {
        self.replies.iter().flatten().any(|count| *count > 0)
    }
}

/// What is left to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Something is open or due.
    Busy,
    /// Nothing is open or due.
    Idle,
    /// As many infohashes as asked for are settled.
    Finished,
}

/// How far a list of requests is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requests {
    /// What is still to come.
    pub supply: Supply,
    /// What was handed to the crawler so far.
    pub given: Given,
}

impl Requests {
    /// There are none and none will come.
    pub const NONE: Self = Self { supply: Supply::Exhausted, given: Given::Nothing };

    /// Whether what was given so far tells whether a DHT is needed.
    pub(super) fn are_judged(self) -> bool {
        self.given != Given::Nothing || self.supply == Supply::Exhausted
    }
}

/// What is still to come of a list of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supply {
    /// More may come.
    Open,
    /// The crawler takes no more for now.
    Blocked,
    /// Every request is with the crawler.
    Exhausted,
}

/// What was handed to the crawler of a list of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// Nothing.
    Nothing,
    /// Infohashes without any peer: in vain without a DHT.
    HashesAlone,
    /// At least one came with a peer.
    WithPeers,
}

/// News of the outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A size limit is reached: they take no more rows.
    Full,
    /// The reader of one went away.
    Closed,
    /// One can no longer be written.
    Lost,
    /// All that was written is with the operating system.
    Flushed,
}

/// What an adapter is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Resolve the name at this place in the list of doors, and say what came of it.
    Resolve(usize),
    /// Hand this address to the crawler.
    Enter(SocketAddr, Bootstrap),
    /// The run has really begun: outputs and state may be changed.
    Begin,
    /// Tell the crawler to begin nothing new, and cut off every connection.
    ShutDown,
}

/// Why a run ended: all but the last are clean ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As many infohashes as asked for are settled.
    Limit,
    /// The overall timeout.
    Timeout,
    /// Nothing was open or due for as long as asked.
    Idle,
    /// SIGINT or SIGTERM.
    Signal,
    /// Every request is settled.
    RequestsDone,
    /// The outputs reached their size limit.
    OutputLimit,
    /// The reader of an output went away.
    OutputClosed,
    /// It could not do its work.
    Failed(Failure),
}

impl Ended {
    /// Whether the run could do its work.
    pub const fn is_clean(self) -> bool {
        !matches!(self, Self::Failed(_))
    }

    /// Whether rows that are settled by then are still written; `begun`: the outputs have begun.
    pub const fn lets_rows_out(self, begun: bool) -> bool {
        match self {
            Self::OutputLimit | Self::Failed(Failure::OutputLost) => false,
            // A run that fails without an answer leaves its outputs as they were.
            Self::Failed(_) => begun,
            _ => true,
        }
    }

    /// How long the state may take to be written whole: without it the file is as complete, only
    /// longer.
    pub const fn save_within(self) -> Duration {
        match self {
            // The end is promised for a moment, and most of it is used up.
            Self::Signal | Self::Timeout => SAVE_IN_A_HURRY,
            _ => SAVE_AT_THE_END,
        }
    }
}

/// Why a run could not do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No bootstrap name resolved, and no address was given.
    NoNameResolved,
    /// No node answered in time.
    NoNodeAnswered {
        /// How long was waited.
        waited: Duration,
        /// How many addresses were tried.
        tried: u32,
    },
    /// An output can no longer be written.
    OutputLost,
}

/// Why a session wants to be turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// Names are to be resolved again.
    Names,
    /// Public routers are to be asked, because known contacts stay silent.
    Routers,
    /// A run without an answer fails.
    Answer,
    /// An idle run is over.
    Idle,
    /// The overall timeout.
    Overall,
    /// Cut off connections had their time.
    Grace,
}

/// How entering the DHT went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BootstrapReport {
    /// Names that resolved to a usable address, in the end.
    pub names_resolved: u32,
    /// Names that did not.
    pub names_failed: u32,
    /// Distinct addresses handed to the core, literal ones included.
    pub addresses_tried: u32,
    /// How many of them sent us anything.
    pub answered: u32,
}
