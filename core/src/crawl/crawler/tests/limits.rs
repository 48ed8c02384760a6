//! The limits of the catalogue (`core/PROTOCOL.md`) that only a whole crawler shows: at the number
//! and one past it. Numbers are written out, so that a constant that is off by one fails here.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::stage::{Asked, Query, Stage, body, node};
use super::*;
use crate::base::addr::Contact;
use crate::base::id::NodeId;
use crate::codec::krpc::{self, Ask, Envelope, ReplyBody, Want};
use crate::lead::Request;

fn hash(n: u8) -> InfoHash {
    InfoHash([n; 20])
}

/// A peer in a net of its own.
fn peer(n: u8) -> SocketAddr {
    SocketAddr::from(([30, n, 1, 1], 6_881))
}

fn seconds(at: Instant) -> u64 {
    assert_eq!(at.as_micros() % 1_000_000, 0, "{at:?}");
    at.as_micros() / 1_000_000
}

fn count(asked: &[Asked], to: SocketAddr, kind: Query) -> usize {
    asked.iter().filter(|asked| asked.to == to && asked.kind == kind).count()
}

#[test]
fn h6_all_of_the_last_thirty_two_bits_of_a_transaction_are_drawn() {
    let mut stage = Stage::new(Mode::Crawl);
    let nodes: Vec<SocketAddr> = (1..=64).map(|n| node(n).addr).collect();
    stage.crawler.handle_bootstrap(stage.now, &nodes, Bootstrap::Node);
    let drawn: Vec<u32> = stage.asked().iter().map(Asked::drawn).collect();
    assert_eq!(drawn.len(), 64);
    let (some, all) =
        drawn.iter().fold((0, u32::MAX), |(some, all), bits| (some | bits, all & bits));
    assert_eq!((some, all), (u32::MAX, 0), "each bit is sometimes set and sometimes not");
}

#[test]
fn h9_queries_of_strangers_are_never_answered() {
    let mut stage = Stage::new(Mode::Crawl);
    let first = stage.begin(node(1));
    stage.answer(&first, &body(node(1)));
    let stranger = node(2);
    for n in 0..100 {
        let envelope =
            Envelope { transaction: &[n, 1], version: None, read_only: false, external: None };
        let mut query = Vec::new();
        krpc::emit_query(&mut query, &envelope, stranger.id, &Ask::Ping, Want::default());
        stage.crawler.handle_datagram(stage.now, stranger.addr, &query);
    }
    assert_eq!(stage.crawler.stats().queries_received, 100);
    assert!(stage.sent_within(60 * SECOND).iter().all(|asked| asked.to != stranger.addr));
}

#[test]
fn h10_an_address_gets_twenty_two_queries_at_once_and_forty_in_ten_seconds() {
    let mut stage = Stage::new(Mode::Crawl);
    let mut sent = vec![stage.begin(node(1))];
    let samples: Vec<InfoHash> = (1..=60).map(hash).collect();
    for n in 61..=120 {
        stage.crawler.handle_request(stage.now, &Request::new(hash(n), [])).expect("room");
    }
    stage.answer(&sent[0], &body(node(1)));
    stage.play(Duration::from_micros(9_999_999), |stage, asked| {
        sent.push(asked.clone());
        let samples = (asked.kind == Query::Sample).then_some(&samples[..]);
        stage.answer(asked, &ReplyBody { samples, interval: Some(21_600), ..body(node(1)) });
    });
    assert!(sent.iter().all(|asked| asked.to == node(1).addr));
    assert_eq!(sent.iter().filter(|asked| asked.at == Instant::START).count(), 22);
    // A walk looks again a quarter of a second after its node was busy, so one may come too late.
    assert!((39..=40).contains(&sent.len()), "{} queries", sent.len());
}

#[test]
fn h10_hearsay_is_believed_from_port_1024_on() {
    let mut stage = Stage::new(Mode::Crawl);
    let first = stage.begin(node(1));
    let mut low = [node(2), node(3)];
    low[0].addr.set_port(1_023);
    low[1].addr.set_port(1_024);
    stage.answer(&first, &ReplyBody { nodes: &low, ..body(node(1)) });
    let asked = stage.asked();
    assert_eq!(low.map(|node| count(&asked, node.addr, Query::Sample)), [0, 1]);
}

#[test]
fn h17_of_one_answer_eight_contacts_of_each_family_are_followed_and_not_nine() {
    let mut stage = Stage::new(Mode::Crawl);
    let first = stage.begin(node(1));
    let nodes: Vec<Contact> = (2..=10).map(node).collect();
    let at_v6 = |n: u8| SocketAddr::new([0x2a00, n.into(), 1, 1, 1, 1, 1, 1].into(), 6_881);
    let nodes6: Vec<Contact> = (2..=10).map(|n| Contact { addr: at_v6(n), ..node(n) }).collect();
    stage.answer(&first, &ReplyBody { nodes: &nodes, nodes6: &nodes6, ..body(node(1)) });
    let asked: BTreeSet<SocketAddr> = stage.asked().iter().map(|asked| asked.to).collect();
    let followed = nodes[..8].iter().chain(&nodes6[..8]).map(|contact| contact.addr);
    assert_eq!(asked, followed.chain([node(1).addr]).collect());
}

