//! The connections of jobs: which is wanted next, and what their ends mean for the job.

use std::net::SocketAddr;

use super::Jobs;
use super::job::DialTurn;
use crate::base::id::InfoHash;
use crate::base::store::Key;
use crate::base::time::Instant;
use crate::crawl::attempts::{Blame, Failure};
use crate::crawl::dial::PeerKey;
use crate::limits::FOUND_PEERS_MAX;
use crate::peer::exchange::{Attempt, Outcome};
use crate::peer::pieces::Pieces;

/// A connection that a job has begun.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) job: Key,
    pub(crate) hash: InfoHash,
    pub(crate) to: SocketAddr,
    pub(crate) attempt: Attempt,
    /// Pieces that earlier peers left.
    pub(crate) resume: Option<Pieces>,
}

impl Jobs {
    /// Puts a job that wants a connection in line; once, however often it is said.
    pub(super) fn queue_dial(&mut self, key: Key) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        if job.dial_turn == DialTurn::NotWanted {
            job.dial_turn = DialTurn::InLine;
            self.to_dial.push(key, |key| self.jobs.get(key).is_some());
        }
    }

    /// Whether jobs may want a connection.
    pub(crate) fn has_to_dial(&self) -> bool {
        !self.to_dial.is_empty()
    }

    /// The first job that wants a connection.
    pub(crate) fn next_to_dial(&mut self) -> Option<Key> {
        self.to_dial.front(|key| self.jobs.get(key).is_some())
    }

    /// Begins a connection for the first job in line, to a peer that `usable` does not veto for the
    /// moment. `None` if there is no such peer: then the job goes to the end of the line.
    pub(crate) fn begin_dial(&mut self, usable: impl Fn(SocketAddr) -> bool) -> Option<Begun> {
        let key = self.to_dial.pop()?;
        let job = self.jobs.get_mut(key)?;
        job.dial_turn = DialTurn::NotWanted;
        let Some((to, attempt)) = job.begin_dial(&self.limits, usable) else {
            self.queue_dial(key);
            return None;
        };
        let hash = job.hash;
        Some(Begun { job: key, hash, to, attempt, resume: self.pieces.take(key) })
    }

    /// The connection that a job has begun goes by the name of `peer`.
    pub(crate) fn on_dial_named(&mut self, key: Key, peer: PeerKey) {
        if let Some(job) = self.jobs.get_mut(key) {
            job.latest = Some(peer);
        }
    }

    /// A connection is slow. Only the one begun last says that the job is.
    pub(crate) fn on_dial_slow(&mut self, key: Key, peer: PeerKey) {
        if let Some(job) = self.jobs.get_mut(key).filter(|job| job.latest == Some(peer)) {
            job.allow_overtaking();
            self.note(key);
        }
    }

    /// A connection was broken off because the run ends: the infohash is new to the next one.
    pub(crate) fn on_dial_broken_off(&mut self, key: Key, to: SocketAddr) {
        if let Some(job) = self.jobs.get_mut(key) {
            job.peers.break_off(to);
        }
    }

    /// A connection brought no metadata, for which `blame` is to blame. Pieces and peers that it
    /// brought are kept.
    pub(crate) fn on_dial_failed(
        &mut self,
        now: Instant,
        (key, to): (Key, SocketAddr),
        failure: &Failure,
        blame: Blame,
        outcome: Outcome,
    ) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        job.touched = now;
        job.on_failure(to, failure, blame);
        if job.may_pool()
            && let Some(pieces) = outcome.partial
        {
            self.pieces.put(key, pieces);
        }
        if !outcome.found_peers.is_empty() {
            self.on_peers(now, key, outcome.found_peers.into_iter().take(FOUND_PEERS_MAX), false);
        }
        self.note(key);
    }
}
