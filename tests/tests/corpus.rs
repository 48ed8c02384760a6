//! Replays every fuzz corpus without libFuzzer, so that a fixed finding stays fixed.

use estudely_tests::fuzz::TARGETS;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

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

#[test]
fn a_deep_nesting_and_many_values_end_early() {
    for (_, target) in TARGETS {
        target(&b"l".repeat(100_000));
        target(&[b"l".to_vec(), b"0:".repeat(100_000), b"e".to_vec()].concat());
        target(&[b"d1:a".repeat(100), b"0:".to_vec(), b"e".repeat(100)].concat());
    }
}
