//! Builds a world: draws who exists, who is what, and who knows whom.

use std::sync::Arc;

use estudely_core::addr::Family;
use estudely_core::id::NodeId;
use estudely_core::rng::{Rng, Seed};
use estudely_core::store::{KeyedMap, KeyedState};

use super::lives::{Drawn, Habits, Return, Slots};
use super::view::{View, Views};
use super::{
    Fixed, Knowledge, Made, NodeKind, NodeRecord, PeerRecordInner, Plan, PlanError, World, check,
    check_addresses,
};
use crate::addresses::mix;
use crate::draw::draw;
use crate::routing::{K, Population, Tables};
use crate::vice::NodeVice;

/// Most bootstrap nodes.
const BOOTSTRAPS: usize = 3;

impl World {
    /// Builds the world of `plan` around `torrents`, which [`super::make_torrents`] made of a plan
    /// with the same seed, number and sizes.
    pub fn build_with(plan: Plan, torrents: Arc<[Made]>) -> Result<Self, PlanError> {
        check(&plan)?;
        let seed = match plan.addresses.family() {
            Family::V4 => plan.seed,
            Family::V6 => mix(plan.seed, 6),
        };
        let mut kinds = draw_kinds(&plan, seed);
        let entries = draw_entries(&kinds, seed);
        let vices = draw_vices(&plan, seed, &kinds, &entries);
        for (kind, vice) in kinds.iter_mut().zip(&vices) {
            if vice.is_some_and(is_about_samples) {
                *kind = NodeKind::Sampler;
            }
        }
        let (nodes, node_slots) = draw_nodes(&plan, seed, &kinds, &entries);
        let nodes_in = Slots::group(node_slots, nodes.iter().map(|node| node.slot));
        let (peers, first_peers, peer_slots) = draw_peers(&plan, seed);
        check_addresses(&plan, u64::from(node_slots) + u64::from(peer_slots))?;
        let peers_in = Slots::group(peer_slots, peers.iter().map(|peer| peer.slot));
        let mut by_key = KeyedMap::with_capacity_and_hasher(
            torrents.len(),
            KeyedState::new(&mut Rng::new(Seed::from_u64(plan.seed))),
        );
        by_key.extend(torrents.iter().zip(0..).map(|(torrent, n)| (torrent.key, n)));
        let mut keys: Vec<_> = torrents.iter().map(|made| NodeId(made.key.0)).zip(0..).collect();
        keys.sort_unstable();
        let knowledge = match plan.churn.node_life_s {
            0 => Knowledge::Fixed(fix(seed, &nodes, &kinds, &torrents)),
            _ => Knowledge::Epochs(Views::default()),
        };
        // An entry lives for ever: it has one life.
        let number = |&seat: &u32| nodes.partition_point(|node| node.seat < seat) as u32;
        let bootstraps = entries.iter().map(number).collect();
        let keys = Population::new(keys.into_iter());
        Ok(Self {
            plan,
            seed,
            nodes,
            kinds,
            vices,
            nodes_in,
            bootstraps,
            torrents,
            by_key,
            keys,
            peers,
            peers_in,
            first_peers,
            knowledge,
        })
    }
}

/// As many different ids as there are nodes, ascending.
fn draw_ids(plan: &Plan, seed: u64) -> Vec<NodeId> {
    let mut draw = draw(seed, "ids", 0);
    let mut ids = Vec::with_capacity(plan.nodes as usize);
    while ids.len() < plan.nodes as usize {
        ids.extend((ids.len()..plan.nodes as usize).map(|_| {
            let mut id = [0; 20];
            draw.fill(&mut id);
            NodeId(id)
        }));
        ids.sort_unstable();
        ids.dedup();
    }
    ids
}

fn draw_kinds(plan: &Plan, seed: u64) -> Vec<NodeKind> {
    let dead = plan.dead_nodes.of(plan.nodes);
    let without = plan.no_bep51.of(plan.nodes - dead);
    let mut kinds: Vec<_> = (0..plan.nodes)
        .map(|n| match n.checked_sub(dead) {
            None => NodeKind::Dead,
            Some(n) if n >= without => NodeKind::Sampler,
            Some(n) if n % 3 == 0 => NodeKind::SampleSilent,
            Some(n) if n % 3 == 1 => NodeKind::SampleUnknown,
            Some(_) => NodeKind::SampleAsFindNode,
        })
        .collect();
    draw(seed, "kinds", 0).shuffle(&mut kinds);
    kinds
}

/// The seats of bootstrap nodes: the first with BEP 51 (else the first that lives), and others.
fn draw_entries(kinds: &[NodeKind], seed: u64) -> Vec<u32> {
    let of = |wanted: fn(NodeKind) -> bool| -> Vec<u32> {
        (0..).zip(kinds).filter(|&(_, &kind)| wanted(kind)).map(|(seat, _)| seat).collect()
    };
    let mut seats = of(|kind| kind == NodeKind::Sampler);
    if seats.is_empty() {
        seats = of(|kind| kind != NodeKind::Dead);
    }
    if let Some((_, others)) = seats.split_first_mut() {
        draw(seed, "entries", 0).shuffle(others);
    }
    seats.truncate(BOOTSTRAPS);
    seats
}

