//! Jobs driven by verbs alone: what each makes them need, and that a fact which disagrees is found.

use super::*;
use crate::base::fault::PeerFault;
use crate::base::id::NodeId;
use crate::base::rng::Seed;
use crate::base::time::Duration;
use crate::crawl::attempts::Ways;
use crate::crawl::attempts::{Blame, Clue, Failure};
use crate::crawl::jobs::named::LeftOut;
use crate::lead::{Origin, Request};
use crate::limits::{FOUND_PEERS_MAX, JOB_PATIENCE, SOURCE_ASKS_MAX};
use crate::peer::exchange::{Exchange, Outcome, Progress};

mod sources;

const NOW: Instant = Instant::START;
const OWN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(9, 9, 9, 9)), 7);

const LIMITS: JobLimits = JobLimits {
    peers: 8,
    attempts: 5,
    may_walk: true,
    dials: true,
    policy: AddressPolicy::AllowPrivate,
    own: [Some(OWN), None],
};

fn jobs() -> Jobs {
    Jobs::new(LIMITS, (10, 1 << 20), &Rng::new(Seed::from_u64(1)))
}

fn peer(n: u8) -> SocketAddr {
    SocketAddr::from(([30, n, 1, 1], 6_881))
}

fn source() -> Contact {
    Contact { id: NodeId([1; 20]), addr: SocketAddr::from(([20, 1, 1, 1], 6_881)) }
}

fn lead(peers: &[SocketAddr]) -> Lead {
    Lead { peers: peers.to_vec(), ..Lead::new(InfoHash([7; 20]), NOW, Origin::Sample) }
}

fn needs(jobs: &mut Jobs) -> Vec<Need> {
    let needs =
        std::iter::from_fn(|| jobs.poll_need(&Standing::blank())).map(|(_, need)| need).collect();
    jobs.check();
    needs
}

/// A job for `lead` that has had its first needs carried out.
fn begun(lead: &Lead) -> (Jobs, Key) {
    let mut jobs = jobs();
    let key = jobs.begin(NOW, lead, true, &mut Standing::blank()).expect("room");
    needs(&mut jobs);
    (jobs, key)
}

/// Any key that names no job.
fn other() -> Key {
    let mut slab = Slab::new(1);
    let first = slab.insert(()).expect("room");
    slab.remove(first);
    slab.insert(()).expect("room")
}

/// The outcome of a connection that was refused, but for what it told of other peers.
fn refused(begun: Begun, found_peers: Vec<SocketAddr>) -> Outcome {
    let seed = Seed::from_u64(1);
    let mut exchange = Exchange::new(NOW, begun.hash, begun.attempt, begun.resume, seed);
    let outcome = exchange.handle_failed(NOW, PeerFault::Refused);
    Outcome { found_peers, ..outcome }
}

/// Dials the next peer of `key`, which refuses and tells of others; whom that was.
fn dial(jobs: &mut Jobs, key: Key, found_peers: Vec<SocketAddr>) -> SocketAddr {
    let standing = Standing::blank();
    assert_eq!(jobs.next_to_dial(&standing).map(|next| next.0), Some(key));
    let begun = jobs.begin_dial(NOW, &standing, |_| true, |_| Ways::TCP).expect("a peer to try");
    refuse(jobs, key, begun, found_peers)
}

/// The connection that a job has begun is refused; whom that was.
fn refuse(jobs: &mut Jobs, key: Key, begun: Begun, found_peers: Vec<SocketAddr>) -> SocketAddr {
    let to = begun.to;
    let outcome = refused(begun, found_peers);
    let failure =
        Failure { fault: PeerFault::Refused, progress: Progress::Nothing, clue: Clue::None };
    let standing = Standing::blank();
    jobs.on_dial_failed(NOW, (key, to), &failure, Blame::Peer, outcome, (None, &standing));
    to
}

