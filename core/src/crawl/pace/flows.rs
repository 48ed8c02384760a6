//! New remote endpoints a minute, UDP and TCP together. Must never count a new one as known: a home
//! router forgets too.

use std::net::SocketAddr;

use super::shared::SharedBucket;
use crate::base::addr::{Family, endpoint_key};
use crate::base::rng::Rng;
use crate::base::store::{FingerprintSet, Seen};
use crate::base::time::{Duration, Instant};
use crate::limits::FLOWS_REMEMBERED;

/// What fills a home router's connection table: remote endpoints not used in the last minute or
/// two, UDP and TCP alike. While both have work, each is sure of half: else looking for infohashes
/// would leave nothing to fetch them with. Of what looking gets, each family is sure of a quarter.
#[derive(Clone, Debug)]
pub(crate) struct FlowPacer {
    bucket: SharedBucket,
    families: Alternation,
    /// Endpoints of this generation, and of the one before.
    recent: [FingerprintSet; 2],
    generation: u64,
}

/// What a flow is for, whatever protocol carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Purpose {
    /// To look for infohashes and peers in the DHT of one family, from the one socket there.
    Look(Family),
    /// To fetch from a peer: each connection is a flow of its own, since its local port is new.
    Fetch,
}

impl Purpose {
    fn claimant(self) -> usize {
        usize::from(self == Self::Fetch)
    }
}

impl FlowPacer {
    const GENERATION_MILLIS: u64 = 60_000;

    /// At most `new_flows` new remote endpoints in every minute.
    pub(crate) fn new(new_flows: Option<u32>, rng: &mut Rng) -> Self {
        Self {
            bucket: SharedBucket::new(new_flows, 2, Duration::from_millis(Self::GENERATION_MILLIS)),
            families: Alternation::default(),
            recent: [(); 2].map(|()| FingerprintSet::new(rng, FLOWS_REMEMBERED)),
            generation: 0,
        }
    }

    /// Whether a packet to `to` may go out at `now`.
    pub(crate) fn ready(
        &mut self,
        now: Instant,
        purpose: Purpose,
        to: SocketAddr,
    ) -> Result<(), Instant> {
        if !self.is_limited() {
            return Ok(());
        }
        self.forget_old(now);
        if self.is_known(purpose, to) { Ok(()) } else { self.ready_for_new(now, purpose) }
    }

    /// Whether a new flow of this purpose may begin at `now`. The caller has one to begin.
    pub(crate) fn ready_for_new(&mut self, now: Instant, purpose: Purpose) -> Result<(), Instant> {
        let bucket = self.bucket.ready(now, purpose.claimant());
        let Purpose::Look(family) = purpose else { return bucket };
        self.families.want(now, family.index());
        bucket?;
        let token = self.bucket.token(purpose.claimant());
        self.families.ready(now, family.index(), token)
    }

    /// Counts a packet to `to`.
    pub(crate) fn take(&mut self, now: Instant, purpose: Purpose, to: SocketAddr) {
        if !self.is_limited() {
            return;
        }
        self.forget_old(now);
        if !self.is_known(purpose, to) {
            self.bucket.take(now, purpose.claimant());
            if let Purpose::Look(family) = purpose {
                self.families.take(family.index());
            }
        }
        if purpose != Purpose::Fetch {
            // A full set only makes us count a known endpoint as new: slower, never faster.
            let _: Seen = self.recent[0].insert(&endpoint_key(to));
        }
    }

    /// Forgets generations whose time is over: an endpoint is known to the end of the generation
    /// after its last use, however long this is not called.
    fn forget_old(&mut self, now: Instant) {
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
        self.bucket.is_limited()
    }

    fn is_known(&self, purpose: Purpose, to: SocketAddr) -> bool {
        let key = endpoint_key(to);
        purpose != Purpose::Fetch && self.recent.iter().any(|set| set.contains(&key))
    }
}

/// Decides which of two claimants takes the next token of an allowance they share: one that had
/// [`Alternation::MOST`] in a row leaves the next one to the other. If the other does not take it,
/// the first goes on a token's time later.
#[derive(Clone, Debug, Default)]
struct Alternation {
    wanted: [Option<Instant>; 2],
    /// How many each had since the other had one.
    row: [u32; 2],
    /// Until when the one that had most waits for the other.
    yields_until: Option<Instant>,
}

impl Alternation {
    /// So the other gets a quarter.
    const MOST: u32 = 3;

