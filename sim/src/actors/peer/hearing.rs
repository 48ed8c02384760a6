//! What a peer understands of what it hears: messages, and the two facts that it needs of those
//! of the extension protocol. Anything that cannot be read says nothing.

use estudely_core::bencode::Reader;

use super::{MESSAGE_LEN_MAX, Step};

/// Depth and tokens of an extension message (B.7).
const DEPTH_MAX: usize = 10;
const TOKENS_MAX: u32 = 1_000;

/// A message and what is behind it; none while it is not whole.
type Split<'a> = Option<(&'a [u8], &'a [u8])>;

/// The first message of `bytes` without its length, or the end of the conversation if it is too
/// long.
pub(crate) fn message(bytes: &[u8]) -> Result<Split<'_>, Step> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if length > MESSAGE_LEN_MAX { Err(Step::Close) } else { Ok(rest.split_at_checked(length)) }
}

/// The id that an extension handshake gives to `ut_metadata`.
pub(crate) fn metadata_id(payload: &[u8]) -> Option<u8> {
    let mut reader = Reader::<DEPTH_MAX>::new(payload, TOKENS_MAX);
    let mut id = None;
    if !reader.enter_dict().ok()? {
        return None;
    }
    while let Some(key) = reader.next_key().ok()? {
        if key != b"m" {
            reader.raw().ok()?;
        } else if reader.enter_dict().ok()? {
            while let Some(name) = reader.next_key().ok()? {
                match name {
                    b"ut_metadata" => id = reader.int().ok()?,
                    _ => drop(reader.raw().ok()?),
                }
            }
        }
    }
    id.and_then(|id| u8::try_from(id).ok())
}

/// The piece that a `ut_metadata` message requests, if it is a request.
pub(crate) fn piece_asked_for(payload: &[u8]) -> Option<i64> {
    let mut reader = Reader::<DEPTH_MAX>::new(payload, TOKENS_MAX);
    let (mut kind, mut piece) = (None, None);
    if !reader.enter_dict().ok()? {
        return None;
    }
    while let Some(key) = reader.next_key().ok()? {
        match key {
            b"msg_type" => kind = reader.int().ok()?,
            b"piece" => piece = reader.int().ok()?,
            _ => drop(reader.raw().ok()?),
        }
    }
    (kind == Some(0)).then_some(piece).flatten()
}
