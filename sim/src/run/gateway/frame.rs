//! How virtual addresses and connection events travel between turmoil hosts.
//!
//! A datagram is a mark whether it is forged, its virtual source and destination, and its payload.
//! A stream towards a gateway begins with the connection's number and its virtual destination;
//! everything after that is what the crawler writes. Towards the crawler it is a row of frames.
//! The crawler's core never sees any of this.

use std::net::{IpAddr, SocketAddr};

use estudely_core::internal::addr::parse_peer;

use crate::net::event::Conn;
use crate::net::internet::Delivery;

/// Most bytes in one frame.
const FRAME_MAX: usize = 1 << 24;

/// Appends a datagram with its header.
pub(super) fn emit_datagram(
    out: &mut Vec<u8>,
    from: SocketAddr,
    to: SocketAddr,
    forged: bool,
    payload: &[u8],
) {
    out.push(u8::from(forged));
    emit_addr(out, from);
    emit_addr(out, to);
    out.extend_from_slice(payload);
}

/// Reads a datagram.
pub(super) fn parse_datagram(mut bytes: &[u8]) -> Option<Delivery> {
    let forged = *bytes.split_off_first()? == 1;
    let from = parse_addr(&mut bytes)?;
    let to = parse_addr(&mut bytes)?;
    Some(Delivery::Datagram { from, to, payload: bytes.to_vec(), forged })
}

/// What a stream begins with.
pub(super) fn hello(conn: Conn, to: SocketAddr) -> Vec<u8> {
    let mut out = conn.0.to_be_bytes().to_vec();
    emit_addr(&mut out, to);
    out
}

/// Takes the greeting off the front of what has arrived; `None` until it is whole.
pub(super) fn take_hello(bytes: &mut Vec<u8>) -> Option<(Conn, SocketAddr)> {
    let mut rest = &bytes[..];
    let conn = Conn(u64::from_be_bytes(*rest.split_off(..8)?.first_chunk()?));
    let to = parse_addr(&mut rest)?;
    let len = bytes.len() - rest.len();
    bytes.drain(..len);
    Some((conn, to))
}

/// A connection's event as a frame; `None` for what does not belong to a connection.
pub(super) fn frame(delivery: &Delivery) -> Option<(Conn, Vec<u8>)> {
    let (conn, kind, bytes): (_, _, &[u8]) = match delivery {
        Delivery::Datagram { .. } => return None,
        Delivery::Accepted(conn) => (conn, 0, &[]),
        Delivery::Refused(conn) => (conn, 1, &[]),
        Delivery::Closed(conn) => (conn, 2, &[]),
        Delivery::Reset(conn) => (conn, 3, &[]),
        Delivery::Bytes(conn, bytes) => (conn, 4, bytes),
    };
    assert!(bytes.len() <= FRAME_MAX, "a delivery of {} bytes", bytes.len());
    let mut frame = vec![kind];
    frame.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    frame.extend_from_slice(bytes);
    Some((*conn, frame))
}

/// Takes the next whole frame of `conn` off the front of what has arrived.
pub(super) fn take_frame(conn: Conn, bytes: &mut Vec<u8>) -> Option<Delivery> {
    let mut rest = &bytes[..];
    let kind = *rest.split_off_first()?;
    let len = u32::from_be_bytes(*rest.split_off(..4)?.first_chunk()?) as usize;
    let body = rest.split_off(..len)?.to_vec();
    bytes.drain(..5 + len);
    Some(match kind {
        0 => Delivery::Accepted(conn),
        1 => Delivery::Refused(conn),
        2 => Delivery::Closed(conn),
        3 => Delivery::Reset(conn),
        _ => Delivery::Bytes(conn, body),
    })
}

/// A length, the address and the port.
fn emit_addr(out: &mut Vec<u8>, addr: SocketAddr) {
    match addr.ip() {
        IpAddr::V4(ip) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(18);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&addr.port().to_be_bytes());
}

fn parse_addr(bytes: &mut &[u8]) -> Option<SocketAddr> {
    let len = usize::from(*bytes.split_off_first()?);
    parse_peer(bytes.split_off(..len)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn delivery() -> impl Strategy<Value = Delivery> {
        let conn = Just(Conn(7));
        prop_oneof![
            conn.prop_map(Delivery::Accepted),
            conn.prop_map(Delivery::Refused),
            conn.prop_map(Delivery::Closed),
            conn.prop_map(Delivery::Reset),
            (conn, proptest::collection::vec(any::<u8>(), 0..40))
                .prop_map(|(conn, bytes)| Delivery::Bytes(conn, bytes)),
        ]
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_the_stream_is_cut(
            sent in proptest::collection::vec(delivery(), 0..8), cut in 1usize..16,
        ) {
            let stream: Vec<u8> = sent.iter().flat_map(|d| frame(d).expect("of a conn").1).collect();
            let (mut pending, mut read) = (Vec::new(), Vec::new());
            for piece in stream.chunks(cut) {
                pending.extend_from_slice(piece);
                read.extend(std::iter::from_fn(|| take_frame(Conn(7), &mut pending)));
            }
            prop_assert_eq!(format!("{read:?}"), format!("{sent:?}"));
            prop_assert!(pending.is_empty());
        }

        #[test]
        fn datagrams_and_greetings_keep_their_addresses(
            from: SocketAddr, to: SocketAddr, forged: bool, payload: Vec<u8>, number: u64,
        ) {
            let strip = |addr: SocketAddr| SocketAddr::new(addr.ip(), addr.port());
            let (from, to) = (strip(from), strip(to));
            let mut out = Vec::new();
            emit_datagram(&mut out, from, to, forged, &payload);
            let expected = Delivery::Datagram { from, to, payload, forged };
            let read = parse_datagram(&out).expect("what was written reads");
            prop_assert_eq!(format!("{read:?}"), format!("{expected:?}"));
            let mut stream = hello(Conn(number), to);
            stream.push(9);
            prop_assert_eq!(take_hello(&mut stream), Some((Conn(number), to)));
            prop_assert_eq!(stream, [9]);
        }
    }

    #[test]
    fn a_greeting_that_is_not_whole_waits() {
        let mut part = hello(Conn(1), SocketAddr::from(([1, 2, 3, 4], 5)));
        part.pop();
        let before = part.clone();
        assert_eq!(take_hello(&mut part), None);
        assert_eq!(part, before);
    }
}
