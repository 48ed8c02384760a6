//! The world on real loopback sockets (Linux: all of 127/8 is local there).
//!
//! Every node and peer has an address of its own, but one UDP socket serves all nodes, one TCP
//! listener all peers that take TCP, and a second UDP socket all those that take uTP alone: the
//! kernel says which address was meant (`IP_PKTINFO`, `getsockname`), and the answer leaves from it.
//! Three threads, one for each, share the immutable world and no lock. Whatever
//! was not sent to 127/8 is dropped unanswered, so that no machine but this one is ever spoken to.
//!
//! Nodes play the vices that the world's plan gives them; peers here have none.

mod crawl;
pub mod options;
pub mod output;
pub mod tally;
pub mod ways;
mod post;
mod sockets;
mod tcp;
mod truth;
mod udp;
mod utp;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use estudely_core::{InfoHash, Instant};

use crate::world::dht::{Percent, World};

pub use crawl::{CrawlError, crawl_self};
pub use sockets::Sockets;
use ways::Ways;

/// What happens to answers between the world and the crawler.
#[derive(Clone, Debug)]
pub struct Weather {
    /// Share of datagrams lost, in each direction.
    pub loss: Percent,
    /// What every answer, datagram or stream, is held back, in milliseconds.
    pub latency: RangeInclusive<u32>,
}

impl Weather {
    /// Nothing is lost and nothing waits.
    pub const CALM: Self = Self { loss: Percent::ZERO, latency: 0..=0 };

    fn delay(&self, draw: &mut fastrand::Rng) -> Duration {
        match *self.latency.end() {
            0 => Duration::ZERO,
            _ => Duration::from_millis(draw.u32(self.latency.clone()).into()),
        }
    }
}

/// What passed through a swarm so far.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Datagrams that arrived for an address of the world.
    pub datagrams_in: AtomicU64,
    /// Datagrams sent in answer.
    pub datagrams_out: AtomicU64,
    /// Datagrams thrown away as the weather said, both ways.
    pub lost: AtomicU64,
    /// Datagrams and connections for an address without a resident, or not for 127/8.
    pub strays: AtomicU64,
    /// Connections accepted, over TCP and uTP.
    pub accepted: AtomicU64,
    /// Bytes written to connections over TCP.
    pub stream_bytes_out: AtomicU64,
}

impl Traffic {
    fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

/// Where sample queries are noted: a line for each, in one write, with the microseconds since the
/// swarm started and the address of the node asked.
pub type AskedLog = Box<dyn io::Write + Send>;

/// What a swarm does besides serving its world in calm weather.
#[derive(Default)]
pub struct Extras {
    /// Where every `sample_infohashes` query that arrives is noted.
    pub asked: Option<AskedLog>,
    /// What nodes store beyond the world's truth from the first moment on.
    pub stored: Vec<Stored>,
    /// Share of the peers that serve which takes uTP alone; none if it is not said.
    pub utp_peers: Option<Percent>,
}

/// A torrent that a node stores and the world does not know.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The node's number.
    pub node: u32,
    /// The torrent.
    pub key: InfoHash,
    /// Where a peer of it is: any listener on this machine.
    pub peer: SocketAddr,
}

/// A world being served. Dropping it ends the threads and closes every socket.
#[derive(Debug)]
pub struct Swarm {
    shared: Arc<Shared>,
    wakers: [Arc<mio::Waker>; 3],
    threads: Vec<JoinHandle<io::Result<()>>>,
}

/// What all threads see.
#[derive(Debug)]
struct Shared {
    world: Arc<World>,
    ways: Ways,
    weather: Weather,
    traffic: Traffic,
    stop: AtomicBool,
    started: std::time::Instant,
}

impl Shared {
    /// Virtual time of the actors: since the swarm started.
    fn now(&self) -> Instant {
        Instant::from_micros(self.started.elapsed().as_micros() as u64)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Swarm {
    /// Serves `world`, which must have been planned for the addresses of `sockets`.
    pub fn start(world: Arc<World>, sockets: Sockets, weather: Weather) -> io::Result<Self> {
        Self::start_with(world, sockets, weather, Extras::default())
    }

    /// The same, and what `extras` say.
    pub fn start_with(
        world: Arc<World>,
        sockets: Sockets,
        weather: Weather,
        extras: Extras,
    ) -> io::Result<Self> {
        debug_assert_eq!(world.plan().addresses, sockets.addresses());
        let utp_port = sockets.utp.local_addr()?.port();
        let ways = Ways::draw(&world, extras.utp_peers.unwrap_or(Percent::ZERO), utp_port);
        let shared = Arc::new(Shared {
            world,
            ways,
            weather,
            traffic: Traffic::default(),
            stop: AtomicBool::new(false),
            started: std::time::Instant::now(),
        });
        let udp = udp::UdpServer::new(shared.clone(), sockets.udp, extras)?;
        let tcp = tcp::TcpServer::new(shared.clone(), sockets.tcp, sockets.absent)?;
        let utp = utp::UtpServer::new(shared.clone(), sockets.utp)?;
        let wakers = [udp.waker(), tcp.waker(), utp.waker()];
        let threads = vec![
            std::thread::Builder::new().name("swarm-udp".to_owned()).spawn(|| udp.run())?,
            std::thread::Builder::new().name("swarm-tcp".to_owned()).spawn(|| tcp.run())?,
            std::thread::Builder::new().name("swarm-utp".to_owned()).spawn(|| utp.run())?,
        ];
        Ok(Self { shared, wakers, threads })
    }

    /// The world that is served.
    pub fn world(&self) -> &Arc<World> {
        &self.shared.world
    }

    /// What its peers take, and where they are.
    pub fn ways(&self) -> &Ways {
        &self.shared.ways
    }

    /// Writes what is true of it, one JSON object per torrent and line.
    pub fn write_truth(&self, out: &mut impl io::Write) -> io::Result<()> {
        truth::write(&self.shared.world, &self.shared.ways, out)
    }

    /// What passed so far.
    pub fn traffic(&self) -> &Traffic {
        &self.shared.traffic
    }

    /// Ends the threads and says why one ended before, if it did.
    pub fn stop(mut self) -> io::Result<()> {
        self.halt()
    }

    fn halt(&mut self) -> io::Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for waker in &self.wakers {
            // A waker fails only if its thread is gone, which the join below reports.
            let _ = waker.wake();
        }
        let mut first = Ok(());
        for thread in self.threads.drain(..) {
            let ended =
                thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")));
            first = first.and(ended);
        }
        first
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        // A caller that wants the error calls `stop`.
        let _ = self.halt();
    }
}

/// Whether a datagram or connection was meant for this machine's own world.
fn is_ours(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V4(ip) if ip.is_loopback())
}

/// Lifts the limit of open files as far as allowed; the limit after that.
pub fn raise_file_limit() -> u64 {
    rlimit::increase_nofile_limit(u64::MAX).unwrap_or(1024)
}

#[cfg(test)]
mod tests;
