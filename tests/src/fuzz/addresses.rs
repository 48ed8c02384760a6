//! Addresses by the registries' own words: which some host can have, and which the public network
//! carries. Knows nothing of the policy that it judges, and must say exactly what that says.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Networks that no host on the public network can be reached in: those of IANA's special-purpose
/// registries (RFC 6890) that are not globally reachable, and what 6to4 relays had (RFC 7526).
const CLOSED_V4: [&str; 15] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
];

/// The same of what IANA gave out as global unicast, 2000::/3: protocol assignments, Teredo among
/// them (RFC 2928), and two for documentation (RFC 3849, RFC 9637).
const CLOSED_V6: [&str; 3] = ["2001::/23", "2001:db8::/32", "3fff::/20"];

/// Whether some host can have this address, be it in a network of one's own.
pub(super) fn may_be_owned(addr: SocketAddr) -> bool {
    let nobodys: &[&str] = match addr.ip() {
        IpAddr::V4(_) => &["0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4"],
        // What carries an IPv4 address is that host's other name, which no socket of ours uses.
        IpAddr::V6(Ipv6Addr::LOCALHOST) => &[],
        IpAddr::V6(_) => &["::/96", "::ffff:0:0/96", "ff00::/8"],
    };
    addr.port() != 0 && !is_in(addr.ip(), nobodys)
}

/// Whether a host of the public network can have this address.
pub(super) fn is_routable(addr: SocketAddr) -> bool {
    let ip = addr.ip();
    addr.port() != 0
        && match ip {
            IpAddr::V4(_) => !is_in(ip, &CLOSED_V4),
            IpAddr::V6(_) => is_in(ip, &["2000::/3"]) && !is_in(ip, &CLOSED_V6),
        }
}

fn is_in(ip: IpAddr, networks: &[&str]) -> bool {
    networks.iter().any(|network| holds(network, ip))
}

/// Whether a network in CIDR notation holds `ip`, bit by bit.
fn holds(network: &str, ip: IpAddr) -> bool {
    let (front, bits) = network.split_once('/').expect("an address and a length");
    let front: IpAddr = front.parse().expect("an address");
    let bits: usize = bits.parse().expect("a length");
    let (front, ip) = match (front, ip) {
        (IpAddr::V4(front), IpAddr::V4(ip)) => (front.octets().to_vec(), ip.octets().to_vec()),
        (IpAddr::V6(front), IpAddr::V6(ip)) => (front.octets().to_vec(), ip.octets().to_vec()),
        _ => return false,
    };
    (0..bits).all(|at| (front[at / 8] ^ ip[at / 8]) & (0x80 >> (at % 8)) == 0)
}
