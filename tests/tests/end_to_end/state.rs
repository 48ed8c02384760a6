//! What a state file is worth: crawls that are killed or stopped and go on without any bootstrap
//! node, without asking anybody too early and without losing anything. The swarm notes who was
//! asked for samples and when.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Run, Running, crawl, swarm};
use crate::table::Table;
use crate::truth::Truth;

/// Above everything here.
const LIMIT: Duration = Duration::from_secs(120);
/// What is on its way when a crawl is killed, in microseconds: the answer, and the turn of the loop
/// that keeps it, on a busy machine.
const UNDER_WAY: u64 = 500_000;

/// A swarm in which every node and every peer lives, and a folder. Its nodes name the interval of
/// six hours: each may be sampled once.
struct World {
    folder: TempDir,
    swarm: Running,
    truth: Truth,
}

impl World {
    /// `number` tells the swarms of this file apart.
    fn start(number: u32) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let id = std::process::id();
        let base = format!("127.{}.{}.0", 192 + id % 32, number * 32 + id / 32 % 24);
        let mut command = swarm();
        command.args(["--nodes", "250", "--torrents", "500", "--truth", "truth.jsonl"]);
        command.args(["--dead-nodes", "0", "--no-bep51", "0", "--dead-peers", "0"]);
        command.args(["--asked", "asked.txt", "--bind-base", &base, "--port", "0"]);
        // The duration ends it if this process cannot.
        command.args(["--duration", "300"]);
        let mut swarm = Running::start(command, folder.path(), "swarm");
        swarm.wait_for_output("--bootstrap", LIMIT);
        let truth = Truth::read(&folder.path().join("truth.jsonl"));
        Self { folder, swarm, truth }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A crawl slow enough to be ended in the middle, which knows no node.
    fn cold(&self, words: &[&str]) -> Command {
        let mut command = crawl();
        command.args(["--out", "metadata.csv", "--allow-private", "--bind", "127.0.0.1:0"]);
        command.args(["--rate", "100", "--new-flows", "0", "--overall-timeout", "60"]);
        command.args(words);
        command
    }

    /// The same with the swarm's bootstrap nodes.
    fn introduced(&self, words: &[&str]) -> Command {
        let mut command = self.cold(words);
        let printed = self.swarm.stdout();
        let printed: Vec<&str> = printed.split_whitespace().collect();
        for pair in printed.windows(2).filter(|pair| pair[0] == "--bootstrap") {
            command.args(pair);
        }
        command
    }

    fn begin(&self, command: Command) -> Running {
        Running::start(command, self.folder.path(), "crawl")
    }

    /// Samples asked for so far: when, by node.
    fn asked(&self) -> BTreeMap<String, Vec<u64>> {
        let text = fs::read_to_string(self.path("asked.txt")).expect("noted by the swarm");
        let mut asked: BTreeMap<_, Vec<u64>> = BTreeMap::new();
        let whole = text.lines().take(text.matches('\n').count());
        for (at, node) in whole.filter_map(|line| line.split_once(' ')) {
            asked.entry(node.to_owned()).or_default().push(at.parse().expect("microseconds"));
        }
        asked
    }

    /// Lets a crawl go on until it has asked `more` nodes for samples.
    fn wait_for_asked(&self, running: &mut Running, more: usize) {
        let goal = self.asked().len() + more;
        running.wait_for("nodes are sampled", LIMIT, || self.asked().len() >= goal);
    }

    fn verified(&self) -> BTreeSet<String> {
        Table::read(&self.path("metadata.csv")).verified()
    }

    /// Runs a crawl without any bootstrap node until everything due is verified; its statistics.
    fn crawl_to_the_end(&self) -> (Run, Value) {
        let exposed = self.truth.keys(|torrent| torrent.exposed);
        let left = exposed.difference(&self.verified()).count().to_string();
        let words = ["--state", "s", "--max-infohashes", &left, "--stats", "stats.json"];
        let command = self.cold(&words);
        let run = self.begin(command).finish(LIMIT).expect_code(0);
        let stats = fs::read_to_string(self.path("stats.json")).expect("statistics");
        Table::read(&self.path("metadata.csv")).assert_complete(&self.truth, &self.truth.due());
        (run, serde_json::from_str(&stats).expect("JSON"))
    }
}

