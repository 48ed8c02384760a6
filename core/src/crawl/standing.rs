//! What was spent for what each node named, less what came of it: the one table of standing. The
//! source with the least debt goes first, wherever work waits.
//!
//! Debt is counted in milliseconds of a place: the time of a connection, and what a dial, a job or
//! a walk costs besides. What is under way counts at once, as a reserve. A verified result pays
//! back what was spent for it, and a credit on top. Only results count: where peers are dialled,
//! naming them never does, or lies would be the cheapest merit.
//!
//! Every node has two accounts, its own and that of its net, and its debt is the sum of both, so
//! that the many addresses of one operator are one source. Accounts stand in fixed tables without
//! keys, each in three cells of which the one that owes least counts: a node that shares a cell
//! with one in debt is not held to it, unless it shares all, and one that shares a cell with a node
//! that earns has at most that node's merits. Must never judge anything but what was
//! spent: it says which comes first, and which is deep in debt.

use std::hash::BuildHasher as _;
use std::net::{IpAddr, SocketAddr};

use crate::base::addr::{AddressPolicy, NETWORK_OF_PEERS, address_key, prefix};
use crate::base::rng::Rng;
use crate::base::store::KeyedState;
use crate::base::time::{Duration, Instant};
use crate::limits::{
    CREDIT, CREDIT_MAX, DEBT_DEEP, DEBT_HALVED_EVERY, DEBT_MAX, INTERVAL_MAX, INTERVAL_MIN,
    JOB_RESERVE, STANDING_BITS, VISITS_FORGIVEN_AFTER,
};

/// A node that named something, as the table knows it: keyed hashes of its net and of its address.
/// The order means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Sponsor {
    net: u32,
    node: u32,
}

/// The cells of the account of a hash: three of the eight of a group, so that all of them are in
/// two cache lines.
fn places(hash: u32) -> [usize; 3] {
    let group = (hash >> (32 - STANDING_BITS + 3) << 3) as usize;
    let first = hash & 7;
    // A step of one to seven is never back at the first, and the third is one of the other six.
    let step = 1 + (hash >> 3) % 7;
    let third = (1..8).filter(|other| *other != step).nth((hash >> 6) as usize % 6).unwrap_or(0);
    [0, step, third].map(|offset| group + ((first + offset) & 7) as usize)
}

impl Sponsor {
    /// Whether both are of one net: then they count as one source.
    pub(crate) fn shares_net(self, other: Self) -> bool {
        self.net == other.net
    }

    /// Bytes that tell it from others.
    pub(crate) fn key(self) -> [u8; 4] {
        self.node.to_be_bytes()
    }
}

/// What a node's account says besides its debt.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    debt: i32,
    /// Charged beforehand for what is under way, by [`Use`].
    reserved: [u32; 2],
    /// Visits that brought new infohashes since one of its infohashes was verified.
    unpaid_visits: u8,
}

impl Account {
    fn reserved_for(&self, purpose: Use) -> i64 {
        i64::from(self.reserved[purpose as usize])
    }
}

/// What a reserve is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Dial,
    /// It counts only where jobs are given out: else a source would wait longer for each connection
    /// the more jobs it was given.
    Job,
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
    purpose: Use,
}

impl Reserve {
    /// To whom it is charged.
    pub(crate) fn payers(self) -> impl Iterator<Item = Sponsor> {
        self.sponsor.into_iter().chain(self.namer)
    }

    /// What the one deepest in debt of all whom it concerns owes besides.
    pub(crate) fn debt_besides(self, standing: &Standing) -> i64 {
        let own = 2 * i64::from(self.millis); // in each of two accounts
        let owed = self.payers().map(|payer| standing.debt(payer) - own).max();
        owed.unwrap_or(i64::MIN)
    }
}

/// The accounts.
#[derive(Debug)]
pub(crate) struct Standing {
    policy: AddressPolicy,
    keys: [KeyedState; 2],
    nets: Box<[Account]>,
    nodes: Box<[Account]>,
    /// What all reserves that are not settled come to.
    reserved: u64,
    /// How often all debts were halved.
    halvings: u64,
}

