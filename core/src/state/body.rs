//! The items within records: contacts, rests, infohashes, each with its writer and its reader.

use std::net::SocketAddr;

use super::item::{Rest, SavedFamily, SavedLead};
use super::{Stamp, Uptime, WallTime};
use crate::base::addr::{Contact, Family, emit_node, emit_peer, parse_node, parse_peer};
use crate::base::id::{ID_LEN, InfoHash, NodeId};
use crate::base::time::Instant;
use crate::lead::{Lead, Origin};
use crate::limits::SAVED_PEERS_MAX;

fn put_family(family: Family, out: &mut Vec<u8>) {
    out.push(family.index() as u8);
}

fn put_addr(addr: SocketAddr, out: &mut Vec<u8>) {
    put_family(Family::of(addr), out);
    emit_peer(addr, out);
}

pub(super) fn put_contact(contact: Contact, out: &mut Vec<u8>) {
    put_family(Family::of(contact.addr), out);
    emit_node(contact, out);
}

pub(super) fn put_wall(wall: WallTime, out: &mut Vec<u8>) {
    out.extend_from_slice(&wall.0.to_be_bytes());
}

/// Wall time u64, the start of the machine, seconds since then u64.
pub(super) fn put_clock(wall: WallTime, uptime: Uptime, out: &mut Vec<u8>) {
    put_wall(wall, out);
    out.extend_from_slice(&uptime.boot);
    out.extend_from_slice(&uptime.seconds.to_be_bytes());
}

/// Family u8, node id, depth of the table u8, and behind a flag our address as others see it.
pub(super) fn put_saved_family(saved: &SavedFamily, out: &mut Vec<u8>) {
    put_family(saved.family, out);
    out.extend_from_slice(&saved.id.0);
    out.push(saved.depth);
    out.push(u8::from(saved.external.is_some()));
    if let Some(external) = saved.external {
        put_addr(external, out);
    }
}

/// Whether the id rests, seconds u32, contact.
pub(super) fn put_rest(rest: &Rest, out: &mut Vec<u8>) {
    out.push(u8::from(rest.by_id));
    out.extend_from_slice(&rest.left.to_be_bytes());
    put_contact(rest.contact, out);
}

/// Hash, round u8, origin u8, seconds u32 until it is due, behind a flag the source, and peers
/// behind their count u8.
pub(super) fn put_lead(
    lead: &Lead,
    left: u32,
    peers: impl Iterator<Item = SocketAddr>,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(&lead.hash.0);
    let origin = match lead.origin {
        Origin::Sample => 0,
        Origin::Request => 1,
    };
    out.extend_from_slice(&[lead.round, origin]);
    out.extend_from_slice(&left.to_be_bytes());
    out.push(u8::from(lead.source.is_some()));
    if let Some(source) = lead.source {
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

/// Reads items from a body whose sum was right. `None` all the way: what does not fit is damage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body<'a>(pub(super) &'a [u8]);

impl<'a> Body<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every item until the end; none if one makes no sense.
    pub(super) fn all<T>(mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut items = Vec::new();
        while !self.is_empty() {
            items.push(read(&mut self)?);
        }
        Some(items)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        self.byte().filter(|flag| *flag <= 1).map(|flag| flag == 1)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    pub(super) fn eight(&mut self) -> Option<[u8; 8]> {
        self.take(8)?.try_into().ok()
    }

    pub(super) fn wall(&mut self) -> Option<WallTime> {
        self.eight().map(|bytes| WallTime(u64::from_be_bytes(bytes)))
    }

    /// What two clocks say together, with which the body ends.
    pub(super) fn last_clock(mut self) -> Option<Stamp> {
        let wall = self.wall()?;
        let boot = self.take(16)?.try_into().ok()?;
        let seconds = u64::from_be_bytes(self.eight()?);
        let uptime = Some(Uptime { boot, seconds });
        self.is_empty().then_some(Stamp { wall, uptime })
    }

    pub(super) fn id(&mut self) -> Option<NodeId> {
        NodeId::from_slice(self.take(ID_LEN)?)
    }

    pub(super) fn hash(&mut self) -> Option<InfoHash> {
        InfoHash::from_slice(self.take(ID_LEN)?)
    }

    /// A hash that nothing follows.
    pub(super) fn last_hash(mut self) -> Option<InfoHash> {
        self.hash().filter(|_| self.is_empty())
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

    /// A family's part, with which the body ends; an address of the other family is none of its
    /// own.
    pub(super) fn last_family(mut self) -> Option<SavedFamily> {
        let (family, id, depth) = (self.family()?, self.id()?, self.byte()?);
        let external = if self.flag()? { Some(self.addr()?) } else { None };
        let fits = external.is_none_or(|addr| Family::of(addr) == family) && self.is_empty();
        fits.then_some(SavedFamily { family, id, depth, external })
    }

    pub(super) fn peers(&mut self, most: usize) -> Option<Vec<SocketAddr>> {
        let count = usize::from(self.byte()?);
        let mut peers = Vec::new();
        for _ in 0..count {
            peers.push(self.addr()?);
        }
        (count <= most).then_some(peers)
    }

    /// An origin of a later version counts as the commonest.
    pub(super) fn lead(&mut self) -> Option<SavedLead> {
        let (hash, round) = (self.hash()?, self.byte()?);
        let origin = if self.byte()? == 1 { Origin::Request } else { Origin::Sample };
        let left = self.u32()?;
        let source = if self.flag()? { Some(self.contact()?) } else { None };
        let peers = self.peers(SAVED_PEERS_MAX)?;
        let lead = Lead { round, source, peers, ..Lead::new(hash, Instant::START, origin) };
        Some(SavedLead { lead, left })
    }
}
