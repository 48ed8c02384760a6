use super::*;
use crate::base::addr::AddressPolicy;
use crate::config::{EncryptionPolicy, TransportPolicy};
use crate::crawl::attempts::Clue;
use crate::crawl::attempts::Ways;
use crate::crawl::jobs::peers::Added;
use crate::limits::{PEERS_PER_PREFIX_MAX, PUT_BACKS_MAX};
use crate::peer::exchange::{Pipeline, Progress, Transport};

const LIMITS: JobLimits = JobLimits {
    peers: 4,
    attempts: 2,
    may_walk: true,
    dials: true,
    policy: AddressPolicy::Public,
    own: [None; 2],
};

fn peer(n: u8) -> SocketAddr {
    SocketAddr::from(([9, 0, n, 1], 1))
}

fn job() -> Job {
    let lead = Lead::new(InfoHash([7; 20]), Instant::START, Origin::Request);
    Job::new(
        Instant::START,
        &lead,
        Source::Done,
        Standing::blank().reserve(None, None, Duration::ZERO),
    )
}

fn add(job: &mut Job, limits: &JobLimits, addr: SocketAddr) -> bool {
    job.peers.add(limits, addr, None) == Added::New
}

fn dial(job: &mut Job) -> Option<SocketAddr> {
    job.begin_dial(&LIMITS, &Standing::blank(), |_| true, |_| Ways::TCP).map(|(addr, ..)| addr)
}

fn fail(job: &mut Job, addr: SocketAddr, fault: PeerFault, progress: Progress) {
    job.on_failure(addr, &Failure { fault, progress, clue: Clue::None }, Blame::Peer);
}

#[test]
fn without_peers_the_source_comes_first_then_a_walk_then_the_end() {
    let node = Contact { id: crate::base::id::NodeId([1; 20]), addr: peer(99) };
    let mut job = job();
    (job.node, job.source) = (Some(node), Source::Queued(0));
    assert_eq!(job.next(&LIMITS), Next::Wait);
    assert_eq!(job.ask_source(), Some(node));
    assert_eq!(job.next(&LIMITS), Next::Wait);
    job.source = Source::Done;
    assert_eq!(job.next(&LIMITS), Next::Walk);
    job.walk = WalkState::Waiting;
    assert_eq!(job.next(&LIMITS), Next::Wait);
    job.walk = WalkState::Done;
    assert_eq!(job.next(&LIMITS), Next::Settle(FailureCause::NoPeers));
}

#[test]
fn a_silent_source_is_asked_once_more_and_without_end_while_the_network_may_be_gone() {
    let node = Contact { id: crate::base::id::NodeId([1; 20]), addr: peer(99) };
    let mut job = job();
    (job.node, job.source) = (Some(node), Source::Queued(0));
    for (blameless, again) in [(false, true), (true, true), (true, true), (false, false)] {
        assert_eq!(job.ask_source(), Some(node));
        assert_eq!(job.on_source_silence(blameless).is_some(), again);
    }
    assert_eq!(job.source, Source::Done);
}

#[test]
fn a_slow_connection_is_overtaken_and_a_failed_one_replaced() {
    let mut job = job();
    for n in 1..=3 {
        assert!(add(&mut job, &LIMITS, peer(n)));
    }
    assert_eq!(dial(&mut job), Some(peer(1)));
    assert_eq!(job.next(&LIMITS), Next::Wait);
    job.allow_overtaking();
    assert_eq!(job.next(&LIMITS), Next::Dial);
    assert_eq!(dial(&mut job), Some(peer(2)));
    fail(&mut job, peer(2), PeerFault::Refused, Progress::Nothing);
    fail(&mut job, peer(1), PeerFault::ConnectTimeout, Progress::Nothing);
    assert_eq!(job.next(&LIMITS), Next::Dial);
}

