//! Thousands of virtual nodes and peers behind the gateways of one turmoil simulation.

use estudely_core::Family;
use estudely_sim::scenario::{Harness, Scenario};
use estudely_sim::universe::Universe;

use crate::commands::{hold, options};

const NODES: u32 = 5_000;
const TORRENTS: u32 = 1_000;
const PEERS_EACH: u32 = 2;

#[test]
fn five_thousand_nodes_and_two_thousand_peers_under_turmoil_give_all_that_is_due() {
    let scenario = Scenario {
        harness: Harness::Turmoil,
        nodes: NODES,
        torrents: TORRENTS,
        peers_min: PEERS_EACH,
        peers_max: PEERS_EACH,
        broken_s: 20,
        connections: 400,
        loss: 10,
        ..Scenario::calm(7)
    };
    let universe = Universe::build(&scenario).expect("a plan that fits");
    let world = universe.world(Family::V4).expect("a DHT");
    assert_eq!(world.node_count(), NODES);
    let facts = universe.truth().facts();
    let peers: usize = facts.iter().map(|fact| fact.peers.len()).sum();
    assert!(peers >= 2_000, "{peers}");
    let due = universe.truth().due().count() as u64;
    assert!(due > 900, "{due}");
    let options = options(&["--seed", "7", "--calm"]);
    // The rules of liveness are among those that hold: everything due was found, everybody asked.
    let verdict = hold(&options, &scenario);
    assert!(verdict.tally.verified >= due, "{} of {due}", verdict.tally.verified);
}
