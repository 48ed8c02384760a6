//! The simulator's nodes on real loopback sockets: honest ones, which store what a test gives them,
//! and liars, each with one of the simulator's vices. What a vice is and says is the simulator's
//! affair (`sim/src/actors/node/vices.rs`), so that sweeps of seeds meet the same liars.

use std::net::SocketAddr;
use std::sync::Arc;

use estudely_core::InfoHash;
use estudely_sim::swarm::{Extras, Sockets, Stored, Swarm, Weather};
use estudely_sim::vice::NodeVices;
use estudely_sim::world::World;
use estudely_sim::world::dht::{Hostility, Percent, Plan, SAMPLES_MAX};

use crate::host;

/// Honest nodes that every world with liars has: its bootstrap nodes.
pub(crate) const HONEST: usize = 3;

/// An infohash that an honest node stores.
#[derive(Clone, Debug)]
pub(crate) struct Exposed {
    pub(crate) infohash: [u8; 20],
    pub(crate) peers: Vec<SocketAddr>,
}

/// Nodes with their addresses, which do not answer yet.
pub(crate) struct Site {
    sockets: Sockets,
    world: Arc<World>,
}

impl Site {
    /// So many honest nodes from address number `first` on.
    pub(crate) fn honest(first: usize, nodes: usize) -> Self {
        Self::of(first, nodes, Hostility::NONE)
    }

    /// One honest node that keeps silent for so many seconds.
    pub(crate) fn late(first: usize, silent_s: u32) -> Self {
        Self::of(first, 1, Hostility { silent_s, ..Hostility::NONE })
    }

    /// [`HONEST`] nodes that are honest, and `liars` that have these vices in turn.
    pub(crate) fn hostile(first: usize, liars: usize, node_vices: NodeVices) -> Self {
        let nodes = Percent::new(100).expect("a share");
        Self::of(first, HONEST + liars, Hostility { nodes, node_vices, ..Hostility::NONE })
    }

    fn of(first: usize, nodes: usize, hostility: Hostility) -> Self {
        let sockets = Sockets::bind(host(first), 0).expect("free ports");
        // Ids follow from the seed, and no two sites of a test share one.
        let plan = Plan::without_torrents(first as u64, nodes as u32, sockets.addresses());
        let plan = Plan { hostility, ..plan };
        Self { sockets, world: Arc::new(World::build(plan).expect("a world")) }
    }

    /// Where the nodes are.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        (0..self.world.node_count()).map(|node| self.world.contact(node).addr).collect()
    }

    /// Serves them until the swarm is dropped; the honest ones store `exposed`, a part each.
    pub(crate) fn serve(self, exposed: &[Exposed]) -> Swarm {
        let nodes = 0..self.world.node_count();
        let honest: Vec<u32> = nodes.filter(|&n| self.world.node_vice(n).is_none()).collect();
        assert!(exposed.len() <= honest.len() * SAMPLES_MAX, "each must be in a sample");
        let stored = exposed.iter().zip(honest.iter().cycle()).flat_map(|(one, &node)| {
            let key = InfoHash(one.infohash);
            one.peers.iter().map(move |&peer| Stored { node, key, peer })
        });
        let extras = Extras { stored: stored.collect(), ..Extras::default() };
        Swarm::start_with(self.world, self.sockets, Weather::CALM, extras).expect("a swarm")
    }
}
