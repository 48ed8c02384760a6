//! Verifies what must hold in every run: the 27 safety and 5 liveness rules of
//! [`rule`](super::rule).
//!
//! Everything is computed from what crossed the boundary (datagrams, bytes of connections, rows,
//! saved state) with code of the checker's own: bencode, KRPC, peer wire, hashes, address filter.
//! The crawler is never asked; its counters are judged, not believed. What the documented policy
//! fixes (caps, deadlines, intervals) is taken from [`estudely_core::limits`], the page that
//! documents it.
//!
//! It remembers 8 to 16 bytes of each distinct address, infohash and peer heard of, and forgets
//! whatever a rule has a time limit for.

mod address;
mod answers;
mod bencode;
mod calm;
mod class;
mod counters;
mod dials;
mod ends;
pub mod expected;
mod families;
mod frames;
mod heard;
mod honest;
mod intervals;
mod krpc;
mod lag;
mod liveness;
mod lookups;
mod pace;
mod packets;
mod rows;
mod saved;
mod sealed;
mod sent;
mod session;
mod sets;
mod silence;
mod table;
mod traffic;
mod transactions;
mod universe;
mod utp;
mod wire;
#[cfg(test)]
mod tests;

pub use self::honest::HonestTally;

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

use estudely_core::limits::{EXPIRE_AFTER, LATE_UNTIL};
use estudely_core::{Duration, Instant, PeerFault, Row, Stats};

use self::address::key;
use self::answers::{Answers, Duty};
use self::counters::Counters;
use self::dials::Dials;
use self::ends::Ends;
use self::expected::GroundTruth;
use self::families::FamiliesApart;
use self::heard::Heard;
use self::honest::HonestWork;
use self::intervals::Intervals;
use self::lag::Lag;
use self::liveness::Liveness;
use self::lookups::Lookups;
use self::pace::Pace;
use self::packets::Packets;
use self::rows::Rows;
use self::saved::Saved;
use self::session::Sessions;
use self::silence::Silence;
use self::transactions::Transactions;
use super::rule::{Broken, DEADLINE_AHEAD, Findings, TIME_MONOTONE};
use crate::net::event::{Conn, Event, Observer};
use crate::world::scenario::Scenario;
use crate::world::universe::Universe;

/// A deadline that is over by so much was left behind.
const LEFT_BEHIND: Duration = Duration::from_secs(1);
/// So many turns at one instant with something still due are no turns of a loop that ends.
const TURNS_MAX: u32 = 4_096;

/// Watches one run; see the module.
pub struct Checker {
    truth: Box<dyn GroundTruth>,
    found: Findings,
    limited: bool,
    lag: Rc<Lag>,
    over: bool,
    /// Turns in a row at one instant with something due.
    turns: u32,
    saved: Saved,
    silence: Silence,
    heard: Heard,
    rows: Rows,
    intervals: Intervals,
    transactions: Transactions,
    pace: Pace,
    answers: Answers,
    packets: Packets,
    lookups: Lookups,
    dials: Dials,
    families: FamiliesApart,
    counters: Counters,
    liveness: Liveness,
    honest: HonestWork,
    sessions: Sessions,
    ends: Ends,
    events: u64,
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker").field("found", &self.found).finish_non_exhaustive()
    }
}

impl Checker {
    /// Of a run of `scenario` in `universe`.
    pub fn new(scenario: &Scenario, universe: Rc<Universe>) -> Self {
        Self::with_truth(scenario, Box::new(universe))
    }

    /// Of a run of `scenario` in the world of which `truth` knows.
    pub fn with_truth(scenario: &Scenario, truth: Box<dyn GroundTruth>) -> Self {
        let lag = Rc::new(Lag::of(scenario));
        Self {
            truth,
            found: Findings::default(),
            limited: scenario.max_infohashes > 0 || scenario.requests > 0,
            lag: lag.clone(),
            over: false,
            turns: 0,
            saved: Saved::default(),
            silence: Silence::new(Instant::START, lag.clone()),
            heard: Heard::default(),
            rows: Rows::default(),
            intervals: Intervals::default(),
            transactions: Transactions::new(lag.clone()),
            pace: Pace::new(scenario),
            answers: Answers::default(),
            packets: Packets::new(scenario),
            lookups: Lookups::default(),
            sessions: Sessions::new(scenario, lag.clone()),
            ends: Ends::new(scenario, lag.clone()),
            dials: Dials::new(scenario.connections, scenario.encryption, lag),
            families: FamiliesApart::default(),
            counters: Counters::default(),
            liveness: Liveness::new(scenario),
            honest: HonestWork::new(scenario),
            events: 0,
        }
    }

