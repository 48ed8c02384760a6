//! How exactly a peer plays its vice: what the name leaves open is drawn once per peer, so that
//! each of a vice's forms is met somewhere and a peer is the same on every connection.
//!
//! Only values are chosen here; the conversation itself is in [`super`].

use crate::actors::peer::Step;
use crate::world::draw::draw;
use crate::world::torrent::METADATA_PIECE_LEN;
use crate::world::vice::PeerVice;

/// Sizes that no fetcher may accept (9.5, H23): below 10 bytes or above 32 MiB.
pub(super) const ABSURD_SIZES: [i64; 8] =
    [-1, 1, 9, i64::MIN, 32 * 1024 * 1024 + 1, 1 << 31, u32::MAX as i64, i64::MAX];

/// What a dictionary `m` may hold that gives no usable id (M2, 10.5); the last has no `m` at all.
pub(super) const BAD_IDS: [Option<&str>; 8] = [
    Some(""),
    Some("11:ut_metadatai0e"),
    Some("11:ut_metadatai-1e"),
    Some("11:ut_metadatai256e"),
    Some("11:ut_metadatai65538e"),
    Some("11:ut_metadata1:3"),
    Some("6:ut_pexi1e"),
    None,
];

/// What comes in place of the dictionary of an extension handshake. The first
/// [`GARBLED_READABLE`] are bencode at least.
pub(super) const GARBLED: [&[u8]; 6] = [
    b"le",
    b"i20e",
    b"11:ut_metadata",
    b"",
    b"d1:md11:ut_metadatai3e",
    b"\xff\x00garbage that is no bencode at all",
];
/// How many of [`GARBLED`] can be read, though they are no dictionaries.
#[cfg(test)]
pub(super) const GARBLED_READABLE: usize = 3;

/// What speaks another protocol says (M13); the first two of them speak first.
pub(super) const BANNERS: [&[u8]; 5] = [
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"220 mail.example.org ESMTP\r\n",
    b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
    // A TLS alert: unexpected message.
    b"\x15\x03\x01\x00\x02\x02\x0a",
    // The right length of name, another name.
    b"\x13BitTorrent PROTOCOL\0\0\0\0\0\0\0\0",
];
/// How many of [`BANNERS`] are said before the dialler said anything.
pub(super) const BANNERS_FIRST: usize = 2;

/// Headers of frames that a fetcher may not wait for (H28): far too long, too long by a byte, a
/// metadata message and an extension handshake beyond their limits.
pub(super) const HUGE_HEADERS: [&[u8]; 4] = [
    b"\xff\xff\xff\xff\x14\x00",
    b"\x00\x40\x00\x01\x07",
    b"\x00\x00\x44\x03\x14\x02",
    b"\x00\x01\x00\x03\x14\x00",
];

/// Where a connection is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    /// As soon as it is there.
    Connected,
    /// In the middle of the base handshake.
    Handshake,
    /// After the base handshake.
    Greeted,
    /// At the first request.
    Asked,
    /// In the middle of the first piece.
    Piece,
}

/// In the order of a conversation.
pub(super) const POINTS: [Point; 5] =
    [Point::Connected, Point::Handshake, Point::Greeted, Point::Asked, Point::Piece];

/// A vice and the form of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) vice: Option<PeerVice>,
    /// What chooses the form.
    pub(super) whim: usize,
}

impl Role {
    /// That of a peer in the world of `seed`.
    pub(super) fn of(seed: u64, peer: u32, vice: Option<PeerVice>) -> Self {
        Self { vice, whim: draw(seed, "whim", u64::from(peer)).usize(..1 << 16) }
    }

    pub(super) fn is(self, vice: PeerVice) -> bool {
        self.vice == Some(vice)
    }

    /// One of them.
    pub(super) fn pick<T: Copy>(self, from: &[T]) -> T {
        from[self.whim % from.len()]
    }

    /// How the connection ends at that point, if it does.
    pub(super) fn leaves(self, point: Point) -> Option<Step> {
        if self.pick(&POINTS) != point {
            return None;
        }
        match self.vice {
            Some(PeerVice::Reset) => Some(Step::Reset),
            Some(PeerVice::EarlyEnd) => Some(Step::Close),
            _ => None,
        }
    }

    /// What is said before the dialler said anything.
    pub(super) fn banner_first(self) -> Option<&'static [u8]> {
        let first = self.whim % BANNERS.len() < BANNERS_FIRST;
        (first && self.is(PeerVice::NotBittorrent)).then(|| self.pick(&BANNERS))
    }

    /// How long the metadata is said and made to be that really has `len` bytes.
    pub(super) fn shown_len(self, len: u32) -> u32 {
        if !self.is(PeerVice::WrongSize) {
            return len;
        }
        let whim = self.whim as u32;
        if whim.is_multiple_of(2) {
            len + 1 + whim % METADATA_PIECE_LEN
        } else {
            len - 1 - whim % (len / 2)
        }
    }

    /// Whether piece `piece` of `count` is refused by one that refuses some: always the last,
    /// never all of several.
    pub(super) fn rejects(self, piece: u32, count: u32) -> bool {
        piece + 1 == count || (piece > 0 && piece as usize % 2 == self.whim % 2)
    }
}
