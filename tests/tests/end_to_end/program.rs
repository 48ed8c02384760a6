//! Building and running the workspace's own programs. Every run has a deadline, after which the
//! child is killed and the test fails: nothing here may hang a suite.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// How often a child is looked at.
const POLL: Duration = Duration::from_millis(20);

/// What a finished run left.
#[derive(Debug)]
pub(crate) struct Run {
    /// The exit status; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// Everything on stdout.
    pub(crate) stdout: String,
    /// Everything on stderr.
    pub(crate) stderr: String,
    /// From start to end.
    pub(crate) took: Duration,
}

impl Run {
    /// The run itself, if it ended with `code`.
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }
}

/// The folder that holds the profiles of this build.
pub(crate) fn target_folder() -> PathBuf {
    profile_folder().parent().expect("a profile's folder lies in the target folder").to_owned()
}

/// `target/<profile>`, from the place of the test executable (`target/<profile>/deps`).
fn profile_folder() -> PathBuf {
    let own = std::env::current_exe().expect("the path of this test");
    own.ancestors().nth(2).expect("target/<profile>/deps/<test>").to_owned()
}

/// The crawler, built from this very source.
pub(crate) fn crawl() -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    Command::new(BUILT.get_or_init(|| build("estudely-io-smol", &["--bin", "crawl"]).join("crawl")))
}

/// The simulated DHT on loopback sockets.
pub(crate) fn swarm() -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    Command::new(BUILT.get_or_init(|| build("estudely-sim", &["--bin", "swarm"]).join("swarm")))
}

/// An example, built from this very source.
pub(crate) fn example(package: &str, name: &str) -> Command {
    Command::new(build(package, &["--example", name]).join("examples").join(name))
}

/// Brings a target of another package up to date and gives the profile's folder;
/// `CARGO_BIN_EXE_*` is the owner's alone. After `cargo test` of the workspace all is built.
fn build(package: &str, target: &[&str]) -> PathBuf {
    let folder = profile_folder();
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "test",
        Some(other) => other,
    };
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--package", package, "--profile", profile])
        .args(target)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .env("CARGO_TARGET_DIR", target_folder())
        .status()
        .expect("cargo runs");
    assert!(status.success(), "{package} {target:?} does not build");
    folder
}

/// A child with its output in files of `folder`; killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    started: Instant,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    /// Starts `command`; its output goes to `folder`, in files that begin with `name`.
    pub(crate) fn start(command: Command, folder: &Path, name: &str) -> Self {
        let stdout = File::create(folder.join(format!("{name}.stdout")));
        Self::start_with(command, folder, name, stdout.expect("a file for stdout").into())
    }

    /// As [`Running::start`], with this as its stdout.
    pub(crate) fn start_with(mut command: Command, folder: &Path, name: &str, to: Stdio) -> Self {
        let stdout = folder.join(format!("{name}.stdout"));
        let stderr = folder.join(format!("{name}.stderr"));
        let child = command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(to)
            .stderr(File::create(&stderr).expect("a file for stderr"))
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, started: Instant::now(), stdout, stderr }
    }

    /// What it has printed on stdout so far.
    pub(crate) fn stdout(&self) -> String {
        // It may go elsewhere.
        String::from_utf8_lossy(&fs::read(&self.stdout).unwrap_or_default()).into_owned()
    }

    /// Sends it a signal by name, as `kill -INT` does; one that has ended is past caring.
    pub(crate) fn signal(&self, name: &str) {
        // A shell has it built in; the program of that name is not installed everywhere.
        let line = format!("kill -{name} {}", self.child.id());
        let _ = Command::new("sh").args(["-c", &line]).stderr(Stdio::null()).status();
    }

    /// From its start.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    /// The most memory that it had resident so far, in KiB; `None` when it has ended.
    #[allow(dead_code, reason = "for the hostile suite")]
    pub(crate) fn peak_resident(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    }

    /// Polls until `condition` holds; a child that ends first, or `limit`, fails the test.
    pub(crate) fn wait_for(&mut self, what: &str, limit: Duration, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + limit;
        while !condition() {
            let gone = !self.is_running();
            if (gone && !condition()) || Instant::now() > deadline {
                panic!("not within {limit:?}: {what}\n{}\n{}", self.stdout(), self.errors());
            }
            thread::sleep(POLL);
        }
    }

    /// Polls until a whole line with `text` is on its stdout.
    pub(crate) fn wait_for_output(&mut self, text: &str, limit: Duration) {
        let stdout = self.stdout.clone();
        self.wait_for(text, limit, || {
            let printed = fs::read(&stdout).expect("its stdout");
            let printed = String::from_utf8_lossy(&printed);
            printed.rsplit_once('\n').is_some_and(|(whole, _)| whole.contains(text))
        });
    }

    /// Ends it at once, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.child.kill();
        self.child.wait().expect("a child of ours");
    }

    /// Waits for its end, at most `limit`.
    pub(crate) fn finish(mut self, limit: Duration) -> Run {
        let deadline = self.started + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                break status;
            }
            if Instant::now() > deadline {
                panic!("still running after {limit:?}\n{}\n{}", self.stdout(), self.errors());
            }
            thread::sleep(POLL);
        };
        let (stdout, stderr) = (self.stdout(), self.errors());
        Run { code: status.code(), stdout, stderr, took: self.started.elapsed() }
    }

    fn errors(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).expect("its stderr")).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
