//! Checks of single option values. Each error names the option, the value and the cure, on one
//! line.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command::UsageError;
use crate::files::lists::is_unicast;
use crate::files::sink::Place;
use crate::text::printable;

/// Longest host name (RFC 1035 2.3.4).
const HOST_LEN_MAX: usize = 253;
/// Longest timeout: ten years.
const SECONDS_MAX: f64 = 315_360_000.0;
/// Shortest timeout.
const SECONDS_MIN: f64 = 0.1;

/// What is said of a port to send to that cannot be one.
const PORTS: &str = "the port must be from 1 to 65535";

/// An error about the value of an option.
pub(super) fn wrong(option: &str, value: &str, cure: impl std::fmt::Display) -> UsageError {
    UsageError::new(format!("{option} {}: {cure}", printable(value)))
}

/// A whole number within `range`.
pub(super) fn whole(
    option: &str,
    value: &str,
    range: RangeInclusive<u64>,
) -> Result<u64, UsageError> {
    let (min, max) = (range.start(), range.end());
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    let too_large = digits && value.len() >= 20;
    match value.parse() {
        Ok(n) if digits && range.contains(&n) => Ok(n),
        // A maximum of 20 digits helps only whoever wrote as many.
        _ if *max == u64::MAX && !too_large => {
            Err(wrong(option, value, format!("must be a whole number, at least {min}")))
        }
        _ => Err(wrong(option, value, format!("must be a whole number from {min} to {max}"))),
    }
}

/// A time in seconds, whole or with decimals.
pub(super) fn seconds(option: &str, value: &str) -> Result<Duration, UsageError> {
    let plain = value.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match value.parse::<f64>() {
        Ok(n) if plain && (SECONDS_MIN..=SECONDS_MAX).contains(&n) => {
            Ok(Duration::from_secs_f64(n))
        }
        _ => Err(wrong(
            option,
            value,
            format!("must be seconds from {SECONDS_MIN} to {SECONDS_MAX}"),
        )),
    }
}

/// One word of a list.
pub(super) fn choice<T: Copy>(
    option: &str,
    value: &str,
    choices: &[(&str, T)],
) -> Result<T, UsageError> {
    if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == value) {
        return Ok(*choice);
    }
    let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
    Err(wrong(option, value, format!("must be one of {}", words.join(", "))))
}

/// `ADDR:PORT` to bind; port 0 is allowed.
pub(super) fn bind(option: &str, value: &str) -> Result<SocketAddr, UsageError> {
    let cure = "must be ADDR:PORT, as 0.0.0.0:6881 or [::]:0";
    let cure =
        if only_its_port_is_wrong(value) { "the port must be from 0 to 65535" } else { cure };
    let addr = unmapped(value.parse().map_err(|_| wrong(option, value, cure))?);
    if addr.ip().is_unspecified() || is_unicast(SocketAddr::new(addr.ip(), 1)) {
        return Ok(addr);
    }
    Err(wrong(option, value, "no address of this machine; name one that it has"))
}

/// `IP:PORT` of a peer.
pub(super) fn peer(option: &str, value: &str) -> Result<SocketAddr, UsageError> {
    let cure = "must be IP:PORT, as 192.0.2.7:6881 or [2001:db8::7]:6881";
    let cure = if only_its_port_is_wrong(value) { PORTS } else { cure };
    let addr = value.parse().map_err(|_| wrong(option, value, cure))?;
    remote(option, value, addr)
}

/// Whether a text that is no address with a port would be one with another number for the port.
fn only_its_port_is_wrong(value: &str) -> bool {
    value.parse::<SocketAddr>().is_err()
        && value.rsplit_once(':').is_some_and(|(host, port)| {
            let number = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
            number && format!("{host}:1").parse::<SocketAddr>().is_ok()
        })
}

