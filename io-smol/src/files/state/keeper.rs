//! When the state is saved: whole every minute (sooner at first) and at the end, by records in
//! between.
//!
//! Whole writes happen on the blocking pool. Records made meanwhile go to both the old and the new
//! file: after a kill, either is complete. A disk that fails is
//! said once and costs the crawl nothing: the next whole write tries again, and until it succeeds
//! nothing more is appended, since a record behind a torn one would be lost.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_io::Timer;
use estudely_core::state::{Restored, Stamp, StateError};
use estudely_core::{Duration, Instant};
use smol::Task;
use smol::future::{self, Future, FutureExt};

use super::file::{StateFile, UnnamedFile};
use crate::text::printable;

/// Between two whole writes.
pub(crate) const SAVE_EVERY: Duration = Duration::from_secs(60);
/// Before the first one of a small file, and doubled from then on up to [`SAVE_EVERY`]: a young
/// snapshot has few contacts, and records bring none.
const SAVE_FIRST: Duration = Duration::from_secs(1);
/// Up to so many bytes a file is small.
const SMALL_BYTES: u64 = 1 << 20;
/// Most bytes of records kept for a file that is being written: what a crawl at 2 000 queries a
/// second says in a minute. A disk that is slower than that has its write given up.
const MEANWHILE_BYTES_MAX: usize = 64 << 20;

/// A wall clock that differs from the machine's own by more seconds than this was set.
const WALL_SLACK: u128 = 2;

/// What is kept: the core, as far as its state goes.
pub(crate) trait Core {
    /// Appends everything.
    fn snapshot(&self, at: Stamp, out: &mut Vec<u8>);

    /// Appends what has changed since the last call.
    fn poll_journal(&mut self, at: Stamp, out: &mut Vec<u8>);
}

/// What became of a run's state, for its closing lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The file, as a person may see its name.
    pub file: String,
    /// What was taken up from it; `None` if it was new, or could not be used.
    pub restored: Option<Restored>,
    /// Whole writes that succeeded.
    pub saves: u64,
    /// Bytes of records appended.
    pub appended_bytes: u64,
    /// Bytes in the file at the end.
    pub bytes: u64,
    /// Writes that failed.
    pub failures: u64,
    /// Whether the file holds everything that the run learnt.
    pub complete: bool,
    /// The file is no state, or damaged, and was left where it is.
    pub unusable: bool,
}

/// The state file of a run and when it is written.
pub(crate) struct Keeper {
    file: StateFile,
    saving: Saving,
    next_save: Instant,
    pause: Duration,
    /// This turn's records; kept for its capacity.
    records: Vec<u8>,
    /// Why no core takes what the file holds: it is in the way.
    unusable: Option<StateError>,
    /// What the wall clock showed, by its last reading, when the run began: seconds.
    wall_began: Option<i128>,
    /// The file lacks something: nothing is appended until it is written whole.
    behind: bool,
    /// What is wrong was said.
    said: bool,
    notes: Vec<String>,
    kept: Kept,
}

enum Saving {
    Not,
    /// A snapshot is on its way to the disk.
    Writing {
        task: Task<io::Result<UnnamedFile>>,
        /// Records since it was taken.
        meanwhile: Vec<u8>,
        /// There were too many of them.
        outrun: bool,
    },
    /// The file is in its place, and its folder on the way to the disk.
    Naming(Task<io::Result<()>>),
}

impl Keeper {
    /// Keeps the state in `file`, of which `restored` was taken up; `note` says what was wrong with
    /// it.
    pub(crate) fn new(
        file: StateFile,
        restored: Option<Restored>,
        note: Option<String>,
        now: Instant,
    ) -> Self {
        let pause = if file.len() <= SMALL_BYTES { SAVE_FIRST } else { SAVE_EVERY };
        let kept = Kept { file: file.shown().to_owned(), restored, ..Kept::default() };
        let notes = note.into_iter().chain(file.unlocked_note()).collect();
        Self {
            file,
            saving: Saving::Not,
            next_save: now + pause,
            pause,
            records: Vec::new(),
            unusable: None,
            wall_began: None,
            behind: false,
            said: false,
            notes,
            kept,
        }
    }

