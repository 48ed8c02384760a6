//! `crawl` against a DHT of real clients: libtorrent, transmission and aria2 (`tests/clients`).
//!
//! The truth was computed by the launcher, which also fetched every torrent from every peer with a
//! client of its own; so what is missing or wrong here is the crawler's fault.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::clients::Clients;
use crate::program::{Run, Running};
use crate::table::Table;

/// Above every `--overall-timeout` below.
const LIMIT: Duration = Duration::from_secs(200);

/// Seconds that a crawl of the whole swarm may take, as an argument.
const CRAWL_SECONDS: &str = "150";

/// Seconds of quiet after which such a crawl is over, as an argument.
const QUIET_SECONDS: &str = "12";

fn finish(command: Command, folder: &TempDir, name: &str) -> Run {
    Running::start(command, folder.path(), name).finish(LIMIT)
}

/// Crawls until nothing is left to do.
fn crawl_all(clients: &Clients, folder: &TempDir, words: &[&str], name: &str) -> Run {
    let limits = ["--until-idle", QUIET_SECONDS, "--overall-timeout", CRAWL_SECONDS];
    finish(clients.crawl(&[words, &limits].concat()), folder, name).expect_code(0)
}

/// One torrent on stdout.
fn get(clients: &Clients, folder: &TempDir, target: &str, words: &[&str]) -> Run {
    let words = [&["get", target, "--overall-timeout", "60"], words].concat();
    finish(clients.crawl(&words), folder, "get")
}

/// Fetches `target` and expects `key` as its one verified infohash, all fields true.
fn get_verified(clients: &Clients, folder: &TempDir, key: &str, target: &str, words: &[&str]) {
    let run = get(clients, folder, target, words).expect_code(0);
    let table = Table::parse(&run.stdout);
    table.assert_complete(&clients.truth, &BTreeSet::from([key.to_owned()]));
}

#[test]
fn a_crawl_verifies_all_that_is_exposed_and_a_second_one_repeats_nothing() {
    let Some(clients) = Clients::get() else { return };
    let folder = TempDir::new().expect("a temporary folder");
    let out = folder.path().join("metadata.csv");
    let due = clients.truth.due();
    assert!(clients.nodes >= 20 && due.len() >= 60, "the swarm is large enough to mean something");

    crawl_all(clients, &folder, &["--out", "metadata.csv"], "first");
    let first = fs::read(&out).expect("the output");
    Table::read(&out).assert_complete(&clients.truth, &due);

    crawl_all(clients, &folder, &["--out", "metadata.csv"], "second");
    let second = fs::read(&out).expect("the output");
    assert!(second.starts_with(&first), "a second run only appends");
    Table::read(&out).assert_complete(&clients.truth, &due);
}

#[test]
fn peers_then_fetch_verifies_all_that_is_exposed() {
    let Some(clients) = Clients::get() else { return };
    let folder = TempDir::new().expect("a temporary folder");
    crawl_all(clients, &folder, &["peers", "--out", "peers.csv"], "peers");
    assert_peers_are_true(clients, &folder.path().join("peers.csv"));

    crawl_all(clients, &folder, &["fetch", "peers.csv", "--out", "metadata.csv"], "fetch");
    let table = Table::read(&folder.path().join("metadata.csv"));
    table.assert_complete(&clients.truth, &clients.truth.due());
}

