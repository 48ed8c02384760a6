//! `swarm`: a made-up DHT on loopback addresses, to crawl without any network.
//!
//! stdout carries the `crawl` command, or the score; stderr what people want to know besides.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use estudely_sim::swarm::options::{SwarmOptions, crawl_arguments};
use estudely_sim::swarm::output::{check_ours, check_usable};
use estudely_sim::swarm::tally::{Known, Scored};
use estudely_sim::swarm::{AskedLog, Extras, Sockets, Swarm, crawl_self, raise_file_limit};
use estudely_sim::truth::{self, Exposure};
use estudely_sim::world::World;

/// Nothing was found wanting.
const PERFECT: u8 = 0;
/// It could not be done, or the file lacks something.
const WANTING: u8 = 1;
/// The command line makes no sense, or names an output that is not for this world.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let status = match SwarmOptions::parse(&arguments) {
        Ok(options) => run(&options).unwrap_or_else(|complaint| {
            say(&complaint);
            WANTING
        }),
        Err((help, true)) => write_out(&help).map_or(WANTING, |()| PERFECT),
        Err((complaint, false)) => {
            say(complaint.trim_end());
            USAGE
        }
    };
    ExitCode::from(status)
}

fn run(options: &SwarmOptions) -> Result<u8, String> {
    if let (Some(truth), Some(scored)) = (&options.compare, &options.scored) {
        return compare(truth, scored);
    }
    if let Some(Err(line)) = options.crawl.as_deref().map(check_usable) {
        return refuse(&line);
    }
    let started = Instant::now();
    raise_file_limit();
    let sockets = Sockets::bind(options.bind_base, options.port)
        .map_err(|error| format!("port {}: {error} (--port 0 takes any free one)", options.port))?;
    let world =
        World::build(options.plan(sockets.addresses())).map_err(|error| error.to_string())?;
    if let Some(Err(line)) = options.crawl.as_deref().map(|out| check_ours(out, &world)) {
        return refuse(&line);
    }
    let exposure = truth::exposure(&world);
    let asked = options.asked.as_deref().map(|path| {
        let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok::<AskedLog, String>(Box::new(file))
    });
    let asked = asked.transpose()?;
    let extras = Extras { asked, utp_peers: Some(options.utp_share()), ..Extras::default() };
    let swarm = Swarm::start_with(Arc::new(world), sockets, options.weather(), extras)
        .map_err(|error| format!("cannot serve: {error}"))?;
    if let Some(path) = &options.truth {
        write_truth(&swarm, path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    describe(&swarm, exposure, started.elapsed());
    match &options.crawl {
        Some(out) => crawl(&swarm, exposure, out),
        None => serve(options, swarm, exposure),
    }
}

/// The status of an output that is not for this world.
fn refuse(line: &str) -> Result<u8, String> {
    say(line);
    Ok(USAGE)
}

fn crawl(swarm: &Swarm, exposure: Exposure, out: &Path) -> Result<u8, String> {
    let started = Instant::now();
    let scored = crawl_self(swarm, exposure, out).map_err(|error| error.to_string())?;
    say(&format!("crawled for {:.1} s into {}", started.elapsed().as_secs_f64(), out.display()));
    conclude(&scored)
}

fn compare(truth: &Path, scored: &Path) -> Result<u8, String> {
    let open = |path: &Path| File::open(path).map_err(|e| format!("{}: {e}", path.display()));
    let known =
        Known::read(open(truth)?).map_err(|error| format!("{}: {error}", truth.display()))?;
    let scored = known
        .score(BufReader::new(open(scored)?))
        .map_err(|error| format!("{}: {error}", scored.display()))?;
    conclude(&scored)
}

fn conclude(scored: &Scored) -> Result<u8, String> {
    write_out(&format!("{scored}\n"))?;
    Ok(if scored.score.is_perfect() { PERFECT } else { WANTING })
}

fn write_truth(swarm: &Swarm, path: &Path) -> io::Result<()> {
    swarm.write_truth(&mut BufWriter::new(File::create(path)?))
}

fn describe(swarm: &Swarm, exposure: Exposure, took: Duration) {
    let world = swarm.world();
    let first = world.plan().addresses.addr(world.plan().seed, 0);
    say(&format!(
        "{} nodes, {} torrents with {} peers from {} on, port {}, ready after {:.1} s",
        world.node_count(),
        world.torrent_count(),
        world.peer_count(),
        first.ip(),
        first.port(),
        took.as_secs_f64()
    ));
    let [plain, utp, mse] = swarm.ways().count(world);
    say(&format!(
        "of the peers that serve, {plain} take plain TCP, {utp} uTP alone, {mse} encryption alone"
    ));
    say(&format!(
        "{} torrents are exposed in samples, {} of them with a live peer",
        exposure.exposed, exposure.due
    ));
}

/// Prints the command and serves until the time is up; without a limit, until killed.
fn serve(options: &SwarmOptions, swarm: Swarm, exposure: Exposure) -> Result<u8, String> {
    let arguments = crawl_arguments(swarm.world(), exposure, "metadata.csv");
    write_out(&format!("crawl {}\n", arguments.join(" ")))?;
    match options.duration {
        Some(seconds) => std::thread::sleep(Duration::from_secs(seconds)),
        None => loop {
            std::thread::park();
        },
    }
    swarm.stop().map_err(|error| error.to_string())?;
    Ok(PERFECT)
}

fn write_out(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| format!("stdout: {e}"))
}

/// Lines for people. A missing reader loses nothing.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "# {text}");
}
