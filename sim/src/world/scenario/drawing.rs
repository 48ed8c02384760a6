//! One seed to one scenario.
//!
//! Each group of fields has its own stream of dice, and each field always throws the same number of
//! them, so that a new fault in one group shifts nothing in the others. Faults are drawn as in
//! swarm testing: of each seed some are off altogether, so that rare mixes occur without the noise
//! of all the rest; most others are mild, a few severe.

use std::ops::RangeInclusive;

use super::{Carries, Encrypts, Families, Harness, OutputFate, Scenario};
use crate::world::dht::Routing;
use crate::world::draw::draw;
use crate::world::vice::{
    Bait, Baits, NodeVice, NodeVices, PeerVice, PeerVices, UtpVice, UtpVices,
};

/// Of the faults that are on, how many in a hundred are severe.
const SEVERE: u32 = 15;
/// Of a hundred worlds, how many have nodes that draw work to themselves.
const LURED: u32 = 6;

impl Scenario {
    /// The scenario of `seed`.
    pub fn draw(seed: u64) -> Self {
        let mut scenario = Self::calm(seed);
        draw_world(&mut scenario, &mut Dice::new(seed, "scenario: world"));
        draw_links(&mut scenario, &mut Dice::new(seed, "scenario: links"));
        draw_hostility(&mut scenario, &mut Dice::new(seed, "scenario: hostility"));
        draw_workload(&mut scenario, &mut Dice::new(seed, "scenario: workload"));
        draw_session(&mut scenario, &mut Dice::new(seed, "scenario: session"));
        draw_utp(&mut scenario, &mut Dice::new(seed, "scenario: utp"));
        if scenario.baiters > 0 { scenario.on_a_home_line() } else { scenario }
    }

    /// The same world and baiters with nothing else that could be to blame, on a home line: how
    /// honest work goes on is judged only there.
    fn on_a_home_line(self) -> Self {
        Self {
            families: self.families,
            nodes: self.nodes,
            torrents: self.torrents,
            peers_min: self.peers_min,
            peers_max: self.peers_max,
            metadata_max: self.metadata_max,
            interval_s: self.interval_s,
            routing: self.routing,
            delay_ms: self.delay_ms,
            spread_ms: self.spread_ms,
            baiters: self.baiters,
            bait: self.bait,
            rate: 200,
            new_flows: 1_800,
            broken_s: 1,
            healed_s: 1_200,
            ..Self::calm(self.seed)
        }
    }
}

/// The dice of one group.
struct Dice {
    rng: fastrand::Rng,
    /// Of a hundred faults of this group, how many are off for this seed.
    off: u32,
}

impl Dice {
    fn new(seed: u64, group: &str) -> Self {
        let mut rng = draw(seed, group, 0);
        let off = [10, 40, 60, 80, 100][rng.usize(..5)];
        Self { rng, off }
    }

    /// A fault: 0 when it is off for this seed, else within one of the ranges.
    fn fault(&mut self, mild: RangeInclusive<u32>, severe: RangeInclusive<u32>) -> u32 {
        let is_off = self.percent(self.off);
        let range = if self.percent(SEVERE) { severe } else { mild };
        let drawn = self.within(range);
        if is_off { 0 } else { drawn }
    }

    /// A size, equally likely at every magnitude.
    fn size(&mut self, range: RangeInclusive<u32>) -> u32 {
        let (low, high) = (f64::from(*range.start()), f64::from(*range.end()));
        let drawn = low * (high / low).powf(self.rng.f64());
        (drawn as u32).clamp(*range.start(), *range.end())
    }

    fn within(&mut self, range: RangeInclusive<u32>) -> u32 {
        self.rng.u32(range)
    }

    fn percent(&mut self, share: u32) -> bool {
        self.rng.u32(..100) < share
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.rng.usize(..all.len())]
    }

    /// Some of `all`: often one alone, sometimes every one.
    fn some_of<T: Copy>(&mut self, all: &[T]) -> Vec<T> {
        let share = self.one_of(&[0, 0, 10, 30, 60, 100]);
        let sure = self.one_of(all);
        let mut some: Vec<T> = all.iter().copied().filter(|_| self.percent(share)).collect();
        if some.is_empty() {
            some.push(sure);
        }
        some
    }
}

