mod scenarios;
mod vices;

use estudely_core::bencode::Reader;
use estudely_core::internal::exchange::{Attempt, Pipeline};
use estudely_core::{Exchange, Seed, Transport};
use proptest::prelude::*;

use super::hearing::metadata_id;
use super::speech::framed;
use super::*;
use crate::world::dht::tests::plan;
use crate::world::torrent::{METADATA_PIECE_LEN, MetadataSizes};

const ALL: Attempt = Attempt { transport: Transport::Tcp, pipeline: Pipeline::All };
const ONE_BY_ONE: Attempt = Attempt { transport: Transport::Tcp, pipeline: Pipeline::OneByOne };

/// When conversations begin: not at zero, so that a forgotten start shows.
const BEGIN: Instant = Instant::from_micros(5_000_000);

fn world() -> World {
    let mut plan = plan(10, 60);
    plan.metadata = MetadataSizes::Between(300..=70_000);
    World::build(plan).expect("world")
}

fn live(world: &World, skip: usize) -> u32 {
    let mut live = (0..world.peer_count()).filter(|&p| world.peer(p).state == PeerState::Live);
    live.nth(skip).expect("a live peer")
}

fn handshake(world: &World, peer: u32) -> Vec<u8> {
    let mut bytes = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\0".to_vec();
    bytes.extend_from_slice(&world.key(world.peer(peer).torrent).0);
    bytes.extend_from_slice(b"-XX0000-abcdefghijkl");
    bytes
}

/// Everything a fetcher sends that asks for `pieces` under the peer's own id.
fn script(world: &World, peer: u32, pieces: &[i64]) -> Vec<u8> {
    let mut bytes = handshake(world, peer);
    framed(&mut bytes, |out| out.extend_from_slice(b"\x14\x00d1:md11:ut_metadatai9eee"));
    framed(&mut bytes, |_| {});
    for piece in pieces {
        let own_id = Manners::of(world.plan().seed, peer).own_id;
        framed(&mut bytes, |out| {
            out.extend_from_slice(&[EXTENDED, own_id]);
            out.extend_from_slice(format!("d8:msg_typei0e5:piecei{piece}ee").as_bytes());
        });
    }
    bytes
}

