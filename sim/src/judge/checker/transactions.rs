//! Rule 4, and whom rule 5 lets speak: which queries are open, and which of them an answer ends.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;

use estudely_core::limits::{
    ADDRESS_PER_TEN_SECONDS, ALPHA, EXPIRE_AFTER, FLIGHT_MAX, LATE_MAX, LATE_UNTIL, OPEN_MAX,
    STALL_AFTER,
};
use estudely_core::{Duration, Instant};

use super::address::{family, ip_key, key};
use super::heard::{Heard, source_key};
use super::lag::Lag;
use super::sent::Ask;
use super::sets::Known;
use crate::judge::rule::{Findings, TRANSACTIONS_BOUNDED, WALKS_SOUND, WELL_FORMED};

/// How much later than its deadline a query may be seen open where deadlines fall between the
/// ticks of a harness.
pub(super) const GRACE: Duration = Duration::from_millis(20);

/// A query without an answer so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenQuery {
    pub(super) to: SocketAddr,
    pub(super) ask: Ask,
    pub(super) sent: Instant,
    in_flight: bool,
}

/// When the answer to a query was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timing {
    /// While the query was open.
    InTime,
    /// After it had failed, while its answer is still read.
    Late,
    /// At one of the two instants that end these times, or while so many queries fail that the
    /// crawler may have forgotten this one.
    Doubtful,
}

/// The queries of one run.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    open: Known<OpenQuery>,
    /// Deadlines, and the ends of flights, in the order of sending.
    deadlines: VecDeque<(Instant, u64)>,
    flights: VecDeque<(Instant, u64)>,
    /// Queries that have failed and may still be answered; by family, when they were sent.
    late: Known<OpenQuery>,
    lates: [VecDeque<(Instant, u64)>; 2],
    /// Open and in flight by family.
    counts: [(usize, usize); 2],
    per_address: Known<u64>,
    /// `get_peers` in flight by family and infohash.
    lookups: Known<usize>,
    /// How much later than by the harness's clock the crawler may give up.
    lag: Rc<Lag>,
    /// The run was told to end: it is woken no more, so that it gives nothing up either.
    over: bool,
    /// Queries that ended without an answer.
    pub(super) expired: u64,
    /// Answers that the crawler may or may not have taken.
    pub(super) doubtful: u64,
}

impl Transactions {
    pub(super) fn new(lag: Rc<Lag>) -> Self {
        Self { lag, ..Self::default() }
    }

    /// The run was told to end.
    pub(super) fn on_shut_down(&mut self) {
        self.over = true;
    }

    /// A query was sent.
    pub(super) fn on_sent(
        &mut self,
        found: &mut Findings,
        heard: &Heard,
        to: SocketAddr,
        transaction: &[u8],
        ask: Ask,
    ) {
        let now = found.now;
        self.advance(now, GRACE);
        let side = family(to);
        let number = key(&[&[side as u8], transaction]);
        let open = OpenQuery { to, ask, sent: now, in_flight: true };
        if let Some(before) = self.open.insert(number, open) {
            found.fail(WELL_FORMED, || {
                format!("transaction {transaction:02x?} of {to} is still open with {}", before.to)
            });
            self.leave(&before);
        }
        self.deadlines.push_back((now, number));
        self.flights.push_back((now, number));
        let counts = &mut self.counts[side];
        (counts.0, counts.1) = (counts.0 + 1, counts.1 + 1);
        let (open, flight) = *counts;
        let address = self.per_address.entry(ip_key(to)).or_default();
        *address += 1;
        let address = *address;
        found.check(open <= OPEN_MAX, TRANSACTIONS_BOUNDED, || format!("{open} open queries"));
        found.check(flight <= FLIGHT_MAX, TRANSACTIONS_BOUNDED, || {
            format!("{flight} queries in flight")
        });
        found.check(address <= ADDRESS_PER_TEN_SECONDS, TRANSACTIONS_BOUNDED, || {
            format!("{address} queries open with {}", to.ip())
        });
        if let Ask::GetPeers(hash) = ask {
            let lookup = self.lookups.entry(lookup_key(to, &hash)).or_default();
            *lookup += 1;
            let lookup = *lookup;
            // A second source may be asked beside what is left of a walk that is over.
            let is_source = heard.sources.contains(&source_key(&hash, to));
            found.check(lookup <= ALPHA + usize::from(is_source), WALKS_SOUND, || {
                format!("{lookup} get_peers in flight for {}", crate::judge::rule::hex(&hash))
            });
        }
    }

