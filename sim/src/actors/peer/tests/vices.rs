//! What the core's fetcher makes of every vice, exactly: the result, how far it came, and how long
//! it took in virtual time.

use std::collections::BTreeSet;

use estudely_core::PeerFault::{self, *};
use estudely_core::internal::exchange::Progress::{self, *};

use super::super::role::{BANNERS, GARBLED, GARBLED_READABLE, POINTS};
use super::super::serving::STRAYS;
use super::super::timed::SERVICE;
use super::*;
use crate::world::dht::Percent;
use crate::world::vice::PeerVices;

/// Every form of a vice whose forms all end alike: none has more than eight.
const ANY: &[usize] = &[0, 1, 2, 3, 4, 5, 6, 7, 11, 12_345, 65_535];
/// A storm of anything but long messages.
const SMALL: &[usize] = &[1, 2, 3, 7, 65_535];

/// Vice, its forms, the fault they end in, how far the exchange came, and after how many
/// milliseconds. The same whatever the torrent's size, the pipeline and the parts, but that one
/// which rejects some is asked for these again, at pauses, if it gave others (M9).
const TABLE: &[(PeerVice, &[usize], PeerFault, Progress, u64)] = &[
    (PeerVice::Reset, &[0, 5], ClosedEarly, Connected, 0),
    (PeerVice::Reset, &[1, 6], ClosedEarly, Connected, 0),
    (PeerVice::Reset, &[2], ClosedLate, Handshaken, 0),
    (PeerVice::Reset, &[3], ClosedLate, Offered, 0),
    (PeerVice::Reset, &[4], ClosedLate, Offered, 0),
    (PeerVice::EarlyEnd, &[0, 5], ClosedEarly, Connected, 0),
    (PeerVice::EarlyEnd, &[1, 6], ClosedEarly, Connected, 0),
    (PeerVice::EarlyEnd, &[2], ClosedLate, Handshaken, 0),
    (PeerVice::EarlyEnd, &[3], ClosedLate, Offered, 0),
    (PeerVice::EarlyEnd, &[4], ClosedLate, Offered, 0),
    (PeerVice::NoExtensions, ANY, NoExtensions, Handshaken, 0),
    (PeerVice::OtherInfohash, ANY, WrongInfoHash, Connected, 0),
    (PeerVice::OwnPeerId, ANY, OwnConnection, Connected, 0),
    (PeerVice::NotBittorrent, ANY, NotBitTorrent, Connected, 0),
    (PeerVice::AbsurdSize, ANY, BadSize, Handshaken, 0),
    (PeerVice::WrongSize, ANY, BadHash, Complete, 0),
    (PeerVice::ChangingSize, ANY, SizeChanged, Offered, 0),
    (PeerVice::OtherTotalSize, ANY, SizeChanged, Offered, 0),
    (PeerVice::BadMetadataId, ANY, NoMetadataExtension, Handshaken, 5_000),
    (PeerVice::GarbledExtensions, &[0, 1, 2], NoMetadataExtension, Handshaken, 5_000),
    (PeerVice::GarbledExtensions, &[3, 4, 5], ExtensionTimeout, Handshaken, 10_000),
    (PeerVice::Rejects, ANY, Rejected, Offered, 0),
    (PeerVice::RejectsSome, ANY, Rejected, Offered, 0),
    (PeerVice::StrayPieces, ANY, Unwanted, Offered, 0),
    (PeerVice::ShortPiece, ANY, BadPiece, Offered, 0),
    (PeerVice::LongPiece, ANY, BadPiece, Offered, 0),
    (PeerVice::BadHash, ANY, BadHash, Complete, 0),
    (PeerVice::Drip, ANY, HandshakeTimeout, Connected, 10_000),
    (PeerVice::HugeFrame, ANY, BadMessage, Handshaken, 0),
    (PeerVice::RequestStorm, ANY, Unwanted, Offered, 0),
    (PeerVice::MessageStorm, SMALL, Unwanted, Handshaken, 800),
    (PeerVice::MessageStorm, &[0, 8], Unwanted, Handshaken, 2_400),
    (PeerVice::SilentAfterHandshake, ANY, ExtensionTimeout, Handshaken, 10_000),
    (PeerVice::SilentAfterOffer, ANY, MetadataTimeout, Offered, 10_000),
];

