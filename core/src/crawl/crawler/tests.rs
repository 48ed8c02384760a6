//! Whole crawls in a small world of honest and dishonest actors, in virtual time.

mod endings;
mod families;
mod fetch;
mod liars;
mod limits;
mod outage;
mod plans;
mod restart;
mod shares;
mod stage;
mod streams;
mod ties;
mod unread;
mod work;
mod world;

use std::net::SocketAddr;

use self::world::{Asks, Node, NodeKind, PeerKind, World, peer_addr};
use super::*;
use crate::base::addr::AddressPolicy;
use crate::base::id::InfoHash;
use crate::base::time::Duration;
use crate::config::Mode;
use crate::crawl::row::{FailureCause, Verdict};

const SECOND: Duration = Duration::from_secs(1);

fn verified(rows: &[Row]) -> Vec<InfoHash> {
    let mut hashes: Vec<InfoHash> = rows
        .iter()
        .filter(|row| matches!(row.verdict, Verdict::Verified { .. }))
        .map(|row| row.infohash)
        .collect();
    hashes.sort();
    hashes
}

#[test]
fn everything_exposed_with_a_live_peer_is_verified_once() {
    let mut world = World::new(1, 40);
    let hashes = world.add_torrents(100, &[PeerKind::Seed]);
    let rows = world.crawl(Mode::Crawl, 60 * SECOND);
    let exposed = world.exposed(&hashes);
    assert!(exposed.len() > 90);
    assert_eq!(verified(&rows), exposed);
    assert_eq!(rows.len(), exposed.len());
    assert_eq!(world.crawler.stats().settled as usize, exposed.len());
}

#[test]
fn no_node_is_sampled_twice_inside_its_interval_and_all_are_after_it() {
    let mut world = World::new(2, 20);
    world.crawl(Mode::Crawl, 3_000 * SECOND);
    assert!(world.nodes().all(|node| node.samples_asked == 1));
    world.resume(20_000 * SECOND);
    assert!(world.nodes().all(|node| node.samples_asked == 2), "21 600 s and a minute have passed");
}

#[test]
fn dead_peers_are_passed_over_and_a_walk_finds_those_the_source_does_not_know() {
    let mut world = World::new(3, 40);
    let dead = world.add_torrents(20, &[PeerKind::Refuses, PeerKind::Silent, PeerKind::Seed]);
    let hidden = world.add_torrents(10, &[PeerKind::Seed]);
    world.only_the_nearest_knows_peers(&hidden);
    let rows = world.crawl(Mode::Crawl, 120 * SECOND);
    let mut expected = [dead, hidden].concat();
    expected.sort();
    assert_eq!(verified(&rows), expected);
    assert!(world.crawler.stats().walks >= 1);
}

#[test]
fn an_infohash_without_a_working_peer_settles_as_failed_with_the_reason() {
    let mut world = World::new(4, 20);
    world.add_torrents(1, &[PeerKind::Refuses]);
    world.add_torrents(1, &[]);
    let rows = world.crawl(Mode::Crawl, 60 * SECOND);
    let mut causes: Vec<&str> = rows
        .iter()
        .map(|row| match row.verdict {
            Verdict::Failed { cause } => cause.word(),
            _ => "verified",
        })
        .collect();
    causes.sort_unstable();
    assert_eq!(causes, [FailureCause::NoPeers.word(), PeerFault::Refused.word()]);
}

#[test]
fn a_failed_infohash_is_tried_again_after_an_hour_and_written_only_if_it_works() {
    let mut world = World::new(5, 20);
    let hashes = world.add_torrents(2, &[PeerKind::Refuses]);
    let rows = world.crawl(Mode::Crawl, 600 * SECOND);
    assert_eq!(rows.len(), 2);
    world.revive(hashes[0]);
    let rows = world.resume(3_700 * SECOND);
    assert_eq!(verified(&rows), [hashes[0]]);
    assert_eq!(rows.len(), 1, "no second row for what failed again");
}

#[test]
fn nodes_without_bep_51_keep_the_sweep_going() {
    let mut world = World::new(6, 60);
    let hashes = world.add_torrents(50, &[PeerKind::Seed]);
    for (index, node) in world.nodes_mut().enumerate() {
        node.kind = match index % 4 {
            0 => NodeKind::SilentToSamples,
            1 => NodeKind::ErrorToSamples,
            2 => NodeKind::FindNodeForSamples,
            _ => NodeKind::Samples,
        };
    }
    let rows = world.crawl(Mode::Crawl, 120 * SECOND);
    assert!(world.nodes().all(|node| node.asked > 0), "every node was met");
    assert_eq!(verified(&rows), world.exposed(&hashes));
}

