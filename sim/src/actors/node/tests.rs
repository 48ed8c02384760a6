use std::collections::BTreeSet;

use estudely_core::Duration;
use estudely_core::krpc::{Ask, Kind, Reply, Want, emit_method, emit_query};
use proptest::prelude::*;

use super::*;
use crate::world::dht::Luring;
use crate::world::dht::tests::plan;
use crate::world::vice::{Bait, Baits};

const ASKER: ([u8; 4], u16) = ([127, 0, 0, 1], 40_000);

fn world() -> World {
    World::build(plan(300, 900)).expect("world")
}

fn of_kind(world: &World, kind: NodeKind) -> u32 {
    (0..world.node_count())
        .filter(|&n| world.node_kind(n) == kind)
        .max_by_key(|&n| world.stored(at(0), n).len())
        .expect("such a node")
}

fn at(secs: u64) -> Instant {
    Instant::START + Duration::from_secs(secs)
}

/// Asks as the core would and gives the answer's bytes.
fn ask(node: &mut Node, world: &World, now: Instant, method: &Method<'_>) -> Vec<u8> {
    let (mut query, mut out) = (Vec::new(), Vec::new());
    let envelope =
        Envelope { transaction: b"abcdef", version: None, read_only: true, external: None };
    emit_method(&mut query, &envelope, NodeId([9; 20]), method, Want::UNSPECIFIED);
    node.handle_datagram(world, now, ASKER.into(), &query, &mut out);
    out
}

fn reply(bytes: &[u8]) -> Reply<'_> {
    let message = Message::parse(bytes).expect("a message");
    assert_eq!(message.transaction, b"abcdef");
    assert_eq!(message.external, Some(ASKER.into()));
    match message.kind {
        Kind::Reply(reply) => reply,
        other => panic!("{other:?}"),
    }
}

fn error_code(bytes: &[u8]) -> Option<i64> {
    match Message::parse(bytes).expect("a message").kind {
        Kind::Error(error) => error.code,
        other => panic!("{other:?}"),
    }
}

fn sample(node: &mut Node, world: &World, now: Instant, target: Id) -> Vec<InfoHash> {
    let bytes = ask(node, world, now, &Method::SampleInfohashes { target });
    let reply = reply(&bytes);
    assert_eq!(reply.interval, Some(21_600));
    assert_eq!(reply.num, Some(world.stored(at(0), node.number).len() as i64));
    reply.samples.expect("samples").collect()
}

#[test]
fn a_sample_is_fixed_within_its_interval_whatever_the_target_and_new_after_it() {
    let world = world();
    let number = of_kind(&world, NodeKind::Sampler);
    let mut node = Node::new(number);
    assert!(world.stored(at(0), number).len() > 20);
    let first = sample(&mut node, &world, at(0), Id::ZERO);
    assert_eq!(first.len(), 20);
    assert_eq!(sample(&mut node, &world, at(21_599), Id::MAX), first);
    assert_ne!(sample(&mut node, &world, at(21_600), Id::ZERO), first);
    let keys: BTreeSet<_> = world.stored(at(0), number).iter().map(|&t| world.key(t)).collect();
    assert!(first.iter().all(|key| keys.contains(key)));
    // A restarted node shows the same again.
    assert_eq!(sample(&mut Node::new(number), &world, at(5), Id::ZERO), first);
}

#[test]
fn nodes_without_bep_51_keep_silent_refuse_or_answer_as_to_find_node() {
    let world = world();
    let method = Method::SampleInfohashes { target: Id::MAX };
    let answer = |kind| ask(&mut Node::new(of_kind(&world, kind)), &world, at(1), &method);
    assert!(answer(NodeKind::SampleSilent).is_empty());
    assert_eq!(error_code(&answer(NodeKind::SampleUnknown)), Some(204));
    let bytes = answer(NodeKind::SampleAsFindNode);
    let reply = reply(&bytes);
    assert!(reply.samples.is_none());
    assert_eq!(reply.nodes.len(), K);
}

#[test]
fn get_peers_brings_every_stored_peer_and_always_nodes_and_a_token() {
    let world = world();
    for torrent in 0..50 {
        let holder = world.holders(at(0), torrent).iter().next().expect("a holder");
        let method =
            Method::GetPeers { info_hash: world.key(torrent), scrape: false, noseed: false };
        let bytes = ask(&mut Node::new(holder), &world, at(1), &method);
        let found: Vec<_> = reply(&bytes).values.collect();
        let exist: Vec<_> = world.peers_of(torrent).map(|p| world.peer(p).addr).collect();
        assert_eq!(found, exist);
        assert_eq!(reply(&bytes).nodes.len(), K);
        assert!(reply(&bytes).token.is_some());
        let stranger = (0..300)
            .find(|&n| {
                world.node_kind(n) == NodeKind::Sampler
                    && !world.stored(at(0), n).contains(&torrent)
            })
            .expect("a stranger");
        let bytes = ask(&mut Node::new(stranger), &world, at(1), &method);
        assert_eq!(reply(&bytes).values.count(), 0);
        assert_eq!(reply(&bytes).nodes.len(), K);
    }
}

