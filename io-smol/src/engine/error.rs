//! Why a run cannot do its work.

use std::fmt;
use std::io;
use std::net::SocketAddr;

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
    /// A state file that can be neither used nor replaced.
    StateStuck {
        /// Its name, and what is wrong with it.
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
