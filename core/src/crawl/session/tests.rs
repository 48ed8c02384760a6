//! Every transition of a run, in virtual time.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::dht::bootstrap::Bootstrap;
use crate::limits::{
    ANSWER_WITHIN, BOOTSTRAPS_MAX, RESOLVE_AGAIN, ROUTERS_AFTER, ROUTERS_AFTER_QUIET,
    SAVE_AT_THE_END, SAVE_IN_A_HURRY,
};

const CRAWL: Terms = Terms {
    goal: Goal::Crawl,
    start: Start::Cold,
    answer_within: Some(ANSWER_WITHIN),
    overall_timeout: None,
    until_idle: None,
};
const FETCH: Terms = Terms { goal: Goal::Requests, ..CRAWL };
const WARM: Terms = Terms { start: Start::Warm, ..CRAWL };
const NAME: Door = Door::Name(Bootstrap::Node);

/// A crawl under way that nobody has answered.
const SILENT: Facts = Facts {
    progress: Progress { replies: [Some(0); 2], asked: 0, dialled: 0, work: Work::Busy },
    requests: Requests::NONE,
};

fn addr(host: u8) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(192, 0, 2, host), 6881))
}

fn node(host: u8) -> Door {
    Door::Address(addr(host), Bootstrap::Node)
}

fn router(host: u8) -> Door {
    Door::Address(addr(host), Bootstrap::Router)
}

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1_000)
}

fn after(duration: Duration) -> Instant {
    Instant::START + duration
}

fn just_before(instant: Instant) -> Instant {
    Instant::from_micros(instant.as_micros() - 1)
}

/// Of nodes that all are of the one family.
fn facts(replies: u64, work: Work) -> Facts {
    let replies = [Some(replies), None];
    Facts { progress: Progress { replies, work, ..SILENT.progress }, ..SILENT }
}

fn asked_for(supply: Supply, given: Given, dialled: u64, work: Work) -> Facts {
    Facts {
        progress: Progress { dialled, work, ..SILENT.progress },
        requests: Requests { supply, given },
    }
}

fn begin(terms: Terms, doors: &[Door]) -> Session {
    Session::new(terms, doors, Instant::START)
}

/// A run to which a node has answered.
fn answered(terms: Terms) -> Session {
    let mut session = begin(terms, &[node(1)]);
    session.handle_datagram(addr(1));
    session.handle_turn(Instant::START, &SILENT);
    steps(&mut session);
    session
}

fn steps(session: &mut Session) -> Vec<Step> {
    std::iter::from_fn(|| session.poll_step()).collect()
}

/// The end once it is settled, if it was just settled.
fn ends(session: &mut Session) -> Option<Ended> {
    let ended = session.ended();
    assert_eq!(steps(session).contains(&Step::ShutDown), ended.is_some());
    ended
}

#[test]
fn addresses_are_entered_at_once_and_names_as_they_resolve() {
    let mut session = begin(CRAWL, &[node(1), NAME, router(2)]);
    let expected = [
        Step::Enter(addr(1), Bootstrap::Node),
        Step::Resolve(1),
        Step::Enter(addr(2), Bootstrap::Router),
    ];
    assert_eq!(steps(&mut session), expected);
    // What is known already is not handed out twice.
    session.handle_resolved(at(20), 1, &[addr(1), addr(3)]);
    assert_eq!(steps(&mut session), [Step::Enter(addr(3), Bootstrap::Node)]);
    let report = session.bootstrap();
    assert_eq!((report.names_resolved, report.addresses_tried), (1, 3));
}

