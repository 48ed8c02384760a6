//! What a user names to fetch: a magnet link (BEP 9, BEP 53) or a bare infohash.
//!
//! The text comes from people, files and other programs, so everything is bounded: the length of
//! the link, the peers kept, the name. Host names are never resolved here; a peer must be given
//! by address.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;

use crate::base::id::{ID_LEN, InfoHash};
use crate::limits::{MAGNET_LEN_MAX, MAGNET_PEERS_MAX};

/// Length of a v2 infohash in bytes: SHA-256 (BEP 52).
pub const V2_HASH_LEN: usize = 32;

/// A torrent as a user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Magnet {
    /// The DHT key: the v1 infohash if one was given, else the first 20 bytes of the v2 one.
    pub hash: InfoHash,
    /// The whole v2 infohash, if one was given.
    pub v2: Option<[u8; V2_HASH_LEN]>,
    /// The name that the link suggests (`dn`), without promise.
    pub name: Option<String>,
    /// Peers by address (`x.pe`), each once, in order, at most [`MAGNET_PEERS_MAX`]. No address
    /// policy has seen them.
    pub peers: Vec<SocketAddr>,
}

/// Why a text names no torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MagnetError {
    /// Longer than [`MAGNET_LEN_MAX`].
    TooLong,
    /// Neither a `magnet:?` link nor of the length of an infohash.
    NotMagnet,
    /// A link without `xt=urn:btih:` or `xt=urn:btmh:`.
    NoHash,
    /// An infohash of the wrong length, alphabet or multihash prefix.
    BadHash,
    /// A percent sign without two hexadecimal digits in an `xt`.
    BadEscape,
}

impl fmt::Display for MagnetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "longer than any magnet link",
            Self::NotMagnet => "neither a magnet link nor an infohash",
            Self::NoHash => "a magnet link without urn:btih or urn:btmh",
            Self::BadHash => "not an infohash: 40 hex or 32 base32 digits, or for v2 64 hex digits",
            Self::BadEscape => "a percent sign without two hex digits",
        })
    }
}

impl std::error::Error for MagnetError {}

/// Reads a magnet link, or a bare infohash of 40 hex digits, 32 base32 digits, or 64 hex digits
/// with or without `1220` before them (v2). White space around the text is ignored.
pub fn parse(text: &str) -> Result<Magnet, MagnetError> {
    let text = text.trim_ascii();
    if text.len() > MAGNET_LEN_MAX {
        return Err(MagnetError::TooLong);
    }
    let Some(query) = strip_prefix_ignore_case(text, "magnet:?") else {
        return parse_bare(text);
    };
    let mut parts = Parts::default();
    query.split('&').try_for_each(|parameter| parts.read(parameter))?;
    parts.finish()
}

/// What the parameters of a link said so far.
#[derive(Default)]
struct Parts {
    v1: Option<InfoHash>,
    v2: Option<[u8; V2_HASH_LEN]>,
    name: Option<String>,
    peers: Vec<SocketAddr>,
}

impl Parts {
    /// Reads one parameter. Only `xt` can be wrong; other ones that make no sense, and all
    /// unknown ones (`tr`, `ws`, `so`, `dht`, ..), are passed over.
    fn read(&mut self, parameter: &str) -> Result<(), MagnetError> {
        let Some((key, value)) = parameter.split_once('=') else {
            return Ok(());
        };
        let key = without_number(key);
        if key.eq_ignore_ascii_case("xt") {
            self.topic(&unescape(value).ok_or(MagnetError::BadEscape)?)?;
        } else if key.eq_ignore_ascii_case("dn") && self.name.is_none() {
            let spaced = value.replace('+', " ");
            let name = unescape(&spaced).unwrap_or(Cow::Borrowed(value.as_bytes()));
            self.name = Some(String::from_utf8_lossy(&name).into_owned());
        } else if key.eq_ignore_ascii_case("x.pe") {
            self.peer(value);
        }
        Ok(())
    }

