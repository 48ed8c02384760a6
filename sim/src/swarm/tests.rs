//! A whole swarm on loopback, asked through plain sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use estudely_core::krpc::{Ask, Envelope, Kind, Message, Want, emit_query};
use estudely_core::{AddressPolicy, Contact, Id, NodeId};

use super::*;
use crate::actors::utp::packet::{Packet, STATE, SYN};
use crate::world::dht::tests::share;
use crate::world::dht::{NodeKind, PeerState, Plan, Resident};
use crate::world::vice::{NodeVice, NodeVices};

/// Long enough for any answer on this machine; only failures take it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough to tell a hanging connection from one that is accepted at once.
const GLANCE: Duration = Duration::from_millis(200);

fn swarm(weather: Weather, change: impl FnOnce(&mut Plan)) -> Swarm {
    swarm_with(weather, Percent::ZERO, change)
}

/// The same with so many peers that take uTP alone.
fn swarm_with(weather: Weather, utp: Percent, change: impl FnOnce(&mut Plan)) -> Swarm {
    let base = Ipv4Addr::new(127, 16, 0, 0);
    let sockets = Sockets::bind(base, 0).expect("free ports");
    let mut plan = crate::world::dht::tests::plan(60, 100);
    plan.addresses = sockets.addresses();
    change(&mut plan);
    let world = Arc::new(World::build(plan).expect("world"));
    let extras = Extras { utp_peers: Some(utp), ..Extras::default() };
    Swarm::start_with(world, sockets, weather, extras).expect("swarm")
}

fn asker() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    socket
}

fn sample_query() -> Vec<u8> {
    let mut query = Vec::new();
    let envelope = Envelope { transaction: b"aa", version: None, read_only: true, external: None };
    let ask = Ask::SampleInfohashes { target: Id::ZERO };
    emit_query(&mut query, &envelope, NodeId([9; 20]), &ask, Want::UNSPECIFIED);
    query
}

fn contacts(swarm: &Swarm, kind: NodeKind) -> Vec<Contact> {
    let world = swarm.world();
    let of_kind = (0..world.node_count()).filter(|&n| world.node_kind(n) == kind);
    of_kind.map(|n| world.contact(n)).collect()
}

fn peer(swarm: &Swarm, state: PeerState) -> crate::world::dht::PeerRecord {
    let world = swarm.world();
    (0..world.peer_count()).map(|p| world.peer(p)).find(|p| p.state == state).expect("a peer")
}

#[test]
fn every_node_answers_from_its_own_address_with_its_own_id() {
    let swarm = swarm(Weather::CALM, |_| {});
    let (socket, query) = (asker(), sample_query());
    let mut buffer = [0; 2048];
    for contact in contacts(&swarm, NodeKind::Sampler) {
        socket.send_to(&query, contact.addr).expect("sent");
        let (len, from) = socket.recv_from(&mut buffer).expect("an answer");
        assert_eq!(from, contact.addr);
        let Kind::Reply(reply) = Message::parse(&buffer[..len]).expect("a message").kind else {
            panic!("no reply")
        };
        assert_eq!(reply.id, contact.id);
        let Some(Resident::Node(node)) = swarm.world().resident(from.ip()) else {
            panic!("no node")
        };
        let shown: Vec<_> = reply.samples.expect("samples").collect();
        let due = swarm.world().samples(node, 0).into_iter().map(|t| swarm.world().key(t));
        assert!(shown.into_iter().eq(due));
    }
    swarm.stop().expect("a clean end");
}

#[test]
fn dead_addresses_stay_silent_while_their_neighbours_answer() {
    let swarm = swarm(Weather::CALM, |_| {});
    let (socket, query) = (asker(), sample_query());
    for contact in contacts(&swarm, NodeKind::Dead) {
        socket.send_to(&query, contact.addr).expect("sent");
    }
    // Datagrams to one socket keep their order: had a dead one answered, it would come first.
    let live = contacts(&swarm, NodeKind::Sampler)[0];
    socket.send_to(&query, live.addr).expect("sent");
    let (_, from) = socket.recv_from(&mut [0; 2048]).expect("an answer");
    assert_eq!(from, live.addr);
}