#[test]
fn names_are_asked_again_every_ten_seconds_until_a_node_answers() {
    let mut session = begin(CRAWL, &[NAME, node(1)]);
    steps(&mut session);
    assert!(session.handle_unresolved(at(1), 0), "the first failure is news");
    let due = after(RESOLVE_AGAIN);
    assert_eq!(session.poll_timeout(), Some((due, Due::Names)));
    session.handle_turn(just_before(due), &SILENT);
    assert_eq!(steps(&mut session), []);
    session.handle_turn(due, &SILENT);
    assert_eq!(steps(&mut session), [Step::Resolve(0)]);
    assert!(!session.handle_unresolved(due, 0), "a later one is not");
    session.handle_datagram(addr(1));
    session.handle_datagram(addr(1));
    let answered = Progress { replies: [Some(1), None], ..SILENT.progress };
    session.handle_turn(after(RESOLVE_AGAIN * 2), &Facts { progress: answered, ..SILENT });
    assert_eq!(steps(&mut session), [Step::Begin]);
    assert_eq!(session.poll_timeout(), None);
    assert_eq!((session.bootstrap().answered, session.bootstrap().names_failed), (1, 1));
}

#[test]
fn a_name_that_is_still_being_resolved_is_not_asked_a_second_time() {
    let mut session = begin(CRAWL, &[NAME]);
    assert_eq!(steps(&mut session), [Step::Resolve(0)]);
    session.handle_turn(after(RESOLVE_AGAIN), &SILENT);
    assert_eq!(steps(&mut session), []);
    assert!(session.is_working());
}

#[test]
fn no_more_addresses_are_kept_than_there_may_be() {
    let doors = vec![NAME; BOOTSTRAPS_MAX + 1];
    let mut session = begin(CRAWL, &doors);
    assert_eq!(steps(&mut session).len(), BOOTSTRAPS_MAX);
    let many: Vec<_> =
        (0..=u16::MAX).map(|port| SocketAddr::from(([192, 0, 2, 1], port))).collect();
    session.handle_resolved(at(1), 0, &many);
    assert_eq!(steps(&mut session).len(), BOOTSTRAPS_MAX);
}

#[test]
fn after_a_warm_start_routers_wait_five_seconds_for_an_answer_and_named_nodes_do_not() {
    let mut session = begin(WARM, &[node(1), router(2), Door::Name(Bootstrap::Router)]);
    assert_eq!(steps(&mut session), [Step::Enter(addr(1), Bootstrap::Node)]);
    let due = after(ROUTERS_AFTER);
    assert_eq!(session.poll_timeout(), Some((due, Due::Routers)));
    session.handle_turn(just_before(due), &SILENT);
    assert_eq!(steps(&mut session), []);
    session.handle_turn(due, &SILENT);
    let released = [Step::Enter(addr(2), Bootstrap::Router), Step::Resolve(2)];
    assert_eq!(steps(&mut session), released);
    assert!(session.handle_unresolved(due, 2), "it is the first round for routers");
}

#[test]
fn routers_wait_five_minutes_once_a_contact_has_answered() {
    let mut session = begin(WARM, &[router(1)]);
    session.handle_turn(at(4_000), &facts(1, Work::Busy));
    assert_eq!(steps(&mut session), [Step::Begin]);
    session.handle_turn(at(100_000), &facts(1, Work::Busy));
    let due = at(4_000) + ROUTERS_AFTER_QUIET;
    assert_eq!(session.poll_timeout(), Some((due, Due::Routers)));
    session.handle_turn(just_before(due), &facts(1, Work::Busy));
    assert_eq!(steps(&mut session), []);
    session.handle_turn(due, &facts(1, Work::Busy));
    assert_eq!(steps(&mut session), [Step::Enter(addr(1), Bootstrap::Router)]);
}

#[test]
fn routers_are_never_asked_while_contacts_go_on_answering() {
    let mut session = begin(WARM, &[router(1)]);
    for minute in 0..60 {
        session.handle_turn(at(minute * 60_000), &facts(minute + 1, Work::Busy));
    }
    assert_eq!(steps(&mut session), [Step::Begin]);
}