#[test]
fn h17_a_region_of_the_keyspace_holds_256_waiting_contacts() {
    let mut stage = Stage::new(Mode::Crawl);
    let routers: Vec<SocketAddr> = (1..=33).map(|n| node(n).addr).collect();
    stage.crawler.handle_bootstrap(stage.now, &routers, Bootstrap::Router);
    for (n, asked) in (0..).zip(stage.asked()) {
        let contact = |k: u8| Contact {
            id: NodeId([&[7; 18], &[n, k][..]].concat().try_into().expect("20 bytes")),
            addr: SocketAddr::from(([21, n, k, 1], 6_881)),
        };
        let nodes: Vec<Contact> = (0..8).map(contact).collect();
        stage.answer(&asked, &ReplyBody { nodes: &nodes, ..body(node(n + 1)) });
        let heard = 8 * (u64::from(n) + 1);
        assert_eq!(stage.crawler.stats().contacts_queued, heard.min(256), "{heard} heard");
    }
}

/// The seconds at which the only node is sampled, which answers samples after `late` seconds with
/// `samples` and `interval`, and everything else at once.
fn visits<const N: usize>(
    late: u32,
    samples: Option<&[InfoHash]>,
    interval: Option<i64>,
) -> [u64; N] {
    let mut stage = Stage::new(Mode::Crawl);
    let first = stage.begin(node(1));
    stage.answer(&first, &body(node(1)));
    let mut next = || loop {
        let week = stage.now + Duration::from_secs(7 * 86_400);
        let asked = stage.next_until(week).expect("it is not forgotten");
        let sampled = asked.kind == Query::Sample;
        if sampled {
            stage.now = stage.now + SECOND * late;
        }
        let samples = samples.filter(|_| sampled);
        stage.answer(&asked, &ReplyBody { samples, interval, ..body(node(1)) });
        if sampled {
            return seconds(asked.at);
        }
    };
    [(); N].map(|()| next())
}

// A visit is due at the first whole minute after the rest, hence each rest is tried twice: begun at
// a whole minute and a second later.

#[test]
fn h20_an_interval_below_300_seconds_counts_as_300() {
    for interval in [0, 1, 299, 300] {
        assert_eq!(visits(0, Some(&[]), Some(interval)), [0, 300, 600], "{interval}");
        assert_eq!(visits(1, Some(&[]), Some(interval)), [0, 360, 720], "{interval}");
    }
    assert_eq!(visits(0, Some(&[]), Some(301)), [0, 360, 720]);
}

#[test]
fn i51_1_intervals_up_to_21600_seconds_are_kept_and_all_others_count_as_that() {
    assert_eq!(visits(0, Some(&[]), Some(21_540)), [0, 21_540]);
    for interval in [Some(21_600), Some(21_601), Some(i64::MAX), Some(-1), None] {
        assert_eq!(visits(0, Some(&[]), interval), [0, 21_600], "{interval:?}");
        assert_eq!(visits(1, Some(&[]), interval), [0, 21_660], "{interval:?}");
    }
}

#[test]
fn i51_4_a_node_that_does_not_sample_is_asked_again_after_an_hour() {
    assert_eq!(visits(0, None, None), [0, 3_600, 7_200]);
    assert_eq!(visits(1, None, None), [0, 3_660, 7_320]);
}

#[test]
fn h19_a_node_rests_twice_as_long_after_a_visit_whose_infohashes_came_to_nothing() {
    let samples: Vec<InfoHash> = (1..=40).map(hash).collect();
    assert_eq!(visits(0, Some(&[]), Some(300)), [0, 300, 600, 900]);
    // The first two visits bring twenty each, the third nothing new.
    assert_eq!(visits(0, Some(&samples), Some(300)), [0, 300, 900, 2_100, 3_300]);
    assert_eq!(visits(1, Some(&samples), Some(300)), [0, 360, 1_020, 2_280, 3_540]);
}

#[test]
fn h19_of_one_answer_twenty_infohashes_are_taken_on_and_sixty_four_are_read() {
    for (sent, taken, read) in [(20, 20, 20), (21, 20, 21), (64, 20, 64), (65, 20, 64)] {
        let mut stage = Stage::new(Mode::Crawl);
        let first = stage.begin(node(1));
        stage.answer(&first, &body(node(1)));
        let sample = stage.next_asked().expect("it is sampled");
        let samples: Vec<InfoHash> = (1..=sent).map(hash).collect();
        stage.answer(&sample, &ReplyBody { samples: Some(&samples), ..body(node(1)) });
        let stats = stage.crawler.stats();
        assert_eq!((stats.infohashes_new, stats.infohashes_sampled), (taken, read), "{sent}");
    }
}

