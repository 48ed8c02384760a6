//! `cargo run --release -p estudely-bench`: crawls a made-up DHT over loopback and prints what it
//! cost, beside a floor program that does the bare fetching and nothing else.
//!
//! The figures of merit are ratios (torrents per CPU-second, datagrams per infohash, share of the
//! floor's speed), since seconds differ from machine to machine. Both contestants are child
//! processes, measured by what the kernel charged them; the world runs in this process.

#![forbid(unsafe_code)]

mod floor;
mod keys;

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use argh::FromArgs;
use estudely_sim::score::{self, Score};
use estudely_sim::swarm::options::{SwarmOptions, crawl_arguments};
use estudely_sim::swarm::{Sockets, Swarm, raise_file_limit};
use estudely_sim::truth::{self, TruthFile};
use estudely_sim::world::{PeerState, World};
use wait4::Wait4;

/// measure a crawl of a made-up DHT: verified torrents per CPU-second, datagrams per infohash,
/// memory, share found
#[derive(FromArgs)]
#[argh(help_triggers("-h", "--help"))]
struct Arguments {
    /// node addresses, a fifth of them dead (20000)
    #[argh(option, default = "20_000")]
    nodes: u32,
    /// torrents (100000)
    #[argh(option, default = "100_000")]
    torrents: u32,
    /// which world (1)
    #[argh(option, default = "1")]
    seed: u64,
    /// end a crawl that is not through after so many seconds (300)
    #[argh(option, default = "300")]
    timeout: u32,
    /// the crawl binary to measure (the one of this workspace, built first)
    #[argh(option)]
    crawl: Option<PathBuf>,
    /// the floor alone
    #[argh(switch)]
    floor_only: bool,
    /// the exchange of keys of an encrypted connection alone, beside one SHA-1 of 16 KiB
    #[argh(switch)]
    keys: bool,
    /// fetch what this list names and print how many were right: the floor's own process
    #[argh(option)]
    floor: Option<PathBuf>,
}

/// What one child did.
struct Measured {
    wall: Duration,
    cpu: Duration,
    memory_bytes: u64,
    verified: u64,
}

impl Measured {
    fn per_cpu_second(&self) -> f64 {
        self.verified as f64 / self.cpu.as_secs_f64().max(1e-6)
    }

    fn print(&self, name: &str) -> io::Result<()> {
        let (wall, cpu) = (self.wall.as_secs_f64(), self.cpu.as_secs_f64());
        let speed = self.per_cpu_second();
        let memory = self.memory_bytes >> 20;
        print_line(&format!(
            "{name:<6} {:>8} verified  {speed:>8.0} per CPU-second  {wall:>7.2} s wall  {cpu:>7.2} s CPU  {memory:>5} MiB peak",
            self.verified
        ))
    }
}

fn main() -> ExitCode {
    let arguments: Arguments = argh::from_env();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "# {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<()> {
    if arguments.keys {
        let (cost, is_within) = keys::measure().map_err(|fault| io::Error::other(fault.word()))?;
        print_line(&cost)?;
        return if is_within { Ok(()) } else { Err(io::Error::other("keys cost too much")) };
    }
    raise_file_limit();
    if let Some(list) = &arguments.floor {
        let verified = floor::run(BufReader::new(File::open(list)?))?;
        return print_line(&verified.to_string());
    }
    let crawl = match (&arguments.crawl, arguments.floor_only) {
        (_, true) => None,
        (Some(crawl), _) => Some(crawl.clone()),
        (None, _) => Some(build_crawl()?),
    };
    let swarm = start(arguments)?;
    let folder = tempfile::tempdir()?;
    let floor = measure_floor(swarm.world(), folder.path())?;
    floor.print("floor")?;
    if let Some(crawl) = crawl {
        measure_crawl(arguments, &crawl, swarm.world(), folder.path(), &floor)?;
    }
    swarm.stop()
}

/// The world of issue 2: a fifth of the addresses dead, 80 % with BEP 51, 30 % of peers dead,
/// and all of them in the clear, since the floor speaks no encryption.
fn start(arguments: &Arguments) -> io::Result<Swarm> {
    let text = format!(
        "--nodes {} --torrents {} --seed {} --dead-nodes 20 --no-bep51 20 --dead-peers 30 \
         --mse-peers 0",
        arguments.nodes, arguments.torrents, arguments.seed
    );
    let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    let options =
        SwarmOptions::parse(&words).map_err(|(complaint, _)| io::Error::other(complaint))?;
    let sockets = Sockets::bind(options.bind_base, 0)?;
    let world = World::build(options.plan(sockets.addresses())).map_err(io::Error::other)?;
    Swarm::start(Arc::new(world), sockets, options.weather())
}

