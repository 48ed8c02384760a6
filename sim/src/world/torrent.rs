//! Torrents out of nothing but a seed and a number: info dictionaries of every protocol version,
//! with the names and file lists that break naive readers.
//!
//! Bytes are made on demand, so that a world of 100 000 torrents costs no gigabytes: equal
//! arguments give equal bytes. What a dictionary should be read as ([`Facts`]) is known from its
//! construction and never asked of the core's own reader.

mod names;
mod write;

use std::ops::RangeInclusive;

use estudely_core::InfoHash;
use sha1::{Digest, Sha1};
use sha2::Sha256;

use crate::world::draw::draw;

pub use names::display;

/// Bytes of a metadata piece (BEP 9, 9.1).
pub const METADATA_PIECE_LEN: u32 = 16_384;
/// Largest metadata that a world may hold: what the crawler accepts (9.5).
pub const METADATA_LEN_MAX: u32 = 10 * 1024 * 1024;
/// Smallest metadata that can be asked for: below, no name and hash would fit.
pub const METADATA_LEN_MIN: u32 = 256;

/// What heavy metadata takes: 65 to 80 pieces.
const HEAVY: RangeInclusive<u32> = 64 * METADATA_PIECE_LEN + 1..=80 * METADATA_PIECE_LEN;

/// Which generation of the format an info dictionary speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// BEP 3 only.
    V1,
    /// Both (BEP 52): `pieces` and `file tree`.
    Hybrid,
    /// BEP 52 only.
    V2,
}

impl Version {
    /// The word in the truth file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::Hybrid => "hybrid",
            Self::V2 => "v2",
        }
    }
}

/// How long info dictionaries are, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataSizes {
    /// Mostly one to three pieces of 16 KiB, few larger, rarely over 1 MiB; one in fifty ends
    /// exactly at a piece's end.
    Realistic,
    /// Evenly between two bounds.
    Between(RangeInclusive<u32>),
    /// Those of the first torrents have more pieces than a fetcher asks for at once, the others
    /// these lengths.
    Heavy {
        /// How many.
        first: u32,
        /// All others.
        others: Box<Self>,
    },
}

impl MetadataSizes {
    /// The bounds, if there are any.
    pub(crate) fn bounds(&self) -> Option<&RangeInclusive<u32>> {
        match self {
            Self::Realistic => None,
            Self::Between(range) => Some(range),
            Self::Heavy { others, .. } => others.bounds(),
        }
    }

    fn pick(&self, draw: &mut fastrand::Rng, index: u32) -> u32 {
        let piece = METADATA_PIECE_LEN;
        let range = match self {
            Self::Heavy { first, others } if index >= *first => return others.pick(draw, index),
            Self::Heavy { .. } => HEAVY,
            Self::Between(range) => range.clone(),
            Self::Realistic => match draw.u32(0..10_000) {
                0..6_000 => METADATA_LEN_MIN..=piece,
                6_000..8_500 => piece + 1..=2 * piece,
                8_500..9_600 => 2 * piece + 1..=3 * piece,
                9_600..9_950 => 3 * piece + 1..=8 * piece,
                9_950..9_995 => 8 * piece + 1..=32 * piece,
                _ => 32 * piece + 1..=80 * piece,
            },
        };
        let size = draw.u32(range.clone());
        let even = size.next_multiple_of(piece);
        let ends_a_piece = draw.u32(0..50) == 0 && range.contains(&even);
        if ends_a_piece { even } else { size }
    }
}

/// What a correct reader finds in an info dictionary (README.md, "Output").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The name as the CSV shows it.
    pub name: String,
    /// Files, pad files left out.
    pub file_count: u64,
    /// Bytes of those files.
    pub total_bytes: u64,
    /// Bytes of a piece of payload.
    pub piece_length: u64,
    /// `private` = 1 (BEP 27).
    pub private: bool,
    /// Protocol version.
    pub version: Version,
}

/// One torrent, made.
#[derive(Clone, Debug)]
pub struct Torrent {
    /// The DHT key: SHA-1 of `info`, or the first 20 bytes of its SHA-256 (BEP 52).
    pub key: InfoHash,
    /// The info dictionary's exact bytes.
    pub info: Vec<u8>,
    /// What is in it.
    pub facts: Facts,
}

/// Torrent `index` of the world with this `seed`. Different indexes never share a name, hence no
/// hash.
pub fn make(seed: u64, index: u32, sizes: &MetadataSizes) -> Torrent {
    let mut draw = draw(seed, "torrent", u64::from(index));
    let size = sizes.pick(&mut draw, index);
    let outline = write::Outline::pick(&mut draw, index, size);
    let info = outline.emit(&mut draw, size as usize);
    let key = key_of(&info, outline.version, draw.u32(0..4) == 0);
    Torrent { key, info, facts: outline.facts() }
}

