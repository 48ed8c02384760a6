//! The connections of a crawler that runs, and when each must be looked at: what the real adapter
//! keeps in tasks and alarms.

use std::collections::{BTreeMap, BTreeSet};

use estudely_core::{Crawler, Exchange, Instant, Outcome, PeerFault, PeerKey, Step};

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
    /// What it has for a stream that the core keeps; none over TCP.
    stream: Option<Outbound>,
}

/// What an exchange has for its stream.
#[derive(Debug, Default)]
struct Outbound {
    /// What the stream had no room for.
    unsent: Vec<u8>,
    /// How much the stream knows to be expected.
    expected: usize,
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
#[derive(Debug)]
pub(super) struct Exchanges {
    open: BTreeMap<Conn, Open>,
    due: BTreeSet<(Instant, Conn)>,
    /// Those over streams that the core keeps, and which of them have something to move.
    streams: BTreeMap<PeerKey, Conn>,
    stirred: BTreeSet<Conn>,
    /// Bytes of metadata that all of them hold.
    held: usize,
    /// Most that they may, but for one at a time, and which that is.
    budget: usize,
    large: Option<Conn>,
}

impl Exchanges {
    /// None, and never more bytes than `budget`, but for one connection.
    pub(super) fn new(budget: usize) -> Self {
        let (open, due) = (BTreeMap::new(), BTreeSet::new());
        let (streams, stirred) = (BTreeMap::new(), BTreeSet::new());
        Self { open, due, streams, stirred, held: 0, budget, large: None }
    }

    /// A connection begins, over TCP or over a stream that the core keeps.
    pub(super) fn insert(&mut self, conn: Conn, peer: PeerKey, exchange: Exchange, utp: bool) {
        let due = exchange.poll_timeout();
        self.due.insert((due, conn));
        let stream = utp.then(Outbound::default);
        if utp {
            self.streams.insert(peer, conn);
        }
        self.open.insert(conn, Open { peer, exchange, due, held: 0, recording: None, stream });
    }

    /// The stream of a connection has something to say.
    pub(super) fn stir(&mut self, peer: PeerKey) {
        self.stirred.extend(self.streams.get(&peer));
    }

    /// Those that have something to move.
    pub(super) fn take_stirred(&mut self) -> BTreeSet<Conn> {
        std::mem::take(&mut self.stirred)
    }

    /// The peer of a connection over a stream, and whether that is connected.
    pub(super) fn stream(&self, conn: Conn) -> Option<(PeerKey, bool)> {
        let open = self.open.get(&conn).filter(|open| open.stream.is_some())?;
        Some((open.peer, open.exchange.is_connected()))
    }

    /// Keeps what an exchange has written for its stream; `false` if it has none.
    pub(super) fn queue(&mut self, conn: Conn, bytes: &[u8]) -> bool {
        let Some(stream) = self.open.get_mut(&conn).and_then(|open| open.stream.as_mut()) else {
            return false;
        };
        stream.unsent.extend_from_slice(bytes);
        self.stirred.insert(conn);
        true
    }

    /// Passes on what an exchange has for its stream, as far as there is room.
    pub(super) fn flush(&mut self, now: Instant, conn: Conn, crawler: &mut Crawler) {
        let Some(Open { peer, exchange, stream: Some(stream), .. }) = self.open.get_mut(&conn)
        else {
            return;
        };
        let size = exchange.accepted_size().unwrap_or(0);
        if size != stream.expected {
            stream.expected = size;
            crawler.expect_stream(now, *peer, size);
        }
        let written = crawler.write_stream(now, *peer, &stream.unsent);
        stream.unsent.drain(..written);
    }

    /// A stream did not come about.
    pub(super) fn fail(
        &mut self,
        now: Instant,
        conn: Conn,
        fault: PeerFault,
    ) -> Option<(PeerKey, Outcome)> {
        let mut open = self.remove(conn)?;
        let outcome = open.exchange.handle_failed(now, fault);
        Some(open.cut(outcome))
    }

    /// Bytes of metadata that all of them hold.
    pub(super) fn bytes_held(&self) -> usize {
        self.held
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
        let large = self.large.and_then(|large| self.open.get(&large)).map_or(0, |open| open.held);
        if self.held - large > self.budget && self.large.is_none() {
            self.large = Some(conn);
        } else if self.held - large > self.budget && self.open.get(&conn)?.held > 0 {
            let mut open = self.remove(conn)?;
            let outcome = open.exchange.handle_failed(now, PeerFault::Pressure);
            return Some(open.cut(outcome));
        }
        None
    }

    /// Ends a connection that is to give up its place.
    pub(super) fn recall(&mut self, now: Instant, peer: PeerKey) -> Option<(Conn, Outcome)> {
        let conn = *self.open.iter().find(|(_, open)| open.peer == peer)?.0;
        let mut open = self.remove(conn)?;
        let outcome = open.exchange.handle_failed(now, PeerFault::Yielded);
        Some((conn, open.cut(outcome).1))
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
        self.streams.clear();
        self.stirred.clear();
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
        if open.stream.is_some() {
            self.streams.remove(&open.peer);
        }
        self.held -= open.held;
        self.large.take_if(|large| *large == conn);
        Some(open)
    }
}
