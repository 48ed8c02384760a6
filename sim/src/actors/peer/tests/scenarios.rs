//! The metadata and peer-wire scenarios of libtorrent's own simulations, as far as they concern a
//! fetcher (catalogue S4): the same situation, what this crawler does, exactly.

use estudely_core::PeerFault;
use estudely_core::internal::exchange::Progress;
use estudely_core::limits::{
    EXTENDED_HANDSHAKE_MAX, EXTENDED_HANDSHAKE_TOKENS, FRAME_MAX, HANDSHAKE_TIMEOUT,
};
use sha1::{Digest, Sha1};
use sha2::Sha256;

use super::*;
use crate::world::torrent::Version;

const HONEST: Role = Role { vice: None, whim: 0 };

/// The fetcher meets an honest peer that says `between` right after its base handshake.
fn interrupted(world: &World, number: u32, between: &[u8]) -> Talk {
    let mut peer = Peer::with_role(world, BEGIN, number, HONEST);
    talk(world, BEGIN, &mut peer, &mut exchange(world, number, ALL), (usize::MAX, between))
}

fn frames(bodies: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for body in bodies {
        framed(&mut out, |out| out.extend_from_slice(body));
    }
    out
}

/// The metadata comes, at once and whole.
fn assert_delivers(world: &World, number: u32, talk: &Talk) {
    let info = world.torrent(world.peer(number).torrent).info;
    let metadata = &talk.outcome.result.as_ref().expect("delivered").metadata;
    assert_eq!(metadata.raw(), &info[..]);
    assert_eq!((talk.outcome.progress, talk.took), (Progress::Complete, Duration::ZERO));
}

/// The first live peer of a torrent of that version, known by its v2 hash or not.
fn of_version(world: &World, version: Version, by_v2: bool) -> u32 {
    let fits = |peer: u32| {
        let torrent = world.torrent(world.peer(peer).torrent);
        let v2 = Sha1::digest(&torrent.info)[..] != torrent.key.0;
        torrent.facts.version == version && v2 == by_v2
    };
    let mut live = (0..world.peer_count()).filter(|&p| world.peer(p).state == PeerState::Live);
    live.find(|&peer| fits(peer)).expect("one of each")
}

/// A world in which each version of the format occurs under each key.
fn versions() -> World {
    let mut plan = plan(10, 200);
    plan.metadata = MetadataSizes::Between(600..=20_000);
    World::build(plan).expect("world")
}

#[test]
fn ut_metadata_is_served_to_honest_manners_of_every_kind() {
    let world = world();
    for number in (0..world.peer_count()).filter(|&p| world.peer(p).state == PeerState::Live) {
        for attempt in [ALL, ONE_BY_ONE] {
            assert_delivers(&world, number, &fetch(&world, number, HONEST, attempt, usize::MAX));
        }
    }
}

#[test]
fn ut_metadata_disconnect_the_fetcher_leaves_on_receipt_without_another_byte() {
    let world = world();
    for pieces in [1, 2, 5] {
        let number = with_pieces(&world, pieces);
        let talk = fetch(&world, number, HONEST, ALL, usize::MAX);
        // Its handshakes and one request for each piece, all of them heard: nothing at the end.
        assert_eq!(messages(&talk.asked).len() as u32, 1 + pieces);
        assert_eq!(talk.asked, talk.heard);
    }
}

#[test]
fn ut_metadata_disconnect_readd_the_same_peer_serves_a_second_connection() {
    let world = world();
    let number = with_pieces(&world, 2);
    let first = fetch(&world, number, HONEST, ALL, usize::MAX);
    let second = fetch(&world, number, HONEST, ALL, usize::MAX);
    assert_delivers(&world, number, &second);
    assert_eq!((first.outcome, first.asked), (second.outcome, second.asked));
}

#[test]
fn ut_metadata_upload_only_peers_are_taken_and_we_do_not_claim_to_be_one() {
    let world = world();
    let number = with_pieces(&world, 2);
    let odd = Role { vice: Some(PeerVice::OddKeys), whim: 0 };
    let talk = fetch(&world, number, odd, ALL, usize::MAX);
    assert_delivers(&world, number, &talk);
    let hello = messages(&talk.heard)[0];
    assert!(hello.starts_with(b"\x14\x00"));
    assert!(!hello.windows(11).any(|key| key == b"upload_only"));
}

