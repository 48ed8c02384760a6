//! Packets of uTP (BEP 29): bytes to meaning and back. No state.
//!
//! A packet is one UDP payload: a header of 20 bytes, a chain of extensions, the payload.

use std::fmt;

use crate::limits::UTP_RECEIVED_MAX;
use crate::utp::seq::Seq;

/// Bytes of the header (29.1).
pub const HEADER_LEN: usize = 20;

/// The only version that there is; the low half of the first byte (29.1).
const VERSION: u8 = 1;

/// The extension that names packets received beyond a gap (29.3).
const SELECTIVE_ACK: u8 = 1;

/// The old extension that names features (29.3).
const FEATURE_BITS: u8 = 2;

/// Bytes of [`FEATURE_BITS`]: no other length is used.
const FEATURE_BITS_LEN: usize = 8;

/// Most bytes of a selective ack: its length is one byte.
pub const SELECTIVE_ACK_MAX: usize = 255;

/// Whether a datagram that begins with this byte is one of uTP: version 1 and a known type (29.2).
/// A KRPC message begins with `d`, so that one socket may carry both.
pub const fn is_utp(first_byte: u8) -> bool {
    Kind::of(first_byte).is_some()
}

/// What a packet is for (29.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A part of the stream.
    Data,
    /// The end of the stream; may carry its last part.
    Fin,
    /// An acknowledgement only; its sequence number is that of the next packet with data.
    State,
    /// The connection is unknown, or is given up.
    Reset,
    /// A wish to connect.
    Syn,
}

impl Kind {
    /// The kind that a first byte names, if its version is known, too.
    const fn of(first_byte: u8) -> Option<Self> {
        match first_byte {
            0x01 => Some(Self::Data),
            0x11 => Some(Self::Fin),
            0x21 => Some(Self::State),
            0x31 => Some(Self::Reset),
            0x41 => Some(Self::Syn),
            _ => None,
        }
    }

    /// The first byte of such a packet.
    const fn first_byte(self) -> u8 {
        let kind = match self {
            Self::Data => 0,
            Self::Fin => 1,
            Self::State => 2,
            Self::Reset => 3,
            Self::Syn => 4,
        };
        kind << 4 | VERSION
    }
}

/// The 20 bytes in front of each packet, all numbers big endian (29.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the packet is for.
    pub kind: Kind,
    /// The receiver's id of the connection; in a SYN the sender's own.
    pub connection_id: u16,
    /// The sender's clock when it was sent, in microseconds; it wraps.
    pub timestamp: u32,
    /// The sender's clock minus [`Header::timestamp`] of the packet it received last, in
    /// microseconds.
    pub timestamp_difference: u32,
    /// Bytes that the sender has room for.
    pub window: u32,
    /// The packet's own number.
    pub seq: Seq,
    /// The last number up to which the sender received everything.
    pub ack: Seq,
}

/// Which packets arrived beyond a gap: bit `i`, the lowest of a byte first, stands for the packet
/// `ack + 2 + i` (29.3). The packet `ack + 1` is the one that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectiveAck<'a>(&'a [u8]);

impl<'a> SelectiveAck<'a> {
    /// A mask of 1 to 255 bytes.
    pub fn new(mask: &'a [u8]) -> Option<Self> {
        (1..=SELECTIVE_ACK_MAX).contains(&mask.len()).then_some(Self(mask))
    }

    /// Whether the packet `ack + 2 + index` arrived. Bits beyond the mask are not set.
    pub fn has(&self, index: usize) -> bool {
        self.0.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
    }

    /// Bits that it has, set or not.
    pub fn bits(&self) -> usize {
        self.0.len() * 8
    }
}

/// A packet that was read, or is to be written. Borrows from the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The first 20 bytes.
    pub header: Header,
    /// The packets that arrived beyond a gap.
    pub selective_ack: Option<SelectiveAck<'a>>,
    /// What follows the last extension.
    pub payload: &'a [u8],
}