fn draw_world(scenario: &mut Scenario, dice: &mut Dice) {
    scenario.families =
        dice.one_of(&[Families::V4, Families::V4, Families::V4, Families::V6, Families::Both]);
    scenario.nodes = dice.size(20..=600);
    scenario.torrents = dice.size(10..=400);
    scenario.peers_min = dice.one_of(&[1, 1, 1, 2]);
    scenario.peers_max = dice.within(scenario.peers_min..=5);
    scenario.metadata_max = dice.one_of(&[0, 400, 20_000, 20_000, 60_000, 60_000]);
    scenario.interval_s = dice.one_of(&[300, 600, 3_600, 21_600, 21_600]);
    scenario.routing = dice.one_of(&[Routing::Tables, Routing::Tables, Routing::Ideal]);
    scenario.dead_nodes = dice.fault(1..=20, 30..=60);
    scenario.unsampled = dice.fault(1..=20, 40..=90);
    scenario.dead_peers = dice.fault(1..=30, 50..=90);
    scenario.node_life_s = dice.fault(1_800..=14_400, 300..=900);
    scenario.peer_life_s = dice.fault(1_800..=14_400, 300..=900);
    scenario.new_ids = dice.within(0..=50);
    scenario.moves = dice.within(0..=50);
    let heavy = dice.within(1..=2);
    scenario.heavy = if dice.percent(10) { heavy } else { 0 };
    scenario.mse_peers = dice.fault(10..=50, 60..=100);
    scenario.mse_rc4 = dice.one_of(&[0, 50, 100]);
}

fn draw_links(scenario: &mut Scenario, dice: &mut Dice) {
    scenario.delay_ms = dice.size(1..=150);
    scenario.spread_ms = dice.size(1..=300);
    scenario.loss = dice.fault(5..=40, 100..=400);
    scenario.burst = dice.fault(1..=5, 10..=40);
    scenario.burst_ms = dice.size(20..=2_000);
    scenario.jitter_ms = dice.fault(1..=50, 100..=900);
    scenario.duplicate = dice.fault(5..=50, 200..=800);
    scenario.reorder = dice.fault(5..=50, 200..=800);
    scenario.corrupt = dice.fault(1..=20, 50..=300);
    scenario.size_cap = dice.fault(1_000..=1_472, 300..=700);
    scenario.bandwidth = dice.fault(200_000..=1_000_000, 20_000..=60_000);
    scenario.forged = dice.fault(5..=100, 300..=2_000);
    scenario.partitions = dice.fault(1..=1, 2..=4);
    scenario.partition_s = dice.size(3..=60);
    scenario.one_way = dice.within(0..=100);
    scenario.chunk = dice.fault(50..=1_460, 1..=20);
    scenario.resets = dice.fault(1..=20, 50..=300);
    scenario.stalls = dice.fault(1..=20, 50..=300);
}

fn draw_hostility(scenario: &mut Scenario, dice: &mut Dice) {
    scenario.hostile_nodes = dice.fault(1..=15, 25..=50);
    scenario.node_vices = NodeVices::of(&dice.some_of(NodeVice::ALL));
    scenario.hostile_peers = dice.fault(1..=30, 50..=80);
    scenario.peer_vices = PeerVices::of(&dice.some_of(PeerVice::ALL));
    scenario.bait = Baits::of(&dice.some_of(Bait::ALL));
    let share = dice.size(1..=50);
    let baiters = (scenario.nodes * share / (100 - share)).max(1);
    scenario.baiters = if dice.percent(LURED) { baiters } else { 0 };
}

fn draw_workload(scenario: &mut Scenario, dice: &mut Dice) {
    let turmoil = dice.percent(17);
    scenario.harness = if turmoil { Harness::Turmoil } else { Harness::Direct };
    let broken_s = dice.one_of(&[30, 60, 120, 240, 900]);
    // turmoil looks at every host at every step: minutes of it cost as much as hours of the other.
    scenario.broken_s = if turmoil { broken_s.min(60) } else { broken_s };
    // Longer than the wait for a second chance: what failed while all was broken is due then. And
    // long enough for some looks into gaps, one each half hour, among nodes that lie.
    scenario.healed_s = 9_000;
    scenario.rate = dice.fault(100..=1_000, 20..=60);
    scenario.new_flows = dice.fault(1_500..=6_000, 300..=600);
    scenario.connections = dice.size(8..=400);
    scenario.peers_per_infohash = dice.within(20..=50);
    scenario.peer_attempts = dice.within(5..=15);
    scenario.max_infohashes = dice.fault(50..=400, 1..=20);
    scenario.crashes = dice.fault(1..=1, 2..=5);
    scenario.clock_stalls = dice.fault(1..=2, 3..=8);
    scenario.silent_s = dice.fault(1..=10, 20..=60);
    scenario.encryption = match dice.within(0..=9) {
        0 => Encrypts::Require,
        1 => Encrypts::Off,
        _ => Encrypts::Auto,
    };
}

