//! The network goes away and comes back: nothing is written off for it.

use super::world::{PeerKind, World};
use crate::base::time::{Duration, Instant};
use crate::config::Mode;
use crate::crawl::row::Verdict;
use crate::limits::OUTAGE_HOLD;

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1_000)
}

fn verified(rows: &[crate::crawl::row::Row]) -> usize {
    rows.iter().filter(|row| matches!(row.verdict, Verdict::Verified { .. })).count()
}

/// A world that is cut off from `from` on for so long; what a crawl of `time` finds in it.
fn cut_off(
    from: Instant,
    lasts: Duration,
    time: Duration,
) -> (World, Vec<crate::crawl::row::Row>, usize) {
    let mut world = World::new(11, 200);
    world.config.rate = Some(50);
    let hashes = world.add_torrents(120, &[PeerKind::Seed]);
    let due = world.exposed(&hashes).len();
    world.cut = Some((from, from + lasts));
    let rows = world.crawl(Mode::Crawl, time);
    (world, rows, due)
}

#[test]
fn a_partition_of_four_minutes_makes_no_infohash_fail() {
    for from in [1_000, 2_000, 3_500, 5_000] {
        let (world, rows, due) =
            cut_off(at(from), Duration::from_secs(240), Duration::from_secs(400));
        assert_eq!((rows.len(), verified(&rows)), (due, due), "cut off at {from} ms");
        assert_eq!(world.crawler.stats().outages, 1);
    }
}

#[test]
fn while_the_network_is_gone_only_probes_go_out() {
    let (world, _, _) = cut_off(at(2_000), Duration::from_secs(240), Duration::from_secs(240));
    let late = world.sent_at.iter().filter(|sent| **sent > at(20_000)).count();
    assert!((100..400).contains(&late), "{late} in 220 s");
}

#[test]
fn an_outage_without_end_holds_nothing_up_for_ever() {
    let mut world = World::new(11, 200);
    world.add_torrents(120, &[PeerKind::Silent]);
    world.cut = Some((at(2_000), at(3_600_000)));
    let rows = world.crawl(Mode::Crawl, OUTAGE_HOLD * 3);
    assert!(!rows.is_empty(), "what was under way is settled as failed");
    assert!(rows.iter().all(|row| row.settled >= Instant::START + OUTAGE_HOLD));
    assert_eq!(world.crawler.stats().infohashes_open, 0);
}

#[test]
fn many_dead_nodes_in_a_row_are_no_outage() {
    let mut world = World::new(12, 60);
    let hashes = world.add_torrents(30, &[PeerKind::Seed, PeerKind::Silent]);
    let due = world.exposed(&hashes).len();
    // Nobody lives where every answer points as well.
    for (n, node) in (0..).zip(world.nodes_mut()) {
        node.also_names = Some(([50, n, 0, 1], 6_881).into());
    }
    let rows = world.crawl(Mode::Crawl, Duration::from_secs(600));
    assert_eq!(verified(&rows), due);
    assert_eq!(world.crawler.stats().outages, 0);
}
