//! The filter against an end that accepts, honest and not.

pub(in crate::peer) mod responder;
mod vectors;

use proptest::prelude::*;

use self::responder::{Answer, Heard, Responder};
use super::*;
use crate::base::rng::{Rng, Seed};

const TORRENT: InfoHash = InfoHash(*b"mnopqrstuvwxyz123456");
const OPENING: [u8; HANDSHAKE_LEN] = [0x13; HANDSHAKE_LEN];

fn filter(encryption: Encryption, seed: u64) -> Filter {
    Filter::new(TORRENT, encryption, OPENING, Rng::new(Seed::from_u64(seed)))
}

/// What a stream led to.
#[derive(Debug, PartialEq, Eq)]
struct End {
    /// Everything that was written; if the key exchange ended well, [`REPLY`] comes last.
    out: Vec<u8>,
    opened: Vec<u8>,
    fault: Option<PeerFault>,
    is_done: bool,
}

/// What we say once the key exchange is over.
const REPLY: &[u8] = b"and this is what we have to say";

/// Lets a filter read these parts and, at the end, say [`REPLY`].
fn run<'a>(mut filter: Filter, parts: impl Iterator<Item = &'a [u8]>) -> End {
    let mut end = End { out: Vec::new(), opened: Vec::new(), fault: None, is_done: false };
    filter.begin(&mut end.out);
    for part in parts {
        match filter.receive(part, &mut end.out) {
            Ok(payload) => {
                let start = end.opened.len();
                end.opened.resize(start + payload.len(), 0);
                filter.open(payload, &mut end.opened[start..]);
            }
            Err(fault) => return End { fault: Some(fault), ..end },
        }
    }
    end.is_done = filter.is_done();
    if end.is_done {
        let start = end.out.len();
        end.out.extend_from_slice(REPLY);
        filter.seal(&mut end.out[start..]);
    }
    end
}

/// What such a filter writes at first.
fn begun(encryption: Encryption, seed: u64) -> Vec<u8> {
    let mut out = Vec::new();
    filter(encryption, seed).begin(&mut out);
    out
}

/// The end that accepts such a filter's connection.
fn responder(encryption: Encryption, seed: u64) -> Responder {
    Responder::new(TORRENT, u128::from(seed) << 64 | 0xbeef, &begun(encryption, seed))
}

/// Meets that answer, all of it in one part.
fn meet(encryption: Encryption, answer: &Answer) -> End {
    let stream = responder(encryption, 1).says(answer, b"payload");
    run(filter(encryption, 1), std::iter::once(&stream[..]))
}

/// Cuts `bytes` into parts whose lengths repeat `lengths`.
fn cut<'a>(mut bytes: &'a [u8], lengths: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    lengths.iter().cycle().map_while(move |length| {
        let (part, rest) = bytes.split_at(bytes.len().min(*length));
        bytes = rest;
        (!part.is_empty()).then_some(part)
    })
}

fn plain(select: u32) -> Answer {
    Answer::new(select, vec![7; 3], vec![9; 5])
}

#[test]
fn nothing_but_key_and_padding_is_said_before_the_peers_key_is_here() {
    let answer = plain(2);
    let (mut filter, mut out) = (filter(Encryption::Either, 1), Vec::new());
    assert_eq!(filter.receive(b"too early", &mut out), Ok(&[][..]));
    assert_eq!(out, b"", "not connected: no key is made");
    filter.begin(&mut out);
    let first = out.len();
    assert!((KEY_LEN..=KEY_LEN + 512).contains(&first));
    filter.begin(&mut out);
    let stream = responder(Encryption::Either, 1).says(&answer, b"");
    assert_eq!(filter.receive(&stream[..KEY_LEN - 1], &mut out), Ok(&[][..]));
    assert_eq!(out.len(), first, "95 bytes are no key");
    assert_eq!(filter.receive(&stream[KEY_LEN - 1..KEY_LEN], &mut out), Ok(&[][..]));
    assert!(out.len() > first, "96 are");
    let all = out.len();
    assert_eq!(filter.receive(&stream[KEY_LEN..], &mut out), Ok(&[][..]));
    assert_eq!((out.len(), filter.is_done()), (all, true));
}

