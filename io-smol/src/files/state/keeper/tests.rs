//! When what is written, with a core that counts and disks that fail.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;

/// A core that has learnt the numbers below one, and said those below the other. A snapshot is
/// `<n>`, a record `+` for one number more.
#[derive(Default)]
struct Counter {
    learnt: u32,
    said: u32,
}

impl Core for Counter {
    fn snapshot(&self, _: Stamp, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("<{}>", self.learnt).as_bytes());
    }

    fn poll_journal(&mut self, _: Stamp, out: &mut Vec<u8>) {
        out.extend((self.said..self.learnt).map(|_| b'+'));
        self.said = self.learnt;
    }
}

struct Bench {
    folder: TempDir,
    keeper: Keeper,
    core: Counter,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let file = StateFile::open(&folder.path().join("s")).expect("opens");
        let keeper = Keeper::new(file, None, None, Instant::START);
        Self { folder, keeper, core: Counter::default(), now: Instant::START }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// A turn in which the core learns something.
    fn learn(&mut self) {
        self.core.learnt += 1;
        self.turn();
    }

    fn turn(&mut self) {
        self.keeper.turn(self.now, Stamp::default(), &mut self.core);
    }

    /// A turn when the next whole write is due.
    fn minute(&mut self) {
        self.now = self.now + SAVE_EVERY;
        self.turn();
    }

    fn settle(&mut self) {
        smol::block_on(self.keeper.settle());
    }

    fn finish(&mut self) {
        let patience = Duration::from_secs(60);
        smol::block_on(self.keeper.finish(Stamp::default(), &mut self.core, patience));
    }

    fn saved(&self) -> String {
        fs::read_to_string(self.path()).expect("readable")
    }

    /// Lets every write fail, of a snapshot as of a record, until the return value is called.
    fn break_disk(&mut self) -> impl FnOnce(&mut Self) + use<> {
        let obstacle = self.folder.path().join("s.saving");
        fs::create_dir(&obstacle).expect("a folder in the way");
        // Write access was given when it was opened; this handle has none.
        let readable = fs::File::open(self.path()).expect("opens");
        let writable = std::mem::replace(&mut self.keeper.file.file, readable);
        move |bench| {
            fs::remove_dir(obstacle).expect("removed");
            bench.keeper.file.file = writable;
        }
    }

    fn notes(&mut self) -> Vec<String> {
        self.keeper.notes().collect()
    }
}

/// What a state with this content restores to.
fn restores_to(saved: &str) -> u32 {
    let (snapshot, records) = saved.split_once('>').expect("a snapshot");
    let base: u32 = snapshot.trim_start_matches('<').parse().expect("a number");
    base + records.len() as u32
}

#[test]
fn the_first_record_makes_the_file_and_the_others_are_appended() {
    let mut bench = Bench::new();
    bench.turn();
    assert_eq!(bench.saved(), "");
    bench.learn();
    assert_eq!(bench.saved(), "<1>");
    bench.learn();
    bench.turn();
    bench.learn();
    assert_eq!(bench.saved(), "<1>++");
    let kept = bench.keeper.kept();
    assert_eq!((kept.saves, kept.appended_bytes, kept.bytes), (1, 2, 5));
    assert!(kept.complete);
}

#[test]
fn every_minute_the_file_is_written_whole_and_what_comes_up_meanwhile_is_in_both() {
    let mut bench = Bench::new();
    bench.learn();
    bench.learn();
    bench.minute();
    bench.learn();
    assert_eq!(bench.saved(), "<1>++", "the old file is complete");
    bench.settle();
    assert_eq!(bench.saved(), "<2>+", "so is the new one");
    bench.learn();
    assert_eq!(bench.saved(), "<2>++");
    assert_eq!(entries(bench.folder.path()), 1);
}

#[test]
fn the_end_writes_it_whole_and_a_hurry_leaves_it_complete() {
    let mut bench = Bench::new();
    bench.learn();
    bench.core.learnt += 2;
    smol::block_on(bench.keeper.finish(Stamp::default(), &mut bench.core, Duration::ZERO));
    assert_eq!(restores_to(&bench.saved()), 3);
    bench.finish();
    assert_eq!(bench.saved(), "<3>");
}

#[test]
fn a_broken_disk_is_said_once_and_the_next_minute_makes_up_for_it() {
    let mut bench = Bench::new();
    bench.learn();
    let repair = bench.break_disk();
    bench.learn();
    bench.learn();
    bench.minute();
    bench.settle();
    bench.minute();
    bench.settle();
    let said = bench.notes();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("cannot be saved") && said[0].contains("crawling on"), "{said:?}");
    assert!(!bench.keeper.kept().complete);
    assert_eq!(bench.saved(), "<1>", "what was there still restores");
    repair(&mut bench);
    bench.learn();
    assert_eq!(bench.saved(), "<1>", "a record behind a gap would mislead");
    bench.minute();
    bench.settle();
    bench.learn();
    assert_eq!(bench.saved(), "<4>+");
    assert_eq!(bench.notes().len(), 1, "and that it works again");
    assert!(bench.keeper.kept().complete);
}