/// Why a datagram is no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketError {
    /// Shorter than a header.
    TooShort,
    /// Longer than [`UTP_RECEIVED_MAX`].
    TooLong,
    /// Of another version, or of a type that does not exist.
    NotUtp,
    /// An extension does not end within the datagram.
    CutExtension,
    /// A selective ack of no bytes.
    EmptySelectiveAck,
    /// The old extension bits are not 8 bytes long.
    BadFeatureBits,
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooShort => "shorter than a header",
            Self::TooLong => "longer than a packet can be",
            Self::NotUtp => "another version or type",
            Self::CutExtension => "an extension goes beyond the end",
            Self::EmptySelectiveAck => "a selective ack without a byte",
            Self::BadFeatureBits => "extension bits of another length",
        })
    }
}

impl std::error::Error for PacketError {}

impl<'a> Packet<'a> {
    /// A packet without extensions and payload.
    pub const fn bare(header: Header) -> Self {
        Self { header, selective_ack: None, payload: &[] }
    }

    /// Reads one. Extensions of unknown types are skipped; of several selective acks the first
    /// counts (29.3).
    pub fn parse(datagram: &'a [u8]) -> Result<Self, PacketError> {
        if datagram.len() > UTP_RECEIVED_MAX {
            return Err(PacketError::TooLong);
        }
        let (front, mut rest) =
            datagram.split_first_chunk::<HEADER_LEN>().ok_or(PacketError::TooShort)?;
        let (mut extension, header) = read_header(front).ok_or(PacketError::NotUtp)?;
        let mut selective_ack = None;
        while extension != 0 {
            let ([next, len], after) =
                rest.split_first_chunk::<2>().ok_or(PacketError::CutExtension)?;
            let (body, after) =
                after.split_at_checked(usize::from(*len)).ok_or(PacketError::CutExtension)?;
            match extension {
                SELECTIVE_ACK => {
                    let mask = SelectiveAck::new(body).ok_or(PacketError::EmptySelectiveAck)?;
                    selective_ack = selective_ack.or(Some(mask));
                }
                FEATURE_BITS if body.len() != FEATURE_BITS_LEN => {
                    return Err(PacketError::BadFeatureBits);
                }
                _ => {}
            }
            (extension, rest) = (*next, after);
        }
        Ok(Self { header, selective_ack, payload: rest })
    }

    /// Appends it; the datagram is [`Packet::len`] bytes longer then.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let header = &self.header;
        out.push(header.kind.first_byte());
        out.push(if self.selective_ack.is_some() { SELECTIVE_ACK } else { 0 });
        out.extend_from_slice(&header.connection_id.to_be_bytes());
        for field in [header.timestamp, header.timestamp_difference, header.window] {
            out.extend_from_slice(&field.to_be_bytes());
        }
        out.extend_from_slice(&header.seq.0.to_be_bytes());
        out.extend_from_slice(&header.ack.0.to_be_bytes());
        if let Some(SelectiveAck(mask)) = self.selective_ack {
            // A mask is 1 to 255 bytes long.
            out.extend_from_slice(&[0, mask.len() as u8]);
            out.extend_from_slice(mask);
        }
        out.extend_from_slice(self.payload);
    }

    /// Bytes that [`Packet::emit`] appends.
    #[allow(clippy::len_without_is_empty, reason = "a packet has 20 bytes at least")]
    pub fn len(&self) -> usize {
        let mask = self.selective_ack.map_or(0, |SelectiveAck(mask)| 2 + mask.len());
        HEADER_LEN + mask + self.payload.len()
    }
}

/// The type of the first extension, and the header.
fn read_header(bytes: &[u8; HEADER_LEN]) -> Option<(u8, Header)> {
    let [first, extension, id @ .., s0, s1, a0, a1] = bytes;
    let [i0, i1, times @ ..] = id;
    let kind = Kind::of(*first)?;
    let word = |at: usize| -> u32 {
        times[at..at + 4].iter().fold(0, |word, byte| word << 8 | u32::from(*byte))
    };
    let header = Header {
        kind,
        connection_id: u16::from_be_bytes([*i0, *i1]),
        timestamp: word(0),
        timestamp_difference: word(4),
        window: word(8),
        seq: Seq(u16::from_be_bytes([*s0, *s1])),
        ack: Seq(u16::from_be_bytes([*a0, *a1])),
    };
    Some((*extension, header))
}

#[cfg(test)]
mod tests;