/// Every exposed infohash is there, each pair once and announced by somebody.
fn assert_peers_are_true(clients: &Clients, path: &Path) {
    let mut reader = csv::Reader::from_path(path).expect("peers.csv");
    assert_eq!(reader.headers().expect("a header"), &["infohash", "peer_ip", "peer_port"][..]);
    let (mut pairs, mut infohashes) = (BTreeSet::new(), BTreeSet::new());
    for record in reader.records() {
        let record = record.expect("a CSV record");
        let ip = record[1].parse().expect("an address");
        let peer = SocketAddr::new(ip, record[2].parse().expect("a port"));
        let torrent = clients.truth.torrents.get(&record[0]).expect("a known infohash");
        assert!(torrent.peers.contains_key(&peer), "nobody announced {record:?}");
        assert!(pairs.insert((record[0].to_owned(), peer)), "{record:?} twice");
        infohashes.insert(record[0].to_owned());
    }
    let exposed = clients.truth.keys(|torrent| torrent.exposed);
    assert_eq!(exposed.difference(&infohashes).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn every_kind_of_client_serves_one_torrent_on_request() {
    let Some(clients) = Clients::get() else { return };
    let folder = TempDir::new().expect("a temporary folder");
    let asked = [
        ("libtorrent", "seeded 0"),
        ("libtorrent", "metadata over 1 MiB"),
        ("libtorrent", "metadata of 16384 bytes"),
        ("libtorrent", "invalid utf-8 all bytes"),
        ("libtorrent", "v2 long file"),
        ("transmission", "seeded 4"),
        ("transmission", "metadata of 49152 bytes"),
        ("aria2", "seeded 5"),
        ("aria2", "metadata of 65543 bytes"),
        ("aria2", "private"),
    ];
    for (client, label) in asked {
        let (key, torrent) = clients.truth.labelled(label);
        let peer = torrent.live_peer(client).expect("a live peer").to_string();
        get_verified(clients, &folder, key, key, &["--peer", &peer]);
    }
    for key in clients.truth.keys(|torrent| torrent.label == "hybrid files") {
        let peer = clients.truth.torrents[&key].live_peer("libtorrent").expect("a live peer");
        get_verified(clients, &folder, &key, &key, &["--peer", &peer.to_string()]);
    }
}

/// Asks one peer of a torrent under each word of `--encryption`; which brought the metadata.
fn words_that_fetch(
    clients: &Clients,
    folder: &TempDir,
    client: &str,
    label: &str,
) -> Vec<&'static str> {
    let (key, torrent) = clients.truth.labelled(label);
    let peer = torrent.live_peer(client).expect("a live peer").to_string();
    let fetches = |word: &&str| {
        let run = get(clients, folder, key, &["--peer", &peer, "--encryption", word]);
        let table = Table::parse(&run.stdout);
        table.assert_true(&clients.truth);
        !table.verified().is_empty()
    };
    ["auto", "require", "off"].into_iter().filter(fetches).collect()
}

#[test]
fn clients_that_force_encryption_serve_whatever_they_select_unless_the_user_rules_it_out() {
    let Some(clients) = Clients::get() else { return };
    let folder = TempDir::new().expect("a temporary folder");
    for (client, label, expected) in [
        // Forced: either way, RC4 alone, the clear behind the keys alone.
        ("libtorrent", "seeded 3", &["auto", "require"][..]),
        ("libtorrent", "magnet only 1", &["auto", "require"]),
        ("libtorrent", "seeded 2", &["auto"]),
        // Not forced.
        ("libtorrent", "seeded 0", &["auto", "require", "off"]),
        ("transmission", "seeded 4", &["auto", "require", "off"]),
        ("aria2", "seeded 5", &["auto", "require", "off"]),
    ] {
        assert_eq!(words_that_fetch(clients, &folder, client, label), expected, "{client} {label}");
    }
}

#[test]
fn clients_that_take_utp_alone_serve_over_it_and_tcp_alone_says_what_was_tried() {
    let Some(clients) = Clients::get() else { return };
    let folder = TempDir::new().expect("a temporary folder");
    let line = |seal: &str| format!("{seal} utp: 1 dialled, 1 connected, 1 handshaken, 1 complete");
    for (label, alone) in [("magnet only 7", "plain"), ("magnet only 3", "encrypted")] {
        let (key, torrent) = clients.truth.labelled(label);
        let peer = torrent.live_peer("libtorrent").expect("a live peer").to_string();
        for (transports, seal) in [("tcp,utp", "encrypted"), ("utp", alone)] {
            let words = ["--peer", &peer, "--transports", transports];
            let run = get(clients, &folder, key, &words).expect_code(0);
            Table::parse(&run.stdout)
                .assert_complete(&clients.truth, &BTreeSet::from([key.to_owned()]));
            assert!(run.stderr.contains(&line(seal)), "{transports}: {}", run.stderr);
        }
        let words = ["--peer", &peer, "--transports", "tcp"];
        let run = get(clients, &folder, key, &words).expect_code(1);
        assert!(Table::parse(&run.stdout).verified().is_empty());
        assert!(run.stderr.contains("plain tcp: 1 dialled"), "{}", run.stderr);
        assert!(run.stderr.contains("plain utp: 0 dialled"), "{}", run.stderr);
        assert!(run.stderr.contains("nothing found: "), "{}", run.stderr);
    }
}

#[test]
fn one_torrent_is_found_by_infohash_and_by_magnet() {
    let Some(clients) = Clients::get() else { return };
    let folder = TempDir::new().expect("a temporary folder");
    let (key, _) = clients.truth.labelled("name comma and quote");
    get_verified(clients, &folder, key, key, &[]);
    let (key, _) = clients.truth.labelled("magnet only 4");
    get_verified(clients, &folder, key, &format!("magnet:?xt=urn:btih:{key}&dn=a+name"), &[]);

    let v2 = clients.truth.torrents.iter().find(|(_, torrent)| torrent.label == "v2 small file");
    let (key, torrent) = v2.expect("a v2 torrent");
    assert!(torrent.is_v2);
    let whole = torrent.sha256.as_ref().expect("its SHA-256");
    get_verified(clients, &folder, key, &format!("magnet:?xt=urn:btmh:1220{whole}"), &[]);
}

#[test]
fn a_torrent_that_nobody_serves_is_not_verified() {
    let Some(clients) = Clients::get() else { return };
    let folder = TempDir::new().expect("a temporary folder");
    let (key, _) = clients.truth.labelled("phantom");
    let run = get(clients, &folder, key, &[]).expect_code(1);
    let table = Table::parse(&run.stdout);
    table.assert_true(&clients.truth);
    assert!(table.verified().is_empty());
}

#[test]
fn max_infohashes_ends_the_crawl_when_so_many_are_settled() {
    let Some(clients) = Clients::get() else { return };
    let folder = TempDir::new().expect("a temporary folder");
    let words = ["--max-infohashes", "10", "--overall-timeout", CRAWL_SECONDS];
    let run = finish(clients.crawl(&words), &folder, "ten").expect_code(0);
    let table = Table::read(&folder.path().join("metadata.csv"));
    table.assert_true(&clients.truth);
    assert_eq!(table.infohashes().len(), 10, "{run:#?}");
}
