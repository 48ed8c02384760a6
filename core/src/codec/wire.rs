//! The peer wire as bytes: the BEP 3 handshake, message frames, the BEP 10 extension handshake and
//! the BEP 9 metadata messages, each read and written.
//!
//! Pure codecs in both directions, so that clients and simulated peers share them. Nothing here
//! keeps state, and nothing allocates except by appending to the caller's buffer.

use crate::base::id::InfoHash;
use crate::codec::bencode::{self, Reader, Token, Writer};
use crate::limits::{
    EXTENDED_HANDSHAKE_DEPTH, EXTENDED_HANDSHAKE_TOKENS, METADATA_HEAD_DEPTH, METADATA_HEAD_TOKENS,
};

/// Length of the base handshake in bytes (BEP 3).
pub const HANDSHAKE_LEN: usize = 68;

/// What every base handshake starts with (BEP 3).
pub const PROTOCOL: [u8; 20] = *b"\x13BitTorrent protocol";

/// Where the infohash ends in the base handshake (BEP 3).
pub const HANDSHAKE_HASH_END: usize = 48;

/// Our two letters in Azureus-style peer ids and in the KRPC version (BEP 20). The project's
/// initials `DE` belong to Deluge; `EY` is in neither BEP 20's list nor Transmission's.
pub const CLIENT_LETTERS: [u8; 2] = *b"EY";

/// How our peer ids start (BEP 20): letters, then version 0.1.0.0.
pub const PEER_ID_PREFIX: [u8; 8] =
    [b'-', CLIENT_LETTERS[0], CLIENT_LETTERS[1], b'0', b'1', b'0', b'0', b'-'];

/// Our client name in the extension handshake (BEP 10).
pub const CLIENT_NAME: &[u8] = b"DHT-Estudely 0.1.0";

/// Message id of the extension protocol (BEP 10).
pub const EXTENDED: u8 = 20;

/// Extension id of the extension handshake (BEP 10).
pub const EXTENDED_HANDSHAKE: u8 = 0;

/// The extension id we give `ut_metadata`: incoming metadata messages carry it (BEP 10).
pub const OUR_METADATA_ID: u8 = 2;

/// Bytes of a frame before the message's own: length prefix (BEP 3).
pub const LENGTH_LEN: usize = 4;

/// Which of the eight reserved bytes holds the extension protocol's bit, and the bit (BEP 10).
const EXTENSION_BIT: (usize, u8) = (5, 0x10);

/// The base handshake after its protocol string (BEP 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Feature bits.
    pub reserved: [u8; 8],
    /// The torrent that the connection is about.
    pub info_hash: InfoHash,
    /// Who speaks; opaque.
    pub peer_id: [u8; 20],
}

impl Handshake {
    /// Our handshake: only the extension protocol's bit is set.
    pub fn new(info_hash: InfoHash, peer_id: [u8; 20]) -> Self {
        let mut reserved = [0; 8];
        reserved[EXTENSION_BIT.0] = EXTENSION_BIT.1;
        Self { reserved, info_hash, peer_id }
    }

    /// Reads 68 bytes; `None` if they do not start with the protocol's name.
    pub fn parse(bytes: &[u8; HANDSHAKE_LEN]) -> Option<Self> {
        let rest = bytes.strip_prefix(&PROTOCOL)?;
        let (reserved, rest) = rest.split_first_chunk::<8>()?;
        let (info_hash, rest) = rest.split_first_chunk::<20>()?;
        let (peer_id, _) = rest.split_first_chunk::<20>()?;
        Some(Self { reserved: *reserved, info_hash: InfoHash(*info_hash), peer_id: *peer_id })
    }

