//! Conversations as scripts, named after the catalogue's items.

mod deviations;
mod encrypted;
mod hostile;
mod rounds;
mod splits;

use sha1::{Digest, Sha1};
use sha2::Sha256;

use super::*;
use crate::codec::wire::{EXTENDED, HANDSHAKE_LEN, OUR_METADATA_ID, emit_extended, emit_frame};
use crate::limits::PIECE_LEN;

const SECOND: Duration = Duration::from_secs(1);
/// When conversations begin: not at zero, so that a forgotten start shows.
const BEGIN: Instant = Instant::from_micros(5_000_000);
/// The id that the scripted peer gives ut_metadata: another than ours, see 10.2.
const PEER_METADATA_ID: u8 = 3;

const ALL: Attempt = Attempt { transport: Transport::Tcp, pipeline: Pipeline::All };
const ONE_BY_ONE: Attempt = Attempt { transport: Transport::Tcp, pipeline: Pipeline::OneByOne };

/// Metadata of `size` bytes; no dictionary, which an exchange does not mind.
fn content(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at / PIECE_LEN * 31 + at * 7) as u8).collect()
}

fn sha1_key(content: &[u8]) -> InfoHash {
    InfoHash(Sha1::digest(content).into())
}

/// An exchange with a scripted peer, in virtual time.
struct Talk {
    exchange: Exchange,
    now: Instant,
    /// Everything that we wrote.
    out: Vec<u8>,
    /// How much of it the script looked at.
    seen: usize,
    outcome: Option<Outcome>,
}

impl Talk {
    fn with(hash: InfoHash, attempt: Attempt, resume: Option<Pieces>) -> Self {
        Self::begin(Exchange::new(BEGIN, hash, attempt, resume, Seed::from_u64(1)))
    }

    /// Connects an exchange that was made at [`BEGIN`].
    fn begin(exchange: Exchange) -> Self {
        let mut talk = Self { exchange, now: BEGIN, out: Vec::new(), seen: 0, outcome: None };
        talk.exchange.handle_connected(BEGIN, &mut talk.out);
        talk
    }

    fn new(content: &[u8]) -> Self {
        Self::with(sha1_key(content), ALL, None)
    }

    /// Connected, both handshakes exchanged, metadata of this size offered; output looked at.
    fn offered(content: &[u8], attempt: Attempt, resume: Option<Pieces>) -> Self {
        let mut talk = Self::with(sha1_key(content), attempt, resume);
        talk.hears(&hello(sha1_key(content))).hears(&offer(content.len() as i64));
        talk.said();
        talk
    }

    /// The peer says something.
    fn hears(&mut self, bytes: &[u8]) -> &mut Self {
        assert_eq!(self.outcome, None, "over already");
        if let Step::Finished(outcome) = self.exchange.handle_bytes(self.now, bytes, &mut self.out)
        {
            self.outcome = Some(*outcome);
        }
        self
    }

    /// Time passes; the adapter keeps its promise about deadlines.
    fn waits(&mut self, time: Duration) -> &mut Self {
        assert_eq!(self.outcome, None, "over already");
        self.now = self.now + time;
        if let Step::Finished(outcome) = self.exchange.handle_timeout(self.now, &mut self.out) {
            self.outcome = Some(*outcome);
        }
        self
    }

    /// What we wrote since the last look.
    fn said(&mut self) -> &[u8] {
        let start = mem::replace(&mut self.seen, self.out.len());
        &self.out[start..]
    }

