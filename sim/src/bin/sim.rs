//! `sim`: the crawler in a made-up internet where everything goes wrong.
//!
//! stdout carries scenarios, failures and trace hashes; stderr progress and the last events of a
//! failure.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use estudely_sim::command::campaign::Campaign;
use estudely_sim::command::{Options, Refusal, Task};
use estudely_sim::curve::{CurvePoint, NEARLY_ALL};
use estudely_sim::inject::INJECTIONS;
use estudely_sim::scenario::Scenario;
use estudely_sim::shrink::shrink;
use estudely_sim::verdict::{self, Failure, Report, RunVerdict, Tracing, Wanted};

/// Every rule held.
const HELD: u8 = 0;
/// A rule was broken, or a run could not be made.
const BROKEN: u8 = 1;
/// The command line makes no sense, or names a file that cannot be written.
const USAGE: u8 = 2;

/// Between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let status = match Options::parse(&arguments) {
        Ok(options) => dispatch(&options).unwrap_or_else(|complaint| {
            say(&complaint);
            BROKEN
        }),
        Err(Refusal::Help(help)) => out(&help).map_or(BROKEN, |()| HELD),
        Err(Refusal::Complaint(complaint)) => {
            say(&complaint);
            USAGE
        }
    };
    ExitCode::from(status)
}

fn dispatch(options: &Options) -> Result<u8, String> {
    match (options.task, options.seed) {
        (Task::Version, _) => {
            out(&format!("sim {}\n", env!("CARGO_PKG_VERSION")))?;
            Ok(HELD)
        }
        (Task::ListInjections, _) => list_injections().map(|()| HELD),
        (Task::Explain, Some(seed)) => {
            out(&options.scenario(seed)?.explain())?;
            Ok(HELD)
        }
        (Task::Check, Some(seed)) => run_twice(options, seed),
        (Task::Run, Some(seed)) => run_one(options, seed),
        (Task::Run | Task::Check | Task::Explain, None) => sweep(options),
    }
}

fn list_injections() -> Result<(), String> {
    let mut text = String::new();
    for injection in INJECTIONS {
        let rules = injection.rules.join(" or ");
        let bug = injection.bug;
        text.push_str(&format!("{:<24} rule {rules:<12} {}\n", bug.name(), bug.effect()));
    }
    out(&text)
}

/// What a run is to keep and plant.
fn wanted(options: &Options) -> Wanted {
    Wanted {
        bug: options.injection().map(|injection| injection.bug),
        curve: options.curve.is_some(),
        tracing: if options.trace.is_some() { Tracing::Text } else { Tracing::Hash },
        until: options.until,
    }
}

fn run(options: &Options, scenario: &Scenario) -> Result<Report, String> {
    verdict::run(scenario, &wanted(options)).map_err(|error| error.to_string())
}

/// Replays one seed.
fn run_one(options: &Options, seed: u64) -> Result<u8, String> {
    let scenario = options.scenario(seed)?;
    for path in options.trace.iter().chain(&options.curve) {
        // Said before an hour's run, not after it.
        if let Err(complaint) = write_file(path, std::iter::empty()) {
            say(&complaint);
            return Ok(USAGE);
        }
    }
    out(&format!("{scenario}\n"))?;
    let began = Instant::now();
    let report = run(options, &scenario)?;
    let verdict = &report.verdict;
    say(&format!("{}, in {:.2} s", verdict.tally, began.elapsed().as_secs_f64()));
    if let Some(honest) = &verdict.honest {
        say(&honest.to_string());
    }
    if let Some(path) = &options.trace {
        let lines = report.text.iter();
        write_file(path, lines.flat_map(|line| [line.as_bytes(), b"\n"]))?;
    }
    if let (Some(path), Some(curve)) = (&options.curve, &report.curve) {
        write_file(path, [curve.as_slice()].into_iter())?;
        say(&nearly_all(report.nearly_all));
    }
    match &verdict.failure {
        Some(failure) => {
            out(&format!("{}\n", failure_line(options, verdict, failure)))?;
            show_tail(verdict);
            shrink_if_wanted(options, verdict, failure)?;
        }
        None => out("held\n")?,
    }
    out(&format!("{:016x}\n", verdict.hash))?;
    Ok(if verdict.failure.is_some() { BROKEN } else { HELD })
}

/// What finding nearly all that is exposed cost.
fn nearly_all(point: Option<CurvePoint>) -> String {
    let share = NEARLY_ALL * 100.0;
    let Some(point) = point else { return format!("{share} % of what is exposed was not found") };
    format!(
        "{share} % of what is exposed was found after {:.1} s with {} queries, of which {} were \
         sample queries to {} contacts, {:.3} for each",
        point.elapsed.as_secs_f64(),
        point.queries,
        point.sample_queries,
        point.contacts_asked,
        point.sample_queries_per_contact(),
    )
}

