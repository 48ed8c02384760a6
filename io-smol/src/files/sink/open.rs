//! Opening the outputs of a run: all are looked at, none is changed.
//!
//! Order: no two are one file; each is opened, locked and, unless it is to be replaced, read
//! through. Torn ends are cut and headers written when the run has begun (see `file`). A refusal
//! leaves every file as it was, and no new one behind.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use estudely_core::keyed::{FingerprintSet, Rng};

use super::csv::{CsvRows, Pairs};
use super::fanout::Fanout;
use super::file::{Output, Regular};
use super::place::{Place, Table};
use super::render::TableSink;
use super::traits::RowSink;
use crate::files::hashes::InfoHashSet;
use crate::files::lock::{self, Locked};
use crate::files::reading::Reading;
use crate::files::resume::{Extent, FINGERPRINTS_MAX, Foreign, scan_pairs, scan_rows};
use crate::text::{counted, printable};

/// What a person should know who adds real torrents to the rows of a swarm.
const INVENTED: &str = "holds only torrents from this machine, as swarm invents them; real ones \
                        are added (--overwrite replaces it)";

/// Most symbolic links followed to a file that does not exist yet, as Linux does.
const LINKS_MAX: usize = 40;

/// What to open.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// `--out`
    pub places: &'a [Place],
    /// What they hold.
    pub table: Table,
    /// `--tee`
    pub tee: bool,
    /// `--overwrite`
    pub overwrite: bool,
    /// Whether only the public network is crawled: then a file that `swarm` filled is remarked on.
    pub public: bool,
    /// `--max-output-bytes`
    pub bytes_max: Option<u64>,
    /// Other files of the run, which no output may be, with what to call them.
    pub others: &'a [(&'a str, &'a Path)],
}

/// Outputs ready for rows.
pub struct Opened {
    /// All of them.
    pub fanout: Fanout,
    /// Infohashes that every output holds as `True`.
    pub known: InfoHashSet,
    /// What a person should know, a line each.
    pub notes: Vec<String>,
}

/// Why the outputs cannot be used: one line.
#[derive(Debug)]
pub enum OutputError {
    /// An output is not ours or cannot be opened; nothing was changed.
    Refused(String),
    /// Standard output could not be set up.
    Lost(String),
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(line) | Self::Lost(line) => f.write_str(line),
        }
    }
}

impl std::error::Error for OutputError {}

/// Opens every output of a run. They change when the first of them is told to begin.
///
/// # Errors
/// See [`OutputError`]; nothing was changed.
pub fn open(plan: &Plan<'_>, rng: &mut Rng) -> Result<Opened, OutputError> {
    open_watched(plan, rng, &Reading::default())
}

/// The same on a thread of its own: how far it is stands in `reading`, by which it can be ended
/// too.
///
/// # Errors
/// See [`OutputError`]; nothing was changed.
pub fn open_watched(
    plan: &Plan<'_>,
    rng: &mut Rng,
    reading: &Reading,
) -> Result<Opened, OutputError> {
    refuse_one_file_twice(plan).map_err(OutputError::Refused)?;
    reading.expect(bytes_to_read(plan));
    let mut held = Vec::new();
    for place in plan.places {
        match hold(place, plan, rng, reading) {
            Ok(output) => held.push(output),
            Err(line) => {
                held.iter().for_each(Held::leave_as_it_was);
                return Err(OutputError::Refused(line));
            }
        }
    }
    let known = known_to_all(&mut held);
    if plan.tee {
        // Shows what the run adds, and has no say in what is missing.
        held.push(Held::stream(rng));
    }
    if let Some(line) = no_room_for_headers(&held, plan) {
        held.iter().for_each(Held::leave_as_it_was);
        return Err(OutputError::Refused(line));
    }
    let mut notes: Vec<String> = held.iter().flat_map(Held::notes).collect();
    if !known.is_empty() {
        let skipped = counted(known.len() as u64, "infohash");
        notes.push(format!("{skipped} verified in every output: skipped"));
    }
    let mut fanout = Fanout::default();
    let mut held = held.into_iter();
    while let Some(output) = held.next() {
        match output.into_sink(plan.table) {
            Ok(sink) => fanout.add(sink),
            Err(error) => {
                fanout.discard();
                held.as_slice().iter().for_each(Held::leave_as_it_was);
                return Err(OutputError::Lost(format!("standard output: {error}")));
            }
        }
    }
    fanout.limit(plan.bytes_max);
    Ok(Opened { fanout, known, notes })
}

