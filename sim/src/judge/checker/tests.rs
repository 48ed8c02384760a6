//! Canaries: for each rule a run that keeps it and breaks nothing, and one that breaks it alone.

mod bench;
mod classes;
mod ends;
mod honest;
mod liveness;
mod peers;
mod queries;
mod session;

use estudely_core::Duration;

use self::bench::{Bench, addr, seconds};
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
    naming(Bench::new(scenario), nodes)
}

/// The bootstrap node names these nodes to a crawler that begins.
fn naming(mut bench: Bench, nodes: &[u8]) -> Bench {
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
            // Another node answers all the time, or silence would excuse it.
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
fn second_chances_are_counted_from_when_a_row_was_given_out() {
    for (looks, writes, breaks) in [
        // Written late, and even after the second chance has begun.
        (&[3_600][..], 10, false),
        (&[3_590], 10, true),
        (&[3_600, 3_601], 3_602, false),
        (&[3_590], 3_602, true),
        (&[3_600, 3_601, 3_600 + 4 * 3_600], 3_602, false),
    ] {
        let mut bench = having_sampled(Some(600));
        let mut written = false;
        for at in looks {
            if !written && writes < *at {
                written = write_at(&mut bench, writes);
            }
            bench.wait_until(seconds(100 + at));
            bench.get_peers(node(2 + (*at % 2) as u8), [7; 20]);
        }
        let _ = written || write_at(&mut bench, writes);
        bench.expect(breaks.then_some(NO_WORK_TWICE));
    }
}

/// Writes the row that was given out at 100 s `late` seconds later.
fn write_at(bench: &mut Bench, late: u64) -> bool {
    bench.wait_until(seconds(100 + late));
    bench.disk_lag = seconds(late);
    bench.row_at([7; 20], seconds(99), seconds(100));
    true
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
fn a_run_that_was_told_to_end_may_take_an_answer_however_late() {
    for (new, breaks) in [(1, false), (2, true)] {
        let mut bench = knowing(&[1]);
        let t = bench.sample(node(1));
        bench.shut_down();
        bench.wait(seconds(30));
        bench.samples(node(1), &t, id(1), Some(600), &[[7; 20]]);
        bench.start(None);
        bench.stats.infohashes_new = new;
        bench.drain_as_is();
        bench.expect(breaks.then_some(COUNTERS_BALANCE));
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
