//! Rows into files, and back through resumption.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use estudely_core::info::Info;
use estudely_core::keyed::Rng as Random;
use estudely_core::limits::METADATA_MAX;
use estudely_core::{FailureCause, InfoHash, Metadata, Row, Seed, Verdict};
use sha1::{Digest, Sha1};
use tempfile::TempDir;

use super::*;
use crate::files::resume::{PAIRS_HEADER, ROWS_HEADER};

fn peers(count: u16) -> Vec<SocketAddr> {
    (0..count).map(|n| SocketAddr::from(([127, 0, 0, 1], n + 1))).collect()
}

fn row(infohash: InfoHash, verdict: Verdict, peers: Vec<SocketAddr>) -> Row {
    let mut row = Row::new(infohash, verdict);
    row.peers = peers;
    row
}

fn verified(name: &[u8], peer_count: u16) -> Row {
    let mut raw = format!("d6:lengthi7e4:name{}:", name.len()).into_bytes();
    raw.extend(name);
    raw.extend(b"12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae");
    let hash = InfoHash(Sha1::digest(&raw).into());
    let info = Info::parse(&raw).expect("an info dictionary");
    let metadata = Metadata::verify(hash, raw).expect("its own hash");
    row(hash, Verdict::Verified { metadata, info }, peers(peer_count))
}

fn failed(hash: InfoHash, peer_count: u16) -> Row {
    row(hash, Verdict::Failed { cause: FailureCause::NoPeers }, peers(peer_count))
}

const ROWS: Table = Table::Rows { per: RowsPer::Peer, escape_formulas: false };

struct World {
    dir: TempDir,
    table: Table,
    overwrite: bool,
    bytes_max: Option<u64>,
}

impl World {
    fn new() -> Self {
        let dir = TempDir::new().expect("temporary folder");
        Self { dir, table: ROWS, overwrite: false, bytes_max: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect(name)
    }

    fn try_open(&self, names: &[&str], others: &[(&str, &Path)]) -> Result<Opened, String> {
        let places: Vec<_> = names.iter().map(|name| Place::File(self.path(name))).collect();
        let plan = Plan {
            places: &places,
            table: self.table,
            tee: false,
            overwrite: self.overwrite,
            public: false,
            bytes_max: self.bytes_max,
            others,
        };
        open(&plan, &mut Random::new(Seed::from_u64(1))).map_err(|error| error.to_string())
    }

    /// Opens the outputs, writes the rows, and closes them.
    fn run(&self, names: &[&str], rows: &[Row]) -> Opened {
        let mut opened = self.try_open(names, &[]).expect("opens");
        opened.fanout.begin().expect("begun");
        for row in rows {
            write(&mut opened.fanout, row).expect("written");
        }
        opened.fanout.flush().expect("flushed");
        Opened { fanout: Fanout::default(), ..opened }
    }
}

fn write(fanout: &mut Fanout, row: &Row) -> io::Result<()> {
    let now = SystemTime::UNIX_EPOCH;
    fanout.write(row, RowTimes { found: now, settled: now })
}

#[test]
fn a_row_has_the_fields_of_the_contract() {
    let world = World::new();
    let good = verified("a, \"b\" 世\n\u{7f}".as_bytes(), 2);
    let mut bad = failed(InfoHash([0xab; 20]), 0);
    bad.peers.push("[::1]:9".parse().expect("address"));
    let lost = failed(InfoHash([0xcd; 20]), 0);
    world.run(&["x.csv"], &[good, bad, lost]);
    let text = world.text("x.csv");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], ROWS_HEADER);
    assert_eq!(&lines[1][40..], ",\"a, \"\"b\"\" 世\u{fffd}\u{fffd}\",1,7,16384,127.0.0.1,1,True");
    assert_eq!(&lines[2][40..], ",\"a, \"\"b\"\" 世\u{fffd}\u{fffd}\",1,7,16384,127.0.0.1,2,True");
    assert_eq!(lines[3], format!("{},,0,0,0,::1,9,False", "ab".repeat(20)));
    assert_eq!(lines[4], format!("{},,0,0,0,,,False", "cd".repeat(20)));
    assert_eq!(lines.len(), 5);
}

#[test]
fn one_row_a_torrent_and_formulas_escaped_on_request() {
    let mut world = World::new();
    world.table = Table::Rows { per: RowsPer::Torrent, escape_formulas: true };
    let names = ["=1", "+1", "-1", "@a", "\u{ff1d}1", "a=1"];
    let rows: Vec<_> = names.iter().map(|name| verified(name.as_bytes(), 3)).collect();
    world.run(&["x.csv"], &rows);
    let text = world.text("x.csv");
    let written: Vec<_> = text.lines().skip(1).filter_map(|l| l.split(',').nth(1)).collect();
    assert_eq!(written, ["'=1", "'+1", "'-1", "'@a", "'\u{ff1d}1", "a=1"]);
}

