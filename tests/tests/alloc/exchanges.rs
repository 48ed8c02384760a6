//! What one conversation with a peer costs.

use std::net::SocketAddr;

use estudely_core::internal::exchange::{Attempt, Pipeline};
use estudely_core::limits::{EXTENDED_HANDSHAKE_FRONT, EXTENDED_HANDSHAKE_MAX, PIECE_LEN};
use estudely_core::wire::{Extensions, Handshake, MetadataMessage, OUR_METADATA_ID};
use estudely_core::{
    Config, Crawler, Duration, Encryption, Exchange, InfoHash, Instant, Mode, PeerFault, Request,
    Seed, Step, Transport, Verdict,
};
use sha1::{Digest, Sha1};

use crate::counting::cost;

/// Most bytes of a connection before a size is accepted (H28).
const BEFORE_SIZE_MAX: usize = 4 * 1_024;

/// Blocks that an exchange of one piece takes: the piece, the list that it is entered in, and the
/// outcome.
const ALLOCATIONS: u64 = 3;

const ATTEMPT: Attempt = Attempt { transport: Transport::Tcp, pipeline: Pipeline::All };

fn exchange(hash: InfoHash) -> Exchange {
    Exchange::new(Instant::START, hash, ATTEMPT, None, Seed::from_u64(3))
}

/// The handshake of a peer with this infohash.
fn handshake(hash: InfoHash) -> Vec<u8> {
    let mut out = Vec::new();
    Handshake::new(hash, *b"-XX0000-abcdefghijkl").emit(&mut out);
    out
}

/// All that an honest peer says.
fn conversation(hash: InfoHash, info: &[u8]) -> Vec<u8> {
    let size = info.len() as i64;
    let mut said = handshake(hash);
    Extensions { ut_metadata: Some(3), metadata_size: Some(size), client: None }.emit(&mut said);
    let piece = MetadataMessage::Data { piece: 0, total_size: Some(size) };
    piece.emit(&mut said, OUR_METADATA_ID, info);
    said
}

/// Feeds `said` in parts of `part` bytes; the end, if it came.
fn feed(exchange: &mut Exchange, said: &[u8], part: usize, out: &mut Vec<u8>) -> Step {
    exchange.handle_connected(Instant::START, out);
    for bytes in said.chunks(part) {
        if let end @ Step::Finished(_) = exchange.handle_bytes(Instant::START, bytes, out) {
            return end;
        }
    }
    Step::Continue
}

#[test]
fn an_exchange_of_one_piece_takes_three_blocks() {
    let info: Vec<u8> = (0..12_345_u32).map(|n| n as u8).collect();
    let hash = InfoHash(Sha1::digest(&info).into());
    let said = conversation(hash, &info);
    // One buffer serves all connections of a thread.
    let mut out = Vec::with_capacity(1_024);
    let (step, cost) = cost(|| feed(&mut exchange(hash), &said, said.len(), &mut out));
    let Step::Finished(outcome) = step else { panic!("not over") };
    assert_eq!(outcome.result.expect("verified").metadata.raw(), info);
    assert_eq!(cost.allocations, ALLOCATIONS, "{cost:?}");
}

