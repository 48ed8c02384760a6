//! One output of bytes: a locked file, or standard output. Blocks go out whole or not at all.
//!
//! Nothing of a file is changed before [`Output::begin`]: a run that cannot begin leaves it as it
//! was, and no new one behind. A file only ever grows by rows: it is cut when a write failed
//! halfway, and never when another program has cut it already.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::task::{Context, Poll};

use estudely_core::InfoHash;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl};

use super::place::Table;
use super::stream::{Stream, What};
use crate::files::resume::{Extent, RowEnd};
use crate::text::printable;

/// Part of a file that holds whole rows, read without moving where it is written.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) file: File,
    /// Its bytes, from the start of the file on.
    pub(super) len: u64,
    pub(super) is_pairs: bool,
}

/// Bytes handed to the system in one write; only a block longer than this takes several.
const WRITE_BYTES_MAX: usize = 8 << 20;
/// Blocks of which it is remembered where they stand, 32 bytes each: the latest so many. Of what
/// stood before them in a file that another program cuts, only what was found can be found again.
const PLACES_MAX: usize = 1 << 20;

/// Something that rows are appended to.
#[derive(Debug)]
pub struct Output {
    target: Target,
    /// For messages: the path, or `standard output`.
    name: String,
    table: Table,
    /// Bytes in it.
    len: u64,
    /// Rows written to a file.
    rows: u64,
    /// Blocks that a file has taken; see [`RowSink::held`](super::RowSink::held).
    held: u64,
    /// Where the blocks of this run end in a file, and whose they are.
    places: VecDeque<(u64, InfoHash)>,
    /// Infohashes that were in a file and are not any more; told once.
    missing: Vec<InfoHash>,
    begun: bool,
    /// Why a file takes nothing more.
    lost: Option<(io::ErrorKind, String)>,
}

#[derive(Debug)]
enum Target {
    Regular(Regular),
    Stdout {
        stream: Stream,
        /// The same, to ask whether there is a reader.
        probe: File,
        /// The file that it was redirected to, if it is one.
        redirected: Option<Redirected>,
    },
}

/// A file that standard output was redirected to.
#[derive(Debug)]
struct Redirected {
    /// Where the first row goes.
    start: u64,
    /// The longest that it was seen.
    seen: u64,
    /// Whether it had a name.
    named: bool,
}

impl Redirected {
    fn of(mut probe: &File) -> Option<Self> {
        let found = probe.metadata().ok().filter(fs::Metadata::is_file)?;
        let appends = fcntl_getfl(probe).is_ok_and(|flags| flags.contains(OFlags::APPEND));
        let start = if appends { found.len() } else { probe.stream_position().ok()? };
        Some(Self { start, seen: found.len(), named: found.nlink() > 0 })
    }
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
    pub fn file(regular: Regular, table: Table) -> Self {
        let name = regular.shown();
        Self::new(Target::Regular(regular), name, table)
    }

    /// Standard output, past the line buffer of the standard library.
    ///
    /// # Errors
    /// Standard output is closed, or the system grants no thread.
    pub fn stdout(table: Table) -> io::Result<Self> {
        let name = "standard output".to_owned();
        let probe = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let stream = Stream::start(probe.try_clone()?, name.clone())?;
        let redirected = Redirected::of(&probe);
        Ok(Self::new(Target::Stdout { stream, probe, redirected }, name, table))
    }

    fn new(target: Target, name: String, table: Table) -> Self {
        let len = match &target {
            Target::Regular(regular) => regular.extent.whole,
            Target::Stdout { .. } => 0,
        };
        Self {
            target,
            name,
            table,
            len,
            rows: 0,
            held: 0,
            places: VecDeque::new(),
            missing: Vec::new(),
            begun: false,
            lost: None,
        }
    }

    /// Whether others can take away what it holds.
    fn can_be_cut(&self) -> bool {
        match &self.target {
            Target::Regular(_) => true,
            Target::Stdout { redirected, .. } => redirected.is_some(),
        }
    }

