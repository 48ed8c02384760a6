//! Everything that exists in one simulated run: a world for each address family, with the same
//! torrents and different nodes and peers, and where the crawler stands in it.
//!
//! A universe follows from its scenario alone and never changes.

mod truth;

use std::net::SocketAddr;

use estudely_core::{Family, Instant};

use crate::world::addresses::{self, Addresses};
use crate::world::dht::{
    Churn, Hostility, Luring, Percent, Plan, PlanError, Resident, UtpShares, World, check,
    make_torrents,
};
use crate::world::scenario::{Families, Scenario};
use crate::world::torrent::{METADATA_LEN_MAX, METADATA_LEN_MIN, MetadataSizes};

pub use truth::{Fact, UniverseTruth};

/// How much longer than the run churn goes on, seconds.
const MARGIN_S: u32 = 3_600;
/// Of a thousand queries to an honest node, those after which it asks the crawler something.
const CURIOSITY: u32 = 20;

/// Up to two worlds and the truth about both.
#[derive(Debug)]
pub struct Universe {
    worlds: [Option<World>; 2],
    truth: UniverseTruth,
}

impl Universe {
    /// Builds the worlds of `scenario`: makes and hashes every torrent once.
    pub fn build(scenario: &Scenario) -> Result<Self, PlanError> {
        let families: &[Family] = match scenario.families {
            Families::V4 => &[Family::V4],
            Families::V6 => &[Family::V6],
            Families::Both => &Family::ALL,
        };
        let mut worlds = [None, None];
        let mut torrents = None;
        let utp = UtpShares {
            only: share(scenario.utp_peers)?,
            beside: share(scenario.utp_beside)?,
            hostile: share(scenario.hostile_utp)?,
            vices: scenario.utp_vices,
        };
        for &family in families {
            let plan = plan(scenario, family)?;
            check(&plan)?;
            let torrents = torrents.get_or_insert_with(|| make_torrents(&plan)).clone();
            let world = World::build_with(plan, torrents)?.with_utp(utp);
            worlds[family.index()] = Some(world);
        }
        let truth = UniverseTruth::of(scenario, worlds.iter().flatten());
        Ok(Self { worlds, truth })
    }

    /// The DHT of one family, if the scenario has it.
    pub fn world(&self, family: Family) -> Option<&World> {
        self.worlds[family.index()].as_ref()
    }

    /// All of them.
    pub fn worlds(&self) -> impl Iterator<Item = &World> {
        self.worlds.iter().flatten()
    }

    /// The crawler's own address in that family's DHT.
    pub fn own(&self, family: Family) -> Option<SocketAddr> {
        self.world(family).map(|_| addresses::own(family))
    }

    /// Where the crawler may begin: a few honest nodes that live for ever.
    pub fn bootstrap(&self, family: Family) -> Vec<SocketAddr> {
        let Some(world) = self.world(family) else { return Vec::new() };
        world.bootstraps().iter().map(|&node| world.contact(node).addr).collect()
    }

    /// Who lives at exactly this address and port at `now`. A dead node's address has a resident
    /// too, who never answers.
    pub fn resident(&self, now: Instant, addr: SocketAddr) -> Option<(Family, Resident)> {
        let family = Family::of(addr);
        Some((family, self.world(family)?.resident_at(now, addr)?))
    }

    /// What a perfect crawl could find.
    pub fn truth(&self) -> &UniverseTruth {
        &self.truth
    }
}

/// How long its info dictionaries are.
fn sizes(scenario: &Scenario) -> MetadataSizes {
    let sizes = match scenario.metadata_max {
        0 => MetadataSizes::Realistic,
        most => MetadataSizes::Between(METADATA_LEN_MIN..=most.min(METADATA_LEN_MAX)),
    };
    match scenario.heavy {
        0 => sizes,
        first => MetadataSizes::Heavy { first, others: Box::new(sizes) },
    }
}

fn share(value: u32) -> Result<Percent, PlanError> {
    u8::try_from(value).ok().and_then(Percent::new).ok_or(PlanError::Percent)
}

/// The plan of one family's world.
fn plan(scenario: &Scenario, family: Family) -> Result<Plan, PlanError> {
    let horizon_s = scenario.broken_s.saturating_add(scenario.healed_s).saturating_add(MARGIN_S);
    Ok(Plan {
        seed: scenario.seed,
        nodes: scenario.nodes,
        dead_nodes: share(scenario.dead_nodes)?,
        no_bep51: share(scenario.unsampled)?,
        torrents: scenario.torrents,
        peers: scenario.peers_min..=scenario.peers_max,
        dead_peers: share(scenario.dead_peers)?,
        sealed_peers: share(scenario.mse_peers)?,
        sealed_rc4: share(scenario.mse_rc4)?,
        metadata: sizes(scenario),
        interval: scenario.interval_s,
        routing: scenario.routing,
        addresses: Addresses::Public(family),
        churn: Churn {
            node_life_s: scenario.node_life_s,
            peer_life_s: scenario.peer_life_s,
            new_ids: share(scenario.new_ids)?,
            moves: share(scenario.moves)?,
            vanishing: share(scenario.vanishing)?,
            vanish_s: scenario.vanish_s,
            expires_s: scenario.expires_s,
            horizon_s,
        },
        hostility: Hostility {
            nodes: share(scenario.hostile_nodes)?,
            node_vices: scenario.node_vices,
            peers: share(scenario.hostile_peers)?,
            peer_vices: scenario.peer_vices,
            eclipse: scenario.eclipse,
            curiosity: CURIOSITY,
            silent_s: scenario.silent_s,
            luring: Luring {
                nodes: scenario.baiters,
                baits: scenario.bait,
                decoys: scenario.bait_peers,
                networks: scenario.bait_networks,
                any_key: scenario.bait_any > 0,
            },
        },
    })
}

#[cfg(test)]
mod tests;
