//! Rate limits as state plus a deadline: each limiter answers "now" or "not before t" and never
//! sleeps. Everything the crawl sends passes through here.
//!
//! A limit named N per period is kept in *every* window of that length: a twentieth of it may come
//! as a burst, the rest is spread evenly.

use std::hash::{BuildHasher, Hash};
use std::net::SocketAddr;

use crate::base::addr::{AddressPolicy, Family, address_key, endpoint_key};
use crate::base::planted::{self, Bug};
use crate::base::rng::Rng;
use crate::base::store::{FingerprintSet, KeyedState, Seen};
use crate::base::time::{Duration, Instant};
use crate::limits::{ADDRESS_BURST, ADDRESS_CELLS, ADDRESS_PER_TEN_SECONDS, FLOWS_REMEMBERED};

/// A token bucket in its arithmetic form (GCRA): one word of state, no ticks.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Nanoseconds one token takes to come back; 0 means no limit.
    step: u64,
    /// How far ahead of real time the theoretical arrival may run.
    slack: u64,
    /// Theoretical arrival time of the next token, in nanoseconds.
    arrival: u64,
}

impl Bucket {
    /// At most `n` tokens in every window of `period`; `None` means no limit.
    pub fn new(n: Option<u32>, period: Duration) -> Self {
        let Some(n) = n.map(|n| u64::from(n.max(1))) else {
            return Self { step: 0, slack: 0, arrival: 0 };
        };
        let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        let burst = n / 20;
        let step = period.div_ceil((n - burst).max(1));
        Self { step, slack: step.saturating_mul(burst), arrival: 0 }
    }

    /// Whether a token is there at `now`, or when it will be.
    pub fn ready(&self, now: Instant) -> Result<(), Instant> {
        let earliest = self.arrival.saturating_sub(self.slack);
        if earliest <= nanos(now) {
            return Ok(());
        }
        Err(Instant::from_micros(earliest.div_ceil(1_000)))
    }

    /// Takes a token that [`Bucket::ready`] said is there.
    pub fn take(&mut self, now: Instant) {
        self.arrival = self.arrival.max(nanos(now)).saturating_add(self.step);
    }

    fn is_limited(&self) -> bool {
        self.step != 0
    }

    /// So many quarters of this one. Its tokens come exactly that much more slowly, however few
    /// there are: a part rounded to whole tokens would be all of one token, and a third of three.
    fn part(&self, quarters: u32) -> Self {
        let step = (self.step.saturating_mul(4)).div_ceil(u64::from(quarters));
        let burst = self.slack.checked_div(self.step).unwrap_or(0) * u64::from(quarters) / 4;
        Self { step, slack: step.saturating_mul(burst), arrival: 0 }
    }
}

fn nanos(now: Instant) -> u64 {
    now.as_micros().saturating_mul(1_000)
}

/// One allowance for two claimants, so that each is sure of its share while both want some, and of
/// all of it while the other wants none.
#[derive(Clone, Debug)]
struct SharedBucket {
    all: Bucket,
    /// What one may use while the other has work: charged only then, so no debt grows meanwhile.
    most: [Bucket; 2],
    wanted: [Option<Instant>; 2],
    wanted_for: Duration,
}

impl SharedBucket {
    /// How long a claimant counts as having work after it last asked, at least.
    const WANTED_FOR: Duration = Duration::from_secs(1);
    /// The same in tokens of a claimant's part: whoever is told to wait for one asks again when it
    /// comes, and must not have been forgotten by then.
    const WANTED_TOKENS: u64 = 2;

    /// `n` tokens a `period`, of which one claimant gets at most `quarters` while both want some.
    fn new(n: Option<u32>, quarters: u32, period: Duration) -> Self {
        let all = Bucket::new(n, period);
        let most = all.part(quarters);
        let tokens = Duration::from_nanos(most.step.saturating_mul(Self::WANTED_TOKENS));
        let wanted_for = Self::WANTED_FOR.max(tokens);
        Self { all, most: [most.clone(), most], wanted: [None; 2], wanted_for }
    }

