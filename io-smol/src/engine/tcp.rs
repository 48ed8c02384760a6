//! Connections: one task each, all on the calling thread, over TCP or over a stream of the core.
//!
//! A task moves bytes between its carrier and its `Exchange` and knows nothing of their meaning.
//! It owns no read buffer (one per thread is shared), makes no timer (see `alarms.rs`), and ends
//! by exactly one `Outcome`.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::hash::Hash;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use async_io::{Async, Timer};
use estudely_core::{Crawler, Duration, Exchange, Instant, Outcome, PeerFault, PeerKey, Step};
use smol::{LocalExecutor, future};
use socket2::{Domain, Protocol, Socket, Type};

use super::alarms::{Alarm, Alarms, Rung};
use super::carrier::{Carrier, Pipe, Stirred, Tcp};
use super::clock::Clock;

pub use super::carrier::connect_fault;

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
    /// Those that are open.
    open: RefCell<HashMap<K, Rc<Recall>>>,
    /// Of these, those over streams of the core.
    pipes: RefCell<HashMap<K, Rc<Pipe<K>>>>,
    stirred: Rc<Stirred<K>>,
    /// Bytes of metadata that all connections hold, but for the large one, and the most they may.
    held: Cell<usize>,
    budget: Cell<usize>,
    /// Whether one connection holds more than the budget has room for: one at a time may.
    has_large: Cell<bool>,
    /// Never longer than the connections that were open together: each leaves one outcome.
    done: RefCell<VecDeque<(K, Outcome)>>,
    waiter: RefCell<Option<Waker>>,
}

/// Whether a connection was told to give up its place, and who is to hear of it.
#[derive(Default)]
struct Recall {
    is_on: Cell<bool>,
    waiter: RefCell<Option<Waker>>,
}

/// Buffers used only between two suspensions, so that one pair serves every connection.
struct Scratch {
    read: Box<[u8]>,
    write: Vec<u8>,
}