/// A hybrid is mostly known by its SHA-1, sometimes by its v2 hash only.
fn key_of(info: &[u8], version: Version, hybrid_by_v2: bool) -> InfoHash {
    let by_v2 = match version {
        Version::V1 => false,
        Version::Hybrid => hybrid_by_v2,
        Version::V2 => true,
    };
    let mut key = [0; 20];
    if by_v2 {
        key.copy_from_slice(&Sha256::digest(info)[..20]);
    } else {
        key.copy_from_slice(&Sha1::digest(info));
    }
    InfoHash(key)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use estudely_core::bencode::Reader;
    use estudely_core::limits::REQUESTS_AT_ONCE;

    use super::*;

    #[test]
    fn equal_arguments_give_equal_bytes_and_others_do_not() {
        let sizes = MetadataSizes::Realistic;
        assert_eq!(make(1, 7, &sizes).info, make(1, 7, &sizes).info);
        assert_ne!(make(1, 7, &sizes).key, make(2, 7, &sizes).key);
        let keys: BTreeSet<_> = (0..500).map(|index| make(1, index, &sizes).key).collect();
        assert_eq!(keys.len(), 500);
    }

    #[test]
    fn every_dictionary_is_canonical_bencode_without_a_byte_too_many() {
        for index in 0..2_000 {
            let torrent = make(3, index, &MetadataSizes::Realistic);
            let mut reader = Reader::<100>::new(&torrent.info, 2_500_000);
            while reader.next_token().expect("bencode").is_some() {}
            assert_eq!(reader.position(), torrent.info.len(), "torrent {index}");
            assert!(reader.flags().is_canonical(), "torrent {index}");
        }
    }

    #[test]
    fn every_version_and_size_class_occurs() {
        let (mut versions, mut exact, mut large) = ([0; 3], 0, 0);
        for index in 0..5_000 {
            let torrent = make(5, index, &MetadataSizes::Realistic);
            versions[torrent.facts.version as usize] += 1;
            exact += usize::from(torrent.info.len().is_multiple_of(METADATA_PIECE_LEN as usize));
            large += usize::from(torrent.info.len() > 4 * METADATA_PIECE_LEN as usize);
        }
        assert!(versions.iter().all(|&count| count > 200), "{versions:?}");
        assert!(exact > 20 && large > 20, "{exact} {large}");
    }

    #[test]
    fn sizes_follow_the_range_asked_for() {
        for index in 0..500 {
            let info = make(9, index, &MetadataSizes::Between(40_000..=50_000)).info;
            assert!((40_000..=50_000).contains(&info.len()), "torrent {index}: {}", info.len());
        }
    }

    #[test]
    fn heavy_ones_have_more_pieces_than_are_asked_for_at_once_and_change_no_other() {
        let others = Box::new(MetadataSizes::Between(40_000..=50_000));
        let heavy = MetadataSizes::Heavy { first: 3, others: others.clone() };
        for index in 0..3 {
            let pieces = make(9, index, &heavy).info.len().div_ceil(METADATA_PIECE_LEN as usize);
            assert!(pieces > usize::from(REQUESTS_AT_ONCE), "torrent {index}: {pieces}");
        }
        assert_eq!(make(9, 3, &heavy).info, make(9, 3, &others).info);
    }

    #[test]
    fn v1_piece_hashes_cover_exactly_the_payload() {
        for index in 0..500 {
            let torrent = make(11, index, &MetadataSizes::Realistic);
            if torrent.facts.version == Version::V2 {
                continue;
            }
            let (mut pieces, mut payload) = (0, 0);
            let mut reader = Reader::<100>::new(&torrent.info, 2_500_000);
            assert!(reader.enter_dict().expect("dict"));
            while let Some(key) = reader.next_key().expect("key") {
                match key {
                    b"pieces" => pieces = reader.bytes().expect("pieces").expect("string").len(),
                    b"length" => payload = reader.int().expect("length").expect("int"),
                    b"files" => payload = sum_of_lengths(reader.raw().expect("files")),
                    _ => drop(reader.raw().expect("value")),
                }
            }
            let expected = 20 * (payload as u64).div_ceil(torrent.facts.piece_length);
            assert_eq!(pieces as u64, expected, "torrent {index}");
        }
    }

    fn sum_of_lengths(files: &[u8]) -> i64 {
        let mut reader = Reader::<10>::new(files, 1_000_000);
        let (mut sum, mut is_length) = (0, false);
        while let Some(token) = reader.next_token().expect("token") {
            match token {
                estudely_core::bencode::Token::Int(value) if is_length => sum += value,
                estudely_core::bencode::Token::Bytes(key) => is_length = key == b"length",
                _ => {}
            }
        }
        sum
    }
}
