//! Names of bootstrap nodes to addresses, by the system's resolver on its own threads.
//!
//! Nothing else is ever resolved: peers and nodes are addresses.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use async_io::Timer;
use estudely_core::{Duration, Family};
use smol::future::FutureExt;

/// How long a name may take.
pub const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The address that `host` is, if it is a literal one; brackets around IPv6 are allowed.
pub fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let ip: IpAddr = bare.parse().ok()?;
    Some(SocketAddr::new(ip, port))
}

/// Every address of `host` in the families that are on.
///
/// # Errors
/// The resolver's; `TimedOut` after [`RESOLVE_TIMEOUT`]; `NotFound` if no address is of use.
pub async fn resolve(host: String, port: u16, families: [bool; 2]) -> io::Result<Vec<SocketAddr>> {
    let asked = smol::unblock(move || (host.as_str(), port).to_socket_addrs());
    let late = async {
        Timer::after(RESOLVE_TIMEOUT).await;
        Err(io::Error::new(io::ErrorKind::TimedOut, "no answer from DNS"))
    };
    let mut found: Vec<_> = asked.or(late).await?.collect();
    found.retain(|addr| families[Family::of(*addr).index()]);
    found.sort_unstable();
    found.dedup();
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no address of a family in use"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_addresses_need_no_resolver() {
        for (host, expected) in [
            ("127.0.0.1", Some("127.0.0.1:7")),
            ("::1", Some("[::1]:7")),
            ("[::1]", Some("[::1]:7")),
            ("localhost", None),
            ("1.2.3", None),
        ] {
            let expected = expected.map(|text| text.parse().expect("an address"));
            assert_eq!(literal(host, 7), expected, "{host}");
        }
    }

    #[test]
    fn only_addresses_of_families_in_use_are_returned() {
        let four = smol::block_on(resolve("127.0.0.1".into(), 9, [true, false]));
        assert_eq!(four.expect("resolves"), [SocketAddr::from(([127, 0, 0, 1], 9))]);
        let none = smol::block_on(resolve("127.0.0.1".into(), 9, [false, true]));
        assert_eq!(none.expect_err("no v6").kind(), io::ErrorKind::NotFound);
    }
}