#[test]
fn routers_of_a_silent_family_do_not_wait_for_the_other() {
    let sixth = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 6], 6881));
    let doors = [router(1), Door::Address(sixth, Bootstrap::Router), Door::Name(Bootstrap::Router)];
    let heard = |v4, v6| {
        let replies = [Some(v4), Some(v6)];
        Facts { progress: Progress { replies, ..SILENT.progress }, ..SILENT }
    };
    let mut session = begin(WARM, &doors);
    session.handle_turn(at(4_000), &heard(1, 0));
    assert_eq!(steps(&mut session), [Step::Begin]);
    let due = after(ROUTERS_AFTER);
    assert_eq!(session.poll_timeout(), Some((due, Due::Routers)));
    session.handle_turn(due, &heard(2, 0));
    let entered = [Step::Enter(sixth, Bootstrap::Router), Step::Resolve(2)];
    assert_eq!(steps(&mut session), entered);
    // The name leads to both: the answering family goes on without routers.
    let other = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7], 6881));
    session.handle_resolved(due, 2, &[addr(2), other]);
    assert_eq!(steps(&mut session), [Step::Enter(other, Bootstrap::Router)]);
    // Nor are names asked again and again for a family that no host may reach from here.
    let quiet = due + ROUTERS_AFTER_QUIET;
    assert_eq!(session.poll_timeout(), Some((quiet, Due::Routers)));
    session.handle_turn(just_before(quiet), &heard(2, 9));
    assert_eq!(steps(&mut session), []);
    session.handle_turn(quiet, &heard(2, 10));
    let entered = [Step::Enter(addr(1), Bootstrap::Router), Step::Resolve(2)];
    assert_eq!(steps(&mut session), entered);
    session.handle_resolved(quiet, 2, &[addr(2), other]);
    assert_eq!(steps(&mut session), [Step::Enter(addr(2), Bootstrap::Router)]);
}

#[test]
fn a_name_that_never_led_anywhere_is_asked_more_and_more_seldom_while_a_family_is_silent() {
    let heard = |v4, v6| {
        let replies = [Some(v4), Some(v6)];
        Facts { progress: Progress { replies, ..SILENT.progress }, ..SILENT }
    };
    let mut session = begin(WARM, &[NAME, NAME]);
    assert_eq!(steps(&mut session), [0, 1].map(Step::Resolve));
    session.handle_resolved(at(1), 0, &[addr(1)]);
    assert!(session.handle_unresolved(at(1), 1));
    session.handle_turn(at(1), &heard(1, 0));
    let entered = [Step::Enter(addr(1), Bootstrap::Node), Step::Begin];
    assert_eq!(steps(&mut session), entered);
    let mut due = after(RESOLVE_AGAIN);
    for (replies, pause) in (2..).zip([2, 4, 8, 16, 32, 64, 128, 256, 360, 360]) {
        assert_eq!(session.poll_timeout(), Some((due, Due::Names)));
        session.handle_turn(due, &heard(replies, 0));
        assert_eq!(steps(&mut session), [Step::Resolve(1)], "the other one has led somewhere");
        assert!(!session.handle_unresolved(due, 1));
        due = due + RESOLVE_AGAIN * pause;
    }
    session.handle_turn(just_before(due), &heard(99, 1));
    assert_eq!((steps(&mut session), session.poll_timeout()), (vec![], None));
}

#[test]
fn routers_of_a_family_that_is_off_are_not_resolved_for_its_silence() {
    let mut session = begin(WARM, &[Door::Name(Bootstrap::Router)]);
    session.handle_turn(at(4_000), &facts(1, Work::Busy));
    session.handle_turn(after(ROUTERS_AFTER), &facts(2, Work::Busy));
    assert_eq!(steps(&mut session), [Step::Begin]);
    let due = after(ROUTERS_AFTER) + ROUTERS_AFTER_QUIET;
    assert_eq!(session.poll_timeout(), Some((due, Due::Routers)));
}

#[test]
fn a_run_without_an_answer_fails_after_thirty_seconds_and_not_before() {
    let mut session = begin(CRAWL, &[node(1)]);
    let due = after(ANSWER_WITHIN);
    assert_eq!(session.poll_timeout(), Some((due, Due::Answer)));
    session.handle_turn(just_before(due), &SILENT);
    assert!(session.is_working());
    session.handle_turn(due, &SILENT);
    let failure = Failure::NoNodeAnswered { waited: ANSWER_WITHIN, tried: 1 };
    assert_eq!(ends(&mut session), Some(Ended::Failed(failure)));
}

