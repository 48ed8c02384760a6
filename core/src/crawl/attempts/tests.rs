use super::*;

const CALM: Circumstances = Circumstances { cut_off: false, held_up: false, crowded: false };

fn failure(fault: PeerFault, progress: Progress) -> Failure {
    Failure { fault, progress, clue: Clue::None }
}

const OVER: Moved = Moved::Over(Acceptance::Some);

fn ended(plan: &mut Plan, failure: &Failure, blame: Blame) -> Moved {
    assert!(plan.begin(Ways::TCP).is_some());
    plan.on_failure(failure, blame)
}

#[test]
fn the_blame_follows_from_the_fault_and_what_goes_on_around_it() {
    let timeout = failure(PeerFault::ConnectTimeout, Progress::Nothing);
    let refused = failure(PeerFault::Refused, Progress::Nothing);
    let early = failure(PeerFault::ClosedEarly, Progress::Connected);
    let keys = failure(PeerFault::ClosedExchangingKeys, Progress::Connected);
    let system = failure(PeerFault::Pressure, Progress::Nothing);
    let budget = failure(PeerFault::Pressure, Progress::Offered);
    let cut_off = Circumstances { cut_off: true, ..CALM };
    let crowded = Circumstances { crowded: true, ..CALM };
    let held_up = Circumstances { held_up: true, ..crowded };
    for (failure, around, blame) in [
        (timeout, CALM, Blame::Peer),
        (timeout, cut_off, Blame::Network),
        (refused, cut_off, Blame::Peer),
        (early, CALM, Blame::Peer),
        (early, crowded, Blame::Crowd),
        (keys, CALM, Blame::Peer),
        (keys, crowded, Blame::Crowd),
        (early, held_up, Blame::Us),
        (early, Circumstances { cut_off: true, ..crowded }, Blame::Network),
        (system, CALM, Blame::Us),
        (budget, CALM, Blame::Us),
        (budget, held_up, Blame::Us),
    ] {
        assert_eq!(failure.blame(around), blame, "{failure:?} {around:?}");
    }
}

#[test]
fn a_peer_that_chokes_on_pipelining_is_asked_piece_by_piece_and_then_no_more() {
    let mut plan = Plan::new();
    let choked = Failure {
        fault: PeerFault::MetadataTimeout,
        progress: Progress::Offered,
        clue: Clue::Choked,
    };
    let transport = Transport::Tcp;
    let (ways, all) = (Ways::TCP, Attempt { transport, pipeline: Pipeline::All });
    assert_eq!(plan.begin(ways), Some(all));
    assert_eq!(plan.on_failure(&choked, Blame::Peer), Moved::On);
    let one_by_one = Attempt { pipeline: Pipeline::OneByOne, ..all };
    assert_eq!((plan.due(), plan.begin(ways)), (Some(Rank::Later), Some(one_by_one)));
    assert_eq!(plan.on_failure(&choked, Blame::Peer), OVER);
    assert!(plan.is_over() && plan.begin(ways).is_none());
}

const ANY: TransportPolicy = TransportPolicy::Any;

/// Every pair of settings.
fn all_ways() -> impl Iterator<Item = (TransportPolicy, EncryptionPolicy)> {
    use EncryptionPolicy::{Auto, Off, Require};
    let carriers = [ANY, TransportPolicy::Tcp, TransportPolicy::Utp];
    carriers.into_iter().flat_map(|carrier| [Auto, Require, Off].map(|seal| (carrier, seal)))
}

/// What is tried on a peer, whose attempts end with these clues.
fn tried(ways: Ways, ends: &[Clue]) -> Vec<(Transport, Rank)> {
    let mut plan = Plan::new();
    let mut tried = Vec::new();
    for clue in ends.iter().copied().chain([Clue::None; 4]) {
        let Some(rank) = plan.due() else { break };
        let attempt = plan.begin(ways).expect("it is due");
        tried.push((attempt.transport, rank));
        let (fault, progress) = match clue {
            Clue::Absent => (PeerFault::ConnectTimeout, Progress::Nothing),
            _ => (PeerFault::ClosedEarly, Progress::Connected),
        };
        let _ = plan.on_failure(&Failure { fault, progress, clue }, Blame::Peer);
    }
    tried
}

