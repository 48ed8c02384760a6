//! Outputs that are refused, and resumption as far as it shows without traffic: `crawl get` of an
//! infohash that every output holds ends before a socket is bound.

use std::fs;
use std::os::unix::fs::symlink;

use crate::{HASH, HEADER, World, exists, verified};

#[test]
fn a_foreign_output_is_refused_and_stays_as_it_is() {
    let foreign = [
        "name,size\n",
        "hello",
        "\n",
        "infohash,peer_ip,peer_port\n",
        &format!("{HEADER}not a row\n"),
        &format!("{HEADER}{HASH},x,1,2,3,,,yes\n"),
        &format!("{HEADER}{}{HASH},\"open,1,2,3,,,True\n", verified(HASH)),
        &format!("{}{HASH}", HEADER.replace("_ok", "_okay")),
    ];
    for text in foreign {
        let world = World::new();
        world.put("x.csv", text);
        for words in [&["--out", "x.csv"][..], &["get", HASH, "--out", "x.csv"]] {
            let said = world.refused(words);
            assert!(said.starts_with("--out x.csv: line "), "{text:?}: {said}");
            assert!(said.contains("--overwrite"), "{said}");
        }
    }
}

#[test]
fn whoever_adds_real_torrents_to_those_of_a_swarm_is_told() {
    let world = World::new();
    world.put("metadata.csv", format!("{HEADER}{}", verified(HASH)));
    let ran = world.run(&["--bind", "127.0.0.1:0", "--bootstrap", "no..name:5"]);
    assert_eq!(ran.status, Some(1), "the name does not resolve");
    assert!(ran.stderr.contains("as swarm invents them"), "{}", ran.stderr);
}

#[test]
fn a_metadata_file_is_no_peers_file() {
    let world = World::new();
    world.put("peers.csv", HEADER);
    world.refused(&["peers"]);
    world.put("peers.csv", format!("infohash,peer_ip,peer_port\n{HASH},127.0.0.1\n"));
    let said = world.refused(&["peers"]);
    assert!(said.contains("line 2: not 3 fields"), "{said}");
}

#[test]
fn one_foreign_output_among_several_leaves_all_of_them_alone() {
    let world = World::new();
    world.put("good.csv", format!("{HEADER}{}torn", verified(HASH)));
    world.put("foreign.csv", "mine\n");
    let words =
        ["--out", "good.csv", "--out", "new.csv", "--out", "foreign.csv", "--stats", "s.json"];
    world.refused(&words);
    assert!(!exists(&world.path("new.csv")) && !exists(&world.path("s.json")));
}

#[test]
fn a_size_limit_below_a_header_is_refused() {
    let world = World::new();
    let words = ["get", HASH, "--max-output-bytes", "1", "--stats", "s.json"];
    let said = world.refused(&words);
    assert_eq!(said, "--max-output-bytes 1: the outputs begin with 80 bytes; give more");
    world.refused(&["--max-output-bytes", "79"]);
    world.refused(&["--max-output-bytes", "159", "--tee"]);
}

#[test]
fn what_is_no_file_or_cannot_be_opened_is_refused() {
    let world = World::new();
    fs::create_dir(world.path("folder.csv")).expect("folder");
    assert!(world.refused(&["--out", "folder.csv"]).contains("not a regular file"));
    for words in [["--out", "none/x.csv"], ["--stats", "none/s.json"]] {
        let said = world.refused(&words);
        assert!(said.contains(": cannot be opened: "), "{said}");
        assert!(said.ends_with("; name a file in a folder that can be written"), "{said}");
    }
    symlink("/dev/null", world.path("null.csv")).expect("link");
    assert!(world.refused(&["--out", "null.csv"]).contains("not a regular file"));
}

