//! H23-H30: what hostile peers try, at each limit and one past it.

use super::*;

#[test]
fn h23_sizes_are_accepted_at_the_limits_and_refused_one_past_them() {
    for (size, fault) in [
        (10, None),
        (33_554_432, None),
        (9, Some(PeerFault::BadSize)),
        (33_554_433, Some(PeerFault::BadSize)),
        (-1, Some(PeerFault::BadSize)),
        (i64::MAX, Some(PeerFault::BadSize)),
    ] {
        let mut talk = Talk::new(b"");
        talk.hears(&hello(sha1_key(b""))).hears(&offer(size));
        assert_eq!(talk.fault(), fault, "{size}");
    }
}

#[test]
fn h23_the_largest_size_costs_no_memory_until_pieces_come() {
    let mut talk = Talk::new(b"");
    talk.hears(&hello(sha1_key(b"")));
    talk.said();
    talk.hears(&offer(33_554_432));
    assert_eq!(talk.exchange.pieces.as_ref().map(Pieces::bytes_held), Some(0));
    assert_eq!(talk.requests().len(), 64);
}

#[test]
fn h25_a_piece_must_follow_the_last_within_its_time_and_not_a_moment_later() {
    let content = content(3 * PIECE_LEN);
    let mut talk = Talk::offered(&content, ALL, None);
    let almost = Duration::from_micros(9_999_999);
    talk.waits(almost).hears(&data(&content, 0));
    talk.waits(almost).hears(&data(&content, 1));
    talk.waits(10 * SECOND);
    assert_eq!(talk.fault(), Some(PeerFault::MetadataTimeout));
    assert_eq!(talk.partial().map(Pieces::pieces_held), Some(2));
}

#[test]
fn h25_noise_and_rejects_do_not_move_the_deadline() {
    let content = content(3 * PIECE_LEN);
    let mut talk = Talk::offered(&content, ALL, None);
    let deadline = talk.exchange.ends();
    talk.waits(SECOND).hears(&reject(0)).hears(&[0; 4]).hears(&frame(5, &[0; 100]));
    talk.hears(&data(&content, 1)[..PIECE_LEN]).waits(SECOND);
    assert_eq!(talk.exchange.ends(), deadline);
}

#[test]
fn h25_bytes_that_come_at_the_deadline_come_too_late() {
    let content = content(100);
    let mut talk = Talk::offered(&content, ALL, None);
    talk.now = talk.now + 10 * SECOND;
    talk.hears(&data(&content, 0));
    assert_eq!(talk.fault(), Some(PeerFault::MetadataTimeout));
}

#[test]
fn h26_every_phase_has_its_own_deadline() {
    let hash = sha1_key(b"");
    let start = Instant::START;
    let mut exchange = Exchange::new(start, hash, ALL, None, Seed::from_u64(1));
    assert_eq!(exchange.poll_timeout(), start + 8 * SECOND);
    let early = start + Duration::from_micros(7_999_999);
    assert_eq!(exchange.handle_timeout(early, &mut Vec::new()), Step::Continue);
    let end = start + 8 * SECOND;
    let Step::Finished(outcome) = exchange.handle_timeout(end, &mut Vec::new()) else {
        panic!("still connecting");
    };
    assert_eq!(outcome.result, Err(PeerFault::ConnectTimeout));

    let mut talk = Talk::with(hash, ALL, None);
    talk.waits(9 * SECOND).hears(&hello(hash)[..40]).waits(SECOND);
    assert_eq!(talk.fault(), Some(PeerFault::HandshakeTimeout));
    let mut talk = Talk::with(hash, ALL, None);
    talk.waits(9 * SECOND).hears(&hello(hash)).waits(9 * SECOND).hears(&offer(99)[..9]);
    assert!(talk.is_open());
    talk.waits(SECOND);
    assert_eq!(talk.fault(), Some(PeerFault::ExtensionTimeout));
}

#[test]
fn h26_a_steady_drip_of_pieces_ends_at_the_absolute_deadline() {
    // A hundred pieces: 50 s at 32 KiB a second, and with a byte more another second begins.
    for (size, allowed) in [(1_638_400, 110), (1_638_401, 111)] {
        assert_eq!(time_of_a_drip(size), allowed * SECOND);
    }
}

#[test]
fn h26_the_lowest_throughput_rises_with_the_size_on_offer() {
    // 10 KiB a second from 30 s on: the fourth piece comes after 36 s, the fifth would after 45.
    assert_eq!(time_of_a_drip(10 << 20), Duration::from_millis(30_000 + 5 * 1_600));
    // 2 KiB a second: four pieces in 36 s are enough, and so on until the next would be late.
    let two = time_of_a_drip(2 << 20).as_secs();
    assert!((100..=124).contains(&two), "{two}");
}

