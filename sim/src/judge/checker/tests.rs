//! Canaries: for each rule a run that keeps it and breaks nothing, and one that breaks it alone.

mod bench;
mod peers;

use estudely_core::Duration;

use self::bench::{Bench, addr, seconds};
use super::expected::Due;
use crate::judge::rule::*;
use crate::world::scenario::Scenario;

const ID: [u8; 20] = [0x55; 20];

fn node(n: u8) -> std::net::SocketAddr {
    addr(&format!("20.{n}.1.1:6881"))
}

fn id(n: u8) -> [u8; 20] {
    [n; 20]
}

/// A run in which the bootstrap node has named these nodes.
fn knowing(nodes: &[u8]) -> Bench {
    knowing_in(Scenario::calm(1), nodes)
}

fn knowing_in(scenario: Scenario, nodes: &[u8]) -> Bench {
    let mut bench = Bench::new(scenario);
    bench.start(None);
    for nodes in nodes.chunks(40) {
        let t = bench.find_node(node(0));
        let contacts: Vec<_> = nodes.iter().map(|n| (id(*n), node(*n))).collect();
        bench.reply(node(0), &t, id(0), &contacts);
    }
    bench
}

/// A run in which node 1 has sampled one infohash.
fn having_sampled(interval: Option<i64>) -> Bench {
    let mut bench = knowing(&[1, 2, 3]);
    sample(&mut bench, 1, id(1), interval);
    bench
}

fn sample(bench: &mut Bench, n: u8, as_id: [u8; 20], interval: Option<i64>) {
    let t = bench.sample(node(n));
    bench.samples(node(n), &t, as_id, interval, &[[7; 20]]);
}

#[test]
fn an_interval_is_kept_by_address_in_its_due_length() {
    let cases = [
        (Some(600), 600),
        (Some(0), 300),
        (Some(21_600), 21_600),
        (Some(21_601), 21_600),
        (Some(-1), 21_600),
        (None, 21_600),
    ];
    for (said, due) in cases {
        for (wait, breaks) in [(due - 1, true), (due, false)] {
            let mut bench = having_sampled(said);
            bench.wait(seconds(wait));
            bench.sample(node(1));
            bench.expect(breaks.then_some(INTERVAL_KEPT));
        }
    }
}

#[test]
fn an_interval_is_kept_by_id_unless_the_address_has_many() {
    for (ids, breaks) in [(&[1_u8][..], true), (&[1, 9], false)] {
        let mut bench = having_sampled(Some(600));
        for n in ids {
            let t = bench.find_node(node(2));
            bench.reply(node(2), &t, id(2), &[(id(*n), node(4))]);
        }
        bench.wait(seconds(60));
        bench.sample(node(4));
        bench.expect(breaks.then_some(INTERVAL_KEPT));
    }
}

#[test]
fn an_interval_outlives_a_crash_if_it_was_saved() {
    let whole = super::table::snapshot(ID, &[]);
    let torn = &b"record"[..5];
    for (kept, breaks) in [(Some(&b"record"[..]), true), (Some(torn), false), (None, false)] {
        let mut bench = knowing(&[1]);
        bench.saved(&whole, true);
        bench.wait(seconds(1));
        sample(&mut bench, 1, id(1), Some(600));
        bench.saved(b"record", false);
        let state = kept.map(|record| [&whole[..], record].concat());
        bench.kill();
        bench.wait(seconds(60));
        bench.start(state.as_deref());
        bench.sample(node(1));
        bench.expect(breaks.then_some(INTERVAL_KEPT));
    }
}

#[test]
fn a_forged_or_foreign_answer_sets_no_interval() {
    let mut bench = knowing(&[1, 2]);
    let t = bench.sample(node(1));
    bench.received(node(2), &bench::samples_text(&t, id(1), Some(600), &[[7; 20]]));
    bench.wait(seconds(10));
    bench.sample(node(1));
    bench.expect(None);
}

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
    bench.expect(Some(READ_ONLY_SILENT));
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