#[test]
fn a_lead_asks_its_source_twice_then_wants_a_walk_and_then_nothing_more() {
    let (mut jobs, key) = begun(&lead(&[]).from(Some(source())));
    for asked in 1..=SOURCE_ASKS_MAX {
        let question = (key, InfoHash([7; 20]), source());
        assert_eq!(jobs.poll_question(Family::V4, &Standing::blank()), Some(question));
        assert_eq!(
            jobs.poll_question(Family::V4, &Standing::blank()),
            None,
            "one question at a time"
        );
        jobs.on_source_silence(key, false, &Standing::blank());
        let walk = if asked == SOURCE_ASKS_MAX { &[Need::Walk][..] } else { &[] };
        assert_eq!(needs(&mut jobs), walk);
    }
    let sponsor = Standing::blank().sponsor(source().addr);
    let next = jobs.next_to_walk(&Standing::blank());
    assert_eq!(next, Some((key, InfoHash([7; 20]), Some(sponsor))));
    jobs.on_walks_begun(NOW, [Some(other()), None], &Standing::blank());
    assert_eq!((jobs.has_to_walk(), jobs.demand(key)), (false, Demand::Any));
    jobs.on_walk_ended(key, Family::V4, false);
    assert_eq!(needs(&mut jobs), [Need::Settle(FailureCause::NoPeers)]);
}

#[test]
fn a_source_that_cannot_be_asked_is_passed_over() {
    let mut jobs = jobs();
    jobs.begin(NOW, &lead(&[]).from(Some(source())), false, &mut Standing::blank()).expect("room");
    assert_eq!(needs(&mut jobs), [Need::Walk]);
    assert!(!jobs.has_question(Family::V4));
}

#[test]
fn peers_that_a_connection_tells_of_are_tried_like_others() {
    let (mut jobs, key) = begun(&lead(&[peer(1)]));
    let v6 = "[2a00::1]:6881".parse().expect("an address");
    assert_eq!(dial(&mut jobs, key, vec![peer(2), OWN, v6, peer(1)]), peer(1));
    assert_eq!(needs(&mut jobs), []);
    assert_eq!(dial(&mut jobs, key, Vec::new()), peer(2));
    assert_eq!(needs(&mut jobs), [Need::Walk], "nobody else was usable");
    assert_eq!((jobs.finds().peers, jobs.finds().infohashes), (2, 1));
}

#[test]
fn peers_of_one_connection_fill_half_of_the_free_places_and_are_taken_up_to_a_limit() {
    let (mut jobs, key) = begun(&lead(&[peer(0)]));
    dial(&mut jobs, key, (1..=200).map(peer).collect());
    assert_eq!(needs(&mut jobs), []);
    let kept = jobs.jobs.get(key).expect("open").peers.len();
    assert_eq!(kept, 1 + (LIMITS.peers - 1).div_ceil(2), "{FOUND_PEERS_MAX} at most are looked at");
}

#[test]
fn when_all_that_its_walks_found_is_tried_a_job_needs_them_to_go_on() {
    let (mut jobs, key) = begun(&lead(&[]));
    jobs.on_walks_begun(NOW, [Some(other()), None], &Standing::blank());
    jobs.on_peers(NOW, key, [peer(1)].into_iter(), false, (None, &Standing::blank()));
    assert_eq!(needs(&mut jobs), []);
    dial(&mut jobs, key, Vec::new());
    assert_eq!(needs(&mut jobs), [Need::MorePeers]);
}

#[test]
fn a_job_is_held_once_and_released_into_its_need() {
    let (mut jobs, key) = begun(&lead(&[]));
    jobs.on_walks_begun(NOW, [Some(other()), None], &Standing::blank());
    jobs.on_walk_ended(key, Family::V4, true);
    for _ in 0..2 {
        assert_eq!(needs(&mut jobs), [Need::Settle(FailureCause::NoPeers)]);
        jobs.hold(key);
        jobs.hold(key);
        jobs.check();
        assert!(jobs.has_held());
        jobs.release_held(false);
        assert!(!jobs.has_held());
    }
}

#[test]
fn a_job_to_which_nothing_happens_is_given_up_unless_it_is_held_up() {
    let (mut jobs, key) = begun(&lead(&[]));
    let late = NOW + JOB_PATIENCE;
    assert_eq!(jobs.poll_impatient(late, true, false), None);
    let later = late + JOB_PATIENCE;
    assert_eq!(jobs.poll_impatient(later, false, true), None, "it waits for a walk");
    let last = later + JOB_PATIENCE + Duration::from_secs(1);
    assert_eq!(jobs.poll_impatient(last, false, false), Some((key, FailureCause::NoPeers)));
}

