//! Any split of any stream: the same output, the same outcome; and never a panic.

use proptest::prelude::*;

use super::encrypted::Encrypted;
use super::*;
use crate::peer::mse::Encryption;
use crate::peer::mse::tests::responder::Answer;

const SIZE: usize = 2 * PIECE_LEN + 50;

/// One thing that a peer may say.
fn utterance() -> impl Strategy<Value = Vec<u8>> {
    let content = content(SIZE);
    let right = content.clone();
    prop_oneof![
        6 => (0..3i64).prop_map(move |piece| data(&right, piece)),
        2 => Just(offer(SIZE as i64)),
        1 => (-1..4i64).prop_map(reject),
        1 => (-1..4i64).prop_map(|piece| message(MetadataMessage::Request { piece }, b"")),
        1 => (-1..4i64, 0..40usize).prop_map(|(piece, length)| {
            message(MetadataMessage::Data { piece, total_size: None }, &vec![1; length])
        }),
        1 => (0..30u8, prop::collection::vec(any::<u8>(), 0..50)).prop_map(|(id, p)| frame(id, &p)),
        1 => (0..5u8, prop::collection::vec(any::<u8>(), 0..50)).prop_map(|(id, p)| extended(id, &p)),
        1 => Just(frame(5, &[0xaa; 2_000])),
        1 => Just(vec![0; 4]),
        1 => Just(offer(SIZE as i64 + 1)),
    ]
}

/// A whole stream: mostly sensible, sometimes with a byte changed.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![9 => Just(true), 1 => Just(false)];
    let broken =
        prop_oneof![3 => Just(None), 1 => any::<(prop::sample::Index, u8)>().prop_map(Some)];
    (start, prop::collection::vec(utterance(), 0..14), broken).prop_map(|(start, said, broken)| {
        let hash = sha1_key(&content(SIZE));
        let opening = if start { offer(SIZE as i64) } else { Vec::new() };
        let mut bytes = [hello(hash), opening, said.concat()].concat();
        if let Some((at, byte)) = broken {
            let at = at.index(bytes.len());
            bytes[at] ^= byte;
        }
        bytes
    })
}

/// What the stream leads to when it comes in these parts: all output, and the outcome.
fn run<'a>(
    attempt: Attempt,
    resume: Option<Pieces>,
    parts: impl Iterator<Item = &'a [u8]>,
) -> (Vec<u8>, Outcome) {
    let mut talk = Talk::with(sha1_key(&content(SIZE)), attempt, resume);
    for part in parts {
        talk.hears(part);
        if let Some(outcome) = talk.outcome {
            return (talk.out, outcome);
        }
    }
    let outcome = talk.exchange.handle_closed(talk.now);
    (talk.out, outcome)
}

/// As [`run`], encrypted: the peer answers the keys like this, and its stream comes in parts of
/// these lengths.
fn run_encrypted(
    attempt: Attempt,
    resume: Option<Pieces>,
    answer: &Answer,
    bytes: &[u8],
    lengths: &[usize],
) -> (Vec<u8>, Outcome, Encrypted) {
    let hash = sha1_key(&content(SIZE));
    let mut held = Encrypted::begin(hash, attempt, resume, Encryption::Either);
    let stream = held.peer.says(answer, bytes);
    for part in cut(&stream, lengths) {
        held.talk.hears(part);
        if let Some(outcome) = held.talk.outcome.take() {
            return (held.talk.out.clone(), outcome, held);
        }
    }
    let outcome = held.talk.exchange.handle_closed(held.talk.now);
    (held.talk.out.clone(), outcome, held)
}

fn padding() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![Just(0usize), Just(512usize), 0..513usize];
    len.prop_flat_map(|len| prop::collection::vec(any::<u8>(), len))
}

fn resumed(piece: Option<u16>) -> Option<Pieces> {
    let content = content(SIZE);
    let mut pieces = Pieces::new(SIZE as i64)?;
    let piece = piece?;
    let whole = pieces.begin(piece) && pieces.fill(piece_bytes(&content, i64::from(piece)));
    whole.then_some(pieces)
}

