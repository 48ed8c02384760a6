//! State files that are refused, set aside or left alone, as far as it shows without a DHT: one
//! silent node is all that there is to ask. What a state is worth under traffic is shown by
//! `tests/tests/end_to_end/state.rs`.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::blocked::node;
use crate::{HASH, HEADER, Ran, World, exists};

/// Runs a short crawl that nobody answers.
fn unanswered(world: &World, words: &[&str]) -> Ran {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket that nobody reads");
    let node = silent.local_addr().expect("bound").to_string();
    let mut command = world.command(words);
    command.args(["--bootstrap", &node, "--bind", "127.0.0.1:0", "--overall-timeout", "1"]);
    command.args(["--progress", "never"]);
    command.output().expect("crawl runs").into()
}

#[test]
fn what_can_be_no_state_is_refused_and_stays_as_it_is() {
    let world = World::new();
    fs::create_dir(world.path("folder")).expect("folder");
    world.put("pairs.csv", format!("{HASH},127.0.0.1,5\n"));
    world.put("x.csv", HEADER);
    symlink("x.csv", world.path("soft")).expect("link");
    let cases: [(&[&str], &str); 6] = [
        (&["--state", "folder"], "--state folder: not a regular file; name one, or none"),
        (&["--state", "/dev/null"], "--state /dev/null: not a regular file"),
        (&["--out", "x.csv", "--state", "soft"], "--out x.csv: the same file as --state soft"),
        (&["--out", "new.csv", "--state", "new.csv"], "--out new.csv: the same file as --state"),
        (&["--state", "s", "--stats", "s"], "--state s: the same file as --stats s"),
        (
            &["fetch", "pairs.csv", "--state", "pairs.csv"],
            "--state pairs.csv: the same file as the input pairs.csv",
        ),
    ];
    for (words, expected) in cases {
        let said = world.refused(words);
        assert!(said.starts_with(expected), "{words:?}: {said}");
    }
}

#[test]
fn a_state_that_another_crawl_uses_is_refused() {
    let world = World::new();
    world.put("s", "");
    let held = fs::File::open(world.path("s")).expect("opens");
    held.lock().expect("locked");
    let said = world.refused(&["--state", "s"]);
    assert!(said.starts_with("--state s: another crawl is using it"), "{said}");
}

#[test]
fn a_state_that_cannot_be_written_is_refused_and_no_file_is_made() {
    let world = World::new();
    fs::create_dir(world.path("s.saving")).expect("folder");
    for (path, expected) in [("none/s", "cannot be opened"), ("s", "its folder cannot be written")]
    {
        let said = world.refused(&["--state", path, "--stats", "stats.json"]);
        assert!(said.starts_with(&format!("--state {path}: {expected}: ")), "{said}");
        assert!(said.ends_with("; name a file in a folder that can be written, or none"), "{said}");
    }
}

/// What can be no state, and why.
fn damaged() -> [(String, &'static str); 4] {
    [
        ("mine\n".repeat(1000), "not a state file"),
        ("DHT-Estudely state 1\n".to_owned(), "cut short"),
        ("DHT-Estudely state 2.0\n".to_owned(), "cut short"),
        (format!("DHT-Estudely state 2.0\n{}", "x".repeat(100)), "damaged"),
    ]
}

#[test]
fn a_file_of_something_else_is_set_aside_when_a_node_answers_and_said_in_one_line() {
    for (content, reason) in damaged() {
        let world = World::new();
        world.put("s", &content);
        world.put("s.damaged", "an earlier one");
        let mut command = world.command(&["--state", "s", "--overall-timeout", "1"]);
        command.args(["--bootstrap", &node(), "--bind", "127.0.0.1:0", "--allow-private"]);
        let ran = Ran::from(command.args(["--progress", "never"]).output().expect("crawl runs"));
        assert_eq!(ran.status, Some(0), "{}", ran.stderr);
        let said: Vec<_> = ran.stderr.lines().filter(|line| line.contains("--state")).collect();
        assert_eq!(said.len(), 1, "{}", ran.stderr);
        assert!(said[0].starts_with("# --state s: ") && said[0].contains(reason), "{said:?}");
        assert!(said[0].contains("s.damaged.1, and a new one begun"), "{said:?}");
        assert_eq!(world.text("s.damaged.1"), content);
        assert_eq!(world.text("s.damaged"), "an earlier one");
        assert!(fs::read(world.path("s")).expect("a new one").starts_with(b"DHT-Estudely state 2"));
    }
}

#[test]
fn a_file_of_something_else_stays_where_it_is_until_the_run_begins() {
    for (content, _) in damaged() {
        let world = World::new();
        world.put("s", &content);
        let before = world.all();
        let ran = unanswered(&world, &["--state", "s"]);
        assert_eq!(ran.status, Some(1), "nobody answered");
        assert!(world.all() == before, "{}", ran.stderr);
        assert!(
            ran.stderr.contains("# state: nothing kept; s is no whole state"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn a_state_of_a_newer_version_is_refused_and_stays_as_it_is() {
    let world = World::new();
    for content in ["DHT-Estudely state 3.0\nanything", "DHT-Estudely state 999\n"] {
        world.put("s", content);
        let said = world.refused(&["--state", "s", "--stats", "stats.json"]);
        assert!(said.starts_with("--state s: a newer version wrote it (state format "), "{said}");
        assert_eq!(world.text("s"), content);
    }
}

#[test]
fn a_state_of_the_version_before_is_taken_up_and_stays_until_a_node_answers() {
    let world = World::new();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fixture = fixture.join("../core/src/state/fixtures/v1-crawl.state");
    let before = fs::read(fixture).expect("the fixture");
    world.put("s", &before);
    let ran = unanswered(&world, &["--state", "s", "--allow-private"]);
    assert_eq!(ran.status, Some(1), "{}", ran.stderr);
    assert!(!ran.stderr.contains("set aside") && !exists(&world.path("s.damaged")));
    assert!(fs::read(world.path("s")).expect("still there") == before);
}

#[test]
fn a_run_that_nobody_answers_leaves_no_state() {
    let world = World::new();
    for words in [&["--state", "s"][..], &["--state", "none"], &[], &["--allow-private"]] {
        let ran = unanswered(&world, words);
        assert_eq!(ran.status, Some(1), "{}", ran.stderr);
        assert!(world.all().is_empty(), "{words:?}");
        assert!(!ran.stderr.contains("bytes kept in"), "{}", ran.stderr);
    }
}

#[test]
fn the_default_lies_beside_the_first_output_and_is_locked_with_it() {
    let world = World::new();
    world.put("metadata.csv.state", "");
    let held = fs::File::open(world.path("metadata.csv.state")).expect("opens");
    held.lock().expect("locked");
    let said = world.refused(&[]);
    assert!(said.starts_with("--state metadata.csv.state: another crawl"), "{said}");
    // Not looked at.
    for words in [&["--state", "none"][..], &["--out", "-"], &["--allow-private"]] {
        let ran = unanswered(&world, words);
        assert!(ran.stderr.contains("no DHT node answered"), "{words:?}: {}", ran.stderr);
    }
}
