//! Rules 14 and 15: who is asked for the peers of which infohash how often, and when.

use std::net::SocketAddr;

use estudely_core::limits::{SECOND_CHANCE_AFTER, SOURCE_ASKS_MAX, WALK_CANDIDATES_MAX};
use estudely_core::{Duration, Instant};

use super::address::{family, ip_key, key};
use super::heard::{Heard, source_key};
use super::saved::Kept;
use super::sets::{Known, forget};
use super::silence::Silence;
use crate::judge::rule::hex;
use crate::judge::rule::{Findings, NO_WORK_TWICE, WALKS_SOUND};

/// A lookup of the same infohash after so long is another round: rounds are an hour apart.
const ROUND_GAP: Duration = Duration::from_secs(3_000);
/// Whole seconds are saved, so a retry time may be off by that much.
const ROUNDING: Duration = Duration::from_secs(2);

/// What was asked for one infohash in its present round.
#[derive(Clone, Copy, Debug)]
struct Round {
    last: Instant,
    asked: [u16; 2],
    /// The time between silences that it belongs to; see [`Silence`].
    number: usize,
    /// Lookups made anew for a silence.
    repeats: u8,
}

/// How often a contact was asked in a round.
#[derive(Clone, Copy, Debug)]
struct ContactAsked {
    times: u8,
    last: Instant,
    repeats: u8,
}

/// An infohash that has a row.
#[derive(Clone, Copy, Debug)]
struct Settled {
    /// When its row was given out, from which its second chances are counted.
    at: Instant,
    /// When that was written: a state that lost what was saved then does not know of it.
    written: Instant,
    verified: bool,
    /// Rounds after the first that were seen.
    rounds: u8,
    last: Instant,
}

/// Lookups of the last hour, and infohashes with rows.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    rounds: Known<Round>,
    asked: Known<ContactAsked>,
    settled: Known<Settled>,
    looked: (usize, usize, usize),
}

impl Lookups {
    /// A new crawler began that still knows what `kept` says. Those that it has verified it knows
    /// from its outputs.
    pub(super) fn on_started(&mut self, kept: Kept) {
        self.rounds.clear();
        self.asked.clear();
        self.settled.retain(|_, settled| settled.verified || kept.holds(settled.written));
    }

    /// A run is asked for this infohash: that it failed in an earlier one counts no longer.
    pub(super) fn on_requested(&mut self, hash: &[u8; 20]) {
        let number = key(&[hash]);
        if self.settled.get(&number).is_some_and(|settled| !settled.verified) {
            self.settled.remove(&number);
        }
    }

    /// A row was written that was given out when it was `taken`.
    pub(super) fn on_row(
        &mut self,
        found: &mut Findings,
        hash: &[u8; 20],
        taken: Instant,
        verified: bool,
    ) {
        let (now, number) = (found.now, key(&[hash]));
        let settled = Settled { at: taken, written: now, verified, rounds: 0, last: taken };
        self.settled.insert(number, settled);
        // It may have been looked up while its row was not written.
        if let Some(last) = self.rounds.get(&number).map(|round| round.last)
            && last > taken
        {
            self.check_settled(found, last, hash);
        }
        let longest: Duration = SECOND_CHANCE_AFTER.iter().sum();
        forget(&mut self.settled, &mut self.looked.2, |settled| {
            settled.verified || now < settled.last + longest
        });
    }

    /// `get_peers` was sent.
    pub(super) fn on_asked(
        &mut self,
        found: &mut Findings,
        heard: &Heard,
        silence: &Silence,
        to: SocketAddr,
        hash: &[u8; 20],
    ) {
        let now = found.now;
        self.check_settled(found, now, hash);
        let repeats = self.on_lookup(found, silence, to, hash);
        let is_source = heard.sources.contains(&source_key(hash, to));
        let contact = key(&[hash, &ip_key(to).to_le_bytes()]);
        let fresh = ContactAsked { times: 0, last: now, repeats };
        let asked = self.asked.entry(contact).or_insert(fresh);
        if now >= asked.last + ROUND_GAP || asked.repeats != repeats {
            *asked = fresh;
        }
        asked.last = now;
        // A source that stays silent while no other node answers either is asked once more.
        asked.times += u8::from(!(is_source && silence.is_on(now)));
        let most = 1 + if is_source { SOURCE_ASKS_MAX } else { 0 };
        let times = asked.times;
        found.check(times <= most, WALKS_SOUND, || {
            format!("{} is asked for {} for the {times}. time", to.ip(), hex(hash))
        });
        forget(&mut self.asked, &mut self.looked.1, |asked| now < asked.last + ROUND_GAP);
    }

    /// Counts a query of the present round; how often its lookup was made anew.
    fn on_lookup(
        &mut self,
        found: &mut Findings,
        silence: &Silence,
        to: SocketAddr,
        hash: &[u8; 20],
    ) -> u8 {
        let (now, number) = (found.now, silence.number(found.now));
        let fresh = Round { last: now, asked: [0; 2], number, repeats: 0 };
        let round = self.rounds.entry(key(&[hash])).or_insert(fresh);
        if now >= round.last + ROUND_GAP {
            round.asked = [0; 2];
        } else if round.number != number && silence.covers(round.last, round.number) {
            (round.asked, round.repeats) = ([0; 2], round.repeats.wrapping_add(1));
        }
        (round.last, round.number) = (now, number);
        let asked = &mut round.asked[family(to)];
        *asked = asked.saturating_add(1);
        let (asked, repeats) = (*asked, round.repeats);
        let most = WALK_CANDIDATES_MAX + usize::from(SOURCE_ASKS_MAX);
        found.check(usize::from(asked) <= most, WALKS_SOUND, || {
            format!("{asked} nodes of one family were asked for {}", hex(hash))
        });
        forget(&mut self.rounds, &mut self.looked.0, |round| now < round.last + ROUND_GAP);
        repeats
    }

    /// A connection begun at `dialled` turns out to be for `hash`.
    pub(super) fn on_handshake(&self, found: &mut Findings, dialled: Instant, hash: &[u8; 20]) {
        let Some(settled) = self.settled.get(&key(&[hash])) else { return };
        let soon = settled.at + SECOND_CHANCE_AFTER[0];
        let early = dialled > settled.at && (settled.verified || dialled + ROUNDING < soon);
        found.check(!early, NO_WORK_TWICE, || {
            format!("{} is dialled {:?} after its row", hex(hash), dialled.since(settled.at))
        });
    }

    /// An infohash was looked up at `now`: it must have no row, or be due again.
    fn check_settled(&mut self, found: &mut Findings, now: Instant, hash: &[u8; 20]) {
        let Some(settled) = self.settled.get_mut(&key(&[hash])) else { return };
        let early = if settled.verified {
            true
        } else if settled.rounds > 0 && now < settled.last + ROUND_GAP {
            false
        } else {
            settled.rounds = settled.rounds.saturating_add(1);
            let wait = SECOND_CHANCE_AFTER.get(usize::from(settled.rounds) - 1);
            wait.is_none_or(|wait| now + ROUNDING < settled.last + *wait)
        };
        settled.last = now;
        let (verified, since) = (settled.verified, now.since(settled.at));
        found.check(!early, NO_WORK_TWICE, || {
            let how = if verified { "verified" } else { "given up" };
            format!("{} is looked up {since:?} after it was {how}", hex(hash))
        });
    }
}
