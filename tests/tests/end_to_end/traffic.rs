//! The command line under traffic: signals, limits, outputs and the two steps, each test against
//! a simulated swarm of its own.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Run, Running, crawl, swarm};
use crate::table::Table;
use crate::truth::Truth;

/// Above everything here.
const LIMIT: Duration = Duration::from_secs(60);

/// So long without a byte is no pause between two rows.
const STANDSTILL: Duration = Duration::from_secs(1);

/// What a first signal may take (README.md, "Stop, kill, resume").
const SIGNAL_LIMIT: Duration = Duration::from_secs(2);

/// A swarm and a folder.
struct World {
    folder: TempDir,
    swarm: Running,
    truth: Truth,
}

impl World {
    /// `number` tells the swarms of this process apart; this one has peers of every kind.
    fn start(number: u8) -> Self {
        Self::with(number, &[])
    }

    /// All peers are alive: a crawl to the end waits for nobody's deadline.
    fn of_the_living(number: u8) -> Self {
        Self::with(number, &["--dead-peers", "0"])
    }

    fn with(number: u8, words: &[&str]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let id = std::process::id();
        let base = format!("127.{}.{}.0", 128 + id % 64, u32::from(number) * 16 + id / 64 % 16);
        let mut command = swarm();
        command.args(["--nodes", "200", "--torrents", "600", "--truth", "truth.jsonl"]);
        command.args(words);
        // The duration ends it if this process cannot.
        command.args(["--bind-base", &base, "--port", "0", "--duration", "120"]);
        let mut swarm = Running::start(command, folder.path(), "swarm");
        swarm.wait_for_output("--bootstrap", LIMIT);
        let truth = Truth::read(&folder.path().join("truth.jsonl"));
        Self { folder, swarm, truth }
    }

    /// `crawl` with these words, of this swarm.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = crawl();
        command.args(words).arg("--allow-private");
        if !words.contains(&"--overall-timeout") {
            command.args(["--overall-timeout", "40"]);
        }
        let printed = self.swarm.stdout();
        let printed: Vec<&str> = printed.split_whitespace().collect();
        let options = printed.windows(2);
        for pair in options.filter(|pair| matches!(pair[0], "--bootstrap" | "--bind")) {
            command.args(pair);
        }
        command
    }

    fn begin(&self, words: &[&str]) -> Running {
        Running::start(self.command(words), self.folder.path(), "crawl")
    }

    fn run(&self, words: &[&str]) -> Run {
        self.begin(words).finish(LIMIT).expect_code(0)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// How many infohashes some sample shows.
    fn exposed(&self) -> String {
        self.truth.keys(|torrent| torrent.exposed).len().to_string()
    }
}

fn lines(path: &Path) -> usize {
    fs::read(path).map_or(0, |bytes| bytes.iter().filter(|&&byte| byte == b'\n').count())
}

/// The funnel is the end of what is said.
fn assert_funnel(run: &Run) {
    for part in ["# contacts: ", "# infohashes: ", "# peers: ", "# settled: ", "# rows="] {
        assert!(run.stderr.lines().any(|line| line.starts_with(part)), "{part}\n{}", run.stderr);
    }
}

#[test]
fn the_first_signal_ends_a_crawl_within_two_seconds_and_the_file_is_whole() {
    let world = World::start(0);
    for signal in ["INT", "TERM"] {
        let out = format!("{signal}.csv");
        let mut running = world.begin(&["--out", &out, "--rate", "100"]);
        running.wait_for("rows", LIMIT, || lines(&world.path(&out)) > 20);
        let before = running.age();
        running.signal(signal);
        let run = running.finish(LIMIT).expect_code(0);
        assert!(run.took - before < SIGNAL_LIMIT, "{signal}: {:?} {run:#?}", run.took - before);
        assert!(run.stderr.contains("# ended: by a signal"), "{}", run.stderr);
        assert_funnel(&run);
        Table::read(&world.path(&out)).assert_true(&world.truth);
    }
}