#[test]
fn loss_and_latency_come_as_asked_for() {
    let all = Percent::new(100).expect("percent");
    let lossy = swarm(Weather { loss: all, latency: 0..=0 }, |_| {});
    let (socket, query) = (asker(), sample_query());
    socket.set_read_timeout(Some(GLANCE)).expect("timeout");
    socket.send_to(&query, contacts(&lossy, NodeKind::Sampler)[0].addr).expect("sent");
    assert_eq!(socket.recv_from(&mut [0; 2048]).expect_err("lost").kind(), ErrorKind::WouldBlock);
    let slow = swarm(Weather { loss: Percent::ZERO, latency: 60..=80 }, |_| {});
    socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let start = std::time::Instant::now();
    socket.send_to(&query, contacts(&slow, NodeKind::Sampler)[0].addr).expect("sent");
    socket.recv_from(&mut [0; 2048]).expect("late, not lost");
    assert!(start.elapsed() >= Duration::from_millis(60));
}

/// Reads until `len` bytes are there.
fn read_exactly(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("bytes");
    bytes
}

fn fetch(swarm: &Swarm, number: u32) -> Vec<u8> {
    let peer = swarm.world().peer(number);
    let mut stream = TcpStream::connect(peer.addr).expect("connected");
    let mut hello = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0".to_vec();
    hello.extend_from_slice(&swarm.world().key(peer.torrent).0);
    hello.extend_from_slice(b"-XX0000-abcdefghijkl");
    hello.extend_from_slice(b"\0\0\0\x1a\x14\0d1:md11:ut_metadatai3eee");
    stream.write_all(&hello).expect("written");
    read_exactly(&mut stream, 68);
    let (mut own_id, mut info) = (0, Vec::new());
    let len = swarm.world().metadata_len(peer.torrent) as usize;
    while info.len() < len {
        let size = read_exactly(&mut stream, 4);
        let size = u32::from_be_bytes(size.try_into().expect("4 bytes")) as usize;
        let message = read_exactly(&mut stream, size);
        match message[..] {
            [20, 0, ..] if own_id == 0 => {
                let text = String::from_utf8_lossy(&message[2..]).into_owned();
                let (_, rest) = text.split_once("ut_metadatai").expect("ut_metadata");
                own_id = rest.split_once('e').expect("an integer").0.parse().expect("an id");
                for piece in 0..len.div_ceil(16_384) {
                    let request = format!("d8:msg_typei0e5:piecei{piece}ee");
                    let mut framed = (request.len() as u32 + 2).to_be_bytes().to_vec();
                    framed.extend_from_slice(&[20, own_id]);
                    framed.extend_from_slice(request.as_bytes());
                    stream.write_all(&framed).expect("written");
                }
            }
            [20, 3, ..] => {
                let end = message.windows(2).position(|pair| pair == b"ee").expect("a header");
                info.extend_from_slice(&message[end + 2..]);
            }
            _ => {}
        }
    }
    info
}

/// A swarm of three honest nodes and ten with one vice.
fn vicious(vice: NodeVice) -> Swarm {
    swarm(Weather::CALM, |plan| {
        (plan.nodes, plan.dead_nodes) = (13, Percent::ZERO);
        plan.hostility.nodes = Percent::new(100).expect("a share");
        plan.hostility.node_vices = NodeVices::of(&[vice]);
    })
}

/// Asks the first node with a vice; the answers, each with where it came from.
fn answers(swarm: &Swarm, count: usize) -> (SocketAddr, Vec<(SocketAddr, Vec<u8>)>) {
    let world = swarm.world();
    let is_bad = |&node: &u32| world.node_vice(node).is_some();
    let node = world.contact((0..world.node_count()).find(is_bad).expect("a hostile node")).addr;
    let (socket, mut buffer) = (asker(), vec![0; 1 << 16]);
    socket.send_to(&sample_query(), node).expect("sent");
    let answers = (0..count).map(|_| {
        let (len, from) = socket.recv_from(&mut buffer).expect("an answer");
        (from, buffer[..len].to_vec())
    });
    (node, answers.collect())
}