/// The vice of each seat: the live ones but the entries, in random order, take turns.
fn draw_vices(
    plan: &Plan,
    seed: u64,
    kinds: &[NodeKind],
    entries: &[u32],
) -> Vec<Option<NodeVice>> {
    let mut vices = vec![None; kinds.len()];
    let live = |seat: u32| kinds[seat as usize] != NodeKind::Dead;
    let mut seats: Vec<u32> = (0..plan.nodes).filter(|&seat| live(seat)).collect();
    let hostile = plan.hostility.nodes.of(seats.len() as u32) as usize;
    seats.retain(|seat| !entries.contains(seat));
    draw(seed, "vices", 0).shuffle(&mut seats);
    let mut kinds: Vec<_> = plan.hostility.node_vices.iter().collect();
    draw(seed, "vices", 1).shuffle(&mut kinds);
    for (&seat, &vice) in seats.iter().take(hostile).zip(kinds.iter().cycle()) {
        vices[seat as usize] = Some(vice);
    }
    vices
}

/// Whether only a node with BEP 51 can have that vice.
const fn is_about_samples(vice: NodeVice) -> bool {
    matches!(
        vice,
        NodeVice::RaggedSamples
            | NodeVice::PoisonedSamples
            | NodeVice::ManySamples
            | NodeVice::BadInterval
            | NodeVice::ZeroInterval
            | NodeVice::AbsurdNum
    )
}

/// Every life of every node, and how many addresses they need.
fn draw_nodes(
    plan: &Plan,
    seed: u64,
    kinds: &[NodeKind],
    entries: &[u32],
) -> (Vec<NodeRecord>, u32) {
    let churn = &plan.churn;
    let mut first_slots: Vec<u32> = (0..plan.nodes).collect();
    draw(seed, "slots", 0).shuffle(&mut first_slots);
    let (mut nodes, mut slots, mut drawn) = (Vec::new(), plan.nodes, Vec::new());
    for (seat, mut id) in (0..).zip(draw_ids(plan, seed)) {
        let stays = entries.contains(&seat) || kinds[seat as usize] == NodeKind::Dead;
        let habits = Habits {
            life_s: if stays { 0 } else { churn.node_life_s },
            horizon_s: churn.horizon_s,
            new_ids: churn.new_ids.value(),
            moves: churn.moves.value(),
        };
        let mut draw = draw(seed, "lives", u64::from(seat));
        drawn.clear();
        habits.draw(&mut draw, &mut drawn);
        let mut slot = first_slots[seat as usize];
        for &Drawn { life, returns } in &drawn {
            match returns {
                Return::Same => {}
                Return::NewId => draw.fill(&mut id.0),
                Return::NewAddress => {
                    slot = slots;
                    slots += 1;
                }
            }
            nodes.push(NodeRecord { id, seat, slot, life });
        }
    }
    (nodes, slots)
}

/// Every life of every peer, each torrent's first one and the end, and how many addresses they
/// need.
fn draw_peers(plan: &Plan, seed: u64) -> (Vec<PeerRecordInner>, Vec<u32>, u32) {
    let habits = Habits {
        life_s: plan.churn.peer_life_s,
        horizon_s: plan.churn.horizon_s,
        new_ids: 0,
        moves: plan.churn.moves.value(),
    };
    let (mut peers, mut first_peers) = (Vec::new(), vec![0]);
    let (mut seat, mut slots, mut drawn) = (0, 0, Vec::new());
    for torrent in 0..plan.torrents {
        let count = draw(seed, "peers", u64::from(torrent)).u32(plan.peers.clone());
        for _ in 0..count {
            drawn.clear();
            habits.draw(&mut draw(seed, "peer lives", u64::from(seat)), &mut drawn);
            let mut slot = slots;
            slots += 1;
            for &Drawn { life, returns } in &drawn {
                if returns == Return::NewAddress {
                    slot = slots;
                    slots += 1;
                }
                peers.push(PeerRecordInner { seat, slot, torrent, life });
            }
            seat += 1;
        }
        first_peers.push(peers.len() as u32);
    }
    (peers, first_peers, slots)
}

/// What nodes that live for ever know. Their numbers are their places in the order of ids.
fn fix(seed: u64, nodes: &[NodeRecord], kinds: &[NodeKind], torrents: &[Made]) -> Fixed {
    let numbered = || nodes.iter().map(|node| node.id).zip(0..);
    let everyone = Population::new(numbered());
    let live = Population::new(numbered().filter(|&(_, n)| kinds[n as usize] != NodeKind::Dead));
    let tables = Tables::draw(&everyone, |n| draw(seed, "table", u64::from(n)));
    let (stored, stored_starts) = group_by_holder(&live, nodes.len(), torrents);
    Fixed { view: View { everyone, live }, tables, stored, stored_starts }
}

/// The torrents of each node side by side, and where each node's begin.
fn group_by_holder(live: &Population, nodes: usize, torrents: &[Made]) -> (Vec<u32>, Vec<u32>) {
    let holders = |(made, torrent): (&Made, u32)| {
        let closest = live.closest(made.key.id());
        std::array::from_fn::<_, K, _>(|at| closest.iter().nth(at).map(|node| (node, torrent)))
    };
    let mut pairs: Vec<(u32, u32)> = torrents.iter().zip(0..).flat_map(holders).flatten().collect();
    pairs.sort_unstable();
    let starts = (0..=nodes as u32)
        .map(|node| pairs.partition_point(|&(holder, _)| holder < node) as u32)
        .collect();
    (pairs.into_iter().map(|(_, torrent)| torrent).collect(), starts)
}
