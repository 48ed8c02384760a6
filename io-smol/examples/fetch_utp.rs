//! Fetches one torrent's metadata from one peer over uTP (BEP 29), with a plain socket of the
//! standard library:
//!
//! ```text
//! cargo run -p estudely-io-smol --example fetch_utp -- INFOHASH 127.0.0.1:51413 utp.pcap
//! ```
//!
//! Contacts that address only. All packets go to the last argument, a file that Wireshark reads,
//! unless that is `-`. Exit status: 0 fetched and verified, 1 not, 2 usage.

mod common;

use std::fs::File;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::ExitCode;

use estudely_core::internal::exchange::{Attempt, Pipeline, Progress};
use estudely_core::keyed::Rng;
use estudely_core::limits::{CONNECT_TIMEOUT, DATAGRAM_LEN_MAX, UTP_RATE_SERVER};
use estudely_core::utp::{Endpoint, State, StreamId};
use estudely_core::{
    Duration, Exchange, InfoHash, Instant, Outcome, PeerFault, Step, Transport, magnet,
};
use estudely_io_smol::clock::Clock;
use estudely_io_smol::entropy::random_seed;

use common::{Failure, address, arguments, finish, usage, vain};

/// What is expected of a peer once it offered metadata, in bytes.
const EXPECTED: usize = 1 << 20;

/// How long the end of the stream may take.
const GOODBYE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let result = arguments("fetch_utp INFOHASH|MAGNET IP:PORT FILE|-");
    let result = result.and_then(|[hash, peer, capture]| {
        let magnet = magnet::parse(&hash).map_err(|error| usage(error.to_string()))?;
        let mut fetch = Fetch::new(magnet.hash, address(&peer)?, &capture)?;
        let outcome = fetch.run().map_err(vain)?;
        let fetched = outcome.result.map_err(|fault| vain(format!("{peer}: {fault}")))?;
        let took = outcome.timings.ended.since(outcome.timings.started);
        let (bytes, packets) = (fetched.metadata.raw().len(), fetch.endpoint.counters());
        let (sent, taken) = (packets.sent, packets.taken);
        Ok(format!("{bytes} bytes, {took:?}, {sent} packets sent and {taken} received\n"))
    });
    finish("fetch_utp", result)
}

/// One conversation over one stream over one socket.
struct Fetch {
    clock: Clock,
    socket: UdpSocket,
    peer: SocketAddr,
    endpoint: Endpoint<()>,
    id: StreamId,
    exchange: Exchange,
    /// What the exchange says and the stream has no room for yet.
    unsent: Vec<u8>,
    capture: Option<Capture>,
}

impl Fetch {
    fn new(hash: InfoHash, peer: SocketAddr, capture: &str) -> Result<Self, Failure> {
        let clock = Clock::start();
        let now = clock.now();
        let any: IpAddr = match peer {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).map_err(vain)?;
        let seed = random_seed().map_err(vain)?;
        let mut endpoint = Endpoint::new(1, UTP_RATE_SERVER, Rng::new(seed).fork("utp"));
        let deadline = now + CONNECT_TIMEOUT;
        let id = endpoint.connect(now, peer, deadline, ()).map_err(|()| vain("no room"))?;
        let attempt = Attempt { transport: Transport::Utp, pipeline: Pipeline::All };
        let exchange = Exchange::new(now, hash, attempt, None, seed);
        let capture = (capture != "-").then(|| Capture::new(capture)).transpose().map_err(vain)?;
        Ok(Self { clock, socket, peer, endpoint, id, exchange, unsent: Vec::new(), capture })
    }

    /// Until the exchange has ended and its stream is closed.
    fn run(&mut self) -> io::Result<Outcome> {
        let outcome = loop {
            if let Some(outcome) = self.step() {
                break outcome;
            }
            let due = Some(self.exchange.poll_timeout());
            self.turn(due)?;
        };
        self.endpoint.close(self.id);
        let latest = self.clock.now() + GOODBYE;
        while !self.endpoint.is_empty() && self.clock.now() < latest {
            self.turn(Some(latest))?;
        }
        Ok(outcome)
    }

