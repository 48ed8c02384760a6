//! What was spent for what each node named, less what came of it: the one table of standing. The
//! source with the least debt goes first, wherever work waits.
//!
//! Debt is counted in milliseconds of a place: the time of a connection, and what a dial, a job or a
//! walk costs besides. What is under way counts at once, as a reserve. A verified result pays back
//! what was spent for it, and a credit on top. Only results count: naming peers never does, or lies
//! would be the cheapest merit.
//!
//! Every node has two accounts, its own and that of its net, and its debt is the sum of both, so
//! that the many addresses of one operator are one source. Accounts stand in fixed tables without
//! keys: two nodes in one cell share it. Must never refuse anything: it only says which comes first.

use crate::base::addr::{AddressPolicy, NETWORK_OF_PEERS, address_key, prefix};
use crate::base::rng::Rng;
use crate::base::store::Cells;
use crate::base::time::{Duration, Instant};
use crate::limits::{
    CREDIT, CREDIT_MAX, DEBT_DEEP, DEBT_HALVED_EVERY, DEBT_MAX, INTERVAL_MAX, INTERVAL_MIN,
    STANDING_CELLS,
};
use std::net::{IpAddr, SocketAddr};

/// A node that named something, as the table knows it: the places of its two accounts. The order
/// means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Sponsor {
    net: u16,
    node: u16,
}

impl Sponsor {
    /// Bytes that tell it from others.
    pub(crate) fn key(self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.net.to_be_bytes(), self.node.to_be_bytes());
        [a, b, c, d]
    }
}

/// What a node's account says besides its debt.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    debt: i32,
    /// Visits that brought new infohashes since one of its infohashes was verified.
    unpaid_visits: u8,
}

/// What is charged beforehand for something under way, and to which sponsors. It must be settled
/// once.
#[must_use = "a reserve is settled"]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reserve {
    pub(crate) sponsor: Option<Sponsor>,
    /// The node that named the peer, unless it is the sponsor.
    pub(crate) namer: Option<Sponsor>,
    millis: u32,
}

impl Reserve {
    fn payers(self) -> impl Iterator<Item = Sponsor> {
        self.sponsor.into_iter().chain(self.namer)
    }

    /// Of all whom it concerns, the one deepest in debt.
    pub(crate) fn debt(self, standing: &Standing) -> i64 {
        self.payers().map(|sponsor| standing.debt(sponsor)).max().unwrap_or(i64::MIN)
    }
}

/// The accounts.
#[derive(Debug)]
pub(crate) struct Standing {
    policy: AddressPolicy,
    nets: Cells<i32>,
    nodes: Cells<Account>,
    /// What all reserves that are not settled come to.
    reserved: u64,
    /// How often all debts were halved.
    halvings: u64,
}

impl Standing {
    pub(crate) fn new(policy: AddressPolicy, mut rng: Rng) -> Self {
        Self {
            policy,
            nets: Cells::new(&mut rng, STANDING_CELLS),
            nodes: Cells::new(&mut rng, STANDING_CELLS),
            reserved: 0,
            halvings: 0,
        }
    }

    /// The sponsor at an address.
    pub(crate) fn sponsor(&self, addr: SocketAddr) -> Sponsor {
        let node = self.nodes.place(&address_key(self.policy, addr));
        let net = match (self.policy, prefix(addr, NETWORK_OF_PEERS)) {
            (AddressPolicy::AllowPrivate, _) => self.nets.place(&address_key(self.policy, addr)),
            (AddressPolicy::Public, IpAddr::V4(ip)) => self.nets.place(&ip.octets()),
            (AddressPolicy::Public, IpAddr::V6(ip)) => self.nets.place(&ip.octets()),
        };
        Sponsor { net: net as u16, node: node as u16 }
    }

    /// What was spent in vain for what `sponsor` named, in milliseconds; below zero for credit.
    pub(crate) fn debt(&self, sponsor: Sponsor) -> i64 {
        let node = self.nodes.at(usize::from(sponsor.node)).debt;
        i64::from(*self.nets.at(usize::from(sponsor.net))) + i64::from(node)
    }

    /// Whether more was spent for `sponsor` than a few failures explain.
    pub(crate) fn is_deep_in_debt(&self, sponsor: Sponsor) -> bool {
        self.debt(sponsor) > DEBT_DEEP
    }

