//! What a run is given: its options, and the receiver of its progress.

use estudely_core::{Bootstrap as Kind, Config, Duration, InfoHash, Seed, Stats};

use super::bind::Bind;
use super::signal::Interrupts;
use crate::files::requests::Requests;
use crate::files::state::StateFile;

/// Everything a run needs to know.
pub struct Options {
    /// The core's configuration. Our own addresses are filled in from the bound
    /// sockets, and the number of connections is clamped to the descriptors there are.
    pub crawler: Config,
    /// What all randomness of the run follows from.
    pub seed: Seed,
    /// UDP sockets to bind, at most one per family; a family without one is off.
    pub bind: Vec<Bind>,
    /// Where to enter the DHT. Unused when the mode makes no DHT traffic.
    pub bootstrap: Vec<Bootstrap>,
    /// End the run after so long, shutdown included.
    pub overall_timeout: Option<Duration>,
    /// End the run when nothing was open or due for so long.
    pub until_idle: Option<Duration>,
    /// Where the state of an earlier run is, and that of this one is kept.
    pub state: Option<StateFile>,
    /// Infohashes that need nothing more: never admitted.
    pub known: Vec<InfoHash>,
    /// Infohashes to fetch.
    pub requests: Requests,
    /// Who hears SIGINT, SIGTERM and SIGHUP: the first ends the run cleanly, the second ends the
    /// process. Tests and embedders that own the signals say `None`.
    pub signals: Option<Interrupts>,
}

/// A place to enter the DHT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// A name, or a literal address without brackets.
    pub host: String,
    /// Its UDP port.
    pub port: u16,
    /// A public router, asked once and never sampled; otherwise an ordinary node.
    pub router: bool,
}

impl Bootstrap {
    /// What the core calls it.
    pub(super) fn kind(&self) -> Kind {
        if self.router { Kind::Router } else { Kind::Node }
    }
}

/// Who watches a run. Called between turns of the loop: must not block for long.
pub trait Observer {
    /// Once a second, and once at the end.
    fn tick(&mut self, elapsed: Duration, stats: &Stats);

    /// A line that a person should see, without prefix and newline.
    fn note(&mut self, line: &str);
}
