//! Peers of a test's own on loopback, each a thread that plays one script for every caller.
#![allow(dead_code, reason = "each test binary plays some of the scripts")]

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What a peer does with a caller. The stream is kept open for as long as the peer lives, unless
/// the script shuts it down; the value asks to be called again a little later.
pub(crate) type Script = fn(&mut TcpStream) -> bool;

/// A listening peer. Dropping it closes everything.
pub(crate) struct Peer {
    addr: SocketAddr,
    callers: Arc<Mutex<Vec<IpAddr>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    pub(crate) fn start(script: Script) -> Self {
        let listener = listen();
        let addr = listener.local_addr().expect("a bound listener");
        let callers = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, stopped) = (callers.clone(), stop.clone());
        let thread = thread::spawn(move || serve(&listener, script, &seen, &stopped));
        Self { addr, callers, stop, thread: Some(thread) }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Who has called, in order.
    pub(crate) fn callers(&self) -> Vec<IpAddr> {
        self.callers.lock().expect("no panic in the peer").clone()
    }

    pub(crate) async fn wait_for_callers(&self, count: usize) {
        while self.callers().len() < count {
            smol::future::yield_now().await;
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Only to wake the listener.
        drop(TcpStream::connect(self.addr));
        if let Some(thread) = self.thread.take() {
            thread.join().expect("no panic in the peer");
        }
    }
}

/// With a queue long enough for a test's dials: a full one drops them silently.
fn listen() -> TcpListener {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    socket.listen(1024).expect("a listener");
    socket.into()
}

fn serve(listener: &TcpListener, script: Script, callers: &Mutex<Vec<IpAddr>>, stop: &AtomicBool) {
    let mut kept: Vec<TcpStream> = Vec::new();
    loop {
        let Ok((mut stream, from)) = listener.accept() else { continue };
        if stop.load(Ordering::Relaxed) {
            return;
        }
        callers.lock().expect("one writer").push(from.ip());
        if script(&mut stream) {
            thread::spawn(move || while script(&mut stream) {});
        } else {
            kept.push(stream);
        }
        // Long runs end thousands of conversations: only the last ones can still be going on.
        if kept.len() > 512 {
            kept.drain(..256);
        }
    }
}

/// A port on which nobody listens.
pub(crate) fn closed_port() -> SocketAddr {
    listen().local_addr().expect("a bound listener")
}

pub(crate) fn hang_up(stream: &mut TcpStream) -> bool {
    let _ = stream.shutdown(Shutdown::Both);
    false
}

pub(crate) fn stay_silent(_: &mut TcpStream) -> bool {
    false
}

/// As long as a handshake, and none.
pub(crate) fn answer_garbage(stream: &mut TcpStream) -> bool {
    let _ = stream.write_all(&[b'x'; 68]);
    false
}

/// A correct beginning, one byte every fifth of a second, for ever.
pub(crate) fn drip(stream: &mut TcpStream) -> bool {
    thread::sleep(Duration::from_millis(200));
    stream.write_all(b"\x13").is_ok()
}

pub(crate) fn flood(stream: &mut TcpStream) -> bool {
    stream.write_all(&[b'x'; 65536]).is_ok()
}

/// Reads exactly `N` bytes.
pub(crate) fn read<const N: usize>(stream: &mut TcpStream) -> [u8; N] {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).expect("the caller speaks");
    bytes
}
