//! Rules 9, 12 and the connections' part of 10: which connections are open, to whom, for how long.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;

use estudely_core::limits::{
    CONNECT_TIMEOUT, EXCHANGE_RATE, EXCHANGE_TIMEOUT, HANDSHAKE_TIMEOUT, METADATA_MAX,
    PER_ADDRESS_MAX, PER_PREFIX_A_MINUTE, PIECE_TIMEOUT, PLAN_CONNECTS_MAX, PUT_BACKS_MAX,
    TURNS_MAX, UTP_CONNECT_TIMEOUT,
};
use estudely_core::{Config, Duration, Instant, Mode, PeerFault};

use super::address::{endpoint_key, ip_key, key, prefix_key};
use super::expected::GroundTruth;
use super::heard::{Heard, peer_key};
use super::lag::Lag;
use super::sealed::Line;
use super::sets::{Known, forget};
use super::silence::Silence;
use super::transactions::GRACE;
use super::wire::Wire;
use crate::judge::rule::hex;
use crate::judge::rule::{
    DIALS_BOUNDED, ENCRYPTION_SOUND, Findings, MATCHED_REPLIES, MEMORY_BOUNDED, SILENT_AFTER_END,
};
use crate::net::event::Conn;
use crate::world::scenario::Encrypts;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// So often an attempt goes on after our own budget was spent.
pub(super) const PRESSURES_MAX: u8 = 250;

/// A connection under way.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) to: SocketAddr,
    pub(super) dialled: Instant,
    connected: Option<Instant>,
    /// When an offer or a piece last came.
    moved: Option<Instant>,
    /// Whether another one to its address was open at any time beside it.
    crowded: bool,
    deadline: Instant,
    line: Line,
    wire: Wire,
    /// Whether it goes over uTP.
    utp: bool,
}

/// How many ways there are to ask a peer: in the clear and encrypted, over TCP and over uTP.
const WAYS: usize = 4;

/// The last plan for a peer of an infohash.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    at: Instant,
    /// Which ways the next dial may have, and which were tried.
    next: [bool; WAYS],
    tried: [bool; WAYS],
    /// Dials that came to nothing by the peer's fault, or the crowd's.
    connects: u8,
    put_backs: u8,
    /// Turns that brought pieces, after which it gave its place up.
    turns: u8,
    /// Times that our own budget was spent.
    pressures: u8,
    piecewise: bool,
}

/// Connections, by number, address and neighbourhood.
#[derive(Debug)]
pub(super) struct Dials {
    most: usize,
    encryption: Encrypts,
    lag: Rc<Lag>,
    open: BTreeMap<Conn, Connection>,
    deadlines: BTreeSet<(Instant, Conn)>,
    by_ip: Known<Vec<Conn>>,
    prefixes: Known<VecDeque<Instant>>,
    attempts: Known<Attempt>,
    /// Dials of an endpoint in the last hour that came to nothing.
    unconnected: Known<(u32, Instant)>,
    /// The same of all that a plan counts.
    spent: Known<(u32, Instant)>,
    looked: (usize, usize, usize, usize),
    last: Option<Conn>,
    /// Bytes of whole pieces on open connections.
    held: usize,
    /// Begun in this run.
    pub(super) dialled: u64,
    /// Ended in this run after having been connected.
    pub(super) connected: u64,
    /// Of these, the encrypted ones: over TCP, and over uTP.
    pub(super) sealed_connected: [u64; 2],
    /// Begun over uTP in this run.
    pub(super) dialled_utp: u64,
    /// Ended in this run, by fault; and with metadata.
    pub(super) faults: [u64; PeerFault::COUNT],
    pub(super) delivered: u64,
}

impl Dials {
    pub(super) fn new(most: u32, encryption: Encrypts, lag: Rc<Lag>) -> Self {
        Self {
            most: most as usize,
            encryption,
            lag,
            open: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            by_ip: Known::default(),
            prefixes: Known::default(),
            attempts: Known::default(),
            unconnected: Known::default(),
            spent: Known::default(),
            looked: (0, 0, 0, 0),
            last: None,
            held: 0,
            dialled: 0,
            connected: 0,
            sealed_connected: [0; 2],
            dialled_utp: 0,
            faults: [0; PeerFault::COUNT],
            delivered: 0,
        }
    }

