//! Writing a state whole.

use std::net::SocketAddr;

use super::body::{put_clock, put_contact, put_lead, put_rest, put_saved_family, put_wall};
use super::frame::{Salt, begin, end, put_record};
use super::item::{Rest, SavedFamily, Unknown};
use super::version::FIRST_LINE;
use super::{Stamp, kind};
use crate::base::addr::Contact;
use crate::base::id::InfoHash;
use crate::lead::Lead;
use crate::limits::STATE_CHUNK_FILL;

/// What the sums of heads cover: they hold the salt of all others.
pub(super) const HEAD_SALT: Salt = *b"the head";

/// Appends what the clocks say together, if there are two.
pub(super) fn put_stamp(salt: Salt, now: Stamp, out: &mut Vec<u8>) {
    if let Some(uptime) = now.uptime {
        put_record(salt, kind::CLOCK, out, |out| put_clock(now.wall, uptime, out));
    }
}

/// Writes a snapshot, item by item; items of one kind follow each other.
#[derive(Debug)]
pub(crate) struct SnapshotWriter<'a> {
    out: &'a mut Vec<u8>,
    salt: Salt,
    /// Kind and start of the record under way.
    open: Option<(u8, usize)>,
}

impl<'a> SnapshotWriter<'a> {
    /// Begins a snapshot taken at `now`.
    pub(crate) fn new(out: &'a mut Vec<u8>, now: Stamp, salt: Salt) -> Self {
        out.extend_from_slice(FIRST_LINE);
        for _ in 0..2 {
            put_record(HEAD_SALT, kind::HEAD, out, |out| {
                put_wall(now.wall, out);
                out.extend_from_slice(&salt);
            });
        }
        put_stamp(salt, now, out);
        Self { out, salt, open: None }
    }

    /// A family's own part: in a record of its own, so that the one family outlives damage to the
    /// other's.
    pub(crate) fn family(&mut self, family: &SavedFamily) {
        self.close();
        put_saved_family(family, self.item(kind::FAMILY));
    }

    /// A contact of a routing table.
    pub(crate) fn contact(&mut self, contact: Contact) {
        put_contact(contact, self.item(kind::CONTACTS));
    }

    /// A node that rests.
    pub(crate) fn rest(&mut self, rest: &Rest) {
        put_rest(rest, self.item(kind::RESTS));
    }

    /// An infohash with `peers` in place of its own: under way if `left` is 0 and it is in its
    /// first round, otherwise waiting for another chance in so many seconds.
    pub(crate) fn lead(&mut self, lead: &Lead, left: u32, peers: impl Iterator<Item = SocketAddr>) {
        put_lead(lead, left, peers, self.item(kind::LEADS));
    }

    /// An infohash settled for good.
    pub(crate) fn settled(&mut self, hash: InfoHash) {
        self.item(kind::SETTLED).extend_from_slice(&hash.0);
    }

    /// A record that was read and not known.
    pub(crate) fn unknown(&mut self, unknown: &Unknown) {
        self.close();
        put_record(self.salt, unknown.kind, self.out, |out| out.extend_from_slice(&unknown.body));
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
            self.open = Some((kind, begin(kind, self.out)));
        }
        self.out
    }

    fn close(&mut self) {
        if let Some((_, start)) = self.open.take() {
            end(self.salt, start, self.out);
        }
    }
}
