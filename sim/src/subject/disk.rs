//! The crawler's files, as far as a restart depends on them: the state file, one snapshot with the
//! records appended since, and the infohashes that the CSV file says are done.
//!
//! They survive a kill. What was being written at that moment may stand there in part. Where
//! crashes are due the disk stalls for one second of three: what a kill finds taken and not written
//! is lost, and must be under way in the state.

use std::collections::{BTreeSet, VecDeque};

use estudely_core::state::{Restored, WallTime};
use estudely_core::{Crawler, InfoHash, Instant, Row, Verdict};

use crate::world::draw::draw;

/// The wall clock when a run begins, seconds since the Unix epoch: 2026-01-01.
pub(super) const EPOCH: u64 = 1_767_225_600;

/// How long the disk stalls.
const STALL_MICROS: u64 = 1_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Disk {
    draw: fastrand::Rng,
    /// Empty before anything was saved.
    state: Vec<u8>,
    /// Where the last turn's records begin; its end if there are none.
    last_record: usize,
    /// Whether the last turn can have brought no news but rows that need no record.
    only_rows: bool,
    /// Whether it did: see [`Self::tear`].
    in_rows: bool,
    verified: BTreeSet<InfoHash>,
    /// Whether it stalls at times.
    stalls: bool,
    /// Rows taken and not written, and when they were taken, the oldest first.
    unwritten: VecDeque<(Instant, Row)>,
    /// Rows that this run has written.
    written: u64,
}

impl Disk {
    pub(super) fn new(seed: u64, stalls: bool) -> Self {
        Self {
            stalls,
            unwritten: VecDeque::new(),
            written: 0,
            draw: draw(seed, "disk", 0),
            state: Vec::new(),
            last_record: 0,
            only_rows: false,
            in_rows: false,
            verified: BTreeSet::new(),
        }
    }

    /// What the state file holds, if there is one.
    pub(super) fn state(&self) -> Option<&[u8]> {
        (!self.state.is_empty()).then_some(&self.state)
    }

    /// Tells a new crawler what the files hold, and has it keep records from now on. A torn end is
    /// cut off, as the adapter does. What was taken up, if there was a state.
    pub(super) fn restore(&mut self, now: Instant, crawler: &mut Crawler) -> Option<Restored> {
        for hash in &self.verified {
            crawler.handle_known(*hash);
        }
        let restored = (!self.state.is_empty()).then(|| {
            let restored = crawler.restore(Instant::START, wall_time(now), &self.state);
            restored.expect("the crawler takes the state that it saved itself")
        });
        if let Some(restored) = &restored {
            self.state.truncate(self.state.len() - restored.torn_bytes);
        }
        self.last_record = self.state.len();
        self.written = 0;
        crawler.keep_journal();
        restored
    }

    /// A row was taken; it is written later.
    pub(super) fn take_row(&mut self, now: Instant, row: Row) {
        self.unwritten.push_back((now, row));
    }

    /// Whether rows that were taken wait to be written.
    pub(super) fn has_unwritten(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Whether no row is written at this instant.
    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        self.stalls && (now.as_micros() / STALL_MICROS).is_multiple_of(3)
    }

    /// Writes the next row to the CSV file; when it was taken and which, none if all are written.
    pub(super) fn write_row(&mut self) -> Option<(Instant, Row)> {
        let (taken, row) = self.unwritten.pop_front()?;
        self.written += 1;
        self.note_row(&row);
        Some((taken, row))
    }

    /// How many rows of this run are written.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    fn note_row(&mut self, row: &Row) {
        if matches!(row.verdict, Verdict::Verified { .. }) {
            self.verified.insert(row.infohash);
            self.in_rows = self.only_rows;
        } else {
            // Only the state says that these need not be asked for again.
            (self.only_rows, self.in_rows) = (false, false);
        }
    }

    /// Appends the crawler's records; what was appended, if anything.
    pub(super) fn append(&mut self, now: Instant, crawler: &mut Crawler) -> Option<&[u8]> {
        let end = self.state.len();
        crawler.poll_journal(wall_time(now), &mut self.state);
        self.last_record = end;
        Some(&self.state[end..]).filter(|record| !record.is_empty())
    }

    /// Replaces the state file by a snapshot; returns it.
    pub(super) fn replace(&mut self, now: Instant, crawler: &Crawler) -> &[u8] {
        self.state.clear();
        crawler.snapshot(wall_time(now), &mut self.state);
        self.last_record = self.state.len();
        self.in_rows = false;
        &self.state
    }

    /// A turn begins. `by_stream`: a connection brought it, so that it can bring rows but no
    /// samples.
    pub(super) fn begin_turn(&mut self, by_stream: bool) {
        (self.only_rows, self.in_rows) = (by_stream, false);
    }

    /// The crawler was killed. Perhaps between writing a row and the record that follows; what is
    /// lost then is known from the CSV file. Perhaps while it was appending, so that the beginning
    /// of a record stands at the end. All that had been appended before is whole: an answer that
    /// was read and whose record is lost would be one that was still on its way.
    pub(super) fn tear(&mut self) {
        self.unwritten.clear();
        let record = self.last_record..self.state.len();
        if record.len() < 2 {
            return;
        }
        let torn = record.start..self.draw.usize(record.start + 1..record.end);
        match self.draw.u8(0..3) {
            0 => {}
            1 => self.state.extend_from_within(torn),
            _ if self.in_rows => self.state.truncate(torn.end),
            _ => {}
        }
    }
}

fn wall_time(now: Instant) -> WallTime {
    WallTime(EPOCH + now.since(Instant::START).as_secs())
}
