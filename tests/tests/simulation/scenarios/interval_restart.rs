//! The interval of six hours is honoured across restarts: the crawler is killed twice while it
//! samples its first nodes, and comes back with its files. Whoever was sampled before is not asked
//! again by any of the later crawlers until the six hours are over, and then at the first whole
//! minute of the clock of the one that runs: the calendar has a page for each minute. Who was asked
//! and whose answer was still on its way when the crawler died is asked once more, and nobody else.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use estudely_core::{Duration, Instant};
use estudely_sim::scenario::Scenario;

use crate::tape::{Asks, play_whole, second};

const INTERVAL: Duration = Duration::from_secs(21_600);
const MINUTE: u64 = 60_000_000;
/// Both times a rest is saved it is rounded up to whole seconds.
const ROUNDING: Duration = Duration::from_secs(2);
/// At twenty queries in every second the bucket gives one in 1/19 s.
const PACE: Duration = Duration::from_micros(52_632);

/// The first whole minute of a clock that began at `begun`, from `at` on.
fn page(begun: Instant, at: Instant) -> Instant {
    let minutes = (at.since(begun).as_micros() as u64).div_ceil(MINUTE);
    begun + Duration::from_micros(minutes * MINUTE)
}

#[test]
fn six_hours_are_six_hours_however_often_the_crawler_dies() {
    let slow = Scenario { rate: 20, nodes: 200, torrents: 200, ..Scenario::calm(45) };
    let played = play_whole(&Scenario { broken_s: 60, crashes: 2, healed_s: 22_000, ..slow });
    let tape = &played.tape;
    assert_eq!((tape.starts.len(), tape.kills.len()), (3, 2));
    let begun = tape.starts[2];
    let mut answers = BTreeMap::<SocketAddr, Vec<Instant>>::new();
    for (at, node, _) in &tape.samples {
        answers.entry(*node).or_default().push(*at);
    }
    let early = |node: &SocketAddr| answers[node].first().copied().filter(|at| *at < second(600));
    let before_last =
        answers.keys().filter(|node| early(node).is_some_and(|at| at < begun)).count();
    assert!(before_last > 100, "{before_last} were sampled by crawlers that died");

    let mut pages = BTreeMap::<Instant, Vec<Instant>>::new();
    for node in answers.keys() {
        let Some(first) = early(node) else { continue };
        let asked: Vec<_> = tape.asking(Asks::Sample).filter(|query| query.to == *node).collect();
        let lost = asked.iter().filter(|query| query.at < first).count() - 1;
        assert!(lost <= tape.kills.len(), "only what a death cut off is asked again");
        let rest: Vec<_> = asked.iter().filter(|query| query.at > first).collect();
        assert_eq!(rest.len(), 1, "{node} is asked once more in all that time");
        let due = page(begun, first + INTERVAL);
        let rounded = page(begun, first + INTERVAL + ROUNDING);
        let at = rest[0].at;
        assert!(at >= first + INTERVAL, "{node} inside its interval");
        pages.entry(if at < rounded { due } else { rounded }).or_default().push(at);
    }
    for (page, mut asked) in pages {
        asked.sort_unstable();
        assert_eq!(asked[0], page, "at the minute");
        let gaps = asked.windows(2).map(|pair| pair[1].since(pair[0]));
        assert!(
            gaps.max().is_none_or(|gap| gap <= PACE * 2),
            "and one after the other from there on"
        );
    }
}
