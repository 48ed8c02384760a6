//! Files that others handle while a run writes them.

use std::os::unix::fs::MetadataExt;

use super::*;

fn opened(world: &World, names: &[&str]) -> Fanout {
    let mut fanout = world.try_open(names, &[]).expect("opens").fanout;
    fanout.begin().expect("begun");
    fanout
}

fn rows(count: usize) -> Vec<Row> {
    (0..count).map(|n| verified(format!("torrent {n}").as_bytes(), 1)).collect()
}

/// The infohashes of a file's rows, which must have a header.
fn hashes(world: &World, name: &str) -> Vec<String> {
    let text = world.text(name);
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some(ROWS_HEADER), "{name}");
    lines.map(|line| line[..40].to_owned()).collect()
}

fn shown(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| row.infohash.to_string()).collect()
}

/// Nothing was found, and nothing is ever said twice.
fn assert_calm(fanout: &mut Fanout) {
    let Watched { notes, lost, error } = fanout.watch();
    assert!(notes.is_empty() && lost.is_empty() && error.is_none(), "{notes:?} {error:?}");
}

/// A look, and more of them until nothing is being read any more.
fn look(fanout: &mut Fanout) -> Watched {
    let mut watched = fanout.watch();
    while fanout.is_searching() {
        std::thread::sleep(std::time::Duration::from_millis(1));
        let Watched { notes, lost, error } = fanout.watch();
        watched.notes.extend(notes);
        watched.lost.extend(lost);
        watched.error = watched.error.or(error);
    }
    watched
}

#[test]
fn a_renamed_file_keeps_its_rows_and_a_new_one_goes_on_whatever_row_comes_next() {
    let all = rows(5);
    for at in 0..=5 {
        let world = World::new();
        let mut fanout = opened(&world, &["x.csv"]);
        all[..at].iter().for_each(|row| write(&mut fanout, row).expect("written"));
        assert_calm(&mut fanout);
        fs::rename(world.path("x.csv"), world.path("x.csv.1")).expect("renamed");
        let watched = look(&mut fanout);
        assert!(watched.notes[0].contains("renamed by another program"), "{watched:?}");
        assert!(watched.lost.is_empty() && watched.error.is_none(), "{watched:?}");
        assert_calm(&mut fanout);
        all[at..].iter().for_each(|row| write(&mut fanout, row).expect("written"));
        assert_eq!(hashes(&world, "x.csv.1"), shown(&all[..at]));
        assert_eq!(hashes(&world, "x.csv"), shown(&all[at..]));
        assert_eq!(fanout.held(), 5);
    }
}

#[test]
fn rows_between_a_rename_and_the_next_look_go_where_the_others_are() {
    let (world, all) = (World::new(), rows(2));
    let mut fanout = opened(&world, &["x.csv"]);
    write(&mut fanout, &all[0]).expect("written");
    fs::rename(world.path("x.csv"), world.path("x.csv.1")).expect("renamed");
    write(&mut fanout, &all[1]).expect("written");
    look(&mut fanout);
    assert_eq!(hashes(&world, "x.csv.1"), shown(&all));
    assert!(hashes(&world, "x.csv").is_empty());
}

#[test]
fn what_a_deleted_file_held_and_no_other_does_is_lost() {
    let (world, all) = (World::new(), rows(5));
    world.run(&["x.csv"], &all[..1]);
    let mut fanout = opened(&world, &["x.csv"]);
    all[1..4].iter().for_each(|row| write(&mut fanout, row).expect("written"));
    fs::remove_file(world.path("x.csv")).expect("deleted");
    let Watched { notes, mut lost, error } = look(&mut fanout);
    assert!(notes[0].contains("deleted by another program") && error.is_none(), "{error:?}");
    let mut expected: Vec<_> = all[..4].iter().map(|row| row.infohash).collect();
    lost.sort();
    expected.sort();
    assert_eq!(lost, expected, "that of the earlier run too");
    assert_calm(&mut fanout);
    all[3..].iter().for_each(|row| write(&mut fanout, row).expect("written"));
    assert_eq!(hashes(&world, "x.csv"), shown(&all[3..]));
}

#[test]
fn what_an_earlier_run_had_keeps_no_row_out_of_the_file_that_follows_a_deleted_one() {
    let (world, all) = (World::new(), rows(2));
    world.run(&["x.csv"], &all);
    world.run(&["x.csv", "y.csv"], &[]);
    let mut fanout = opened(&world, &["x.csv", "y.csv"]);
    fs::remove_file(world.path("x.csv")).expect("deleted");
    assert_eq!(look(&mut fanout).lost.len(), 2);
    write(&mut fanout, &all[0]).expect("written");
    assert_eq!(hashes(&world, "x.csv"), shown(&all[..1]));
}

