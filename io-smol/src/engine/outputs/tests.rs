//! Outputs that end at any row: what not every one of them holds is under way in the state, and the
//! next run completes every file without repeating a row.

use std::path::{Path, PathBuf};

use estudely_core::keyed::Rng;
use estudely_core::state::WallTime;
use estudely_core::{
    AddressPolicy, Config, InfoHash, Instant, Mode, PeerFault, Request, Row, Seed,
};
use tempfile::TempDir;

use super::*;
use crate::files::sink::{Fanout, Place, Plan, RowSink, RowsPer, Table, open};

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

/// Asks for every infohash; the only peer of each refuses, so that all are settled.
fn settle(crawler: &mut Crawler) {
    let now = Instant::START;
    for n in 0..COUNT {
        let peer = ([127, 0, 1, n as u8 + 1], 5).into();
        crawler.handle_request(now, &Request::new(hash(n), [peer])).expect("room");
    }
    while let Some(mut dial) = crawler.poll_dial(now) {
        let outcome = dial.exchange.handle_failed(now, PeerFault::Refused);
        crawler.handle_outcome(now, dial.peer, outcome);
    }
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

/// One turn of a run with everything settled, and its end as the loop does it. What it saves.
fn run(sink: &mut Fanout, saved: Option<&[u8]>) -> (Vec<u8>, usize) {
    let mut crawler = crawler();
    let restored = saved.map(|saved| crawler.restore(Instant::START, WallTime(5), saved));
    let held = restored.map_or(0, |restored| restored.expect("its own").held);
    crawler.keep_journal();
    settle(&mut crawler);
    let mut outputs = Outputs::new(sink, Clock::start());
    let written = smol::block_on(outputs.write(&mut crawler));
    // A reader that left must not cost the files beside it their rows.
    if written.is_ok() || written.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
        let _ = outputs.write_rest(&mut crawler);
    }
    outputs.acknowledge(&mut crawler);
    crawler.handle_shutdown(Instant::START);
    let mut state = Vec::new();
    crawler.snapshot(WallTime(5), &mut state);
    (state, held)
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
        let (state, _) = run(&mut end(&paths, at), None);
        let least = paths.iter().map(|path| rows(path).len()).min().expect("a file");
        assert_eq!(least, at, "where it was to end");
        let (after, held) = run(&mut opened(&paths, None), Some(&state));
        assert_eq!(held, COUNT - at, "what some output lacks is under way, and nothing else");
        for path in &paths {
            assert_eq!(rows(path), all(), "ended at {at}: each once, none missing");
        }
        let mut nothing = crawler();
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
    run(&mut opened(&whole, None), None);
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