#[test]
fn h18_a_contact_that_never_answers_is_given_up_after_five_passes() {
    let mut stage = Stage::new(Mode::Crawl);
    let first = stage.begin(node(1));
    stage.answer(&first, &ReplyBody { nodes: &[node(2)], ..body(node(1)) });
    let mut sent = Vec::new();
    stage.play(Duration::from_secs(86_400), |stage, asked| {
        sent.push(asked.clone());
        if asked.to == node(1).addr {
            let samples = (asked.kind == Query::Sample).then_some(&[][..]);
            stage.answer(asked, &ReplyBody { samples, ..body(node(1)) });
        }
    });
    let to_it = |kind| count(&sent, node(2).addr, kind);
    assert_eq!((to_it(Query::Sample), to_it(Query::FindNode)), (5, 5));
}

/// How many of `peers` are kept, which the node that gave the infohash names all at once.
fn kept(peers: &[SocketAddr]) -> usize {
    let mode = Mode::Peers;
    let mut stage = Stage::with(Config { peers_per_infohash: 1_000, ..Config::new(mode) });
    let first = stage.begin(node(1));
    stage.answer(&first, &body(node(1)));
    let sample = stage.next_asked().expect("it is sampled");
    stage.answer(&sample, &ReplyBody { samples: Some(&[hash(1)]), ..body(node(1)) });
    let asked = stage.next_asked().expect("it is asked for peers");
    assert_eq!(asked.kind, Query::GetPeers);
    stage.answer(&asked, &ReplyBody { values: peers, ..body(node(1)) });
    stage.crawler.poll_row().expect("settled").peers.len()
}

#[test]
fn h21_of_one_answer_a_hundred_peers_are_kept_and_not_one_more() {
    let peers: Vec<SocketAddr> = (1..=101).map(peer).collect();
    assert_eq!(kept(&peers[..100]), 100);
    assert_eq!(kept(&peers), 100);
}

#[test]
fn h21_two_ports_of_an_address_and_three_peers_of_a_net_are_kept() {
    let port = |n: u8| SocketAddr::from(([30, 1, 1, 1], 6_881 + u16::from(n)));
    let near = |n: u8| SocketAddr::from(([30, 1, 1, n], 6_881));
    assert_eq!([1, 2, 3].map(|n| kept(&(1..=n).map(port).collect::<Vec<_>>())), [1, 2, 2]);
    assert_eq!([2, 3, 4].map(|n| kept(&(1..=n).map(near).collect::<Vec<_>>())), [2, 3, 3]);
}

/// A walk to `hash(9)` whose first node has answered with eight others, and what it asks then.
fn walk() -> (Stage, Vec<Asked>) {
    let mut stage = Stage::new(Mode::Fetch);
    let first = stage.begin(node(1));
    stage.answer(&first, &body(node(1)));
    stage.crawler.handle_request(stage.now, &Request::new(hash(9), [])).expect("room");
    let [asked] = &stage.asked()[..] else { panic!("one node is known") };
    let nodes: Vec<Contact> = (2..=9).map(node).collect();
    stage.answer(asked, &ReplyBody { nodes: &nodes, ..body(node(1)) });
    let asked = stage.asked();
    (stage, asked)
}

#[test]
fn i5_13_four_nodes_are_asked_at_once_and_four_more_after_a_second() {
    let (mut stage, asked) = walk();
    assert_eq!(asked.len(), 4);
    assert_eq!(stage.sent_within(Duration::from_micros(999_999)).len(), 0);
    assert_eq!(stage.sent_within(Duration::from_micros(1)).len(), 4);
}

#[test]
fn i5_13_a_query_has_failed_after_six_seconds() {
    let (mut stage, _) = walk();
    stage.sent_within(Duration::from_micros(5_999_999));
    assert_eq!(stage.crawler.stats().expired, 0);
    stage.sent_within(Duration::from_micros(1));
    assert_eq!(stage.crawler.stats().expired, 4);
}

