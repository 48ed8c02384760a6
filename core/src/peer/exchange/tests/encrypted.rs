//! Conversations behind message stream encryption (2.9).

use super::*;
use crate::limits::{FIRST_PIECE_PATIENCE, HANDSHAKE_TIMEOUT};
use crate::peer::mse::Encryption;
use crate::peer::mse::tests::responder::{Answer, Responder};

/// An encrypted exchange that was connected, and the peer that its key went to.
pub(super) struct Encrypted {
    pub(super) talk: Talk,
    pub(super) peer: Responder,
}

impl Encrypted {
    pub(super) fn begin(
        hash: InfoHash,
        attempt: Attempt,
        resume: Option<Pieces>,
        encryption: Encryption,
    ) -> Self {
        let seed = Seed::from_u64(1);
        let exchange = Exchange::new(BEGIN, hash, attempt, resume, seed);
        let talk = Talk::begin(exchange.with_encryption(encryption, seed));
        let peer = Responder::new(hash, 0xfeed, &talk.out);
        Self { talk, peer }
    }

    fn about(content: &[u8], encryption: Encryption) -> Self {
        Self::begin(sha1_key(content), ALL, None, encryption)
    }
}

fn answer(select: u32) -> Answer {
    Answer::new(select, vec![5; 100], vec![6; 50])
}

#[test]
fn metadata_come_through_either_selection_after_two_round_trips() {
    let content = content(PIECE_LEN + 5);
    for select in [1, 2, 3] {
        let mut held = Encrypted::about(&content, Encryption::Either);
        let pieces = [data(&content, 0), data(&content, 1)].concat();
        let said = [hello(sha1_key(&content)), offer(content.len() as i64), pieces].concat();
        let stream = held.peer.says(&answer(select), &said);
        let (keys, rest) = stream.split_at(stream.len() - said.len());
        held.talk.waits(SECOND).hears(keys);
        assert_eq!(held.talk.exchange.progress(), Progress::KeysExchanged);
        held.talk.waits(SECOND).hears(rest);
        assert_eq!(held.talk.metadata().raw(), content, "{select}");
        let timings = held.talk.outcome.as_ref().expect("over").timings;
        assert_eq!(timings.connected, Some(BEGIN));
        assert_eq!(timings.keys_exchanged, Some(BEGIN + SECOND));
        assert_eq!(timings.handshaken, Some(BEGIN + 2 * SECOND));
    }
}

#[test]
fn the_handshake_is_said_once_and_first_and_nothing_is_said_in_the_clear() {
    let content = content(100);
    let mut held = Encrypted::about(&content, Encryption::Required);
    let stream = held.peer.says(&answer(2), &hello(sha1_key(&content)));
    held.talk.hears(&stream);
    let ours = held.peer.heard(&held.talk.out, &answer(2));
    assert_eq!(ours.provided, 2);
    assert_eq!(ours.first.len(), HANDSHAKE_LEN);
    assert!(ours.first.starts_with(b"\x13BitTorrent protocol"));
    assert!(ours.payload.starts_with(b"\0\0\0\x32\x14\0d1:md11:ut_metadata"));
    assert!(!held.talk.out.windows(8).any(|window| b"\x13BitTorrent".starts_with(window)));
}

#[test]
fn what_is_asked_for_again_after_a_silence_is_enciphered_too() {
    let content = content(3 * PIECE_LEN);
    let mut held = Encrypted::about(&content, Encryption::Either);
    let said = [hello(sha1_key(&content)), offer(content.len() as i64)].concat();
    let stream = held.peer.says(&answer(2), &said);
    held.talk.hears(&stream);
    let before = held.peer.heard(&held.talk.out, &answer(2)).payload;
    held.talk.waits(FIRST_PIECE_PATIENCE);
    let after = held.peer.heard(&held.talk.out, &answer(2)).payload;
    let mut again = Vec::new();
    MetadataMessage::Request { piece: 0 }.emit(&mut again, PEER_METADATA_ID, b"");
    assert_eq!(after, [before, again].concat());
}

