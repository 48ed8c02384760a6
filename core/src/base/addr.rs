//! Addresses as the wire carries them: compact peers and nodes of both families (BEP 5, BEP 32),
//! and the filter that keeps unusable ones out (catalogue H11).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::base::id::{ID_LEN, NodeId};
use crate::base::planted::{self, Bug};

/// One of the two separate DHTs (BEP 32).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4: compact peers of 6 bytes, nodes of 26.
    V4,
    /// IPv6: compact peers of 18 bytes, nodes of 38.
    V6,
}

impl Family {
    /// Both families, in the order everything serves them.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub fn of(addr: SocketAddr) -> Self {
        if addr.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Bytes of a compact peer: address and port.
    pub const fn peer_len(self) -> usize {
        match self {
            Self::V4 => 6,
            Self::V6 => 18,
        }
    }

    /// Bytes of a compact node: id and compact peer.
    pub const fn node_len(self) -> usize {
        ID_LEN + self.peer_len()
    }

    /// 0 or 1, for arrays with one place per family.
    pub const fn index(self) -> usize {
        match self {
            Self::V4 => 0,
            Self::V6 => 1,
        }
    }
}

/// A node as others name it: claimed id and address. Nothing about it is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contact {
    /// The id claimed for the node.
    pub id: NodeId,
    /// Where it is said to listen for UDP.
    pub addr: SocketAddr,
}

/// Reads a compact peer of exactly 6 or 18 bytes.
pub fn parse_peer(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_at_checked(bytes.len().checked_sub(2)?)?;
    let port = u16::from_be_bytes(port.try_into().ok()?);
    let ip = match ip.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Reads a compact node of exactly 26 or 38 bytes.
pub fn parse_node(bytes: &[u8]) -> Option<Contact> {
    let (id, peer) = bytes.split_at_checked(ID_LEN)?;
    Some(Contact { id: NodeId::from_slice(id)?, addr: parse_peer(peer)? })
}

/// Appends the compact form of `addr`: 6 or 18 bytes.
pub fn emit_peer(addr: SocketAddr, out: &mut Vec<u8>) {
    match addr.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&addr.port().to_be_bytes());
}

/// Appends the compact form of `contact`: 26 or 38 bytes.
pub fn emit_node(contact: Contact, out: &mut Vec<u8>) {
    out.extend_from_slice(&contact.id.0);
    emit_peer(contact.addr, out);
}

/// Which addresses heard from others may be used at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressPolicy {
    /// Only globally routable unicast (catalogue H11): the public network.
    Public,
    /// Also loopback, private, link-local and shared ranges: swarms of one's own.
    AllowPrivate,
}

impl AddressPolicy {
    /// Whether hearsay may name `addr`. Port 0, unspecified, multicast, broadcast and 240/4 never
    /// pass.
    pub fn admits(self, addr: SocketAddr) -> bool {
        addr.port() != 0
            && match addr.ip() {
                IpAddr::V4(ip) => self.admits_v4(ip),
                IpAddr::V6(ip) => self.admits_v6(ip),
            }
    }

    /// Whether a contact from hearsay may be sent datagrams: on the public network not to ports
    /// below 1024 either, where services live that did not ask for them (catalogue H10).
    pub fn admits_node(self, addr: SocketAddr) -> bool {
        self.admits(addr) && (self == Self::AllowPrivate || addr.port() >= 1_024)
            || planted::is(Bug::MartianContacts)
    }

    fn admits_v4(self, ip: Ipv4Addr) -> bool {
        let [a, b, c, _] = ip.octets();
        let never = a == 0 || a >= 224;
        let private = match (a, b) {
            (10 | 127, _) | (192, 168) | (169, 254) => true,
            (172, b) => (16..32).contains(&b),
            (100, b) => (64..128).contains(&b),
            _ => false,
        };
        let reserved = matches!(
            (a, b, c),
            (192, 0, 0 | 2) | (192, 88, 99) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113)
        );
        !never && (self == Self::AllowPrivate || !(private || reserved))
    }

    fn admits_v6(self, ip: Ipv6Addr) -> bool {
        let [first, second, ..] = ip.segments();
        let embedded_v4 =
            ip.to_ipv4_mapped().is_some() || (ip.to_ipv4().is_some() && !ip.is_loopback());
        let never = ip.is_unspecified() || first >= 0xff00 || embedded_v4;
        let global = first & 0xe000 == 0x2000;
        // Protocol assignments (RFC 2928), Teredo among them (BEP 32 asks not to use it), and
        // documentation (RFC 3849, RFC 9637).
        let reserved = first == 0x2001 && (second < 0x0200 || second == 0x0db8)
            || first == 0x3fff && second < 0x1000;
        !never && (self == Self::AllowPrivate || (global && !reserved))
    }
}

/// The 18 bytes that tell endpoints apart, both families alike.
pub(crate) fn endpoint_key(addr: SocketAddr) -> [u8; 18] {
    let mut key = [0; 18];
    let ip = match addr.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    key[..16].copy_from_slice(&ip.octets());
    key[16..].copy_from_slice(&addr.port().to_be_bytes());
    key
}

/// How addresses are told apart where rules are "per address": by IP on the public network, by IP
/// and port in a swarm of one's own (design: `--allow-private`).
pub fn address_key(policy: AddressPolicy, addr: SocketAddr) -> [u8; 18] {
    let mut key = endpoint_key(addr);
    if policy == AddressPolicy::Public {
        key[16..].fill(0);
    }
    key
}

