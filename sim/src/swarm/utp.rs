//! All peers that take uTP alone, behind one UDP socket on the port that they share. Each is a host
//! of its own, there from its first SYN on until its last connection is forgotten.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use estudely_core::Instant;
use mio::Waker;

use super::post::{Batch, Post};
use super::ways::Way;
use super::{Shared, Traffic, is_ours};
use crate::actors::utp::host::{Host, Said};
use crate::world::dht::Resident;

/// Hosts at once; what would make one more is lost.
const HOSTS_MAX: usize = 1 << 16;
/// Least time between two deadlines of one host.
const WAKE_GAP: Duration = Duration::from_millis(1);

pub(super) struct UtpServer {
    shared: Arc<Shared>,
    post: Post,
    /// By the peer's number.
    hosts: BTreeMap<u32, Served>,
    agenda: BinaryHeap<Reverse<(Instant, u32)>>,
}

struct Served {
    host: Host,
    /// The earliest wake-up that is planned.
    wake: Option<Instant>,
}

impl UtpServer {
    pub(super) fn new(shared: Arc<Shared>, socket: UdpSocket) -> io::Result<Self> {
        let post = Post::new(shared.clone(), socket, 2)?;
        Ok(Self { shared, post, hosts: BTreeMap::new(), agenda: BinaryHeap::new() })
    }

    pub(super) fn waker(&self) -> Arc<Waker> {
        self.post.waker()
    }

    pub(super) fn run(mut self) -> io::Result<()> {
        let mut batch = Batch::new();
        while !self.shared.is_stopped() {
            let due = self.agenda.peek().map(|Reverse((at, _))| *at);
            self.post.wait(due)?;
            while self.post.receive(&mut batch)? {
                let now = self.shared.now();
                for (from, to, datagram) in batch.iter() {
                    self.handle(now, from, to, datagram);
                }
                self.post.send_due();
            }
            self.post.send_due();
            self.wake_due();
        }
        Ok(())
    }

    fn handle(&mut self, now: Instant, from: SocketAddr, to: Option<IpAddr>, datagram: &[u8]) {
        let shared = self.shared.clone();
        let takes_utp = |peer: &u32| shared.ways.way(&shared.world, *peer) == Way::Utp;
        let peer = to.filter(|&ip| is_ours(ip)).and_then(|ip| match shared.world.resident(ip)? {
            Resident::Peer(peer) => Some(peer).filter(takes_utp),
            Resident::Node(_) | Resident::Decoy(_) => None,
        });
        let Some(peer) = peer.filter(|_| is_ours(from.ip())) else {
            Traffic::add(&shared.traffic.strays, 1);
            return;
        };
        Traffic::add(&shared.traffic.datagrams_in, 1);
        if self.post.loses() || self.hosts.len() >= HOSTS_MAX && !self.hosts.contains_key(&peer) {
            return;
        }
        let served = self
            .hosts
            .entry(peer)
            .or_insert_with(|| Served { host: Host::new(&shared.world, peer), wake: None });
        let talks = served.host.len();
        let said = served.host.hear(&shared.world, now, from, datagram);
        let accepted = served.host.len().saturating_sub(talks);
        Traffic::add(&shared.traffic.accepted, accepted as u64);
        self.conclude(now, peer, &said);
    }

    fn wake_due(&mut self) {
        let now = self.shared.now();
        while let Some(&Reverse((at, peer))) = self.agenda.peek() {
            if at > now {
                return;
            }
            self.agenda.pop();
            // An earlier one was planned after this.
            let served = self.hosts.get_mut(&peer).filter(|served| served.wake == Some(at));
            let Some(served) = served else { continue };
            served.wake = None;
            let said = served.host.wake(&self.shared.world, now);
            self.conclude(now, peer, &said);
        }
    }

    /// Sends what a host says, and plans when it acts by itself.
    fn conclude(&mut self, now: Instant, peer: u32, said: &Said) {
        let own = self.shared.ways.addr(&self.shared.world, peer);
        for (to, datagram, _) in said {
            self.post.launch(now, Duration::ZERO, (own, *to), datagram);
        }
        let Some(served) = self.hosts.get_mut(&peer) else { return };
        let Some(due) = served.host.poll_timeout() else {
            self.hosts.remove(&peer);
            return;
        };
        let due = due.max(now + WAKE_GAP);
        if served.wake.is_none_or(|planned| due < planned) {
            served.wake = Some(due);
            self.agenda.push(Reverse((due, peer)));
        }
    }
}