    /// An answer was received; the query that it names, if any, is over.
    pub(super) fn on_answer(
        &mut self,
        now: Instant,
        from: SocketAddr,
        transaction: &[u8],
    ) -> Option<(OpenQuery, Timing)> {
        self.advance(now, GRACE);
        let number = key(&[&[family(from) as u8], transaction]);
        let (query, timing) = if let Some(open) = named(&self.open, number, from) {
            self.open.remove(&number);
            self.leave(&open);
            (open, if now < open.sent + EXPIRE_AFTER { Timing::InTime } else { Timing::Doubtful })
        } else {
            let late = named(&self.late, number, from)?;
            self.late.remove(&number);
            let all_kept = self.lates[family(from)].len() < LATE_MAX;
            let is_sure = all_kept && now < late.sent + LATE_UNTIL;
            (late, if is_sure { Timing::Late } else { Timing::Doubtful })
        };
        self.doubtful += u64::from(timing == Timing::Doubtful);
        Some((query, timing))
    }

    /// Everything due at `now` has been done, and the crawler says how many queries are open.
    pub(super) fn on_drained(&mut self, found: &mut Findings, level: u64) {
        let now = found.now;
        self.advance(now, Duration::ZERO);
        let most = self.open.len() as u64;
        // With a slow clock those that would be over by ours may be open or not.
        let over = self.deadlines.iter().take_while(|(sent, _)| now >= *sent + EXPIRE_AFTER);
        let over = over.filter(|(_, number)| self.open.contains_key(number)).count() as u64;
        let least = most - over.min(most);
        found.check((least..=most).contains(&level), TRANSACTIONS_BOUNDED, || {
            format!(
                "{level} queries are open by its counters, {least} to {most} by their deadlines"
            )
        });
    }

    /// Ends what is over at `now`, `grace` later than by its deadline.
    pub(super) fn advance(&mut self, now: Instant, grace: Duration) {
        while let Some((sent, number)) = self.flights.front().copied() {
            if now < sent + STALL_AFTER {
                break;
            }
            self.flights.pop_front();
            if let Some(open) = self.open.get_mut(&number).filter(|open| open.sent == sent) {
                let before = *open;
                open.in_flight = false;
                self.land(&before);
            }
        }
        while let Some((sent, number)) = self.deadlines.front().copied() {
            if self.over || now < self.lag.end(sent, EXPIRE_AFTER) + grace {
                break;
            }
            self.deadlines.pop_front();
            if let Some(open) = self.open.get(&number).filter(|open| open.sent == sent).copied() {
                self.open.remove(&number);
                self.leave(&open);
                self.expired += 1;
                self.late.insert(number, open);
                self.lates[family(open.to)].push_back((sent, number));
            }
        }
        for lates in &mut self.lates {
            while let Some((sent, number)) = lates.front().copied() {
                if self.over || now < self.lag.end(sent, LATE_UNTIL) + grace {
                    break;
                }
                lates.pop_front();
                if self.late.get(&number).is_some_and(|late| late.sent == sent) {
                    self.late.remove(&number);
                }
            }
        }
    }

    /// A query is no longer open.
    fn leave(&mut self, open: &OpenQuery) {
        self.counts[family(open.to)].0 -= 1;
        let ip = ip_key(open.to);
        if let Some(count) = self.per_address.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                self.per_address.remove(&ip);
            }
        }
        if open.in_flight {
            self.land(open);
        }
    }

    /// A query is no longer in flight.
    fn land(&mut self, open: &OpenQuery) {
        self.counts[family(open.to)].1 -= 1;
        if let Ask::GetPeers(hash) = open.ask {
            let lookup = lookup_key(open.to, &hash);
            if let Some(count) = self.lookups.get_mut(&lookup) {
                *count -= 1;
                if *count == 0 {
                    self.lookups.remove(&lookup);
                }
            }
        }
    }
}

/// The query of this number, if it went to the address that its answer came from.
fn named(queries: &Known<OpenQuery>, number: u64, from: SocketAddr) -> Option<OpenQuery> {
    queries.get(&number).filter(|query| query.to == from).copied()
}

fn lookup_key(to: SocketAddr, hash: &[u8; 20]) -> u64 {
    key(&[&[family(to) as u8], hash])
}