#[test]
fn a_peer_that_may_want_encryption_is_asked_at_once_beside_others_and_uses_up_one_attempt() {
    let mut job = job();
    for n in 1..=3 {
        assert!(add(&mut job, &LIMITS, peer(n)));
    }
    let (fault, progress) = (PeerFault::ClosedEarly, Progress::Connected);
    let barred = Failure { fault, progress, clue: Clue::Barred };
    assert_eq!(dial(&mut job), Some(peer(1)));
    job.allow_overtaking();
    assert_eq!(dial(&mut job), Some(peer(2)));
    job.on_failure(peer(2), &barred, Blame::Peer);
    assert_eq!(job.next(&LIMITS), Next::Dial, "the slow one does not hold it up");
    assert_eq!(dial(&mut job), Some(peer(2)));
    assert_eq!(job.next(&LIMITS), Next::Wait);
    fail(&mut job, peer(2), PeerFault::ConnectTimeout, Progress::Nothing);
    fail(&mut job, peer(1), PeerFault::Refused, Progress::Nothing);
    assert_eq!(job.next(&LIMITS), Next::Dial, "one of two attempts is left");
    assert_eq!(dial(&mut job), Some(peer(3)));
    job.on_failure(peer(3), &barred, Blame::Peer);
    assert_eq!(dial(&mut job), Some(peer(3)));
    job.on_failure(peer(3), &barred, Blame::Peer);
    let telling = FailureCause::Peer(PeerFault::ClosedEarly);
    assert_eq!(job.next(&LIMITS), Next::Settle(telling));
}

#[test]
fn a_silent_peer_counts_at_once_and_is_asked_with_encryption_when_nobody_better_is_left() {
    let (fault, progress) = (PeerFault::HandshakeTimeout, Progress::Connected);
    let mute = Failure { fault, progress, clue: Clue::Mute };
    for mutes in [1, 2] {
        let mut job = job();
        for n in 1..=3 {
            assert!(add(&mut job, &LIMITS, peer(n)));
        }
        for n in 1..=mutes {
            assert_eq!(dial(&mut job), Some(peer(n)));
            job.on_failure(peer(n), &mute, Blame::Peer);
            assert_eq!((job.spent, job.peers.waiting()), (n, 3 - usize::from(n)));
        }
        if mutes == 1 {
            for n in [2, 3] {
                assert_eq!(dial(&mut job), Some(peer(n)));
                fail(&mut job, peer(n), PeerFault::Refused, Progress::Nothing);
            }
            assert_eq!(job.next(&LIMITS), Next::Walk, "it may find better ones");
            assert_eq!(dial(&mut job), None);
            job.walk = WalkState::Done;
        }
        for n in 1..=mutes {
            assert_eq!(job.next(&LIMITS), Next::Dial, "of two attempts {mutes} are used up");
            assert_eq!(dial(&mut job), Some(peer(n)), "it costs nothing more");
            job.on_failure(peer(n), &mute, Blame::Peer);
        }
        assert_eq!(job.spent, mutes, "one peer, one attempt");
        assert_eq!(job.next(&LIMITS), Next::Settle(FailureCause::Peer(fault)));
    }
}

#[test]
fn neither_peers_nor_a_walk_wait_for_one_that_is_looked_for_over_another_transport() {
    let limits = JobLimits { attempts: 5, ..LIMITS };
    let ways = |_| Ways::of(TransportPolicy::Any, EncryptionPolicy::Auto, None);
    let begin = |job: &mut Job| {
        let begun = job.begin_dial(&limits, &Standing::blank(), |_| true, ways);
        begun.map(|(addr, _, attempt)| (addr, attempt.transport))
    };
    let (fault, progress) = (PeerFault::ConnectTimeout, Progress::Nothing);
    let absent = Failure { fault, progress, clue: Clue::Absent };
    let mut job = job();
    for n in 1..=2 {
        assert!(add(&mut job, &limits, peer(n)));
        assert_eq!(begin(&mut job), Some((peer(n), Transport::Tcp)));
        job.on_failure(peer(n), &absent, Blame::Peer);
    }
    assert_eq!(begin(&mut job), Some((peer(1), Transport::Utp)));
    assert_eq!(job.next(&limits), Next::Dial, "beside it");
    assert_eq!(begin(&mut job), Some((peer(2), Transport::Utp)));
    assert_eq!(job.next(&limits), Next::Walk);
    job.walk = WalkState::Done;
    assert_eq!(job.next(&limits), Next::Wait, "what is under way may bring it");
    assert!(add(&mut job, &limits, peer(3)));
    assert_eq!(begin(&mut job), Some((peer(3), Transport::Tcp)));
    assert!(add(&mut job, &limits, peer(4)));
    assert_eq!(job.next(&limits), Next::Wait, "for the one over TCP");
    fail(&mut job, peer(3), PeerFault::Refused, Progress::Nothing);
    for n in 1..=2 {
        job.on_failure(peer(n), &absent, Blame::Peer);
    }
    assert_eq!(job.next(&limits), Next::Dial);
}