#[test]
fn a_signal_ends_even_a_crawl_whose_reader_has_stopped() {
    let world = World::start(1);
    // Nobody reads the pipe: it fills up.
    let (reader, writer) = io::pipe().expect("a pipe");
    let words = ["--out", "x.csv", "--tee", "--profile", "server"];
    let command = world.command(&words);
    let mut running =
        Running::start_with(command, world.folder.path(), "crawl", Stdio::from(writer));
    // A pipe holds 64 KiB. When the file stands still far from its end, so does the crawl.
    let file = world.path("x.csv");
    let seen = Cell::new((0, Instant::now()));
    running.wait_for("a full pipe", LIMIT, || {
        let bytes = fs::metadata(&file).map_or(0, |found| found.len());
        if bytes != seen.get().0 {
            seen.set((bytes, Instant::now()));
        }
        bytes > 32 * 1_024 && seen.get().1.elapsed() > STANDSTILL
    });
    running.signal("INT");
    let signalled = running.age();
    let run = running.finish(LIMIT).expect_code(0);
    assert!(run.took - signalled < SIGNAL_LIMIT, "{run:#?}");
    Table::read(&file).assert_true(&world.truth);
    drop(reader);
}

/// Accepts connections on every loopback address, keeps them, and says nothing.
fn silent_peers() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("0.0.0.0:0").expect("a socket");
    let port = listener.local_addr().expect("its address").port();
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&accepted);
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming().flatten() {
            kept.push(stream);
            count.store(kept.len(), Ordering::Relaxed);
        }
    });
    (port, accepted)
}

#[test]
fn the_overall_timeout_is_exact_while_200_silent_peers_are_connected() {
    let world = World::start(2);
    let (port, accepted) = silent_peers();
    let pairs =
        (1..=200_u8).map(|n| format!("{},127.7.7.{n},{port}\n", format!("{n:02x}").repeat(20)));
    fs::write(world.path("pairs.csv"), pairs.collect::<String>()).expect("written");
    let words = ["fetch", "pairs.csv", "--profile", "server", "--stats", "stats.json"];
    let run = world.run(&[&words[..], &["--overall-timeout", "5"]].concat());
    assert!((Duration::from_secs(4)..Duration::from_secs(6)).contains(&run.took), "{run:#?}");
    assert!(accepted.load(Ordering::Relaxed) >= 200, "{run:#?}");
    assert_balanced(&world.path("stats.json"));
}

#[test]
fn a_reader_that_leaves_is_a_clean_end() {
    let world = World::start(3);
    let (reader, writer) = io::pipe().expect("a pipe");
    let command = world.command(&["--out", "-", "--rate", "100"]);
    let running = Running::start_with(command, world.folder.path(), "crawl", Stdio::from(writer));
    let mut reader = BufReader::new(reader);
    let read: Vec<String> =
        reader.by_ref().lines().take(10).map(|line| line.expect("UTF-8")).collect();
    assert_eq!(read.len(), 10);
    drop(reader);
    let left = running.age();
    let run = running.finish(LIMIT).expect_code(0);
    assert!(run.took - left < SIGNAL_LIMIT, "{run:#?}");
    assert!(run.stderr.contains("the reader of the output left"), "{}", run.stderr);
    Table::parse(&(read.join("\n") + "\n")).assert_true(&world.truth);
}

#[test]
fn the_output_stays_below_max_output_bytes() {
    let world = World::start(4);
    let run = world.run(&["--out", "x.csv", "--max-output-bytes", "20000"]);
    let bytes = fs::metadata(world.path("x.csv")).expect("the output").len();
    assert!((15_000..=20_000).contains(&bytes), "{bytes} {run:#?}");
    assert!(run.stderr.contains("--max-output-bytes"), "{}", run.stderr);
    Table::read(&world.path("x.csv")).assert_true(&world.truth);
}

