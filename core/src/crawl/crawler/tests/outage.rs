//! The network goes away and comes back: nothing is written off for it.

use std::collections::BTreeSet;

use super::world::{Asks, PeerKind, Sent, World, node_addr};
use crate::base::time::{Duration, Instant};
use crate::config::Mode;
use crate::crawl::row::Verdict;
use crate::limits::{EXPIRE_AFTER, OUTAGE_AFTER, OUTAGE_HOLD, OUTAGE_PROBE_EVERY};

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
    let (from, lasts) = (at(2_000), Duration::from_secs(240));
    let (world, _, _) = cut_off(from, lasts, lasts);
    // Queries that were lost have expired, suspicion came with them, and no probe dispelled it.
    let known = from + EXPIRE_AFTER + OUTAGE_AFTER + OUTAGE_PROBE_EVERY;
    let late: Vec<Sent> = world.sent.iter().copied().filter(|sent| sent.at >= known).collect();
    let (probes, others): (Vec<Sent>, Vec<Sent>) =
        late.into_iter().partition(|sent| sent.asks == Asks::Ping);
    let nodes: BTreeSet<_> = world.nodes().map(|node| node.addr()).collect();
    assert!(probes.iter().all(|probe| nodes.contains(&probe.to)), "to nodes that answered before");
    assert!(probes.windows(2).all(|pair| pair[1].at.since(pair[0].at) == OUTAGE_PROBE_EVERY));
    let seconds = world.now.since(known).as_secs() as usize;
    assert_eq!(probes.len(), seconds, "one a second to the end");
    // The bootstrap node has its turns, after pauses that double.
    assert!(others.iter().all(|sent| sent.asks == Asks::FindNode && sent.to == node_addr(0)));
    let pauses: Vec<Duration> =
        others.windows(2).map(|pair| pair[1].at.since(pair[0].at)).collect();
    assert!(pauses.len() >= 2 && pauses.is_sorted_by(|a, b| *b == *a * 2), "{pauses:?}");
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
    let probed = world.sent.iter().any(|sent| sent.asks == Asks::Ping);
    assert!(probed, "the silence of so many made the network suspect");
    assert_eq!(world.crawler.stats().outages, 0, "and a probe dispelled that");
}
