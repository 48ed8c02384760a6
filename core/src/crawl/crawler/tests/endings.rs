//! Everything that begins also ends: jobs, walks, runs, pauses; and nothing starves.

use std::net::SocketAddr;

use super::world::{PeerKind, World, node_addr, peer_addr};
use super::{SECOND, verified};
use crate::base::addr::{AddressPolicy, Family};
use crate::base::fault::PeerFault;
use crate::base::id::InfoHash;
use crate::base::rng::Seed;
use crate::base::time::{Duration, Instant};
use crate::config::Mode;
use crate::crawl::crawler::{Bootstrap, Crawler};
use crate::crawl::row::{Row, Verdict};
use crate::lead::Request;
use crate::limits::ROWS_MAX;

/// A crawl begun with the world's settings, not yet driven.
fn begin(world: &mut World, mode: Mode) {
    world.config.mode = mode;
    world.crawler = Crawler::new(world.config.clone(), Seed::from_u64(1), world.now);
    world.crawler.handle_bootstrap(world.now, &[node_addr(0)], Bootstrap::Node);
}

#[test]
fn work_cut_off_by_the_end_of_the_run_writes_nothing_and_stays_unfinished() {
    let mut world = World::new(1, 10);
    let hashes = world.add_torrents(1, &[PeerKind::Silent]);
    world.requests = vec![(hashes[0], vec![peer_addr(0, 0)])];
    world.crawl(Mode::Direct, 3 * SECOND);
    world.crawler.handle_shutdown(world.now);
    let mut dial = world.take_open_dial().expect("the peer is silent");
    let outcome = dial.exchange.handle_failed(world.now, PeerFault::Aborted);
    world.crawler.handle_outcome(world.now, dial.peer, outcome);
    assert!(world.crawler.poll_row().is_none());
    assert_eq!(world.crawler.stats().unfinished, 1);
}

#[test]
fn a_request_without_peers_ends_even_if_no_node_ever_answers() {
    let mut world = World::new(3, 10);
    let hashes = world.add_torrents(1, &[PeerKind::Seed]);
    world.bootstrap_silent_until = Instant::from_micros(u64::MAX);
    world.requests = vec![(hashes[0], vec![peer_addr(0, 0)]), (InfoHash([9; 20]), vec![])];
    let rows = world.crawl(Mode::Fetch, 60 * SECOND);
    assert_eq!((rows.len(), verified(&rows)), (2, hashes));
    assert!(world.crawler.is_idle());
}

#[test]
fn a_walk_that_may_ask_nobody_does_not_hold_its_infohash() {
    let mut world = World::new(2, 40);
    world.config.policy = AddressPolicy::Public;
    let private = SocketAddr::from(([10, 0, 0, 7], 6881));
    world.move_node(0, private);
    begin(&mut world, Mode::Fetch);
    world.crawler.handle_bootstrap(world.now, &[private], Bootstrap::Node);
    let mut near = world.node_id(0).0;
    near[19] ^= 1;
    let request = Request::new(InfoHash(near), []);
    world.crawler.handle_request(world.now, &request).expect("room");
    assert_eq!(world.resume(600 * SECOND).len(), 1);
    assert!(world.crawler.is_idle());
}

#[test]
fn peers_of_one_net_do_not_fill_the_crawl_for_ever() {
    let mut world = World::new(11, 5);
    world.config.policy = AddressPolicy::Public;
    begin(&mut world, Mode::Direct);
    let mut taken = 0u32;
    loop {
        let mut hash = [0; 20];
        hash[..4].copy_from_slice(&taken.to_be_bytes());
        let peers = (1..=20).map(|n| SocketAddr::from(([31, 0, 0, n], 1_000)));
        let request = Request { hearsay: peers.collect(), ..Request::new(InfoHash(hash), []) };
        if world.crawler.handle_request(world.now, &request).is_err() {
            break;
        }
        taken += 1;
    }
    let rows = world.resume(1_800 * SECOND);
    assert_eq!(rows.len() as u32, taken, "all are settled within half an hour");
}

