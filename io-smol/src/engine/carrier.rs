//! What a connection needs of whatever carries its bytes: a TCP socket, or a stream over UDP that
//! the core keeps.

use std::cell::{Cell, RefCell};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use async_io::Async;
use estudely_core::{Crawler, Duration, Instant, PeerFault, PeerKey, StreamState};
use socket2::SockRef;

/// Bytes that wait in a pipe for the conversation to read them, at most.
pub(super) const INBOUND_MAX: usize = 64 * 1024;
/// Bytes that wait in a pipe for the stream to take them, at most.
pub(super) const OUTBOUND_MAX: usize = 16 * 1024;

/// A byte stream, driven by polling. Errors of one show in the call that follows.
pub(super) trait Carrier {
    /// Waits until reading may bring something.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()>;
    /// Waits until there may be room, or it is settled whether it is connected.
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()>;
    /// Whether it is connected, once [`Self::poll_writable`] was ready for the first time.
    fn connected(&self) -> Result<(), PeerFault>;
    /// Reads what is there; 0 at the end.
    fn read(&self, out: &mut [u8]) -> io::Result<usize>;
    /// Takes what there is room for.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
    /// So many bytes are to come.
    fn expect(&self, size: usize);
    /// The conversation is over.
    fn reset(&self);
}

/// A TCP socket.
pub(super) struct Tcp(pub(super) Async<TcpStream>);

impl Carrier for Tcp {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_readable(cx).map(drop)
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_writable(cx).map(drop)
    }

    fn connected(&self) -> Result<(), PeerFault> {
        match self.0.get_ref().take_error() {
            Ok(None) => Ok(()),
            // It was there, and is gone before we looked: that shows when it is used.
            Ok(Some(error)) if is_reset(&error) => Ok(()),
            Ok(Some(error)) | Err(error) => Err(connect_fault(&error)),
        }
    }

    fn read(&self, out: &mut [u8]) -> io::Result<usize> {
        self.0.get_ref().read(out)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.get_ref().write(bytes)
    }

    /// The system keeps windows of its own.
    fn expect(&self, _: usize) {}

    /// Closing then leaves no TIME_WAIT behind: whoever dials thousands of peers a minute would
    /// otherwise run out of ports. Everything worth having has been read.
    fn reset(&self) {
        let _ = SockRef::from(self.0.get_ref()).set_linger(Some(Duration::ZERO));
    }
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

/// Between a stream that the core keeps and the conversation that it carries: two bounded buffers.
/// The loop fills and empties them from one side, the task of the connection from the other.
pub(super) struct Pipe<K> {
    peer: K,
    state: Cell<StreamState>,
    inbound: RefCell<Vec<u8>>,
    outbound: RefCell<Vec<u8>>,
    /// Whether more may wait in the stream than there was room for.
    is_full: Cell<bool>,
    /// What the conversation expects, and whether the stream is still to hear of it.
    expected: Cell<(usize, bool)>,
    /// Whether it waits for the loop's look.
    is_stirred: Cell<bool>,
    task: RefCell<Option<Waker>>,
    stirred: Rc<Stirred<K>>,
}

/// Pipes at which the loop has to look, and who is to hear that there are any.
pub(super) struct Stirred<K> {
    /// Each once.
    peers: RefCell<Vec<K>>,
    pub(super) waiter: RefCell<Option<Waker>>,
}

impl<K> Default for Stirred<K> {
    fn default() -> Self {
        Self { peers: RefCell::default(), waiter: RefCell::default() }
    }
}

impl<K: Copy> Stirred<K> {
    /// Shows `look` every pipe that was stirred. Nothing may be stirred meanwhile.
    pub(super) fn look_at(&self, look: impl FnMut(K)) {
        self.peers.borrow_mut().drain(..).for_each(look);
    }

    /// Whether any was.
    pub(super) fn any(&self) -> bool {
        !self.peers.borrow().is_empty()
    }
}

