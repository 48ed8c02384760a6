//! The file of `--stats`: opened before the run, so that a wrong path is known at once, and
//! written at its end.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::failure::{FAILED, Failure};
use crate::text::printable;

/// A file that can be written.
pub(super) struct StatsFile {
    file: File,
    path: PathBuf,
    created: bool,
}

impl StatsFile {
    /// Opens the file and changes nothing in it.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let created = !path.exists();
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = opened.map_err(|error| {
            format!("--stats {}: cannot be opened: {error}; name another file", shown(path))
        })?;
        Ok(Self { file, path: path.to_owned(), created })
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
        let cut = if self.file.metadata().is_ok_and(|found| found.is_file()) {
            self.file.set_len(0)
        } else {
            Ok(())
        };
        cut.and_then(|()| (&self.file).write_all(text.as_bytes())).map_err(|error| {
            Failure::new(FAILED, format!("--stats {}: {error}", shown(&self.path)))
        })
    }
}

fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}
