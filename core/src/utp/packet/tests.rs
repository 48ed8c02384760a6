use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const HEADER: Header = Header {
    kind: Kind::State,
    connection_id: 0x1234,
    timestamp: 0x0102_0304,
    timestamp_difference: 0x0506_0708,
    window: 0x0001_0000,
    seq: Seq(0xabcd),
    ack: Seq(0xef01),
};

/// A header that announces `extension` first, and what follows it.
fn datagram(first: u8, extension: u8, rest: &[u8]) -> Vec<u8> {
    let fields = b"\x12\x34\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00\x00\xab\xcd\xef\x01";
    [&[first, extension][..], fields, rest].concat()
}

#[test]
fn the_header_is_twenty_bytes_in_the_order_of_the_specification() {
    let mut written = Vec::new();
    Packet::bare(HEADER).emit(&mut written);
    assert_eq!(written, datagram(0x21, 0, b""));
    assert_eq!(Packet::parse(&written), Ok(Packet::bare(HEADER)));
}

#[test]
fn five_first_bytes_are_utp_and_none_of_them_is_bencode() {
    let known: Vec<u8> = (0..=u8::MAX).filter(|byte| is_utp(*byte)).collect();
    assert_eq!(known, [0x01, 0x11, 0x21, 0x31, 0x41]);
    assert!(!is_utp(b'd'));
}

#[test]
fn a_selective_ack_may_have_any_length_but_none() {
    for len in [1, 2, 4, 8, 254, 255] {
        let mask = vec![0x81; len];
        let rest = [&[0, len as u8][..], &mask, b"rest"].concat();
        let read = datagram(0x21, 1, &rest);
        let packet = Packet::parse(&read).expect("a packet");
        let acks = packet.selective_ack.expect("a mask");
        assert_eq!(acks.bits(), len * 8);
        assert_eq!(packet.payload, b"rest");
        // The lowest bit of a byte comes first.
        let set: Vec<usize> = (0..len * 8 + 9).filter(|index| acks.has(*index)).collect();
        let expected: Vec<usize> = (0..len).flat_map(|byte| [byte * 8, byte * 8 + 7]).collect();
        assert_eq!(set, expected);
    }
    assert_eq!(SelectiveAck::new(&[]), None);
    assert_eq!(SelectiveAck::new(&[0; 256]), None);
}

#[test]
fn a_chain_is_followed_to_its_end_and_a_broken_one_refused() {
    let many = [&[1, 4][..], b"what", &[2, 1, 0xff], &[0, 8], b"features", b"stream"].concat();
    let read = datagram(0x01, 9, &many);
    let packet = Packet::parse(&read).expect("unknown ones are skipped");
    assert_eq!(packet.payload, b"stream");
    assert_eq!(packet.selective_ack, SelectiveAck::new(&[0xff]));
    let twice = datagram(0x01, 1, &[1, 1, 0x01, 0, 1, 0x02]);
    let packet = Packet::parse(&twice).expect("two selective acks");
    assert_eq!(packet.selective_ack, SelectiveAck::new(&[0x01]));
    for (first, extension, rest, error) in [
        (0x21, 1, &b""[..], PacketError::CutExtension),
        (0x21, 1, b"\x00", PacketError::CutExtension),
        (0x21, 1, b"\x00\x04ack", PacketError::CutExtension),
        (0x21, 1, b"\x01\x04ackd", PacketError::CutExtension),
        (0x21, 1, b"\x00\x00", PacketError::EmptySelectiveAck),
        (0x21, 2, b"\x00\x041234", PacketError::BadFeatureBits),
        (0x51, 0, b"", PacketError::NotUtp),
        (0x22, 0, b"", PacketError::NotUtp),
    ] {
        assert_eq!(Packet::parse(&datagram(first, extension, rest)), Err(error));
    }
}

#[test]
fn lengths_are_taken_at_the_limits_and_refused_one_past_them() {
    let longest = datagram(0x01, 0, &[7; 1_452]);
    assert_eq!(longest.len(), 1_472);
    assert_eq!(Packet::parse(&longest).map(|packet| packet.payload.len()), Ok(1_452));
    let longer = datagram(0x01, 0, &[7; 1_453]);
    assert_eq!(Packet::parse(&longer), Err(PacketError::TooLong));
    let short = datagram(0x01, 0, b"");
    assert!(Packet::parse(&short).is_ok());
    assert_eq!(Packet::parse(&short[..19]), Err(PacketError::TooShort));
}

fn any_header() -> impl Strategy<Value = Header> {
    let kinds = vec![Kind::Data, Kind::Fin, Kind::State, Kind::Reset, Kind::Syn];
    (prop::sample::select(kinds), any::<[u16; 3]>(), any::<[u32; 3]>()).prop_map(
        |(kind, [connection_id, seq, ack], [timestamp, timestamp_difference, window])| Header {
            kind,
            connection_id,
            timestamp,
            timestamp_difference,
            window,
            seq: Seq(seq),
            ack: Seq(ack),
        },
    )
}

proptest! {
    #[test]
    fn a_packet_that_is_written_reads_back(
        header in any_header(),
        mask in vec(any::<u8>(), 0..=255),
        payload in vec(any::<u8>(), 0..=1_190),
    ) {
        let packet =
            Packet { header, selective_ack: SelectiveAck::new(&mask), payload: &payload };
        let mut written = b"kept".to_vec();
        packet.emit(&mut written);
        prop_assert_eq!(written.len(), 4 + packet.len());
        prop_assert_eq!(Packet::parse(&written[4..]), Ok(packet));
    }

    #[test]
    fn any_bytes_are_read_or_refused_and_what_is_read_is_stable(
        first in prop::sample::select(vec![0x01, 0x11, 0x21, 0x31, 0x41, b'd']),
        extension in 0..4_u8,
        rest in vec(any::<u8>(), 0..300),
    ) {
        let bytes = datagram(first, extension, &rest);
        if let Ok(packet) = Packet::parse(&bytes) {
            prop_assert!(is_utp(bytes[0]));
            let mut written = Vec::new();
            packet.emit(&mut written);
            // Unknown extensions are gone; all else is there.
            prop_assert!(written.len() <= bytes.len());
            prop_assert_eq!(Packet::parse(&written), Ok(packet));
        }
    }
}