fn metadata(talk: &Talk) -> Option<&[u8]> {
    talk.outcome.result.as_ref().ok().map(|fetched| fetched.metadata.raw())
}

/// No conversation costs more than this, whatever the peer does.
fn check_bounds(world: &World, number: u32, role: Role, talk: &Talk) {
    let len = world.metadata_len(world.peer(number).torrent);
    let shown = role.shown_len(len).max(len) as usize;
    assert!(talk.held_max <= shown, "{role:?}: held {} of {shown}", talk.held_max);
    // What is skipped at most (H27), a burst beyond it, and the metadata a few times over.
    let told = (6 << 20) + (512 << 10) + (STRAYS + 1) * shown;
    assert!(talk.told <= told, "{role:?}: {} bytes told", talk.told);
    // Both handshakes, a request for each piece, 16 rejects (M10).
    let asked = 200 + 64 * (shown.div_ceil(METADATA_PIECE_LEN as usize) + 16);
    assert!(talk.asked.len() <= asked, "{role:?}: {} bytes asked", talk.asked.len());
    assert!(talk.asked.starts_with(&talk.heard), "{role:?}");
}

#[test]
fn every_vice_ends_as_the_catalogue_says_and_when() {
    let world = world();
    for number in [with_pieces(&world, 1), with_pieces(&world, 2), with_pieces(&world, 5)] {
        for &(vice, whims, fault, progress, millis) in TABLE {
            for &whim in whims {
                let role = Role { vice: Some(vice), whim };
                for (attempt, part) in [(ALL, usize::MAX), (ONE_BY_ONE, usize::MAX), (ALL, 97)] {
                    let talk = fetch(&world, number, role, attempt, part);
                    let outcome = &talk.outcome;
                    assert_eq!(outcome.result, Err(fault), "{role:?} {attempt:?} {part}");
                    assert_eq!(outcome.progress, progress, "{role:?} {attempt:?} {part}");
                    let pauses = vice == PeerVice::RejectsSome && outcome.partial.is_some();
                    let most = Duration::from_millis(if pauses { 3_500 } else { millis });
                    let took = if pauses { talk.took.min(most) } else { most };
                    assert_eq!(talk.took, took, "{role:?} {attempt:?} {part}");
                    assert_eq!(outcome.timings.ended, BEGIN + took);
                    check_bounds(&world, number, role, &talk);
                }
            }
        }
    }
}

#[test]
fn the_table_names_every_vice_that_does_not_serve() {
    let named: BTreeSet<_> = TABLE.iter().map(|row| row.0).collect();
    let serving = PeerVice::ALL.iter().copied().filter(|vice| vice.serves());
    let all: BTreeSet<_> = PeerVice::ALL.iter().copied().collect();
    assert_eq!(&all - &named, serving.collect());
    // The forms above are meant to be these.
    assert_eq!(POINTS.len(), 5);
    assert_eq!((GARBLED_READABLE, GARBLED.len()), (3, 6));
    assert!(ANY.iter().any(|whim| whim % BANNERS.len() == 4));
}

#[test]
fn vices_that_serve_deliver_the_true_metadata() {
    let world = world();
    for vice in PeerVice::ALL.iter().copied().filter(|vice| vice.serves()) {
        for number in [with_pieces(&world, 1), with_pieces(&world, 2), with_pieces(&world, 5)] {
            let info = world.torrent(world.peer(number).torrent).info;
            for &whim in ANY {
                let role = Role { vice: Some(vice), whim };
                for part in [usize::MAX, 97] {
                    let talk = fetch(&world, number, role, ONE_BY_ONE, part);
                    assert!(metadata(&talk) == Some(&info[..]), "{role:?} {part}");
                    check_bounds(&world, number, role, &talk);
                    if vice != PeerVice::OneAtATime {
                        let talk = fetch(&world, number, role, ALL, part);
                        assert!(metadata(&talk) == Some(&info[..]), "{role:?} {part}");
                        assert_eq!(talk.took, Duration::ZERO, "{role:?} {part}");
                    }
                }
            }
        }
    }
}