#[test]
fn saved_tables_are_sound() {
    let with = |contacts: &[([u8; 20], u8)]| {
        let contacts: Vec<_> = contacts.iter().map(|(id, n)| (*id, node(*n))).collect();
        super::table::snapshot(ID, &contacts)
    };
    let crowd: Vec<_> = (1..=150).map(|n| (id(n), n)).collect();
    for (state, breaks) in [
        (with(&[(id(1), 1), (id(2), 2)]), false),
        (with(&[(id(1), 1), (id(200), 200)]), true),
        (with(&[(ID, 1)]), true),
        (with(&[(id(1), 1), (id(1), 2)]), true),
        (with(&[(id(1), 1), (id(2), 1)]), true),
        (with(&crowd), true),
        (b"no state".to_vec(), true),
    ] {
        let nodes: Vec<u8> = (1..=150).collect();
        let mut bench = knowing(&nodes);
        for n in nodes {
            let t = bench.find_node(node(n));
            bench.reply(node(n), &t, id(n), &[]);
        }
        bench.saved(&state, true);
        bench.expect(breaks.then_some(TABLE_SOUND));
    }
}

#[test]
fn state_grows_with_what_there_is_to_know_only() {
    for (len, breaks) in [(100_000, false), (200_000, true)] {
        let mut bench = knowing(&[1]);
        bench.saved(&vec![0; len], false);
        bench.expect(breaks.then_some(MEMORY_BOUNDED));
    }
}

#[test]
fn a_lookup_asks_nobody_twice_and_few_at_a_time() {
    for (asked, breaks) in [(&[2, 3, 4, 5][..], false), (&[2, 3, 4, 5, 6], true)] {
        let mut bench = knowing(&[1, 2, 3, 4, 5, 6]);
        sample(&mut bench, 1, id(1), Some(600));
        asked.iter().for_each(|n| drop(bench.get_peers(node(*n), [7; 20])));
        bench.expect(breaks.then_some(WALKS_SOUND));
    }
    for (n, times, breaks) in [(1, 3, false), (1, 4, true), (2, 1, false), (2, 2, true)] {
        let mut bench = knowing(&[1, 2]);
        sample(&mut bench, 1, id(1), Some(600));
        for _ in 0..times {
            bench.get_peers(node(n), [7; 20]);
            // Somebody else answers all the time, or silence would excuse it.
            for _ in 0..3 {
                bench.wait(seconds(2));
                let t = bench.find_node(node(3 - n));
                bench.reply(node(3 - n), &t, id(3 - n), &[]);
            }
        }
        bench.expect(breaks.then_some(WALKS_SOUND));
    }
}

#[test]
fn a_clock_that_slips_excuses_no_question_put_twice_while_others_answer() {
    for (clock_stalls, answers, breaks) in
        [(1, true, true), (8, true, true), (1, false, false), (8, false, false)]
    {
        let mut bench = knowing_in(Scenario { clock_stalls, ..Scenario::calm(1) }, &[1, 2]);
        sample(&mut bench, 1, id(1), Some(600));
        bench.get_peers(node(2), [7; 20]);
        for round in 0..8 {
            bench.wait(seconds(2));
            if answers || round == 7 {
                let t = bench.find_node(node(1));
                bench.reply(node(1), &t, id(1), &[]);
            }
        }
        bench.get_peers(node(2), [7; 20]);
        bench.expect(breaks.then_some(WALKS_SOUND));
    }
}

#[test]
fn what_was_given_up_is_looked_up_again_in_its_time_only() {
    let hours = |n: u64| seconds(n * 3_600);
    for (waits, breaks) in [
        (&[hours(1)][..], false),
        (&[seconds(3_000)], true),
        (&[hours(1), hours(4), hours(24)], false),
        (&[hours(1), hours(3)], true),
        (&[hours(1), hours(4), hours(24), hours(48)], true),
    ] {
        let mut bench = having_sampled(Some(600));
        bench.failed([7; 20]);
        for wait in waits {
            bench.wait(*wait);
            bench.get_peers(node(2), [7; 20]);
        }
        bench.expect(breaks.then_some(NO_WORK_TWICE));
    }
}

#[test]
fn deadlines_lie_ahead() {
    for (timeout, breaks) in [(Some(seconds(40)), false), (None, false), (Some(seconds(28)), true)]
    {
        let mut bench = knowing(&[1]);
        bench.wait_until(seconds(30));
        bench.drain_with(timeout);
        bench.expect(breaks.then_some(DEADLINE_AHEAD));
    }
}

