//! Connections over loopback against peers that refuse, stay silent, drip, flood or hang up.

mod peers;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use estudely_core::internal::exchange::{Attempt, Pipeline};
use estudely_core::limits::HANDSHAKE_TIMEOUT;
use estudely_core::{Exchange, InfoHash, Instant, Outcome, PeerFault, Seed, Transport};
use estudely_io_smol::clock::Clock;
use estudely_io_smol::tcp::Connections;

use peers::Peer;

/// Dials `count` times, at most `width` at once, and returns the faults in the order they came.
fn dial(to: SocketAddr, local: Option<IpAddr>, count: u32, width: usize) -> Vec<PeerFault> {
    let clock = Clock::start();
    let connections = Connections::new(clock, [local, None]);
    let work = async {
        let (mut begun, mut faults) = (0, Vec::new());
        while faults.len() < count as usize {
            while begun < count && connections.open() < width {
                connections.dial(begun, to, exchange(clock.now()));
                begun += 1;
            }
            let (_, outcome) = connections.outcome().await;
            faults.push(fault(&outcome));
        }
        faults
    };
    async_io::block_on(connections.run(work))
}

fn exchange(now: Instant) -> Exchange {
    let attempt = Attempt { transport: Transport::Tcp, pipeline: Pipeline::All };
    Exchange::new(now, InfoHash([1; 20]), attempt, None, Seed::from_u64(1))
}

fn fault(outcome: &Outcome) -> PeerFault {
    *outcome.result.as_ref().expect_err("these peers have no metadata")
}

#[test]
fn a_closed_port_is_refused() {
    assert_eq!(dial(peers::closed_port(), None, 1, 1), [PeerFault::Refused]);
}

#[test]
fn an_address_without_a_route_is_unreachable() {
    // 240/4 is never routed: the kernel says so at once.
    let nowhere = SocketAddr::from(([255, 255, 255, 255], 9));
    assert_eq!(dial(nowhere, None, 1, 1), [PeerFault::Unreachable]);
}

#[test]
fn an_address_that_is_not_ours_cannot_be_dialled_from_and_costs_the_peer_nothing() {
    let peer = Peer::start(peers::hang_up);
    let foreign = IpAddr::from([192, 0, 2, 1]);
    assert_eq!(dial(peer.addr(), Some(foreign), 1, 1), [PeerFault::Pressure]);
}

#[test]
fn a_peer_that_hangs_up_has_closed_early() {
    let peer = Peer::start(peers::hang_up);
    assert_eq!(dial(peer.addr(), None, 1, 1), [PeerFault::ClosedEarly]);
}

#[test]
fn a_silent_peer_ends_at_the_deadline() {
    ends_at_the_deadline(&Peer::start(peers::stay_silent));
}

#[test]
fn dripping_bytes_do_not_move_the_deadline() {
    ends_at_the_deadline(&Peer::start_slow(peers::drip));
}

fn ends_at_the_deadline(peer: &Peer) {
    let begun = std::time::Instant::now();
    assert_eq!(dial(peer.addr(), None, 3, 3), [PeerFault::HandshakeTimeout; 3]);
    let late = begun.elapsed().saturating_sub(HANDSHAKE_TIMEOUT);
    assert!(late < Duration::from_secs(2), "{late:?} late");
}

#[test]
fn a_flood_of_bytes_does_not_keep_a_connection() {
    let peer = Peer::start_slow(peers::flood);
    assert_eq!(dial(peer.addr(), None, 1, 1), [PeerFault::NotBitTorrent]);
}

#[test]
fn dials_leave_from_the_bound_address() {
    let peer = Peer::start(peers::hang_up);
    let local = IpAddr::from([127, 0, 0, 77]);
    dial(peer.addr(), Some(local), 2, 1);
    assert_eq!(peer.callers(), [local, local]);
}

/// More dials than there are ephemeral ports: ended by us, each would hold its port in TIME_WAIT
/// for a minute if it were closed in the ordinary way, and a port taken at `bind` would serve one
/// destination only.
#[test]
fn forty_thousand_dials_in_a_row_never_run_out_of_ports() {
    let peer = Peer::start(peers::answer_garbage);
    for local in [None, Some(IpAddr::from([127, 0, 0, 78]))] {
        let faults = dial(peer.addr(), local, 20_000, 100);
        let pressed = faults.iter().filter(|fault| **fault != PeerFault::NotBitTorrent).count();
        assert_eq!(pressed, 0, "of {}", faults.len());
    }
}

#[test]
fn aborting_ends_every_connection_at_once() {
    let peer = Peer::start(peers::stay_silent);
    let clock = Clock::start();
    let connections = Connections::new(clock, [None, None]);
    let work = async {
        for key in 0..50 {
            connections.dial(key, peer.addr(), exchange(clock.now()));
        }
        peer.wait_for_callers(50).await;
        connections.abort();
        // Too late, and so aborted as well.
        connections.dial(50, peer.addr(), exchange(clock.now()));
        let mut faults = Vec::new();
        while connections.open() > 0 || connections.has_outcome() {
            let (_, outcome) = connections.outcome().await;
            faults.push(fault(&outcome));
        }
        faults
    };
    let begun = std::time::Instant::now();
    assert_eq!(async_io::block_on(connections.run(work)), [PeerFault::Aborted; 51]);
    assert!(begun.elapsed() < Duration::from_secs(2));
}