impl<K: Copy + Ord + Hash + 'static> Connections<K> {
    /// No connections yet. Dials of a family leave from its address in `local`, if specific.
    pub fn new(clock: Clock, local: [Option<IpAddr>; 2]) -> Self {
        let scratch = Scratch { read: vec![0; READ_BUFFER].into(), write: Vec::new() };
        let shared = Shared {
            clock,
            local: local.map(|ip| ip.filter(|ip| !ip.is_unspecified())),
            scratch: RefCell::new(scratch),
            alarms: Alarms::default(),
            open: RefCell::default(),
            pipes: RefCell::default(),
            stirred: Rc::default(),
            held: Cell::new(0),
            budget: Cell::new(usize::MAX),
            has_large: Cell::new(false),
            done: RefCell::default(),
            waiter: RefCell::default(),
        };
        Self { executor: LocalExecutor::new(), shared: Rc::new(shared) }
    }

    /// Together they hold at most so many bytes of metadata (H24); without it there is no bound.
    pub fn with_budget(self, bytes: usize) -> Self {
        self.shared.budget.set(bytes);
        self
    }

    /// Begins a connection. Its outcome appears at [`Self::try_outcome`] under `peer`.
    pub fn dial(&self, peer: K, to: SocketAddr, mut exchange: Exchange) {
        let (shared, recall) = self.begin(peer);
        let task = async move {
            let outcome = match shared.begin(to) {
                Ok(stream) => shared.converse(Tcp(stream), &mut exchange, &recall).await,
                Err(error) => exchange.handle_failed(shared.clock.now(), connect_fault(&error)),
            };
            shared.end(peer, outcome);
        };
        self.executor.spawn(task).detach();
    }

    /// Begins a connection over a stream that the core keeps: [`Self::carry`] moves its bytes.
    pub fn dial_stream(&self, peer: K, mut exchange: Exchange) {
        let (shared, recall) = self.begin(peer);
        let pipe = Rc::new(Pipe::new(peer, shared.stirred.clone()));
        shared.pipes.borrow_mut().insert(peer, pipe.clone());
        let task = async move {
            let outcome = shared.converse(pipe, &mut exchange, &recall).await;
            shared.pipes.borrow_mut().remove(&peer);
            shared.end(peer, outcome);
        };
        self.executor.spawn(task).detach();
    }

    fn begin(&self, peer: K) -> (Rc<Shared<K>>, Rc<Recall>) {
        let recall = Rc::<Recall>::default();
        self.shared.open.borrow_mut().insert(peer, recall.clone());
        (self.shared.clone(), recall)
    }

    /// Ends a connection as `Yielded` as soon as its task runs: others wait for its place.
    pub fn recall(&self, peer: K) {
        let open = self.shared.open.borrow();
        let Some(recall) = open.get(&peer) else { return };
        recall.is_on.set(true);
        if let Some(waiter) = recall.waiter.take() {
            waiter.wake();
        }
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

    /// Waits until [`Self::has_news`] or a deadline before `due` was set: then
    /// the caller, who meant to be back at `due`, must ask [`Self::poll_timeout`] again. One
    /// waiter at a time.
    pub fn poll_ready(&self, cx: &Context<'_>, due: Instant) -> Poll<()> {
        if self.has_news() || self.shared.alarms.poll_before(cx, due).is_ready() {
            return Poll::Ready(());
        }
        for waiter in [&self.shared.waiter, &self.shared.stirred.waiter] {
            let mut waiter = waiter.borrow_mut();
            waiter.get_or_insert_with(|| cx.waker().clone()).clone_from(cx.waker());
        }
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

    /// Whether an outcome is there, or a connection over a stream of the core has something for it.
    pub fn has_news(&self) -> bool {
        self.has_outcome() || self.shared.stirred.any()
    }

    /// Connections not ended, half-open ones included.
    pub fn open(&self) -> usize {
        self.shared.open.borrow().len()
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

impl Connections<PeerKey> {
    /// Moves bytes between the streams of `crawler` and their conversations, where either side has
    /// some. Whether there was anything to move.
    pub fn carry(&self, now: Instant, crawler: &mut Crawler) -> bool {
        let pipes = self.shared.pipes.borrow();
        while let Some(peer) = crawler.poll_stream() {
            if let Some(pipe) = pipes.get(&peer) {
                pipe.stir();
            }
        }
        let mut moved = false;
        self.shared.stirred.look_at(|peer| {
            moved = true;
            if let Some(pipe) = pipes.get(&peer) {
                pipe.carry(now, crawler);
            }
        });
        moved
    }
}

impl<K: Copy + Ord + Hash> Shared<K> {
    /// A connection has ended.
    fn end(&self, peer: K, outcome: Outcome) {
        self.open.borrow_mut().remove(&peer);
        self.done.borrow_mut().push_back((peer, outcome));
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }
}

impl<K> Shared<K> {
    async fn converse<C: Carrier>(
        &self,
        carrier: C,
        exchange: &mut Exchange,
        recall: &Recall,
    ) -> Outcome {
        let alarm = Alarm::new(&self.alarms);
        let mut line = Line {
            shared: self,
            carrier,
            alarm,
            recall,
            unsent: Vec::new(),
            held: Holding::Part(0),
        };
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

/// One connection's ends of carrier, deadline and unsent bytes.
struct Line<'a, K, C> {
    shared: &'a Shared<K>,
    carrier: C,
    alarm: Alarm<'a>,
    recall: &'a Recall,
    unsent: Vec<u8>,
    /// This connection's part of what all hold.
    held: Holding,
}

/// What a connection holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holding {
    /// So many bytes of the budget.
    Part(usize),
    /// It is the large one, which is not counted.
    Large,
}

/// What ended a wait.
enum Event {
    Readable,
    Writable,
    Alarm(Rung),
    Recalled,
}

impl<K, C: Carrier> Line<'_, K, C> {
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
                Event::Recalled => return Some(self.on_recall(exchange)),
                Event::Readable | Event::Writable => {
                    let fault = self.carrier.connected().err()?;
                    return Some(exchange.handle_failed(self.shared.clock.now(), fault));
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
                Event::Recalled => Some(self.on_recall(exchange)),
            };
            if let Some(outcome) = ended {
                self.carrier.reset();
                return outcome;
            }
            if let Some(size) = exchange.accepted_size() {
                self.carrier.expect(size);
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
            if self.recall.is_on.get() {
                return Poll::Ready(Event::Recalled);
            }
            let mut waiter = self.recall.waiter.borrow_mut();
            waiter.get_or_insert_with(|| cx.waker().clone()).clone_from(cx.waker());
            // An error of the reactor shows again, with its reason, in the call that follows.
            if reading && self.carrier.poll_readable(cx).is_ready() {
                return Poll::Ready(Event::Readable);
            }
            if writing && self.carrier.poll_writable(cx).is_ready() {
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
            let len = match self.carrier.read(read) {
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

    /// Others wait for its place.
    fn on_recall(&self, exchange: &mut Exchange) -> Outcome {
        exchange.handle_failed(self.shared.clock.now(), PeerFault::Yielded)
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
            match self.carrier.write(&bytes[taken..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(len) => taken += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }
}

impl<K, C> Line<'_, K, C> {
    /// Counts what the exchange holds now; `false` if that is too much for all together. One
    /// connection at a time may hold more.
    fn hold(&mut self, bytes: usize) -> bool {
        let Shared { held, budget, has_large, .. } = self.shared;
        let Holding::Part(part) = self.held else {
            if bytes == 0 {
                has_large.set(false);
                self.held = Holding::Part(0);
            }
            return true;
        };
        let others = held.get() - part;
        let fits = bytes == 0 || others + bytes <= budget.get();
        if !fits && !has_large.replace(true) {
            held.set(others);
            self.held = Holding::Large;
            return true;
        }
        held.set(others + bytes);
        self.held = Holding::Part(bytes);
        fits
    }
}

impl<K, C> Drop for Line<'_, K, C> {
    fn drop(&mut self) {
        self.hold(0);
    }
}

fn in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINPROGRESS) || error.kind() == io::ErrorKind::WouldBlock
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn h24_connections_hold_their_budget_together_and_one_of_them_more() {
        const MIB: usize = 1 << 20;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let to = listener.local_addr().expect("bound");
        let all = Connections::<()>::new(Clock::start(), [None; 2]).with_budget(256 * MIB);
        let recall = Recall::default();
        let line = || Line {
            shared: &all.shared,
            carrier: Tcp(Async::new(TcpStream::connect(to).expect("it listens")).expect("a stream")),
            alarm: Alarm::new(&all.shared.alarms),
            recall: &recall,
            unsent: Vec::new(),
            held: Holding::Part(0),
        };
        let (mut first, mut second, mut large) = (line(), line(), line());
        assert!(first.hold(200 * MIB) && second.hold(56 * MIB));
        assert!(large.hold(1) && large.held == Holding::Large);
        assert!(!second.hold(56 * MIB + 1) && large.hold(400 * MIB));
        assert!(second.hold(0) && first.hold(256 * MIB) && !second.hold(1));
        drop((large, second));
        assert!(line().hold(1), "another is the large one now");
    }
}