#[test]
fn each_fault_of_the_key_exchange_has_its_name() {
    let content = content(100);
    let lie = Answer { pad_d_len: 513, ..answer(2) };
    for (encryption, answer, fault) in [
        (Encryption::Either, &answer(0), PeerFault::BadSelect),
        (Encryption::Required, &answer(1), PeerFault::BadSelect),
        (Encryption::Required, &answer(3), PeerFault::BadSelect),
        (Encryption::Either, &lie, PeerFault::BadPad),
        (Encryption::Either, &Answer::new(2, vec![0; 513], Vec::new()), PeerFault::NoVc),
    ] {
        let mut held = Encrypted::about(&content, encryption);
        let stream = held.peer.says(answer, b"");
        held.talk.hears(&stream);
        assert_eq!(held.talk.fault(), Some(fault));
        assert_eq!(held.talk.outcome.expect("over").progress, Progress::Connected);
    }
    let mut held = Encrypted::about(&content, Encryption::Either);
    held.talk.hears(&[0; 96]);
    assert_eq!(held.talk.fault(), Some(PeerFault::BadKey));
}

#[test]
fn closing_and_silence_say_how_far_the_keys_were() {
    let content = content(100);
    for part in [0, 95, 96, 200] {
        let mut held = Encrypted::about(&content, Encryption::Either);
        let stream = held.peer.says(&answer(2), b"");
        held.talk.hears(&stream[..part]);
        let mut slow = held.talk.exchange.clone();
        let closed = held.talk.exchange.handle_closed(held.talk.now);
        assert_eq!(closed.result, Err(PeerFault::ClosedExchangingKeys), "{part}");
        assert_eq!(slow.poll_timeout(), BEGIN + HANDSHAKE_TIMEOUT);
        let end = slow.handle_timeout(BEGIN + HANDSHAKE_TIMEOUT, &mut Vec::new());
        let Step::Finished(outcome) = end else { panic!("not over") };
        assert_eq!(outcome.result, Err(PeerFault::HandshakeTimeout));
        assert_eq!(outcome.progress, Progress::Connected);
    }
    let mut held = Encrypted::about(&content, Encryption::Either);
    let stream = held.peer.says(&answer(2), &hello(sha1_key(&content))[..67]);
    held.talk.waits(9 * SECOND).hears(&stream);
    let mut slow = held.talk.exchange.clone();
    let closed = held.talk.exchange.handle_closed(held.talk.now);
    assert_eq!(closed.result, Err(PeerFault::ClosedEarly));
    assert_eq!(closed.progress, Progress::KeysExchanged);
    // Keys and handshake share one deadline, which nothing moves.
    assert_eq!(slow.poll_timeout(), BEGIN + HANDSHAKE_TIMEOUT);
    let Step::Finished(outcome) = slow.handle_timeout(slow.poll_timeout(), &mut Vec::new()) else {
        panic!("not over")
    };
    assert_eq!(outcome.result, Err(PeerFault::HandshakeTimeout));
}

#[test]
fn no_other_protocol_and_no_second_encryption_is_accepted_inside() {
    let content = content(100);
    for select in [1, 2] {
        for inside in [&[0x42; 96][..], b"\x13BitTorrent protocoL"] {
            let mut held = Encrypted::about(&content, Encryption::Either);
            let stream = held.peer.says(&answer(select), inside);
            held.talk.hears(&stream);
            assert_eq!(held.talk.fault(), Some(PeerFault::NotBitTorrent));
        }
        let mut held = Encrypted::about(&content, Encryption::Either);
        let stream = held.peer.says(&answer(select), &hello(InfoHash([1; 20])));
        held.talk.hears(&stream);
        assert_eq!(held.talk.fault(), Some(PeerFault::WrongInfoHash));
    }
}

#[test]
fn an_exchange_in_the_clear_pays_one_pointer_for_the_filter() {
    assert_eq!(size_of::<Option<Box<Filter>>>(), size_of::<usize>());
}
