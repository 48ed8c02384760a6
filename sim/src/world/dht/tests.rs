use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::knowledge::Fixed;
use super::*;
use crate::world::routing::K;
use crate::world::torrent::MetadataSizes;

const START: Instant = Instant::START;

pub(crate) fn share(value: u8) -> Percent {
    Percent::new(value).expect("a percentage")
}

pub(crate) fn plan(nodes: u32, torrents: u32) -> Plan {
    Plan {
        seed: 7,
        nodes,
        dead_nodes: share(30),
        no_bep51: share(20),
        torrents,
        peers: 2..=5,
        dead_peers: share(50),
        sealed_peers: Percent::ZERO,
        sealed_rc4: Percent::ZERO,
        metadata: MetadataSizes::Realistic,
        interval: INTERVAL_DEFAULT,
        routing: Routing::Tables,
        addresses: Addresses::Loopback(Loopback {
            base: Ipv4Addr::new(127, 16, 0, 0),
            port: 16_881,
            refusing_port: 16_882,
            silent_port: 16_883,
        }),
        churn: Churn::NONE,
        hostility: Hostility::NONE,
    }
}

#[test]
fn equal_plans_make_equal_worlds() {
    let (a, b) = (World::build(plan(300, 400)), World::build(plan(300, 400)));
    let (a, b) = (a.expect("world"), b.expect("world"));
    for node in 0..a.node_count() {
        assert_eq!(a.contact(node), b.contact(node));
        assert_eq!(a.node_kind(node), b.node_kind(node));
        assert_eq!(a.samples(node, 0), b.samples(node, 0));
    }
    for torrent in 0..a.torrent_count() {
        assert_eq!(a.key(torrent), b.key(torrent));
        assert!(a.peers_of(torrent).map(|p| a.peer(p)).eq(b.peers_of(torrent).map(|p| b.peer(p))));
    }
}

#[test]
fn everybody_has_an_address_of_their_own_that_leads_back() {
    let world = World::build(plan(300, 400)).expect("world");
    let mut seen = BTreeSet::new();
    for node in 0..world.node_count() {
        let ip = world.contact(node).addr.ip();
        assert!(seen.insert(ip));
        assert_eq!(world.resident(ip), Some(Resident::Node(node)));
    }
    for number in 0..world.peer_count() {
        let peer = world.peer(number);
        assert!(seen.insert(peer.addr.ip()));
        assert_eq!(world.resident(peer.addr.ip()), Some(Resident::Peer(number)));
        assert!(world.peers_of(peer.torrent).contains(&number));
    }
    assert_eq!(world.resident(Ipv4Addr::LOCALHOST.into()), None);
    assert_eq!(world.resident(Ipv4Addr::new(127, 255, 0, 0).into()), None);
}

#[test]
fn shares_are_those_of_the_plan() {
    let world = World::build(plan(1_000, 1_000)).expect("world");
    let count = |kind| (0..1_000).filter(|&n| world.node_kind(n) == kind).count();
    assert_eq!(count(NodeKind::Dead), 300);
    assert_eq!(count(NodeKind::Sampler), 560);
    let dead = (0..world.peer_count()).filter(|&p| world.peer(p).state != PeerState::Live).count();
    let share = dead as f64 / f64::from(world.peer_count());
    assert!((0.45..0.55).contains(&share), "{share}");
}

#[test]
fn a_torrent_is_stored_by_its_eight_closest_live_nodes() {
    let world = World::build(plan(200, 100)).expect("world");
    for torrent in 0..world.torrent_count() {
        let key = world.key(torrent);
        let mut live: Vec<u32> =
            (0..200).filter(|&n| world.node_kind(n) != NodeKind::Dead).collect();
        live.sort_by_key(|&n| world.contact(n).id.id().distance(key.id()));
        assert!(world.holders(START, torrent).iter().eq(live[..K].iter().copied()));
        assert!(world.holders(START, torrent).iter().all(|n| world.stores(START, n, torrent)));
        assert_eq!(world.torrent_by_key(key), Some(torrent));
    }
    let pairs: usize = (0..200).map(|n| world.stored(START, n).len()).sum();
    assert_eq!(pairs, 800);
}

#[test]
fn samples_are_twenty_different_ones_of_what_the_node_stores_and_change_with_the_interval() {
    let world = World::build(plan(60, 600)).expect("world");
    let mut changed = 0;
    for node in 0..60 {
        let samples = world.samples(node, 0);
        let stored = world.stored(START, node);
        if world.node_kind(node) == NodeKind::Sampler {
            assert_eq!(samples.len(), stored.len().min(SAMPLES_MAX));
        } else {
            assert!(samples.is_empty());
        }
        assert!(samples.iter().all(|torrent| stored.contains(torrent)));
        assert_eq!(samples.iter().collect::<BTreeSet<_>>().len(), samples.len());
        changed += usize::from(samples != world.samples(node, 1));
    }
    assert!(changed > 20);
}

#[test]
fn every_live_node_can_be_reached_from_the_bootstrap_node() {
    let world = World::build(plan(2_000, 0)).expect("world");
    let Knowledge::Fixed(Fixed { tables, .. }) = &world.knowledge else { panic!("churn") };
    let start = world.bootstrap().expect("a live node").addr.ip();
    let Some(Resident::Node(start)) = world.resident(start) else { panic!("no node") };
    let mut seen = BTreeSet::from([start]);
    let mut open = vec![start];
    while let Some(node) = open.pop() {
        for &next in tables.contacts(node) {
            if world.node_kind(next) != NodeKind::Dead && seen.insert(next) {
                open.push(next);
            }
        }
    }
    assert_eq!(seen.len(), 1_400);
}

#[test]
fn impossible_plans_are_refused_before_anything_is_made() {
    let mut crowded = plan(4, 1 << 30);
    assert!(matches!(
        World::build(crowded.clone()).map(drop),
        Err(PlanError::AddressesExhausted { .. })
    ));
    crowded.torrents = 1;
    crowded.peers = 0..=3;
    assert_eq!(World::build(crowded.clone()).map(drop), Err(PlanError::Peers));
    crowded.peers = 1..=51;
    assert_eq!(World::build(crowded).map(drop), Err(PlanError::Peers));
}

#[test]
fn a_world_without_live_nodes_stores_nothing_and_stands() {
    let mut dead = plan(10, 10);
    dead.dead_nodes = share(100);
    let world = World::build(dead).expect("world");
    assert_eq!(world.bootstrap(), None);
    assert_eq!(world.holders(START, 3).len(), 0);
}
