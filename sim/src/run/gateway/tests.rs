use estudely_core::Family;
use tokio::io::AsyncWriteExt;
use turmoil::net::TcpStream;

use super::*;
use crate::net::event::Conn;
use crate::run::direct;
use crate::subject::tests::Notes;
use crate::world::scenario::Families;
use crate::world::vice::{PeerVice, PeerVices};

fn small(seed: u64) -> Scenario {
    Scenario { nodes: 200, torrents: 60, broken_s: 60, ..Scenario::calm(seed) }
}

fn universe(scenario: &Scenario) -> Rc<Universe> {
    Rc::new(Universe::build(scenario).expect("a plan that fits"))
}

/// Runs until all that is due is verified, which must come to pass.
fn run_to_the_end(scenario: &Scenario) -> (Notes, Ending) {
    let universe = universe(scenario);
    let notes = Notes::until_due(&universe);
    let (notes, ending) = run(scenario, universe, notes);
    assert!(ending.satisfied, "{} are missing", notes.missing.len());
    assert!(notes.verified.values().all(|&rows| rows == 1), "each once");
    assert_eq!(notes.sent_after_shutdown, 0);
    (notes, ending)
}

#[test]
fn a_small_calm_world_of_both_families_is_found_whole_as_without_turmoil() {
    let scenario = Scenario { families: Families::Both, ..small(1) };
    let (notes, ending) = run_to_the_end(&scenario);
    assert!(ending.at < Instant::from_micros(600_000_000), "{:?}", ending.at);
    let universe = universe(&scenario);
    let due = Notes::until_due(&universe);
    let plain = direct::run(&scenario, universe, due).0;
    assert_eq!(notes.verified, plain.verified);
}

#[test]
fn the_same_seed_gives_the_same_events() {
    let scenario = Scenario {
        families: Families::Both,
        loss: 50,
        jitter_ms: 30,
        forged: 50,
        chunk: 700,
        clock_stalls: 2,
        crashes: 2,
        ..small(2)
    };
    let first = run_to_the_end(&scenario).0;
    let second = run_to_the_end(&scenario).0;
    assert_eq!(first.starts, 3);
    assert_eq!((first.events, first.hash), (second.events, second.hash));
}

#[test]
fn crawlers_that_crash_go_on_from_their_files() {
    let scenario = Scenario { crashes: 4, healed_s: 60, ..small(4) };
    let (notes, ending) = run(&scenario, universe(&scenario), Notes::default());
    assert_eq!((notes.starts, notes.restored), (5, 4));
    assert_eq!(notes.verified.len(), 60);
    assert!(notes.verified.values().all(|&rows| rows == 1), "each once over all runs");
    assert_eq!(ending.at, Instant::from_micros(130_000_000), "shutdown and settling included");
}

#[test]
fn five_thousand_nodes_and_two_thousand_peers() {
    let scenario = Scenario {
        nodes: 5_000,
        torrents: 1_000,
        peers_min: 2,
        peers_max: 2,
        broken_s: 30,
        connections: 400,
        ..Scenario::calm(5)
    };
    let (notes, _) = run_to_the_end(&scenario);
    assert!(notes.verified.len() > 900, "{}", notes.verified.len());
}

/// Some of the peers say more at once than turmoil lets wait on a stream.
#[test]
fn a_stream_that_nobody_reads_holds_up_nothing_else() {
    let storm = PeerVices::of(&[PeerVice::MessageStorm]);
    let hostile = Scenario { hostile_peers: 100, peer_vices: storm, ..small(1) };
    let scenario = Scenario { chunk: 3, ..hostile };
    let universe = universe(&scenario);
    let net = Net::new(universe.clone(), &scenario, Shard { index: 0, count: 1 });
    let net = Rc::new(RefCell::new(net));
    let mut sim = simulation(&scenario);
    sim.host(IpAddr::V4(gateway(0)), move || host::serve(net.clone()));
    sim.client(IpAddr::V4(CRAWLER), async move {
        let world = universe.world(Family::V4).expect("a world");
        let own = universe.own(Family::V4).expect("an address");
        let there = SocketAddr::new(IpAddr::V4(gateway(0)), PORT);
        let mut lines = Vec::new();
        for peer in 0..world.peer_count() {
            let mut line = TcpStream::connect(there).await?;
            line.write_all(&frame::hello(Conn(peer.into()), world.peer(peer).addr)).await?;
            lines.push((peer, line));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        for (peer, line) in &mut lines {
            let hash = world.key(world.peer(*peer).torrent).0;
            let start: &[u8] = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0";
            line.write_all(&[start, &hash, b"-XX0000-abcdefghijkl"].concat()).await?;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(lines);
        let udp = bind_udp().await?;
        let node = world.contact(world.bootstraps()[0]).addr;
        let ping = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
        let mut datagram = Vec::new();
        frame::emit_datagram(&mut datagram, own, node, false, ping);
        udp.send_to(&datagram, there).await?;
        let mut answer = vec![0; DATAGRAM_MAX];
        let answered = udp.recv_from(&mut answer);
        tokio::time::timeout(Duration::from_secs(5), answered).await.expect("an answer")?;
        Ok(())
    });
    sim.run().expect("nothing is held up");
}

/// Panics on the crawler's host.
struct Trap;

impl Observer for Trap {
    fn observe(&mut self, now: Instant, _event: &crate::net::event::Event<'_>) {
        assert!(now < Instant::from_micros(1_000_000), "rule 99: a second is over");
    }
}

#[test]
#[should_panic(expected = "rule 99: a second is over")]
fn what_panics_on_a_host_fails_the_run_in_its_own_words() {
    let scenario = small(1);
    run(&scenario, universe(&scenario), Trap);
}
