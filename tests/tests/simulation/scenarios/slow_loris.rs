//! Half of all live peers only hold connections: they say a byte a second, or nothing after their
//! handshake, or nothing after their offer; of the others a fifth refuse, say nothing at all, or
//! never complete a connection. A connection is held exactly as long as its stage allows and no
//! longer, however many bytes drip: 8 s to be accepted, 10 s for the whole handshake, 10 s from
//! there to the offer, 10 s from there to the first piece. The cap on connections holds, and every
//! torrent with a peer that serves is found, with room for many connections and with room for few.
//! Every number follows from the world and the limits.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use estudely_core::limits::{CONNECT_TIMEOUT, EXTENSION_TIMEOUT, HANDSHAKE_TIMEOUT, PIECE_TIMEOUT};
use estudely_core::{Duration, Instant, PeerFault};
use estudely_sim::scenario::Scenario;
use estudely_sim::vice::{PeerVice, PeerVices};
use estudely_sim::world::PeerState;

use crate::support::{Call, Played, play};

/// More connections than are ever wanted at once, and fewer.
const MANY: u32 = 200;
const FEW: u32 = 10;

/// How a connection to such a peer ends, how long it was held by its last stage, and the limit of
/// that.
fn stage(
    state: PeerState,
    vice: Option<PeerVice>,
    call: &Call,
    at: Instant,
) -> (Option<PeerFault>, Option<Duration>, Duration) {
    let connected = || at.since(call.connected.expect("it accepts"));
    // The last thing such a peer says is also what its next stage counts from.
    let heard = || at.since(call.heard.expect("it speaks"));
    match (state, vice) {
        (PeerState::Refuses, _) => (Some(PeerFault::Refused), None, CONNECT_TIMEOUT),
        (PeerState::Hangs, _) => {
            (Some(PeerFault::ConnectTimeout), Some(at.since(call.dialled)), CONNECT_TIMEOUT)
        }
        // Of a key it understands nothing.
        (PeerState::Live, Some(_)) if call.is_sealed => {
            (Some(PeerFault::ClosedExchangingKeys), None, HANDSHAKE_TIMEOUT)
        }
        (PeerState::Silent, _) | (_, Some(PeerVice::Drip)) => {
            (Some(PeerFault::HandshakeTimeout), Some(connected()), HANDSHAKE_TIMEOUT)
        }
        (_, Some(PeerVice::SilentAfterHandshake)) => {
            (Some(PeerFault::ExtensionTimeout), Some(heard()), EXTENSION_TIMEOUT)
        }
        (_, Some(_)) => (Some(PeerFault::MetadataTimeout), Some(heard()), PIECE_TIMEOUT),
        (PeerState::Live, None) => (None, None, PIECE_TIMEOUT),
    }
}

/// Whether another peer had served the torrent of this one by then.
fn is_served(played: &Played, peer: SocketAddr, by: Instant) -> bool {
    let of_peer = played.universe.truth().facts().iter();
    let of_peer = of_peer.filter(|fact| fact.peers.contains_key(&peer));
    let mut hashes = of_peer.map(|fact| played.world().key(fact.number));
    hashes.any(|hash| {
        let rows = &played.notes.rows;
        rows.iter().any(|row| row.hash == hash && row.verified && row.at <= by)
    })
}

/// Plays it with room for so many connections; how many were open at once.
fn hold(connections: u32) -> usize {
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
    let (mut met, mut served) = (BTreeSet::new(), 0);
    for (call, at, fault) in notes.ended() {
        let (state, vice) = who[&call.to];
        met.insert(call.to);
        let (due, held, limit) = stage(state, vice, &call, at);
        served += usize::from(due.is_none());
        if fault == Some(PeerFault::Yielded) {
            // Nobody needs it any more.
            assert!(is_served(&played, call.to, at), "{} gave way for nothing", call.to);
            continue;
        }
        assert_eq!(fault, due, "{} {state:?} {vice:?}", call.to);
        assert!(held.is_none_or(|held| held == limit), "{} {vice:?} {held:?}", call.to);
    }
    let facts = played.universe.truth().facts();
    let (good, bad): (Vec<_>, Vec<_>) =
        facts.iter().partition(|fact| fact.peers.values().any(|serves| *serves));
    assert_eq!((notes.verified(), notes.rows.len()), (good.len(), facts.len()));
    assert_eq!(served, good.len(), "one connection each that ends well");
    for peer in bad.iter().flat_map(|fact| fact.peers.keys()) {
        assert!(met.contains(peer), "{peer} of a torrent that nobody serves was not tried");
    }
    let kind = |peer: &SocketAddr| {
        let (state, vice) = who[peer];
        (state.word(), vice)
    };
    let kinds =
        |peers: &mut dyn Iterator<Item = &SocketAddr>| -> BTreeSet<_> { peers.map(kind).collect() };
    assert_eq!(kinds(&mut met.iter()), kinds(&mut who.keys()), "every kind was met");
    notes.most_open
}

#[test]
fn slow_peers_hold_each_connection_for_exactly_its_stage() {
    let most_open = hold(MANY);
    assert!((FEW..=MANY).contains(&(most_open as u32)), "{most_open} open at once");
}

#[test]
fn slow_peers_take_every_connection_there_is_and_never_one_more() {
    assert_eq!(hold(FEW), FEW as usize);
}