    /// Keeps what came up since the last turn, and begins a whole write if one is due.
    pub(crate) fn turn(&mut self, now: Instant, at: Stamp, core: &mut impl Core) {
        let due = now >= self.next_save;
        if !self.clear_the_way(due) {
            if due {
                self.next_save = now + SAVE_EVERY;
            }
            return;
        }
        if self.wall_clock_was_set(now, at) {
            // What counts by it alone, after the machine was started anew, is written once more.
            self.next_save = now;
        }
        self.append(at, core);
        if now >= self.next_save {
            self.pause = (self.pause * 2).min(SAVE_EVERY);
            self.next_save = now + self.pause;
            if matches!(self.saving, Saving::Not) {
                self.begin_save(at, core);
            }
        }
    }

    /// The same for a file that no core takes: it is set aside when it is first to be written.
    pub(crate) fn setting_aside(self, unusable: Option<StateError>) -> Self {
        Self { unusable, ..self }
    }

    /// Sets a file aside that cannot be used, if `due`; whether there is none in the way.
    fn clear_the_way(&mut self, due: bool) -> bool {
        let Some(unusable) = self.unusable else { return true };
        if !due && self.said {
            return false;
        }
        let shown = self.file.shown().to_owned();
        match self.file.set_aside() {
            Ok(aside) => {
                let aside = printable(&aside.to_string_lossy());
                self.notes.push(format!(
                    "--state {shown}: {unusable}; set aside as {aside}, and a new one begun"
                ));
                (self.unusable, self.said, self.behind) = (None, false, false);
                true
            }
            Err(error) => {
                self.kept.failures += 1;
                self.behind = true;
                if !std::mem::replace(&mut self.said, true) {
                    self.notes.push(format!(
                        "--state {shown}: {unusable}, and it cannot be set aside: {error}; nothing \
                         is saved, trying again every minute"
                    ));
                }
                false
            }
        }
    }

    /// Whether the wall clock was set since the last turn.
    fn wall_clock_was_set(&mut self, now: Instant, at: Stamp) -> bool {
        let began = i128::from(at.wall.0) - i128::from(now.as_micros() / 1_000_000);
        let before = self.wall_began.replace(began);
        before.is_some_and(|before| before.abs_diff(began) > WALL_SLACK)
    }

    /// Has the next turn write the file whole: records cannot say all that changed.
    pub(crate) fn save_soon(&mut self, now: Instant) {
        self.next_save = self.next_save.min(now);
    }

    /// When [`Self::turn`] has something to do of its own.
    pub(crate) fn poll_timeout(&self) -> Instant {
        self.next_save
    }

