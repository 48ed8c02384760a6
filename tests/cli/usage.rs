//! Command lines that cannot be used: status 2, one line that names the option, the value and
//! the cure, and no file touched or made.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::{HASH, World};

/// Splits a line into words and runs it.
fn refused(line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    World::new().refused(&words)
}

#[test]
fn every_unusable_value_is_named_with_its_cure() {
    let cases = [
        ("--rate 0", "--rate 0: no limit is only for a swarm of your own; add --allow-private"),
        ("--new-flows=0", "--new-flows 0: no limit"),
        ("--rate -1", "--rate -1: must be a whole number from 0 to 1000000"),
        ("--max-connections 0", "--max-connections 0: must be a whole number from 1 to 1000000"),
        ("--max-infohashes 0", "--max-infohashes 0: must be a whole number, at least 1"),
        ("--max-infohashes 1e3", "--max-infohashes 1e3: must be"),
        ("--peers-per-infohash 201", "--peers-per-infohash 201: must be"),
        ("--metadata-peer-attempts x", "--metadata-peer-attempts x: must be"),
        ("--overall-timeout 0", "--overall-timeout 0: must be seconds from 0.1 to 315360000"),
        ("--overall-timeout -5", "--overall-timeout -5: must be seconds"),
        ("--until-idle soon", "--until-idle soon: must be seconds"),
        ("--max-output-bytes 1k", "--max-output-bytes 1k: must be"),
        ("--seed -1", "--seed -1: must be"),
        ("--profile fast", "--profile fast: must be one of home, server"),
        (
            "--transports udp",
            "--transports udp: must be tcp, utp, or both with a comma between them",
        ),
        ("--transports tcp,tcp", "--transports tcp,tcp: names one of them twice"),
        ("--transports=", "--transports: the value is missing; write --transports LIST"),
        ("--encryption on", "--encryption on: must be one of auto, require, off"),
        (
            "--encryption=",
            "--encryption: the value is missing; write --encryption auto|require|off",
        ),
        ("--rows all", "--rows all: must be one of peer, torrent"),
        ("--progress yes", "--progress yes: must be one of auto, always, never"),
        ("--bootstrap localhost", "--bootstrap localhost: must be HOST:PORT"),
        ("--bootstrap ::1:6881", "--bootstrap ::1:6881: must be HOST:PORT"),
        ("--bootstrap host:0", "--bootstrap host:0: the port must be from 1 to 65535"),
        ("--bootstrap 127.0.0.1:65536", "--bootstrap 127.0.0.1:65536: the port must be"),
        ("--bind 127.0.0.1", "--bind 127.0.0.1: must be ADDR:PORT"),
        ("--bind [::1]:99999", "--bind [::1]:99999: the port must be from 0 to 65535"),
        ("--bind localhost:0", "--bind localhost:0: must be ADDR:PORT"),
        ("--bind 127.0.0.1:0 --bind 127.0.0.2:0", "--bind 127.0.0.2:0: a second one"),
        ("--bind 255.255.255.255:0", "--bind 255.255.255.255:0: no address of this machine"),
        ("--bootstrap 240.0.0.1:5", "--bootstrap 240.0.0.1:5: nobody can have this address"),
        ("--out x.jsonl", "--out x.jsonl: JSON lines come in a later version; use .csv"),
        ("--out x.SQLite", "--out x.SQLite: SQLite comes in a later version; use .csv"),
        ("--out x.db", "--out x.db: SQLite comes in a later version; use .csv"),
        ("--out x", "--out x: the name must end in .csv or .txt, or be - for stdout"),
        ("--out - --tee", "--tee: rows go to stdout already"),
        ("--stats -", "--stats -: stdout is for rows; name a file"),
        ("--state -", "--state -: stdout is for rows; name a file, or none"),
        ("--state=", "--state: the value is missing; write --state FILE|none"),
    ];
    for (line, expected) in cases {
        let said = refused(line);
        assert!(said.starts_with(expected), "{line}: {said}");
    }
}