#[test]
fn one_request_at_a_time_serves_the_patient_and_those_that_ask_again() {
    let world = world();
    let role = Role { vice: Some(PeerVice::OneAtATime), whim: 0 };
    for pieces in [1, 2, 5] {
        let number = with_pieces(&world, pieces);
        let talk = fetch(&world, number, role, ONE_BY_ONE, usize::MAX);
        assert!(talk.outcome.result.is_ok());
        assert_eq!(talk.took, SERVICE * pieces);

        let talk = fetch(&world, number, role, ALL, usize::MAX);
        if pieces == 1 {
            assert_eq!(talk.took, SERVICE);
            continue;
        }
        assert!(talk.outcome.result.is_ok());
        assert!(talk.took > SERVICE * pieces && talk.took < Duration::from_secs(2));
        // Whether the second of two was lost or late is not told.
        assert_eq!(
            talk.outcome.learnt.map(|learnt| (learnt.batch, learnt.lost_some)),
            (pieces > 2).then_some((1, true))
        );
    }
}

#[test]
fn what_came_before_a_reject_is_kept_for_the_next_peer_and_what_was_poisoned_is_not() {
    let world = world();
    let number = with_pieces(&world, 5);
    let held = |vice, whim, attempt| {
        let role = Role { vice: Some(vice), whim };
        let partial = fetch(&world, number, role, attempt, usize::MAX).outcome.partial;
        partial.map(|pieces| (0..5).filter(|&piece| pieces.holds(piece)).collect::<Vec<u16>>())
    };
    assert_eq!(held(PeerVice::RejectsSome, 0, ALL), Some(vec![0, 1, 3]));
    assert_eq!(held(PeerVice::RejectsSome, 1, ALL), Some(vec![0, 2]));
    assert_eq!(held(PeerVice::RejectsSome, 0, ONE_BY_ONE), Some(vec![0, 1]));
    assert_eq!(held(PeerVice::StrayPieces, 0, ALL), Some(vec![0]));
    assert_eq!(held(PeerVice::Rejects, 0, ALL), None);
    assert_eq!(held(PeerVice::BadHash, 0, ALL), None);
    assert_eq!(held(PeerVice::WrongSize, 1, ALL), None);
    // Half a piece is none.
    assert_eq!(held(PeerVice::EarlyEnd, 4, ALL), None);
}

#[test]
fn a_remapped_id_is_the_one_used_from_then_on() {
    let world = world();
    let number = with_pieces(&world, 2);
    let role = Role { vice: Some(PeerVice::RemappedId), whim: 0 };
    let talk = fetch(&world, number, role, ONE_BY_ONE, usize::MAX);
    let asked = messages(&talk.heard);
    let own_id = Manners::of(world.plan().seed, number).own_id;
    let ids: Vec<u8> = asked[1..].iter().map(|message| message[1]).collect();
    assert_eq!(ids, [own_id, own_id % 255 + 1]);
}

#[test]
fn a_storm_ends_by_itself_though_nobody_leaves() {
    let world = world();
    let number = with_pieces(&world, 1);
    for (vice, whim) in
        [(PeerVice::MessageStorm, 0), (PeerVice::MessageStorm, 1), (PeerVice::RequestStorm, 0)]
    {
        let mut peer = Peer::with_role(&world, BEGIN, number, Role { vice: Some(vice), whim });
        let mut out = Vec::new();
        let mut now = BEGIN;
        let mut step = peer.handle_bytes(&world, now, &script(&world, number, &[]), &mut out);
        while step == Step::Continue {
            assert!(peer.poll_timeout() > now, "time goes on");
            now = peer.poll_timeout();
            step = peer.handle_timeout(&world, now, &mut out);
        }
        assert_eq!((step, now), (Step::Close, BEGIN + IDLE));
        assert!(out.len() < 9 << 20, "{} bytes", out.len());
    }
}

