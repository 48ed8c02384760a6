//! Reads a `metadata.csv` with nothing of the crawler's: the contract of README.md, checked.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::truth::{Torrent, Truth};

/// The first line of every CSV output.
const HEADER: &str =
    "infohash,name,file_count,total_bytes,piece_length,peer_ip,peer_port,metadata_ok";

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) infohash: String,
    pub(crate) name: String,
    /// `file_count`, `total_bytes`, `piece_length`.
    pub(crate) sizes: [u64; 3],
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) ok: bool,
}

/// A whole file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Row>,
}

impl Table {
    /// Reads a file that a finished run left.
    pub(crate) fn read(path: &Path) -> Self {
        Self::parse(&fs::read_to_string(path).expect("an output in UTF-8"))
    }

    /// Parses the text of a whole file; panics where it breaks the contract.
    pub(crate) fn parse(text: &str) -> Self {
        assert_eq!(text.lines().next(), Some(HEADER));
        assert!(text.ends_with('\n'), "the last line is torn");
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let records: Vec<_> = reader.records().map(|r| r.expect("a CSV record")).collect();
        let lines = text.bytes().filter(|&byte| byte == b'\n').count();
        assert_eq!(lines, records.len() + 1, "one line is one row");
        Self { rows: records.iter().map(parse_row).collect() }
    }

    /// The infohashes with verified metadata.
    pub(crate) fn verified(&self) -> BTreeSet<String> {
        self.rows.iter().filter(|row| row.ok).map(|row| row.infohash.clone()).collect()
    }

    /// All infohashes.
    pub(crate) fn infohashes(&self) -> BTreeSet<String> {
        self.rows.iter().map(|row| row.infohash.clone()).collect()
    }

    /// The rows in order, those that were written together in one group.
    fn blocks(&self) -> impl Iterator<Item = &[Row]> {
        self.rows.chunk_by(|a, b| a.infohash == b.infohash && a.ok == b.ok)
    }

    /// Everything in which this file differs from what is true, in words.
    pub(crate) fn mistakes(&self, truth: &Truth) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut verified = BTreeSet::new();
        for block in self.blocks() {
            let [first, ..] = block else { continue };
            let Some(torrent) = truth.torrents.get(&first.infohash) else {
                mistakes.push(format!("no such infohash: {first:?}"));
                continue;
            };
            if first.ok && !verified.insert(&first.infohash) {
                mistakes.push(format!("verified twice: {first:?}"));
            }
            let peers: BTreeSet<_> = block.iter().map(|row| row.peer).collect();
            if peers.len() != block.len() {
                mistakes.push(format!("a peer twice: {block:?}"));
            }
            if first.ok && !first.peer.is_some_and(|peer| torrent.serves(peer)) {
                mistakes.push(format!("the first peer does not serve it: {first:?}"));
            }
            mistakes.extend(block.iter().flat_map(|row| mistakes_of(row, torrent)));
        }
        mistakes
    }

    /// Panics unless every row is true.
    pub(crate) fn assert_true(&self, truth: &Truth) {
        let mistakes = self.mistakes(truth);
        assert!(mistakes.is_empty(), "{} mistakes:\n{}", mistakes.len(), mistakes.join("\n"));
    }

    /// Panics unless every row is true and every infohash in `due` is verified.
    pub(crate) fn assert_complete(&self, truth: &Truth, due: &BTreeSet<String>) {
        self.assert_true(truth);
        let verified = self.verified();
        let missing: Vec<String> = due
            .difference(&verified)
            .map(|key| format!("{key} {:?}", truth.torrents[key]))
            .collect();
        let count = missing.len();
        assert!(count == 0, "{count} of {} missing:\n{}", due.len(), missing.join("\n"));
    }
}

fn parse_row(record: &csv::StringRecord) -> Row {
    let [infohash, name, file_count, total_bytes, piece_length, ip, port, ok] =
        std::array::from_fn(|column| record.get(column).expect("eight columns"));
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    assert!(infohash.len() == 40 && infohash.bytes().all(is_hex), "{record:?}");
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let peer = match (ip, port) {
        ("", "") => None,
        _ => Some(SocketAddr::new(
            ip.parse().expect("an address without brackets"),
            port.parse().expect("a port"),
        )),
    };
    assert!(ok == "True" || ok == "False", "{record:?}");
    Row {
        infohash: infohash.to_owned(),
        name: name.to_owned(),
        sizes: [number(file_count), number(total_bytes), number(piece_length)],
        peer,
        ok: ok == "True",
    }
}

/// What is wrong in one row.
fn mistakes_of(row: &Row, torrent: &Torrent) -> Vec<String> {
    let expected = if row.ok { (torrent.name.as_str(), torrent.sizes) } else { ("", [0; 3]) };
    let mut mistakes = Vec::new();
    if (row.name.as_str(), row.sizes) != expected {
        mistakes.push(format!("{row:?} is of {:?}: expected {expected:?}", torrent.label));
    }
    if row.peer.is_some_and(|peer| !torrent.peers.contains_key(&peer)) {
        mistakes.push(format!("nobody announced this peer: {row:?}"));
    }
    mistakes
}

#[test]
fn planted_mistakes_are_found() {
    let key = "00112233445566778899aabbccddeeff00112233";
    let truth = Truth::parse(
        &format!(
            r#"{{"infohash":"{key}","label":"one","name":"a, b","file_count":1,"total_bytes":7,
        "piece_length":16384,"exposed":true,"peers":[{{"addr":"127.0.0.1:5","state":"live"}},
        {{"addr":"127.0.0.1:6","state":"refuses"}}]}}"#
        )
        .replace('\n', ""),
    );
    let due = truth.due();
    let table = |rows: &[&str]| {
        let rows: String = rows.iter().map(|row| format!("{key},{row}\n")).collect();
        Table::parse(&format!("{HEADER}\n{rows}"))
    };
    let good = r#""a, b",1,7,16384,127.0.0.1,5,True"#;
    let other = r#""a, b",1,7,16384,127.0.0.1,6,True"#;
    let failed = ",0,0,0,127.0.0.1,6,False";
    for rows in [&[good][..], &[good, other], &[failed, good]] {
        table(rows).assert_complete(&truth, &due);
    }
    let planted = [
        &[r#""a, b",1,8,16384,127.0.0.1,5,True"#][..],
        &["a b,1,7,16384,127.0.0.1,5,True"],
        &[r#""a, b",1,7,16384,127.0.0.1,7,True"#],
        &[other, good],
        &[good, good],
        &[good, failed, good],
        &["x,0,0,0,127.0.0.1,6,False"],
    ];
    for rows in planted {
        assert_ne!(table(rows).mistakes(&truth), Vec::<String>::new(), "{rows:?}");
    }
    let unknown = format!("{HEADER}\n{},{failed}\n", key.replace("00", "ff"));
    assert_eq!(Table::parse(&unknown).mistakes(&truth).len(), 1);
}
