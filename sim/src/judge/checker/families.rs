//! Rule 20: an address family that has nodes to ask, asks, whatever the other is doing.
//!
//! A family has work when it has heard of eight contacts that it never asked, as long as the crawl
//! takes new infohashes on. Contacts from a node whose earlier contacts were all silent do not
//! count: the crawl does not follow it (catalogue H17).

use std::net::SocketAddr;

use estudely_core::limits::REFERRER_DEAD_MAX;
use estudely_core::{Duration, Instant, Stats};

use super::address::{family, ip_key};
use super::krpc::Reply;
use super::saved::Kept;
use super::sets::{Known, Seen};
use crate::judge::rule::{FAMILIES_APART, Findings};

/// So many new contacts are work.
const WORK: u32 = 8;
/// A family with work sends something within so long while the other does.
const PATIENCE: Duration = Duration::from_secs(60);
/// Datagrams of the other family in that time that show that something may be sent at all.
const BUSY: u32 = 20;
/// With fewer infohashes under way the sweep wants more.
const HUNGRY: u64 = 16;

/// One family.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    /// When it last sent something, or began to have work.
    since: Instant,
    new: u32,
    /// What the other sent since.
    other: u32,
}

/// What became of those whom a node named first.
#[derive(Clone, Copy, Debug, Default)]
struct Named {
    asked: u32,
    answered: u32,
}

impl Named {
    /// Whether it may have named silent contacts only, and too many of them.
    fn is_doubtful(self) -> bool {
        self.answered == 0 && self.asked >= u32::from(REFERRER_DEAD_MAX)
    }
}

/// Both.
#[derive(Debug, Default)]
pub(super) struct FamiliesApart {
    both: bool,
    limited: bool,
    over: bool,
    sides: [Side; 2],
    asked: Seen,
    heard: Seen,
    /// Who named an address first, until it answers.
    referrers: Known<u64>,
    named: Known<Named>,
}

impl FamiliesApart {
    /// A crawler began, with these families. If it has the state of an earlier run, whom that one
    /// asked may rest, and is no work then.
    pub(super) fn on_started(&mut self, now: Instant, on: [bool; 2], limited: bool, kept: Kept) {
        let side = Side { since: now, new: WORK, other: 0 };
        let asked = match kept {
            Kept::Nothing => Seen::default(),
            Kept::All | Kept::Before(_) => std::mem::take(&mut self.asked),
        };
        *self = Self { both: on == [true; 2], limited, sides: [side; 2], asked, ..Self::default() };
    }

    pub(super) fn on_shut_down(&mut self) {
        self.over = true;
    }

    pub(super) fn on_sent(&mut self, now: Instant, to: SocketAddr) {
        if !self.both {
            return;
        }
        let (side, ip) = (family(to), ip_key(to));
        if self.asked.insert(ip)
            && let Some(referrer) = self.referrers.get(&ip)
        {
            self.named.entry(*referrer).or_default().asked += 1;
        }
        self.sides[side] = Side { since: now, ..Side::default() };
        self.sides[1 - side].other += 1;
    }

    pub(super) fn on_reply(&mut self, now: Instant, from: SocketAddr, reply: &Reply<'_>) {
        if !self.both {
            return;
        }
        let side = &mut self.sides[family(from)];
        let referrer = ip_key(from);
        if let Some(first) = self.referrers.remove(&referrer) {
            self.named.entry(first).or_default().answered += 1;
        }
        if self.named.get(&referrer).is_some_and(|named| named.is_doubtful()) {
            return;
        }
        for (_, addr) in reply.contacts().filter(|(_, addr)| family(*addr) == family(from)) {
            let ip = ip_key(addr);
            let usable = super::address::inadmissible(addr).is_none() && addr.port() >= 1_024;
            if usable && !self.asked.contains(&ip) && self.heard.insert(ip) {
                if side.new == 0 {
                    (side.since, side.other) = (now, 0);
                }
                side.new += 1;
                self.referrers.insert(ip, referrer);
            }
        }
    }

    pub(super) fn on_drained(&mut self, found: &mut Findings, stats: &Stats) {
        if !self.both || self.over || self.limited {
            return;
        }
        if stats.infohashes_open >= HUNGRY {
            for side in &mut self.sides {
                side.since = found.now;
            }
            return;
        }
        for (side, name) in self.sides.iter().zip(["IPv4", "IPv6"]) {
            let starved =
                side.new >= WORK && side.other >= BUSY && found.now >= side.since + PATIENCE;
            found.check(!starved, FAMILIES_APART, || {
                let waited = found_since(side.since);
                format!("{name} has {} new contacts and sends nothing since {waited}, the other family {}", side.new, side.other)
            });
        }
    }
}

fn found_since(since: Instant) -> String {
    format!("{} s", since.as_micros() / 1_000_000)
}
