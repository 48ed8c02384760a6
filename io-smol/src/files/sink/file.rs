//! One output of bytes: a locked file, or standard output. Blocks go out whole or not at all.
//!
//! Nothing of a file is changed before [`Output::begin`]: a run that cannot begin leaves it as it
//! was, and no new one behind.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::task::{Context, Poll};

use super::stream::Stream;
use crate::files::resume::{Extent, RowEnd};
use crate::text::printable;

/// Bytes handed to the system in one write; only a block longer than this takes several.
const WRITE_BYTES_MAX: usize = 8 << 20;

/// Something that rows are appended to.
#[derive(Debug)]
pub struct Output {
    target: Target,
    /// For messages: the path, or `standard output`.
    name: String,
    /// The first line, without its end.
    header: &'static str,
    /// Bytes in it.
    len: u64,
    /// Rows written to a file.
    rows: u64,
    begun: bool,
}

#[derive(Debug)]
enum Target {
    Regular(Regular),
    Stdout(Stream),
}

/// A regular file, opened for appending and locked.
#[derive(Debug)]
pub struct Regular {
    /// The file.
    pub file: File,
    /// Its name.
    pub path: PathBuf,
    /// Whether this run made it.
    pub created: bool,
    /// What of it stays.
    pub extent: Extent,
}

impl Regular {
    /// Removes the file if this run made it.
    pub fn leave_as_it_was(&self) {
        if self.created {
            // It was not there before and is empty: at worst it stays so. The name may be a link.
            let _ = fs::canonicalize(&self.path).and_then(fs::remove_file);
        }
    }

    /// The name as a person may see it.
    pub fn shown(&self) -> String {
        printable(&self.path.to_string_lossy())
    }
}

impl Output {
    /// A regular file, unchanged so far.
    pub fn file(regular: Regular, header: &'static str) -> Self {
        let (name, len) = (regular.shown(), regular.extent.whole);
        Self { target: Target::Regular(regular), name, header, len, rows: 0, begun: false }
    }

    /// Standard output, past the line buffer of the standard library.
    ///
    /// # Errors
    /// Standard output is closed, or the system grants no thread.
    pub fn stdout(header: &'static str) -> io::Result<Self> {
        let name = "standard output".to_owned();
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let target = Target::Stdout(Stream::start(file, name.clone())?);
        Ok(Self { target, name, header, len: 0, rows: 0, begun: false })
    }

    /// Bytes in it, those included that wait for the reader of standard output.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was ever written to it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Rows that the system has taken in this run.
    pub fn rows(&self) -> u64 {
        match &self.target {
            Target::Regular(_) => self.rows,
            Target::Stdout(stream) => stream.rows(),
        }
    }

    /// Cuts what does not stay, and writes the header where there is none. Once.
    ///
    /// # Errors
    /// What the system said; the message names the output.
    pub fn begin(&mut self) -> io::Result<()> {
        if self.begun {
            return Ok(());
        }
        if let Target::Regular(Regular { file, extent, .. }) = &self.target
            && extent.whole < extent.len
        {
            file.set_len(extent.whole).map_err(|error| named(&self.name, &error))?;
        }
        if self.is_empty() {
            self.put(b"", &[format!("{}\n", self.header)], false)?;
        } else if self.ends_openly() {
            self.put(b"", &["\n".to_owned()], false)?;
        }
        self.begun = true;
        Ok(())
    }

    /// Whether the last row of an earlier run lacks its line end.
    fn ends_openly(&self) -> bool {
        matches!(&self.target, Target::Regular(regular) if regular.extent.end == RowEnd::Open)
    }

    /// Leaves everything as it was before the run, if it has not begun.
    pub fn discard(&self) {
        if let (false, Target::Regular(regular)) = (self.begun, &self.target) {
            regular.leave_as_it_was();
        }
    }

    /// Appends one row for each of `tails`, all of which begin with `head`, as one block. On
    /// failure a file is cut back to what it was before.
    ///
    /// # Errors
    /// What the system said; the message names the output.
    pub fn append(&mut self, head: &[u8], tails: &[String]) -> io::Result<()> {
        self.begin()?;
        self.put(head, tails, true)?;
        self.rows += tails.len() as u64;
        Ok(())
    }

    /// Ready when it takes another block without waiting.
    pub fn poll_ready(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match &self.target {
            Target::Regular(_) => Poll::Ready(Ok(())),
            Target::Stdout(stream) => stream.poll_room(cx),
        }
    }

    /// Ready when the system has everything.
    pub fn poll_flush(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match &self.target {
            Target::Regular(_) => Poll::Ready(Ok(())),
            Target::Stdout(stream) => stream.poll_drained(cx),
        }
    }

    /// Waits a moment for the system to have everything.
    ///
    /// # Errors
    /// As for [`Output::append`]. A reader that does not read is none.
    pub fn flush(&self) -> io::Result<()> {
        match &self.target {
            Target::Regular(_) => Ok(()),
            Target::Stdout(stream) => stream.drain(),
        }
    }

    fn put(&mut self, head: &[u8], tails: &[String], rows: bool) -> io::Result<()> {
        let bytes: usize = tails.iter().map(|tail| head.len() + tail.len()).sum();
        match &mut self.target {
            Target::Stdout(stream) => stream.push(head, tails, rows)?,
            Target::Regular(Regular { file, .. }) => {
                if let Err(error) = write_block(file, head, tails) {
                    // Best effort: a torn end that stays is cut when the file is resumed.
                    let _ = file.set_len(self.len);
                    return Err(named(&self.name, &error));
                }
            }
        }
        self.len += bytes as u64;
        Ok(())
    }
}

fn write_block(file: &mut File, head: &[u8], tails: &[String]) -> io::Result<()> {
    let mut block = Vec::new();
    for tail in tails {
        if block.len() + head.len() + tail.len() > WRITE_BYTES_MAX {
            file.write_all(&block)?;
            block.clear();
        }
        if head.len() > WRITE_BYTES_MAX {
            file.write_all(head)?; // without a copy of what may be 30 MiB
        } else {
            block.extend_from_slice(head);
        }
        block.extend_from_slice(tail.as_bytes());
    }
    file.write_all(&block)
}

fn named(name: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{name}: {error}"))
}
