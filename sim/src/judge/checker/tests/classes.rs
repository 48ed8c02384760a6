//! Canaries of the classes of datagrams: answers, uTP, and what is neither.

use std::net::SocketAddr;

use super::bench::{Bench, RAW, addr, hash_of, reply_text, seconds};
use super::{id, naming, node};
use crate::judge::rule::*;
use crate::world::scenario::Scenario;

/// Our id, as the bench's queries have it.
const OWN: [u8; 20] = [b'U'; 20];
const PING: &[u8] = b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae1:q4:ping1:t2:aa1:y1:qe";
const GET_PEERS: &[u8] = b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaa9:info_hash20:hhhhhhhhhhhhhhhhhhhhe\
    1:q9:get_peers1:t2:bb1:y1:qe";

/// A serving crawler that knows nodes 1 and 2 and has asked, without `ro`.
fn serving() -> Bench {
    naming(Bench::serving(Scenario::calm(1)), &[1, 2])
}

fn announce(token: &str) -> Vec<u8> {
    let arguments = "4:porti6881e5:token";
    format!(
        "d1:ad2:id20:aaaaaaaaaaaaaaaaaaaa9:info_hash20:hhhhhhhhhhhhhhhhhhhh{arguments}{}:{token}e\
         1:q13:announce_peer1:t2:cc1:y1:qe",
        token.len()
    )
    .into_bytes()
}

fn pong(transaction: &[u8]) -> Vec<u8> {
    reply_text(transaction, OWN, b"")
}

/// A uTP packet of this first byte, with this after its header.
fn utp(first: u8, rest: &[u8]) -> Vec<u8> {
    [&[first][..], &[0; 19], rest].concat()
}

/// A serving crawler that was told of a peer, and that peer.
fn knowing_a_peer(bench: Bench) -> (Bench, SocketAddr) {
    let (mut bench, peer) = (bench, addr("21.7.1.1:6881"));
    let hash = hash_of(RAW);
    let t = bench.sample(node(1));
    bench.samples(node(1), &t, id(1), Some(600), &[hash]);
    let t = bench.get_peers(node(1), hash);
    bench.values(node(1), &t, &[peer]);
    (bench, peer)
}

#[test]
fn a_crawler_that_serves_may_answer_what_it_was_asked() {
    let mut bench = serving();
    bench.received(node(1), PING);
    bench.send_other(node(1), &pong(b"aa"));
    bench.received(node(7), GET_PEERS);
    bench.send_other(node(7), &reply_text(b"bb", OWN, b"5:token4:good"));
    bench.wait(seconds(60));
    bench.received(node(7), &announce("good"));
    bench.send_other(node(7), &pong(b"cc"));
    bench.received(node(8), &announce("none"));
    bench.send_other(node(8), b"d1:eli203e9:bad tokene1:t2:cc1:y1:ee");
    bench.drain();
    bench.expect(None);
}

#[test]
fn an_answer_goes_to_who_asked_once_in_time_and_under_its_transaction() {
    for (to, transaction, times, wait, breaks) in [
        (1, b"aa", 1, 15, false),
        (1, b"ab", 1, 0, true),
        (2, b"aa", 1, 0, true),
        (1, b"aa", 2, 0, true),
        (1, b"aa", 1, 16, true),
    ] {
        let mut bench = serving();
        bench.received(node(1), PING);
        bench.wait(seconds(wait));
        for _ in 0..times {
            bench.send_other(node(to), &pong(transaction));
        }
        bench.expect(breaks.then_some(ANSWERS_IN_ORDER));
    }
}

#[test]
fn a_query_that_a_link_doubled_may_be_answered_twice() {
    let mut bench = serving();
    bench.received(node(1), PING);
    bench.received(node(1), PING);
    bench.send_other(node(1), &pong(b"aa"));
    bench.send_other(node(1), &pong(b"aa"));
    bench.expect(None);
}