#[test]
fn nodes_that_name_bogus_peers_do_not_hide_the_real_ones() {
    let mut world = World::new(20, 40);
    let hashes = world.add_torrents(60, &[PeerKind::Seed]);
    for node in world.nodes_mut().step_by(3) {
        node.kind = NodeKind::BogusPeers;
    }
    let rows = world.crawl(Mode::Crawl, 120 * SECOND);
    assert_eq!(verified(&rows), hashes);
}

#[test]
fn a_limit_admits_exactly_so_many_and_then_the_run_is_finished() {
    let mut world = World::new(7, 30);
    world.add_torrents(50, &[PeerKind::Seed]);
    world.config.max_infohashes = Some(7);
    let rows = world.crawl(Mode::Crawl, 60 * SECOND);
    assert_eq!(rows.len(), 7);
    assert!(world.crawler.is_finished());
}

#[test]
fn known_infohashes_are_neither_fetched_nor_counted() {
    let mut world = World::new(8, 30);
    let hashes = world.add_torrents(10, &[PeerKind::Seed]);
    world.known = hashes[..4].to_vec();
    world.config.max_infohashes = Some(6);
    let rows = world.crawl(Mode::Crawl, 60 * SECOND);
    assert_eq!(verified(&rows), hashes[4..]);
}

#[test]
fn peers_mode_names_peers_and_dials_nobody() {
    let mut world = World::new(9, 30);
    let hashes = world.add_torrents(10, &[PeerKind::Seed, PeerKind::Refuses]);
    let rows = world.crawl(Mode::Peers, 60 * SECOND);
    assert_eq!(rows.len(), hashes.len());
    assert!(
        rows.iter().all(|row| matches!(row.verdict, Verdict::PeersOnly) && row.peers.len() == 2)
    );
    assert_eq!(world.crawler.stats().dialled, 0);
}

#[test]
fn fetch_mode_asks_only_for_what_is_requested() {
    let mut world = World::new(10, 40);
    let hashes = world.add_torrents(20, &[PeerKind::Seed]);
    world.requests = vec![(hashes[3], vec![]), (hashes[5], vec![peer_addr(5, 0)])];
    let rows = world.crawl(Mode::Fetch, 60 * SECOND);
    assert_eq!(verified(&rows), [hashes[3], hashes[5]]);
    assert_eq!(world.crawler.stats().queries_sample, 0);
}

#[test]
fn direct_mode_sends_no_datagram_at_all() {
    let mut world = World::new(11, 10);
    let hashes = world.add_torrents(2, &[PeerKind::Seed]);
    world.requests = vec![(hashes[0], vec![peer_addr(0, 0)]), (hashes[1], vec![])];
    let rows = world.crawl(Mode::Direct, 30 * SECOND);
    assert_eq!(verified(&rows), [hashes[0]]);
    assert_eq!((rows.len(), world.crawler.stats().datagrams_sent), (2, 0));
    assert!(world.crawler.is_idle());
}

#[test]
fn a_silent_bootstrap_is_asked_again_until_it_answers() {
    let mut world = World::new(12, 20);
    let hashes = world.add_torrents(5, &[PeerKind::Seed]);
    world.bootstrap_silent_until = Instant::START + 40 * SECOND;
    let rows = world.crawl(Mode::Crawl, 120 * SECOND);
    assert_eq!(verified(&rows), hashes);
}

#[test]
fn a_router_is_asked_find_node_and_never_sampled_or_kept() {
    let mut world = World::new(13, 20);
    let hashes = world.add_torrents(20, &[PeerKind::Seed]);
    world.bootstrap_kind = Bootstrap::Router;
    // As real ones: it would not sample. So what is exposed is what the others sample.
    world.nodes_mut().take(1).for_each(|router| router.kind = NodeKind::FindNodeForSamples);
    let rows = world.crawl(Mode::Crawl, 60 * SECOND);
    let to_router = world.sent.iter().filter(|sent| sent.to == world::node_addr(0));
    let asked: Vec<Asks> = to_router.map(|sent| sent.asks).collect();
    assert_eq!(asked, [Asks::FindNode]);
    assert!(world.crawler.networks[0].as_ref().is_some_and(|network| {
        network.table.contacts().all(|contact| contact.addr != world::node_addr(0))
    }));
    assert_eq!(verified(&rows), world.exposed(&hashes));
}