/// Cuts `bytes` into parts whose lengths repeat `lengths`.
fn cut<'a>(mut bytes: &'a [u8], lengths: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    lengths.iter().cycle().map_while(move |length| {
        let (part, rest) = bytes.split_at(bytes.len().min(*length));
        bytes = rest;
        (!part.is_empty()).then_some(part)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_split_gives_the_same_bytes_and_the_same_outcome(
        bytes in stream(),
        lengths in prop::collection::vec(prop_oneof![1..9usize, 1..1_500usize, 1..40_000usize], 1..12),
        one_by_one: bool,
        resume in prop::option::of(0..3u16),
    ) {
        let attempt = if one_by_one { ONE_BY_ONE } else { ALL };
        let unsplit = run(attempt, resumed(resume), std::iter::once(&bytes[..]));
        prop_assert_eq!(&run(attempt, resumed(resume), cut(&bytes, &lengths)), &unsplit);
        prop_assert_eq!(&run(attempt, resumed(resume), cut(&bytes, &[1])), &unsplit);
    }

    #[test]
    fn an_encrypted_stream_leads_to_the_same_words_and_the_same_end_however_it_is_split(
        bytes in stream(),
        lengths in prop::collection::vec(prop_oneof![1..9usize, 1..1_500usize, 1..40_000usize], 1..12),
        one_by_one: bool,
        resume in prop::option::of(0..3u16),
        select in 1..4u32,
        (pad_b, pad_d) in (padding(), padding()),
    ) {
        let attempt = if one_by_one { ONE_BY_ONE } else { ALL };
        let answer = Answer::new(select, pad_b, pad_d);
        let met = |lengths: &[usize]| run_encrypted(attempt, resumed(resume), &answer, &bytes, lengths);
        let (out, outcome, held) = met(&[usize::MAX]);
        let (split_out, split_outcome, _) = met(&lengths);
        prop_assert_eq!((&split_out, &split_outcome), (&out, &outcome));

        let (plain_out, plain) = run(attempt, resumed(resume), std::iter::once(&bytes[..]));
        let heard = held.peer.heard(&out, &answer);
        prop_assert_eq!([heard.first, heard.payload].concat(), plain_out);
        let progress = outcome.progress;
        let same = Outcome { timings: plain.timings, progress: plain.progress, ..outcome };
        prop_assert_eq!(progress, plain.progress.max(Progress::KeysExchanged));
        prop_assert_eq!(same, plain);
    }

    #[test]
    fn a_stream_cut_short_leaves_whole_pieces_only(bytes in stream(), at: prop::sample::Index) {
        let (_, outcome) = run(ALL, None, std::iter::once(&bytes[..at.index(bytes.len())]));
        if let Some(partial) = outcome.partial {
            prop_assert!(partial.pieces_held() > 0);
            let held = partial.pieces_total() as usize - partial.missing().count();
            prop_assert_eq!(held, usize::from(partial.pieces_held()));
            let bytes: usize = (0..partial.pieces_total())
                .filter(|piece| partial.holds(*piece))
                .map(|piece| partial.piece_len(piece))
                .sum();
            prop_assert_eq!(bytes, partial.bytes_held());
        }
    }

    #[test]
    fn no_bytes_after_the_handshake_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..3_000),
        offers: bool,
    ) {
        let opening = if offers { offer(SIZE as i64) } else { Vec::new() };
        let bytes = [hello(sha1_key(&content(SIZE))), opening, bytes].concat();
        run(ALL, None, cut(&bytes, &[17, 400]));
    }

    #[test]
    fn no_metadata_message_makes_it_panic(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..6),
    ) {
        let framed = payloads.iter().map(|payload| extended(OUR_METADATA_ID, payload));
        let opening = [hello(sha1_key(&content(SIZE))), offer(SIZE as i64)].concat();
        let bytes = [opening, framed.collect::<Vec<_>>().concat()].concat();
        run(ALL, None, std::iter::once(&bytes[..]));
    }
}
