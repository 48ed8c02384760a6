//! Killed at any turn, and begun again from what was saved: nothing is sampled inside its
//! interval, nothing pending is lost, and nobody needs a bootstrap node.

use std::collections::BTreeSet;

use super::world::{PeerKind, World, node_addr, peer_addr};
use super::{SECOND, verified};
use crate::base::addr::AddressPolicy;
use crate::base::id::InfoHash;
use crate::base::rng::Seed;
use crate::base::time::Instant;
use crate::config::{Config, Mode};
use crate::crawl::crawler::Crawler;
use crate::crawl::row::{Row, Verdict};
use crate::lead::{Origin, Request};
use crate::limits::INTERVAL_MAX;
use crate::state::{StateError, WallTime};

fn saving(seed: u64, nodes: usize) -> World {
    let mut world = World::new(seed, nodes);
    world.config.mode = Mode::Crawl;
    world
}

/// Whether nobody whose samples had arrived was sampled again inside the interval.
fn intervals_kept(world: &World) -> bool {
    world.sampled().all(|(addr, at)| {
        let before = world.samples_arrived.iter();
        let before = before.filter(|(from, then)| *from == addr && *then < at);
        before.clone().all(|(_, then)| at.since(*then) >= INTERVAL_MAX)
    })
}

/// Nodes that wait in the sampling calendar.
fn resting(world: &World) -> BTreeSet<std::net::SocketAddr> {
    let networks = world.crawler.networks.iter().flatten();
    networks.flat_map(|network| network.sweep.saved()).map(|rested| rested.contact.addr).collect()
}

/// What a crawler would save, without what follows from the second it is saved in.
fn snapshot(crawler: &Crawler) -> Vec<u8> {
    let mut out = Vec::new();
    crawler.snapshot(WallTime(5), &mut out);
    out
}

#[test]
fn killed_after_any_turn_it_loses_no_infohash_samples_nobody_early_and_needs_no_bootstrap() {
    for turns in [4, 5, 6, 7, 8, 9, 11, 13, 16, 20, 25, 30, 40, 60, 100] {
        let mut world = saving(30, 25);
        let hashes = world.add_torrents(40, &[PeerKind::Refuses, PeerKind::Seed]);
        world.begin();
        let id = |world: &World| world.crawler.networks[0].as_ref().map(|v4| v4.endpoint.id());
        let before = id(&world);
        world.turns_left = Some(turns);
        let mut rows: Vec<Row> = world.resume(60 * SECOND);
        let known: BTreeSet<_> = world.samples_arrived.iter().map(|(addr, _)| *addr).collect();
        assert!(resting(&world).is_superset(&known), "{turns}");
        world.turns_left = None;
        let restored = world.kill_and_restore();
        assert_eq!((id(&world), restored.torn_bytes, restored.damaged), (before, 0, 0), "{turns}");
        assert!(resting(&world).is_superset(&known), "{turns}");
        rows.extend(world.resume(600 * SECOND));
        assert_eq!(verified(&rows), hashes, "{turns}: each once, none missing");
        assert!(intervals_kept(&world), "{turns}");
        assert!(world.crawler.stats().contacts_answered > 0, "{turns}: it entered by itself");
    }
}

#[test]
fn killed_again_and_again_it_still_finds_everything_and_keeps_every_interval() {
    let mut world = saving(31, 30);
    let hashes = world.add_torrents(60, &[PeerKind::Seed]);
    world.begin();
    let mut rows = Vec::new();
    for turns in [6, 3, 9, 2, 15, 1, 30, 0, 8] {
        world.turns_left = Some(turns);
        rows.extend(world.resume(3_000 * SECOND));
        world.kill_and_restore();
    }
    world.turns_left = None;
    rows.extend(world.resume(1_200 * SECOND));
    assert_eq!(verified(&rows), world.exposed(&hashes));
    world.resume(26_000 * SECOND);
    assert!(intervals_kept(&world));
    assert!(world.nodes().all(|node| node.samples_asked >= 2), "and comes back after it");
}

#[test]
fn a_calendar_entry_is_never_saved_without_its_samples() {
    let mut world = saving(32, 20);
    world.add_torrents(30, &[]);
    world.config.max_infohashes = Some(5);
    world.begin();
    world.turns_left = Some(6);
    world.resume(60 * SECOND);
    let asked: BTreeSet<_> = world.samples_arrived.iter().map(|(addr, _)| *addr).collect();
    let showing = world.nodes().filter(|node| !node.sample().is_empty());
    assert!(showing.filter(|node| asked.contains(&node.addr())).count() > 5);
    world.kill_and_restore();
    let pending: BTreeSet<_> =
        world.crawler.admission.saved_pending().map(|lead| lead.hash).collect();
    let failed = world.crawler.admission.saved_failed().map(|(_, lead)| lead.hash);
    let saved: BTreeSet<_> = pending.into_iter().chain(failed).collect();
    for node in world.nodes().filter(|node| asked.contains(&node.addr())) {
        assert!(node.sample().iter().all(|hash| saved.contains(hash)));
    }
    assert!(saved.len() > 5, "what the quota kept out is held: {}", saved.len());
}