#[test]
fn tee_rows_by_torrent_and_statistics_agree() {
    let world = World::of_the_living(5);
    let exposed = world.exposed();
    let words = ["--out", "x.csv", "--tee", "--rows", "torrent", "--stats", "stats.json"];
    let limits = ["--max-infohashes", &exposed, "--profile", "server"];
    let run = world.run(&[&words[..], &limits].concat());
    let file = fs::read_to_string(world.path("x.csv")).expect("the output");
    assert_eq!(run.stdout, file);
    assert_funnel(&run);
    let table = Table::parse(&file);
    table.assert_complete(&world.truth, &world.truth.due());
    assert_eq!(table.rows.len(), table.infohashes().len(), "one row for each infohash");

    let stats = assert_balanced(&world.path("stats.json"));
    let counter = |name: &str| stats["counters"][name].as_u64().expect(name);
    assert_eq!(counter("verified"), table.verified().len() as u64);
    assert_eq!(counter("settled"), table.rows.len() as u64);
    assert_eq!(counter("settled"), counter("verified") + counter("broken") + counter("failed"));
    assert_eq!(stats["rows"].as_u64(), Some(table.rows.len() as u64));
    assert_eq!(stats["output_bytes"].as_u64(), Some(2 * file.len() as u64));
}

/// The statistics, in which nothing is lost.
fn assert_balanced(path: &Path) -> Value {
    let text = fs::read_to_string(path).expect("statistics");
    let stats: Value = serde_json::from_str(&text).expect("JSON");
    let counter = |name: &str| stats["counters"][name].as_u64().expect(name);
    let faults = stats["faults"].as_object().expect("faults").values();
    let faults: u64 = faults.map(|count| count.as_u64().expect("a count")).sum();
    assert_eq!(
        counter("dialled"),
        faults + counter("delivered") + counter("connections_open"),
        "{text}"
    );
    let methods = ["queries_sample", "queries_find_node", "queries_get_peers", "queries_ping"];
    let ended = ["answered", "refused", "expired", "queries_open"];
    let sum = |names: [&str; 4]| names.map(counter).iter().sum::<u64>();
    assert_eq!(sum(methods), sum(ended), "{text}");
    stats
}

#[test]
fn a_shuffled_peers_file_with_repeats_and_bad_lines_is_fetched_whole() {
    let world = World::of_the_living(6);
    let exposed = world.exposed();
    let words = ["peers", "--out", "peers.csv", "--profile", "server"];
    world.run(&[&words[..], &["--max-infohashes", &exposed]].concat());
    let found = fs::read_to_string(world.path("peers.csv")).expect("pairs");
    let mut pairs: Vec<&str> = found.lines().skip(1).collect();
    let all: BTreeSet<&str> = pairs.iter().copied().collect();
    assert_eq!(all.len(), pairs.len(), "no pair twice");
    let half = pairs.len() / 2;
    pairs.extend_from_within(..half);
    // By their digits from behind: an order that has nothing to do with the one they came in.
    pairs.sort_by_cached_key(|pair| pair.chars().rev().collect::<String>());
    let bad = ["not a pair", "zz,127.0.0.1,5", "1234,127.0.0.1,5", "x,,", "\"zz", "\u{fffd}"];
    for (n, line) in bad.into_iter().enumerate() {
        pairs.insert(n * pairs.len() / bad.len(), line);
    }
    fs::write(world.path("shuffled.csv"), pairs.join("\n")).expect("written");

    let run = world.run(&["fetch", "shuffled.csv", "--out", "x.csv", "--profile", "server"]);
    for (n, line) in pairs.iter().enumerate().filter(|(_, line)| bad.contains(line)) {
        let said = format!("line {} skipped", n + 1);
        assert!(run.stderr.contains(&said), "{line}: {said}\n{}", run.stderr);
    }
    let named: BTreeSet<SocketAddr> = all.iter().filter_map(|pair| peer_of(pair)).collect();
    let table = Table::read(&world.path("x.csv"));
    table.assert_complete(&world.truth, &world.truth.due());
    assert!(table.rows.iter().filter_map(|row| row.peer).any(|peer| named.contains(&peer)));
}

fn peer_of(pair: &str) -> Option<SocketAddr> {
    let mut fields = pair.split(',').skip(1);
    Some(SocketAddr::new(fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
