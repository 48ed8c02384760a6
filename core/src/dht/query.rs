//! A query ready to be sent, and what its answer is for.

use std::net::SocketAddr;

use crate::base::addr::Contact;
use crate::base::store::Key;
use crate::codec::krpc::Ask;
use crate::dht::sweep::SweepQuery;
use crate::dht::walk::WalkContact;

/// What the answer to an open query is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owner {
    /// The bootstrap node of this index.
    Bootstrap(usize),
    /// The sweep.
    Sweep(SweepQuery),
    /// The job that asked the node its infohash came from.
    Source(Key, Contact),
    /// A walk. Peers are for its job, even if the walk is over.
    Walk { walk: Key, job: Key, contact: WalkContact },
    /// The routing table, probing this contact.
    Probe(Contact),
    /// Nothing else: any answer shows that the network is there.
    LivenessProbe,
}

/// A query ready to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query {
    pub(crate) to: SocketAddr,
    pub(crate) ask: Ask,
    pub(crate) owner: Owner,
}