#[test]
fn the_control_plane_moves_what_an_exchange_brings_and_copies_none_of_it() {
    /// Bytes of the lists that a row and its peers stand in.
    const KEPT_MAX: i64 = 16 << 10;
    let name = vec![b'n'; 8 << 20];
    let head = format!("d6:lengthi1e4:name{}:", name.len()).into_bytes();
    let info = [&head[..], &name, b"12:piece lengthi16384e6:pieces20:", &[7; 20], b"e"].concat();
    let hash = InfoHash(Sha1::digest(&info).into());
    let (size, mut said, mut out) = (Some(info.len() as i64), handshake(hash), Vec::new());
    Extensions { ut_metadata: Some(3), metadata_size: size, client: None }.emit(&mut said);
    for (piece, data) in (0..).zip(info.chunks(PIECE_LEN)) {
        let message = MetadataMessage::Data { piece, total_size: size };
        message.emit(&mut said, OUR_METADATA_ID, data);
    }
    let config = Config::new(Mode::Direct);
    let mut crawler = Crawler::new(config, Seed::from_u64(1), Instant::START);
    let peer = SocketAddr::from(([1, 2, 3, 4], 5_678));
    crawler.handle_request(Instant::START, &Request::new(hash, [peer])).expect("room");
    let mut dial = crawler.poll_dial(Instant::START).expect("a peer");
    let Step::Finished(outcome) = feed(&mut dial.exchange, &said, said.len(), &mut out) else {
        panic!("all was said")
    };
    let (row, cost) = cost(|| {
        crawler.handle_outcome(Instant::START, dial.peer, *outcome);
        crawler.poll_row()
    });
    let row = row.expect("settled");
    assert!(matches!(&row.verdict, Verdict::Verified { info, .. } if info.name == name));
    assert!(row.bytes_held() >= info.len() + name.len());
    assert!(cost.peak <= KEPT_MAX, "{cost:?}");
}

#[test]
fn a_conversation_that_arrives_byte_by_byte_takes_few_blocks_more() {
    let info = vec![7; 500];
    let hash = InfoHash(Sha1::digest(&info).into());
    let said = conversation(hash, &info);
    let mut out = Vec::with_capacity(1_024);
    let (step, cost) = cost(|| feed(&mut exchange(hash), &said, 1, &mut out));
    assert!(matches!(step, Step::Finished(outcome) if outcome.result.is_ok()));
    // The fronts of two extension messages have to be kept.
    assert!(cost.allocations <= ALLOCATIONS + 2, "{cost:?}");
}

#[test]
fn an_encrypted_exchange_takes_one_block_of_fixed_size_more_whatever_answers_its_key() {
    /// Bytes of the filter at most.
    const FILTER_MAX: i64 = 1_280;
    let hash = InfoHash([7; 20]);
    // A key that is one, and padding behind it: a byte less than may be, and all that may be.
    let mut answer = vec![2; 96];
    answer.resize(96 + 512 + 8 - 1, 0x55);
    let mut out = Vec::with_capacity(4_096);
    let mut begin = |encrypts: bool, answer: &[u8]| {
        cost(|| {
            let mut exchange = exchange(hash);
            if encrypts {
                exchange = exchange.with_encryption(Encryption::Either, Seed::from_u64(3));
            }
            assert!(matches!(feed(&mut exchange, answer, 100, &mut out), Step::Continue));
            exchange
        })
    };
    let (_plain, without) = begin(false, b"");
    let (_encrypted, with) = begin(true, &answer);
    assert_eq!(with.allocations, without.allocations + 1, "{with:?} {without:?}");
    assert!(with.peak <= without.peak + FILTER_MAX, "{with:?} {without:?}");
}

#[test]
fn a_peer_that_stalls_before_its_size_holds_4_kibibytes_and_what_it_sent_of_its_handshake() {
    let hash = InfoHash([7; 20]);
    let mut endless = handshake(hash);
    // An extension handshake as long as one may be, which never says what matters.
    endless.extend_from_slice(&(EXTENDED_HANDSHAKE_MAX as u32).to_be_bytes());
    endless.extend_from_slice(&[20, 0]);
    let front = endless.len();
    endless.extend_from_slice(format!("d1:a{}:", EXTENDED_HANDSHAKE_MAX - 100).as_bytes());
    let mut filled = endless.clone();
    filled.resize(front + EXTENDED_HANDSHAKE_FRONT - 1, b'x');

    let stalls: [(&str, &[u8]); 5] = [
        ("silent", b""),
        ("half a handshake", &handshake(hash)[..40]),
        ("no word after its handshake", &handshake(hash)),
        ("an extension handshake that begins", &endless),
        ("an extension handshake of which one byte is missing", &filled),
    ];
    let mut out = Vec::with_capacity(1_024);
    for (what, said) in stalls {
        for part in [1, 7, said.len().max(1)] {
            let (held, cost) = cost(|| {
                let mut exchange = Box::new(exchange(hash));
                let step = feed(&mut exchange, said, part, &mut out);
                assert!(matches!(step, Step::Continue), "{what}: {step:?}");
                exchange
            });
            // The handshake's room grows by a move, and old and new are held for that moment.
            let sent = said.len().saturating_sub(front).min(EXTENDED_HANDSHAKE_FRONT);
            let most = BEFORE_SIZE_MAX + 2 * sent;
            assert!(cost.peak as usize <= most, "{what}, {part} at a time: {cost:?}");
            drop(held);
        }
    }
}

