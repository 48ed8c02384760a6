//! One UDP socket per address family, drained and filled without waiting.
//!
//! What the system refuses to send is lost, as the network might have lost it; nothing that
//! arrives, ICMP errors included, ends a socket. Datagrams pass unread.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::task::{Context, Poll};

use async_io::Async;
use estudely_core::Family;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::bind::Bind;
use super::error::RunError;

/// Bytes of the receive buffer: the longest datagram of use (protocol catalogue H5), and one more
/// so that a longer one shows as such.
pub const RECEIVE_BUFFER: usize = 2048 + 1;
/// Most datagrams read or sent before other work gets its turn.
pub const DATAGRAMS_PER_TURN: usize = 256;
/// Asked of the system for what waits to be read; it may grant less.
pub const SYSTEM_RECEIVE_BUFFER: usize = 8 << 20;
/// Asked of the system for what waits to be sent; it may grant less.
pub const SYSTEM_SEND_BUFFER: usize = 1 << 20;

/// A bound, nonblocking UDP socket.
#[derive(Debug)]
pub struct Udp {
    socket: Async<UdpSocket>,
    local: SocketAddr,
    /// What the socket did not take; it goes first when there is room again.
    kept: Option<(SocketAddr, Vec<u8>)>,
    failures: u64,
    last_failure: Option<io::ErrorKind>,
}

