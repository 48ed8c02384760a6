//! What a node knows, and so what it says: contacts, stored peers, samples.
//!
//! Either everything is the same for ever, or it is that of the running epoch's start.

use std::borrow::Cow;
use std::sync::Arc;

use estudely_core::{Id, Instant};

use super::lives::seconds;
use super::view::{EPOCH_S, View, Views};
use super::{NodeKind, Routing, SAMPLES_MAX, World};
use crate::world::draw::draw;
use crate::world::routing::{Closest, Population, Tables};

/// What nodes know.
pub(super) enum Knowledge {
    /// The same for ever.
    Fixed(Fixed),
    /// That of the running epoch's start.
    Epochs(Views),
}

pub(super) struct Fixed {
    pub(super) view: View,
    pub(super) tables: Tables,
    /// Torrents stored by each node, side by side.
    pub(super) stored: Vec<u32>,
    pub(super) stored_starts: Vec<u32>,
}

impl World {
    /// The contacts that `node` names for `target` at `now`.
    pub fn closest(&self, now: Instant, node: u32, target: Id) -> Closest {
        match (&self.knowledge, self.plan.routing) {
            (Knowledge::Fixed(fixed), Routing::Tables) => {
                fixed.tables.closest(&fixed.view.everyone, node, target)
            }
            (Knowledge::Fixed(fixed), Routing::Ideal) => fixed.view.live.closest(target),
            (Knowledge::Epochs(views), routing) => {
                let epoch = seconds(now) / EPOCH_S;
                let view = self.view(views, epoch);
                match routing {
                    Routing::Ideal => view.live.closest(target),
                    Routing::Tables => {
                        let seat = u64::from(self.node_seat(node));
                        let mut draw = draw(self.seed, "table", seat ^ (epoch << 32));
                        let own = self.nodes[node as usize].id;
                        view.everyone.closest_known(own, &mut draw, target)
                    }
                }
            }
        }
    }

    /// The torrents whose peers `node` stores at `now`.
    pub fn stored(&self, now: Instant, node: u32) -> Cow<'_, [u32]> {
        let expires = u64::from(self.plan.churn.expires_s);
        if expires > 0 && seconds(now) >= expires {
            return Cow::default();
        }
        match &self.knowledge {
            Knowledge::Fixed(fixed) => {
                let node = node as usize;
                let range = fixed.stored_starts[node]..fixed.stored_starts[node + 1];
                fixed.stored[range.start as usize..range.end as usize].into()
            }
            Knowledge::Epochs(views) => {
                if self.node_kind(node) == NodeKind::Dead {
                    return Cow::default();
                }
                let view = self.view(views, seconds(now) / EPOCH_S);
                view.storing().attracted(self.nodes[node as usize].id, &self.keys).into()
            }
        }
    }

    /// Whether `node` is among those that store a torrent's peers at `now`.
    pub fn stores(&self, now: Instant, node: u32, torrent: u32) -> bool {
        self.stored(now, node).binary_search(&torrent).is_ok()
    }

    /// The live nodes closest to a torrent at `now`, colluders left out, which store its peers;
    /// nearest first.
    pub fn holders(&self, now: Instant, torrent: u32) -> Closest {
        let target = self.key(torrent).id();
        match &self.knowledge {
            Knowledge::Fixed(fixed) => fixed.view.storing().closest(target),
            Knowledge::Epochs(views) => {
                self.view(views, seconds(now) / EPOCH_S).storing().closest(target)
            }
        }
    }

    /// Which interval of samples runs at `now`, counted from 0.
    pub fn sample_epoch(&self, now: Instant) -> u64 {
        seconds(now) / u64::from(self.plan.interval.max(1))
    }

    /// The sample that `node` shows during an interval: up to [`SAMPLES_MAX`] of what a node with
    /// its id stores when the interval begins, the same until it ends (51.3). Empty for a node
    /// without BEP 51.
    pub fn samples(&self, node: u32, epoch: u64) -> Vec<u32> {
        if self.node_kind(node) != NodeKind::Sampler {
            return Vec::new();
        }
        let start = epoch.saturating_mul(u64::from(self.plan.interval.max(1)) * 1_000_000);
        let mut shown = self.stored(Instant::from_micros(start), node).into_owned();
        let seat = u64::from(self.node_seat(node));
        let mut draw = draw(self.seed, "samples", seat ^ (epoch << 32));
        let count = shown.len().min(SAMPLES_MAX);
        for at in 0..count {
            let other = draw.usize(at..shown.len());
            shown.swap(at, other);
        }
        shown.truncate(count);
        shown
    }

    fn view(&self, views: &Views, epoch: u64) -> Arc<View> {
        views.get(epoch, || {
            let start = epoch * EPOCH_S;
            let mut present: Vec<_> = (0..)
                .zip(&self.nodes)
                .filter(|(_, node)| node.life.includes(start))
                .map(|(number, node)| (node.id, number))
                .collect();
            present.sort_unstable();
            let live =
                present.iter().copied().filter(|&(_, n)| self.node_kind(n) != NodeKind::Dead);
            let live = Population::new(live);
            let honest = present
                .iter()
                .copied()
                .filter(|&(_, n)| self.node_kind(n) != NodeKind::Dead && !self.colludes(n));
            let honest = (!self.ring.is_empty()).then(|| Population::new(honest));
            View { live, honest, everyone: Population::new(present.iter().copied()) }
        })
    }
}
