//! When a run is over: without an answer, by its overall timeout, at its limit, at rest, with its
//! last request, by its outputs; how long an end may take; and when public routers have their turn
//! after a restart. Under the whole checker, in both harnesses.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;

use estudely_core::limits::{
    ANSWER_WITHIN, RESOLVE_AGAIN, ROUTERS_AFTER, SHUTDOWN_GRACE, SHUTDOWN_LEAD,
};
use estudely_core::session::{Ended, Failure};
use estudely_core::{Duration, Family, InfoHash, Instant, Verdict};
use estudely_sim::event::{Event, Observer};
use estudely_sim::scenario::{Harness, OutputFate, Scenario};
use estudely_sim::universe::Universe;
use estudely_sim::{direct, gateway};

/// A step of turmoil's time.
const TICK: Duration = Duration::from_millis(1);

/// What happened to the run as such, and when datagrams left.
#[derive(Clone, Default)]
struct Notes(Rc<RefCell<Seen>>);

#[derive(Default)]
struct Seen {
    started: Vec<Instant>,
    ended: Vec<(Instant, Option<Ended>)>,
    sent: Vec<(Instant, SocketAddr)>,
    rows: Vec<(Instant, InfoHash, bool)>,
    /// When the outputs took no more rows.
    lost: Option<Instant>,
    /// When connections ended.
    closed: Vec<Instant>,
    /// When the state was written whole.
    saved: Vec<Instant>,
}

impl Observer for Notes {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        let mut seen = self.0.borrow_mut();
        match event {
            Event::Started { .. } => seen.started.push(now),
            Event::ShutDown { ended } => seen.ended.push((now, *ended)),
            Event::Sent { to, .. } => seen.sent.push((now, *to)),
            Event::Row { row, .. } => {
                let verified = matches!(row.verdict, Verdict::Verified { .. });
                seen.rows.push((now, row.infohash, verified));
            }
            Event::Output(_) => seen.lost = Some(now),
            Event::Ended { .. } => seen.closed.push(now),
            Event::Saved { whole: true, .. } => seen.saved.push(now),
            _ => {}
        }
    }
}

/// What was seen of the run in each harness.
fn played(scenario: &Scenario) -> [Seen; 2] {
    let universe = Rc::new(Universe::build(scenario).expect("a world"));
    [direct::run::<Notes>, gateway::run::<Notes>].map(|run| {
        let notes = Notes::default();
        let _ = run(scenario, Rc::clone(&universe), notes.clone());
        notes.0.take()
    })
}

/// Nothing is broken, whatever moves the bytes.
fn holds(scenario: &Scenario) {
    for harness in [Harness::Direct, Harness::Turmoil] {
        let scenario = Scenario { harness, ..scenario.clone() };
        let report = estudely_sim::verdict::run(&scenario, &Default::default()).expect("a world");
        assert_eq!(report.verdict.failure, None, "{scenario}");
    }
}

fn small() -> Scenario {
    Scenario { nodes: 60, torrents: 20, broken_s: 20, healed_s: 200, ends: 1, ..Scenario::calm(5) }
}

/// The one end of each run, which must fall on `at`.
fn ends_at(scenario: &Scenario, at: Duration) -> [Option<Ended>; 2] {
    holds(scenario);
    played(scenario).map(|seen| {
        let [(when, ended)] = seen.ended[..] else { panic!("{:?}", seen.ended) };
        let late = when.since(Instant::START + at);
        assert!(when >= Instant::START + at && late <= TICK, "{when:?} instead of {at:?}");
        assert!(seen.sent.iter().all(|(sent, _)| *sent <= when), "sent after the end");
        ended
    })
}

#[test]
fn a_run_whose_bootstrap_nodes_stay_silent_fails_after_thirty_seconds() {
    let failure = Failure::NoNodeAnswered { waited: ANSWER_WITHIN, tried: 3 };
    let expected = Some(Ended::Failed(failure));
    assert_eq!(ends_at(&Scenario { silent_s: 60, ..small() }, ANSWER_WITHIN), [expected; 2]);
}

