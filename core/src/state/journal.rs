//! What happened since the last record was written: kept in two lists that are drained each turn
//! and never grow beyond their bounds, so that keeping a journal costs a warm crawl no allocation.

use std::net::SocketAddr;

use super::body::{put_lead, put_rest, put_wall};
use super::frame::{Salt, put_record};
use super::item::Rest;
use super::snapshot::put_stamp;
use super::{Stamp, kind};
use crate::base::addr::Contact;
use crate::base::id::InfoHash;
use crate::base::planted::{self, Bug};
use crate::base::time::Instant;
use crate::lead::{Lead, Origin};
use crate::limits::{JOURNAL_ITEMS_MAX, JOURNAL_NOTES_MAX, SAMPLES_PER_REPLY, SAVED_PEERS_MAX};

/// One thing that a snapshot would now say differently.
#[derive(Clone, Copy, Debug)]
enum Note {
    /// A node rests; so many infohashes of its answer were taken on.
    Answer { contact: Contact, by_id: bool, until: Instant, samples: u8 },
    /// An infohash was asked for, with so many peers.
    Taken { hash: InfoHash, peers: u8 },
    /// Nothing of an infohash needs to be remembered any more.
    Dropped(InfoHash),
    /// An infohash failed and gets another chance.
    Retry { hash: InfoHash, round: u8, due: Instant },
    /// An infohash is settled for good.
    Over(InfoHash),
}

/// The notes since the last [`Journal::drain`].
#[derive(Debug)]
pub(crate) struct Journal {
    /// What the sums of its records cover: the salt of the file that they go to.
    salt: Salt,
    notes: Vec<Note>,
    /// The samples of the answers noted, and after those of the answer being read.
    samples: Vec<InfoHash>,
    /// The peers of the infohashes asked for.
    peers: Vec<SocketAddr>,
    /// Samples that belong to notes.
    noted: usize,
    /// What the clocks said at first, and whether they were set against each other since. Then it
    /// is written before all that follows: which of the settings a snapshot said last, and whether
    /// that became the file, is not known here.
    clock: Option<Stamp>,
    was_set: bool,
    /// Whether it was written at all.
    said: bool,
}

impl Journal {
    /// Nothing has happened yet.
    pub(crate) fn new(salt: Salt) -> Self {
        let (notes, samples, peers) = (Vec::new(), Vec::new(), Vec::new());
        Self { salt, notes, samples, peers, noted: 0, clock: None, was_set: false, said: false }
    }

    /// Keeps an infohash of the answer being read until [`Journal::answer`] says whose it was.
    pub(crate) fn sample(&mut self, hash: InfoHash) {
        let room = self.samples.len() - self.noted < SAMPLES_PER_REPLY;
        if room && !planted::is(Bug::CalendarWithoutSamples) {
            self.samples.push(hash);
        }
    }

    /// The node of the answer being read rests until `until`: one record with its samples, or, if
    /// there is no room, none of either.
    pub(crate) fn answer(&mut self, contact: Contact, by_id: bool, until: Instant) {
        if self.is_full() {
            return self.samples.truncate(self.noted);
        }
        let samples = (self.samples.len() - self.noted) as u8;
        self.noted = self.samples.len();
        self.notes.push(Note::Answer { contact, by_id, until, samples });
    }

    /// An infohash was taken on because somebody asked for it.
    pub(crate) fn taken(&mut self, hash: InfoHash, peers: impl Iterator<Item = SocketAddr>) {
        if !self.is_full() {
            let before = self.peers.len();
            self.peers.extend(peers.take(SAVED_PEERS_MAX));
            let peers = (self.peers.len() - before) as u8;
            self.notes.push(Note::Taken { hash, peers });
        }
    }

    /// Nothing of an infohash needs to be remembered any more.
    pub(crate) fn dropped(&mut self, hash: InfoHash) {
        self.note(Note::Dropped(hash));
    }

    /// An infohash failed for the `round`th time and is due again.
    pub(crate) fn retry(&mut self, hash: InfoHash, round: u8, due: Instant) {
        self.note(Note::Retry { hash, round, due });
    }

    /// An infohash is settled for good.
    pub(crate) fn over(&mut self, hash: InfoHash) {
        self.note(Note::Over(hash));
    }

    /// Appends a record for each note, and forgets them.
    pub(crate) fn drain(&mut self, now: Instant, at: Stamp, out: &mut Vec<u8>) {
        let wall = at.wall;
        self.was_set |= self.clock.get_or_insert(at).disagrees_with(at);
        if !self.notes.is_empty() && (self.was_set || !self.said) {
            self.said = true;
            put_stamp(self.salt, at, out);
        }
        let (salt, left) = (self.salt, |until: Instant| seconds_left(now, until));
        let (mut samples, mut peers) = (self.samples.iter(), self.peers.iter());
        for note in self.notes.drain(..) {
            match note {
                Note::Answer { contact, by_id, until, samples: count } => {
                    put_record(salt, kind::ANSWER, out, |out| {
                        put_wall(wall, out);
                        put_rest(&Rest { contact, by_id, left: left(until) }, out);
                        out.push(count);
                        let own = samples.by_ref().take(usize::from(count));
                        own.for_each(|hash| out.extend_from_slice(&hash.0));
                    });
                }
                Note::Taken { hash, peers: count } => {
                    let own = peers.by_ref().take(usize::from(count)).copied();
                    let lead = Lead::new(hash, now, Origin::Request);
                    put_record(salt, kind::TAKEN, out, |out| put_lead(&lead, 0, own, out));
                }
                Note::Dropped(hash) => {
                    put_record(salt, kind::DROPPED, out, |out| out.extend_from_slice(&hash.0));
                }
                Note::Retry { hash, round, due } => put_record(salt, kind::RETRY, out, |out| {
                    put_wall(wall, out);
                    out.extend_from_slice(&hash.0);
                    out.push(round);
                    out.extend_from_slice(&left(due).to_be_bytes());
                }),
                Note::Over(hash) => {
                    put_record(salt, kind::OVER, out, |out| out.extend_from_slice(&hash.0));
                }
            }
        }
        self.samples.clear();
        self.peers.clear();
        self.noted = 0;
    }

    /// Asserts the bounds.
    pub(crate) fn check(&self) {
        assert!(self.notes.len() <= JOURNAL_NOTES_MAX);
        assert!(self.samples.len() <= JOURNAL_ITEMS_MAX + SAMPLES_PER_REPLY);
        assert!(self.peers.len() <= JOURNAL_ITEMS_MAX + SAVED_PEERS_MAX);
        assert_eq!(self.samples.len(), self.noted, "every sample belongs to an answer");
    }

    fn note(&mut self, note: Note) {
        if !self.is_full() {
            self.notes.push(note);
        }
    }

    fn is_full(&self) -> bool {
        self.notes.len() >= JOURNAL_NOTES_MAX
            || self.samples.len() > JOURNAL_ITEMS_MAX
            || self.peers.len() > JOURNAL_ITEMS_MAX
    }
}

/// Seconds from `now` to `until`, rounded up.
pub(crate) fn seconds_left(now: Instant, until: Instant) -> u32 {
    let micros = u64::try_from(until.since(now).as_micros()).unwrap_or(u64::MAX);
    u32::try_from(micros.div_ceil(1_000_000)).unwrap_or(u32::MAX)
}