    /// The 68 bytes.
    pub fn to_bytes(&self) -> [u8; HANDSHAKE_LEN] {
        let mut bytes = [0; HANDSHAKE_LEN];
        let (head, peer_id) = bytes.split_at_mut(HANDSHAKE_HASH_END);
        let (head, info_hash) = head.split_at_mut(HANDSHAKE_HASH_END - InfoHash::LEN);
        let (protocol, reserved) = head.split_at_mut(PROTOCOL.len());
        protocol.copy_from_slice(&PROTOCOL);
        reserved.copy_from_slice(&self.reserved);
        info_hash.copy_from_slice(&self.info_hash.0);
        peer_id.copy_from_slice(&self.peer_id);
        bytes
    }

    /// Appends the 68 bytes.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bytes());
    }

    /// Whether the speaker knows the extension protocol (BEP 10).
    pub fn has_extensions(&self) -> bool {
        self.reserved[EXTENSION_BIT.0] & EXTENSION_BIT.1 != 0
    }
}

/// Appends a frame: length prefix, then what `fill` appends.
pub fn emit_frame(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_LEN]);
    fill(out);
    let length = (out.len() - start - LENGTH_LEN) as u32;
    out[start..start + LENGTH_LEN].copy_from_slice(&length.to_be_bytes());
}

/// Appends an extension message: frame, ids, then what `fill` appends (BEP 10).
pub fn emit_extended(out: &mut Vec<u8>, id: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    emit_frame(out, |out| {
        out.extend_from_slice(&[EXTENDED, id]);
        fill(out);
    });
}

/// What we read of an extension handshake (BEP 10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions<'a> {
    /// The id `m` gives `ut_metadata`; 0 withdraws it, a value that is no number counts as 0.
    pub ut_metadata: Option<i64>,
    /// `metadata_size` in bytes, if it is a number, or the digits of one (BEP 9, M1).
    pub metadata_size: Option<i64>,
    /// `v`, the client's name as sent.
    pub client: Option<&'a [u8]>,
}

impl<'a> Extensions<'a> {
    /// Reads the payload of an extension handshake. Of repeated keys the first counts, unknown
    /// ones are skipped, bytes after the dictionary are ignored. A payload whose root is no
    /// dictionary says nothing.
    pub fn parse(payload: &'a [u8]) -> Result<Self, bencode::Error> {
        let mut found = Self::default();
        found.read(payload)?;
        Ok(found)
    }

    /// As [`Extensions::parse`], of a payload whose end was cut off: says what is known by then.
    pub fn parse_front(front: &'a [u8]) -> Result<Self, bencode::Error> {
        let mut found = Self::default();
        match found.read(front) {
            Err(error) if error.kind != bencode::ErrorKind::UnexpectedEnd => Err(error),
            Ok(()) | Err(_) => Ok(found),
        }
    }

    fn read(&mut self, payload: &'a [u8]) -> Result<(), bencode::Error> {
        let mut reader =
            Reader::<EXTENDED_HANDSHAKE_DEPTH>::new(payload, EXTENDED_HANDSHAKE_TOKENS);
        if !reader.enter_dict()? {
            return Ok(());
        }
        let mut names_read = false;
        while let Some(key) = reader.next_key()? {
            match key {
                b"m" if !names_read => {
                    names_read = true;
                    if reader.enter_dict()? {
                        while let Some(name) = reader.next_key()? {
                            if name == b"ut_metadata" && self.ut_metadata.is_none() {
                                self.ut_metadata = Some(reader.int()?.unwrap_or(0));
                            } else {
                                reader.raw()?;
                            }
                        }
                    }
                }
                b"metadata_size" if self.metadata_size.is_none() => {
                    self.metadata_size = match reader.next_token()? {
                        Some(Token::Int(size)) => Some(size),
                        Some(Token::Bytes(digits)) => in_digits(digits),
                        Some(other) => reader.skip(other).map(|()| None)?,
                        None => None,
                    };
                }
                b"v" if self.client.is_none() => self.client = reader.bytes()?,
                _ => {
                    reader.raw()?;
                }
            }
        }
        Ok(())
    }

