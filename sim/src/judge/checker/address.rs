//! The checker's own idea of addresses: which may be sent to, and which count as one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// 64 bits that stand for a thing seen. Not secret: the checker has no adversary.
pub(super) fn key(parts: &[&[u8]]) -> u64 {
    let mut hash = 0x9e37_79b9_7f4a_7c15_u64;
    for part in parts {
        for chunk in part.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(0xff51_afd7_ed55_8ccd);
            hash ^= hash >> 32;
        }
        hash = hash.wrapping_add(part.len() as u64).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^= hash >> 29;
    }
    hash
}

/// Stands for an IP address.
pub(super) fn ip_key(addr: SocketAddr) -> u64 {
    match addr.ip() {
        IpAddr::V4(ip) => key(&[&ip.octets()]),
        IpAddr::V6(ip) => key(&[&ip.octets()]),
    }
}

/// Stands for an IP address and port.
pub(super) fn endpoint_key(addr: SocketAddr) -> u64 {
    key(&[&ip_key(addr).to_le_bytes(), &addr.port().to_le_bytes()])
}

/// Stands for a /24 or /48: those that share an allowance of dials.
pub(super) fn prefix_key(addr: SocketAddr) -> u64 {
    match addr.ip() {
        IpAddr::V4(ip) => key(&[&ip.octets()[..3]]),
        IpAddr::V6(ip) => key(&[&ip.octets()[..6]]),
    }
}

/// 0 for IPv4, 1 for IPv6.
pub(super) fn family(addr: SocketAddr) -> usize {
    usize::from(addr.is_ipv6())
}

/// Why nothing may ever be sent to `addr` on the public network (H11), if so.
pub(super) fn inadmissible(addr: SocketAddr) -> Option<&'static str> {
    if addr.port() == 0 {
        return Some("port 0");
    }
    match addr.ip() {
        IpAddr::V4(ip) => inadmissible_v4(ip),
        IpAddr::V6(ip) => inadmissible_v6(ip),
    }
}

/// Networks in which no public host lives: address, prefix length, what it is (RFC 6890).
const MARTIANS_V4: [(u32, u32, &str); 15] = [
    (0x0000_0000, 8, "this network"),
    (0x0a00_0000, 8, "private"),
    (0x6440_0000, 10, "shared"),
    (0x7f00_0000, 8, "loopback"),
    (0xa9fe_0000, 16, "link-local"),
    (0xac10_0000, 12, "private"),
    (0xc000_0000, 24, "protocol assignments"),
    (0xc000_0200, 24, "documentation"),
    (0xc058_6300, 24, "6to4 relay"),
    (0xc0a8_0000, 16, "private"),
    (0xc612_0000, 15, "benchmarking"),
    (0xc633_6400, 24, "documentation"),
    (0xcb00_7100, 24, "documentation"),
    (0xe000_0000, 4, "multicast"),
    (0xf000_0000, 4, "reserved or broadcast"),
];

fn inadmissible_v4(ip: Ipv4Addr) -> Option<&'static str> {
    let within = |net: u32, bits: u32| (u32::from(ip) ^ net) >> (32 - bits) == 0;
    MARTIANS_V4.iter().find(|(net, bits, _)| within(*net, *bits)).map(|(_, _, what)| *what)
}

fn inadmissible_v6(ip: Ipv6Addr) -> Option<&'static str> {
    let bits = u128::from(ip);
    if bits >> 125 != 0b001 {
        return Some("not global unicast");
    }
    match bits >> 96 {
        0x2001_0db8 | 0x3fff_0000..=0x3fff_0fff => Some("documentation"),
        0x2001_0000..=0x2001_01ff => Some("protocol assignments"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use estudely_core::AddressPolicy;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_two_filters_agree(
            bits in any::<u32>(), low in any::<u128>(), net in 0..20_usize, port in 0..3_u16,
        ) {
            let near = MARTIANS_V4.get(net).map_or(bits, |(net, ..)| net.wrapping_add(bits % 512).wrapping_sub(128));
            let v4 = SocketAddr::new(Ipv4Addr::from(near).into(), port);
            let tops = [0x2001_0db8, 0x2001_0000, 0x2001_01ff, 0x2001_0200, 0x2a00_0000, 0xfe80_0000, 0, 0x3fff_0fff, 0x3fff_1000];
            let v6 = SocketAddr::new(Ipv6Addr::from(tops[net % tops.len()] << 96 | low >> 32).into(), port);
            for addr in [v4, v6] {
                prop_assert_eq!(inadmissible(addr).is_none(), AddressPolicy::Public.admits(addr), "{}", addr);
            }
        }
    }
}
