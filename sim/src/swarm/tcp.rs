//! All peers behind one TCP listener, those that take encrypted connections only among them. Those
//! that take uTP alone are elsewhere. They play their manners; vices need times of their own, which only virtual peers have here, so no
//! world that is served has any.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use estudely_core::Instant;
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use slab::Slab;

use super::sockets::Absent;
use super::ways::Way;
use super::{Shared, Traffic, is_ours};
use crate::actors::door::AnyPeer;
use crate::actors::peer::{IDLE, Step};
use crate::world::dht::Resident;
use crate::world::draw::draw;

/// Bytes read at once; diallers send little.
const SCRATCH_LEN: usize = 32 * 1024;
/// Connections accepted before others are served again.
const ACCEPT_BURST: usize = 256;
/// How long to wait before accepting again when descriptors ran out.
const PRESSURE_PAUSE: Duration = Duration::from_millis(5);
const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

pub(super) struct TcpServer {
    shared: Arc<Shared>,
    poll: Poll,
    waker: Arc<Waker>,
    listener: mio::net::TcpListener,
    /// Whether the listener may still hold connections to accept.
    acceptable: bool,
    connections: Slab<Accepted>,
    /// Tells a connection from an earlier one in its slot.
    serial: u64,
    /// When each connection is next looked at for idleness, in the order of those times.
    idle: VecDeque<(Instant, usize, u64)>,
    /// What is held back by the weather.
    due: BinaryHeap<Reverse<(Instant, usize, u64)>>,
    draw: fastrand::Rng,
    scratch: Vec<u8>,
    /// Keeps the dead peers dead.
    _absent: Absent,
}

struct Accepted {
    stream: TcpStream,
    peer: AnyPeer,
    serial: u64,
    /// Written by the peer, not yet taken by the kernel; nothing is read meanwhile.
    unsent: Vec<u8>,
    sent: usize,
    /// Before this, the weather holds `unsent` back.
    not_before: Instant,
    /// Registered for writability too.
    wants_write: bool,
}

#[derive(PartialEq, Eq)]
enum Readiness {
    Stays,
    Ends,
}

impl TcpServer {
    pub(super) fn new(
        shared: Arc<Shared>,
        listener: TcpListener,
        absent: Absent,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        listener.set_nonblocking(true)?;
        let mut listener = mio::net::TcpListener::from_std(listener);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let draw = draw(shared.world.plan().seed, "weather", 1);
        Ok(Self {
            shared,
            poll,
            waker,
            listener,
            acceptable: false,
            connections: Slab::new(),
            serial: 0,
            idle: VecDeque::new(),
            due: BinaryHeap::new(),
            draw,
            scratch: vec![0; SCRATCH_LEN],
            _absent: absent,
        })
    }