#[test]
fn statistics_replace_statistics_and_nothing_else() {
    let world = World::new();
    world.put("s.json", "{}\n");
    world.put("x.csv", format!("{HEADER}{}", verified(HASH)));
    world.put("x.csv.state", "DHT-Estudely state 2.0\n");
    world.put("notes", "mine\n");
    for (name, what) in [
        ("x.csv", "it holds rows of crawl"),
        ("x.csv.state", "it is a state of crawl"),
        ("notes", "it holds something else"),
    ] {
        for words in [&["--out", "new.csv"][..], &["get", HASH]] {
            let said = world.refused(&[words, &["--stats", name]].concat());
            assert!(said.starts_with(&format!("--stats {name}: {what}, ")), "{said}");
            assert!(said.ends_with("name another file, or delete it first"), "{said}");
        }
    }
    let words = ["--stats", "s.json", "--bind", "127.0.0.1:0", "--bootstrap", "no..name:5"];
    let ran = world.run(&words);
    assert_eq!(ran.status, Some(1), "{}", ran.stderr);
    assert!(world.text("s.json").contains("\"error\""), "{}", world.text("s.json"));
}

#[test]
fn one_file_under_two_names_is_refused() {
    let world = World::new();
    world.put("x.csv", HEADER);
    world.put("pairs.csv", format!("{HASH},127.0.0.1,5\n"));
    symlink("x.csv", world.path("soft.csv")).expect("link");
    symlink("new.csv", world.path("dangling.csv")).expect("link");
    fs::hard_link(world.path("x.csv"), world.path("hard.csv")).expect("link");
    let cases: [&[&str]; 7] = [
        &["--out", "x.csv", "--out", "./x.csv"],
        &["--out", "x.csv", "--out", "soft.csv"],
        &["--out", "hard.csv", "--out", "x.csv"],
        &["--out", "new.csv", "--out", "dangling.csv"],
        &["--out", "x.csv", "--stats", "soft.csv"],
        &["fetch", "pairs.csv", "--out", "pairs.csv", "--overwrite"],
        &["fetch", "pairs.csv", "--stats", "pairs.csv"],
    ];
    for words in cases {
        let said = world.refused(words);
        assert!(said.contains("the same file as"), "{words:?}: {said}");
    }
}

#[test]
fn standard_output_that_is_an_output_file_is_refused() {
    let world = World::new();
    world.put("x.csv", HEADER);
    let open = || fs::OpenOptions::new().append(true).open(world.path("x.csv")).expect("opens");
    let mut command = world.command(&["--out", "x.csv", "--tee"]);
    let output = command.stdout(open()).output().expect("crawl runs");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(world.text("x.csv"), HEADER);
}

#[test]
fn standard_output_or_input_that_is_another_file_of_the_run_is_refused() {
    let world = World::new();
    let text = format!("{HEADER}{}", verified(HASH));
    world.put("x.csv", &text);
    let open = || fs::OpenOptions::new().append(true).open(world.path("x.csv")).expect("opens");
    let cases: [&[&str]; 4] = [
        &["--out", "-", "--stats", "x.csv"],
        &["--out", "-", "--state", "x.csv"],
        &["--out", "y.csv", "--tee", "--stats", "x.csv"],
        &["fetch", "x.csv", "--out", "-"],
    ];
    for words in cases {
        let output = world.command(words).stdout(open()).output().expect("crawl runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        assert!(said.contains("standard output: the same file as"), "{words:?}: {said}");
        assert_eq!(world.text("x.csv"), text);
    }
    world.put("list.txt", HASH);
    let list = fs::File::open(world.path("list.txt")).expect("opens");
    let mut command = world.command(&["fetch", "-", "--out", "list.txt", "--overwrite"]);
    let output = command.stdin(list).output().expect("crawl runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the same file as the input"), "{said}");
    assert_eq!(world.text("list.txt"), HASH);
}

#[test]
fn an_output_that_another_crawl_writes_is_refused() {
    let world = World::new();
    world.put("x.csv", HEADER);
    let held = fs::File::open(world.path("x.csv")).expect("opens");
    held.lock().expect("locked");
    let said = world.refused(&["--out", "x.csv"]);
    assert!(said.contains("another crawl is writing it"), "{said}");
}

