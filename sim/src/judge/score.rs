//! How close a file came to what a perfect crawl could find.
//!
//! [`compare`] holds a `metadata.csv` (README.md, "Output") against the truth with readers that
//! share nothing with the crawler.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};

use estudely_core::InfoHash;

use crate::world::truth::{Expected, TruthFile};

/// How a file compares with the truth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// Rows of the file.
    pub rows: u64,
    /// Infohashes exposed in samples with a live peer: what had to be found.
    pub due: u64,
    /// Those of them that the file holds as a correct `True`.
    pub found: u64,
    /// Of what was due, the infohashes whose live peers take encrypted connections only, and those
    /// of them that were found.
    pub sealed: (u64, u64),
    /// Those it does not hold as `True` at all.
    pub missing: Vec<InfoHash>,
    /// Correct `True` infohashes that were not due: heard otherwise than in a sample.
    pub beyond: u64,
    /// Infohashes with `False` rows.
    pub unverified: u64,
    /// Everything in the file that is not true.
    pub wrong: Vec<Wrong>,
}

impl Score {
    /// Share of what was due that was found; 1 if nothing was.
    pub fn share(&self) -> f64 {
        if self.due == 0 { 1.0 } else { self.found as f64 / self.due as f64 }
    }

    /// Whether all that was due was found and nothing is wrong.
    pub fn is_perfect(&self) -> bool {
        self.found == self.due && self.wrong.is_empty()
    }
}

/// For people: one line, and up to ten examples of what is missing or wrong.
impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = 100.0 * self.share();
        write!(
            f,
            "{percent:.2} % found ({} of {} exposed with a live peer, {} of {} by encryption alone; \
             {} more, {} False), {} rows, {} wrong",
            self.found,
            self.due,
            self.sealed.1,
            self.sealed.0,
            self.beyond,
            self.unverified,
            self.rows,
            self.wrong.len()
        )?;
        self.missing.iter().take(10).try_for_each(|hash| write!(f, "\nmissing {hash}"))?;
        self.wrong.iter().take(10).try_for_each(|wrong| write!(f, "\n{wrong}"))
    }
}

/// One thing in a file that is not true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The row, counted from 1 after the header.
    pub row: u64,
    /// The infohash as written.
    pub infohash: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} ({}): {}", self.row, self.infohash, self.what)
    }
}

/// The columns of the CSV contract.
const HEADER: [&str; 8] = [
    "infohash",
    "name",
    "file_count",
    "total_bytes",
    "piece_length",
    "peer_ip",
    "peer_port",
    "metadata_ok",
];

/// Scores a file, of `--rows peer` or `--rows torrent`, against the truth. Fails only if it cannot
/// be read as CSV.
pub fn compare(truth: &TruthFile, file: impl Read) -> Result<Score, csv::Error> {
    let mut reader = csv::Reader::from_reader(file);
    let mut scoring = Scoring { truth, score: Score::default(), verified: BTreeMap::new() };
    if reader.headers()? != HEADER.as_slice() {
        scoring.wrong(0, "", format!("header {:?}", reader.headers()?));
    }
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record)? {
        scoring.score.rows += 1;
        scoring.row(&record);
    }
    Ok(scoring.finish())
}

struct Scoring<'t> {
    truth: &'t TruthFile,
    score: Score,
    /// Whether an infohash's rows said `True` so far, and whether all of them were right.
    verified: BTreeMap<InfoHash, Claims>,
}

#[derive(Default)]
struct Claims {
    said_true: bool,
    said_false: bool,
    wrong: bool,
    /// Peers named in its `True` rows, and in its `False` rows.
    peers: BTreeSet<SocketAddr>,
    false_peers: BTreeSet<SocketAddr>,
}

impl Scoring<'_> {
    fn wrong(&mut self, row: u64, infohash: &str, what: String) {
        self.score.wrong.push(Wrong { row, infohash: infohash.to_owned(), what });
    }

    fn row(&mut self, record: &csv::StringRecord) {
        let row = self.score.rows;
        let field = |column: usize| record.get(column).unwrap_or("");
        let known = InfoHash::from_hex(field(0))
            .filter(|hash| hash.to_string() == field(0))
            .and_then(|hash| Some((hash, self.truth.get(&hash)?)));
        let Some((hash, expected)) = known else {
            return self.wrong(row, field(0), "no such torrent".to_owned());
        };
        let claims = self.verified.entry(hash).or_default();
        let mut faults = Vec::new();
        match field(7) {
            "True" => {
                // A verified infohash's first row names the peer that served it.
                let first = !claims.said_true;
                claims.said_true = true;
                check_fields(expected, record, &mut faults);
                check_peer(expected, record, first, &mut claims.peers, &mut faults);
            }
            "False" => {
                if claims.said_true {
                    faults.push("False after True".to_owned());
                }
                claims.said_false = true;
                if (field(1), field(2), field(3), field(4)) != ("", "0", "0", "0") {
                    faults.push("fields in a False row".to_owned());
                }
                check_peer(expected, record, false, &mut claims.false_peers, &mut faults);
            }
            other => faults.push(format!("metadata_ok {other:?}")),
        }
        claims.wrong |= !faults.is_empty();
        for what in faults {
            self.wrong(row, field(0), what);
        }
    }

    fn finish(mut self) -> Score {
        for (hash, expected) in self.truth.iter() {
            let claims = self.verified.get(hash);
            let right = claims.is_some_and(|claims| claims.said_true && !claims.wrong);
            let said_true = claims.is_some_and(|claims| claims.said_true);
            let due = expected.is_due();
            self.score.due += u64::from(due);
            self.score.found += u64::from(due && right);
            self.score.sealed.0 += u64::from(due && expected.is_sealed);
            self.score.sealed.1 += u64::from(due && expected.is_sealed && right);
            self.score.beyond += u64::from(!due && right);
            if due && !said_true {
                self.score.missing.push(*hash);
            }
        }
        let unverified = self.verified.values().filter(|v| v.said_false && !v.said_true);
        self.score.unverified = unverified.count() as u64;
        self.score
    }
}

