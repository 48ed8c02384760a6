//! The built `crawl` among nodes and peers that lie, flood, stall and break every rule, on real
//! loopback sockets, beside one honest torrent on an honest node and peer.
//!
//! Needs Linux (all of 127/8 is loopback there). Nodes are the simulator's, with its vices; peers
//! write their messages by hand, not by the code under test.

#![cfg(target_os = "linux")]

mod large;
mod lists;
mod nodes;
mod peers;
#[allow(dead_code, reason = "shared with the end-to-end suite, which uses all of it")]
#[path = "../end_to_end/program.rs"]
mod program;
mod replay;
mod replayer;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use sha1::{Digest, Sha1};
use tempfile::TempDir;

use estudely_sim::swarm::Swarm;
use estudely_sim::vice::{NodeVice, NodeVices};
use nodes::{Exposed, Site};
use peers::Manner;
use program::{Run, Running, crawl};

/// How long the crawl may take: longer than the deadline of any phase of an exchange.
const SECONDS: u64 = 20;

/// Far above that.
const LIMIT: Duration = Duration::from_secs(60);

/// Most resident memory, in KiB.
const RESIDENT_MAX: u64 = 100 * 1_024;

/// Nodes besides one of each vice that name strangers without end.
const FLOODING: usize = 8;

/// Addresses of this process: another run of the suite may be under way.
fn host(n: usize) -> Ipv4Addr {
    let id = std::process::id();
    Ipv4Addr::new(127, 192 + (id % 32) as u8, (id / 32 % 256) as u8, n as u8)
}

/// The one torrent that is what it says.
fn honest_info() -> Vec<u8> {
    let mut info =
        b"d6:lengthi77777e4:name15:An honest torre12:piece lengthi16384e6:pieces".to_vec();
    info.extend_from_slice(b"100:");
    info.extend_from_slice(&[0x5a; 100]);
    info.push(b'e');
    info
}

/// Everything that misbehaves, and the honest nodes and peer.
struct World {
    honest: [u8; 20],
    bootstrap: Vec<SocketAddr>,
    _swarms: [Swarm; 2],
}

impl World {
    fn start() -> Self {
        let info = honest_info();
        let honest = Sha1::digest(&info).into();
        let mut exposed = Vec::new();
        let mut hostile = Vec::new();
        for (n, manner) in Manner::HOSTILE.into_iter().enumerate() {
            let addr = peers::serve(host(100 + n), manner, info.clone());
            // A torrent that nobody but this peer has.
            exposed.push(Exposed { infohash: [n as u8 + 1; 20], peers: vec![addr] });
            hostile.push((manner, addr));
        }
        let peer = peers::serve(host(99), Manner::Honest, info);
        // Of the honest torrent's peers the worst come first; fewer than it has attempts.
        let worst = [Manner::WrongHash, Manner::DripPiece, Manner::Silent];
        let bad = hostile.iter().filter(|(manner, _)| worst.contains(manner));
        let peers = bad.map(|(_, addr)| *addr).chain([peer]).collect();
        exposed.push(Exposed { infohash: honest, peers });

        // Peers that do not exist would use up the attempts which the honest torrent has for the
        // worst that do; the simulator judges what becomes of those.
        let vices = [NodeVice::FloodedValues, NodeVice::OddValues, NodeVice::NodesAsValues]
            .into_iter()
            .fold(NodeVices::ALL, NodeVices::without);
        let liars = Site::hostile(1, vices.iter().count(), vices);
        let flooding = NodeVices::of(&[NodeVice::FloodedNodes]);
        let flooding = Site::hostile(200, FLOODING, flooding);
        let bootstrap = [liars.addresses(), flooding.addresses()].concat();
        Self { honest, bootstrap, _swarms: [liars.serve(&exposed), flooding.serve(&[])] }
    }

    /// Crawls it; the run, and the most memory that it had, in KiB.
    fn crawl(&self, folder: &TempDir) -> (Run, u64) {
        let mut command = crawl();
        command.args(["--out", "metadata.csv", "--stats", "stats.json", "--allow-private"]);
        command.args(["--bind", &format!("{}:0", host(250))]);
        command.args(["--overall-timeout", &SECONDS.to_string()]);
        for node in &self.bootstrap {
            command.args(["--bootstrap", &node.to_string()]);
        }
        watched(command, folder)
    }
}

/// Runs it to its end; the run, and the most memory that it had, in KiB.
fn watched(command: Command, folder: &TempDir) -> (Run, u64) {
    let mut running = Running::start(command, folder.path(), "crawl");
    let mut resident = 0;
    while running.is_running() && running.age() < LIMIT {
        resident = running.peak_resident().map_or(resident, |now| now.max(resident));
        std::thread::sleep(Duration::from_millis(100));
    }
    (running.finish(LIMIT), resident)
}

#[test]
fn an_honest_torrent_is_verified_among_liars_and_nothing_else_is() {
    let world = World::start();
    let folder = TempDir::new().expect("a temporary folder");
    let (run, resident) = world.crawl(&folder);
    let run = run.expect_code(0);
    let limit = Duration::from_secs(SECONDS);
    assert!((limit - Duration::from_secs(1)..limit + Duration::from_secs(1)).contains(&run.took));
    assert!((1..RESIDENT_MAX).contains(&resident), "{resident} KiB");

    let table = fs::read_to_string(folder.path().join("metadata.csv")).expect("the output");
    let verified: Vec<&str> = table.lines().filter(|line| line.ends_with(",True")).collect();
    let honest: String = world.honest.iter().map(|byte| format!("{byte:02x}")).collect();
    let first = format!("{honest},An honest torre,1,77777,16384,{},", host(99));
    assert!(verified.first().is_some_and(|row| row.starts_with(&first)), "{table}\n{run:#?}");
    assert!(verified.iter().all(|row| row.starts_with(&honest)), "{table}");

    let stats = fs::read_to_string(folder.path().join("stats.json")).expect("statistics");
    let stats: Value = serde_json::from_str(&stats).expect("JSON");
    assert_hostility_was_met(&stats);
}

/// The world was as bad as it claims, and each trick was called by its name.
fn assert_hostility_was_met(stats: &Value) {
    let counter = |name: &str| stats["counters"][name].as_u64().expect(name);
    assert_eq!(counter("verified"), 1, "{stats:#}");
    for name in ["malformed", "unmatched", "queries_received", "refused", "expired"] {
        assert!(counter(name) > 0, "{name}: {stats:#}");
    }
    let faults = [
        "closed-early",
        "handshake-timeout",
        "not-bittorrent",
        "wrong-infohash",
        "no-ut-metadata",
        "no-metadata",
        "bad-size",
        "rejected",
        "bad-piece",
        "unwanted",
        "bad-message",
        "closed-late",
        "metadata-timeout",
        "bad-hash",
    ];
    for fault in faults {
        assert!(stats["faults"][fault].as_u64().expect(fault) > 0, "{fault}: {stats:#}");
    }
}
