//! The sockets of a swarm: one of each kind for all its nodes and peers, whatever their number. And
//! the two ports at which no peer can be met: one refuses every connection, one never completes it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Socket, Type};

use crate::world::addresses::{Addresses, Loopback};

/// Tries for a port that is free for UDP and TCP alike.
const TRIES: usize = 16;
/// Connections waiting to be accepted; the kernel caps it at `somaxconn`.
const BACKLOG: i32 = 4096;
/// What a UDP socket asks for, bytes: a crawl's bursts must not be lost here.
const UDP_BUFFER: usize = 8 << 20;

/// Everything a swarm listens on, bound and not yet served.
#[derive(Debug)]
pub struct Sockets {
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
    /// Of the peers that take uTP alone.
    pub(super) utp: UdpSocket,
    pub(super) absent: Absent,
    addresses: Loopback,
}

/// What must stay open for dead peers to be dead in their own way.
#[derive(Debug)]
pub(super) struct Absent {
    /// Bound but not listening: the kernel refuses, and no other program takes the port.
    _refusing: Socket,
    /// The same, on the port of the peers that take uTP alone.
    _refusing_utp: Socket,
    /// Listens with a queue that is full: the kernel drops every further SYN.
    _silent: Socket,
    /// What fills that queue.
    _fillers: Vec<Socket>,
}

impl Sockets {
    /// Binds `port` on all addresses, 0 for any free one, and three more: two for dead peers and one
    /// for those that take uTP alone, the next three if they are free. `base` is the first address of
    /// the world.
    pub fn bind(base: Ipv4Addr, port: u16) -> io::Result<Self> {
        let (udp, tcp) = bind_pair(port)?;
        let port = udp.local_addr()?.port();
        let refusing = bind_near(port.checked_add(1))?;
        let silent = bind_near(port.checked_add(2))?;
        let (refusing_utp, utp) = bind_utp(port.checked_add(3))?;
        let addresses = Loopback {
            base,
            port,
            refusing_port: port_of(&refusing)?,
            silent_port: port_of(&silent)?,
        };
        silent.listen(0)?;
        let fillers = fill(SocketAddr::from((base, addresses.silent_port)))?;
        let absent = Absent {
            _refusing: refusing,
            _refusing_utp: refusing_utp,
            _silent: silent,
            _fillers: fillers,
        };
        Ok(Self { udp, tcp, utp, absent, addresses })
    }

    /// The addresses for which a world must be planned.
    pub const fn addresses(&self) -> Addresses {
        Addresses::Loopback(self.addresses)
    }
}

fn bind_pair(port: u16) -> io::Result<(UdpSocket, TcpListener)> {
    let mut last = None;
    for _ in 0..TRIES {
        let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
        match listen(udp.local_addr()?.port()) {
            Ok(tcp) => {
                widen(&udp);
                return Ok((udp, tcp));
            }
            Err(error) if port == 0 => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

/// Asks for wide buffers. The kernel grants what it may; less is no failure.
fn widen(udp: &UdpSocket) {
    let socket = socket2::SockRef::from(udp);
    let _ = socket.set_recv_buffer_size(UDP_BUFFER);
    let _ = socket.set_send_buffer_size(UDP_BUFFER);
}

/// Binds `wanted`, or any port if that is taken, for UDP, and for TCP without listening.
fn bind_utp(wanted: Option<u16>) -> io::Result<(Socket, UdpSocket)> {
    let mut last = None;
    for wanted in std::iter::once(wanted).chain([None; TRIES]) {
        let refusing = bind_near(wanted)?;
        match UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port_of(&refusing)?)) {
            Ok(udp) => {
                widen(&udp);
                return Ok((refusing, udp));
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    // A restart must not wait for the last run's connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Binds `wanted`, or any port if that is taken.
fn bind_near(wanted: Option<u16>) -> io::Result<Socket> {
    let bind = |port: u16| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
        io::Result::Ok(socket)
    };
    wanted.and_then(|port| bind(port).ok()).map_or_else(|| bind(0), Ok)
}

/// A queue of length 0 holds one connection; the second attempt stays in the air and would take
/// any place that fell free.
fn fill(addr: SocketAddr) -> io::Result<Vec<Socket>> {
    (0..2)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            // In progress, not failed: the kernel goes on by itself.
            let _ = socket.connect(&addr.into());
            Ok(socket)
        })
        .collect()
}

fn port_of(socket: &Socket) -> io::Result<u16> {
    Ok(socket.local_addr()?.as_socket().map_or(0, |addr| addr.port()))
}