#[test]
fn a_snapshot_of_a_restored_crawler_says_the_same() {
    let mut world = saving(33, 300);
    world.add_torrents(60, &[PeerKind::Silent, PeerKind::Refuses]);
    world.config.max_connections = 10;
    world.begin();
    world.resume(30 * SECOND);
    let first = snapshot(&world.crawler);
    let mut second = Crawler::new(world.config.clone(), Seed::from_u64(99), Instant::START);
    let restored = second.restore(Instant::START, WallTime(5), &first).expect("whole");
    assert!(restored.contacts > 100 && restored.resting > 100 && restored.pending > 30);
    assert_eq!(restored.left_out, 0);
    let twice = snapshot(&second);
    let mut third = Crawler::new(world.config.clone(), Seed::from_u64(7), Instant::START);
    let again = third.restore(Instant::START, WallTime(5), &twice).expect("whole");
    assert_eq!((again, snapshot(&third)), (restored, twice));
}

#[test]
fn dead_saved_contacts_hang_nothing_and_are_not_forgotten() {
    for with_table in [true, false] {
        let mut world = saving(34, 40);
        let hashes = world.add_torrents(20, &[PeerKind::Seed]);
        world.begin();
        world.turns_left = Some(10);
        let mut rows = world.resume(60 * SECOND);
        world.turns_left = None;
        if with_table {
            world.save();
        }
        // Nobody is reachable for an hour; then everybody is again.
        let addrs: Vec<_> = world.nodes().map(|node| node.addr()).collect();
        for index in 0..addrs.len() {
            world.move_node(index, node_addr(10_000 + index));
        }
        let before = world.kill_and_restore();
        assert_eq!((before.contacts > 0, before.resting), (with_table, 40));
        rows.extend(world.resume(3_600 * SECOND));
        let after = world.kill_and_restore();
        assert_eq!((after.contacts, after.resting), (before.contacts, before.resting));
        for (index, addr) in addrs.into_iter().enumerate() {
            world.move_node(index, addr);
        }
        rows.extend(world.resume(6 * 3_600 * SECOND));
        let found: BTreeSet<_> = verified(&rows).into_iter().collect();
        assert_eq!(found, hashes.into_iter().collect(), "with the second chance of what failed");
        assert!(intervals_kept(&world));
    }
}

#[test]
fn a_restart_among_resting_nodes_goes_on_to_find_those_never_met() {
    for seed in 43..49 {
        let mut world = saving(seed, 256);
        world.config.rate = Some(50);
        let hashes = world.add_torrents(150, &[PeerKind::Seed]);
        world.begin();
        let mut rows = world.resume(4 * SECOND);
        world.known = verified(&rows);
        let restored = world.kill_and_restore();
        // Nobody waits to be asked: whom the answers named is not saved.
        assert_eq!((restored.contacts, restored.due), (0, 0), "{seed}");
        assert!((30..200).contains(&restored.resting), "{seed}: {}", restored.resting);
        rows.extend(world.resume(300 * SECOND));
        let met: BTreeSet<_> = world.samples_arrived.iter().map(|(addr, _)| *addr).collect();
        assert_eq!(met.len(), 256, "{seed}: after {} that rest", restored.resting);
        assert_eq!(verified(&rows), world.exposed(&hashes), "{seed}");
        assert!(intervals_kept(&world), "{seed}");
    }
}

#[test]
fn what_was_pending_stays_so_while_nobody_answers() {
    let mut world = saving(49, 40);
    let hashes = world.add_torrents(30, &[PeerKind::Seed]);
    world.begin();
    world.turns_left = Some(8);
    let mut rows = world.resume(60 * SECOND);
    world.turns_left = None;
    let before = world.kill_and_restore();
    assert!(before.pending > 5, "{before:?}");
    let sources = |world: &World| {
        let pending = world.crawler.admission.saved_pending();
        pending.filter(|lead| lead.source.is_some()).count()
    };
    let known = sources(&world);
    world.cut = Some((world.now, world.now + 7_200 * SECOND));
    assert!(world.resume(7_200 * SECOND).is_empty(), "nothing failed for want of a network");
    assert_eq!(world.crawler.stats().unfinished, before.pending as u64);
    let after = world.kill_and_restore();
    assert_eq!((after.pending, after.failed), (before.pending, before.failed));
    assert_eq!(sources(&world), known);
    rows.extend(world.resume(600 * SECOND));
    assert_eq!(verified(&rows), world.exposed(&hashes));
    assert!(rows.iter().all(|row| matches!(row.verdict, Verdict::Verified { .. })));
}

