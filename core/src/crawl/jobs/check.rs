//! What must agree about the jobs, asserted: for tests, simulation and fuzzing.

use std::net::SocketAddr;

use super::Jobs;
use super::job::{DialTurn, Job, Source, WalkState, Work};
use crate::base::addr::{Contact, Family};
use crate::base::id::InfoHash;
use crate::base::store::Key;
use crate::crawl::dial::PeerKey;
use crate::crawl::fair_line::FairLine;
use crate::crawl::standing::Reserve;
use crate::limits::JOBS_MAX;

impl Jobs {
    /// Bytes of metadata kept for the next peer of an infohash.
    pub(crate) fn bytes_kept(&self) -> usize {
        self.pieces.bytes_held()
    }

    /// Asserts that every fact about a job is where it belongs, once.
    pub(crate) fn check(&self) {
        assert!(self.jobs.len() <= JOBS_MAX, "{} jobs", self.jobs.len());
        assert_eq!(self.jobs.len(), self.by_hash.len(), "every job is found by its infohash");
        assert!(self.patience.len() <= 2 * JOBS_MAX, "patience is kept with living jobs");
        assert!(self.changed.is_empty(), "every need is carried out before a call returns");
        self.pieces.check(|key| self.jobs.get(key).is_some());
        for (key, job) in self.jobs.iter() {
            let found = self.by_hash.get(&job.hash);
            assert_eq!(found, Some(&key), "an infohash leads to its own job");
            job.check();
        }
        for (family, line) in Family::ALL.into_iter().zip(&self.to_ask) {
            self.check_fair(line, "to ask their source", |job| {
                let of_family = |node: &Contact| Family::of(node.addr) == family;
                matches!(job.source, Source::Queued(_)) && job.node.as_ref().is_some_and(of_family)
            });
        }
        self.check_fair(&self.to_walk, "for a walk", |job| job.walk == WalkState::Waiting);
        self.check_fair(&self.to_dial, "to dial", |job| job.dial_turn == DialTurn::InLine);
        let blocked = self.blocked.iter().map(|(_, key)| *key);
        self.check_line(blocked, "for a limit", |job| job.dial_turn == DialTurn::Blocked);
        self.check_line(self.held.iter(), "for the network", |job| job.work == Work::Held);
    }

    fn check_fair(&self, line: &FairLine<Key>, what: &str, says: impl Fn(&Job) -> bool) {
        line.check();
        self.check_line(line.iter().copied(), what, says);
    }

    /// Asserts that each job stands in a line once if it says so, and not at all if it does not.
    fn check_line(&self, line: impl Iterator<Item = Key>, what: &str, says: impl Fn(&Job) -> bool) {
        let saying = self.jobs.iter().filter(|(_, job)| says(job)).count();
        let (mut keys, mut count, mut all) = (0, 0, true);
        for key in line {
            keys += 1;
            if let Some(job) = self.jobs.get(key) {
                (count, all) = (count + 1, all && says(job));
            }
        }
        assert!(keys <= 2 * JOBS_MAX, "{keys} keys wait {what}");
        assert!(all, "a job stands in line {what} and does not know it");
        assert_eq!(count, saying, "jobs that wait {what} stand in line once");
    }

    /// Asserts that a walk, if its job lives, is the one that the job knows.
    pub(crate) fn check_walk(&self, key: Key, family: Family, walk: Key) {
        let Some(job) = self.jobs.get(key) else { return };
        let known = matches!(job.walk, WalkState::Walking(walks)
            if walks[family.index()] == Some(walk));
        assert!(known, "a walk serves a job that does not know it");
    }

    /// How many walks jobs say are under way.
    pub(crate) fn walks_open(&self) -> usize {
        self.jobs.iter().map(|(_, job)| super::walks_of(job).iter().flatten().count()).sum()
    }

    /// Asserts that a connection, if its job lives, is to a peer that the job is trying.
    pub(crate) fn check_dial(&self, key: Key, to: SocketAddr) {
        let Some(job) = self.jobs.get(key) else { return };
        let tried = job.peers.under_way().any(|peer| peer == to);
        assert!(tried, "a connection is open to a peer that its job does not try");
    }

    /// What each job was charged beforehand.
    pub(crate) fn reserves(&self) -> impl Iterator<Item = Reserve> {
        self.jobs.iter().map(|(_, job)| job.reserve)
    }

    /// The connection that each job has begun last.
    pub(crate) fn latest_dials(&self) -> impl Iterator<Item = (Key, PeerKey)> {
        self.jobs.iter().filter_map(|(key, job)| Some((key, job.latest?)))
    }

    /// The infohash of each job.
    pub(crate) fn hashes(&self) -> impl Iterator<Item = InfoHash> {
        self.jobs.iter().map(|(_, job)| job.hash)
    }

    /// How many connections jobs say are open.
    pub(crate) fn dials_open(&self) -> usize {
        self.jobs.iter().map(|(_, job)| job.peers.under_way().count()).sum()
    }
}
