//! Half of all live peers only hold connections: they say a byte a second, or nothing after their
//! handshake, or nothing after their offer; of the others a fifth refuse, say nothing at all, or
//! never complete a connection. A connection is held exactly as long as its stage allows and no
//! longer, however many bytes drip: 8 s to be accepted, 10 s for the whole handshake, 10 s from
//! there to the offer, 10 s from there to the first piece. The cap on connections holds, and every
//! torrent with a peer that serves is found, with room for 200 connections and with room for 10.

use std::collections::BTreeMap;

use estudely_core::PeerFault;
use estudely_core::limits::{CONNECT_TIMEOUT, EXTENSION_TIMEOUT, HANDSHAKE_TIMEOUT, PIECE_TIMEOUT};
use estudely_sim::scenario::Scenario;
use estudely_sim::vice::{PeerVice, PeerVices};
use estudely_sim::world::PeerState;

use crate::support::play;

fn hold(connections: u32, most_open: usize) {
    let vices = [PeerVice::Drip, PeerVice::SilentAfterHandshake, PeerVice::SilentAfterOffer];
    let scenario = Scenario {
        nodes: 200,
        torrents: 150,
        peers_min: 2,
        connections,
        hostile_peers: 50,
        peer_vices: PeerVices::of(&vices),
        dead_peers: 20,
        broken_s: 60,
        healed_s: 4 * 3_600,
        ..Scenario::calm(36)
    };
    let played = play(&scenario);
    let (world, notes) = (played.world(), &played.notes);
    let who: BTreeMap<_, _> = (0..world.peer_count())
        .map(|peer| (world.peer(peer).addr, (world.peer(peer).state, world.peer_vice(peer))))
        .collect();
    let mut met = BTreeMap::<_, u32>::new();
    for (call, at, fault) in notes.ended() {
        let (state, vice) = who[&call.to];
        *met.entry((state.word(), vice)).or_default() += 1;
        let connected = || at.since(call.connected.expect("it accepts"));
        // The last thing such a peer says is also what its next stage counts from.
        let heard = || at.since(call.heard.expect("it speaks"));
        let (due, held, limit) = match (state, vice) {
            (PeerState::Refuses, _) => (Some(PeerFault::Refused), None, CONNECT_TIMEOUT),
            (PeerState::Hangs, _) => {
                (Some(PeerFault::ConnectTimeout), Some(at.since(call.dialled)), CONNECT_TIMEOUT)
            }
            (PeerState::Silent, _) | (_, Some(PeerVice::Drip)) => {
                (Some(PeerFault::HandshakeTimeout), Some(connected()), HANDSHAKE_TIMEOUT)
            }
            (_, Some(PeerVice::SilentAfterHandshake)) => {
                (Some(PeerFault::ExtensionTimeout), Some(heard()), EXTENSION_TIMEOUT)
            }
            (_, Some(_)) => (Some(PeerFault::MetadataTimeout), Some(heard()), PIECE_TIMEOUT),
            (PeerState::Live, None) => (None, None, PIECE_TIMEOUT),
        };
        assert_eq!(fault, due, "{} {state:?} {vice:?}", call.to);
        assert!(held.is_none_or(|held| held == limit), "{} {vice:?} {held:?}", call.to);
    }
    let expected = [
        (("hangs", None), 31),
        (("live", None), 113),
        (("live", Some(PeerVice::Drip)), 48),
        (("live", Some(PeerVice::SilentAfterHandshake)), 63),
        (("live", Some(PeerVice::SilentAfterOffer)), 49),
        (("refuses", None), 26),
        (("silent", None), 53),
    ];
    assert_eq!(met, BTreeMap::from(expected));
    assert_eq!(notes.most_open, most_open);
    let facts = played.universe.truth().facts();
    let good = facts.iter().filter(|fact| fact.peers.values().any(|serves| *serves)).count();
    assert_eq!((notes.verified(), notes.rows.len()), (good, facts.len()));
}

#[test]
fn slow_peers_hold_each_connection_for_exactly_its_stage() {
    hold(200, 167);
}

#[test]
fn slow_peers_take_every_connection_there_is_and_never_one_more() {
    hold(10, 10);
}