#[test]
fn an_infohash_with_its_row_untaken_is_still_pending() {
    let mut world = saving(35, 10);
    let hashes = world.add_torrents(5, &[PeerKind::Seed]);
    world.begin();
    world.hold_rows = true;
    world.resume(60 * SECOND);
    assert_eq!(world.crawler.stats().verified, 5);
    world.hold_rows = false;
    let restored = world.kill_and_restore();
    assert_eq!(restored.pending, 5);
    assert_eq!(verified(&world.resume(60 * SECOND)), hashes);
    assert_eq!(world.kill_and_restore().pending, 0);
}

#[test]
fn whatever_row_an_output_cannot_take_any_more_none_is_lost_and_none_comes_twice() {
    let world_of = |at: usize| {
        let mut world = saving(37, 10);
        let hashes = world.add_torrents(9, &[PeerKind::Seed]);
        (world, hashes, Some(at))
    };
    for at in 0..=9 {
        let (mut world, hashes, rows_left) = world_of(at);
        world.begin();
        world.rows_left = rows_left;
        let mut rows = world.resume(60 * SECOND);
        assert_eq!((rows.len(), world.crawler.stats().verified), (at, 9), "{at}");
        if at % 2 == 0 {
            world.save(); // at the end, as against a kill: the file is written whole
        }
        world.rows_left = None;
        let restored = world.kill_and_restore();
        assert_eq!(restored.pending, 9 - at, "{at}: what is written is settled, and nothing else");
        rows.extend(world.resume(120 * SECOND));
        assert_eq!(verified(&rows), hashes, "{at}: each once");
        assert_eq!(rows.len(), 9, "{at}");
    }
}

#[test]
fn an_infohash_whose_row_is_lost_is_fetched_again_by_this_run_or_the_next() {
    let mut world = saving(39, 10);
    let hashes = world.add_torrents(6, &[PeerKind::Seed]);
    let dead = world.add_torrents(3, &[PeerKind::Refuses]);
    world.begin();
    assert_eq!(world.resume(60 * SECOND).len(), 9);
    let lost = [hashes[1], hashes[4], dead[0]];
    let mut sorted = lost;
    sorted.sort();
    world.crawler.handle_lost_rows(world.now, &lost);
    world.crawler.check();
    let again: Vec<_> = world.resume(60 * SECOND).iter().map(|row| row.infohash).collect();
    assert_eq!(again.iter().copied().collect::<BTreeSet<_>>(), sorted.into_iter().collect());
    assert_eq!(again.len(), 3, "each once");
    world.config.max_infohashes = Some(0);
    world.crawler.handle_lost_rows(world.now, &lost);
    world.save();
    assert_eq!(world.kill_and_restore().held, 3, "of a run that may take nothing more on");
}

/// A world whose three torrents are settled, with their rows taken and none acknowledged.
fn three_rows_taken() -> (World, [InfoHash; 3]) {
    let mut world = saving(38, 10);
    world.add_torrents(3, &[PeerKind::Seed]);
    world.begin();
    world.hold_rows = true;
    world.resume(60 * SECOND);
    let taken = [(); 3].map(|()| world.crawler.poll_row().expect("settled").infohash);
    (world, taken)
}

#[test]
fn a_row_that_is_lost_before_the_last_output_takes_it_is_not_settled_when_it_does() {
    let (mut world, taken) = three_rows_taken();
    world.crawler.acknowledge_rows(1);
    // A file held all three, and a slow reader of standard output the first.
    world.crawler.handle_lost_rows(world.now, &taken[1..2]);
    world.crawler.check();
    world.crawler.acknowledge_rows(3);
    let wall = world.wall();
    world.crawler.poll_journal(wall, world.disk.as_mut().expect("it was saved"));
    world.hold_rows = false;
    assert_eq!(world.kill_and_restore().pending, 1);
    assert_eq!(verified(&world.resume(60 * SECOND)), [taken[1]]);
}