    /// Appends an extension handshake with what is known, as one framed message.
    pub fn emit(&self, out: &mut Vec<u8>) {
        emit_extended(out, EXTENDED_HANDSHAKE, |out| {
            let mut writer = Writer::new(out);
            writer.dict().bytes(b"m").dict();
            if let Some(id) = self.ut_metadata {
                writer.bytes(b"ut_metadata").int(id);
            }
            writer.end();
            if let Some(size) = self.metadata_size {
                writer.bytes(b"metadata_size").int(size);
            }
            if let Some(client) = self.client {
                writer.bytes(b"v").bytes(client);
            }
            writer.end();
        });
    }
}

/// A number that came as text.
fn in_digits(text: &[u8]) -> Option<i64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_number)?.parse().ok()
}

/// Our extension handshake: no port, no size, no `upload_only`, for which seeds hang up (10.4).
pub const OUR_EXTENSIONS: Extensions<'static> = Extensions {
    ut_metadata: Some(OUR_METADATA_ID as i64),
    metadata_size: None,
    client: Some(CLIENT_NAME),
};

/// A metadata message without the bytes that follow its dictionary (BEP 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataMessage {
    /// Asks for a piece.
    Request {
        /// Index from 0, as sent.
        piece: i64,
    },
    /// Brings a piece: its bytes follow the dictionary.
    Data {
        /// Index from 0, as sent.
        piece: i64,
        /// The whole metadata's size in bytes, where named.
        total_size: Option<i64>,
    },
    /// Refuses a request.
    Reject {
        /// Index from 0, as sent.
        piece: i64,
    },
    /// A kind that must be ignored.
    Unknown,
}

/// Why a metadata message cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// The dictionary is no bencode, or longer than allowed.
    NotBencode(bencode::Error),
    /// The root is no dictionary, or has no number `msg_type`.
    NoKind,
    /// A request, data or reject without a number `piece`.
    NoPiece,
}

impl From<bencode::Error> for MessageError {
    fn from(error: bencode::Error) -> Self {
        Self::NotBencode(error)
    }
}

impl MetadataMessage {
    /// Reads the dictionary at the front of `payload`; keys may come in any order, with others
    /// between them (M6). Also returns the dictionary's length in bytes: where the data starts.
    pub fn parse(payload: &[u8]) -> Result<(Self, usize), MessageError> {
        let mut reader = Reader::<METADATA_HEAD_DEPTH>::new(payload, METADATA_HEAD_TOKENS);
        if !reader.enter_dict()? {
            return Err(MessageError::NoKind);
        }
        let (mut kind, mut piece, mut total_size) = (None, None, None);
        while let Some(key) = reader.next_key()? {
            match key {
                b"msg_type" if kind.is_none() => kind = reader.int()?,
                b"piece" if piece.is_none() => piece = reader.int()?,
                b"total_size" if total_size.is_none() => total_size = reader.int()?,
                _ => {
                    reader.raw()?;
                }
            }
        }
        let kind = kind.ok_or(MessageError::NoKind)?;
        if !(0..=2).contains(&kind) {
            return Ok((Self::Unknown, reader.position()));
        }
        let piece = piece.ok_or(MessageError::NoPiece)?;
        let message = match kind {
            0 => Self::Request { piece },
            1 => Self::Data { piece, total_size },
            _ => Self::Reject { piece },
        };
        Ok((message, reader.position()))
    }

    /// Appends the dictionary alone. [`MetadataMessage::Unknown`] is written as kind 3.
    pub fn emit_head(&self, out: &mut Vec<u8>) {
        let (kind, piece, total_size) = match *self {
            Self::Request { piece } => (0, Some(piece), None),
            Self::Data { piece, total_size } => (1, Some(piece), total_size),
            Self::Reject { piece } => (2, Some(piece), None),
            Self::Unknown => (3, None, None),
        };
        let mut writer = Writer::new(out);
        writer.dict().bytes(b"msg_type").int(kind);
        if let Some(piece) = piece {
            writer.bytes(b"piece").int(piece);
        }
        if let Some(total_size) = total_size {
            writer.bytes(b"total_size").int(total_size);
        }
        writer.end();
    }