/// An address to send to, IPv4 where it was written as IPv4-mapped IPv6.
fn remote(option: &str, value: &str, addr: SocketAddr) -> Result<SocketAddr, UsageError> {
    let addr = unmapped(addr);
    if addr.port() == 0 {
        return Err(wrong(option, value, PORTS));
    }
    if !is_unicast(addr) {
        return Err(wrong(option, value, "nobody can have this address; check it"));
    }
    Ok(addr)
}

/// `[::ffff:192.0.2.7]:1` is IPv4, and only an IPv4 socket reaches it.
fn unmapped(mut addr: SocketAddr) -> SocketAddr {
    if addr.ip().to_canonical() != addr.ip() {
        addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
    }
    addr
}

/// `HOST:PORT`: a name or an address, IPv6 in brackets. The host comes back without brackets.
pub(super) fn host(option: &str, value: &str) -> Result<(String, u16), UsageError> {
    let cure = "must be HOST:PORT, as dht.example.org:6881 or [2001:db8::7]:6881";
    if let Ok(addr) = value.parse::<SocketAddr>() {
        return remote(option, value, addr).map(|addr| (addr.ip().to_string(), addr.port()));
    }
    if only_its_port_is_wrong(value) {
        return Err(wrong(option, value, PORTS));
    }
    let (host, port) = value.rsplit_once(':').ok_or_else(|| wrong(option, value, cure))?;
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if host.is_empty() || host.len() > HOST_LEN_MAX || !host.chars().all(name) {
        return Err(wrong(option, value, cure));
    }
    // 256.1.1.1 is no name: its last label is a number (RFC 3696 2).
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong(option, value, cure));
    }
    match port.parse::<u16>() {
        Ok(port) if port != 0 => Ok((host.to_owned(), port)),
        _ => Err(wrong(option, value, PORTS)),
    }
}

/// Where rows go, by its ending.
pub(super) fn place(option: &str, value: &str) -> Result<Place, UsageError> {
    if value == "-" {
        return Ok(Place::Stdout);
    }
    let ending = Path::new(value).extension().and_then(|e| e.to_str()).unwrap_or_default();
    match ending.to_ascii_lowercase().as_str() {
        "csv" | "txt" => Ok(Place::File(PathBuf::from(value))),
        "jsonl" => Err(wrong(option, value, "JSON lines come in a later version; use .csv")),
        "sqlite" | "db" => Err(wrong(option, value, "SQLite comes in a later version; use .csv")),
        _ => Err(wrong(option, value, "the name must end in .csv or .txt, or be - for stdout")),
    }
}

/// A file to write that is no sink.
pub(super) fn file(option: &str, value: &str) -> Result<PathBuf, UsageError> {
    if value == "-" {
        return Err(wrong(option, value, "stdout is for rows; name a file"));
    }
    Ok(PathBuf::from(value))
}