/// Found by fuzzing.
#[test]
fn metadata_that_is_no_torrent_has_one_row_even_if_it_comes_with_the_second_chance() {
    for kind in [PeerKind::Seed, PeerKind::Refuses] {
        let mut world = World::new(14, 40);
        let hash = world.add_metadata(b"no dictionary at all".to_vec(), &[kind]);
        let mut rows = world.crawl(Mode::Crawl, 60 * SECOND);
        world.revive(hash);
        rows.extend(world.resume(8_000 * SECOND));
        let broken = matches!(rows[0].verdict, Verdict::Broken { .. });
        assert_eq!((rows.len(), broken), (1, kind == PeerKind::Seed));
        let stats = world.crawler.stats();
        assert_eq!(
            (stats.complete, stats.broken),
            (1, u64::from(broken)),
            "fetched once, not again"
        );
    }
}

#[test]
fn a_lost_router_of_one_family_is_asked_again_although_the_other_family_is_well() {
    let mut world = World::new(4, 30);
    world.config.own[1] = "[2a00::9]:6881".parse().ok();
    begin(&mut world, Mode::Crawl);
    let router = "[2a00::1]:6881".parse().expect("address");
    world.crawler.handle_bootstrap(world.now, &[router], Bootstrap::Router);
    let (mut sent, mut buf) = (0, Vec::new());
    for _ in 0..600 {
        while world.crawler.poll_transmit(world.now, Family::V6, &mut buf).is_some() {
            sent += 1;
        }
        world.resume(SECOND);
    }
    assert!((5..=15).contains(&sent), "{sent}");
}

#[test]
fn a_router_is_never_walked_over_nor_kept() {
    let mut world = World::new(13, 20);
    world.bootstrap_kind = Bootstrap::Router;
    world.requests = (0..20).map(|n| (InfoHash([n * 12; 20]), vec![])).collect();
    world.crawl(Mode::Fetch, 60 * SECOND);
    assert_eq!(world.nodes().next().map(|router| router.asked), Some(1));
}

#[test]
fn dials_keep_their_share_of_new_flows_beside_sweep_and_walks() {
    let mut world = World::new(10, 3_000);
    world.add_torrents(200, &[PeerKind::Seed]);
    world.config.new_flows = Some(600);
    let rows = world.crawl(Mode::Crawl, 60 * SECOND);
    let stats = world.crawler.stats();
    // More than may be left open were found, so that a crawl without dials would fail here.
    assert!(stats.infohashes_new > 2 * 20, "{} found", stats.infohashes_new);
    assert!(stats.infohashes_open < 20, "{} found, {} open", rows.len(), stats.infohashes_open);
}

#[test]
fn rows_that_nobody_takes_stop_new_work() {
    let mut world = World::new(12, 250);
    world.add_torrents(1_200, &[PeerKind::Seed]);
    begin(&mut world, Mode::Peers);
    world.hold_rows = true;
    world.resume(120 * SECOND);
    let waiting = std::iter::from_fn(|| world.crawler.poll_row()).count();
    assert!((ROWS_MAX..=2 * ROWS_MAX).contains(&waiting), "{waiting}");
}

#[test]
fn upkeep_and_a_dead_bootstrap_do_not_keep_a_run_from_being_idle() {
    let mut world = World::new(13, 20);
    begin(&mut world, Mode::Crawl);
    let dead = SocketAddr::from(([77, 7, 7, 7], 7_777));
    world.crawler.handle_bootstrap(world.now, &[dead], Bootstrap::Node);
    world.resume(60 * SECOND);
    for _ in 0..3_600 {
        world.resume(SECOND);
        assert!(world.crawler.is_idle(), "{:?}", world.now);
    }
}

#[test]
fn nodes_that_sample_are_counted_once_however_often_they_do() {
    let mut world = World::new(2, 20);
    world.crawl(Mode::Crawl, 23_000 * SECOND);
    assert!(world.nodes().all(|node| node.samples_asked == 2));
    assert_eq!(world.crawler.stats().nodes_sampling, 20);
}

