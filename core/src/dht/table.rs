//! The routing table of one address family (BEP 5 "Routing Table"): which nodes we know that
//! answer, arranged so that the nearest to any target are found exactly.
//!
//! Nodes stand in buckets by how many leading bits their id shares with ours; only the bucket
//! around our own id splits. The first buckets are larger (128, 64, 32, 16, then 8), as deployed
//! clients do, because every lookup begins there.
//!
//! Must never hold a node that did not answer us, our own id, an address the policy refuses, one
//! address or id twice, nor (on the public network) two nodes of one /24 or /64 in a bucket. Must
//! never send: what it wants asked comes out of [`Table::poll_probe`], and the owner reports what
//! became of it through [`Table::on_reply`] and [`Table::on_failure`].

mod bucket;
mod check;
mod index;
mod nearest;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use self::bucket::{Bucket, Member, Upkeep};
use self::index::AddressIndex;
use self::nearest::Nearest;
use crate::base::addr::{AddressPolicy, Contact, Family};
use crate::base::id::{Id, NodeId};
use crate::base::rng::{Rng, Seed};
use crate::base::time::{Instant, earliest};
use crate::limits::{
    BAD_AFTER, BUCKETS_MAX, DROP_AFTER, GOOD_FOR, PROBE_PATIENCE, REFRESH_AFTER, REPLACEMENTS_MAX,
};

/// Nodes that a lookup aims for, a reply names and an ordinary bucket holds (BEP 5).
pub const K: usize = 8;
/// Capacity of the first buckets (catalogue 5.10, libtorrent's extended table); later ones hold
/// [`K`].
pub const LOW_BUCKETS: [usize; 4] = [128, 64, 32, 16];

/// What became of a node that answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Insertion {
    /// It entered a bucket.
    Inserted,
    /// It was known already; its failures are forgotten.
    Updated,
    /// Its bucket is full: it waits among the replacements.
    Cached,
    /// It may not enter.
    Refused(Refusal),
}

/// Why a node may not enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It claims our own id (catalogue H16).
    OwnId,
    /// The address is ours, of the other family, or not admitted by the policy (H11).
    Address,
    /// Another node holds this IP address (H13).
    AddressTaken,
    /// Another address holds this id.
    IdTaken,
    /// Another node of this bucket stands in the same /24 or /64 (H13).
    PrefixTaken,
}

/// A query that the table wants sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Ping this questionable node: someone waits for its place.
    Ping(Contact),
    /// Look up this random point: its bucket has not changed for 15 minutes.
    Refresh(Id),
}

/// The routing table of one family.
///
/// Inputs are `on_*`; after any of them, [`Self::poll_probe`] is drained, and
/// [`Self::poll_timeout`] says when to drain it again. At most about 1 000 entries.
#[derive(Clone, Debug)]
pub struct Table {
    own: NodeId,
    own_addr: Option<SocketAddr>,
    family: Family,
    policy: AddressPolicy,
    /// Bucket `i` holds ids that share exactly `i` leading bits with ours; the last one holds all
    /// that share more, too.
    buckets: Vec<Bucket>,
    /// Every address held, live or waiting, with the id that stands there.
    index: AddressIndex,
    /// Draws refresh targets.
    rng: Rng,
}

impl Table {
    /// Fills arrays for [`Self::closest`] before anything is known.
    pub const NO_CONTACTS: [Contact; K] = [Contact {
        id: NodeId([0; 20]),
        addr: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
    }; K];

    /// An empty table around `own`.
    pub fn new(own: NodeId, family: Family, policy: AddressPolicy) -> Self {
        Self {
            own,
            own_addr: None,
            family,
            policy,
            buckets: vec![Bucket::new(Instant::START)],
            index: AddressIndex::new(policy),
            rng: refresh_rng(own, family),
        }
    }

    /// Draws refresh targets from `rng` from now on. Without it they follow from our id, and would
    /// be the same after every restart.
    pub fn reseed(&mut self, rng: Rng) {
        self.rng = rng;
    }

    /// Gives an empty table the shape of a saved one, so that [`Self::restore`] finds every saved
    /// node its place whatever the order: what shared no bucket then shares none now.
    pub fn reshape(&mut self, now: Instant, depth: usize) {
        if self.index.is_empty() {
            self.buckets = vec![Bucket::new(now); depth.clamp(1, BUCKETS_MAX)];
        }
    }

