use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use estudely_core::{Family, Instant};

use super::*;
use crate::world::dht::tests::plan;
use crate::world::dht::{Plan, Resident};

const START: Instant = Instant::START;
const BAITERS: u32 = 40;

fn luring() -> Luring {
    Luring { nodes: BAITERS, baits: Baits::ALL, decoys: 60, networks: 0, any_key: false }
}

fn world(luring: Luring) -> World {
    let mut plan = Plan { addresses: Addresses::Public(Family::V4), ..plan(300, 400) };
    plan.hostility.luring = luring;
    World::build(plan).expect("a world")
}

/// The honest nodes in order of their ids: id, kind, and what they store and show.
fn honest(world: &World) -> Vec<impl PartialEq + std::fmt::Debug> {
    let honest = (0..world.node_count()).filter(|&node| world.baiter(node).is_none());
    let of = |node| {
        let shown = world.samples(node, 0);
        (world.contact(node).id, world.node_kind(node), world.stored(START, node), shown)
    };
    honest.map(of).map(|(id, kind, stored, shown)| (id, kind, stored.into_owned(), shown)).collect()
}

#[test]
fn honest_nodes_are_the_same_with_baiters_and_without() {
    let (with, without) = (world(luring()), world(Luring::NONE));
    assert_eq!(with.node_count(), without.node_count() + BAITERS);
    assert_eq!(honest(&with), honest(&without));
    let entries = |world: &World| -> Vec<_> {
        world.bootstraps().iter().map(|&node| world.contact(node).id).collect()
    };
    assert_eq!(entries(&with), entries(&without));
    let states = |world: &World| -> Vec<_> {
        (0..world.peer_count()).map(|peer| world.peer(peer).state).collect()
    };
    assert_eq!(states(&with), states(&without));
}

#[test]
fn every_baiter_and_decoy_lives_at_one_address_in_a_network_of_its_own() {
    let world = world(luring());
    let baiters = (0..world.node_count()).filter(|&node| world.baiter(node).is_some());
    let mut nets = BTreeSet::new();
    for node in baiters {
        assert!(nets.insert(network(world.contact(node).addr)));
        assert_eq!(at(&world, world.contact(node).addr), Some(Resident::Node(node)));
    }
    for (decoy, addr) in (0..).zip(decoys(&world)) {
        assert!(nets.insert(network(addr)));
        assert_eq!(at(&world, addr), Some(Resident::Decoy(decoy)));
    }
    assert_eq!(nets.len() as u32, BAITERS * 61);
}

#[test]
fn baiters_that_share_networks_fill_exactly_those() {
    let world = world(Luring { networks: 10, ..luring() });
    let baiters = (0..world.node_count()).filter(|&node| world.baiter(node).is_some());
    let nodes: Vec<_> =
        baiters.map(|node| (world.contact(node).addr, Resident::Node(node))).collect();
    let decoys = (0..).zip(decoys(&world)).map(|(decoy, addr)| (addr, Resident::Decoy(decoy)));
    let (mut nets, mut addrs) = (BTreeSet::new(), BTreeSet::new());
    for (addr, resident) in nodes.into_iter().chain(decoys) {
        nets.insert(network(addr));
        assert!(addrs.insert(addr.ip()));
        assert_eq!(at(&world, addr), Some(resident));
    }
    assert_eq!(nets.len(), 10);
    let crowded = Luring { networks: 9, ..luring() };
    assert!(!crowded.fits(Addresses::Public(Family::V4)));
    let one = Luring { networks: 40, ..luring() };
    assert!(!one.fits(Addresses::Public(Family::V6)));
}

#[test]
fn keys_made_up_are_new_each_time_and_no_torrents() {
    let world = world(luring());
    let mut dice = world.dice("test", 0);
    let keys: BTreeSet<_> = (0..1_000).map(|_| world.invented_key(&mut dice)).collect();
    assert_eq!(keys.len(), 1_000);
    assert!(keys.iter().all(|&key| world.is_invented(key) && world.torrent_by_key(key).is_none()));
    assert!((0..400).all(|torrent| !world.is_invented(world.key(torrent))));
}

#[test]
fn each_kind_of_bait_leads_where_it_says() {
    let world = world(luring());
    let key = world.invented_key(&mut world.dice("test", 0));
    for baiter in 0..BAITERS {
        let named: BTreeSet<u32> = world.decoys_for(baiter, key).collect();
        let kinds: BTreeSet<_> = named.iter().map(|&decoy| world.decoy(decoy) as u8).collect();
        let (count, met) = match world.bait(baiter).expect("a bait") {
            Bait::Trickle => (NAMED, vec![Decoy::Trickles]),
            Bait::Dead => (NAMED, vec![Decoy::Refuses, Decoy::Hangs]),
            Bait::Empty => (0, vec![]),
        };
        assert_eq!(named.len() as u32, count);
        assert_eq!(kinds, met.into_iter().map(|decoy| decoy as u8).collect());
        assert_eq!(world.decoys_for(baiter, world.key(0)).count(), 0, "a real torrent's key");
    }
    let any = Luring { any_key: true, ..luring() };
    let any = self::world(any);
    assert_eq!(any.decoys_for(0, any.key(0)).count() as u32, NAMED);
}

/// The addresses of all decoys.
fn decoys(world: &World) -> impl Iterator<Item = SocketAddr> + '_ {
    (0..world.lures.decoys.len() as u32).map(|decoy| world.decoy_addr(decoy))
}

fn at(world: &World, addr: SocketAddr) -> Option<Resident> {
    world.resident_at(START, addr)
}

fn network(addr: SocketAddr) -> u32 {
    let IpAddr::V4(ip) = addr.ip() else { panic!("{addr} is none of IPv4") };
    u32::from(ip) >> 8
}