#[test]
fn a_standard_output_that_takes_nothing_is_lost_and_one_without_reader_is_a_clean_end() {
    let world = World::new();
    // Nobody is asked, and one peer refuses: a row is written at once.
    world.put("pairs.csv", format!("{HASH},127.0.0.1,1\n"));
    let words = ["fetch", "pairs.csv", "--out", "-", "--allow-private", "--overall-timeout", "1"];
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket that nobody reads");
    let node = silent.local_addr().expect("bound").to_string();
    let command = || {
        let mut command = world.command(&words);
        command.args(["--bootstrap", &node, "--bind", "127.0.0.1:0"]);
        command
    };
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("opens");
    let output = command().stdout(full).output().expect("crawl runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut errors = said.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(output.status.code(), Some(1), "{said}");
    let error = errors.next_back().unwrap_or_default();
    assert!(error.starts_with("crawl: cannot write the output: standard output: "), "{said}");
    assert_eq!(errors.next_back(), None);

    let (reader, writer) = std::io::pipe().expect("pipe");
    drop(reader);
    let output = command().stdout(writer).output().expect("crawl runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_run_that_cannot_begin_leaves_its_outputs_as_they_were_and_says_why_in_one_line() {
    let world = World::new();
    world.put("old.csv", format!("{HEADER}{}", verified(HASH)));
    let before = world.all();
    let cases: [(&[&str], i32, &str); 3] = [
        // Reserved for documentation: no machine has it.
        (&["--bind", "192.0.2.1:0"], 1, "cannot bind UDP 192.0.2.1:0: "),
        // An empty label makes it no name: refused without a question on the network.
        (
            &["--bind", "127.0.0.1:0", "--bootstrap", "no..name:5"],
            1,
            "no bootstrap name resolves (no..name)",
        ),
        (
            &["--bind", "127.0.0.1:0", "--bootstrap", "[::1]:5"],
            2,
            "--bootstrap [::1]:5: IPv6 is off",
        ),
    ];
    for (words, status, expected) in cases {
        let outputs = ["--out", "old.csv", "--out", "new.csv", "--overwrite"];
        let ran = world.run(&[&outputs, words].concat());
        assert_eq!((ran.status, ran.stderr.lines().count()), (Some(status), 1), "{}", ran.stderr);
        assert!(ran.stderr.starts_with(&format!("crawl: {expected}")), "{}", ran.stderr);
        assert!(world.all() == before, "{words:?} changed a file");
    }
}

#[test]
fn a_refusal_leaves_a_dangling_link_as_it_is() {
    let world = World::new();
    world.put("foreign.csv", "mine\n");
    symlink("target.csv", world.path("link.csv")).expect("link");
    world.refused(&["--out", "link.csv", "--out", "foreign.csv"]);
    assert!(exists(&world.path("link.csv")) && !exists(&world.path("target.csv")));
}

#[test]
fn what_every_output_holds_is_not_fetched_again() {
    let world = World::new();
    let text = format!("{HEADER}{}", verified(HASH));
    world.put("a.csv", &text);
    world.put("b.txt", &text);
    let ran = world.run(&["get", HASH, "--out", "a.csv", "--out", "b.txt"]);
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    assert_eq!((world.text("a.csv"), world.text("b.txt")), (text.clone(), text));
    assert_eq!(ran.stdout, "");
}

#[test]
fn a_last_row_without_its_line_end_gets_it_and_is_kept() {
    let world = World::new();
    let whole = format!("{HEADER}{}", verified(HASH));
    world.put("x.csv", whole.trim_end());
    let ran = world.run(&["get", HASH, "--out", "x.csv"]);
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("nothing to do"), "{}", ran.stderr);
    assert_eq!(world.text("x.csv"), whole);
}

#[test]
fn a_torn_last_line_is_cut_and_whole_rows_are_kept() {
    let whole = format!("{HEADER}{}", verified(HASH));
    for torn in ["0", "0123456789abcdef0123456789abcdef01234567,\"na", "\"", ",,,,,,,True"] {
        let world = World::new();
        world.put("x.csv", format!("{whole}{torn}"));
        let ran = world.run(&["get", HASH, "--out", "x.csv"]);
        assert_eq!(ran.status, Some(0), "{torn}: {}", ran.stderr);
        assert_eq!(world.text("x.csv"), whole, "{torn}");
        assert!(ran.stderr.contains("of a torn last line"), "{}", ran.stderr);
    }
}

#[test]
fn a_file_that_a_spreadsheet_saved_is_resumed() {
    let world = World::new();
    let text = format!("\u{feff}{HEADER}{}", verified(HASH)).replace('\n', "\r\n");
    world.put("x.csv", &text);
    let ran = world.run(&["get", HASH, "--out", "x.csv"]);
    assert_eq!(ran.status, Some(0), "{}", ran.stderr);
    assert_eq!(world.text("x.csv"), text);
}
