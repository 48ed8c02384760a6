//! The paths between the crawler and every remote address: what becomes of each datagram, and how
//! long a byte of a stream is under way.
//!
//! Pure and sans-IO: an instant and a length in, fates out; no bytes pass through. Remote addresses
//! share [`ROUTES`] routes by a fixed hash of their IP address. Each route has dice and bursts of
//! its own, so what happens on one never shifts another, and a shard that serves a whole number of
//! routes sees the same fates as a net that serves them all. Partitions are drawn from the seed at
//! construction. Every fault ends when the links heal, the bottleneck too; delays stay.
//!
//! A fate must follow from the seed and from what crossed the route before, from nothing else.

use std::net::{IpAddr, SocketAddr};

use estudely_core::{Duration, Instant};

use crate::world::draw::draw;
use crate::world::scenario::Scenario;

mod partition;
mod pipe;
mod tally;

pub use partition::{Cut, Partition};
pub use pipe::{Pipe, QUEUE_LEN_MIN, QUEUE_TIME};
pub use tally::{Count, LinkTally, Loss};

/// Routes that remote addresses share. A shard serves whole routes, however many shards there are.
pub const ROUTES: u32 = 24;
/// Most time for which a reordered datagram is held back, beyond its delay.
pub const HOLD_MAX: Duration = Duration::from_millis(500);
/// Most time after which a duplicate follows its original.
pub const DUPLICATE_GAP_MAX: Duration = Duration::from_millis(50);
/// Least time until a lost piece of a stream is sent again (as Linux: TCP_RTO_MIN is 200 ms).
pub const RETRANSMISSION_MIN: Duration = Duration::from_millis(200);

/// Which way something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// From the crawler.
    Out,
    /// To the crawler.
    In,
}

impl Direction {
    const fn index(self) -> usize {
        match self {
            Self::Out => 0,
            Self::In => 1,
        }
    }
}

/// The part of the address space that one net serves: one of `count`, by a fixed hash of the IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which, from 0.
    pub index: u32,
    /// Of how many, at least 1.
    pub count: u32,
}

impl Shard {
    /// Everything in one.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// The shard of `count` to which an address belongs.
    pub fn of(ip: IpAddr, count: u32) -> Self {
        Self { index: route_of(ip) % count.max(1), count }
    }

    /// Whether an address belongs to this one.
    pub fn owns(self, ip: IpAddr) -> bool {
        Self::of(ip, self.count).index == self.index
    }
}

/// A change of one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flip {
    /// Which byte, from 0, below the datagram's length.
    pub at: usize,
    /// What it is combined with by exclusive or; never 0.
    pub mask: u8,
}

/// One delivery of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fate {
    /// When it arrives.
    pub at: Instant,
    /// How it was damaged.
    pub flip: Option<Flip>,
}

impl Fate {
    /// Does to the arriving bytes what happened on the way.
    pub fn damage(self, payload: &mut [u8]) {
        if let Some(flip) = self.flip
            && let Some(byte) = payload.get_mut(flip.at)
        {
            *byte ^= flip.mask;
        }
    }
}

/// What several addresses share.
#[derive(Debug)]
struct Route {
    /// By direction: neither shifts the other.
    dice: [fastrand::Rng; 2],
    /// By direction: until when all is lost.
    burst_until: [Instant; 2],
}

/// All paths of one shard.
#[derive(Debug)]
pub struct Link {
    settings: LinkSettings,
    seed: u64,
    routes: Vec<Route>,
    partitions: Vec<Partition>,
    /// By direction: the bottleneck for datagrams, and that for streams.
    pipes: [Pipe; 2],
    stream_pipes: [Pipe; 2],
    tallies: [LinkTally; 2],
}

/// The links' fields of a scenario, in the units used here.
#[derive(Clone, Copy, Debug)]
struct LinkSettings {
    loss: u32,
    burst: u32,
    burst_time: Duration,
    delay: Duration,
    spread: Duration,
    jitter: Duration,
    duplicate: u32,
    reorder: u32,
    corrupt: u32,
    size_cap: Option<usize>,
    heals: Instant,
}

