//! `crawl` as a program, as far as it goes without any traffic: usage, help, and every file that
//! it must refuse, resume or leave alone.
//!
//! Nothing here may reach the network: a test ends before a socket is bound, or binds loopback.

mod blocked;
mod files;
mod help;
mod input;
mod state;
mod usage;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// An infohash for whatever test needs one.
const HASH: &str = "631a31dd0a46257d5078c0dee4e66e26f73e42ac";
/// The header of metadata outputs, with its line end.
const HEADER: &str =
    "infohash,name,file_count,total_bytes,piece_length,peer_ip,peer_port,metadata_ok\n";

/// A folder of the test's own, in which `crawl` runs.
struct World {
    dir: TempDir,
}

impl World {
    fn new() -> Self {
        Self { dir: TempDir::new().expect("temporary folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).expect(name);
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect(name)
    }

    /// Every file with its content.
    fn all(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = fs::read_dir(self.dir.path()).expect("listed");
        let paths = entries.map(|entry| entry.expect("entry").path());
        let mut all: Vec<_> =
            paths.map(|path| (path.clone(), fs::read(&path).unwrap_or_default())).collect();
        all.sort();
        all
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crawl"));
        command.current_dir(self.dir.path()).args(words).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Ran {
        self.command(words).output().expect("crawl runs").into()
    }

    /// Runs a command that must be refused with one line, status 2 and no file changed.
    fn refused(&self, words: &[&str]) -> String {
        let before = self.all();
        let ran = self.run(words);
        assert_eq!(ran.status, Some(2), "{words:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{words:?}");
        assert_eq!(ran.stderr.lines().count(), 1, "{words:?}: {}", ran.stderr);
        assert!(self.all() == before, "{words:?} changed a file");
        let line = ran.stderr.trim_end();
        line.strip_prefix("crawl: ").unwrap_or_else(|| panic!("{words:?}: {line}")).to_owned()
    }
}

/// How a run ended.
struct Ran {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let status = output.status.code();
        Self { status, stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// A row that says `True`.
fn verified(hash: &str) -> String {
    format!("{hash},\"a, b\",1,7,16384,127.0.0.1,5,True\n")
}

/// Whether a file of that name is there.
fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
