//! One seed is one run, byte for byte: twice in a process, in another process, and whoever moves
//! the bytes.

use std::process::Command;
use std::{env, fs};

use estudely_sim::scenario::{Families, Harness, Scenario};
use tempfile::TempDir;

use crate::commands::{hold, options};

/// Set for the second process: the file that it writes its hashes to.
const HASHES_TO: &str = "ESTUDELY_HASHES_TO";

/// Every kind of fault, in a small world.
fn faulty(harness: Harness) -> Scenario {
    Scenario {
        harness,
        families: Families::Both,
        nodes: 120,
        torrents: 60,
        broken_s: 60,
        loss: 30,
        jitter_ms: 30,
        duplicate: 20,
        reorder: 20,
        corrupt: 5,
        forged: 50,
        chunk: 700,
        resets: 10,
        hostile_nodes: 10,
        hostile_peers: 10,
        crashes: 1,
        clock_stalls: 1,
        ..Scenario::calm(11)
    }
}

/// The hashes of that world under both harnesses. Every rule holds in either.
fn hashes() -> String {
    let options = options(&["--seed", "11", "--calm"]);
    let of = |harness| format!("{:016x}", hold(&options, &faulty(harness)).hash);
    [of(Harness::Direct), of(Harness::Turmoil)].join(" ")
}

#[test]
fn two_processes_and_both_harnesses_give_their_one_hash_and_every_rule_holds() {
    let ours = hashes();
    if let Some(file) = env::var_os(HASHES_TO) {
        return fs::write(file, ours).expect("the parent's folder");
    }
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("hashes");
    let name =
        "determinism::two_processes_and_both_harnesses_give_their_one_hash_and_every_rule_holds";
    let status = Command::new(env::current_exe().expect("this program"))
        .args(["--exact", name, "--quiet"])
        .env(HASHES_TO, &file)
        .status()
        .expect("this program starts");
    assert!(status.success(), "{status}");
    assert_eq!(fs::read_to_string(&file).expect("hashes"), ours, "of another process");
    assert_eq!(hashes(), ours, "of this one");
}
