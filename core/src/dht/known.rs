//! What is known of the nodes of one family, from all its traffic: which addresses were asked,
//! answered and sampled, which of them rest, which nodes stand near which place, and what became
//! of the contacts that each one named.
//!
//! It belongs to the family's network, which lends it to the sweep. Only the sweep begins passes,
//! visits and rests. Must never decide which node is asked.

mod landmarks;
mod node_memory;
mod referrers;

use std::net::SocketAddr;

pub(crate) use self::landmarks::Landmarks;
use self::node_memory::{NodeFacts, NodeMemory};
use self::referrers::Referrers;
use crate::base::addr::{AddressPolicy, Contact, address_key};
use crate::base::id::NodeId;
use crate::base::planted::{self, Bug};
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::limits::NODE_MEMORY_MAX;

/// What is known of the nodes of one family.
#[derive(Debug)]
pub(crate) struct Known {
    policy: AddressPolicy,
    /// What became of what each node named.
    pub(crate) referrers: Referrers,
    addresses: NodeMemory,
    ids: NodeMemory,
    /// Nodes that answered, by place.
    pub(crate) landmarks: Landmarks,
    /// The pass of the sweep to which visits belong.
    pass: u64,
}

/// What became of the wish to visit an address in this pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encounter {
    /// Nothing was known of it.
    First,
    /// It was known, and was not visited in this pass.
    Again,
    /// It rests, was visited in this pass, or there is no room for it.
    Refused,
}

impl Known {
    /// Nothing is known yet.
    pub(crate) fn new(policy: AddressPolicy, rng: &mut Rng) -> Self {
        Self {
            policy,
            referrers: Referrers::new(policy, rng),
            addresses: NodeMemory::new(rng, NODE_MEMORY_MAX),
            ids: NodeMemory::new(rng, NODE_MEMORY_MAX),
            landmarks: Landmarks::default(),
            pass: 0,
        }
    }

    /// Notes a contact that is not to be visited; `true` the first time.
    pub(crate) fn hear(&mut self, now: Instant, contact: Contact) -> bool {
        let key = self.key(contact.addr);
        self.policy.admits(contact.addr)
            && self.addresses.get(&key).is_none()
            && self.addresses.set(now, self.pass, &key, NodeFacts::default())
    }

    /// Marks an address as sent a query; `true` the first time.
    pub(crate) fn note_asked(&mut self, now: Instant, addr: SocketAddr) -> bool {
        self.note(now, addr, |facts| std::mem::replace(&mut facts.asked, true))
    }

    /// Marks an address as having answered; `true` the first time.
    pub(crate) fn note_answered(&mut self, now: Instant, addr: SocketAddr) -> bool {
        self.note(now, addr, |facts| std::mem::replace(&mut facts.answered, true))
    }

    /// Marks an address as having answered with samples; `true` the first time.
    pub(crate) fn note_sampled(&mut self, now: Instant, addr: SocketAddr) -> bool {
        self.note(now, addr, |facts| std::mem::replace(&mut facts.sampled, true))
    }

    /// Visits belong to the next pass from now on.
    pub(crate) fn begin_pass(&mut self) {
        self.pass += 1;
    }

    /// Marks an address as visited in this pass, if it may be visited.
    pub(crate) fn visit(&mut self, now: Instant, addr: SocketAddr) -> Encounter {
        let key = self.key(addr);
        let before = self.addresses.get(&key);
        let met = before.is_some_and(|f| f.visited_in(self.pass) || f.is_resting(now));
        if met && !planted::is(Bug::UnboundedFrontier) {
            return Encounter::Refused;
        }
        let mut facts = before.unwrap_or_default();
        facts.visit(self.pass);
        if !self.addresses.set(now, self.pass, &key, facts) {
            return Encounter::Refused;
        }
        if before.is_some() { Encounter::Again } else { Encounter::First }
    }

    /// Takes back that an address was visited in this pass: it may be visited in it after all.
    pub(crate) fn unvisit(&mut self, now: Instant, addr: SocketAddr) {
        let key = self.key(addr);
        if let Some(mut facts) = self.addresses.get(&key).filter(|f| f.visited_in(self.pass)) {
            facts.visit(self.pass.wrapping_sub(1));
            self.addresses.set(now, self.pass, &key, facts);
        }
    }