/// How much the outputs hold that is to be read.
fn bytes_to_read(plan: &Plan<'_>) -> u64 {
    let files = plan.places.iter().filter(|_| !plan.overwrite).filter_map(|place| match place {
        Place::File(path) => fs::metadata(path).ok().filter(fs::Metadata::is_file),
        Place::Stdout => None,
    });
    files.map(|found| found.len()).sum()
}

/// An output that may be used, unchanged so far.
struct Held {
    /// `None` is standard output.
    file: Option<Regular>,
    verified: InfoHashSet,
    /// Infohashes in other rows, or pairs.
    others: FingerprintSet,
    /// What it holds does not stay, by the user's wish.
    replaced: bool,
    /// Its rows are invented, and real ones are to follow.
    mixes: bool,
    locked: Locked,
}

impl Held {
    fn stream(rng: &mut Rng) -> Self {
        let others = FingerprintSet::new(rng, FINGERPRINTS_MAX);
        let verified = InfoHashSet::default();
        Self { file: None, verified, others, replaced: false, mixes: false, locked: Locked::Yes }
    }

    /// Bytes of it that stay.
    fn whole(&self) -> u64 {
        self.file.as_ref().map_or(0, |file| file.extent.whole)
    }

    fn leave_as_it_was(&self) {
        self.file.iter().for_each(Regular::leave_as_it_was);
    }

    /// What a person should know of it.
    fn notes(&self) -> impl Iterator<Item = String> + use<> {
        let unlocked = self.file.as_ref().filter(|_| self.locked == Locked::CannotBe);
        let unlocked = unlocked.map(|file| lock::without(&file.shown()));
        self.note().into_iter().chain(unlocked)
    }

    fn note(&self) -> Option<String> {
        let file = self.file.as_ref()?;
        let Extent { whole, len, .. } = file.extent;
        let (torn, path) = (len - whole, file.shown());
        let bytes = counted(torn, "byte");
        match (whole, torn) {
            _ if self.mixes => Some(format!("{path}: resumed; it {INVENTED}")),
            (0, 0) => None,
            (0, _) if self.replaced => None,
            (0, _) => Some(format!("{path}: begun anew without {bytes} of a torn header")),
            (_, 0) => Some(format!("{path}: resumed")),
            (_, _) => {
                // It is cut when the run begins, which may not come to that.
                Some(format!("{path}: resumed without {bytes} of a torn last line"))
            }
        }
    }

    fn into_sink(self, table: Table) -> io::Result<Box<dyn RowSink>> {
        let output = match self.file {
            None => Output::stdout(table)?,
            Some(file) => Output::file(file, table),
        };
        Ok(match table {
            Table::Rows { per, escape_formulas } => {
                let rows = CsvRows::new(per, escape_formulas, self.verified, self.others);
                Box::new(TableSink::new(output, rows))
            }
            Table::Pairs => Box::new(TableSink::new(output, Pairs::new(self.others))),
        })
    }
}

/// The line that says so when what new outputs begin with does not fit. Without a new one nothing
/// grows before the first row, and the fan-out counts rows.
fn no_room_for_headers(held: &[Held], plan: &Plan<'_>) -> Option<String> {
    let max = plan.bytes_max?;
    let header = plan.table.header().len() as u64 + 1;
    let fresh = held.iter().any(|output| output.whole() == 0);
    let least = held.iter().map(|output| match output.whole() {
        0 => header,
        whole => whole,
    });
    let least: u64 = least.sum();
    (fresh && least > max).then(|| {
        format!("--max-output-bytes {max}: the outputs begin with {least} bytes; give more")
    })
}