#[test]
fn an_earlier_overall_timeout_fails_it_earlier_and_ends_it_cleanly_if_a_node_answered() {
    let most = Duration::from_secs(2);
    let terms = Terms { overall_timeout: Some(most), ..CRAWL };
    let due = after(most - SHUTDOWN_LEAD);
    let mut silent = begin(terms, &[node(1)]);
    silent.handle_turn(just_before(due), &SILENT);
    assert!(silent.is_working());
    silent.handle_turn(due, &SILENT);
    let failure = Failure::NoNodeAnswered { waited: most, tried: 1 };
    assert_eq!(ends(&mut silent), Some(Ended::Failed(failure)));
    let mut alive = answered(terms);
    assert_eq!(alive.poll_timeout(), Some((due, Due::Overall)));
    alive.handle_turn(due, &SILENT);
    assert_eq!(ends(&mut alive), Some(Ended::Timeout));
}

#[test]
fn the_shutdown_takes_at_most_half_of_a_short_timeout() {
    let terms = Terms { overall_timeout: Some(Duration::from_millis(100)), ..CRAWL };
    assert_eq!(answered(terms).poll_timeout(), Some((at(50), Due::Overall)));
}

#[test]
fn a_run_that_needs_no_answer_waits_for_none() {
    let mut session = begin(Terms { answer_within: None, ..CRAWL }, &[node(1)]);
    steps(&mut session);
    assert_eq!(session.poll_timeout(), None);
    session.handle_turn(at(1 << 40), &SILENT);
    assert!(session.is_working());
}

#[test]
fn names_alone_of_which_none_resolves_fail_at_once() {
    let mut session = begin(CRAWL, &[NAME, NAME]);
    steps(&mut session);
    session.handle_unresolved(at(1), 0);
    session.handle_turn(at(1), &SILENT);
    assert!(session.is_working(), "the other may resolve");
    session.handle_unresolved(at(2), 1);
    session.handle_turn(at(2), &SILENT);
    assert_eq!(ends(&mut session), Some(Ended::Failed(Failure::NoNameResolved)));
    assert!(session.names().eq([0, 1]));
}

#[test]
fn after_a_warm_start_names_that_fail_are_not_the_end() {
    let mut session = begin(WARM, &[NAME]);
    steps(&mut session);
    session.handle_unresolved(at(1), 0);
    session.handle_turn(at(1), &SILENT);
    assert!(session.is_working());
    session.handle_turn(after(RESOLVE_AGAIN), &SILENT);
    session.handle_unresolved(at(11_000), 0);
    session.handle_turn(after(ANSWER_WITHIN), &SILENT);
    assert_eq!(session.ended(), Some(Ended::Failed(Failure::NoNameResolved)), "but at last");
    let mut asked = begin(WARM, &[node(1)]);
    let mut silent = SILENT;
    silent.progress.asked = 40;
    asked.handle_turn(after(ANSWER_WITHIN), &silent);
    let failure = Failure::NoNodeAnswered { waited: ANSWER_WITHIN, tried: 40 };
    assert_eq!(asked.ended(), Some(Ended::Failed(failure)), "contacts count as tried");
}

#[test]
fn requests_with_peers_need_no_node() {
    let names_fail = |facts: Facts| {
        let mut session = begin(FETCH, &[NAME]);
        steps(&mut session);
        session.handle_unresolved(at(1), 0);
        session.handle_turn(at(1), &facts);
        session
    };
    let alone = |supply| asked_for(supply, Given::HashesAlone, 0, Work::Busy);
    assert!(names_fail(alone(Supply::Open)).is_working(), "the next may bring peers");
    assert!(!names_fail(alone(Supply::Blocked)).is_working());
    assert!(!names_fail(alone(Supply::Exhausted)).is_working());
    let peers = asked_for(Supply::Exhausted, Given::WithPeers, 0, Work::Busy);
    let mut session = names_fail(peers);
    session.handle_turn(after(ANSWER_WITHIN), &peers);
    assert!(session.is_working());
}

