//! Input of `crawl fetch` that holds nothing to fetch: refused before any output is touched.

use std::io::Write;
use std::net::UdpSocket;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::{HASH, HEADER, Ran, World, exists};

#[test]
fn an_input_that_cannot_be_read_is_refused() {
    let world = World::new();
    world.put("metadata.csv", format!("{HEADER}torn"));
    assert!(world.refused(&["fetch", "none.csv"]).starts_with("none.csv: cannot be read: "));
    assert!(world.refused(&["fetch", "."]).starts_with(".: cannot be read: "));
}

#[test]
fn an_input_without_a_good_line_names_the_bad_ones_and_is_refused() {
    let world = World::new();
    let bad = format!("infohash,peer_ip,peer_port\n{HASH},127.0.0.1,0\n{HASH},host,5\nx\n");
    world.put("peers.csv", bad + &"y\n".repeat(20));
    let before = world.all();
    let ran = world.run(&["fetch", "peers.csv"]);
    assert_eq!(ran.status, Some(2));
    let lines: Vec<_> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 12, "{}", ran.stderr);
    assert_eq!(
        lines[0],
        format!("# line 2 skipped: {HASH},127.0.0.1,0: no peer can have this address")
    );
    assert!(lines[1].starts_with("# line 3 skipped: "), "{}", lines[1]);
    assert_eq!(lines[10], "# 13 more lines skipped");
    assert!(lines[11].starts_with("crawl: peers.csv: no usable line; "), "{}", lines[11]);
    assert!(world.all() == before);
}

#[test]
fn private_peers_of_a_link_are_left_out_by_number_and_udp_is_not_blamed_for_it() {
    let world = World::new();
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a socket on loopback");
    let silent = silent.local_addr().expect("its address").to_string();
    let link =
        format!("magnet:?xt=urn:btih:{HASH}&amp;x.pe=127.0.0.1:9&x.pe=10.0.0.1:9&xt=urn:btmh:1");
    world.put("list", format!("{link}\n"));
    for words in [["get", &link, "--progress=never"], ["fetch", "list", "--state=none"]] {
        let network = ["--bind=127.0.0.1:0", "--bootstrap", &silent, "--overall-timeout=0.3"];
        let ran = world.run(&[&words[..], &network].concat());
        assert_eq!(ran.status, Some(1), "{}", ran.stderr);
        let left_out = "2 peers on private addresses left out: --allow-private";
        assert_eq!(ran.stderr.matches(left_out).count(), 1, "{}", ran.stderr);
        assert_eq!(ran.stderr.matches("1 xt ignored: ").count(), 1, "{}", ran.stderr);
        assert!(ran.stderr.contains("no DHT node answered in 0.3 s"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("UDP"), "{}", ran.stderr);
    }
}

#[test]
fn an_empty_standard_input_is_refused() {
    let world = World::new();
    for input in ["", "infohash,peer_ip,peer_port\n", "\n\n"] {
        let mut command = world.command(&["fetch", "-", "--overwrite"]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("crawl runs");
        child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
        let ran: Ran = child.wait_with_output().expect("ends").into();
        assert_eq!((ran.status, ran.stderr.lines().count()), (Some(2), 1), "{}", ran.stderr);
        assert!(ran.stderr.starts_with("crawl: standard input: no usable line"), "{}", ran.stderr);
    }
    assert!(!exists(&world.path("metadata.csv")));
}

#[test]
fn a_standard_input_that_says_nothing_obeys_the_timeout_as_a_clean_end() {
    let world = World::new();
    let mut command = world.command(&["fetch", "-", "--overall-timeout", "1"]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("crawl runs");
    let open = child.stdin.take();
    let begun = Instant::now();
    let ran: Ran = child.wait_with_output().expect("ends").into();
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert!(!exists(&world.path("metadata.csv")));
    drop(open);
}
