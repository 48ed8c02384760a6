//! Nodes that draw a crawler's work to themselves: their samples are made up, and lead to peers
//! that trickle, to dead ones or to none. On a home line, and with up to half of all nodes of this
//! kind, honest work goes on: nearly all that the same world without them gives comes in at most
//! twice its time (four times with every kind at once), no half minute passes without a torrent
//! while some wait, and memory keeps within the line's.

use std::sync::LazyLock;

use estudely_core::{Duration, Instant};
use estudely_sim::scenario::Scenario;
use estudely_sim::verdict::{self, Report, Until, Wanted};
use estudely_sim::vice::{Bait, Baits};

/// What a home line holds of unfinished metadata and of rows; no dictionary here is larger.
const UNFINISHED: usize = 24 << 20;
const ROWS: usize = 16 << 20;

/// The small world: its honest nodes, and its torrents.
const SMALL: (u32, u32) = (300, 750);

/// How long it takes until all of the small world is found without baiters.
static ALONE: LazyLock<Duration> = LazyLock::new(|| {
    let alone = run(&home(SMALL, 0, Baits::ALL)).verdict.tally;
    assert!(alone.verified >= u64::from(SMALL.1) * 95 / 100, "{alone}");
    alone.ended.since(Instant::START)
});

/// So many honest nodes with so many torrents, and so many baiters beside them.
fn home((nodes, torrents): (u32, u32), baiters: u32, bait: Baits) -> Scenario {
    Scenario {
        nodes,
        torrents,
        baiters,
        bait,
        rate: 200,
        new_flows: 1_800,
        broken_s: 1,
        healed_s: 1_200,
        ..Scenario::calm(41)
    }
}

/// Plays it until all is found.
fn run(scenario: &Scenario) -> Report {
    let wanted = Wanted { until: Until::Done, ..Wanted::default() };
    let report = verdict::run(scenario, &wanted).expect("a plan that fits");
    assert_eq!(report.verdict.failure, None, "{scenario}");
    report
}

/// In `lured` 95 % of what is due come within `most`.
fn hold(lured: &Scenario, most: Duration) {
    let report = run(lured);
    let tally = report.verdict.honest.expect("there are baiters");
    assert!(tally.invented > 0, "nothing lured it: {tally}");
    assert!(tally.nearly.is_some_and(|at| at <= Instant::START + most), "{tally}; {most:?}");
    assert!(tally.standstill.0 <= Duration::from_secs(30), "{tally}");
    assert!(tally.held.unfinished <= UNFINISHED && tally.held.rows <= ROWS, "{tally}");
}

/// Of the large world nobody could have 95 % sooner: its torrents each take a new flow, and a
/// home line has thirty a second.
#[test]
fn three_nodes_of_fifteen_hundred_whose_peers_trickle_change_little() {
    let lured = home((1_497, 4_500), 3, Baits::of(&[Bait::Trickle]));
    let alone = Duration::from_secs(u64::from(lured.torrents * 95 / 100 / 30));
    hold(&lured, 2 * alone);
}

#[test]
fn a_quarter_of_all_nodes_whose_peers_trickle_leaves_the_rest_its_share() {
    hold(&home(SMALL, 100, Baits::of(&[Bait::Trickle])), 2 * *ALONE);
}

#[test]
fn half_of_all_nodes_that_name_dead_peers_leave_the_rest_its_share() {
    hold(&home(SMALL, 300, Baits::of(&[Bait::Dead])), 2 * *ALONE);
}

#[test]
fn half_of_all_nodes_whose_samples_have_no_peers_leave_the_rest_its_share() {
    hold(&home(SMALL, 300, Baits::of(&[Bait::Empty])), 2 * *ALONE);
}

#[test]
fn half_of_all_nodes_with_every_kind_of_bait_slow_the_rest_and_do_not_stop_it() {
    hold(&home(SMALL, 300, Baits::ALL), 4 * *ALONE);
}