fn check_fields(expected: &Expected, record: &csv::StringRecord, faults: &mut Vec<String>) {
    let numbers =
        [expected.file_count, expected.total_bytes, expected.piece_length].map(|n| n.to_string());
    let due = [&expected.name, &numbers[0], &numbers[1], &numbers[2]];
    for (column, due) in (1..).zip(due) {
        let found = record.get(column).unwrap_or("");
        if found != due {
            faults.push(format!("{} is {found:?}, not {due:?}", HEADER[column]));
        }
    }
}

fn check_peer(
    expected: &Expected,
    record: &csv::StringRecord,
    serves: bool,
    seen: &mut BTreeSet<SocketAddr>,
    faults: &mut Vec<String>,
) {
    let field = |column| record.get(column).unwrap_or("");
    if !serves && field(5).is_empty() && field(6).is_empty() {
        return;
    }
    let addr = field(5)
        .parse::<IpAddr>()
        .ok()
        .zip(field(6).parse().ok())
        .map(|(ip, port)| SocketAddr::new(ip, port));
    match addr.and_then(|addr| Some((addr, expected.peers.get(&addr)?))) {
        None => faults.push(format!("no such peer {:?} {:?}", field(5), field(6))),
        Some((_, false)) if serves => faults.push("served by a dead peer".to_owned()),
        Some((addr, _)) if !seen.insert(addr) => faults.push("the same peer twice".to_owned()),
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::dht::World;
    use crate::world::dht::tests::plan;

    fn world() -> World {
        World::build(plan(40, 120)).expect("world")
    }

    /// The file that a perfect crawl writes.
    fn perfect(truth: &TruthFile) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        for (hash, expected) in truth.iter().filter(|(_, expected)| expected.is_due()) {
            let mut peers: Vec<_> = expected.peers.iter().collect();
            peers.sort_by_key(|&(_, live)| !live);
            rows.extend(peers.into_iter().map(|(addr, _)| {
                vec![
                    hash.to_string(),
                    expected.name.clone(),
                    expected.file_count.to_string(),
                    expected.total_bytes.to_string(),
                    expected.piece_length.to_string(),
                    addr.ip().to_string(),
                    addr.port().to_string(),
                    "True".to_owned(),
                ]
            }));
        }
        rows
    }

    fn score(truth: &TruthFile, rows: &[Vec<String>]) -> Score {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(HEADER).expect("header");
        rows.iter().for_each(|row| writer.write_record(row).expect("row"));
        compare(truth, &writer.into_inner().expect("bytes")[..]).expect("csv")
    }

    #[test]
    fn a_perfect_file_scores_all_and_a_shortened_one_its_share() {
        let truth = TruthFile::of(&world());
        let rows = perfect(&truth);
        let all = score(&truth, &rows);
        assert!(all.is_perfect(), "{all}");
        let gone = rows[0][0].clone();
        let fewer: Vec<_> = rows.into_iter().filter(|row| row[0] != gone).collect();
        let fewer = score(&truth, &fewer);
        assert_eq!(fewer.found, fewer.due - 1);
        assert_eq!(fewer.missing.len(), 1);
        assert!(!fewer.is_perfect() && fewer.share() < 1.0 && fewer.wrong.is_empty());
    }

    #[test]
    fn every_kind_of_untruth_is_named() {
        let truth = TruthFile::of(&world());
        let rows = perfect(&truth);
        for (column, value) in [
            (0, "00000000000000000000000000000000000000aa"),
            (1, "another name"),
            (2, "77777"),
            (3, "1"),
            (4, "5"),
            (5, "127.0.0.9"),
            (6, "1"),
            (7, "true"),
        ] {
            let mut bad = rows.clone();
            bad[0][column] = value.to_owned();
            let score = score(&truth, &bad);
            assert!(!score.wrong.is_empty(), "column {column}");
        }
        let mut upper = rows.clone();
        upper[0][0] = upper[0][0].to_uppercase();
        assert_eq!(score(&truth, &upper).wrong.len(), 1);
        let mut twice = rows.clone();
        twice.push(rows[0].clone());
        assert_eq!(score(&truth, &twice).wrong.len(), 1);
    }

    #[test]
    fn false_rows_count_apart_and_must_be_empty() {
        let truth = TruthFile::of(&world());
        let hash = perfect(&truth)[0][0].clone();
        let mut row: Vec<String> =
            [&hash, "", "0", "0", "0", "", "", "False"].map(str::to_owned).into();
        let empty = score(&truth, std::slice::from_ref(&row));
        assert_eq!((empty.unverified, empty.wrong.len(), empty.found), (1, 0, 0));
        row[1] = "a name".to_owned();
        assert_eq!(score(&truth, &[row]).wrong.len(), 1);
    }
}
