//! The command `crawl` from its words to its exit status.
//!
//! Everything that can be refused is refused before anything is sent or truncated. stdout carries
//! data only: rows, or the help text that was asked for.

mod setup;
mod stats_file;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

use estudely_core::rng::{Rng, Seed};

use crate::args::{self, Command, Form, Parsed, Place};
use crate::entropy;
use crate::pairs::{self, Tally};
use crate::progress::{Goals, Progress, Surroundings, say};
use crate::report::{self, Written};
use crate::run::{Observer, Report, Requests, run};
use crate::sink::{self, OpenError, Opened, Plan, Table};
use stats_file::StatsFile;

/// Ended as asked.
pub const OK: u8 = 0;
/// The run could not do its work.
pub const FAILED: u8 = 1;
/// The command line, the input or an output cannot be used.
pub const USAGE: u8 = 2;

/// An exit status other than [`OK`], and the line that says why.
struct Failure {
    status: u8,
    line: String,
}

impl Failure {
    fn new(status: u8, line: impl ToString) -> Self {
        Self { status, line: line.to_string() }
    }
}

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
    let seed = match command.seed {
        Some(n) => Seed::from_u64(n),
        None => entropy::random_seed()
            .map_err(|error| Failure::new(FAILED, format!("no randomness: {error}")))?,
    };
    let tally = Tally::default();
    let requests = requests(command, &tally)?;
    let stats_file = command.stats.as_deref().map(StatsFile::open).transpose();
    let stats_file = stats_file.map_err(|line| Failure::new(USAGE, line))?;
    let opened = match outputs(command, &mut Rng::new(seed).fork("outputs")) {
        Ok(opened) => opened,
        Err(error) => {
            stats_file.iter().for_each(StatsFile::leave_as_it_was);
            return match error {
                OpenError::Refused(line) => Err(Failure::new(USAGE, line)),
                OpenError::Lost(line) => Err(Failure::new(FAILED, line)),
                // A reader that left is a clean end, however early.
                OpenError::Closed => Ok(OK),
            };
        }
    };
    let mut progress = progress(command, &tally);
    opened.notes.iter().for_each(|note| progress.note(note));
    if let Form::Get { target, .. } = &command.form
        && opened.known.contains(target.hash)
    {
        stats_file.iter().for_each(StatsFile::leave_as_it_was);
        say("nothing to do");
        return Ok(OK);
    }
    let Opened { mut fanout, known, .. } = opened;
    let options = setup::options(command, seed, known.iter().collect(), requests);
    drop(known);
    let ended = run(options, &mut fanout, &mut progress);
    progress.finish();
    tally.closing_note().iter().for_each(|note| say(note));
    let written = Written { rows: fanout.rows(), bytes: fanout.bytes() };
    match ended {
        Ok(report) => close(command, &report, written, stats_file.as_ref()),
        Err(error) => {
            if let Some(file) = &stats_file {
                file.write(&serde_json::json!({ "ended": "error", "error": error.to_string() }))?;
            }
            Err(Failure::new(FAILED, error))
        }
    }
}

/// Says how it went, writes the statistics, and judges.
fn close(
    command: &Command,
    report: &Report,
    written: Written,
    stats_file: Option<&StatsFile>,
) -> Result<u8, Failure> {
    let mode = setup::mode(&command.form);
    let why_empty = report::diagnose(report, mode);
    report::closing(report, mode, written, why_empty).iter().for_each(|line| say(line));
    if let Some(file) = stats_file {
        file.write(&report::json(report, written))?;
    }
    let unverified = matches!(command.form, Form::Get { .. }) && report.stats.verified == 0;
    Ok(if unverified { FAILED } else { OK })
}

/// What is to be fetched, if the form says so.
fn requests(command: &Command, tally: &Tally) -> Result<Requests, Failure> {
    match &command.form {
        Form::Crawl | Form::Peers => Ok(Requests::none()),
        Form::Get { .. } => Ok(Requests::new(setup::request(command))),
        Form::Fetch(path) => pairs::open(path.as_deref(), tally).map_err(|line| {
            tally.take_notes().iter().chain(&tally.closing_note()).for_each(|note| say(note));
            Failure::new(USAGE, line)
        }),
    }
}

fn outputs(command: &Command, rng: &mut Rng) -> Result<Opened, OpenError> {
    let mut others: Vec<(&str, &Path)> = Vec::new();
    if let Form::Fetch(Some(path)) = &command.form {
        others.push(("the input", path));
    }
    if let Some(path) = &command.stats {
        others.push(("--stats", path));
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
        public: command.form == Form::Crawl && !command.allow_private,
        bytes_max: command.max_output_bytes,
        others: &others,
    };
    sink::open(&plan, rng)
}

fn progress(command: &Command, tally: &Tally) -> Progress {
    let rows_on_stdout = command.tee || command.outputs.contains(&Place::Stdout);
    let goals =
        Goals { max_infohashes: command.max_infohashes, overall_timeout: command.overall_timeout };
    Progress::new(
        command.progress,
        command.verbose,
        Surroundings::here(rows_on_stdout),
        goals,
        Some(tally.clone()),
    )
}
