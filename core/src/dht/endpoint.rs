//! The transactions of one KRPC socket: which queries are open, which reply answers which.
//!
//! A reply counts only if its transaction id names an open query (2 bytes of slot, 4 bytes drawn
//! at random) *and* it comes from the address that was asked (catalogue H6, D8). Nothing a
//! stranger sends creates state here.

use std::net::SocketAddr;

use crate::base::addr::Family;
use crate::base::id::NodeId;
use crate::base::planted::{self, Bug};
use crate::base::rng::Rng;
use crate::base::time::{Instant, Lane, earliest};
use crate::codec::krpc::{self, Ask, Envelope, Want};
use crate::limits::{EXPIRE_AFTER, FLIGHT_MAX, OPEN_MAX, STALL_AFTER};

/// Bytes of our transaction ids. JE drops ids of 16 and more (5.2).
pub const TRANSACTION_LEN: usize = 6;
/// Four bytes of `v` in every query (BEP 20): DHT-Estudely, version 1.
pub const VERSION: [u8; 4] = *b"EY\x00\x01";

/// One query on its way.
#[derive(Clone, Copy, Debug)]
pub struct Open<O> {
    /// Where it was sent.
    pub to: SocketAddr,
    /// What the answer is for.
    pub owner: O,
    /// When it was sent.
    pub sent: Instant,
    generation: u32,
    stalled: bool,
}

/// What became of a query without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Silent for [`STALL_AFTER`]: still open, but others need not wait for it.
    Stalled,
    /// Silent for [`EXPIRE_AFTER`]: over.
    Expired,
}

/// Transactions of one socket. `O` says what an answer is for.
#[derive(Debug)]
pub struct Endpoint<O> {
    family: Family,
    id: NodeId,
    rng: Rng,
    slots: Vec<Option<Open<O>>>,
    free: Vec<u16>,
    flight: usize,
    stalls: Lane<(u16, u32)>,
    expiries: Lane<(u16, u32)>,
}

impl<O: Copy> Endpoint<O> {
    /// An endpoint that asks as `id`.
    pub fn new(family: Family, id: NodeId, rng: Rng) -> Self {
        Self {
            family,
            id,
            rng,
            slots: Vec::new(),
            free: Vec::new(),
            flight: 0,
            stalls: Lane::new(STALL_AFTER),
            expiries: Lane::new(EXPIRE_AFTER),
        }
    }

    /// Our node id on this socket.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Asks as `id` from now on.
    pub fn set_id(&mut self, id: NodeId) {
        self.id = id;
    }

    /// Whether another query may be opened.
    pub fn has_room(&self) -> bool {
        self.flight < FLIGHT_MAX && self.open_count() < OPEN_MAX
    }

