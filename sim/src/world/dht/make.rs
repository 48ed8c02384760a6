//! Builds a world: draws who exists, who is what, and who knows whom.

use std::iter;
use std::ops::Range;
use std::sync::Arc;

use estudely_core::internal::store::{KeyedMap, KeyedState};
use estudely_core::keyed::Rng;
use estudely_core::{Family, InfoHash, NodeId, Seed};

use super::knowledge::{Fixed, Knowledge};
use super::lives::{Drawn, Habits, Life, Return, Slots};
use super::lures::Lures;
use super::view::{View, Views};
use super::{
    Made, NodeKind, NodeRecord, PeerRecordInner, Plan, PlanError, UtpShares, World, check,
    check_addresses,
};
use crate::world::addresses::mix;
use crate::world::draw::draw;
use crate::world::routing::{K, Population, Tables};
use crate::world::vice::NodeVice;

/// Most bootstrap nodes.
const BOOTSTRAPS: usize = 3;
/// Bytes that the ids of colluders share with the key they surround: more than any honest node's.
const RING_PREFIX: usize = 5;

impl World {
    /// Builds the world of `plan` around `torrents`, which [`super::make_torrents`] made of a plan
    /// with the same seed, number and sizes.
    pub fn build_with(plan: Plan, torrents: Arc<[Made]>) -> Result<Self, PlanError> {
        check(&plan)?;
        let seed = match plan.addresses.family() {
            Family::V4 => plan.seed,
            Family::V6 => mix(plan.seed, 6),
        };
        let (ids, ring) = draw_ids(&plan, seed, torrents.first().map(|made| made.key));
        let (kinds, entries, vices, vanishing) = draw_honest(&plan, seed, &ring);
        // So far only the honest were counted; from here on baiters have seats among them.
        let luring = plan.hostility.luring;
        let mut lures = Lures::draw(&luring, seed, &ids);
        let seats = lures.seated(first_seats(&plan, seed, ids), baiter_seats(&lures));
        let kinds = lures.seated(kinds, iter::repeat(NodeKind::Sampler));
        let vices = lures.seated(vices, iter::repeat(None));
        let vanishing = lures.seated(vanishing, iter::repeat(false));
        let entries: Vec<u32> = entries.into_iter().map(|seat| lures.seat(seat)).collect();
        let ring = lures.seat(ring.start)..lures.seat(ring.start) + ring.len() as u32;
        let stays = |seat: u32| {
            let dead = kinds[seat as usize] == NodeKind::Dead;
            let entry = entries.contains(&seat) || ring.contains(&seat);
            dead || entry || lures.number(seat).is_some()
        };
        let (nodes, node_slots) = draw_nodes(&plan, seed, seats, stays, &vanishing);
        let nodes_in = Slots::group(node_slots, nodes.iter().map(|node| node.slot));
        let (peers, first_peers, peer_slots) = draw_peers(&plan, seed);
        let decoys = u64::from(luring.nodes) * u64::from(luring.decoys);
        check_addresses(&plan, u64::from(node_slots) + u64::from(peer_slots) + decoys)?;
        lures.place_decoys(&luring, node_slots + peer_slots);
        let peers_in = Slots::group(peer_slots, peers.iter().map(|peer| peer.slot));
        let (by_key, keys) = index_keys(plan.seed, &torrents);
        let knowledge = if plan.churn.node_life_s == 0 {
            let outside = |seat: u32| ring.contains(&seat) || lures.number(seat).is_some();
            let some_are = !(ring.is_empty() && lures.is_empty());
            let outside: Option<&dyn Fn(u32) -> bool> = some_are.then_some(&outside);
            Knowledge::Fixed(fix(seed, &nodes, &kinds, outside, &torrents))
        } else {
            Knowledge::Epochs(Views::default())
        };
        // An entry lives for ever: it has one life.
        let number = |&seat: &u32| nodes.partition_point(|node| node.seat < seat) as u32;
        let bootstraps = entries.iter().map(number).collect();
        Ok(Self {
            plan,
            seed,
            nodes,
            kinds,
            vices,
            ring,
            lures,
            nodes_in,
            bootstraps,
            torrents,
            by_key,
            keys,
            peers,
            peers_in,
            first_peers,
            knowledge,
            utp: UtpShares::NONE,
        })
    }
}

