//! The real crawl engine against the swarm of its own process, over real sockets: the whole job
//! on a machine without any network.

use std::fmt;
use std::io::{self, BufReader, Write};
use std::path::Path;

use estudely_core::keyed::Rng;
use estudely_core::limits::UTP_RATE_SERVER;
use estudely_core::{AddressPolicy, Config, Duration, Mode, Seed, Stats};
use estudely_io_smol::run::{
    Bind, Bootstrap, Observer, Options, Requests, RunError, RunFailed, run,
};
use estudely_io_smol::signal::Interrupts;
use estudely_io_smol::sink::{OutputError, Place, Plan, RowsPer, Table, open};

use super::tally::{Known, Scored};
use super::{Swarm, raise_file_limit};
use crate::world::dht::INTERVAL_DEFAULT;
use crate::world::truth::Exposure;

/// Connections at a time, where the limit of open files allows: silent peers hold theirs for
/// seconds, and on loopback no stranger is bothered.
const CONNECTIONS_MAX: u64 = 8_000;
/// Open files that are no connections.
const OTHER_FILES: u64 = 64;
/// A crawl that found nothing to do for so long has found what it can.
const UNTIL_IDLE: Duration = Duration::from_secs(20);
/// Seconds between lines about progress.
const REPORT_EVERY: u64 = 5;

/// Why there is no score.
#[derive(Debug)]
pub enum CrawlError {
    /// The file exists and is no such output, or cannot be made.
    Output(OutputError),
    /// The crawl itself failed.
    Run(RunFailed),
    /// The file cannot be read back.
    Scoring(csv::Error),
    /// There is no live node to start from.
    NoNode,
}

impl fmt::Display for CrawlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Output(error) => error.fmt(f),
            Self::Run(error) => error.fmt(f),
            Self::Scoring(error) => error.fmt(f),
            Self::NoNode => f.write_str("there is no live node to start from"),
        }
    }
}

impl std::error::Error for CrawlError {}

/// Crawls `swarm` into the CSV `out`, as fast as both can, and scores the file. A file that a
/// former crawl of the same world began is continued.
pub fn crawl_self(swarm: &Swarm, exposure: Exposure, out: &Path) -> Result<Scored, CrawlError> {
    let entry = swarm.world().bootstrap().ok_or(CrawlError::NoNode)?.addr;
    let seed = Seed::from_u64(swarm.world().plan().seed);
    let plan = Plan {
        places: &[Place::File(out.to_owned())],
        table: Table::Rows { per: RowsPer::Peer, escape_formulas: false },
        tee: false,
        overwrite: false,
        public: false,
        bytes_max: None,
        others: &[],
    };
    let mut opened =
        open(&plan, &mut Rng::new(seed).fork("outputs")).map_err(CrawlError::Output)?;
    let known: Vec<_> = opened.known.iter().collect();
    // What an earlier run verified needs nothing more and counts towards no limit.
    let wanted = exposure.exposed.saturating_sub(known.len() as u64);
    let fixed_samples = swarm.world().plan().interval == INTERVAL_DEFAULT;
    let crawler = Config::new(Mode::Crawl)
        .with_policy(AddressPolicy::AllowPrivate)
        .with_max_infohashes(fixed_samples.then_some(wanted).filter(|&wanted| wanted > 0))
        .with_rate(None)
        .and_then(|config| config.with_new_flows(None))
        .and_then(|config| config.with_max_connections(connections_max()))
        .and_then(|config| config.with_utp_rate(UTP_RATE_SERVER))
        .expect("connections are at least one and at most a few thousand");
    if wanted > 0 {
        let no_signals = |source| RunError::System { what: "cannot handle signals", source };
        let interrupts =
            Interrupts::listen().map_err(|error| CrawlError::Run(no_signals(error).into()))?;
        let options = Options {
            crawler,
            seed,
            bind: vec![Bind { addr: ([127, 0, 0, 1], 0).into(), named: true }],
            bootstrap: vec![Bootstrap {
                host: entry.ip().to_string(),
                port: entry.port(),
                router: false,
            }],
            overall_timeout: None,
            until_idle: Some(UNTIL_IDLE),
            state: None,
            known,
            requests: Requests::none(),
            signals: Some(interrupts),
        };
        // On this thread: the swarm answers from its own.
        run(options, &mut opened.fanout, &mut ProgressLines).map_err(CrawlError::Run)?;
    }
    let unread = |error: io::Error| CrawlError::Scoring(error.into());
    let file = std::fs::File::open(out).map_err(unread)?;
    let known = Known::of(swarm).map_err(unread)?;
    known.score(BufReader::new(file)).map_err(CrawlError::Scoring)
}

/// Both ends of a connection are open files of this process.
fn connections_max() -> u32 {
    let files = raise_file_limit().saturating_sub(OTHER_FILES) / 2;
    files.clamp(1, CONNECTIONS_MAX) as u32
}

/// Tells people how it goes, on stderr.
struct ProgressLines;

impl Observer for ProgressLines {
    fn tick(&mut self, elapsed: Duration, stats: &Stats) {
        if elapsed.as_secs() > 0 && elapsed.as_secs().is_multiple_of(REPORT_EVERY) {
            self.note(&format!(
                "{} s: {} nodes answered, {} infohashes, {} verified",
                elapsed.as_secs(),
                stats.contacts_answered,
                stats.infohashes_new,
                stats.verified
            ));
        }
    }

    fn note(&mut self, line: &str) {
        // A missing reader loses nothing.
        let _ = writeln!(io::stderr(), "# {line}");
    }
}
