//! Canaries of rule 25.

use estudely_core::session::{Ended, Failure, Output};
use estudely_core::{Duration, InfoHash};

use super::bench::{Bench, addr, seconds};
use super::id;
use crate::judge::rule::{ENDS_ON_TIME, NOT_TOO_EARLY};
use crate::net::event::Event;
use crate::world::scenario::Scenario;

/// A run that has looked one infohash up, 10 s after it began.
fn looking_up(scenario: Scenario) -> Bench {
    let router = addr("20.0.1.1:6881");
    let mut bench = Bench::new(Scenario { ends: 1, ..scenario });
    bench.start(None);
    let t = bench.sample(router);
    bench.samples(router, &t, id(9), Some(60), &[[7; 20]]);
    bench.wait(seconds(10));
    bench.get_peers(router, [7; 20]);
    bench
}

fn end(bench: &mut Bench, ended: Ended) {
    bench.see(Event::ShutDown { ended: Some(ended) });
}

#[test]
fn a_run_that_rests_ends_after_its_idle_time_and_not_before() {
    for (wait, broken) in [(29, Some(NOT_TOO_EARLY)), (30, None)] {
        let mut bench = looking_up(Scenario { idle_s: 30, ..Scenario::calm(1) });
        bench.wait(seconds(1));
        bench.failed([7; 20]);
        bench.wait(seconds(wait));
        end(&mut bench, Ended::Idle);
        bench.expect(broken);
    }
}

#[test]
fn a_row_that_waits_for_the_disk_keeps_no_run_from_resting() {
    for (wait, broken) in [(29, Some(NOT_TOO_EARLY)), (30, None)] {
        let mut bench = looking_up(Scenario { idle_s: 30, ..Scenario::calm(1) });
        bench.wait(seconds(1 + wait));
        bench.disk_lag = seconds(wait);
        bench.failed([7; 20]);
        end(&mut bench, Ended::Idle);
        bench.expect(broken);
    }
}

#[test]
fn a_run_does_not_rest_while_an_infohash_or_a_connection_is_open() {
    let rested = |change: fn(&mut Bench)| {
        let mut bench = looking_up(Scenario { idle_s: 30, ..Scenario::calm(1) });
        change(&mut bench);
        bench.wait(seconds(60));
        end(&mut bench, Ended::Idle);
        bench
    };
    rested(|bench| bench.failed([7; 20])).expect(None);
    rested(|_| {}).expect(Some(NOT_TOO_EARLY));
    let dialled = rested(|bench| {
        let t = bench.get_peers(addr("20.0.1.1:6881"), [7; 20]);
        bench.values(addr("20.0.1.1:6881"), &t, &[addr("30.0.0.1:6881")]);
        bench.failed([7; 20]);
        bench.dial(1, addr("30.0.0.1:6881"));
    });
    dialled.expect(Some(NOT_TOO_EARLY));
}

#[test]
fn a_limit_is_reached_by_as_many_rows() {
    for (limit, broken) in [(1, None), (2, Some(NOT_TOO_EARLY)), (0, Some(NOT_TOO_EARLY))] {
        let mut bench = looking_up(Scenario { max_infohashes: limit, ..Scenario::calm(1) });
        bench.failed([7; 20]);
        end(&mut bench, Ended::Limit);
        bench.expect(broken);
    }
}

#[test]
fn requests_are_done_once_each_was_taken_and_has_a_row() {
    let hashes = [[3; 20], [4; 20]];
    for (given, rows, broken) in
        [(2, 2, None), (2, 1, Some(NOT_TOO_EARLY)), (1, 1, Some(NOT_TOO_EARLY))]
    {
        let scenario = Scenario { ends: 1, requests: 2, ..Scenario::calm(1) };
        let mut bench = Bench::new(scenario);
        bench.start(None);
        for hash in &hashes[..given] {
            bench.see(Event::Requested { hash: InfoHash(*hash) });
            // A request is known, although no node named it.
            bench.get_peers(addr("20.0.1.1:6881"), *hash);
        }
        hashes[..rows].iter().for_each(|hash| bench.failed(*hash));
        end(&mut bench, Ended::RequestsDone);
        bench.expect(broken);
    }
}

#[test]
fn outputs_end_a_run_only_as_they_were_and_a_loss_does_at_once() {
    let lost = Ended::Failed(Failure::OutputLost);
    for (news, ended, broken) in [
        (Some(Output::Full), Ended::OutputLimit, None),
        (Some(Output::Closed), Ended::OutputClosed, None),
        (Some(Output::Lost), lost, None),
        (Some(Output::Full), lost, Some(NOT_TOO_EARLY)),
        (None, Ended::OutputLimit, Some(NOT_TOO_EARLY)),
    ] {
        let mut bench = looking_up(Scenario::calm(1));
        news.into_iter().for_each(|news| bench.see(Event::Output(news)));
        end(&mut bench, ended);
        bench.expect(broken);
    }
    for (news, broken) in [(Output::Full, None), (Output::Closed, Some(NOT_TOO_EARLY))] {
        let mut bench = looking_up(Scenario::calm(1));
        bench.see(Event::Output(news));
        bench.drain();
        bench.expect(broken);
    }
}

#[test]
fn an_end_of_the_work_waits_until_its_rows_are_handed_on_and_no_longer() {
    let millis = Duration::from_millis;
    for (wait, broken) in [(1_999, Some(NOT_TOO_EARLY)), (2_000, None)] {
        let scenario = Scenario { max_infohashes: 1, flush_ms: 2_000, ..Scenario::calm(1) };
        let mut bench = looking_up(scenario);
        bench.failed([7; 20]);
        bench.wait(millis(wait));
        end(&mut bench, Ended::Limit);
        bench.expect(broken);
    }
    for (wait, broken) in [(3_000, None), (3_001, Some(ENDS_ON_TIME))] {
        let mut bench = looking_up(Scenario { flush_ms: 2_000, ..Scenario::calm(1) });
        bench.see(Event::Output(Output::Full));
        bench.wait(millis(wait));
        bench.drain();
        bench.expect(broken);
    }
}

#[test]
fn a_run_without_work_does_not_go_on_for_ever() {
    for (wait, broken) in [(90, None), (91, Some(ENDS_ON_TIME))] {
        let mut bench = looking_up(Scenario { idle_s: 30, ..Scenario::calm(1) });
        bench.failed([7; 20]);
        bench.wait(seconds(wait));
        bench.drain();
        bench.expect(broken);
    }
    for (wait, settled, broken) in
        [(60, true, None), (61, true, Some(ENDS_ON_TIME)), (61, false, None)]
    {
        let mut bench = looking_up(Scenario { requests: 1, ..Scenario::calm(1) });
        bench.see(Event::Requested { hash: InfoHash([7; 20]) });
        if settled {
            bench.failed([7; 20]);
        }
        bench.wait(seconds(wait));
        // Told to end or not, it should have ended by itself.
        end(&mut bench, Ended::Signal);
        bench.expect(broken);
    }
}
