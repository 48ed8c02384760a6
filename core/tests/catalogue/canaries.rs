//! Each fault, planted: a scan that has never fired is not trusted.

use std::collections::BTreeSet;

use crate::citations::{documents, in_source, in_text};
use crate::items::{World, items};
use crate::test_names;

/// An item as it should be.
const SOUND: &str = "\
## H: hostile input

### H5 Datagrams too short or too long
Dropped unread below 20 bytes.
- Why: no message is shorter.
- Where: `core/src/first.rs` (`LEN_MIN`),
  `core/src/second.rs`
- Test: `short_ones_are_dropped`
";

/// The faults of the only item of a document.
fn faults(document: &str) -> Vec<String> {
    let tests = BTreeSet::from(["short_ones_are_dropped".to_owned()]);
    let read = |path: &str| match path {
        "core/src/first.rs" => Some("len < LEN_MIN".to_owned()),
        "core/src/second.rs" => Some("len < OTHER_LEN_MIN".to_owned()),
        _ => None,
    };
    let world = World { tests: &tests, read: &read };
    let items = items(document);
    assert_eq!(items.len(), 1);
    assert_eq!((items[0].code.as_str(), items[0].line), ("H5", 3));
    items[0].faults(&world)
}

#[test]
fn a_sound_item_has_no_fault_and_each_missing_part_is_found() {
    assert_eq!(faults(SOUND), [""; 0]);
    for (from, to, fault) in [
        ("second.rs", "gone.rs", "names core/src/gone.rs, which does not exist"),
        ("short_ones", "long_ones", "names long_ones_are_dropped, which is no test"),
        ("LEN_MIN", "LEN_MAX", "names LEN_MAX, of which its places do not know"),
        ("`short_ones_are_dropped`", "none yet", "names no test"),
        ("Dropped unread below 20 bytes.", "", "has no statement"),
        ("- Why: no message is shorter.\n", "", "has no reason"),
        ("- Test: `short_ones_are_dropped`\n", "", "names no test"),
    ] {
        assert_eq!(faults(&SOUND.replace(from, to)), [fault], "{from}");
    }
    let nowhere = SOUND.replace("`core/src/first.rs` (`LEN_MIN`),\n  `core/src/second.rs`", "here");
    assert_eq!(faults(&nowhere), ["names no place"]);
}

#[test]
fn citations_are_seen_in_every_form_and_only_in_comments() {
    let cited = |comment: &str| in_source(comment).into_keys().collect::<Vec<_>>();
    assert_eq!(cited("// dropped (H5)"), ["H5"]);
    assert_eq!(cited("//! H2-H4 and M10: too much"), ["H2", "H3", "H4", "M10"]);
    assert_eq!(cited("/* of depth 10 (B.7) */"), ["B.7"]);
    assert_eq!(cited("/// in any form (D2, D3,\n/// 32.1), whatever"), ["32.1", "D2", "D3"]);
    assert_eq!(cited("/// (BEP 52, 9.7). Bytes that"), ["9.7"]);
    assert_eq!(cited("/// (catalogue 4.1, 4.2)."), ["4.1", "4.2"]);
    assert_eq!(cited("/// as catalogue 5.10 says"), ["5.10"]);
    assert_eq!(cited("// 10.5: what is no id"), ["10.5"]);
    assert_eq!(cited("// (51.2)\nlet x = 1; // (51.3)\n"), ["51.2", "51.3"]);
    assert_eq!(in_source("let a = 1;\n\n// one\n// H9\n")["H9"], 3, "where the comment begins");
    for none in [
        "let m = M1; let x = (5.1); \"H5 (51.4)\"",
        "// log2(3 000 / 8), which is 8.6, so 9 to 11",
        "// at 1.8 a second, (1.5 s), 127.16.0.0, v1.2.3, (0.5 %)",
        "// H264, XH5, H5x, D1_2 and B7",
        "// 3.5 of them",
    ] {
        assert_eq!(cited(none), [""; 0], "{none}");
    }
    assert_eq!(in_text("answers to floods (H17): invented"), ["H17"]);
}

#[test]
fn documents_are_seen_with_their_path_and_only_in_comments() {
    let source = "let a = \"gone.md\";\n// as core/PROTOCOL.md and (style.md 7) say, in README.md.";
    let expected = ["core/PROTOCOL.md", "style.md", "README.md"].map(|name| (2, name.to_owned()));
    assert_eq!(documents(source), expected);
}

#[test]
fn tests_are_functions_under_the_attribute() {
    let code = "#[test]\nfn one() {}\nfn two() {}\nproptest! {\n    #[test]\n    #[cfg(a)]\n    \
                fn three(n in 0..3) {}\n}\n#[test]\nfn $name() {}";
    assert_eq!(test_names(code), ["one", "three"]);
}
