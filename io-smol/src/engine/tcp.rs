//! TCP connections: one task each, all on the calling thread.
//!
//! A task moves bytes between its socket and its `Exchange` and knows nothing of their meaning.
//! It owns no read buffer (one per thread is shared), makes no timer (see `alarms.rs`), and ends
//! by exactly one `Outcome`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use async_io::{Async, Timer};
use estudely_core::limits::ASSEMBLY_BYTES_MAX;
use estudely_core::{Duration, Exchange, Instant, Outcome, PeerFault, Step};
use smol::{LocalExecutor, future};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::alarms::{Alarm, Alarms, Rung};
use super::clock::Clock;

/// Bytes of the read buffer that all connections of a thread share: four metadata pieces.
pub const READ_BUFFER: usize = 64 * 1024;
/// Most reads from one socket before others get their turn.
pub const READS_PER_TURN: usize = 16;
/// Most bytes kept for a peer that does not read. The core's own output is far below: requests
/// for the largest metadata accepted take 30 KB.
pub const UNSENT_MAX: usize = 128 * 1024;

/// The connections of one thread, each under a key `K` of the caller's.
pub struct Connections<K> {
    executor: LocalExecutor<'static>,
    shared: Rc<Shared<K>>,
}

struct Shared<K> {
    clock: Clock,
    /// Where dials leave from, by family; unspecified lets the system choose.
    local: [Option<IpAddr>; 2],
    scratch: RefCell<Scratch>,
    alarms: Alarms,
    open: Cell<usize>,
    /// Bytes of metadata that all connections hold.
    held: Cell<usize>,
    /// Never longer than the connections that were open together: each leaves one outcome.
    done: RefCell<VecDeque<(K, Outcome)>>,
    waiter: RefCell<Option<Waker>>,
}

/// Buffers used only between two suspensions, so that one pair serves every connection.
struct Scratch {
    read: Box<[u8]>,
    write: Vec<u8>,
}

impl<K: 'static> Connections<K> {
    /// No connections yet. Dials of a family leave from its address in `local`, if specific.
    pub fn new(clock: Clock, local: [Option<IpAddr>; 2]) -> Self {
        let scratch = Scratch { read: vec![0; READ_BUFFER].into(), write: Vec::new() };
        let shared = Shared {
            clock,
            local: local.map(|ip| ip.filter(|ip| !ip.is_unspecified())),
            scratch: RefCell::new(scratch),
            alarms: Alarms::default(),
            open: Cell::new(0),
            held: Cell::new(0),
            done: RefCell::default(),
            waiter: RefCell::default(),
        };
        Self { executor: LocalExecutor::new(), shared: Rc::new(shared) }
    }

    /// Begins a connection. Its outcome appears at [`Self::try_outcome`] under `peer`.
    pub fn dial(&self, peer: K, to: SocketAddr, mut exchange: Exchange) {
        let shared = self.shared.clone();
        shared.open.set(shared.open.get() + 1);
        let task = async move {
            let outcome = shared.converse(to, &mut exchange).await;
            shared.open.set(shared.open.get() - 1);
            shared.done.borrow_mut().push_back((peer, outcome));
            if let Some(waiter) = shared.waiter.take() {
                waiter.wake();
            }
        };
        self.executor.spawn(task).detach();
    }

    /// Runs `future` and the connections beside it.
    pub async fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.executor.run(future).await
    }

    /// The next outcome, for those without a loop of their own: deadlines are kept. Waits for ever
    /// if nothing is open.
    pub async fn outcome(&self) -> (K, Outcome) {
        let clock = self.shared.clock;
        loop {
            if let Some(done) = self.try_outcome() {
                return done;
            }
            // A deadline set before this instant ends the wait early.
            let due = self.poll_timeout().unwrap_or(clock.now() + Duration::from_secs(1));
            let due_passes = async {
                if let Some(at) = clock.machine_time(due) {
                    Timer::at(at).await;
                }
            };
            future::or(poll_fn(|cx| self.poll_ready(cx, due)), due_passes).await;
            self.handle_timeout(clock.now());
        }
    }

    /// Waits until [`Self::try_outcome`] has something or a deadline before `due` was set: then
    /// the caller, who meant to be back at `due`, must ask [`Self::poll_timeout`] again. One
    /// waiter at a time.
    pub fn poll_ready(&self, cx: &Context<'_>, due: Instant) -> Poll<()> {
        if self.has_outcome() || self.shared.alarms.poll_before(cx, due).is_ready() {
            return Poll::Ready(());
        }
        let mut waiter = self.shared.waiter.borrow_mut();
        waiter.get_or_insert_with(|| cx.waker().clone()).clone_from(cx.waker());
        Poll::Pending
    }

    /// The next outcome, if one is there.
    pub fn try_outcome(&self) -> Option<(K, Outcome)> {
        self.shared.done.borrow_mut().pop_front()
    }

    /// Whether an outcome is there.
    pub fn has_outcome(&self) -> bool {
        !self.shared.done.borrow().is_empty()
    }

    /// Connections not ended, half-open ones included.
    pub fn open(&self) -> usize {
        self.shared.open.get()
    }

    /// When [`Self::handle_timeout`] must be called next. May change whenever tasks ran.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.shared.alarms.next()
    }

    /// Wakes the connections whose deadline has come.
    pub fn handle_timeout(&self, now: Instant) {
        self.shared.alarms.ring(now);
    }

    /// Ends every connection as `Aborted` as soon as its task runs, later dials included.
    pub fn abort(&self) {
        self.shared.alarms.stop();
    }
}