    pub(super) fn waker(&self) -> Arc<Waker> {
        self.waker.clone()
    }

    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while !self.shared.is_stopped() {
            match self.poll.poll(&mut events, self.wait()) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.acceptable = true,
                    WAKER => {}
                    Token(slot) => self.serve(slot, event),
                }
            }
            self.accept();
            self.send_due();
            self.end_idle();
        }
        Ok(())
    }

    fn wait(&self) -> Option<Duration> {
        let now = self.shared.now();
        let until = |at: Instant| at.since(now).max(Duration::from_millis(1));
        let idle = self.idle.front().map(|&(at, ..)| until(at));
        let due = self.due.peek().map(|Reverse((at, ..))| until(*at));
        let accept = self.acceptable.then_some(PRESSURE_PAUSE);
        [idle, due, accept].into_iter().flatten().min()
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPT_BURST {
            if !self.acceptable {
                return;
            }
            match self.listener.accept() {
                Ok((stream, from)) => self.welcome(stream, is_ours(from.ip())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.acceptable = false,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Out of descriptors: those in the queue wait until others have gone.
                Err(_) => return,
            }
        }
        // More may be waiting, and their edge has been seen: come back at once.
        let _ = self.waker.wake();
    }

    fn welcome(&mut self, mut stream: TcpStream, from_here: bool) {
        let shared = &self.shared;
        let peer =
            stream.local_addr().ok().filter(|to| from_here && is_ours(to.ip())).and_then(|to| {
                match shared.world.resident(to.ip())? {
                    Resident::Peer(peer) => Some(peer).filter(|&peer| takes_tcp(shared, peer)),
                    Resident::Node(_) | Resident::Decoy(_) => None,
                }
            });
        let Some(peer) = peer else {
            Traffic::add(&shared.traffic.strays, 1);
            return;
        };
        Traffic::add(&shared.traffic.accepted, 1);
        let now = shared.now();
        let entry = self.connections.vacant_entry();
        let slot = entry.key();
        // Answers are whole messages: nothing is gained by waiting for more to send.
        let _ = stream.set_nodelay(true);
        if self.poll.registry().register(&mut stream, Token(slot), Interest::READABLE).is_err() {
            return;
        }
        self.serial += 1;
        self.idle.push_back((now + IDLE, slot, self.serial));
        entry.insert(Accepted {
            stream,
            peer: AnyPeer::new(&shared.world, now, peer),
            serial: self.serial,
            unsent: Vec::new(),
            sent: 0,
            not_before: now,
            wants_write: false,
        });
    }

    fn serve(&mut self, slot: usize, event: &Event) {
        // An event may be older than the connection in its slot: then there is nothing to read.
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let mut fate = Readiness::Stays;
        if event.is_writable() {
            fate = connection.flush(&self.shared, &self.poll, slot);
        }
        if fate == Readiness::Stays {
            fate = self.read(slot, event.is_read_closed() || event.is_error());
        }
        if fate == Readiness::Ends {
            self.end(slot);
        }
    }

    fn read(&mut self, slot: usize, ended: bool) -> Readiness {
        let connection = &mut self.connections[slot];
        while connection.unsent.is_empty() {
            let count = match connection.stream.read(&mut self.scratch) {
                Ok(0) => return Readiness::Ends,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Readiness::Stays,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Readiness::Ends,
            };
            let now = self.shared.now();
            let input = &self.scratch[..count];
            let world = &self.shared.world;
            let step = connection.peer.handle_bytes(world, now, input, &mut connection.unsent);
            if step != Step::Continue {
                return Readiness::Ends;
            }
            let delay = self.shared.weather.delay(&mut self.draw);
            if delay.is_zero() || connection.unsent.is_empty() {
                if connection.flush(&self.shared, &self.poll, slot) == Readiness::Ends {
                    return Readiness::Ends;
                }
            } else {
                connection.not_before = now + delay;
                self.due.push(Reverse((connection.not_before, slot, connection.serial)));
            }
            // A short read has emptied the stream, unless its end came along with the bytes.
            if count < self.scratch.len() && !ended {
                return Readiness::Stays;
            }
        }
        Readiness::Stays
    }

    fn send_due(&mut self) {
        if self.due.is_empty() {
            return;
        }
        let now = self.shared.now();
        while let Some(&Reverse((at, slot, serial))) = self.due.peek() {
            if at > now {
                return;
            }
            self.due.pop();
            let connection = self.connections.get_mut(slot);
            let Some(connection) = connection.filter(|c| c.serial == serial) else { continue };
            let mut fate = connection.flush(&self.shared, &self.poll, slot);
            if fate == Readiness::Stays {
                // Bytes or the end may have come meanwhile, their edge unused.
                fate = self.read(slot, true);
            }
            if fate == Readiness::Ends {
                self.end(slot);
            }
        }
    }

    fn end_idle(&mut self) {
        let now = self.shared.now();
        while let Some(&(at, slot, serial)) = self.idle.front() {
            if at > now {
                return;
            }
            self.idle.pop_front();
            let connection = self.connections.get_mut(slot);
            let Some(connection) = connection.filter(|c| c.serial == serial) else { continue };
            match connection.peer.handle_timeout(&self.shared.world, now, &mut connection.unsent) {
                Step::Close | Step::Reset => self.end(slot),
                // Looked at again after a whole period: late by at most that, and always in order.
                Step::Continue => self.idle.push_back((now + IDLE, slot, serial)),
            }
        }
    }

    fn end(&mut self, slot: usize) {
        let mut connection = self.connections.remove(slot);
        // Closing the descriptor would do as well.
        let _ = self.poll.registry().deregister(&mut connection.stream);
    }
}

fn takes_tcp(shared: &Shared, peer: u32) -> bool {
    shared.ways.way(&shared.world, peer) != Way::Utp
}

impl Accepted {
    /// Writes what is held back no longer; what the kernel will not take waits for its event.
    fn flush(&mut self, shared: &Shared, poll: &Poll, slot: usize) -> Readiness {
        if self.unsent.is_empty() || shared.now() < self.not_before {
            return Readiness::Stays;
        }
        while self.sent < self.unsent.len() {
            match self.stream.write(&self.unsent[self.sent..]) {
                Ok(count) => {
                    self.sent += count;
                    Traffic::add(&shared.traffic.stream_bytes_out, count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.want_write(poll, slot, true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Readiness::Ends,
            }
        }
        self.unsent = Vec::new();
        self.sent = 0;
        if self.wants_write { self.want_write(poll, slot, false) } else { Readiness::Stays }
    }

    fn want_write(&mut self, poll: &Poll, slot: usize, wanted: bool) -> Readiness {
        if self.wants_write == wanted {
            return Readiness::Stays;
        }
        self.wants_write = wanted;
        let interest =
            if wanted { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        match poll.registry().reregister(&mut self.stream, Token(slot), interest) {
            Ok(()) => Readiness::Stays,
            Err(_) => Readiness::Ends,
        }
    }
}