    /// Takes up a node that answered us before we were restarted. It owes us an answer: handed
    /// out, but bad at its next silence, and replaced by any node that answers. `false` if it has
    /// no place here.
    pub fn restore(&mut self, now: Instant, c: Contact) -> bool {
        let c = Contact { addr: plain(c.addr), ..c };
        let taken = self.index.holder(c.addr).is_some() || self.entry(c.id).is_some();
        if self.refuses(c).is_some() || taken {
            return false;
        }
        let entry = Member { failures: BAD_AFTER - 1, ..Member::new(now, c) };
        matches!(self.admit(now, entry), Insertion::Inserted | Insertion::Cached)
    }

    /// Every node held, in the order in which they are best restored: those in use, the last to
    /// answer first and bad ones at the end, then those that wait.
    pub fn saved(&self) -> Vec<Contact> {
        let mut live: Vec<&Member> = self.buckets.iter().flat_map(|bucket| &bucket.live).collect();
        live.sort_by_key(|entry| (entry.is_bad(), std::cmp::Reverse(entry.seen())));
        let waiting = self.buckets.iter().flat_map(|bucket| &bucket.replacements);
        live.into_iter().chain(waiting).map(|entry| entry.contact).collect()
    }

    /// Refuses `addr` from now on: the endpoint under which others see us.
    pub fn exclude(&mut self, now: Instant, addr: SocketAddr) {
        let addr = plain(addr);
        self.own_addr = Some(addr);
        if let Some(id) = self.index.holder(addr)
            && self.entry(id).is_some_and(|entry| entry.contact.addr == addr)
        {
            self.remove(now, id);
        }
    }

    /// A node answered a query of ours, from the address asked, with this id. The only way in.
    pub fn on_reply(&mut self, now: Instant, c: Contact) -> Insertion {
        let c = Contact { addr: plain(c.addr), ..c };
        if let Some(refusal) = self.refuses(c) {
            return Insertion::Refused(refusal);
        }
        if let Some(id) = self.index.holder(c.addr) {
            let Some(held) = self.entry(id).copied() else {
                debug_assert!(false, "the index names only entries that exist");
                return Insertion::Refused(Refusal::AddressTaken);
            };
            let same_addr = held.contact.addr == c.addr;
            if same_addr && id == c.id {
                self.renew(now, c.id);
                return Insertion::Updated;
            }
            // The node at this very endpoint goes by another name now: the old one is gone.
            if !same_addr && !held.is_bad() {
                return Insertion::Refused(Refusal::AddressTaken);
            }
            self.remove(now, id);
        }
        match self.entry(c.id).map(Member::is_bad) {
            Some(false) => return Insertion::Refused(Refusal::IdTaken),
            Some(true) => self.remove(now, c.id),
            None => {}
        }
        self.admit(now, Member::new(now, c))
    }

    /// A node asked us something. Keeps a known node good; never lets one in. Not to be called for
    /// read-only senders (BEP 43).
    pub fn on_query(&mut self, now: Instant, c: Contact) {
        let bucket = self.bucket_of(c.id);
        let addr = plain(c.addr);
        let known = self.buckets[bucket].find_mut(c.id);
        if let Some(entry) = known.filter(|entry| entry.contact.addr == addr) {
            entry.asked_us = Some(entry.asked_us.map_or(now, |last| last.max(now)));
        }
    }

    /// A query of ours to this node stayed unanswered. Two in a row make it bad: replaced at once
    /// if someone waits, else kept but not handed out until the 20th.
    pub fn on_failure(&mut self, now: Instant, c: Contact) {
        let addr = plain(c.addr);
        let index = self.bucket_of(c.id);
        let bucket = &mut self.buckets[index];
        let Some(entry) = bucket.find_mut(c.id).filter(|entry| entry.contact.addr == addr) else {
            return;
        };
        entry.failures = entry.failures.saturating_add(1);
        let (bad, spent) = (entry.is_bad(), entry.failures >= DROP_AFTER);
        let waits = bucket.replacement_position(c.id).is_some();
        bucket.settle_probe(c.id);
        if waits || spent || (bad && !bucket.replacements.is_empty()) {
            self.remove(now, c.id);
        } else {
            bucket.rearm();
        }
    }