#[test]
fn without_a_clue_the_first_attempt_is_the_last() {
    for (carriers, seal) in all_ways() {
        assert_eq!(tried(Ways::of(carriers, seal, None), &[]).len(), 1, "{carriers:?} {seal:?}");
    }
}

#[test]
fn what_a_peer_bars_decides_what_is_tried_next() {
    use Clue::{Absent, Barred, Choked, Mute};
    use EncryptionPolicy::{Auto, Off, Require};
    use Rank::{AtOnce, Elsewhere, First, Last, Later};
    use Transport::{Tcp, TcpEncrypted, Utp, UtpEncrypted};
    let unknown = Ways::of(ANY, Auto, None);
    let after = |ends: &[Clue]| tried(unknown, ends);
    assert_eq!(after(&[Barred]), [(Tcp, First), (TcpEncrypted, AtOnce)]);
    assert_eq!(
        after(&[Barred, Choked]),
        [(Tcp, First), (TcpEncrypted, AtOnce), (TcpEncrypted, Later)]
    );
    assert_eq!(after(&[Absent]), [(Tcp, First), (Utp, Elsewhere)]);
    // Silent: with encryption when nobody better is left, and what it says to that counts.
    let silent = [(Tcp, First), (TcpEncrypted, Last)];
    assert_eq!(after(&[Mute, Mute]), silent);
    assert_eq!(after(&[Mute, Barred]), [silent[0], silent[1], (UtpEncrypted, Elsewhere)]);
    assert_eq!(after(&[Absent, Mute]), [(Tcp, First), (Utp, Elsewhere), (UtpEncrypted, Last)]);
    // Silent over both: nobody is there.
    assert_eq!(after(&[Absent, Absent]), [(Tcp, First), (Utp, Elsewhere)]);
    let both = [(Tcp, First), (Utp, Elsewhere), (UtpEncrypted, AtOnce)];
    assert_eq!(after(&[Absent, Barred, Barred]), both);
    assert_eq!(after(&[Absent, Barred, Absent]), both);
    let four = [both[0], both[1], both[2], (UtpEncrypted, Later)];
    assert_eq!(after(&[Absent, Barred, Choked, Choked, Barred]), four);
    // Who accepts over TCP and takes nothing there may take uTP alone.
    let two = [(Tcp, First), (TcpEncrypted, AtOnce)];
    let three = [two[0], two[1], (UtpEncrypted, Elsewhere)];
    assert_eq!(after(&[Barred, Barred, Absent]), three);
    assert_eq!(after(&[Barred, Absent, Absent]), [two[0], two[1], (Utp, Elsewhere)]);
    let all = [three[0], three[1], three[2], (Utp, AtOnce)];
    assert_eq!(after(&[Barred; 5]), all);
    for (carriers, seal, ends, way) in [
        (ANY, Require, [Absent, Barred], &[TcpEncrypted, UtpEncrypted][..]),
        (ANY, Off, [Absent, Barred], &[Tcp, Utp]),
        (TransportPolicy::Tcp, Auto, [Barred, Absent], &[Tcp, TcpEncrypted]),
        (TransportPolicy::Tcp, Auto, [Absent, Absent], &[Tcp]),
        (TransportPolicy::Utp, Auto, [Barred, Barred], &[Utp, UtpEncrypted]),
        (TransportPolicy::Utp, Off, [Absent, Barred], &[Utp]),
    ] {
        let tried = tried(Ways::of(carriers, seal, None), &ends);
        let tried: Vec<_> = tried.into_iter().map(|(transport, _)| transport).collect();
        assert_eq!(tried, way, "{carriers:?} {seal:?} {ends:?}");
    }
}

#[test]
fn a_peer_that_bars_one_way_is_asked_the_other_way_at_once_and_counts_as_accepted() {
    let barred =
        Failure { clue: Clue::Barred, ..failure(PeerFault::ClosedEarly, Progress::Connected) };
    let absent =
        Failure { clue: Clue::Absent, ..failure(PeerFault::ConnectTimeout, Progress::Nothing) };
    let habits = [None, Some(Transport::TcpEncrypted), Some(Transport::UtpEncrypted)];
    for habit in habits {
        let ways = Ways::of(ANY, EncryptionPolicy::Auto, habit);
        let mut plan = Plan::new();
        let first = plan.begin(ways).expect("it is due").transport;
        assert_eq!(plan.on_failure(&barred, Blame::Peer), Moved::On);
        assert_eq!(plan.due(), Some(Rank::AtOnce));
        // What is learnt meanwhile changes nothing.
        let next = plan.begin(Ways::TCP).map(|attempt| attempt.transport);
        assert_eq!(next, Some(first.other_seal()));
        assert_eq!(plan.on_failure(&absent, Blame::Peer), Moved::On);
        assert!(
            plan.begin(Ways::TCP).is_some_and(|next| { next.transport.is_utp() != first.is_utp() })
        );
        assert_eq!(plan.on_failure(&absent, Blame::Peer), OVER, "it accepted one of them");
    }
}

