//! The bytes of a state: framed, summed chunks, and the items within them.

use std::net::SocketAddr;

use sha1::{Digest, Sha1};

use super::{Failed, Rest, StateError, WallTime};
use crate::base::addr::{Contact, Family, emit_node, emit_peer, parse_node, parse_peer};
use crate::base::id::{ID_LEN, InfoHash, NodeId};
use crate::limits::{SAVED_PEERS_MAX, STATE_CHUNK_FILL, STATE_CHUNK_MAX};

/// The first line up to the number of the format.
pub(super) const MAGIC: &[u8] = b"DHT-Estudely state ";
/// The format that is written, and the only one that is read.
pub(super) const VERSION: u32 = 1;

/// What a chunk or record holds.
pub(super) mod kind {
    /// Wall time u64, node id, depth of the table of each family u8.
    pub(crate) const HEAD: u8 = 1;
    /// Contacts of the routing tables.
    pub(crate) const CONTACTS: u8 = 2;
    /// Rests.
    pub(crate) const RESTS: u8 = 3;
    /// Infohashes under way.
    pub(crate) const PENDING: u8 = 4;
    /// Failed infohashes.
    pub(crate) const FAILED: u8 = 5;
    /// Infohashes settled for good.
    pub(crate) const SETTLED: u8 = 6;
    /// The end of the snapshot; empty.
    pub(crate) const END: u8 = 7;
    /// Record: wall time u64, a rest, a count u8 and the new infohashes of that answer.
    pub(crate) const ANSWER: u8 = 16;
    /// Record: an infohash taken on without a source.
    pub(crate) const TAKEN: u8 = 17;
    /// Record: an infohash of which nothing needs to be remembered any more.
    pub(crate) const DROPPED: u8 = 18;
    /// Record: wall time u64 and a failed infohash.
    pub(crate) const RETRY: u8 = 19;
    /// Record: an infohash settled for good.
    pub(crate) const OVER: u8 = 20;
}

/// Bytes of a sum.
pub(super) const SUM_LEN: usize = 8;
/// Bytes before a body.
pub(super) const HEADER_LEN: usize = 5;
/// What the first chunk's sum continues.
pub(super) const CHAIN_START: [u8; SUM_LEN] = *b"snapshot";
/// What every record's sum continues.
pub(super) const RECORD_START: [u8; SUM_LEN] = *b"a record";

/// The sum of a framed body that follows `before`.
pub(super) fn sum(before: [u8; SUM_LEN], framed: &[u8]) -> [u8; SUM_LEN] {
    let digest = Sha1::new().chain_update(before).chain_update(framed).finalize();
    let mut sum = [0; SUM_LEN];
    sum.copy_from_slice(&digest[..SUM_LEN]);
    sum
}

/// Writes a snapshot, item by item; items of one kind follow each other.
#[derive(Debug)]
pub(crate) struct SnapshotWriter<'a> {
    out: &'a mut Vec<u8>,
    sum: [u8; SUM_LEN],
    /// Kind and start of the chunk under way.
    open: Option<(u8, usize)>,
}

impl<'a> SnapshotWriter<'a> {
    /// Begins a snapshot taken at `wall`.
    pub(crate) fn new(
        out: &'a mut Vec<u8>,
        wall: WallTime,
        id: NodeId,
        depths: [u8; Family::ALL.len()],
    ) -> Self {
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(format!("{VERSION}\n").as_bytes());
        let mut writer = Self { out, sum: CHAIN_START, open: None };
        let body = writer.item(kind::HEAD);
        body.extend_from_slice(&wall.0.to_be_bytes());
        body.extend_from_slice(&id.0);
        body.extend_from_slice(&depths);
        writer
    }

    /// A contact of a routing table.
    pub(crate) fn contact(&mut self, contact: Contact) {
        put_contact(contact, self.item(kind::CONTACTS));
    }

    /// A node that rests.
    pub(crate) fn rest(&mut self, rest: &Rest) {
        put_rest(rest, self.item(kind::RESTS));
    }

