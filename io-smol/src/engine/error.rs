//! Why a run cannot do its work.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::text::counted;

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
        waited: Duration,
        /// How many bootstrap addresses were tried.
        tried: u32,
        /// Why datagrams could not even be sent, if so.
        send_failure: Option<io::ErrorKind>,
        /// Datagrams that came and answered nothing.
        received: u64,
        /// Peers of magnet links that were left out, and would have needed no node.
        left_out: u64,
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
            Self::NoNodeAnswered { waited, tried, send_failure, received, left_out } => {
                let seconds = seconds(*waited);
                write!(
                    f,
                    "no DHT node answered in {seconds} s ({} tried, 0 replies)",
                    counted((*tried).into(), "address")
                )?;
                match send_failure {
                    Some(kind) => write!(f, ": datagrams could not be sent: {kind}"),
                    None if *tried == 0 => f.write_str(": no address of a node was known by then"),
                    None if *received > 0 => {
                        write!(f, ": {} came, and answered nothing", counted(*received, "datagram"))
                    }
                    // What was left out may be all that was needed.
                    None if *left_out > 0 => Ok(()),
                    None => f.write_str(": is outgoing UDP blocked?"),
                }
            }
            Self::SinkLost(source) => write!(f, "cannot write the output: {source}"),
            Self::System { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

/// A time as it is: whole seconds, or with a digit behind them.
fn seconds(time: Duration) -> String {
    let tenths = (time.as_secs_f64() * 10.0).round() as u64;
    match (tenths / 10, tenths % 10) {
        (0, 0) => "less than 0.1".to_owned(),
        (whole, 0) => whole.to_string(),
        (whole, tenth) => format!("{whole}.{tenth}"),
    }
}

impl std::error::Error for RunError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::BindFailed { source, .. } | Self::System { source, .. } => Some(source),
            Self::SinkLost(source) => Some(source),
            Self::BootstrapFamilyOff { .. }
            | Self::NoBootstrapResolved { .. }
            | Self::NoNodeAnswered { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_blamed_on_what_is_known_and_its_time_is_the_one_that_was_waited() {
        let line = |millis, tried, received, left_out| {
            let waited = Duration::from_millis(millis);
            let send_failure = None;
            RunError::NoNodeAnswered { waited, tried, send_failure, received, left_out }.to_string()
        };
        let blocked = line(30_000, 5, 0, 0);
        assert!(blocked.starts_with("no DHT node answered in 30 s (5 addresses"), "{blocked}");
        assert!(blocked.ends_with("is outgoing UDP blocked?"), "{blocked}");
        assert!(line(300, 1, 0, 0).contains(" in 0.3 s "));
        assert!(line(9, 1, 0, 0).contains(" in less than 0.1 s "));
        for line in [line(1, 0, 0, 0), line(1, 2, 7, 0), line(1, 2, 0, 1)] {
            assert!(!line.contains("UDP"), "{line}");
        }
    }
}