impl<K> Shared<K> {
    async fn converse(&self, to: SocketAddr, exchange: &mut Exchange) -> Outcome {
        let stream = match self.begin(to) {
            Ok(stream) => stream,
            Err(error) => return exchange.handle_failed(self.clock.now(), connect_fault(&error)),
        };
        let alarm = Alarm::new(&self.alarms);
        let mut line = Line { shared: self, stream, alarm, unsent: Vec::new(), held: 0 };
        // What an earlier peer left is held from the start.
        if !line.hold(exchange.bytes_held()) {
            return exchange.handle_failed(self.clock.now(), PeerFault::Pressure);
        }
        if let Some(outcome) = line.connect(exchange).await {
            return outcome;
        }
        line.talk(exchange).await
    }

    /// A socket that is connecting.
    fn begin(&self, to: SocketAddr) -> io::Result<Async<TcpStream>> {
        let kind = Type::STREAM;
        #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
        let kind = kind.nonblocking();
        let socket = Socket::new(Domain::for_address(to), kind, Some(Protocol::TCP))?;
        #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
        socket.set_nonblocking(true)?;
        let local = self.local.iter().flatten().find(|ip| ip.is_ipv4() == to.is_ipv4());
        if let Some(ip) = local {
            // Else the port is taken at bind, for every destination: 28 000 dials end it.
            #[cfg(target_os = "linux")]
            nix::sys::socket::setsockopt(
                &socket,
                nix::sys::socket::sockopt::IpBindAddressNoPort,
                &true,
            )?;
            socket.bind(&SocketAddr::new(*ip, 0).into())?;
        }
        match socket.connect(&to.into()) {
            Ok(()) => {}
            Err(error) if in_progress(&error) => {}
            Err(error) => return Err(error),
        }
        Async::new_nonblocking(socket.into())
    }
}

/// One connection's ends of socket, deadline and unsent bytes.
struct Line<'a, K> {
    shared: &'a Shared<K>,
    stream: Async<TcpStream>,
    alarm: Alarm<'a>,
    unsent: Vec<u8>,
    /// This connection's part of what all hold.
    held: usize,
}

/// What ended a wait.
enum Event {
    Readable,
    Writable,
    Alarm(Rung),
}

