//! The connections of a crawler that runs, and when each must be looked at: what the real adapter
//! keeps in tasks and alarms.

use std::collections::{BTreeMap, BTreeSet};

use estudely_core::limits::ASSEMBLY_BYTES_MAX;
use estudely_core::{Exchange, Instant, Outcome, PeerFault, PeerKey, Step};

use super::replay::Recording;
use crate::judge::compare::End;
use crate::net::event::Conn;

/// One connection.
#[derive(Debug)]
struct Open {
    peer: PeerKey,
    exchange: Exchange,
    /// As entered among the deadlines.
    due: Instant,
    /// Bytes of metadata it holds.
    held: usize,
    /// What it received, if that is to be read again.
    recording: Option<Box<Recording>>,
}

impl Open {
    /// Bytes arrived.
    fn read(&mut self, now: Instant, bytes: &[u8], out: &mut Vec<u8>) -> Step {
        // Once the deadline is over bytes no longer count; beyond its bound nothing is recorded.
        let is_late = now >= self.exchange.poll_timeout();
        if let Some(full) = self.recording.take_if(|recording| !recording.has_room(bytes.len())) {
            full.judge(End::Open);
        }
        let begin = out.len();
        let step = self.exchange.handle_bytes(now, bytes, out);
        if let Some(recording) = self.recording.as_mut().filter(|_| !is_late) {
            recording.on_read(now, bytes, &out[begin..]);
        }
        if let Step::Finished(outcome) = &step
            && let Some(recording) = self.recording.take()
        {
            recording.judge(if is_late { End::Otherwise(outcome) } else { End::ByBytes(outcome) });
        }
        step
    }

    /// It ended with `outcome`, which nothing that it read brought about.
    fn cut(self, outcome: Outcome) -> (PeerKey, Outcome) {
        if let Some(recording) = self.recording {
            recording.judge(End::Otherwise(&outcome));
        }
        (self.peer, outcome)
    }
}

/// See the module. Every ended exchange is forgotten; times are the crawler's.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    open: BTreeMap<Conn, Open>,
    due: BTreeSet<(Instant, Conn)>,
    /// Bytes of metadata that all of them hold.
    held: usize,
}

impl Exchanges {
    pub(super) fn insert(&mut self, conn: Conn, peer: PeerKey, exchange: Exchange) {
        let due = exchange.poll_timeout();
        self.due.insert((due, conn));
        self.open.insert(conn, Open { peer, exchange, due, held: 0, recording: None });
    }

    pub(super) fn contains(&self, conn: Conn) -> bool {
        self.open.contains_key(&conn)
    }

    pub(super) fn handle_connected(&mut self, now: Instant, conn: Conn, out: &mut Vec<u8>) {
        if let Some(open) = self.open.get_mut(&conn) {
            open.exchange.handle_connected(now, out);
            open.recording = Recording::of(now, conn, &open.exchange);
        }
        self.account(conn);
    }

    /// The outcome if these bytes brought it; then nothing of `out` is to be written.
    pub(super) fn handle_bytes(
        &mut self,
        now: Instant,
        conn: Conn,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<(PeerKey, Outcome)> {
        let open = self.open.get_mut(&conn)?;
        if let Step::Finished(outcome) = open.read(now, bytes, out) {
            return Some((self.remove(conn)?.peer, *outcome));
        }
        self.account(conn);
        if self.held > ASSEMBLY_BYTES_MAX && self.open.get(&conn)?.held > 0 {
            let mut open = self.remove(conn)?;
            let outcome = open.exchange.handle_failed(now, PeerFault::Pressure);
            return Some(open.cut(outcome));
        }
        None
    }

    pub(super) fn handle_lost(
        &mut self,
        now: Instant,
        conn: Conn,
        refused: bool,
    ) -> Option<(PeerKey, Outcome)> {
        let mut open = self.remove(conn)?;
        let outcome = if open.exchange.is_connected() {
            open.exchange.handle_closed(now)
        } else {
            let fault = if refused { PeerFault::Refused } else { PeerFault::Unreachable };
            open.exchange.handle_failed(now, fault)
        };
        Some(open.cut(outcome))
    }

    /// The next thing that time has brought, which for an exchange that goes on is what was
    /// appended to `out`. Call until there is none.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Option<(Conn, Option<(PeerKey, Outcome)>)> {
        while let Some(&(due, conn)) = self.due.first()
            && due <= now
        {
            let open = self.open.get_mut(&conn).expect("every deadline is that of a connection");
            if let Step::Finished(outcome) = open.exchange.handle_timeout(now, out) {
                return Some((conn, Some(self.remove(conn)?.cut(*outcome))));
            }
            if let Some(recording) = &mut open.recording {
                recording.on_timeout(now, out);
            }
            self.account(conn);
            let moved = self.open.get(&conn).is_some_and(|open| open.due > now);
            assert!(moved, "rule 16: an exchange is due at {due:?} and has nothing to say");
            if !out.is_empty() {
                return Some((conn, None));
            }
        }
        None
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The outcomes of a run that ends, in the order of the connections.
    pub(super) fn abort(&mut self, now: Instant) -> Vec<(Conn, PeerKey, Outcome)> {
        self.due.clear();
        self.held = 0;
        let all = std::mem::take(&mut self.open).into_iter();
        all.map(|(conn, mut open)| {
            let outcome = open.exchange.handle_failed(now, PeerFault::Aborted);
            let (peer, outcome) = open.cut(outcome);
            (conn, peer, outcome)
        })
        .collect()
    }

    /// Enters a connection's deadline and bytes as they are now.
    fn account(&mut self, conn: Conn) {
        let Some(open) = self.open.get_mut(&conn) else { return };
        let (due, held) = (open.exchange.poll_timeout(), open.exchange.bytes_held());
        self.held = self.held - open.held + held;
        open.held = held;
        if due != open.due {
            self.due.remove(&(open.due, conn));
            self.due.insert((due, conn));
            open.due = due;
        }
    }

    fn remove(&mut self, conn: Conn) -> Option<Open> {
        let open = self.open.remove(&conn)?;
        self.due.remove(&(open.due, conn));
        self.held -= open.held;
        Some(open)
    }
}
