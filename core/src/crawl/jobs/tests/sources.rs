//! Infohashes that several nodes name, and jobs that make room for those of other nodes.

use super::*;
use crate::crawl::attempts::Ways;
use crate::limits::DIALS_BEFORE_GIVEN_UP;

fn node(net: u8) -> Contact {
    Contact { id: NodeId([net; 20]), addr: SocketAddr::from(([20, net, 1, 1], 6_881)) }
}

fn hash(n: u8) -> InfoHash {
    InfoHash([n; 20])
}

fn named(n: u8, net: u8) -> Lead {
    Lead::new(hash(n), NOW, Origin::Sample).from(Some(node(net)))
}

fn charged(nets: &[(u8, u64)]) -> Standing {
    let mut standing = Standing::blank();
    for (net, seconds) in nets {
        standing.charge(standing.sponsor(node(*net).addr), Duration::from_secs(*seconds));
    }
    standing
}

fn poll(jobs: &mut Jobs, standing: &Standing) -> Vec<Need> {
    std::iter::from_fn(|| jobs.poll_need(standing)).map(|(_, need)| need).collect()
}

/// The source answers with `peers`.
fn answer(jobs: &mut Jobs, key: Key, standing: &Standing, net: u8, peers: &[SocketAddr]) {
    assert!(jobs.poll_question(Family::V4, standing).is_some(), "its source is asked first");
    let namer = Some(standing.sponsor(node(net).addr));
    jobs.on_peers(NOW, key, peers.iter().copied(), true, (namer, standing));
    jobs.on_source_answer(key);
}

#[test]
fn the_first_other_node_of_another_net_becomes_the_source_once_the_first_one_owes_much() {
    let mut standing = Standing::blank();
    let mut jobs = jobs();
    let key = jobs.begin(NOW, &named(7, 1), true, &mut standing).expect("room");
    let neighbour = Contact { addr: SocketAddr::from(([20, 1, 1, 9], 6_881)), ..node(1) };
    for other in [node(1), neighbour, node(2), node(3)] {
        jobs.also_named(key, other, &standing);
    }
    assert_eq!(poll(&mut jobs, &standing), []);
    standing.charge(standing.sponsor(node(1).addr), Duration::from_secs(151));
    answer(&mut jobs, key, &standing, 1, &[]);
    assert_eq!(poll(&mut jobs, &standing), [Need::OtherSource]);
    let before = jobs.turn_to_other_source(NOW, key, |_| true, &mut standing).expect("one");
    standing.settle(before, Duration::ZERO);
    assert_eq!(before.payers().collect::<Vec<_>>(), [standing.sponsor(node(1).addr)]);
    let asked = jobs.poll_question(Family::V4, &standing);
    assert_eq!(asked, Some((key, hash(7), node(2))));
    jobs.on_source_answer(key);
    jobs.also_named(key, node(3), &standing);
    standing.charge(standing.sponsor(node(2).addr), Duration::from_secs(305));
    assert_eq!(poll(&mut jobs, &standing), [Need::Walk], "once");
    jobs.check();
    standing.check(jobs.reserves());
}

#[test]
fn what_is_under_way_for_a_source_is_no_reason_to_ask_another() {
    let mut standing = Standing::blank();
    let mut jobs = jobs();
    let key = jobs.begin(NOW, &named(7, 1), true, &mut standing).expect("room");
    jobs.also_named(key, node(2), &standing);
    let dials =
        standing.reserve(Some(standing.sponsor(node(1).addr)), None, Duration::from_secs(900));
    answer(&mut jobs, key, &standing, 1, &[peer(1)]);
    assert_eq!(poll(&mut jobs, &standing), []);
    standing.settle(dials, Duration::ZERO);
}

#[test]
fn a_source_in_debt_is_left_for_another_one_before_its_peers_are_dialled() {
    for (owes, turns) in [(149, false), (151, true)] {
        let mut standing = Standing::blank();
        let mut jobs = jobs();
        let key = jobs.begin(NOW, &named(7, 1), true, &mut standing).expect("room");
        jobs.also_named(key, node(2), &standing);
        answer(&mut jobs, key, &standing, 1, &[peer(1)]);
        standing.charge(standing.sponsor(node(1).addr), Duration::from_secs(owes));
        let needs = poll(&mut jobs, &standing);
        assert_eq!(needs.contains(&Need::OtherSource), turns, "{owes} s in each account");
        assert_eq!(jobs.next_to_dial(&standing).is_some(), !turns);
    }
}

#[test]
fn a_job_in_line_turns_to_the_other_source_when_the_first_one_is_deep_in_debt() {
    let mut standing = Standing::blank();
    let mut jobs = jobs();
    let key = jobs.begin(NOW, &named(7, 1), true, &mut standing).expect("room");
    answer(&mut jobs, key, &standing, 1, &[peer(1)]);
    assert_eq!(poll(&mut jobs, &standing), []);
    jobs.also_named(key, node(2), &standing);
    assert_eq!(poll(&mut jobs, &standing), [], "neither owes anything");
    standing.charge(standing.sponsor(node(1).addr), Duration::from_secs(151));
    jobs.on_paid(&standing, standing.sponsor(node(1).addr));
    assert_eq!(poll(&mut jobs, &standing), [Need::OtherSource]);
}