    /// An infohash under way.
    pub(crate) fn pending(
        &mut self,
        hash: InfoHash,
        source: Option<Contact>,
        peers: impl Iterator<Item = SocketAddr>,
    ) {
        put_pending(hash, source, peers, self.item(kind::PENDING));
    }

    /// An infohash that failed.
    pub(crate) fn failed(&mut self, hash: InfoHash, failed: Failed) {
        put_failed(hash, failed, self.item(kind::FAILED));
    }

    /// An infohash settled for good.
    pub(crate) fn settled(&mut self, hash: InfoHash) {
        self.item(kind::SETTLED).extend_from_slice(&hash.0);
    }

    /// Ends the snapshot.
    pub(crate) fn finish(mut self) {
        self.item(kind::END);
        self.close();
    }

    /// Where the next item of this kind goes.
    fn item(&mut self, kind: u8) -> &mut Vec<u8> {
        let full = |start: usize| self.out.len() - start >= STATE_CHUNK_FILL;
        if self.open.is_some_and(|(open, start)| open != kind || full(start)) {
            self.close();
        }
        if self.open.is_none() {
            self.open = Some((kind, self.out.len()));
            begin(kind, self.out);
        }
        self.out
    }

    fn close(&mut self) {
        if let Some((_, start)) = self.open.take() {
            self.sum = end(self.sum, start, self.out);
        }
    }
}

/// Appends one record whose body `write` appends.
pub(super) fn put_record(kind: u8, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    begin(kind, out);
    write(out);
    end(RECORD_START, start, out);
}

fn begin(kind: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&[kind, 0, 0, 0, 0]);
}

fn end(before: [u8; SUM_LEN], start: usize, out: &mut Vec<u8>) -> [u8; SUM_LEN] {
    let len = (out.len() - start - HEADER_LEN) as u32;
    out[start + 1..start + HEADER_LEN].copy_from_slice(&len.to_be_bytes());
    let sum = sum(before, &out[start..]);
    out.extend_from_slice(&sum);
    sum
}

fn family_bit(addr: SocketAddr) -> u8 {
    Family::of(addr).index() as u8
}

fn put_addr(addr: SocketAddr, out: &mut Vec<u8>) {
    out.push(family_bit(addr));
    emit_peer(addr, out);
}

fn put_contact(contact: Contact, out: &mut Vec<u8>) {
    out.push(family_bit(contact.addr));
    emit_node(contact, out);
}

pub(super) fn put_rest(rest: &Rest, out: &mut Vec<u8>) {
    out.push(u8::from(rest.by_id));
    out.extend_from_slice(&rest.left.to_be_bytes());
    put_contact(rest.contact, out);
}

pub(super) fn put_pending(
    hash: InfoHash,
    source: Option<Contact>,
    peers: impl Iterator<Item = SocketAddr>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(&hash.0);
    out.push(u8::from(source.is_some()));
    if let Some(source) = source {
        put_contact(source, out);
    }
    let at = out.len();
    out.push(0);
    let mut count = 0;
    for peer in peers.take(SAVED_PEERS_MAX) {
        put_addr(peer, out);
        count += 1;
    }
    out[at] = count;
}

pub(super) fn put_failed(hash: InfoHash, failed: Failed, out: &mut Vec<u8>) {
    out.extend_from_slice(&hash.0);
    out.push(failed.round);
    out.extend_from_slice(&failed.left.to_be_bytes());
}

/// Reads items from a body whose sum was right. `None` all the way: what does not fit is damage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body<'a>(pub(super) &'a [u8]);

