//! Canaries of rule e where baiters are about, and of what may be held meanwhile.

use estudely_core::limits::METADATA_MAX;

use super::bench::{Bench, seconds};
use super::{id, naming, node};
use crate::judge::checker::expected::Due;
use crate::judge::rule::{HOSTILITY_ONLY_SLOWS, MEMORY_BOUNDED};
use crate::net::event::{Event, Held};
use crate::world::scenario::Scenario;

/// Among three baiters, on a line of which `scenario` says how fast it is.
fn lured(scenario: Scenario) -> Bench {
    let bench = Bench::new(Scenario { baiters: 3, ..scenario });
    let due = |n| Due { hash: [n; 20], node: node(1), peer: node(9) };
    bench.truth().due = vec![due(7), due(8)];
    naming(bench, &[1])
}

/// Two honest torrents wait, and one that nobody owes.
fn waiting(scenario: Scenario) -> Bench {
    let mut bench = lured(scenario);
    let t = bench.sample(node(1));
    bench.samples(node(1), &t, id(1), Some(600), &[[7; 20], [8; 20], [9; 20]]);
    bench.stats.infohashes_sampled += 2;
    bench.stats.infohashes_new += 2;
    bench
}

#[test]
fn half_a_minute_without_a_row_is_a_standstill_while_honest_torrents_wait() {
    let slow = Scenario { rate: 100, ..Scenario::calm(1) };
    let lossy = Scenario { loss: 1, ..Scenario::calm(1) };
    let swarming = Scenario { baiters: 301, ..Scenario::calm(1) };
    for (scenario, wait, breaks) in [
        (Scenario::calm(1), 30, false),
        (Scenario::calm(1), 31, true),
        (slow.clone(), 60, false),
        (slow, 61, true),
        (lossy, 100, false),
    ] {
        let mut bench = waiting(scenario);
        bench.wait(seconds(wait));
        bench.drain();
        bench.expect(breaks.then_some(HOSTILITY_ONLY_SLOWS));
        let tally = bench.checker.honest().expect("there are baiters");
        assert_eq!((tally.due, tally.standstill.0), (2, seconds(wait)));
    }
    let mut bench = naming(Bench::new(swarming), &[1]);
    bench.wait(seconds(100));
    bench.drain();
    bench.expect(None);
}

#[test]
fn only_rows_of_honest_torrents_end_a_standstill() {
    for (settled, breaks) in [([7; 20], false), ([9; 20], true)] {
        let mut bench = waiting(Scenario::calm(1));
        bench.wait(seconds(20));
        bench.failed(settled);
        bench.wait(seconds(20));
        bench.drain();
        bench.expect(breaks.then_some(HOSTILITY_ONLY_SLOWS));
    }
    // Nothing waits any more, or nothing does yet.
    let mut bench = waiting(Scenario::calm(1));
    bench.failed([7; 20]);
    bench.failed([8; 20]);
    bench.wait(seconds(200));
    bench.drain();
    bench.expect(None);
    let mut bench = lured(Scenario::calm(1));
    bench.wait(seconds(200));
    bench.drain();
    bench.expect(None);
}

#[test]
fn a_home_line_holds_no_more_than_its_budgets() {
    let (unfinished, rows) = ((24 << 20) + METADATA_MAX, (16 << 20) + METADATA_MAX);
    for (connections, unfinished, rows, breaks) in [
        (200, unfinished, rows, false),
        (200, unfinished + 1, rows, true),
        (200, unfinished, rows + 1, true),
        (201, unfinished + 1, rows + 1, false),
    ] {
        let mut bench = lured(Scenario { connections, ..Scenario::calm(1) });
        bench.drain();
        let (stats, held) = (bench.stats.clone(), Held { unfinished, rows });
        bench.see(Event::Drained { timeout: None, next: None, stats: &stats, held });
        bench.expect(breaks.then_some(MEMORY_BOUNDED));
    }
}