/// The messages after the handshake, without their lengths.
fn messages(mut out: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    out = &out[HANDSHAKE_LEN..];
    while let Some((length, rest)) = out.split_first_chunk::<4>() {
        let (message, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
        found.push(message);
        out = rest;
    }
    assert!(out.is_empty());
    found
}

fn play(world: &World, peer: u32, input: &[u8]) -> (Step, Vec<u8>) {
    let mut out = Vec::new();
    let step =
        Peer::new(world, Instant::START, peer).handle_bytes(world, Instant::START, input, &mut out);
    (step, out)
}

#[test]
fn every_live_peer_serves_the_whole_dictionary_under_the_id_it_was_told() {
    let world = world();
    for peer in (0..world.peer_count()).filter(|&p| world.peer(p).state == PeerState::Live) {
        let torrent = world.peer(peer).torrent;
        let pieces = world.metadata_len(torrent).div_ceil(METADATA_PIECE_LEN);
        let wanted: Vec<_> = (0..i64::from(pieces)).collect();
        let (step, out) = play(&world, peer, &script(&world, peer, &wanted));
        assert_eq!(step, Step::Continue);
        let mut info = Vec::new();
        for message in messages(&out).into_iter().filter(|m| m.starts_with(&[EXTENDED, 9])) {
            let mut header = Reader::<4>::new(&message[2..], 32);
            header.raw().expect("a header");
            info.extend_from_slice(&message[2 + header.position()..]);
        }
        assert_eq!(info, world.torrent(torrent).info);
    }
}

#[test]
fn pieces_that_do_not_exist_are_rejected() {
    let world = world();
    let peer = live(&world, 3);
    let pieces =
        i64::from(world.metadata_len(world.peer(peer).torrent).div_ceil(METADATA_PIECE_LEN));
    let (_, out) = play(&world, peer, &script(&world, peer, &[-1, pieces, i64::MAX]));
    let rejects: Vec<_> =
        messages(&out).into_iter().filter(|m| m.starts_with(b"\x14\x09d8:msg_typei2e")).collect();
    assert_eq!(rejects.len(), 3);
}

#[test]
fn another_torrent_or_protocol_and_an_endless_message_end_the_connection() {
    let world = world();
    let peer = live(&world, 0);
    let mut other = handshake(&world, peer);
    other[30] ^= 1;
    assert_eq!(play(&world, peer, &other), (Step::Close, Vec::new()));
    assert_eq!(play(&world, peer, &[b'G'; 68]), (Step::Close, Vec::new()));
    let mut long = handshake(&world, peer);
    long.extend_from_slice(&[0, 1, 0, 1]);
    assert_eq!(play(&world, peer, &long).0, Step::Close);
}

#[test]
fn a_silent_peer_says_nothing_and_leaves_after_two_idle_minutes() {
    let world = world();
    let number =
        (0..world.peer_count()).find(|&p| world.peer(p).state == PeerState::Silent).expect("one");
    let mut peer = Peer::new(&world, Instant::START, number);
    let mut out = Vec::new();
    let later = Instant::START + Duration::from_secs(10);
    let input = handshake(&world, number);
    assert_eq!(peer.handle_bytes(&world, later, &input, &mut out), Step::Continue);
    assert!(out.is_empty());
    assert_eq!(peer.poll_timeout(), later + IDLE);
    assert_eq!(peer.handle_timeout(&world, Instant::START + IDLE, &mut out), Step::Continue);
    assert_eq!(peer.handle_timeout(&world, later + IDLE, &mut out), Step::Close);
}

fn exchange(world: &World, number: u32, attempt: Attempt) -> Exchange {
    let key = world.key(world.peer(number).torrent);
    Exchange::new(BEGIN, key, attempt, None, Seed::from_u64(u64::from(number)))
}

/// The core's own fetcher meets the peer in that role.
fn fetch(world: &World, number: u32, role: Role, attempt: Attempt, part: usize) -> Talk {
    let mut peer = Peer::with_role(world, BEGIN, number, role);
    talk(world, BEGIN, &mut peer, &mut exchange(world, number, attempt), (part, b""))
}

/// A live peer whose metadata has that many pieces.
fn with_pieces(world: &World, pieces: u32) -> u32 {
    let of = |peer: u32| world.metadata_len(world.peer(peer).torrent);
    (0..world.peer_count())
        .filter(|&peer| world.peer(peer).state == PeerState::Live)
        .find(|&peer| of(peer).div_ceil(METADATA_PIECE_LEN) == pieces)
        .expect("a torrent of that size")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn however_the_stream_is_cut_the_answer_is_the_same(
        which in 0usize..40, cuts in prop::collection::vec(1usize..90, 1..8)
    ) {
        let world = world();
        let number = live(&world, which);
        let input = script(&world, number, &[0, 1, 0]);
        let whole = play(&world, number, &input);
        let mut peer = Peer::new(&world, Instant::START, number);
        let (mut out, mut rest) = (Vec::new(), &input[..]);
        for &cut in cuts.iter().cycle() {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            prop_assert_eq!(
                peer.handle_bytes(&world, Instant::START, now, &mut out),
                Step::Continue
            );
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!((Step::Continue, out), whole);
    }

    #[test]
    fn no_bytes_make_a_peer_panic(input in prop::collection::vec(any::<u8>(), 0..200)) {
        let world = world();
        let number = live(&world, 0);
        let mut bytes = handshake(&world, number);
        bytes.extend_from_slice(&input);
        let _ = play(&world, number, &bytes);
    }
}