    /// Whether `claimant`, which has work, may take a token at `now`.
    fn ready(&mut self, now: Instant, claimant: usize) -> Result<(), Instant> {
        self.wanted[claimant] = Some(now);
        self.all.ready(now)?;
        if self.is_contested(now, claimant) { self.most[claimant].ready(now) } else { Ok(()) }
    }

    fn take(&mut self, now: Instant, claimant: usize) {
        self.all.take(now);
        if self.is_contested(now, claimant) {
            self.most[claimant].take(now);
        }
    }

    fn is_contested(&self, now: Instant, claimant: usize) -> bool {
        self.wanted[1 - claimant].is_some_and(|at| now.since(at) < self.wanted_for)
    }
}

/// Whose turn it is where two claimants want what one allowance gives them together: one that had
/// [`Turns::MOST`] in a row leaves the next one to the other. Should that not take it, a token's
/// time later it goes on.
#[derive(Clone, Debug, Default)]
struct Turns {
    wanted: [Option<Instant>; 2],
    /// How many each had since the other had one.
    row: [u32; 2],
    /// Until when the one that had most waits for the other.
    yields_until: Option<Instant>,
}

impl Turns {
    /// So the other gets a quarter.
    const MOST: u32 = 3;

    /// Whether it is the turn of `claimant`, which wants one, at `now`. `token` is the time from
    /// one token to the next.
    fn ready(&mut self, now: Instant, claimant: usize, token: Duration) -> Result<(), Instant> {
        let wanted_for = SharedBucket::WANTED_FOR.max(token * 2);
        let other = self.wanted[1 - claimant];
        let is_contested = other.is_some_and(|at| now.since(at) < wanted_for);
        if self.row[claimant] < Self::MOST || !is_contested {
            return Ok(());
        }
        let until = *self.yields_until.get_or_insert(now + token);
        if until > now {
            return Err(until);
        }
        (self.row[claimant], self.yields_until) = (0, None);
        Ok(())
    }

    fn take(&mut self, claimant: usize) {
        self.row[claimant] = self.row[claimant].saturating_add(1);
        self.row[1 - claimant] = 0;
        self.yields_until = None;
    }
}

/// The whole query rate, shared by the families so that each one that has work is sure of a
/// quarter.
#[derive(Clone, Debug)]
pub struct QueryPacer(SharedBucket);

impl QueryPacer {
    /// At most `rate` queries in every second.
    pub fn new(rate: Option<u32>) -> Self {
        Self(SharedBucket::new(rate, 3, Duration::from_secs(1)))
    }

    /// Whether `family`, which has a query to send, may send it at `now`.
    pub fn ready(&mut self, now: Instant, family: Family) -> Result<(), Instant> {
        let ready = self.0.ready(now, family.index());
        if planted::is(Bug::RateUnlimited) { Ok(()) } else { ready }
    }

    /// Counts a query sent.
    pub fn take(&mut self, now: Instant, family: Family) {
        self.0.take(now, family.index());
    }
}

/// What fills a home router's connection table: remote endpoints not used in the last minute or
/// two, UDP and TCP alike. While both have work, each is sure of half: else looking for infohashes
/// would leave nothing to fetch them with. Of what looking gets, each family is sure of a quarter.
#[derive(Clone, Debug)]
pub struct FlowPacer {
    bucket: SharedBucket,
    families: Turns,
    /// Endpoints of this generation, and of the one before.
    recent: [FingerprintSet; 2],
    generation: u64,
}

/// Which protocol a flow belongs to: the same address and port are two flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlowKind {
    /// DHT datagrams of one family.
    Udp(Family),
    /// Peer connections: each is a flow of its own, since its local port is new.
    Tcp,
}

impl FlowKind {
    fn claimant(self) -> usize {
        usize::from(self == Self::Tcp)
    }
}

impl FlowPacer {
    const GENERATION_MILLIS: u64 = 60_000;

    /// At most `new_flows` new remote endpoints in every minute.
    pub fn new(new_flows: Option<u32>, rng: &mut Rng) -> Self {
        Self {
            bucket: SharedBucket::new(new_flows, 2, Duration::from_millis(Self::GENERATION_MILLIS)),
            families: Turns::default(),
            recent: [(); 2].map(|()| FingerprintSet::new(rng, FLOWS_REMEMBERED)),
            generation: 0,
        }
    }

