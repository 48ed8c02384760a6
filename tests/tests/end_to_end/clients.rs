//! The swarm of real clients, started once for all tests that need it. It ends by itself when this
//! process does, because its stdin then closes.

use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::program::{crawl, target_folder};
use crate::truth::Truth;

/// Longer than the launcher's own deadlines together.
const START_LIMIT: Duration = Duration::from_secs(400);

/// First and last host number that the launcher leaves to crawlers.
const HOSTS: std::ops::RangeInclusive<u8> = 200..=254;

/// Why there is no swarm.
#[derive(Debug)]
pub(crate) enum Absent {
    /// A program is missing on this machine.
    NotInstalled(String),
    /// All is installed, and it does not start.
    Broken(String),
}

impl Absent {
    /// Says why nothing is tested, on stderr; fails where all must be.
    pub(crate) fn skip<T>(&self) -> Option<T> {
        match self {
            Self::NotInstalled(reason) if !is_ci() => {
                // Not `eprintln!`: libtest would hide that nothing was tested.
                let _ = writeln!(io::stderr(), "skipped: {reason}");
                None
            }
            Self::NotInstalled(reason) | Self::Broken(reason) => panic!("{reason}"),
        }
    }
}

/// A running swarm.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) truth: Truth,
    pub(crate) nodes: u64,
    bootstrap: Vec<String>,
    prefix: String,
    next_host: AtomicU8,
    // Holds its stdin open.
    _launcher: Child,
}

impl Clients {
    /// The swarm of this process. `None`, and a reason on stderr, where the clients are not
    /// installed; under `CI=true` that is a failure.
    pub(crate) fn get() -> Option<&'static Self> {
        static CLIENTS: OnceLock<Result<Clients, Absent>> = OnceLock::new();
        CLIENTS.get_or_init(Self::start).as_ref().map_or_else(Absent::skip, Some)
    }

    /// A crawl that knows this swarm's bootstrap nodes, on an address of its own: a node limits
    /// what one address may ask, and no test is to pay for another.
    pub(crate) fn crawl(&self, words: &[&str]) -> Command {
        let mut command = crawl();
        command.args(words).args(["--allow-private", "--progress", "never"]);
        command.args(["--bind", &format!("{}:0", self.free_address())]);
        for node in &self.bootstrap {
            command.args(["--bootstrap", node]);
        }
        command
    }

    /// One of the nodes.
    pub(crate) fn a_node(&self) -> &str {
        self.bootstrap.first().expect("the launcher names some")
    }

    fn free_address(&self) -> String {
        let host = self.next_host.fetch_add(1, Ordering::Relaxed);
        assert!(HOSTS.contains(&host), "more crawls than addresses");
        format!("{}.{host}", self.prefix)
    }

    fn start() -> Result<Self, Absent> {
        let python = python()?;
        for program in ["transmission-daemon", "aria2c"] {
            if !is_installed(program) {
                let reason = format!("{program} is not installed (see .ci/run)");
                return Err(Absent::NotInstalled(reason));
            }
        }
        let launcher = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/swarm.py");
        let mut child = Command::new(python)
            // No byte code beside the sources.
            .arg("-B")
            .arg(launcher)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Absent::Broken(error.to_string()))?;
        let ready = first_line(&mut child).map_err(|reason| {
            // Nothing is lost if it has ended by itself.
            let _ = child.kill();
            Absent::Broken(reason)
        })?;
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        Ok(Self {
            truth: Truth::read(Path::new(&text(&ready["truth"]))),
            nodes: ready["nodes"].as_u64().expect("a number of nodes"),
            bootstrap: ready["bootstrap"].as_array().expect("nodes").iter().map(text).collect(),
            prefix: text(&ready["prefix"]),
            next_host: AtomicU8::new(*HOSTS.start()),
            _launcher: child,
        })
    }
}

/// The line with which the launcher says that all is ready.
pub(crate) fn first_line(child: &mut Child) -> Result<Value, String> {
    let stdout = child.stdout.take().expect("a pipe");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        // An error or an early end leaves the line empty, which is no JSON.
        let _ = BufReader::new(stdout).read_line(&mut line);
        let _ = sender.send(line);
    });
    let line = receiver.recv_timeout(START_LIMIT).map_err(|_| "not ready in time".to_owned())?;
    serde_json::from_str(&line).map_err(|_| "ended early; its reasons are on stderr".to_owned())
}

fn is_ci() -> bool {
    std::env::var("CI").as_deref() == Ok("true")
}

/// A Python with libtorrent: the one `.ci/run` made, or the system's.
pub(crate) fn python() -> Result<PathBuf, Absent> {
    let candidates = [target_folder().join("clients/bin/python"), PathBuf::from("python3")];
    let has_libtorrent = |python: &PathBuf| succeeds(python, &["-c", "import libtorrent"]);
    candidates
        .into_iter()
        .find(has_libtorrent)
        .ok_or_else(|| Absent::NotInstalled("no Python with libtorrent (see .ci/run)".to_owned()))
}

pub(crate) fn is_installed(program: &str) -> bool {
    succeeds(Path::new(program), &["--version"])
}

fn succeeds(program: &Path, words: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