/// How long the prefixes are that stand for the nets of one operator, in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PrefixBits {
    /// Of an IPv4 address.
    pub(crate) v4: u32,
    /// Of an IPv6 address.
    pub(crate) v6: u32,
}

/// Nets whose nodes count as one where a table or a list must not fill up with them (H13).
pub(crate) const NETWORK_OF_NODES: PrefixBits = PrefixBits { v4: 24, v6: 64 };

/// Nets whose peers share one allowance of connections: a /48 is what one customer gets.
pub(crate) const NETWORK_OF_PEERS: PrefixBits = PrefixBits { v4: 24, v6: 48 };

/// The net in which `addr` stands: its leading `bits`, and zeros.
pub(crate) fn prefix(addr: SocketAddr, bits: PrefixBits) -> IpAddr {
    match addr.ip() {
        IpAddr::V4(ip) => {
            let host = u32::MAX.checked_shr(bits.v4).unwrap_or(0);
            Ipv4Addr::from(u32::from(ip) & !host).into()
        }
        IpAddr::V6(ip) => {
            let host = u128::MAX.checked_shr(bits.v6).unwrap_or(0);
            Ipv6Addr::from(u128::from(ip) & !host).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }

    #[test]
    fn compact_forms_round_trip_in_both_families() {
        for (text, len) in [("97.120.106.101:11893", 6), ("[2001:b829::1]:6881", 18)] {
            let contact = Contact { id: NodeId(*b"mnopqrstuvwxyz123456"), addr: addr(text) };
            let mut bytes = Vec::new();
            emit_node(contact, &mut bytes);
            assert_eq!(bytes.len(), ID_LEN + len);
            assert_eq!(parse_node(&bytes), Some(contact));
            assert_eq!(parse_node(&bytes[1..]), None);
        }
        assert_eq!(parse_peer(b"axje.u"), Some(addr("97.120.106.101:11893")));
        assert_eq!(parse_peer(b"a"), None);
    }

    #[test]
    fn the_public_policy_admits_only_global_unicast() {
        let refused = [
            "0.1.2.3:1",
            "10.0.0.1:1",
            "100.64.0.1:1",
            "127.0.0.1:1",
            "169.254.0.1:1",
            "172.31.0.1:1",
            "192.0.0.1:1",
            "192.0.2.1:1",
            "192.168.0.1:1",
            "198.18.0.1:1",
            "198.51.100.1:1",
            "203.0.113.1:1",
            "224.0.0.1:1",
            "240.0.0.1:1",
            "255.255.255.255:1",
            "8.8.8.8:0",
            "[::]:1",
            "[::1]:1",
            "[::8.8.8.8]:1",
            "[::ffff:8.8.8.8]:1",
            "[fc00::1]:1",
            "[fe80::1]:1",
            "[ff02::1]:1",
            "[2001:db8::1]:1",
            "[2001::1]:1",
            "[2001:1ff::1]:1",
            "[3fff:fff::1]:1",
            "[4000::1]:1",
        ];
        for text in refused {
            assert!(!AddressPolicy::Public.admits(addr(text)), "{text}");
        }
        for text in [
            "3.4.5.6:1",
            "100.63.0.1:1",
            "172.32.0.1:1",
            "[2a00::1]:65535",
            "[2001:200::1]:1",
            "[3fff:1000::1]:1",
        ] {
            assert!(AddressPolicy::Public.admits(addr(text)), "{text}");
        }
    }

    #[test]
    fn the_private_policy_still_refuses_what_no_host_can_own() {
        for text in [
            "127.0.0.1:0",
            "0.0.0.0:1",
            "224.0.0.1:1",
            "240.0.0.1:1",
            "255.255.255.255:1",
            "[::]:1",
            "[ff02::1]:1",
        ] {
            assert!(!AddressPolicy::AllowPrivate.admits(addr(text)), "{text}");
        }
        for text in
            ["127.9.8.7:1", "10.0.0.1:1", "[::1]:1", "[fc00::1]:1", "[fe80::1]:1", "8.8.8.8:53"]
        {
            assert!(AddressPolicy::AllowPrivate.admits(addr(text)), "{text}");
        }
    }

    #[test]
    fn a_prefix_keeps_the_leading_bits_of_its_family_and_nothing_else() {
        let cases = [
            ("1.2.3.4:5", 24, "1.2.3.0"),
            ("1.2.3.255:5", 24, "1.2.3.0"),
            ("255.255.255.255:5", 0, "0.0.0.0"),
            ("255.255.255.255:5", 9, "255.128.0.0"),
            ("1.2.3.4:5", 32, "1.2.3.4"),
            ("[2a00:1:2:3:4::5]:6", 48, "2a00:1:2::"),
            ("[2a00:1:2:3:4::5]:6", 64, "2a00:1:2:3::"),
            ("[2a00::1]:6", 0, "::"),
            ("[2a00::1]:6", 128, "2a00::1"),
        ];
        for (text, bits, expected) in cases {
            let expected: IpAddr = expected.parse().expect("address");
            assert_eq!(prefix(addr(text), PrefixBits { v4: bits, v6: bits }), expected, "{text}");
        }
        let (v4, v6) = (addr("1.2.3.4:5"), addr("[::]:5"));
        assert_ne!(prefix(v4, NETWORK_OF_PEERS), prefix(v6, NETWORK_OF_PEERS));
    }
}