impl Link {
    /// The paths of `shard` as the scenario has them. The bottleneck is shared out evenly among the
    /// shards.
    pub fn new(scenario: &Scenario, shard: Shard) -> Self {
        let millis = |value: u32| Duration::from_millis(u64::from(value));
        let pipe = || Pipe::new(u64::from(scenario.bandwidth), u64::from(shard.count.max(1)));
        let route = |index| Route {
            dice: [draw(scenario.seed, "route out", index), draw(scenario.seed, "route in", index)],
            burst_until: [Instant::START; 2],
        };
        Self {
            settings: LinkSettings {
                loss: scenario.loss,
                burst: scenario.burst,
                burst_time: millis(scenario.burst_ms),
                delay: millis(scenario.delay_ms),
                spread: millis(scenario.spread_ms),
                jitter: millis(scenario.jitter_ms),
                duplicate: scenario.duplicate,
                reorder: scenario.reorder,
                corrupt: scenario.corrupt,
                size_cap: (scenario.size_cap > 0).then_some(scenario.size_cap as usize),
                heals: Instant::START + Duration::from_secs(u64::from(scenario.broken_s)),
            },
            seed: scenario.seed,
            routes: (0..u64::from(ROUTES)).map(route).collect(),
            partitions: partition::draw_all(scenario),
            pipes: [pipe(), pipe()],
            stream_pipes: [pipe(), pipe()],
            tallies: [LinkTally::default(); 2],
        }
    }

    /// What becomes of a datagram of `len` bytes that sets out at `now`: no delivery, one or two.
    /// Calls for one direction come in order of time.
    pub fn datagram(
        &mut self,
        now: Instant,
        direction: Direction,
        remote: SocketAddr,
        len: usize,
    ) -> impl Iterator<Item = Fate> + use<> {
        self.tallies[direction.index()].sent.add(len);
        let first = match self.lost(now, direction, remote, len) {
            Ok(queued) => Some(self.arrival(now, queued, direction, remote, len)),
            Err(loss) => {
                self.tallies[direction.index()].lost(loss).add(len);
                None
            }
        };
        let second = first.and_then(|first| self.duplicate(now, first, direction, remote, len));
        let tally = &mut self.tallies[direction.index()];
        let fates = [first, second].into_iter().flatten();
        fates.clone().for_each(|_| tally.delivered.add(len));
        fates
    }

    /// How long it takes a piece of a stream to arrive when it sets out at `now` while nothing is
    /// cut: its place in the bottleneck, the path, jitter, and what sending a lost one again costs.
    pub fn stream_delay(
        &mut self,
        now: Instant,
        direction: Direction,
        remote: SocketAddr,
        len: usize,
        dice: &mut fastrand::Rng,
    ) -> Duration {
        let pipe = self.stream_pipe(now, direction);
        let queued = pipe.map_or(Duration::ZERO, |pipe| pipe.pass(now, len));
        self.stream_path(now, remote, dice) + queued
    }

    /// A connection ended with so many bytes of a stream still under way in that direction: they
    /// no longer stand before those of others.
    pub fn stream_over(&mut self, now: Instant, direction: Direction, len: usize) {
        self.stream_pipes[direction.index()].give_back(now, len);
    }

    /// What [`Link::stream_delay`] says, for a packet of `len` bytes that begins a connection.
    pub fn begin_delay(
        &mut self,
        now: Instant,
        direction: Direction,
        remote: SocketAddr,
        len: usize,
        dice: &mut fastrand::Rng,
    ) -> Duration {
        let pipe = self.stream_pipe(now, direction);
        let queued = pipe.map_or(Duration::ZERO, |pipe| pipe.begin(now, len));
        self.stream_path(now, remote, dice) + queued
    }

    /// The bottleneck of streams, as long as there is one.
    fn stream_pipe(&mut self, now: Instant, direction: Direction) -> Option<&mut Pipe> {
        let narrow = self.faulty(now);
        narrow.then(|| &mut self.stream_pipes[direction.index()])
    }

    fn stream_path(&self, now: Instant, remote: SocketAddr, dice: &mut fastrand::Rng) -> Duration {
        let path = self.path_delay(remote);
        let mut delay = path + upto(dice, self.settings.jitter);
        if self.faulty(now) && hit(dice, self.settings.loss) {
            delay += RETRANSMISSION_MIN.max(2 * path);
        }
        delay
    }

    /// The delay that every packet to or from this address has at least.
    pub fn path_delay(&self, remote: SocketAddr) -> Duration {
        let spread = self.settings.spread.as_micros() as u64 + 1;
        let share = mix(hash_of(remote.ip()) ^ mix(self.seed ^ u64::from(remote.port()))) % spread;
        self.settings.delay + Duration::from_micros(share)
    }

