//! What a perfect crawl could find, and how close a real one came.
//!
//! The truth is one JSON object per torrent and line, so that tests and benchmarks in any language
//! can read it. [`compare`] scores a `metadata.csv` (design.md 5) against it with readers that
//! share nothing with the crawler.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, BufRead, Read, Write};
use std::net::{IpAddr, SocketAddr};

use estudely_core::{InfoHash, Instant};
use serde_json::{Value, json};

use crate::world::dht::{PeerState, World};

/// The interval of samples to which the truth refers: the first.
const EPOCH: u64 = 0;

/// Everything there is to find, by infohash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    torrents: BTreeMap<InfoHash, Expected>,
}

/// What is true of one torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The name as the CSV shows it.
    pub name: String,
    /// Files, pad files left out.
    pub file_count: u64,
    /// Bytes of those files.
    pub total_bytes: u64,
    /// Bytes of a piece of payload.
    pub piece_length: u64,
    /// Whether some node shows it in its first sample.
    pub exposed: bool,
    /// Its peers, and whether each can serve.
    pub peers: BTreeMap<SocketAddr, bool>,
}

impl Expected {
    /// Whether any peer can serve it.
    pub fn is_live(&self) -> bool {
        self.peers.values().any(|&live| live)
    }

    /// Whether a crawl that samples every node must have it.
    pub fn is_due(&self) -> bool {
        self.exposed && self.is_live()
    }
}

/// Why a truth file cannot be read: the line, and what is wrong with it.
#[derive(Debug)]
pub enum TruthError {
    /// The file itself.
    Io(io::Error),
    /// A line that is no such object.
    Line(usize),
}

impl fmt::Display for TruthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Line(number) => write!(f, "line {number} is no torrent of a truth file"),
        }
    }
}

impl std::error::Error for TruthError {}

impl From<io::Error> for TruthError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Truth {
    /// The truth about a world.
    pub fn of(world: &World) -> Self {
        let shown = shown_by(world);
        let torrents = (0..world.torrent_count())
            .map(|number| {
                let made = world.torrent(number);
                let peers = world.peers_of(number).map(|peer| world.peer(peer));
                let expected = Expected {
                    name: made.facts.name,
                    file_count: made.facts.file_count,
                    total_bytes: made.facts.total_bytes,
                    piece_length: made.facts.piece_length,
                    exposed: !shown[number as usize].is_empty(),
                    peers: peers.map(|p| (p.addr, p.state == PeerState::Live)).collect(),
                };
                (made.key, expected)
            })
            .collect();
        Self { torrents }
    }

    /// Reads what [`write()`] wrote.
    pub fn read(input: impl BufRead) -> Result<Self, TruthError> {
        let mut torrents = BTreeMap::new();
        for (line, number) in input.lines().zip(1..) {
            let (key, expected) = parse_line(&line?).ok_or(TruthError::Line(number))?;
            torrents.insert(key, expected);
        }
        Ok(Self { torrents })
    }

    /// All torrents in the order of their infohashes.
    pub fn iter(&self) -> impl Iterator<Item = (&InfoHash, &Expected)> {
        self.torrents.iter()
    }

    /// How many torrents there are.
    pub fn len(&self) -> usize {
        self.torrents.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.torrents.is_empty()
    }
}

/// Which torrents are exposed in samples, and how many of those a peer can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// Torrents that some node shows in its first sample.
    pub exposed: u64,
    /// Those among them with a live peer.
    pub due: u64,
}

/// Counts what is exposed without making a single torrent.
pub fn exposure(world: &World) -> Exposure {
    let shown = shown_by(world);
    let exposed = || (0..world.torrent_count()).filter(|&n| !shown[n as usize].is_empty());
    let is_live = |peer| world.peer(peer).state == PeerState::Live;
    let due = exposed().filter(|&n| world.peers_of(n).any(is_live)).count();
    Exposure { exposed: exposed().count() as u64, due: due as u64 }
}