#[test]
fn a_list_that_has_said_nothing_is_waited_for_beyond_the_thirty_seconds() {
    let nothing = asked_for(Supply::Open, Given::Nothing, 0, Work::Busy);
    let mut session = begin(FETCH, &[node(1)]);
    session.handle_turn(after(ANSWER_WITHIN), &nothing);
    assert!(session.is_working());
    assert_eq!(session.poll_timeout(), None, "only a request can settle it");
    let alone = asked_for(Supply::Open, Given::HashesAlone, 0, Work::Busy);
    session.handle_turn(after(ANSWER_WITHIN * 2), &alone);
    assert!(matches!(session.ended(), Some(Ended::Failed(Failure::NoNodeAnswered { .. }))));
}

#[test]
fn settled_requests_end_a_run_once_the_outputs_have_its_rows() {
    let mut session = answered(FETCH);
    let open = asked_for(Supply::Open, Given::HashesAlone, 0, Work::Idle);
    session.handle_turn(at(1), &open);
    assert_eq!(session.phase(), Phase::Running);
    let done = asked_for(Supply::Exhausted, Given::HashesAlone, 0, Work::Idle);
    session.handle_turn(at(2), &done);
    assert_eq!(session.phase(), Phase::Draining(Ended::RequestsDone));
    session.handle_output(at(3), Output::Flushed);
    assert_eq!(ends(&mut session), Some(Ended::RequestsDone));
}

#[test]
fn new_work_takes_an_end_back() {
    let mut session = answered(FETCH);
    let done = |work| asked_for(Supply::Exhausted, Given::HashesAlone, 0, work);
    session.handle_turn(at(1), &done(Work::Idle));
    session.handle_turn(at(2), &done(Work::Busy));
    assert_eq!(session.phase(), Phase::Running);
    session.handle_output(at(3), Output::Flushed);
    assert!(session.is_working());
}

#[test]
fn an_idle_run_ends_after_the_pause_asked_for_and_any_work_begins_the_pause_anew() {
    let pause = Duration::from_secs(3);
    let mut session = answered(Terms { until_idle: Some(pause), ..CRAWL });
    let (idle, busy) = (facts(1, Work::Idle), facts(1, Work::Busy));
    session.handle_turn(at(1_000), &idle);
    assert_eq!(session.phase(), Phase::Idle { since: at(1_000) });
    assert_eq!(session.poll_timeout(), Some((at(4_000), Due::Idle)));
    session.handle_turn(at(2_000), &busy);
    assert_eq!(session.phase(), Phase::Running);
    session.handle_turn(at(2_500), &idle);
    session.handle_turn(just_before(at(5_500)), &idle);
    assert_eq!(session.phase(), Phase::Idle { since: at(2_500) });
    session.handle_turn(at(5_500), &idle);
    session.handle_turn(at(5_600), &idle);
    assert_eq!(session.phase(), Phase::Draining(Ended::Idle));
}

#[test]
fn a_crawl_that_was_not_asked_to_ends_for_no_want_of_work() {
    let mut session = answered(CRAWL);
    session.handle_turn(at(1 << 40), &facts(1, Work::Idle));
    assert_eq!((session.phase(), session.poll_timeout()), (Phase::Running, None));
}

#[test]
fn limits_of_the_crawl_and_of_the_outputs_end_a_run_and_the_outputs_come_first() {
    let mut session = answered(CRAWL);
    session.handle_turn(at(1), &facts(1, Work::Finished));
    assert_eq!(session.phase(), Phase::Draining(Ended::Limit));
    session.handle_output(at(2), Output::Full);
    session.handle_turn(at(2), &facts(1, Work::Finished));
    assert_eq!(session.phase(), Phase::Draining(Ended::OutputLimit));
}

#[test]
fn a_signal_ends_every_working_phase_and_a_failure_goes_before_it() {
    let mut draining = answered(CRAWL);
    draining.handle_turn(at(1), &facts(1, Work::Finished));
    draining.handle_signal(at(2));
    draining.handle_turn(at(2), &facts(1, Work::Finished));
    assert_eq!(ends(&mut draining), Some(Ended::Signal));
    let mut silent = begin(CRAWL, &[node(1)]);
    silent.handle_signal(at(1));
    silent.handle_turn(after(ANSWER_WITHIN), &SILENT);
    assert!(!silent.ended().expect("an end").is_clean());
}