    /// Queries open.
    pub fn open_count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Opens a query and appends its datagram to `out`. The caller asked [`Endpoint::has_room`].
    pub fn ask(&mut self, now: Instant, to: SocketAddr, ask: &Ask, owner: O, out: &mut Vec<u8>) {
        let generation = self.rng.next_u32();
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u16
        });
        self.slots[usize::from(slot)] =
            Some(Open { to, owner, sent: now, generation, stalled: false });
        self.flight += 1;
        if self.expiries.len() >= 4 * OPEN_MAX {
            self.compact();
        }
        self.stalls.push(now, (slot, generation));
        self.expiries.push(now, (slot, generation));
        let fresh = transaction_id(slot, generation);
        let transaction = if planted::is(Bug::StaleTransactions) { *b"always" } else { fresh };
        let envelope = Envelope {
            transaction: &transaction,
            version: Some(VERSION),
            read_only: !planted::is(Bug::MissingReadOnly),
            external: None,
        };
        krpc::emit_query(out, &envelope, self.id, ask, Want::default());
    }

    /// Closes the query that a reply or error with this transaction id from this address answers.
    pub fn take(&mut self, from: SocketAddr, transaction: &[u8]) -> Option<Open<O>> {
        let (slot, generation) = parse_transaction(transaction)?;
        let open = self.slots.get(usize::from(slot))?.as_ref()?;
        let matches = open.generation == generation && open.to == from;
        if !(matches || planted::is(Bug::UnmatchedReply)) {
            return None;
        }
        self.close(slot)
    }

    /// The next query that has been silent too long at `now`.
    pub fn poll_silence(&mut self, now: Instant) -> Option<(Silence, Open<O>)> {
        while let Some((slot, generation)) = self.stalls.pop_due(now) {
            let Some(Some(open)) = self.slots.get_mut(usize::from(slot)) else { continue };
            if open.generation == generation && !open.stalled {
                open.stalled = true;
                self.flight -= 1;
                return Some((Silence::Stalled, *open));
            }
        }
        while let Some((slot, generation)) = self.expiries.pop_due(now) {
            if self.is_open(slot, generation) && !planted::is(Bug::EndlessQuery) {
                return self.close(slot).map(|open| (Silence::Expired, open));
            }
        }
        None
    }

    /// When [`Endpoint::poll_silence`] next has something to say.
    pub fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.stalls.poll_timeout(), self.expiries.poll_timeout())
    }

    /// Asserts the invariants: counts agree, and nothing is over its limit.
    pub fn check(&self) {
        let open = self.slots.iter().flatten();
        assert_eq!(open.clone().count(), self.open_count());
        assert_eq!(open.clone().filter(|open| !open.stalled).count(), self.flight);
        assert!(open.clone().all(|open| Family::of(open.to) == self.family));
        assert!(self.open_count() <= OPEN_MAX && self.flight <= FLIGHT_MAX);
    }

    fn is_open(&self, slot: u16, generation: u32) -> bool {
        let open = self.slots.get(usize::from(slot)).and_then(Option::as_ref);
        open.is_some_and(|open| open.generation == generation)
    }

    fn close(&mut self, slot: u16) -> Option<Open<O>> {
        let open = self.slots.get_mut(usize::from(slot))?.take()?;
        self.flight -= usize::from(!open.stalled);
        self.free.push(slot);
        self.trim();
        Some(open)
    }

    /// Drops every deadline of a closed query: what keeps the lanes bounded when answers are quick
    /// and one query in front stays open.
    fn compact(&mut self) {
        let (stalls, expiries) = (&mut self.stalls, &mut self.expiries);
        let open = |(slot, generation): &(u16, u32)| {
            let open = self.slots.get(usize::from(*slot)).and_then(Option::as_ref);
            open.is_some_and(|open| open.generation == *generation)
        };
        stalls.retain(open);
        expiries.retain(open);
    }

    /// Drops deadlines of closed queries from the fronts of the lanes, so that those tell the truth.
    fn trim(&mut self) {
        while self
            .stalls
            .front()
            .is_some_and(|(slot, generation)| !self.is_open(*slot, *generation))
        {
            self.stalls.pop_front();
        }
        while self
            .expiries
            .front()
            .is_some_and(|(slot, generation)| !self.is_open(*slot, *generation))
        {
            self.expiries.pop_front();
        }
    }
}

fn transaction_id(slot: u16, generation: u32) -> [u8; TRANSACTION_LEN] {
    let mut id = [0; TRANSACTION_LEN];
    id[..2].copy_from_slice(&slot.to_be_bytes());
    id[2..].copy_from_slice(&generation.to_be_bytes());
    id
}

fn parse_transaction(bytes: &[u8]) -> Option<(u16, u32)> {
    let (slot, generation) = bytes.split_at_checked(2)?;
    Some((
        u16::from_be_bytes(slot.try_into().ok()?),
        u32::from_be_bytes(generation.try_into().ok()?),
    ))
}

const _: () = assert!(OPEN_MAX <= u16::MAX as usize && FLIGHT_MAX <= OPEN_MAX);