#[test]
fn a_name_too_long_to_be_repeated_gets_the_row_of_the_peer_that_served_it() {
    let world = World::new();
    let fits = verified(&vec![b'x'; REPEATED_NAME_MAX], 3);
    // As written: each of these bytes becomes three.
    let long = verified(&vec![0xff; REPEATED_NAME_MAX / 3 + 1], 3);
    let (first, second) = (fits.infohash.to_string(), long.infohash.to_string());
    world.run(&["x.csv"], &[fits, long]);
    let text = world.text("x.csv");
    let of = |key: &str| text.lines().filter(|line| line.starts_with(key)).collect::<Vec<_>>();
    assert_eq!(of(&first).len(), 3);
    let [only] = of(&second)[..] else { panic!("one row") };
    assert!(only.ends_with(",1,7,16384,127.0.0.1,1,True"));
    assert_eq!(only.matches('\u{fffd}').count(), REPEATED_NAME_MAX / 3 + 1, "whole all the same");
}

#[test]
fn the_longest_name_costs_its_own_length_in_bytes_however_many_peers_there_are() {
    let world = World::new();
    let name = vec![0xff; METADATA_MAX - 200];
    world.run(&["x.csv"], &[verified(&name, 200)]);
    let len = fs::metadata(world.path("x.csv")).expect("there").len();
    assert!((3 * name.len() as u64..3 * METADATA_MAX as u64).contains(&len), "{len}");
    let opened = world.run(&["x.csv"], &[]);
    assert_eq!(opened.known.iter().count(), 1, "and is read again");
}

#[test]
fn a_resumed_output_gets_what_it_lacks_and_nothing_twice() {
    let world = World::new();
    let (both, one) = (verified(b"both", 1), verified(b"one", 1));
    let lost = failed(InfoHash([1; 20]), 1);
    world.run(&["a.csv", "b.csv"], &[both, lost]);
    world.run(&["a.csv"], &[one]);
    let before = world.text("a.csv");

    let (both, one) = (verified(b"both", 1), verified(b"one", 1));
    let (known, missing) = (both.infohash, one.infohash);
    let opened = world.run(&["a.csv", "b.csv"], &[one, failed(InfoHash([1; 20]), 2)]);
    assert!(opened.known.iter().eq([known]));
    assert_eq!(world.text("a.csv"), before);
    assert!(world.text("b.csv").contains(&missing.to_string()));
    assert_eq!(world.text("b.csv").lines().count(), 4);
}

#[test]
fn a_torn_line_is_cut_and_the_rest_kept() {
    let world = World::new();
    world.run(&["x.csv"], &[verified(b"kept", 1)]);
    let whole = world.text("x.csv");
    fs::write(world.path("x.csv"), format!("{whole}0123456789ab")).expect("written");
    let opened = world.run(&["x.csv"], &[]);
    assert_eq!(world.text("x.csv"), whole);
    assert!(opened.notes[0].contains("without 12 bytes of a torn last line"), "{:?}", opened.notes);
}

#[test]
fn one_foreign_output_leaves_all_of_them_as_they_were() {
    let world = World::new();
    world.run(&["a.csv"], &[verified(b"kept", 1)]);
    let torn = world.text("a.csv") + "torn";
    fs::write(world.path("a.csv"), &torn).expect("written");
    fs::write(world.path("b.csv"), "mine\n").expect("written");
    let error = world.try_open(&["a.csv", "new.csv", "b.csv"], &[]).err().expect("refused");
    assert!(error.contains("b.csv: line 1: the header is not that of crawl"), "{error}");
    assert_eq!((world.text("a.csv"), world.text("b.csv")), (torn, "mine\n".to_owned()));
    assert!(!world.path("new.csv").exists());
}

#[test]
fn overwrite_replaces_and_knows_nothing() {
    let mut world = World::new();
    fs::write(world.path("x.csv"), "mine\n").expect("written");
    world.overwrite = true;
    let opened = world.run(&["x.csv"], &[]);
    assert_eq!(world.text("x.csv"), format!("{ROWS_HEADER}\n"));
    assert!(opened.known.is_empty());
}

#[test]
fn a_run_that_never_begins_leaves_every_output_as_it_was() {
    let mut world = World::new();
    fs::write(world.path("x.csv"), "mine\n").expect("written");
    world.overwrite = true;
    let opened = world.try_open(&["x.csv", "new.csv"], &[]).expect("opens");
    assert_eq!((world.text("x.csv"), world.text("new.csv")), ("mine\n".into(), String::new()));
    opened.fanout.discard();
    assert_eq!(world.text("x.csv"), "mine\n");
    assert!(!world.path("new.csv").exists());
}

#[test]
fn outputs_that_have_begun_are_never_discarded() {
    let world = World::new();
    let mut opened = world.try_open(&["new.csv"], &[]).expect("opens");
    opened.fanout.begin().expect("begun");
    opened.fanout.begin().expect("a second time for nothing");
    opened.fanout.discard();
    assert_eq!(world.text("new.csv"), format!("{ROWS_HEADER}\n"));
}