#[test]
fn a_whole_write_that_fails_leaves_a_file_that_takes_records() {
    let mut bench = Bench::new();
    bench.learn();
    let obstacle = bench.folder.path().join("s.saving");
    fs::create_dir(&obstacle).expect("a folder in the way");
    bench.minute();
    bench.learn();
    bench.settle();
    bench.learn();
    assert_eq!(bench.saved(), "<1>++");
    let kept = bench.keeper.kept();
    assert!(kept.complete && kept.failures == 1);
    fs::remove_dir(obstacle).expect("removed");
    bench.finish();
    assert_eq!(bench.saved(), "<3>");
}

#[test]
fn a_disk_slower_than_the_crawl_has_its_write_given_up_and_memory_stays_bounded() {
    let mut bench = Bench::new();
    bench.learn();
    bench.minute();
    bench.core.learnt += MEANWHILE_BYTES_MAX as u32 + 1;
    bench.turn();
    let Saving::Writing { meanwhile, outrun: true, .. } = &bench.keeper.saving else {
        panic!("not given up");
    };
    assert_eq!(meanwhile.capacity(), 0);
    bench.settle();
    assert_eq!(restores_to(&bench.saved()), bench.core.learnt);
    assert_eq!(bench.keeper.kept().failures, 1);
    assert_eq!(entries(bench.folder.path()), 1);
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).expect("listed").count()
}

#[test]
fn nothing_follows_a_snapshot_of_an_older_format_before_a_new_one_takes_its_place() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("s");
    fs::write(&path, "DHT-Estudely state 1\nas it was").expect("written");
    let mut restored = Restored::default();
    restored.is_outdated = true;
    let file = StateFile::open(&path).expect("opens");
    let mut keeper = Keeper::new(file, Some(restored), None, Instant::START);
    let mut core = Counter::default();
    let mut turn = |core: &mut Counter| {
        keeper.turn(Instant::START, Stamp::default(), core);
        fs::read_to_string(&path).expect("readable")
    };
    assert_eq!(turn(&mut core), "DHT-Estudely state 1\nas it was", "nothing was learnt");
    core.learnt = 1;
    assert_eq!(turn(&mut core), "<1>");
    core.learnt = 3;
    assert_eq!(turn(&mut core), "<1>++");
}

#[test]
fn a_file_that_no_core_takes_is_set_aside_when_it_is_first_written_and_not_before() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("state");
    fs::write(&path, "a letter").expect("written");
    let file = StateFile::open(&path).expect("opens");
    let mut keeper =
        Keeper::new(file, None, None, Instant::START).setting_aside(Some(StateError::Foreign));
    assert_eq!(fs::read_to_string(&path).expect("there"), "a letter");
    assert_eq!(keeper.notes().count(), 0);
    let mut core = Counter { learnt: 1, said: 0 };
    keeper.turn(Instant::START, Stamp::default(), &mut core);
    assert_eq!(fs::read_to_string(&path).expect("there"), "<1>");
    let aside = folder.path().join("state.damaged");
    assert_eq!(fs::read_to_string(aside).expect("there"), "a letter");
    let notes: Vec<String> = keeper.notes().collect();
    assert!(notes[0].contains("set aside as"), "{notes:?}");
}

#[test]
fn a_wall_clock_that_is_set_has_the_file_written_whole_at_once() {
    let folder = TempDir::new().expect("a folder");
    let file = StateFile::open(&folder.path().join("state")).expect("opens");
    let mut keeper = Keeper::new(file, None, None, Instant::START);
    let mut core = Counter { learnt: 1, said: 0 };
    let mut due_after = |seconds: u64, wall| {
        let now = Instant::START + Duration::from_secs(seconds);
        let at = Stamp { wall: estudely_core::state::WallTime(wall), uptime: None };
        keeper.turn(now, at, &mut core);
        smol::block_on(keeper.settle());
        keeper.kept().saves
    };
    let saves: Vec<u64> = [(60, 1_060), (61, 1_062), (61, 1_800_000_001), (62, 1_800_000_002)]
        .map(|(seconds, wall)| due_after(seconds, wall))
        .to_vec();
    assert_eq!(saves[1], saves[0], "a second is no step");
    assert_eq!(saves[2], saves[1] + 1);
    assert_eq!(saves[3], saves[2]);
}
