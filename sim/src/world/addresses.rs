//! Where residents live: a plan of addresses maps slots, counted from 0, to addresses and back.
//!
//! [`Loopback`] gives each slot the next address of 127/8, for `swarm`. The public plans
//! scatter slots over globally routable space, keyed by the seed: in IPv4 the first million slots
//! have a /24 each, in IPv6 every slot has a /48, so that rules per network see strangers. Nothing
//! here knows who lives in a slot. No public address is ever sent a real packet: they exist in the
//! virtual internet only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use estudely_core::Family;

use crate::world::draw::draw;

/// The /8s that residents are scattered over: none holds a special range (RFC 6890).
const NETS_V4: [u8; 16] = [2, 5, 23, 31, 37, 41, 46, 62, 77, 78, 80, 84, 86, 91, 93, 109];
/// The /16s of 2000::/3 that residents are scattered over.
const NETS_V6: [u16; 4] = [0x2400, 0x2600, 0x2804, 0x2a02];
/// Networks without any resident: invented contacts and forged sources come from there.
const NOBODY_V4: [u8; 2] = [94, 95];
const NOBODY_V6: u16 = 0x2a03;
/// The same on loopback: the last sixteenth of 127/8, where a world with hostile nodes must not
/// reach.
const NOBODY_LOOPBACK: u8 = 240;
/// The crawler's own addresses, in networks of their own.
const OWN_V4: Ipv4Addr = Ipv4Addr::new(88, 198, 17, 5);
const OWN_V6: Ipv6Addr = Ipv6Addr::new(0x2a01, 0x4f8, 0x17, 0x5, 0, 0, 0, 0x42);
/// The port most clients had for years; one resident in four has it, and the crawler.
const USUAL_PORT: u16 = 6_881;
/// Bits of a slot that choose its /24.
pub(crate) const NET_BITS: u32 = 20;
/// Hosts of a /24 without .0 and .255.
const HOSTS: u32 = 254;

/// Addresses for `swarm`: one each from `base` upwards, one port for all that listens, but for peers that
/// take uTP alone: see `swarm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loopback {
    /// The first address.
    pub base: Ipv4Addr,
    /// Where nodes and peers listen.
    pub port: u16,
    /// Where a connection is refused.
    pub refusing_port: u16,
    /// Where a connection never completes.
    pub silent_port: u16,
}

/// A plan of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// Consecutive real addresses of this machine; ports say what a dialler meets.
    Loopback(Loopback),
    /// Scattered globally routable addresses of one family, each with a port of its own.
    Public(Family),
}

impl Addresses {
    /// The family of all its addresses.
    pub const fn family(&self) -> Family {
        match self {
            Self::Loopback(_) => Family::V4,
            Self::Public(family) => *family,
        }
    }

    /// How many slots there are.
    pub fn capacity(&self) -> u64 {
        match self {
            Self::Loopback(plan) => {
                let loopback_end = Ipv4Addr::new(127, 255, 255, 254);
                let last = if plan.base.is_loopback() { loopback_end } else { Ipv4Addr::BROADCAST };
                u64::from(u32::from(last) - u32::from(plan.base)) + 1
            }
            Self::Public(Family::V4) => u64::from(HOSTS << NET_BITS),
            Self::Public(Family::V6) => 1 << 32,
        }
    }

    /// The address of `slot`, which must be below [`capacity`](Self::capacity).
    pub fn ip(&self, seed: u64, slot: u32) -> IpAddr {
        match self {
            Self::Loopback(plan) => Ipv4Addr::from(u32::from(plan.base) + slot).into(),
            Self::Public(Family::V4) => public_v4(seed, slot).into(),
            Self::Public(Family::V6) => public_v6(seed, slot).into(),
        }
    }

