use std::collections::BTreeSet;

use super::*;
use crate::world::scenario::Families;
use crate::world::vice::{NodeVice, NodeVices};

#[test]
fn a_node_answers_once_after_both_paths() {
    let mut rig = Rig::new(&calm());
    let to = rig.nodes()[0];
    rig.query(at(5), to, 1);
    let round = 2 * rig.net.link().path_delay(to);
    let all = rig.drain(at(10_000));
    let [(now, Delivery::Datagram { from, to: own, payload, forged: false })] = &all[..] else {
        panic!("{all:?}")
    };
    assert_eq!((*now, *from, *own), (at(5) + round, to, rig.own));
    assert_eq!(transaction(payload), Some(1));
    assert_eq!(rig.net.in_flight(), 0);
}

#[test]
fn what_is_due_comes_in_order_even_when_asked_late() {
    let scenario = Scenario { jitter_ms: 50, ..calm() };
    let (mut prompt, mut late) = (Rig::new(&scenario), Rig::new(&scenario));
    for (n, to) in prompt.nodes().into_iter().enumerate() {
        prompt.query(at(n as u64), to, n as u32);
        late.query(at(n as u64), to, n as u32);
    }
    let prompt = prompt.drain(at(10_000));
    assert!(prompt.len() > 100 && prompt.is_sorted_by_key(|(now, _)| *now));
    let late: Vec<_> = std::iter::from_fn(|| late.net.poll(at(10_000))).collect();
    assert!(late.iter().eq(prompt.iter().map(|(_, delivery)| delivery)));
}

#[test]
fn where_nobody_lives_datagrams_are_lost_without_a_word() {
    let mut rig = Rig::new(&calm());
    let peer = rig.world().peer(0).addr;
    let nobody = SocketAddr::from(([203, 1, 2, 3], 6_881));
    let mut beside = rig.nodes()[0];
    beside.set_port(1);
    for to in [nobody, beside, peer] {
        rig.query(at(0), to, 1);
    }
    assert_eq!(rig.drain(at(100_000)), []);
    assert_eq!(rig.net.census().unheard, 3);
}

#[test]
fn the_tallies_balance_with_what_the_far_end_and_the_crawler_saw() {
    let scenario = Scenario {
        loss: 100,
        burst: 3,
        duplicate: 50,
        corrupt: 30,
        reorder: 50,
        bandwidth: 200_000,
        ..calm()
    };
    let mut rig = Rig::new(&scenario);
    let nodes = rig.nodes();
    for n in 0..5_000 {
        rig.query(at(n as u64), nodes[n % nodes.len()], n as u32);
    }
    let received = rig.drain(at(100_000)).len() as u64;
    let (census, link) = (rig.net.census(), rig.net.link());
    let (out, back) = (link.tally(Direction::Out), link.tally(Direction::In));
    assert!(out.balances() && back.balances());
    assert_eq!(out.sent.datagrams, 5_000);
    assert_eq!(out.delivered.datagrams, census.reached + census.unheard);
    assert_eq!(back.delivered.datagrams, received);
    assert!(received > 3_000);
}

#[test]
fn forgeries_are_their_share_are_flagged_and_guess_no_open_transaction() {
    let mut rig = Rig::new(&Scenario { forged: 200, ..calm() });
    let nodes = rig.nodes();
    for n in 0..5_000 {
        rig.query(at(n as u64), nodes[n % nodes.len()], n as u32);
    }
    let all = rig.drain(at(100_000));
    let asked: BTreeSet<_> = nodes.into_iter().collect();
    let (mut forgeries, mut spoofed, mut like_ours) = (0, 0, 0);
    for (_, delivery) in &all {
        let Delivery::Datagram { from, payload, forged, .. } = delivery else { panic!() };
        let Ok(message) = Message::parse(payload) else {
            assert!(!forged && payload.ends_with(b"1:y1:qe"), "an odd question of a node's own");
            continue;
        };
        let answers = transaction(payload).is_some();
        // Some nodes ask something themselves.
        assert_eq!(answers, !forged && !matches!(message.kind, Kind::Query(_)));
        if *forged {
            assert!(matches!(message.kind, Kind::Reply(_)));
            forgeries += 1;
            spoofed += u32::from(asked.contains(from));
            like_ours += u32::from(message.transaction.len() == 6);
        }
    }
    assert!((850..1_150).contains(&forgeries), "{forgeries}");
    assert!((forgeries / 3..forgeries * 2 / 3).contains(&spoofed), "{spoofed}");
    assert!(like_ours > forgeries / 2);
    assert_eq!(rig.net.census().forged, u64::from(forgeries));
}