#[test]
fn an_announced_peer_is_handed_out_and_needs_a_token_that_is_at_most_ten_minutes_old() {
    let world = world();
    let mut node = Node::new(of_kind(&world, NodeKind::Sampler));
    let info_hash = InfoHash([3; 20]);
    let get_peers = Method::GetPeers { info_hash, scrape: false, noseed: false };
    let bytes = ask(&mut node, &world, at(10), &get_peers);
    let token = reply(&bytes).token.expect("token").to_vec();
    let announce = |token| Method::AnnouncePeer {
        info_hash,
        port: 7,
        implied_port: false,
        token,
        seed: false,
    };
    assert_eq!(error_code(&ask(&mut node, &world, at(20), &announce(b"none"))), Some(203));
    assert_eq!(error_code(&ask(&mut node, &world, at(900), &announce(&token))), Some(203));
    for _ in 0..2 {
        reply(&ask(&mut node, &world, at(599), &announce(&token)));
    }
    let bytes = ask(&mut node, &world, at(600), &get_peers);
    assert!(reply(&bytes).values.eq([SocketAddr::from((ASKER.0, 7))]));
}

#[test]
fn what_a_node_is_told_to_store_is_shown_from_the_next_interval_on() {
    let world = World::build(plan(20, 0)).expect("world");
    let mut node = Node::new(of_kind(&world, NodeKind::Sampler));
    let peer = SocketAddr::from(([127, 0, 0, 2], 9));
    let [known, empty] = [1, 2].map(|byte| InfoHash([byte; 20]));
    let shown = |node: &mut Node, second| {
        let method = Method::SampleInfohashes { target: Id::ZERO };
        let bytes = ask(node, &world, at(second), &method);
        let reply = reply(&bytes);
        (reply.samples.expect("samples").collect::<Vec<_>>(), reply.num)
    };
    assert_eq!(shown(&mut node, 10), (Vec::new(), Some(0)));
    node.store(known, Some(peer));
    node.store(known, Some(SocketAddr::from(([127, 0, 0, 2], 10))));
    node.store(empty, None);
    assert_eq!(shown(&mut node, 20), (Vec::new(), Some(2)));
    assert_eq!(shown(&mut node, 21_600), (vec![known, empty], Some(2)));
    for (key, peers) in [(known, 2), (empty, 0)] {
        let method = Method::GetPeers { info_hash: key, scrape: false, noseed: false };
        let bytes = ask(&mut node, &world, at(21_600), &method);
        assert_eq!(reply(&bytes).values.count(), peers);
    }
    for n in 0..30 {
        node.store(InfoHash([100 + n; 20]), None);
    }
    assert_eq!(shown(&mut node, 43_200).0.len(), SAMPLES_MAX);
}

#[test]
fn announced_peers_are_bounded() {
    let mut node = Node::new(0);
    for port in 1..=ANNOUNCED_MAX as u16 + 5 {
        node.store(InfoHash([1; 20]), Some(SocketAddr::from(([127, 0, 0, 1], port))));
    }
    assert_eq!(node.announced.len(), ANNOUNCED_MAX);
}

#[test]
fn i5_15_an_answer_holds_50_peers_of_ipv4_or_25_of_ipv6_and_not_one_more() {
    let world = world();
    let info_hash = InfoHash([3; 20]);
    let mut node = Node::new(of_kind(&world, NodeKind::Sampler));
    for n in 1..=51 {
        node.store(info_hash, Some(SocketAddr::from(([20, n, 0, 1], 7))));
        node.store(info_hash, Some(SocketAddr::from(([0x2a00, n.into(), 0, 0, 0, 0, 0, 1], 7))));
    }
    for (asker, held) in [("20.0.0.1:7", 50), ("[2a00::1]:7", 25)] {
        let (mut query, mut out) = (Vec::new(), Vec::new());
        let envelope =
            Envelope { transaction: b"ab", version: None, read_only: true, external: None };
        let ask = Ask::GetPeers { info_hash };
        emit_query(&mut query, &envelope, NodeId([9; 20]), &ask, Want::UNSPECIFIED);
        let asker = asker.parse().expect("address");
        node.handle_datagram(&world, at(1), asker, &query, &mut out);
        let message = Message::parse(&out).expect("a message");
        let Kind::Reply(reply) = message.kind else { panic!("{message:?}") };
        assert_eq!(reply.values.count(), held, "{asker}");
    }
}