/// Builds the crawler beside this program and says where it is.
fn build_crawl() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().ok_or(io::ErrorKind::NotFound)?;
    let target = folder.parent().ok_or(io::ErrorKind::NotFound)?;
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--package", "estudely-io-smol", "--bin", "crawl"])
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()?;
    if !status.success() {
        return Err(io::Error::other("the crawler does not build"));
    }
    Ok(target.join("release").join("crawl"))
}

/// Waits for a child and says what the kernel charged it.
fn measure(command: &mut Command) -> io::Result<(Measured, Option<i32>, String)> {
    let started = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut said = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        io::Read::read_to_string(&mut stdout, &mut said)?;
    }
    let used = child.wait4()?;
    let measured = Measured {
        wall: started.elapsed(),
        cpu: used.rusage.utime + used.rusage.stime,
        memory_bytes: used.rusage.maxrss,
        verified: 0,
    };
    Ok((measured, used.status.code(), said))
}

/// One live peer of every torrent that has one.
fn measure_floor(world: &World, folder: &Path) -> io::Result<Measured> {
    let path = folder.join("peers.txt");
    let mut list = BufWriter::new(File::create(&path)?);
    for torrent in 0..world.torrent_count() {
        let mut peers = world.peers_of(torrent).map(|peer| world.peer(peer));
        if let Some(peer) = peers.find(|peer| peer.state == PeerState::Live) {
            writeln!(list, "{} {}", world.key(torrent), peer.addr)?;
        }
    }
    list.flush()?;
    let mut command = Command::new(std::env::current_exe()?);
    let (mut measured, _, said) = measure(command.arg("--floor").arg(&path))?;
    measured.verified = said.trim().parse().map_err(io::Error::other)?;
    Ok(measured)
}

fn measure_crawl(
    arguments: &Arguments,
    crawl: &Path,
    world: &World,
    folder: &Path,
    floor: &Measured,
) -> io::Result<()> {
    let (out, stats) = (folder.join("metadata.csv"), folder.join("stats.json"));
    let mut command = Command::new(crawl);
    command
        .args(crawl_arguments(world, truth::exposure(world), &out.to_string_lossy()))
        .args(["--rate", "0", "--new-flows", "0"])
        .args(["--max-connections", "8000", "--progress", "never"])
        .args(["--overall-timeout", &arguments.timeout.to_string()])
        .arg("--stats")
        .arg(&stats);
    let (mut measured, code, _) = measure(&mut command)?;
    if code != Some(0) {
        return Err(io::Error::other(format!("the crawler ended with status {code:?}")));
    }
    let score = score::compare(&TruthFile::of(world), BufReader::new(File::open(&out)?))
        .map_err(io::Error::other)?;
    measured.verified = score.found + score.beyond;
    measured.print("crawl")?;
    print_line(&format!(
        "ratio  {:.2} of the floor's speed",
        measured.per_cpu_second() / floor.per_cpu_second()
    ))?;
    print_counters(&stats, &score)
}

/// Datagrams per infohash, as the crawl itself counted, and what the truth says of its file.
fn print_counters(stats: &Path, score: &Score) -> io::Result<()> {
    let stats: serde_json::Value = serde_json::from_str(&fs::read_to_string(stats)?)?;
    if let (Some(sent), Some(new)) =
        (find(&stats, "datagrams_sent"), find(&stats, "infohashes_new"))
    {
        let each = sent as f64 / new.max(1) as f64;
        print_line(&format!(
            "sent   {each:.2} datagrams per discovered infohash ({sent} / {new})"
        ))?;
    }
    print_line(&format!("score  {score}"))
}

/// A counter by its name, however deep it lies.
fn find(value: &serde_json::Value, name: &str) -> Option<u64> {
    let object = value.as_object()?;
    object
        .get(name)
        .and_then(serde_json::Value::as_u64)
        .or_else(|| object.values().find_map(|inner| find(inner, name)))
}

fn print_line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}