#[test]
fn what_another_file_holds_is_not_lost_with_a_deleted_one() {
    let (world, all) = (World::new(), rows(3));
    let mut fanout = opened(&world, &["x.csv", "y.csv"]);
    all.iter().for_each(|row| write(&mut fanout, row).expect("written"));
    fs::remove_file(world.path("x.csv")).expect("deleted");
    let watched = look(&mut fanout);
    assert!(watched.lost.is_empty() && watched.error.is_none(), "{watched:?}");
    fs::remove_file(world.path("y.csv")).expect("deleted");
    assert_eq!(look(&mut fanout).lost.len(), 3, "now none does");
}

#[test]
fn a_file_whose_folder_is_gone_ends_the_run_and_loses_what_it_held() {
    let (world, all) = (World::new(), rows(2));
    fs::create_dir(world.path("folder")).expect("created");
    let mut fanout = opened(&world, &["folder/x.csv"]);
    write(&mut fanout, &all[0]).expect("written");
    fs::remove_dir_all(world.path("folder")).expect("removed");
    let watched = look(&mut fanout);
    let error = watched.error.expect("cannot go on").to_string();
    assert!(error.contains("deleted by another program; it cannot be opened anew"), "{error}");
    assert_eq!(watched.lost, [all[0].infohash]);
    assert_calm(&mut fanout);
    assert!(write(&mut fanout, &all[1]).is_err());
    assert_eq!(fanout.held(), 1);
}

#[test]
fn a_file_that_was_cut_takes_nothing_more_and_loses_what_stood_behind_wherever_that_was() {
    let all = rows(4);
    let whole = World::new();
    whole.run(&["x.csv"], &all);
    let len = whole.text("x.csv").len();
    for cut in (0..len).step_by(37) {
        for by_a_look in [true, false] {
            let world = World::new();
            let mut fanout = opened(&world, &["x.csv"]);
            all[..3].iter().for_each(|row| write(&mut fanout, row).expect("written"));
            let before = world.text("x.csv");
            let cut = cut.min(before.len() - 1);
            let file = fs::OpenOptions::new().write(true).open(world.path("x.csv"));
            file.and_then(|file| file.set_len(cut as u64)).expect("cut");
            let told = by_a_look.then(|| look(&mut fanout));
            // A row comes, before the next look or after it.
            let error = write(&mut fanout, &all[3]).expect_err("it was cut").to_string();
            assert!(error.contains("another program cut it to"), "{error}");
            let told = told.unwrap_or_else(|| look(&mut fanout));
            assert_eq!(world.text("x.csv"), before[..cut], "nothing is added or filled up");
            let ends = before.match_indices('\n').skip(1).map(|(at, _)| at + 1);
            let left = ends.filter(|end| *end <= cut).count();
            assert_eq!(told.lost.len(), 3 - left, "cut at {cut} of {}", before.len());
            assert_eq!(told.error.is_some(), by_a_look);
            assert_calm(&mut fanout);
            assert_eq!(fanout.held(), 3);
        }
    }
}

/// Standard output whose reader has left.
struct Left;

impl RowSink for Left {
    fn prepare(&mut self, _row: &Row, _times: RowTimes) -> u64 {
        0
    }

    fn commit(&mut self) -> io::Result<()> {
        self.check_reader()
    }

    fn held(&self) -> u64 {
        0
    }