impl<'a> Body<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn flag(&mut self) -> Option<bool> {
        self.byte().filter(|flag| *flag <= 1).map(|flag| flag == 1)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(super) fn wall(&mut self) -> Option<WallTime> {
        Some(WallTime(u64::from_be_bytes(self.take(8)?.try_into().ok()?)))
    }

    pub(super) fn id(&mut self) -> Option<NodeId> {
        NodeId::from_slice(self.take(ID_LEN)?)
    }

    pub(super) fn hash(&mut self) -> Option<InfoHash> {
        InfoHash::from_slice(self.take(ID_LEN)?)
    }

    fn family(&mut self) -> Option<Family> {
        Family::ALL.get(usize::from(self.byte()?)).copied()
    }

    fn addr(&mut self) -> Option<SocketAddr> {
        let family = self.family()?;
        parse_peer(self.take(family.peer_len())?)
    }

    pub(super) fn contact(&mut self) -> Option<Contact> {
        let family = self.family()?;
        parse_node(self.take(family.node_len())?)
    }

    pub(super) fn rest(&mut self) -> Option<Rest> {
        Some(Rest { by_id: self.flag()?, left: self.u32()?, contact: self.contact()? })
    }

    pub(super) fn pending(&mut self) -> Option<(InfoHash, Option<Contact>, Vec<SocketAddr>)> {
        let hash = self.hash()?;
        let source = if self.flag()? { Some(self.contact()?) } else { None };
        let count = usize::from(self.byte()?);
        let mut peers = Vec::new();
        for _ in 0..count {
            peers.push(self.addr()?);
        }
        (count <= SAVED_PEERS_MAX).then_some((hash, source, peers))
    }

    pub(super) fn failed(&mut self) -> Option<(InfoHash, Failed)> {
        Some((self.hash()?, Failed { round: self.byte()?, left: self.u32()? }))
    }
}

/// One framed body as it stands in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk<'a> {
    pub(super) kind: u8,
    pub(super) body: Body<'a>,
    pub(super) sum: [u8; SUM_LEN],
    /// Bytes of the whole chunk.
    pub(super) len: usize,
}

/// Reads the chunk at the front of `bytes`, whose sum must follow `before`. `None` if it is torn,
/// longer than any, or its sum is wrong: torn if all is well as far as it goes.
pub(super) fn chunk(before: [u8; SUM_LEN], bytes: &[u8]) -> Result<Chunk<'_>, ChunkError> {
    let header = bytes.get(..HEADER_LEN).ok_or(ChunkError::Torn)?;
    let [kind, length @ ..] = header else { return Err(ChunkError::Torn) };
    let length = length.try_into().map(u32::from_be_bytes).map_err(|_| ChunkError::Torn)?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > STATE_CHUNK_MAX {
        return Err(ChunkError::Damaged);
    }
    let framed = bytes.get(..HEADER_LEN + length).ok_or(ChunkError::Torn)?;
    let end = HEADER_LEN + length + SUM_LEN;
    let found = bytes.get(HEADER_LEN + length..end).ok_or(ChunkError::Torn)?;
    let expected = sum(before, framed);
    if found != expected {
        return Err(ChunkError::Damaged);
    }
    Ok(Chunk { kind: *kind, body: Body(&framed[HEADER_LEN..]), sum: expected, len: end })
}

/// Why a chunk cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChunkError {
    /// The bytes end before it does.
    Torn,
    /// Its length or its sum is wrong.
    Damaged,
}

/// Reads the first line; gives back what follows it.
pub(super) fn after_first_line(bytes: &[u8]) -> Result<&[u8], StateError> {
    let Some(rest) = bytes.strip_prefix(MAGIC) else {
        let begun = MAGIC.starts_with(bytes);
        return Err(if begun { StateError::Truncated } else { StateError::Foreign });
    };
    let mut version = 0u32;
    for (index, byte) in rest.iter().enumerate() {
        match byte {
            b'\n' if index > 0 && version == VERSION => return Ok(&rest[index + 1..]),
            b'\n' if index > 0 => return Err(StateError::Version(version)),
            b'0'..=b'9' => {
                let next =
                    version.checked_mul(10).and_then(|v| v.checked_add(u32::from(byte - b'0')));
                version = next.ok_or(StateError::Foreign)?;
            }
            _ => return Err(StateError::Foreign),
        }
    }
    Err(StateError::Truncated)
}