#[test]
fn bootstrap_nodes_that_wake_in_time_are_enough() {
    holds(&Scenario { silent_s: 15, ..small() });
    let scenario = Scenario { silent_s: 15, ..small() };
    for seen in played(&scenario) {
        assert!(seen.ended.iter().all(|(_, ended)| *ended == Some(Ended::Signal)));
    }
}

#[test]
fn the_overall_timeout_ends_a_run_in_time_and_cleanly() {
    let most = Duration::from_secs(40);
    let scenario = Scenario { overall_s: 40, ..small() };
    assert_eq!(ends_at(&scenario, most - SHUTDOWN_LEAD), [Some(Ended::Timeout); 2]);
}

#[test]
fn a_limit_ends_a_run_once_its_infohashes_are_settled() {
    let scenario = Scenario { max_infohashes: 5, ..small() };
    holds(&scenario);
    for seen in played(&scenario) {
        assert!(matches!(seen.ended[..], [(_, Some(Ended::Limit))]), "{:?}", seen.ended);
    }
}

#[test]
fn names_alone_that_do_not_resolve_fail_at_once_and_late_ones_are_waited_for() {
    let takes = Duration::from_millis(300);
    let names = Scenario { names_ms: 300, ..small() };
    let never = Scenario { names_fail: 100, ..names.clone() };
    assert_eq!(ends_at(&never, takes), [Some(Ended::Failed(Failure::NoNameResolved)); 2]);
    // A run that does not end by itself asks once more.
    let later = Scenario { names_fail: 1, ends: 0, ..names };
    holds(&later);
    for seen in played(&later) {
        let first = Instant::START + RESOLVE_AGAIN + takes;
        let (sent, _) = seen.sent[0];
        assert!(sent >= first && sent.since(first) <= 2 * TICK, "{sent:?}");
    }
}

#[test]
fn after_a_restart_with_contacts_routers_are_left_alone() {
    let scenario =
        Scenario { routers: 1, crashes: 2, broken_s: 400, nodes: 200, ..Scenario::calm(5) };
    holds(&scenario);
    let universe = Universe::build(&scenario).expect("a world");
    let routers = universe.bootstrap(Family::V4);
    for seen in played(&scenario) {
        let [_, restarts @ ..] = &seen.started[..] else { panic!("never started") };
        assert_eq!(restarts.len(), 2);
        // The first restart comes before contacts were saved, and is given its routers at once. The
        // second has contacts of runs that knew their routers, and begins with those.
        let start = restarts[1];
        let (at, to) = seen.sent.iter().find(|(at, _)| *at >= start).expect("it asks");
        assert!(at.since(start) < ROUTERS_AFTER, "{at:?}");
        assert!(!routers.contains(to), "{to} is a router");
    }
}

/// The one end of a run.
fn end_of(seen: &Seen) -> (Instant, Ended) {
    let [(at, Some(ended))] = seen.ended[..] else { panic!("{:?}", seen.ended) };
    (at, ended)
}

#[test]
fn a_run_at_rest_ends_once_it_has_found_everything() {
    let scenario = Scenario { idle_s: 30, healed_s: 600, ..small() };
    holds(&scenario);
    let universe = Universe::build(&scenario).expect("a world");
    for seen in played(&scenario) {
        let (at, ended) = end_of(&seen);
        assert_eq!(ended, Ended::Idle);
        let (last, ..) = seen.rows.last().expect("rows");
        assert!(at.since(*last) >= Duration::from_secs(30), "{at:?} after a row at {last:?}");
        let found = |hash| seen.rows.iter().any(|row| row.1 == hash && row.2);
        assert!(universe.truth().due().all(|(hash, _)| found(hash)));
    }
}