    /// What the stream brought goes to the exchange, and what that says to the stream.
    fn step(&mut self) -> Option<Outcome> {
        let now = self.clock.now();
        self.endpoint.handle_timeout(now);
        while self.endpoint.poll_changed().is_some() {}
        let state = self.endpoint.stream(self.id).map(|stream| stream.state());
        match state {
            Some(State::Connecting) => {}
            Some(State::Connected) => self.exchange.handle_connected(now, &mut self.unsent),
            _ if self.exchange.is_connected() => return Some(self.exchange.handle_closed(now)),
            _ => return Some(self.exchange.handle_failed(now, PeerFault::ConnectTimeout)),
        }
        let mut buf = [0; 4_096];
        let mut step = self.exchange.handle_timeout(now, &mut self.unsent);
        while let (Step::Continue, count @ 1..) = (&step, self.endpoint.read(self.id, &mut buf)) {
            step = self.exchange.handle_bytes(now, &buf[..count], &mut self.unsent);
        }
        if let Step::Finished(outcome) = step {
            return Some(*outcome);
        }
        if self.exchange.progress() >= Progress::Offered {
            self.endpoint.expect(self.id, EXPECTED);
        }
        let written = self.endpoint.write(self.id, &self.unsent);
        self.unsent.drain(..written);
        let is_finished = self.endpoint.stream(self.id).is_some_and(|stream| stream.is_finished());
        is_finished.then(|| self.exchange.handle_closed(now))
    }

    /// Sends all that may be sent, then waits for one datagram, at most until something is due.
    fn turn(&mut self, due: Option<Instant>) -> io::Result<()> {
        let now = self.clock.now();
        self.endpoint.handle_timeout(now);
        let mut out = Vec::new();
        while let Some(transmit) = self.endpoint.poll_transmit(now, &mut out) {
            // A socket that is full loses the packet, as the network may.
            let _ = self.socket.send_to(&out, transmit.to);
            self.keep(now, true, &out)?;
            out.clear();
        }
        let due = self.endpoint.poll_timeout().into_iter().chain(due).min();
        let wait = due.map_or(GOODBYE, |due| due.since(now)).max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(wait))?;
        let mut buf = [0; DATAGRAM_LEN_MAX];
        if let Ok((len, from)) = self.socket.recv_from(&mut buf) {
            let now = self.clock.now();
            self.endpoint.handle_datagram(now, from, &buf[..len]);
            self.keep(now, false, &buf[..len])?;
        }
        Ok(())
    }

    fn keep(&mut self, now: Instant, is_ours: bool, datagram: &[u8]) -> io::Result<()> {
        let Some(capture) = &mut self.capture else { return Ok(()) };
        let (own, peer) = (self.socket.local_addr()?.port(), self.peer.port());
        capture.write(now, if is_ours { [own, peer] } else { [peer, own] }, datagram)
    }
}

/// A capture file (pcap, raw IP): UDP from one port to another of 127.0.0.1, whatever the
/// addresses are.
struct Capture(File);

impl Capture {
    fn new(path: &str) -> io::Result<Self> {
        let mut file = File::create(path)?;
        // The magic number, version 2.4, no offset, no precision, longest packet, raw IP.
        for field in [0xa1b2_c3d4_u32, 0x0002_0004, 0, 0, 65_535, 101] {
            file.write_all(&field.to_be_bytes())?;
        }
        Ok(Self(file))
    }

    fn write(&mut self, now: Instant, ports: [u16; 2], datagram: &[u8]) -> io::Result<()> {
        // A datagram fits the receive buffer.
        let udp_len = datagram.len() as u16 + 8;
        let ip_len = udp_len + 20;
        let micros = now.as_micros();
        let mut record = Vec::new();
        let fields = [micros / 1_000_000, micros % 1_000_000, ip_len.into(), ip_len.into()];
        record.extend(fields.map(|field| (field as u32).to_be_bytes()).concat());
        record.extend([0x45, 0]);
        record.extend(ip_len.to_be_bytes());
        record.extend([0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
        record.extend([ports[0], ports[1], udp_len, 0].map(u16::to_be_bytes).concat());
        record.extend(datagram);
        self.0.write_all(&record)
    }
}
