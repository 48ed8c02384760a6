//! A uTP packet (BEP 29) as the checker reads it: its type, its chain of extensions, and how much
//! of the stream it carries. Who may be sent one is said elsewhere.

/// Bytes of the header.
const HEADER: usize = 20;

/// The type of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PacketKind {
    Data,
    Fin,
    State,
    Reset,
    Syn,
}

impl PacketKind {
    /// Whether such a packet only acknowledges or ends a connection.
    pub(super) const fn ends(self) -> bool {
        !matches!(self, Self::Syn | Self::Data)
    }

    /// Whether it may carry a part of the stream.
    pub(super) const fn carries(self) -> bool {
        matches!(self, Self::Data | Self::Fin)
    }
}

/// A packet, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) kind: PacketKind,
    /// The connection.
    pub(super) id: u16,
    /// Bytes of the stream in it.
    pub(super) payload: usize,
}

impl Packet {
    /// Reads one: version 1, a known type, and a chain of extensions that ends within it. Of those
    /// that are known, a selective ack has a byte at least and the old extension bits have eight.
    pub(super) fn read(datagram: &[u8]) -> Option<Self> {
        let (header, mut rest) = datagram.split_first_chunk::<HEADER>()?;
        let kind = match header[0] {
            0x01 => PacketKind::Data,
            0x11 => PacketKind::Fin,
            0x21 => PacketKind::State,
            0x31 => PacketKind::Reset,
            0x41 => PacketKind::Syn,
            _ => return None,
        };
        let mut extension = header[1];
        while extension != 0 {
            let ([next, length], after) = rest.split_first_chunk::<2>()?;
            let plausible = match extension {
                1 => *length > 0,
                2 => *length == 8,
                _ => true,
            };
            rest = after.get(usize::from(*length)..).filter(|_| plausible)?;
            extension = *next;
        }
        let id = u16::from_be_bytes([header[2], header[3]]);
        Some(Self { kind, id, payload: rest.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header that announces this extension first, and what follows it.
    fn packet(first: u8, extension: u8, rest: &[u8]) -> Vec<u8> {
        [&[first, extension][..], &[0; HEADER - 2], rest].concat()
    }

    #[test]
    fn a_packet_is_one_by_version_type_and_chain_of_extensions() {
        for (datagram, read) in [
            (packet(0x41, 0, b""), Some((PacketKind::Syn, 0))),
            (packet(0x01, 0, b"stream"), Some((PacketKind::Data, 6))),
            (packet(0x21, 1, b"\x00\x04ackd"), Some((PacketKind::State, 0))),
            (packet(0x01, 2, b"\x01\x0812345678\x00\x01abc"), Some((PacketKind::Data, 2))),
            (packet(0x11, 3, b"\x00\x00"), Some((PacketKind::Fin, 0))),
            (packet(0x31, 0, b"")[..19].to_vec(), None),
            (packet(0x51, 0, b""), None),
            (packet(0x40, 0, b""), None),
            (packet(0x21, 1, b""), None),
            (packet(0x21, 1, b"\x00\x04ack"), None),
            (packet(0x21, 1, b"\x00\x00"), None),
            (packet(0x21, 2, b"\x00\x041234"), None),
            (packet(0x21, 1, b"\x01\x04ackd"), None),
        ] {
            let packet = Packet::read(&datagram).map(|packet| (packet.kind, packet.payload));
            assert_eq!(packet, read, "{}", datagram.escape_ascii());
        }
    }
}
