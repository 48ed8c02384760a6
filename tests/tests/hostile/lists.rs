//! The fuzz corpora of lists and magnet links, all of them as one list, through the built
//! `crawl fetch`. They name any addresses: the run is bound to loopback, whence nothing gets out.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;

use estudely_core::Request;
use estudely_io_smol::lists::{self, LinesRead};
use tempfile::TempDir;

use crate::nodes::Site;
use crate::program::{Run, crawl};
use crate::replay::corpus;
use crate::{host, watched};

/// How long a run may take; there is nothing to be found.
const SECONDS: u64 = 3;

/// Bad lines that are named one by one.
const NAMED_MAX: usize = 10;

/// Longest line on stderr, in characters: a quotation is cut.
const LINE_MAX: usize = 400;

/// Fetches such a list, entering the DHT at `bootstrap`.
fn fetch(folder: &TempDir, list: &[u8], bootstrap: &str) -> Run {
    fs::write(folder.path().join("list"), list).expect("written");
    let mut command = crawl();
    command.args(["fetch", "list", "--out", "metadata.csv", "--overwrite", "--state", "none"]);
    command.args(["--bind", &format!("{}:0", host(253)), "--bootstrap", bootstrap]);
    command.args(["--overall-timeout", &SECONDS.to_string(), "--progress", "never"]);
    let (run, _) = watched(command, folder);
    assert!(!run.stderr.contains("panicked"), "{run:#?}");
    assert_eq!(run.stdout, "");
    for line in run.stderr.lines() {
        assert!(!line.chars().any(char::is_control) && line.chars().count() <= LINE_MAX, "{line}");
    }
    run
}

/// What such an input names, infohash by infohash.
fn requests(input: &[u8]) -> Vec<Request> {
    let requests = lists::read(input, LinesRead::default());
    requests.map(|request| request.expect("memory reads")).collect()
}

/// Whether an input names something to fetch and nobody who has it.
fn names_no_peer(input: &[u8]) -> bool {
    let requests = requests(input);
    !requests.is_empty()
        && requests.iter().all(|request| request.orders.is_empty() && request.hearsay.is_empty())
}

/// The lines about what was skipped, and how many lines they stand for.
fn skipped(run: &Run) -> (usize, u64) {
    let named = run.stderr.lines().filter(|line| line.contains(" skipped: ")).count();
    let more = run.stderr.lines().find_map(|line| line.strip_suffix(" more lines skipped"));
    let more = more.map_or(0, |line| line.trim_start_matches("# ").parse().expect("a number"));
    (named, named as u64 + more)
}

#[test]
fn the_corpora_of_lists_end_as_documented_and_name_what_is_wrong() {
    let inputs = [corpus("magnet"), corpus("peers_csv")].concat();
    let folder = TempDir::new().expect("a temporary folder");
    let site = Site::honest(195, 1);
    let node = site.addresses()[0].to_string();
    let _swarm = site.serve(&[]);

    // All of it: what can be fetched is tried, what cannot is named.
    let run = fetch(&folder, &inputs.join(&b'\n'), &node).expect_code(0);
    let (named, all) = skipped(&run);
    assert!(named == NAMED_MAX && all > 50, "{named} of {all}: {run:#?}");
    let path = folder.path().join("metadata.csv");
    let rows = csv::Reader::from_path(&path).expect("the output").into_records();
    let rows: Vec<_> = rows.map(|row| row.expect("a CSV record")).collect();
    assert!(rows.iter().all(|row| &row[7] == "False" && row[0].len() == 40), "{rows:?}");

    // The same where no node answers: the list's own peers were tried, and what was missing is said.
    let silent = UdpSocket::bind((host(194), 0)).expect("a socket on loopback");
    let silent = silent.local_addr().expect("its address").to_string();
    let run = fetch(&folder, &inputs.join(&b'\n'), &silent).expect_code(0);
    assert!(run.stderr.contains("\n# nothing found: no node answered"), "{run:#?}");

    // What names no peer depends on nodes.
    let bare: Vec<_> = inputs.iter().filter(|input| names_no_peer(input)).cloned().collect();
    assert!(bare.len() > 5, "{}", bare.len());
    let run = fetch(&folder, &bare.join(&b'\n'), &silent).expect_code(1);
    let last = run.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("crawl: no DHT node answered"), "{run:#?}");

    // Only what has no good line: refused before anything is written.
    let useless: Vec<_> =
        inputs.iter().filter(|input| requests(input).is_empty()).cloned().collect();
    assert!(useless.len() > 20, "{}", useless.len());
    fs::remove_file(&path).expect("removed");
    let run = fetch(&folder, &useless.join(&b'\n'), &node).expect_code(2);
    let last = run.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("crawl: list: no usable line; "), "{run:#?}");
    assert!(!Path::new(&path).exists());
}