#[test]
fn a_reply_is_no_question() {
    let mut bench = serving();
    bench.received(node(9), &reply_text(b"zz", id(9), b""));
    bench.send_other(node(9), &pong(b"zz"));
    bench.expect(Some(ANSWERS_IN_ORDER));
}

#[test]
fn what_is_no_whole_query_may_be_refused_and_not_replied_to() {
    let error = b"d1:eli203e5:no ide1:t2:aa1:y1:ee".to_vec();
    for (answer, breaks) in [(error, false), (pong(b"aa"), true)] {
        let mut bench = serving();
        bench.received(node(1), b"d1:ad2:id2:aae1:q4:ping1:t2:aa1:y1:qe");
        bench.send_other(node(1), &answer);
        bench.expect(breaks.then_some(ANSWERS_IN_ORDER));
    }
}

#[test]
fn an_answer_is_at_most_twelve_times_its_question() {
    let most = 12 * PING.len() - pong(b"aa").len() - "1:x500:".len();
    for (length, breaks) in [(most, false), (most + 1, true)] {
        let mut bench = serving();
        bench.received(node(1), PING);
        let filler = [format!("1:x{length}:").as_bytes(), &vec![b'x'; length]].concat();
        bench.send_other(node(1), &reply_text(b"aa", OWN, &filler));
        bench.expect(breaks.then_some(ANSWERS_IN_ORDER));
    }
}

#[test]
fn an_announce_needs_a_token_that_its_address_was_given_lately() {
    for (from, token, wait, breaks) in [
        (7, "good", 600, false),
        (7, "good", 601, true),
        (7, "else", 1, true),
        (7, "", 1, true),
        (8, "good", 1, true),
    ] {
        let mut bench = serving();
        bench.received(node(7), GET_PEERS);
        bench.send_other(node(7), &reply_text(b"bb", OWN, b"5:token4:good"));
        bench.wait(seconds(wait));
        bench.received(node(from), &announce(token));
        bench.send_other(node(from), &pong(b"cc"));
        bench.expect(breaks.then_some(ANSWERS_IN_ORDER));
    }
}

#[test]
fn what_says_ro_does_not_answer_and_what_answers_does_not_say_ro() {
    for (before, after, breaks) in
        [(false, false, false), (true, false, true), (false, true, true), (true, true, true)]
    {
        let mut bench = serving();
        bench.say_read_only(before);
        bench.find_node(node(1));
        bench.received(node(1), PING);
        bench.send_other(node(1), &pong(b"aa"));
        bench.say_read_only(after);
        bench.find_node(node(2));
        bench.expect(breaks.then_some(ANSWERS_IN_ORDER));
    }
    // Read-only at first, as one that waits whether it will stay.
    let mut bench = serving();
    for says in [true, false] {
        bench.say_read_only(says);
        bench.find_node(node(1));
    }
    bench.received(node(1), PING);
    bench.send_other(node(1), &pong(b"aa"));
    bench.expect(None);
}

#[test]
fn answers_have_our_id_and_a_form() {
    for (answer, breaks) in [
        (pong(b"aa"), false),
        (reply_text(b"aa", [b'V'; 20], b""), true),
        (b"d1:rd2:id3:UUUe1:t2:aa1:y1:re".to_vec(), true),
        (b"d1:t2:aa1:y1:re".to_vec(), true),
        (b"d1:el3:203e1:t2:aa1:y1:ee".to_vec(), true),
    ] {
        let mut bench = serving();
        bench.received(node(1), PING);
        bench.send_other(node(1), &answer);
        bench.expect(breaks.then_some(WELL_FORMED));
    }
}

#[test]
fn answers_count_for_their_address_and_not_for_the_rate() {
    for (count, breaks) in [(22, false), (23, true)] {
        let mut bench = naming(Bench::serving(Scenario { rate: 20, ..Scenario::calm(1) }), &[1]);
        bench.wait(seconds(60));
        for _ in 0..count {
            bench.received(node(1), PING);
            bench.send_other(node(1), &pong(b"aa"));
        }
        bench.expect(breaks.then_some(PACE_KEPT));
    }
}