#[test]
fn only_accepted_connections_use_up_attempts() {
    let mut job = job();
    for n in 1..=4 {
        assert!(add(&mut job, &LIMITS, peer(n)));
    }
    assert!(!add(&mut job, &LIMITS, peer(5)), "room for four");
    for progress in [Progress::Nothing, Progress::Connected] {
        let addr = dial(&mut job).expect("a waiting peer");
        fail(&mut job, addr, PeerFault::NoMetadata, progress);
        assert_eq!(job.next(&LIMITS), Next::Dial);
    }
    let addr = dial(&mut job).expect("a waiting peer");
    fail(&mut job, addr, PeerFault::Refused, Progress::Connected);
    let telling = FailureCause::Peer(PeerFault::NoMetadata);
    assert_eq!(job.next(&LIMITS), Next::Settle(telling));
}

#[test]
fn a_peer_that_chokes_on_pipelining_gets_one_more_try_after_all_others() {
    let mut job = job();
    add(&mut job, &LIMITS, peer(1));
    add(&mut job, &LIMITS, peer(2));
    let choked = Failure {
        fault: PeerFault::MetadataTimeout,
        progress: Progress::Offered,
        clue: Clue::Choked,
    };
    assert_eq!(dial(&mut job), Some(peer(1)));
    job.on_failure(peer(1), &choked, Blame::Peer);
    assert_eq!(dial(&mut job), Some(peer(2)));
    fail(&mut job, peer(2), PeerFault::Refused, Progress::Nothing);
    let (addr, _, attempt) =
        job.begin_dial(&LIMITS, &Standing::blank(), |_| true, |_| Ways::TCP).expect("once more");
    assert_eq!((addr, attempt.pipeline), (peer(1), Pipeline::OneByOne));
    job.on_failure(peer(1), &choked, Blame::Peer);
    assert_eq!(dial(&mut job), None);
    assert_eq!(job.spent, 1, "one peer, one attempt");
}

#[test]
fn pressure_costs_the_peer_nothing() {
    let mut job = job();
    add(&mut job, &LIMITS, peer(1));
    let pressure =
        Failure { fault: PeerFault::Pressure, progress: Progress::Offered, clue: Clue::None };
    for blame in [Blame::Crowd, Blame::Us].repeat(usize::from(PUT_BACKS_MAX)) {
        assert_eq!(dial(&mut job), Some(peer(1)));
        job.on_failure(peer(1), &pressure, blame);
        assert_eq!((job.spent, job.cause), (0, FailureCause::NoPeers));
    }
    assert_eq!(dial(&mut job), Some(peer(1)));
    job.on_failure(peer(1), &pressure, Blame::Crowd);
    assert_eq!((dial(&mut job), job.spent), (None, 1), "but not for ever");
}

#[test]
fn after_a_wrong_hash_no_pieces_are_pooled() {
    let mut job = job();
    add(&mut job, &LIMITS, peer(1));
    assert!(job.may_pool());
    assert_eq!(dial(&mut job), Some(peer(1)));
    fail(&mut job, peer(1), PeerFault::BadHash, Progress::Complete);
    assert!(!job.may_pool());
}

