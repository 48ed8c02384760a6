//! When a run is over: without an answer, by its overall timeout, at its limit; and when public
//! routers have their turn after a restart. Under the whole checker, in both harnesses.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use estudely_core::limits::{ANSWER_WITHIN, RESOLVE_AGAIN, ROUTERS_AFTER, SHUTDOWN_LEAD};
use estudely_core::session::{Ended, Failure};
use estudely_core::{Duration, Family, Instant};
use estudely_sim::event::{Event, Observer};
use estudely_sim::scenario::{Harness, Scenario};
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
}

impl Observer for Notes {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        let mut seen = self.0.borrow_mut();
        match event {
            Event::Started { .. } => seen.started.push(now),
            Event::ShutDown { ended } => seen.ended.push((now, *ended)),
            Event::Sent { to, .. } => seen.sent.push((now, *to)),
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
