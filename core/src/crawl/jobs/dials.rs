//! The connections of jobs: which is wanted next, and what their ends mean for the job.

use std::net::SocketAddr;

use super::job::{DialTurn, Job, Other};
use super::{Jobs, enter};
use crate::base::fault::PeerFault;
use crate::base::id::InfoHash;
use crate::base::store::Key;
use crate::base::time::Instant;
use crate::crawl::attempts::{Blame, Failure, Ways};
use crate::crawl::dial::PeerKey;
use crate::crawl::fair_line::Behalf;
use crate::crawl::standing::{Sponsor, Standing};
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
    /// The node that named the infohash, and the one that named the peer.
    pub(crate) sponsor: Option<Sponsor>,
    pub(crate) namer: Option<Sponsor>,
    /// Pieces that earlier peers left.
    pub(crate) resume: Option<Pieces>,
}

impl Jobs {
    /// Puts a job that wants a connection in line; once, however often it is said. One that stands
    /// there already moves to the lane of whoever answers for it now.
    pub(super) fn queue_dial(&mut self, key: Key, standing: &Standing) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        let behalf = match (job.dial_turn, job.dial_place) {
            (DialTurn::NotWanted, _) => job.behalf_of_dial(standing),
            (DialTurn::InLine, Some(place)) => {
                let behalf = job.behalf_of_dial(standing);
                let Some((_, before)) = self.to_dial.at(place) else { return };
                if behalf == Behalf::Hearsay(before) {
                    return;
                }
                self.to_dial.withdraw(place);
                behalf
            }
            (DialTurn::InLine | DialTurn::Blocked, _) => return,
        };
        job.dial_turn = DialTurn::InLine;
        let place = enter(&mut self.to_dial, &self.jobs, standing, behalf, key);
        if let Some(job) = self.jobs.get_mut(key) {
            job.dial_place = place;
        }
    }

    /// Whether jobs may want a connection now.
    pub(crate) fn has_to_dial(&self) -> bool {
        !self.to_dial.is_empty()
    }

    /// When jobs whose peers were over some limit are looked at again.
    pub(crate) fn unblocked_at(&self) -> Option<Instant> {
        self.blocked.poll_timeout()
    }

    /// Puts jobs back in line that had to wait for a limit.
    pub(crate) fn unblock(&mut self, now: Instant, standing: &Standing) {
        while let Some(key) = self.blocked.pop_due(now) {
            let Some(job) = self.jobs.get_mut(key) else { continue };
            job.dial_turn = DialTurn::NotWanted;
            // Whatever lets it dial again says so.
            if job.has_peers(&self.limits) {
                self.queue_dial(key, standing);
            }
        }
    }

    /// The first job that wants a connection, and what whoever answers for it owes.
    pub(crate) fn next_to_dial(&mut self, standing: &Standing) -> Option<(Key, i64)> {
        let (key, debt) = self.to_dial.front(standing, |key| self.jobs.get(*key).is_some())?;
        Some((*key, debt))
    }

    /// Begins a connection for the first job in line, to a peer that `usable` does not veto for the
    /// moment, and that has its first in one of the `ways`. `None` if there is no such peer: then
    /// the job leaves the line for a moment.
    pub(crate) fn begin_dial(
        &mut self,
        now: Instant,
        standing: &Standing,
        usable: impl Fn(SocketAddr) -> bool,
        ways: impl Fn(SocketAddr) -> Ways,
    ) -> Option<Begun> {
        let key = self.to_dial.pop(standing, |key| self.jobs.get(*key).is_some())?;
        let job = self.jobs.get_mut(key)?;
        (job.dial_turn, job.dial_place) = (DialTurn::NotWanted, None);
        let begun = job.begin_dial(&self.limits, standing, usable, ways);
        let Some((to, namer, attempt)) = begun else {
            job.dial_turn = DialTurn::Blocked;
            self.blocked.push(now, key);
            return None;
        };
        // The second source does not pay for peers that others named.
        let pays = job.other != Other::Tried || namer.is_none();
        let (hash, sponsor) = (job.hash, job.sponsor().filter(|_| pays));
        let resume = self.pieces.take(key);
        Some(Begun { job: key, hash, to, attempt, sponsor, namer, resume })
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
        (namer, standing): (Option<Sponsor>, &Standing),
    ) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        job.touched = now;
        let pools = job.may_pool() && failure.fault != PeerFault::BadHash;
        let partial = outcome.partial.filter(|_| pools);
        let debt = |key: Key| {
            let sponsor = self.jobs.get(key).and_then(Job::sponsor);
            sponsor.map_or(i64::MIN, |sponsor| standing.debt(sponsor))
        };
        let kept = partial.is_some_and(|pieces| self.pieces.put(key, pieces, debt));
        // A turn whose pieces find no room would be followed by the same turn again.
        let blame = if blame == Blame::Turn && !kept { Blame::Crowd } else { blame };
        if let Some(job) = self.jobs.get_mut(key) {
            job.on_failure(to, failure, blame);
        }
        if !outcome.found_peers.is_empty() {
            // What a peer tells of others is as good as the node that named it.
            let found = outcome.found_peers.into_iter().take(FOUND_PEERS_MAX);
            self.on_peers(now, key, found, false, (namer, standing));
        }
        self.note(key);
    }
}