#[test]
fn a_lost_output_ends_a_run_at_once() {
    for (output, expected) in
        [(Output::Closed, Ended::OutputClosed), (Output::Lost, Ended::Failed(Failure::OutputLost))]
    {
        let mut session = answered(CRAWL);
        session.handle_output(at(1), output);
        assert_eq!(ends(&mut session), Some(expected));
    }
}

#[test]
fn a_shutdown_waits_for_connections_and_no_longer_than_its_grace() {
    let mut session = answered(CRAWL);
    session.handle_signal(at(1_000));
    session.handle_turn(at(1_000), &SILENT);
    let until = at(1_000) + SHUTDOWN_GRACE;
    assert_eq!(session.phase(), Phase::ShuttingDown { ended: Ended::Signal, until });
    assert_eq!(session.poll_timeout(), Some((until, Due::Grace)));
    let mut quick = begin(CRAWL, &[]);
    quick.handle_output(at(1_000), Output::Closed);
    quick.handle_disconnected(at(1_001));
    assert_eq!(quick.phase(), Phase::Closing(Ended::OutputClosed));
    session.handle_turn(just_before(until), &SILENT);
    assert!(matches!(session.phase(), Phase::ShuttingDown { .. }));
    session.handle_turn(until, &SILENT);
    assert_eq!(session.phase(), Phase::Closing(Ended::Signal));
    assert_eq!(session.poll_timeout(), None);
    session.handle_output(until, Output::Flushed);
    assert_eq!(session.phase(), Phase::Over(Ended::Signal));
}

#[test]
fn a_loss_while_closing_spoils_a_clean_end_and_leaves_a_failure_what_it_was() {
    let closing = |ended: Option<Output>| {
        let mut session = answered(CRAWL);
        match ended {
            Some(output) => session.handle_output(at(1), output),
            None => {
                session.handle_signal(at(1));
                session.handle_turn(at(1), &SILENT);
            }
        }
        session.handle_disconnected(at(2));
        session
    };
    let mut clean = closing(None);
    clean.handle_output(at(3), Output::Closed);
    assert_eq!(clean.phase(), Phase::Over(Ended::OutputClosed));
    let mut failed = closing(Some(Output::Lost));
    failed.handle_output(at(3), Output::Closed);
    assert_eq!(failed.phase(), Phase::Over(Ended::Failed(Failure::OutputLost)));
}

#[test]
fn only_promised_ends_are_saved_in_a_hurry() {
    assert_eq!(Ended::Signal.save_within(), SAVE_IN_A_HURRY);
    assert_eq!(Ended::Timeout.save_within(), SAVE_IN_A_HURRY);
    assert_eq!(Ended::Limit.save_within(), SAVE_AT_THE_END);
}

/// Everything that can happen to a session.
#[derive(Clone, Debug)]
enum Op {
    Resolved(usize, u8),
    Unresolved(usize),
    Datagram(u8),
    Signal,
    Output(Output),
    Disconnected,
    Turn(Facts),
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let work = prop::sample::select(vec![Work::Busy, Work::Idle, Work::Finished]);
    let supply = prop::sample::select(vec![Supply::Open, Supply::Blocked, Supply::Exhausted]);
    let given = prop::sample::select(vec![Given::Nothing, Given::HashesAlone, Given::WithPeers]);
    let replies = prop::array::uniform2(prop::option::of(0u64..3));
    (replies, 0u64..2, work, supply, given).prop_map(|(replies, dialled, work, supply, given)| {
        let asked = replies.iter().flatten().sum();
        let progress = Progress { replies, asked, dialled, work };
        Facts { progress, requests: Requests { supply, given } }
    })
}

fn any_op() -> impl Strategy<Value = Op> {
    let output =
        prop::sample::select(vec![Output::Full, Output::Closed, Output::Lost, Output::Flushed]);
    prop_oneof![
        2 => (0usize..4, any::<u8>()).prop_map(|(at, host)| Op::Resolved(at, host)),
        2 => (0usize..4).prop_map(Op::Unresolved),
        2 => any::<u8>().prop_map(Op::Datagram),
        1 => Just(Op::Signal),
        2 => output.prop_map(Op::Output),
        1 => Just(Op::Disconnected),
        9 => any_facts().prop_map(Op::Turn),
    ]
}

