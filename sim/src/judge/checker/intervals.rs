//! Rule 3, and the back-off of rule 6: who was sampled when, and for how long it is left alone.
//!
//! Kept across crashes, as the crawler must: an answer that arrived before the crash counts after
//! it. Only a crawler that is started without what was saved is excused.

use std::net::SocketAddr;

use estudely_core::limits::{EXPIRE_AFTER, INTERVAL_MAX, INTERVAL_MIN};
use estudely_core::{Duration, Instant};

use super::address::{endpoint_key, ip_key, key};
use super::krpc::Reply;
use super::saved::Kept;
use super::sets::{Known, forget};
use crate::judge::rule::{Findings, INTERVAL_KEPT, PACE_KEPT};

/// A query waits at most so long between being chosen and being sent (courtesy to its address).
const DEFERRED: Duration = Duration::from_secs(15);

/// Who was ever said to live at an address.
#[derive(Clone, Copy, Debug)]
enum Claim {
    /// One id only.
    One(u64),
    /// Several.
    Several,
}

/// When a node may be sampled again.
#[derive(Clone, Copy, Debug)]
struct Rest {
    since: Instant,
    until: Instant,
}

/// Rests by address and id.
#[derive(Debug, Default)]
pub(super) struct Intervals {
    by_address: Known<Rest>,
    by_id: Known<Rest>,
    looked: (usize, usize, usize),
    claims: Known<Claim>,
    /// Sample queries without an answer so far, by address.
    asked: Known<Instant>,
}

impl Intervals {
    /// A node was said, or said itself, to have this id at this address.
    pub(super) fn on_claim(&mut self, id: &[u8; 20], addr: SocketAddr) {
        let id = key(&[id]);
        let claim = self.claims.entry(endpoint_key(addr)).or_insert(Claim::One(id));
        if !matches!(claim, Claim::One(known) if *known == id) {
            *claim = Claim::Several;
        }
    }

    /// A new crawler began that still knows what `kept` says.
    pub(super) fn on_started(&mut self, kept: Kept) {
        self.asked.clear();
        self.by_address.retain(|_, rest| kept.holds(rest.since));
        self.by_id.retain(|_, rest| kept.holds(rest.since));
    }

    /// `sample_infohashes` was sent.
    pub(super) fn on_asked(&mut self, found: &mut Findings, to: SocketAddr) {
        let now = found.now;
        let ip = ip_key(to);
        let resting = |rest: Option<&Rest>| rest.copied().filter(|rest| now < rest.until);
        if let Some(rest) = resting(self.by_address.get(&ip)) {
            found.fail(INTERVAL_KEPT, || sampled_early(to, now, rest, "its address"));
        }
        if let Some(Claim::One(id)) = self.claims.get(&endpoint_key(to))
            && let Some(rest) = resting(self.by_id.get(id))
            && now >= rest.since + DEFERRED
        {
            found.fail(INTERVAL_KEPT, || sampled_early(to, now, rest, "its id"));
        }
        let open = self.asked.insert(ip, now);
        let open = open.filter(|sent| now < *sent + EXPIRE_AFTER);
        found.check(open.is_none(), PACE_KEPT, || {
            format!("{to} is sampled again while the last sample query to it is open")
        });
        forget(&mut self.asked, &mut self.looked.2, |sent| now < *sent + EXPIRE_AFTER);
    }

    /// A sample query was answered, whatever by.
    pub(super) fn on_answered(&mut self, from: SocketAddr) {
        self.asked.remove(&ip_key(from));
    }

    /// A sample query was answered with samples.
    pub(super) fn on_samples(&mut self, now: Instant, from: SocketAddr, reply: &Reply<'_>) {
        let rest = Rest { since: now, until: now + kept(reply.interval) };
        self.by_address.insert(ip_key(from), rest);
        let id = key(&[&reply.id]);
        if matches!(self.claims.get(&endpoint_key(from)), Some(Claim::One(one)) if *one == id) {
            self.by_id.insert(id, rest);
        }
        forget(&mut self.by_address, &mut self.looked.0, |rest| now < rest.until);
        forget(&mut self.by_id, &mut self.looked.1, |rest| now < rest.until);
    }
}

/// The interval that must be kept: 51.5 and H20.
fn kept(interval: Option<i64>) -> Duration {
    let (least, most) = (INTERVAL_MIN.as_secs() as i64, INTERVAL_MAX.as_secs() as i64);
    let seconds = interval.filter(|seconds| (0..=most).contains(seconds)).unwrap_or(most);
    Duration::from_secs(seconds.max(least) as u64)
}

fn sampled_early(to: SocketAddr, now: Instant, rest: Rest, by: &str) -> String {
    let (after, due) = (now.since(rest.since), rest.until.since(rest.since));
    format!("{to} is sampled {after:?} after its last answer, counted by {by}: due after {due:?}")
}

const _: () = assert!(INTERVAL_MIN.as_secs() == 300 && INTERVAL_MAX.as_secs() == 21_600);
