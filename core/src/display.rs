//! What the core's values say of themselves: errors that people read, and values that logs show.

use std::fmt::Display;

use crate::base::fault::PeerFault;
use crate::base::id::{InfoHash, NodeId};
use crate::base::rng::{Rng, Seed};
use crate::codec::bencode::{self, ErrorKind};
use crate::codec::info::{InfoError, Protocol};
use crate::codec::krpc::ParseError;
use crate::codec::magnet::MagnetError;
use crate::peer::exchange::Metadata;
use crate::peer::pieces::{PieceSet, Pieces};
use crate::stats::Stats;

/// Each is one short line, and no two are the same.
fn assert_distinct<T: Display>(values: impl IntoIterator<Item = T>) {
    let mut said: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    assert!(said.iter().all(|text| !text.is_empty() && text.len() < 100 && !text.contains('\n')));
    let all = said.len();
    said.sort();
    said.dedup();
    assert_eq!(said.len(), all, "{said:?}");
}

#[test]
fn every_error_has_words_of_its_own() {
    let kinds = [
        ErrorKind::UnexpectedEnd,
        ErrorKind::ExpectedValue,
        ErrorKind::ExpectedDigit,
        ErrorKind::ExpectedColon,
        ErrorKind::Overflow,
        ErrorKind::ExpectedKey,
        ErrorKind::MissingValue,
        ErrorKind::TooDeep,
        ErrorKind::TooManyTokens,
    ];
    let errors = kinds.map(|kind| bencode::Error { kind, at: 17 });
    assert_distinct(errors);
    assert!(errors.iter().all(|error| error.to_string().ends_with(" at byte 17")));
    let transaction = b"aa";
    assert_distinct([
        ParseError::TooShort,
        ParseError::TooLong,
        ParseError::NotDictionary,
        ParseError::NotBencode(errors[0]),
        ParseError::NoTransaction,
        ParseError::LongTransaction,
        ParseError::NoKind,
        ParseError::NoMethod { transaction },
        ParseError::BadQueryId { transaction },
        ParseError::BadReplyId { transaction },
    ]);
    assert_distinct([
        InfoError::NotBencode(errors[0]),
        InfoError::NotDictionary,
        InfoError::NoName,
        InfoError::NoLayout,
        InfoError::BadFile,
        InfoError::BadLength,
        InfoError::TooLarge,
    ]);
    assert_distinct([
        MagnetError::TooLong,
        MagnetError::NotMagnet,
        MagnetError::NoHash,
        MagnetError::BadHash,
        MagnetError::BadEscape,
    ]);
    assert_distinct(PeerFault::ALL);
    assert_distinct([Protocol::V1, Protocol::V2, Protocol::Hybrid].map(Protocol::word));
    assert!(PeerFault::Unreachable.may_be_outage() && !PeerFault::BadHash.may_be_outage());
}

#[test]
fn a_seed_is_never_shown_and_values_are_shown_short() {
    let (seed, rng) = (Seed::from_u64(0x5eed), Rng::new(Seed::from_u64(0x5eed)));
    assert_eq!(format!("{seed:?}"), "Seed(..)");
    assert!(!format!("{rng:?}").contains("5eed") && format!("{rng:?}").len() < 60);
    let key = format!("{:?} {:?}", InfoHash([0xab; 20]), NodeId([1; 20]));
    assert_eq!(key, format!("InfoHash({}) NodeId({})", "ab".repeat(20), "01".repeat(20)));

    let pieces = Pieces::new(100_000).expect("a legal size");
    assert!(format!("{pieces:?}").starts_with("Pieces { size: 100000, held: "));
    let mut set = PieceSet::default();
    set.insert(3);
    set.insert(5);
    assert_eq!(format!("{set:?}"), "{3, 5}");

    let raw = b"d4:name1:ae".to_vec();
    let key = InfoHash(sha1_of(&raw));
    let metadata = Metadata::verify(key, raw.clone()).expect("its own hash");
    assert_eq!(format!("{metadata:?}"), format!("Metadata({key}, 11 B)"));
    assert_eq!(*metadata.into_raw(), *raw);
}

fn sha1_of(bytes: &[u8]) -> [u8; 20] {
    use sha1::Digest;
    sha1::Sha1::digest(bytes).into()
}

#[test]
fn every_counter_has_a_name_of_its_own() {
    let stats = Stats { dialled: 3, ..Stats::default() };
    assert_distinct(stats.counters().map(|(name, _)| name));
    assert!(stats.counters().any(|counter| counter == ("dialled", 3)));
}
