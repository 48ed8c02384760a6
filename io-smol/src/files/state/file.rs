//! The file itself: opened, locked, replaced, appended to.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use estudely_core::limits::STATE_LEN_MAX;
use estudely_core::state::{StateError, check_version};

use crate::files::lock::{self, Locked};
use crate::text::printable;

/// Longest file that is read as a state: of a longer one only the beginning is, which no core takes
/// for a whole.
pub const STATE_BYTES_MAX: u64 = STATE_LEN_MAX as u64;
/// How much of a file that is too long is looked at.
const GLANCE_BYTES: u64 = 64 << 10;
/// Most bytes of records behind a snapshot. A minute of a crawl at 2 000 queries a second appends
/// some 60 MB, so only a file that cannot be written whole gets there.
pub const APPENDED_BYTES_MAX: u64 = STATE_BYTES_MAX / 2;
/// Most names tried for a damaged file.
const ASIDE_MAX: u32 = 10_000;
/// Most times that a file is opened anew because another run replaced it meanwhile.
const REOPEN_MAX: u32 = 100;
/// What the name of a file that is still being written ends in.
const UNFINISHED: &str = ".saving";
/// What the name of a file that was set aside ends in.
const DAMAGED: &str = ".damaged";

/// Why a state file cannot be used, and what to do: one line. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateFileError(String);

impl fmt::Display for StateFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StateFileError {}

/// An open state file, locked until it is dropped. One that this run made and never wrote is
/// removed then.
#[derive(Debug)]
pub struct StateFile {
    pub(super) file: File,
    /// Its real name, links followed: what a rename replaces.
    path: PathBuf,
    /// The name as a person gave it.
    shown: String,
    /// Where the next record goes. 0: there is no snapshot yet.
    len: u64,
    /// Bytes of records behind the snapshot.
    appended: u64,
    /// Whether the name was free before this run.
    created: bool,
    /// Something lies behind `len` that is to be cut.
    torn: bool,
    /// What it held when it was opened.
    saved: Vec<u8>,
    locked: Locked,
}

