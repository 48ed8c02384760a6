//! M1-M15: what real and odd peers do differently, and the reaction to it.

use super::*;

/// A peer that answered the handshake.
fn greeted(content: &[u8]) -> Talk {
    let mut talk = Talk::new(content);
    talk.hears(&hello(sha1_key(content)));
    talk.said();
    talk
}

/// An extension handshake of this text.
fn says(text: &str) -> Vec<u8> {
    extended(0, text.as_bytes())
}

#[test]
fn m1_a_peer_without_a_size_is_asked_for_the_first_piece_and_left_after_five_seconds() {
    for payload in [
        "d1:md11:ut_metadatai3eee",
        "d1:md11:ut_metadatai3ee13:metadata_sizei0ee",
        "d1:md11:ut_metadatai3ee13:metadata_size4:manye",
    ] {
        let mut talk = greeted(&content(100));
        talk.hears(&says(payload));
        assert_eq!(talk.requests(), [0], "{payload}");
        talk.hears(&reject(0)).waits(Duration::from_micros(4_999_999));
        assert!(talk.is_open());
        talk.waits(Duration::from_micros(1));
        assert_eq!(talk.fault(), Some(PeerFault::NoMetadata), "{payload}");
    }
    // The time for the extension handshake is not exceeded.
    let mut talk = greeted(&content(100));
    talk.waits(7 * SECOND).hears(&says("d1:md11:ut_metadatai3eee")).waits(3 * SECOND);
    assert_eq!(talk.fault(), Some(PeerFault::NoMetadata));
}

#[test]
fn m1_a_size_may_come_as_text_or_in_a_later_handshake() {
    for size in [100, 3 * PIECE_LEN] {
        let content = content(size);
        let mut talk = greeted(&content);
        talk.hears(&says(&format!(
            "d1:md11:ut_metadatai3ee13:metadata_size{}:{size}e",
            size.to_string().len()
        )));
        assert_eq!(talk.exchange.progress(), Progress::Offered);
        for refuses in [false, true] {
            for first in ["", "13:metadata_sizei0e"] {
                let mut talk = greeted(&content);
                talk.hears(&says(&format!("d1:md11:ut_metadatai3ee{first}e")));
                assert_eq!(talk.requests(), [0]);
                if refuses {
                    talk.hears(&reject(0));
                }
                talk.waits(SECOND).hears(&offer(size as i64));
                for piece in talk.requests() {
                    talk.hears(&data(&content, piece));
                }
                assert_eq!(talk.metadata().raw(), content);
            }
        }
    }
}

#[test]
fn m1_the_first_piece_tells_the_size_that_no_handshake_named() {
    let long = content(70 * PIECE_LEN + 9);
    let mut talk = greeted(&long);
    talk.hears(&says("d1:md11:ut_metadatai3eee"));
    assert_eq!(talk.requests(), [0]);
    talk.hears(&data(&long, 0));
    let mut pieces = 1;
    loop {
        let asked = talk.requests();
        assert!((1..=64).contains(&asked.len()));
        pieces += asked.len();
        for piece in asked {
            talk.hears(&data(&long, piece));
        }
        if !talk.is_open() {
            break;
        }
    }
    assert_eq!((talk.metadata().raw(), pieces), (&long[..], 71));
    // One that is shorter than a piece is all there is.
    let short = content(100);
    let unnamed = message(MetadataMessage::Data { piece: 0, total_size: None }, &short);
    let mut talk = greeted(&short);
    talk.hears(&says("d1:md11:ut_metadatai3eee")).hears(&unnamed);
    assert_eq!(talk.metadata().raw(), short);
    // A total of 0 says nothing.
    let unnamed = message(MetadataMessage::Data { piece: 0, total_size: Some(0) }, &short);
    let mut talk = greeted(&short);
    talk.hears(&says("d1:md11:ut_metadatai3eee")).hears(&unnamed);
    assert_eq!(talk.metadata().raw(), short);
    let mut talk = Talk::offered(&short, ALL, None);
    talk.hears(&unnamed);
    assert_eq!(talk.metadata().raw(), short);
    // What an earlier peer left is gone on with.
    let mut pieces = Pieces::new(long.len() as i64).expect("size");
    assert!(pieces.begin(0) && pieces.fill(piece_bytes(&long, 0)));
    let mut talk = Talk::with(sha1_key(&long), ALL, Some(pieces));
    talk.hears(&hello(sha1_key(&long))).said();
    talk.hears(&says("d1:md11:ut_metadatai3eee")).hears(&data(&long, 0));
    assert_eq!(talk.requests()[..3], [0, 1, 2]);
    let mut talk = greeted(&short);
    let liar = message(MetadataMessage::Data { piece: 0, total_size: Some(1 << 40) }, &short);
    talk.hears(&says("d1:md11:ut_metadatai3eee")).hears(&liar);
    assert_eq!(talk.fault(), Some(PeerFault::BadSize));
}

