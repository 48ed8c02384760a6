//! Replays every fuzz corpus without libFuzzer, so that a fixed finding stays fixed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use estudely_core::bencode::{self, ErrorKind};
use estudely_core::info::{Info, InfoError, for_each_file};
use estudely_core::krpc::{Message, ParseError};
use estudely_core::limits::{
    EXTENDED_HANDSHAKE_DEPTH, EXTENDED_HANDSHAKE_TOKENS, INFO_DEPTH, INFO_TOKENS, KRPC_DEPTH_MAX,
    KRPC_TOKENS_MAX, METADATA_HEAD_DEPTH, METADATA_HEAD_TOKENS,
};
use estudely_core::wire::{Extensions, MessageError, MetadataMessage};
use estudely_tests::fuzz::TARGETS;

/// The folder of the fuzz workspace.
fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

#[test]
fn every_corpus_input_passes_its_target() {
    for (name, target) in TARGETS {
        let folder = fuzz_folder().join("corpus").join(name);
        let mut replayed = 0;
        for entry in fs::read_dir(&folder).expect("a corpus folder for each target") {
            let path = entry.expect("a readable corpus folder").path();
            target(&fs::read(&path).expect("a readable corpus file"));
            replayed += 1;
        }
        assert!(replayed > 0, "{} is empty", folder.display());
    }
}

#[test]
fn every_fuzz_target_is_replayed() {
    let built: BTreeSet<String> = fs::read_dir(fuzz_folder().join("fuzz_targets"))
        .expect("the folder of the targets")
        .map(|entry| entry.expect("a readable folder").path())
        .map(|path| path.file_stem().expect("a file name").to_string_lossy().into_owned())
        .collect();
    let replayed: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(built, replayed);
}

/// A reader's refusal as kind and offset, whatever type wraps it.
type Refusal = Option<(ErrorKind, usize)>;

fn refusal(error: bencode::Error) -> Refusal {
    Some((error.kind, error.at))
}

fn of_info(error: InfoError) -> Refusal {
    if let InfoError::NotBencode(error) = error { refusal(error) } else { None }
}

/// A reader of what strangers send, with its limits of depth and of tokens.
struct Limited {
    name: &'static str,
    depth: usize,
    tokens: u32,
    read: fn(&[u8]) -> Refusal,
}

const READERS: [Limited; 5] = [
    Limited {
        name: "krpc",
        depth: KRPC_DEPTH_MAX,
        tokens: KRPC_TOKENS_MAX,
        read: |data| match Message::parse(data) {
            Err(ParseError::NotBencode(error)) => refusal(error),
            _ => None,
        },
    },
    Limited {
        name: "extension handshake",
        depth: EXTENDED_HANDSHAKE_DEPTH,
        tokens: EXTENDED_HANDSHAKE_TOKENS,
        read: |data| Extensions::parse(data).err().and_then(refusal),
    },
    Limited {
        name: "metadata message",
        depth: METADATA_HEAD_DEPTH,
        tokens: METADATA_HEAD_TOKENS,
        read: |data| match MetadataMessage::parse(data) {
            Err(MessageError::NotBencode(error)) => refusal(error),
            _ => None,
        },
    },
    Limited {
        name: "info",
        depth: INFO_DEPTH,
        tokens: INFO_TOKENS,
        read: |data| Info::parse(data).err().and_then(of_info),
    },
    Limited {
        name: "list of files",
        depth: INFO_DEPTH,
        tokens: INFO_TOKENS,
        read: |data| for_each_file(data, |_| {}).err().and_then(of_info),
    },
];

#[test]
fn every_reader_stops_exactly_at_its_limits_of_depth_and_tokens() {
    for Limited { name, depth, tokens, read } in READERS {
        // The dictionary itself is one level, and it, its key and the list are three tokens.
        let nested = |levels: usize| {
            let lists = levels - 1;
            format!("d1:z{}{}e", "l".repeat(lists), "e".repeat(lists)).into_bytes()
        };
        assert_eq!(read(&nested(depth)), None, "{name}: as deep as may be");
        for levels in [depth + 1, depth + 100] {
            let deeper = Some((ErrorKind::TooDeep, 4 + depth - 1));
            assert_eq!(read(&nested(levels)), deeper, "{name}: {levels} levels");
        }
        // The ends of list and dictionary are tokens, too.
        let room = tokens as usize - 5;
        let flat = |values: usize| format!("d1:zl{}ee", "0:".repeat(values)).into_bytes();
        assert_eq!(read(&flat(room)), None, "{name}: as many as may be");
        // One value more, and it is the dictionary's end that is too much; two, the list's.
        for (values, end) in [(room + 1, 1), (room + 2, 0), (room + 100, 0)] {
            let at = 5 + 2 * values.min(room + 2) + end;
            assert_eq!(read(&flat(values)), Some((ErrorKind::TooManyTokens, at)), "{name}");
        }
    }
}

#[test]
fn a_deep_nesting_and_many_values_end_early() {
    for (_, target) in TARGETS {
        target(&b"l".repeat(100_000));
        target(&[b"l".to_vec(), b"0:".repeat(100_000), b"e".to_vec()].concat());
        target(&[b"d1:a".repeat(100), b"0:".to_vec(), b"e".repeat(100)].concat());
    }
}