    /// A new crawler began: it knows of no connection and no attempt.
    pub(super) fn on_started(&mut self) {
        *self = Self {
            last: self.last,
            ..Self::new(self.most as u32, self.encryption, self.lag.clone())
        };
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn on_dialled(
        &mut self,
        found: &mut Findings,
        heard: &Heard,
        conn: Conn,
        to: SocketAddr,
        utp: bool,
    ) {
        let now = found.now;
        heard.check_address(found, to);
        let named = heard.named_for.contains_key(&endpoint_key(to));
        found.check(named, MATCHED_REPLIES, || format!("nobody named {to} a peer of anything"));
        found.check(self.last < Some(conn), DIALS_BOUNDED, || format!("{conn:?} begins twice"));
        self.last = self.last.max(Some(conn));
        self.dialled += 1;
        self.dialled_utp += u64::from(utp);
        let deadline = self.lag.end(now, connect_timeout(utp));
        let there = self.by_ip.entry(ip_key(to)).or_default();
        there.push(conn);
        let crowded = there.len() > 1;
        let count = there.len();
        if crowded {
            for other in there.iter() {
                if let Some(other) = self.open.get_mut(other) {
                    other.crowded = true;
                }
            }
        }
        found.check(count <= usize::from(PER_ADDRESS_MAX), DIALS_BOUNDED, || {
            format!("{count} connections to {}", to.ip())
        });
        let (connected, moved, line, wire) = (None, None, Line::default(), Wire::default());
        let begun =
            Connection { to, dialled: now, connected, moved, crowded, deadline, line, wire, utp };
        self.open.insert(conn, begun);
        self.deadlines.insert((deadline, conn));
        let (open, most) = (self.open.len(), self.most);
        found.check(open <= most, DIALS_BOUNDED, || format!("{open} connections of {most}"));
        self.check_prefix(found, to);
    }

    pub(super) fn on_connected(&mut self, now: Instant, conn: Conn) {
        if let Some(connection) = self.open.get_mut(&conn) {
            connection.connected = Some(now);
            self.set_deadline(conn);
        }
    }

    pub(super) fn on_read(&mut self, found: &mut Findings, conn: Conn, bytes: &[u8]) {
        let Some(connection) = self.open.get_mut(&conn) else { return };
        let before = (connection.wire.shaken, connection.wire.size.is_some());
        let bytes = connection.line.read(bytes);
        let whole = connection.wire.on_read(found.now, &bytes);
        let after = (connection.wire.shaken, connection.wire.size.is_some());
        if whole > 0 || before != after {
            connection.moved = Some(found.now);
            self.set_deadline(conn);
        }
        self.held += whole;
        let held = self.held;
        let budget = Config::new(Mode::Crawl).assembly_bytes() + METADATA_MAX;
        found.check(held <= budget, MEMORY_BOUNDED, || {
            format!("{held} bytes of metadata under assembly")
        });
    }

    /// Bytes were written; the infohash, once it stands in them, with the time of the dial.
    pub(super) fn on_wrote(
        &mut self,
        found: &mut Findings,
        (heard, truth): (&Heard, &dyn GroundTruth),
        conn: Conn,
        bytes: &[u8],
    ) -> Option<(Instant, [u8; 20])> {
        let Some(connection) = self.open.get_mut(&conn) else {
            found.fail(SILENT_AFTER_END, || {
                format!("{} bytes to {conn:?}, which is over", bytes.len())
            });
            return None;
        };
        let (to, dialled) = (connection.to, connection.dialled);
        let known = connection.wire.hash.is_some();
        found.check(connection.connected.is_some(), SILENT_AFTER_END, || {
            format!("{} bytes to {to}, which never accepted", bytes.len())
        });
        let now = found.now;
        let encryption = self.encryption;
        match connection.line.written(bytes, encryption, || truth.seal(now, to)) {
            Ok(bytes) => connection.wire.on_written(found, heard, to, &bytes),
            Err(what) => found.fail(ENCRYPTION_SOUND, || format!("to {to}: {what}")),
        }
        let hash = connection.wire.hash.filter(|_| !known)?;
        let way = connection.way();
        self.on_attempt(found, (to, way), dialled, &hash);
        Some((dialled, hash))
    }

    /// A connection has its outcome; the peer and infohash that it was about.
    pub(super) fn on_ended(
        &mut self,
        found: &mut Findings,
        heard: &Heard,
        silence: &Silence,
        conn: Conn,
        fault: Option<PeerFault>,
    ) -> Option<u64> {
        if fault == Some(PeerFault::Pressure) {
            self.check_pressure(found, conn);
        }
        let Some(connection) = self.open.remove(&conn) else {
            found.fail(SILENT_AFTER_END, || format!("{conn:?} has a second outcome"));
            return None;
        };
        self.deadlines.remove(&(connection.deadline, conn));
        let ip = ip_key(connection.to);
        if let Some(there) = self.by_ip.get_mut(&ip) {
            there.retain(|other| *other != conn);
            if there.is_empty() {
                self.by_ip.remove(&ip);
            }
        }
        self.held -= connection.wire.held();
        match fault {
            Some(fault) => self.faults[fault as usize] += 1,
            None => self.delivered += 1,
        }
        if connection.connected.is_none() {
            let counts = matches!(
                fault,
                Some(PeerFault::Refused | PeerFault::Unreachable | PeerFault::ConnectTimeout)
            );
            if counts && !is_cut_off(found.now, silence, fault) {
                self.on_unconnected(found, heard, &connection);
                self.on_spent(found, heard, &connection);
            }
            return None;
        }
        self.connected += 1;
        self.sealed_connected[usize::from(connection.utp)] +=
            u64::from(connection.line.is_sealed());
        let Some(hash) = connection.wire.hash else {
            let counts = fault.is_some_and(|fault| {
                !matches!(fault, PeerFault::Pressure | PeerFault::Yielded | PeerFault::Aborted)
            });
            if counts && connection.line.is_sealed() && !is_cut_off(found.now, silence, fault) {
                self.on_spent(found, heard, &connection);
            }
            return None;
        };
        let peer = peer_key(&hash, connection.to);
        if let (Some(fault), Some(attempt)) = (fault, self.attempts.get_mut(&peer)) {
            if is_cut_off(found.now, silence, Some(fault)) {
                // Whether a crawler suspects as much at this very moment is its own affair.
                attempt.next = [true; WAYS];
            } else if attempt.after(&connection, fault) {
                self.on_spent(found, heard, &connection);
            }
        }
        Some(peer)
    }

    /// Our own budget was spent, it says: then what is on offer is more than fits.
    fn check_pressure(&self, found: &mut Findings, conn: Conn) {
        if self.open.get(&conn).is_none_or(|connection| connection.connected.is_none()) {
            return; // the system had no connection for it
        }
        let offered: usize = self.open.values().map(|open| open.wire.most_held()).sum();
        let budget = Config::new(Mode::Crawl).assembly_bytes();
        found.check(offered > budget, DIALS_BOUNDED, || {
            format!("{conn:?} is given up for want of memory, and {offered} bytes are on offer")
        });
    }

    /// Everything due has been done: nothing may be over its deadline.
    pub(super) fn on_drained(&mut self, found: &mut Findings) {
        let Some((deadline, conn)) = self.deadlines.first().copied() else { return };
        let late = found.now > deadline + GRACE;
        let open = &self.open;
        found.check(!late, DIALS_BOUNDED, || {
            let to = open.get(&conn).map(|connection| connection.to);
            format!("{conn:?} to {to:?} is open beyond {deadline:?}")
        });
    }

    fn set_deadline(&mut self, conn: Conn) {
        let Some(connection) = self.open.get_mut(&conn) else { return };
        self.deadlines.remove(&(connection.deadline, conn));
        connection.deadline = connection.due(&self.lag);
        self.deadlines.insert((connection.deadline, conn));
    }

    fn check_prefix(&mut self, found: &mut Findings, to: SocketAddr) {
        let now = found.now;
        let times = self.prefixes.entry(prefix_key(to)).or_default();
        while times.front().is_some_and(|first| now >= *first + MINUTE) {
            times.pop_front();
        }
        times.push_back(now);
        let count = times.len() as u64;
        found.check(count <= PER_PREFIX_A_MINUTE, DIALS_BOUNDED, || {
            format!("{count} dials within a minute to the neighbourhood of {}", to.ip())
        });
        forget(&mut self.prefixes, &mut self.looked.0, |times| {
            times.back().is_some_and(|last| now < *last + MINUTE)
        });
    }

    fn on_attempt(
        &mut self,
        found: &mut Findings,
        (to, way): (SocketAddr, usize),
        at: Instant,
        hash: &[u8; 20],
    ) {
        let peer = peer_key(hash, to);
        let before = self.attempts.get(&peer).filter(|before| at < before.at + HOUR).copied();
        let again = before.is_some_and(|before| !before.next[way]);
        found.check(!again, DIALS_BOUNDED, || {
            format!("{to} is dialled again for {} within an hour", hex(hash))
        });
        let mut next = before.unwrap_or_else(|| Attempt::new(at));
        next.next = [false; WAYS];
        next.tried[way] = true;
        self.attempts.insert(peer, next);
        forget(&mut self.attempts, &mut self.looked.1, |attempt| at < attempt.at + HOUR);
    }

    /// A dial was one of the four of a plan. Of encrypted connections that nobody answered, and of
    /// those that were not accepted, it is not to be seen for which infohash: an endpoint has a
    /// plan's worth of all together for each that it was named for.
    fn on_spent(&mut self, found: &mut Findings, heard: &Heard, connection: &Connection) {
        let (at, endpoint) = (connection.dialled, endpoint_key(connection.to));
        let times = count_within_hour(&mut self.spent, endpoint, at);
        let named = heard.named_for.get(&endpoint).copied().unwrap_or(0);
        found.check(times <= named * u32::from(PLAN_CONNECTS_MAX), DIALS_BOUNDED, || {
            let to = connection.to;
            format!("{to} cost {times} dials within an hour, a peer of {named} infohashes")
        });
        forget(&mut self.spent, &mut self.looked.3, |(_, first)| at < *first + HOUR);
    }

    /// A dial came to nothing. For which infohash is not to be seen, so an endpoint has as many
    /// as it was named for, over TCP and over uTP.
    fn on_unconnected(&mut self, found: &mut Findings, heard: &Heard, connection: &Connection) {
        let (at, endpoint) = (connection.dialled, endpoint_key(connection.to));
        let way = key(&[&endpoint.to_le_bytes(), &[u8::from(connection.utp)]]);
        let times = count_within_hour(&mut self.unconnected, way, at);
        let named = heard.named_for.get(&endpoint).copied().unwrap_or(0);
        found.check(times <= named, DIALS_BOUNDED, || {
            let to = connection.to;
            format!("{to} failed {times} times within an hour, a peer of {named} infohashes")
        });
        forget(&mut self.unconnected, &mut self.looked.2, |(_, first)| at < *first + HOUR);
    }
}

/// How long a peer has to take a connection.
const fn connect_timeout(utp: bool) -> Duration {
    if utp { UTP_CONNECT_TIMEOUT } else { CONNECT_TIMEOUT }
}

/// Whether a connection failed as it would if the network were gone, while no node answered.
fn is_cut_off(now: Instant, silence: &Silence, fault: Option<PeerFault>) -> bool {
    silence.is_on(now) && fault.is_some_and(PeerFault::may_be_outage)
}

impl Connection {
    /// Its own way.
    fn way(&self) -> usize {
        2 * usize::from(self.utp) + usize::from(self.line.is_sealed())
    }