#[test]
fn the_offer_names_both_ways_or_rc4_alone_and_carries_the_first_message() {
    for (encryption, provided) in [(Encryption::Either, 3), (Encryption::Required, 2)] {
        let end = meet(encryption, &plain(2));
        assert_eq!((&end.opened[..], end.is_done), (&b"payload"[..], true));
        let heard = responder(encryption, 1).heard(&end.out, &plain(2));
        assert_eq!(heard.provided, provided);
        assert_eq!(heard.first, OPENING);
        assert_eq!(heard.payload, REPLY);
    }
}

#[test]
fn paddings_have_every_length_up_to_512_and_no_other() {
    let lengths: Vec<usize> = (0..6_000)
        .map(|seed| {
            let mut filter = filter(Encryption::Either, seed);
            let mut out = Vec::new();
            assert_eq!(usize::from(filter.pad(&mut out)), out.len());
            out.len()
        })
        .collect();
    assert!(lengths.contains(&0) && lengths.contains(&512));
    assert_eq!(lengths.iter().max(), Some(&512));
}

#[test]
fn a_selection_must_be_one_of_what_was_offered() {
    use Encryption::{Either, Required};
    for (encryption, select, ends_well) in [
        (Either, 1, true),
        (Either, 2, true),
        // Both: plaintext, as libtorrent reads it.
        (Either, 3, true),
        (Either, 0, false),
        (Either, 4, false),
        (Either, 1 << 31, false),
        (Required, 2, true),
        (Required, 0, false),
        (Required, 1, false),
        (Required, 3, false),
        (Required, 6, false),
    ] {
        let end = meet(encryption, &plain(select));
        let fault = (!ends_well).then_some(PeerFault::BadSelect);
        assert_eq!((end.fault, end.is_done), (fault, ends_well), "{encryption:?} {select}");
        let payload: &[u8] = if ends_well { b"payload" } else { b"" };
        assert_eq!(end.opened, payload, "{encryption:?} {select}");
    }
}

#[test]
fn the_constant_is_found_behind_512_bytes_of_padding_and_not_behind_513() {
    for len in [0, 1, 511, 512] {
        let end = meet(Encryption::Either, &Answer::new(2, vec![0xaa; len], Vec::new()));
        assert_eq!((end.fault, end.is_done), (None, true), "{len}");
    }
    let end = meet(Encryption::Either, &Answer::new(2, vec![0xaa; 513], Vec::new()));
    assert_eq!(end.fault, Some(PeerFault::NoVc));
}

#[test]
fn padding_without_end_is_left_with_its_616th_byte() {
    let stream = responder(Encryption::Either, 1).says(&plain(2), b"");
    let stream = [&stream[..KEY_LEN], &[0x55; 1_000]].concat();
    let read = |len: usize| run(filter(Encryption::Either, 1), cut(&stream[..len], &[100]));
    assert_eq!((read(615).fault, read(615).is_done), (None, false));
    assert_eq!(read(616).fault, Some(PeerFault::NoVc));
}

#[test]
fn padding_behind_the_selection_is_accepted_up_to_512_bytes_and_not_one_more() {
    for len in [0, 1, 511, 512] {
        for select in [1, 2] {
            let end = meet(Encryption::Either, &Answer::new(select, Vec::new(), vec![0xaa; len]));
            assert_eq!((&end.opened[..], end.is_done), (&b"payload"[..], true), "{len} {select}");
        }
    }
    for len in [513, 0x8000, 0xffff] {
        let lie = Answer { pad_d_len: len, ..plain(2) };
        assert_eq!(meet(Encryption::Either, &lie).fault, Some(PeerFault::BadPad), "{len}");
    }
}

