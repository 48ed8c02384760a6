//! Opening the outputs. Those of earlier runs are read through, a second or more for each gigabyte,
//! on a thread of their own: the timeout and signals hold meanwhile, and a line says how far it is.

use std::path::Path;
use std::thread;

use async_io::Timer;
use estudely_core::keyed::Rng;
use estudely_core::{AddressPolicy, Duration};
use smol::future::{self, FutureExt};

use crate::cli::args::{Command, Form};
use crate::cli::progress::say;
use crate::engine::clock::Clock;
use crate::engine::run::Ended;
use crate::engine::signal::Interrupts;
use crate::files::sink::{self, Opened, OutputError, Plan, Reading, Table};

/// Reading that takes longer is spoken of, and so often.
const SAY_EVERY: Duration = Duration::from_secs(2);

/// Standard input, as a file.
const STDIN: &str = "/dev/stdin";

/// Opens the outputs of a command; or how the run ended before that was done, and then they are as
/// they were.
pub(super) fn open(
    command: &Command,
    mut rng: Rng,
    clock: Clock,
    interrupts: &Interrupts,
) -> Result<Result<Opened, Ended>, OutputError> {
    let left = command.overall_timeout.map(|most| most.saturating_sub(clock.elapsed()));
    let reading = Reading::default();
    let (done, opened) = async_channel::bounded(1);
    thread::scope(|scope| {
        let theirs = &reading;
        let open = move || {
            let others = others(command);
            let opened = sink::open_watched(&plan(command, &others), &mut rng, theirs);
            // Received even after the run was told to end.
            let _ = done.try_send(opened);
        };
        let started = thread::Builder::new().name("outputs".into()).spawn_scoped(scope, open);
        started.map_err(|error| OutputError::Lost(format!("the outputs: {error}")))?;
        let finished = async { Ok(opened.recv().await) };
        let stopped = async { Err(stopped(left, interrupts).await) };
        let ended = match async_io::block_on(finished.or(stopped).or(tell(&reading))) {
            Ok(Ok(opened)) => return opened.map(Ok),
            Ok(Err(_)) => return Err(OutputError::Lost("the outputs: not opened".to_owned())),
            Err(ended) => ended,
        };
        reading.cancel();
        if let Ok(Ok(Opened { fanout, .. })) = opened.recv_blocking() {
            fanout.discard();
        }
        Ok(Err(ended))
    })
}

/// Refuses files of the command that are one; nothing is opened.
pub(super) fn refuse_one_file_twice(command: &Command) -> Result<(), String> {
    sink::refuse_one_file_twice(&plan(command, &others(command)))
}

/// Why nothing more is waited for: a signal, or the timeout, of which so much is left.
pub(super) async fn stopped(left: Option<Duration>, interrupts: &Interrupts) -> Ended {
    let signal = interrupts.first();
    let signalled = async {
        // The channel lives as long as the ear.
        let _ = signal.recv().await;
        Ended::Signal
    };
    let timed_out = async {
        match left {
            Some(left) => Timer::after(left).await,
            None => future::pending().await,
        };
        Ended::Timeout
    };
    signalled.or(timed_out).await
}

/// Says how far the reading is; never ends.
async fn tell<T>(reading: &Reading) -> T {
    loop {
        Timer::after(SAY_EVERY).await;
        say(&reading.to_string());
    }
}

/// Files of the run that no output may be, with what to call them.
fn others(command: &Command) -> Vec<(&str, &Path)> {
    let mut others: Vec<(&str, &Path)> = Vec::new();
    match &command.form {
        Form::Fetch(Some(path)) => others.push(("the input", path)),
        // What standard input was redirected from, if that is a file.
        Form::Fetch(None) if Path::new(STDIN).is_file() => {
            others.push(("the input", STDIN.as_ref()))
        }
        _ => {}
    }
    if let Some(path) = &command.stats {
        others.push(("--stats", path));
    }
    if let Some(path) = &command.state {
        others.push(("--state", path));
    }
    others
}

fn plan<'a>(command: &'a Command, others: &'a [(&'a str, &'a Path)]) -> Plan<'a> {
    let table = match command.form {
        Form::Peers => Table::Pairs,
        _ => Table::Rows { per: command.rows, escape_formulas: command.escape_formulas },
    };
    Plan {
        places: &command.outputs,
        table,
        tee: command.tee,
        overwrite: command.overwrite,
        // Of the other forms the user may name peers on this machine.
        public: command.form == Form::Crawl && command.policy == AddressPolicy::Public,
        bytes_max: command.max_output_bytes,
        others,
    }
}