#[test]
fn a_job_is_not_given_up_while_a_connection_is_open_for_it() {
    let (mut jobs, key) = begun(&lead(&[peer(1)]));
    assert_eq!(needs(&mut jobs), []);
    let begun = jobs
        .begin_dial(NOW, &Standing::blank(), |_| true, |_| Ways::TCP)
        .expect("it wants a connection");
    let mut now = NOW;
    for _ in 0..3 {
        now = now + JOB_PATIENCE;
        assert_eq!(jobs.poll_impatient(now, false, false), None, "pieces may be coming");
    }
    refuse(&mut jobs, key, begun, Vec::new());
    let later = now + JOB_PATIENCE;
    assert!(jobs.poll_impatient(later, false, false).is_some_and(|(given_up, _)| given_up == key));
}

#[test]
fn a_settled_job_leaves_nothing_in_any_line() {
    let (mut jobs, key) = begun(&lead(&[peer(1)]).from(Some(source())));
    jobs.hold(key);
    let job = jobs.finish(key).expect("open");
    assert_eq!((job.hash(), job.peers(None)), (InfoHash([7; 20]), vec![peer(1)]));
    jobs.check();
    assert!(jobs.is_empty() && jobs.find(job.hash()).is_none());
    assert_eq!(
        (jobs.poll_question(Family::V4, &Standing::blank()), jobs.next_to_dial(&Standing::blank())),
        (None, None)
    );
    jobs.release_held(true);
    assert_eq!(needs(&mut jobs), []);
}

#[test]
#[should_panic(expected = "jobs that wait to dial stand in line once")]
fn a_job_that_thinks_it_stands_in_line_is_found() {
    let (mut jobs, key) = begun(&lead(&[]));
    jobs.jobs.get_mut(key).expect("open").dial_turn = DialTurn::InLine;
    jobs.check();
}

#[test]
#[should_panic(expected = "jobs that wait for a walk stand in line once")]
fn a_job_that_stands_in_line_twice_is_found() {
    let (mut jobs, key) = begun(&lead(&[]));
    jobs.to_walk.push(&Standing::blank(), Behalf::Turn, key);
    jobs.check();
}

#[test]
#[should_panic(expected = "a job stands in line for the network and does not know it")]
fn a_job_that_is_held_unawares_is_found() {
    let (mut jobs, key) = begun(&lead(&[]));
    jobs.held.push(key, |_| true);
    jobs.check();
}

#[test]
#[should_panic(expected = "every need is carried out before a call returns")]
fn a_need_that_was_not_carried_out_is_found() {
    let (mut jobs, key) = begun(&lead(&[]));
    jobs.note(key);
    jobs.check();
}

#[test]
#[should_panic(expected = "a walk serves a job that does not know it")]
fn a_walk_unknown_to_its_job_is_found() {
    let (jobs, key) = begun(&lead(&[]));
    jobs.check_walk(key, Family::V4, other());
}

#[test]
#[should_panic(expected = "a connection is open to a peer that its job does not try")]
fn a_connection_unknown_to_its_job_is_found() {
    let (jobs, key) = begun(&lead(&[peer(1)]));
    jobs.check_dial(key, peer(1));
}

#[test]
fn of_a_request_what_cannot_be_used_is_counted_by_its_reason() {
    let (mut jobs, key) = begun(&lead(&[]));
    jobs.limits.policy = AddressPolicy::Public;
    let addr = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let request = Request {
        hash: InfoHash([7; 20]),
        orders: ["10.0.0.1:1", "10.0.0.2:1", "224.0.0.1:1"].map(addr).to_vec(),
        hearsay: ["10.0.0.1:1", "10.0.0.3:1", "9.0.9.9:0", "9.0.8.8:6881"].map(addr).to_vec(),
    };
    let left_out = jobs.on_request(NOW, key, &request);
    assert_eq!(left_out, LeftOut { orders: 1, private: 1, hearsay: 1 });
    let kept = jobs.finish(key).map(|finished| finished.peers(None));
    assert_eq!(kept, Some(["10.0.0.1:1", "10.0.0.2:1", "9.0.8.8:6881"].map(addr).to_vec()));
}

#[test]
fn a_job_whose_orders_wait_for_their_turn_is_not_given_up() {
    let (mut jobs, key) = begun(&lead(&[]));
    let order = SocketAddr::from(([9, 0, 0, 1], 1));
    jobs.on_request(NOW, key, &Request::new(InfoHash([7; 20]), [order]));
    assert_eq!(needs(&mut jobs), []);
    let late = NOW + JOB_PATIENCE * 3;
    assert_eq!(jobs.poll_impatient(late, false, false), None);
    assert_eq!(dial(&mut jobs, key, Vec::new()), order);
}