/// What the nodes that do not lure are: kinds, the entries among them, vices, and which vanish.
fn draw_honest(
    plan: &Plan,
    seed: u64,
    ring: &Range<u32>,
) -> (Vec<NodeKind>, Vec<u32>, Vec<Option<NodeVice>>, Vec<bool>) {
    let mut kinds = draw_kinds(plan, seed);
    kinds[ring.start as usize..ring.end as usize].fill(NodeKind::Sampler);
    let entries = draw_entries(&kinds, ring, seed);
    let vices = draw_vices(plan, seed, &kinds, (&entries, ring));
    let vanishing = draw_vanishing(plan, seed, &kinds, (&entries, ring));
    for (kind, vice) in kinds.iter_mut().zip(&vices) {
        if vice.is_some_and(is_about_samples) {
            *kind = NodeKind::Sampler;
        }
    }
    (kinds, entries, vices, vanishing)
}

/// The numbers of torrents by their keys: for looking one up, and in order.
fn index_keys(seed: u64, torrents: &[Made]) -> (KeyedMap<InfoHash, u32>, Population) {
    let state = KeyedState::new(&mut Rng::new(Seed::from_u64(seed)));
    let mut by_key = KeyedMap::with_capacity_and_hasher(torrents.len(), state);
    by_key.extend(torrents.iter().zip(0..).map(|(torrent, n)| (torrent.key, n)));
    let mut keys: Vec<_> = torrents.iter().map(|made| NodeId(made.key.0)).zip(0..).collect();
    keys.sort_unstable();
    (by_key, Population::new(keys.into_iter()))
}

/// As many different ids as there are nodes, ascending, and which of them surround `key`.
fn draw_ids(plan: &Plan, seed: u64, key: Option<InfoHash>) -> (Vec<NodeId>, Range<u32>) {
    let colluders = plan.hostility.eclipse.min(plan.nodes) as usize;
    let mut ids = Vec::with_capacity(plan.nodes as usize);
    fill_ids(&mut ids, plan.nodes as usize - colluders, draw(seed, "ids", 0), &[]);
    let Some(key) = key.filter(|_| colluders > 0) else { return (ids, 0..0) };
    let prefix = &key.0[..RING_PREFIX];
    ids.retain(|id| !id.0.starts_with(prefix));
    let mut ring = Vec::with_capacity(colluders);
    fill_ids(&mut ring, plan.nodes as usize - ids.len(), draw(seed, "ring", 0), prefix);
    let start = ids.partition_point(|id| *id < ring[0]);
    let seats = start as u32..(start + ring.len()) as u32;
    ids.splice(start..start, ring);
    (ids, seats)
}

