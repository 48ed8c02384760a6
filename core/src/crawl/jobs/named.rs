//! What a user asks for: peers by order, all of which are tried, and those of links, which are
//! hearsay like what nodes say.
//!
//! Nothing named must vanish without being counted.

use std::net::SocketAddr;

use super::{JobLimits, Jobs};
use crate::base::addr::{AddressPolicy, Family};
use crate::base::store::Key;
use crate::base::time::Instant;
use crate::crawl::jobs::peers::Added;
use crate::lead::Request;

/// How many peers of a request were left out, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// Orders beyond the most for an infohash, or to what no host can own.
    pub(crate) orders: u64,
    /// Hearsay of private addresses.
    pub(crate) private: u64,
    /// Other hearsay: nothing that can be dialled, or without a place.
    pub(crate) hearsay: u64,
}

/// What is to be done with a peer of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Keep,
    Private,
    Never,
}

impl JobLimits {
    fn use_of(&self, peer: SocketAddr) -> Use {
        if !AddressPolicy::AllowPrivate.admits(peer) {
            return Use::Never;
        }
        if !self.policy.admits(peer) {
            return Use::Private;
        }
        let own = self.own[Family::of(peer).index()];
        // Without the DHT no family has an address of its own, and none is off.
        let is_off = own.is_none() && self.own.iter().any(Option::is_some);
        if is_off || own == Some(peer) { Use::Never } else { Use::Keep }
    }
}

impl Jobs {
    /// Keeps the peers of a request; what was left out of it.
    pub(crate) fn on_request(&mut self, now: Instant, key: Key, request: &Request) -> LeftOut {
        let mut left_out = LeftOut::default();
        let limits = self.limits;
        let Some(job) = self.jobs.get_mut(key) else { return left_out };
        let before = job.peers.len();
        for peer in &request.orders {
            let possible = AddressPolicy::AllowPrivate.admits(*peer);
            let refused = !possible || job.peers.order(*peer) == Added::NoRoom;
            left_out.orders += u64::from(refused);
        }
        // Who is named by order as well is left out of nothing.
        for peer in request.hearsay.iter().filter(|peer| !request.orders.contains(peer)) {
            match limits.use_of(*peer) {
                Use::Private => left_out.private += 1,
                Use::Never => left_out.hearsay += 1,
                Use::Keep => {
                    let refused = job.peers.add(&limits, *peer, None) == Added::NoRoom;
                    left_out.hearsay += u64::from(refused);
                }
            }
        }
        job.touched = now;
        let new = job.peers.len() - before;
        self.note_finds(before == 0, new);
        self.note(key);
        left_out
    }
}
