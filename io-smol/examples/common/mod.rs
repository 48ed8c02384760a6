//! What the examples share: ends with a status, and one socket with queries in flight.
#![allow(dead_code, reason = "each example uses a part")]

use std::future::poll_fn;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use async_io::Timer;
use estudely_core::NodeId;
use estudely_core::keyed::Rng;
use estudely_core::krpc::{Ask, Envelope, Want, emit_query};
use estudely_io_smol::entropy::random_seed;
use estudely_io_smol::run::Bind;
use estudely_io_smol::udp::{RECEIVE_BUFFER, Udp};

/// How long a node may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// Why an example failed: a line for people, and the exit status.
pub(crate) struct Failure {
    line: String,
    status: u8,
}

/// The arguments cannot be used.
pub(crate) fn usage(line: impl Into<String>) -> Failure {
    Failure { line: line.into(), status: 2 }
}

/// It was tried, in vain.
pub(crate) fn vain(line: impl ToString) -> Failure {
    Failure { line: line.to_string(), status: 1 }
}

/// Prints the text on standard output or the failure on standard error.
pub(crate) fn finish(name: &str, result: Result<String, Failure>) -> ExitCode {
    match result {
        Ok(text) => {
            // A reader that closed the pipe has seen what it wanted.
            let _ = io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let _ = writeln!(io::stderr(), "{name}: {}", failure.line);
            ExitCode::from(failure.status)
        }
    }
}

/// The arguments, if there are exactly `N`.
pub(crate) fn arguments<const N: usize>(form: &str) -> Result<[String; N], Failure> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    given.try_into().map_err(|_| usage(format!("usage: {form}")))
}

/// Reads `IP:PORT`, with IPv6 in brackets. Examples resolve no names.
pub(crate) fn address(text: &str) -> Result<SocketAddr, Failure> {
    let addr: SocketAddr = text.parse().map_err(|_| usage(format!("{text}: not IP:PORT")))?;
    if addr.port() == 0 { Err(usage(format!("{text}: port 0"))) } else { Ok(addr) }
}

/// A socket that asks queries one datagram each.
pub(crate) struct Asker {
    udp: Udp,
    rng: Rng,
    /// Our id, new each time.
    pub(crate) own: NodeId,
}

impl Asker {
    /// A socket of the family of `to`, on any free port.
    pub(crate) fn new(to: SocketAddr) -> Result<Self, Failure> {
        let ip = match to {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let bind = Bind { addr: SocketAddr::new(ip, 0), named: true };
        let (udp, _) = Udp::bind(bind).map_err(vain)?;
        let udp = udp.ok_or_else(|| vain("no such address family here"))?;
        let mut rng = Rng::new(random_seed().map_err(vain)?);
        let own = NodeId(rng.bytes());
        Ok(Self { udp, rng, own })
    }

    /// Sends a query and returns its transaction id, which nobody can guess.
    pub(crate) fn ask(&mut self, to: SocketAddr, ask: &Ask) -> [u8; 6] {
        let transaction = self.rng.bytes();
        let envelope =
            Envelope { transaction: &transaction, version: None, read_only: true, external: None };
        let mut datagram = Vec::new();
        emit_query(&mut datagram, &envelope, self.own, ask, Want::UNSPECIFIED);
        if self.udp.has_room() {
            self.udp.send(to, &datagram);
        }
        transaction
    }

    /// Waits up to `patience` for datagrams and hands them on. `false`: nothing came.
    pub(crate) async fn listen(
        &self,
        patience: Duration,
        each: impl FnMut(SocketAddr, &[u8]),
    ) -> bool {
        let readable = async {
            poll_fn(|cx| self.udp.poll_readable(cx)).await;
            true
        };
        let late = async {
            Timer::after(patience).await;
            false
        };
        let came = smol::future::or(readable, late).await;
        if came {
            self.udp.receive(&mut [0; RECEIVE_BUFFER], each);
        }
        came
    }
}