#[test]
fn rows_are_acknowledged_in_their_order_and_no_number_takes_that_back() {
    let (mut world, taken) = three_rows_taken();
    world.crawler.acknowledge_rows(2);
    world.crawler.acknowledge_rows(1);
    world.crawler.check();
    world.save();
    world.hold_rows = false;
    assert_eq!(world.kill_and_restore().pending, 1);
    assert_eq!(verified(&world.resume(60 * SECOND)), [taken[2]]);
}

#[test]
fn the_quota_counts_what_was_pending_and_holds_the_rest() {
    let mut world = saving(36, 20);
    let hashes = world.add_torrents(12, &[PeerKind::Seed]);
    world.begin();
    world.hold_rows = true;
    world.resume(60 * SECOND);
    world.hold_rows = false;
    world.config.max_infohashes = Some(4);
    world.known = vec![hashes[0]];
    let restored = world.kill_and_restore();
    assert_eq!((restored.pending, restored.held), (4, 8));
    let rows = world.resume(60 * SECOND);
    assert_eq!(rows.len(), 4, "what is known gave its place to one that was held");
    assert!(world.crawler.is_finished());
    world.config.max_infohashes = None;
    world.known = Vec::new();
    let restored = world.kill_and_restore();
    assert_eq!((restored.pending, restored.held), (7, 0));
    let all = [verified(&rows), verified(&world.resume(60 * SECOND)), vec![hashes[0]]].concat();
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>(), hashes.into_iter().collect());
}

#[test]
fn a_failed_infohash_keeps_the_time_of_its_next_chance_and_gets_no_second_row() {
    let mut world = saving(37, 20);
    let hashes = world.add_torrents(3, &[PeerKind::Refuses]);
    world.begin();
    assert_eq!(world.resume(600 * SECOND).len(), 3);
    let restored = world.kill_and_restore();
    assert_eq!((restored.failed, restored.pending), (3, 0));
    assert!(world.resume(2_900 * SECOND).is_empty());
    hashes.iter().for_each(|hash| world.revive(*hash));
    let rows = world.resume(200 * SECOND);
    assert_eq!(verified(&rows), hashes, "one hour after the failure, not after the restart");
}

#[test]
fn a_clock_set_back_ends_no_rest_early_and_one_far_ahead_only_ends_them() {
    for error in [-1_000_000, 1_000_000] {
        let mut world = saving(38, 20);
        world.begin();
        world.resume(600 * SECOND);
        world.save();
        world.wall_error = error;
        let restored = world.kill_and_restore();
        assert_eq!((restored.resting, restored.due), if error < 0 { (20, 0) } else { (0, 20) });
        world.resume(21_600 * SECOND);
        assert_eq!(intervals_kept(&world), error < 0);
        world.resume(1_000 * SECOND);
        assert!(world.nodes().all(|node| node.samples_asked >= 2), "{error}");
    }
}

#[test]
fn a_state_of_the_version_before_is_taken_over_and_written_in_this_one() {
    let before = include_bytes!("../../../state/fixtures/v1-crawl.state");
    // The second when the fixture was written, or any after it.
    let wall = WallTime(1_795_971_000);
    let config = Config::new(Mode::Crawl).with_policy(AddressPolicy::AllowPrivate);
    let config = config.with_own(([127, 0, 0, 1], 5).into()).expect("a port");
    let begin = |saved: &[u8]| {
        let mut crawler = Crawler::new(config.clone(), Seed::from_u64(1), Instant::START);
        let restored = crawler.restore(Instant::START, wall, saved).expect("whole");
        let mut out = Vec::new();
        crawler.snapshot(wall, &mut out);
        let id = crawler.networks[0].as_ref().map(|v4| v4.endpoint.id());
        (restored, id, out)
    };
    let (old, id, written) = begin(before);
    assert!(old.is_outdated && old.contacts + old.resting > 10, "{old:?}");
    assert!(written.starts_with(b"DHT-Estudely state 2.0\n"));
    let (new, same_id, again) = begin(&written);
    assert!(!new.is_outdated && again == written, "nothing is lost in writing and reading");
    assert_eq!((new.contacts, new.resting, new.due), (old.contacts, old.resting, old.due));
    assert_eq!((new.pending, new.failed, new.settled), (old.pending, old.failed, old.settled));
    assert_eq!(same_id, id);
}