    /// Whether it was accepted and came to nothing before a handshake.
    fn is_barred(&self, fault: PeerFault) -> bool {
        let keys = [
            PeerFault::ClosedExchangingKeys,
            PeerFault::BadKey,
            PeerFault::NoVc,
            PeerFault::BadSelect,
            PeerFault::BadPad,
        ];
        let early = matches!(fault, PeerFault::ClosedEarly | PeerFault::HandshakeTimeout);
        fault == PeerFault::NotBitTorrent || keys.contains(&fault) || (early && !self.wire.shaken)
    }

    /// When it must be over: the phase it is in, and the whole.
    fn due(&self, lag: &Lag) -> Instant {
        let Some(connected) = self.connected else {
            return lag.end(self.dialled, connect_timeout(self.utp));
        };
        let size = self.wire.size.unwrap_or(0) as u64;
        let allowance = Duration::from_secs(size.div_ceil(EXCHANGE_RATE));
        let all = lag.end(self.dialled, EXCHANGE_TIMEOUT + allowance);
        // The handshake, an offer and each piece move it: ten seconds each.
        let moved = self.moved.map(|moved| lag.end(moved, PIECE_TIMEOUT));
        all.min(moved.unwrap_or_else(|| lag.end(connected, HANDSHAKE_TIMEOUT)))
    }
}

impl Attempt {
    /// One that begins with a dial at `at`.
    fn new(at: Instant) -> Self {
        let (next, tried) = ([true; WAYS], [false; WAYS]);
        let (connects, put_backs, turns, pressures) = (0, 0, 0, 0);
        Self { at, next, tried, connects, put_backs, turns, pressures, piecewise: false }
    }

