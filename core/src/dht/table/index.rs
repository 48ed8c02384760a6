//! Which id stands at which address: each address at most once (H13).

use std::net::SocketAddr;

use crate::base::addr::{AddressPolicy, Contact, address_key};
use crate::base::id::NodeId;

/// Every address of a table and the id that stands there, in order.
#[derive(Clone, Debug)]
pub(super) struct AddressIndex {
    policy: AddressPolicy,
    held: Vec<([u8; 18], NodeId)>,
}

impl AddressIndex {
    /// An index that holds no address.
    pub(super) fn new(policy: AddressPolicy) -> Self {
        Self { policy, held: Vec::new() }
    }

    /// The id that stands at `addr`.
    pub(super) fn holder(&self, addr: SocketAddr) -> Option<NodeId> {
        let place = self.place(addr).ok()?;
        self.held.get(place).map(|(_, id)| *id)
    }

    /// Adds a contact, whose address the caller knows to be free.
    pub(super) fn insert(&mut self, c: Contact) {
        match self.place(c.addr) {
            Ok(_) => debug_assert!(false, "callers made sure that the address is free"),
            Err(place) => {
                self.held.insert(place, (address_key(self.policy, c.addr), c.id));
            }
        }
    }

    /// Forgets the address of a contact.
    pub(super) fn remove(&mut self, c: Contact) {
        if let Ok(place) = self.place(c.addr) {
            self.held.remove(place);
        }
    }

    /// Forgets every address.
    pub(super) fn clear(&mut self) {
        self.held.clear();
    }

    /// How many addresses are held.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether no address is held.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Asserts that each address stands here once, in order.
    pub(super) fn check(&self) {
        assert!(self.held.is_sorted_by(|a, b| a.0 < b.0), "each address once, in order");
    }

    /// Where the address stands, or belongs.
    fn place(&self, addr: SocketAddr) -> Result<usize, usize> {
        let key = address_key(self.policy, addr);
        self.held.binary_search_by_key(&key, |(key, _)| *key)
    }
}
