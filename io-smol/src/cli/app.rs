//! The command `crawl` from its words to its exit status.
//!
//! Everything that can be refused is refused before anything is sent or truncated, and a run that
//! fails before any node answered leaves its outputs as they were. stdout carries data only: rows,
//! or the help text that was asked for.

mod failure;
mod opening;
mod setup;
mod stats_file;

use std::ffi::OsString;
use std::io::{self, Write};

use estudely_core::keyed::Rng;
use estudely_core::{Seed, Stats};

use super::args::{self, Command, Form, Parsed};
use super::progress::{Goals, Progress, Surroundings, say};
use super::report::{self, OutputTotals};
use super::stderr;
use crate::engine::clock::Clock;
use crate::engine::run::{
    BootstrapReport, Ended, Observer, Report, Requests, RunError, RunFailed, Sink, UdpReport, run,
};
use crate::engine::signal::Interrupts;
use crate::entropy;
use crate::files::lists::{self, LinesRead};
use crate::files::sink::{self, Opened, OutputError, Place};
use crate::files::state::StateFile;
use failure::Failure;
use stats_file::StatsFile;

pub use failure::{FAILED, OK, USAGE};

/// Runs `crawl` with these words, its own name left out; returns the exit status.
pub fn main(words: impl Iterator<Item = OsString>) -> u8 {
    let ended = text(words)
        .and_then(|words| args::parse(&words).map_err(|error| Failure::new(USAGE, error)))
        .and_then(|parsed| match parsed {
            Parsed::Text(text) => print(&text),
            Parsed::Run(command) => execute(&command),
        });
    let status = ended.unwrap_or_else(|failure| {
        stderr::line(&format!("crawl: {}", failure.line));
        failure.status
    });
    stderr::finish();
    status
}

/// Prints the text that was asked for.
fn print(text: &str) -> Result<u8, Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // A reader that left has what it wanted.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(FAILED, format!("standard output: {error}")))
        }
        _ => Ok(OK),
    }
}

fn text(words: impl Iterator<Item = OsString>) -> Result<Vec<String>, Failure> {
    let text = |word: OsString| {
        word.into_string().map_err(|word| {
            let shown = crate::text::printable(&word.to_string_lossy());
            Failure::new(USAGE, format!("{shown}: not UTF-8; rename the file, or use --out -"))
        })
    };
    words.map(text).collect()
}

fn execute(command: &Command) -> Result<u8, Failure> {
    let clock = Clock::start();
    let seed = match command.seed {
        Some(n) => Seed::from_u64(n),
        None => entropy::random_seed()
            .map_err(|error| Failure::new(FAILED, format!("no randomness: {error}")))?,
    };
    // Refused before anything is opened.
    setup::config(command).map_err(|error| Failure::new(USAGE, error.to_string()))?;
    if command.tee || command.outputs.contains(&Place::Stdout) {
        sink::check_stdout().map_err(|error| Failure::new(FAILED, error))?;
    }
    let interrupts = Interrupts::listen()
        .map_err(|error| Failure::new(FAILED, format!("cannot handle signals: {error}")))?;
    let tally = LinesRead::default();
    let requests = match requests(command, &tally, &interrupts)? {
        Ok(requests) => requests,
        Err(ended) => {
            let why = "no line came from the input";
            return never_began(command, clock, ended, why, stats_file(command)?.as_ref());
        }
    };
    let stats_file = stats_file(command)?;
    let rng = Rng::new(seed).fork("outputs");
    let opened = match opening::open(command, rng, clock, &interrupts) {
        Ok(Ok(opened)) => opened,
        Ok(Err(ended)) => {
            let why = "the outputs were still being read";
            return never_began(command, clock, ended, why, stats_file.as_ref());
        }
        Err(error) => {
            stats_file.iter().for_each(StatsFile::leave_as_it_was);
            return Err(match error {
                OutputError::Refused(line) => Failure::new(USAGE, line),
                OutputError::Lost(line) => Failure::new(FAILED, line),
            });
        }
    };
    work(command, Prepared { clock, seed, interrupts, tally, requests, stats_file, opened })
}

/// What a run begins with.
struct Prepared {
    clock: Clock,
    seed: Seed,
    interrupts: Interrupts,
    tally: LinesRead,
    requests: Requests,
    stats_file: Option<StatsFile>,
    opened: Opened,
}