#[test]
fn a_later_round_counts_nothing_twice() {
    let mut world = World::new(22, 20);
    world.add_torrents(5, &[PeerKind::Silent]);
    world.crawl(Mode::Crawl, 600 * SECOND);
    for _ in 0..400 {
        world.resume(10 * SECOND);
        let stats = world.crawler.stats();
        assert_eq!((stats.settled, stats.unfinished, stats.failed), (5, 0, 5));
    }
    let stats = world.crawler.stats();
    let by_way = [stats.tcp_dialled, stats.mse_dialled];
    assert_eq!(by_way, [10, 10], "there was a second round, and no third");
}

#[test]
fn a_peer_that_takes_one_connection_at_a_time_gets_one_at_a_time() {
    let mut world = World::new(23, 20);
    let hashes = world.add_torrents(6, &[PeerKind::Seed]);
    let host = SocketAddr::from(([30, 99, 0, 1], 6_881));
    world.one_at_a_time = Some(host);
    world.requests = hashes.iter().map(|hash| (*hash, vec![host])).collect();
    let rows = world.crawl(Mode::Direct, 60 * SECOND);
    assert_eq!(verified(&rows), hashes);
    assert!(rows.iter().all(|row| matches!(row.verdict, Verdict::Verified { .. })));
}

#[test]
fn the_next_peer_waits_its_second_after_the_latest_one() {
    let mut world = World::new(5, 10);
    let hashes = world.add_torrents(1, &[PeerKind::Silent; 4]);
    world.requests = vec![(hashes[0], (0..4).map(|index| peer_addr(0, index)).collect())];
    world.crawl(Mode::Direct, Duration::from_millis(950));
    let mut dial = world.take_open_dial().expect("the first peer is silent");
    let outcome = dial.exchange.handle_failed(world.now, PeerFault::Refused);
    world.crawler.handle_outcome(world.now, dial.peer, outcome);
    world.resume(3 * SECOND);
    let dialled: Vec<u64> = world.contact_times().map(Instant::as_millis).collect();
    assert_eq!(dialled, [0, 950, 1_950, 2_950]);
}

#[test]
fn the_last_of_twenty_peers_that_one_node_knows_is_tried_as_well() {
    for mode in [Mode::Crawl, Mode::Fetch] {
        for place in [3, 14, 19] {
            let mut world = World::new(31, 40);
            let mut kinds = [PeerKind::Refuses; 20];
            kinds[place] = PeerKind::Seed;
            let hashes = world.add_torrents(1, &kinds);
            world.store_on_one_node(&hashes);
            if mode == Mode::Fetch {
                world.requests = vec![(hashes[0], vec![])];
            }
            let rows = world.crawl(mode, 200 * SECOND);
            assert_eq!(verified(&rows), hashes, "{mode:?}, place {place}");
        }
    }
}

#[test]
fn rows_that_nobody_takes_are_no_reason_to_spin() {
    let mut world = World::new(32, 250);
    world.add_torrents(600, &[PeerKind::Refuses]);
    world.strict_deadlines = true;
    world.hold_rows = true;
    begin(&mut world, Mode::Crawl);
    world.resume(4_000 * SECOND);
    let waiting = std::iter::from_fn(|| world.crawler.poll_row()).count();
    assert!(waiting >= ROWS_MAX, "{waiting} rows wait");
}

#[test]
fn infohashes_that_wait_long_for_a_walk_get_one() {
    let mut world = World::new(33, 40);
    let hashes = world.add_torrents(200, &[PeerKind::Seed]);
    world.config.rate = Some(10);
    world.requests = hashes.iter().map(|hash| (*hash, vec![])).collect();
    let rows = world.crawl(Mode::Fetch, 1_000 * SECOND);
    assert_eq!((rows.len(), verified(&rows)), (hashes.len(), hashes));
}