impl<K: Copy> Pipe<K> {
    pub(super) fn new(peer: K, stirred: Rc<Stirred<K>>) -> Self {
        Self {
            peer,
            state: Cell::new(StreamState::Connecting),
            inbound: RefCell::default(),
            outbound: RefCell::default(),
            is_full: Cell::new(false),
            expected: Cell::new((0, false)),
            is_stirred: Cell::new(false),
            task: RefCell::default(),
            stirred,
        }
    }

    /// The loop has to look at it.
    pub(super) fn stir(&self) {
        if !self.is_stirred.replace(true) {
            self.stirred.peers.borrow_mut().push(self.peer);
            if let Some(waiter) = self.stirred.waiter.take() {
                waiter.wake();
            }
        }
    }

    fn wait(&self, cx: &Context<'_>) -> Poll<()> {
        let mut task = self.task.borrow_mut();
        task.get_or_insert_with(|| cx.waker().clone()).clone_from(cx.waker());
        Poll::Pending
    }

    fn is_over(&self) -> bool {
        matches!(self.state.get(), StreamState::Ended | StreamState::Failed(_))
    }
}

impl Pipe<PeerKey> {
    /// Moves what waits on either side to the other, as far as there is room.
    pub(super) fn carry(&self, now: Instant, crawler: &mut Crawler) {
        self.is_stirred.set(false);
        let peer = self.peer;
        if let (size, true) = self.expected.get() {
            self.expected.set((size, false));
            crawler.expect_stream(now, peer, size);
        }
        let mut outbound = self.outbound.borrow_mut();
        let written = crawler.write_stream(now, peer, &outbound);
        outbound.drain(..written);
        let mut inbound = self.inbound.borrow_mut();
        let mut part = [0; 4_096];
        while inbound.len() < INBOUND_MAX {
            let room = part.len().min(INBOUND_MAX - inbound.len());
            let read = crawler.read_stream(now, peer, &mut part[..room]);
            if read == 0 {
                break;
            }
            inbound.extend_from_slice(&part[..read]);
        }
        self.is_full.set(inbound.len() == INBOUND_MAX);
        // Only now: its end is told once everything before it was read.
        if let Some(state) = crawler.stream_state(peer) {
            self.state.set(state);
        }
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }
}

impl<K: Copy> Carrier for Rc<Pipe<K>> {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let has_some = !self.inbound.borrow().is_empty();
        if has_some || self.is_over() { Poll::Ready(()) } else { self.wait(cx) }
    }

    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let has_room = self.outbound.borrow().len() < OUTBOUND_MAX;
        let is_connected = self.state.get() != StreamState::Connecting;
        if is_connected && has_room || self.is_over() { Poll::Ready(()) } else { self.wait(cx) }
    }

    fn connected(&self) -> Result<(), PeerFault> {
        match self.state.get() {
            StreamState::Failed(fault) => Err(fault),
            StreamState::Connecting | StreamState::Connected | StreamState::Ended => Ok(()),
        }
    }

    fn read(&self, out: &mut [u8]) -> io::Result<usize> {
        let mut inbound = self.inbound.borrow_mut();
        let count = inbound.len().min(out.len());
        if count == 0 {
            return match self.state.get() {
                StreamState::Ended => Ok(0),
                StreamState::Failed(_) => Err(io::ErrorKind::ConnectionReset.into()),
                StreamState::Connecting | StreamState::Connected => {
                    Err(io::ErrorKind::WouldBlock.into())
                }
            };
        }
        out[..count].copy_from_slice(&inbound[..count]);
        inbound.drain(..count);
        if self.is_full.replace(false) {
            self.stir();
        }
        Ok(count)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        if let StreamState::Failed(_) = self.state.get() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let mut outbound = self.outbound.borrow_mut();
        let count = bytes.len().min(OUTBOUND_MAX - outbound.len());
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        outbound.extend_from_slice(&bytes[..count]);
        self.stir();
        Ok(count)
    }

    fn expect(&self, size: usize) {
        if self.expected.get().0 != size {
            self.expected.set((size, true));
            self.stir();
        }
    }

    /// The core resets the stream when it is told the outcome.
    fn reset(&self) {}
}