    /// Until when nothing passes in that direction, if something cuts it at `now`.
    pub fn cut_until(&self, now: Instant, direction: Direction) -> Option<Instant> {
        partition::cut_until(&self.partitions, now, direction)
    }

    /// Every partition of the run, by their beginnings.
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// Whether links still have faults.
    pub fn faulty(&self, now: Instant) -> bool {
        now < self.settings.heals
    }

    /// What went in that direction so far.
    pub fn tally(&self, direction: Direction) -> &LinkTally {
        &self.tallies[direction.index()]
    }

    /// Whether a datagram is lost, and how long it queues if it is not. Every fault throws its dice
    /// whether or not another one took the datagram already.
    fn lost(
        &mut self,
        now: Instant,
        direction: Direction,
        remote: SocketAddr,
        len: usize,
    ) -> Result<Duration, Loss> {
        let cut = self.cut_until(now, direction).is_some();
        let faulty = self.faulty(now);
        let settings = self.settings;
        let route = &mut self.routes[route_of(remote.ip()) as usize];
        let dice = &mut route.dice[direction.index()];
        let (lost, bursts) = (hit(dice, settings.loss), hit(dice, settings.burst));
        let burst_until = &mut route.burst_until[direction.index()];
        if faulty && bursts {
            *burst_until = (*burst_until).max((now + settings.burst_time).min(settings.heals));
        }
        if cut {
            return Err(Loss::Partition);
        }
        if faulty && settings.size_cap.is_some_and(|cap| len > cap) {
            return Err(Loss::Oversize);
        }
        if faulty && now < *burst_until {
            return Err(Loss::Burst);
        }
        if faulty && lost {
            return Err(Loss::Random);
        }
        if !faulty {
            return Ok(Duration::ZERO);
        }
        self.pipes[direction.index()].admit(now, len).ok_or(Loss::Queue)
    }

    fn dice(&mut self, direction: Direction, remote: SocketAddr) -> &mut fastrand::Rng {
        &mut self.routes[route_of(remote.ip()) as usize].dice[direction.index()]
    }

    fn arrival(
        &mut self,
        now: Instant,
        queued: Duration,
        direction: Direction,
        remote: SocketAddr,
        len: usize,
    ) -> Fate {
        let (settings, faulty, path) = (self.settings, self.faulty(now), self.path_delay(remote));
        let dice = self.dice(direction, remote);
        let jitter = upto(dice, settings.jitter);
        let held = hit(dice, settings.reorder) && faulty;
        let hold = if held { upto(dice, HOLD_MAX) } else { Duration::ZERO };
        let flip = (hit(dice, settings.corrupt) && faulty && len > 0)
            .then(|| Flip { at: dice.usize(..len), mask: dice.u8(1..) });
        Fate { at: now + queued + path + jitter + hold, flip }
    }

    fn duplicate(
        &mut self,
        now: Instant,
        first: Fate,
        direction: Direction,
        remote: SocketAddr,
        len: usize,
    ) -> Option<Fate> {
        let (faulty, share) = (self.faulty(now), self.settings.duplicate);
        let dice = self.dice(direction, remote);
        if !(hit(dice, share) && faulty) {
            return None;
        }
        let gap = upto(dice, DUPLICATE_GAP_MAX);
        self.tallies[direction.index()].duplicated.add(len);
        Some(Fate { at: first.at + gap, ..first })
    }
}

/// Whether a throw falls within so many thousandths.
pub(crate) fn hit(dice: &mut fastrand::Rng, thousandths: u32) -> bool {
    dice.u32(..1_000) < thousandths
}

/// Any time from zero to `most`, both included.
fn upto(dice: &mut fastrand::Rng, most: Duration) -> Duration {
    Duration::from_micros(dice.u64(..=most.as_micros() as u64))
}

/// The route of an address: the same in every run and shard.
pub fn route_of(ip: IpAddr) -> u32 {
    (hash_of(ip) % u64::from(ROUTES)) as u32
}

fn hash_of(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(ip) => mix(u64::from(u32::from(ip))),
        IpAddr::V6(ip) => {
            let bits = u128::from(ip);
            mix(mix((bits >> 64) as u64) ^ bits as u64)
        }
    }
}

/// The finaliser of SplitMix64.
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

#[cfg(test)]
mod tests;
