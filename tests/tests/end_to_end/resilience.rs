//! Runs that go wrong from outside: no network, no answer, `kill -9` in the middle.

use std::collections::BTreeSet;
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::program::{Run, Running, crawl, swarm};
use crate::table::Table;
use crate::truth::Truth;

/// Seconds that a hopeless crawl may take, as an argument.
const HOPELESS_SECONDS: &str = "8";

/// What it may take at most: to the second, and the start of the process.
const HOPELESS_LIMIT: Duration = Duration::from_secs(10);

/// Above every run against a simulated swarm.
const LIMIT: Duration = Duration::from_secs(120);

/// The last line that is not a comment: the reason of a failed run.
fn reason(run: &Run) -> &str {
    let mut lines = run.stderr.lines().filter(|line| !line.starts_with('#'));
    lines.next_back().unwrap_or_default()
}

#[test]
fn without_any_network_it_says_why_and_ends_in_time() {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--net", "--"]);
        command
    };
    let allowed = unshare().arg("true").stderr(Stdio::null()).status();
    if !allowed.is_ok_and(|status| status.success()) {
        assert!(std::env::var("CI").is_err(), "network namespaces are needed here");
        return;
    }
    let folder = TempDir::new().expect("a temporary folder");
    // The public routers by name, and a node by address: neither can be reached.
    for extra in [&[][..], &["--bootstrap", "192.0.2.1:6881"]] {
        let mut command = unshare();
        command.arg(crawl().get_program()).args(["--overall-timeout", HOPELESS_SECONDS]);
        command.args(extra);
        let run = Running::start(command, folder.path(), "alone").finish(LIMIT).expect_code(1);
        assert!(run.took < HOPELESS_LIMIT, "{run:#?}");
        assert!(!reason(&run).is_empty() && run.stdout.is_empty(), "{run:#?}");
    }
}

#[test]
fn a_bootstrap_node_that_never_answers_ends_the_run_with_a_reason() {
    let folder = TempDir::new().expect("a temporary folder");
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket that nobody reads");
    let node = silent.local_addr().expect("its address").to_string();
    let mut command = crawl();
    command.args(["--bootstrap", &node, "--bind", "127.0.0.1:0", "--allow-private"]);
    command.args(["--overall-timeout", HOPELESS_SECONDS]);
    let run = Running::start(command, folder.path(), "silent").finish(LIMIT).expect_code(1);
    assert!(run.took < HOPELESS_LIMIT, "{run:#?}");
    assert!(!reason(&run).is_empty(), "{run:#?}");
}

#[test]
fn killed_in_the_middle_and_run_again_nothing_is_lost_or_fetched_twice() {
    let folder = TempDir::new().expect("a temporary folder");
    let out = folder.path().join("metadata.csv");
    let mut command = swarm();
    command.args(["--nodes", "300", "--torrents", "400", "--truth", "truth.jsonl", "--seed", "7"]);
    // Its own part of 127/8 and any port: another run of this suite may be under way. The duration
    // ends it if this process cannot.
    let id = std::process::id();
    let base = format!("127.{}.{}.0", 64 + id % 64, id / 64 % 128);
    command.args(["--bind-base", &base, "--port", "0", "--duration", "600"]);
    let mut world = Running::start(command, folder.path(), "swarm");
    world.wait_for_output("--bootstrap", LIMIT);

    let mut before = BTreeSet::new();
    for round in 1..=3 {
        let mut killed = Running::start(crawl_of(&world), folder.path(), "killed");
        let goal = before.len() + 50;
        killed.wait_for("some torrents are verified", LIMIT, || whole_lines(&out).len() >= goal);
        killed.kill();
        let written = whole_lines(&out);
        assert!(written.is_superset(&before), "round {round} lost something");
        before = written;
    }

    let truth = Truth::read(&folder.path().join("truth.jsonl"));
    let left = truth.keys(|torrent| torrent.exposed).difference(&before).count().to_string();
    let mut command = crawl_of(&world);
    command.args(["--max-infohashes", &left, "--overall-timeout", "100"]);
    Running::start(command, folder.path(), "last").finish(LIMIT).expect_code(0);
    let table = Table::read(&out);
    assert!(table.verified().is_superset(&before), "the last run lost something");
    // Also finds an infohash that is verified twice.
    table.assert_complete(&truth, &truth.due());
}

/// A crawl of the swarm whose printed command names its bootstrap nodes; slow enough to be killed
/// in the middle.
fn crawl_of(world: &Running) -> Command {
    let mut command = crawl();
    command.args(["--out", "metadata.csv", "--allow-private", "--rate", "100"]);
    let printed = world.stdout();
    let words: Vec<&str> = printed.split_whitespace().collect();
    let options = words.windows(2).filter(|pair| matches!(pair[0], "--bootstrap" | "--bind"));
    for pair in options {
        command.args(pair);
    }
    command
}

/// The verified infohashes in the whole lines of a file that may end in a torn one.
fn whole_lines(path: &Path) -> BTreeSet<String> {
    let Ok(mut bytes) = fs::read(path) else { return BTreeSet::new() };
    let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    bytes.truncate(end);
    let text = String::from_utf8(bytes).expect("UTF-8");
    let verified = text.lines().filter(|line| line.ends_with(",True"));
    verified.map(|line| line.split(',').next().unwrap_or_default().to_owned()).collect()
}
