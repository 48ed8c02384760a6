//! All nodes behind one UDP socket; what seems to come from another port leaves from a second one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, IoSliceMut, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use estudely_core::Instant;
use mio::{Events, Interest, Poll, Token, Waker};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};

use super::{AskedLog, Extras, Shared, Stored, Traffic, is_ours};
use crate::actors::node::{Node, Sent};
use crate::world::dht::{Hostility, Resident};
use crate::world::draw::draw;

/// Bytes of a receive buffer: twice what any KRPC reader must take (32.3).
const BUFFER_LEN: usize = 4096;
/// Answers held back at most; beyond, the newest is lost, as in a full queue of a router.
const DELAYED_MAX: usize = 1 << 18;
/// How a query says that it is `sample_infohashes` (51.1).
const SAMPLE_METHOD: &[u8] = b"1:q17:sample_infohashes";
const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);

pub(super) struct UdpServer {
    shared: Arc<Shared>,
    poll: Poll,
    waker: Arc<Waker>,
    socket: mio::net::UdpSocket,
    state: UdpSocketState,
    nodes: Vec<Node>,
    /// Where nodes have more to them than honest answers.
    stage: Option<Stage>,
    draw: fastrand::Rng,
    delayed: BinaryHeap<Reverse<Delayed>>,
    delayed_count: u64,
    out: Vec<u8>,
    asked: Option<AskedLog>,
}

/// What hostile and curious nodes need besides the one socket.
struct Stage {
    /// Sends what must not come from the node's own port; nothing is read from it.
    elsewhere: UdpSocket,
    state: UdpSocketState,
    sends: Vec<Sent>,
}

impl Stage {
    fn new() -> io::Result<Self> {
        let elsewhere = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        elsewhere.set_nonblocking(true)?;
        let state = UdpSocketState::new(UdpSockRef::from(&elsewhere))?;
        Ok(Self { elsewhere, state, sends: Vec::new() })
    }
}

/// An answer that waits; ordered by when it is due, then by age.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Delayed {
    due: Instant,
    number: u64,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Box<[u8]>,
}

