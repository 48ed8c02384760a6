use super::*;
use crate::actors::peer::IDLE;
use crate::world::dht::PeerState;

const CONN: Conn = Conn(1);

fn of_state(world: &World, state: PeerState) -> Option<u32> {
    (0..world.peer_count()).find(|&peer| world.peer(peer).state == state)
}

/// Our handshake, extension handshake and request for the first piece of a peer's torrent.
fn script(world: &World, peer: u32) -> Vec<u8> {
    let mut out = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0".to_vec();
    out.extend_from_slice(&world.key(world.peer(peer).torrent).0);
    out.extend_from_slice(b"-XX0000-abcdefghijkl");
    let mut body = vec![20, 0];
    let mut w = Writer::new(&mut body);
    w.dict().bytes(b"m").dict().bytes(b"ut_metadata").int(3).end().end();
    out.extend_from_slice(&(body.len() as u32).to_be_bytes());
    out.extend_from_slice(&body);
    out
}

impl Rig {
    /// Connects to a live peer and gives when that was.
    fn connect(&mut self, now: Instant) -> (u32, Instant) {
        let peer = of_state(self.world(), PeerState::Live).expect("a live peer");
        let to = self.world().peer(peer).addr;
        self.net.dial(now, CONN, to);
        while let Some(due) = self.net.poll_timeout() {
            if let Some(delivery) = self.net.poll(due) {
                assert_eq!(delivery, Delivery::Accepted(CONN));
                return (peer, due);
            }
        }
        panic!("nobody answers");
    }
}