#[test]
fn what_an_exchange_held_is_given_back_at_its_deadline() {
    let hash = InfoHash([7; 20]);
    let mut said = conversation(hash, &[7; 10_000]);
    said.truncate(said.len() - 1);
    let mut out = Vec::with_capacity(1_024);
    let (fault, cost) = cost(|| {
        let mut exchange = exchange(hash);
        assert!(matches!(feed(&mut exchange, &said, 100, &mut out), Step::Continue));
        let late = Instant::START + Duration::from_secs(3_600);
        let Step::Finished(outcome) = exchange.handle_timeout(late, &mut out) else {
            panic!("not over")
        };
        outcome.result.map(|_| ())
    });
    assert_eq!(fault, Err(PeerFault::MetadataTimeout));
    assert_eq!(cost.kept, 0, "{cost:?}");
}

#[test]
fn what_is_allocated_for_metadata_is_what_is_counted_against_the_budget() {
    const PIECES: usize = 5 * ROUND;
    /// Pieces asked for at once.
    const ROUND: usize = 64;
    /// For each piece its place in a list that doubles (24 bytes and an index), with the old list
    /// beside the new one while it grows.
    const PLACE: usize = 96;
    let info: Vec<u8> = (0..PIECES * PIECE_LEN - 777).map(|n| (n / 251) as u8).collect();
    let hash = InfoHash(Sha1::digest(&info).into());
    let size = Some(info.len() as i64);
    let mut out = Vec::with_capacity(64 << 10);
    let mut opening = handshake(hash);
    Extensions { ut_metadata: Some(3), metadata_size: size, client: None }.emit(&mut opening);

    let mut exchange = exchange(hash);
    assert!(matches!(feed(&mut exchange, &opening, 999, &mut out), Step::Continue));
    // An odd order within each round of requests: 0, 7, 14, ... and so on round.
    let order = (0..PIECES).map(|n| n / ROUND * ROUND + n * 7 % ROUND);
    let mut allocated = 0;
    for (count, piece) in order.enumerate().take(PIECES - 1) {
        let start = piece * PIECE_LEN;
        let data = &info[start..info.len().min(start + PIECE_LEN)];
        let mut said = Vec::new();
        MetadataMessage::Data { piece: piece as i64, total_size: size }.emit(
            &mut said,
            OUR_METADATA_ID,
            data,
        );
        for half in said.chunks(PIECE_LEN / 2) {
            let before = allocated;
            let (step, cost) = cost(|| exchange.handle_bytes(Instant::START, half, &mut out));
            assert!(matches!(step, Step::Continue));
            allocated += cost.kept;
            let counted = exchange.bytes_held() + (count + 4) * PLACE;
            assert!((before + cost.peak) as usize <= counted, "piece {count}: {cost:?}");
        }
    }
    let (outcome, last) = cost(|| exchange.handle_failed(Instant::START, PeerFault::Aborted));
    let partial = outcome.partial.as_ref().expect("all but one");
    assert_eq!(usize::from(partial.pieces_held()), PIECES - 1);
    assert!((allocated + last.kept) as usize <= partial.bytes_held() + PIECES * PLACE);
    let ((), freed) = cost(|| drop(outcome));
    let left = allocated + last.kept + freed.kept;
    assert_eq!(left, 0, "bytes that are not given back");
}