#[test]
fn m2_a_handshake_without_an_id_may_be_followed_by_one_that_has_it() {
    let content = content(100);
    for first in
        ["le", "i20e", "de", "0:", "d1:mlee", "d1:md6:ut_pexi1eee", "d1:md11:ut_metadatai0eee"]
    {
        let mut talk = greeted(&content);
        talk.hears(&says(first)).waits(SECOND).hears(&offer(100)).hears(&data(&content, 0));
        assert_eq!(talk.metadata().raw(), content, "{first}");
    }
}

#[test]
fn m2_long_extension_handshakes_are_read_to_what_matters() {
    let content = content(100);
    let hundreds: String = (0..150).map(|n| format!("9:lt_ext{n:03}i{}e", n + 4)).collect();
    let stuffed = format!("1:a3000:{}", "x".repeat(3_000));
    for (before, others) in [("", &hundreds[..]), (&stuffed, ""), (&stuffed, &hundreds)] {
        let text = format!("d{before}1:md{others}11:ut_metadatai3ee13:metadata_sizei100ee");
        for part in [10_000, 700, 1] {
            let mut talk = greeted(&content);
            for part in says(&text).chunks(part) {
                talk.hears(part);
            }
            talk.hears(&data(&content, 0));
            assert_eq!(talk.metadata().raw(), content);
        }
    }
}

#[test]
fn m2_ids_outside_1_to_255_mean_no_metadata_extension() {
    for id in
        ["", "11:ut_metadatai0e", "11:ut_metadatai-1e", "11:ut_metadatai256e", "11:ut_metadata1:3"]
    {
        let mut talk = greeted(&content(100));
        talk.hears(&extended(0, format!("d1:md{id}e13:metadata_sizei100ee").as_bytes()));
        assert!(talk.said().is_empty() && talk.is_open());
        talk.waits(5 * SECOND);
        assert_eq!(talk.fault(), Some(PeerFault::NoMetadataExtension), "{id}");
    }
    for id in [1, 255] {
        let mut talk = greeted(&content(100));
        let payload = format!("d1:md11:ut_metadatai{id}ee13:metadata_sizei100ee");
        talk.hears(&extended(0, payload.as_bytes()));
        assert_eq!(talk.asked(), [(id, MetadataMessage::Request { piece: 0 })]);
    }
    let mut talk = greeted(&content(100));
    talk.hears(&extended(0, b"de"));
    let outcome = talk.exchange.handle_closed(talk.now);
    assert_eq!(outcome.result, Err(PeerFault::NoMetadataExtension));
}

#[test]
fn m3_bitfields_haves_and_ports_are_skipped_at_any_time() {
    let content = content(2 * PIECE_LEN);
    let noise = || {
        let fast = [frame(14, b""), frame(15, b""), frame(17, &[0; 4]), frame(13, &[0; 4])];
        let usual = [frame(5, &[0xff; 70_000]), frame(1, b""), frame(9, &[0x1a, 0xe1])];
        let others = [frame(4, &[0; 4]), frame(22, &[0; 40]), frame(99, &[7]), vec![0; 4]];
        [fast.concat(), usual.concat(), others.concat()].concat()
    };
    let mut talk = greeted(&content);
    talk.hears(&noise()).hears(&offer(content.len() as i64)).hears(&noise());
    talk.hears(&data(&content, 0)).hears(&noise()).hears(&data(&content, 1));
    assert_eq!(talk.metadata().raw(), content);
}

#[test]
fn m4_data_without_total_size_is_accepted() {
    let content = content(100);
    let mut talk = Talk::offered(&content, ALL, None);
    talk.hears(&message(MetadataMessage::Data { piece: 0, total_size: None }, &content));
    assert_eq!(talk.metadata().raw(), content);
}

#[test]
fn m5_another_total_size_drops_the_peer() {
    let content = content(100);
    let mut talk = Talk::offered(&content, ALL, None);
    talk.hears(&message(MetadataMessage::Data { piece: 0, total_size: Some(101) }, &content));
    assert_eq!(talk.fault(), Some(PeerFault::SizeChanged));
}

#[test]
fn m6_keys_in_any_order_with_strangers_between_are_accepted() {
    let content = content(100);
    let mut talk = Talk::offered(&content, ALL, None);
    let head = b"d1:xd1:yli1eee10:total_sizei100e5:piecei0e8:msg_typei1e1:z3:zzze";
    talk.hears(&extended(OUR_METADATA_ID, &[head, &content[..]].concat()));
    assert_eq!(talk.metadata().raw(), content);
}

