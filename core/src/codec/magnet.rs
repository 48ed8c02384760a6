//! What a user names to fetch: a magnet link (BEP 9, BEP 53) or a bare infohash.
//!
//! The text comes from people, files and other programs, so everything is bounded: the length of
//! the link, the peers kept, the name. Host names are never resolved here; a peer must be given
//! by address. What is unambiguous is read, and what of a link is ignored is named beside it.

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
    /// What the link says besides and was not used, each kind once.
    pub notes: Vec<Note>,
}

/// A part of a link that was ignored, with how many there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// Topics that name a torrent, but wrongly; why the first of them is wrong.
    BadTopics(usize, MagnetError),
    /// Infohashes beside the first of their version, other than it.
    MoreHashes(usize),
    /// Topics of other networks.
    OtherTopics(usize),
    /// Peers that are no address with a port; host names are not resolved.
    BadPeers(usize),
    /// Peers beyond [`MAGNET_PEERS_MAX`].
    MorePeers(usize),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::BadTopics(n, why) => write!(f, "{n} xt ignored: {why}"),
            Self::MoreHashes(1) => f.write_str("1 further infohash ignored"),
            Self::MoreHashes(n) => write!(f, "{n} further infohashes ignored"),
            Self::OtherTopics(n) => write!(f, "{n} xt of other networks ignored"),
            Self::BadPeers(n) => write!(f, "{n} x.pe ignored: no IP:PORT"),
            Self::MorePeers(n) => write!(f, "{n} x.pe ignored beyond {MAGNET_PEERS_MAX}"),
        }
    }
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
            Self::NotMagnet => {
                "neither a magnet link nor an infohash: 40 hex or 32 base32 digits, or for v2 64 \
                 hex digits"
            }
            Self::NoHash => "a magnet link without urn:btih or urn:btmh",
            Self::BadHash => "not an infohash: 40 hex or 32 base32 digits, or for v2 64 hex digits",
            Self::BadEscape => "a percent sign without two hex digits",
        })
    }
}

impl std::error::Error for MagnetError {}

/// Reads a magnet link, a bare topic (`urn:btih:..`, perhaps with more parts of a link behind it),
/// or a bare infohash of 40 hex digits, 32 base32 digits, or 64 hex digits with or without `1220`
/// before them (v2). White space around the text is ignored, and so is what a web page makes of a
/// link: `&amp;` between its parts, or the whole of it escaped.
pub fn parse(text: &str) -> Result<Magnet, MagnetError> {
    let text = text.trim_ascii();
    if text.len() > MAGNET_LEN_MAX {
        return Err(MagnetError::TooLong);
    }
    match query(text) {
        Some(query) => parse_query(query),
        None if is_escaped(text) => {
            let whole = unescape(text).ok_or(MagnetError::BadEscape)?;
            let whole = std::str::from_utf8(&whole).map_err(|_| MagnetError::NotMagnet)?;
            parse_query(query(whole).ok_or(MagnetError::NotMagnet)?)
        }
        None if strip_prefix_ignore_case(text, "urn:").is_some() => parse_query(text),
        None => parse_bare(text),
    }
}

/// What follows the scheme of a link.
fn query(text: &str) -> Option<&str> {
    ["magnet:?", "magnet:/?", "magnet://?"]
        .iter()
        .find_map(|scheme| strip_prefix_ignore_case(text, scheme))
}

/// Whether a link was escaped as a whole, as within another address.
fn is_escaped(text: &str) -> bool {
    ["magnet%3a", "magnet:%3f"].iter().any(|s| strip_prefix_ignore_case(text, s).is_some())
}

/// Reads the parts of a link; the first may be a topic without its key.
fn parse_query(query: &str) -> Result<Magnet, MagnetError> {
    let mut parts = Parts::default();
    for parameter in query.split('&').map(without_entity) {
        match strip_prefix_ignore_case(parameter, "urn:") {
            Some(_) => parts.topic(parameter),
            None => parts.read(parameter),
        }
    }
    parts.finish()
}

/// What the parameters of a link said so far.
#[derive(Default)]
struct Parts {
    v1: Option<InfoHash>,
    v2: Option<[u8; V2_HASH_LEN]>,
    name: Option<String>,
    peers: Vec<SocketAddr>,
    bad_topics: usize,
    /// What is wrong with the first of these.
    wrong: Option<MagnetError>,
    more_hashes: usize,
    other_topics: usize,
    bad_peers: usize,
    more_peers: usize,
}

/// An infohash of either version.
enum Topic {
    V1(InfoHash),
    V2([u8; V2_HASH_LEN]),
}

