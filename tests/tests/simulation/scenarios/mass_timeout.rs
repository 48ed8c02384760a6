//! A third and a half of all nodes go at the same second, after all were sampled; the others go on
//! naming them. What is asked of them is exactly what is owed: as the next interval of ten minutes
//! ends, a sample and, when that has expired, a find_node; and the same in each of the passes
//! (`UNANSWERED_PASSES`) that an address may stay silent, whose pauses double (`SWEEP_PAUSE_MIN`).
//! Each of those queries expires, none hangs, no pause is ever taken for an outage. The survivors
//! wait at most the longest pause between passes (`SWEEP_PAUSE_MAX`) longer than without, where the
//! calendar's minutes are all that is added.
//!
//! Every number follows from the scenario and the limits.

use estudely_core::limits::{EXPIRE_AFTER, SWEEP_PAUSE_MAX, UNANSWERED_PASSES};
use estudely_core::{Duration, Instant};
use estudely_sim::scenario::Scenario;

use crate::support::{Ask, Notes, gaps, passes, play, second};

const NODES: u32 = 300;
const TORRENTS: u32 = 150;
/// When they go, and when the interval that runs then is over for everybody.
const GONE_S: u32 = 100;
const NEXT_S: u64 = 2 * INTERVAL.as_secs();
/// When the run ends.
const END_S: u32 = 3_720;
const INTERVAL: Duration = Duration::from_secs(600);
/// Entries of the calendar fall due by whole minutes.
const CALENDAR_MINUTE: Duration = Duration::from_secs(60);

fn times(notes: &Notes, to: std::net::SocketAddr, wanted: Ask) -> Vec<Instant> {
    notes.asked(to).filter(|(_, ask)| *ask == wanted).map(|(at, _)| at).collect()
}

fn vanish(percent: u32) {
    let scenario = Scenario {
        nodes: NODES,
        torrents: TORRENTS,
        vanishing: percent,
        vanish_s: GONE_S,
        interval_s: INTERVAL.as_secs() as u32,
        broken_s: 120,
        healed_s: END_S - 120,
        ..Scenario::calm(31)
    };
    let played = play(&scenario);
    let (world, notes) = (played.world(), &played.notes);
    let (gone, stay): (Vec<u32>, Vec<u32>) =
        (0..world.node_count()).partition(|&node| world.node_life(node).died == GONE_S);
    assert_eq!(gone.len() as u32, NODES * percent / 100);
    let gone_at = second(GONE_S.into());
    let mut asked = 0;
    for to in gone.into_iter().map(|node| played.node(node)) {
        let after = |times: Vec<Instant>| -> Vec<Instant> {
            times.into_iter().filter(|at| (gone_at..second(NEXT_S)).contains(at)).collect()
        };
        let samples = after(times(notes, to, Ask::Sample));
        let others = after(times(notes, to, Ask::FindNode));
        assert_eq!(samples.len(), usize::from(UNANSWERED_PASSES), "{to}");
        // The second attempt follows at once, in the pass that began meanwhile.
        assert_eq!(gaps(&samples[1..]), passes(1, UNANSWERED_PASSES - 2), "{to}");
        assert_eq!(samples.len(), others.len());
        for (sample, other) in samples.iter().zip(&others) {
            assert_eq!(other.since(*sample), EXPIRE_AFTER, "{to}");
        }
        asked += notes.asked(to).filter(|(at, _)| *at >= gone_at).count() as u64;
    }
    let latest = INTERVAL + CALENDAR_MINUTE + SWEEP_PAUSE_MAX;
    for to in stay.into_iter().map(|node| played.node(node)) {
        let times = times(notes, to, Ask::Sample);
        for pair in times.windows(2) {
            let gap = pair[1].since(pair[0]);
            assert!((INTERVAL..=latest).contains(&gap), "{to}: {gap:?}");
        }
        let last = times.last().copied().expect("it was sampled at the start");
        assert!(last + latest >= second(END_S.into()), "{to} is visited to the end: {last:?}");
    }
    assert_eq!((notes.stats.expired, notes.stats.queries_open), (asked, 0), "all were in vain");
    let all = TORRENTS as usize;
    assert_eq!((notes.stats.outages, notes.verified(), notes.rows.len()), (0, all, all));
}

#[test]
fn a_third_of_the_nodes_dies_at_once() {
    vanish(33);
}

#[test]
fn half_of_the_nodes_dies_at_once() {
    vanish(50);
}
