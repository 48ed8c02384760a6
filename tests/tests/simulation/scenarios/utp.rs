//! Two of five live peers take uTP alone, and refuse TCP, are silent there, or accept and hang up;
//! two of five of the others take both; three of ten take encrypted connections only, whatever they go over. Whoever
//! takes TCP is never asked over uTP, and whatever has a live peer is found, also while packets are
//! lost, doubled and overtake each other. The user may do without either.

use estudely_core::{Duration, PeerFault};
use estudely_sim::scenario::{Carries, Scenario};
use estudely_sim::world::{Carriage, PeerState};

use crate::support::{Call, Played, play, second};

const BROKEN_S: u32 = 600;

fn scenario(transports: Carries) -> Scenario {
    Scenario {
        nodes: 200,
        torrents: 150,
        utp_peers: 40,
        utp_beside: 40,
        mse_peers: 30,
        peers_min: 1,
        peers_max: 2,
        broken_s: BROKEN_S,
        healed_s: 3_000,
        transports,
        ..Scenario::calm(61)
    }
}

/// Over what a peer takes connections, and those that it had with their ends, in order.
type Met = (Carriage, Vec<(Call, Option<PeerFault>)>);

/// Each live peer that was dialled.
fn by_peer(played: &Played) -> Vec<Met> {
    let world = played.world();
    let live = (0..world.peer_count()).filter(|&n| world.peer(n).state == PeerState::Live);
    let ended: Vec<_> = played.notes.ended().collect();
    let calls = |n: u32| {
        let to = world.peer(n).addr;
        let calls = ended.iter().filter(|(call, ..)| call.to == to);
        calls.map(|(call, _, fault)| (*call, *fault)).collect::<Vec<_>>()
    };
    let all = live.map(|n| (world.peer_carriage(n), calls(n)));
    all.filter(|(_, calls)| !calls.is_empty()).collect()
}

#[test]
fn peers_that_take_utp_alone_are_asked_over_it_after_tcp_and_no_others() {
    let played = play(&scenario(Carries::Both));
    assert_eq!(played.assert_found(), 150);
    let mut served = [0, 0, 0];
    for (carriage, calls) in by_peer(&played) {
        let over: Vec<bool> = calls.iter().map(|(call, _)| call.is_utp).collect();
        assert!(!over[0], "TCP comes first: {carriage:?} {over:?}");
        assert!(calls.len() <= 4, "{carriage:?} {over:?}");
        let is_served = calls.iter().any(|(_, fault)| fault.is_none());
        match carriage {
            Carriage::Tcp | Carriage::Both => {
                assert!(over.iter().all(|utp| !utp), "{carriage:?} {over:?}");
            }
            Carriage::UtpRefuses => {
                assert_eq!(calls[0].1, Some(PeerFault::Refused));
                served[0] += usize::from(is_served);
            }
            Carriage::UtpHangs => served[1] += usize::from(is_served),
            Carriage::UtpHangsUp => {
                assert_eq!(calls[0].1, Some(PeerFault::ClosedEarly));
                served[2] += usize::from(is_served);
            }
        }
    }
    assert!(served.iter().all(|count| *count > 5), "{served:?} of each kind");
}

#[test]
fn what_is_lost_doubled_and_overtaken_costs_time_and_nothing_else() {
    let bad = Scenario {
        loss: 50,
        duplicate: 100,
        reorder: 100,
        utp_peers: 100,
        ..scenario(Carries::Both)
    };
    let played = play(&bad);
    let healed = second(u64::from(BROKEN_S));
    let early = played.notes.rows.iter().filter(|row| row.verified && row.at < healed).count();
    assert!(early > 140, "{early} of 150 before links healed");
}

#[test]
fn the_user_may_do_without_either() {
    for (transports, is_utp) in [(Carries::Tcp, false), (Carries::Utp, true)] {
        let played = play(&scenario(transports));
        assert!(played.assert_found() > 60, "{transports}");
        for (carriage, calls) in by_peer(&played) {
            assert!(calls.iter().all(|(call, _)| call.is_utp == is_utp), "{transports}");
            let is_served = calls.iter().any(|(_, fault)| fault.is_none());
            assert!(!is_served || transports.reaches(carriage), "{transports} {carriage:?}");
        }
    }
}

#[test]
fn hostile_packets_cost_no_torrent() {
    let hostile = Scenario { utp_peers: 100, hostile_utp: 50, ..scenario(Carries::Both) };
    for vices in ["acks-unsent", "syn-flood", "stranger-reset", "far-seq"] {
        let scenario = Scenario { utp_vices: vices.parse().expect("a vice"), ..hostile.clone() };
        let played = play(&scenario);
        assert_eq!(played.assert_found(), 150, "{vices}");
        let longest = played.notes.ended().map(|(call, end, _)| end.since(call.dialled)).max();
        assert!(longest < Some(Duration::from_secs(60)), "{vices}: {longest:?}");
    }
    // Nobody answers a stranger: the checker would see it.
    for vices in ["closed-window", "after-fin", "long-mask"] {
        play(&Scenario { utp_vices: vices.parse().expect("a vice"), ..hostile.clone() });
    }
}
