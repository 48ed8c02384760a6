//! The command `crawl` from its words to its exit status.
//!
//! Everything that can be refused is refused before anything is sent or truncated, and a run that
//! fails before any node answered leaves its outputs as they were. stdout carries data only: rows,
//! or the help text that was asked for.

mod failure;
mod setup;
mod stats_file;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

use async_io::Timer;
use estudely_core::keyed::Rng;
use estudely_core::{AddressPolicy, Duration, Seed, Stats};
use smol::future::{self, FutureExt};

use super::args::{self, Command, Form, Parsed};
use super::progress::{Goals, Progress, Surroundings, say};
use super::report::{self, OutputTotals};
use crate::engine::clock::Clock;
use crate::engine::run::{
    BootstrapReport, Ended, Observer, Report, Requests, RunError, RunFailed, Sink, UdpReport, run,
};
use crate::engine::signal::Interrupts;
use crate::entropy;
use crate::files::lists::{self, LinesRead};
use crate::files::sink::{self, Opened, OutputError, Place, Plan, Table};
use crate::files::state::{self, StateFile};
use failure::Failure;
use stats_file::StatsFile;

pub use failure::{FAILED, OK, USAGE};

/// Runs `crawl` with these words, its own name left out; returns the exit status.
pub fn main(words: impl Iterator<Item = OsString>) -> u8 {
    let ended = text(words)
        .and_then(|words| args::parse(&words).map_err(|error| Failure::new(USAGE, error)))
        .and_then(|parsed| match parsed {
            Parsed::Text(text) => {
                // A reader that left has what it wanted.
                let _ = io::stdout().lock().write_all(text.as_bytes());
                Ok(OK)
            }
            Parsed::Run(command) => execute(&command),
        });
    ended.unwrap_or_else(|failure| {
        let _ = writeln!(io::stderr().lock(), "crawl: {}", failure.line);
        failure.status
    })
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
    let crawler = setup::config(command).map_err(|error| Failure::new(USAGE, error.to_string()))?;
    let interrupts = Interrupts::listen()
        .map_err(|error| Failure::new(FAILED, format!("cannot handle signals: {error}")))?;
    let tally = LinesRead::default();
    let requests = match requests(command, &tally, &interrupts)? {
        Ok(requests) => requests,
        Err(ended) => return never_began(command, clock.elapsed(), ended),
    };
    // The reader of standard input may have taken its time.
    let waited = clock.elapsed();
    let stats_file = stats_file(command)?;
    let opened = match outputs(command, &mut Rng::new(seed).fork("outputs")) {
        Ok(opened) => opened,
        Err(error) => {
            stats_file.iter().for_each(StatsFile::leave_as_it_was);
            return Err(match error {
                OutputError::Refused(line) => Failure::new(USAGE, line),
                OutputError::Lost(line) => Failure::new(FAILED, line),
            });
        }
    };
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
    let opened = command.stats.as_deref().map(StatsFile::open).transpose();
    opened.map_err(|line| Failure::new(USAGE, line))
}

fn state_file(command: &Command) -> Result<Option<StateFile>, Failure> {
    let opened = command.state.as_deref().map(StateFile::open).transpose();
    opened.map_err(|error| match error {
        state::StateFileError::Refused(line) => Failure::new(USAGE, line),
        state::StateFileError::Failed(line) => Failure::new(FAILED, line),
    })
}

/// A clean end while standard input had said nothing yet: no output was even looked at.
fn never_began(command: &Command, elapsed: Duration, ended: Ended) -> Result<u8, Failure> {
    let report = Report {
        stats: Stats::default(),
        elapsed,
        ended,
        bootstrap: BootstrapReport::default(),
        udp: UdpReport::default(),
        state: None,
    };
    let why_empty = vec!["nothing found: no line came from the input".to_owned()];
    close(command, &report, OutputTotals::default(), why_empty, stats_file(command)?.as_ref())
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
    let signal = interrupts.first();
    let signalled = async {
        // The channel lives as long as the ear.
        let _ = signal.recv().await;
        Ended::Signal
    };
    let timed_out = async {
        match command.overall_timeout {
            Some(most) => Timer::after(most).await,
            None => future::pending().await,
        };
        Ended::Timeout
    };
    lists::open(path, tally, signalled.or(timed_out)).map_err(|line| {
        tally.take_notes().iter().chain(&tally.closing_notes()).for_each(|note| say(note));
        Failure::new(USAGE, line)
    })
}

fn outputs(command: &Command, rng: &mut Rng) -> Result<Opened, OutputError> {
    let mut others: Vec<(&str, &Path)> = Vec::new();
    if let Form::Fetch(Some(path)) = &command.form {
        others.push(("the input", path));
    }
    if let Some(path) = &command.stats {
        others.push(("--stats", path));
    }
    if let Some(path) = &command.state {
        others.push(("--state", path));
    }
    let table = match command.form {
        Form::Peers => Table::Pairs,
        _ => Table::Rows { per: command.rows, escape_formulas: command.escape_formulas },
    };
    let plan = Plan {
        places: &command.outputs,
        table,
        tee: command.tee,
        overwrite: command.overwrite,
        // Of the other forms the user may name peers on this machine.
        public: command.form == Form::Crawl && command.policy == AddressPolicy::Public,
        bytes_max: command.max_output_bytes,
        others: &others,
    };
    sink::open(&plan, rng)
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
