//! The file of `--stats`: opened before the run, so that a wrong path is known at once, and
//! written at its end.
//!
//! What is no regular file is written without waiting for long: a named pipe that nobody reads, or
//! a stopped terminal, must not keep the run from beginning or from ending.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Access, access};
use serde_json::Value;

use super::failure::{FAILED, Failure};
use crate::files::resume::{PAIRS_HEADER, ROWS_HEADER};
use crate::text::printable;

/// How long the end of a run waits for a reader that takes nothing.
const LAST_WAIT: Duration = Duration::from_millis(400);
/// Between two looks whether a named pipe has a reader.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How much of a file tells what it is.
const GLANCE_BYTES: u64 = 256;

/// A file that can be written.
pub(super) struct StatsFile {
    target: Target,
    path: PathBuf,
    created: bool,
}

enum Target {
    Regular(File),
    /// A terminal or the like, never waited for without an end.
    Device(File),
    /// A named pipe: opened only at the end, since that needs a reader.
    Pipe,
}

impl StatsFile {
    /// Opens the file and changes nothing in it. One that can be no statistics is refused: at the
    /// end of the run it would be gone.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let cannot = |error: io::Error| {
            format!(
                "--stats {}: cannot be opened: {error}; name a file in a folder that can be \
                 written",
                shown(path)
            )
        };
        let created = !path.exists();
        let kind = fs::metadata(path).map(|found| found.file_type());
        let target = if kind.is_ok_and(|kind| kind.is_fifo()) {
            access(path, Access::WRITE_OK).map_err(|error| cannot(error.into()))?;
            Target::Pipe
        } else {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false).custom_flags(libc::O_NONBLOCK);
            let file = options.open(path).map_err(cannot)?;
            let regular = file.metadata().is_ok_and(|found| found.is_file());
            if !regular {
                Target::Device(file)
            } else if let Some(what) = foreign(path).map_err(cannot)? {
                return Err(format!(
                    "--stats {}: {what}, which the statistics would replace; name another file, \
                     or delete it first",
                    shown(path)
                ));
            } else {
                Target::Regular(file)
            }
        };
        Ok(Self { target, path: path.to_owned(), created })
    }

    /// Removes the file if this run made it.
    pub(super) fn leave_as_it_was(&self) {
        if self.created {
            // Empty and new: at worst it stays. The name may be a link.
            let _ = fs::canonicalize(&self.path).and_then(fs::remove_file);
        }
    }

    /// Replaces the content.
    pub(super) fn write(&self, value: &Value) -> Result<(), Failure> {
        let text = format!("{value:#}\n");
        let until = Instant::now() + LAST_WAIT;
        let written = match &self.target {
            Target::Regular(file) => {
                file.set_len(0).and_then(|()| { file }.write_all(text.as_bytes()))
            }
            Target::Device(file) => write_within(file, text.as_bytes(), until),
            Target::Pipe => open_pipe(&self.path, until)
                .and_then(|file| write_within(&file, text.as_bytes(), until)),
        };
        written.map_err(|error| {
            Failure::new(FAILED, format!("--stats {}: {error}", shown(&self.path)))
        })
    }
}

/// What a file holds that is no JSON object; `None` if it is one, or empty.
fn foreign(path: &Path) -> io::Result<Option<&'static str>> {
    let mut start = Vec::new();
    File::open(path)?.take(GLANCE_BYTES).read_to_end(&mut start)?;
    let begins = |with: &str| start.starts_with(with.as_bytes());
    Ok(if start.is_empty() || begins("{") {
        None
    } else if begins(ROWS_HEADER) || begins(PAIRS_HEADER) {
        Some("it holds rows of crawl")
    } else if begins("DHT-Estudely state ") {
        Some("it is a state of crawl")
    } else {
        Some("it holds something else")
    })
}

/// Opens a named pipe that has a reader by then.
fn open_pipe(path: &Path, until: Instant) -> io::Result<File> {
    loop {
        let opened = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path);
        match opened {
            Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
                if Instant::now() >= until {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads it"));
                }
                thread::sleep(LOOK_EVERY);
            }
            opened => return opened,
        }
    }
}

/// Writes all of `bytes` to a descriptor that does not wait, if they are taken by then.
fn write_within(mut file: &File, mut bytes: &[u8], until: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let left = until.saturating_duration_since(Instant::now());
                let left = Timespec::try_from(left).unwrap_or_default();
                if poll(&mut [PollFd::new(&file, PollFlags::OUT)], Some(&left))? == 0 {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads it"));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn pipe(folder: &tempfile::TempDir) -> PathBuf {
        let path = folder.path().join("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a named pipe");
        path
    }

    #[test]
    fn a_named_pipe_that_nobody_reads_holds_up_neither_beginning_nor_end() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let file = StatsFile::open(&pipe(&folder)).expect("at once");
        let begun = Instant::now();
        let failure = file.write(&serde_json::json!({})).expect_err("no reader");
        assert!(failure.line.contains("nobody reads it") && failure.status == FAILED);
        assert!(begun.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn a_named_pipe_with_a_reader_gets_all_of_it() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = pipe(&folder);
        let file = StatsFile::open(&path).expect("at once");
        let reader = thread::spawn(move || {
            let mut text = String::new();
            File::open(path).and_then(|mut file| file.read_to_string(&mut text)).map(|_| text)
        });
        let value = serde_json::json!({ "long": "x".repeat(100_000) });
        // The reader may not have come yet.
        while file.write(&value).is_err() {}
        let text = reader.join().expect("ends").expect("read");
        assert_eq!(text, format!("{value:#}\n"));
    }
}