    /// The crawler may answer queries: it is judged how, and no longer has to say `ro`.
    #[must_use]
    pub fn serving(self) -> Self {
        Self { answers: Answers::new(Duty::Serving), ..self }
    }

    /// The first rule that did not hold.
    pub fn broken(&self) -> Option<&Broken> {
        self.found.first()
    }

    /// How often any rule did not hold.
    pub fn breaches(&self) -> u64 {
        self.found.count()
    }

    /// The names of all rules that did not hold, in alphabetical order.
    pub fn broken_rules(&self) -> impl Iterator<Item = &'static str> {
        self.found.names()
    }

    /// Events seen.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// What became of honest work, where baiters are about.
    pub fn honest(&self) -> Option<HonestTally> {
        self.honest.tally()
    }

    /// Whether everything that is promised came.
    pub fn is_done(&self) -> bool {
        self.liveness.is_done(self.found.now, &self.rows)
    }

    /// What has not converged yet: the first node not sampled or infohash not emitted, and why it
    /// is due. `None` before links healed, and once everything is there.
    pub fn pending(&self) -> Option<String> {
        self.liveness.pending(&self.rows).map(|(_, what)| what)
    }

    /// The run is over: whatever is still pending breaks its rule.
    pub fn finish(&mut self, now: Instant) {
        self.found.now = now;
        self.sessions.check_closing(&mut self.found);
        self.liveness.finish(&mut self.found, &self.rows, self.dials.len());
    }

    fn on_started(&mut self, now: Instant, own: [Option<SocketAddr>; 2], state: Option<&[u8]>) {
        let kept = self.saved.on_started(state);
        let on = own.map(|own| own.is_some());
        self.over = false;
        self.silence = Silence::new(now, self.lag.clone());
        self.heard.on_started(&*self.truth, own, kept.holds(Instant::START));
        self.rows.on_started(kept);
        self.intervals.on_started(kept);
        self.lookups.on_started(kept);
        self.transactions = Transactions::new(self.lag.clone());
        self.pace.on_started();
        self.answers.on_started();
        self.packets.on_started();
        self.dials.on_started();
        self.families.on_started(now, on, self.limited, kept);
        self.counters.on_started(state.is_none(), on);
        self.liveness.on_started(&*self.truth);
        self.honest.on_started(&*self.truth);
        self.sessions.on_started(now, &*self.truth, kept);
        self.ends.on_started(now, kept);
    }

    fn on_drained(&mut self, timeout: Option<Instant>, stats: &Stats) {
        let now = self.found.now;
        if timeout.is_some_and(|due| due <= now) {
            return self.on_due(timeout.unwrap_or(now));
        }
        self.turns = 0;
        let found = &mut self.found;
        self.sessions.on_drained(found);
        self.ends.on_drained(found, self.dials.len());
        if self.over {
            self.dials.on_drained(found);
            return;
        }
        self.transactions.on_drained(found, stats.queries_open);
        self.dials.on_drained(found);
        let parts = (&self.transactions, &self.dials, &self.rows, &self.heard);
        self.counters.on_drained(found, stats, parts);
        self.families.on_drained(found, stats);
        self.liveness.on_drained(found, stats);
        self.honest.on_drained(found);
        self.liveness.check_demand(found, &*self.truth, &self.rows);
    }

    /// Rule 16: something is due at this very instant, which a harness must do next, at once.
    fn on_due(&mut self, due: Instant) {
        self.turns += 1;
        let (now, turns) = (self.found.now, self.turns);
        let behind = now >= due + LEFT_BEHIND || turns > TURNS_MAX;
        self.found.check(!behind, DEADLINE_AHEAD, || {
            format!("due at {due:?}, after {turns} turns at {now:?}")
        });
    }

    /// A request is as good a reason to look an infohash up as a sample.
    fn on_requested(&mut self, hash: &[u8; 20]) {
        self.heard.infohashes.insert(key(&[hash]));
        self.counters.on_requested(hash);
        self.rows.on_requested(hash);
        self.lookups.on_requested(hash);
        self.liveness.on_requested(hash);
        self.ends.on_requested(self.found.now, hash);
    }

    fn on_dialled(&mut self, conn: Conn, to: SocketAddr, utp: bool) {
        let found = &mut self.found;
        self.ends.on_connection(found.now);
        self.liveness.on_begun(found, "a connection", to);
        self.pace.on_dialled(found);
        self.dials.on_dialled(found, &self.heard, conn, to, utp);
        if utp {
            self.packets.on_dialled(found, conn, to);
        }
    }

    fn on_ended(&mut self, conn: Conn, fault: Option<PeerFault>) {
        self.ends.on_connection(self.found.now);
        self.packets.on_ended(self.found.now, conn);
        if matches!(fault, None | Some(PeerFault::Refused)) {
            self.silence.on_life(self.found.now);
        }
        let (heard, silence) = (&self.heard, &self.silence);
        let peer = self.dials.on_ended(&mut self.found, heard, silence, conn, fault);
        if let Some(peer) = peer.filter(|_| fault.is_none()) {
            self.rows.on_delivered(peer);
        }
    }

    /// A row is written. What the crawler does next about its infohash it does from when it gave it
    /// out.
    fn on_row(&mut self, row: &Row, taken: Instant) {
        let (now, found) = (self.found.now, &mut self.found);
        let first = !self.rows.is_verified(&row.infohash.0);
        let verified = self.rows.on_row(found, &*self.truth, &self.heard, row);
        self.honest.on_row(now, row, first);
        self.lookups.on_row(found, &row.infohash.0, taken, verified);
        self.ends.on_row(taken, &row.infohash.0);
    }

    fn on_wrote(&mut self, conn: Conn, bytes: &[u8]) {
        let (found, heard) = (&mut self.found, (&self.heard, &*self.truth));
        if let Some((dialled, hash)) = self.dials.on_wrote(found, heard, conn, bytes) {
            self.lookups.on_handshake(found, dialled, &hash);
        }
    }
}