impl Standing {
    pub(crate) fn new(policy: AddressPolicy, mut rng: Rng) -> Self {
        Self {
            policy,
            keys: [KeyedState::new(&mut rng), KeyedState::new(&mut rng)],
            nets: vec![Account::default(); 1 << STANDING_BITS].into(),
            nodes: vec![Account::default(); 1 << STANDING_BITS].into(),
            reserved: 0,
            halvings: 0,
        }
    }

    /// The sponsor at an address.
    pub(crate) fn sponsor(&self, addr: SocketAddr) -> Sponsor {
        let address = address_key(self.policy, addr);
        let net = match (self.policy, prefix(addr, NETWORK_OF_PEERS)) {
            (AddressPolicy::AllowPrivate, _) => self.keys[0].hash_one(address),
            (AddressPolicy::Public, IpAddr::V4(ip)) => self.keys[0].hash_one(ip.octets()),
            (AddressPolicy::Public, IpAddr::V6(ip)) => self.keys[0].hash_one(ip.octets()),
        };
        let [net, node] = [net, self.keys[1].hash_one(address)].map(|hash| hash as u32);
        Sponsor { net, node }
    }

    /// What was spent in vain for what `sponsor` named and what its connections are costing, in
    /// milliseconds; below zero for credit.
    pub(crate) fn debt(&self, sponsor: Sponsor) -> i64 {
        self.sum(sponsor, |account| i64::from(account.debt) + account.reserved_for(Use::Dial))
    }

    /// What was spent in vain for what `sponsor` named, without what is under way.
    pub(crate) fn spent(&self, sponsor: Sponsor) -> i64 {
        self.sum(sponsor, |account| i64::from(account.debt))
    }

    /// Its debt with what its jobs under way are charged: by this jobs are given out.
    pub(crate) fn debt_with_jobs(&self, sponsor: Sponsor) -> i64 {
        self.sum(sponsor, |account| {
            let reserved = account.reserved_for(Use::Dial) + account.reserved_for(Use::Job);
            i64::from(account.debt) + reserved
        })
    }

    /// Whether more was spent in vain for `sponsor` than the odd failure costs.
    pub(crate) fn is_deep_in_debt(&self, sponsor: Sponsor) -> bool {
        self.spent(sponsor) > DEBT_DEEP
    }

    /// What both accounts say together, each by the cell that says least.
    fn sum(&self, sponsor: Sponsor, says: impl Fn(&Account) -> i64) -> i64 {
        let least = |cells: &[Account], hash: u32| {
            let [one, two, three] = places(hash).map(|place| says(&cells[place]));
            one.min(two).min(three)
        };
        least(&self.nets, sponsor.net) + least(&self.nodes, sponsor.node)
    }

    /// Changes every cell of both accounts.
    fn each(&mut self, sponsor: Sponsor, change: impl Fn(&mut Account)) {
        for place in places(sponsor.net) {
            change(&mut self.nets[place]);
        }
        for place in places(sponsor.node) {
            change(&mut self.nodes[place]);
        }
    }