#[test]
fn what_is_known_of_a_peer_comes_first_where_the_run_allows_it() {
    use Clue::{Absent, Barred};
    use EncryptionPolicy::{Auto, Off};
    use Transport::{Tcp, TcpEncrypted, Utp, UtpEncrypted};
    for (carriers, seal, habit, ends, way) in [
        (ANY, Auto, TcpEncrypted, Barred, [TcpEncrypted, Tcp]),
        (ANY, Auto, TcpEncrypted, Absent, [TcpEncrypted, UtpEncrypted]),
        (ANY, Auto, Utp, Absent, [Utp, Tcp]),
        (ANY, Auto, UtpEncrypted, Barred, [UtpEncrypted, Utp]),
        (ANY, Off, Utp, Barred, [Utp, Tcp]),
        (ANY, Off, TcpEncrypted, Absent, [Tcp, Utp]),
        (TransportPolicy::Tcp, Auto, Utp, Barred, [Tcp, TcpEncrypted]),
    ] {
        let tried = tried(Ways::of(carriers, seal, Some(habit)), &[ends]);
        let tried: Vec<_> = tried.into_iter().map(|(transport, _)| transport).collect();
        assert_eq!(tried, way, "{carriers:?} {seal:?} {habit:?}");
    }
}

#[test]
fn no_plan_does_what_the_run_does_not_allow_nor_connects_too_often() {
    use Clue::{Absent, Barred, Choked, Mute, None};
    let clues = [None, Barred, Absent, Choked, Mute];
    for (carriers, seal) in all_ways() {
        let ways = Ways::of(carriers, seal, Option::None);
        for ends in 0..3_125_usize {
            let ends: [Clue; 5] = [1, 5, 25, 125, 625].map(|unit| clues[ends / unit % 5]);
            let tried = tried(ways, &ends);
            assert!(tried.iter().all(|(transport, _)| ways.allow(*transport)), "{ends:?}");
            assert!(tried.len() <= usize::from(PLAN_CONNECTS_MAX), "{ends:?}");
            let looks = tried.iter().filter(|(_, rank)| *rank == Rank::Elsewhere).count();
            assert!(looks <= 1, "{ends:?}");
        }
    }
}

#[test]
fn what_is_not_the_peers_fault_costs_it_nothing_but_a_crowd_is_believed_only_so_often() {
    let mut plan = Plan::new();
    let early = failure(PeerFault::ClosedEarly, Progress::Connected);
    for _ in 0..PUT_BACKS_MAX {
        assert_eq!(ended(&mut plan, &early, Blame::Crowd), Moved::Again);
    }
    for blame in [Blame::Us, Blame::Network].repeat(5) {
        assert_eq!(ended(&mut plan, &early, blame), Moved::Again);
    }
    assert_eq!(ended(&mut plan, &early, Blame::Crowd), OVER);
}

#[test]
fn no_plan_has_more_connects_than_the_limit() {
    let barred =
        Failure { clue: Clue::Barred, ..failure(PeerFault::ClosedEarly, Progress::Connected) };
    let mut plan = Plan::new();
    let mut connects = 0;
    while plan.begin(Ways::TCP).is_some() {
        connects += 1;
        let _ = plan.on_failure(&barred, Blame::Crowd);
    }
    assert_eq!(connects, PLAN_CONNECTS_MAX);
}

#[test]
fn an_attempt_broken_off_is_neither_due_nor_over() {
    let mut plan = Plan::new();
    assert!(plan.begin(Ways::TCP).is_some());
    plan.break_off();
    assert!(plan.due().is_none() && !plan.is_over() && !plan.is_under_way());
}