fn any_terms() -> impl Strategy<Value = Terms> {
    let goal = prop::sample::select(vec![Goal::Crawl, Goal::Requests]);
    let start = prop::sample::select(vec![Start::Cold, Start::Warm]);
    let seconds = || prop::option::of((1u64..90).prop_map(Duration::from_secs));
    (goal, start, seconds(), seconds(), seconds()).prop_map(
        |(goal, start, answer_within, overall_timeout, until_idle)| Terms {
            goal,
            start,
            answer_within,
            overall_timeout,
            until_idle,
        },
    )
}

proptest! {
    /// Phases only ever lead onwards, there is exactly one shutdown, deadlines lie ahead, and no
    /// run outlives its overall timeout.
    #[test]
    fn any_order_of_events_ends_a_run_once(
        terms in any_terms(),
        ops in prop::collection::vec((0u64..8_000, any_op()), 1..60),
    ) {
        let mut session = begin(terms, &[node(1), NAME, router(2), Door::Name(Bootstrap::Router)]);
        let (mut now, mut shutdowns) = (Instant::START, 0);
        for (millis, op) in ops {
            let before = session.phase();
            now = now + Duration::from_millis(millis);
            match op {
                Op::Resolved(at, host) => session.handle_resolved(now, at, &[addr(host)]),
                Op::Unresolved(at) => drop(session.handle_unresolved(now, at)),
                Op::Datagram(host) => session.handle_datagram(addr(host)),
                Op::Signal => session.handle_signal(now),
                Op::Output(output) => session.handle_output(now, output),
                Op::Disconnected => session.handle_disconnected(now),
                Op::Turn(facts) => {
                    session.handle_turn(now, &facts);
                    let due = session.poll_timeout();
                    prop_assert!(due.is_none_or(|(at, _)| at > now), "{due:?} at {now:?}");
                    let over = terms.overall_timeout.is_some_and(|most| now >= after(most));
                    prop_assert!(!over || !session.is_working());
                }
            }
            shutdowns += steps(&mut session).iter().filter(|step| **step == Step::ShutDown).count();
            prop_assert!(rank(session.phase()) >= rank(before));
            prop_assert_eq!(shutdowns, usize::from(!session.is_working()));
            if let Phase::Over(_) = before {
                prop_assert_eq!(session.phase(), before);
            }
        }
    }

    /// Turned only when it asked to be, a silent run fails at the very moment it said.
    #[test]
    fn a_silent_run_turned_at_its_deadlines_fails_on_time(terms in any_terms(), named: bool) {
        let terms = Terms { goal: Goal::Crawl, until_idle: None, ..terms };
        let mut session = begin(terms, &[if named { NAME } else { node(1) }, router(2)]);
        let mut now = Instant::START;
        while session.is_working()
            && let Some((due, _)) = session.poll_timeout()
            && due < at(200_000)
        {
            now = due;
            session.handle_turn(now, &SILENT);
        }
        let lead = |most: Duration| after(most - SHUTDOWN_LEAD.min(most / 2));
        let failed = terms.answer_within.map(after);
        let over = terms.overall_timeout.map(lead);
        match (failed, over) {
            (Some(failed), over) => {
                prop_assert_eq!(now, over.map_or(failed, |over| over.min(failed)));
                prop_assert!(!session.ended().expect("an end").is_clean());
            }
            (None, Some(over)) => {
                prop_assert_eq!((now, session.ended()), (over, Some(Ended::Timeout)));
            }
            (None, None) => prop_assert!(session.is_working()),
        }
    }
}

fn rank(phase: Phase) -> u8 {
    match phase {
        Phase::Running | Phase::Idle { .. } | Phase::Draining(_) => 0,
        Phase::ShuttingDown { .. } => 1,
        Phase::Closing(_) => 2,
        Phase::Over(_) => 3,
    }
}