/// How long a peer keeps a connection that sends the next piece every nine seconds.
fn time_of_a_drip(size: usize) -> Duration {
    let content = content(size);
    let mut talk = Talk::offered(&content, ALL, None);
    let started = talk.now;
    let mut pieces = 0..;
    while talk.is_open() {
        talk.waits(9 * SECOND);
        if talk.is_open() {
            talk.hears(&data(&content, pieces.next().expect("endless")));
        }
        let wait = talk.exchange.ends().since(talk.now);
        if talk.is_open() && wait < 9 * SECOND {
            talk.waits(wait);
        }
    }
    assert_eq!(talk.fault(), Some(PeerFault::MetadataTimeout));
    assert!(talk.partial().is_some_and(|partial| partial.pieces_held() >= 3));
    talk.now.since(started)
}

#[test]
fn h27_unwanted_extension_messages_are_ignored_at_the_limit_and_close_one_past_it() {
    let content = content(100);
    for unwanted in [extended(77, b"zz"), extended(OUR_METADATA_ID, b"d8:msg_typei9ee"), offer(100)]
    {
        let mut talk = Talk::offered(&content, ALL, None);
        for _ in 0..256 {
            talk.hears(&unwanted);
        }
        assert!(talk.is_open());
        talk.waits(SECOND);
        for _ in 0..16 {
            talk.hears(&unwanted);
        }
        assert!(talk.is_open(), "16 more a second");
        talk.hears(&unwanted);
        assert_eq!(talk.fault(), Some(PeerFault::Unwanted));
    }
}

#[test]
fn h27_skipped_bytes_are_allowed_at_the_limit_and_close_one_past_it() {
    let largest = frame(5, &vec![0; 4_194_303]);
    let left = 6_291_456 - largest.len();
    // So many at once, and 64 KiB more after each second.
    for (seconds, more) in [(0, 0), (2, 131_072)] {
        for (beyond, fault) in [(0, None), (1, Some(PeerFault::Unwanted))] {
            let mut talk = Talk::offered(&content(100), ALL, None);
            talk.waits(seconds * SECOND);
            talk.hears(&largest).hears(&frame(5, &vec![0; left - 5 + more + beyond]));
            assert_eq!(talk.fault(), fault);
        }
    }
}

#[test]
fn h27_a_seed_of_a_huge_torrent_may_say_much_before_it_serves() {
    let content = content(100);
    let bitfield = frame(5, &vec![0xff; 1_572_864]);
    let foreign = extended(9, &[7; 20_000]);
    let mut talk = Talk::new(&content);
    talk.hears(&hello(sha1_key(&content))).hears(&bitfield);
    for _ in 0..66 {
        talk.hears(&foreign);
    }
    talk.hears(&offer(100)).hears(&data(&content, 0));
    assert_eq!(talk.metadata().raw(), content);
}

#[test]
fn h27_reject_storms_are_strays() {
    let mut talk = Talk::offered(&content(100), ALL, None);
    for piece in 1..=8 {
        talk.hears(&reject(-piece));
    }
    assert!(talk.is_open());
    talk.hears(&reject(99));
    assert_eq!(talk.fault(), Some(PeerFault::Unwanted));
}

/// A frame's start that announces `length` bytes.
fn announced(length: u32, ids: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes(), ids].concat()
}

#[test]
fn h28_announced_lengths_are_accepted_at_the_limit_and_refused_one_past_it() {
    let largest = 17_408 + 2;
    let handshake = 65_536 + 2;
    for (start, fault) in [
        (announced(4_194_304, &[5]), None),
        (announced(4_194_305, &[]), Some(PeerFault::BadMessage)),
        (announced(u32::MAX, &[]), Some(PeerFault::BadMessage)),
        (announced(largest, &[EXTENDED, OUR_METADATA_ID]), None),
        (announced(largest + 1, &[EXTENDED, OUR_METADATA_ID]), Some(PeerFault::BadMessage)),
        (announced(4_194_304, &[EXTENDED, 9]), None),
        (announced(handshake, &[EXTENDED, 0]), None),
        (announced(handshake + 1, &[EXTENDED, 0]), Some(PeerFault::BadMessage)),
        (announced(1, &[EXTENDED]), Some(PeerFault::BadMessage)),
        (announced(2, &[EXTENDED, OUR_METADATA_ID]), Some(PeerFault::BadMessage)),
    ] {
        let mut talk = Talk::offered(&content(100), ALL, None);
        talk.hears(&start);
        assert_eq!(talk.fault(), fault, "{start:?}");
    }
}