/// Opens, locks and reads one output.
fn hold(place: &Place, plan: &Plan<'_>, rng: &mut Rng, reading: &Reading) -> Result<Held, String> {
    let Place::File(path) = place else { return Ok(Held::stream(rng)) };
    let refused = |what: String| format!("--out {}: {what}", shown(path));
    let created = !path.exists();
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(refused("not a regular file; name one, or use --out -".to_owned()));
    }
    let opened = OpenOptions::new().read(true).append(true).create(true).open(path);
    let file = opened.map_err(|error| {
        refused(format!("cannot be opened: {error}; name a file in a folder that can be written"))
    })?;
    let mut held = Held { replaced: plan.overwrite, ..Held::stream(rng) };
    let mut extent = Extent::of(0, 0);
    let read = keep_others_off(&file).and_then(|locked| {
        held.locked = locked;
        let len = file.metadata().map_err(Foreign::from).map_err(cure)?.len();
        match plan.table {
            _ if plan.overwrite => extent = Extent::of(0, len),
            Table::Rows { .. } => {
                let found = scan_rows(&mut reading.along(&file), rng).map_err(cure)?;
                held.mixes = plan.public && found.is_invented;
                (extent, held.verified, held.others) =
                    (found.extent, found.verified, found.unverified);
            }
            Table::Pairs => {
                let found = scan_pairs(&mut reading.along(&file), rng).map_err(cure)?;
                (extent, held.others) = (found.extent, found.pairs);
            }
        }
        Ok(())
    });
    held.file = Some(Regular { file, path: path.clone(), created, extent });
    if let Err(what) = read {
        held.leave_as_it_was();
        return Err(refused(what));
    }
    Ok(held)
}

/// Keeps a second crawl off the file, where its file system can.
fn keep_others_off(file: &File) -> Result<Locked, String> {
    match lock::lock(file) {
        Ok(Locked::ByAnother) => {
            Err("another crawl is writing it; name another file, or end that one".to_owned())
        }
        Ok(locked) => Ok(locked),
        Err(error) => Err(format!("cannot be locked: {error}; name another file")),
    }
}

fn cure(foreign: Foreign) -> String {
    match foreign {
        Foreign::Unreadable(_) => format!("{foreign}; name another file"),
        Foreign::Line { .. } => {
            format!("{foreign}; name another file, or --overwrite to replace this one")
        }
    }
}

/// Takes out what every output holds; what stays with an output is to be left out there alone.
/// Standard output, if named, holds nothing.
fn known_to_all(held: &mut [Held]) -> InfoHashSet {
    let mut outputs = held.iter_mut();
    let Some(first) = outputs.next() else { return InfoHashSet::default() };
    let mut known = std::mem::take(&mut first.verified);
    let mut rest: Vec<_> = outputs.collect();
    if rest.is_empty() {
        return known;
    }
    let whole = known.clone();
    known.retain(|hash| rest.iter().all(|output| output.verified.contains(hash)));
    for output in &mut rest {
        output.verified.retain(|hash| !known.contains(hash));
    }
    first.verified = whole;
    first.verified.retain(|hash| !known.contains(hash));
    known
}

/// What a file is, whatever its name: device and inode, or the path that it will have.
#[derive(Debug, PartialEq, Eq)]
enum Identity {
    There(u64, u64),
    ToCome(PathBuf),
}

/// Refuses a plan in which two names are one file.
///
/// # Errors
/// One line, which names both; nothing was opened.
pub fn refuse_one_file_twice(plan: &Plan<'_>) -> Result<(), String> {
    let mut taken: Vec<(String, Identity)> = Vec::new();
    for (name, path) in plan.others {
        let (name, identity) = (format!("{name} {}", shown(path)), identity(path));
        if let Some((other, _)) = taken.iter().find(|(_, known)| *known == identity) {
            return Err(format!("{name}: the same file as {other}; name another"));
        }
        taken.push((name, identity));
    }
    if plan.tee || plan.places.contains(&Place::Stdout) {
        let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
        if let Ok(found) = stdout.and_then(|file| file.metadata())
            && found.is_file()
        {
            let identity = Identity::There(found.dev(), found.ino());
            if let Some((other, _)) = taken.iter().find(|(_, known)| *known == identity) {
                return Err(format!("standard output: the same file as {other}; use another"));
            }
            taken.push(("standard output".to_owned(), identity));
        }
    }
    for place in plan.places {
        let Place::File(path) = place else { continue };
        let identity = identity(path);
        let name = format!("--out {}", shown(path));
        if let Some((other, _)) = taken.iter().find(|(_, known)| *known == identity) {
            return Err(format!("{name}: the same file as {other}; name another"));
        }
        taken.push((name, identity));
    }
    Ok(())
}

fn identity(path: &Path) -> Identity {
    if let Ok(found) = fs::metadata(path) {
        return Identity::There(found.dev(), found.ino());
    }
    let mut target = path.to_owned();
    for _ in 0..LINKS_MAX {
        let Ok(next) = fs::read_link(&target) else { break };
        target = target.parent().unwrap_or(Path::new("")).join(next);
    }
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let parent = parent.canonicalize().unwrap_or_else(|_| parent.to_owned());
    Identity::ToCome(parent.join(target.file_name().unwrap_or_default()))
}

fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}
