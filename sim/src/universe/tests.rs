use std::collections::BTreeSet;

use estudely_core::time::Duration;

use super::*;
use crate::scenario::Families;

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