impl Parts {
    /// Reads one parameter. Unknown ones (`tr`, `ws`, `so`, `dht`, ..) are passed over.
    fn read(&mut self, parameter: &str) {
        let Some((key, value)) = parameter.split_once('=') else { return };
        let key = without_number(key.trim_ascii());
        if key.eq_ignore_ascii_case("xt") {
            self.topic(value);
        } else if key.eq_ignore_ascii_case("dn") && self.name.is_none() {
            let spaced = value.replace('+', " ");
            let name = unescape(&spaced).unwrap_or(Cow::Borrowed(value.as_bytes()));
            self.name = Some(String::from_utf8_lossy(&name).into_owned());
        } else if key.eq_ignore_ascii_case("x.pe") {
            self.peer(value);
        }
    }

    /// The exact topic. The first good one of each version counts.
    fn topic(&mut self, value: &str) {
        let Some(topic) = unescape(value) else { return self.bad_topic(MagnetError::BadEscape) };
        let topic = String::from_utf8_lossy(&topic);
        let topic = topic.trim_ascii();
        let parsed = if let Some(digits) = strip_prefix_ignore_case(topic, "urn:btih:") {
            parse_btih(digits)
        } else if let Some(digits) = strip_prefix_ignore_case(topic, "urn:btmh:") {
            parse_v2(digits).map(Topic::V2)
        } else {
            self.other_topics += 1;
            return;
        };
        let more = match parsed {
            None => return self.bad_topic(MagnetError::BadHash),
            Some(Topic::V1(hash)) => *self.v1.get_or_insert(hash) != hash,
            Some(Topic::V2(hash)) => *self.v2.get_or_insert(hash) != hash,
        };
        self.more_hashes += usize::from(more);
    }

    fn bad_topic(&mut self, why: MagnetError) {
        self.bad_topics += 1;
        self.wrong.get_or_insert(why);
    }

    fn peer(&mut self, value: &str) {
        let bytes = unescape(value).unwrap_or_default();
        let addr = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim_ascii().parse().ok());
        let Some(addr) = addr else {
            self.bad_peers += 1;
            return;
        };
        if self.peers.contains(&addr) {
            return;
        }
        if self.peers.len() < MAGNET_PEERS_MAX {
            self.peers.push(addr);
        } else {
            self.more_peers += 1;
        }
    }

    fn finish(self) -> Result<Magnet, MagnetError> {
        let hash = self.v1.or(self.v2.map(truncated));
        let hash = hash.ok_or(self.wrong.unwrap_or(MagnetError::NoHash))?;
        let notes = [
            (self.bad_topics, self.wrong.map(|why| Note::BadTopics(self.bad_topics, why))),
            (self.more_hashes, Some(Note::MoreHashes(self.more_hashes))),
            (self.other_topics, Some(Note::OtherTopics(self.other_topics))),
            (self.bad_peers, Some(Note::BadPeers(self.bad_peers))),
            (self.more_peers, Some(Note::MorePeers(self.more_peers))),
        ];
        let notes = notes.into_iter().filter(|(n, _)| *n > 0).filter_map(|(_, note)| note);
        let notes = notes.collect();
        Ok(Magnet { hash, v2: self.v2, name: self.name, peers: self.peers, notes })
    }
}

fn parse_bare(text: &str) -> Result<Magnet, MagnetError> {
    let mut parts = Parts::default();
    if !matches!(text.len(), 32 | 40 | 64 | 68) {
        return Err(MagnetError::NotMagnet);
    }
    match parse_btih(text).ok_or(MagnetError::BadHash)? {
        Topic::V1(hash) => parts.v1 = Some(hash),
        Topic::V2(hash) => parts.v2 = Some(hash),
    }
    parts.finish()
}

/// The infohash of a `btih`. Some programs write that of v2 there too; its length tells.
fn parse_btih(digits: &str) -> Option<Topic> {
    match digits.len() {
        32 => parse_base32(digits).map(InfoHash).map(Topic::V1),
        40 => parse_hex(digits).map(InfoHash).map(Topic::V1),
        _ => parse_v2(digits).map(Topic::V2),
    }
}

/// A multihash of SHA-256, or the 64 digits in it alone.
fn parse_v2(digits: &str) -> Option<[u8; V2_HASH_LEN]> {
    let bare = digits.len() == 2 * V2_HASH_LEN;
    parse_hex(if bare { digits } else { digits.strip_prefix("1220")? })
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

/// A part without what is left of the HTML entity that stood before it instead of `&`.
fn without_entity(mut part: &str) -> &str {
    let entities = ["amp;", "#38;", "#038;", "#x26;"];
    while let Some(rest) = entities.iter().find_map(|e| strip_prefix_ignore_case(part, e)) {
        part = rest;
    }
    part
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