#[test]
fn one_ip_fills_no_more_than_two_places() {
    let mut job = job();
    let same = |port| SocketAddr::from(([9, 9, 9, 9], port));
    assert!(add(&mut job, &LIMITS, same(1)) && !add(&mut job, &LIMITS, same(1)));
    assert!(add(&mut job, &LIMITS, same(2)) && !add(&mut job, &LIMITS, same(3)));
}

#[test]
fn one_neighbourhood_fills_no_more_than_its_places() {
    let mut job = job();
    let near = |n| SocketAddr::from(([9, 9, 9, n], 1));
    let kept = (0..4).filter(|n| add(&mut job, &LIMITS, near(*n))).count();
    assert_eq!(kept, PEERS_PER_PREFIX_MAX);
}

#[test]
fn orders_are_all_kept_and_tried_whatever_their_neighbours_and_fill_no_places() {
    let mut job = job();
    let near = |n| SocketAddr::from(([9, 9, 9, n], 1));
    let same = |port| SocketAddr::from(([9, 9, 9, 200], port));
    assert!(add(&mut job, &LIMITS, near(1)));
    let orders: Vec<_> = (1..=10).map(near).chain((1..=10).map(same)).collect();
    let new = orders.iter().filter(|order| job.peers.order(**order) == Added::New).count();
    assert_eq!((new, job.peers.len(), job.peers.heard()), (19, 20, 0));
    assert!((1..=4).all(|n| add(&mut job, &LIMITS, peer(n))), "there is room for others");
    // More accept a connection than there are attempts: an order is tried all the same.
    for order in orders {
        assert_eq!(job.next(&LIMITS), Next::Dial);
        assert_eq!(dial(&mut job), Some(order));
        fail(&mut job, order, PeerFault::ClosedEarly, Progress::Connected);
    }
    assert_eq!(dial(&mut job), None, "the attempts on others are used up");
    assert!(matches!(job.next(&LIMITS), Next::Settle(_)));
}

#[test]
fn orders_are_bounded_and_those_beyond_are_told_apart() {
    let mut job = job();
    let order = |n: u16| SocketAddr::from(([9, 9, 9, 9], n));
    assert!((1..=1_000).all(|n| job.peers.order(order(n)) == Added::New));
    assert_eq!(job.peers.order(order(1_001)), Added::NoRoom);
    assert_eq!(job.peers.order(order(1_000)), Added::Known);
}

#[test]
fn no_single_answer_fills_every_place() {
    let limits = JobLimits { peers: 20, ..LIMITS };
    let mut job = job();
    assert_eq!(job.peers.places_for_answer(&limits, true), 15);
    for n in 0..15 {
        assert!(add(&mut job, &limits, peer(n)));
    }
    assert_eq!(job.peers.places_for_answer(&limits, true), 5);
    assert_eq!(job.peers.places_for_answer(&limits, false), 3);
    let one = JobLimits { peers: 1, ..LIMITS };
    assert_eq!(self::job().peers.places_for_answer(&one, true), 1);
    let asks_only = JobLimits { dials: false, ..limits };
    assert_eq!(self::job().peers.places_for_answer(&asks_only, true), 20);
}

#[test]
fn where_only_peers_are_wanted_the_source_suffices() {
    let limits = JobLimits { dials: false, ..LIMITS };
    let mut job = job();
    assert_eq!(job.next(&limits), Next::Walk);
    add(&mut job, &limits, peer(1));
    assert_eq!(job.next(&limits), Next::Settle(FailureCause::NoPeers));
}

#[test]
fn a_walk_in_doubt_is_repeated_once_the_network_is_back_unless_it_was_never_gone() {
    for (walk_again, walk) in [(true, WalkState::NotNeeded), (false, WalkState::Done)] {
        let mut job = job();
        let key = crate::base::store::Slab::new(1).insert(()).expect("room");
        job.walk = WalkState::Walking([Some(key), Some(key)]);
        job.on_walk_ended(0, true);
        assert!(matches!(job.walk, WalkState::Walking([None, Some(_)])));
        job.on_walk_ended(1, false);
        assert_eq!(job.walk, WalkState::Done);
        job.on_released(walk_again);
        assert_eq!(job.walk, walk);
    }
}