    fn check_reader(&self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn bytes(&self) -> u64 {
        0
    }

    fn rows(&self) -> u64 {
        0
    }
}

#[test]
fn a_reader_that_left_does_not_hide_that_a_file_was_cut() {
    for at in 0..=1 {
        let (world, all) = (World::new(), rows(1));
        let mut sinks = opened(&world, &["x.csv"]).into_sinks();
        sinks.insert(at, Box::new(Left));
        let mut fanout = Fanout::new(sinks, None);
        assert!(write(&mut fanout, &all[0]).is_err());
        fs::write(world.path("x.csv"), "").expect("cut");
        let error = look(&mut fanout).error.expect("two of them");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    }
}

#[test]
fn what_another_program_adds_stays() {
    let (world, all) = (World::new(), rows(2));
    let mut fanout = opened(&world, &["x.csv"]);
    write(&mut fanout, &all[0]).expect("written");
    let foreign = world.text("x.csv").lines().nth(1).expect("a row").replace("torrent", "other");
    let mut text = world.text("x.csv");
    text.push_str(&format!("{foreign}\n"));
    let inode = fs::metadata(world.path("x.csv")).expect("there").ino();
    fs::write(world.path("x.csv"), &text).expect("written");
    assert_eq!(fs::metadata(world.path("x.csv")).expect("there").ino(), inode);
    assert_calm(&mut fanout);
    write(&mut fanout, &all[1]).expect("written");
    assert!(world.text("x.csv").starts_with(&text));
    assert_eq!(world.text("x.csv").lines().count(), 4);
}

#[test]
fn a_foreign_file_under_the_name_is_left_alone_and_ends_the_run() {
    let (world, all) = (World::new(), rows(2));
    let mut fanout = opened(&world, &["x.csv"]);
    write(&mut fanout, &all[0]).expect("written");
    fs::rename(world.path("x.csv"), world.path("x.csv.1")).expect("renamed");
    fs::write(world.path("x.csv"), "a letter\n").expect("written");
    let error = look(&mut fanout).error.expect("cannot go on").to_string();
    assert!(error.contains("renamed by another program") && error.contains("not ours"), "{error}");
    assert!(write(&mut fanout, &all[1]).is_err());
    assert_eq!(world.text("x.csv"), "a letter\n");
}

#[test]
fn one_of_ours_under_the_name_goes_on_and_repeats_nothing() {
    for begun in [true, false] {
        let (world, all) = (World::new(), rows(3));
        world.run(&["y.csv"], &all[1..2]);
        let mut fanout = world.try_open(&["x.csv"], &[]).expect("opens").fanout;
        if begun {
            write(&mut fanout, &all[0]).expect("written");
        }
        fs::rename(world.path("x.csv"), world.path("x.csv.1")).expect("renamed");
        fs::rename(world.path("y.csv"), world.path("x.csv")).expect("renamed");
        let Watched { notes, lost, error } = look(&mut fanout);
        assert!(notes[0].ends_with("one of ours goes on under that name"), "{notes:?}");
        assert!(lost.is_empty() && error.is_none(), "{error:?}");
        assert_calm(&mut fanout);
        all[1..].iter().for_each(|row| write(&mut fanout, row).expect("written"));
        assert_eq!(hashes(&world, "x.csv"), shown(&all[1..]));
    }
}

#[test]
fn what_is_written_anew_while_a_deleted_file_is_read_is_not_lost() {
    let (world, all) = (World::new(), rows(3));
    let mut fanout = opened(&world, &["x.csv"]);
    all.iter().for_each(|row| write(&mut fanout, row).expect("written"));
    fs::remove_file(world.path("x.csv")).expect("deleted");
    assert!(fanout.watch().lost.is_empty(), "it is being read");
    write(&mut fanout, &all[1]).expect("written");
    let mut expected = [all[0].infohash, all[2].infohash];
    expected.sort();
    assert_eq!(look(&mut fanout).lost, expected);
}

#[test]
fn what_was_to_be_replaced_is_not_lost_when_it_is_deleted_before() {
    let (mut world, all) = (World::new(), rows(2));
    world.run(&["x.csv"], &all);
    world.overwrite = true;
    let mut fanout = world.try_open(&["x.csv"], &[]).expect("opens").fanout;
    fs::remove_file(world.path("x.csv")).expect("deleted");
    let watched = look(&mut fanout);
    assert!(watched.lost.is_empty() && watched.error.is_none(), "{watched:?}");
    assert_eq!(world.text("x.csv"), "");
    fanout.discard();
    assert!(!world.path("x.csv").exists());
}

#[test]
fn pairs_go_on_in_a_new_file_too() {
    let mut world = World::new();
    world.table = Table::Pairs;
    let rows: Vec<_> =
        (1..=3).map(|n| row(InfoHash([n; 20]), Verdict::PeersOnly, peers(2))).collect();
    world.run(&["peers.csv"], &rows[..1]);
    let mut fanout = opened(&world, &["peers.csv"]);
    write(&mut fanout, &rows[1]).expect("written");
    fs::remove_file(world.path("peers.csv")).expect("deleted");
    assert_eq!(look(&mut fanout).lost, [rows[0].infohash, rows[1].infohash]);
    rows.iter().for_each(|row| write(&mut fanout, row).expect("written"));
    assert_eq!(world.text("peers.csv").lines().count(), 7, "with a header");
}