/// A data message for piece 0 whose dictionary has exactly `length` bytes.
fn with_head(length: usize, bytes: &[u8]) -> Vec<u8> {
    let empty = b"d8:msg_typei1e5:piecei0e1:z000:e".len();
    let head =
        format!("d8:msg_typei1e5:piecei0e1:z{:03}:{}e", length - empty, "z".repeat(length - empty));
    assert_eq!(head.len(), length);
    extended(OUR_METADATA_ID, &[head.as_bytes(), bytes].concat())
}

#[test]
fn m6_the_largest_head_beside_a_full_piece_is_read_and_one_byte_more_is_refused() {
    let content = content(PIECE_LEN);
    let mut talk = Talk::offered(&content, ALL, None);
    // One below the largest three-digit length; the string's own length pads the rest.
    talk.hears(&with_head(1_024, &content));
    assert_eq!(talk.metadata().raw(), content);
    let mut talk = Talk::offered(&content, ALL, None);
    talk.hears(&with_head(1_025, &content[..100]));
    assert_eq!(talk.fault(), Some(PeerFault::BadMessage));
}

#[test]
fn m7_a_piece_of_another_length_drops_the_peer_at_its_head() {
    let content = content(16_484);
    let total_size = Some(content.len() as i64);
    for (piece, length) in [(0, 16_383), (0, 16_385), (1, 99), (1, 101), (1, 0)] {
        let mut talk = Talk::offered(&content, ALL, None);
        let long = message(MetadataMessage::Data { piece, total_size }, &vec![0; length]);
        talk.hears(&long[..long.len().min(1_030)]);
        assert_eq!(talk.fault(), Some(PeerFault::BadPiece), "{piece} {length}");
    }
}

#[test]
fn m8_stray_pieces_are_ignored_at_the_limit_and_close_one_past_it() {
    let content = content(2 * PIECE_LEN);
    let strays = [i64::MIN, -1, 2, 640, 65_536, i64::MAX, 1, 1];
    assert_eq!(strays.len(), 8);
    let stray = |piece| message(MetadataMessage::Data { piece, total_size: None }, b"zz");
    let mut talk = Talk::offered(&content, ALL, None);
    talk.hears(&data(&content, 1));
    for piece in strays {
        talk.hears(&stray(piece));
    }
    talk.hears(&data(&content, 0));
    assert_eq!(talk.metadata().raw(), content);

    let mut talk = Talk::offered(&content, ALL, None);
    talk.hears(&data(&content, 1));
    for piece in strays {
        talk.hears(&stray(piece));
    }
    talk.hears(&stray(7));
    assert_eq!(talk.fault(), Some(PeerFault::Unwanted));
    assert_eq!(talk.partial().map(Pieces::pieces_held), Some(1));
}

#[test]
fn m8_data_before_any_offer_is_a_stray() {
    let content = content(100);
    let mut talk = greeted(&content);
    talk.hears(&data(&content, 0)).hears(&offer(100)).hears(&data(&content, 0));
    assert_eq!(talk.metadata().raw(), content);
}

#[test]
fn m9_a_peer_that_rejects_all_is_left_at_once() {
    let content = content(3 * PIECE_LEN);
    let mut talk = Talk::offered(&content, ALL, None);
    talk.hears(&reject(0)).hears(&reject(1));
    assert!(talk.is_open());
    talk.hears(&reject(2));
    assert_eq!((talk.fault(), talk.partial()), (Some(PeerFault::Rejected), None));

    let mut talk = Talk::offered(&content, ONE_BY_ONE, None);
    talk.hears(&reject(0));
    assert_eq!(talk.fault(), Some(PeerFault::Rejected));
}

#[test]
fn m9_what_was_rejected_beside_other_pieces_is_asked_for_again_three_times_at_growing_pauses() {
    let content = content(3 * PIECE_LEN);
    let mut talk = Talk::offered(&content, ALL, None);
    talk.hears(&reject(1)).hears(&data(&content, 2)).hears(&data(&content, 0));
    for pause in [500, 1_000, 2_000] {
        talk.waits(Duration::from_millis(pause - 1));
        assert!(talk.said().is_empty(), "{pause}");
        talk.waits(Duration::from_millis(1));
        assert_eq!(talk.requests(), [1], "{pause}");
        talk.hears(&reject(1));
    }
    assert_eq!(talk.fault(), Some(PeerFault::Rejected));
    assert_eq!(talk.partial().map(|partial| partial.missing().collect()), Some(vec![1]));
}