/// A state file, or `none`.
pub(super) fn state(option: &str, value: &str) -> Result<Option<PathBuf>, UsageError> {
    match value {
        "none" => Ok(None),
        "-" => Err(wrong(option, value, "stdout is for rows; name a file, or none")),
        path => Ok(Some(PathBuf::from(path))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_accepted_at_their_limits_and_refused_one_past() {
        assert_eq!(whole("--n", "1", 1..=9), Ok(1));
        assert_eq!(whole("--n", "9", 1..=9), Ok(9));
        for value in ["0", "10", "-1", "+1", "1.0", "1e0", "", "x", "99999999999999999999"] {
            assert!(whole("--n", value, 1..=9).is_err(), "{value}");
        }
        let error = whole("--n", "0", 1..=9).expect_err("out of range").to_string();
        assert_eq!(error, "--n 0: must be a whole number from 1 to 9");
        let error = |value| whole("--n", value, 1..=u64::MAX).expect_err(value).to_string();
        let past = "18446744073709551616";
        assert_eq!(
            error(past),
            format!("--n {past}: must be a whole number from 1 to 18446744073709551615")
        );
        assert_eq!(error("0"), "--n 0: must be a whole number, at least 1");
    }

    #[test]
    fn seconds_may_have_decimals_and_nothing_else() {
        assert_eq!(seconds("--t", "1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(seconds("--t", "0.1"), Ok(Duration::from_millis(100)));
        assert_eq!(seconds("--t", "315360000"), Ok(Duration::from_secs(315_360_000)));
        for value in ["0", "0.09", "315360001", "inf", "nan", "1e3", "-1", "", ".", "1.1.1"] {
            assert!(seconds("--t", value).is_err(), "{value}");
        }
    }

    #[test]
    fn hosts_are_names_or_addresses_with_a_port() {
        let host = |value: &str| host("--b", value).ok();
        assert_eq!(host("a-b.example:1"), Some(("a-b.example".to_owned(), 1)));
        assert_eq!(host("[::1]:65535"), Some(("::1".to_owned(), 65535)));
        assert_eq!(host("127.0.0.1:6881"), Some(("127.0.0.1".to_owned(), 6881)));
        assert_eq!(host("[::ffff:127.0.0.1]:6881"), Some(("127.0.0.1".to_owned(), 6881)));
        let refused = [
            "",
            ":1",
            "a",
            "a:",
            "a:0",
            "a:65536",
            "::1:6881",
            "[a]:1",
            "a b:1",
            "1.2.3.4:0",
            "256.1.1.1:1",
            "1.2.3:1",
            "a/b:1",
            "é:1",
            "0.0.0.0:1",
            "255.255.255.255:1",
            "240.0.0.1:1",
            "[::ffff:224.0.0.1]:1",
        ];
        for value in refused {
            assert_eq!(host(value), None, "{value}");
        }
        assert_eq!(host(&format!("{}:1", "a".repeat(254))), None);
        assert!(host(&format!("{}:1", "a".repeat(253))).is_some());
    }

    #[test]
    fn addresses_need_a_port_and_a_possible_host() {
        assert_eq!(bind("--b", "[::]:0").map(|a| a.to_string()).as_deref(), Ok("[::]:0"));
        let refused = ["[::]", "0.0.0.0", "localhost:1", "224.0.0.1:1", "255.255.255.255:0"];
        for value in refused.into_iter().chain(["240.0.0.1:1", "[ff02::1]:0"]) {
            assert!(bind("--b", value).is_err(), "{value}");
        }
        assert!(peer("--p", "127.0.0.1:1").is_ok() && peer("--p", "[fe80::1%1]:1").is_ok());
        let refused = ["127.0.0.1:0", "0.0.0.0:1", "[ff02::1]:1", "1.2.3.4", "255.255.255.255:5"];
        for value in refused.into_iter().chain(["240.0.0.1:5", "[::ffff:255.255.255.255]:5"]) {
            assert!(peer("--p", value).is_err(), "{value}");
        }
    }

    #[test]
    fn ipv4_written_as_ipv6_is_ipv4() {
        let text = |addr: Result<SocketAddr, _>| addr.map(|addr| addr.to_string());
        let mapped = "[::ffff:127.0.0.1]:7300";
        assert_eq!(text(peer("--p", mapped)).as_deref(), Ok("127.0.0.1:7300"));
        assert_eq!(text(bind("--b", mapped)).as_deref(), Ok("127.0.0.1:7300"));
        assert_eq!(text(bind("--b", "[::ffff:0.0.0.0]:0")).as_deref(), Ok("0.0.0.0:0"));
    }

    #[test]
    fn endings_choose_the_sink_whatever_their_case() {
        assert_eq!(place("--out", "-"), Ok(Place::Stdout));
        assert_eq!(place("--out", "a/B.CSV"), Ok(Place::File("a/B.CSV".into())));
        assert_eq!(place("--out", "b.txt"), Ok(Place::File("b.txt".into())));
        for value in ["x.jsonl", "x.SQLITE", "x.db", "x", ".csv", "x.csv.gz", "csv", "/dev/null"] {
            assert!(place("--out", value).is_err(), "{value}");
        }
    }
}