impl StateFile {
    /// Opens and locks `path`, proves that it can be replaced, and reads it; an empty file is a
    /// new one.
    ///
    /// # Errors
    /// See [`StateFileError`]; nothing was changed, but for the remains of a killed run.
    pub fn open(path: &Path) -> Result<Self, StateFileError> {
        let shown = printable(&path.to_string_lossy());
        let refused = |what: &str| StateFileError(format!("--state {shown}: {what}"));
        let failed = |what: &str, error: io::Error| {
            refused(&format!(
                "{what}: {error}; name a file in a folder that can be written, or none"
            ))
        };
        let created = !path.exists();
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(refused("not a regular file; name one, or none"));
        }
        let (file, locked) = match open_locked(path) {
            Ok((file, locked @ (Locked::Yes | Locked::CannotBe))) => (file, locked),
            Ok((_, Locked::ByAnother)) => {
                return Err(refused("another crawl is using it; name another file, or none"));
            }
            Err(error) => return Err(failed("cannot be opened", error)),
        };
        // The name may be a link: its target is what is replaced.
        let path = path.canonicalize().map_err(|error| failed("cannot be opened", error))?;
        let mut state = Self {
            file,
            path,
            shown: shown.clone(),
            len: 0,
            appended: 0,
            created,
            torn: false,
            saved: Vec::new(),
            locked,
        };
        let can_be_replaced =
            state.create_unfinished().and_then(|_| fs::remove_file(state.unfinished()));
        can_be_replaced.map_err(|error| failed("its folder cannot be written", error))?;
        state.saved = state.read().map_err(|error| failed("cannot be read", error))?;
        if let Err(newer @ StateError::Newer(_)) = check_version(&state.saved) {
            // Set aside it would be lost to the version that wrote it.
            return Err(refused(&format!("{newer}; use that version, or name another file")));
        }
        state.len = state.saved.len() as u64;
        Ok(state)
    }

    /// What it held when it was opened; once.
    pub fn take_saved(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.saved)
    }

    /// Bytes in use.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it holds nothing yet: then there is no snapshot to append records to.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What to say if nothing keeps another run off it.
    pub(super) fn unlocked_note(&self) -> Option<String> {
        let shown = format!("--state {}", self.shown);
        (self.locked == Locked::CannotBe).then(|| lock::without(&shown))
    }

    /// The name as a person may see it.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Says that only the first `whole` bytes are worth keeping. The rest is cut by the next
    /// append.
    pub fn cut(&mut self, whole: u64) {
        self.torn |= whole < self.len;
        self.len = self.len.min(whole);
    }

    /// Renames the file to the first free of `FILE.damaged`, `FILE.damaged.1` and so on, and puts
    /// an empty one in its place; returns the new name.
    ///
    /// # Errors
    /// The system's; the file is where it was.
    pub fn set_aside(&mut self) -> io::Result<PathBuf> {
        let aside = self.free_name()?;
        let fresh = self.create_unfinished()?;
        if let Err(error) =
            fs::rename(&self.path, &aside).and_then(|()| fs::rename(self.unfinished(), &self.path))
        {
            // If only the second failed, the file goes back; if the first did, there is none.
            if !self.path.exists() {
                let _ = fs::rename(&aside, &self.path);
            }
            let _ = fs::remove_file(self.unfinished());
            return Err(error);
        }
        (self.file, self.len, self.appended) = (fresh, 0, 0);
        (self.created, self.torn) = (true, false);
        Ok(aside)
    }

    /// Appends records to the snapshot, with one write.
    ///
    /// # Errors
    /// The system's, or there is no room by [`APPENDED_BYTES_MAX`]. What was there before still
    /// counts, and a part of the new records may follow it.
    pub fn append(&mut self, records: &[u8]) -> io::Result<()> {
        let appended = self.appended + records.len() as u64;
        if appended > APPENDED_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "too many records"));
        }
        let there = self.file.metadata()?.len();
        if there < self.len {
            // Written behind its end, they would stand behind a hole.
            return Err(io::Error::new(io::ErrorKind::InvalidData, "another program cut it"));
        }
        if self.torn && there > self.len {
            self.file.set_len(self.len)?;
        }
        self.torn = false;
        if let Err(error) = self.file.write_all_at(records, self.len) {
            self.torn = true;
            return Err(error);
        }
        (self.len, self.appended) = (self.len + records.len() as u64, appended);
        Ok(())
    }

    /// The work of writing `snapshot` beside the file, for any thread: it may take seconds.
    pub(super) fn writing(&self, snapshot: Vec<u8>) -> Writing {
        Writing { unfinished: self.unfinished(), like: self.permissions(), snapshot }
    }

    /// Puts `written`, and behind it the `records` that came up meanwhile, in the place of the
    /// file. Quick: nothing waits for the disk. [`sync_folder`](Self::sync_folder) makes the name
    /// last.
    ///
    /// # Errors
    /// The system's; the file is what it was.
    pub(super) fn replace(&mut self, written: UnnamedFile, records: &[u8]) -> io::Result<()> {
        self.replace_by(written, records, &mut |_| Ok(()))
    }

    fn replace_by(
        &mut self,
        UnnamedFile { file, len }: UnnamedFile,
        records: &[u8],
        before: &mut dyn FnMut(Step) -> io::Result<()>,
    ) -> io::Result<()> {
        let unfinished = self.unfinished();
        let replaced = before(Step::Records)
            .and_then(|()| file.write_all_at(records, len))
            .and_then(|()| before(Step::Rename))
            .and_then(|()| fs::rename(&unfinished, &self.path));
        if let Err(error) = replaced {
            // It is of no more use, and room may be what is missing.
            let _ = fs::remove_file(unfinished);
            return Err(error);
        }
        self.file = file;
        self.appended = records.len() as u64;
        self.len = len + self.appended;
        self.torn = false;
        Ok(())
    }

    /// Removes what was written instead of putting it in place.
    pub(super) fn discard(&self, _written: UnnamedFile) {
        // The next one removes what stays.
        let _ = fs::remove_file(self.unfinished());
    }

    /// The work of making the new name last through a power cut, for any thread.
    pub fn sync_folder(&self) -> impl FnOnce() -> io::Result<()> + Send + 'static {
        let folder = self.path.parent().unwrap_or(Path::new(".")).to_owned();
        move || File::open(folder)?.sync_all()
    }

    fn permissions(&self) -> Option<Permissions> {
        self.file.metadata().ok().map(|found| found.permissions())
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let len = self.file.metadata()?.len();
        let most = if len > STATE_BYTES_MAX { GLANCE_BYTES } else { len };
        let mut saved = Vec::new();
        (&self.file).take(most).read_to_end(&mut saved)?;
        Ok(saved)
    }

    fn unfinished(&self) -> PathBuf {
        with_ending(&self.path, UNFINISHED)
    }

    fn create_unfinished(&self) -> io::Result<File> {
        create_new_locked(&self.unfinished(), self.permissions())
    }

    fn free_name(&self) -> io::Result<PathBuf> {
        let names = (0..ASIDE_MAX).map(|n| match n {
            0 => with_ending(&self.path, DAMAGED),
            n => with_ending(&self.path, &format!("{DAMAGED}.{n}")),
        });
        let mut free = names.filter(|name| {
            fs::symlink_metadata(name).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        });
        free.next().ok_or_else(|| io::Error::other("too many damaged files beside it"))
    }
}