#[test]
fn h28_an_extension_handshake_of_the_largest_size_is_read_in_any_parts() {
    let content = content(100);
    let filler = 65_536 - "d1:md11:ut_metadatai3ee13:metadata_sizei100e1:z65536:e".len();
    let filler = format!("1:z{filler}:{}", "z".repeat(filler));
    let payload = format!("d1:md11:ut_metadatai3ee13:metadata_sizei100e{filler}e");
    assert_eq!(payload.len(), 65_536);
    let whole = extended(0, payload.as_bytes());
    for part in [whole.len(), 1_000, 7] {
        let mut talk = Talk::new(&content);
        talk.hears(&hello(sha1_key(&content)));
        for part in whole.chunks(part) {
            talk.hears(part);
        }
        assert_eq!(talk.exchange.progress(), Progress::Offered);
    }
}

#[test]
fn h28_of_a_long_extension_handshake_sixteen_kib_are_read_and_not_a_byte_more() {
    for (length, progress) in [(16_384, Progress::Offered), (16_385, Progress::Handshaken)] {
        let says = "1:md11:ut_metadatai3ee13:metadata_sizei100e";
        let filler = length - says.len() - "d1:a12345:".len();
        let payload = format!("d1:a{filler}:{}{says}1:v1:ze", "x".repeat(filler));
        let mut talk = Talk::new(&content(100));
        talk.hears(&hello(sha1_key(&content(100)))).hears(&extended(0, payload.as_bytes()));
        assert_eq!(talk.exchange.progress(), progress, "{length}");
    }
}

#[test]
fn h29_a_wrong_hash_leaves_nothing_behind() {
    let content = content(2 * PIECE_LEN);
    let mut talk = Talk::offered(&content, ALL, None);
    let mut wrong = data(&content, 1);
    *wrong.last_mut().expect("bytes") ^= 1;
    talk.hears(&data(&content, 0)).hears(&wrong);
    assert_eq!((talk.fault(), talk.partial()), (Some(PeerFault::BadHash), None));
    let outcome = talk.outcome.expect("over");
    assert_eq!((outcome.progress, outcome.pieces_new), (Progress::Complete, 2));
}

/// Piece 0 from a peer that lied about its content.
fn poisoned(content: &[u8]) -> Pieces {
    let mut pieces = Pieces::new(content.len() as i64).expect("size");
    assert!(pieces.begin(0) && pieces.fill(&[0xee; PIECE_LEN]));
    pieces
}

#[test]
fn h29_pieces_poisoned_by_an_earlier_peer_are_asked_again_before_this_one_is_blamed() {
    let content = content(3 * PIECE_LEN - 7);
    for attempt in [ALL, ONE_BY_ONE] {
        let mut talk = Talk::offered(&content, attempt, Some(poisoned(&content)));
        talk.hears(&data(&content, 1)).hears(&data(&content, 2));
        assert_eq!(talk.requests().last(), Some(&0));
        talk.hears(&data(&content, 0));
        assert_eq!(talk.metadata().raw(), content);
    }
    let mut talk = Talk::offered(&content, ALL, Some(poisoned(&content)));
    let mut wrong = data(&content, 0);
    wrong[100] ^= 1;
    talk.hears(&data(&content, 1)).hears(&data(&content, 2)).hears(&wrong);
    assert_eq!((talk.fault(), talk.partial()), (Some(PeerFault::BadHash), None));
}

#[test]
fn h29_a_complete_but_wrong_inheritance_is_fetched_anew() {
    let content = content(PIECE_LEN);
    let mut talk = Talk::with(sha1_key(&content), ALL, Some(poisoned(&content)));
    talk.hears(&hello(sha1_key(&content)));
    talk.said();
    talk.hears(&offer(PIECE_LEN as i64));
    assert_eq!(talk.requests(), [0]);
    talk.hears(&data(&content, 0));
    assert_eq!(talk.metadata().raw(), content);
}

#[test]
fn h30_what_tells_colliding_dictionaries_apart_is_kept() {
    let metadata = Metadata::verify(sha1_key(b"some bytes"), b"some bytes".to_vec());
    let metadata = metadata.expect("matches");
    assert_eq!(
        (metadata.raw().len(), metadata.sha256()[..].to_vec()),
        (10, Sha256::digest(b"some bytes").to_vec())
    );
    assert_eq!(Metadata::verify(sha1_key(b"other"), b"some bytes".to_vec()), None);
}

#[test]
fn h47_a_clock_that_steps_back_does_no_harm() {
    let content = content(100);
    let mut talk = Talk::new(&content);
    talk.waits(SECOND).hears(&hello(sha1_key(&content)));
    talk.now = Instant::START;
    talk.hears(&offer(100)).hears(&data(&content, 0));
    let timings = talk.outcome.expect("over").timings;
    assert!(timings.offered >= timings.handshaken && Some(timings.ended) >= timings.offered);
}