/// When the last sample was asked for.
fn latest(asked: &BTreeMap<String, Vec<u64>>) -> u64 {
    asked.values().flatten().copied().max().unwrap_or_default()
}

#[test]
fn killed_again_and_again_it_goes_on_without_a_router_samples_nobody_early_and_loses_nothing() {
    let world = World::start(0);
    let mut ends = Vec::new();
    for round in 0..3 {
        let command = match round {
            0 => world.introduced(&["--state", "s"]),
            // A name that cannot be resolved is no failure while known nodes answer.
            1 => world.cold(&["--state", "s", "--bootstrap", "no..name:5"]),
            _ => world.cold(&["--state", "s"]),
        };
        let mut running = world.begin(command);
        world.wait_for_asked(&mut running, 50);
        running.kill();
        ends.push(latest(&world.asked()));
    }
    let (run, stats) = world.crawl_to_the_end();
    assert_eq!(stats["bootstrap"]["addresses_tried"], 0, "{run:#?}");
    assert_eq!(stats["bootstrap"]["names_failed"], 0, "no router was even resolved");
    assert!(run.stderr.contains("# state: ") && run.stderr.contains(" taken up; "), "{run:#?}");
    // Whoever was asked twice had not been heard when the run was killed.
    for (node, times) in world.asked() {
        for before in &times[..times.len() - 1] {
            let killed = ends.iter().any(|end| (*before..before + UNDER_WAY).contains(end));
            assert!(killed, "{node} was sampled at {times:?}, and kills came after {ends:?}");
        }
    }
    // Everything that is due was written, and nothing twice: `crawl_to_the_end` looked.
    assert!(!world.path("s.saving").exists());
}

#[test]
fn stopped_by_a_signal_it_goes_on_and_no_node_is_sampled_twice() {
    let world = World::start(1);
    let mut running = world.begin(world.introduced(&["--state", "s"]));
    world.wait_for_asked(&mut running, 100);
    let before = running.age();
    running.signal("TERM");
    let run = running.finish(LIMIT).expect_code(0);
    assert!(run.took - before < Duration::from_secs(2), "{run:#?}");
    assert!(run.stderr.contains("# state: begun anew; "), "{run:#?}");
    let (before, verified) = (world.asked(), world.verified());
    let (run, stats) = world.crawl_to_the_end();
    assert_eq!(stats["bootstrap"]["addresses_tried"], 0, "{run:#?}");
    assert!(stats["state"]["restored"]["resting"].as_u64() >= Some(90), "{stats:#}");
    assert!(world.verified().is_superset(&verified));
    let twice = |times: &Vec<u64>| times.len() > 1 && times[0] + UNDER_WAY < latest(&before);
    let twice: Vec<_> = world.asked().into_iter().filter(|(_, times)| twice(times)).collect();
    assert_eq!(twice, []);
}

#[test]
fn when_nobody_of_the_state_answers_it_says_so_and_keeps_the_state() {
    let mut world = World::start(5);
    let mut running = world.begin(world.introduced(&["--state", "s"]));
    world.wait_for_asked(&mut running, 30);
    running.signal("TERM");
    running.finish(LIMIT).expect_code(0);
    let state = fs::read(world.path("s")).expect("a state");
    world.swarm.kill();
    for (bootstrap, reason) in [
        (&[][..], "no DHT node answered in 3 s ("),
        (&["--bootstrap", "no..name:5"], "no bootstrap name resolves (no..name)"),
    ] {
        // Ended before public routers would be asked in their place.
        let mut command = crawl();
        command.args(["--allow-private", "--bind", "127.0.0.1:0", "--overall-timeout", "3"]);
        command.args(["--state", "s"]).args(bootstrap);
        let run = world.begin(command).finish(LIMIT).expect_code(1);
        assert!(run.stderr.contains(&format!("crawl: {reason}")), "{run:#?}");
        assert!(!run.stderr.contains("(0 addresses"), "{run:#?}");
        assert_eq!(fs::read(world.path("s")).expect("a state"), state);
    }
}

