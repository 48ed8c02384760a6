//! What is lost with a file that another program deleted or cut: infohashes that no output holds
//! any more.
//!
//! To know them, a file that is deleted but still open is read through, and all the others: seconds
//! for each gigabyte, so that is done on the blocking pool while the loop goes on.

use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::Duration;

use estudely_core::InfoHash;
use estudely_core::limits::PENDING_SAVED_MAX;

use super::file::Part;
use super::traits::RowSink;
use crate::files::hashes::{InfoHashSet, InfoHashSetBuilder};
use crate::files::resume::each_infohash;

/// Most deleted files that wait to be read: what more of them held is found again when nodes may
/// be sampled again.
const DELETED_MAX: usize = 16;
/// How long the end of a run waits for what is being read.
const LAST_WAIT: Duration = Duration::from_millis(150);

/// What is looked for, and by whom.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// Deleted files, to be read.
    deleted: Vec<Part>,
    /// Infohashes known to have been cut off.
    missing: BTreeSet<InfoHash>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    lost: Receiver<Vec<InfoHash>>,
    cancelled: Arc<AtomicBool>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

impl Search {
    /// What this part held is in no file of that name any more.
    pub(super) fn add_deleted(&mut self, part: Part) {
        if self.deleted.len() < DELETED_MAX {
            self.deleted.push(part);
        }
    }

    /// These stand in their file no more.
    pub(super) fn add_missing(&mut self, missing: Vec<InfoHash>) {
        let room = PENDING_SAVED_MAX.saturating_sub(self.missing.len());
        self.missing.extend(missing.into_iter().take(room));
    }

    /// Whether anything is still looked for.
    pub(super) fn is_busy(&self) -> bool {
        self.running.is_some() || !self.deleted.is_empty() || !self.missing.is_empty()
    }

    /// Begins what is to be done, if nothing is, and returns what was found by now.
    pub(super) fn turn(&mut self, sinks: &mut [Box<dyn RowSink>]) -> Vec<InfoHash> {
        let found = match self.running.as_ref().map(|running| running.lost.try_recv()) {
            Some(Err(TryRecvError::Empty)) => return Vec::new(),
            Some(found) => found.unwrap_or_default(),
            None => Vec::new(),
        };
        self.running = None;
        let mut found = not_written_since(found, sinks);
        if !self.is_busy() {
            return found;
        }
        let outputs = sinks.iter_mut().filter_map(|sink| sink.output());
        let others: Vec<Part> = outputs.filter_map(|output| output.standing_part()).collect();
        if self.deleted.is_empty() && others.is_empty() {
            // Nothing is to be read.
            found.extend(std::mem::take(&mut self.missing));
        } else {
            self.begin(others);
        }
        found
    }

    /// The same, after a moment's wait at most.
    pub(super) fn last_turn(&mut self, sinks: &mut [Box<dyn RowSink>]) -> Vec<InfoHash> {
        let found = self.running.take().map(|running| running.lost.recv_timeout(LAST_WAIT));
        not_written_since(found.and_then(Result::ok).unwrap_or_default(), sinks)
    }

    fn begin(&mut self, others: Vec<Part>) {
        let deleted = std::mem::take(&mut self.deleted);
        let missing = std::mem::take(&mut self.missing);
        let cancelled = Arc::new(AtomicBool::new(false));
        let (tell, lost) = sync_channel(1);
        self.running = Some(Running { lost, cancelled: cancelled.clone() });
        let work = move || {
            // Nobody may want it any more.
            let _ = tell.send(held_nowhere(deleted, missing, others, &cancelled));
        };
        smol::unblock(work).detach();
    }
}

/// What was written anew while it was looked for is not lost.
fn not_written_since(found: Vec<InfoHash>, sinks: &mut [Box<dyn RowSink>]) -> Vec<InfoHash> {
    if found.is_empty() {
        return found;
    }
    let mut lost: BTreeSet<InfoHash> = found.into_iter().collect();
    for output in sinks.iter_mut().filter_map(|sink| sink.output()) {
        output.written().for_each(|hash| {
            lost.remove(&hash);
        });
    }
    lost.into_iter().collect()
}

/// Those that are missing, or in deleted files, and in no other: as many as a core takes back.
fn held_nowhere(
    deleted: Vec<Part>,
    missing: BTreeSet<InfoHash>,
    others: Vec<Part>,
    cancelled: &AtomicBool,
) -> Vec<InfoHash> {
    let held = held_by(others, cancelled);
    let mut lost: BTreeSet<InfoHash> =
        missing.into_iter().filter(|hash| !held.contains(*hash)).collect();
    for part in deleted {
        part.each_infohash(cancelled, &mut |hash| {
            if lost.len() < PENDING_SAVED_MAX && !held.contains(hash) {
                lost.insert(hash);
            }
        });
    }
    lost.into_iter().collect()
}

fn held_by(others: Vec<Part>, cancelled: &AtomicBool) -> InfoHashSet {
    let mut held = InfoHashSetBuilder::default();
    for part in others {
        part.each_infohash(cancelled, &mut |hash| held.insert(hash));
    }
    held.finish()
}

impl Part {
    /// Shows every infohash of it, once for rows that stand together. What cannot be read holds
    /// nothing that could be relied on.
    fn each_infohash(&self, cancelled: &AtomicBool, on_hash: &mut dyn FnMut(InfoHash)) {
        let mut last = None;
        let mut reader = Beside { part: self, at: 0, cancelled };
        let _ = each_infohash(&mut reader, self.is_pairs, &mut |hash| {
            if last.replace(hash) != Some(hash) {
                on_hash(hash);
            }
        });
    }
}

/// Reads a part beside those who write the file.
struct Beside<'a> {
    part: &'a Part,
    at: u64,
    cancelled: &'a AtomicBool,
}

impl Read for Beside<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(io::Error::other("no longer wanted"));
        }
        let left = usize::try_from(self.part.len.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let most = buf.len().min(left);
        let read = self.part.file.read_at(&mut buf[..most], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Beside<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(by) => self.part.len.saturating_add_signed(by),
            SeekFrom::Current(by) => self.at.saturating_add_signed(by),
        };
        Ok(self.at)
    }
}