#[test]
fn nothing_is_forged_after_the_links_healed() {
    let mut rig = Rig::new(&Scenario { forged: 1_000, broken_s: 1, ..calm() });
    let to = rig.nodes()[0];
    rig.query(at(0), to, 1);
    assert_eq!(rig.drain(at(900)).len(), 2);
    rig.query(at(1_000), to, 2);
    assert_eq!(rig.drain(at(9_000)).len(), 1);
}

/// Everything received by one net or several, by time.
fn storm(count: u32) -> Vec<(Instant, SocketAddr, Vec<u8>, bool)> {
    let scenario = Scenario {
        loss: 50,
        burst: 5,
        jitter_ms: 40,
        duplicate: 30,
        reorder: 30,
        corrupt: 20,
        forged: 50,
        partitions: 1,
        partition_s: 1,
        broken_s: 8,
        ..calm()
    };
    let universe = Rc::new(Universe::build(&scenario).expect("universe"));
    let mut all = Vec::new();
    for index in 0..count {
        let shard = Shard { index, count };
        let mut rig = Rig::shard(&scenario, Rc::clone(&universe), shard);
        let nodes = rig.nodes();
        for n in 0..4_000u32 {
            let to = nodes[n as usize % nodes.len()];
            if shard.owns(to.ip()) {
                rig.query(at(2 * u64::from(n)), to, n);
            }
        }
        all.extend(rig.drain(at(100_000)).into_iter().map(|(now, delivery)| match delivery {
            Delivery::Datagram { from, payload, forged, .. } => (now, from, payload, forged),
            other => panic!("{other:?}"),
        }));
    }
    all.sort();
    all
}

#[test]
fn one_net_and_four_deliver_the_same_at_the_same_times() {
    let one = storm(1);
    assert!(one.len() > 1_500);
    assert!(one == storm(1), "not repeatable");
    assert!(one == storm(4), "not the same in four");
}

fn hostile(vice: NodeVice) -> Scenario {
    Scenario { hostile_nodes: 100, node_vices: NodeVices::of(&[vice]), ..calm() }
}

#[test]
fn late_answers_leave_late_and_false_sources_take_the_true_path() {
    let ask = |vice| {
        let mut rig = Rig::new(&hostile(vice));
        let world = rig.world();
        let is_hostile = |&node: &u32| {
            world.node_vice(node).is_some() && world.node_kind(node) == NodeKind::Sampler
        };
        let node = (0..world.node_count()).find(is_hostile).expect("a hostile node");
        let to = world.contact(node).addr;
        rig.query(at(0), to, 1);
        let round = 2 * rig.net.link().path_delay(to);
        (to, at(0) + round, rig.drain(at(1_000_000)))
    };
    let (_, honest, all) = ask(NodeVice::Slow);
    assert!(all[0].0 > honest + Duration::from_secs(1), "{all:?}");
    let (to, honest, all) = ask(NodeVice::OtherAddress);
    let (now, Delivery::Datagram { from, forged: false, .. }) = &all[0] else { panic!("{all:?}") };
    assert_eq!(*now, honest);
    assert_ne!(from.ip(), to.ip());
}

#[test]
fn both_families_cross_one_net() {
    let scenario = Scenario { families: Families::Both, forged: 1_000, ..calm() };
    let mut rig = Rig::new(&scenario);
    let universe = Rc::clone(&rig.universe);
    for family in Family::ALL {
        let (own, to) = (universe.own(family).expect("own"), universe.bootstrap(family)[0]);
        rig.net.send(at(0), own, to, &query(1));
        let all = rig.drain(at(100_000));
        assert_eq!(all.len(), 2, "an answer and a forgery");
        for (_, delivery) in all {
            let Delivery::Datagram { from, to, .. } = delivery else { panic!("{delivery:?}") };
            assert_eq!((Family::of(from), to), (family, own));
        }
    }
}
