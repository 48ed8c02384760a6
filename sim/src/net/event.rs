//! Everything that crosses the boundary of the crawler under test, as it happens.
//!
//! Harnesses report these events; the checker, the trace and the coverage curve observe them. What
//! an observer knows comes from here and from the world's truth, never from the crawler.

use std::net::SocketAddr;

use estudely_core::session::{Ended, Output};
use estudely_core::{Deadline, InfoHash, Instant, PeerFault, Row, Stats, Why};

/// Numbers a connection for a whole run, crashes included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Conn(pub u64);

/// Bytes that a crawler holds for strangers, as its driver sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Of unfinished metadata, within connections and between them.
    pub unfinished: usize,
    /// Of rows that nobody has taken.
    pub rows: usize,
}

/// One thing that crossed the boundary, or that the harness did to the crawler.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A crawler begins, with or without what an earlier one saved.
    Started {
        /// Its own addresses by family.
        own: [Option<SocketAddr>; 2],
        /// The state it was restored from.
        state: Option<&'a [u8]>,
    },
    /// It was killed: everything but its files is gone.
    Killed,
    /// It was told to begin nothing new.
    ShutDown {
        /// Why its run ends; `None` if no crawler ran.
        ended: Option<Ended>,
    },
    /// Faults of the links ended.
    Healed,
    /// It sent a datagram.
    Sent {
        /// Where to.
        to: SocketAddr,
        /// What.
        payload: &'a [u8],
    },
    /// It received a datagram.
    Received {
        /// Where it claims to come from.
        from: SocketAddr,
        /// What.
        payload: &'a [u8],
        /// Whether the simulator forged it: no node sent this.
        forged: bool,
    },
    /// It began a connection.
    Dialled {
        /// Which.
        conn: Conn,
        /// To whom.
        to: SocketAddr,
        /// Whether it goes over uTP, in datagrams.
        utp: bool,
    },
    /// The connection was accepted.
    Connected {
        /// Which.
        conn: Conn,
    },
    /// It wrote to a connection.
    Wrote {
        /// Which.
        conn: Conn,
        /// What.
        bytes: &'a [u8],
    },
    /// It read from a connection.
    Read {
        /// Which.
        conn: Conn,
        /// What.
        bytes: &'a [u8],
    },
    /// The connection ended from its side, or failed to begin.
    Lost {
        /// Which.
        conn: Conn,
        /// Whether it was refused rather than closed or reset.
        refused: bool,
    },
    /// It ended a connection, with this result.
    Ended {
        /// Which.
        conn: Conn,
        /// `None` when the metadata was delivered.
        fault: Option<PeerFault>,
    },
    /// A row that it gave out is written.
    Row {
        /// Which.
        row: &'a Row,
        /// When it was given out: earlier where the disk stalled.
        taken: Instant,
    },
    /// It was asked for the metadata of an infohash.
    Requested {
        /// Which.
        hash: InfoHash,
    },
    /// Its outputs take no more rows: why.
    Output(Output),
    /// It saved its state: a whole one, or a record appended to the last whole one.
    Saved {
        /// What was written.
        bytes: &'a [u8],
        /// Whether this replaces all that was saved before.
        whole: bool,
    },
    /// A deadline of the core has come, and the core is told so.
    Woke(Why),
    /// Nothing is left to do at this instant: every poll is drained.
    Drained {
        /// When it wants to be called next.
        timeout: Option<Instant>,
        /// When the core has something to do by itself, and why.
        next: Option<Deadline>,
        /// Its counters.
        stats: &'a Stats,
        /// What it holds in memory for others.
        held: Held,
    },
}

/// Sees every event in the order it happens. `now` is the harness's time, which never steps back.
pub trait Observer {
    /// One event.
    fn observe(&mut self, now: Instant, event: &Event<'_>);

    /// Whether the run may end here: everything has been seen, or a rule is broken. Asked after
    /// every turn, in every phase: an observer that wants all faults played out waits for
    /// [`Event::Healed`].
    fn satisfied(&self) -> bool {
        false
    }
}

/// Both see everything; either ends the run.
impl<A: Observer, B: Observer> Observer for (A, B) {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        self.0.observe(now, event);
        self.1.observe(now, event);
    }

    fn satisfied(&self) -> bool {
        self.0.satisfied() || self.1.satisfied()
    }
}

/// An observer that sees nothing.
impl Observer for () {
    fn observe(&mut self, _now: Instant, _event: &Event<'_>) {}
}