impl<K> Line<'_, K> {
    /// Waits for the connection; an outcome if it does not come.
    async fn connect(&mut self, exchange: &mut Exchange) -> Option<Outcome> {
        loop {
            let event = self.wait(false, true, exchange.poll_timeout()).await;
            match event {
                Event::Alarm(rung) => {
                    if let Some(outcome) = self.on_alarm(exchange, rung) {
                        return Some(outcome);
                    }
                }
                Event::Readable | Event::Writable => {
                    return match self.stream.get_ref().take_error() {
                        Ok(None) => None,
                        // It was there, and is gone before we looked: that shows when it is used.
                        Ok(Some(error)) if is_reset(&error) => None,
                        Ok(Some(error)) | Err(error) => {
                            let now = self.shared.clock.now();
                            Some(exchange.handle_failed(now, connect_fault(&error)))
                        }
                    };
                }
            }
        }
    }

    /// Moves bytes until the exchange ends.
    async fn talk(&mut self, exchange: &mut Exchange) -> Outcome {
        if let Some(outcome) = self.greet(exchange) {
            return outcome;
        }
        loop {
            let writing = !self.unsent.is_empty();
            let ended = match self.wait(true, writing, exchange.poll_timeout()).await {
                Event::Readable => self.receive(exchange),
                Event::Writable => self.resend(exchange),
                Event::Alarm(rung) => self.on_alarm(exchange, rung),
            };
            if let Some(outcome) = ended {
                self.reset();
                return outcome;
            }
        }
    }

    /// Lets the exchange speak first.
    fn greet(&mut self, exchange: &mut Exchange) -> Option<Outcome> {
        let shared = self.shared;
        let write = &mut shared.scratch.borrow_mut().write;
        write.clear();
        exchange.handle_connected(shared.clock.now(), write);
        match self.send(write) {
            Ok(()) => None,
            Err(_) => Some(exchange.handle_closed(shared.clock.now())),
        }
    }

    async fn wait(&mut self, reading: bool, writing: bool, until: Instant) -> Event {
        poll_fn(|cx| {
            if let Poll::Ready(rung) = self.alarm.poll(cx, until) {
                return Poll::Ready(Event::Alarm(rung));
            }
            // An error of the reactor shows again, with its reason, in the call that follows.
            if reading && self.stream.poll_readable(cx).is_ready() {
                return Poll::Ready(Event::Readable);
            }
            if writing && self.stream.poll_writable(cx).is_ready() {
                return Poll::Ready(Event::Writable);
            }
            Poll::Pending
        })
        .await
    }

    /// Reads what is there and sends what the exchange answers.
    fn receive(&mut self, exchange: &mut Exchange) -> Option<Outcome> {
        let shared = self.shared;
        let mut scratch = shared.scratch.borrow_mut();
        let Scratch { read, write } = &mut *scratch;
        for _ in 0..READS_PER_TURN {
            let len = match self.stream.get_ref().read(read) {
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => 0,
            };
            let now = shared.clock.now();
            if len == 0 {
                return Some(exchange.handle_closed(now));
            }
            write.clear();
            if let Step::Finished(outcome) = exchange.handle_bytes(now, &read[..len], write) {
                return Some(*outcome);
            }
            if self.send(write).is_err() {
                return Some(exchange.handle_closed(now));
            }
            if !self.hold(exchange.bytes_held()) {
                return Some(exchange.handle_failed(now, PeerFault::Pressure));
            }
            if len < read.len() {
                // A stream's short read has emptied it: asking again would be a wasted call.
                return None;
            }
        }
        None
    }

    /// Ends the exchange, or lets it do what its deadline is for.
    fn on_alarm(&mut self, exchange: &mut Exchange, rung: Rung) -> Option<Outcome> {
        let shared = self.shared;
        let now = shared.clock.now();
        if rung == Rung::Stopped {
            return Some(exchange.handle_failed(now, PeerFault::Aborted));
        }
        let write = &mut shared.scratch.borrow_mut().write;
        write.clear();
        if let Step::Finished(outcome) = exchange.handle_timeout(now, write) {
            return Some(*outcome);
        }
        self.send(write).is_err().then(|| exchange.handle_closed(now))
    }

    /// Counts what the exchange holds now; `false` if that is too much for all together.
    fn hold(&mut self, bytes: usize) -> bool {
        let before = self.shared.held.get() - self.held;
        self.shared.held.set(before + bytes);
        self.held = bytes;
        bytes == 0 || before + bytes <= ASSEMBLY_BYTES_MAX
    }

    /// Sends `bytes` after what is unsent, keeping what the socket does not take.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let taken = if self.unsent.is_empty() { self.write(bytes)? } else { 0 };
        if self.unsent.len() + bytes.len() - taken > UNSENT_MAX {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.unsent.extend_from_slice(&bytes[taken..]);
        Ok(())
    }

    fn resend(&mut self, exchange: &mut Exchange) -> Option<Outcome> {
        match self.write(&self.unsent) {
            Ok(taken) => {
                self.unsent.drain(..taken);
                None
            }
            Err(_) => Some(exchange.handle_closed(self.shared.clock.now())),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        while taken < bytes.len() {
            match self.stream.get_ref().write(&bytes[taken..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => taken += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    /// Closing then leaves no TIME_WAIT behind: whoever dials thousands of peers a minute would
    /// otherwise run out of ports. Everything worth having has been read.
    fn reset(&self) {
        let _ = SockRef::from(self.stream.get_ref()).set_linger(Some(Duration::ZERO));
    }
}

impl<K> Drop for Line<'_, K> {
    fn drop(&mut self) {
        self.hold(0);
    }
}

fn in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINPROGRESS) || error.kind() == io::ErrorKind::WouldBlock
}

/// Whether a connection that had come about was reset: one that is not wanted is refused instead.
fn is_reset(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ECONNRESET)
}

/// Whose fault it is that no connection came about: running short ourselves is never the peer's.
pub fn connect_fault(error: &io::Error) -> PeerFault {
    match error.raw_os_error() {
        Some(
            libc::EMFILE
            | libc::ENFILE
            | libc::ENOBUFS
            | libc::ENOMEM
            | libc::EADDRNOTAVAIL
            | libc::EADDRINUSE
            | libc::EAGAIN,
        ) => PeerFault::Pressure,
        Some(libc::ECONNREFUSED) => PeerFault::Refused,
        Some(libc::ECONNRESET) => PeerFault::ClosedEarly,
        Some(libc::ETIMEDOUT) => PeerFault::ConnectTimeout,
        _ => PeerFault::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn h24_connections_hold_256_mib_together_and_not_a_byte_more() {
        const MIB: usize = 1 << 20;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let to = listener.local_addr().expect("bound");
        let all = Connections::<()>::new(Clock::start(), [None; 2]);
        let line = || Line {
            shared: &all.shared,
            stream: Async::new(TcpStream::connect(to).expect("it listens")).expect("a stream"),
            alarm: Alarm::new(&all.shared.alarms),
            unsent: Vec::new(),
            held: 0,
        };
        let (mut first, mut second) = (line(), line());
        assert!(first.hold(200 * MIB) && second.hold(56 * MIB));
        assert!(!second.hold(56 * MIB + 1));
        assert!(second.hold(0) && first.hold(256 * MIB) && !second.hold(1));
    }
}
