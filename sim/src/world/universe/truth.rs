//! What is true of every infohash of a universe, known without asking the crawler.
//!
//! An infohash is *due* only if every correct crawler must find it, one that samples each honest
//! node which lives from one interval before the links heal to the end. Some that could be found
//! are not due. With churn therefore only nodes and peers that outlast the run count,
//! and only samples that a node shows in every interval of that time and whose torrents it stores
//! at its beginning and end.
//!
//! Runs of very many intervals look at some of them only: then fewer torrents are said to be
//! exposed, and fewer due, than there are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use estudely_core::{Duration, Family, InfoHash, Instant};

use crate::world::dht::{NodeKind, PeerState, World};
use crate::world::routing::VALUES_MAX_V6;
use crate::world::scenario::Scenario;
use crate::world::torrent::Facts;
use crate::world::vice::{NodeVice, PeerVice, UtpVice};

/// Samples drawn for each of both questions at most.
const SAMPLES_DRAWN_MAX: u64 = 500_000;
/// Longest round trip over which uTP must work, in milliseconds.
const UTP_ROUND_TRIP_MS: u32 = 600;

/// What is true of one torrent.
#[derive(Clone, Debug)]
pub struct Fact {
    /// Its number in every world.
    pub number: u32,
    /// Name, counts and sizes as a row must say them.
    pub facts: Facts,
    /// Bytes of its info dictionary.
    pub metadata_len: u32,
    /// Every address that is ever its peer, and whether its resident serves the metadata: live
    /// peers that are honest or whose vice is harmless.
    pub peers: BTreeMap<SocketAddr, bool>,
    /// Whether some honest node with BEP 51 has it in a sample at any time of the run.
    pub exposed: bool,
    /// The nodes, by family and number, whose every sample that matters has it: see the module.
    pub shown_by: Vec<(Family, u32)>,
    /// By family, whether a peer that serves it lives through the whole run, and no more peers that
    /// do not are in its way than a crawler tries.
    pub reachable: [bool; 2],
}

impl Fact {
    /// Whether a crawl must have found it when the run ends: shown and reachable in one and the
    /// same DHT, for a crawl that never asks one family about what it heard in the other.
    pub fn is_due(&self) -> bool {
        self.shown_by.iter().any(|(family, _)| self.reachable[family.index()])
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
            truth.add_peers(scenario, world, &span);
        }
        for fact in &mut truth.facts {
            let bad = |world| bad_peers(scenario, world, fact.number);
            let strangers = worlds.clone().map(bad).sum::<u64>();
            let fits = fact.peers.len() <= scenario.peers_per_infohash as usize;
            let in_the_way = strangers >= u64::from(scenario.peer_attempts) || !fits;
            if strangers > 0 && in_the_way {
                fact.reachable = [false; 2];
            }
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
        let samplers: Vec<u32> = (0..world.node_count())
            .filter(|&node| world.node_kind(node) == NodeKind::Sampler)
            .filter(|&node| world.node_vice(node).is_none_or(NodeVice::serves))
            .filter(|&node| !world.is_outside(node))
            .collect();
        let steady: Vec<u32> =
            samplers.iter().copied().filter(|&n| world.node_life(n).spans(0, span.end)).collect();
        let last = span.end / span.interval;
        let stride = ((last + 1) * u64::from(world.plan().nodes)).div_ceil(SAMPLES_DRAWN_MAX);
        for window in (0..=last).step_by(stride.max(1) as usize) {
            let start = window * span.interval;
            for &node in &samplers {
                let life = world.node_life(node);
                let begun = u64::from(life.born) < (start + span.interval).min(span.end);
                if begun && u64::from(life.died) > start {
                    for torrent in world.samples(node, window) {
                        self.facts[torrent as usize].exposed = true;
                    }
                }
            }
        }
        self.add_steady(world, span, &steady);
        self.steady[family.index()] = steady;
    }

    /// What steady nodes show in every sample that matters, and store at both ends of that time.
    fn add_steady(&mut self, world: &World, span: &Span, steady: &[u32]) {
        let first = span.healed.saturating_sub(span.interval) / span.interval;
        let last = span.end / span.interval;
        let counted = usize::try_from(SAMPLES_DRAWN_MAX / (last - first + 1)).unwrap_or(usize::MAX);
        let steady = &steady[..steady.len().min(counted)];
        let sets = |keep: &mut dyn FnMut(usize, BTreeSet<u32>)| {
            for window in first..=last {
                for (at, &node) in steady.iter().enumerate() {
                    keep(at, world.samples(node, window).into_iter().collect());
                }
            }
            for now in [span.healed, span.end].map(at) {
                for (at, &node) in steady.iter().enumerate() {
                    keep(at, world.stored(now, node).iter().copied().collect());
                }
            }
        };
        let mut always: Vec<Option<BTreeSet<u32>>> = vec![None; steady.len()];
        sets(&mut |at, set| {
            always[at] = Some(match always[at].take() {
                None => set,
                Some(always) => &always & &set,
            });
        });
        for (&node, torrents) in steady.iter().zip(always) {
            for torrent in torrents.into_iter().flatten() {
                self.facts[torrent as usize].shown_by.push((world.family(), node));
            }
        }
    }

    fn add_peers(&mut self, scenario: &Scenario, world: &World, span: &Span) {
        for fact in &mut self.facts {
            // Beyond that, who is named depends on who else lives.
            let named = world.peers_of(fact.number).len() <= VALUES_MAX_V6;
            for peer in world.peers_of(fact.number) {
                let serves = serves(scenario, world, peer);
                *fact.peers.entry(world.peer(peer).addr).or_default() |= serves;
                let steady = world.peer_life(peer).spans(0, span.end);
                let steady = steady && is_near(scenario, world, peer);
                fact.reachable[world.family().index()] |= serves && steady && named;
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
        reachable: [false; 2],
    }
}

/// Whether a patient fetcher gets the metadata from a peer, over what the crawler connects and
/// encrypting as it does.
fn serves(scenario: &Scenario, world: &World, peer: u32) -> bool {
    world.peer(peer).state == PeerState::Live
        && world.peer_vice(peer).is_none_or(PeerVice::serves)
        && scenario.encryption.opens(world.peer_door(peer))
        && scenario.transports.reaches(world.peer_carriage(peer))
        && (world.peer_utp_vice(peer).is_none_or(UtpVice::serves)
            || !scenario.transports.needs_utp(world.peer_carriage(peer)))
}

/// Whether the way to a peer is short enough. A SYN of uTP waits for its answer for a second or
/// two, and packets that overtake each other look lost.
fn is_near(scenario: &Scenario, world: &World, peer: u32) -> bool {
    let way_ms = scenario.delay_ms + scenario.spread_ms + scenario.jitter_ms;
    2 * way_ms <= UTP_ROUND_TRIP_MS || !scenario.transports.needs_utp(world.peer_carriage(peer))
}

/// How many of a torrent's peers, ever, accept a connection and do not serve.
fn bad_peers(scenario: &Scenario, world: &World, torrent: u32) -> u64 {
    let accepts = |peer| match world.peer(peer).state {
        PeerState::Live => scenario.transports.meets(world.peer_carriage(peer)),
        PeerState::Silent => true,
        PeerState::Refuses | PeerState::Hangs => false,
    };
    let bad = |&peer: &u32| accepts(peer) && !serves(scenario, world, peer);
    world.peers_of(torrent).filter(bad).count() as u64
}