impl Udp {
    /// Binds `bind.addr`. A port that is busy gives way to any free one if the user did not name
    /// it; the second value is then a line that says so. `Ok(None)` in place of a socket: the
    /// machine lacks the family, and nobody named it.
    ///
    /// # Errors
    /// [`RunError::BindFailed`] if nothing could be bound.
    pub fn bind(bind: Bind) -> Result<(Option<Self>, Option<String>), RunError> {
        let Bind { addr, named } = bind;
        let failed = |source| RunError::BindFailed { addr, source };
        match Self::open(addr) {
            Ok(udp) => Ok((Some(udp), None)),
            Err(error) if named => Err(failed(error)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let udp = Self::open(SocketAddr::new(addr.ip(), 0)).map_err(failed)?;
                let note = format!("UDP port {} is busy, using {}", addr.port(), udp.local);
                Ok((Some(udp), Some(note)))
            }
            Err(error) if lacks_family(&error) => {
                let family = if addr.is_ipv4() { "IPv4" } else { "IPv6" };
                Ok((None, Some(format!("no {family} on this machine: {error}"))))
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn open(addr: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        if addr.is_ipv6() {
            // The two families are two DHTs (BEP 32), each with a socket on the same port.
            socket.set_only_v6(true)?;
        }
        // Smaller buffers than asked lose datagrams sooner, no more.
        let _ = socket.set_recv_buffer_size(SYSTEM_RECEIVE_BUFFER);
        let _ = socket.set_send_buffer_size(SYSTEM_SEND_BUFFER);
        socket.bind(&addr.into())?;
        let socket = Async::new(UdpSocket::from(socket))?;
        let local = socket.get_ref().local_addr()?;
        Ok(Self { socket, local, kept: None, failures: 0, last_failure: None })
    }

    /// The bound address, with the port that the system chose.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The family that the socket speaks.
    pub fn family(&self) -> Family {
        Family::of(self.local)
    }

    /// Datagrams that the system refused to send, and why the last one.
    pub fn failures(&self) -> (u64, Option<io::ErrorKind>) {
        (self.failures, self.last_failure)
    }

    /// The receive buffer that the system granted, in bytes.
    pub fn granted_receive_buffer(&self) -> io::Result<usize> {
        SockRef::from(self.socket.get_ref()).recv_buffer_size()
    }

    /// Sends one datagram. `false`: the socket is full, the datagram is kept, and the next call
    /// must come after [`Self::poll_room`] was ready.
    pub fn send(&mut self, to: SocketAddr, payload: &[u8]) -> bool {
        debug_assert!(self.kept.is_none(), "sending past a full socket");
        let taken = self.try_send(to, payload);
        if !taken {
            self.kept = Some((to, payload.to_vec()));
        }
        taken
    }

    /// Whether the socket takes more.
    pub fn has_room(&self) -> bool {
        self.kept.is_none()
    }

    /// Waits until the kept datagram could be sent. Ready at once if there is none.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some((to, payload)) = self.kept.take() {
            if self.try_send(to, &payload) {
                break;
            }
            self.kept = Some((to, payload));
            if self.socket.poll_writable(cx).is_pending() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// Whether the system took, or finally refused, the datagram.
    fn try_send(&mut self, to: SocketAddr, payload: &[u8]) -> bool {
        loop {
            match self.socket.get_ref().send_to(payload, to) {
                Ok(_) => return true,
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => return false,
                    kind => {
                        self.failures += 1;
                        self.last_failure = Some(kind);
                        return true;
                    }
                },
            }
        }
    }

    /// Waits until something may be there to read.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_readable(cx).map(drop)
    }

    /// Hands up to [`DATAGRAMS_PER_TURN`] waiting datagrams to `each`, and returns how many reads
    /// were made. Fewer than that: the socket is empty.
    pub fn receive(
        &self,
        buffer: &mut [u8; RECEIVE_BUFFER],
        mut each: impl FnMut(SocketAddr, &[u8]),
    ) -> usize {
        for reads in 0..DATAGRAMS_PER_TURN {
            match self.socket.get_ref().recv_from(buffer) {
                Ok((len, from)) => each(from, &buffer[..len]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return reads,
                // An ICMP error of some earlier datagram, or an interruption: read on.
                Err(_) => {}
            }
        }
        DATAGRAMS_PER_TURN
    }
}

fn lacks_family(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(addr: &str, named: bool) -> Result<(Option<Udp>, Option<String>), RunError> {
        Udp::bind(Bind { addr: addr.parse().expect("an address"), named })
    }

    fn bound(addr: &str) -> Udp {
        bind(addr, true).expect("a free port").0.expect("a socket")
    }

    #[test]
    fn a_busy_port_that_was_named_is_an_error() {
        let first = bound("127.0.0.1:0");
        let error = bind(&first.local().to_string(), true).expect_err("the port is taken");
        assert!(matches!(error, RunError::BindFailed { addr, .. } if addr == first.local()));
    }

    #[test]
    fn a_busy_default_port_gives_way_to_a_free_one_and_says_so() {
        let first = bound("127.0.0.1:0");
        let (second, note) = bind(&first.local().to_string(), false).expect("a free port");
        let second = second.expect("a socket");
        assert_ne!(second.local().port(), first.local().port());
        assert!(note.expect("a note").contains(&second.local().to_string()));
    }

    #[test]
    fn both_families_share_a_port() {
        let Ok((Some(six), _)) = bind("[::]:0", true) else {
            return eprintln_skip("no IPv6 here");
        };
        let port = six.local().port();
        // The port may be taken in the other family by another process: only then it differs.
        let (four, note) = bind(&format!("0.0.0.0:{port}"), false).expect("a free port");
        assert!(note.is_some() || four.expect("a socket").local().port() == port);
    }

    #[test]
    fn datagrams_arrive_whole_and_too_long_ones_show() {
        let (mut a, b) = (bound("127.0.0.1:0"), bound("127.0.0.1:0"));
        assert!(a.send(b.local(), b"hello"));
        assert!(a.send(b.local(), &[7; 4000]));
        let mut seen = Vec::new();
        let mut buffer = [0; RECEIVE_BUFFER];
        while seen.len() < 2 {
            smol::block_on(std::future::poll_fn(|cx| b.poll_readable(cx)));
            b.receive(&mut buffer, |from, bytes| seen.push((from, bytes.len())));
        }
        assert_eq!(seen, [(a.local(), 5), (a.local(), 2_049)]);
    }

    #[test]
    fn a_datagram_to_a_closed_port_or_nowhere_does_not_end_the_socket() {
        let closed = bound("127.0.0.1:0").local();
        let (mut a, b) = (bound("127.0.0.1:0"), bound("127.0.0.1:0"));
        assert!(a.send(closed, b"lost"));
        assert!(a.send(SocketAddr::from(([255, 255, 255, 255], 9)), b"refused"));
        assert_eq!(a.failures().0, 1);
        assert!(a.send(b.local(), b"found"));
        let mut found = false;
        while !found {
            smol::block_on(std::future::poll_fn(|cx| b.poll_readable(cx)));
            b.receive(&mut [0; RECEIVE_BUFFER], |_, bytes| found = bytes == b"found");
        }
    }

    #[allow(clippy::print_stderr)]
    fn eprintln_skip(why: &str) {
        eprintln!("skipped: {why}");
    }
}