/// For each torrent, the nodes that show it in their first sample.
fn shown_by(world: &World) -> Vec<Vec<u32>> {
    let mut shown = vec![Vec::new(); world.torrent_count() as usize];
    for node in 0..world.node_count() {
        for torrent in world.samples(node, EPOCH) {
            shown[torrent as usize].push(node);
        }
    }
    shown
}

/// Writes the truth about `world`, one JSON object per torrent and line: `infohash`, `name`,
/// `file_count`, `total_bytes`, `piece_length`, `version`, `private`, `metadata_bytes`, `peers`
/// (`addr` and `state`), `stored_by`, `exposed`, `exposed_by` (nodes by address).
pub fn write(world: &World, out: &mut impl Write) -> io::Result<()> {
    let shown = shown_by(world);
    let addr = |node: u32| world.contact(node).addr.to_string();
    for number in 0..world.torrent_count() {
        let made = world.torrent(number);
        let peers = world.peers_of(number).map(|peer| {
            let peer = world.peer(peer);
            json!({ "addr": peer.addr.to_string(), "state": peer.state.word() })
        });
        let nodes = &shown[number as usize];
        let line = json!({
            "infohash": made.key.to_string(),
            "name": made.facts.name,
            "file_count": made.facts.file_count,
            "total_bytes": made.facts.total_bytes,
            "piece_length": made.facts.piece_length,
            "version": made.facts.version.word(),
            "private": made.facts.private,
            "metadata_bytes": made.info.len(),
            "peers": peers.collect::<Vec<_>>(),
            "stored_by": world.holders(Instant::START, number).iter().map(addr).collect::<Vec<_>>(),
            "exposed": !nodes.is_empty(),
            "exposed_by": nodes.iter().copied().map(addr).collect::<Vec<_>>(),
        });
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}

fn parse_line(line: &str) -> Option<(InfoHash, Expected)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let peers = line["peers"].as_array()?.iter().map(|peer| {
        let addr = peer["addr"].as_str()?.parse().ok()?;
        Some((addr, peer["state"].as_str()? == PeerState::Live.word()))
    });
    let expected = Expected {
        name: line["name"].as_str()?.to_owned(),
        file_count: line["file_count"].as_u64()?,
        total_bytes: line["total_bytes"].as_u64()?,
        piece_length: line["piece_length"].as_u64()?,
        exposed: line["exposed"].as_bool()?,
        peers: peers.collect::<Option<_>>()?,
    };
    Some((InfoHash::from_hex(line["infohash"].as_str()?)?, expected))
}

/// How a file compares with the truth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// Rows of the file.
    pub rows: u64,
    /// Infohashes exposed in samples with a live peer: what had to be found.
    pub due: u64,
    /// Those of them that the file holds as a correct `True`.
    pub found: u64,
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
            "{percent:.2} % found ({} of {} exposed with a live peer; {} more, {} False), {} rows, {} wrong",
            self.found,
            self.due,
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
pub fn compare(truth: &Truth, file: impl Read) -> Result<Score, csv::Error> {
    let mut reader = csv::Reader::from_reader(file);
    let mut tally = Tally { truth, score: Score::default(), verified: BTreeMap::new() };
    if reader.headers()? != HEADER.as_slice() {
        tally.wrong(0, "", format!("header {:?}", reader.headers()?));
    }
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record)? {
        tally.score.rows += 1;
        tally.row(&record);
    }
    Ok(tally.finish())
}

struct Tally<'t> {
    truth: &'t Truth,
    score: Score,
    /// Whether an infohash's rows said `True` so far, and whether all of them were right.
    verified: BTreeMap<InfoHash, Verdict>,
}

#[derive(Default)]
struct Verdict {
    said_true: bool,
    said_false: bool,
    wrong: bool,
    /// Peers named in its `True` rows, and in its `False` rows.
    peers: BTreeSet<SocketAddr>,
    false_peers: BTreeSet<SocketAddr>,
}

