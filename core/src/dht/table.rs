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
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use self::bucket::{Bucket, Entry, Want};
use crate::base::addr::{AddressPolicy, Contact, Family, NETWORK_OF_NODES, address_key, prefix};
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
    /// Every address held, live or waiting, sorted, with the id that stands there.
    index: Vec<(AddressKey, NodeId)>,
    /// Draws refresh targets.
    rng: Rng,
}

/// What may be held once, see [`address_key`].
type AddressKey = [u8; 18];

impl Table {
    /// Fills arrays for [`Self::closest`] before anything is known.
    pub const NOBODY: [Contact; K] = [Contact {
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
            index: Vec::new(),
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
    /// out, but bad at its next silence, and replaced by whoever answers. `false` if it has no
    /// place here.
    pub fn restore(&mut self, now: Instant, c: Contact) -> bool {
        let c = Contact { addr: plain(c.addr), ..c };
        let taken = self.holder(c.addr).is_some() || self.entry(c.id).is_some();
        if self.refuses(c).is_some() || taken {
            return false;
        }
        let entry = Entry { failures: BAD_AFTER - 1, ..Entry::new(now, c) };
        matches!(self.admit(now, entry), Insertion::Inserted | Insertion::Cached)
    }

    /// Every node held, in the order in which they are best restored: those in use, the last to
    /// answer first and bad ones at the end, then those that wait.
    pub fn saved(&self) -> Vec<Contact> {
        let mut live: Vec<&Entry> = self.buckets.iter().flat_map(|bucket| &bucket.live).collect();
        live.sort_by_key(|entry| (entry.is_bad(), std::cmp::Reverse(entry.seen())));
        let waiting = self.buckets.iter().flat_map(|bucket| &bucket.replacements);
        live.into_iter().chain(waiting).map(|entry| entry.contact).collect()
    }

    /// Refuses `addr` from now on: the endpoint under which others see us.
    pub fn exclude(&mut self, now: Instant, addr: SocketAddr) {
        let addr = plain(addr);
        self.own_addr = Some(addr);
        if let Some(id) = self.holder(addr)
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
        if let Some(id) = self.holder(c.addr) {
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
        match self.entry(c.id).map(Entry::is_bad) {
            Some(false) => return Insertion::Refused(Refusal::IdTaken),
            Some(true) => self.remove(now, c.id),
            None => {}
        }
        self.admit(now, Entry::new(now, c))
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
        let mut best = Nearest { target, out, len: 0 };
        best.add_all(&self.buckets[home]);
        if best.len < K {
            for bucket in &self.buckets[home + 1..] {
                best.add_all(bucket);
            }
        }
        for bucket in self.buckets[..home].iter().rev() {
            if best.len == K {
                break;
            }
            best.add_all(bucket);
        }
        best.len
    }

    /// The next query to send, or `None` when nothing is due at `now`. To be drained.
    pub fn poll_probe(&mut self, now: Instant) -> Option<Probe> {
        if self.index.is_empty() {
            return None;
        }
        for index in 0..self.buckets.len() {
            match self.buckets[index].poll(now) {
                Some(Want::Ping(contact)) => return Some(Probe::Ping(contact)),
                Some(Want::Refresh) => return Some(Probe::Refresh(self.point_in(index))),
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
        let (point, mut nearest) = (Id(self.rng.bytes()), Self::NOBODY);
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

    /// Asserts every invariant of the table. For tests, simulation and fuzzing.
    pub fn check(&self) {
        assert!((1..=BUCKETS_MAX).contains(&self.buckets.len()), "between one bucket and the cap");
        let mut held = 0;
        for (depth, bucket) in self.buckets.iter().enumerate() {
            assert!(bucket.live.len() <= bucket_limit(depth), "a bucket holds at most its limit");
            assert!(bucket.replacements.len() <= REPLACEMENTS_MAX, "the cache is bounded");
            assert!(
                bucket.replacements.is_empty() || bucket.live.len() == bucket_limit(depth),
                "nobody waits beside a free place"
            );
            let entries: Vec<&Entry> = bucket.live.iter().chain(&bucket.replacements).collect();
            held += entries.len();
            for (n, entry) in entries.iter().enumerate() {
                let contact = entry.contact;
                assert_eq!(self.bucket_of(contact.id), depth, "a node stands in its own bucket");
                assert_eq!(self.refuses(contact), None, "only admissible nodes are held");
                assert_eq!(self.holder(contact.addr), Some(contact.id), "every entry is indexed");
                assert!(entry.failures < DROP_AFTER, "a spent node is gone");
                assert!(entries[..n].iter().all(|other| other.contact.id != contact.id));
                let lonely = |other: &&Entry| !same_network(self.policy, &other.contact, &contact);
                assert!(entries[..n].iter().all(lonely), "one node per /24 or /64 in a bucket");
            }
        }
        assert_eq!(held, self.index.len(), "the index holds nothing else");
        assert!(self.index.is_sorted_by(|a, b| a.0 < b.0), "each address once, in order");
    }

    /// Why `c` may not stand here whoever else does.
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

    /// Finds a place for an entry whose id and address nobody holds.
    fn admit(&mut self, now: Instant, entry: Entry) -> Insertion {
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
                self.index_insert(entry.contact);
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
                self.index_remove(dropped.contact);
            }
            self.index_insert(entry.contact);
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
                self.index_remove(dropped.contact);
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
        self.index_remove(removed.contact);
    }

    fn entry(&self, id: NodeId) -> Option<&Entry> {
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

    fn holder(&self, addr: SocketAddr) -> Option<NodeId> {
        let key = address_key(self.policy, addr);
        let found = self.index.binary_search_by_key(&key, |(key, _)| *key).ok()?;
        self.index.get(found).map(|(_, id)| *id)
    }

    fn index_insert(&mut self, c: Contact) {
        let key = address_key(self.policy, c.addr);
        match self.index.binary_search_by_key(&key, |(key, _)| *key) {
            Ok(_) => debug_assert!(false, "callers made sure that the address is free"),
            Err(place) => self.index.insert(place, (key, c.id)),
        }
    }

    fn index_remove(&mut self, c: Contact) {
        let key = address_key(self.policy, c.addr);
        if let Ok(place) = self.index.binary_search_by_key(&key, |(key, _)| *key) {
            self.index.remove(place);
        }
    }
}

/// The best found so far, nearest first.
struct Nearest<'a> {
    target: Id,
    out: &'a mut [Contact; K],
    len: usize,
}

impl Nearest<'_> {
    fn add_all(&mut self, bucket: &Bucket) {
        for entry in bucket.live.iter().filter(|entry| !entry.is_bad()) {
            self.add(entry.contact);
        }
    }

    fn add(&mut self, contact: Contact) {
        let target = self.target;
        let distance = contact.id.id().distance(target);
        let nearer = |other: &Contact| other.id.id().distance(target) < distance;
        if self.len == K && self.out.last().is_some_and(nearer) {
            return;
        }
        let place = self.out[..self.len].partition_point(nearer);
        self.len = (self.len + 1).min(K);
        self.out[place..self.len].rotate_right(1);
        self.out[place] = contact;
    }
}

/// How many live nodes bucket `index` holds.
fn bucket_limit(index: usize) -> usize {
    LOW_BUCKETS.get(index).copied().unwrap_or(K)
}

/// Whether two nodes are too near each other on the public network to share a bucket.
fn same_network(policy: AddressPolicy, a: &Contact, b: &Contact) -> bool {
    let net = |node: &Contact| prefix(node.addr, NETWORK_OF_NODES);
    policy == AddressPolicy::Public && net(a) == net(b)
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
