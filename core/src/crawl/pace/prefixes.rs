//! Connections to one neighbourhood of addresses. Must never let more than
//! [`PER_PREFIX_A_MINUTE`] to one of them begin in any minute.

use std::net::{IpAddr, SocketAddr};

use super::allowances::Allowances;
use crate::base::addr::{NETWORK_OF_PEERS, prefix};
use crate::base::rng::Rng;
use crate::base::time::Instant;
use crate::limits::{PER_PREFIX_A_MINUTE, PREFIX_CELLS};

/// What each /24 or /48 may get: thirty dials a minute, half of them at once, the rest spread.
#[derive(Clone, Debug)]
pub(crate) struct PrefixPacer(Allowances);

impl PrefixPacer {
    const BURST: u64 = PER_PREFIX_A_MINUTE / 2;
    const PERIOD: u64 = 60_000_000;

    /// A fresh table: every prefix has its full burst.
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let (burst, most) = (Self::BURST, PER_PREFIX_A_MINUTE);
        Self(Allowances::new(burst, most, Self::PERIOD, PREFIX_CELLS, rng))
    }

    /// Whether a dial to `to` may begin at `now`.
    pub(crate) fn is_ready(&self, now: Instant, to: SocketAddr) -> bool {
        self.0.ready(now, &key(to)).is_ok()
    }

    /// Counts a dial to `to`.
    pub(crate) fn take(&mut self, now: Instant, to: SocketAddr) {
        self.0.take(now, &key(to));
    }
}

/// The bytes of the prefix, and one for its family.
fn key(addr: SocketAddr) -> [u8; 7] {
    let mut key = [0; 7];
    match prefix(addr, NETWORK_OF_PEERS) {
        IpAddr::V4(ip) => key[..3].copy_from_slice(&ip.octets()[..3]),
        IpAddr::V6(ip) => {
            key[..6].copy_from_slice(&ip.octets()[..6]);
            key[6] = 1;
        }
    }
    key
}

const _: () = assert!(PrefixPacer::BURST > 0 && PrefixPacer::BURST < PER_PREFIX_A_MINUTE);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Seed;
    use crate::crawl::pace::testing::{drive, most_in_a_window};

    #[test]
    fn a_prefix_gets_half_its_dials_at_once_and_never_more_than_thirty_in_a_minute() {
        for (one, other, outside) in [
            ("8.8.8.1:1", "8.8.8.200:9", "8.8.9.1:1"),
            ("[2a00:1:2:3::1]:1", "[2a00:1:2:ffff::9]:9", "[2a00:1:3::1]:1"),
        ] {
            let [one, other, outside] = [one, other, outside].map(|a| a.parse().expect("address"));
            let mut pacer = PrefixPacer::new(&mut Rng::new(Seed::from_u64(1)));
            let mut turn = 0;
            let dialled = drive(300_000_000, |now| {
                turn += 1;
                let to = if turn % 2 == 0 { one } else { other };
                pacer.0.ready(now, &key(to)).map(|()| pacer.take(now, to))
            });
            let at_once = dialled.iter().filter(|at| **at == 0).count();
            assert_eq!(at_once as u64, PER_PREFIX_A_MINUTE / 2);
            let most = most_in_a_window(&dialled, 60_000_000) as u64;
            assert!((PER_PREFIX_A_MINUTE - 1..=PER_PREFIX_A_MINUTE).contains(&most), "{most}");
            let last = Instant::from_micros(*dialled.last().expect("some"));
            assert!(!pacer.is_ready(last, one) && !pacer.is_ready(last, other));
            assert!(pacer.is_ready(last, outside));
        }
    }
}
