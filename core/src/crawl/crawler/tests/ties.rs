//! What two parts know of the same thing is tied together: each tie, broken by hand, is found.

use super::world::{PeerKind, World, peer_addr};
use super::*;
use crate::base::addr::Contact;
use crate::lead::{Lead, Origin};

/// A crawl in the middle of a walk for an infohash asked for by name.
fn walking() -> World {
    let mut world = World::new(3, 40);
    world.requests = vec![(InfoHash([7; 20]), vec![])];
    world.crawl(Mode::Fetch, Duration::from_millis(100));
    world.crawler.check();
    let network = world.crawler.networks[0].as_ref().expect("it is on");
    assert_eq!(network.walks.iter().count(), 1);
    world
}

/// A crawl with a connection open to a peer that says nothing.
fn dialling() -> World {
    let mut world = World::new(5, 10);
    let hashes = world.add_torrents(1, &[PeerKind::Silent]);
    world.requests = vec![(hashes[0], vec![peer_addr(0, 0)])];
    world.crawl(Mode::Direct, Duration::from_millis(100));
    world.crawler.check();
    world
}

#[test]
#[should_panic(expected = "a job knows only walks that are under way")]
fn a_walk_that_ended_behind_its_jobs_back_is_found() {
    let mut world = walking();
    let network = world.crawler.networks[0].as_mut().expect("it is on");
    let (walk, _) = network.walks.iter().next().expect("under way");
    network.walks.end(walk);
    world.crawler.check();
}

#[test]
#[should_panic(expected = "a walk serves a job that does not know it")]
fn a_job_that_forgot_its_walk_is_found() {
    let mut world = walking();
    let key = world.crawler.jobs.find(InfoHash([7; 20])).expect("under way");
    world.crawler.jobs.on_walk_displaced(key, Family::V4);
    world.crawler.check();
}

#[test]
#[should_panic(expected = "a job tries only peers to which a connection is open")]
fn a_connection_that_was_closed_behind_its_jobs_back_is_found() {
    let mut world = dialling();
    let dial = world.take_open_dial().expect("open");
    let _ = world.crawler.dialer.close(dial.peer);
    world.crawler.check();
}

#[test]
#[should_panic(expected = "jobs are held only while there is suspicion")]
fn a_job_held_without_an_outage_is_found() {
    let mut world = walking();
    let key = world.crawler.jobs.find(InfoHash([7; 20])).expect("under way");
    world.crawler.jobs.hold(key);
    world.crawler.check();
}

#[test]
#[should_panic(expected = "what is taken on waits, is under way or is settled")]
fn an_infohash_that_was_lost_between_admission_and_jobs_is_found() {
    let mut world = walking();
    let (crawler, hash) = (&mut world.crawler, InfoHash([9; 20]));
    let source = Contact { id: NodeId([1; 20]), addr: ([20, 9, 9, 9], 6_881).into() };
    let lost = crawler.admission.offer(Instant::START, hash, source, &crawler.standing);
    assert_eq!(lost, crate::crawl::admission::Admitted::New);
    world.crawler.check();
}

#[test]
#[should_panic(expected = "an infohash under way waits nowhere else")]
fn an_infohash_that_is_under_way_and_waits_as_well_is_found() {
    let mut world = walking();
    let double = Lead::new(InfoHash([9; 20]), Instant::START, Origin::Request);
    let crawler = &mut world.crawler;
    assert!(crawler.admission.restore_pending(double.clone()));
    crawler.begin_job(&double).expect("room");
    crawler.carry_out();
    crawler.stats.infohashes_new += 1;
    crawler.check();
}
