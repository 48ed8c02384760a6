//! Times in which nothing passes between the crawler and anybody, in one direction or in both.

use estudely_core::{Duration, Instant};

use super::Direction;
use crate::world::draw::draw;
use crate::world::scenario::Scenario;

/// What a partition cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Both directions.
    Both,
    /// One direction only.
    One(Direction),
}

impl Cut {
    /// Whether nothing passes that way.
    pub fn covers(self, direction: Direction) -> bool {
        match self {
            Self::Both => true,
            Self::One(cut) => cut == direction,
        }
    }
}

/// One partition of the crawler from all remote addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// When it begins.
    pub from: Instant,
    /// When it is over: the first instant at which packets pass again.
    pub until: Instant,
    /// What it cuts.
    pub cut: Cut,
}

/// The partitions of a scenario by their beginnings. Each lasts `partition_s` to twice that and is
/// over when the links heal; where there is no room for that, as long as there is. They may
/// overlap.
pub(super) fn draw_all(scenario: &Scenario) -> Vec<Partition> {
    let heals = u64::from(scenario.broken_s) * 1_000_000;
    let least = (u64::from(scenario.partition_s) * 1_000_000).min(heals);
    let most = (2 * least).min(heals);
    let one = |index| {
        let mut dice = draw(scenario.seed, "partition", index);
        let length = dice.u64(least..=most);
        let from = dice.u64(0..=heals - length);
        let (one_way, inwards) = (dice.u32(..100) < scenario.one_way, dice.bool());
        let cut = match (one_way, inwards) {
            (false, _) => Cut::Both,
            (true, false) => Cut::One(Direction::Out),
            (true, true) => Cut::One(Direction::In),
        };
        let from = Instant::from_micros(from);
        Partition { from, until: from + Duration::from_micros(length), cut }
    };
    let mut all: Vec<_> = (0..u64::from(scenario.partitions)).map(one).collect();
    all.sort_by_key(|partition| (partition.from, partition.until));
    all
}

/// Until when nothing passes that way from `now` on, if nothing does at `now`.
pub(super) fn cut_until(all: &[Partition], now: Instant, direction: Direction) -> Option<Instant> {
    let mut until = None;
    // By their beginnings: a later one can only continue what the earlier ones began.
    for partition in all.iter().filter(|partition| partition.cut.covers(direction)) {
        let at = until.unwrap_or(now);
        if partition.from <= at && at < partition.until {
            until = Some(partition.until);
        }
    }
    until
}
