//! What a state holds many of.

use std::net::SocketAddr;

use crate::base::addr::Contact;

/// A node that must not be sampled for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rest {
    pub(crate) contact: Contact,
    /// Whether its id rests as well: it answered under it.
    pub(crate) by_id: bool,
    /// Seconds.
    pub(crate) left: u32,
}

/// An infohash under way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) source: Option<Contact>,
    pub(crate) peers: Vec<SocketAddr>,
}

/// An infohash that failed and gets another chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    /// Rounds that failed so far, from 1.
    pub(crate) round: u8,
    /// Seconds.
    pub(crate) left: u32,
}