    /// Writes the up to [`K`] nodes nearest to `target` into `out`, nearest first, and says how
    /// many. Exact over all good and questionable nodes; allocates nothing.
    pub fn closest(&self, target: Id, out: &mut [Contact; K]) -> usize {
        // Seen from the target, its own bucket is nearest; then, all at the same leading bit of
        // distance, the deeper ones; then the shallower ones, each farther than the one before.
        let home = self.bucket_of(NodeId(target.0));
        let mut best = Nearest::new(target, out);
        best.add_all(&self.buckets[home]);
        if !best.is_full() {
            for bucket in &self.buckets[home + 1..] {
                best.add_all(bucket);
            }
        }
        for bucket in self.buckets[..home].iter().rev() {
            if best.is_full() {
                break;
            }
            best.add_all(bucket);
        }
        best.len()
    }

    /// The next query to send, or `None` when nothing is due at `now`. To be drained.
    pub fn poll_probe(&mut self, now: Instant) -> Option<Probe> {
        if self.index.is_empty() {
            return None;
        }
        for index in 0..self.buckets.len() {
            match self.buckets[index].poll(now) {
                Some(Upkeep::Ping(contact)) => return Some(Probe::Ping(contact)),
                Some(Upkeep::Refresh) => return Some(Probe::Refresh(self.point_in(index))),
                None => {}
            }
        }
        None
    }