    /// The slot whose address this is.
    pub fn slot(&self, seed: u64, ip: IpAddr) -> Option<u32> {
        let slot = match (self, ip) {
            (Self::Loopback(plan), IpAddr::V4(ip)) => {
                return u32::from(ip).checked_sub(u32::from(plan.base));
            }
            (Self::Public(Family::V4), IpAddr::V4(ip)) => slot_v4(seed, ip)?,
            (Self::Public(Family::V6), IpAddr::V6(ip)) => {
                let [_, high, low, ..] = ip.segments();
                unscramble(seed, 16, u32::from(high) << 16 | u32::from(low))
            }
            _ => return None,
        };
        (self.ip(seed, slot) == ip).then_some(slot)
    }

    /// The port on which the resident of `slot` listens.
    pub fn port(&self, seed: u64, slot: u32) -> u16 {
        match self {
            Self::Loopback(plan) => plan.port,
            Self::Public(_) => match mix(seed ^ 0x706f_7274, u64::from(slot)) {
                hash if hash & 3 == 0 => USUAL_PORT,
                hash => 1_024 + ((hash >> 8) % (65_536 - 1_024)) as u16,
            },
        }
    }

    /// Both.
    pub fn addr(&self, seed: u64, slot: u32) -> SocketAddr {
        SocketAddr::new(self.ip(seed, slot), self.port(seed, slot))
    }

    /// Empty address number `index` where this plan's nodes could be. On loopback it is one of this
    /// machine's, so that nothing is sent to any other.
    pub fn nobody(&self, seed: u64, index: u64) -> SocketAddr {
        match self {
            Self::Loopback(_) => {
                let mut draw = draw(seed, "nobody", index);
                let net = draw.u8(NOBODY_LOOPBACK..);
                let ip = Ipv4Addr::new(127, net, draw.u8(..), draw.u8(1..255));
                SocketAddr::new(ip.into(), draw.u16(1_024..))
            }
            Self::Public(family) => nobody(*family, seed, index),
        }
    }
}

/// The crawler's own public address: no slot has it.
pub fn own(family: Family) -> SocketAddr {
    match family {
        Family::V4 => SocketAddr::new(OWN_V4.into(), USUAL_PORT),
        Family::V6 => SocketAddr::new(OWN_V6.into(), USUAL_PORT),
    }
}

/// Empty public address number `index`: globally routable, and no slot has it.
pub fn nobody(family: Family, seed: u64, index: u64) -> SocketAddr {
    let mut draw = draw(seed, "nobody", index);
    let port = draw.u16(1_024..);
    let ip: IpAddr = match family {
        Family::V4 => {
            let net = NOBODY_V4[draw.usize(0..NOBODY_V4.len())];
            Ipv4Addr::new(net, draw.u8(..), draw.u8(..), draw.u8(1..255)).into()
        }
        Family::V6 => {
            let mut segments = [0; 8];
            segments.fill_with(|| draw.u16(..));
            segments[0] = NOBODY_V6;
            Ipv6Addr::from(segments).into()
        }
    };
    SocketAddr::new(ip, port)
}

fn public_v4(seed: u64, slot: u32) -> Ipv4Addr {
    let net = scramble(seed, NET_BITS / 2, slot & ((1 << NET_BITS) - 1));
    let host = 1 + (first_host(seed, net) + (slot >> NET_BITS)) % HOSTS;
    let [_, _, b, c] = net.to_be_bytes();
    Ipv4Addr::new(NETS_V4[(net >> 16) as usize], b, c, host as u8)
}

fn slot_v4(seed: u64, ip: Ipv4Addr) -> Option<u32> {
    let [a, b, c, host] = ip.octets();
    let index = NETS_V4.iter().position(|&net| net == a)? as u32;
    let net = index << 16 | u32::from(b) << 8 | u32::from(c);
    let host = u32::from(host).checked_sub(1).filter(|&host| host < HOSTS)?;
    let layer = (host + HOSTS - first_host(seed, net)) % HOSTS;
    Some(layer << NET_BITS | unscramble(seed, NET_BITS / 2, net))
}

/// Which host of a /24 its first resident is.
fn first_host(seed: u64, net: u32) -> u32 {
    (mix(seed ^ 0x686f_7374, u64::from(net)) % u64::from(HOSTS)) as u32
}

