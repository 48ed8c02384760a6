//! The README's offline world, smaller: `swarm` crawls itself, or serves while `crawl` does.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Run, Running, crawl, swarm};

/// Above everything here.
const LIMIT: Duration = Duration::from_secs(120);

/// What the score calls the classes of torrents.
const CLASSES: [&str; 4] =
    ["by plain TCP", "by uTP alone", "by encryption alone", "by uTP or encryption"];

/// `swarm` with these words, on a part of 127/8 that `number` tells from the others'.
fn world(number: u32, words: &[&str]) -> Command {
    let id = std::process::id();
    let base = format!("127.{}.{}.0", 32 + id % 32, number * 32 + id / 32 % 24);
    let mut command = swarm();
    command.args(["--nodes", "150", "--torrents", "300", "--bind-base", &base, "--port", "0"]);
    command.args(words);
    command
}

fn run(folder: &TempDir, command: Command) -> Run {
    Running::start(command, folder.path(), "swarm").finish(LIMIT)
}

/// Every class has torrents, and all of them were found.
fn assert_whole(scored: &str) {
    let line = scored.lines().last().expect("a line by class");
    let parts: Vec<&str> = line.split(", ").collect();
    assert_eq!(parts.len(), CLASSES.len(), "{line}");
    for (part, class) in parts.iter().zip(CLASSES) {
        let counts = part.strip_suffix(class).expect(class).trim_end();
        let (found, due) = counts.split_once(" of ").expect(class);
        assert!(due.parse::<u32>().expect(class) > 0, "{line}");
        assert_eq!(found, due, "{line}");
    }
}

#[test]
fn the_default_world_is_fetched_whole_over_plain_tcp_utp_and_encryption() {
    let folder = TempDir::new().expect("a temporary folder");
    let run = run(&folder, world(0, &["--crawl", "metadata.csv"])).expect_code(0);
    assert!(run.stdout.starts_with("100.00 % found ("), "{}", run.stdout);
    assert_whole(&run.stdout);
    assert!(run.stderr.contains("# of the peers that serve, "), "{}", run.stderr);
}

#[test]
fn a_crawl_from_outside_counts_each_transport_and_scores_by_class() {
    let folder = TempDir::new().expect("a temporary folder");
    // Before the world, which is not there for ever: it may have to be built.
    let mut command = crawl();
    let words = ["--dead-peers", "0", "--truth", "truth.jsonl", "--duration", "120"];
    let mut served = Running::start(world(1, &words), folder.path(), "served");
    served.wait_for_output("--bootstrap", LIMIT);
    let printed = served.stdout();
    command.args(printed.split_whitespace().skip(1));
    command.args(["--stats", "stats.json", "--overall-timeout", "60"]);
    let crawled = Running::start(command, folder.path(), "crawl").finish(LIMIT).expect_code(0);
    served.kill();
    for line in ["# plain tcp: ", "# encrypted tcp: ", "# plain utp: "] {
        let counts = crawled.stderr.lines().find(|said| said.starts_with(line)).expect(line);
        let complete = counts.rsplit(", ").next().and_then(|last| last.strip_suffix(" complete"));
        assert!(complete.is_some_and(|count| count != "0"), "{counts}");
    }
    let mut command = swarm();
    command.args(["--compare", "truth.jsonl", "metadata.csv"]);
    assert_whole(&run(&folder, command).expect_code(0).stdout);
    assert_written(&folder.path().join("truth.jsonl"));
}

/// The truth file says of each peer what it takes; those that take uTP alone share a port.
fn assert_written(truth: &Path) {
    let text = fs::read_to_string(truth).expect("a truth file");
    let mut ports = [const { BTreeSet::new() }; 2];
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        for peer in line["peers"].as_array().expect("peers") {
            let (_, port) = peer["addr"].as_str().expect("addr").rsplit_once(':').expect("a port");
            ports[usize::from(peer["transport"] == "utp")].insert(port.to_owned());
        }
    }
    // Nobody is dead: there are no ports but these two.
    assert!(ports.iter().all(|ports| ports.len() == 1) && ports[0] != ports[1], "{ports:?}");
}

#[test]
fn shares_of_peers_that_make_no_sense_are_refused_in_one_line() {
    let folder = TempDir::new().expect("a temporary folder");
    for words in [
        &["--utp-peers", "60", "--mse-peers", "41"][..],
        &["--utp-peers", "101"],
        &["--utp-peers", "few"],
        &["--mse-peers", "-1"],
    ] {
        let run = run(&folder, world(2, words)).expect_code(2);
        assert_eq!((run.stderr.lines().count(), run.stdout.as_str()), (1, ""), "{run:#?}");
    }
}
