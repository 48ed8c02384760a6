//! The 160-bit keyspace of the Mainline DHT (BEP 5): node ids, infohashes and the XOR metric.

use std::fmt;

/// Length of every id in bytes (BEP 5).
pub const ID_LEN: usize = 20;

/// A point of the keyspace, whatever stands there: what lookups aim at and distances measure.
/// Ordered as a big-endian unsigned integer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub [u8; ID_LEN]);

/// The id a DHT node goes by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; ID_LEN]);

/// The DHT key of a torrent: SHA-1 of its info dictionary, or the first 20 bytes of the SHA-256
/// (BEP 52).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHash(pub [u8; ID_LEN]);

impl InfoHash {
    /// Its length in bytes.
    pub const LEN: usize = ID_LEN;
}

impl Id {
    /// The lowest point.
    pub const ZERO: Self = Self([0; ID_LEN]);
    /// The highest point.
    pub const MAX: Self = Self([0xff; ID_LEN]);

    /// The XOR metric (BEP 5): smaller is nearer.
    pub fn distance(self, other: Self) -> Self {
        let mut out = self.0;
        for (byte, other) in out.iter_mut().zip(other.0) {
            *byte ^= other;
        }
        Self(out)
    }

    /// How many leading bits two points share, 0..=160.
    pub fn common_prefix(self, other: Self) -> u32 {
        let distance = self.distance(other);
        let mut bits = 0;
        for byte in distance.0 {
            bits += byte.leading_zeros();
            if byte != 0 {
                break;
            }
        }
        bits
    }

    /// Bit `index` counted from the most significant; `false` beyond the last.
    pub fn bit(self, index: u32) -> bool {
        let byte = self.0.get(index as usize / 8).copied().unwrap_or(0);
        byte & (0x80 >> (index % 8)) != 0
    }

    /// This point with its first `bits` bits kept and the rest taken from `other`.
    pub fn with_suffix(self, bits: u32, other: Self) -> Self {
        let mut out = other.0;
        for (index, byte) in out.iter_mut().enumerate() {
            let kept = bits.saturating_sub(index as u32 * 8).min(8);
            let mask = (0xff00u16 >> kept) as u8;
            *byte = (self.0[index] & mask) | (*byte & !mask);
        }
        Self(out)
    }

    /// The next point, or `None` at the top of the keyspace.
    pub fn successor(self) -> Option<Self> {
        let mut out = self.0;
        for byte in out.iter_mut().rev() {
            let (sum, carry) = byte.overflowing_add(1);
            *byte = sum;
            if !carry {
                return Some(Self(out));
            }
        }
        None
    }
}

macro_rules! keyspace_newtype {
    ($name:ident, $what:literal) => {
        impl $name {
            #[doc = concat!("Reads ", $what, " from exactly 20 bytes.")]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// Reads 40 hexadecimal digits of either case.
            pub fn from_hex(text: &str) -> Option<Self> {
                let digits = text.as_bytes();
                if digits.len() != 2 * ID_LEN {
                    return None;
                }
                let mut out = [0; ID_LEN];
                for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
                    let high = char::from(pair[0]).to_digit(16)?;
                    let low = char::from(pair[1]).to_digit(16)?;
                    *byte = (high * 16 + low) as u8;
                }
                Some(Self(out))
            }
        }

        /// 40 lower-case hexadecimal digits.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

keyspace_newtype!(Id, "a point of the keyspace");
keyspace_newtype!(NodeId, "a node id");
keyspace_newtype!(InfoHash, "an infohash");

impl NodeId {
    /// Where the node stands in the keyspace.
    pub const fn id(self) -> Id {
        Id(self.0)
    }
}

impl InfoHash {
    /// Where the torrent's peers are stored in the keyspace.
    pub const fn id(self) -> Id {
        Id(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(hex: &str) -> Id {
        Id::from_hex(&format!("{hex:0<40}")).expect("hex")
    }

    #[test]
    fn common_prefix_counts_equal_leading_bits() {
        // LT distance_exp vectors: exponent 159 is prefix 0, 158 is prefix 1, equal is 160.
        assert_eq!(id("ff").common_prefix(id("00")), 0);
        assert_eq!(id("80").common_prefix(id("ff")), 1);
        assert_eq!(id("c0").common_prefix(id("ff")), 2);
        assert_eq!(Id::MAX.common_prefix(Id::MAX), 160);
    }

    #[test]
    fn with_suffix_keeps_exactly_the_prefix() {
        // LT prefix masks: 1, 11, 17, 37, 160 leading ones.
        let cases = [(0, "00"), (1, "80"), (11, "ffe0"), (17, "ffff80"), (37, "fffffffff8")];
        for (bits, expected) in cases {
            assert_eq!(Id::MAX.with_suffix(bits, Id::ZERO), id(expected), "{bits} bits");
        }
        assert_eq!(Id::MAX.with_suffix(160, Id::ZERO), Id::MAX);
    }

    #[test]
    fn the_successor_carries_and_ends_at_the_top() {
        let mut low = Id::ZERO;
        low.0[19] = 0xff;
        let mut next = Id::ZERO;
        next.0[18] = 1;
        assert_eq!(low.successor(), Some(next));
        assert_eq!(Id::MAX.successor(), None);
    }

    #[test]
    fn hex_reads_either_case_and_nothing_else() {
        let text = "631a31dd0a46257d5078c0dee4e66e26f73e42ac";
        assert_eq!(
            InfoHash::from_hex(&text.to_uppercase()).map(|h| h.to_string()).as_deref(),
            Some(text)
        );
        assert_eq!(InfoHash::from_hex(&text[1..]), None);
        assert_eq!(InfoHash::from_hex(&text.replace('6', "g")), None);
    }
}