#[test]
fn a_family_that_is_off_keeps_its_id_and_what_is_not_known_stays() {
    let mut world = saving(39, 20);
    world.config.own[1] = "[2a00::1]:6881".parse().ok();
    let both = world.config.clone();
    let ids = |crawler: &Crawler| {
        [0, 1].map(|index| crawler.networks[index].as_ref().map(|network| network.endpoint.id()))
    };
    let first = Crawler::new(both.clone(), Seed::from_u64(1), Instant::START);
    let mut saved = snapshot(&first);
    // A record of a kind that a later version may write.
    crate::state::put_unknown(&first.carried, 200, b"for later", &mut saved);
    let v4 = Config { own: [both.own[0], None], ..both.clone() };
    let mut second = Crawler::new(v4, Seed::from_u64(2), Instant::START);
    let restored = second.restore(Instant::START, WallTime(5), &saved).expect("whole");
    assert_eq!((restored.unknown, restored.damaged), (1, 0));
    let saved = snapshot(&second);
    let mut third = Crawler::new(both, Seed::from_u64(3), Instant::START);
    assert_eq!(third.restore(Instant::START, WallTime(5), &saved).expect("whole").unknown, 1);
    assert_eq!(ids(&third), ids(&first));
    assert_eq!(third.carried.unknown, second.carried.unknown);
}

#[test]
fn what_the_policy_or_the_families_refuse_is_left_out() {
    let mut world = saving(39, 20);
    world.begin();
    world.resume(60 * SECOND);
    let saved = snapshot(&world.crawler);
    let own = [None, Some("[2a00::1]:6881".parse().expect("address"))];
    let config = Config { own, ..world.config.clone() };
    let mut other = Crawler::new(config, Seed::from_u64(1), Instant::START);
    let restored = other.restore(Instant::START, WallTime(5), &saved).expect("whole");
    assert_eq!((restored.contacts, restored.resting), (0, 0));
    assert_eq!(restored.left_out, 40, "twenty contacts and their rests");
    other.check();
}

#[test]
fn where_only_names_are_fetched_what_was_pending_waits_until_it_is_named() {
    let mut world = saving(40, 20);
    let hashes = world.add_torrents(6, &[PeerKind::Seed]);
    world.begin();
    world.hold_rows = true;
    world.resume(60 * SECOND);
    world.hold_rows = false;
    world.config.mode = Mode::Fetch;
    world.config.policy = AddressPolicy::AllowPrivate;
    let restored = world.kill_and_restore();
    assert_eq!((restored.pending, restored.held), (0, 6));
    let now = world.now;
    let request = Request::new(hashes[2], [peer_addr(0, 0)]);
    world.crawler.handle_request(now, &request).expect("room");
    assert_eq!(verified(&world.resume(60 * SECOND)), [hashes[2]]);
    world.config.mode = Mode::Crawl;
    assert_eq!(world.kill_and_restore().pending, 5);
}

#[test]
fn a_damaged_or_foreign_state_changes_nothing() {
    let mut world = saving(41, 10);
    world.begin();
    world.resume(60 * SECOND);
    let saved = snapshot(&world.crawler);
    let mut other = Crawler::new(world.config.clone(), Seed::from_u64(1), Instant::START);
    let before = snapshot(&other);
    // Nothing can be read without one of the two heads, which stand behind the first line.
    let mut headless = saved.clone();
    headless[23..87].fill(7);
    for (bytes, expected) in [
        (&headless[..], StateError::Damaged(23)),
        (&saved[..60], StateError::Truncated),
        (b"infohash,name\n", StateError::Foreign),
        (b"DHT-Estudely state 3.0\n", StateError::Newer(3)),
    ] {
        assert_eq!(other.restore(Instant::START, WallTime(5), bytes), Err(expected));
        assert_eq!(snapshot(&other), before);
    }
}

#[test]
fn without_a_journal_nothing_is_kept_for_one() {
    let mut world = saving(42, 10);
    world.crawl(Mode::Crawl, 60 * SECOND);
    let mut out = Vec::new();
    world.crawler.poll_journal(WallTime(5), &mut out);
    assert!(out.is_empty());
    assert_ne!(world.crawler.stats().nodes_sampling, 0);
}

#[test]
fn a_row_that_no_sink_has_taken_is_saved_as_what_it_was() {
    let mut world = World::new(5, 10);
    world.hold_rows = true;
    let hashes = world.add_torrents(1, &[PeerKind::Seed]);
    world.requests = vec![(hashes[0], vec![peer_addr(0, 0)])];
    world.crawl(Mode::Direct, 5 * SECOND);
    assert_eq!(world.crawler.rows.unheld_count(), 1, "it waits");
    let saved = crate::state::read(&snapshot(&world.crawler), WallTime(5)).expect("whole");
    let origins: Vec<_> = saved.pending.values().map(|lead| (lead.hash, lead.origin)).collect();
    assert_eq!(origins, [(hashes[0], Origin::Request)]);
}
