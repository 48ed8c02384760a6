//! The parsing table of catalogue S5 as far as it concerns info dictionaries, with this
//! project's contract: what LT refuses for breaking a rule is a row with a flag here.

use proptest::prelude::*;

use super::*;
use crate::codec::bencode::{ErrorKind, Writer};

/// A dictionary from keys and values that are bencode already.
fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    writer.dict();
    for (key, value) in entries {
        writer.bytes(key.as_bytes()).raw(value);
    }
    writer.end();
    out
}

fn list(items: &[Vec<u8>]) -> Vec<u8> {
    [b"l", &items.concat()[..], b"e"].concat()
}

fn int(value: i64) -> Vec<u8> {
    format!("i{value}e").into_bytes()
}

fn text(value: impl AsRef<[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    Writer::new(&mut out).bytes(value.as_ref());
    out
}

fn hashes(count: usize) -> Vec<u8> {
    text(vec![7; 20 * count])
}

/// An entry of `files`.
fn entry(path: &[&str], length: i64) -> Vec<u8> {
    let path: Vec<_> = path.iter().map(text).collect();
    dict(&[("length", int(length)), ("path", list(&path))])
}

/// An entry of `files` with attributes.
fn special(attr: &str, path: &[&str], length: i64) -> Vec<u8> {
    let path: Vec<_> = path.iter().map(text).collect();
    dict(&[("attr", text(attr)), ("length", int(length)), ("path", list(&path))])
}

/// A v1 dictionary with these files, 16 KiB pieces and as many hashes.
fn multi(files: &[Vec<u8>], hash_count: usize) -> Vec<u8> {
    dict(&[
        ("files", list(files)),
        ("name", text("dir")),
        ("piece length", int(16_384)),
        ("pieces", hashes(hash_count)),
    ])
}

/// A v1 dictionary of one file, with one value replaced, added or (if empty) left out.
fn single_but(key: &str, value: Vec<u8>) -> Vec<u8> {
    let mut entries = vec![
        ("length", int(20_000)),
        ("name", text("file.txt")),
        ("piece length", int(16_384)),
        ("pieces", hashes(2)),
    ];
    entries.retain(|(name, _)| *name != key);
    if !value.is_empty() {
        entries.push((key, value));
    }
    entries.sort();
    dict(&entries)
}

/// What describes a file in a file tree.
fn leaf(length: i64) -> Vec<u8> {
    let mut entries = vec![("length", int(length))];
    if length > 0 {
        entries.push(("pieces root", text([b'a'; 32])));
    }
    dict(&[("", dict(&entries))])
}

/// A v2 dictionary with this file tree.
fn v2(tree: Vec<u8>) -> Vec<u8> {
    dict(&[
        ("file tree", tree),
        ("meta version", int(2)),
        ("name", text("dir")),
        ("piece length", int(16_384)),
    ])
}

/// A hybrid of these two descriptions.
fn hybrid(tree: Vec<u8>, files: &[Vec<u8>], hash_count: usize) -> Vec<u8> {
    dict(&[
        ("file tree", tree),
        ("files", list(files)),
        ("meta version", int(2)),
        ("name", text("dir")),
        ("piece length", int(16_384)),
        ("pieces", hashes(hash_count)),
    ])
}

fn parse(raw: &[u8]) -> Info {
    Info::parse(raw).unwrap_or_else(|error| panic!("{error}: {}", raw.escape_ascii()))
}

/// The flags that a dictionary gets.
fn flags(raw: &[u8]) -> Vec<InfoFlag> {
    parse(raw).flags.iter().collect()
}

/// Every file as "path length letters".
fn files(raw: &[u8]) -> Vec<String> {
    let mut files = Vec::new();
    for_each_file(raw, |file| {
        let path: Vec<_> = file.path.iter().map(|part| part.escape_ascii().to_string()).collect();
        let letter = |attribute| match attribute {
            Attribute::Pad => 'p',
            Attribute::Symlink => 'l',
            Attribute::Executable => 'x',
            Attribute::Hidden => 'h',
        };
        let letters: String = file.attributes.iter().map(letter).collect();
        files.push(format!("{} {} {letters}", path.join("/"), file.length).trim_end().to_owned());
    })
    .expect("readable");
    files
}

#[test]
fn h4_numbers_of_any_length_spoil_no_info_dictionary() {
    let nines = format!("i{}e", "9".repeat(400)).into_bytes();
    let huge = [
        &b"i9223372036854775808e"[..],
        b"i-9223372036854775809e",
        b"i1208925819614629174706176e",
        &nines,
    ];
    for number in huge {
        let with = |entry: &str, length| {
            dict(&[
                ("length", int(length)),
                ("mtime", number.to_vec()),
                ("path", list(&[text(entry)])),
            ])
        };
        let raw = dict(&[
            ("files", list(&[with("a", 10_000), with("b", 20_000)])),
            ("mtime", number.to_vec()),
            ("name", text("dir")),
            ("piece length", int(16_384)),
            ("pieces", hashes(2)),
        ]);
        assert_eq!((parse(&raw).file_count, parse(&raw).total_bytes), (2, 30_000));
        assert!(flags(&raw).is_empty(), "canonical, and true");
        // What is read has a range.
        let length = single_but("length", number.to_vec());
        assert!(Info::parse(&length).is_err());
        assert_eq!(
            flags(&single_but("piece length", number.to_vec())),
            [InfoFlag::BadPieceLength, InfoFlag::BadPieces,]
        );
    }
}

#[test]
fn pad_files_of_older_bitcomet_are_told_by_name_if_no_attribute_is_given() {
    let if_you = "_____padding_file_12_if you see this file, please update to BitComet 0.85____";
    let chinese = "_____padding_file_0_\u{5982}\u{679c}\u{60a8}____";
    let raw = multi(
        &[
            entry(&["d", "a"], 10_000),
            entry(&["d", if_you], 6_384),
            entry(&["b"], 100),
            entry(&[chinese], 16_284),
            entry(&["_____padding_file_7"], 1),
            special("", &["_____padding_file_8_"], 1),
            special("x", &["_____padding_file_9_"], 2),
            entry(&["_____padding_file_no_", "f"], 3),
            entry(&["_____padding_file_"], 4),
            entry(&["_____padding_file_1_", "file in a folder"], 5),
            entry(&["x_____padding_file_1_"], 6),
        ],
        3,
    );
    let info = parse(&raw);
    assert_eq!((info.file_count, info.total_bytes), (7, 10_120));
    let pads: Vec<String> = files(&raw).into_iter().filter(|file| file.ends_with(" p")).collect();
    assert_eq!(pads.len(), 4, "{pads:?}");

    let tree = dict(&[(if_you, leaf(6_384)), ("a", leaf(10_000)), ("b", leaf(20_000))]);
    let info = parse(&v2(tree.clone()));
    assert_eq!((info.file_count, info.total_bytes), (2, 30_000));
    // A hybrid in which only one description has them agrees all the same.
    let plain = dict(&[("a", leaf(10_000)), ("b", leaf(20_000))]);
    let listed = [entry(&["a"], 10_000), entry(&[if_you], 6_384), entry(&["b"], 20_000)];
    assert!(flags(&hybrid(plain, &listed, 3)).is_empty());
    // The only file of a torrent pads nothing, whatever its name.
    assert_eq!(parse(&single_but("name", text(if_you))).file_count, 1);
}

#[test]
fn a_single_file_is_read() {
    let raw = single_but("private", int(1));
    let info = parse(&raw);
    assert_eq!(info.name, b"file.txt");
    assert_eq!((info.file_count, info.total_bytes, info.piece_length), (1, 20_000, 16_384));
    assert_eq!((info.private, info.protocol), (true, Protocol::V1));
    assert!(info.flags.is_empty());
    assert_eq!(files(&raw), ["file.txt 20000"]);
    assert!(!parse(&single_but("private", int(0))).private);
}

#[test]
fn many_files_are_counted_without_pads_and_symlinks_weigh_nothing() {
    let raw = multi(
        &[
            entry(&["a", "b.txt"], 10_000),
            special("p", &[".pad", "6384"], 6_384),
            special("xh", &["run"], 100),
            special("l", &["link"], 5_000),
            dict(&[("attr", text("p")), ("length", int(16_284))]),
        ],
        2,
    );
    let info = parse(&raw);
    assert_eq!((info.file_count, info.total_bytes), (3, 10_100));
    assert!(info.flags.is_empty(), "{:?}", info.flags);
    let expected = ["a/b.txt 10000", ".pad/6384 6384 p", "run 100 xh", "link 0 l", " 16284 p"];
    assert_eq!(files(&raw), expected);
}

#[test]
fn odd_names_and_paths_are_kept_as_they_are() {
    for path in [
        vec!["/abs"],
        vec!["a/b"],
        vec!["a\\b"],
        vec!["..", "x"],
        vec!["..."],
        vec![""],
        vec!["\0"],
        vec!["con", "nul"],
        vec!["\u{202e}x"],
        vec!["a", "", "b"],
    ] {
        let raw = multi(&[entry(&path, 5)], 1);
        assert_eq!(flags(&raw), [], "{path:?}");
        for_each_file(&raw, |file| {
            assert!(file.path.iter().copied().eq(path.iter().map(|part| part.as_bytes())));
        })
        .expect("readable");
    }
    let long = "n".repeat(10_000);
    assert_eq!(parse(&single_but("name", text(&long))).name, long.as_bytes());
    assert_eq!(parse(&single_but("name", text(""))).name, b"");
    let twins = multi(&[entry(&["x"], 1), entry(&["X"], 1), entry(&["x"], 1)], 1);
    assert_eq!(parse(&twins).file_count, 3);
}

#[test]
fn name_utf8_counts_if_it_is_not_empty_and_valid() {
    let with = |name: &[u8]| parse(&single_but("name.utf-8", text(name))).name;
    assert_eq!(with("日本".as_bytes()), "日本".as_bytes());
    assert_eq!(with(b""), b"file.txt");
    assert_eq!(with(b"\xff"), b"file.txt");
    assert_eq!(parse(&single_but("name.utf-8", int(1))).name, b"file.txt");
    let alone = dict(&[("length", int(1)), ("name.utf-8", text("only"))]);
    assert_eq!(parse(&alone).name, b"only");
}

#[test]
fn path_utf8_is_preferred_for_files() {
    let both = dict(&[
        ("length", int(3)),
        ("path", list(&[text(b"\x93\xfa")])),
        ("path.utf-8", list(&[text("日")])),
    ]);
    assert_eq!(files(&multi(&[both], 1)), [format!("{} 3", "日".as_bytes().escape_ascii())]);
}

#[test]
fn what_has_no_name_or_no_layout_is_broken() {
    let entry_of = |key, value| dict(&[(key, value), ("path", list(&[text("x")]))]);
    let cases = [
        (b"i1e".to_vec(), InfoError::NotDictionary),
        (text("string"), InfoError::NotDictionary),
        (list(&[]), InfoError::NotDictionary),
        (b"de".to_vec(), InfoError::NoName),
        (single_but("name", vec![]), InfoError::NoName),
        (single_but("name", int(5)), InfoError::NoName),
        (single_but("length", vec![]), InfoError::NoLayout),
        (single_but("length", text("9")), InfoError::NoLayout),
        (single_but("length", int(-1)), InfoError::BadLength),
        (dict(&[("files", int(1)), ("name", text("n"))]), InfoError::NoLayout),
        (dict(&[("file tree", list(&[])), ("name", text("n"))]), InfoError::NoLayout),
        (multi(&[int(4)], 1), InfoError::BadFile),
        (multi(&[list(&[])], 1), InfoError::BadFile),
        (multi(&[entry(&["a"], 1), entry(&["b"], -1)], 1), InfoError::BadLength),
        (multi(&[entry_of("length", text("x"))], 1), InfoError::BadLength),
        (multi(&[entry_of("nothing", int(1))], 1), InfoError::BadLength),
        (v2(dict(&[("f", dict(&[("", dict(&[]))]))])), InfoError::BadLength),
        (v2(dict(&[("f", leaf(-1))])), InfoError::BadLength),
    ];
    for (raw, error) in cases {
        assert_eq!(Info::parse(&raw), Err(error), "{}", raw.escape_ascii());
    }
    let raw = single_but("private", int(1));
    for end in 0..raw.len() {
        assert!(matches!(Info::parse(&raw[..end]), Err(InfoError::NotBencode(_))), "{end}");
    }
}

#[test]
fn h39_totals_are_accepted_at_the_limit_and_refused_one_past_it() {
    let at = |rest: u64| multi(&[entry(&["a"], 1 << 47), entry(&["b"], rest as i64)], 1);
    assert_eq!(parse(&at((1 << 47) - 1)).total_bytes, (1 << 48) - 1);
    assert_eq!(Info::parse(&at(1 << 47)), Err(InfoError::TooLarge));
    let huge = multi(&[entry(&["a"], i64::MAX), entry(&["b"], i64::MAX)], 1);
    assert_eq!(Info::parse(&huge), Err(InfoError::TooLarge));
    let pads = vec![special("p", &["a"], i64::MAX); 3];
    assert_eq!(parse(&multi(&pads, 1)).total_bytes, 0);
    assert_eq!(Info::parse(&single_but("length", int(i64::MAX))), Err(InfoError::TooLarge));
}

#[test]
fn h40_sizes_are_flagged_one_past_their_limits() {
    let exact = |length: i64, piece: i64, count| {
        dict(&[
            ("length", int(length)),
            ("name", text("n")),
            ("piece length", int(piece)),
            ("pieces", hashes(count)),
        ])
    };
    let largest = 536_854_528;
    assert_eq!(flags(&exact(5, largest, 1)), []);
    assert_eq!(flags(&exact(5, 32_767 * 16_384, 1)), []);
    assert_eq!(flags(&exact(5, largest + 1, 1)), [InfoFlag::BadPieceLength]);
    assert_eq!(flags(&exact(5, 1, 5)), []);
    assert_eq!(flags(&exact(5, 1, 4)), [InfoFlag::BadPieces]);
    assert_eq!(flags(&exact(5, 1, 6)), [InfoFlag::BadPieces]);
    let most = 2_097_152;
    assert_eq!(flags(&exact(most, 1, most as usize / 2)), [InfoFlag::BadPieces]);
    assert_eq!(flags(&single_but("length", int(17_592_186_028_032))), [InfoFlag::BadPieces]);
    assert_eq!(
        flags(&single_but("length", int(17_592_186_028_033))),
        [InfoFlag::BadPieces, InfoFlag::HugeFile]
    );
    assert_eq!(flags(&single_but("pieces", vec![])), [InfoFlag::BadPieces]);
    assert_eq!(flags(&single_but("pieces", text([1; 39]))), [InfoFlag::BadPieces]);
    for value in [vec![], int(0), int(-5), text("x"), int(i64::MIN)] {
        let raw = single_but("piece length", value);
        assert_eq!(parse(&raw).piece_length, 0);
        assert_eq!(flags(&raw), [InfoFlag::BadPieceLength, InfoFlag::BadPieces]);
    }
}

#[test]
fn h40_the_most_pieces_are_accepted_and_one_more_is_flagged() {
    let with = |count: i64| {
        dict(&[
            ("length", int(count)),
            ("name", text("n")),
            ("piece length", int(1)),
            ("pieces", hashes(count as usize)),
        ])
    };
    assert_eq!(flags(&with(2_097_152)), []);
    assert_eq!(flags(&with(2_097_153)), [InfoFlag::BadPieces]);
}

#[test]
fn h41_no_content_and_both_layouts_are_flagged() {
    assert_eq!(flags(&multi(&[], 0)), [InfoFlag::Empty]);
    assert_eq!((parse(&multi(&[], 0)).file_count, parse(&multi(&[], 0)).total_bytes), (0, 0));
    assert_eq!(flags(&multi(&[entry(&["a"], 0)], 0)), [InfoFlag::Empty]);
    assert_eq!(flags(&single_but("length", int(0))), [InfoFlag::BadPieces, InfoFlag::Empty]);
    let both = single_but("files", list(&[entry(&["a"], 3), entry(&["b"], 4)]));
    assert_eq!(flags(&both), [InfoFlag::BadPieces, InfoFlag::BothLayouts]);
    assert_eq!((parse(&both).file_count, parse(&both).total_bytes), (2, 7));
}

#[test]
fn h38_paths_that_are_missing_empty_or_not_strings_are_flagged_and_counted() {
    let odd = |path: Vec<u8>| multi(&[dict(&[("length", int(3)), ("path", path)])], 1);
    for path in [list(&[]), int(1), list(&[int(1)]), list(&[list(&[]), text("x")])] {
        assert_eq!(flags(&odd(path.clone())), [InfoFlag::BadPath]);
        assert_eq!((parse(&odd(path.clone())).file_count, parse(&odd(path)).total_bytes), (1, 3));
    }
    assert_eq!(flags(&multi(&[dict(&[("length", int(3))])], 1)), [InfoFlag::BadPath]);
    let deep = |depth| odd(list(&vec![text("d"); depth]));
    assert_eq!(flags(&deep(100)), []);
    assert_eq!(flags(&deep(101)), [InfoFlag::BadPath]);
    for_each_file(&deep(109), |file| assert_eq!(file.path.len(), 100)).expect("readable");
}

#[test]
fn unsorted_repeated_and_trailing_parts_are_flagged_and_the_first_of_a_key_counts() {
    let unsorted = b"d4:name1:n6:lengthi5e12:piece lengthi1e6:pieces0:e";
    assert_eq!(flags(unsorted), [InfoFlag::NotCanonical, InfoFlag::BadPieces]);
    let twice = b"d6:lengthi5e6:lengthi9e4:name1:ne";
    assert_eq!(
        (parse(twice).total_bytes, parse(twice).flags.contains(InfoFlag::NotCanonical)),
        (5, true)
    );
    let twice = b"d5:filesld6:lengthi5e4:pathl1:aeee5:filesld6:lengthi7e4:pathl1:aeee4:name1:ne";
    assert_eq!((parse(twice).file_count, parse(twice).total_bytes), (1, 5));
    assert_eq!(files(twice), ["a 5"]);
    assert!(
        parse(&[&single_but("x", vec![])[..], b"tail"].concat())
            .flags
            .contains(InfoFlag::NotCanonical)
    );
}

#[test]
fn a_v2_tree_is_read_with_directories_and_empty_files() {
    let tree = dict(&[
        ("a", dict(&[("b", dict(&[("c.bin", leaf(70_000))])), ("empty", leaf(0))])),
        ("z", leaf(5)),
    ]);
    let info = parse(&v2(tree.clone()));
    assert_eq!((info.file_count, info.total_bytes), (3, 70_005));
    assert_eq!((info.protocol, info.piece_length), (Protocol::V2, 16_384));
    assert!(info.flags.is_empty(), "{:?}", info.flags);
    assert_eq!(files(&v2(tree)), ["a/b/c.bin 70000", "a/empty 0", "z 5"]);
    let attr = |attr: &str, length| {
        let inner = [("attr", text(attr)), ("length", int(length)), ("pieces root", text([1; 32]))];
        dict(&[("", dict(&inner))])
    };
    let raw = v2(dict(&[("l", attr("l", 9)), ("p", attr("p", 9)), ("x", attr("x", 9))]));
    assert_eq!((parse(&raw).file_count, parse(&raw).total_bytes), (2, 9));
    assert_eq!(files(&raw), ["l 0 l", "p 9 p", "x 9 x"]);
    let link = dict(&[("", dict(&[("attr", text("l"))]))]);
    assert_eq!(parse(&v2(dict(&[("l", link), ("x", leaf(2))]))).total_bytes, 2);
}

#[test]
fn the_bep_52_example_is_read_as_corrected_and_refused_as_printed() {
    let tree = |length: &str| {
        let root = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        format!("d4:dir1d4:dir2d9:fileA.txtd0:d{length}i1024e11:pieces root32:{root}eeee")
    };
    let example = format!("d4:infod9:file tree{}eee", tree("6:length"));
    assert_eq!(example.len(), 119);
    let info = format!("d9:file tree{}ee", tree("6:length"));
    assert_eq!(files(info.as_bytes()), ["dir1/dir2/fileA.txt 1024"]);
    assert_eq!(Info::parse(info.as_bytes()), Err(InfoError::NoName));
    let printed = format!("d9:file tree{}ee", tree("5:length"));
    assert!(matches!(for_each_file(printed.as_bytes(), |_| ()), Err(InfoError::NotBencode(_))));
}

#[test]
fn h42_impossible_trees_and_versions_are_flagged() {
    let zero = dict(&[("", dict(&[("length", int(5)), ("pieces root", text([0; 32]))]))]);
    let short = dict(&[("", dict(&[("length", int(5)), ("pieces root", text([1; 31]))]))]);
    let none = dict(&[("", dict(&[("length", int(5))]))]);
    let siblings = dict(&[("", dict(&[("length", int(0))])), ("x", leaf(5))]);
    for file in [zero, short, none, siblings.clone()] {
        assert_eq!(flags(&v2(dict(&[("f", file.clone()), ("g", leaf(1))]))), [InfoFlag::BadTree]);
    }
    assert_eq!(flags(&v2(siblings)), [InfoFlag::BadTree], "the root must not be a file");
    assert_eq!(flags(&v2(dict(&[("f", int(1)), ("g", leaf(1))]))), [InfoFlag::BadTree]);
    let late = b"d1:xd0:d6:lengthi0eee0:d6:lengthi0eee".to_vec();
    let late = v2(dict(&[("f", late), ("g", leaf(1))]));
    assert_eq!(flags(&late), [InfoFlag::NotCanonical, InfoFlag::BadTree]);
    assert_eq!(flags(&v2(dict(&[]))), [InfoFlag::Empty]);

    let with = |version: Option<i64>, piece| {
        let mut entries = vec![("file tree", dict(&[("f", leaf(5))]))];
        entries.extend(version.map(|version| ("meta version", int(version))));
        entries.extend([("name", text("n")), ("piece length", int(piece))]);
        dict(&entries)
    };
    assert_eq!(flags(&with(Some(2), 16_384)), []);
    assert_eq!(flags(&with(Some(3), 16_384)), [InfoFlag::BadVersion]);
    assert_eq!(flags(&with(None, 16_384)), [InfoFlag::BadVersion]);
    for piece in [8_192, 16_385, 49_152] {
        assert_eq!(flags(&with(Some(2), piece)), [InfoFlag::BadPieceLength], "{piece}");
    }
    assert_eq!(parse(&with(Some(3), 16_384)).protocol, Protocol::V2);
}

#[test]
fn a_hybrid_is_read_by_its_v1_description() {
    let tree = dict(&[("a", leaf(10_000)), ("b", leaf(20_000))]);
    let pad = special("p", &[".pad", "6384"], 6_384);
    let files_v1 = [entry(&["a"], 10_000), pad.clone(), entry(&["b"], 20_000)];
    let raw = hybrid(tree.clone(), &files_v1, 3);
    let info = parse(&raw);
    assert_eq!((info.protocol, info.file_count, info.total_bytes), (Protocol::Hybrid, 2, 30_000));
    assert!(info.flags.is_empty(), "{:?}", info.flags);
    assert_eq!(files(&raw), ["a 10000", ".pad/6384 6384 p", "b 20000"]);

    let one = dict(&[
        ("file tree", dict(&[("n", leaf(5))])),
        ("length", int(5)),
        ("meta version", int(2)),
        ("name", text("n")),
        ("piece length", int(16_384)),
        ("pieces", hashes(1)),
    ]);
    assert_eq!((parse(&one).protocol, flags(&one)), (Protocol::Hybrid, vec![]));

    let mismatches = [
        (tree.clone(), vec![entry(&["a"], 10_000), pad.clone(), entry(&["c"], 20_000)]),
        (tree.clone(), vec![entry(&["a"], 10_000), pad.clone(), entry(&["b"], 20_001)]),
        (
            tree.clone(),
            vec![entry(&["b"], 20_000), special("p", &["p"], 12_768), entry(&["a"], 10_000)],
        ),
        (tree.clone(), vec![entry(&["a"], 10_000), entry(&["b"], 20_000)]),
        (dict(&[("a", leaf(10_000))]), files_v1.to_vec()),
    ];
    for (tree, files_v1) in mismatches {
        let raw = hybrid(tree, &files_v1, 3);
        assert!(flags(&raw).contains(&InfoFlag::HybridMismatch), "{}", raw.escape_ascii());
        assert_eq!(parse(&raw).protocol, Protocol::Hybrid);
    }
}

#[test]
fn depth_is_accepted_at_the_limit_and_refused_one_past_it() {
    let nested = |depth: usize| {
        let tree = (0..depth).fold(leaf(5), |inner, _| dict(&[("d", inner)]));
        v2(tree)
    };
    // The info dictionary, the tree's root and what describes the file take three levels.
    assert_eq!(flags(&nested(97)), []);
    let error = Info::parse(&nested(98)).expect_err("too deep");
    assert!(matches!(error, InfoError::NotBencode(error) if error.kind == ErrorKind::TooDeep));
    let bomb = [b"d1:x".as_slice(), &vec![b'l'; 1_000_000]].concat();
    assert!(Info::parse(&bomb).is_err());
}

#[test]
fn tokens_are_accepted_at_the_limit_and_refused_one_past_it() {
    // Three tokens per dictionary and key, a list, a name and a length around the fillers.
    let wide = |fillers: usize| {
        let head = b"d6:lengthi5e4:name1:n1:xl".as_slice();
        [head, &b"0:".repeat(fillers), b"ee"].concat()
    };
    let around = 1 + 2 + 2 + 2 + 2;
    let most = 8_388_608 - around;
    assert!(Info::parse(&wide(most)).is_ok());
    let error = Info::parse(&wide(most + 1)).expect_err("too many");
    assert!(
        matches!(error, InfoError::NotBencode(error) if error.kind == ErrorKind::TooManyTokens)
    );
}

#[test]
fn a_metadata_full_of_files_is_read_in_linear_time() {
    let files_v1 = vec![entry(&["f"], 1); 200_000];
    let raw = multi(&files_v1, 13);
    let info = parse(&raw);
    assert_eq!((info.file_count, info.total_bytes), (200_000, 200_000));
    let mut count = 0;
    for_each_file(&raw, |_| count += 1).expect("readable");
    assert_eq!(count, 200_000);
}

/// A tree of directories inside each other, in the innermost of which lie empty files: `len` bytes
/// in all, and half of them (or all that fit) names of directories.
fn buried(len: usize, depth: usize) -> Vec<u8> {
    let mut tree = Vec::new();
    let name = vec![b'a'; len / 2 / depth];
    for _ in 0..depth {
        tree.push(b'd');
        tree.extend(text(&name));
    }
    tree.push(b'd');
    let mut n = 0;
    while tree.len() + depth + 100 < len {
        tree.extend(format!("6:{n:06x}d0:d6:lengthi0eee").bytes());
        n += 1;
    }
    tree.extend(vec![b'e'; depth + 1]);
    v2(tree)
}

/// Bytes hashed while reading `raw`.
fn hashed(raw: &[u8]) -> u64 {
    let hashed = Cell::new(0);
    Info::parse_counting(raw, &hashed).expect("readable");
    hashed.get()
}

#[test]
fn the_name_of_a_directory_is_hashed_once_however_many_files_it_holds() {
    for depth in [1, 2, 50, INFO_DEPTH - 4] {
        let raw = buried(1 << 20, depth);
        assert!(parse(&raw).file_count > 15_000, "{depth}");
        assert!(hashed(&raw) <= 4 * raw.len() as u64, "{depth}: {}", hashed(&raw));
        // A file costs the same at any depth.
        let (mut files, mut visited) = (0, 0);
        for_each_file(&raw, |file| {
            files += 1;
            visited += usize::from(file.path.len() == depth + 1);
        })
        .expect("readable");
        assert_eq!(visited, files, "{depth}");
    }
}

#[test]
fn every_layout_hashes_at_most_four_bytes_for_each_of_input() {
    let longest: Vec<_> = (0..100).map(|_| entry(&["x".repeat(5_000).as_str(); 2], 1)).collect();
    let shortest = vec![entry(&[""; PATH_DEPTH], 1); 5_000];
    let leaves: Vec<_> = (0..50_000).map(|n| (format!("{n:05}"), leaf(0))).collect();
    let leaves: Vec<_> = leaves.iter().map(|(name, leaf)| (name.as_str(), leaf.clone())).collect();
    let repeated = vec![("", dict(&[("length", int(0))])); 50_000];
    for raw in [
        multi(&longest, 1),
        multi(&shortest, 1),
        v2(dict(&leaves)),
        v2(dict(&[("a", dict(&repeated))])),
        hybrid(dict(&leaves), &longest, 1),
        single_but("name", text(vec![b'n'; 1 << 20])),
    ] {
        assert!(hashed(&raw) <= 4 * raw.len() as u64, "{} of {}", hashed(&raw), raw.len());
    }
}

#[test]
fn a_hybrid_is_compared_by_whole_paths_also_after_a_directory_was_left() {
    let piece = 16_384;
    let tree = || {
        let inner = dict(&[("f", leaf(piece)), ("g", leaf(piece))]);
        dict(&[("d", dict(&[("x", inner), ("y", leaf(piece))])), ("e", leaf(piece))])
    };
    let paths = |last: &[&str], third: &[&str]| {
        let all = [&["d", "x", "f"][..], &["d", "x", "g"], third, last];
        all.map(|path| entry(path, piece))
    };
    assert_eq!(flags(&hybrid(tree(), &paths(&["e"], &["d", "y"]), 4)), []);
    for (last, third) in [
        (&["d", "e"][..], &["d", "y"][..]),
        (&["e"], &["d", "x", "y"]),
        (&["e"], &["y"]),
        (&["e"], &["dy"]),
        (&["e", ""], &["d", "y"]),
    ] {
        let raw = hybrid(tree(), &paths(last, third), 4);
        assert_eq!(flags(&raw), [InfoFlag::HybridMismatch], "{last:?} {third:?}");
    }
}

/// Arbitrary bencode that likes the keys of info dictionaries.
fn value() -> impl Strategy<Value = Vec<u8>> {
    const KEYS: &[&str] = &[
        "",
        "name",
        "name.utf-8",
        "files",
        "length",
        "path",
        "path.utf-8",
        "file tree",
        "attr",
        "piece length",
        "pieces",
        "meta version",
        "private",
        "pieces root",
        "x",
    ];
    let key = prop::sample::select(KEYS);
    let leaf = prop_oneof![
        any::<i64>().prop_map(int),
        (0..9i64).prop_map(int),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(text),
        prop::sample::select(KEYS).prop_map(text),
    ];
    leaf.prop_recursive(6, 80, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(|items| list(&items)),
            prop::collection::vec((key.clone(), inner), 0..8).prop_map(|entries| dict(&entries)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_bytes_make_it_panic(raw: Vec<u8>) {
        let _ = Info::parse(&raw);
        let _ = for_each_file(&raw, |_| ());
    }

    #[test]
    fn no_dictionary_makes_it_panic_and_both_views_agree(
        entries in prop::collection::vec(
            (prop::sample::select(&["files", "file tree", "length", "name", "x"][..]), value()),
            0..6,
        ),
    ) {
        let raw = dict(&entries);
        let (mut count, mut total) = (0, 0);
        let walked = for_each_file(&raw, |file| {
            if !file.attributes.contains(Attribute::Pad) {
                count += 1;
                total += u128::from(file.length);
            }
        });
        if let Ok(info) = Info::parse(&raw) {
            prop_assert!(walked.is_ok());
            prop_assert_eq!((info.file_count, u128::from(info.total_bytes)), (count, total));
        }
    }

    #[test]
    fn a_torrent_as_clients_make_it_is_clean(
        lengths in prop::collection::vec(1..100_000i64, 1..20),
        is_v2: bool,
    ) {
        let total: i64 = lengths.iter().sum();
        let names: Vec<String> = (0..lengths.len()).map(|n| format!("{n:03}")).collect();
        let raw = if is_v2 {
            let leaves = names.iter().zip(&lengths).map(|(name, length)| (&name[..], leaf(*length)));
            v2(dict(&leaves.collect::<Vec<_>>()))
        } else {
            let entries = names.iter().zip(&lengths).map(|(name, length)| entry(&[name], *length));
            multi(&entries.collect::<Vec<_>>(), (total as usize).div_ceil(16_384))
        };
        let info = parse(&raw);
        prop_assert!(info.flags.is_empty());
        prop_assert_eq!((info.file_count, info.total_bytes), (lengths.len() as u64, total as u64));
    }
}
