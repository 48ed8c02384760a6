use super::*;
use crate::subject::tests::Notes;
use crate::world::scenario::Families;

fn small(seed: u64) -> Scenario {
    Scenario { nodes: 200, torrents: 60, broken_s: 60, ..Scenario::calm(seed) }
}

/// Small, with a little of everything that links and crawlers suffer.
fn rough(seed: u64) -> Scenario {
    Scenario {
        families: Families::Both,
        loss: 50,
        jitter_ms: 30,
        reorder: 50,
        forged: 50,
        chunk: 700,
        clock_stalls: 2,
        crashes: 2,
        node_life_s: 900,
        ..small(seed)
    }
}

fn universe(scenario: &Scenario) -> Rc<Universe> {
    Rc::new(Universe::build(scenario).expect("a plan that fits"))
}

/// Runs until all that is due is verified, which must come to pass.
fn run_to_the_end(scenario: &Scenario) -> (Notes, Ending) {
    let universe = universe(scenario);
    let notes = Notes::until_due(&universe);
    let (notes, ending) = run(scenario, universe, notes);
    assert!(ending.satisfied, "{} are missing", notes.missing.len());
    assert!(notes.verified.values().all(|&rows| rows == 1), "each once");
    assert_eq!(notes.sent_after_shutdown, 0);
    (notes, ending)
}

#[test]
fn a_small_calm_world_is_found_whole() {
    let (_, ending) = run_to_the_end(&small(1));
    assert!(ending.at < Instant::from_micros(600_000_000), "{:?}", ending.at);
}

#[test]
fn the_same_seed_gives_the_same_events() {
    let first = run_to_the_end(&rough(2)).0;
    let second = run_to_the_end(&rough(2)).0;
    assert_eq!(first.starts, 3);
    assert_eq!((first.events, first.hash), (second.events, second.hash));
    let other = run_to_the_end(&rough(3)).0;
    assert_ne!(first.hash, other.hash);
}

#[test]
fn clocks_that_slip_and_lives_that_end_break_no_deadline() {
    for seed in 0..10 {
        run_to_the_end(&Scenario { clock_stalls: 8, crashes: seed as u32 % 3, ..rough(seed) });
    }
}

#[test]
fn crawlers_that_crash_go_on_from_their_files() {
    let scenario = Scenario { crashes: 4, healed_s: 300, ..small(4) };
    let (notes, ending) = run(&scenario, universe(&scenario), Notes::default());
    assert_eq!((notes.starts, notes.restored), (5, 4));
    assert_eq!(notes.verified.len(), 60);
    assert!(notes.verified.values().all(|&rows| rows == 1), "each once over all runs");
    assert!(!ending.satisfied);
    assert_eq!(ending.at, Instant::from_micros(370_000_000), "shutdown and settling included");
}

#[test]
fn crashes_in_the_middle_of_writing_cost_nothing() {
    for seed in 0..8 {
        let scenario = Scenario { crashes: 20, rate: 30, torrents: 120, ..small(seed) };
        let notes = run_to_the_end(&scenario).0;
        assert_eq!(notes.restored, 20);
    }
}

#[test]
fn links_that_lose_and_streams_in_pieces_only_delay() {
    let faults =
        Scenario { loss: 200, duplicate: 50, reorder: 100, corrupt: 20, chunk: 100, ..small(5) };
    // A torrent whose only peer was reset gets its next chance an hour later.
    run_to_the_end(&Scenario { resets: 5, stalls: 5, healed_s: 7_200, ..faults });
}

#[test]
fn hours_pass_in_moments() {
    let scenario = Scenario { healed_s: 24 * 3_600, torrents: 20, ..small(6) };
    let (notes, ending) = run(&scenario, universe(&scenario), Notes::default());
    assert_eq!(notes.verified.len(), 20);
    assert_eq!(ending.at.as_millis(), (60 + 24 * 3_600 + 10) * 1_000);
}
