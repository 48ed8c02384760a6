//! Peers of a test's own on loopback, each a thread that plays one script for every caller. They
//! are no DHT: a test that needs one has the simulator's world (`sim/src/swarm.rs`).
#![allow(dead_code, reason = "each test binary plays some of the scripts")]

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What a peer does with a caller. The stream is kept open afterwards, unless the script shut it
/// down.
pub(crate) type Script = fn(&mut TcpStream);

/// A listening peer. Dropping it closes everything.
pub(crate) struct Peer {
    addr: SocketAddr,
    callers: Arc<Mutex<Vec<IpAddr>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Peer {
    /// Plays a script that never waits.
    pub(crate) fn start(script: Script) -> Self {
        Self::with(script, false)
    }

    /// Plays a script that waits, each caller on a thread of its own.
    pub(crate) fn start_slow(script: Script) -> Self {
        Self::with(script, true)
    }

    fn with(script: Script, slow: bool) -> Self {
        let listener = listen();
        let addr = listener.local_addr().expect("a bound listener");
        let callers = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, stopped) = (callers.clone(), stop.clone());
        let thread = thread::spawn(move || serve(&listener, script, slow, &seen, &stopped));
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

fn serve(
    listener: &TcpListener,
    script: Script,
    slow: bool,
    callers: &Mutex<Vec<IpAddr>>,
    stop: &AtomicBool,
) {
    let mut kept: Vec<TcpStream> = Vec::new();
    loop {
        let Ok((mut stream, from)) = listener.accept() else { continue };
        if stop.load(Ordering::Relaxed) {
            return;
        }
        callers.lock().expect("one writer").push(from.ip());
        if slow {
            thread::spawn(move || {
                script(&mut stream);
                // Until the caller has had enough.
                let _ = io::copy(&mut stream, &mut io::sink());
            });
            continue;
        }
        script(&mut stream);
        kept.push(stream);
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

pub(crate) fn hang_up(stream: &mut TcpStream) {
    let _ = stream.shutdown(Shutdown::Both);
}

pub(crate) fn stay_silent(_: &mut TcpStream) {}

/// As long as a handshake, and none.
pub(crate) fn answer_garbage(stream: &mut TcpStream) {
    let _ = stream.write_all(&[b'x'; 68]);
}

/// A correct handshake, one byte every quarter of a second: 17 seconds in all.
pub(crate) fn drip(stream: &mut TcpStream) {
    for byte in handshake([1; 20]) {
        thread::sleep(Duration::from_millis(250));
        if stream.write_all(&[byte]).is_err() {
            return;
        }
    }
}

pub(crate) fn flood(stream: &mut TcpStream) {
    while stream.write_all(&[b'x'; 65536]).is_ok() {}
}

/// Serves the metadata of [`info`] to whoever asks for its infohash, as BEP 3, 10 and 9 say.
pub(crate) fn serve_metadata(stream: &mut TcpStream) {
    let _ = try_serve(stream);
}

fn try_serve(stream: &mut TcpStream) -> io::Result<()> {
    let theirs = read::<68>(stream)?;
    let hash: [u8; 20] = theirs[28..48].try_into().expect("20 bytes");
    let info = info();
    stream.write_all(&handshake(hash))?;
    let size = info.len();
    message(stream, 0, format!("d1:md11:ut_metadatai7ee13:metadata_sizei{size}ee").as_bytes())?;
    let mut metadata_id = 0;
    loop {
        let length = u32::from_be_bytes(read(stream)?);
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body)?;
        match &body[..] {
            [20, 0, extensions @ ..] => {
                let text = String::from_utf8_lossy(extensions);
                let (_, id) = text.split_once("ut_metadatai").expect("speaks ut_metadata");
                metadata_id = id.split('e').next().expect("an end").parse().expect("an id");
            }
            [20, 7, ..] => {
                let mut answer =
                    format!("d8:msg_typei1e5:piecei0e10:total_sizei{size}ee").into_bytes();
                answer.extend_from_slice(&info);
                message(stream, metadata_id, &answer)?;
            }
            _ => {}
        }
    }
}

/// An info dictionary of one piece.
pub(crate) fn info() -> Vec<u8> {
    let mut info = b"d6:lengthi5e4:name5:hello12:piece lengthi16384e6:pieces20:".to_vec();
    info.extend_from_slice(&[9; 20]);
    info.push(b'e');
    info
}

fn handshake(hash: [u8; 20]) -> [u8; 68] {
    let mut bytes = [0; 68];
    bytes[..20].copy_from_slice(b"\x13BitTorrent protocol");
    bytes[25] = 0x10;
    bytes[28..48].copy_from_slice(&hash);
    bytes[48..].copy_from_slice(b"-XX0000-abcdefghijkl");
    bytes
}

fn message(stream: &mut TcpStream, id: u8, body: &[u8]) -> io::Result<()> {
    let mut frame = (body.len() as u32 + 2).to_be_bytes().to_vec();
    frame.extend_from_slice(&[20, id]);
    frame.extend_from_slice(body);
    stream.write_all(&frame)
}

fn read<const N: usize>(stream: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}
