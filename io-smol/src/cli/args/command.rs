//! A command line whose every value was checked.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use estudely_core::limits;
use estudely_core::magnet::Magnet;
use estudely_core::{AddressPolicy, EncryptionPolicy, TransportPolicy};

use crate::files::sink::{Place, RowsPer};

/// The four forms by name alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormName {
    /// `crawl`
    Crawl,
    /// `crawl peers`
    Peers,
    /// `crawl fetch`
    Fetch,
    /// `crawl get`
    Get,
}

impl FormName {
    /// Every form.
    pub const ALL: [Self; 4] = [Self::Crawl, Self::Peers, Self::Fetch, Self::Get];

    /// The form as written on a command line.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Crawl => "crawl",
            Self::Peers => "crawl peers",
            Self::Fetch => "crawl fetch",
            Self::Get => "crawl get",
        }
    }

    pub(super) fn find(word: &str) -> Option<Self> {
        match word {
            "peers" => Some(Self::Peers),
            "fetch" => Some(Self::Fetch),
            "get" => Some(Self::Get),
            _ => None,
        }
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Sweep, look up, fetch.
    Crawl,
    /// Sweep and look up; write pairs.
    Peers,
    /// Fetch what a file lists; `None` is stdin.
    Fetch(Option<PathBuf>),
    /// Fetch one torrent.
    Get {
        /// Which.
        target: Magnet,
        /// Peers to ask; when there are any, the DHT is not used.
        peers: Vec<SocketAddr>,
    },
}

impl Form {
    /// The form by name alone.
    pub fn name(&self) -> FormName {
        match self {
            Self::Crawl => FormName::Crawl,
            Self::Peers => FormName::Peers,
            Self::Fetch(_) => FormName::Fetch,
            Self::Get { .. } => FormName::Get,
        }
    }
}

/// When the live display is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProgressMode {
    /// On a terminal; plain lines elsewhere.
    #[default]
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere, and no plain lines either.
    Never,
}

/// How often plain lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbosity {
    /// Now and then.
    Normal,
    /// Often: `-v`.
    Verbose,
}

/// Limits on the load put on others, and on the router at home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// KRPC queries a second; `None` is no limit.
    pub rate: Option<u32>,
    /// New remote endpoints a minute; `None` is no limit.
    pub new_flows: Option<u32>,
    /// Peer connections open at once.
    pub max_connections: u32,
    /// MiB of unfinished metadata.
    pub unfinished_mib: u32,
    /// MiB of rows that wait for an output.
    pub rows_mib: u32,
    /// Packets of uTP a second in each family.
    pub utp_rate: u32,
}

impl Pace {
    /// `--profile home`: does not fill the connection table of a home router.
    pub const HOME: Self = Self {
        rate: Some(200),
        new_flows: Some(1_800),
        max_connections: 200,
        unfinished_mib: limits::UNFINISHED_MIB_HOME,
        rows_mib: limits::ROWS_MIB_HOME,
        utp_rate: limits::UTP_RATE_HOME,
    };
    /// `--profile server`.
    pub const SERVER: Self = Self {
        rate: Some(2_000),
        new_flows: Some(60_000),
        max_connections: 2_000,
        unfinished_mib: limits::UNFINISHED_MIB_SERVER,
        rows_mib: limits::ROWS_MIB_SERVER,
        utp_rate: limits::UTP_RATE_SERVER,
    };
}

/// A command line whose every value was checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// What to do.
    pub form: Form,
    /// `--out`, in the order given, or the form's default.
    pub outputs: Vec<Place>,
    /// `--tee`
    pub tee: bool,
    /// `--rows`
    pub rows: RowsPer,
    /// `--overwrite`
    pub overwrite: bool,
    /// `--escape-formulas`
    pub escape_formulas: bool,
    /// `--max-output-bytes`
    pub max_output_bytes: Option<u64>,
    /// `--stats`
    pub stats: Option<PathBuf>,
    /// `--state`, or the form's default.
    pub state: Option<PathBuf>,
    /// `--max-infohashes`
    pub max_infohashes: Option<u64>,
    /// `--peers-per-infohash`
    pub peers_per_infohash: u32,
    /// `--metadata-peer-attempts`
    pub peer_attempts: u32,
    /// `--overall-timeout`
    pub overall_timeout: Option<Duration>,
    /// `--until-idle`
    pub until_idle: Option<Duration>,
    /// `--bootstrap`, host without brackets and port; empty means the public routers.
    pub bootstrap: Vec<(String, u16)>,
    /// `--bind`; empty means the default of both families.
    pub bind: Vec<SocketAddr>,
    /// `--profile` and the flags beside it.
    pub pace: Pace,
    /// `--encryption`
    pub encryption: EncryptionPolicy,
    /// `--transports`
    pub transports: TransportPolicy,
    /// `--allow-private`, or public addresses only.
    pub policy: AddressPolicy,
    /// `--seed`
    pub seed: Option<u64>,
    /// `--progress`
    pub progress: ProgressMode,
    /// `-v`
    pub verbosity: Verbosity,
}

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Parsed {
    /// A run.
    Run(Box<Command>),
    /// Text for stdout, and a clean end.
    Text(String),
}

/// Why a command line is refused: one line that names option, value and cure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(String);

impl UsageError {
    pub(super) fn new(line: impl Into<String>) -> Self {
        Self(line.into())
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}
