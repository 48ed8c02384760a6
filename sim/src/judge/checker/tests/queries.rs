//! Canaries of queries: their form, pace and transactions, whom they ask and for what.

use estudely_core::Duration;

use super::bench::{self, addr, seconds};
use super::{id, knowing, knowing_in, node};
use crate::judge::rule::*;
use crate::world::scenario::Scenario;

#[test]
fn queries_end_by_their_deadline() {
    for (open, breaks) in [(0, false), (1, true)] {
        let mut bench = knowing(&[1]);
        bench.sample(node(1));
        bench.drain();
        bench.wait(seconds(6));
        bench.stats.queries_open = open;
        bench.stats.expired = 1 - open;
        bench.drain_as_is();
        bench.expect((breaks).then_some(TRANSACTIONS_BOUNDED));
    }
}

#[test]
fn transactions_are_fresh() {
    for (second, breaks) in [(b"000002", false), (b"000001", true)] {
        let mut bench = knowing(&[1, 2]);
        bench.send(node(1), &bench::query(b"000001", "sample_infohashes"));
        bench.send(node(2), &bench::query(second, "sample_infohashes"));
        bench.expect(breaks.then_some(WELL_FORMED));
    }
}

#[test]
fn only_matched_answers_lead_anywhere() {
    for (from, breaks) in [(1, false), (2, true)] {
        let mut bench = knowing(&[1, 2]);
        let t = bench.sample(node(1));
        bench.received(node(from), &bench::samples_text(&t, id(1), Some(600), &[[7; 20]]));
        bench.get_peers(node(1), [7; 20]);
        bench.expect(breaks.then_some(MATCHED_REPLIES));
    }
    let mut bench = knowing(&[1]);
    bench.sample(node(2));
    bench.expect(Some(MATCHED_REPLIES));
}

#[test]
fn an_answer_leads_somewhere_until_fifteen_seconds_after_its_query() {
    for (after, breaks) in [(14_900, false), (15_100, true)] {
        let mut bench = knowing(&[1]);
        let t = bench.sample(node(1));
        bench.drain();
        bench.wait(seconds(6));
        bench.drain();
        bench.wait(Duration::from_millis(after - 6_000));
        bench.samples(node(1), &t, id(1), Some(600), &[[7; 20]]);
        bench.drain();
        bench.get_peers(node(1), [7; 20]);
        bench.drain();
        bench.expect(breaks.then_some(MATCHED_REPLIES));
    }
}

#[test]
fn samples_that_come_late_begin_an_interval() {
    for (rest, breaks) in [(599, true), (600, false)] {
        let mut bench = knowing(&[1]);
        let t = bench.sample(node(1));
        bench.drain();
        bench.wait(seconds(6));
        bench.drain();
        bench.wait(seconds(1));
        bench.samples(node(1), &t, id(1), Some(600), &[[7; 20]]);
        bench.drain();
        bench.wait(seconds(rest));
        bench.sample(node(1));
        bench.expect(breaks.then_some(INTERVAL_KEPT));
    }
}

#[test]
fn an_infohash_read_at_a_wrong_stride_is_one_that_nobody_sampled() {
    let mut bench = knowing(&[1]);
    let t = bench.sample(node(1));
    bench.samples(node(1), &t, id(1), Some(600), &[[7; 20], [8; 20]]);
    let mut between = [7; 20];
    between[19] = 8;
    bench.get_peers(node(1), between);
    bench.expect(Some(MATCHED_REPLIES));
}

#[test]
fn the_rate_holds_in_every_second() {
    for (count, breaks) in [(20, false), (21, true)] {
        let nodes: Vec<u8> = (1..=count).collect();
        let mut bench = knowing_in(Scenario { rate: 20, ..Scenario::calm(1) }, &nodes);
        bench.wait(seconds(2));
        for n in nodes {
            bench.sample(node(n));
        }
        bench.expect(breaks.then_some(PACE_KEPT));
    }
}