    /// Halves all debts and credits if it is time: old merits and old faults fade.
    pub(crate) fn advance(&mut self, now: Instant) {
        let due = now.as_micros() / DEBT_HALVED_EVERY.as_micros() as u64;
        let times = due.saturating_sub(self.halvings).min(31) as u32;
        if times > 0 {
            let all = self.nets.iter_mut().chain(self.nodes.iter_mut());
            let forgiven = (due / VISITS_FORGIVEN_AFTER) - (self.halvings / VISITS_FORGIVEN_AFTER);
            let forgiven = u8::try_from(forgiven).unwrap_or(u8::MAX);
            all.for_each(|account| {
                account.debt /= 1 << times.min(30);
                account.unpaid_visits = account.unpaid_visits.saturating_sub(forgiven);
            });
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
        let mut reserve = Reserve { sponsor, namer, millis: 0, purpose: Use::Dial };
        self.raise(&mut reserve, cost);
        reserve
    }

    /// Charges beforehand what a job costs while it is under way.
    pub(crate) fn reserve_job(&mut self, sponsor: Option<Sponsor>) -> Reserve {
        let mut reserve = Reserve { sponsor, namer: None, millis: 0, purpose: Use::Job };
        self.raise(&mut reserve, JOB_RESERVE);
        reserve
    }

    /// What is under way takes longer than was thought.
    pub(crate) fn raise(&mut self, reserve: &mut Reserve, by: Duration) {
        let more = u32::try_from(by.as_millis()).unwrap_or(u32::MAX).min(DEBT_MAX as u32);
        reserve.millis = reserve.millis.saturating_add(more);
        self.reserved += u64::from(more);
        for payer in reserve.payers() {
            self.each(payer, |account| {
                let reserved = &mut account.reserved[reserve.purpose as usize];
                *reserved = reserved.saturating_add(more);
            });
        }
    }

    /// Something is over: charges what it has cost in stead of what was reserved.
    pub(crate) fn settle(&mut self, reserve: Reserve, cost: Duration) {
        self.reserved = self.reserved.saturating_sub(u64::from(reserve.millis));
        for payer in reserve.payers() {
            self.each(payer, |account| {
                let reserved = &mut account.reserved[reserve.purpose as usize];
                *reserved = reserved.saturating_sub(reserve.millis);
            });
            self.charge(payer, cost);
        }
    }

    /// An infohash that `sponsor` named was verified: pays back what was `spent` for it, and more.
    pub(crate) fn pay(&mut self, sponsor: Sponsor, spent: Duration) {
        let back = i32::try_from((spent + CREDIT).as_millis()).unwrap_or(i32::MAX);
        self.change(sponsor, -back);
        for place in places(sponsor.node) {
            self.nodes[place].unpaid_visits = 0;
        }
    }

    /// The node was visited; `brought` new infohashes, or none. For how long it rests at least: no
    /// source is visited more often than its yield pays for (H19).
    pub(crate) fn on_visit(&mut self, sponsor: Sponsor, brought: bool) -> Duration {
        let mut unpaid = places(sponsor.node).map(|place| self.nodes[place].unpaid_visits);
        unpaid.sort_unstable();
        // A payment clears a cell: the least would be that of any neighbour who earns.
        let [_, unpaid, _] = unpaid;
        for place in places(sponsor.node) {
            let visits = &mut self.nodes[place].unpaid_visits;
            *visits = visits.saturating_add(u8::from(brought));
        }
        INTERVAL_MIN.saturating_mul(1 << unpaid.min(16)).min(INTERVAL_MAX)
    }

    fn change(&mut self, sponsor: Sponsor, by: i32) {
        let least = -(CREDIT_MAX.as_millis() as i32);
        self.each(sponsor, |account| {
            account.debt = account.debt.saturating_add(by).clamp(least, DEBT_MAX);
        });
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn node(net: u8, host: u8) -> SocketAddr {
        SocketAddr::from(([20, 0, net, host], 6_881))
    }

    #[test]
    fn nodes_of_one_net_share_half_of_their_debts_and_ports_share_all() {
        let mut standing = Standing::blank();
        let of = |standing: &Standing, addr| standing.debt(standing.sponsor(addr));
        standing.charge(standing.sponsor(node(1, 1)), 10 * SECOND);
        assert_eq!(of(&standing, node(1, 1)), 20_000);
        assert_eq!(of(&standing, node(1, 2)), 10_000, "its net's");
        assert_eq!(of(&standing, node(2, 1)), 0);
        assert_eq!(of(&standing, SocketAddr::from(([20, 0, 1, 1], 7_000))), 20_000);
    }

    #[test]
    fn a_node_that_shares_a_cell_with_one_in_debt_is_not_held_to_it() {
        let mut standing = Standing::blank();
        let debtor = standing.sponsor(node(1, 1));
        let near = |hash: u32| {
            (1..).map(|n: u32| hash ^ n).find(|other| {
                let shared = places(*other).into_iter().filter(|cell| places(hash).contains(cell));
                (1..3).contains(&shared.count())
            })
        };
        let neighbour = Sponsor {
            net: near(debtor.net).expect("they share a cell"),
            node: near(debtor.node).expect("they share a cell"),
        };
        let twin = Sponsor { net: debtor.net, ..neighbour };
        standing.charge(debtor, 10 * SECOND);
        let owed = [debtor, neighbour, twin].map(|sponsor| standing.debt(sponsor));
        assert_eq!(owed, [20_000, 0, 10_000]);
    }

    #[test]
    fn an_account_has_three_cells_of_one_group() {
        for hash in (0..10_000_u32).map(|n| n.wrapping_mul(0x9e37_79b1)) {
            let [one, two, three] = places(hash);
            assert!(one != two && two != three && three != one, "{hash}");
            assert!([one, two, three].iter().all(|cell| cell / 8 == one / 8), "{hash}");
            assert!(one < 1 << STANDING_BITS, "{hash}");
        }
    }

    #[test]
    fn what_is_under_way_is_charged_at_once_and_what_it_cost_in_the_end() {
        let mut standing = Standing::blank();
        let [one, other] = [node(1, 1), node(2, 1)].map(|addr| standing.sponsor(addr));
        let mut reserve = standing.reserve(Some(one), Some(other), 8 * SECOND);
        standing.raise(&mut reserve, 2 * SECOND);
        assert_eq!((standing.debt(one), standing.debt(other)), (20_000, 20_000));
        assert!(!standing.is_deep_in_debt(one), "nothing was in vain yet");
        standing.check([reserve].into_iter());
        standing.settle(reserve, 3 * SECOND);
        assert_eq!((standing.debt(one), standing.debt(other)), (6_000, 6_000));
        standing.check(std::iter::empty());
        let same = standing.reserve(Some(one), Some(one), SECOND);
        assert_eq!(standing.debt(one), 8_000, "once, although it named both");
        standing.settle(same, Duration::ZERO);
    }

    #[test]
    fn a_verified_result_pays_back_what_was_spent_and_a_bounded_credit() {
        let mut standing = Standing::blank();
        let sponsor = standing.sponsor(node(1, 1));
        standing.charge(sponsor, 100 * SECOND);
        standing.pay(sponsor, 100 * SECOND);
        assert_eq!(standing.debt(sponsor), -60_000, "30 s in each account");
        for _ in 0..10 {
            standing.pay(sponsor, Duration::ZERO);
        }
        assert_eq!(standing.debt(sponsor), -120_000, "60 s in each");
        standing.charge(sponsor, Duration::MAX);
        standing.charge(sponsor, Duration::MAX);
        assert_eq!(standing.debt(sponsor), 2 * 3_600_000, "an hour in each");
    }

    #[test]
    fn every_ten_minutes_debts_are_halved_however_often_that_is_looked_at() {
        let mut standing = Standing::blank();
        let sponsor = standing.sponsor(node(1, 1));
        standing.charge(sponsor, 8 * SECOND);
        let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
        for (second, debt) in [(599, 16_000), (600, 8_000), (1_199, 8_000), (1_800, 2_000)] {
            standing.advance(at(second));
            standing.advance(at(second));
            assert_eq!(standing.debt(sponsor), debt, "{second}");
        }
    }

    #[test]
    fn h19_the_rest_doubles_with_each_visit_that_came_to_nothing_until_one_infohash_is_verified() {
        let mut standing = Standing::blank();
        let sponsor = standing.sponsor(node(1, 1));
        let mut visit = |brought| standing.on_visit(sponsor, brought).as_secs();
        assert_eq!([true, false, true, true].map(&mut visit), [300, 600, 600, 1_200]);
        assert_eq!([true; 4].map(&mut visit), [2_400, 4_800, 9_600, 19_200]);
        assert_eq!([true; 20].map(&mut visit), [21_600; 20]);
        standing.pay(sponsor, Duration::ZERO);
        assert_eq!(standing.on_visit(sponsor, true).as_secs(), 300);
    }
}
