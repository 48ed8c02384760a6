//! The packed lists of a reply, as iterators that borrow from the datagram.

use std::net::SocketAddr;

use super::{KRPC_DEPTH_MAX, KRPC_TOKENS_MAX};
use crate::base::addr::{Contact, Family, parse_node, parse_peer};
use crate::base::id::{ID_LEN, InfoHash};
use crate::base::planted::{self, Bug};
use crate::codec::bencode::Reader;

/// The contacts of a `nodes` or `nodes6` string, in the order sent. Whole entries only: a tail
/// that is none is not part of it (D1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nodes<'a> {
    entries: &'a [u8],
    family: Family,
}

impl<'a> Nodes<'a> {
    pub(super) fn new(family: Family, bytes: &'a [u8]) -> Self {
        Self { entries: whole_entries(bytes, family.node_len()), family }
    }

    /// How many contacts are left.
    pub fn len(&self) -> usize {
        self.entries.len() / self.family.node_len()
    }

    /// Whether no contact is left.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Iterator for Nodes<'_> {
    type Item = Contact;

    fn next(&mut self) -> Option<Contact> {
        let (entry, rest) = self.entries.split_at_checked(self.family.node_len())?;
        self.entries = rest;
        parse_node(entry)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl ExactSizeIterator for Nodes<'_> {}

/// The infohashes of a `samples` string, in the order sent: entry `i` is bytes `20 i..20 i + 20`
/// (51.6). A tail that is no whole entry is not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Samples<'a> {
    entries: &'a [u8],
}

impl<'a> Samples<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { entries: whole_entries(bytes, ID_LEN) }
    }

    /// How many infohashes are left.
    pub fn len(&self) -> usize {
        self.entries.len() / ID_LEN
    }

    /// Whether no infohash is left.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Iterator for Samples<'_> {
    type Item = InfoHash;

    fn next(&mut self) -> Option<InfoHash> {
        let (entry, rest) = self.entries.split_at_checked(ID_LEN)?;
        self.entries = if planted::is(Bug::StrideOne) { &self.entries[1..] } else { rest };
        InfoHash::from_slice(entry)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl ExactSizeIterator for Samples<'_> {}

/// The peers of a `values` list, in the order sent, families mixed as they come (32.1). Items
/// that are no peer are passed over (D3).
///
/// A list whose only item is a longer string of 6-byte entries is an old form of the same (D2).
/// One of exactly 18 bytes could be either; it counts as one IPv6 peer unless
/// [`Values::heard_over`] says that the reply came over IPv4.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    /// The bencoded items not yet looked at.
    items: &'a [u8],
    /// What is left of several peers in one string.
    merged: &'a [u8],
    /// Whether the next item is the list's first.
    at_start: bool,
    over: Option<Family>,
}

impl<'a> Values<'a> {
    /// `items` is what stands between a list's `l` and its `e`, read before and found valid.
    pub(super) fn new(items: &'a [u8]) -> Self {
        Self { items, merged: &[], at_start: true, over: None }
    }

    /// The same list, knowing the family that carried it: over IPv4 an only item of 18 bytes is
    /// three IPv4 peers, over IPv6 nothing is taken for several IPv4 peers (D2).
    #[must_use]
    pub fn heard_over(self, family: Family) -> Self {
        Self { over: Some(family), ..self }
    }

    /// Whether no item is left, be it usable or not.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.merged.is_empty()
    }

    /// Whether a list's only item is several IPv4 peers (D2).
    fn is_merged(&self, item: &[u8]) -> bool {
        let ambiguous = item.len() == Family::V6.peer_len();
        let several =
            item.len() > Family::V4.peer_len() && item.len().is_multiple_of(Family::V4.peer_len());
        match self.over {
            Some(Family::V4) => several,
            Some(Family::V6) => false,
            None => several && !ambiguous,
        }
    }
}

impl Iterator for Values<'_> {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        loop {
            if let Some((entry, rest)) = self.merged.split_at_checked(Family::V4.peer_len()) {
                self.merged = rest;
                return parse_peer(entry);
            }
            let (item, rest) = split_item(self.items)?;
            let is_only = std::mem::take(&mut self.at_start) && rest.is_empty();
            self.items = rest;
            if is_only && self.is_merged(item) {
                self.merged = item;
            } else if let Some(peer) = parse_peer(item) {
                return Some(peer);
            }
        }
    }
}

/// The longest part of `bytes` that holds whole entries only.
fn whole_entries(bytes: &[u8], entry_len: usize) -> &[u8] {
    let (whole, _tail) = bytes.split_at(bytes.len() - bytes.len() % entry_len);
    whole
}

/// The content of the first of some bencoded items, and the items after it. What is no string has
/// no content.
fn split_item(items: &[u8]) -> Option<(&[u8], &[u8])> {
    if !items.first()?.is_ascii_digit() {
        let skipped = Reader::<KRPC_DEPTH_MAX>::new(items, KRPC_TOKENS_MAX).raw().ok()?;
        return Some((&[], items.get(skipped.len()..)?));
    }
    let mut length = 0usize;
    for (at, &byte) in items.iter().enumerate() {
        if byte == b':' {
            return items.get(at + 1..)?.split_at_checked(length);
        }
        length = length.checked_mul(10)?.checked_add(usize::from(byte.wrapping_sub(b'0')))?;
    }
    None
}