impl Drop for StateFile {
    fn drop(&mut self) {
        if self.created && self.is_empty() {
            // Empty and new: at worst it stays.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A snapshot on its way to the disk.
#[derive(Debug)]
pub(super) struct Writing {
    unfinished: PathBuf,
    like: Option<Permissions>,
    snapshot: Vec<u8>,
}

/// A snapshot on the disk, without its name yet.
#[derive(Debug)]
pub(super) struct UnnamedFile {
    file: File,
    len: u64,
}

/// What can fail while a snapshot is written, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create,
    Half,
    Write,
    Sync,
    Records,
    Rename,
}

impl Writing {
    /// Writes and synchronises it.
    ///
    /// # Errors
    /// The system's; no half of it stays.
    pub(super) fn run(self) -> io::Result<UnnamedFile> {
        self.run_by(&mut |_| Ok(()))
    }

    fn run_by(self, before: &mut dyn FnMut(Step) -> io::Result<()>) -> io::Result<UnnamedFile> {
        before(Step::Create)?;
        let file = create_new_locked(&self.unfinished, self.like)?;
        let (half, rest) = self.snapshot.split_at(self.snapshot.len() / 2);
        let written = before(Step::Half)
            .and_then(|()| file.write_all_at(half, 0))
            .and_then(|()| before(Step::Write))
            .and_then(|()| file.write_all_at(rest, half.len() as u64))
            .and_then(|()| before(Step::Sync))
            .and_then(|()| file.sync_all());
        match written {
            Ok(()) => Ok(UnnamedFile { file, len: self.snapshot.len() as u64 }),
            Err(error) => {
                let _ = fs::remove_file(self.unfinished);
                Err(error)
            }
        }
    }
}

/// The file of that name, made if there was none, and what came of locking it.
fn open_locked(path: &Path) -> io::Result<(File, Locked)> {
    let mut tries = 0;
    loop {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        let locked = lock::lock(&file)?;
        let (opened, named) = (file.metadata()?, fs::metadata(path));
        let same =
            named.is_ok_and(|named| (named.dev(), named.ino()) == (opened.dev(), opened.ino()));
        if same || locked == Locked::ByAnother {
            return Ok((file, locked));
        }
        // It was replaced or removed between the two calls.
        tries += 1;
        if tries == REOPEN_MAX {
            return Ok((file, Locked::ByAnother));
        }
    }
}

/// A new file, locked; the remains of a killed run under that name are removed.
fn create_new_locked(path: &Path, like: Option<Permissions>) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    if let Some(like) = like {
        // Whoever may not read the old one must not read the new one.
        file.set_permissions(like)?;
    }
    lock::lock(&file)?;
    Ok(file)
}

/// `path` with `ending` behind its last part.
pub(crate) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests;