#[test]
fn hostile_nodes_play_their_vices_on_real_sockets() {
    let (node, sent) = answers(&vicious(NodeVice::OtherPort), 1);
    assert!(sent[0].0.ip() == node.ip() && sent[0].0.port() != node.port(), "{sent:?}");
    let (node, sent) = answers(&vicious(NodeVice::OtherAddress), 1);
    assert!(sent[0].0.ip().is_loopback() && sent[0].0.ip() != node.ip(), "{sent:?}");
    let (_, sent) = answers(&vicious(NodeVice::HugeDatagrams), 1);
    assert!(sent[0].1.len() > 60_000);
    let (node, sent) = answers(&vicious(NodeVice::QueryFlood), 20);
    assert!(sent.iter().all(|(from, _)| *from == node));
}

#[test]
fn liars_name_no_address_beyond_this_machine_that_a_private_swarm_would_ask() {
    for vice in [
        NodeVice::InventedNodes,
        NodeVice::FloodedNodes,
        NodeVice::MartianNodes,
        NodeVice::SybilNodes,
        NodeVice::SelfNodes,
    ] {
        let (_, sent) = answers(&vicious(vice), 1);
        let Kind::Reply(reply) = Message::parse(&sent[0].1).expect("a message").kind else {
            panic!("no reply")
        };
        let named: Vec<_> = reply.nodes.map(|contact| contact.addr).collect();
        assert!(named.len() >= 8, "{vice:?}");
        for addr in named {
            let may = AddressPolicy::AllowPrivate.admits_node(addr);
            assert!(!may || addr.ip().is_loopback(), "{vice:?} {addr}");
            assert!(!may || vice != NodeVice::MartianNodes, "{addr}");
        }
    }
}

#[test]
fn a_node_shows_and_hands_out_what_it_is_given_beyond_the_world() {
    let sockets = Sockets::bind(Ipv4Addr::new(127, 16, 0, 0), 0).expect("free ports");
    let plan = Plan {
        addresses: sockets.addresses(),
        dead_nodes: Percent::ZERO,
        no_bep51: Percent::ZERO,
        ..crate::world::dht::tests::plan(3, 0)
    };
    let world = Arc::new(World::build(plan).expect("world"));
    let (key, peer) = (InfoHash([7; 20]), SocketAddr::from((Ipv4Addr::LOCALHOST, 9)));
    let extras = Extras { stored: vec![Stored { node: 1, key, peer }], ..Extras::default() };
    let swarm = Swarm::start_with(world, sockets, Weather::CALM, extras).expect("swarm");
    let socket = asker();
    for (node, shown) in [(0, 0), (1, 1)] {
        socket.send_to(&sample_query(), swarm.world().contact(node).addr).expect("sent");
        let mut buffer = [0; 2_048];
        let len = socket.recv(&mut buffer).expect("an answer");
        let Kind::Reply(reply) = Message::parse(&buffer[..len]).expect("a message").kind else {
            panic!("no reply")
        };
        assert!(reply.samples.expect("samples").eq(std::iter::repeat_n(key, shown)));
    }
}

#[test]
fn live_peers_serve_large_metadata_through_the_one_listener() {
    let swarm = swarm(Weather { loss: Percent::ZERO, latency: 0..=3 }, |plan| {
        plan.metadata = crate::world::torrent::MetadataSizes::Between(10_000..=1_500_000);
    });
    let world = swarm.world();
    let live = (0..world.peer_count()).filter(|&p| world.peer(p).state == PeerState::Live);
    for number in live.take(12) {
        assert_eq!(fetch(&swarm, number), world.torrent(world.peer(number).torrent).info);
    }
}

