//! Outputs that end at any row: what not every one of them holds is under way in the state, and the
//! next run completes every file without repeating a row. Whole runs, on loopback.

use std::path::{Path, PathBuf};

use estudely_core::keyed::Rng;
use estudely_core::state::WallTime;
use estudely_core::{
    AddressPolicy, Config, Duration, InfoHash, Instant, Mode, Request, Row, Seed, Stats,
    TransportPolicy,
};
use tempfile::TempDir;

use super::*;
use crate::engine::run::{Bind, Observer, Options, Requests};
use crate::files::sink::{Fanout, Place, Plan, RowSink, RowsPer, Table, open};
use crate::files::state::StateFile;

/// Infohashes of each run here.
const COUNT: usize = 6;

/// An output that takes so many rows, and then none.
struct Ending {
    inner: Box<dyn RowSink>,
    left: usize,
    by: io::ErrorKind,
}

impl RowSink for Ending {
    fn prepare(&mut self, row: &Row, times: RowTimes) -> u64 {
        self.inner.prepare(row, times)
    }

    fn commit(&mut self) -> io::Result<()> {
        self.left = self.left.checked_sub(1).ok_or(io::Error::from(self.by))?;
        self.inner.commit()
    }

    fn held(&self) -> u64 {
        self.inner.held()
    }

    fn bytes(&self) -> u64 {
        self.inner.bytes()
    }

    fn rows(&self) -> u64 {
        self.inner.rows()
    }
}

fn hash(n: usize) -> InfoHash {
    InfoHash([n as u8 + 1; 20])
}

fn crawler() -> Crawler {
    let config = Config::new(Mode::Direct).with_policy(AddressPolicy::AllowPrivate);
    Crawler::new(config, Seed::from_u64(1), Instant::START)
}

/// A run that asks for every infohash; the only peer of each refuses, so that all are settled, and
/// at once where it is not asked over uTP too.
fn options(state: &Path) -> Options {
    let config = Config::new(Mode::Direct).with_policy(AddressPolicy::AllowPrivate);
    let bind = Bind { addr: ([127, 0, 0, 1], 0).into(), named: true };
    let request = |n| Request::new(hash(n), [([127, 0, 1, n as u8 + 1], 5).into()]);
    Options {
        crawler: config.with_transports(TransportPolicy::Tcp),
        seed: Seed::from_u64(1),
        bind: vec![bind],
        bootstrap: Vec::new(),
        overall_timeout: None,
        until_idle: None,
        state: Some(StateFile::open(state).expect("a state")),
        known: Vec::new(),
        requests: Requests::new((0..COUNT).map(request)),
        signals: None,
    }
}

/// Watches nothing.
struct Nobody;

impl Observer for Nobody {
    fn tick(&mut self, _: Duration, _: &Stats) {}

    fn note(&mut self, _: &str) {}
}

fn opened(paths: &[PathBuf], bytes_max: Option<u64>) -> Fanout {
    let places: Vec<_> = paths.iter().cloned().map(Place::File).collect();
    let plan = Plan {
        places: &places,
        table: Table::Rows { per: RowsPer::Peer, escape_formulas: false },
        tee: false,
        overwrite: false,
        public: false,
        bytes_max,
        others: &[],
    };
    open(&plan, &mut Rng::new(Seed::from_u64(1))).expect("opens").fanout
}

/// A whole run; how many infohashes it took up from the state.
fn run(sink: &mut Fanout, state: &Path) -> usize {
    let ended = crate::engine::run::run(options(state), sink, &mut Nobody);
    let report = ended.or_else(|failed| failed.report.map(|report| *report).ok_or(failed.error));
    let kept = report.expect("it ran").state.expect("it has one");
    assert!(kept.complete, "all of it was saved");
    kept.restored.map_or(0, |restored| restored.held)
}

fn rows(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("a file");
    let mut rows: Vec<_> = text.lines().skip(1).map(|line| line[..40].to_owned()).collect();
    rows.sort();
    rows
}

fn all() -> Vec<String> {
    (0..COUNT).map(|n| hash(n).to_string()).collect()
}

/// Ends a run at each row by `end`, and has the next one complete it.
fn end_at_each_row(files: &[&str], end: impl Fn(&[PathBuf], usize) -> Fanout) {
    for at in 0..=COUNT {
        let folder = TempDir::new().expect("a folder");
        let paths: Vec<_> = files.iter().map(|name| folder.path().join(name)).collect();
        let state = folder.path().join("state");
        run(&mut end(&paths, at), &state);
        let least = paths.iter().map(|path| rows(path).len()).min().expect("a file");
        assert_eq!(least, at, "where it was to end");
        let held = run(&mut opened(&paths, None), &state);
        assert_eq!(held, COUNT - at, "what some output lacks is under way, and nothing else");
        for path in &paths {
            assert_eq!(rows(path), all(), "ended at {at}: each once, none missing");
        }
        let mut nothing = crawler();
        let after = std::fs::read(&state).expect("a state");
        let left = nothing.restore(Instant::START, WallTime(5), &after).expect("its own");
        assert_eq!((left.pending, left.held), (0, 0), "all is held");
    }
}

/// `fanout` with its first output ending so.
fn ending(fanout: Fanout, left: usize, by: io::ErrorKind) -> Fanout {
    let mut sinks = fanout.into_sinks();
    let inner = sinks.remove(0);
    sinks.insert(0, Box::new(Ending { inner, left, by }));
    Fanout::new(sinks, None)
}

#[test]
fn at_whatever_row_the_limit_of_bytes_comes_nothing_is_lost() {
    let folder = TempDir::new().expect("a folder");
    let whole = [folder.path().join("whole.csv")];
    run(&mut opened(&whole, None), &folder.path().join("state"));
    let text = std::fs::read_to_string(&whole[0]).expect("a file");
    let ends: Vec<u64> = text.match_indices('\n').map(|(end, _)| end as u64 + 1).collect();
    end_at_each_row(&["x.csv"], |paths, at| opened(paths, Some(ends[at] + 1)));
}

#[test]
fn at_whatever_row_the_disk_is_full_or_the_reader_leaves_nothing_is_lost() {
    for by in [io::ErrorKind::StorageFull, io::ErrorKind::BrokenPipe] {
        end_at_each_row(&["x.csv"], |paths, at| ending(opened(paths, None), at, by));
    }
}

#[test]
fn what_one_of_two_outputs_lacks_is_under_way_although_the_other_holds_it() {
    for by in [io::ErrorKind::StorageFull, io::ErrorKind::BrokenPipe] {
        end_at_each_row(&["x.csv", "y.csv"], |paths, at| ending(opened(paths, None), at, by));
    }
}