#[test]
fn a_degenerate_key_is_left_before_anything_follows_from_it() {
    let first = begun(Encryption::Either, 1).len();
    let mut one = [0; KEY_LEN];
    one[KEY_LEN - 1] = 1;
    for key in [[0; KEY_LEN], one, [0xff; KEY_LEN]] {
        let end = run(filter(Encryption::Either, 1), std::iter::once(&key[..]));
        assert_eq!((end.fault, end.out.len()), (Some(PeerFault::BadKey), first));
    }
}

#[test]
fn a_peer_that_means_another_torrent_never_shows_the_constant() {
    let key = begun(Encryption::Either, 1);
    let other = Responder::new(InfoHash([1; 20]), 7, &key);
    let stream = other.says(&Answer::new(2, Vec::new(), Vec::new()), &[0; 600]);
    let end = run(filter(Encryption::Either, 1), std::iter::once(&stream[..]));
    assert_eq!(end.fault, Some(PeerFault::NoVc));
}

#[test]
fn equal_seeds_say_the_same_and_others_do_not() {
    assert_eq!(begun(Encryption::Either, 1), begun(Encryption::Required, 1));
    assert_ne!(begun(Encryption::Either, 1), begun(Encryption::Either, 2));
}

#[test]
fn a_filter_has_a_fixed_size_and_shows_no_secret() {
    assert!(size_of::<Filter>() <= 1_280, "{}", size_of::<Filter>());
    let (mut filter, mut out) = (filter(Encryption::Either, 1), Vec::new());
    filter.begin(&mut out);
    assert!(format!("{filter:?}").contains("KeyPair(..)"));
}

fn padding() -> impl Strategy<Value = Vec<u8>> {
    let len = prop_oneof![Just(0usize), Just(512usize), 0..513usize];
    len.prop_flat_map(|len| prop::collection::vec(any::<u8>(), len))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_split_of_every_answer_ends_alike_and_every_byte_arrives(
        select in prop_oneof![Just(1u32), Just(2), Just(2), Just(3)],
        (pad_b, pad_d) in (padding(), padding()),
        payload in prop::collection::vec(any::<u8>(), 0..3_000),
        lengths in prop::collection::vec(prop_oneof![1..9usize, 1..700usize], 1..12),
        seed: u64,
    ) {
        let answer = Answer::new(select, pad_b, pad_d);
        let responder = responder(Encryption::Either, seed);
        let stream = responder.says(&answer, &payload);
        let whole = run(filter(Encryption::Either, seed), std::iter::once(&stream[..]));
        prop_assert_eq!(&run(filter(Encryption::Either, seed), cut(&stream, &lengths)), &whole);
        prop_assert_eq!(&run(filter(Encryption::Either, seed), cut(&stream, &[1])), &whole);
        prop_assert_eq!((whole.fault, &whole.opened), (None, &payload));

        let Heard { provided, pad_a, pad_c, first, payload } = responder.heard(&whole.out, &answer);
        prop_assert_eq!((provided, &first[..], &payload[..]), (3, &OPENING[..], REPLY));
        prop_assert!(pad_a <= 512 && pad_c <= 512);
    }

    #[test]
    fn no_bytes_make_it_panic_and_every_split_of_them_ends_alike(
        right: prop::sample::Index,
        wrong in prop::collection::vec(any::<u8>(), 0..700),
        select: u32,
        pad_d_len in 0..0x1_0000usize,
        lengths in prop::collection::vec(1..200usize, 1..6),
    ) {
        let answer = Answer { select, pad_d_len, ..plain(2) };
        let mut stream = responder(Encryption::Either, 1).says(&answer, b"payload");
        stream.truncate(right.index(stream.len()));
        stream.extend_from_slice(&wrong);
        let whole = run(filter(Encryption::Either, 1), std::iter::once(&stream[..]));
        prop_assert_eq!(&run(filter(Encryption::Either, 1), cut(&stream, &lengths)), &whole);
    }
}
