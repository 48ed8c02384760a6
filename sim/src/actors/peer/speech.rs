//! What a peer says, as bytes: each message of BEP 3, 9 and 10 that the conversation needs, well
//! formed or not as the caller wishes.
//!
//! Nothing here knows when to say it.

use estudely_core::InfoHash;

use super::{EXTENDED, HANDSHAKE_LEN};

/// Reserved bytes: which of them holds the bit of BEP 10, and the bit.
const EXTENSION_BIT: (usize, u8) = (5, 0x10);
/// The bit of BEP 5, for those with a DHT node.
const DHT_BIT: (usize, u8) = (7, 0x01);
/// The bit of BEP 52, for those who claim to know the torrent's v2 side.
const V2_BIT: (usize, u8) = (7, 0x10);

/// The feature bits of a base handshake.
pub(crate) fn reserved(extensions: bool, v2: bool) -> [u8; 8] {
    let mut reserved = [0; 8];
    reserved[DHT_BIT.0] |= DHT_BIT.1;
    if extensions {
        reserved[EXTENSION_BIT.0] |= EXTENSION_BIT.1;
    }
    if v2 {
        reserved[V2_BIT.0] |= V2_BIT.1;
    }
    reserved
}

/// The base handshake (3.1).
pub(crate) fn handshake(
    reserved: [u8; 8],
    hash: InfoHash,
    peer_id: &[u8; 20],
) -> [u8; HANDSHAKE_LEN] {
    let mut bytes = [0; HANDSHAKE_LEN];
    bytes[..20].copy_from_slice(b"\x13BitTorrent protocol");
    bytes[20..28].copy_from_slice(&reserved);
    bytes[28..48].copy_from_slice(&hash.0);
    bytes[48..].copy_from_slice(peer_id);
    bytes
}

/// Appends a message with its length in front (3.2).
pub(crate) fn framed(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends an extension message (10.1).
pub(crate) fn extended(out: &mut Vec<u8>, id: u8, parts: &[&[u8]]) {
    framed(out, |out| {
        out.extend_from_slice(&[EXTENDED, id]);
        for part in parts {
            out.extend_from_slice(part);
        }
    });
}

/// The payload of an extension handshake. `names` is what `m` holds, `None` leaves `m` out.
pub(crate) fn introduction(names: Option<&str>, size: Option<i64>, odd_keys: bool) -> String {
    let names = names.map(|names| format!("1:md{names}e")).unwrap_or_default();
    let size = size.map(|size| format!("13:metadata_sizei{size}e")).unwrap_or_default();
    if odd_keys {
        // Unsorted, strangers between, a name twice: the first counts.
        return format!(
            "d1:v9:swarm 0.112:complete_agoi5e{size}11:upload_onlyi1e{names}\
             6:yourip4:\x01\x01\x01\x01{size}1:alli1ed1:x0:eeee"
        );
    }
    format!("d{names}{size}4:reqqi250e1:v9:swarm 0.1e")
}

/// The entry of `m` that gives `ut_metadata` an id.
pub(crate) fn metadata_name(id: u8) -> String {
    format!("11:ut_metadatai{id}e")
}

/// The dictionary of a metadata message that brings a piece (9.2).
pub(crate) fn data_head(piece: i64, total: Option<i64>, odd_keys: bool) -> String {
    let total = total.map(|total| format!("10:total_sizei{total}e")).unwrap_or_default();
    if odd_keys {
        // M6: strangers before and between, `total_size` last.
        return format!("d4:zzzzi1e5:piecei{piece}e1:ali1ed1:x1:yee8:msg_typei1e{total}e");
    }
    format!("d8:msg_typei1e5:piecei{piece}e{total}e")
}

/// The dictionary of a request (9.2).
pub(crate) const REQUEST: &[u8] = b"d8:msg_typei0e5:piecei0ee";

/// The dictionary of a metadata message that refuses a piece (9.2).
pub(crate) fn reject_head(piece: i64) -> String {
    format!("d8:msg_typei2e5:piecei{piece}ee")
}

/// Bitfield of 33 pieces, unchoke and PORT, as clients say them before anything else (M3).
pub(crate) fn chatter(out: &mut Vec<u8>, port: u16) {
    framed(out, |out| out.extend_from_slice(b"\x05\xff\xff\xff\xff\x80"));
    framed(out, |out| out.push(1));
    framed(out, |out| {
        out.push(9);
        out.extend_from_slice(&port.to_be_bytes());
    });
}

/// What is permitted before the extension handshake beyond [`chatter`]: have-all and have-none of
/// BEP 6, haves, keep-alives, and messages that no BEP knows.
pub(crate) fn more_chatter(out: &mut Vec<u8>) {
    framed(out, |out| out.push(14));
    framed(out, |out| out.push(15));
    framed(out, |_| {});
    for piece in 0..8_u32 {
        framed(out, |out| {
            out.push(4);
            out.extend_from_slice(&piece.to_be_bytes());
        });
    }
    framed(out, |out| out.extend_from_slice(b"\xc8nobody knows this one"));
    framed(out, |out| out.extend_from_slice(&[0x63; 2_000]));
}