#[test]
fn i5_13_samples_are_read_until_fifteen_seconds_after_their_query_and_the_node_then_rests() {
    for (after, is_read) in [(14_900, true), (15_100, false)] {
        let mut stage = Stage::new(Mode::Crawl);
        let first = stage.begin(node(1));
        stage.answer(&first, &ReplyBody { nodes: &[node(2)], ..body(node(1)) });
        let mut asked = Vec::new();
        let mut play = |stage: &mut Stage, millis| {
            asked.clear();
            stage.play(Duration::from_millis(millis), |stage, query| {
                if query.to == node(1).addr {
                    stage.answer(query, &body(node(1)));
                }
                asked.push(query.clone());
            });
            let samples = |asked: &&Asked| asked.to == node(2).addr && asked.kind == Query::Sample;
            asked.iter().filter(samples).cloned().collect::<Vec<_>>()
        };
        let samples = play(&mut stage, after);
        let [asked, ..] = &samples[..] else { panic!("{samples:?}") };
        assert_eq!(
            (asked.at, stage.now),
            (Instant::START, Instant::START + Duration::from_millis(after))
        );
        for _ in 0..2 {
            let samples = Some(&[hash(9)][..]);
            stage.answer(asked, &ReplyBody { samples, interval: Some(600), ..body(node(2)) });
            let stats = stage.crawler.stats();
            let read = u64::from(is_read);
            assert_eq!(
                (stats.late, stats.infohashes_sampled, stats.nodes_sampling),
                (read, read, read)
            );
        }
        assert_eq!(stage.crawler.stats().unmatched, 1 + u64::from(!is_read), "read once at most");
        let networks = stage.crawler.networks.iter().flatten();
        let lives = networks.flat_map(|n| n.table.contacts()).any(|contact| contact == node(2));
        assert_eq!(lives, is_read, "it lives");
        assert_eq!(play(&mut stage, 590_000).is_empty(), is_read, "it is not sampled early");
    }
}

#[test]
fn i5_13_a_walk_follows_what_a_node_says_after_the_walk_has_given_it_up() {
    let (mut stage, asked) = walk();
    stage.sent_within(Duration::from_millis(6_500));
    assert_eq!(stage.crawler.stats().expired, 4);
    let late = (2..=9).map(node).find(|node| node.addr == asked[0].to).expect("one of them");
    let (nodes, values) = (&[node(10)], &[peer(1)]);
    stage.answer(&asked[0], &ReplyBody { nodes, values, ..body(late) });
    let stats = stage.crawler.stats();
    assert_eq!((stats.late, stats.peers_found), (1, 1));
    assert_eq!(count(&stage.asked(), node(10).addr, Query::GetPeers), 1);
}

#[test]
fn i4_4_a_walk_stops_at_ten_peers_of_two_answers() {
    for (peers, asks_on) in [(9, true), (10, false)] {
        let (mut stage, asked) = walk();
        let peers: Vec<SocketAddr> = (1..=peers).map(peer).collect();
        let answerer = |asked: &Asked| (1..=9).map(node).find(|node| node.addr == asked.to);
        for (asked, values) in asked.iter().zip([&peers[..5], &peers[5..]]) {
            let body = body(answerer(asked).expect("one of the nine"));
            stage.answer(asked, &ReplyBody { values, ..body });
        }
        assert_eq!(!stage.asked().is_empty(), asks_on, "{} peers", peers.len());
    }
}

#[test]
fn i4_4_the_node_that_gave_an_infohash_is_asked_twice_before_a_walk() {
    let mut stage = Stage::new(Mode::Crawl);
    let first = stage.begin(node(1));
    stage.answer(&first, &ReplyBody { nodes: &[node(2)], ..body(node(1)) });
    let (mut sent, samples) = (Vec::new(), [hash(1)]);
    stage.play(60 * SECOND, |stage, asked| {
        sent.push(asked.clone());
        let gives = [node(1)].into_iter().find(|node| node.addr == asked.to);
        if let Some(node) = gives.filter(|_| asked.kind != Query::GetPeers) {
            let samples = (asked.kind == Query::Sample).then_some(&samples[..]);
            stage.answer(asked, &ReplyBody { samples, ..body(node) });
        }
    });
    let asked: Vec<u64> = sent
        .iter()
        .filter(|asked| asked.kind == Query::GetPeers && asked.to == node(1).addr)
        .map(|asked| seconds(asked.at))
        .collect();
    assert_eq!(asked, [0, 6, 12], "and once more by the walk");
}

#[test]
fn a_bootstrap_node_that_refuses_find_node_is_asked_for_the_peers_of_a_random_key() {
    let mut stage = Stage::new(Mode::Crawl);
    let first = stage.begin(node(1));
    stage.refuse(&first, 201);
    let [second] = &stage.asked()[..] else { panic!("it lives") };
    assert_eq!((second.to, second.kind), (node(1).addr, Query::GetPeers));
    stage.answer(second, &ReplyBody { nodes: &[node(2)], ..body(node(1)) });
    assert!(stage.sent_within(SECOND).iter().any(|asked| asked.to == node(2).addr));
    let stats = stage.crawler.stats();
    assert_eq!((stats.refused, stats.errors_201, stats.errors()), (1, 1, 1));
}
