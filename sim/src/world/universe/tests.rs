use std::collections::BTreeSet;

use estudely_core::Duration;

use super::*;
use crate::world::scenario::Families;

fn churned(seed: u64) -> Scenario {
    Scenario {
        families: Families::Both,
        nodes: 200,
        torrents: 100,
        node_life_s: 900,
        peer_life_s: 900,
        dead_nodes: 10,
        broken_s: 3_600,
        healed_s: 3_600,
        ..Scenario::calm(seed)
    }
}

fn at(secs: u64) -> Instant {
    Instant::START + Duration::from_secs(secs)
}

#[test]
fn families_share_torrents_and_nothing_else() {
    let universe = Universe::build(&Scenario { families: Families::Both, ..Scenario::calm(3) })
        .expect("built");
    let [v4, v6] = Family::ALL.map(|family| universe.world(family).expect("a world"));
    assert!((0..300).all(|n| v4.key(n) == v6.key(n)));
    let ids = |world: &World| -> BTreeSet<_> { (0..300).map(|n| world.contact(n).id).collect() };
    assert!(ids(v4).is_disjoint(&ids(v6)));
    assert!((0..300).any(|n| v4.peers_of(n).len() != v6.peers_of(n).len()));
    for family in Family::ALL {
        assert_eq!(universe.own(family).map(Family::of), Some(family));
        let bootstrap = universe.bootstrap(family);
        assert_eq!(bootstrap.len(), 3);
        assert!(bootstrap.iter().all(|&addr| universe.resident(at(9), addr).is_some()));
    }
    assert!(universe.truth().due().count() > 250);
}

#[test]
fn whoever_lives_somewhere_is_found_there_and_only_then() {
    let universe = Universe::build(&churned(5)).expect("built");
    for world in universe.worlds() {
        assert!(world.node_count() > 600, "{}", world.node_count());
        for node in 0..world.node_count() {
            let (addr, life) = (world.contact(node).addr, world.node_life(node));
            let here = Some((world.family(), Resident::Node(node)));
            assert_eq!(universe.resident(at(u64::from(life.born)), addr), here);
            if let Some(end) = life.end() {
                assert_ne!(universe.resident(end, addr), here);
                let other = SocketAddr::new(addr.ip(), addr.port() ^ 1);
                assert_eq!(universe.resident(at(u64::from(life.born)), other), None);
            }
        }
    }
}

#[test]
fn nodes_come_back_with_another_id_or_another_address_and_peers_move() {
    let universe = Universe::build(&churned(6)).expect("built");
    let world = universe.world(Family::V4).expect("a world");
    let (mut same, mut new_ids, mut moved) = (0, 0, 0);
    for node in 1..world.node_count() {
        if world.node_seat(node) != world.node_seat(node - 1) {
            continue;
        }
        let (before, after) = (world.contact(node - 1), world.contact(node));
        assert!(world.node_life(node - 1).died < world.node_life(node).born);
        match (before.id == after.id, before.addr == after.addr) {
            (true, true) => same += 1,
            (false, true) => new_ids += 1,
            (true, false) => moved += 1,
            (false, false) => panic!("a stranger took a seat"),
        }
    }
    assert!(same > 50 && new_ids > 50 && moved > 50, "{same} {new_ids} {moved}");
    assert!((0..100).any(|torrent| {
        let now: BTreeSet<_> = world.known_peers_of(at(0), torrent).collect();
        let later: BTreeSet<_> = world.known_peers_of(at(3_000), torrent).collect();
        now != later
    }));
}

#[test]
fn answers_name_who_lived_when_the_epoch_began() {
    let universe = Universe::build(&churned(7)).expect("built");
    let world = universe.world(Family::V6).expect("a world");
    let entry = world.bootstraps()[0];
    let (mut stale, mut named) = (0, 0);
    for second in (0..7_200).step_by(100) {
        let target = world.key(second as u32 % 100).id();
        for node in world.closest(at(second), entry, target).iter() {
            let start = second / crate::world::dht::EPOCH_S * crate::world::dht::EPOCH_S;
            assert!(world.node_life(node).includes(start));
            assert_ne!(node, entry);
            named += 1;
            stale += u32::from(!world.node_life(node).includes(second));
        }
        let holders = world.holders(at(second), second as u32 % 100);
        for node in holders.iter() {
            assert!(world.stores(at(second), node, second as u32 % 100));
        }
        assert_eq!(holders.len(), 8);
    }
    assert!(stale > 0 && stale < named / 2, "{stale} of {named}");
}