impl UdpServer {
    pub(super) fn new(shared: Arc<Shared>, socket: UdpSocket, extras: Extras) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let mut socket = mio::net::UdpSocket::from_std(socket);
        poll.registry().register(&mut socket, SOCKET, Interest::READABLE)?;
        let mut nodes: Vec<_> = (0..shared.world.node_count()).map(Node::new).collect();
        for Stored { node, key, peer } in extras.stored {
            nodes[node as usize].store(key, Some(peer));
        }
        let is_plain = shared.world.plan().hostility == Hostility::NONE;
        let stage = if is_plain { None } else { Some(Stage::new()?) };
        let draw = draw(shared.world.plan().seed, "weather", 0);
        Ok(Self {
            shared,
            poll,
            waker,
            socket,
            state,
            nodes,
            stage,
            draw,
            delayed: BinaryHeap::new(),
            delayed_count: 0,
            out: Vec::new(),
            asked: extras.asked,
        })
    }

    pub(super) fn waker(&self) -> Arc<Waker> {
        self.waker.clone()
    }

    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(4);
        let mut buffers = vec![[0; BUFFER_LEN]; BATCH_SIZE];
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        while !self.shared.is_stopped() {
            // With answers waiting, look again within a millisecond; else only when called.
            let wait = (!self.delayed.is_empty()).then_some(Duration::from_millis(1));
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            while self.receive(&mut buffers, &mut metas)? {
                self.send_due();
            }
            self.send_due();
        }
        Ok(())
    }

    /// Takes one batch; `false` once the socket is drained.
    fn receive(
        &mut self,
        buffers: &mut [[u8; BUFFER_LEN]],
        metas: &mut [RecvMeta],
    ) -> io::Result<bool> {
        let count = {
            let mut slices = [const { None }; BATCH_SIZE];
            for (slice, buffer) in slices.iter_mut().zip(buffers.iter_mut()) {
                *slice = Some(IoSliceMut::new(buffer));
            }
            let mut slices = slices.map(|slice| slice.unwrap_or_else(|| IoSliceMut::new(&mut [])));
            match self.state.recv(UdpSockRef::from(&self.socket), &mut slices, metas) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
                Err(error) => return Err(error),
            }
        };
        let now = self.shared.now();
        for (buffer, meta) in buffers.iter().zip(metas.iter()).take(count) {
            // The kernel may join equal-sized datagrams of one sender.
            for datagram in buffer[..meta.len.min(BUFFER_LEN)].chunks(meta.stride.max(1)) {
                self.handle(now, meta.addr, meta.dst_ip, datagram);
            }
        }
        Ok(!self.shared.is_stopped())
    }

    fn handle(&mut self, now: Instant, from: SocketAddr, to: Option<IpAddr>, datagram: &[u8]) {
        let shared = self.shared.clone();
        let node = to.filter(|&ip| is_ours(ip)).and_then(|ip| match shared.world.resident(ip)? {
            Resident::Node(node) => Some((ip, node)),
            Resident::Peer(_) | Resident::Decoy(_) => None,
        });
        let Some((own, number)) = node.filter(|_| is_ours(from.ip())) else {
            Traffic::add(&shared.traffic.strays, 1);
            return;
        };
        Traffic::add(&shared.traffic.datagrams_in, 1);
        if let Some(asked) = &mut self.asked
            && datagram.windows(SAMPLE_METHOD.len()).any(|bytes| bytes == SAMPLE_METHOD)
        {
            let line = format!("{} {own}\n", now.since(Instant::START).as_micros());
            if asked.write_all(line.as_bytes()).is_err() {
                // Its reader sees that it ends.
                self.asked = None;
            }
        }
        if shared.weather.loss.hit(&mut self.draw) {
            Traffic::add(&shared.traffic.lost, 1);
            return;
        }
        let node = &mut self.nodes[number as usize];
        if let Some(stage) = &mut self.stage {
            let mut sends = std::mem::take(&mut stage.sends);
            node.handle(&shared.world, now, from, datagram, &mut sends);
            for sent in sends.drain(..) {
                self.launch(now, sent.after, (sent.from, sent.to), &sent.payload);
            }
            if let Some(stage) = &mut self.stage {
                stage.sends = sends;
            }
            return;
        }
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        node.handle_datagram(&shared.world, now, from, datagram, &mut out);
        if !out.is_empty() {
            let own = shared.world.contact(number).addr;
            self.launch(now, Duration::ZERO, (own, from), &out);
        }
        self.out = out;
    }

    /// Sends what a node says through the weather, `after` so much time.
    fn launch(
        &mut self,
        now: Instant,
        after: Duration,
        (from, to): (SocketAddr, SocketAddr),
        bytes: &[u8],
    ) {
        if self.shared.weather.loss.hit(&mut self.draw) {
            Traffic::add(&self.shared.traffic.lost, 1);
            return;
        }
        match after + self.shared.weather.delay(&mut self.draw) {
            Duration::ZERO => self.send(from, to, bytes),
            delay => self.hold(now + delay, from, to, bytes),
        }
    }

    fn hold(&mut self, due: Instant, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        if self.delayed.len() == DELAYED_MAX {
            Traffic::add(&self.shared.traffic.lost, 1);
            return;
        }
        self.delayed_count += 1;
        let delayed = Delayed { due, number: self.delayed_count, from, to, bytes: bytes.into() };
        self.delayed.push(Reverse(delayed));
    }

    fn send_due(&mut self) {
        if self.delayed.is_empty() {
            return;
        }
        let now = self.shared.now();
        while self.delayed.peek().is_some_and(|Reverse(first)| first.due <= now) {
            if let Some(Reverse(first)) = self.delayed.pop() {
                self.send(first.from, first.to, &first.bytes);
            }
        }
    }

    /// A full socket loses the answer, as networks do.
    fn send(&self, from: SocketAddr, to: SocketAddr, contents: &[u8]) {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents,
            segment_size: None,
            src_ip: Some(from.ip()),
        };
        let own_port = self.shared.world.plan().addresses.port(0, 0);
        let sent = match &self.stage {
            Some(Stage { elsewhere, state, .. }) if from.port() != own_port => {
                state.try_send(UdpSockRef::from(elsewhere), &transmit)
            }
            _ => self.state.try_send(UdpSockRef::from(&self.socket), &transmit),
        };
        match sent {
            Ok(()) => self.shared.traffic.datagrams_out.fetch_add(1, Ordering::Relaxed),
            Err(_) => self.shared.traffic.lost.fetch_add(1, Ordering::Relaxed),
        };
    }
}