    /// Whether a packet to `to` may go out at `now`.
    pub fn ready(&mut self, now: Instant, kind: FlowKind, to: SocketAddr) -> Result<(), Instant> {
        if !self.is_limited() {
            return Ok(());
        }
        self.turn(now);
        if self.is_known(kind, to) { Ok(()) } else { self.ready_for_new(now, kind) }
    }

    /// Whether any new flow of this kind, of which there is one to begin, may begin at `now`.
    pub fn ready_for_new(&mut self, now: Instant, kind: FlowKind) -> Result<(), Instant> {
        let bucket = self.bucket.ready(now, kind.claimant());
        let FlowKind::Udp(family) = kind else { return bucket };
        self.families.wanted[family.index()] = Some(now);
        bucket?;
        let token = Duration::from_nanos(self.bucket.most[kind.claimant()].step);
        self.families.ready(now, family.index(), token)
    }

    /// Counts a packet to `to`.
    pub fn take(&mut self, now: Instant, kind: FlowKind, to: SocketAddr) {
        if !self.is_limited() {
            return;
        }
        self.turn(now);
        if !self.is_known(kind, to) {
            self.bucket.take(now, kind.claimant());
            if let FlowKind::Udp(family) = kind {
                self.families.take(family.index());
            }
        }
        if kind != FlowKind::Tcp {
            // A full set only makes us count a known endpoint as new: slower, never faster.
            let _: Seen = self.recent[0].insert(&endpoint_key(to));
        }
    }

    /// Forgets generations whose time is over: an endpoint is known to the end of the one after that
    /// in which it was last used, however long nobody asks.
    fn turn(&mut self, now: Instant) {
        let generation = now.as_millis() / Self::GENERATION_MILLIS;
        let over = generation.saturating_sub(self.generation);
        if over > 0 {
            self.recent.swap(0, 1);
            self.recent[0].clear();
            self.generation = generation;
        }
        if over > 1 {
            self.recent[1].clear();
        }
    }

    fn is_limited(&self) -> bool {
        self.bucket.all.is_limited()
    }

    fn is_known(&self, kind: FlowKind, to: SocketAddr) -> bool {
        let key = endpoint_key(to);
        kind != FlowKind::Tcp && self.recent.iter().any(|set| set.contains(&key))
    }
}

/// The per_address owed to each address: [`ADDRESS_BURST`] at once, never more than
/// [`ADDRESS_PER_TEN_SECONDS`] in 10 s. A fixed table without keys: two addresses that fall into
/// one cell share its allowance, which can only make us slower, never ruder.
#[derive(Clone, Debug)]
pub struct AddressPacer {
    state: KeyedState,
    policy: AddressPolicy,
    /// Theoretical arrival times in microseconds.
    cells: Vec<u64>,
}

impl AddressPacer {
    /// Microseconds one datagram takes to be forgiven.
    const STEP: u64 = 10_000_000 / (ADDRESS_PER_TEN_SECONDS - ADDRESS_BURST);

    /// A fresh table: every address has its full burst.
    pub fn new(policy: AddressPolicy, rng: &mut Rng) -> Self {
        Self { state: KeyedState::new(rng), policy, cells: vec![0; ADDRESS_CELLS] }
    }

    /// Whether `to` may get a datagram at `now`, or when.
    pub fn ready(&self, now: Instant, to: SocketAddr) -> Result<(), Instant> {
        let slack = Self::STEP * (ADDRESS_BURST - 1);
        let earliest = self.cells[self.cell(to)].saturating_sub(slack);
        let is_ready = earliest <= now.as_micros() || planted::is(Bug::NoAddressPacing);
        if is_ready { Ok(()) } else { Err(Instant::from_micros(earliest)) }
    }

    /// Counts a datagram to `to`.
    pub fn take(&mut self, now: Instant, to: SocketAddr) {
        let cell = self.cell(to);
        self.cells[cell] = self.cells[cell].max(now.as_micros()) + Self::STEP;
    }

    fn cell(&self, to: SocketAddr) -> usize {
        self.state.hash_one(address_key(self.policy, to)) as usize % ADDRESS_CELLS
    }
}