#[test]
fn what_a_node_stores_is_what_names_it_as_holder() {
    let universe = Universe::build(&churned(8)).expect("built");
    let world = universe.world(Family::V4).expect("a world");
    for second in [0, 1_000, 5_000] {
        let mut held = vec![BTreeSet::new(); world.node_count() as usize];
        for torrent in 0..world.torrent_count() {
            for node in world.holders(at(second), torrent).iter() {
                held[node as usize].insert(torrent);
            }
        }
        let start = second / crate::world::dht::EPOCH_S * crate::world::dht::EPOCH_S;
        for node in (0..world.node_count()).filter(|&n| world.node_life(n).includes(start)) {
            assert!(world.stored(at(second), node).iter().eq(&held[node as usize]));
        }
    }
}

#[test]
fn what_is_due_is_exposed_and_shown_through_the_whole_run() {
    let universe = Universe::build(&churned(9)).expect("built");
    let truth = universe.truth();
    let due: Vec<_> = truth.due().collect();
    let exposed = truth.facts().iter().filter(|fact| fact.exposed).count();
    assert!(due.len() < exposed && exposed > 90, "{} of {exposed}", due.len());
    for (key, fact) in due {
        assert!(fact.exposed && truth.get(key).is_some_and(|found| found.number == fact.number));
        for &(family, node) in &fact.shown_by {
            let world = universe.world(family).expect("a world");
            assert!(world.node_life(node).spans(0, 7_200));
            assert!(world.samples(node, 0).contains(&fact.number));
        }
        assert!(fact.peers.values().any(|&serves| serves));
    }
}

#[test]
fn liars_expose_nothing_and_bootstrap_nodes_are_none() {
    let scenario = Scenario { hostile_nodes: 100, hostile_peers: 100, ..Scenario::calm(2) };
    let universe = Universe::build(&scenario).expect("built");
    let world = universe.world(Family::V4).expect("a world");
    let honest = |&node: &u32| world.node_vice(node).is_none();
    assert!((0..world.node_count()).filter(honest).eq({
        let mut entries = world.bootstraps().to_vec();
        entries.sort_unstable();
        entries
    }));
    let vices: BTreeSet<_> = (0..300).filter_map(|node| world.node_vice(node)).collect();
    assert_eq!(vices.len(), crate::world::vice::NodeVice::ALL.len());
    let vices: BTreeSet<_> = (0..300).filter_map(|peer| world.peer_vice(peer)).collect();
    assert_eq!(vices.len(), crate::world::vice::PeerVice::ALL.len());
    assert!(universe.truth().due().count() < 250);
}

#[test]
fn scenarios_that_cannot_be_are_refused() {
    let calm = Scenario::calm(1);
    let error = |scenario: Scenario| Universe::build(&scenario).map(drop).expect_err("refused");
    assert_eq!(error(Scenario { dead_nodes: 101, ..calm.clone() }), PlanError::Percent);
    assert_eq!(error(Scenario { peers_max: 0, ..calm.clone() }), PlanError::Peers);
    let endless = Scenario { node_life_s: 1, nodes: 10_000, healed_s: 259_200, ..calm };
    assert_eq!(error(endless), PlanError::Churn);
}

#[test]
fn what_is_true_at_a_moment_does_not_depend_on_what_was_asked_before() {
    let [forth, back] = [10, 10].map(|seed| Universe::build(&churned(seed)).expect("built"));
    let [forth, back] = [&forth, &back].map(|u| u.world(Family::V4).expect("a world"));
    let seen = |world: &World, second: u64| {
        let node = (second / 7) as u32 % world.node_count();
        let target = world.key(second as u32 % 100);
        let closest: Vec<_> = world.closest(at(second), node, target.id()).iter().collect();
        (closest, world.stored(at(second), node).into_owned(), world.samples(node, second / 1_000))
    };
    let moments = (0..7_200u32).step_by(70).map(u64::from);
    let mut answers: Vec<_> = moments.clone().rev().map(|second| seen(back, second)).collect();
    answers.reverse();
    assert!(moments.map(|second| seen(forth, second)).eq(answers));
}

#[test]
fn a_torrent_shown_in_one_family_only_must_be_reachable_there() {
    let calm = Scenario { families: Families::Both, ..Scenario::calm(12) };
    let universe = Universe::build(&Scenario { dead_peers: 60, ..calm }).expect("built");
    for (_, fact) in universe.truth().due() {
        let found = fact.shown_by.iter().any(|&(family, _)| {
            let world = universe.world(family).expect("a world");
            let lives = |peer| world.peer(peer).state == crate::world::dht::PeerState::Live;
            world.peers_of(fact.number).any(lives)
        });
        assert!(found);
    }
}