    /// Halves all debts and credits if it is time: old merits and old faults fade.
    pub(crate) fn advance(&mut self, now: Instant) {
        let due = now.as_micros() / DEBT_HALVED_EVERY.as_micros() as u64;
        let times = due.saturating_sub(self.halvings).min(31) as u32;
        if times > 0 {
            self.nets.iter_mut().for_each(|debt| *debt /= 1 << times.min(30));
            self.nodes.iter_mut().for_each(|account| account.debt /= 1 << times.min(30));
            self.halvings = due;
        }
    }

    /// How often all debts were halved: then every order by debt is out of date.
    pub(crate) fn halvings(&self) -> u64 {
        self.halvings
    }

    /// Charges what was spent.
    pub(crate) fn charge(&mut self, sponsor: Sponsor, spent: Duration) {
        self.change(sponsor, i32::try_from(spent.as_millis()).unwrap_or(i32::MAX));
    }

    /// Charges beforehand what something under way will cost at least.
    pub(crate) fn reserve(
        &mut self,
        sponsor: Option<Sponsor>,
        namer: Option<Sponsor>,
        cost: Duration,
    ) -> Reserve {
        let namer = namer.filter(|namer| sponsor != Some(*namer));
        let mut reserve = Reserve { sponsor, namer, millis: 0 };
        self.raise(&mut reserve, cost);
        reserve
    }

    /// What is under way takes longer than was thought.
    pub(crate) fn raise(&mut self, reserve: &mut Reserve, by: Duration) {
        let more = u32::try_from(by.as_millis()).unwrap_or(u32::MAX).min(DEBT_MAX as u32);
        reserve.millis = reserve.millis.saturating_add(more);
        self.reserved += u64::from(more);
        reserve.payers().for_each(|payer| self.change(payer, more as i32));
    }

    /// Something is over: charges what it has cost in stead of what was reserved.
    pub(crate) fn settle(&mut self, reserve: Reserve, cost: Duration) {
        self.reserved = self.reserved.saturating_sub(u64::from(reserve.millis));
        let cost = i64::try_from(cost.as_millis()).unwrap_or(i64::MAX);
        let difference = cost.min(i64::from(DEBT_MAX)) - i64::from(reserve.millis);
        let difference = i32::try_from(difference).unwrap_or(i32::MIN);
        reserve.payers().for_each(|payer| self.change(payer, difference));
    }

    /// An infohash that `sponsor` named was verified: pays back what was `spent` for it, and more.
    pub(crate) fn pay(&mut self, sponsor: Sponsor, spent: Duration) {
        let back = i32::try_from((spent + CREDIT).as_millis()).unwrap_or(i32::MAX);
        self.change(sponsor, -back);
        self.nodes.at_mut(usize::from(sponsor.node)).unpaid_visits = 0;
    }

    /// The node was visited; `brought` new infohashes, or none. For how long it rests at least: no
    /// source is visited more often than its yield pays for (H19).
    pub(crate) fn on_visit(&mut self, sponsor: Sponsor, brought: bool) -> Duration {
        let account = self.nodes.at_mut(usize::from(sponsor.node));
        let rest = INTERVAL_MIN.saturating_mul(1 << account.unpaid_visits.min(16));
        account.unpaid_visits = account.unpaid_visits.saturating_add(u8::from(brought));
        rest.min(INTERVAL_MAX)
    }

    fn change(&mut self, sponsor: Sponsor, by: i32) {
        let least = -(CREDIT_MAX.as_millis() as i32);
        let changed = |debt: i32| debt.saturating_add(by).clamp(least, DEBT_MAX);
        let net = self.nets.at_mut(usize::from(sponsor.net));
        *net = changed(*net);
        let account = self.nodes.at_mut(usize::from(sponsor.node));
        account.debt = changed(account.debt);
    }

    /// Asserts that the reserves of what is `open` are what was charged beforehand.
    pub(crate) fn check(&self, open: impl Iterator<Item = Reserve>) {
        let open: u64 = open.map(|reserve| u64::from(reserve.millis)).sum();
        assert_eq!(open, self.reserved, "what is under way is reserved once");
    }
}

#[cfg(test)]
impl Standing {
    /// One in which no node has done anything yet.
    pub(crate) fn blank() -> Self {
        Self::new(AddressPolicy::Public, Rng::new(crate::base::rng::Seed::from_u64(1)))
    }
}

const _: () = assert!(STANDING_CELLS <= 1 << u16::BITS, "a place fits into a sponsor");
