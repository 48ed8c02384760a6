//! Which infohashes are taken on, and when: the seen-filter, the queue before a job is free, the
//! limit a run was given, and the calendar of second chances.

use crate::limits::{
    KNOWN_MAX, PENDING_MAX, SECOND_CHANCE_AFTER, SECOND_CHANCE_TURNS, SECOND_CHANCES_MAX,
};
use std::collections::VecDeque;

use crate::addr::Contact;
use crate::id::InfoHash;
use crate::rng::Rng;
use crate::store::{FingerprintSet, Seen};
use crate::time::{Instant, Lane, earliest};

/// An infohash and the node that named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) hash: InfoHash,
    pub(crate) source: Option<Contact>,
    pub(crate) found: Instant,
    /// Rounds that failed before.
    pub(crate) round: u8,
}

/// What became of an infohash that was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intaken {
    /// Taken on: it waits for a job.
    New,
    /// Known already.
    Known,
    /// New, but the run takes no more.
    Closed,
    /// New, but there is no room.
    Full,
}

/// The door through which infohashes come in.
#[derive(Debug)]
pub(crate) struct Intake {
    known: FingerprintSet,
    pending: VecDeque<Candidate>,
    retries: [Lane<Candidate>; SECOND_CHANCE_AFTER.len()],
    /// How many may wait for a job before the sweep stops looking for more.
    enough: usize,
    /// How many more may be taken on; `None` for no end.
    quota: Option<u64>,
    closed: bool,
    /// Jobs given since a second chance was first in turn.
    turn: u8,
}

impl Intake {
    pub(crate) fn new(max_infohashes: Option<u64>, enough: usize, rng: &mut Rng) -> Self {
        Self {
            known: FingerprintSet::new(rng, KNOWN_MAX),
            pending: VecDeque::new(),
            retries: SECOND_CHANCE_AFTER.map(Lane::new),
            enough,
            quota: max_infohashes,
            closed: false,
            turn: 0,
        }
    }

    /// Never takes `hash` on.
    pub(crate) fn ban(&mut self, hash: InfoHash) {
        self.known.insert(&hash.0);
    }

    /// Counts an infohash as taken on if it is new and the run takes more: the caller has a job
    /// for it.
    pub(crate) fn admit(&mut self, hash: InfoHash) -> Intaken {
        if self.is_closed() {
            return if self.known.contains(&hash.0) { Intaken::Known } else { Intaken::Closed };
        }
        match self.known.insert(&hash.0) {
            Seen::Known => Intaken::Known,
            Seen::Full => Intaken::Full,
            Seen::New => {
                self.quota = self.quota.map(|left| left - 1);
                Intaken::New
            }
        }
    }

    /// Takes on an infohash that is new, if the run takes more: it waits for a job.
    pub(crate) fn offer(
        &mut self,
        now: Instant,
        hash: InfoHash,
        source: Option<Contact>,
    ) -> Intaken {
        if self.pending.len() >= PENDING_MAX {
            return if self.known.contains(&hash.0) { Intaken::Known } else { Intaken::Full };
        }
        let taken = self.admit(hash);
        if taken == Intaken::New {
            self.pending.push_back(Candidate { hash, source, found: now, round: 0 });
        }
        taken
    }

    /// The next infohash for a free job. Second chances due at `now` get one job in four, so that
    /// new infohashes without end do not keep them waiting.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Candidate> {
        self.turn = (self.turn + 1) % SECOND_CHANCE_TURNS;
        let second =
            |retries: &mut [Lane<Candidate>]| retries.iter_mut().find_map(|lane| lane.pop_due(now));
        let may_retry = !self.closed;
        if self.turn == 0
            && may_retry
            && let Some(candidate) = second(&mut self.retries)
        {
            return Some(candidate);
        }
        let new = self.pending.pop_front();
        new.or_else(|| if may_retry { second(&mut self.retries) } else { None })
    }

    /// Remembers a failed infohash for a second chance, if it has one left.
    pub(crate) fn retry_later(&mut self, now: Instant, mut failed: Candidate) {
        let waiting: usize = self.retries.iter().map(Lane::len).sum();
        if let Some(lane) = self.retries.get_mut(usize::from(failed.round))
            && waiting < SECOND_CHANCES_MAX
        {
            failed.round += 1;
            lane.push(now, failed);
        }
    }

    /// Takes nothing on from now on.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether nothing new is taken on any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed || self.quota == Some(0)
    }

    /// Whether the sweep should find more.
    pub(crate) fn wants_more(&self) -> bool {
        !self.is_closed() && self.pending.len() < self.enough
    }

    /// Infohashes waiting for a job.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// When a second chance is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.closed {
            return None;
        }
        self.retries.iter().map(Lane::poll_timeout).fold(None, earliest)
    }

    pub(crate) fn check(&self) {
        assert!(self.pending.len() <= PENDING_MAX);
        assert!(self.retries.iter().map(Lane::len).sum::<usize>() <= SECOND_CHANCES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    fn intake(max: Option<u64>) -> Intake {
        Intake::new(max, 100, &mut Rng::new(Seed::from_u64(1)))
    }

    fn hash(n: u8) -> InfoHash {
        InfoHash([n; 20])
    }

    #[test]
    fn an_infohash_is_taken_on_once_and_only_up_to_the_quota() {
        let mut intake = intake(Some(2));
        intake.ban(hash(9));
        let offers = [1, 1, 9, 2, 3, 2].map(|n| intake.offer(Instant::START, hash(n), None));
        use Intaken::{Closed, Known, New};
        assert_eq!(offers, [New, Known, Known, New, Closed, Known]);
        assert!(intake.is_closed() && !intake.wants_more());
        assert_eq!(intake.pending(), 2);
    }

    #[test]
    fn a_failed_infohash_comes_back_three_times_and_then_never() {
        let mut intake = intake(None);
        let mut now = Instant::START;
        let mut failed = Candidate { hash: hash(1), source: None, found: now, round: 0 };
        for wait in SECOND_CHANCE_AFTER {
            intake.retry_later(now, failed);
            assert_eq!(intake.next(now), None);
            now = now + wait;
            assert_eq!(intake.poll_timeout(), Some(now));
            failed = intake.next(now).expect("due");
        }
        intake.retry_later(now, failed);
        assert_eq!(intake.poll_timeout(), None);
    }
}
