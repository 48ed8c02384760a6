//! Conversations through turmoil's TCP: two hosts, one that dials and one that listens on a port
//! for each peer, all in virtual time.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use estudely_core::{Instant, Outcome, Step};
use estudely_sim::peer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use turmoil::net::{TcpListener, TcpStream};

use crate::scripts::{Ending, Script, Stage};

/// The host that all peers live on, and the port of the first.
const PEERS: &str = "peers";
const FIRST_PORT: u16 = 1_024;
/// No conversation may take longer (H26).
const DURATION: Duration = Duration::from_secs(70);
/// Segments on their way between the two hosts.
const CAPACITY: usize = 65_536;
/// Bytes read at once.
const READ_LEN: usize = 64 * 1024;

/// What each peer heard, in the order of the scripts.
type Heard = Rc<RefCell<Vec<Vec<u8>>>>;

/// Holds every conversation at once; endings in the order of the scripts.
pub(crate) fn run(stage: &Arc<Stage>, scripts: &[Script]) -> Vec<Ending> {
    let mut sim = turmoil::Builder::new()
        .epoch(SystemTime::UNIX_EPOCH)
        .rng_seed(1)
        .tick_duration(Duration::from_millis(1))
        .simulation_duration(DURATION)
        .min_message_latency(Duration::ZERO)
        .max_message_latency(Duration::ZERO)
        .fail_rate(0.0)
        .tcp_capacity(CAPACITY)
        .build();
    let heard: Heard = Rc::new(RefCell::new(vec![Vec::new(); scripts.len()]));
    let scripts: Rc<[Script]> = scripts.into();
    let host = (stage.clone(), scripts.clone(), heard.clone());
    sim.host(PEERS, move || {
        let (stage, scripts, heard) = host.clone();
        async move {
            let mut peers = JoinSet::new();
            for (index, script) in scripts.iter().copied().enumerate() {
                let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port(index))).await?;
                peers.spawn_local(listen(stage.clone(), listener, script, index, heard.clone()));
            }
            // A panic in a task would otherwise be swallowed.
            peers.join_all().await;
            Ok(())
        }
    });
    let outcomes = Rc::new(RefCell::new(vec![None; scripts.len()]));
    let client = (stage.clone(), scripts.clone(), outcomes.clone());
    sim.client("fetcher", async move {
        let (stage, scripts, outcomes) = client;
        let mut fetchers = JoinSet::new();
        for (index, script) in scripts.iter().copied().enumerate() {
            let stage = stage.clone();
            fetchers.spawn_local(async move { (index, fetch(&stage, &script, index).await) });
        }
        for (index, outcome) in fetchers.join_all().await {
            outcomes.borrow_mut()[index] = Some(outcome);
        }
        // What was said last is still on its way.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(())
    });
    sim.run().expect("the simulation ends");
    drop(sim);
    let outcomes = outcomes.take().into_iter().map(|outcome: Option<Outcome>| outcome);
    let heard = heard.take();
    outcomes.zip(heard).map(|(o, heard)| Ending::new(o.expect("one for each"), heard)).collect()
}

fn port(index: usize) -> u16 {
    FIRST_PORT + u16::try_from(index).expect("as many ports")
}

fn now() -> Instant {
    Instant::START + turmoil::sim_elapsed().expect("within a simulation")
}

/// Waits until `at` by the simulation's clock.
async fn until(at: Instant) {
    tokio::time::sleep(at.since(now())).await;
}

async fn listen(
    stage: Arc<Stage>,
    listener: TcpListener,
    script: Script,
    index: usize,
    heard: Heard,
) {
    let (stream, _) = listener.accept().await.expect("the fetcher");
    converse(&stage, &script, stream, |bytes| {
        heard.borrow_mut()[index].extend_from_slice(bytes);
    })
    .await;
}

async fn converse(
    stage: &Stage,
    script: &Script,
    mut stream: TcpStream,
    mut hear: impl FnMut(&[u8]),
) {
    let mut peer = stage.peer(now(), script);
    let (mut input, mut out) = (vec![0; READ_LEN], Vec::new());
    let mut step = peer.handle_connected(stage.world(), now(), &mut out);
    loop {
        let mut open = true;
        for part in out.chunks(script.part) {
            open &= stream.write_all(part).await.is_ok();
        }
        out.clear();
        // Turmoil knows no reset at will: both ways to leave are the end of the stream.
        if step != peer::Step::Continue {
            return;
        }
        let due = peer.poll_timeout();
        step = tokio::select! {
            biased;
            read = stream.read(&mut input) => match read {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    hear(&input[..count]);
                    if !open {
                        continue;
                    }
                    peer.handle_bytes(stage.world(), now(), &input[..count], &mut out)
                }
            },
            () = until(due) => peer.handle_timeout(stage.world(), now(), &mut out),
        };
    }
}

/// What the smol adapter does, by other means.
async fn fetch(stage: &Stage, script: &Script, index: usize) -> Outcome {
    let mut exchange = stage.exchange(now(), script);
    let mut stream = TcpStream::connect((PEERS, port(index))).await.expect("a listening peer");
    let (mut input, mut out) = (vec![0; READ_LEN], Vec::new());
    exchange.handle_connected(now(), &mut out);
    loop {
        if stream.write_all(&out).await.is_err() {
            return exchange.handle_closed(now());
        }
        out.clear();
        let due = exchange.poll_timeout();
        let step = tokio::select! {
            biased;
            read = stream.read(&mut input) => match read {
                Ok(0) | Err(_) => return exchange.handle_closed(now()),
                Ok(count) => exchange.handle_bytes(now(), &input[..count], &mut out),
            },
            () = until(due) => exchange.handle_timeout(now(), &mut out),
        };
        if let Step::Finished(outcome) = step {
            return *outcome;
        }
    }
}