#[test]
fn forged_replies_change_nothing() {
    let run = |forge: bool| {
        let mut world = World::new(14, 30);
        world.add_torrents(30, &[PeerKind::Seed]);
        world.forge = forge;
        let rows = world.crawl(Mode::Crawl, 60 * SECOND);
        let stats = world.crawler.stats();
        let (answered, unmatched) = (stats.answered, stats.unmatched);
        (verified(&rows), world.trace, answered, unmatched)
    };
    let (rows, sent, answered, _) = run(false);
    assert!(answered > 30, "{answered}");
    assert_eq!(run(true), (rows, sent, answered, 2 * answered), "two forged for each answer");
}

#[test]
fn the_same_seed_gives_the_same_datagrams() {
    let run = |seed| {
        let mut world = World::new(seed, 40);
        world.add_torrents(40, &[PeerKind::Seed, PeerKind::Silent]);
        world.crawl(Mode::Crawl, 60 * SECOND);
        world.trace
    };
    assert_eq!(run(15), run(15));
    assert_ne!(run(15), run(16), "and another seed others");
}

/// Most of `times` in any window of that length.
fn in_window(times: &[Instant], window: Duration) -> usize {
    let from = |at: usize| times[at..].iter().take_while(|t| t.since(times[at]) < window).count();
    (0..times.len()).map(from).max().unwrap_or(0)
}

#[test]
fn the_rate_holds_in_every_second_and_is_used() {
    let mut world = World::new(16, 200);
    world.config.rate = Some(20);
    world.crawl(Mode::Crawl, 180 * SECOND);
    let sent: Vec<Instant> = world.sent.iter().map(|sent| sent.at).collect();
    assert_eq!(in_window(&sent, SECOND), 20);
}

#[test]
fn new_flows_hold_in_every_minute_and_are_used() {
    let mut world = World::new(16, 200);
    world.add_torrents(50, &[PeerKind::Seed]);
    world.config.new_flows = Some(60);
    world.crawl(Mode::Crawl, 180 * SECOND);
    assert_eq!(in_window(&world.first_contacts(), 60 * SECOND), 60);
}

#[test]
fn shutting_down_begins_nothing_new_and_counts_what_is_unfinished() {
    let mut world = World::new(17, 30);
    world.add_torrents(30, &[PeerKind::Silent]);
    world.crawl(Mode::Crawl, 3 * SECOND);
    assert!(world.crawler.stats().connections_open > 0);
    let now = world.now;
    world.crawler.handle_shutdown(now);
    let mut buf = Vec::new();
    assert!(world.crawler.poll_dial(now).is_none());
    assert_eq!(world.crawler.poll_transmit(now, Family::V4, &mut buf), None);
    assert_eq!(world.crawler.poll_timeout(), None);
    assert!(world.crawler.is_finished());
    assert_eq!(world.crawler.stats().unfinished, 30);
}

#[test]
fn after_a_drained_timeout_the_next_deadline_lies_ahead() {
    let mut world = World::new(18, 40);
    world.add_torrents(40, &[PeerKind::Seed, PeerKind::Silent]);
    world.strict_deadlines = true;
    let rows = world.crawl(Mode::Crawl, 4_000 * SECOND);
    assert_eq!(rows.len(), 40, "all was done meanwhile");
}

#[test]
fn private_addresses_are_refused_on_the_public_network() {
    for policy in [AddressPolicy::Public, AddressPolicy::AllowPrivate] {
        let mut world = World::new(19, 20);
        world.config.policy = policy;
        let hashes = world.add_torrents(10, &[PeerKind::Seed]);
        let private = SocketAddr::from(([10, 1, 2, 3], 6881));
        world.nodes_mut().for_each(|node: &mut Node| node.also_names = Some(private));
        let rows = world.crawl(Mode::Crawl, 60 * SECOND);
        assert_eq!(verified(&rows), hashes);
        let asked = world.contacted().any(|addr| addr == private);
        assert_eq!(asked, policy == AddressPolicy::AllowPrivate, "{policy:?}");
    }
}
