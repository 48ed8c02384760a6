//! What a state holds many of.

use std::net::SocketAddr;

use super::frame::Salt;
use crate::base::addr::{Contact, Family};
use crate::base::id::NodeId;
use crate::lead::Lead;

/// What one address family has for itself, but for its contacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SavedFamily {
    pub(crate) family: Family,
    /// Our id in it.
    pub(crate) id: NodeId,
    /// Buckets of its table.
    pub(crate) depth: u8,
    /// Our address as its nodes see it.
    pub(crate) external: Option<SocketAddr>,
}

/// A node that must not be sampled for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rest {
    pub(crate) contact: Contact,
    /// Whether its id rests as well: it answered under it.
    pub(crate) by_id: bool,
    /// Seconds.
    pub(crate) left: u32,
}

/// An infohash, and in how many seconds it is due. When it was found is not saved: that is an
/// instant of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SavedLead {
    pub(crate) lead: Lead,
    pub(crate) left: u32,
}

/// A record of a kind that this version does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unknown {
    pub(super) kind: u8,
    pub(super) body: Box<[u8]>,
}

/// What a state says that this run has no use for, and writes again.
#[derive(Clone, Debug)]
pub(crate) struct Carried {
    /// What sums cover; kept, as records may be appended to the file that was read.
    pub(crate) salt: Salt,
    /// Families that are off in this run.
    pub(crate) dormant: [Option<SavedFamily>; Family::ALL.len()],
    /// Records of kinds that this version does not know, in their order.
    pub(crate) unknown: Vec<Unknown>,
}

impl Carried {
    /// Nothing yet.
    pub(crate) fn new(salt: Salt) -> Self {
        Self { salt, dormant: [None; Family::ALL.len()], unknown: Vec::new() }
    }
}