    /// When [`Self::poll_probe`] may next have something; `None` while the table is empty. May
    /// change after any `on_*` and after `poll_probe`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.index.is_empty() {
            return None;
        }
        self.buckets.iter().map(Bucket::wake).fold(None, earliest)
    }

    /// Some node that may be handed out, another one each time.
    pub fn random_contact(&mut self) -> Option<Contact> {
        let (point, mut nearest) = (Id(self.rng.bytes()), Self::NO_CONTACTS);
        let count = self.closest(point, &mut nearest);
        nearest[..count].first().copied()
    }

    /// Nodes held, bad ones included, replacements not.
    pub fn len(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.live.len()).sum()
    }

    /// Whether no node is held.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// How many buckets there are: one more than the bits that the deepest shares with us.
    pub fn depth(&self) -> usize {
        self.buckets.len()
    }

    /// The id around which the table is built.
    pub fn own(&self) -> NodeId {
        self.own
    }

    /// The nodes that may be handed out: good and questionable, shallow buckets first.
    pub fn contacts(&self) -> impl Iterator<Item = Contact> {
        let live = self.buckets.iter().flat_map(|bucket| &bucket.live);
        live.filter(|entry| !entry.is_bad()).map(|entry| entry.contact)
    }

    /// Moves the table to another own id (the one of a saved state; BEP 42, once our address is
    /// known). Keeps what still finds a place, with its history.
    pub fn rebase(&mut self, now: Instant, own: NodeId) {
        let buckets = std::mem::replace(&mut self.buckets, vec![Bucket::new(now)]);
        self.index.clear();
        self.own = own;
        let live = buckets.iter().flat_map(|bucket| &bucket.live);
        let waiting = buckets.iter().flat_map(|bucket| &bucket.replacements);
        for entry in live.chain(waiting).filter(|entry| entry.contact.id != own && !entry.is_bad())
        {
            let _ = self.admit(now, *entry);
        }
    }

    /// Why `c` may not stand here whichever other nodes do.
    fn refuses(&self, c: Contact) -> Option<Refusal> {
        if c.id == self.own {
            Some(Refusal::OwnId)
        } else if Family::of(c.addr) != self.family
            || !self.policy.admits(c.addr)
            || self.own_addr == Some(c.addr)
        {
            Some(Refusal::Address)
        } else {
            None
        }
    }

    /// A known node answered again.
    fn renew(&mut self, now: Instant, id: NodeId) {
        let index = self.bucket_of(id);
        let bucket = &mut self.buckets[index];
        if let Some(entry) = bucket.find_mut(id) {
            entry.answered = entry.answered.max(now);
            entry.failures = 0;
        }
        bucket.touch(now);
        bucket.settle_probe(id);
    }

    /// Finds a place for an entry whose id and address no other holds.
    fn admit(&mut self, now: Instant, entry: Member) -> Insertion {
        let id = entry.contact.id;
        loop {
            let index = self.bucket_of(id);
            if self.policy == AddressPolicy::Public
                && let Some(neighbour) = self.buckets[index].neighbour(entry.contact.addr)
            {
                if !neighbour.is_bad() {
                    return Insertion::Refused(Refusal::PrefixTaken);
                }
                let gone = neighbour.contact.id;
                self.remove(now, gone);
                continue;
            }
            let bucket = &mut self.buckets[index];
            if bucket.live.len() < bucket_limit(index) {
                bucket.live.push(entry);
                bucket.touch(now);
                self.index.insert(entry.contact);
                return Insertion::Inserted;
            }
            if let Some(bad) = bucket.live.iter().find(|entry| entry.is_bad()) {
                let gone = bad.contact.id;
                self.remove(now, gone);
                continue;
            }
            if self.can_split(index, id) {
                self.split(now);
                continue;
            }
            if let Some(dropped) = self.buckets[index].wait(entry) {
                self.index.remove(dropped.contact);
            }
            self.index.insert(entry.contact);
            return Insertion::Cached;
        }
    }

    /// Only the bucket around our own id splits, and only if that will part its nodes and the
    /// newcomer at some depth.
    fn can_split(&self, index: usize, newcomer: NodeId) -> bool {
        if index + 1 != self.buckets.len() || self.buckets.len() >= BUCKETS_MAX {
            return false;
        }
        let depth = self.shared_bits(newcomer);
        self.buckets[index].live.iter().any(|entry| self.shared_bits(entry.contact.id) != depth)
    }

    /// Parts the last bucket until its deepest part fits or cannot be parted further. What finds
    /// no room waits, the longest silent first.
    fn split(&mut self, now: Instant) {
        let Some(old) = self.buckets.pop() else { return };
        self.buckets.push(Bucket::new(now));
        let mut entries = old.live;
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.seen()));
        entries.extend(old.replacements);
        loop {
            let last = self.buckets.len();
            self.buckets.push(Bucket::new(now));
            let mut deep = entries.iter().map(|e| self.shared_bits(e.contact.id));
            let fits = deep.clone().filter(|bits| *bits >= last).count() <= bucket_limit(last);
            let partable = deep
                .clone()
                .find(|bits| *bits >= last)
                .is_some_and(|first| deep.any(|bits| bits >= last && bits != first));
            if fits || !partable || self.buckets.len() >= BUCKETS_MAX {
                break;
            }
        }
        for entry in entries {
            let index = self.bucket_of(entry.contact.id);
            let bucket = &mut self.buckets[index];
            if bucket.live.len() < bucket_limit(index) {
                bucket.live.push(entry);
            } else if let Some(dropped) = bucket.wait(entry) {
                self.index.remove(dropped.contact);
            }
        }
    }

    /// Takes `id` out, live or waiting, and lets the next one move up.
    fn remove(&mut self, now: Instant, id: NodeId) {
        let index = self.bucket_of(id);
        let bucket = &mut self.buckets[index];
        let removed = if let Some(position) = bucket.position(id) {
            bucket.live.swap_remove(position)
        } else if let Some(position) = bucket.replacement_position(id) {
            bucket.replacements.swap_remove(position)
        } else {
            return;
        };
        bucket.fill(bucket_limit(index));
        bucket.touch(now);
        bucket.settle_probe(id);
        bucket.rearm();
        self.index.remove(removed.contact);
    }

    fn entry(&self, id: NodeId) -> Option<&Member> {
        self.buckets[self.bucket_of(id)].find(id)
    }

    fn shared_bits(&self, id: NodeId) -> usize {
        self.own.id().common_prefix(id.id()) as usize
    }

    fn bucket_of(&self, id: NodeId) -> usize {
        self.shared_bits(id).min(self.buckets.len() - 1)
    }

    /// A random point of bucket `index`.
    fn point_in(&mut self, index: usize) -> Id {
        let bits = index as u32;
        let own = self.own.id();
        let mut point = own.with_suffix(bits, Id(self.rng.bytes()));
        let only_exact = index + 1 < self.buckets.len();
        if only_exact && point.bit(bits) == own.bit(bits) {
            point.0[index / 8] ^= 0x80 >> (index % 8);
        }
        point
    }
}

/// How many live nodes bucket `index` holds.
fn bucket_limit(index: usize) -> usize {
    LOW_BUCKETS.get(index).copied().unwrap_or(K)
}

/// The address without what a socket may add to it (IPv6 flow label and scope).
fn plain(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip(), addr.port())
}

fn refresh_rng(own: NodeId, family: Family) -> Rng {
    let mut seed = [0; 32];
    seed[..own.0.len()].copy_from_slice(&own.0);
    Rng::new(Seed(seed)).fork(match family {
        Family::V4 => "table v4",
        Family::V6 => "table v6",
    })
}
