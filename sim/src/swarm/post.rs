//! One UDP socket that hears and speaks for many addresses, and the weather on the way.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use estudely_core::Instant;
use mio::{Events, Interest, Poll, Token, Waker};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};

use super::{Shared, Traffic};
use crate::world::draw::draw;

/// Bytes of a receive buffer: twice what any KRPC reader must take (32.3).
const BUFFER_LEN: usize = 4096;
/// Datagrams held back at most; beyond, the newest is lost, as in a full queue of a router.
const DELAYED_MAX: usize = 1 << 18;
/// Shortest wait: what is due earlier is sent together.
const WAIT_MIN: Duration = Duration::from_millis(1);
const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);

pub(super) struct Post {
    shared: Arc<Shared>,
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    socket: mio::net::UdpSocket,
    state: UdpSocketState,
    port: u16,
    /// Sends what must come from another port; nothing is read from it.
    elsewhere: Option<(UdpSocket, UdpSocketState)>,
    draw: fastrand::Rng,
    delayed: BinaryHeap<Reverse<Delayed>>,
    delayed_count: u64,
}

/// A datagram that waits; ordered by when it is due, then by age.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Delayed {
    due: Instant,
    number: u64,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Box<[u8]>,
}

/// Datagrams as they came.
pub(super) struct Batch {
    buffers: Vec<[u8; BUFFER_LEN]>,
    metas: [RecvMeta; BATCH_SIZE],
    count: usize,
}

impl Batch {
    pub(super) fn new() -> Self {
        let metas = [RecvMeta::default(); BATCH_SIZE];
        Self { buffers: vec![[0; BUFFER_LEN]; BATCH_SIZE], metas, count: 0 }
    }

    /// Each with where it came from and, if the kernel says so, for which address.
    pub(super) fn iter(&self) -> impl Iterator<Item = (SocketAddr, Option<IpAddr>, &[u8])> {
        let received = self.buffers.iter().zip(&self.metas).take(self.count);
        received.flat_map(|(buffer, meta)| {
            // The kernel may join equal-sized datagrams of one sender.
            let joined = buffer[..meta.len.min(BUFFER_LEN)].chunks(meta.stride.max(1));
            joined.map(|datagram| (meta.addr, meta.dst_ip, datagram))
        })
    }
}

impl Post {
    /// `number` tells the dice of one from those of another.
    pub(super) fn new(shared: Arc<Shared>, socket: UdpSocket, number: u64) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let port = socket.local_addr()?.port();
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let mut socket = mio::net::UdpSocket::from_std(socket);
        poll.registry().register(&mut socket, SOCKET, Interest::READABLE)?;
        let draw = draw(shared.world.plan().seed, "weather", number);
        Ok(Self {
            shared,
            poll,
            events: Events::with_capacity(4),
            waker,
            socket,
            state,
            port,
            elsewhere: None,
            draw,
            delayed: BinaryHeap::new(),
            delayed_count: 0,
        })
    }

    /// Opens a second socket, for what does not come from the port of the first.
    pub(super) fn open_elsewhere(&mut self) -> io::Result<()> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        self.elsewhere = Some((socket, state));
        Ok(())
    }

    pub(super) fn waker(&self) -> Arc<Waker> {
        self.waker.clone()
    }

    /// Waits for datagrams, a call, or the moment `due` or one of its own.
    pub(super) fn wait(&mut self, due: Option<Instant>) -> io::Result<()> {
        let now = self.shared.now();
        let first = self.delayed.peek().map(|Reverse(first)| first.due);
        let until = first.into_iter().chain(due).min();
        let wait = until.map(|at| at.since(now).max(WAIT_MIN));
        match self.poll.poll(&mut self.events, wait) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// Takes one batch; `false` once the socket is drained.
    pub(super) fn receive(&self, batch: &mut Batch) -> io::Result<bool> {
        batch.count = 0;
        let mut slices = [const { None }; BATCH_SIZE];
        for (slice, buffer) in slices.iter_mut().zip(batch.buffers.iter_mut()) {
            *slice = Some(IoSliceMut::new(buffer));
        }
        let mut slices = slices.map(|slice| slice.unwrap_or_else(|| IoSliceMut::new(&mut [])));
        match self.state.recv(UdpSockRef::from(&self.socket), &mut slices, &mut batch.metas) {
            Ok(count) => batch.count = count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(!self.shared.is_stopped())
    }

    /// Whether the weather takes a datagram.
    pub(super) fn loses(&mut self) -> bool {
        let is_lost = self.shared.weather.loss.hit(&mut self.draw);
        Traffic::add(&self.shared.traffic.lost, u64::from(is_lost));
        is_lost
    }

    /// Sends a datagram through the weather, `after` so much time.
    pub(super) fn launch(
        &mut self,
        now: Instant,
        after: Duration,
        (from, to): (SocketAddr, SocketAddr),
        bytes: &[u8],
    ) {
        if self.loses() {
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

    /// Sends what has waited for long enough.
    pub(super) fn send_due(&mut self) {
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

    /// A full socket loses the datagram, as networks do.
    fn send(&self, from: SocketAddr, to: SocketAddr, contents: &[u8]) {
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents,
            segment_size: None,
            src_ip: Some(from.ip()),
        };
        let sent = match &self.elsewhere {
            Some((socket, state)) if from.port() != self.port => {
                state.try_send(UdpSockRef::from(socket), &transmit)
            }
            _ => self.state.try_send(UdpSockRef::from(&self.socket), &transmit),
        };
        let counter = match sent {
            Ok(()) => &self.shared.traffic.datagrams_out,
            Err(_) => &self.shared.traffic.lost,
        };
        Traffic::add(counter, 1);
    }
}