#[test]
fn a_dripping_peer_says_a_byte_each_second_and_no_more() {
    let world = world();
    let number = with_pieces(&world, 1);
    let role = Role { vice: Some(PeerVice::Drip), whim: 0 };
    let mut peer = Peer::with_role(&world, BEGIN, number, role);
    let mut out = Vec::new();
    let step = peer.handle_bytes(&world, BEGIN, &handshake(&world, number), &mut out);
    assert_eq!((step, out.len()), (Step::Continue, 0));
    for second in 1..=60_u32 {
        assert_eq!(peer.poll_timeout(), BEGIN + Duration::from_secs(u64::from(second)));
        let step = peer.handle_timeout(&world, peer.poll_timeout(), &mut out);
        assert_eq!((step, out.len() as u32), (Step::Continue, second));
    }
    assert!(out.starts_with(b"\x13BitTorrent protocol"));
}

#[test]
fn a_peer_plays_what_the_world_gave_it_the_same_on_every_connection() {
    let mut plan = plan(10, 200);
    plan.metadata = MetadataSizes::Between(300..=40_000);
    plan.hostility.peers = Percent::new(90).expect("a share");
    plan.hostility.peer_vices = PeerVices::ALL;
    let world = World::build(plan).expect("world");
    let mut seen = BTreeSet::new();
    for number in (0..world.peer_count()).filter(|&p| world.peer(p).state == PeerState::Live) {
        let vice = world.peer_vice(number);
        seen.insert(vice);
        let talks = [
            Peer::new(&world, BEGIN, number),
            Peer::new(&world, BEGIN, number),
            Peer::with_vice(&world, BEGIN, number, vice),
        ]
        .map(|mut peer| {
            let mut exchange = exchange(&world, number, ONE_BY_ONE);
            talk(&world, BEGIN, &mut peer, &mut exchange, (usize::MAX, b""))
        });
        for talk in &talks {
            let serves = vice.is_none_or(PeerVice::serves);
            assert_eq!(talk.outcome.result.is_ok(), serves, "{number} {vice:?}");
            assert_eq!(talk.outcome, talks[0].outcome, "{number} {vice:?}");
            assert_eq!((talk.told, &talk.asked), (talks[0].told, &talks[0].asked));
        }
    }
    assert_eq!(seen.len(), PeerVice::ALL.len() + 1, "each vice and none");
}

#[test]
fn silent_peers_stay_silent_whatever_their_vice() {
    let world = world();
    let number =
        (0..world.peer_count()).find(|&p| world.peer(p).state == PeerState::Silent).expect("one");
    for &vice in PeerVice::ALL {
        let role = Role { vice: Some(vice), whim: 0 };
        let talk = fetch(&world, number, role, ALL, usize::MAX);
        assert_eq!(talk.outcome.result, Err(HandshakeTimeout), "{vice:?}");
        assert_eq!((talk.told, talk.took), (0, Duration::from_secs(10)), "{vice:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Safety rule 22, over every vice and form.
    #[test]
    fn parts_change_neither_the_outcome_nor_a_byte(
        vice in prop::sample::select(PeerVice::ALL), whim in 0usize..1 << 16,
        which in 0usize..40, part in 1usize..2_000
    ) {
        let world = world();
        let (number, role) = (live(&world, which), Role { vice: Some(vice), whim });
        let whole = fetch(&world, number, role, ALL, usize::MAX);
        let parts = fetch(&world, number, role, ALL, part);
        prop_assert_eq!(&whole.outcome, &parts.outcome);
        prop_assert_eq!((&whole.asked, whole.took), (&parts.asked, parts.took));
    }
}
