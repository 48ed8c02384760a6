//! What the checker is told of a universe: facts about it, nothing about the crawl.

use std::net::SocketAddr;
use std::rc::Rc;

use estudely_core::{Family, InfoHash, Instant};

use super::expected::{Due, Fields, GroundTruth, Seal};
use crate::actors::mse::{Terms, private_key};
use crate::world::dht::Resident;
use crate::world::universe::{Fact, Universe};

impl GroundTruth for Rc<Universe> {
    fn fields(&self, hash: &InfoHash) -> Option<Fields> {
        let facts = &self.truth().get(*hash)?.facts;
        Some(Fields {
            name: facts.name.clone(),
            file_count: facts.file_count,
            total_bytes: facts.total_bytes,
            piece_length: facts.piece_length,
        })
    }

    fn due(&self) -> Vec<Due> {
        self.truth().due().filter_map(|(hash, fact)| due(self, hash, fact)).collect()
    }

    fn nodes_due(&self) -> Vec<SocketAddr> {
        let of = |family| {
            let world = self.world(family).into_iter();
            let steady = self.truth().steady(family);
            world.flat_map(move |world| steady.iter().map(|node| world.contact(*node).addr))
        };
        Family::ALL.into_iter().flat_map(of).collect()
    }

    fn is_invented(&self, hash: &InfoHash) -> bool {
        self.worlds().any(|world| world.is_invented(*hash))
    }

    fn seal(&self, now: Instant, peer: SocketAddr) -> Option<Seal> {
        let (family, resident) = self.resident(now, peer)?;
        let (world, Resident::Peer(number)) = (self.world(family)?, resident) else { return None };
        let torrent = world.key(world.peer(number).torrent);
        Terms::of(world, number).map(|_| Seal { private: private_key(world, number), torrent })
    }

    fn bootstrap(&self) -> Vec<SocketAddr> {
        let of = |family| Universe::bootstrap(self, family);
        Family::ALL.into_iter().flat_map(of).collect()
    }
}

/// Why a torrent is due: a node that shows it, and a peer in the same DHT that serves it.
fn due(universe: &Universe, hash: InfoHash, fact: &Fact) -> Option<Due> {
    let shown = fact.shown_by.iter().find(|(family, _)| fact.reachable[family.index()]);
    let (family, node) = *shown?;
    let node = universe.world(family)?.contact(node).addr;
    let serves = |(peer, live): (&SocketAddr, &bool)| {
        (*live && Family::of(*peer) == family).then_some(*peer)
    };
    let peer = fact.peers.iter().find_map(serves)?;
    Some(Due { hash: hash.0, node, peer })
}
