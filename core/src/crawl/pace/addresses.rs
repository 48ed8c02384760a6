//! Datagrams to one address. Must never let more than [`ADDRESS_PER_TEN_SECONDS`] to one of them go
//! out in any 10 s, whatever an option says.

use std::net::SocketAddr;

use super::allowances::Allowances;
use crate::base::addr::{AddressPolicy, address_key};
use crate::base::planted::{self, Bug};
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::limits::{ADDRESS_BURST, ADDRESS_CELLS, ADDRESS_PER_TEN_SECONDS};

/// What each address may get: [`ADDRESS_BURST`] datagrams at once, never more than
/// [`ADDRESS_PER_TEN_SECONDS`] in 10 s.
#[derive(Clone, Debug)]
pub(crate) struct AddressPacer {
    policy: AddressPolicy,
    allowances: Allowances,
}

impl AddressPacer {
    const PERIOD: u64 = 10_000_000;

    /// A fresh table: every address has its full burst.
    pub(crate) fn new(policy: AddressPolicy, rng: &mut Rng) -> Self {
        let (burst, most) = (ADDRESS_BURST, ADDRESS_PER_TEN_SECONDS);
        let allowances = Allowances::new(burst, most, Self::PERIOD, ADDRESS_CELLS, rng);
        Self { policy, allowances }
    }

    /// Whether `to` may get a datagram at `now`, or when.
    pub(crate) fn ready(&self, now: Instant, to: SocketAddr) -> Result<(), Instant> {
        if planted::is(Bug::NoAddressPacing) {
            return Ok(());
        }
        self.allowances.ready(now, &address_key(self.policy, to))
    }

    /// Counts a datagram to `to`.
    pub(crate) fn take(&mut self, now: Instant, to: SocketAddr) {
        self.allowances.take(now, &address_key(self.policy, to));
    }
}

const _: () = assert!(ADDRESS_BURST > 0 && ADDRESS_BURST < ADDRESS_PER_TEN_SECONDS);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Seed;
    use crate::crawl::pace::testing::{drive, most_in_a_window};

    #[test]
    fn h10_an_address_gets_its_burst_and_never_more_than_forty_in_ten_seconds() {
        let rng = &mut Rng::new(Seed::from_u64(1));
        let mut pacer = AddressPacer::new(AddressPolicy::Public, rng);
        let to = "8.8.8.8:1".parse().expect("address");
        let sent = drive(60_000_000, |now| pacer.ready(now, to).map(|()| pacer.take(now, to)));
        assert_eq!(sent.iter().filter(|at| **at == 0).count(), 22);
        assert_eq!(most_in_a_window(&sent, 10_000_000), 40);
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
}