/// Runs a command whose input and outputs are open.
fn work(command: &Command, prepared: Prepared) -> Result<u8, Failure> {
    let Prepared { clock, seed, interrupts, tally, requests, stats_file, opened } = prepared;
    let crawler = setup::config(command).map_err(|error| Failure::new(USAGE, error.to_string()))?;
    let mut progress = progress(command, &tally);
    opened.notes.iter().chain(&notes_on_link(command)).for_each(|note| progress.note(note));
    let Opened { mut fanout, known, .. } = opened;
    if let Form::Get { target, .. } = &command.form
        && known.contains(target.hash)
    {
        stats_file.iter().for_each(StatsFile::leave_as_it_was);
        fanout.begin().map_err(|error| Failure::new(FAILED, RunError::SinkLost(error)))?;
        say("nothing to do");
        return Ok(OK);
    }
    let state = state_file(command).inspect_err(|_| {
        stats_file.iter().for_each(StatsFile::leave_as_it_was);
        fanout.discard();
    })?;
    let known = known.iter().collect();
    let mut options =
        setup::options(command, crawler, seed, state, known, requests, Some(interrupts));
    // Reading the input and the outputs may have taken its time.
    let waited = clock.elapsed();
    options.overall_timeout = options.overall_timeout.map(|most| most.saturating_sub(waited));
    let ended = run(options, &mut fanout, &mut progress);
    progress.finish();
    tally.closing_notes().iter().for_each(|note| say(note));
    let written = OutputTotals { rows: fanout.rows(), bytes: fanout.bytes() };
    match ended {
        Ok(report) => {
            let why_empty = report::diagnose(&report, setup::mode(&command.form), command.policy);
            close(command, &report, written, why_empty, stats_file.as_ref())
        }
        Err(failed) => {
            fanout.discard();
            Err(failure(command, &failed, written, stats_file.as_ref()))
        }
    }
}

/// What of a magnet link was ignored.
fn notes_on_link(command: &Command) -> Vec<String> {
    let Form::Get { target, .. } = &command.form else { return Vec::new() };
    target.notes.iter().map(|note| format!("the link: {note}")).collect()
}

fn stats_file(command: &Command) -> Result<Option<StatsFile>, Failure> {
    let Some(path) = &command.stats else { return Ok(None) };
    let opened = opening::refuse_one_file_twice(command).and_then(|()| StatsFile::open(path));
    opened.map(Some).map_err(|line| Failure::new(USAGE, line))
}

fn state_file(command: &Command) -> Result<Option<StateFile>, Failure> {
    let opened = command.state.as_deref().map(StateFile::open).transpose();
    opened.map_err(|error| Failure::new(USAGE, error))
}

/// A clean end before the run itself: every output is as it was.
fn never_began(
    command: &Command,
    clock: Clock,
    ended: Ended,
    why: &str,
    stats_file: Option<&StatsFile>,
) -> Result<u8, Failure> {
    let report = Report {
        stats: Stats::default(),
        elapsed: clock.elapsed(),
        ended,
        bootstrap: BootstrapReport::default(),
        udp: UdpReport::default(),
        state: None,
    };
    let why_empty = vec![format!("nothing found: {why}")];
    close(command, &report, OutputTotals::default(), why_empty, stats_file)
}

/// What a failed run did all the same, and the line that says why it failed.
fn failure(
    command: &Command,
    failed: &RunFailed,
    written: OutputTotals,
    stats_file: Option<&StatsFile>,
) -> Failure {
    let RunFailed { error, report } = failed;
    let mut value = serde_json::json!({});
    if let Some(report) = report {
        if report.stats.queries() + report.stats.dialled > 0 {
            let mode = setup::mode(&command.form);
            report::closing(report, mode, written, Vec::new()).iter().for_each(|line| say(line));
        } else {
            report::left_out(&report.stats).iter().for_each(|line| say(line));
        }
        value = report::json(report, written);
    }
    value["ended"] = report::FAILED.into();
    value["error"] = error.to_string().into();
    let status = match error {
        RunError::BootstrapFamilyOff { .. } => USAGE,
        _ => FAILED,
    };
    if let Some(file) = stats_file {
        if status == USAGE {
            file.leave_as_it_was();
        } else if let Err(Failure { line, .. }) = file.write(&value) {
            say(&line);
        }
    }
    Failure::new(status, error)
}

/// Says how it went, writes the statistics, and judges.
fn close(
    command: &Command,
    report: &Report,
    written: OutputTotals,
    why_empty: Vec<String>,
    stats_file: Option<&StatsFile>,
) -> Result<u8, Failure> {
    let mode = setup::mode(&command.form);
    report::closing(report, mode, written, why_empty).iter().for_each(|line| say(line));
    if let Some(file) = stats_file {
        file.write(&report::json(report, written))?;
    }
    let unverified = matches!(command.form, Form::Get { .. }) && report.stats.verified == 0;
    Ok(if unverified { FAILED } else { OK })
}

/// What is to be fetched, if the form says so; or how the run ended while it waited for that.
fn requests(
    command: &Command,
    tally: &LinesRead,
    interrupts: &Interrupts,
) -> Result<Result<Requests, Ended>, Failure> {
    let path = match &command.form {
        Form::Crawl | Form::Peers => return Ok(Ok(Requests::none())),
        Form::Get { .. } => return Ok(Ok(Requests::new(setup::request(command)))),
        Form::Fetch(path) => path.as_deref(),
    };
    let stopped = opening::stopped(command.overall_timeout, interrupts);
    lists::open(path, tally, stopped).map_err(|line| {
        tally.take_notes().iter().chain(&tally.closing_notes()).for_each(|note| say(note));
        Failure::new(USAGE, line)
    })
}

fn progress(command: &Command, tally: &LinesRead) -> Progress {
    let rows_on_stdout = command.tee || command.outputs.contains(&Place::Stdout);
    let goals =
        Goals { max_infohashes: command.max_infohashes, overall_timeout: command.overall_timeout };
    Progress::new(
        command.progress,
        command.verbosity,
        Surroundings::here(rows_on_stdout),
        goals,
        Some(tally.clone()),
    )
}
