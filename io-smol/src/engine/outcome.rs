//! What a run did: its report, or its failure.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use estudely_core::{Duration, Stats};

use super::error::RunError;
use crate::files::state::Kept;

pub use estudely_core::session::{BootstrapReport, Ended, Failure};

/// What a run did.
#[derive(Debug)]
pub struct Report {
    /// The core's counters.
    pub stats: Stats,
    /// How long it ran.
    pub elapsed: Duration,
    /// Why it ended.
    pub ended: Ended,
    /// How entering the DHT went.
    pub bootstrap: BootstrapReport,
    /// What the sockets did.
    pub udp: UdpReport,
    /// What became of the state, if it was kept.
    pub state: Option<Kept>,
}

/// What the UDP sockets did beside the core's own counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UdpReport {
    /// Bound addresses by `Family::index`.
    pub bound: [Option<SocketAddr>; 2],
    /// Datagrams that the system refused to send: to the core they are lost.
    pub send_failures: u64,
    /// The reason of the last refusal.
    pub last_failure: Option<io::ErrorKind>,
}

/// A run that could not do its work.
#[derive(Debug)]
pub struct RunFailed {
    /// Why.
    pub error: RunError,
    /// What was done until then, if the run got so far that it could do anything.
    pub report: Option<Box<Report>>,
}

impl From<RunError> for RunFailed {
    fn from(error: RunError) -> Self {
        Self { error, report: None }
    }
}

impl fmt::Display for RunFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for RunFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.source()
    }
}
