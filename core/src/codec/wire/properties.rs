//! Every message of the peer wire is read as it was written, and cut anywhere it is none.

use proptest::prelude::*;

use super::*;
use crate::codec::bencode::ErrorKind;

fn metadata_message() -> impl Strategy<Value = MetadataMessage> {
    use MetadataMessage::{Data, Reject, Request, Unknown};
    prop_oneof![
        any::<i64>().prop_map(|piece| Request { piece }),
        any::<(i64, Option<i64>)>().prop_map(|(piece, total_size)| Data { piece, total_size }),
        any::<i64>().prop_map(|piece| Reject { piece }),
        Just(Unknown),
    ]
}

/// The payload of the only frame in `out`, which is an extension message under `id`.
fn payload(out: &[u8], id: u8) -> &[u8] {
    let (length, message) = out.split_first_chunk::<LENGTH_LEN>().expect("a length");
    assert_eq!(u32::from_be_bytes(*length) as usize, message.len(), "one frame, exactly");
    assert_eq!(message[..2], [EXTENDED, id]);
    &message[2..]
}

proptest! {
    #[test]
    fn any_handshake_is_read_as_it_was_written(
        reserved: [u8; 8], hash: [u8; 20], peer_id: [u8; 20], at in 0..PROTOCOL.len(), bit in 0..8,
    ) {
        let handshake = Handshake { reserved, info_hash: InfoHash(hash), peer_id };
        let mut out = Vec::new();
        handshake.emit(&mut out);
        let mut bytes: [u8; HANDSHAKE_LEN] = out.try_into().expect("68 bytes");
        prop_assert_eq!(Handshake::parse(&bytes), Some(handshake));
        prop_assert_eq!(handshake.has_extensions(), reserved[5] & 0x10 != 0);
        prop_assert_eq!(&bytes[HANDSHAKE_HASH_END - 20..HANDSHAKE_HASH_END], hash);
        bytes[at] ^= 1u8 << bit;
        prop_assert_eq!(Handshake::parse(&bytes), None, "another protocol");
    }

    #[test]
    fn any_extension_handshake_is_read_as_it_was_written_and_never_from_a_part_of_it(
        ut_metadata: Option<i64>, metadata_size: Option<i64>, name: Option<Vec<u8>>, tail: Vec<u8>,
    ) {
        let ours = Extensions { ut_metadata, metadata_size, client: name.as_deref() };
        let mut out = Vec::new();
        ours.emit(&mut out);
        let whole = payload(&out, EXTENDED_HANDSHAKE);
        prop_assert_eq!(Extensions::parse(whole), Ok(ours));
        prop_assert_eq!(Extensions::parse_front(whole), Ok(ours));
        let followed = [whole, &tail].concat();
        prop_assert_eq!(Extensions::parse(&followed), Ok(ours));
        for end in 0..whole.len() {
            let error = Extensions::parse(&whole[..end]).expect_err("it is cut");
            prop_assert_eq!(error.kind, ErrorKind::UnexpectedEnd);
            prop_assert!(error.at <= end);
            // Of the front alone, what is known is right.
            let known = Extensions::parse_front(&whole[..end]).expect("only cut");
            prop_assert!(known.ut_metadata.is_none() || known.ut_metadata == ours.ut_metadata);
            prop_assert!(known.metadata_size.is_none() || known.metadata_size == ours.metadata_size);
            prop_assert!(known.client.is_none() || known.client == ours.client);
        }
    }

    #[test]
    fn any_metadata_message_is_read_as_it_was_written_and_never_from_a_part_of_its_head(
        message in metadata_message(), id: u8, piece: Vec<u8>,
    ) {
        let mut out = Vec::new();
        message.emit(&mut out, id, &piece);
        let payload = payload(&out, id);
        let head = payload.len() - piece.len();
        prop_assert_eq!(MetadataMessage::parse(payload), Ok((message, head)));
        prop_assert_eq!(&payload[head..], &piece[..]);
        for end in 0..head {
            match MetadataMessage::parse(&payload[..end]) {
                Err(MessageError::NotBencode(error)) => {
                    prop_assert_eq!(error.kind, ErrorKind::UnexpectedEnd);
                    prop_assert!(error.at <= end);
                }
                other => prop_assert!(false, "{:?} from {} bytes", other, end),
            }
        }
    }
}
