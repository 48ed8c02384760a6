//! Canaries of what must come in the end, or soon: rules 20 and a to e.

use super::bench::{Bench, addr, seconds};
use super::{having_sampled, id, knowing, knowing_in, node, sample};
use crate::judge::checker::expected::Due;
use crate::judge::rule::*;
use crate::net::event::Observer;
use crate::world::scenario::Scenario;

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

/// Found by the simulator: seed 939, in which many nodes never answered.
#[test]
fn contacts_of_a_node_that_named_silent_ones_only_are_no_work() {
    let far = |n: u8| addr(&format!("[2a00:{n}::1]:6881"));
    let namer = addr("[2a00::1]:6881");
    for (answers, breaks) in [(false, false), (true, true)] {
        let mut bench = Bench::new(Scenario::calm(1));
        bench.start_both();
        let t = bench.find_node(namer);
        bench.reply(namer, &t, id(1), &[2, 3, 4].map(|n| (id(n), far(n))));
        for n in [2, 3, 4] {
            let t = bench.find_node(far(n));
            if answers && n == 4 {
                bench.reply(far(n), &t, id(n), &[]);
            }
        }
        bench.wait(seconds(7));
        bench.drain();
        let t = bench.find_node(namer);
        let more: Vec<_> = (10..20).map(|n| (id(n), far(n))).collect();
        bench.reply(namer, &t, id(1), &more);
        for _ in 0..70 {
            let t = bench.find_node(node(0));
            bench.reply(node(0), &t, id(0), &[]);
            bench.wait(seconds(1));
            bench.drain();
        }
        bench.expect(breaks.then_some(FAMILIES_APART));
    }
}

/// Found by the simulator: seed 1011, in which no peer served the few infohashes of a limit.
#[test]
fn a_limit_on_infohashes_promises_so_many_rows_and_no_torrent_beyond_them() {
    for (rows, breaks) in [(0, true), (1, false)] {
        let scenario = Scenario { max_infohashes: 1, ..Scenario::calm(1) };
        let mut bench = knowing_in(scenario, &[1]);
        sample(&mut bench, 1, id(1), Some(600));
        bench.truth().due = vec![Due { hash: [8; 20], node: node(1), peer: node(9) }];
        bench.healed();
        (0..rows).for_each(|_| bench.failed([7; 20]));
        bench.finish();
        bench.expect(breaks.then_some(TORRENTS_FOUND));
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
        assert_eq!(Observer::satisfied(&bench.checker), due == 1);
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
fn after_shutdown_nothing_begins_and_nothing_stays() {
    let mut bench = knowing(&[1]);
    bench.shut_down();
    bench.finish();
    bench.expect(None);
    bench.find_node(node(0));
    bench.expect(Some(IDLE_AFTER_SHUTDOWN));
}
