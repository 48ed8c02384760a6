//! One run of the engine over real sockets: what goes in, what comes out, how it can fail.
//!
//! [`run`] owns the loop; it decides when to move bytes, never what they mean.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

use estudely_core::{Config, Duration, Family, InfoHash, Mode, Row, Seed, Stats};
use smol::stream::{self, Stream};

use self::driver::Driver;
use crate::clock::Clock;
use crate::dns;
use crate::files;
use crate::signal::Interrupts;
use crate::state::{Kept, StateFile};
use crate::tcp::Connections;
use crate::udp::Udp;

mod bootstrap;
mod driver;
mod feed;
mod warm;

/// Everything a run needs to know.
pub struct Options {
    /// The core's configuration. Our own addresses are filled in by [`run`] from the bound sockets, and
    /// `max_connections` is clamped to the descriptors there are.
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
    /// Who hears SIGINT and SIGTERM: the first ends the run cleanly, the second ends the process.
    /// Tests and embedders that own the signals say `None`.
    pub signals: Option<Interrupts>,
}

/// A UDP socket to bind; TCP dials of its family leave from its address when that is specific.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind {
    /// Address and port; port 0 lets the system choose.
    pub addr: SocketAddr,
    /// Whether the user named it: then a busy port is an error. An unnamed one gives way to any
    /// free port, and an unnamed family that the machine lacks is left out, each with a note.
    pub named: bool,
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

/// One infohash to fetch, with the peers already known to have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What to fetch.
    pub hash: InfoHash,
    /// Peers to try first; may be empty where lookups are allowed.
    pub peers: Vec<SocketAddr>,
}

/// The requests of a run, drawn one by one as the core takes them, so that a list of any length
/// needs no memory. The run ends when they are all settled.
pub struct Requests(pub(crate) Option<Pin<Box<dyn Stream<Item = Request>>>>);

impl Requests {
    /// No requests: the run lives by other rules.
    pub fn none() -> Self {
        Self(None)
    }

    /// Requests at hand, or made without blocking.
    pub fn new(requests: impl IntoIterator<Item = Request, IntoIter: 'static>) -> Self {
        Self(Some(Box::pin(stream::iter(requests))))
    }

    /// Requests that arrive in their own time, such as lines of standard input sent by a reader
    /// thread through an `async_channel`.
    pub fn stream(requests: impl Stream<Item = Request> + 'static) -> Self {
        Self(Some(Box::pin(requests)))
    }
}

/// The wall times of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowTimes {
    /// When the infohash was first heard of.
    pub found: SystemTime,
    /// When it was settled.
    pub settled: SystemTime,
}

/// Where rows go. Called between turns of the loop: must not block for long.
///
/// A sink that takes no more for now says so, and the rows stay in the core, which then finds no
/// more work: that is the only backpressure.
pub trait Sink {
    /// The run has really begun: a node answered, a row is about to be written, or the run ended
    /// cleanly without either. Until then everything must stay as it was before the run. Further
    /// calls do nothing.
    ///
    /// # Errors
    /// As for [`Sink::write`].
    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Ready when the next [`Sink::write`] will not wait, or to report a loss.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Writes a row, whole or not at all. At the very end of a run it is called without
    /// [`Sink::poll_ready`], with the few rows that are left.
    ///
    /// # Errors
    /// A broken pipe ends the run cleanly; anything else as [`RunError::SinkLost`].
    fn write(&mut self, row: &Row, times: RowTimes) -> io::Result<()>;

    /// Ready when all rows written are with the operating system.
    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The same by waiting, for a moment at most: what is not taken then is given up.
    ///
    /// # Errors
    /// As for [`Sink::write`].
    fn flush(&mut self) -> io::Result<()>;

    /// Whether a limit of the output is reached: the row just given did not fit and was not
    /// written, and the run is to end.
    fn is_full(&self) -> bool {
        false
    }
}

/// Who watches a run. Called between turns of the loop: must not block for long.
pub trait Observer {
    /// Once a second, and once at the end.
    fn tick(&mut self, elapsed: Duration, stats: &Stats);

    /// A line that a person should see, without prefix and newline.
    fn note(&mut self, line: &str);
}

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
    /// It could not do its work: see [`RunFailed::error`].
    Failed,
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