    /// The file that it is, and how long it must be, unless it is lost.
    pub(super) fn standing(&self) -> Option<(&Regular, u64)> {
        match &self.target {
            Target::Regular(regular) if self.lost.is_none() => {
                let len = if self.begun { self.len } else { regular.extent.len };
                Some((regular, len))
            }
            _ => None,
        }
    }

    /// What of the file stays in it, if there is any.
    pub(super) fn standing_part(&self) -> Option<Part> {
        let (regular, _) = self.standing()?;
        // Nothing of a file counts that was to be replaced.
        let len = if self.begun { self.len } else { regular.extent.whole };
        let file = regular.file.try_clone().ok().filter(|_| len > 0)?;
        Some(Part { file, len, is_pairs: self.table.is_pairs() })
    }

    /// Infohashes that this run has written to the file that it is now.
    pub(super) fn written(&self) -> impl Iterator<Item = InfoHash> + '_ {
        let stands = self.standing().is_some();
        self.places.iter().filter(move |_| stands).map(|(_, hash)| *hash)
    }

    /// Goes on in `regular`, which has taken the name of the file before.
    ///
    /// # Errors
    /// As for [`Output::append`].
    pub(super) fn go_on_in(&mut self, regular: Regular) -> io::Result<()> {
        self.len = regular.extent.whole;
        self.target = Target::Regular(regular);
        self.places.clear();
        if std::mem::take(&mut self.begun) { self.begin() } else { Ok(()) }
    }

    /// Another program has added to the file: that stays.
    pub(super) fn grow_to(&mut self, len: u64) {
        if self.begun {
            self.len = self.len.max(len);
        }
    }

    /// Takes nothing more, for this reason.
    pub(super) fn lose(&mut self, kind: io::ErrorKind, why: &str) -> io::Error {
        let line = format!("{}: {why}", self.name);
        self.lost = Some((kind, line.clone()));
        io::Error::new(kind, line)
    }

    /// Takes nothing more: another program has cut the file to `len` bytes.
    pub(super) fn lose_beyond(&mut self, len: u64) -> io::Error {
        self.miss_beyond(len);
        let known = self.len;
        let why = format!(
            "another program cut it to {len} of {known} bytes; nothing more is written (to rotate \
             it, rename it)"
        );
        self.lose(io::ErrorKind::InvalidData, &why)
    }

    /// What stands beyond `len` bytes, or was to, is there no more.
    fn miss_beyond(&mut self, len: u64) {
        let beyond = self.places.iter().filter(|(end, _)| *end > len);
        self.missing.extend(beyond.map(|(_, hash)| *hash));
    }

    /// An error once another program has deleted or cut the file that standard output goes to: its
    /// name is the shell's, so no other follows it.
    pub(super) fn check_redirected(&mut self) -> io::Result<()> {
        let Target::Stdout { stream, probe, redirected: Some(redirected) } = &mut self.target
        else {
            return Ok(());
        };
        let Ok(found) = probe.metadata() else { return Ok(()) };
        let deleted = redirected.named && found.nlink() == 0;
        let len = if deleted { 0 } else { found.len() };
        if self.lost.is_some() || len >= redirected.seen && !deleted {
            redirected.seen = redirected.seen.max(len);
            return Ok(());
        }
        stream.give_up();
        let left = len.saturating_sub(redirected.start);
        if deleted {
            self.miss_beyond(0);
            return Err(self.lose(io::ErrorKind::NotFound, "deleted by another program"));
        }
        Err(self.lose_beyond(left))
    }

    /// Infohashes that were in the file and are not any more; once.
    pub(super) fn take_missing(&mut self) -> Vec<InfoHash> {
        std::mem::take(&mut self.missing)
    }

    /// An error once nobody reads standard output any more.
    pub(super) fn check_reader(&self) -> io::Result<()> {
        match &self.target {
            Target::Regular(_) => Ok(()),
            Target::Stdout { probe, .. } => reader_of(probe, &self.name),
        }
    }

    /// Blocks that it has for good.
    pub fn held(&self) -> u64 {
        match &self.target {
            Target::Regular(_) => self.held,
            Target::Stdout { stream, .. } => stream.held(),
        }
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
            Target::Stdout { stream, .. } => stream.rows(),
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
        self.refuse_lost()?;
        if let Target::Regular(Regular { file, extent, .. }) = &self.target
            && extent.whole < extent.len
        {
            cut(file, extent.whole).map_err(|error| named(&self.name, &error))?;
        }
        if self.is_empty() {
            let header = format!("{}\n", self.table.header());
            self.put(b"", &[header], What::Header)?;
        } else if self.ends_openly() {
            self.put(b"", &["\n".to_owned()], What::Header)?;
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
    pub fn append(&mut self, hash: InfoHash, head: &[u8], tails: &[String]) -> io::Result<()> {
        self.refuse_lost()?;
        if !tails.is_empty() {
            self.begin()?;
        }
        self.put(head, tails, What::Block)?;
        self.rows += tails.len() as u64;
        self.held += 1;
        if self.can_be_cut() && !tails.is_empty() {
            if self.places.len() == PLACES_MAX {
                self.places.pop_front();
            }
            self.places.push_back((self.len, hash));
        }
        Ok(())
    }

    /// Ready when it takes another block without waiting.
    pub fn poll_ready(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match &self.target {
            Target::Regular(_) => Poll::Ready(Ok(())),
            Target::Stdout { stream, .. } => stream.poll_room(cx),
        }
    }

    /// Ready when the system has everything.
    pub fn poll_flush(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match &self.target {
            Target::Regular(_) => Poll::Ready(Ok(())),
            Target::Stdout { stream, .. } => stream.poll_drained(cx),
        }
    }

    /// Waits a moment for the system to have everything.
    ///
    /// # Errors
    /// As for [`Output::append`]. A reader that does not read is none.
    pub fn flush(&self) -> io::Result<()> {
        match &self.target {
            Target::Regular(_) => Ok(()),
            Target::Stdout { stream, .. } => stream.drain(),
        }
    }

    fn refuse_lost(&self) -> io::Result<()> {
        match &self.lost {
            Some((kind, line)) => Err(io::Error::new(*kind, line.clone())),
            None => Ok(()),
        }
    }

    fn put(&mut self, head: &[u8], tails: &[String], what: What) -> io::Result<()> {
        let bytes: usize = tails.iter().map(|tail| head.len() + tail.len()).sum();
        let file = match &mut self.target {
            Target::Stdout { stream, .. } => {
                stream.push(head, tails, what)?;
                self.len += bytes as u64;
                return Ok(());
            }
            Target::Regular(Regular { file, .. }) => file,
        };
        if bytes == 0 {
            return Ok(());
        }
        let there = file.metadata().map_err(|error| named(&self.name, &error))?.len();
        if there < self.len {
            return Err(self.lose_beyond(there));
        }
        // What another program has added stays.
        self.len = there;
        if let Err(error) = write_block(file, head, tails) {
            // Best effort: a torn end that stays is cut when the file is resumed.
            let _ = cut(file, there);
            return Err(self.lose(error.kind(), &error.to_string()));
        }
        self.len += bytes as u64;
        Ok(())
    }
}

/// Cuts a file to `len` bytes. It never grows by that.
fn cut(file: &File, len: u64) -> io::Result<()> {
    if file.metadata()?.len() > len { file.set_len(len) } else { Ok(()) }
}

/// An error if `file` is a pipe or a socket that nobody reads any more.
fn reader_of(file: &File, name: &str) -> io::Result<()> {
    let mut asked = [PollFd::new(file, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let gone = PollFlags::ERR | PollFlags::HUP;
    match poll(&mut asked, Some(&now)) {
        Ok(1..) if asked[0].revents().intersects(gone) => {
            let kind = io::ErrorKind::BrokenPipe;
            Err(io::Error::new(kind, format!("{name}: nobody reads it any more")))
        }
        _ => Ok(()),
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
