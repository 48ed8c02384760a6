//! Files as earlier runs, crashes and other programs leave them.

use std::fs::File;
use std::io::Write;

use estudely_core::Seed;
use proptest::prelude::{any, prop, proptest};

use super::*;

const A: &str = "631a31dd0a46257d5078c0dee4e66e26f73e42ac";
const B: &str = "0123456789abcdef0123456789abcdef01234567";

fn random() -> Rng {
    Rng::new(Seed::from_u64(1))
}

fn hash(hex: &str) -> InfoHash {
    InfoHash::from_hex(hex).expect("hex")
}

fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("temporary file");
    file.write_all(content).expect("written");
    file
}

fn rows(content: &[u8]) -> Result<HeldRows, Foreign> {
    scan_rows(&mut file(content), &mut random())
}

fn refusal(content: &str) -> String {
    rows(content.as_bytes()).expect_err(content).to_string()
}

fn whole() -> String {
    format!(
        "{ROWS_HEADER}\n\
         {A},\"a, \"\"b\"\"\",1,2,3,127.0.0.1,5,True\n\
         {A},\"a, \"\"b\"\"\",1,2,3,::1,6,True\n\
         {B},,0,0,0,,,False\n"
    )
}

#[test]
fn a_whole_file_is_kept_and_its_infohashes_are_known() {
    let text = whole();
    let held = rows(text.as_bytes()).expect("ours");
    assert_eq!(held.extent, Extent::of(text.len() as u64, text.len() as u64));
    assert!(held.verified.iter().eq([hash(A)]));
    assert!(held.unverified.contains(&hash(B).0) && !held.unverified.contains(&hash(A).0));
}

#[test]
fn a_file_cut_anywhere_keeps_exactly_its_whole_lines() {
    let text = whole();
    for cut in 0..=text.len() {
        let part = &text.as_bytes()[..cut];
        let kept = part.iter().rposition(|b| *b == b'\n').map_or(0, |last| last + 1);
        let held = rows(part).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        let expected = if part.ends_with(b",True") || part.ends_with(b",False") {
            Extent { whole: cut as u64, len: cut as u64, end: RowEnd::Open }
        } else {
            Extent::of(kept as u64, cut as u64)
        };
        assert_eq!(held.extent, expected, "cut at {cut}");
    }
}

#[test]
fn what_a_spreadsheet_saved_is_still_ours() {
    let text = format!("\u{feff}{}", whole().replace('\n', "\r\n"));
    let held = rows(text.as_bytes()).expect("ours");
    assert_eq!(held.extent.whole, text.len() as u64);
    let torn = format!("{text}{A},x");
    assert_eq!(rows(torn.as_bytes()).expect("ours").extent.whole, text.len() as u64);
    let lines = format!("{ROWS_HEADER}\n{A},\"a\nb\",1,2,3,,,True\n");
    assert!(rows(lines.as_bytes()).expect("ours").verified.contains(hash(A)));
    // Words, quotes, rounded counts, empty rows and columns, a note, and a second header after cat.
    let saved = format!(
        "sep=,\n{ROWS_HEADER},,\n\"{A}\",x,\"1\",1.23457E+12,3,,,\"TRUE\",,\n,,,\n,,,,,,,\n\
         \u{feff}{ROWS_HEADER}\n{B},,0,0,0,,,false\n"
    );
    for text in [saved.clone(), saved.replace('\n', "\r\n"), saved.replace('\n', "\r")] {
        let held = rows(text.as_bytes()).expect("ours");
        assert!(held.verified.iter().eq([hash(A)]) && held.unverified.contains(&hash(B).0));
        assert_eq!(held.extent.whole, text.len() as u64);
        assert_eq!(held.extent.end == RowEnd::Open, text.ends_with('\r'));
    }
}

#[test]
fn a_last_row_is_whole_without_its_line_end_only_if_nothing_can_follow() {
    let end = |row: &str| {
        let text = format!("{ROWS_HEADER}\n{A},x,1,2,3,,,{row}");
        let held = rows(text.as_bytes()).expect("ours");
        assert_eq!(held.extent.whole == text.len() as u64, held.extent.end == RowEnd::Open);
        (held.extent.end, held.verified.contains(hash(A)))
    };
    for word in ["True", "TRUE", "true", "\"True\"", "False", "FALSE"] {
        assert_eq!(end(word), (RowEnd::Open, word.to_lowercase().contains("true")), "{word}");
    }
    for word in ["Tru", "\"True", "\"False", "", "\"", "Fals"] {
        assert_eq!(end(word), (RowEnd::Whole, false), "{word}");
    }
    // In a name it says nothing.
    let text = format!("{ROWS_HEADER}\n{A},\"x,True");
    assert_eq!(rows(text.as_bytes()).expect("ours").extent.whole, ROWS_HEADER.len() as u64 + 1);
}

