//! Rules 5, 6, 8 and 27, of uTP: which endpoints a crawler may send a packet to, under which ids,
//! in what form, and how many a second. What a stream carries is judged as peer wire.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use estudely_core::limits::UTP_SYNS_MAX;
use estudely_core::{Duration, Family, Instant};

use super::address::endpoint_key;
use super::heard::Heard;
use super::pace::Window;
use super::sets::{Known, forget};
use super::utp::{Packet, PacketKind};
use crate::judge::rule::{Findings, MATCHED_REPLIES, PACE_KEPT, UTP_SOUND, WELL_FORMED};
use crate::net::event::Conn;
use crate::world::scenario::Scenario;

/// The largest packet to be sent: it passes every path unfragmented.
const SENT_MAX: usize = 548;
/// So long after a connection ended its peer may still be told so: the packet waits for its turn.
const FAREWELL: Duration = Duration::from_secs(10);
/// Ids of SYNs that are remembered of an endpoint: those of two connections, and of two before.
const IDS_MAX: usize = 4 * UTP_SYNS_MAX;

/// The connections over uTP to one endpoint.
#[derive(Debug, Default)]
struct Lines {
    open: u32,
    /// SYNs that may still be sent.
    syns: usize,
    /// The ids of those that were.
    ids: VecDeque<u16>,
    /// When the last one ended.
    ended: Option<Instant>,
}

/// Endpoints to which there are connections over uTP, or were a moment ago.
#[derive(Debug)]
pub(super) struct Packets {
    /// Whether the crawler connects over uTP at all.
    is_on: bool,
    rate: u32,
    /// By family.
    seconds: [Option<Window>; 2],
    open: BTreeMap<Conn, u64>,
    lines: Known<Lines>,
    looked: usize,
}

impl Packets {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let rate = scenario.utp_rate;
        let second = || Window::new(rate, Duration::from_secs(1));
        Self {
            is_on: scenario.transports.has_utp(),
            rate,
            seconds: [second(), second()],
            open: BTreeMap::new(),
            lines: Known::default(),
            looked: 0,
        }
    }

    /// A new crawler began: it knows of no connection.
    pub(super) fn on_started(&mut self) {
        self.seconds.iter_mut().flatten().for_each(Window::clear);
        self.open.clear();
        self.lines.clear();
    }

    /// Whether a datagram that begins with this byte is for streams, whole or not: version 1 and a
    /// type that there is.
    pub(super) fn takes(&self, datagram: &[u8]) -> bool {
        let first = datagram.first();
        self.is_on && first.is_some_and(|first| first & 15 == 1 && first >> 4 <= 4)
    }

    /// Whether a connection to this endpoint is open: its packets are perhaps taken.
    pub(super) fn is_open(&self, from: SocketAddr) -> bool {
        self.lines.get(&endpoint_key(from)).is_some_and(|lines| lines.open > 0)
    }

    /// A connection begins.
    pub(super) fn on_dialled(&mut self, found: &mut Findings, conn: Conn, to: SocketAddr) {
        found.check(self.is_on, UTP_SOUND, || format!("{to} is dialled over uTP, which is off"));
        let (now, endpoint) = (found.now, endpoint_key(to));
        self.open.insert(conn, endpoint);
        let lines = self.lines.entry(endpoint).or_default();
        lines.open += 1;
        lines.syns += UTP_SYNS_MAX;
        forget(&mut self.lines, &mut self.looked, |lines| {
            lines.open > 0 || lines.ended.is_some_and(|at| now < at + FAREWELL)
        });
    }

    /// A connection is over, whatever it went over.
    pub(super) fn on_ended(&mut self, now: Instant, conn: Conn) {
        let Some(endpoint) = self.open.remove(&conn) else { return };
        if let Some(lines) = self.lines.get_mut(&endpoint) {
            lines.open -= 1;
            lines.ended = Some(now);
            if lines.open == 0 {
                lines.syns = 0;
            }
        }
    }

    /// Rules 5, 6, 8 and 27, of a packet that was sent.
    pub(super) fn on_sent(
        &mut self,
        found: &mut Findings,
        heard: &Heard,
        to: SocketAddr,
        bytes: usize,
        packet: Packet,
    ) {
        found.check(bytes <= SENT_MAX, WELL_FORMED, || format!("{bytes} bytes of uTP to {to}"));
        found.check(packet.payload == 0 || packet.kind.carries(), WELL_FORMED, || {
            format!("a uTP packet {:?} with {} bytes to {to}", packet.kind, packet.payload)
        });
        let endpoint = endpoint_key(to);
        if !heard.named_for.contains_key(&endpoint) {
            return found
                .fail(MATCHED_REPLIES, || format!("{to} gets uTP; nobody named it a peer"));
        }
        let (now, rate) = (found.now, self.rate);
        let second = &mut self.seconds[Family::of(to).index()];
        let within = second.as_mut().is_none_or(|second| second.admits(now));
        found.check(within, PACE_KEPT, || format!("more than {rate} packets within a second"));
        let wrong = match self.lines.get_mut(&endpoint) {
            Some(lines) => lines.on_sent(now, packet),
            None => Err("has no connection over uTP"),
        };
        if let Err(what) = wrong {
            found.fail(UTP_SOUND, || format!("{to} gets {:?}: it {what}", packet.kind));
        }
    }
}

impl Lines {
    fn on_sent(&mut self, now: Instant, packet: Packet) -> Result<(), &'static str> {
        if packet.kind == PacketKind::Syn {
            self.syns = self.syns.checked_sub(1).ok_or("was asked often enough")?;
            if self.ids.len() >= IDS_MAX {
                self.ids.pop_front();
            }
            self.ids.push_back(packet.id);
            return Ok(());
        }
        let is_told = packet.kind == PacketKind::Reset
            && self.ended.is_some_and(|ended| now < ended + FAREWELL);
        if self.open == 0 && !is_told {
            return Err("has no connection over uTP any more");
        }
        // What is received has the id of the SYN, what is sent has one more (BEP 29).
        if !self.ids.contains(&packet.id.wrapping_sub(1)) {
            return Err("knows no connection of that id");
        }
        Ok(())
    }
}