#[test]
fn dead_peers_refuse_stay_silent_or_never_complete_the_connection() {
    let swarm = swarm(Weather::CALM, |_| {});
    let connect = |addr: SocketAddr| TcpStream::connect_timeout(&addr, GLANCE);
    let refused = connect(peer(&swarm, PeerState::Refuses).addr).expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    for _ in 0..3 {
        let hanging = connect(peer(&swarm, PeerState::Hangs).addr).expect_err("hanging");
        assert_eq!(hanging.kind(), ErrorKind::TimedOut);
    }
    let mut silent = connect(peer(&swarm, PeerState::Silent).addr).expect("accepted");
    silent.write_all(b"\x13BitTorrent protocol").expect("written");
    silent.set_read_timeout(Some(GLANCE)).expect("timeout");
    assert_eq!(silent.read(&mut [0; 1]).expect_err("silence").kind(), ErrorKind::WouldBlock);
}

#[test]
fn peers_that_take_utp_alone_refuse_tcp_and_answer_a_syn_from_their_own_address() {
    let swarm = swarm_with(Weather::CALM, share(100), |_| {});
    let number = peer(&swarm, PeerState::Live).number;
    let addr = swarm.ways().addr(swarm.world(), number);
    let refused = TcpStream::connect_timeout(&addr, GLANCE).expect_err("refused");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let (socket, mut buffer) = (asker(), [0; 2048]);
    let (mask, payload) = (&[][..], &[][..]);
    let syn = Packet {
        kind: SYN,
        id: 7,
        time: 1,
        difference: 0,
        window: 9,
        seq: 1,
        ack: 0,
        mask,
        payload,
    };
    let dead = SocketAddr::new(peer(&swarm, PeerState::Silent).addr.ip(), addr.port());
    let node = SocketAddr::new(contacts(&swarm, NodeKind::Sampler)[0].addr.ip(), addr.port());
    for to in [dead, node, addr] {
        socket.send_to(&syn.write(), to).expect("sent");
    }
    // Datagrams to one socket keep their order: had another answered, it would come first.
    let (len, from) = socket.recv_from(&mut buffer).expect("an answer");
    let answer = Packet::read(&buffer[..len]).expect("a packet");
    assert_eq!((from, answer.kind, answer.id, answer.ack), (addr, STATE, 7, 1));
    assert_eq!(swarm.traffic().strays.load(Ordering::Relaxed), 2);
    // Where it would be if it took TCP nobody speaks for it.
    let mut other = TcpStream::connect(swarm.world().peer(number).addr).expect("connected");
    other.set_read_timeout(Some(PATIENCE)).expect("timeout");
    assert_eq!(other.read(&mut [0; 1]).expect("closed"), 0);
}

#[test]
fn connections_to_nodes_and_strangers_are_closed_unanswered() {
    let swarm = swarm(Weather::CALM, |_| {});
    let port = swarm.world().plan().addresses.port(0, 0);
    let node = contacts(&swarm, NodeKind::Sampler)[0].addr;
    for addr in [node, SocketAddr::from((Ipv4Addr::LOCALHOST, port))] {
        let mut stream = TcpStream::connect(addr).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        assert_eq!(stream.read(&mut [0; 1]).expect("closed"), 0);
    }
    assert_eq!(swarm.traffic().strays.load(Ordering::Relaxed), 2);
    swarm.stop().expect("a clean end");
}

#[test]
fn the_crawler_finds_all_that_is_exposed_and_a_second_run_adds_nothing() {
    let (third, half) = (share(33), share(50));
    let swarm = swarm_with(Weather::CALM, third, |plan| {
        (plan.dead_nodes, plan.dead_peers) = (Percent::ZERO, Percent::ZERO);
        (plan.sealed_peers, plan.sealed_rc4) = (third, half);
    });
    let exposure = crate::world::truth::exposure(swarm.world());
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("metadata.csv");
    let scored = crawl_self(&swarm, exposure, &out).expect("a score");
    assert!(scored.score.is_perfect(), "{scored}");
    assert_eq!((scored.score.found, scored.score.unverified), (exposure.due, 0));
    let is_whole = |share: &tally::Share| share.due > 0 && share.found == share.due;
    assert!(scored.classes.iter().all(is_whole), "{scored}");
    let first = std::fs::read(&out).expect("the file");
    assert!(crawl_self(&swarm, exposure, &out).expect("a score").score.is_perfect());
    assert_eq!(std::fs::read(&out).expect("the file"), first);
}