    /// The metadata messages that we wrote since the last look: (extension id, message).
    fn asked(&mut self) -> Vec<(u8, MetadataMessage)> {
        let mut messages = Vec::new();
        let mut said = self.said();
        while let Some((length, rest)) = said.split_first_chunk::<4>() {
            let (frame, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
            assert_eq!(frame[0], EXTENDED);
            messages.push((frame[1], MetadataMessage::parse(&frame[2..]).expect("ours").0));
            said = rest;
        }
        messages
    }

    /// The indices asked for since the last look.
    fn requests(&mut self) -> Vec<i64> {
        let request = |(id, message)| match message {
            MetadataMessage::Request { piece } if id == PEER_METADATA_ID => piece,
            other => panic!("{other:?} under {id}"),
        };
        self.asked().into_iter().map(request).collect()
    }

    fn is_open(&self) -> bool {
        self.outcome.is_none()
    }

    fn fault(&self) -> Option<PeerFault> {
        self.outcome.as_ref().and_then(|outcome| outcome.result.as_ref().err().copied())
    }

    fn metadata(&self) -> &Metadata {
        let outcome = self.outcome.as_ref().expect("over");
        &outcome.result.as_ref().expect("metadata").metadata
    }

    fn partial(&self) -> Option<&Pieces> {
        self.outcome.as_ref().and_then(|outcome| outcome.partial.as_ref())
    }
}

fn hello(hash: InfoHash) -> Vec<u8> {
    let mut out = Vec::new();
    Handshake::new(hash, *b"-LT20A0-peerpeerpeer").emit(&mut out);
    out
}

fn offer(size: i64) -> Vec<u8> {
    let mut out = Vec::new();
    let ut_metadata = Some(i64::from(PEER_METADATA_ID));
    Extensions { ut_metadata, metadata_size: Some(size), client: Some(b"peer") }.emit(&mut out);
    out
}

/// An extension message with this payload.
fn extended(id: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    emit_extended(&mut out, id, |out| out.extend_from_slice(payload));
    out
}

/// A frame with this message id and payload.
fn frame(id: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    emit_frame(&mut out, |out| {
        out.push(id);
        out.extend_from_slice(payload);
    });
    out
}

fn message(message: MetadataMessage, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    message.emit(&mut out, OUR_METADATA_ID, bytes);
    out
}

/// The right bytes of a piece.
fn piece_bytes(content: &[u8], piece: i64) -> &[u8] {
    let start = piece as usize * PIECE_LEN;
    &content[start..content.len().min(start + PIECE_LEN)]
}

fn data(content: &[u8], piece: i64) -> Vec<u8> {
    let total_size = Some(content.len() as i64);
    message(MetadataMessage::Data { piece, total_size }, piece_bytes(content, piece))
}

fn reject(piece: i64) -> Vec<u8> {
    message(MetadataMessage::Reject { piece }, b"")
}

#[test]
fn the_order_on_the_wire_is_handshake_then_extensions_then_all_requests_in_one_write() {
    let content = content(3 * PIECE_LEN + 5);
    let hash = sha1_key(&content);
    let mut talk = Talk::new(&content);
    let ours: [u8; HANDSHAKE_LEN] = talk.said().try_into().expect("68 bytes and no more");
    let ours = Handshake::parse(&ours).expect("ours");
    assert_eq!(ours.info_hash, hash);
    assert_eq!(ours.reserved, [0, 0, 0, 0, 0, 0x10, 0, 0]);
    assert!(ours.peer_id.starts_with(b"-EY0100-"));

    talk.hears(&hello(hash)[..HANDSHAKE_LEN - 1]);
    assert_eq!(talk.said(), b"", "not before the peer's 68th byte, for aria2's sake");
    talk.hears(&hello(hash)[HANDSHAKE_LEN - 1..]);
    assert_eq!(talk.said(), b"\0\0\0\x32\x14\0d1:md11:ut_metadatai2ee1:v18:DHT-Estudely 0.1.0e");

    talk.hears(&offer(content.len() as i64));
    assert_eq!(talk.requests(), [0, 1, 2, 3]);
    for piece in [2, 0, 3] {
        talk.waits(SECOND).hears(&data(&content, piece));
        assert_eq!(talk.said(), b"");
    }
    talk.hears(&data(&content, 1));
    assert_eq!(talk.metadata().raw(), content);
    assert_eq!((talk.metadata().hash(), talk.metadata().is_v2_key()), (hash, false));
    let outcome = talk.outcome.as_ref().expect("over");
    assert_eq!((outcome.progress, &outcome.partial), (Progress::Complete, &None));
    assert_eq!((outcome.pieces_offered, outcome.pieces_new), (4, 4));
    let start = Instant::from_micros(5_000_000);
    let timings = Timings {
        started: start,
        connected: Some(start),
        keys_exchanged: None,
        handshaken: Some(start),
        offered: Some(start),
        ended: start + 3 * SECOND,
    };
    assert_eq!((outcome.timings, outcome.transport), (timings, Transport::Tcp));
}

#[test]
fn one_by_one_asks_for_the_next_piece_when_the_last_came() {
    let content = content(2 * PIECE_LEN + 5);
    let mut talk = Talk::offered(&content, ONE_BY_ONE, None);
    talk.seen = talk.out.len() - 31;
    for piece in 0..3 {
        assert_eq!(talk.requests(), [piece]);
        talk.hears(&data(&content, piece));
    }
    assert_eq!(talk.metadata().raw(), content);
}

#[test]
fn a_truncated_sha_256_is_a_key_as_well() {
    let content = content(100);
    let digest = Sha256::digest(&content);
    let hash = InfoHash::from_slice(&digest[..20]).expect("20 bytes");
    let mut talk = Talk::with(hash, ALL, None);
    talk.hears(&hello(hash)).hears(&offer(100)).hears(&data(&content, 0));
    assert!(talk.metadata().is_v2_key());
    assert_eq!(talk.metadata().sha256()[..], digest[..]);
}

#[test]
fn an_even_multiple_of_the_piece_length_ends_in_a_full_piece() {
    let content = content(2 * PIECE_LEN);
    let mut talk = Talk::offered(&content, ALL, None);
    talk.hears(&data(&content, 0)).hears(&data(&content, 1));
    assert_eq!(talk.metadata().raw(), content);
}

#[test]
fn everything_in_one_segment_works_as_well() {
    let content = content(PIECE_LEN + 1);
    let hash = sha1_key(&content);
    let mut talk = Talk::new(&content);
    let pieces = [data(&content, 0), data(&content, 1)].concat();
    talk.hears(&[hello(hash), offer(content.len() as i64), pieces].concat());
    assert_eq!(talk.metadata().raw(), content);
}

#[test]
fn partial_pieces_are_resumed_by_a_peer_that_names_the_same_size() {
    let content = content(3 * PIECE_LEN);
    let mut first = Talk::offered(&content, ALL, None);
    first.hears(&data(&content, 1));
    first.hears(&data(&content, 0)[..1_000]);
    let outcome = first.exchange.handle_closed(first.now);
    assert_eq!(outcome.result, Err(PeerFault::ClosedLate));
    let partial = outcome.partial.expect("piece 1");
    assert_eq!(partial.missing().collect::<Vec<_>>(), [0, 2], "half a piece is no piece");

    let mut second = Talk::with(sha1_key(&content), ALL, Some(partial.clone()));
    second.hears(&hello(sha1_key(&content)));
    second.said();
    second.hears(&offer(content.len() as i64));
    assert_eq!(second.requests(), [0, 2]);
    second.hears(&data(&content, 0)).hears(&data(&content, 2));
    assert_eq!(second.metadata().raw(), content);
    assert_eq!(second.outcome.as_ref().map(|outcome| outcome.pieces_new), Some(2));

    let mut other = Talk::with(sha1_key(&content), ALL, Some(partial.clone()));
    other.hears(&hello(sha1_key(&content)));
    other.said();
    other.hears(&offer(content.len() as i64 - 1));
    assert_eq!(other.requests(), [0, 1, 2]);
    let outcome = other.exchange.handle_closed(other.now);
    assert_eq!(outcome.partial, Some(partial), "a liar about the size costs nothing");
}

/// Found by the simulator: seeds 593, 889 and 983, where a peer that hung up before its offer was
/// dialled once more, one piece at a time, for the pieces that another had left.
#[test]
fn pieces_that_others_left_are_no_offer_of_the_peer_that_inherits_them() {
    let content = content(3 * PIECE_LEN);
    let mut first = Talk::offered(&content, ALL, None);
    first.hears(&data(&content, 1));
    let outcome = first.exchange.handle_closed(first.now);
    assert_eq!(outcome.pieces_offered, 3);
    let partial = outcome.partial.expect("piece 1");

    let mut second = Talk::with(sha1_key(&content), ALL, Some(partial.clone()));
    second.hears(&hello(sha1_key(&content)));
    let outcome = second.exchange.handle_closed(second.now);
    assert_eq!(outcome.result, Err(PeerFault::ClosedLate));
    assert_eq!((outcome.pieces_offered, &outcome.partial), (0, &Some(partial.clone())));

    let mut small = Talk::with(sha1_key(&content), ALL, Some(partial.clone()));
    small.hears(&hello(sha1_key(&content))).hears(&offer(1_000));
    let outcome = small.exchange.handle_closed(small.now);
    assert_eq!((outcome.pieces_offered, &outcome.partial), (1, &Some(partial)));
}

#[test]
fn adapter_failures_keep_the_partial_and_their_own_fault() {
    let content = content(2 * PIECE_LEN);
    for fault in [PeerFault::Pressure, PeerFault::Aborted] {
        let mut talk = Talk::offered(&content, ALL, None);
        talk.hears(&data(&content, 1));
        let outcome = talk.exchange.handle_failed(talk.now, fault);
        assert_eq!(outcome.result, Err(fault));
        assert_eq!(outcome.partial.map(|partial| partial.pieces_held()), Some(1));
    }
    let now = Instant::START;
    let mut unborn = Exchange::new(now, sha1_key(b""), ALL, None, Seed::from_u64(1));
    assert!(!unborn.is_connected());
    let outcome = unborn.handle_failed(now, PeerFault::Refused);
    assert_eq!((outcome.result, outcome.progress), (Err(PeerFault::Refused), Progress::Nothing));
}

#[test]
fn closing_is_early_before_the_handshake_and_late_after_it() {
    let content = content(100);
    let hash = sha1_key(&content);
    let mut talk = Talk::new(&content);
    talk.hears(&hello(hash)[..67]);
    assert_eq!(talk.exchange.handle_closed(talk.now).result, Err(PeerFault::ClosedEarly));
    let mut talk = Talk::new(&content);
    talk.hears(&hello(hash));
    let outcome = talk.exchange.handle_closed(talk.now);
    assert_eq!(outcome.result, Err(PeerFault::ClosedLate));
    assert_eq!(outcome.progress, Progress::Handshaken);
}

#[test]
fn equal_seeds_give_equal_peer_ids_and_others_do_not() {
    let say = |seed| {
        let now = Instant::START;
        let mut exchange = Exchange::new(now, sha1_key(b""), ALL, None, Seed::from_u64(seed));
        let mut out = Vec::new();
        exchange.handle_connected(now, &mut out);
        out
    };
    assert_eq!(say(1), say(1));
    assert_ne!(say(1), say(2));
}

#[test]
fn nothing_happens_before_connecting_or_after_the_end() {
    let content = content(100);
    let now = Instant::START;
    let mut exchange = Exchange::new(now, sha1_key(&content), ALL, None, Seed::from_u64(1));
    let mut out = Vec::new();
    assert_eq!(exchange.handle_bytes(now, &hello(sha1_key(&content)), &mut out), Step::Continue);
    let mut talk = Talk::new(&content);
    talk.hears(&[0; 20]);
    assert!(!talk.is_open());
    let step = talk.exchange.handle_bytes(talk.now, &hello(sha1_key(&content)), &mut out);
    assert_eq!((step, out.len()), (Step::Continue, 0));
    let late = talk.now + 99 * SECOND;
    assert_eq!(talk.exchange.handle_timeout(late, &mut out), Step::Continue);
}

#[test]
fn an_exchange_is_small_and_can_change_threads() {
    fn is_send<T: Send>() {}
    is_send::<Exchange>();
    is_send::<Outcome>();
    // At most 4 KiB each before a size is accepted (H28).
    assert!(size_of::<Exchange>() <= 1_024, "{}", size_of::<Exchange>());
}