#[test]
fn one_file_under_two_names_is_refused() {
    let world = World::new();
    fs::write(world.path("x.csv"), "").expect("written");
    std::os::unix::fs::symlink(world.path("x.csv"), world.path("soft.csv")).expect("link");
    std::os::unix::fs::symlink(world.path("new.csv"), world.path("dangling.csv")).expect("link");
    fs::hard_link(world.path("x.csv"), world.path("hard.csv")).expect("link");
    for pair in [["x.csv", "soft.csv"], ["hard.csv", "x.csv"], ["dangling.csv", "new.csv"]] {
        let error = world.try_open(&pair, &[]).err().expect("refused");
        assert!(error.contains("the same file as"), "{error}");
    }
    let stats = world.path("./x.csv");
    assert!(world.try_open(&["x.csv"], &[("--stats", &stats)]).is_err());
}

#[test]
fn a_second_run_on_an_output_is_refused_while_the_first_writes() {
    let world = World::new();
    let first = world.try_open(&["x.csv"], &[]).expect("opens");
    let error = world.try_open(&["x.csv"], &[]).err().expect("refused");
    assert!(error.contains("another crawl is writing it"), "{error}");
    drop(first);
    assert!(world.try_open(&["x.csv"], &[]).is_ok());
}

#[test]
fn outputs_never_grow_past_their_limit() {
    let mut world = World::new();
    let sample = verified(b"0", 2);
    world.run(&["probe.csv"], &[sample]);
    let exact = world.text("probe.csv").len() as u64;
    world.bytes_max = Some(exact);
    let mut opened = world.try_open(&["x.csv"], &[]).expect("opens");
    write(&mut opened.fanout, &verified(b"0", 2)).expect("written");
    assert!(!opened.fanout.is_full());
    write(&mut opened.fanout, &verified(b"1", 1)).expect("no error");
    assert!(opened.fanout.is_full());
    assert_eq!(world.text("x.csv").len() as u64, exact);
    assert_eq!((opened.fanout.rows(), opened.fanout.bytes()), (2, exact));
}

#[test]
fn no_header_is_written_past_the_size_limit() {
    let mut world = World::new();
    let header = ROWS_HEADER.len() as u64 + 1;
    world.bytes_max = Some(header - 1);
    let refused = world.try_open(&["x.csv"], &[]).map(|_| ()).expect_err("refused");
    assert_eq!(
        refused,
        format!(
            "--max-output-bytes {}: the outputs begin with {header} bytes; give more",
            header - 1
        )
    );
    assert!(!world.path("x.csv").exists());
    world.bytes_max = Some(header);
    world.run(&["x.csv"], &[]);
    // The second needs its own, and only then does what the first holds count.
    assert!(world.try_open(&["x.csv", "y.csv"], &[]).is_err());
    world.bytes_max = Some(1);
    let mut opened = world.try_open(&["x.csv"], &[]).expect("grows by nothing");
    write(&mut opened.fanout, &verified(b"0", 1)).expect("no error");
    assert!(opened.fanout.is_full());
    assert_eq!(world.text("x.csv").len() as u64, header);
}

#[test]
fn pairs_are_appended_without_repeating_any() {
    let mut world = World::new();
    world.table = Table::Pairs;
    let hash = InfoHash([7; 20]);
    world.run(&["peers.csv"], &[row(hash, Verdict::PeersOnly, peers(2))]);
    let mut more = peers(3);
    more.push(more[2]);
    world.run(&["peers.csv"], &[row(hash, Verdict::PeersOnly, more)]);
    let hex = "07".repeat(20);
    let expected: String = (1..=3).map(|n| format!("{hex},127.0.0.1,{n}\n")).collect();
    assert_eq!(world.text("peers.csv"), format!("{PAIRS_HEADER}\n{expected}"));
}

#[test]
fn a_reader_that_left_costs_no_file_a_row() {
    let world = World::new();
    let mut fanout = world.try_open(&["x.csv"], &[]).expect("opens").fanout;
    let mut sinks: Vec<Box<dyn RowSink>> = vec![Box::new(Gone)];
    sinks.append(&mut fanout.into_sinks());
    fanout = Fanout::new(sinks, None);
    let error = write(&mut fanout, &verified(b"kept", 1)).expect_err("reported");
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(world.text("x.csv").lines().count(), 2);
}

/// An output whose reader left.
struct Gone;

impl RowSink for Gone {
    fn prepare(&mut self, _row: &Row, _times: RowTimes) -> u64 {
        1
    }

    fn commit(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn held(&self) -> u64 {
        0
    }

    fn bytes(&self) -> u64 {
        0
    }

    fn rows(&self) -> u64 {
        0
    }
}

mod torn;
mod watched;
