//! The file alone: locks, names, and failures injected before every step of a whole write.

use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;

fn folder() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

fn open(path: &Path) -> StateFile {
    StateFile::open(path).expect("opens")
}

fn save(state: &mut StateFile, snapshot: &str) {
    let written = state.writing(snapshot.into()).run().expect("written");
    state.replace(written, b"").expect("replaced");
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).expect("readable")
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).expect("listed");
    let name = |entry: io::Result<fs::DirEntry>| entry.expect("entry").file_name();
    let mut names: Vec<_> = entries.map(|e| name(e).to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn refusal(path: &Path) -> String {
    match StateFile::open(path) {
        Err(StateFileError(line)) => line,
        other => panic!("{path:?}: {other:?}"),
    }
}

#[test]
fn what_was_saved_and_appended_is_what_the_next_run_reads() {
    let folder = folder();
    let path = folder.path().join("s");
    let mut state = open(&path);
    assert!(state.is_empty() && state.take_saved().is_empty());
    save(&mut state, "one ");
    state.append(b"two ").expect("appended");
    state.append(b"three").expect("appended");
    assert_eq!(state.len(), 13);
    drop(state);
    let mut again = open(&path);
    assert_eq!(again.take_saved(), b"one two three");
    again.append(b" four").expect("appended");
    assert_eq!(text(&path), "one two three four");
    assert_eq!(names(&folder), ["s"]);
}

#[test]
fn a_file_in_use_is_refused_before_and_after_it_was_replaced() {
    let folder = folder();
    let path = folder.path().join("s");
    let mut state = open(&path);
    assert!(refusal(&path).contains("another crawl is using it"));
    save(&mut state, "whole");
    assert!(refusal(&path).contains("another crawl is using it"));
    state.set_aside().expect("set aside");
    assert!(refusal(&path).contains("another crawl is using it"));
    drop(state);
    open(&path);
}

#[test]
fn a_new_file_that_nothing_was_written_to_does_not_stay() {
    let folder = folder();
    let path = folder.path().join("s");
    drop(open(&path));
    assert_eq!(names(&folder), Vec::<String>::new());
    fs::write(&path, "").expect("an empty file");
    drop(open(&path));
    assert_eq!(names(&folder), ["s"]);
}

#[test]
fn a_failure_at_any_step_leaves_what_was_there_and_the_next_write_succeeds() {
    let steps = [Step::Create, Step::Half, Step::Write, Step::Sync, Step::Records, Step::Rename];
    for failing in steps {
        let folder = folder();
        let path = folder.path().join("s");
        let mut state = open(&path);
        save(&mut state, "old");
        let mut seen = Vec::new();
        let mut before = |step| {
            // What a kill at this instant would leave.
            assert_eq!(text(&path), "old+", "before {step:?}");
            seen.push(step);
            if step == failing { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        };
        state.append(b"+").expect("appended");
        let result = state.writing(b"new".to_vec()).run_by(&mut before);
        let result = result.and_then(|written| state.replace_by(written, b"-", &mut before));
        assert_eq!(result.expect_err("injected").kind(), io::ErrorKind::StorageFull);
        assert_eq!(seen.last(), Some(&failing));
        assert_eq!(names(&folder), ["s"], "after {failing:?}");
        state.append(b"+").expect("appended");
        assert_eq!(text(&path), "old++");
        let written = state.writing(b"new".to_vec()).run().expect("written");
        state.replace(written, b"-").expect("replaced");
        state.append(b"-").expect("appended");
        assert_eq!(text(&path), "new--");
    }
}

#[test]
fn the_remains_of_a_killed_write_are_removed() {
    let folder = folder();
    let path = folder.path().join("s");
    fs::write(&path, "whole").expect("written");
    fs::write(folder.path().join("s.saving"), "ha").expect("written");
    let mut state = open(&path);
    assert_eq!(names(&folder), ["s"]);
    assert_eq!(state.take_saved(), b"whole");
}

#[test]
fn a_torn_end_is_cut_when_more_is_appended_and_not_before() {
    let folder = folder();
    let path = folder.path().join("s");
    fs::write(&path, "whole torn and long").expect("written");
    let mut state = open(&path);
    state.cut(5);
    assert_eq!(text(&path), "whole torn and long");
    state.append(b"+").expect("appended");
    assert_eq!(text(&path), "whole+");
}

#[test]
fn what_is_set_aside_never_takes_the_place_of_anything() {
    let folder = folder();
    let path = folder.path().join("s");
    fs::write(folder.path().join("s.damaged"), "first").expect("written");
    symlink("nowhere", folder.path().join("s.damaged.1")).expect("link");
    fs::write(&path, "second").expect("written");
    let mut state = open(&path);
    let aside = state.set_aside().expect("set aside");
    assert!(aside.ends_with("s.damaged.2"), "{aside:?}");
    assert_eq!((text(&aside).as_str(), text(&path).as_str()), ("second", ""));
    assert_eq!(text(&folder.path().join("s.damaged")), "first");
    save(&mut state, "third");
    drop(state);
    assert_eq!(text(&path), "third");
    assert_eq!(names(&folder), ["s", "s.damaged", "s.damaged.1", "s.damaged.2"]);
}

#[test]
fn what_cannot_be_a_state_is_refused_and_what_cannot_be_written_fails() {
    let folder = folder();
    let path = folder.path().join("s");
    assert!(refusal(folder.path()).contains("not a regular file"));
    assert!(refusal(Path::new("/dev/null")).contains("not a regular file"));
    assert!(refusal(&folder.path().join("none/s")).contains("cannot be opened"));
    // A folder stands where a whole write would go.
    fs::create_dir(folder.path().join("s.saving")).expect("folder");
    let said = refusal(&path);
    assert!(said.contains("its folder cannot be written"), "{said}");
    assert_eq!(names(&folder), ["s.saving"]);
}

#[test]
fn a_link_stays_one_and_the_rights_of_the_file_stay_its_own() {
    let folder = folder();
    let (target, link) = (folder.path().join("target"), folder.path().join("link"));
    fs::write(&target, "old").expect("written");
    fs::set_permissions(&target, Permissions::from_mode(0o600)).expect("rights");
    symlink("target", &link).expect("link");
    let mut state = open(&link);
    save(&mut state, "new");
    drop(state);
    assert_eq!(text(&target), "new");
    assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
    let rights = fs::metadata(&target).expect("there").permissions().mode();
    assert_eq!(rights & 0o777, 0o600);
}

#[test]
fn a_file_that_no_whole_write_ever_shortens_stops_growing() {
    let folder = folder();
    let mut state = open(&folder.path().join("s"));
    save(&mut state, "whole");
    state.appended = APPENDED_BYTES_MAX - 1;
    state.append(b"+").expect("the last that fits");
    let error = state.append(b"+").expect_err("one too many");
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    save(&mut state, "whole");
    state.append(b"+").expect("room again");
}