/// With few new flows a lookup waits for its turn while what it has found so far is fetched.
#[test]
fn a_lookup_ends_with_its_infohash() {
    let mut world = World::new(35, 400);
    let hashes = world.add_torrents(60, &[PeerKind::Seed]);
    world.only_the_nearest_knows_peers(&hashes);
    world.config.new_flows = Some(150);
    let mut rows = world.crawl(Mode::Crawl, SECOND);
    for _ in 0..900 {
        let before = world.trace.len();
        let settled = world.resume(SECOND);
        let sent = &world.trace[before..];
        let asked = |row: &&Row| sent.windows(20).any(|bytes| bytes == row.infohash.0);
        let again = rows.iter().find(asked).map(|row| row.infohash);
        assert_eq!(again, None, "looked up although it has its row, at {:?}", world.now);
        rows.extend(settled);
    }
    assert!(verified(&rows).len() > 30 && world.crawler.stats().walks > 10);
}

#[test]
fn deadlines_of_jobs_and_dials_long_over_take_no_room() {
    let mut world = World::new(34, 5);
    world.config.max_connections = 2;
    begin(&mut world, Mode::Direct);
    for n in 0..70_000u32 {
        let mut hash = [0; 20];
        hash[..4].copy_from_slice(&n.to_be_bytes());
        let nobody = SocketAddr::from(([77, 7, 7, 7], 7_777));
        let request = Request::new(InfoHash(hash), [nobody]);
        world.crawler.handle_request(world.now, &request).expect("room");
        let mut dial = world.crawler.poll_dial(world.now).expect("one at a time");
        let outcome = dial.exchange.handle_failed(world.now, PeerFault::Refused);
        world.crawler.handle_outcome(world.now, dial.peer, outcome);
        assert!(world.crawler.poll_row().is_some());
        world.crawler.acknowledge_rows(u64::from(n) + 1);
    }
    world.crawler.check();
}

#[test]
fn more_peers_named_for_a_failed_infohash_are_each_tried_once() {
    let mut world = World::new(2, 1);
    begin(&mut world, Mode::Direct);
    let peer = |n| SocketAddr::from(([77, 7, n, 7], 7_777));
    let mut ask = |peers: &[SocketAddr]| {
        let request = Request::new(InfoHash([5; 20]), peers.iter().copied());
        world.crawler.handle_request(world.now, &request).expect("room");
        let mut dialled = Vec::new();
        while let Some(mut dial) = world.crawler.poll_dial(world.now) {
            dialled.push(dial.to);
            let outcome = dial.exchange.handle_failed(world.now, PeerFault::Refused);
            world.crawler.handle_outcome(world.now, dial.peer, outcome);
        }
        (dialled, std::iter::from_fn(|| world.crawler.poll_row()).count())
    };
    assert_eq!(ask(&[peer(1)]), (vec![peer(1)], 1));
    assert_eq!(ask(&[peer(1), peer(2)]), (vec![peer(2)], 0), "it has its row");
    assert_eq!(ask(&[peer(2), peer(1)]), (vec![], 0), "both were tried");
}

/// A poll or a datagram may come between a deadline and the call that it is for.
#[test]
fn what_only_a_timeout_does_stays_due_until_it_is_called() {
    let mut world = World::new(2, 1);
    begin(&mut world, Mode::Crawl);
    let (mut crawler, mut buf) = (world.crawler, Vec::new());
    let mut asked = 0;
    let mut now = world.now;
    while now < Instant::START + Duration::from_secs(600) {
        while crawler.poll_transmit(now, Family::V4, &mut buf).is_some() {
            asked += 1;
        }
        let due = crawler.poll_timeout().expect("the only node is asked again");
        assert!(due > now, "{now:?}");
        now = due + Duration::from_micros(1);
        assert_eq!(crawler.poll_transmit(now, Family::V4, &mut buf), None, "queued by the timeout");
        assert!(crawler.poll_timeout().is_some_and(|at| at <= now), "forgotten at {now:?}");
        crawler.handle_timeout(now);
    }
    assert!(asked > 5, "{asked}");
}