#[test]
fn m10_requests_to_us_are_rejected_at_the_limit_and_close_one_past_it() {
    let content = content(100);
    let request = |piece| message(MetadataMessage::Request { piece }, b"");
    let mut talk = Talk::offered(&content, ALL, None);
    for piece in 0..16 {
        talk.hears(&request(piece - 3));
        assert_eq!(
            talk.asked(),
            [(PEER_METADATA_ID, MetadataMessage::Reject { piece: piece - 3 })]
        );
    }
    assert!(talk.is_open());
    talk.hears(&request(0));
    assert_eq!((talk.fault(), talk.said()), (Some(PeerFault::Unwanted), b"".as_slice()));

    let mut early = greeted(&content);
    early.hears(&request(0));
    assert_eq!(early.said(), b"", "no id to answer under yet");
    assert!(early.is_open());
}

#[test]
fn m11_a_later_handshake_may_change_the_id_but_not_the_size() {
    let content = content(2 * PIECE_LEN);
    let later = |text: &str| extended(0, text.as_bytes());
    let mut talk = Talk::offered(&content, ONE_BY_ONE, None);
    talk.hears(&later("d1:md6:ut_pexi1eee")).hears(&later("de")).hears(&offer(2 * 16_384));
    talk.hears(&later("d13:metadata_sizei0ee"));
    talk.hears(&later("d1:md11:ut_metadatai9eee")).hears(&data(&content, 0));
    assert_eq!(talk.asked(), [(9, MetadataMessage::Request { piece: 1 })]);
    talk.hears(&later("d13:metadata_sizei32767ee"));
    assert_eq!(talk.fault(), Some(PeerFault::SizeChanged));
    assert_eq!(talk.partial().map(Pieces::pieces_held), Some(1));

    let mut talk = Talk::offered(&content, ALL, None);
    talk.hears(&later("d1:md11:ut_metadatai0eee"));
    assert_eq!(talk.fault(), Some(PeerFault::NoMetadataExtension));
}

#[test]
fn m11_a_handshake_that_cannot_be_read_is_ignored() {
    let content = content(100);
    let mut talk = greeted(&content);
    talk.hears(&extended(0, b"")).hears(&extended(0, b"d1:m")).hears(&offer(100));
    talk.hears(&data(&content, 0));
    assert_eq!(talk.metadata().raw(), content);
}

#[test]
fn m12_extension_ids_that_we_never_gave_are_ignored_even_the_peers_own() {
    let content = content(100);
    let mut talk = Talk::offered(&content, ALL, None);
    let mut theirs = Vec::new();
    MetadataMessage::Data { piece: 0, total_size: None }.emit(
        &mut theirs,
        PEER_METADATA_ID,
        &content,
    );
    talk.hears(&theirs).hears(&extended(200, b""));
    assert!(talk.is_open());
    talk.hears(&data(&content, 0));
    assert_eq!(talk.metadata().raw(), content);
}

#[test]
fn m13_what_is_not_bittorrent_closes_at_the_first_wrong_byte() {
    let hash = sha1_key(b"");
    for at in 0..20 {
        let mut wrong = hello(hash);
        wrong[at] ^= 0x20;
        let mut talk = Talk::with(hash, ALL, None);
        talk.hears(&wrong[..=at]);
        assert_eq!(talk.fault(), Some(PeerFault::NotBitTorrent), "{at}");
    }
}

#[test]
fn m14_another_infohash_or_our_own_peer_id_closes() {
    let hash = sha1_key(b"");
    let mut talk = Talk::with(hash, ALL, None);
    talk.hears(&hello(sha1_key(b"other"))[..48]);
    assert_eq!(talk.fault(), Some(PeerFault::WrongInfoHash));
    let mut talk = Talk::with(hash, ALL, None);
    let echo = talk.said().to_vec();
    talk.hears(&echo);
    assert_eq!(talk.fault(), Some(PeerFault::OwnConnection));
}

#[test]
fn m15_what_verifies_is_delivered_whatever_it_is() {
    let content = b"i1234567e, no dictionary";
    let mut talk = Talk::offered(content, ALL, None);
    talk.hears(&data(content, 0));
    assert_eq!(talk.metadata().raw(), content);
    assert!(crate::codec::info::Info::parse(talk.metadata().raw()).is_err());
}

#[test]
fn a_peer_without_the_extension_bit_is_left_at_once() {
    let hash = sha1_key(b"");
    let mut plain = hello(hash);
    plain[25] = 0;
    let mut talk = Talk::with(hash, ALL, None);
    talk.said();
    talk.hears(&plain);
    assert_eq!((talk.fault(), talk.said()), (Some(PeerFault::NoExtensions), b"".as_slice()));
}

#[test]
fn unknown_message_types_must_be_ignored() {
    let content = content(100);
    let mut talk = Talk::offered(&content, ALL, None);
    talk.hears(&extended(OUR_METADATA_ID, b"d8:msg_typei3e5:piecei0eextra"));
    talk.hears(&extended(OUR_METADATA_ID, b"d8:msg_typei-1ee"));
    talk.hears(&data(&content, 0));
    assert_eq!(talk.metadata().raw(), content);
}