#[test]
fn a_disk_that_is_full_is_said_once_stops_nothing_and_leaves_what_was_kept() {
    let world = World::start(4);
    // A limit of the size of files, in blocks of 512 or 1024 bytes, that rows do not meet.
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -f 4; exec "$0" "$@""#]).arg(crawl().get_program());
    // Rows go nowhere.
    let arguments = world.introduced(&["--state", "s"]);
    let arguments =
        arguments.get_args().map(|word| if word == "metadata.csv" { "-".as_ref() } else { word });
    command.args(arguments);
    let mut running = Running::start_with(command, world.folder.path(), "crawl", Stdio::null());
    world.wait_for_asked(&mut running, 150);
    running.signal("TERM");
    let run = running.finish(LIMIT).expect_code(0);
    // Said once each time that it fails; a whole write may have fitted again in between.
    let said = run.stderr.matches("--state s: cannot be saved").count();
    let again = run.stderr.matches("--state s: saved again").count();
    assert_eq!(said, again + 1, "{run:#?}");
    assert!(run.stderr.contains("s could not be saved and lacks the latest"), "{run:#?}");
    assert!(!world.path("s.saving").exists());
    let mut running = world.begin(world.introduced(&["--state", "s"]));
    world.wait_for_asked(&mut running, 10);
    running.signal("TERM");
    let run = running.finish(LIMIT).expect_code(0);
    assert!(!run.stderr.contains("set aside") && run.stderr.contains(" taken up; "), "{run:#?}");
}

#[test]
fn without_a_state_nothing_is_kept() {
    let world = World::start(2);
    for (words, kept) in
        [(&["--state", "none"][..], false), (&[], false), (&["--state", "s"], true)]
    {
        let mut running = world.begin(world.introduced(words));
        let csv = world.path("metadata.csv");
        let rows = || fs::read(&csv).is_ok_and(|bytes| bytes.len() > 1000);
        running.wait_for("rows", LIMIT, rows);
        running.signal("INT");
        let run = running.finish(LIMIT).expect_code(0);
        assert_eq!(run.stderr.contains("# state: "), kept, "{run:#?}");
        let names = fs::read_dir(world.folder.path()).expect("listed");
        let names = names.map(|entry| entry.expect("entry").file_name());
        let state = names.filter(|name| name == "s" || name == "metadata.csv.state").count();
        assert_eq!(state, usize::from(kept), "{words:?}");
        fs::remove_file(csv).expect("removed");
    }
}

#[test]
fn damage_costs_its_record_and_a_state_without_a_head_is_set_aside() {
    /// Where the bodies of both heads stand, without either of which nothing can be read.
    const HEADS: [usize; 2] = [35, 67];
    let world = World::start(3);
    let mut running = world.begin(world.introduced(&["--state", "s"]));
    world.wait_for_asked(&mut running, 30);
    running.signal("TERM");
    running.finish(LIMIT).expect_code(0);
    let whole = fs::read(world.path("s")).expect("a state");
    let (middle, damaged) = ([whole.len() / 2], "1 damaged record left out");
    for (places, said, aside) in [(&middle[..], damaged, false), (&HEADS, "set aside as", true)] {
        let mut state = whole.clone();
        places.iter().for_each(|place| state[*place] ^= 0x10);
        fs::write(world.path("s"), &state).expect("damaged");
        let mut running = world.begin(world.introduced(&["--state", "s"]));
        world.wait_for_asked(&mut running, 30);
        running.signal("TERM");
        let run = running.finish(LIMIT).expect_code(0);
        let lines = run.stderr.lines().filter(|line| line.contains(said)).count();
        assert_eq!(lines, 1, "{run:#?}");
        assert_eq!(fs::read(world.path("s.damaged")).is_ok_and(|kept| kept == state), aside);
    }
    // The new one is whole.
    let (run, _) = world.crawl_to_the_end();
    assert!(!run.stderr.contains("set aside") && !run.stderr.contains("damaged"), "{run:#?}");
}
