//! A third and a half of all nodes go at the same second, after all were sampled; the others go on
//! naming them. What is asked of them is exactly what is owed: as the next interval of ten minutes
//! ends, a sample and, when that has expired after 6 s, a find_node; and the same in each of the
//! five passes (`UNANSWERED_PASSES`) that an address may stay silent, whose pauses grow by 2, 4
//! and 8 seconds (`SWEEP_PAUSE_MIN`, doubled). Each of those queries expires, none hangs, no pause
//! is ever taken for an outage. The survivors wait at most the longest pause between passes
//! (`SWEEP_PAUSE_MAX`) longer than without, where the calendar's minutes are all that is added.

use estudely_core::limits::{EXPIRE_AFTER, SWEEP_PAUSE_MAX, UNANSWERED_PASSES};
use estudely_core::{Duration, Instant};
use estudely_sim::scenario::Scenario;

use crate::support::{Ask, Notes, gaps, play, second};

/// When they go, and when the interval that runs then is over for everybody.
const GONE_S: u32 = 100;
const NEXT_S: u64 = 1_200;
/// Entries of the calendar fall due by whole minutes.
const CALENDAR_MINUTE: Duration = Duration::from_secs(60);

fn times(notes: &Notes, to: std::net::SocketAddr, wanted: Ask) -> Vec<Instant> {
    notes.asked(to).filter(|(_, ask)| *ask == wanted).map(|(at, _)| at).collect()
}

/// Percent that vanish, how many nodes that is, queries to them in the hour afterwards, and samples
/// of the survivors in all.
fn vanish(percent: u32, nodes: usize, queries: u64, samples: usize) {
    let scenario = Scenario {
        torrents: 150,
        vanishing: percent,
        vanish_s: GONE_S,
        interval_s: 600,
        broken_s: 120,
        healed_s: 3_600,
        ..Scenario::calm(31)
    };
    let played = play(&scenario);
    let (world, notes) = (played.world(), &played.notes);
    let (gone, stay): (Vec<u32>, Vec<u32>) =
        (0..world.node_count()).partition(|&node| world.node_life(node).died == GONE_S);
    assert_eq!(gone.len(), nodes);
    let mut asked = 0;
    for to in gone.into_iter().map(|node| played.node(node)) {
        let after = |times: Vec<Instant>| -> Vec<Instant> {
            times.into_iter().filter(|at| (second(100)..second(NEXT_S)).contains(at)).collect()
        };
        let samples = after(times(notes, to, Ask::Sample));
        let others = after(times(notes, to, Ask::FindNode));
        assert_eq!(samples.len(), usize::from(UNANSWERED_PASSES), "{to}");
        assert_eq!(gaps(&samples[1..]), [16, 20, 28], "{to}");
        for (sample, other) in samples.iter().zip(&others) {
            assert_eq!(other.since(*sample), EXPIRE_AFTER, "{to}");
        }
        assert_eq!(samples.len(), others.len());
        asked += notes.asked(to).filter(|(at, _)| *at >= second(100)).count() as u64;
    }
    assert_eq!(asked, queries);
    let interval = Duration::from_secs(600);
    let latest = interval + CALENDAR_MINUTE + SWEEP_PAUSE_MAX;
    let mut sampled = 0;
    for to in stay.into_iter().map(|node| played.node(node)) {
        let times = times(notes, to, Ask::Sample);
        for pair in times.windows(2) {
            let gap = pair[1].since(pair[0]);
            assert!((interval..=latest).contains(&gap), "{to}: {gap:?}");
        }
        sampled += times.len();
    }
    assert_eq!(sampled, samples);
    assert_eq!((notes.stats.expired, notes.stats.queries_open), (queries, 0));
    assert_eq!((notes.stats.outages, notes.verified(), notes.rows.len()), (0, 150, 150));
}

#[test]
fn a_third_of_the_nodes_dies_at_once() {
    vanish(33, 99, 2_817, 201 * 6);
}

#[test]
fn half_of_the_nodes_dies_at_once() {
    vanish(50, 150, 4_080, 839);
}