    /// Appends the message framed, addressed with the receiver's extension id, with the bytes of
    /// the piece behind the dictionary.
    pub fn emit(&self, out: &mut Vec<u8>, id: u8, bytes: &[u8]) {
        emit_extended(out, id, |out| {
            self.emit_head(out);
            out.extend_from_slice(bytes);
        });
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_sets_only_the_extension_bit_and_reads_back() {
        let handshake = Handshake::new(InfoHash([7; 20]), [9; 20]);
        let mut out = Vec::new();
        handshake.emit(&mut out);
        assert_eq!(out.len(), HANDSHAKE_LEN);
        assert_eq!(out[20..28], [0, 0, 0, 0, 0, 0x10, 0, 0]);
        let bytes: [u8; HANDSHAKE_LEN] = out.try_into().expect("68 bytes");
        assert_eq!(Handshake::parse(&bytes), Some(handshake));
        assert!(handshake.has_extensions());
        let mut other = bytes;
        other[0] = 18;
        assert_eq!(Handshake::parse(&other), None);
    }

    #[test]
    fn bep_9_messages_are_written_as_printed_and_read_back() {
        use MetadataMessage::{Data, Reject, Request};
        let cases: [(MetadataMessage, &[u8]); 3] = [
            (Request { piece: 0 }, b"d8:msg_typei0e5:piecei0ee"),
            (
                Data { piece: 0, total_size: Some(34256) },
                b"d8:msg_typei1e5:piecei0e10:total_sizei34256ee",
            ),
            (Reject { piece: 0 }, b"d8:msg_typei2e5:piecei0ee"),
        ];
        for (message, head) in cases {
            let mut out = Vec::new();
            message.emit(&mut out, 3, b"xx");
            assert_eq!(out[..6], [0, 0, 0, head.len() as u8 + 4, EXTENDED, 3]);
            assert_eq!(&out[6..], [head, b"xx"].concat());
            assert_eq!(MetadataMessage::parse(&out[6..]), Ok((message, head.len())));
        }
    }

    #[test]
    fn the_minimal_extension_handshake_is_the_derived_one() {
        let mut out = Vec::new();
        Extensions { ut_metadata: Some(1), ..Extensions::default() }.emit(&mut out);
        assert_eq!(out, b"\x00\x00\x00\x1a\x14\x00d1:md11:ut_metadatai1eee");
    }

    #[test]
    fn an_extension_handshake_reads_its_first_values_and_skips_the_rest() {
        let payload = b"d1:md6:ut_pexi1e11:ut_metadatai3ee13:metadata_sizei31235e1:pi6881e\
            1:v13:\xc2\xb5Torrent 1.213:metadata_sizei7eetrailing";
        let found = Extensions::parse(payload).expect("valid");
        assert_eq!((found.ut_metadata, found.metadata_size), (Some(3), Some(31235)));
        assert_eq!(found.client, Some(b"\xc2\xb5Torrent 1.2".as_slice()));
        let odd = Extensions::parse(b"d1:md11:ut_metadata1:3e13:metadata_size1:9e").expect("valid");
        assert_eq!((odd.ut_metadata, odd.metadata_size), (Some(0), Some(9)));
        for odd in ["0:", "2:-9", "2:9 ", "20:99999999999999999999", "le", "d1:ai1ee"] {
            let payload = format!("d1:md11:ut_metadatai3ee13:metadata_size{odd}e");
            let found = Extensions::parse(payload.as_bytes()).expect("valid");
            assert_eq!((found.ut_metadata, found.metadata_size), (Some(3), None), "{odd}");
        }
        assert_eq!(Extensions::parse(b"le").expect("valid"), Extensions::default());
        assert!(Extensions::parse(b"d1:m").is_err());

        let whole = b"d1:md11:ut_metadatai3ee13:metadata_sizei9e1:v9:A client!e";
        for end in 0..whole.len() {
            let front = Extensions::parse_front(&whole[..end]).expect("only cut off");
            assert!([None, Some(3)].contains(&front.ut_metadata), "{end}");
            assert!([None, Some(9)].contains(&front.metadata_size), "{end}");
        }
        assert_eq!(Extensions::parse_front(whole), Extensions::parse(whole));
        assert!(Extensions::parse_front(b"dx").is_err());
    }

    #[test]
    fn b7_depth_and_tokens_of_peer_messages_are_capped_at_the_limit_and_not_before() {
        let nested = |front: &str, lists: usize| {
            format!("{front}1:z{}{}e", "l".repeat(lists), "e".repeat(lists)).into_bytes()
        };
        let flat = |front: &str, items: usize| format!("{front}1:zl{}ee", "0:".repeat(items));
        // The dictionary is one level; it, a key, the list and two ends are five tokens.
        assert!(Extensions::parse(&nested("d", 9)).is_ok());
        assert!(Extensions::parse(&nested("d", 10)).is_err());
        assert!(Extensions::parse(flat("d", 4_091).as_bytes()).is_ok());
        assert!(Extensions::parse(flat("d", 4_092).as_bytes()).is_err());
        // Of a metadata message four tokens more.
        let head = "d8:msg_typei1e5:piecei0e";
        assert!(MetadataMessage::parse(&nested(head, 3)).is_ok());
        assert!(MetadataMessage::parse(&nested(head, 4)).is_err());
        assert!(MetadataMessage::parse(flat(head, 23).as_bytes()).is_ok());
        assert!(MetadataMessage::parse(flat(head, 24).as_bytes()).is_err());
    }

    #[test]
    fn h4_numbers_of_any_length_spoil_no_peer_message() {
        let nines = "9".repeat(300);
        for number in ["9223372036854775808", "-99999999999999999999", &nines] {
            let payload =
                format!("d1:md1:ai{number}e11:ut_metadatai3ee13:metadata_sizei9e4:reqqi{number}ee");
            let found = Extensions::parse(payload.as_bytes()).expect("valid");
            assert_eq!((found.ut_metadata, found.metadata_size), (Some(3), Some(9)), "{number}");
            let head = format!("d8:msg_typei1e5:piecei4e1:zi{number}ee");
            let read = MetadataMessage::parse(head.as_bytes());
            let data = MetadataMessage::Data { piece: 4, total_size: None };
            assert_eq!(read, Ok((data, head.len())), "{number}");
            let odd = format!("d8:msg_typei{number}ee");
            let read = MetadataMessage::parse(odd.as_bytes());
            assert_eq!(read, Ok((MetadataMessage::Unknown, odd.len())), "an unknown kind");
        }
    }

    #[test]
    fn metadata_heads_are_read_in_any_key_order_with_strangers_between() {
        let (message, length) = MetadataMessage::parse(
            b"d1:ad1:bi1ee5:piecei4e8:msg_typei1e1:zle10:total_sizei9ee\0\0",
        )
        .expect("valid");
        assert_eq!(message, MetadataMessage::Data { piece: 4, total_size: Some(9) });
        assert_eq!(length, 57);
        let unknown = MetadataMessage::parse(b"d8:msg_typei9ee");
        assert_eq!(unknown, Ok((MetadataMessage::Unknown, 15)));
        assert_eq!(MetadataMessage::parse(b"de"), Err(MessageError::NoKind));
        assert_eq!(MetadataMessage::parse(b"d8:msg_typei1ee"), Err(MessageError::NoPiece));
        assert_eq!(MetadataMessage::parse(b"i1e"), Err(MessageError::NoKind));
    }
}
