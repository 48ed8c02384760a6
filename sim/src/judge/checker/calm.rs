//! Rules b, c and e where nothing is broken: then what is there is found soon, not only in the end.
//!
//! The time allowed begins with the first answer of a bootstrap node and follows from the scenario:
//! [`ANSWERS`], and twice what its own limits make the work last. Then of nodes, and of torrents
//! whose node was sampled, one in a hundred may be missing, or one: with tables as they are some
//! 3 nodes in 10 000 are named by no node in the first pass, and a look into gaps finds most of
//! them. After [`LOOKS`] of those nothing may be.

use estudely_core::limits::COVERAGE_REST;
use estudely_core::{Duration, Instant};

use crate::world::scenario::{Families, Scenario};
use crate::world::vice::Baits;

/// How much slower than promised everything may be with up to half of the nodes or peers hostile.
pub(super) const HOSTILE_FACTOR: u32 = 4;
/// Beyond this percentage of hostile nodes or peers nothing is promised.
pub(super) const HOSTILE_MAX: u32 = 50;
/// How many times longer everything may take among baiters, and how many torrents in a hundred may
/// be missing then; with half of all nodes luring in every way [`HOSTILE_FACTOR`] and twice as
/// many.
const LURED_FACTOR: u32 = 2;
const LURED_SPARED: usize = 5;
/// For answers to come, peers to serve and the small world's few silent ones to be waited for.
const ANSWERS: Duration = Duration::from_secs(120);
/// What one dial to a peer that never answers takes, in milliseconds.
const DEAD_DIAL_MS: u64 = 10_000;
/// What one fetch takes with the longest delays, in milliseconds.
const FETCH_MS: u64 = 4_000;
/// Queries for a node, and for a torrent whose source names a live peer.
const QUERIES: u64 = 4;
/// Queries of a lookup, for a torrent whose source names dead ones.
const LOOKUP: u64 = 32;
/// Looks into gaps, [`COVERAGE_REST`] apart, until the last is found: after one of them seed 3380
/// lacked 2 of 1 108 nodes.
const LOOKS: u32 = 4;
/// How many times longer than reckoned it may take.
const MARGIN: u64 = 2;

/// What is still demanded, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// All but so many in a hundred, so long after the first answer.
    Most(Duration, usize),
    /// The same where baiters are about, and nothing later.
    Lured(Duration, usize),
    /// Everything.
    All(Duration),
    /// Nothing more.
    Nothing,
}

impl Demand {
    /// Of a run of `scenario`.
    pub(super) fn of(scenario: &Scenario) -> Self {
        let nodes = scenario.hostile_nodes;
        let peers = scenario.hostile_peers.max(scenario.hostile_utp);
        let is_slow = nodes > 0 || peers > 0;
        let is_over = scenario.requests > 0 || !is_promised(scenario);
        if is_broken(scenario) || is_over || (nodes > 0 && peers > 0) {
            return Self::Nothing;
        }
        match lured_share(scenario) {
            0 => Self::Most(allowed(scenario) * if is_slow { HOSTILE_FACTOR } else { 1 }, 1),
            _ if is_slow => Self::Nothing,
            _ => Self::Lured(allowed(scenario) * lured_factor(scenario), lured_spared(scenario)),
        }
    }

    /// When it must be met, after a first answer at `first`.
    pub(super) fn due(self, first: Instant) -> Option<Instant> {
        match self {
            Self::Most(within, _) | Self::Lured(within, _) | Self::All(within) => {
                Some(first + within)
            }
            Self::Nothing => None,
        }
    }

    /// How many of `all` may be missing then.
    pub(super) fn spared(self, all: usize) -> usize {
        match self {
            Self::Most(_, percent) | Self::Lured(_, percent) => (all * percent / 100).max(1),
            Self::All(_) | Self::Nothing => 0,
        }
    }

    /// The next one.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Most(within, _) => Self::All(within + COVERAGE_REST * LOOKS),
            Self::Lured(..) | Self::All(_) | Self::Nothing => Self::Nothing,
        }
    }
}

/// Whether anything is promised with so many hostile nodes and peers about.
pub(super) fn is_promised(scenario: &Scenario) -> bool {
    hostile_share(scenario) <= HOSTILE_MAX
}

/// The percentage of nodes or of peers that are hostile, whichever is more.
pub(super) fn hostile_share(scenario: &Scenario) -> u32 {
    let peers = scenario.hostile_peers.max(scenario.hostile_utp);
    scenario.hostile_nodes.max(peers).max(lured_share(scenario))
}

