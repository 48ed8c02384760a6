//! Canaries of rules 23 and 24.

use estudely_core::session::{Ended, Failure};
use estudely_core::{Duration, Instant};

use super::super::table::snapshot;
use super::bench::{Bench, addr, seconds};
use super::{ID, id, node};
use crate::judge::rule::{ENDS_ON_TIME, IDLE_AFTER_SHUTDOWN, ROUTERS_WAIT};
use crate::net::event::Event;
use crate::world::scenario::Scenario;

/// The bootstrap node of every bench.
fn router() -> std::net::SocketAddr {
    addr("20.0.1.1:6881")
}

/// A run that was restarted at 100 s with this state; it may have contacts of node 1.
fn restarted(contacts: &[([u8; 20], std::net::SocketAddr)]) -> Bench {
    let mut bench = Bench::new(Scenario { routers: 1, ..Scenario::calm(1) });
    bench.start(None);
    let t = bench.find_node(router());
    bench.reply(router(), &t, id(9), &[(id(1), node(1))]);
    let t = bench.find_node(node(1));
    bench.reply(node(1), &t, id(1), &[]);
    let state = snapshot(ID, contacts);
    bench.saved(&state, true);
    bench.kill();
    bench.wait_until(seconds(100));
    bench.start(Some(&state));
    bench
}

#[test]
fn after_a_warm_start_a_router_is_asked_after_five_seconds_of_silence() {
    let contacts = [(id(1), node(1))];
    for (millis, broken) in [(4_999, Some(ROUTERS_WAIT)), (5_000, None)] {
        let mut bench = restarted(&contacts);
        bench.find_node(node(1));
        bench.wait(Duration::from_millis(millis));
        bench.find_node(router());
        bench.expect(broken);
    }
}

#[test]
fn a_router_waits_five_minutes_once_a_contact_has_answered() {
    for (wait, broken) in [(299, Some(ROUTERS_WAIT)), (300, None)] {
        let mut bench = restarted(&[(id(1), node(1))]);
        bench.wait(seconds(2));
        let t = bench.find_node(node(1));
        bench.reply(node(1), &t, id(1), &[]);
        bench.wait(seconds(wait));
        bench.find_node(router());
        bench.expect(broken);
    }
}

#[test]
fn a_start_without_contacts_asks_routers_at_once_and_so_does_a_node_that_was_named() {
    let mut cold = restarted(&[]);
    cold.find_node(router());
    cold.expect(None);
    let mut named = restarted(&[(id(1), node(1))]);
    let t = named.find_node(node(1));
    named.reply(node(1), &t, id(1), &[(id(9), router())]);
    named.find_node(router());
    named.expect(None);
}

fn silent(scenario: Scenario) -> Bench {
    let mut bench = Bench::new(Scenario { ends: 1, ..scenario });
    bench.start(None);
    bench.find_node(router());
    bench
}

fn failed(bench: &mut Bench) {
    let failure = Failure::NoNodeAnswered { waited: seconds(30), tried: 1 };
    bench.see(Event::ShutDown { ended: Some(Ended::Failed(failure)) });
}

#[test]
fn a_silent_run_fails_at_thirty_seconds_neither_sooner_nor_later() {
    for (millis, broken) in [(29_999, Some(ENDS_ON_TIME)), (30_000, None)] {
        let mut bench = silent(Scenario::calm(1));
        bench.wait_until(Duration::from_millis(millis));
        failed(&mut bench);
        bench.expect(broken);
    }
    for (millis, broken) in [(30_000, None), (30_001, Some(ENDS_ON_TIME))] {
        let mut bench = silent(Scenario::calm(1));
        bench.wait_until(Duration::from_millis(millis));
        bench.drain();
        bench.expect(broken);
    }
}

#[test]
fn a_run_that_was_answered_goes_on_and_must_not_fail() {
    let answered = || {
        let mut bench = Bench::new(Scenario { ends: 1, ..Scenario::calm(1) });
        bench.start(None);
        let t = bench.find_node(router());
        bench.reply(router(), &t, id(9), &[]);
        bench.wait_until(seconds(31));
        bench
    };
    let mut bench = answered();
    bench.drain();
    bench.expect(None);
    failed(&mut bench);
    bench.expect(Some(ENDS_ON_TIME));
}

#[test]
fn a_run_is_over_by_its_overall_timeout_and_does_not_end_long_before() {
    let scenario = Scenario { overall_s: 10, ..Scenario::calm(1) };
    for (millis, broken) in [(9_899, Some(ENDS_ON_TIME)), (9_900, None)] {
        let mut bench = Bench::new(scenario.clone());
        bench.start(None);
        bench.wait_until(Duration::from_millis(millis));
        bench.see(Event::ShutDown { ended: Some(Ended::Timeout) });
        bench.wait(seconds(1));
        bench.drain();
        bench.expect(broken);
    }
    let mut late = Bench::new(scenario);
    late.start(None);
    late.wait_until(Duration::from_millis(10_001));
    late.drain();
    late.expect(Some(ENDS_ON_TIME));
}

#[test]
fn no_name_resolves_only_if_nothing_was_sent() {
    let failed = Some(Ended::Failed(Failure::NoNameResolved));
    let mut bench = Bench::new(Scenario { ends: 1, ..Scenario::calm(1) });
    bench.start(None);
    bench.see(Event::ShutDown { ended: failed });
    bench.expect(None);
    let mut asked = silent(Scenario::calm(1));
    asked.see(Event::ShutDown { ended: failed });
    asked.expect(Some(ENDS_ON_TIME));
}

#[test]
fn a_run_that_ended_by_itself_sends_nothing_more_until_it_is_begun_anew() {
    let mut bench = silent(Scenario::calm(1));
    bench.wait_until(seconds(30));
    failed(&mut bench);
    bench.wait(seconds(1));
    bench.start(None);
    bench.find_node(router());
    bench.expect(None);
    bench.wait(seconds(30));
    failed(&mut bench);
    bench.find_node(router());
    bench.expect(Some(IDLE_AFTER_SHUTDOWN));
    assert!(bench.checker.broken().is_some_and(|broken| broken.at > Instant::START));
}
