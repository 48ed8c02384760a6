//! The bootstrap nodes say nothing at first and come back. They are asked at the start, two seconds
//! later, and from then on after pauses that double up to five minutes: at 0, 2, 4, 8, 16, ...; the
//! first round after they woke begins the crawl, which then goes on to the microsecond as the one
//! that nothing held up.

use estudely_core::limits::COVERAGE_REST;
use estudely_core::{Duration, Family, Instant};
use estudely_sim::scenario::Scenario;

use crate::tape::{Asks, Played, play, second};

/// When bootstrap nodes are asked, in seconds, however long they stay silent.
const ROUNDS: [u64; 15] = [0, 2, 4, 8, 16, 32, 64, 128, 256, 512, 812, 1_112, 1_412, 1_712, 2_012];

fn silent_for(silent_s: u32) -> Played {
    let calm = Scenario::calm(41);
    play(&Scenario { silent_s, broken_s: 10, healed_s: 3_000, torrents: 100, ..calm })
}

/// The queries before anybody had answered, by their instants.
fn rounds(played: &Played) -> Vec<Instant> {
    let first = played.tape.arrivals.first().expect("somebody answers").0;
    let queries = played.tape.queries.iter().take_while(|query| query.at < first);
    queries.map(|query| query.at).collect()
}

#[test]
fn silent_bootstrap_nodes_are_asked_after_pauses_that_double_up_to_five_minutes() {
    let at_once = silent_for(0);
    let first_look_at_once = Instant::START + COVERAGE_REST;
    let found_after = at_once.tape.found_all().since(Instant::START);
    let steps = |played: &Played, from: Duration| -> Vec<Duration> {
        played.tape.verified.values().map(|at| at.since(Instant::START + from)).collect()
    };
    for (silent_s, rounds_needed) in [(1, 2), (100, 8), (128, 8), (129, 9), (2_000, 15)] {
        let played = silent_for(silent_s);
        let nodes = played.universe.bootstrap(Family::V4);
        let asked: Vec<_> = ROUNDS[..rounds_needed]
            .iter()
            .flat_map(|&at| nodes.iter().map(move |_| second(at)))
            .collect();
        assert_eq!(rounds(&played), asked, "silent for {silent_s} s");
        // Nobody else is asked for contacts but about gaps: few at first, all after half an hour.
        let others = |played: &Played| -> Vec<Instant> {
            let queries = played.tape.asking(Asks::FindNode);
            queries.filter(|q| !nodes.contains(&q.to)).map(|query| query.at).collect()
        };

        let woken = Duration::from_secs(ROUNDS[rounds_needed - 1]);
        assert_eq!(played.tape.found_all(), Instant::START + woken + found_after);
        assert_eq!(steps(&played, woken), steps(&at_once, Duration::ZERO), "{silent_s} s");
        let wasted = (rounds_needed - 1) * nodes.len();
        let rest = |played: &Played| played.tape.queries.len() - others(played).len();
        assert_eq!(rest(&played), rest(&at_once) + wasted);
        let first_look = Instant::START + woken + COVERAGE_REST;
        let early = |played: &Played, until: Instant| {
            others(played).into_iter().filter(|at| *at < until).count()
        };
        let (early, usual) = (early(&played, first_look), early(&at_once, first_look_at_once));
        match woken < COVERAGE_REST {
            true => assert_eq!(early, usual, "silent for {silent_s} s"),
            false => assert!(early > usual, "all places are asked about: {early}"),
        }
    }
}
