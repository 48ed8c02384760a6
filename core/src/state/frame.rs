//! How records stand in a file: each with its kind, its length and its sum, and each found again
//! when what stands before it is damaged.
//!
//! ```text
//! record:  kind u8 · length of the body u32 · check of these, 3 bytes · body · sum, 8 bytes
//! ```
//!
//! Check and sum are beginnings of a SHA-1 over the salt of the file and what they cover. Strangers
//! choose many of the bytes in bodies. If they knew the salt, they could hide a false record in a
//! body, where a search after damage would find it. SHA-1 is here already;
//! a CRC has no key. The check makes a length believable before the body is looked at.
//!
//! Damage may have taken bytes away or put some in, so no length says where the next record begins:
//! after any damage it is searched for, from the byte after the damaged record's first. Every
//! record that is whole in the file is read.

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
    /// The bytes end before its header does.
    Short,
    /// The bytes end before it does: it is torn, or bytes of it are lost.
    Torn,
    /// Its header is wrong: perhaps there is none.
    Header,
    /// Its body or sum is wrong.
    Body,
}

/// Reads the record at the front of `bytes`.
fn frame(salt: Salt, bytes: &[u8]) -> Result<Frame<'_>, FrameError> {
    let header = bytes.get(..HEADER_LEN).ok_or(FrameError::Short)?;
    let [kind, a, b, c, d, check @ ..] = header else { return Err(FrameError::Short) };
    let length = u32::from_be_bytes([*a, *b, *c, *d]);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    // No record has kind 0: a stretch of zeros is left behind quickly.
    if *kind == 0 || length > STATE_CHUNK_MAX || check != digest::<CHECK_LEN>(salt, &header[..5]) {
        return Err(FrameError::Header);
    }
    let end = HEADER_LEN + length;
    let sum = bytes.get(end..end + SUM_LEN).ok_or(FrameError::Torn)?;
    if sum != digest::<SUM_LEN>(salt, &bytes[..end]) {
        return Err(FrameError::Body);
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

    /// How far it is to the next header that can be believed, if there is one. Each place is looked
    /// at once, so a search costs no more than its way.
    fn search(&self) -> Option<usize> {
        let believed = |at: &usize| {
            let found = frame(self.salt, &self.rest[*at..]);
            !matches!(found, Err(FrameError::Header | FrameError::Short))
        };
        (1..self.rest.len()).find(believed)
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
                Err(FrameError::Short) => return None,
                Err(FrameError::Torn | FrameError::Header | FrameError::Body) => self.search()?,
            };
            self.passed += 1;
            self.rest = &self.rest[skipped..];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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

    /// Records of these lengths, and where each begins and ends.
    fn records(lengths: &[usize]) -> (Vec<u8>, Vec<(u8, usize, usize)>) {
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        for (kind, len) in (1..).zip(lengths) {
            let start = bytes.len();
            put_record(SALT, kind, &mut bytes, |out| out.resize(out.len() + len, kind));
            places.push((kind, start, bytes.len()));
        }
        (bytes, places)
    }

    #[test]
    fn a_body_or_header_that_lost_bytes_costs_that_record_alone() {
        let (bytes, places) = records(&[9, 40, 9, 9]);
        let (_, start, end) = places[1];
        for from in start + 1..end {
            for to in from + 1..end {
                let cut_out = [&bytes[..from], &bytes[to..]].concat();
                assert_eq!(kinds(&cut_out), (vec![1, 3, 4], 1, 0), "{from}..{to}");
            }
        }
    }

    #[test]
    fn the_last_record_but_one_that_lost_bytes_swallows_no_end() {
        let (bytes, places) = records(&[9, 400, 9]);
        let (_, start, _) = places[1];
        // Its length now reaches beyond the end of the file.
        let cut_out = [&bytes[..start + 20], &bytes[start + 220..]].concat();
        assert_eq!(kinds(&cut_out), (vec![1, 3], 1, 0));
    }

    proptest! {
        /// Whatever is cut out, zeroed or put in: every record wholly before or wholly after it is
        /// read, and no other.
        #[test]
        fn damage_anywhere_costs_the_records_that_it_touches(
            lengths in prop::collection::vec(0usize..80, 1..12),
            (from, to) in (0usize..700, 0usize..700),
            put_in in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let (bytes, places) = records(&lengths);
            let (from, to) = (from.min(to).min(bytes.len()), to.max(from).min(bytes.len()));
            let damaged = [&bytes[..from], &put_in, &bytes[to..]].concat();
            let same = |(one, other): &(&u8, &u8)| one == other;
            let before = bytes.iter().zip(&damaged).take_while(same).count();
            let after = bytes.iter().rev().zip(damaged.iter().rev()).take_while(same).count();
            let spared = |(_, start, end): &&(u8, usize, usize)| {
                *end <= before || *start >= bytes.len() - after
            };
            let expected: Vec<u8> = places.iter().filter(spared).map(|(kind, ..)| *kind).collect();
            prop_assert_eq!(kinds(&damaged).0, expected);
        }
    }
}