    /// Notes that `claimant` wants one.
    fn want(&mut self, now: Instant, claimant: usize) {
        self.wanted[claimant] = Some(now);
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Seed;
    use crate::crawl::pace::testing::contend;

    #[test]
    fn looking_and_fetching_share_new_flows_by_halves() {
        let mut flows = FlowPacer::new(Some(600), &mut Rng::new(Seed::from_u64(1)));
        let mut begun = [0u32; 2];
        for micros in (0..120_000_000).step_by(10_000) {
            let now = Instant::from_micros(micros);
            for purpose in [Purpose::Look(Family::V4), Purpose::Fetch] {
                while flows.ready_for_new(now, purpose).is_ok() {
                    let to = SocketAddr::from(((begun[0] + begun[1]).to_be_bytes(), 6881));
                    flows.take(now, purpose, to);
                    begun[purpose.claimant()] += 1;
                }
            }
        }
        assert!(begun.iter().all(|begun| *begun >= 550), "{begun:?}");
        assert!(begun[0] + begun[1] <= 1_200);
    }

    #[test]
    fn one_new_flow_a_second_is_shared_by_looking_and_fetching() {
        for new_flows in 1..=70 {
            let mut flows = FlowPacer::new(Some(new_flows), &mut Rng::new(Seed::from_u64(1)));
            let taken = contend(200, |now, claimant| flows.bucket.try_take(now, claimant));
            let dials =
                taken.iter().filter(|purpose| **purpose == Purpose::Fetch.claimant()).count();
            assert!((96..=104).contains(&dials), "{new_flows} a minute: {dials} of 200 are dials");
        }
    }

    #[test]
    fn at_every_limit_of_new_flows_each_family_gets_a_quarter_of_what_looking_gets() {
        for (new_flows, dials) in
            (1..=70).chain([408, 2_000]).zip([true, false].into_iter().cycle())
        {
            let mut flows = FlowPacer::new(Some(new_flows), &mut Rng::new(Seed::from_u64(1)));
            let purposes = [Purpose::Look(Family::V4), Purpose::Look(Family::V6), Purpose::Fetch];
            let purposes = &purposes[..2 + usize::from(dials)];
            let (mut begun, mut next) = ([0_u32; 3], [Instant::START; 3]);
            while begun.iter().sum::<u32>() < 400 {
                let now = next[..purposes.len()].iter().copied().min().expect("two at least");
                // The first always asks first, and all ask whenever they were told to.
                for (at, &purpose) in purposes.iter().enumerate() {
                    while next[at] <= now {
                        match flows.ready_for_new(now, purpose) {
                            Ok(()) => {
                                let to =
                                    SocketAddr::from((begun.iter().sum::<u32>().to_be_bytes(), 1));
                                flows.take(now, purpose, to);
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
    fn a_family_that_wants_new_flows_and_takes_none_delays_the_other_only_briefly() {
        let mut flows = FlowPacer::new(Some(600), &mut Rng::new(Seed::from_u64(1)));
        let mut begun = 0_u32;
        for micros in (0..60_000_000).step_by(10_000) {
            let now = Instant::from_micros(micros);
            let _ = flows.ready_for_new(now, Purpose::Look(Family::V6));
            while flows.ready_for_new(now, Purpose::Look(Family::V4)).is_ok() {
                flows.take(
                    now,
                    Purpose::Look(Family::V4),
                    SocketAddr::from((begun.to_be_bytes(), 1)),
                );
                begun += 1;
            }
        }
        assert!(begun >= 350, "{begun} of 600");
    }

    /// Found by the simulator: seed 2315.
    #[test]
    fn an_endpoint_is_forgotten_after_two_minutes_whatever_was_sent_meanwhile() {
        let purpose = Purpose::Look(Family::V4);
        let to = |host| SocketAddr::from(([8, 8, 8, host], 6_881));
        let at = |second: u64| Instant::from_micros(second * 1_000_000);
        for others in [&[34, 64, 97][..], &[64, 97], &[97], &[200, 231]] {
            let mut flows = FlowPacer::new(Some(2), &mut Rng::new(Seed::from_u64(1)));
            flows.take(at(0), purpose, to(0));
            for (host, &second) in (1..).zip(others) {
                assert_eq!(flows.ready(at(second), purpose, to(host)), Ok(()));
                flows.take(at(second), purpose, to(host));
                assert_eq!(flows.ready(at(second), purpose, to(0)).is_ok(), second < 120);
            }
            let last = others.last().copied().map_or(0, |second| second.max(120));
            assert!(flows.ready(at(last), purpose, to(0)).is_err(), "{others:?}");
        }
    }

    #[test]
    fn a_known_endpoint_is_no_new_flow_and_tcp_always_is() {
        let mut flows = FlowPacer::new(Some(1), &mut Rng::new(Seed::from_u64(1)));
        let now = Instant::START;
        let (a, b) = ("8.8.8.8:1".parse().expect("a"), "8.8.8.8:2".parse().expect("b"));
        flows.take(now, Purpose::Look(Family::V4), a);
        assert_eq!(flows.ready(now, Purpose::Look(Family::V4), a), Ok(()));
        assert!(flows.ready(now, Purpose::Look(Family::V4), b).is_err());
        assert!(flows.ready(now, Purpose::Fetch, a).is_err());
        let later = now + Duration::from_secs(61);
        assert_eq!(flows.ready(later, Purpose::Look(Family::V4), b), Ok(()));
    }
}