#[test]
fn a_file_with_other_columns_is_refused_by_a_line_that_says_what_it_is() {
    let header = |text: &str| refusal(text).replace("line 1: the header is not that of crawl", "");
    let said = refusal(&format!("{PAIRS_HEADER}\n"));
    assert!(said.ends_with("that of a list of peers, as crawl peers writes it, not of metadata"));
    assert_eq!(header(&format!("{ROWS_HEADER},extra\n")), ": it has columns more: extra");
    let without = ROWS_HEADER.replace(",peer_ip,peer_port", "");
    assert_eq!(header(&format!("{without}\n")), ": columns are missing: peer_ip, peer_port");
    let turned: Vec<_> = ROWS_HEADER.rsplit(',').collect();
    assert!(header(&format!("{}\n", turned.join(","))).contains("another order"));
    let other = ROWS_HEADER.replace("name", "title");
    assert!(header(&format!("{other}\n")).ends_with("missing: name; it has others: title"));
    for (separator, name) in [(";", "semicolons"), ("\t", "tabs")] {
        let text = format!("\u{feff}{}\r\n", ROWS_HEADER.replace(',', separator));
        assert!(header(&text).contains(&format!("separated by {name}")), "{text}");
    }
    let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain(b"i\0n\0".iter().copied()).collect();
    assert!(rows(&utf16).expect_err("UTF-16").to_string().contains("UTF-16"));
    let pairs = |text: String| scan_pairs(&mut file(text.as_bytes()), &mut random());
    let said = pairs(format!("{ROWS_HEADER}\n")).expect_err("rows").to_string();
    assert!(
        said.contains("the header is that of metadata, as crawl writes it, not of a list"),
        "{said}"
    );
    let said = pairs(format!("{A};1.2.3.4;5\n")).expect_err("semicolons").to_string();
    assert!(said.contains("semicolons"), "{said}");
    assert!(pairs(format!("sep=,\n{PAIRS_HEADER}\n{A},1.2.3.4,5\n,,\n{PAIRS_HEADER}\n")).is_ok());
}

#[test]
fn a_file_cut_within_its_byte_order_mark_or_header_is_begun_anew() {
    let text = format!("\u{feff}{ROWS_HEADER}");
    for cut in 1..=text.len() {
        let held = rows(&text.as_bytes()[..cut]).unwrap_or_else(|e| panic!("cut at {cut}: {e}"));
        assert_eq!(held.extent, Extent::of(0, cut as u64), "cut at {cut}");
    }
    assert!(rows(b"\xef\xbb\xbf\n").is_err() && rows(b"\xef\xbb\xbfx").is_err());
}

#[test]
fn a_file_is_invented_when_all_its_peers_are_on_this_machine() {
    let invented = |rows: &str| rows_of(rows).expect("ours").is_invented;
    let [here, six, there] = ["127.77.0.1,5", "::1,5", "8.8.8.8,5"];
    let row = |peer: &str| format!("{A},,0,0,0,{peer},True\n");
    assert!(invented(&format!("{}{}{}", row(here), row(","), row(six))));
    assert!(!invented(&format!("{}{}", row(here), row(there))));
    assert!(!invented("") && !invented(&row(",")) && !invented(&row("192.168.1.2,5")));
}

fn rows_of(text: &str) -> Result<HeldRows, Foreign> {
    rows(format!("{ROWS_HEADER}\n{text}").as_bytes())
}

#[test]
fn foreign_files_are_refused_with_the_line() {
    let row = |row: &str| refusal(&format!("{}{row}\n", whole()));
    let header = "line 1: the header is not that of crawl";
    assert_eq!(refusal("name,size\na,1\n"), header);
    assert_eq!(refusal("hello"), header);
    assert_eq!(refusal("\n\n"), header);
    assert_eq!(row("x"), "line 5: not 8 fields, as a row has");
    assert_eq!(row("x,,0,0,0,,,True"), "line 5: the first field is no infohash");
    assert_eq!(row(&format!("{A},,x,0,0,,,True")), "line 5: a count is no number");
    assert_eq!(row(&format!("{A},,0,0,0,host,1,True")), "line 5: peer_ip is no address");
    assert_eq!(row(&format!("{A},,0,0,0,::1,65536,True")), "line 5: peer_port is no port");
    assert_eq!(row(&format!("{A},,0,0,0,,,yes")), "line 5: metadata_ok is neither True nor False");
    assert_eq!(row(&",".repeat(40)), "line 5: more fields than any row has");
    assert_eq!(row(&format!("{A},\"a,1")), "line 5: a quote is opened and never closed");
}

#[test]
fn a_name_as_long_as_metadata_allows_is_read_and_nothing_longer() {
    let name = |len| format!("{ROWS_HEADER}\n{A},{},1,2,3,,,True\n", "n".repeat(len));
    assert!(rows(name(30 << 20).as_bytes()).is_ok());
    assert!(rows(name(RECORD_BYTES_MAX).as_bytes()).is_err());
}

#[test]
fn pairs_are_read_with_or_without_a_header() {
    for header in ["", "infohash,peer_ip,peer_port\n"] {
        let text = format!("{header}{A},127.0.0.1,5\n{B},::1,6\n{B},127.0.");
        let held = scan_pairs(&mut file(text.as_bytes()), &mut random());
        let held = held.expect("ours");
        assert_eq!(held.extent.whole, text.len() as u64 - 47);
        assert_eq!(held.pairs.len(), 2);
        let known = |hex, ip: &str, port| {
            held.pairs.contains(&pair_key(hash(hex), ip.parse().expect("ip"), port))
        };
        assert!(known(A, "127.0.0.1", 5) && known(B, "::1", 6));
        assert!(!known(A, "::1", 6) && !known(A, "127.0.0.1", 6));
    }
    let foreign = scan_pairs(&mut file(b"a,b\n"), &mut random());
    assert!(foreign.is_err());
}

proptest! {
    #[test]
    fn no_file_makes_the_scan_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut text = format!("{ROWS_HEADER}\n").into_bytes();
        text.extend(&bytes);
        let _ = rows(&text);
        let _ = rows(&bytes);
    }
}