/// Why a run could not do its work: one line each.
#[derive(Debug)]
pub enum RunError {
    /// A UDP socket could not be bound.
    BindFailed {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Every bootstrap node is a literal address of a family without a socket.
    BootstrapFamilyOff {
        /// The first of them.
        node: SocketAddr,
    },
    /// No bootstrap name resolved, and no literal address was given.
    NoBootstrapResolved {
        /// The names tried.
        names: Vec<String>,
    },
    /// No node answered in time.
    NoNodeAnswered {
        /// How long was waited.
        seconds: u64,
        /// How many bootstrap addresses were tried.
        tried: u32,
        /// Why datagrams could not even be sent, if so.
        send_failure: Option<io::ErrorKind>,
    },
    /// A state file that cannot be used cannot be set aside either.
    StateStuck {
        /// Its name, what is wrong with it, and what the system said.
        line: String,
    },
    /// An output can no longer be written.
    SinkLost(io::Error),
    /// Something the run needs from the operating system is missing.
    System {
        /// What was being set up.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BindFailed { addr, source } => write!(f, "cannot bind UDP {addr}: {source}"),
            Self::BootstrapFamilyOff { node } => {
                let family = if node.is_ipv4() { "IPv4" } else { "IPv6" };
                write!(
                    f,
                    "--bootstrap {node}: {family} is off; --bind an address of that family, or \
                     name a node of the other"
                )
            }
            Self::NoBootstrapResolved { names } => write!(
                f,
                "no bootstrap name resolves ({}): is there a network, and does DNS work?",
                names.join(", ")
            ),
            Self::NoNodeAnswered { seconds, tried, send_failure } => {
                write!(
                    f,
                    "no DHT node answered in {seconds} s ({tried} addresses tried, 0 replies)"
                )?;
                match send_failure {
                    Some(kind) => write!(f, ": datagrams could not be sent: {kind}"),
                    None => f.write_str(": is outgoing UDP blocked?"),
                }
            }
            Self::StateStuck { line } => f.write_str(line),
            Self::SinkLost(source) => write!(f, "cannot write the output: {source}"),
            Self::System { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::BindFailed { source, .. } | Self::System { source, .. } => Some(source),
            Self::SinkLost(source) => Some(source),
            Self::BootstrapFamilyOff { .. }
            | Self::NoBootstrapResolved { .. }
            | Self::StateStuck { .. }
            | Self::NoNodeAnswered { .. } => None,
        }
    }
}

/// Runs the engine until one of the ends in [`Ended`], on the calling thread.
///
/// # Errors
/// See [`RunError`]. Rows settled before the error have been written; a run that fails before any
/// node answered leaves `sink` alone.
pub fn run(
    mut options: Options,
    sink: &mut dyn Sink,
    observer: &mut dyn Observer,
) -> Result<Report, RunFailed> {
    let clock = Clock::start();
    if let Some(limit) = files::raise_descriptor_limit() {
        let wanted = options.crawler.max_connections();
        let allowed = files::connections_within(wanted, limit);
        if allowed < wanted {
            observer.note(&files::clamp_note(wanted, limit, allowed));
            options.crawler = options.crawler.with_connections_within(allowed);
        }
    }
    let udp = bind(&options, observer)?;
    if options.crawler.mode().uses_dht() {
        refuse_useless(&options.bootstrap, udp.each_ref().map(Option::is_some))?;
    }
    let interrupts = options.signals.take();
    let local = udp.each_ref().map(|socket| socket.as_ref().map(|udp| udp.local().ip()));
    let connections = Connections::new(clock, local);
    let driver = Driver::new(options, clock, udp, &connections, interrupts.as_ref())?;
    async_io::block_on(connections.run(driver.run(sink, observer)))
}

fn bind(options: &Options, observer: &mut dyn Observer) -> Result<[Option<Udp>; 2], RunError> {
    let mut udp = [None, None];
    for bind in &options.bind {
        let mut bind = *bind;
        if options.crawler.mode() == Mode::Direct {
            // Nothing will be sent: the socket only proves that the address is ours to dial from.
            bind.addr.set_port(0);
        }
        let (socket, note) = Udp::bind(bind)?;
        if let Some(note) = note {
            observer.note(&note);
        }
        if let Some(socket) = socket {
            let place = socket.family().index();
            udp[place] = Some(socket);
        }
    }
    Ok(udp)
}

/// An error if none of these nodes can be asked, whatever the network does.
fn refuse_useless(bootstrap: &[Bootstrap], families: [bool; 2]) -> Result<(), RunError> {
    let mut first = None;
    for node in bootstrap {
        match dns::literal(&node.host, node.port) {
            Some(addr) if !families[Family::of(addr).index()] => {
                first.get_or_insert(addr);
            }
            _ => return Ok(()),
        }
    }
    match first {
        Some(node) => Err(RunError::BootstrapFamilyOff { node }),
        None => Ok(()),
    }
}