/// Draws ids that begin with `prefix` until there are `count` different ones, ascending.
fn fill_ids(ids: &mut Vec<NodeId>, count: usize, mut draw: fastrand::Rng, prefix: &[u8]) {
    while ids.len() < count {
        ids.extend((ids.len()..count).map(|_| {
            let mut id = [0; 20];
            draw.fill(&mut id);
            id[..prefix.len()].copy_from_slice(prefix);
            NodeId(id)
        }));
        ids.sort_unstable();
        ids.dedup();
    }
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
fn draw_entries(kinds: &[NodeKind], ring: &Range<u32>, seed: u64) -> Vec<u32> {
    let of = |wanted: fn(NodeKind) -> bool| -> Vec<u32> {
        let seats = (0..).zip(kinds).filter(|&(_, &kind)| wanted(kind)).map(|(seat, _)| seat);
        seats.filter(|seat| !ring.contains(seat)).collect()
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
    (entries, ring): (&[u32], &Range<u32>),
) -> Vec<Option<NodeVice>> {
    let mut vices = vec![None; kinds.len()];
    let live = |seat: u32| kinds[seat as usize] != NodeKind::Dead;
    let mut seats: Vec<u32> = (0..plan.nodes).filter(|&seat| live(seat)).collect();
    let hostile = plan.hostility.nodes.of(seats.len() as u32) as usize;
    seats.retain(|seat| !entries.contains(seat) && !ring.contains(seat));
    draw(seed, "vices", 0).shuffle(&mut seats);
    let mut kinds: Vec<_> = plan.hostility.node_vices.iter().collect();
    draw(seed, "vices", 1).shuffle(&mut kinds);
    for (&seat, &vice) in seats.iter().take(hostile).zip(kinds.iter().cycle()) {
        vices[seat as usize] = Some(vice);
    }
    vices
}

/// By seat, whether its node is among those that go all at once: a share of the live ones.
fn draw_vanishing(
    plan: &Plan,
    seed: u64,
    kinds: &[NodeKind],
    (entries, ring): (&[u32], &Range<u32>),
) -> Vec<bool> {
    let live = |seat: u32| kinds[seat as usize] != NodeKind::Dead;
    let mut seats: Vec<u32> = (0..plan.nodes).filter(|&seat| live(seat)).collect();
    let count = plan.churn.vanishing.of(seats.len() as u32) as usize;
    seats.retain(|seat| !entries.contains(seat) && !ring.contains(seat));
    draw(seed, "vanishing", 0).shuffle(&mut seats);
    let mut vanishing = vec![false; kinds.len()];
    seats.iter().take(count).for_each(|&seat| vanishing[seat as usize] = true);
    vanishing
}

/// Ends the lives of a seat at `second`; it keeps one even if it comes too late for it.
fn vanish(drawn: &mut Vec<Drawn>, second: u32) {
    let lived = drawn.partition_point(|drawn| drawn.life.born < second);
    drawn.truncate(lived.max(1));
    if let Some(Drawn { life, .. }) = drawn.last_mut() {
        *life = Life { born: life.born, died: life.died.min(second.max(life.born)) };
    }
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

/// What a seat begins with: id, slot, and its number among those of its kind.
type FirstSeat = (NodeId, u32, u32);

fn first_seats(plan: &Plan, seed: u64, ids: Vec<NodeId>) -> Vec<FirstSeat> {
    let mut slots: Vec<u32> = (0..plan.nodes).collect();
    draw(seed, "slots", 0).shuffle(&mut slots);
    ids.into_iter().zip(slots).zip(0..).map(|((id, slot), rank)| (id, slot, rank)).collect()
}

fn baiter_seats(lures: &Lures) -> impl Iterator<Item = FirstSeat> + '_ {
    lures.ids().zip(lures.first()..).map(|(id, slot)| (id, slot, slot))
}

/// Every life of every node, and how many addresses they need.
fn draw_nodes(
    plan: &Plan,
    seed: u64,
    seats: Vec<FirstSeat>,
    stays: impl Fn(u32) -> bool,
    vanishing: &[bool],
) -> (Vec<NodeRecord>, u32) {
    let churn = &plan.churn;
    let (mut nodes, mut slots, mut drawn) = (Vec::new(), seats.len() as u32, Vec::new());
    for (seat, (mut id, mut slot, rank)) in (0..).zip(seats) {
        let habits = Habits {
            life_s: if stays(seat) { 0 } else { churn.node_life_s },
            horizon_s: churn.horizon_s,
            new_ids: churn.new_ids.value(),
            moves: churn.moves.value(),
        };
        let mut draw = draw(seed, "lives", u64::from(rank));
        drawn.clear();
        habits.draw(&mut draw, &mut drawn);
        if vanishing[seat as usize] {
            vanish(&mut drawn, churn.vanish_s);
        }
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
fn fix(
    seed: u64,
    nodes: &[NodeRecord],
    kinds: &[NodeKind],
    outside: Option<&dyn Fn(u32) -> bool>,
    torrents: &[Made],
) -> Fixed {
    let numbered = || nodes.iter().map(|node| node.id).zip(0..);
    let everyone = Population::new(numbered());
    let live = Population::new(numbered().filter(|&(_, n)| kinds[n as usize] != NodeKind::Dead));
    let tables = Tables::draw(&everyone, |n| draw(seed, "table", u64::from(n)));
    // One life for each seat: numbers are seats.
    let honest = outside.map(|outside| {
        let stores = |n: u32| kinds[n as usize] != NodeKind::Dead && !outside(n);
        Population::new(numbered().filter(|&(_, n)| stores(n)))
    });
    let view = View { everyone, live, honest };
    let (stored, stored_starts) = group_by_holder(view.storing(), nodes.len(), torrents);
    Fixed { view, tables, stored, stored_starts }
}

/// The torrents of each node side by side, and where each node's begin.
fn group_by_holder(storing: &Population, nodes: usize, torrents: &[Made]) -> (Vec<u32>, Vec<u32>) {
    let holders = |(made, torrent): (&Made, u32)| {
        let closest = storing.closest(made.key.id());
        std::array::from_fn::<_, K, _>(|at| closest.iter().nth(at).map(|node| (node, torrent)))
    };
    let mut pairs: Vec<(u32, u32)> = torrents.iter().zip(0..).flat_map(holders).flatten().collect();
    pairs.sort_unstable();
    let starts = (0..=nodes as u32)
        .map(|node| pairs.partition_point(|&(holder, _)| holder < node) as u32)
        .collect();
    (pairs.into_iter().map(|(_, torrent)| torrent).collect(), starts)
}