#[test]
fn bad_arguments_and_unknown_methods_are_refused_as_bep_5_says() {
    let world = world();
    let mut node = Node::new(of_kind(&world, NodeKind::Sampler));
    let mut send = |query: &[u8]| {
        let mut out = Vec::new();
        node.handle_datagram(&world, at(1), ASKER.into(), query, &mut out);
        out
    };
    let bad = send(b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaa6:target3:abce1:q9:find_node1:t2:aa1:y1:qe");
    assert_eq!(error_code(&bad), Some(203));
    let unknown = send(b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae1:q4:vote1:t2:aa1:y1:qe");
    assert_eq!(error_code(&unknown), Some(204));
    let pong = b"d1:rd2:id20:aaaaaaaaaaaaaaaaaaaae1:t2:aa1:y1:re";
    assert!(send(pong).is_empty(), "an answer is never answered");
    assert!(send(b"hello, is anybody there").is_empty());
    let dead = of_kind(&world, NodeKind::Dead);
    assert!(ask(&mut Node::new(dead), &world, at(1), &Method::Ping).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_answer_echoes_the_transaction_and_keeps_below_1024_bytes(
        transaction in prop::collection::vec(any::<u8>(), 1..=20),
        target in any::<[u8; 20]>(),
        number in 0u32..300,
        which in 0..4,
    ) {
        let mut plan = plan(300, 200);
        plan.peers = 50..=50;
        let world = World::build(plan).expect("world");
        let target = if which == 3 { world.key(u32::from(target[0])% 200).id() } else { Id(target) };
        let ask = match which {
            0 => Ask::Ping,
            1 => Ask::FindNode { target },
            2 => Ask::SampleInfohashes { target },
            _ => Ask::GetPeers { info_hash: InfoHash(target.0) },
        };
        let (mut query, mut out) = (Vec::new(), Vec::new());
        let envelope =
            Envelope { transaction: &transaction, version: None, read_only: true, external: None };
        emit_query(&mut query, &envelope, NodeId([9; 20]), &ask, Want::UNSPECIFIED);
        Node::new(number).handle_datagram(&world, at(1), ASKER.into(), &query, &mut out);
        prop_assert!(out.len() <= 1024, "{} bytes", out.len());
        match world.node_kind(number) {
            NodeKind::Dead => prop_assert!(out.is_empty()),
            NodeKind::SampleSilent if which == 2 => prop_assert!(out.is_empty()),
            _ => {
                let message = Message::parse(&out).expect("a message");
                prop_assert_eq!(message.transaction, &transaction[..]);
                prop_assert!(message.flags.is_clean());
            }
        }
    }

    #[test]
    fn no_datagram_makes_a_node_panic(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let world = World::build(plan(20, 5)).expect("world");
        let mut node = Node::new(of_kind(&world, NodeKind::Sampler));
        node.handle_datagram(&world, at(1), ASKER.into(), &payload, &mut Vec::new());
    }
}

#[test]
fn some_nodes_ask_without_a_transaction_id_or_with_an_odd_want() {
    let world = World::build(plan(20, 5)).expect("world");
    let mut dice = fastrand::Rng::with_seed(1);
    let mut seen = BTreeSet::new();
    for _ in 0..200 {
        let query = curious::query(&world, 0, &mut dice);
        let has = |needle: &[u8]| query.windows(needle.len()).any(|window| window == needle);
        let odd = has(b"4:want2:n4") || has(b"4:wantli4e2:n6e");
        seen.insert(match Message::parse(&query) {
            Ok(message) => {
                assert!(matches!(message.kind, Kind::Query(_)), "odd, and a query");
                if odd { "want" } else { "plain" }
            }
            Err(_) => "no transaction",
        });
    }
    assert_eq!(seen, BTreeSet::from(["no transaction", "plain", "want"]));
}

#[test]
fn a_baiter_makes_up_new_keys_for_each_answer_and_is_honest_otherwise() {
    let mut plan = plan(60, 80);
    let baits = Baits::of(&[Bait::Dead]);
    plan.hostility.luring = Luring { nodes: 3, baits, decoys: 40, networks: 0, any_key: false };
    let world = World::build(plan).expect("world");
    let number = (0..world.node_count()).find(|&node| world.baiter(node).is_some()).expect("one");
    let mut node = Node::new(number);
    let mut say = |ask: &Ask| {
        let mut query = Vec::new();
        let envelope =
            Envelope { transaction: b"abcdef", version: None, read_only: true, external: None };
        emit_query(&mut query, &envelope, NodeId([3; 20]), ask, Want::default());
        let mut sends = Vec::new();
        node.handle(&world, at(0), ASKER.into(), &query, &mut sends);
        sends.pop().expect("an answer").payload
    };
    let mut keys = BTreeSet::new();
    for _ in 0..2 {
        let answer = say(&Ask::SampleInfohashes { target: Id([7; 20]) });
        let said = reply(&answer);
        assert_eq!((said.interval, said.nodes.count()), (Some(0), K), "and it names contacts");
        keys.extend(said.samples.into_iter().flatten());
    }
    assert_eq!(keys.len(), 128);
    let info_hash = *keys.first().expect("a key");
    assert!(world.is_invented(info_hash));
    let answer = say(&Ask::GetPeers { info_hash });
    assert_eq!(reply(&answer).values.count(), 30);
}