#[test]
fn a_run_ends_with_the_last_of_its_requests_and_looks_nothing_else_up() {
    let scenario = Scenario { requests: 12, ..small() };
    holds(&scenario);
    let universe = Universe::build(&scenario).expect("a world");
    let world = universe.world(Family::V4).expect("a DHT of IPv4");
    let asked: BTreeSet<InfoHash> = (0..12).map(|number| world.key(number)).collect();
    for seen in played(&scenario) {
        let (at, ended) = end_of(&seen);
        assert_eq!(ended, Ended::RequestsDone);
        let settled: BTreeSet<InfoHash> = seen.rows.iter().map(|row| row.1).collect();
        assert_eq!(settled, asked);
        assert!(seen.rows.iter().all(|row| row.2), "every peer serves");
        assert_eq!(seen.rows.last().map(|row| row.0), Some(at));
    }
}

#[test]
fn outputs_that_are_lost_end_a_run_at_once_and_full_ones_once_they_are_flushed() {
    for (output, flush_ms, expected) in [
        (OutputFate::Closed, 3_000, Ended::OutputClosed),
        (OutputFate::Lost, 3_000, Ended::Failed(Failure::OutputLost)),
        (OutputFate::Full, 3_000, Ended::OutputLimit),
    ] {
        let scenario = Scenario { output, output_rows: 7, flush_ms, ..small() };
        holds(&scenario);
        for seen in played(&scenario) {
            let (at, ended) = end_of(&seen);
            assert_eq!((ended, seen.rows.len()), (expected, 7));
            let lost = seen.lost.expect("they take no more");
            let wait = if output == OutputFate::Full { flush_ms.into() } else { 0 };
            let wait = Duration::from_millis(wait);
            assert!(at >= lost + wait && at.since(lost + wait) <= TICK, "{lost:?} {at:?}");
        }
    }
}

/// A limit is reached, and the last rows are on their way for two seconds.
#[test]
fn a_run_whose_work_is_done_waits_for_its_last_rows_to_be_handed_on() {
    let scenario = Scenario { max_infohashes: 5, flush_ms: 2_000, ..small() };
    holds(&scenario);
    for seen in played(&scenario) {
        let (at, ended) = end_of(&seen);
        assert_eq!(ended, Ended::Limit);
        let last = seen.rows.last().expect("rows").0 + Duration::from_secs(2);
        assert!(at >= last && at.since(last) <= TICK, "{last:?} {at:?}");
    }
}

#[test]
fn connections_that_are_cut_off_are_waited_for_and_no_longer_than_the_grace() {
    for (cut_ms, waits) in [(0, 0), (700, 700), (60_000, SHUTDOWN_GRACE.as_millis() as u64)] {
        // In the middle of its work.
        let scenario = Scenario { overall_s: 3, rate: 100, dead_peers: 90, cut_ms, ..small() };
        holds(&scenario);
        for seen in played(&scenario) {
            let (at, ended) = end_of(&seen);
            assert_eq!(ended, Ended::Timeout);
            assert!(seen.closed.contains(&at), "connections were open");
            let (saved, waits) = (seen.saved.last().copied(), Duration::from_millis(waits));
            let over = saved.expect("the state of a run that is over").since(at);
            assert!(over >= waits && over <= waits + TICK, "{cut_ms}: {over:?}");
        }
    }
}

/// Worlds as drawn, in which runs enter and end in every way. Long sweeps take the same options:
/// `sim --seeds 1000 --routers 1 --crashes 2`.
#[test]
fn runs_enter_and_end_as_they_must_in_worlds_as_drawn() {
    let settings: [fn(&mut Scenario); 4] = [
        |world| (world.ends, world.routers) = (1, 1),
        |world| (world.routers, world.crashes) = (1, 3),
        |world| (world.ends, world.names_ms, world.names_fail) = (1, 2_000, 1),
        |world| (world.routers, world.names_ms, world.crashes) = (1, 9_000, 2),
    ];
    for (seed, change) in (9_000..).zip(settings.iter().cycle().take(12)) {
        let mut scenario = Scenario { harness: Harness::Direct, ..Scenario::draw(seed) };
        change(&mut scenario);
        let report = estudely_sim::verdict::run(&scenario, &Default::default()).expect("a world");
        assert_eq!(report.verdict.failure, None, "{scenario}");
    }
}
