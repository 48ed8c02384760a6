//! A run that was killed at any byte of its output: the next one makes the file valid again, loses
//! no whole line and repeats nothing.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// Rows of a few torrents with names of any bytes, verified or not, some with several peers.
fn rows() -> impl Strategy<Value = Vec<Row>> {
    let name = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..12),
        "[,\"\\r\\n=a語]{1,8}".prop_map(String::into_bytes),
    ];
    let one = (name, any::<bool>(), 0u16..3);
    prop::collection::btree_map(any::<u8>(), one, 1..4).prop_map(|torrents| {
        let rows = torrents.into_iter().map(|(n, (name, is_verified, peers))| {
            if is_verified { verified(&name, peers) } else { failed(InfoHash([n; 20]), peers) }
        });
        // Two equal names make one torrent.
        let mut seen = BTreeSet::new();
        rows.filter(|row| seen.insert(row.infohash)).collect()
    })
}

/// Infohashes with what their last row says, of a file that must be valid.
fn read(text: &str) -> BTreeMap<String, bool> {
    let mut reader = ::csv::ReaderBuilder::new().from_reader(text.as_bytes());
    assert_eq!(reader.headers().expect("a header").len(), 8);
    let records = reader.records().map(|record| record.expect("a valid row"));
    records.map(|record| (record[0].to_owned(), &record[7] == "True")).collect()
}

#[test]
fn a_torn_header_is_said_and_one_that_is_replaced_is_not() {
    let mut world = World::new();
    fs::write(world.path("x.csv"), &ROWS_HEADER[..20]).expect("written");
    let notes = world.try_open(&["x.csv"], &[]).expect("opens").notes;
    assert!(notes[0].ends_with("begun anew without 20 bytes of a torn header"), "{notes:?}");
    world.overwrite = true;
    assert!(world.try_open(&["x.csv"], &[]).expect("opens").notes.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn a_file_cut_at_any_byte_is_completed_and_nothing_whole_is_lost(rows in rows()) {
        let world = World::new();
        world.run(&["whole.csv"], &rows);
        let whole = world.text("whole.csv").into_bytes();
        let expected = read(&world.text("whole.csv"));
        prop_assert_eq!(expected.len(), rows.len());
        for cut in 0..=whole.len() {
            fs::write(world.path("cut.csv"), &whole[..cut]).expect("written");
            // As a crawl does: what every output holds as verified is never taken on.
            let mut opened = world.try_open(&["cut.csv"], &[]).expect("opens");
            opened.fanout.begin().expect("begun");
            for row in rows.iter().filter(|row| !opened.known.contains(row.infohash)) {
                write(&mut opened.fanout, row).expect("written");
            }
            opened.fanout.flush().expect("flushed");
            drop(opened);
            let text = world.text("cut.csv");
            let kept = whole[..cut].iter().rposition(|byte| *byte == b'\n').map_or(0, |n| n + 1);
            prop_assert!(text.as_bytes().starts_with(&whole[..kept]), "cut at {}: {}", cut, text);
            prop_assert_eq!(read(&text), expected.clone(), "cut at {}", cut);
            let mut lines: Vec<&str> = text.lines().collect();
            let all = lines.len();
            lines.sort();
            lines.dedup();
            prop_assert_eq!(lines.len(), all, "cut at {}: a line twice", cut);
        }
    }
}
