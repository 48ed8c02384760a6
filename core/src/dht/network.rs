//! What one address family has for itself: socket, table, sweep, walks, and what is known of its
//! nodes. Nothing below the crawler sees two families.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::delayed::Delayed;
use super::query::Owner;
use super::warm::WarmStart;
use crate::base::addr::{AddressPolicy, Contact, Family};
use crate::base::id::{InfoHash, NodeId};
use crate::base::rng::Rng;
use crate::base::store::Key;
use crate::base::time::Instant;
use crate::dht::endpoint::Endpoint;
use crate::dht::known::Known;
use crate::dht::sweep::Sweep;
use crate::dht::table::{K, Table};
use crate::dht::walk::WalkContact;
use crate::dht::walks::Walks;
use crate::limits::HEARSAY_MAX;

/// One family's half of the control plane.
#[derive(Debug)]
pub(crate) struct Network {
    /// The open queries of its socket.
    pub(crate) endpoint: Endpoint<Owner>,
    /// Its queries that were answered, in whatever way.
    pub(crate) replies: u64,
    pub(crate) table: Table,
    /// Our address as nodes of this family see it. Nothing learns it yet.
    pub(crate) external: Option<SocketAddr>,
    /// What is known of nodes from all traffic; lent to the sweep.
    pub(crate) known: Known,
    pub(crate) sweep: Sweep,
    pub(crate) walks: Walks,
    pub(crate) delayed: Delayed,
    /// Contacts that only bootstrap nodes vouch for: where walks start while the table is empty.
    hearsay: VecDeque<Contact>,
    /// Contacts of a saved state, until one of them answers.
    pub(crate) warm: WarmStart,
}

impl Network {
    pub(crate) fn new(
        policy: AddressPolicy,
        id: NodeId,
        own: SocketAddr,
        walks_max: usize,
        rng: &Rng,
    ) -> Self {
        let family = Family::of(own);
        let mut table = Table::new(id, family, policy);
        table.exclude(Instant::START, own);
        table.reseed(rng.fork("table"));
        let mut sweep_rng = rng.fork("sweep");
        let known = Known::new(policy, &mut sweep_rng);
        Self {
            endpoint: Endpoint::new(family, id, rng.fork("endpoint")),
            replies: 0,
            table,
            external: None,
            known,
            sweep: Sweep::new(policy, id, own, sweep_rng),
            walks: Walks::new(id, own, policy, walks_max),
            delayed: Delayed::default(),
            hearsay: VecDeque::new(),
            warm: WarmStart::new(),
        }
    }

    /// Takes another id: that of a saved state.
    pub(crate) fn rebase(&mut self, now: Instant, id: NodeId) {
        self.endpoint.set_id(id);
        self.table.rebase(now, id);
        self.sweep.set_own(id);
        self.walks.set_own(id);
    }

    /// Keeps a contact of a bootstrap answer.
    pub(crate) fn add_hearsay(&mut self, contact: Contact) {
        if self.hearsay.len() >= HEARSAY_MAX {
            self.hearsay.pop_front();
        }
        self.hearsay.push_back(contact);
    }

    /// Begins a walk for `job`: from nodes that answered near `hash`, then the table's nearest; if
    /// there is none, from hearsay and from the addresses the user `named`. `None` when there is
    /// no room, or no node at all.
    pub(crate) fn begin_walk(
        &mut self,
        now: Instant,
        job: Key,
        hash: InfoHash,
        named: impl Iterator<Item = SocketAddr>,
    ) -> Option<Key> {
        // Until a node of the saved state answers, a walk would most likely end before it began.
        if !self.walks.has_room() || self.warm.is_waiting() {
            return None;
        }
        let mut vouched = vouched(&self.table, &self.known, hash).peekable();
        let alone = vouched.peek().is_none();
        let hearsay = self.hearsay.iter().copied().filter(|_| alone);
        let named = named.filter(|_| alone);
        self.walks.begin(now, job, hash, vouched.chain(hearsay), named)
    }

    /// The next query of a walk, to a node that `is_free` to get a datagram.
    pub(crate) fn poll_walk(
        &mut self,
        now: Instant,
        is_free: impl Fn(SocketAddr) -> bool,
    ) -> Option<(Key, InfoHash, WalkContact)> {
        let Self { walks, table, known, .. } = self;
        walks.poll_query(now, is_free, |hash, walk| {
            vouched(table, known, hash).for_each(|contact| walk.add(contact));
        })
    }

    /// Goes on with a walk that is over although no node answered it, from nodes that have answered
    /// other queries meanwhile; `false` if there are none. After a long rest every node that it
    /// began with may be gone, which says nothing about its infohash.
    pub(crate) fn walk_on(&mut self, walk: Key) -> bool {
        let Some(hash) = self.walks.unanswered(walk) else { return false };
        self.walks.extend(walk, vouched(&self.table, &self.known, hash))
    }

    /// A node did not answer; `blameless` if perhaps none could.
    pub(crate) fn fail(&mut self, now: Instant, contact: Contact, blameless: bool) {
        if !blameless {
            self.table.on_failure(now, contact);
        }
    }

    pub(crate) fn check(&self) {
        self.endpoint.check();
        self.table.check();
        self.known.check();
        self.sweep.check();
        self.walks.check();
        self.delayed.check();
        self.warm.check();
        assert!(self.hearsay.len() <= HEARSAY_MAX);
    }
}

/// Nodes near `hash` that answered: from these a walk starts.
fn vouched(table: &Table, known: &Known, hash: InfoHash) -> impl Iterator<Item = Contact> {
    let mut nearest = Table::NO_CONTACTS;
    let count = table.closest(hash.id(), &mut nearest);
    known.landmarks.near(hash.id(), 2 * K).chain(nearest.into_iter().take(count))
}
