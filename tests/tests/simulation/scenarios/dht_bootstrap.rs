//! libtorrent's `dht_bootstrap` (its simulation/test_dht.cpp): 3 000 nodes, and after 500 s the
//! routing table is at least 8 deep and holds at least 50 nodes. Our table deepens only around our
//! own id, by doubling: with 3 000 nodes about log2(3 000 / 8), which is 8.6, so 9 to 11 buckets
//! with the one that holds it. Dead nodes in every table change nothing about that.

use estudely_sim::scenario::Scenario;

use crate::tape::{Played, play_in_part};

/// What stands before the depth of the first table in a state (core/src/state.rs): the first line,
/// both heads, and of the family's record its frame, the family and our id.
const DEPTH_AT: usize = 23 + 2 * 32 + 8 + 1 + 20;

fn after_500_s(seed: u64, dead_nodes: u32) -> Played {
    let calm = Scenario::calm(seed);
    play_in_part(&Scenario {
        nodes: 3_000,
        dead_nodes,
        torrents: 50,
        broken_s: 10,
        healed_s: 490,
        ..calm
    })
}

#[test]
fn the_table_is_deep_and_full_after_500_s() {
    for (seed, dead) in [(46, 0), (48, 0), (50, 0), (46, 30), (48, 30)] {
        let tape = after_500_s(seed, dead).tape;
        let (depth, nodes) = (tape.state[DEPTH_AT], tape.stats.table_nodes);
        assert!((9..=11).contains(&depth), "{depth} buckets");
        assert!(nodes >= 50, "{nodes} nodes");
        let (alive, met) = (u64::from(3_000 - 30 * dead), tape.stats.contacts_answered);
        assert!(met <= alive && met * 1_000 >= alive * 995, "{met} of {alive} met");
    }
}
