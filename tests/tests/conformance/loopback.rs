//! Conversations over real sockets: the smol adapter dials, a thread for each peer listens.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use estudely_core::Outcome;
use estudely_io_smol::clock::Clock;
use estudely_io_smol::tcp::Connections;
use estudely_sim::peer::Step;
use socket2::SockRef;

use crate::scripts::{Ending, Script, Stage};

/// Conversations at once, each with a thread of its own.
const WIDTH: usize = 48;
/// How long a write to a full socket may take.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);

/// Holds every conversation; endings in the order of the scripts.
pub(crate) fn run(stage: &Arc<Stage>, scripts: &[Script]) -> Vec<Ending> {
    scripts.chunks(WIDTH).flat_map(|scripts| run_together(stage, scripts)).collect()
}

fn run_together(stage: &Arc<Stage>, scripts: &[Script]) -> Vec<Ending> {
    let clock = Clock::start();
    let (addrs, peers): (Vec<_>, Vec<_>) =
        scripts.iter().map(|script| listen(stage, *script, clock)).unzip();
    let connections = Connections::new(clock, [None, None]);
    let work = async {
        for (key, (script, addr)) in scripts.iter().zip(addrs).enumerate() {
            connections.dial(key, addr, stage.exchange(clock.now(), script));
        }
        let mut outcomes: Vec<Option<Outcome>> = vec![None; scripts.len()];
        for _ in scripts {
            let (key, outcome) = connections.outcome().await;
            outcomes[key] = Some(outcome);
        }
        outcomes
    };
    let outcomes = async_io::block_on(connections.run(work));
    let heard = peers.into_iter().map(|peer| peer.join().expect("a peer that does not panic"));
    outcomes
        .into_iter()
        .zip(heard)
        .map(|(outcome, heard)| Ending::new(outcome.expect("one for each"), heard))
        .collect()
}

/// A peer that waits for one connection; its thread returns what it heard.
fn listen(stage: &Arc<Stage>, script: Script, clock: Clock) -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket on loopback");
    let addr = listener.local_addr().expect("its address");
    let stage = stage.clone();
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("the fetcher");
        let mut heard = Vec::new();
        // It ends with an error when the fetcher hangs up, as it should.
        let _ = converse(&stage, &script, clock, stream, &mut heard);
        heard
    });
    (addr, thread)
}

fn converse(
    stage: &Stage,
    script: &Script,
    clock: Clock,
    mut stream: TcpStream,
    heard: &mut Vec<u8>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(WRITE_PATIENCE))?;
    let mut peer = stage.peer(clock.now(), script);
    let (mut input, mut out) = (vec![0; 64 * 1024], Vec::new());
    let mut step = peer.handle_connected(stage.world(), clock.now(), &mut out);
    loop {
        if write(&mut stream, &out, script.part).is_err() {
            // What the fetcher said before it left counts.
            return stream.read_to_end(heard).map(|_| ());
        }
        out.clear();
        match step {
            Step::Continue => {}
            Step::Close => return Ok(()),
            Step::Reset => return SockRef::from(&stream).set_linger(Some(Duration::ZERO)),
        }
        let wait = peer.poll_timeout().since(clock.now()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(wait))?;
        match stream.read(&mut input) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                heard.extend_from_slice(&input[..count]);
                step = peer.handle_bytes(stage.world(), clock.now(), &input[..count], &mut out);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                step = peer.handle_timeout(stage.world(), clock.now(), &mut out);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn write(stream: &mut TcpStream, bytes: &[u8], part: usize) -> io::Result<()> {
    bytes.chunks(part).try_for_each(|part| stream.write_all(part))
}