    /// Nothing is sampled at the address of a node until then, nor, `by_id`, under its id.
    pub(crate) fn rest(&mut self, now: Instant, contact: Contact, by_id: bool, until: Instant) {
        if by_id {
            let mut facts = self.ids.get(&contact.id.0).unwrap_or_default();
            facts.rest_until(until);
            self.ids.set(now, self.pass, &contact.id.0, facts);
        }
        let key = self.key(contact.addr);
        let mut facts = self.addresses.get(&key).unwrap_or_default();
        facts.rest_until(until);
        facts.visit(self.pass);
        self.addresses.set(now, self.pass, &key, facts);
    }

    /// Whether the node of this id rests, at whatever address.
    pub(crate) fn is_resting(&self, now: Instant, id: NodeId) -> bool {
        self.ids.get(&id.0).is_some_and(|facts| facts.is_resting(now))
    }

    /// Whether what lives at an address rests.
    pub(crate) fn rests_at(&self, now: Instant, addr: SocketAddr) -> bool {
        self.addresses.get(&self.key(addr)).is_some_and(|facts| facts.is_resting(now))
    }

    /// Asserts the invariants.
    pub(crate) fn check(&self) {
        assert!(self.addresses.len() <= NODE_MEMORY_MAX && self.ids.len() <= NODE_MEMORY_MAX);
        self.landmarks.check();
    }

    fn note(
        &mut self,
        now: Instant,
        addr: SocketAddr,
        set: impl FnOnce(&mut NodeFacts) -> bool,
    ) -> bool {
        let key = self.key(addr);
        let mut facts = self.addresses.get(&key).unwrap_or_default();
        let before = set(&mut facts);
        if !before {
            self.addresses.set(now, self.pass, &key, facts);
        }
        !before
    }

    fn key(&self, addr: SocketAddr) -> [u8; 18] {
        address_key(self.policy, addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Seed;
    use crate::base::time::Duration;

    fn known() -> Known {
        Known::new(AddressPolicy::Public, &mut Rng::new(Seed::from_u64(1)))
    }

    fn contact(n: u8) -> Contact {
        Contact { id: NodeId([n; 20]), addr: ([20, 0, 0, n], 6_881).into() }
    }

    #[test]
    fn an_address_is_visited_once_a_pass_unless_the_visit_is_taken_back() {
        let (mut known, now, addr) = (known(), Instant::START, contact(1).addr);
        assert_eq!(known.visit(now, addr), Encounter::First);
        assert_eq!(known.visit(now, addr), Encounter::Refused);
        known.unvisit(now, addr);
        assert_eq!(known.visit(now, addr), Encounter::Again);
        known.begin_pass();
        assert_eq!(known.visit(now, addr), Encounter::Again);
    }

    #[test]
    fn a_rest_holds_through_passes_for_the_address_and_for_the_id_only_where_it_is_proven() {
        let (mut known, now) = (known(), Instant::START);
        let until = now + Duration::from_secs(300);
        for (node, by_id) in [(contact(1), true), (contact(2), false)] {
            known.rest(now, node, by_id, until);
            known.begin_pass();
            known.unvisit(now, node.addr);
            assert_eq!(known.visit(now, node.addr), Encounter::Refused);
            assert_eq!(known.is_resting(now, node.id), by_id);
            let later = until + Duration::from_secs(61);
            assert!(!known.is_resting(later, node.id));
            assert_eq!(known.visit(later, node.addr), Encounter::Again);
        }
    }

    #[test]
    fn each_fact_of_an_address_is_new_once_and_on_the_public_network_whatever_the_port() {
        let (mut known, now, node) = (known(), Instant::START, contact(3));
        let other_port = SocketAddr::new(node.addr.ip(), 7_000);
        assert!(known.hear(now, node) && !known.hear(now, node));
        assert!(known.note_asked(now, node.addr) && !known.note_asked(now, other_port));
        assert!(known.note_answered(now, node.addr) && !known.note_answered(now, other_port));
        assert!(known.note_sampled(now, node.addr) && !known.note_sampled(now, other_port));
        assert_eq!(known.visit(now, node.addr), Encounter::Again, "no fact is a visit");
        let private = Contact { addr: ([10, 0, 0, 1], 6_881).into(), ..node };
        assert!(!known.hear(now, private));
    }
}
