//! Metadata over uTP from libtorrent that takes no TCP, by the example and by the program. What went
//! over the wire is read by Wireshark's dissector as well, where that is installed. Whole crawls of
//! such clients, with and without encryption, are in `real_clients.rs`.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::clients::{Absent, first_line, is_installed, python};
use crate::program::{Running, crawl, example};
use crate::table::Table;

/// Far above what a fetch takes.
const LIMIT: Duration = Duration::from_secs(120);

/// Pieces of the torrents' payloads: info dictionaries of less than one packet, of several pieces of
/// metadata, and of more than libtorrent sends in one go.
const SIZES: [u32; 3] = [1, 5_000, 30_000];

/// libtorrent with one torrent of so many pieces, and what it says of itself.
fn serve(pieces: u32) -> Result<(Child, Value), Absent> {
    let launcher = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/utp.py");
    let mut child = Command::new(python()?)
        .arg("-B")
        .arg(launcher)
        .arg(pieces.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| Absent::Broken(error.to_string()))?;
    let ready = first_line(&mut child).map_err(Absent::Broken)?;
    Ok((child, ready))
}

#[test]
fn metadata_comes_over_utp_from_a_client_without_tcp() {
    for pieces in SIZES {
        let Some((mut server, ready)) = serve(pieces).map_or_else(|why| why.skip(), Some) else {
            return;
        };
        let folder = TempDir::new().expect("a temporary folder");
        let capture = folder.path().join("utp.pcap");
        let mut fetch = example("estudely-io-smol", "fetch_utp");
        fetch
            .args([ready["hash"].as_str().expect("text"), &format!("127.0.0.1:{}", ready["port"])]);
        fetch.arg(&capture);
        let run = Running::start(fetch, folder.path(), "fetch_utp").finish(LIMIT).expect_code(0);
        let bytes = format!("{} bytes", ready["bytes"]);
        assert!(run.stdout.starts_with(&bytes), "{run:?}");
        if is_installed("tshark") {
            dissect(&capture, &ready["port"]);
        }
        // It ends because its stdin closes.
        drop(server.stdin.take());
        server.wait().expect("it ends");
    }
}

#[test]
fn the_program_turns_to_utp_where_tcp_brings_nothing() {
    for (pieces, words, code) in [
        (1, &[][..], 0),
        (30_000, &[], 0),
        (30_000, &["--transports", "utp", "--encryption", "require"], 0),
        (1, &["--transports", "tcp"], 1),
    ] {
        let Some((mut server, ready)) = serve(pieces).map_or_else(|why| why.skip(), Some) else {
            return;
        };
        let folder = TempDir::new().expect("a temporary folder");
        let peer = format!("127.0.0.1:{}", ready["port"]);
        let mut get = crawl();
        get.args(["get", ready["hash"].as_str().expect("text"), "--peer", &peer]);
        get.args(["--allow-private", "--bind", "127.0.0.1:0"]).args(words);
        let run = Running::start(get, folder.path(), "get").finish(LIMIT).expect_code(code);
        let verified = Table::parse(&run.stdout).verified().len();
        assert_eq!(verified, usize::from(code == 0), "{words:?}: {run:?}");
        let tried = if code == 0 { "utp: 1 dialled, 1 connected" } else { "utp: 0 dialled" };
        assert!(run.stderr.contains(tried), "{words:?}: {run:?}");
        drop(server.stdin.take());
        server.wait().expect("it ends");
    }
}

/// Every packet is one of uTP, and none is malformed or has an error in it.
fn dissect(capture: &Path, port: &Value) {
    let count = |filter: &str| {
        let mut tshark = Command::new("tshark");
        tshark.arg("-r").arg(capture).args([
            "-d",
            &format!("udp.port=={port},bt-utp"),
            "-Y",
            filter,
        ]);
        let output = tshark.stderr(Stdio::null()).output().expect("tshark runs");
        assert!(output.status.success(), "tshark: {:?}", output.status);
        String::from_utf8_lossy(&output.stdout).lines().count()
    };
    assert!(count("bt-utp") > 6);
    assert_eq!(count("!bt-utp"), 0, "packets that are not uTP");
    assert_eq!(count("_ws.malformed || _ws.expert.severity == error"), 0, "broken packets");
}