impl Observer for Checker {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        self.events += 1;
        if now != self.found.now {
            self.turns = 0;
        }
        let before = self.found.now;
        self.found.now = now.max(before);
        self.found.check(now >= before, TIME_MONOTONE, || {
            format!("an event at {now:?} after one at {before:?}")
        });
        match *event {
            Event::Started { own, state } => self.on_started(now, own, state),
            Event::Killed => {
                self.dials.on_started();
                self.sessions.on_killed();
                self.ends.on_killed();
            }
            Event::ShutDown { ended } => {
                self.over = true;
                self.transactions.on_shut_down();
                self.families.on_shut_down();
                self.liveness.on_shut_down(ended);
                let open = self.dials.len();
                self.sessions.on_shut_down(&mut self.found, ended, open);
                self.ends.on_shut_down(&mut self.found, ended, open);
            }
            Event::Healed => self.liveness.on_healed(now, &*self.truth),
            Event::Sent { to, payload } => self.on_sent(to, payload),
            Event::Received { from, payload, .. } => self.on_received(from, payload),
            Event::Dialled { conn, to, utp } => self.on_dialled(conn, to, utp),
            Event::Connected { conn } => self.dials.on_connected(now, conn),
            Event::Wrote { conn, bytes } => self.on_wrote(conn, bytes),
            Event::Read { conn, bytes } => self.dials.on_read(&mut self.found, conn, bytes),
            Event::Lost { .. } => {}
            Event::Ended { conn, fault } => self.on_ended(conn, fault),
            Event::Row { row, taken } => self.on_row(row, taken),
            Event::Requested { hash } => self.on_requested(&hash.0),
            Event::Output(news) => {
                self.counters.on_output();
                self.ends.on_output(now, news);
            }
            Event::Saved { bytes, whole } => {
                self.saved.on_saved(now, bytes, whole);
                self.sessions.on_saved(now, bytes, whole);
                let len = self.saved.len();
                table::check_saved(&mut self.found, &self.heard, bytes, whole, len);
            }
            Event::Woke(_) => {}
            Event::Drained { timeout, stats, held, .. } => {
                self.honest.on_held(&mut self.found, held);
                self.on_drained(timeout, stats);
            }
        }
    }

    /// Once links are healed and nothing is pending; or at once when a rule is broken.
    fn satisfied(&self) -> bool {
        self.found.first().is_some() || self.liveness.is_done(self.found.now, &self.rows)
    }
}

const _: () = assert!(EXPIRE_AFTER.as_secs() == 6 && LATE_UNTIL.as_secs() == 15);