impl Tally<'_> {
    fn wrong(&mut self, row: u64, infohash: &str, what: String) {
        self.score.wrong.push(Wrong { row, infohash: infohash.to_owned(), what });
    }

    fn row(&mut self, record: &csv::StringRecord) {
        let row = self.score.rows;
        let field = |column: usize| record.get(column).unwrap_or("");
        let known = InfoHash::from_hex(field(0))
            .filter(|hash| hash.to_string() == field(0))
            .and_then(|hash| Some((hash, self.truth.torrents.get(&hash)?)));
        let Some((hash, expected)) = known else {
            return self.wrong(row, field(0), "no such torrent".to_owned());
        };
        let verdict = self.verified.entry(hash).or_default();
        let mut faults = Vec::new();
        match field(7) {
            "True" => {
                // A verified infohash's first row names the peer that served it.
                let first = !verdict.said_true;
                verdict.said_true = true;
                check_fields(expected, record, &mut faults);
                check_peer(expected, record, first, &mut verdict.peers, &mut faults);
            }
            "False" => {
                if verdict.said_true {
                    faults.push("False after True".to_owned());
                }
                verdict.said_false = true;
                if (field(1), field(2), field(3), field(4)) != ("", "0", "0", "0") {
                    faults.push("fields in a False row".to_owned());
                }
                check_peer(expected, record, false, &mut verdict.false_peers, &mut faults);
            }
            other => faults.push(format!("metadata_ok {other:?}")),
        }
        verdict.wrong |= !faults.is_empty();
        for what in faults {
            self.wrong(row, field(0), what);
        }
    }

    fn finish(mut self) -> Score {
        for (hash, expected) in self.truth.iter() {
            let verdict = self.verified.get(hash);
            let right = verdict.is_some_and(|verdict| verdict.said_true && !verdict.wrong);
            let said_true = verdict.is_some_and(|verdict| verdict.said_true);
            let due = expected.is_due();
            self.score.due += u64::from(due);
            self.score.found += u64::from(due && right);
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
    use crate::world::dht::tests::plan;

    fn world() -> World {
        World::build(plan(40, 120)).expect("world")
    }

    /// The file that a perfect crawl writes.
    fn perfect(truth: &Truth) -> Vec<Vec<String>> {
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

    fn score(truth: &Truth, rows: &[Vec<String>]) -> Score {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(HEADER).expect("header");
        rows.iter().for_each(|row| writer.write_record(row).expect("row"));
        compare(truth, &writer.into_inner().expect("bytes")[..]).expect("csv")
    }

    #[test]
    fn the_truth_file_reads_back_as_the_truth() {
        let world = world();
        let mut file = Vec::new();
        write(&world, &mut file).expect("written");
        let truth = Truth::of(&world);
        assert_eq!(Truth::read(&file[..]).expect("read"), truth);
        assert!(matches!(Truth::read(&b"{}\n"[..]), Err(TruthError::Line(1))));
        let due = truth.iter().filter(|(_, expected)| expected.is_due()).count() as u64;
        let exposed = truth.iter().filter(|(_, expected)| expected.exposed).count() as u64;
        assert_eq!(exposure(&world), Exposure { exposed, due });
        assert!(due > 50 && due < exposed, "{due} of {exposed}");
    }

    #[test]
    fn a_perfect_file_scores_all_and_a_shortened_one_its_share() {
        let truth = Truth::of(&world());
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
        let truth = Truth::of(&world());
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
        let truth = Truth::of(&world());
        let hash = perfect(&truth)[0][0].clone();
        let mut row: Vec<String> =
            [&hash, "", "0", "0", "0", "", "", "False"].map(str::to_owned).into();
        let empty = score(&truth, std::slice::from_ref(&row));
        assert_eq!((empty.unverified, empty.wrong.len(), empty.found), (1, 0, 0));
        row[1] = "a name".to_owned();
        assert_eq!(score(&truth, &[row]).wrong.len(), 1);
    }
}
