//! How far a query goes in a world without loss. The full size is one command: see the README.

use estudely_sim::scenario::Scenario;
use estudely_sim::verdict::{self, Wanted};

/// Sample queries for each contact asked by the time 99 % of what is exposed was found.
const SAMPLE_QUERIES_MAX: f64 = 1.2;

#[test]
fn without_loss_nearly_all_is_found_with_little_more_than_one_sample_query_for_each_contact() {
    let scenario = Scenario { nodes: 4_000, torrents: 4_000, broken_s: 1, ..Scenario::calm(21) };
    let wanted = Wanted { curve: true, ..Wanted::default() };
    let report = verdict::run(&scenario, &wanted).expect("a plan that fits");
    assert_eq!(report.verdict.failure, None);
    let point = report.nearly_all.expect("99 % were found");
    assert!(point.sample_queries_per_contact() <= SAMPLE_QUERIES_MAX, "{point:?}");
    let curve = report.curve.expect("it was wanted");
    let lines = String::from_utf8(curve).expect("CSV is text").lines().count();
    assert!(lines > 500, "{lines} lines of the curve");
}