    /// A dial of this attempt failed: in which ways others belong to it. Whether it was one of the
    /// four of a plan.
    fn after(&mut self, connection: &Connection, fault: PeerFault) -> bool {
        let wire = &connection.wire;
        let (none, mut same) = ([false; WAYS], [false; WAYS]);
        same[connection.way()] = true;
        let when = |goes_on: bool| if goes_on { same } else { none };
        if fault == PeerFault::Pressure {
            self.pressures = self.pressures.saturating_add(1);
            self.next = when(self.pressures <= PRESSURES_MAX);
            return false;
        }
        if fault == PeerFault::Yielded && !wire.received.is_empty() {
            // What gave up its place has another turn, more of them while each brings a piece.
            self.turns = self.turns.saturating_add(1);
            self.next = when(self.turns <= TURNS_MAX);
            return false;
        }
        self.connects = self.connects.saturating_add(1);
        let hung_up = matches!(fault, PeerFault::ClosedEarly | PeerFault::ClosedExchangingKeys);
        let blameless = fault == PeerFault::Yielded || (hung_up && connection.crowded);
        let choked = matches!(fault, PeerFault::MetadataTimeout | PeerFault::ClosedLate)
            && wire.pieces() > 1
            && !self.piecewise;
        if self.connects >= PLAN_CONNECTS_MAX {
            self.next = none;
        } else {
            let once_more = blameless && self.put_backs < PUT_BACKS_MAX;
            self.put_backs += u8::from(once_more);
            self.piecewise |= choked && !once_more;
            // Or in the way that was not tried yet.
            let is_barred = connection.is_barred(fault);
            let goes_on = once_more || choked;
            self.next = std::array::from_fn(|way| {
                if same[way] { goes_on } else { is_barred && !self.tried[way] }
            });
        }
        true
    }
}

/// Counts one more of an endpoint; how many there were in the hour that began with the first.
fn count_within_hour(known: &mut Known<(u32, Instant)>, endpoint: u64, at: Instant) -> u32 {
    let (times, first) = known.entry(endpoint).or_insert((0, at));
    if at >= *first + HOUR {
        (*times, *first) = (0, at);
    }
    *times += 1;
    *times
}
