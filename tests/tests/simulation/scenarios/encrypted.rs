//! Two of three live peers take encrypted connections only, by RC4 or in the clear behind the keys;
//! a fifth of all peers are dead. Each such peer is dialled in the clear, hangs up, and is dialled
//! with encryption at once, within one attempt: whatever has a live peer is found. Peers in the
//! clear never meet encryption. Where all is to be encrypted, those that select RC4 serve and
//! nobody else is asked anything; where nothing is to be, those in the clear do.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use estudely_core::{Duration, PeerFault};
use estudely_sim::scenario::{Encrypts, Scenario};
use estudely_sim::world::{Door, PeerState};

use crate::support::{Call, Played, play};

/// From the end of one connection to the beginning of the next: it waits for nothing.
const AT_ONCE: Duration = Duration::from_millis(200);

fn scenario(encryption: Encrypts) -> Scenario {
    Scenario {
        nodes: 200,
        torrents: 150,
        mse_peers: 66,
        dead_peers: 20,
        peers_min: 1,
        peers_max: 2,
        broken_s: 60,
        healed_s: 3_000,
        encryption,
        ..Scenario::calm(61)
    }
}

/// How a live peer is met, and its connections with their ends, in order.
type Met = (Door, Vec<(Call, Option<PeerFault>)>);

/// Each live peer.
fn by_peer(played: &Played) -> BTreeMap<SocketAddr, Met> {
    let world = played.world();
    let live = (0..world.peer_count()).filter(|&n| world.peer(n).state == PeerState::Live);
    let mut peers: BTreeMap<_, _> =
        live.map(|n| (world.peer(n).addr, (world.peer_door(n), Vec::new()))).collect();
    for (call, _, fault) in played.notes.ended() {
        if let Some((_, calls)) = peers.get_mut(&call.to) {
            calls.push((call, fault));
        }
    }
    peers
}

#[test]
fn peers_that_want_encryption_are_asked_for_it_at_once_and_no_others() {
    let played = play(&scenario(Encrypts::Auto));
    assert!(played.assert_found() > 120);
    let mut sealed = [0, 0];
    for (peer, (door, calls)) in by_peer(&played) {
        let ends: Vec<_> = calls.iter().map(|(call, fault)| (call.is_sealed, *fault)).collect();
        let clear_then_sealed = [(false, Some(PeerFault::ClosedEarly)), (true, None)];
        match door {
            _ if calls.is_empty() => {}
            Door::Clear => assert_eq!(ends, [(false, None)], "{peer}"),
            Door::Keys | Door::Rc4 => {
                assert_eq!(ends, clear_then_sealed, "{peer}");
                let (first, second) = (calls[0].0, calls[1].0);
                let ended = first.ended.expect("it is over").0;
                assert!(second.dialled < ended + AT_ONCE, "{peer} waits");
                sealed[usize::from(door == Door::Rc4)] += 1;
            }
        }
    }
    assert!(sealed.iter().all(|count| *count > 20), "{sealed:?} of either kind");
}

#[test]
fn the_user_may_require_encryption_or_do_without() {
    for (encryption, serves) in [(Encrypts::Require, Door::Rc4), (Encrypts::Off, Door::Clear)] {
        let played = play(&scenario(encryption));
        assert!(played.assert_found() > 30, "{encryption}");
        for (peer, (door, calls)) in by_peer(&played) {
            let is_served = calls.iter().any(|(_, fault)| fault.is_none());
            assert!(!is_served || door == serves, "{encryption} {peer}");
            let sealed = encryption == Encrypts::Require;
            assert!(calls.iter().all(|(call, _)| call.is_sealed == sealed), "{encryption} {peer}");
        }
    }
}
