//! Three days of churn: nodes and peers live six hours on average, and come back with another id,
//! at another address, or as they were. What the crawler holds does not grow with time: on the
//! third day the most it ever holds, in bytes, is above that of the second by no more than three
//! hundredths, and what it saves by no more than a tenth. The little that still grows are the 4 096
//! regions of the frontier: each takes some 500 bytes when a first node with an id in it is met,
//! and with 200 nodes that change their ids now and then it takes weeks to have met one in each.

use std::rc::Rc;

use estudely_core::Instant;
use estudely_sim::event::{Event, Observer};
use estudely_sim::scenario::Scenario;
use estudely_sim::universe::Universe;

use crate::bench::Bench;
use crate::tape::{play_whole, second};

const DAY_S: u32 = 86_400;

fn churn(seed: u64) -> Scenario {
    let lives = Scenario { node_life_s: 21_600, peer_life_s: 21_600, ..Scenario::calm(seed) };
    Scenario { nodes: 200, torrents: 100, broken_s: 10, healed_s: 3 * DAY_S - 10, ..lives }
}

/// The longest state saved.
#[derive(Debug, Default)]
struct Longest([usize; 3]);

impl Observer for Longest {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        if let Event::Saved { bytes, whole: true } = event {
            let day = now.since(Instant::START).as_secs() / u64::from(DAY_S);
            if let Some(longest) = self.0.get_mut(day as usize) {
                *longest = bytes.len().max(*longest);
            }
        }
    }
}

#[test]
fn the_third_day_holds_no_more_than_the_second() {
    for seed in [48, 49] {
        let scenario = churn(seed);
        let universe = Rc::new(Universe::build(&scenario).expect("a plan that fits"));
        let mut bench = Bench::new(&scenario, universe, Longest::default());
        let peaks = [1, 2, 3].map(|day| {
            bench.run(second(day * u64::from(DAY_S)));
            bench.take_peak()
        });
        let states = bench.subject.observer().0;
        assert!(peaks[2] * 100 <= peaks[1] * 103, "{peaks:?}");
        assert!(states[2] * 10 <= states[1] * 11, "{states:?}");
    }
}

#[test]
fn no_rule_breaks_in_three_days() {
    let stats = play_whole(&churn(48)).tape.stats;
    assert_eq!((stats.connections_open, stats.infohashes_open), (0, 0));
    assert_eq!(stats.verified, 100);
}