    /// Carries a whole write on; ready when a step of it is done, and then to be called again.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (result, meanwhile) = match &mut self.saving {
            Saving::Not => return Poll::Pending,
            Saving::Naming(task) => {
                // Not every file system can do it, and one that is broken fails the next write.
                let _ = ready!(Pin::new(task).poll(cx));
                self.saving = Saving::Not;
                return Poll::Ready(());
            }
            Saving::Writing { task, meanwhile, outrun } => {
                let result = ready!(Pin::new(task).poll(cx));
                (result, (!*outrun).then(|| std::mem::take(meanwhile)))
            }
        };
        self.saving = Saving::Not;
        let replaced = result.and_then(|written| match meanwhile {
            Some(records) => self.file.replace(written, &records),
            None => {
                self.file.discard(written);
                Err(io::Error::new(io::ErrorKind::TimedOut, "the disk is too slow"))
            }
        });
        match replaced {
            Ok(()) => {
                self.on_saved();
                self.saving = Saving::Naming(smol::unblock(self.file.sync_folder()));
            }
            // The file still takes records.
            Err(error) => self.on_failure(&error),
        }
        Poll::Ready(())
    }

    /// Keeps what is left and writes the file whole, if that takes no longer than `patience`:
    /// without it the file is as complete, only longer.
    pub(crate) async fn finish(&mut self, at: Stamp, core: &mut impl Core, patience: Duration) {
        if !self.clear_the_way(true) {
            return;
        }
        self.append(at, core);
        let whole = async {
            self.settle().await;
            self.begin_save(at, core);
            self.settle().await;
        };
        let late = async {
            Timer::after(patience).await;
        };
        whole.or(late).await;
    }

    /// Lines that a person should see, each once.
    pub(crate) fn notes(&mut self) -> impl Iterator<Item = String> {
        self.notes.drain(..)
    }

    /// What became of the state so far.
    pub(crate) fn kept(&self) -> Kept {
        let (bytes, unusable) = (self.file.len(), self.unusable.is_some());
        Kept { bytes, unusable, complete: !self.behind, ..self.kept.clone() }
    }

    /// Waits until no write is under way.
    async fn settle(&mut self) {
        while !matches!(self.saving, Saving::Not) {
            future::poll_fn(|cx| self.poll(cx)).await;
        }
    }

    fn append(&mut self, at: Stamp, core: &mut impl Core) {
        self.records.clear();
        core.poll_journal(at, &mut self.records);
        if self.records.is_empty() {
            return;
        }
        if let Saving::Writing { meanwhile, outrun, .. } = &mut self.saving {
            *outrun |= meanwhile.len() + self.records.len() > MEANWHILE_BYTES_MAX;
            if *outrun {
                *meanwhile = Vec::new();
            } else {
                meanwhile.extend_from_slice(&self.records);
            }
        }
        if self.behind {
            return;
        }
        let len = self.records.len() as u64;
        let result = match (self.lacks_snapshot(), &self.saving) {
            // Nothing to append to yet; they will come behind what is being written.
            (true, Saving::Writing { .. }) => return,
            // The first record of all: what there is to write is as small as it will ever be.
            (true, _) => self.write_at_once(at, core),
            (false, _) => self.file.append(&self.records).map(|()| self.kept.appended_bytes += len),
        };
        if let Err(error) = result {
            self.behind = true;
            self.on_failure(&error);
        }
    }

    /// Whether there is nothing that records can follow: no snapshot, or one of an older format.
    fn lacks_snapshot(&self) -> bool {
        let is_outdated = self.kept.restored.is_some_and(|restored| restored.is_outdated);
        self.file.is_empty() || (is_outdated && self.kept.saves == 0)
    }

    fn write_at_once(&mut self, at: Stamp, core: &impl Core) -> io::Result<()> {
        let mut snapshot = Vec::new();
        core.snapshot(at, &mut snapshot);
        let written = self.file.writing(snapshot).run()?;
        self.file.replace(written, &[])?;
        self.on_saved();
        Ok(())
    }

    fn begin_save(&mut self, at: Stamp, core: &impl Core) {
        let mut snapshot = Vec::new();
        core.snapshot(at, &mut snapshot);
        let writing = self.file.writing(snapshot);
        let task = smol::unblock(move || writing.run());
        self.saving = Saving::Writing { task, meanwhile: Vec::new(), outrun: false };
    }

    fn on_saved(&mut self) {
        self.kept.saves += 1;
        self.behind = false;
        if std::mem::take(&mut self.said) {
            self.notes.push(format!("--state {}: saved again", self.file.shown()));
        }
    }

    fn on_failure(&mut self, error: &io::Error) {
        self.kept.failures += 1;
        if !std::mem::replace(&mut self.said, true) {
            self.notes.push(format!(
                "--state {}: cannot be saved: {error}; crawling on, and trying again every minute",
                self.file.shown()
            ));
        }
    }
}

#[cfg(test)]
mod tests;