#[test]
fn of_two_nodes_that_name_a_peer_the_one_that_owes_less_answers_for_it() {
    let standing = charged(&[(1, 300), (3, 450)]);
    let mut jobs = jobs();
    let key = jobs.begin(NOW, &named(7, 2), true, &mut Standing::blank()).expect("room");
    let namer = |net| Some(standing.sponsor(node(net).addr));
    for (net, answers) in [(1, 1), (3, 1), (2, 2), (1, 2)] {
        jobs.on_peers(NOW, key, [peer(1)].into_iter(), false, (namer(net), &standing));
        let job = jobs.jobs.get(key).expect("under way");
        assert_eq!(job.peers.next_namer(&standing), namer(answers), "after {net}");
        assert_eq!(job.peers.len(), 1);
    }
}

#[test]
fn a_job_in_line_moves_to_the_lane_of_whoever_answers_for_it_now() {
    let mut standing = charged(&[(1, 300), (9, 10)]);
    let mut jobs = jobs();
    let [ours, other] = [(7, 2), (8, 9)]
        .map(|(n, net)| jobs.begin(NOW, &named(n, net), true, &mut standing).expect("room"));
    let namer = |standing: &Standing, net| Some(standing.sponsor(node(net).addr));
    for key in [ours, other] {
        jobs.poll_question(Family::V4, &standing);
        let says = if key == ours { 1 } else { 9 };
        let by = (namer(&standing, says), &standing);
        jobs.on_peers(NOW, key, [peer(1)].into_iter(), true, by);
        jobs.on_source_answer(key);
        poll(&mut jobs, &standing);
    }
    let first =
        |jobs: &mut Jobs, standing: &Standing| jobs.next_to_dial(standing).map(|next| next.0);
    assert_eq!(first(&mut jobs, &standing), Some(other), "whoever named our peer owes more");
    let by = (namer(&standing, 2), &standing);
    jobs.on_peers(NOW, ours, [peer(1)].into_iter(), false, by);
    poll(&mut jobs, &standing);
    assert_eq!(first(&mut jobs, &standing), Some(ours));
    jobs.check();
}

#[test]
fn a_second_source_fills_no_more_places_than_any_other_node() {
    let mut standing = Standing::blank();
    let mut jobs = jobs();
    let key = jobs.begin(NOW, &named(7, 1), true, &mut standing).expect("room");
    let peers = |from: u8| (from..from + 20).map(peer).collect::<Vec<_>>();
    answer(&mut jobs, key, &standing, 1, &peers(1));
    let kept = |jobs: &Jobs| jobs.jobs.get(key).expect("under way").peers.len();
    assert_eq!(kept(&jobs), 6, "three quarters of eight");
    jobs.also_named(key, node(2), &standing);
    let before = jobs.turn_to_other_source(NOW, key, |_| true, &mut standing).expect("one");
    standing.settle(before, Duration::ZERO);
    answer(&mut jobs, key, &standing, 2, &peers(100));
    assert_eq!(kept(&jobs), 7, "half of what is left");
}

/// The next peer of `key` accepts a connection and says nothing.
fn mute(jobs: &mut Jobs, key: Key, standing: &Standing) -> SocketAddr {
    let begun = jobs.begin_dial(NOW, standing, |_| true, |_| Ways::TCP).expect("a peer to try");
    let to = begun.to;
    let failure = Failure {
        fault: PeerFault::HandshakeTimeout,
        progress: Progress::Connected,
        clue: Clue::None,
    };
    let outcome = refused(begun, Vec::new());
    jobs.on_dial_failed(NOW, (key, to), &failure, Blame::Peer, outcome, (None, standing));
    to
}

#[test]
fn a_second_source_is_asked_when_one_net_took_three_fifths_of_the_attempts() {
    let mut standing = Standing::blank();
    let mut jobs = jobs();
    let key = jobs.begin(NOW, &named(7, 1), true, &mut standing).expect("room");
    jobs.also_named(key, node(2), &standing);
    let peers = [1, 2, 3, 4, 5, 6].map(|net| SocketAddr::from(([30, net, 1, 1], 6_881)));
    answer(&mut jobs, key, &standing, 1, &peers);
    for _ in 0..3 {
        assert_eq!(poll(&mut jobs, &standing), []);
        mute(&mut jobs, key, &standing);
    }
    assert_eq!(poll(&mut jobs, &standing), [Need::OtherSource]);
    let before = jobs.turn_to_other_source(NOW, key, |_| true, &mut standing).expect("one");
    standing.settle(before, Duration::ZERO);
    let namer = standing.sponsor(node(1).addr);
    standing.charge(namer, Duration::from_secs(30));
    answer(&mut jobs, key, &standing, 2, &[peer(7)]);
    assert_eq!(poll(&mut jobs, &standing), []);
    assert_eq!(mute(&mut jobs, key, &standing), peer(7), "of who owes less");
    assert_eq!(poll(&mut jobs, &standing), []);
    mute(&mut jobs, key, &standing);
    let cause = FailureCause::Peer(PeerFault::HandshakeTimeout);
    assert_eq!(poll(&mut jobs, &standing), [Need::Settle(cause)], "the fifth attempt was the last");
}