const _: () = assert!(ADDRESS_BURST < ADDRESS_PER_TEN_SECONDS);

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, prop_assert, prop_oneof, proptest};

    use super::*;
    use crate::base::rng::Seed;

    /// Sends whenever allowed and returns the instants, in microseconds.
    fn drive(until: u64, mut ready: impl FnMut(Instant) -> Result<(), Instant>) -> Vec<u64> {
        let (mut now, mut sent) = (0, Vec::new());
        while now < until {
            match ready(Instant::from_micros(now)) {
                Ok(()) => sent.push(now),
                Err(at) => {
                    assert!(at.as_micros() > now, "a deadline in the past would spin");
                    now = at.as_micros();
                }
            }
        }
        sent
    }

    fn most_in_a_window(sent: &[u64], window: u64) -> usize {
        (0..sent.len())
            .map(|i| sent[i..].iter().take_while(|at| **at < sent[i] + window).count())
            .max()
            .unwrap_or(0)
    }

    #[test]
    fn a_bucket_keeps_its_limit_in_every_window_and_uses_nearly_all_of_it() {
        for n in [1, 7, 200, 2_000] {
            let mut bucket = Bucket::new(Some(n), Duration::from_secs(1));
            let sent = drive(3_000_000, |now| bucket.ready(now).map(|()| bucket.take(now)));
            assert!(most_in_a_window(&sent, 1_000_000) <= n as usize, "{n}");
            assert!(sent.len() * 100 >= n as usize * 3 * 94, "{n}: only {}", sent.len());
        }
    }

    #[test]
    fn no_limit_means_always_ready() {
        let mut bucket = Bucket::new(None, Duration::from_secs(1));
        for _ in 0..1_000 {
            assert_eq!(bucket.ready(Instant::START), Ok(()));
            bucket.take(Instant::START);
        }
    }

    #[test]
    fn an_address_gets_its_burst_and_never_more_than_forty_in_ten_seconds() {
        let rng = &mut Rng::new(Seed::from_u64(1));
        let mut pacer = AddressPacer::new(AddressPolicy::Public, rng);
        let to = "8.8.8.8:1".parse().expect("address");
        let sent = drive(60_000_000, |now| pacer.ready(now, to).map(|()| pacer.take(now, to)));
        assert_eq!(sent.iter().filter(|at| **at == 0).count(), ADDRESS_BURST as usize);
        assert!(most_in_a_window(&sent, 10_000_000) <= ADDRESS_PER_TEN_SECONDS as usize);
    }

    #[test]
    fn ports_share_an_allowance_only_on_the_public_network() {
        for (policy, shared) in
            [(AddressPolicy::Public, true), (AddressPolicy::AllowPrivate, false)]
        {
            let mut pacer = AddressPacer::new(policy, &mut Rng::new(Seed::from_u64(1)));
            let (a, b) = ("8.8.8.8:1".parse().expect("a"), "8.8.8.8:2".parse().expect("b"));
            for _ in 0..ADDRESS_BURST {
                pacer.take(Instant::START, a);
            }
            assert!(pacer.ready(Instant::START, a).is_err());
            assert_eq!(pacer.ready(Instant::START, b).is_err(), shared);
        }
    }

    #[test]
    fn a_busy_family_leaves_a_quarter_to_the_other() {
        let mut pacer = QueryPacer::new(Some(400));
        let mut sent = [0u32; 2];
        for micros in (0..2_000_000).step_by(100) {
            let now = Instant::from_micros(micros);
            // V4 always asks first and takes all it can get.
            for family in Family::ALL {
                while pacer.ready(now, family).is_ok() {
                    pacer.take(now, family);
                    sent[family.index()] += 1;
                }
            }
        }
        assert!(sent[1] * 5 >= sent[0] + sent[1], "{sent:?}");
        assert!(sent[0] + sent[1] <= 800);
    }

    #[test]
    fn hours_alone_leave_no_debt_when_the_other_family_wakes() {
        let mut pacer = QueryPacer::new(Some(200));
        let mut now = Instant::START;
        while now < Instant::from_micros(3_600_000_000) {
            match pacer.ready(now, Family::V4) {
                Ok(()) => pacer.take(now, Family::V4),
                Err(at) => now = at,
            }
        }
        let mut sent = [0; 2];
        for micros in (0..10_000_000).step_by(1_000) {
            let at = now + Duration::from_micros(micros);
            for family in Family::ALL {
                while pacer.ready(at, family).is_ok() {
                    pacer.take(at, family);
                    sent[family.index()] += 1;
                }
            }
        }
        assert!(sent.iter().all(|sent| *sent >= 450), "{sent:?}");
    }

    #[test]
    fn looking_and_fetching_share_new_flows_by_halves() {
        let mut flows = FlowPacer::new(Some(600), &mut Rng::new(Seed::from_u64(1)));
        let mut begun = [0u32; 2];
        for micros in (0..120_000_000).step_by(10_000) {
            let now = Instant::from_micros(micros);
            for kind in [FlowKind::Udp(Family::V4), FlowKind::Tcp] {
                while flows.ready_for_new(now, kind).is_ok() {
                    let to = SocketAddr::from(((begun[0] + begun[1]).to_be_bytes(), 6881));
                    flows.take(now, kind, to);
                    begun[kind.claimant()] += 1;
                }
            }
        }
        assert!(begun.iter().all(|begun| *begun >= 550), "{begun:?}");
        assert!(begun[0] + begun[1] <= 1_200);
    }

    /// Two claimants that always want a token and ask whenever they were told to, the first one
    /// always first: who got one, in order.
    fn contend(bucket: &mut SharedBucket, tokens: usize) -> Vec<usize> {
        let (mut taken, mut next) = (Vec::new(), [Instant::START; 2]);
        while taken.len() < tokens {
            let now = next[0].min(next[1]);
            for claimant in [0, 1] {
                while next[claimant] <= now {
                    match bucket.ready(now, claimant) {
                        Ok(()) => {
                            bucket.take(now, claimant);
                            taken.push(claimant);
                        }
                        Err(at) => next[claimant] = at,
                    }
                }
            }
        }
        taken
    }

    /// How many more than its share of any window of `taken` claimant `of` ever got.
    fn most_above(taken: &[usize], of: usize, quarters: i64) -> i64 {
        // In quarters of tokens, so that all is whole.
        let (mut above, mut most) = (0, 0);
        for claimant in taken {
            let got = if *claimant == of { 4 - quarters } else { -quarters };
            above = (above + got).max(0);
            most = most.max(above);
        }
        most.div_euclid(4) + i64::from(most % 4 != 0)
    }

    proptest! {
        #[test]
        fn with_both_wanting_each_gets_its_part_of_every_window_at_every_rate(
            n in prop_oneof![1..120_u32, 1..3_000_u32],
            quarters in 2..=3_u32,
            seconds in prop_oneof![Just(1_u64), Just(60)],
        ) {
            let mut bucket = SharedBucket::new(Some(n), quarters, Duration::from_secs(seconds));
            let tokens = 40 * (n as usize).clamp(10, 100);
            let taken = contend(&mut bucket, tokens);
            // A burst of each part may be on top.
            let most = 1 + i64::from(n / 20);
            for claimant in [0, 1] {
                let above = most_above(&taken, claimant, i64::from(quarters));
                prop_assert!(above <= most, "{n} in {seconds} s: {above} above {quarters}/4");
            }
        }
    }

    #[test]
    fn one_new_flow_a_second_is_shared_by_looking_and_fetching() {
        for new_flows in 1..=70 {
            let mut flows = FlowPacer::new(Some(new_flows), &mut Rng::new(Seed::from_u64(1)));
            let taken = contend(&mut flows.bucket, 200);
            let dials = taken.iter().filter(|kind| **kind == FlowKind::Tcp.claimant()).count();
            assert!((96..=104).contains(&dials), "{new_flows} a minute: {dials} of 200 are dials");
        }
    }

    #[test]
    fn at_every_limit_of_new_flows_each_family_gets_a_quarter_of_what_looking_gets() {
        for (new_flows, dials) in
            (1..=70).chain([408, 2_000]).zip([true, false].into_iter().cycle())
        {
            let mut flows = FlowPacer::new(Some(new_flows), &mut Rng::new(Seed::from_u64(1)));
            let kinds = [FlowKind::Udp(Family::V4), FlowKind::Udp(Family::V6), FlowKind::Tcp];
            let kinds = &kinds[..2 + usize::from(dials)];
            let (mut begun, mut next) = ([0_u32; 3], [Instant::START; 3]);
            while begun.iter().sum::<u32>() < 400 {
                let now = next[..kinds.len()].iter().copied().min().expect("two at least");
                // The first always asks first, and all ask whenever they were told to.
                for (at, &kind) in kinds.iter().enumerate() {
                    while next[at] <= now {
                        match flows.ready_for_new(now, kind) {
                            Ok(()) => {
                                let to =
                                    SocketAddr::from((begun.iter().sum::<u32>().to_be_bytes(), 1));
                                flows.take(now, kind, to);
                                begun[at] += 1;
                            }
                            Err(until) => next[at] = until,
                        }
                    }
                }
            }
            let least = (begun[0] + begun[1]) / 4 - 2;
            assert!(begun[0].min(begun[1]) >= least, "{new_flows} a minute: {begun:?}");
        }
    }

    #[test]
    fn a_family_that_wants_new_flows_and_takes_none_holds_nobody_up_for_long() {
        let mut flows = FlowPacer::new(Some(600), &mut Rng::new(Seed::from_u64(1)));
        let mut begun = 0_u32;
        for micros in (0..60_000_000).step_by(10_000) {
            let now = Instant::from_micros(micros);
            let _ = flows.ready_for_new(now, FlowKind::Udp(Family::V6));
            while flows.ready_for_new(now, FlowKind::Udp(Family::V4)).is_ok() {
                flows.take(
                    now,
                    FlowKind::Udp(Family::V4),
                    SocketAddr::from((begun.to_be_bytes(), 1)),
                );
                begun += 1;
            }
        }
        assert!(begun >= 350, "{begun} of 600");
    }

    #[test]
    fn one_query_a_second_is_shared_by_the_families() {
        let taken = contend(&mut QueryPacer::new(Some(1)).0, 100);
        assert!(taken.iter().filter(|family| **family == 1).count() >= 25, "{taken:?}");
    }

    /// Found by the simulator: seed 2315.
    #[test]
    fn an_endpoint_is_forgotten_after_two_minutes_whatever_was_sent_meanwhile() {
        let kind = FlowKind::Udp(Family::V4);
        let to = |host| SocketAddr::from(([8, 8, 8, host], 6_881));
        let at = |second: u64| Instant::from_micros(second * 1_000_000);
        for others in [&[34, 64, 97][..], &[64, 97], &[97], &[200, 231]] {
            let mut flows = FlowPacer::new(Some(2), &mut Rng::new(Seed::from_u64(1)));
            flows.take(at(0), kind, to(0));
            for (host, &second) in (1..).zip(others) {
                assert_eq!(flows.ready(at(second), kind, to(host)), Ok(()));
                flows.take(at(second), kind, to(host));
                assert_eq!(flows.ready(at(second), kind, to(0)).is_ok(), second < 120);
            }
            let last = others.last().copied().map_or(0, |second| second.max(120));
            assert!(flows.ready(at(last), kind, to(0)).is_err(), "{others:?}");
        }
    }

    #[test]
    fn a_known_endpoint_is_no_new_flow_and_tcp_always_is() {
        let mut flows = FlowPacer::new(Some(1), &mut Rng::new(Seed::from_u64(1)));
        let now = Instant::START;
        let (a, b) = ("8.8.8.8:1".parse().expect("a"), "8.8.8.8:2".parse().expect("b"));
        flows.take(now, FlowKind::Udp(Family::V4), a);
        assert_eq!(flows.ready(now, FlowKind::Udp(Family::V4), a), Ok(()));
        assert!(flows.ready(now, FlowKind::Udp(Family::V4), b).is_err());
        assert!(flows.ready(now, FlowKind::Tcp, a).is_err());
        let later = now + Duration::from_secs(61);
        assert_eq!(flows.ready(later, FlowKind::Udp(Family::V4), b), Ok(()));
    }
}