/// Of a hundred seeds some sixty leave uTP out, and are as if there were none.
fn draw_utp(scenario: &mut Scenario, dice: &mut Dice) {
    let transports = match dice.within(0..=9) {
        0..=5 => Carries::Tcp,
        6..=8 => Carries::Both,
        _ => Carries::Utp,
    };
    let (only, beside) = (dice.fault(10..=50, 60..=100), dice.fault(10..=50, 60..=100));
    let (hostile, vices) = (dice.fault(1..=30, 50..=80), UtpVices::of(&dice.some_of(UtpVice::ALL)));
    let utp_rate = dice.one_of(&[1_000, 1_000, 300]);
    if transports.has_utp() {
        (scenario.transports, scenario.utp_rate) = (transports, utp_rate);
        (scenario.utp_peers, scenario.utp_beside) = (only, beside);
        (scenario.hostile_utp, scenario.utp_vices) = (hostile, vices);
    }
}

/// Most runs are judged by what they find, so that most must not end before that: of a hundred some
/// twenty may.
fn draw_session(scenario: &mut Scenario, dice: &mut Dice) {
    scenario.ends = u32::from(dice.percent(20));
    let overall_s = dice.size(2..=600);
    scenario.overall_s = if dice.percent(4) { overall_s } else { 0 };
    scenario.routers = u32::from(dice.percent(25));
    let (names_ms, names_fail) = (dice.size(20..=9_000), dice.within(1..=2));
    scenario.names_ms = if dice.percent(30) { names_ms } else { 0 };
    let fails = dice.percent(30) && scenario.names_ms > 0;
    scenario.names_fail = if fails { names_fail } else { 0 };
    // An end of its own has one reason besides those that every run may have.
    let reason = dice.within(0..=9);
    let (idle_s, requests) = (dice.size(2..=120), dice.size(1..=scenario.torrents));
    let fates = [OutputFate::Full, OutputFate::Closed, OutputFate::Lost];
    let (fate, output_rows) = (dice.one_of(&fates), dice.size(1..=100));
    if scenario.ends > 0 {
        match reason {
            0..=2 => scenario.idle_s = idle_s,
            3..=5 if scenario.max_infohashes == 0 => scenario.requests = requests,
            6..=7 => (scenario.output, scenario.output_rows) = (fate, output_rows),
            _ => {}
        }
    }
    let (flush_ms, cut_ms) = (dice.size(1..=5_000), dice.size(1..=3_000));
    scenario.flush_ms = if dice.percent(30) { flush_ms } else { 0 };
    scenario.cut_ms = if dice.percent(30) { cut_ms } else { 0 };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_one_scenario_and_seeds_differ() {
        assert_eq!(Scenario::draw(7), Scenario::draw(7));
        assert_ne!(Scenario::draw(7).values(), Scenario::draw(8).values());
    }

    #[test]
    fn every_scenario_drawn_makes_sense_and_survives_its_own_text() {
        for seed in 0..2_000 {
            let drawn = Scenario::draw(seed);
            assert_eq!(drawn.check(), Ok(()), "{drawn}");
            let mut read = Scenario::calm(seed);
            for (name, value) in drawn.values() {
                read.set(name, &value).expect(name).expect(&value);
            }
            assert_eq!(read, drawn);
        }
    }

    #[test]
    fn each_fault_is_off_in_some_seeds_and_on_in_others() {
        let calm = Scenario::calm(0).values();
        // Whole situations, for scenario files and by hand.
        let never = [
            "vanishing",
            "vanish_s",
            "eclipse",
            "bait_peers",
            "bait_networks",
            "bait_any",
            "expires_s",
        ];
        // These end a run early, which leaves most rules nothing to judge.
        let early = ["overall_s", "idle_s", "requests", "output", "output_rows"];
        // These make it long.
        let rare = [&early[..], &["baiters", "heavy"]].concat();
        let drawn = calm.iter().enumerate().filter(|(_, (name, _))| !never.contains(name));
        for (index, (name, quiet)) in drawn {
            let least = if rare.contains(name) { 5 } else { 20 };
            let on = (0..400).filter(|seed| Scenario::draw(*seed).values()[index].1 != *quiet);
            let on = on.count();
            assert!(on >= least, "{name} is other than {quiet} in {on} of 400 seeds only");
        }
    }

    #[test]
    fn most_seeds_go_on_until_everything_is_found() {
        let may_end = |drawn: &Scenario| {
            drawn.ends > 0 || drawn.overall_s > 0 || drawn.output != OutputFate::None
        };
        let early = (0..1_000).map(Scenario::draw).filter(may_end).count();
        assert!((150..300).contains(&early), "{early} of 1000");
    }

    #[test]
    fn about_one_seed_in_six_runs_under_turmoil() {
        let all = (0..1_200).map(Scenario::draw);
        let turmoil = all.filter(|scenario| scenario.harness == Harness::Turmoil).count();
        assert!((150..250).contains(&turmoil), "{turmoil}");
    }
}