#[test]
fn an_address_gets_22_at_once_and_18_more_in_ten_seconds() {
    for (count, wait, breaks) in [(22, 0, false), (23, 0, true), (20, 556, false), (20, 400, true)]
    {
        let mut bench = knowing(&[1]);
        bench.wait(seconds(60));
        for _ in 0..count {
            bench.ping_like(node(1));
        }
        for _ in 0..if wait == 0 { 0 } else { 10 } {
            bench.wait(Duration::from_millis(wait));
            bench.ping_like(node(1));
        }
        bench.expect(breaks.then_some(PACE_KEPT));
    }
}

#[test]
fn nobody_is_sampled_while_a_sample_query_is_open() {
    for (wait, breaks) in [(6, false), (5, true)] {
        let mut bench = knowing(&[1]);
        bench.sample(node(1));
        bench.wait(seconds(wait));
        bench.sample(node(1));
        bench.expect(breaks.then_some(PACE_KEPT));
    }
}

#[test]
fn new_flows_hold_in_every_minute() {
    for (count, breaks) in [(10, false), (11, true)] {
        let nodes: Vec<u8> = (1..=count).collect();
        let mut bench = knowing_in(Scenario { new_flows: 10, ..Scenario::calm(1) }, &nodes);
        bench.wait(seconds(60));
        for n in nodes {
            bench.sample(node(n));
            bench.wait(seconds(1));
        }
        bench.expect(breaks.then_some(PACE_KEPT));
    }
}

#[test]
fn nothing_goes_to_addresses_that_nobody_can_own() {
    for (text, breaks) in [
        ("20.9.1.1:6881", false),
        ("20.9.1.1:0", true),
        ("20.9.1.1:53", true),
        ("127.0.0.1:6881", true),
        ("10.0.0.1:6881", true),
        ("224.0.0.1:6881", true),
        ("9.9.9.9:6881", true),
        ("[2a00::1]:6881", true),
    ] {
        let to = addr(text);
        let mut bench = knowing(&[1]);
        let t = bench.sample(node(1));
        bench.reply(node(1), &t, id(1), &[(id(9), to)]);
        bench.find_node(to);
        bench.expect(breaks.then_some(ADMISSIBLE));
    }
}

#[test]
fn queries_are_canonical_read_only_and_from_one_id() {
    let good = String::from_utf8_lossy(&bench::query(b"000001", "find_node")).into_owned();
    let long = "1:v1001:".to_owned() + &"x".repeat(1_001);
    for (text, breaks) in [
        (good.clone(), false),
        (good.replace("2:roi1e", ""), true),
        (good.replace("2:roi1e", "2:roi01e"), true),
        (good.replace("1:q9:find_node", "1:q13:announce_peer"), true),
        (good.replace("6:target", "6:tarset"), true),
        (good.replace("UUUUUUUUUUUUUUUUUUUU", "VVVVVVVVVVVVVVVVVVVV"), true),
        (good.replace("1:t6:000001", "1:t0:"), true),
        (good.clone() + "x", true),
    ] {
        let mut bench = knowing(&[1]);
        bench.send(node(1), text.as_bytes());
        bench.expect(breaks.then_some(WELL_FORMED));
    }
    let mut bench = knowing(&[1]);
    bench.send(node(1), good.replace("1:y1:q", &(long + "1:y1:q")).as_bytes());
    let rules: Vec<_> = bench.checker.broken_rules().collect();
    assert_eq!(rules, [PACE_KEPT.name, WELL_FORMED.name], "too long");
}

#[test]
fn nothing_is_answered() {
    let mut bench = knowing(&[1]);
    bench.received(node(1), b"d1:ad2:id20:aaaaaaaaaaaaaaaaaaaae1:q4:ping1:t2:aa1:y1:qe");
    bench.expect(None);
    bench.send(node(1), b"d1:rd2:id20:UUUUUUUUUUUUUUUUUUUUe1:t2:aa1:y1:re");
    bench.expect(Some(ANSWERS_IN_ORDER));
}

#[test]
fn only_nodes_that_answered_are_pinged() {
    for (n, breaks) in [(0, false), (1, true)] {
        let mut bench = knowing(&[1]);
        bench.ping(node(n));
        // The bootstrap node may be asked anything.
        bench.expect(breaks.then_some(TABLE_SOUND));
    }
}