    /// The exact topic. The first one of each kind counts, but every one must be well formed.
    fn topic(&mut self, topic: &[u8]) -> Result<(), MagnetError> {
        let Ok(topic) = std::str::from_utf8(topic) else {
            return Ok(());
        };
        if let Some(digits) = strip_prefix_ignore_case(topic, "urn:btih:") {
            let hash = parse_v1(digits).ok_or(MagnetError::BadHash)?;
            self.v1.get_or_insert(hash);
        } else if let Some(digits) = strip_prefix_ignore_case(topic, "urn:btmh:") {
            let digits = digits.strip_prefix("1220").ok_or(MagnetError::BadHash)?;
            let hash = parse_hex(digits).ok_or(MagnetError::BadHash)?;
            self.v2.get_or_insert(hash);
        }
        Ok(())
    }

    fn peer(&mut self, value: &str) {
        let bytes = unescape(value).unwrap_or_default();
        let addr = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
        if let Some(addr) = addr
            && self.peers.len() < MAGNET_PEERS_MAX
            && !self.peers.contains(&addr)
        {
            self.peers.push(addr);
        }
    }

    fn finish(self) -> Result<Magnet, MagnetError> {
        let hash = self.v1.or(self.v2.map(truncated)).ok_or(MagnetError::NoHash)?;
        Ok(Magnet { hash, v2: self.v2, name: self.name, peers: self.peers })
    }
}

fn parse_bare(text: &str) -> Result<Magnet, MagnetError> {
    let mut parts = Parts::default();
    match text.len() {
        32 | 40 => parts.v1 = Some(parse_v1(text).ok_or(MagnetError::BadHash)?),
        64 => parts.v2 = Some(parse_hex(text).ok_or(MagnetError::BadHash)?),
        68 => {
            let digits = text.strip_prefix("1220").ok_or(MagnetError::BadHash)?;
            parts.v2 = Some(parse_hex(digits).ok_or(MagnetError::BadHash)?);
        }
        _ => return Err(MagnetError::NotMagnet),
    }
    parts.finish()
}

fn parse_v1(digits: &str) -> Option<InfoHash> {
    match digits.len() {
        32 => parse_base32(digits).map(InfoHash),
        _ => parse_hex(digits).map(InfoHash),
    }
}

/// The DHT key that belongs to a v2 infohash (52.3).
fn truncated(v2: [u8; V2_HASH_LEN]) -> InfoHash {
    let mut hash = [0; ID_LEN];
    hash.copy_from_slice(&v2[..ID_LEN]);
    InfoHash(hash)
}

/// Exactly `2 * N` hexadecimal digits of either case.
fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = hex_pair(pair[0], pair[1])?;
    }
    Some(out)
}

fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let high = char::from(high).to_digit(16)?;
    let low = char::from(low).to_digit(16)?;
    Some((high * 16 + low) as u8)
}

/// 32 digits of RFC 4648 base32 of either case: 160 bits, so never padded.
fn parse_base32(text: &str) -> Option<[u8; ID_LEN]> {
    let mut out = [0; ID_LEN];
    for (bytes, digits) in out.chunks_exact_mut(5).zip(text.as_bytes().chunks_exact(8)) {
        let mut bits = 0u64;
        for digit in digits {
            let value = match digit.to_ascii_uppercase() {
                letter @ b'A'..=b'Z' => letter - b'A',
                digit @ b'2'..=b'7' => digit - b'2' + 26,
                _ => return None,
            };
            bits = bits << 5 | u64::from(value);
        }
        bytes.copy_from_slice(&bits.to_be_bytes()[3..]);
    }
    Some(out)
}

/// Percent-decodes; `None` where a percent sign is not followed by two hexadecimal digits.
fn unescape(text: &str) -> Option<Cow<'_, [u8]>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text.as_bytes()));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(if byte == b'%' { hex_pair(bytes.next()?, bytes.next()?)? } else { byte });
    }
    Some(Cow::Owned(out))
}

/// Links in the wild number repeated parameters: `xt.1`, `tr.2`.
fn without_number(key: &str) -> &str {
    match key.rsplit_once('.') {
        Some((name, number))
            if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) =>
        {
            name
        }
        _ => key,
    }
}

fn strip_prefix_ignore_case<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests;