/// The job that makes room, and waits again.
fn displaced(jobs: &mut Jobs, standing: &Standing, most: i64) -> Option<Finished> {
    match jobs.displace(standing, most)? {
        Displaced::ToWait(job) => Some(*job),
        Displaced::ToSettle(..) => panic!("nothing was dialled for it"),
    }
}

#[test]
fn a_job_that_dialled_in_vain_is_given_up_for_another_that_owes_less() {
    let mut standing = Standing::blank();
    let mut jobs = jobs();
    let key = jobs.begin(NOW, &named(7, 1), true, &mut standing).expect("room");
    let peers: Vec<SocketAddr> = (1..=6).map(peer).collect();
    answer(&mut jobs, key, &standing, 1, &peers);
    for dials in 1..=DIALS_BEFORE_GIVEN_UP {
        poll(&mut jobs, &standing);
        let begun =
            jobs.begin_dial(NOW, &standing, |_| true, |_| Ways::TCP).expect("a peer to try");
        assert!(jobs.displace(&standing, -1).is_none(), "one is under way");
        refuse(&mut jobs, key, begun, Vec::new());
        let gives_up = matches!(
            jobs.displace(&standing, -1),
            Some(Displaced::ToSettle(of, FailureCause::Peer(PeerFault::Refused))) if of == key
        );
        assert_eq!(gives_up, dials == DIALS_BEFORE_GIVEN_UP, "after {dials} dials");
    }
    let debt = standing.debt_with_jobs(standing.sponsor(node(1).addr));
    assert!(jobs.displace(&standing, debt).is_none(), "it owes no more");
    poll(&mut jobs, &standing);
    jobs.check();
}

#[test]
fn of_jobs_that_only_wait_the_one_makes_room_whose_source_owes_most() {
    let mut standing = charged(&[(1, 100), (2, 300), (3, 400)]);
    let mut jobs = jobs();
    let mut begin = |jobs: &mut Jobs, net| {
        jobs.begin(NOW, &named(net, net), true, &mut standing).expect("room")
    };
    let connected = begin(&mut jobs, 3);
    let asked = Standing::blank();
    answer(&mut jobs, connected, &asked, 3, &[peer(1)]);
    poll(&mut jobs, &asked);
    jobs.begin_dial(NOW, &asked, |_| true, |_| Ways::TCP).expect("a peer to try");
    let [_, waits] = [1, 2].map(|net| begin(&mut jobs, net));
    poll(&mut jobs, &standing);
    let debt = |net| standing.debt_with_jobs(standing.sponsor(node(net).addr));
    assert!(jobs.displace(&standing, debt(2)).is_none(), "none owes more");
    let displaced = displaced(&mut jobs, &standing, debt(2) - 1).expect("one owes more");
    assert_eq!((displaced.hash(), jobs.is_open(waits)), (hash(2), false));
    assert_eq!(displaced.displaced().source, Some(node(2)));
    jobs.check();
}

#[test]
fn what_the_user_asked_for_makes_no_room() {
    let mut standing = charged(&[(1, 900)]);
    let mut jobs = jobs();
    let lead = Lead { origin: Origin::Request, ..named(7, 1) };
    jobs.begin(NOW, &lead, true, &mut standing).expect("room");
    poll(&mut jobs, &standing);
    assert!(jobs.displace(&standing, i64::MIN).is_none());
}

#[test]
fn a_displaced_infohash_keeps_a_few_peers_and_its_source_is_not_asked_again() {
    let mut standing = charged(&[(1, 900)]);
    let mut jobs = jobs();
    let key = jobs.begin(NOW, &named(7, 1), true, &mut standing).expect("room");
    let peers: Vec<SocketAddr> = (1..=6).map(peer).collect();
    answer(&mut jobs, key, &standing, 1, &peers);
    poll(&mut jobs, &standing);
    assert_eq!((jobs.finds().infohashes, jobs.finds().peers), (1, 6));
    let displaced = displaced(&mut jobs, &standing, 0).expect("it waits").displaced();
    assert_eq!(displaced.peers, peers[..DISPLACED_PEERS_KEPT]);
    assert_eq!((jobs.finds().infohashes, jobs.finds().peers), (0, 0), "counted when it is back");
    jobs.begin(NOW, &displaced, true, &mut standing).expect("room");
    assert_eq!(jobs.poll_question(Family::V4, &standing), None);
}