#[test]
fn time_runs_forwards() {
    for (settled, breaks) in [(9, false), (7, true)] {
        let mut bench = having_sampled(Some(600));
        bench.row_at([7; 20], seconds(1), seconds(8));
        bench.row_at([8; 20], seconds(1), seconds(settled));
        bench.expect(breaks.then_some(TIME_MONOTONE));
    }
    let mut bench = knowing(&[1]);
    bench.wait_until(seconds(1));
    bench.drain();
    bench.wait_until(Duration::from_millis(999));
    bench.drain();
    bench.expect(Some(TIME_MONOTONE));
}

#[test]
fn counters_equal_what_was_seen() {
    let mut bench = having_sampled(Some(600));
    bench.received(node(9), b"neither this nor that: no KRPC");
    bench.received(node(9), b"d1:rd2:id20:aaaaaaaaaaaaaaaaaaaae1:t2:aa1:y1:re");
    bench.drain();
    bench.expect(None);
    type Change = fn(&mut estudely_core::Stats);
    let changes: [Change; 8] = [
        |stats| stats.datagrams_received += 1,
        |stats| stats.datagram_bytes_sent -= 1,
        |stats| stats.malformed += 1,
        |stats| stats.unmatched -= 1,
        |stats| stats.contacts_asked += 1,
        |stats| stats.nodes_sampling -= 1,
        |stats| stats.infohashes_sampled += 1,
        |stats| stats.faults[3] += 1,
    ];
    for change in changes {
        let mut bench = having_sampled(Some(600));
        bench.received(node(9), b"d1:rd2:id20:aaaaaaaaaaaaaaaaaaaae1:t2:aa1:y1:re");
        change(&mut bench.stats);
        bench.drain_as_is();
        bench.expect(Some(COUNTERS_BALANCE));
    }
}

#[test]
fn levels_keep_within_their_bounds() {
    for (queued, breaks) in [(3, false), (20_000, true)] {
        let mut bench = knowing(&[1, 2, 3]);
        bench.stats.contacts_queued = queued;
        bench.drain_as_is();
        bench.expect(breaks.then_some(MEMORY_BOUNDED));
    }
    for (nodes, breaks) in [(1, false), (2, true)] {
        let mut bench = knowing(&[1, 2, 3]);
        bench.stats.table_nodes = nodes;
        bench.drain_as_is();
        bench.expect(breaks.then_some(TABLE_SOUND));
    }
}

#[test]
fn a_family_with_work_is_not_starved() {
    for (asked, breaks) in [(true, false), (false, true)] {
        let mut bench = Bench::new(Scenario::calm(1));
        bench.start_both();
        for round in 0..70 {
            if asked {
                bench.find_node(addr("[2a00::1]:6881"));
            }
            let t = bench.find_node(node(0));
            let far = round % 40 + 1;
            bench.reply(node(0), &t, id(0), &[(id(far), node(far))]);
            bench.wait(seconds(1));
            bench.drain();
        }
        bench.expect(breaks.then_some(FAMILIES_APART));
    }
}

#[test]
fn after_healing_the_table_fills() {
    for (nodes, hostile, wait, breaks) in [
        (8, 0, 100, None),
        (3, 0, 50, None),
        (3, 0, 100, Some(TABLE_FILLS)),
        (3, 40, 100, None),
        (3, 40, 300, Some(HOSTILITY_ONLY_SLOWS)),
        (3, 60, 300, None),
    ] {
        let known: Vec<u8> = (1..=20).collect();
        let scenario = Scenario { hostile_nodes: hostile, ..Scenario::calm(1) };
        let mut bench = knowing_in(scenario, &known);
        for n in 1..=8 {
            let t = bench.find_node(node(n));
            bench.reply(node(n), &t, id(n), &[]);
        }
        bench.truth().nodes = known.iter().map(|n| node(*n)).collect();
        bench.healed();
        bench.wait(seconds(wait));
        bench.stats.table_nodes = nodes;
        bench.drain_as_is();
        bench.expect(breaks);
    }
}

