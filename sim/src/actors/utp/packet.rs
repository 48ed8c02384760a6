//! A uTP packet, read and written by hand.

/// A part of the stream.
pub const DATA: u8 = 0;
/// The end of the stream.
pub const FIN: u8 = 1;
/// An acknowledgement.
pub const STATE: u8 = 2;
/// The connection is unknown.
pub const RESET: u8 = 3;
/// A wish to connect.
pub const SYN: u8 = 4;

/// Bytes before extensions and payload.
const HEADER: usize = 20;

/// The fields of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// One of the five types.
    pub kind: u8,
    /// The connection.
    pub id: u16,
    /// The sender's clock.
    pub time: u32,
    /// The delay that it measured.
    pub difference: u32,
    /// Its room, in bytes.
    pub window: u32,
    /// Its number.
    pub seq: u16,
    /// What it acknowledges.
    pub ack: u16,
    /// What arrived beyond a gap; empty without that extension.
    pub mask: &'a [u8],
    /// Bytes of the stream.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads one; `None` for what is none.
    pub fn read(datagram: &'a [u8]) -> Option<Self> {
        let (header, mut rest) = datagram.split_at_checked(HEADER)?;
        let word = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|byte| header[at + byte]));
        let half = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let (kind, mut extension, mut mask) = (header[0] >> 4, header[1], &[][..]);
        if header[0] & 15 != 1 || kind > SYN {
            return None;
        }
        while extension != 0 {
            let len = usize::from(*rest.get(1)?);
            let body = rest.get(2..2 + len)?;
            if extension == 1 {
                mask = body;
            }
            (extension, rest) = (rest[0], &rest[2 + len..]);
        }
        let (id, seq, ack) = (half(2), half(16), half(18));
        let (time, difference, window) = (word(4), word(8), word(12));
        Some(Self { kind, id, time, difference, window, seq, ack, mask, payload: rest })
    }

    /// Writes it.
    pub fn write(&self) -> Vec<u8> {
        let mut out = vec![self.kind << 4 | 1, u8::from(!self.mask.is_empty())];
        out.extend(self.id.to_be_bytes());
        out.extend([self.time, self.difference, self.window].map(u32::to_be_bytes).concat());
        out.extend([self.seq, self.ack].map(u16::to_be_bytes).concat());
        if !self.mask.is_empty() {
            out.extend([0, self.mask.len() as u8]);
            out.extend(self.mask);
        }
        out.extend(self.payload);
        out
    }
}
