//! The transactions of one KRPC socket: which queries are open, which reply answers which.
//!
//! A reply counts only if its transaction id names an open query (2 bytes of slot, 4 bytes drawn
//! at random) *and* it comes from the address that was asked (catalogue H6, D8). Nothing a
//! stranger sends creates state here.
//!
//! A query that has failed gives its place to another at once, and its answer can still be read for
//! a while (catalogue 5.13): its slot keeps its number, which no other query gets meanwhile.

use std::net::SocketAddr;

use crate::base::addr::Family;
use crate::base::id::NodeId;
use crate::base::planted::{self, Bug};
use crate::base::rng::Rng;
use crate::base::time::{Instant, Lane, earliest};
use crate::codec::krpc::{self, Ask, Envelope, Want};
use crate::limits::{EXPIRE_AFTER, FLIGHT_MAX, LATE_MAX, LATE_UNTIL, OPEN_MAX, STALL_AFTER};

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
    stage: Stage,
}

impl<O> Open<O> {
    /// When its answer came, of one that was taken.
    pub fn timing(&self) -> Timing {
        if self.stage == Stage::Late { Timing::Late } else { Timing::InTime }
    }
}

/// When an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// While its query was open.
    InTime,
    /// After it had been given up.
    Late,
}

/// How long a query has been silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not for long: it takes a place among the queries in flight.
    InFlight,
    /// For [`STALL_AFTER`]: it takes a place among those open.
    Stalled,
    /// For [`EXPIRE_AFTER`]: it has failed, and its answer would still be read.
    Late,
}

/// What became of a query without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Silent for [`STALL_AFTER`]: still open, but others need not wait for it.
    Stalled,
    /// Silent for [`EXPIRE_AFTER`]: failed. Its answer is read until [`LATE_UNTIL`].
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
    /// Slots of queries that have failed and may still be answered.
    late: usize,
    stalls: Lane<(u16, u32)>,
    expiries: Lane<(u16, u32)>,
    /// Those of failed queries, by when they were sent.
    ends: Lane<(u16, u32)>,
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
            late: 0,
            stalls: Lane::new(STALL_AFTER),
            expiries: Lane::new(EXPIRE_AFTER),
            ends: Lane::new(LATE_UNTIL),
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

    /// Queries open: those that have failed are not.
    pub fn open_count(&self) -> usize {
        self.slots.len() - self.free.len() - self.late
    }

    /// Opens a query and appends its datagram to `out`. The caller asked [`Endpoint::has_room`].
    pub fn ask(&mut self, now: Instant, to: SocketAddr, ask: &Ask, owner: O, out: &mut Vec<u8>) {
        let generation = self.rng.next_u32();
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u16
        });
        self.slots[usize::from(slot)] =
            Some(Open { to, owner, sent: now, generation, stage: Stage::InFlight });
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

    /// Closes the query that a reply or error with this transaction id from this address answers,
    /// in time or late.
    pub fn take(&mut self, now: Instant, from: SocketAddr, transaction: &[u8]) -> Option<Open<O>> {
        let (slot, generation) = parse_transaction(transaction)?;
        let open = self.slots.get(usize::from(slot))?.as_ref()?;
        let is_readable = now < open.sent + LATE_UNTIL;
        let matches = open.generation == generation && open.to == from && is_readable;
        if !(matches || planted::is(Bug::UnmatchedReply)) {
            return None;
        }
        self.close(slot)
    }

    /// The next query that has been silent too long at `now`.
    pub fn poll_silence(&mut self, now: Instant) -> Option<(Silence, Open<O>)> {
        while let Some((slot, generation)) = self.stalls.pop_due(now) {
            let Some(Some(open)) = self.slots.get_mut(usize::from(slot)) else { continue };
            if open.generation == generation && open.stage == Stage::InFlight {
                open.stage = Stage::Stalled;
                let stalled = *open;
                self.flight -= 1;
                self.trim(); // those behind it may be closed
                return Some((Silence::Stalled, stalled));
            }
        }
        while let Some((slot, generation)) = self.expiries.pop_due(now) {
            if self.is_open(slot, generation) && !planted::is(Bug::EndlessQuery) {
                return self.give_up(slot).map(|open| (Silence::Expired, open));
            }
        }
        while let Some((slot, generation)) = self.ends.pop_due(now) {
            self.forget(slot, generation);
        }
        None
    }

    /// When [`Endpoint::poll_silence`] next has something to say. That a failed query can no longer
    /// be answered is no news.
    pub fn poll_timeout(&self) -> Option<Instant> {
        earliest(self.stalls.poll_timeout(), self.expiries.poll_timeout())
    }

    /// Asserts the invariants: counts agree, and nothing is over its limit.
    pub fn check(&self) {
        let all = self.slots.iter().flatten();
        let in_stage = |stage| all.clone().filter(|open| open.stage == stage).count();
        assert_eq!(in_stage(Stage::InFlight), self.flight);
        assert_eq!(in_stage(Stage::InFlight) + in_stage(Stage::Stalled), self.open_count());
        assert_eq!(in_stage(Stage::Late), self.late);
        assert!(all.clone().all(|open| Family::of(open.to) == self.family));
        assert!(self.open_count() <= OPEN_MAX && self.flight <= FLIGHT_MAX);
        assert!(self.late <= self.ends.len() && self.ends.len() <= LATE_MAX);
    }

    fn is_open(&self, slot: u16, generation: u32) -> bool {
        let open = self.slots.get(usize::from(slot)).and_then(Option::as_ref);
        open.is_some_and(|open| open.generation == generation)
    }

    /// A query has failed: others no longer count it, and its slot stays its own for a while. If
    /// too many do, the one sent first can no longer be answered.
    fn give_up(&mut self, slot: u16) -> Option<Open<O>> {
        while self.ends.len() >= LATE_MAX
            && let Some((slot, generation)) = self.ends.pop_front()
        {
            self.forget(slot, generation);
        }
        let open = self.slots.get_mut(usize::from(slot))?.as_mut()?;
        self.flight -= usize::from(open.stage == Stage::InFlight);
        let given_up = *open;
        open.stage = Stage::Late;
        self.late += 1;
        self.ends.push(given_up.sent, (slot, given_up.generation));
        self.trim();
        Some(given_up)
    }

    /// A failed query, unless it was answered, can no longer be.
    fn forget(&mut self, slot: u16, generation: u32) {
        if self.is_open(slot, generation) {
            self.close(slot);
        }
    }

    fn close(&mut self, slot: u16) -> Option<Open<O>> {
        let open = self.slots.get_mut(usize::from(slot))?.take()?;
        match open.stage {
            Stage::InFlight => self.flight -= 1,
            Stage::Stalled => {}
            Stage::Late => self.late -= 1,
        }
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

    /// Drops deadlines of closed queries from the fronts of the lanes, so that those tell the
    /// truth.
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

const _: () = assert!(OPEN_MAX + LATE_MAX <= u16::MAX as usize && FLIGHT_MAX <= OPEN_MAX);