#[test]
fn utp_goes_to_named_peers_and_to_who_has_sent_some() {
    for (to_peer, called, first, breaks) in [
        (true, false, 0x41, false),
        (false, false, 0x41, true),
        (false, true, 0x21, false),
        (false, true, 0x41, true),
        (false, false, 0x21, true),
    ] {
        let (mut bench, peer) = knowing_a_peer(serving());
        let to = if to_peer { peer } else { node(9) };
        if called {
            bench.received(to, &utp(0x41, b""));
        }
        bench.send_other(to, &utp(first, b""));
        bench.drain();
        bench.expect(breaks.then_some(MATCHED_REPLIES));
    }
}

#[test]
fn a_utp_packet_is_whole_small_and_carries_data_only_as_data() {
    let (most, more) = (vec![0; 528], vec![0; 529]);
    for (packet, breaks) in [
        (utp(0x01, &most), false),
        (utp(0x01, &more), true),
        (utp(0x11, b"end"), false),
        (utp(0x21, b"end"), true),
        (utp(0x51, b""), true),
        (utp(0x42, b""), true),
        (utp(0x01, b"")[..19].to_vec(), true),
    ] {
        let (mut bench, peer) = knowing_a_peer(serving());
        bench.send_other(peer, &packet);
        bench.expect(breaks.then_some(WELL_FORMED));
    }
}

#[test]
fn limits_of_krpc_do_not_hold_for_utp() {
    let (mut bench, peer) =
        knowing_a_peer(naming(Bench::new(Scenario { rate: 5, ..Scenario::calm(1) }), &[1, 2]));
    for _ in 0..100 {
        bench.send_other(peer, &utp(0x01, b"data"));
    }
    bench.drain();
    bench.expect(None);
}

#[test]
fn the_utp_of_an_endpoint_is_a_flow_of_its_own() {
    // The bootstrap node and node 1 are two, the peer's packets a third.
    for (new_flows, breaks) in [(3, false), (2, true)] {
        let scenario = Scenario { new_flows, ..Scenario::calm(1) };
        let (mut bench, peer) = knowing_a_peer(naming(Bench::new(scenario), &[1]));
        for _ in 0..3 {
            bench.send_other(peer, &utp(0x01, b"data"));
        }
        bench.expect(breaks.then_some(PACE_KEPT));
    }
}

#[test]
fn after_shutdown_a_utp_connection_may_only_be_ended() {
    for (first, breaks) in [(0x31, false), (0x11, false), (0x01, true), (0x41, true)] {
        let (mut bench, peer) = knowing_a_peer(serving());
        bench.shut_down();
        bench.send_other(peer, &utp(first, b""));
        bench.expect(breaks.then_some(IDLE_AFTER_SHUTDOWN));
    }
}

#[test]
fn what_is_neither_krpc_nor_utp_is_not_sent() {
    for payload in [&b"hello"[..], b"", b"d1:t2:aa1:y1:xe", b"le", b"\x13BitTorrent protocol"] {
        let mut bench = serving();
        bench.send_other(node(1), payload);
        bench.expect(Some(WELL_FORMED));
    }
}

#[test]
fn counters_are_held_against_each_class() {
    type Change = fn(&mut estudely_core::Stats);
    let changes: [Change; 3] = [
        |_| {},
        |stats| stats.datagrams_sent += 1,
        // A packet or an answer that was counted as a query.
        |stats| (stats.queries_ping, stats.expired) = (stats.queries_ping + 1, stats.expired + 1),
    ];
    for (nth, change) in changes.into_iter().enumerate() {
        let (mut bench, peer) = knowing_a_peer(serving());
        bench.received(node(1), PING);
        bench.send_other(node(1), &pong(b"aa"));
        bench.send_other(peer, &utp(0x41, b""));
        change(&mut bench.stats);
        bench.drain();
        bench.expect((nth > 0).then_some(COUNTERS_BALANCE));
    }
}
