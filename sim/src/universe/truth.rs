//! What is true of every infohash of a universe, known without asking the crawler.
//!
//! *Due* is meant to be sound, never complete: an infohash is due only if a crawler that, between
//! one interval before the links heal and the end, samples every honest node that lives through
//! all of it cannot miss it. With churn therefore only nodes and peers that outlast the run count,
//! and only samples that a node shows in every interval of that time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use estudely_core::addr::Family;
use estudely_core::id::InfoHash;
use estudely_core::time::{Duration, Instant};

use crate::scenario::Scenario;
use crate::torrent::Facts;
use crate::vice::{NodeVice, PeerVice};
use crate::world::{NodeKind, PeerState, World};

/// What is true of one torrent.
#[derive(Clone, Debug)]
pub struct Fact {
    /// Its number in every world.
    pub number: u32,
    /// Name, counts and sizes as a row must say them.
    pub facts: Facts,
    /// Bytes of its info dictionary.
    pub metadata_len: u32,
    /// Every address that is ever its peer, and whether whoever has it serves the metadata: live
    /// peers that are honest or whose vice is harmless.
    pub peers: BTreeMap<SocketAddr, bool>,
    /// Whether some honest node with BEP 51 has it in a sample at any time of the run.
    pub exposed: bool,
    /// The nodes, by family and number, whose every sample that matters has it: see the module.
    pub shown_by: Vec<(Family, u32)>,
    /// Whether a peer that serves it lives through the whole run, and no more peers that do not
    /// are in its way than a crawler tries.
    pub reachable: bool,
}

impl Fact {
    /// Whether a crawl must have found it when the run ends.
    pub fn is_due(&self) -> bool {
        self.reachable && !self.shown_by.is_empty()
    }

    /// Whether `addr` is ever its peer.
    pub fn has_peer(&self, addr: SocketAddr) -> bool {
        self.peers.contains_key(&addr)
    }
}

/// What is true of everything.
#[derive(Clone, Debug, Default)]
pub struct UniverseTruth {
    facts: Vec<Fact>,
    by_key: BTreeMap<InfoHash, u32>,
    /// Honest nodes that live through the whole run, by family.
    steady: [Vec<u32>; 2],
}

/// The seconds that matter.
struct Span {
    /// When links heal, and when the run ends.
    healed: u64,
    end: u64,
    interval: u64,
}

impl UniverseTruth {
    /// The truth about the worlds of `scenario`, of which there is at least one.
    pub(super) fn of<'a>(
        scenario: &Scenario,
        worlds: impl Iterator<Item = &'a World> + Clone,
    ) -> Self {
        let healed = u64::from(scenario.broken_s);
        let end = healed + u64::from(scenario.healed_s);
        let span = Span { healed, end, interval: u64::from(scenario.interval_s.max(1)) };
        let mut truth = Self::default();
        if let Some(world) = worlds.clone().next() {
            truth.facts = (0..world.torrent_count()).map(|n| blank(world, n)).collect();
            truth.by_key = (0..world.torrent_count()).map(|n| (world.key(n), n)).collect();
        }
        for world in worlds.clone() {
            truth.add_samples(world, &span);
            truth.add_peers(world, &span);
        }
        for fact in &mut truth.facts {
            let strangers = worlds.clone().map(|world| bad_peers(world, fact.number)).sum::<u64>();
            let fits = fact.peers.len() <= scenario.peers_per_infohash as usize;
            let in_the_way = strangers >= u64::from(scenario.peer_attempts) || !fits;
            fact.reachable &= strangers == 0 || !in_the_way;
        }
        truth
    }

    /// Every torrent, by number.
    pub fn facts(&self) -> &[Fact] {
        &self.facts
    }

    /// The torrent that goes by `key`.
    pub fn get(&self, key: InfoHash) -> Option<&Fact> {
        self.by_key.get(&key).map(|&number| &self.facts[number as usize])
    }

    /// Infohashes that a crawl must have found when the run ends, in order.
    pub fn due(&self) -> impl Iterator<Item = (InfoHash, &Fact)> {
        let all = self.by_key.iter().map(|(&key, &number)| (key, &self.facts[number as usize]));
        all.filter(|(_, fact)| fact.is_due())
    }

    /// The honest nodes with BEP 51 that live through the whole run: those that a crawl must have
    /// sampled when it ends.
    pub fn steady(&self, family: Family) -> &[u32] {
        &self.steady[family.index()]
    }

    fn add_samples(&mut self, world: &World, span: &Span) {
        let family = world.family();
        let windows = (0, span.end / span.interval);
        let first = span.healed.saturating_sub(span.interval) / span.interval;
        for node in 0..world.node_count() {
            let honest = world.node_vice(node).is_none_or(NodeVice::serves);
            if !honest || world.node_kind(node) != NodeKind::Sampler {
                continue;
            }
            let life = world.node_life(node);
            let alive = |window: u64| {
                let (from, to) = (window * span.interval, (window + 1) * span.interval);
                u64::from(life.born) < to && (life.includes(from) || u64::from(life.died) > from)
            };
            let steady = life.spans(0, span.end);
            if steady {
                self.steady[family.index()].push(node);
            }
            let mut always: Option<BTreeSet<u32>> = None;
            for window in (windows.0..=windows.1).filter(|&window| alive(window)) {
                let shown: BTreeSet<u32> = world.samples(node, window).into_iter().collect();
                for &torrent in &shown {
                    self.facts[torrent as usize].exposed = true;
                }
                if steady && window >= first {
                    let common = always.map(|always| &always & &shown);
                    always = Some(common.unwrap_or(shown));
                }
            }
            let ends = [span.healed, span.end].map(at);
            for torrent in always.into_iter().flatten() {
                if ends.iter().all(|&now| world.stores(now, node, torrent)) {
                    self.facts[torrent as usize].shown_by.push((family, node));
                }
            }
        }
    }

    fn add_peers(&mut self, world: &World, span: &Span) {
        for fact in &mut self.facts {
            for peer in world.peers_of(fact.number) {
                let serves = serves(world, peer);
                *fact.peers.entry(world.peer(peer).addr).or_default() |= serves;
                fact.reachable |= serves && world.peer_life(peer).spans(0, span.end);
            }
        }
    }
}

fn at(second: u64) -> Instant {
    Instant::START + Duration::from_secs(second)
}

fn blank(world: &World, number: u32) -> Fact {
    Fact {
        number,
        facts: world.facts(number).clone(),
        metadata_len: world.metadata_len(number),
        peers: BTreeMap::new(),
        exposed: false,
        shown_by: Vec::new(),
        reachable: false,
    }
}

/// Whether a patient fetcher gets the metadata from a peer.
fn serves(world: &World, peer: u32) -> bool {
    world.peer(peer).state == PeerState::Live && world.peer_vice(peer).is_none_or(PeerVice::serves)
}

/// How many of a torrent's peers, ever, accept a connection and do not serve.
fn bad_peers(world: &World, torrent: u32) -> u64 {
    let accepts = |peer| matches!(world.peer(peer).state, PeerState::Live | PeerState::Silent);
    let bad = |&peer: &u32| accepts(peer) && !serves(world, peer);
    world.peers_of(torrent).filter(bad).count() as u64
}