#[test]
fn every_reachable_node_is_sampled_in_the_end() {
    for (due, hostile, breaks) in [
        (1, 0, None),
        (2, 0, Some(NODES_SAMPLED)),
        (2, 50, Some(HOSTILITY_ONLY_SLOWS)),
        (2, 51, None),
    ] {
        let scenario = Scenario { hostile_peers: hostile, ..Scenario::calm(1) };
        let mut bench = knowing_in(scenario, &[1, 2]);
        sample(&mut bench, 1, id(1), Some(600));
        bench.truth().nodes = vec![node(due)];
        assert_eq!(bench.checker.pending(), None, "not before links healed");
        bench.healed();
        assert_eq!(bench.checker.pending().is_some(), due == 2 && hostile <= 50);
        assert_eq!(super::Observer::satisfied(&bench.checker), due == 1);
        bench.finish();
        bench.expect(breaks);
    }
}

#[test]
fn where_nothing_is_broken_nodes_are_sampled_soon() {
    for (loss, hostile, nodes, wait, breaks) in [
        (0, 0, 3, 100, None),
        (0, 0, 3, 200, Some(NODES_SAMPLED)),
        (0, 0, 2, 200, None),
        (0, 0, 2, 7_000, None),
        (0, 0, 2, 7_400, Some(NODES_SAMPLED)),
        (0, 40, 3, 200, None),
        (0, 40, 3, 1_000, Some(HOSTILITY_ONLY_SLOWS)),
        (1, 0, 3, 2_000, None),
    ] {
        let scenario = Scenario { loss, hostile_nodes: hostile, ..Scenario::calm(1) };
        let mut bench = knowing_in(scenario, &[1, 2, 3]);
        sample(&mut bench, 1, id(1), Some(600));
        bench.truth().nodes = (1..=nodes).map(node).collect();
        for _ in 0..2 {
            bench.wait(seconds(wait / 2));
            bench.drain();
        }
        bench.drain();
        bench.expect(breaks);
    }
}

#[test]
fn a_node_that_seemed_not_to_sample_has_an_hour_from_there_and_one_that_is_silent_a_quarter() {
    for (answers, asked_before, healed_s, breaks) in [
        (true, true, 3_600, false),
        (true, true, 4_200, true),
        (true, false, 3_600, true),
        (false, true, 1_800, false),
        (false, true, 3_600, true),
    ] {
        let mut bench = knowing(&[1, 2]);
        if asked_before {
            let t = bench.sample(node(2));
            if answers {
                bench.reply(node(2), &t, id(2), &[]);
            }
        }
        bench.truth().nodes = vec![node(2)];
        bench.wait(seconds(10));
        bench.healed();
        bench.wait(seconds(healed_s));
        bench.finish();
        bench.expect(breaks.then_some(NODES_SAMPLED));
    }
}

#[test]
fn what_failed_before_links_healed_has_until_its_second_chance() {
    for (sought, healed_s, breaks) in
        [(true, 3_600, false), (true, 4_200, true), (false, 3_600, true)]
    {
        let mut bench = having_sampled(Some(600));
        if sought {
            bench.get_peers(node(2), [7; 20]);
        }
        bench.wait(seconds(30));
        bench.failed([7; 20]);
        bench.truth().due = vec![Due { hash: [7; 20], node: node(1), peer: node(9) }];
        bench.healed();
        assert!(bench.checker.pending().is_some(), "and is waited for until the end");
        bench.wait(seconds(healed_s));
        bench.finish();
        bench.expect(breaks.then_some(TORRENTS_FOUND));
    }
}

#[test]
fn a_lookup_and_a_dial_are_repeated_only_after_a_silence() {
    for (pause, breaks) in [(seconds(7), None), (seconds(1), Some(WALKS_SOUND))] {
        let mut bench = having_sampled(Some(600));
        bench.get_peers(node(2), [7; 20]);
        bench.wait(pause);
        let t = bench.find_node(node(1));
        bench.reply(node(1), &t, id(1), &[]);
        bench.get_peers(node(2), [7; 20]);
        bench.expect(breaks);
    }
}

#[test]
fn after_shutdown_nothing_begins_and_nothing_stays() {
    let mut bench = knowing(&[1]);
    bench.shut_down();
    bench.finish();
    bench.expect(None);
    bench.find_node(node(0));
    bench.expect(Some(IDLE_AFTER_SHUTDOWN));
}
