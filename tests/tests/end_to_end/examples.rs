//! Every example runs as its documentation says: those of the core alone, those of the adapter
//! against the real clients.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::clients::Clients;
use crate::program::{Run, Running, example};

/// Far above what an example takes.
const LIMIT: Duration = Duration::from_secs(60);

/// The ping query of BEP 5.
const PING: &[u8] = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";

fn run(mut command: Command, words: &[&str]) -> Run {
    let folder = TempDir::new().expect("a temporary folder");
    command.args(words);
    Running::start(command, folder.path(), "example").finish(LIMIT)
}

#[test]
fn decode_says_what_a_datagram_says() {
    let hex: String = PING.iter().map(|byte| format!("{byte:02x}")).collect();
    let said = run(example("estudely-core", "decode"), &[&hex]).expect_code(0).stdout;
    assert!(said.contains("ping") && said.contains("6162636465666768696a"), "{said}");
}

#[test]
fn drive_runs_the_core_by_hand() {
    let said = run(example("estudely-core", "drive"), &[]).expect_code(0).stdout;
    assert!(!said.is_empty());
}

#[test]
fn ping_lookup_and_fetch_work_with_real_clients() {
    let Some(clients) = Clients::get() else { return };
    let node = clients.a_node();
    run(example("estudely-io-smol", "ping"), &[node]).expect_code(0);

    let (key, torrent) = clients.truth.labelled("seeded 0");
    let found = run(example("estudely-io-smol", "lookup"), &[key, node]).expect_code(0).stdout;
    let peers: Vec<_> = found.lines().map(|line| line.parse().expect("IP:PORT")).collect();
    assert!(peers.iter().all(|peer| torrent.peers.contains_key(peer)), "{found}");

    let peer = peers.first().expect("a peer").to_string();
    let fetched = run(example("estudely-io-smol", "fetch"), &[key, &peer]).expect_code(0).stdout;
    assert!(fetched.contains(&torrent.name), "{fetched}");
}

#[test]
fn no_example_is_forgotten_here() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let here = concat!(include_str!("examples.rs"), include_str!("utp.rs"));
    for package in ["core", "io-smol"] {
        for entry in fs::read_dir(root.join(package).join("examples")).expect("examples") {
            let path = entry.expect("a readable folder").path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            // A folder holds what examples share.
            let run_here = here.contains(&format!("example(\"estudely-{package}\", \"{name}\")"));
            assert!(path.is_dir() || run_here, "{package}: {name}");
        }
    }
}