/// The bytes that were read, and how it went on.
fn read(all: Vec<(Instant, Delivery)>) -> (Vec<u8>, Vec<usize>, Vec<(Instant, Delivery)>) {
    let (mut bytes, mut pieces, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for (now, delivery) in all {
        match delivery {
            Delivery::Bytes(CONN, piece) => {
                assert!(rest.is_empty(), "bytes after the end");
                pieces.push(piece.len());
                bytes.extend(piece);
            }
            other => rest.push((now, other)),
        }
    }
    (bytes, pieces, rest)
}

#[test]
fn a_peer_accepts_answers_and_closes_when_its_time_is_over() {
    let mut rig = Rig::new(&calm());
    let (peer, now) = rig.connect(at(0));
    let path = rig.net.link().path_delay(rig.world().peer(peer).addr);
    assert_eq!(now, at(0) + 2 * path);
    let hello = script(rig.world(), peer);
    rig.net.write(now, CONN, &hello);
    let (bytes, _, rest) = read(rig.drain(at(1_000_000)));
    assert!(bytes.len() > HANDSHAKE_LEN && bytes[28..48] == hello[28..48]);
    assert_eq!(rest, [(now + 2 * path + IDLE, Delivery::Closed(CONN))]);
    assert_eq!((rig.net.connections(), rig.net.in_flight()), (0, 0));
}

#[test]
fn the_same_bytes_come_in_order_however_they_are_cut() {
    let stream = |chunk| {
        let mut rig = Rig::new(&Scenario { chunk, jitter_ms: 80, loss: 200, ..calm() });
        let (peer, now) = rig.connect(at(0));
        let hello = script(rig.world(), peer);
        rig.net.write(now, CONN, &hello);
        let (bytes, pieces, _) = read(rig.drain(at(60_000)));
        (bytes, pieces)
    };
    let (whole, pieces) = stream(0);
    assert!(pieces.len() <= 2, "{pieces:?}");
    for chunk in [1, 7, 100] {
        let (cut, pieces) = stream(chunk);
        assert_eq!(cut, whole);
        assert!(pieces.iter().all(|&len| len <= chunk as usize));
        assert!(chunk == 1 || pieces.iter().any(|&len| len != pieces[0]));
    }
}

#[test]
fn dialling_meets_what_the_world_says() {
    let mut rig = Rig::new(&Scenario { dead_peers: 60, ..calm() });
    let mut expected = BTreeMap::new();
    for peer in 0..rig.world().peer_count() {
        let record = rig.world().peer(peer);
        let conn = Conn(u64::from(peer));
        rig.net.dial(at(0), conn, record.addr);
        match record.state {
            PeerState::Live | PeerState::Silent => {
                expected.insert(conn, Delivery::Accepted(conn));
            }
            PeerState::Refuses => {
                expected.insert(conn, Delivery::Refused(conn));
            }
            PeerState::Hangs => {}
        }
    }
    let nodes = rig.nodes();
    rig.net.dial(at(0), Conn(100_000), nodes[0]);
    expected.insert(Conn(100_000), Delivery::Refused(Conn(100_000)));
    rig.net.dial(at(0), Conn(100_001), ([203, 1, 2, 3], 6_881).into());
    let answers: BTreeMap<_, _> = rig
        .drain(at(10_000))
        .into_iter()
        .map(|(_, delivery)| match delivery {
            Delivery::Accepted(conn) | Delivery::Refused(conn) => (conn, delivery),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(answers, expected);
    let hangs = rig.net.census().hung as usize;
    assert!(hangs > 1);
    assert_eq!(answers.len() + hangs, rig.world().peer_count() as usize + 2);
}

#[test]
fn nothing_arrives_on_a_connection_that_was_closed() {
    for all in [false, true] {
        let mut rig = Rig::new(&calm());
        let (peer, now) = rig.connect(at(0));
        let hello = script(rig.world(), peer);
        rig.net.write(now, CONN, &hello);
        if all {
            rig.net.close_all(now);
        } else {
            rig.net.close(now, CONN);
        }
        rig.net.write(now, CONN, &hello);
        assert_eq!(rig.drain(at(1_000_000)), []);
        assert_eq!((rig.net.connections(), rig.net.in_flight()), (0, 0));
    }
}

#[test]
fn a_reset_ends_a_connection_within_its_bytes() {
    let mut rig = Rig::new(&Scenario { resets: 1_000, ..calm() });
    let (peer, now) = rig.connect(at(0));
    let hello = script(rig.world(), peer);
    rig.net.write(now, CONN, &hello);
    let (_, _, rest) = read(rig.drain(at(1_000_000)));
    assert!(matches!(rest[..], [(_, Delivery::Reset(CONN))]), "{rest:?}");
    assert_eq!(rig.net.connections(), 0);
}

#[test]
fn after_a_stall_nothing_ever_comes() {
    let mut rig = Rig::new(&Scenario { stalls: 1_000, ..calm() });
    let (peer, now) = rig.connect(at(0));
    let hello = script(rig.world(), peer);
    rig.net.write(now, CONN, &hello);
    let all = rig.drain(at(1_000_000));
    let (bytes, _, rest) = read(all);
    // The peer may have heard the whole handshake; what it said then broke off.
    let whole = {
        let mut rig = Rig::new(&calm());
        let (_, now) = rig.connect(at(0));
        rig.net.write(now, CONN, &hello);
        read(rig.drain(at(60_000))).0
    };
    assert!(bytes.len() < whole.len() && whole.starts_with(&bytes));
    assert!(rest.len() <= 1);
    assert!(rig.net.census().stalls >= 1);
}

/// A scenario with one partition both ways, at least that long, and that partition.
fn cut(partition_s: u32) -> (Rig, Instant, Instant) {
    let scenario = Scenario { partitions: 1, partition_s, one_way: 0, broken_s: 100_000, ..calm() };
    let rig = Rig::new(&scenario);
    let partition = rig.net.link().partitions()[0];
    assert!(partition.from > at(200_000));
    (rig, partition.from, partition.until)
}

#[test]
fn a_short_partition_delays_a_stream_until_it_is_over() {
    let (mut rig, from, until) = cut(10);
    let before = Instant::START + ((from - Instant::START) - Duration::from_secs(1));
    let (peer, _) = rig.connect(before);
    let hello = script(rig.world(), peer);
    rig.net.write(from, CONN, &hello);
    assert_eq!(rig.net.poll(until), None);
    let path = rig.net.link().path_delay(rig.world().peer(peer).addr);
    let all = rig.drain(until + Duration::from_secs(10));
    assert_eq!(all[0].0, until + 2 * path);
    assert!(read(all).0.len() > HANDSHAKE_LEN);
}

#[test]
fn a_long_partition_resets_a_stream_after_a_minute() {
    let (mut rig, from, until) = cut(200);
    let before = Instant::START + ((from - Instant::START) - Duration::from_secs(1));
    let (peer, _) = rig.connect(before);
    let hello = script(rig.world(), peer);
    rig.net.write(from, CONN, &hello);
    assert_eq!(rig.drain(until), [(from + DATA_RETRIES, Delivery::Reset(CONN))]);
}

#[test]
fn dialling_into_a_partition_hangs_until_a_retry_passes() {
    let (mut rig, from, until) = cut(10);
    let (_, accepted) = rig.connect(from);
    // The first of the retries after the end: 10 to 20 s long, so that at 15 or at 31 s.
    assert!(accepted > until);
    let retry = accepted - from;
    let secs = retry.as_secs();
    assert!(secs == 15 || secs == 31, "{secs}");

    let (mut rig, from, _) = cut(200);
    let peer = of_state(rig.world(), PeerState::Live).expect("a live peer");
    let to = rig.world().peer(peer).addr;
    rig.net.dial(from, CONN, to);
    assert_eq!(rig.drain(from + Duration::from_secs(1_000)), []);
    assert_eq!(rig.net.census().hung, 1);
    rig.net.close(from, CONN);
    assert_eq!(rig.net.connections(), 0);
}

#[test]
fn a_connection_to_a_peer_that_left_is_reset() {
    let mut rig = Rig::new(&Scenario { peer_life_s: 600, broken_s: 7_200, ..calm() });
    let world = rig.world();
    let leaves = |&peer: &u32| {
        let life = world.peer_life(peer);
        let long = (life.born + 60..u32::MAX).contains(&life.died);
        long && world.peer(peer).state == PeerState::Live
    };
    let peer = (0..world.peer_count()).find(leaves).expect("a peer that leaves");
    let (to, hello) = (world.peer(peer).addr, script(world, peer));
    let gone = at(u64::from(world.peer_life(peer).died) * 1_000);
    rig.net.dial(at(gone.as_millis() - 30_000), CONN, to);
    let all = rig.drain(gone);
    assert!(matches!(all[..], [(_, Delivery::Accepted(CONN))]), "{all:?}");
    rig.net.write(gone, CONN, &hello);
    let round = 2 * rig.net.link().path_delay(to);
    assert_eq!(rig.drain(at(10_000_000)), [(gone + round, Delivery::Reset(CONN))]);
    assert_eq!(rig.net.connections(), 0);
}

#[test]
fn what_was_under_way_when_a_connection_ends_no_longer_fills_the_bottleneck() {
    let took = |ends: bool| {
        let mut rig = Rig::new(&Scenario { bandwidth: 10_000, ..calm() });
        let (peer, now) = rig.connect(at(0));
        rig.net.write(now, CONN, &[0; 100_000]);
        if ends {
            rig.net.close(now, CONN);
        }
        let to = rig.world().peer(peer).addr;
        rig.net.dial(now, Conn(2), to);
        let all = rig.drain(now + Duration::from_secs(5));
        let accepted = all.iter().find(|(_, delivery)| *delivery == Delivery::Accepted(Conn(2)));
        accepted.expect("accepted").0.since(now)
    };
    // A packet waits behind a full queue of 15 kB at most.
    assert!(took(false) >= Duration::from_millis(1_500));
    assert!(took(true) < Duration::from_millis(300));
}