#[test]
fn ut_metadata_token_limit_one_token_too_many_is_exactly_one_failure() {
    let world = world();
    let number = with_pieces(&world, 1);
    // An extension handshake beyond the limit cannot be read and is overlooked: the peer's next
    // one counts (10.3).
    let many = "0:".repeat(EXTENDED_HANDSHAKE_TOKENS as usize + 1);
    let talk = interrupted(&world, number, &frames(&[format!("\x14\0d1:al{many}ee").as_bytes()]));
    assert_delivers(&world, number, &talk);
    // A metadata message beyond its limit ends the connection, once and at once.
    let many = "i0e".repeat(200);
    let talk = interrupted(&world, number, &frames(&[format!("\x14\x02d1:al{many}ee").as_bytes()]));
    assert_eq!(talk.outcome.result, Err(PeerFault::BadMessage));
    assert_eq!((talk.outcome.progress, talk.took), (Progress::Handshaken, Duration::ZERO));
}

#[test]
fn ut_metadata_v1_magnet_to_hybrid_both_hashes_are_known_afterwards() {
    knows_both_hashes(Version::Hybrid, false);
}

#[test]
fn ut_metadata_v2_magnet_to_hybrid_both_hashes_are_known_afterwards() {
    knows_both_hashes(Version::Hybrid, true);
}

#[test]
fn a_v2_torrent_is_verified_by_its_truncated_hash() {
    knows_both_hashes(Version::V2, true);
}

fn knows_both_hashes(version: Version, by_v2: bool) {
    let world = versions();
    let number = of_version(&world, version, by_v2);
    let talk = fetch(&world, number, HONEST, ALL, usize::MAX);
    assert_delivers(&world, number, &talk);
    let metadata = talk.outcome.result.expect("delivered").metadata;
    let (v1, v2) = (Sha1::digest(metadata.raw()), Sha256::digest(metadata.raw()));
    assert_eq!(metadata.is_v2_key(), by_v2);
    assert_eq!(metadata.sha256()[..], v2[..]);
    assert_eq!(metadata.hash().0[..], if by_v2 { &v2[..20] } else { &v1[..] }[..]);
}

#[test]
fn v1_only_false_v2_claim_and_hybrid_honest_v2_claim_make_no_difference() {
    let world = versions();
    for (version, by_v2) in [
        (Version::V1, false),
        (Version::Hybrid, false),
        (Version::Hybrid, true),
        (Version::V2, true),
    ] {
        let number = of_version(&world, version, by_v2);
        let told = [false, true].map(|claims_v2| {
            let mut peer = Peer::with_role(&world, BEGIN, number, HONEST);
            peer.manners.claims_v2 = claims_v2;
            let mut exchange = exchange(&world, number, ALL);
            let talk = talk(&world, BEGIN, &mut peer, &mut exchange, (usize::MAX, b""));
            assert_delivers(&world, number, &talk);
            talk.asked
        });
        assert_eq!(told[0], told[1], "what we say does not depend on it");
        // Nor do we claim anything ourselves.
        assert_eq!(told[0][20..28], [0, 0, 0, 0, 0, 0x10, 0, 0]);
    }
}

#[test]
fn extension_handshake_our_id_is_not_zero_and_peers_ids_from_1_to_255_are_used() {
    let world = world();
    let number = with_pieces(&world, 1);
    for id in [1, 2, 3, 20, 254, 255] {
        let mut peer = Peer::with_role(&world, BEGIN, number, HONEST);
        peer.own_ids[0] = id;
        let talk =
            talk(&world, BEGIN, &mut peer, &mut exchange(&world, number, ALL), (usize::MAX, b""));
        assert_delivers(&world, number, &talk);
        let said = messages(&talk.heard);
        assert_eq!(metadata_id(&said[0][2..]), Some(2));
        assert_eq!(said[1][..2], [EXTENDED, id]);
    }
}

#[test]
fn invalid_metadata_request_is_rejected_and_the_next_valid_one_served() {
    let world = world();
    let number = with_pieces(&world, 1);
    let (step, out) = play(&world, number, &script(&world, number, &[1, -1, 0]));
    assert_eq!(step, Step::Continue);
    let kinds: Vec<bool> = messages(&out)
        .into_iter()
        .filter(|message| message.starts_with(b"\x14\x09d8:msg_type"))
        .map(|message| message.starts_with(b"\x14\x09d8:msg_typei1e"))
        .collect();
    assert_eq!(kinds, [false, false, true]);
}