/// The percentage of nodes that are baiters, rounded up.
fn lured_share(scenario: &Scenario) -> u32 {
    let all = u64::from(scenario.nodes) + u64::from(scenario.baiters);
    (100 * u64::from(scenario.baiters)).div_ceil(all.max(1)) as u32
}

/// Whether so many nodes lure in so many ways that more is forgiven.
fn is_besieged(scenario: &Scenario) -> bool {
    lured_share(scenario) >= HOSTILE_MAX && scenario.bait == Baits::ALL
}

/// How many times longer it may take among baiters.
fn lured_factor(scenario: &Scenario) -> u32 {
    if is_besieged(scenario) { HOSTILE_FACTOR } else { LURED_FACTOR }
}

/// Of a hundred torrents those that may be missing among baiters; 0 without any.
pub(super) fn lured_spared(scenario: &Scenario) -> usize {
    match (scenario.baiters, is_besieged(scenario)) {
        (0, _) => 0,
        (_, false) => LURED_SPARED,
        (_, true) => 2 * LURED_SPARED,
    }
}

/// Whether anything but hostility keeps the crawler from what is there, or holds it up.
pub(super) fn is_broken(s: &Scenario) -> bool {
    let links = [s.loss, s.burst, s.corrupt, s.size_cap, s.bandwidth, s.partitions];
    let streams = [s.resets, s.stalls];
    let world = [s.node_life_s, s.peer_life_s, s.vanishing, s.expires_s, s.eclipse];
    let crawler = [s.crashes, s.clock_stalls, s.silent_s, s.max_infohashes];
    [&links[..], &streams, &world, &crawler].concat().into_iter().any(|fault| fault > 0)
}

/// How long nearly everything may take where all are honest.
fn allowed(scenario: &Scenario) -> Duration {
    let families = if scenario.families == Families::Both { 2 } else { 1 };
    let [nodes, torrents, peers, dead] =
        [scenario.nodes, scenario.torrents, scenario.peers_max, scenario.dead_peers].map(u64::from);
    let queries = (nodes + torrents) * QUERIES + torrents * LOOKUP * dead / 100;
    let flows = nodes + torrents * peers;
    let dials_ms = torrents * (FETCH_MS + peers * DEAD_DIAL_MS * dead / 100);
    let per = |work: u64, limit: u32| work.checked_div(u64::from(limit)).unwrap_or(0);
    let millis = per(1_000 * queries, scenario.rate)
        + per(60_000 * flows, scenario.new_flows)
        + per(dials_ms, scenario.connections);
    ANSWERS + Duration::from_millis(MARGIN * families * millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_allowed_follows_from_size_and_limits() {
        let calm = Scenario { torrents: 0, ..Scenario::calm(1) };
        assert_eq!(allowed(&calm), ANSWERS);
        let limited = Scenario { new_flows: 300, ..calm };
        assert_eq!(allowed(&limited), ANSWERS + Duration::from_secs(120));
        let hostile = Scenario { hostile_nodes: 50, ..limited.clone() };
        assert_eq!(Demand::of(&hostile), Demand::Most(allowed(&limited) * HOSTILE_FACTOR, 1));
        let lured = Scenario { baiters: 3, ..limited.clone() };
        assert_eq!(Demand::of(&lured), Demand::Lured(allowed(&limited) * LURED_FACTOR, 5));
        let besieged = Scenario { baiters: limited.nodes, ..limited.clone() };
        assert_eq!(Demand::of(&besieged), Demand::Lured(allowed(&limited) * HOSTILE_FACTOR, 10));
    }

    #[test]
    fn where_something_else_is_broken_only_the_end_counts() {
        for broken in [
            Scenario { loss: 1, ..Scenario::calm(1) },
            Scenario { silent_s: 1, ..Scenario::calm(1) },
            Scenario { hostile_peers: 51, ..Scenario::calm(1) },
            Scenario { hostile_peers: 1, hostile_nodes: 1, ..Scenario::calm(1) },
        ] {
            assert_eq!(Demand::of(&broken), Demand::Nothing);
        }
    }

    #[test]
    fn some_seeds_are_calm_enough() {
        let of = |seed| Demand::of(&Scenario::draw(seed)) != Demand::Nothing;
        let count = (1..=400).filter(|seed| of(*seed)).count();
        assert!(count >= 8, "{count} of 400");
    }
}
