//! Canaries of the classes of datagrams: answers, uTP, and what is neither.

use std::net::SocketAddr;

use estudely_core::PeerFault;

use super::bench::{Bench, RAW, addr, hash_of, reply_text, seconds};
use super::{id, naming, node};
use crate::judge::rule::*;
use crate::world::scenario::{Carries, Scenario};

/// Our id, as the bench's queries have it.
const OWN: [u8; 20] = [b'U'; 20];
/// First bytes of packets.
const DATA: u8 = 0x01;
const FIN: u8 = 0x11;
const STATE: u8 = 0x21;
const RESET: u8 = 0x31;
const SYN: u8 = 0x41;
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

/// A uTP packet of this first byte, with this after its header, of the connection of id 0.
fn utp(first: u8, rest: &[u8]) -> Vec<u8> {
    let id = u8::from(first != SYN);
    [&[first, 0, 0, id][..], &[0; 16], rest].concat()
}

/// A crawler that connects over uTP, was told of a peer and has sent it a SYN; and that peer.
fn calling(scenario: Scenario) -> (Bench, SocketAddr) {
    let scenario = Scenario { transports: Carries::Both, ..scenario };
    let (mut bench, peer) = knowing_a_peer(naming(Bench::new(scenario), &[1]));
    bench.dial_utp(1, peer);
    bench.send_other(peer, &utp(SYN, b""));
    (bench, peer)
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
fn utp_goes_to_peers_alone_that_were_named_and_dialled_over_it() {
    let (bench, _) = calling(Scenario::calm(1));
    bench.expect(None);
    for first in [DATA, FIN, STATE, RESET, SYN] {
        // Whoever sends first is answered by nothing.
        let (mut bench, _) = calling(Scenario::calm(1));
        bench.received(node(9), &utp(SYN, b""));
        bench.send_other(node(9), &utp(first, b""));
        bench.expect(Some(MATCHED_REPLIES));
        // Nor is a peer that is named, and dialled over TCP.
        let (mut bench, peer) = knowing_a_peer(naming(Bench::new(Scenario::calm(1)), &[1]));
        bench.dial(1, peer);
        bench.send_other(peer, &utp(first, b""));
        bench.expect(Some(UTP_SOUND));
    }
}

#[test]
fn where_utp_is_off_nobody_is_dialled_over_it() {
    let (mut bench, peer) = knowing_a_peer(naming(Bench::new(Scenario::calm(1)), &[1]));
    bench.dial_utp(1, peer);
    bench.expect(Some(UTP_SOUND));
}

#[test]
fn packets_carry_one_more_than_the_id_of_a_syn() {
    for (id, breaks) in [(1, false), (0, true), (2, true)] {
        let (mut bench, peer) = calling(Scenario::calm(1));
        let mut packet = utp(STATE, b"");
        packet[3] = id;
        bench.send_other(peer, &packet);
        bench.expect(breaks.then_some(UTP_SOUND));
    }
}

#[test]
fn a_peer_is_asked_three_times() {
    for (times, breaks) in [(2, false), (3, true)] {
        let (mut bench, peer) = calling(Scenario::calm(1));
        (0..times).for_each(|_| bench.send_other(peer, &utp(SYN, b"")));
        bench.expect(breaks.then_some(UTP_SOUND));
    }
}

#[test]
fn a_connection_that_is_over_is_told_so_and_nothing_else() {
    for (first, wait, breaks) in
        [(RESET, 9, false), (RESET, 10, true), (STATE, 0, true), (SYN, 0, true)]
    {
        let (mut bench, peer) = calling(Scenario::calm(1));
        bench.ended(1, Some(PeerFault::ConnectTimeout));
        bench.wait(seconds(wait));
        bench.send_other(peer, &utp(first, b""));
        bench.expect(breaks.then_some(UTP_SOUND));
    }
}

#[test]
fn a_utp_packet_is_whole_small_and_carries_data_only_as_data() {
    let (most, more) = (vec![0; 528], vec![0; 529]);
    for (packet, breaks) in [
        (utp(DATA, &most), false),
        (utp(DATA, &more), true),
        (utp(FIN, b"end"), false),
        (utp(STATE, b"end"), true),
        (utp(0x51, b""), true),
        (utp(0x42, b""), true),
        (utp(DATA, b"")[..19].to_vec(), true),
    ] {
        let (mut bench, peer) = calling(Scenario::calm(1));
        bench.send_other(peer, &packet);
        bench.expect(breaks.then_some(WELL_FORMED));
    }
}

#[test]
fn limits_of_krpc_do_not_hold_for_utp_and_its_own_do() {
    for (count, breaks) in [(99, false), (100, true)] {
        let (mut bench, peer) = calling(Scenario { rate: 5, utp_rate: 100, ..Scenario::calm(1) });
        for _ in 0..count {
            bench.send_other(peer, &utp(DATA, b"data"));
        }
        bench.drain();
        bench.expect(breaks.then_some(PACE_KEPT));
    }
}

#[test]
fn a_connection_over_utp_is_a_flow_of_its_own() {
    // The bootstrap node and node 1 are two, the connection is a third.
    for (new_flows, breaks) in [(3, false), (2, true)] {
        let (mut bench, peer) = calling(Scenario { new_flows, ..Scenario::calm(1) });
        for _ in 0..3 {
            bench.send_other(peer, &utp(DATA, b"data"));
        }
        bench.expect(breaks.then_some(PACE_KEPT));
    }
}

#[test]
fn after_shutdown_a_utp_connection_may_only_be_ended() {
    for (first, breaks) in [(RESET, false), (FIN, false), (DATA, true), (SYN, true)] {
        let (mut bench, peer) = calling(Scenario::calm(1));
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
    let changes: [Change; 6] = [
        |_| {},
        |stats| stats.datagrams_sent += 1,
        // A packet or an answer that was counted as a query.
        |stats| (stats.queries_ping, stats.expired) = (stats.queries_ping + 1, stats.expired + 1),
        |stats| stats.utp_packets_sent += 1,
        |stats| stats.utp_syns_ignored += 1,
        // Dialled over uTP, and counted as over TCP.
        |stats| (stats.utp_dialled, stats.tcp_dialled) = (0, 1),
    ];
    for (nth, change) in changes.into_iter().enumerate() {
        let (mut bench, peer) = calling(Scenario::calm(1));
        bench.received(peer, &utp(STATE, b""));
        change(&mut bench.stats);
        bench.drain();
        bench.expect((nth > 0).then_some(COUNTERS_BALANCE));
    }
}