#[test]
fn multiple_bitfields_multiple_have_all_and_alternations_do_no_harm() {
    let world = world();
    let number = with_pieces(&world, 2);
    let bitfield: &[u8] = b"\x05\xff\xff\xff\xff\x80";
    let scenes: [(&str, &[&[u8]]); 7] = [
        ("multiple_bitfields", &[bitfield, bitfield]),
        ("multiple_have_all", &[b"\x0e", b"\x0e"]),
        ("alternate_have_all_have_none", &[b"\x0e", b"\x0f", b"\x0e", b"\x0f"]),
        ("bitfield_and_have_none", &[bitfield, b"\x0f"]),
        ("short_bitfield", &[b"\x05\xff"]),
        ("long_bitfield", &[&[5; 4_096]]),
        ("have_all_invalid_msg", &[b"\x0e with a payload that it has not"]),
    ];
    for (name, bodies) in scenes {
        let talk = interrupted(&world, number, &frames(bodies));
        assert!(talk.outcome.result.is_ok(), "{name}");
        assert_delivers(&world, number, &talk);
    }
}

#[test]
fn dht_port_without_the_dht_bit_does_no_harm() {
    let world = world();
    let number = with_pieces(&world, 1);
    assert_delivers(&world, number, &interrupted(&world, number, &frames(&[b"\x09\x1a\xe1"])));
}

#[test]
fn large_message_is_skipped_up_to_the_limit_and_closes_one_byte_past_it() {
    let world = world();
    let number = with_pieces(&world, 1);
    let mut body = vec![7; FRAME_MAX as usize];
    assert_delivers(&world, number, &interrupted(&world, number, &frames(&[&body])));
    body.push(7);
    let talk = interrupted(&world, number, &frames(&[&body]));
    assert_eq!(talk.outcome.result, Err(PeerFault::BadMessage));
    assert_eq!(talk.outcome.progress, Progress::Handshaken);

    let mut body = vec![0; EXTENDED_HANDSHAKE_MAX + 3];
    body[0] = EXTENDED;
    let talk = interrupted(&world, number, &frames(&[&body]));
    assert_eq!(talk.outcome.result, Err(PeerFault::BadMessage));
}

#[test]
fn invalid_message_kinds_are_skipped_and_an_empty_extended_one_closes() {
    let world = world();
    let number = with_pieces(&world, 1);
    let unknown = frames(&[b"\x0a", b"\x15", b"\x63 who knows", b"\xff"]);
    assert_delivers(&world, number, &interrupted(&world, number, &unknown));
    let talk = interrupted(&world, number, &frames(&[&[EXTENDED]]));
    assert_eq!(talk.outcome.result, Err(PeerFault::BadMessage));
}

#[test]
fn disconnect_unknown_info_hash_is_closed_early_and_costs_no_time() {
    let world = world();
    let number = with_pieces(&world, 1);
    let other = world.key(world.peer(with_pieces(&world, 2)).torrent);
    let mut exchange = Exchange::new(BEGIN, other, ALL, None, Seed::from_u64(1));
    let mut peer = Peer::with_role(&world, BEGIN, number, HONEST);
    let talk = talk(&world, BEGIN, &mut peer, &mut exchange, (usize::MAX, b""));
    assert_eq!(talk.outcome.result, Err(PeerFault::ClosedEarly));
    assert_eq!((talk.outcome.progress, talk.took), (Progress::Connected, Duration::ZERO));
    assert_eq!((talk.heard.len(), talk.told), (HANDSHAKE_LEN, 0));
}

#[test]
fn handshake_timeout_comes_after_ten_seconds() {
    let world = world();
    let number =
        (0..world.peer_count()).find(|&p| world.peer(p).state == PeerState::Silent).expect("one");
    let talk = fetch(&world, number, HONEST, ALL, usize::MAX);
    assert_eq!(talk.outcome.result, Err(PeerFault::HandshakeTimeout));
    assert_eq!(talk.took, HANDSHAKE_TIMEOUT);
    assert!((9..=15).contains(&talk.took.as_secs()), "as libtorrent");
}

#[test]
fn peer_idle_timeout_comes_after_two_minutes_without_a_byte() {
    let world = world();
    let number = with_pieces(&world, 1);
    let mut peer = Peer::with_role(&world, BEGIN, number, HONEST);
    let mut out = Vec::new();
    assert_eq!(peer.handle_connected(&world, BEGIN, &mut out), Step::Continue);
    assert_eq!(peer.poll_timeout(), BEGIN + IDLE);
    let later = BEGIN + Duration::from_secs(100);
    let step = peer.handle_bytes(&world, later, &handshake(&world, number), &mut out);
    assert_eq!((step, peer.poll_timeout()), (Step::Continue, later + IDLE));
    assert_eq!(peer.handle_timeout(&world, later + IDLE, &mut out), Step::Close);
}