/// Runs one seed twice and names the first event that differs.
fn run_twice(options: &Options, seed: u64) -> Result<u8, String> {
    let scenario = options.scenario(seed)?;
    out(&format!("{scenario}\n"))?;
    let run = |tracing| {
        let wanted = Wanted { tracing, ..wanted(options) };
        verdict::run(&scenario, &wanted).map_err(|error| error.to_string())
    };
    let first = run(Tracing::Record)?;
    let events = first.recorded.len();
    let second = run(Tracing::Compare(first.recorded))?.verdict;
    match &second.failure {
        Some(failure) => {
            out(&format!("{}\n", failure_line(options, &second, failure)))?;
            show_tail(&second);
        }
        None => out(&format!("held, and all {events} events are the same in both runs\n"))?,
    }
    out(&format!("{:016x}\n", second.hash))?;
    let same = second.hash == first.verdict.hash;
    Ok(if second.failure.is_some() || !same { BROKEN } else { HELD })
}

/// Runs many seeds; with a planted bug, until it is caught.
fn sweep(options: &Options) -> Result<u8, String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let campaign = Campaign {
        from: options.seed_from,
        count: options.seed_count(),
        jobs: options.jobs.unwrap_or(cores),
        budget: options.budget,
    };
    let (began, mut said_at) = (Instant::now(), Instant::now());
    let (mut done, mut complaint) = (0u64, None);
    let mut broken: Vec<(RunVerdict, Failure)> = Vec::new();
    let job = |seed| options.scenario(seed).and_then(|scenario| run(options, &scenario));
    campaign.run(job, |seed, result| {
        done += 1;
        match result.map(|report| report.verdict) {
            Ok(verdict) => {
                if let Some(failure) = verdict.failure.clone() {
                    let line = failure_line(options, &verdict, &failure);
                    complaint = out(&format!("{line}\n")).err();
                    if broken.is_empty() {
                        show_tail(&verdict);
                    }
                    broken.push((verdict, failure));
                }
            }
            Err(error) => complaint = Some(format!("seed {seed}: {error}")),
        }
        if said_at.elapsed() >= PROGRESS_EVERY {
            said_at = Instant::now();
            say(&progress(done, broken.len(), began.elapsed()));
        }
        complaint.is_none() && (options.inject.is_none() || broken.is_empty())
    });
    if let Some(complaint) = complaint {
        return Err(complaint);
    }
    say(&progress(done, broken.len(), began.elapsed()));
    if let Some((verdict, failure)) = broken.first() {
        shrink_if_wanted(options, verdict, failure)?;
        return Ok(BROKEN);
    }
    out(&match &options.inject {
        Some(name) => format!("{name} was planted in {done} seeds and not caught\n"),
        None => format!("{done} seeds, every rule held\n"),
    })?;
    Ok(HELD)
}

fn progress(done: u64, broken: usize, took: Duration) -> String {
    let speed = done as f64 / took.as_secs_f64().max(0.001);
    format!(
        "{done} seeds in {:.1} s, {speed:.2} seeds per second, {broken} broken",
        took.as_secs_f64()
    )
}

/// The line that says everything about a failure, and how to see it again.
fn failure_line(options: &Options, verdict: &RunVerdict, failure: &Failure) -> String {
    let scenario = &verdict.scenario;
    let overrides = match scenario.overrides() {
        none if none.is_empty() => "as drawn".to_owned(),
        some => some,
    };
    format!("seed {} ({overrides}) {failure}; replay: {}", scenario.seed, options.replay(scenario))
}

fn shrink_if_wanted(
    options: &Options,
    verdict: &RunVerdict,
    failure: &Failure,
) -> Result<(), String> {
    let Some(most) = options.shrink else { return Ok(()) };
    let wanted = Wanted { bug: wanted(options).bug, ..Wanted::default() };
    let shrunk = shrink(&verdict.scenario, most, |scenario| {
        let report = verdict::run(scenario, &wanted).ok();
        let again = report.and_then(|report| report.verdict.failure);
        again.is_some_and(|again| again.rule == failure.rule)
    });
    let how = if shrunk.is_minimal { "smallest" } else { "smallest so far" };
    let replay = options.replay(&shrunk.scenario);
    out(&format!("{how} of {} runs that breaks rule {}: {replay}\n", shrunk.runs, failure.rule))
}

/// The events before a failure.
fn show_tail(verdict: &RunVerdict) {
    let mut err = io::stderr().lock();
    for line in &verdict.tail {
        if writeln!(err, "{line}").is_err() {
            return;
        }
    }
}

fn write_file<'a>(path: &Path, parts: impl Iterator<Item = &'a [u8]>) -> Result<(), String> {
    let write = || -> io::Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        for part in parts {
            file.write_all(part)?;
        }
        file.flush()
    };
    write().map_err(|error| format!("{}: {error}", path.display()))
}

fn out(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| format!("stdout: {e}"))
}

/// Lines for people. A missing reader loses nothing.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "# {text}");
}
