//! How records stand in a file: each with its kind, its length and its sum, and each found again
//! when what stands before it is damaged.
//!
//! ```text
//! record:  kind u8 · length of the body u32 · check of these, 3 bytes · body · sum, 8 bytes
//! ```
//!
//! Check and sum are beginnings of a SHA-1 over the salt of the file and what they cover. Strangers
//! choose many of the bytes in bodies. If they knew the salt, they could hide a false record in a body,
//! where a search after damage would find it. SHA-1 is here already;
//! a CRC has no key. The check makes a length believable before the body is looked at, so damage to a
//! body costs that record alone, and damage to a header a search for the next one.

use sha1::{Digest, Sha1};

use crate::limits::STATE_CHUNK_MAX;

/// What sums of one file cover besides its bytes.
pub(crate) type Salt = [u8; 8];

const CHECK_LEN: usize = 3;
pub(super) const SUM_LEN: usize = 8;
/// Bytes before a body.
pub(super) const HEADER_LEN: usize = 5 + CHECK_LEN;

/// The first bytes of a hash.
fn digest<const LEN: usize>(salt: Salt, bytes: &[u8]) -> [u8; LEN] {
    let digest = Sha1::new().chain_update(salt).chain_update(bytes).finalize();
    let mut out = [0; LEN];
    out.copy_from_slice(&digest[..LEN]);
    out
}

/// Appends one record whose body `write` appends.
pub(super) fn put_record(
    salt: Salt,
    kind: u8,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>),
) {
    let start = begin(kind, out);
    write(out);
    end(salt, start, out);
}

/// Begins a record; returns where it stands.
pub(super) fn begin(kind: u8, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
    start
}

/// Ends the record that was begun at `start`.
pub(super) fn end(salt: Salt, start: usize, out: &mut Vec<u8>) {
    let len = (out.len() - start - HEADER_LEN) as u32;
    out[start + 1..start + 5].copy_from_slice(&len.to_be_bytes());
    let check: [u8; CHECK_LEN] = digest(salt, &out[start..start + 5]);
    out[start + 5..start + HEADER_LEN].copy_from_slice(&check);
    let sum: [u8; SUM_LEN] = digest(salt, &out[start..]);
    out.extend_from_slice(&sum);
}

/// One record as it stands in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) kind: u8,
    pub(super) body: &'a [u8],
    /// Bytes of the whole record.
    len: usize,
}

/// Why there is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FrameError {
    /// The bytes end before it does.
    Torn,
    /// Its header is wrong: how long it is cannot be known.
    Header,
    /// Its body or sum is wrong; it has so many bytes.
    Body(usize),
}

/// Reads the record at the front of `bytes`.
fn frame(salt: Salt, bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    let header = bytes.get(..HEADER_LEN).ok_or(FrameError::Torn)?;
    let [kind, a, b, c, d, check @ ..] = header else { return Err(FrameError::Torn) };
    let length = u32::from_be_bytes([*a, *b, *c, *d]);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    // No record has kind 0: a stretch of zeros is left behind quickly.
    if *kind == 0 || length > STATE_CHUNK_MAX || check != digest::<CHECK_LEN>(salt, &header[..5]) {
        return Err(FrameError::Header);
    }
    let end = HEADER_LEN + length;
    let sum = bytes.get(end..end + SUM_LEN).ok_or(FrameError::Torn)?;
    if sum != digest::<SUM_LEN>(salt, &bytes[..end]) {
        return Err(FrameError::Body(end + SUM_LEN));
    }
    Ok(Frame { kind: *kind, body: &bytes[HEADER_LEN..end], len: end + SUM_LEN })
}

/// The whole records of a file, one after the other.
#[derive(Debug)]
pub(super) struct Frames<'a> {
    salt: Salt,
    rest: &'a [u8],
    /// Damaged records passed by since the last whole one.
    passed: usize,
    /// Damaged records between whole ones.
    pub(super) damaged: usize,
    /// Bytes behind the last whole record.
    pub(super) torn_bytes: usize,
}

impl<'a> Frames<'a> {
    pub(super) fn new(salt: Salt, bytes: &'a [u8]) -> Self {
        Self { salt, rest: bytes, passed: 0, damaged: 0, torn_bytes: bytes.len() }
    }

    /// How far it is to the next whole record, if there is one, where no header can be believed.
    fn search(&self) -> Option<usize> {
        (1..self.rest.len()).find(|at| frame(self.salt, &self.rest[*at..]).is_ok())
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        loop {
            let skipped = match frame(self.salt, self.rest) {
                Ok(frame) => {
                    self.rest = &self.rest[frame.len..];
                    self.damaged += std::mem::take(&mut self.passed);
                    self.torn_bytes = self.rest.len();
                    return Some(frame);
                }
                Err(FrameError::Torn) => return None,
                Err(FrameError::Header) => self.search()?,
                Err(FrameError::Body(len)) => len,
            };
            self.passed += 1;
            self.rest = &self.rest[skipped..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: Salt = *b"saltsalt";

    fn file() -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut starts) = (Vec::new(), Vec::new());
        for kind in 1..=5 {
            starts.push(bytes.len());
            put_record(SALT, kind, &mut bytes, |out| out.extend_from_slice(&[kind; 9]));
        }
        (bytes, starts)
    }

    fn kinds(bytes: &[u8]) -> (Vec<u8>, usize, usize) {
        let mut frames = Frames::new(SALT, bytes);
        let kinds = frames.by_ref().map(|frame| frame.kind).collect();
        (kinds, frames.damaged, frames.torn_bytes)
    }

    #[test]
    fn a_flipped_bit_costs_the_record_it_is_in() {
        let (whole, starts) = file();
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                let hit = starts.partition_point(|start| *start <= at);
                let others: Vec<u8> = (1..=5).filter(|kind| usize::from(*kind) != hit).collect();
                let torn = if hit == 5 { whole.len() - starts[4] } else { 0 };
                assert_eq!(kinds(&bytes), (others, usize::from(hit < 5), torn), "{at}");
            }
        }
    }

    #[test]
    fn what_is_lost_in_the_middle_costs_what_stood_there() {
        let (whole, starts) = file();
        for (from, to) in [(starts[1] + 3, starts[3] + 1), (starts[1], starts[2] + 4)] {
            let zeros = vec![0; to - from];
            let zeroed = [&whole[..from], &zeros, &whole[to..]].concat();
            let cut_out = [&whole[..from], &whole[to..]].concat();
            for bytes in [zeroed, cut_out] {
                let (found, damaged, torn) = kinds(&bytes);
                assert_eq!((found.first(), found.last(), torn), (Some(&1), Some(&5), 0));
                assert!(damaged > 0 && found.len() < 5, "{found:?}");
            }
        }
    }

    #[test]
    fn a_record_hidden_in_a_body_is_never_found() {
        let mut inner = Vec::new();
        put_record(*b"a guess.", 9, &mut inner, |out| out.extend_from_slice(b"made up"));
        let mut bytes = Vec::new();
        put_record(SALT, 1, &mut bytes, |out| out.extend_from_slice(&inner));
        put_record(SALT, 2, &mut bytes, |_| {});
        for at in 0..HEADER_LEN {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(kinds(&damaged).0, [2]);
        }
    }
}