fn public_v6(seed: u64, slot: u32) -> Ipv6Addr {
    let place = scramble(seed, 16, slot);
    let rest = mix(seed ^ 0x686f_7374, u64::from(place));
    let net = u128::from(NETS_V6[(rest % NETS_V6.len() as u64) as usize]);
    let subnet = u128::from(rest >> 16 & 0xff);
    let host = u128::from(mix(rest, 1));
    Ipv6Addr::from(net << 112 | u128::from(place) << 80 | subnet << 64 | host)
}

/// A permutation of the numbers of `2 * half` bits: a Feistel network of four rounds.
fn scramble(seed: u64, half: u32, value: u32) -> u32 {
    let mask = (1 << half) - 1;
    let (mut left, mut right) = (value >> half & mask, value & mask);
    for round in 0..4 {
        (left, right) = (right, left ^ (round_of(seed, round, right) & mask));
    }
    left << half | right
}

/// Its inverse.
fn unscramble(seed: u64, half: u32, value: u32) -> u32 {
    let mask = (1 << half) - 1;
    let (mut left, mut right) = (value >> half & mask, value & mask);
    for round in (0..4).rev() {
        (left, right) = (right ^ (round_of(seed, round, left) & mask), left);
    }
    left << half | right
}

fn round_of(seed: u64, round: u64, half: u32) -> u32 {
    (mix(seed, round << 32 | u64::from(half)) >> 20) as u32
}

/// The finalizer of SplitMix64 over both: well spread, and the same everywhere.
pub(crate) fn mix(seed: u64, value: u64) -> u64 {
    let mut hash = seed ^ value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use estudely_core::AddressPolicy;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_slot_has_a_public_address_that_leads_back(
            seed in any::<u64>(), slot in any::<u32>(),
        ) {
            for family in Family::ALL {
                let plan = Addresses::Public(family);
                let slot = (u64::from(slot) % plan.capacity()) as u32;
                let addr = plan.addr(seed, slot);
                prop_assert!(AddressPolicy::Public.admits_node(addr), "{}", addr);
                prop_assert_eq!(Family::of(addr), family);
                prop_assert_eq!(plan.slot(seed, addr.ip()), Some(slot));
            }
        }

        #[test]
        fn nobody_and_the_crawler_live_in_no_slot(seed in any::<u64>(), index in any::<u64>()) {
            for family in Family::ALL {
                let plan = Addresses::Public(family);
                for addr in [nobody(family, seed, index), own(family)] {
                    prop_assert!(AddressPolicy::Public.admits_node(addr), "{}", addr);
                    prop_assert_eq!(plan.slot(seed, addr.ip()), None);
                }
            }
        }
    }

    #[test]
    fn nobody_of_a_loopback_world_is_on_this_machine_and_at_no_resident_of_it() {
        let base = Ipv4Addr::new(127, 16, 0, 0);
        let plan = Loopback { base, port: 1, refusing_port: 2, silent_port: 3 };
        for index in 0..1_000 {
            let addr = Addresses::Loopback(plan).nobody(7, index);
            let IpAddr::V4(ip) = addr.ip() else { panic!("{addr}") };
            assert!(ip.is_loopback() && ip.octets()[1] >= NOBODY_LOOPBACK, "{addr}");
            assert!(addr.port() >= 1_024);
        }
    }

    #[test]
    fn no_two_of_the_first_slots_share_a_network() {
        let (mut nets, mut prefixes, mut ports) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for slot in 0..20_000 {
            let IpAddr::V4(v4) = Addresses::Public(Family::V4).ip(9, slot) else { panic!() };
            assert!(nets.insert(u32::from(v4) >> 8));
            let IpAddr::V6(v6) = Addresses::Public(Family::V6).ip(9, slot) else { panic!() };
            assert!(prefixes.insert(u128::from(v6) >> 80));
            ports.insert(Addresses::Public(Family::V4).port(9, slot));
        }
        let eighths: BTreeSet<_> = nets.iter().map(|net| net >> 16).collect();
        assert_eq!(eighths.len(), NETS_V4.len());
        assert!(ports.len() > 1_000 && ports.contains(&USUAL_PORT));
    }
}