#[test]
fn unknown_options_and_those_of_other_forms_are_refused_by_name() {
    let cases = [
        ("--serve always", "--serve: unknown option"),
        ("--scrape", "--scrape: unknown option"),
        ("--output x.csv", "--output: unknown option; use --out PATH"),
        ("--stdout-only", "--stdout-only: unknown option; use --out -"),
        ("--out", "--out: the value is missing; write --out PATH"),
        ("--tee=1", "--tee=1: a switch takes no value; write --tee alone"),
        ("--seed 1 --seed 2", "--seed: given twice; give it once"),
        ("--peer 127.0.0.1:1", "--peer: not used by \"crawl\", only by \"crawl get\""),
        ("peers --rows peer", "--rows: not used by \"crawl peers\""),
        ("peers --encryption off", "--encryption: not used by \"crawl peers\""),
        ("peers --max-connections 5", "--max-connections: not used by \"crawl peers\""),
        ("get x --max-infohashes 5", "--max-infohashes: not used by \"crawl get\""),
        ("get x --state s", "--state: not used by \"crawl get\""),
        ("get x --until-idle 5", "--until-idle: not used by \"crawl get\""),
    ];
    for (line, expected) in cases {
        let said = refused(line);
        assert!(said.starts_with(expected), "{line}: {said}");
    }
}

#[test]
fn operands_are_as_many_as_the_form_takes() {
    let cases = [
        ("metadata.csv".to_owned(), "metadata.csv: crawl takes no such word"),
        ("--tee get x".to_owned(), "get: the form comes first"),
        ("fetch".to_owned(), "crawl fetch: PEERS.csv, or - for stdin, is missing"),
        ("fetch a.csv b.csv".to_owned(), "b.csv: crawl fetch takes no such word"),
        ("get".to_owned(), "crawl get: INFOHASH or MAGNET is missing"),
        ("get 123".to_owned(), "123: "),
        (format!("get {HASH}a"), "631a31dd"),
        ("get magnet:?dn=x".to_owned(), "magnet:?dn=x: "),
        (format!("get {HASH} --peer 127.0.0.1"), "--peer 127.0.0.1: must be IP:PORT"),
        (
            format!("get {HASH} --peer 255.255.255.255:5"),
            "--peer 255.255.255.255:5: nobody can have this address",
        ),
        (format!("get {HASH} --peer 127.0.0.1:0"), "--peer 127.0.0.1:0: the port must be"),
        (
            format!("get {HASH} --peer 127.0.0.1:99999"),
            "--peer 127.0.0.1:99999: the port must be from 1 to 65535",
        ),
        ("help get x".to_owned(), "x: help takes one form; write crawl help get"),
    ];
    for (line, expected) in &cases {
        let said = refused(line);
        assert!(said.starts_with(expected), "{line}: {said}");
    }
}

#[test]
fn an_infohash_of_a_wrong_length_or_alphabet_is_told_the_right_ones() {
    let lengths = "40 hex or 32 base32 digits, or for v2 64 hex digits";
    for wrong in [&HASH[1..], &HASH.replace('a', "x")] {
        let said = refused(&format!("get {wrong}"));
        assert!(said.starts_with(&format!("{wrong}: ")) && said.ends_with(lengths), "{said}");
        let world = World::new();
        world.put("list", format!("{wrong},127.0.0.1,5\n{wrong}\n"));
        let ran = world.run(&["fetch", "list"]);
        assert_eq!(ran.stderr.matches(lengths).count(), 2, "{}", ran.stderr);
    }
}

#[test]
fn a_word_without_letters_is_shown_as_one() {
    let said = World::new().refused(&[""]);
    assert_eq!(said, "\"\": crawl takes no such word; see crawl --help");
    assert!(World::new().refused(&["get", ""]).starts_with("\"\": neither a magnet link"));
}

#[test]
fn what_steers_a_terminal_is_never_echoed() {
    let said = World::new().refused(&["--out", "\u{1b}[31mx\u{202e}"]);
    assert!(said.starts_with("--out \\u{1b}[31mx\\u{202e}: "), "{said}");
}

#[test]
fn words_that_are_no_utf_8_are_refused() {
    let world = World::new();
    let word = OsString::from_vec(b"\xff.csv".to_vec());
    let ran: crate::Ran = world.command(&["--out"]).arg(word).output().expect("crawl runs").into();
    assert_eq!((ran.status, ran.stderr.lines().count()), (Some(2), 1), "{}", ran.stderr);
}
