//! One number for a whole run: everything that crossed the boundary, in order (rule 21).
//!
//! Hashes virtual time, kind, addresses, bytes and rows, not counters; SHA-1, so the number is
//! the same in every process and on every platform. Keeps the last events as they were, to be put
//! into words only when they are asked for. Judges nothing.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};

use estudely_core::session::Output;
use estudely_core::{Deadline, Instant, Row, Verdict};
use sha1::{Digest, Sha1};

use crate::judge::rule::{Broken, SAME_TRACE};
use crate::net::event::{Event, Observer};

/// Events kept to be shown.
pub const TAIL: usize = 200;
/// Bytes kept of each.
const KEPT: usize = 160;

/// Hashes a run; see the module.
#[derive(Clone)]
pub struct Trace {
    hasher: Sha1,
    events: u64,
    tail: VecDeque<TailEvent>,
    /// What the core waits for; not hashed.
    next: Option<Deadline>,
    record: Record,
    frame: Vec<u8>,
}

/// What is done with the hash after each event.
#[derive(Clone, Debug)]
enum Record {
    Nothing,
    /// It is written down.
    Write(Vec<u64>),
    /// It is held against what another run wrote down.
    Compare {
        theirs: Vec<u64>,
        first: Option<Broken>,
    },
}

/// An event as it was, bounded.
#[derive(Clone, Copy)]
struct TailEvent {
    number: u64,
    now: Instant,
    kind: EventKind,
    addr: Option<SocketAddr>,
    conn: Option<u64>,
    /// What else there is to say: a flag's or fault's word.
    note: &'static str,
    bytes: [u8; KEPT],
    len: usize,
}

/// The kinds of events, numbered for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum EventKind {
    Started = 1,
    Killed,
    ShutDown,
    Healed,
    Sent,
    Received,
    Dialled,
    Connected,
    Wrote,
    Read,
    Lost,
    Ended,
    Row,
    Saved,
    Woke,
    Requested,
    Output,
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trace({self}, {} events)", self.events)
    }
}

/// Sixteen hexadecimal digits.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.hash())
    }
}

impl Trace {
    /// Of a run that has not begun.
    pub fn new() -> Self {
        Self {
            hasher: Sha1::new(),
            events: 0,
            tail: VecDeque::with_capacity(TAIL),
            next: None,
            record: Record::Nothing,
            frame: Vec::new(),
        }
    }

    /// Also writes down the hash after each event, 8 bytes each.
    pub fn recording() -> Self {
        Self { record: Record::Write(Vec::new()), ..Self::new() }
    }

    /// Holds each event against the hashes that [`Self::recorded`] gave for another run.
    pub fn comparing(recorded: Vec<u64>) -> Self {
        Self { record: Record::Compare { theirs: recorded, first: None }, ..Self::new() }
    }

    /// The number of the run so far.
    pub fn hash(&self) -> u64 {
        hash_of(&self.hasher)
    }

    /// How many events it covers.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// What was written down.
    pub fn recorded(self) -> Vec<u64> {
        match self.record {
            Record::Write(hashes) => hashes,
            Record::Nothing | Record::Compare { .. } => Vec::new(),
        }
    }

    /// The first event that differs from the other run's, once this run is over.
    pub fn first_difference(&self) -> Option<Broken> {
        let Record::Compare { theirs, first } = &self.record else { return None };
        let short = || {
            let at = self.tail.back().map_or(Instant::START, |kept| kept.now);
            let what = format!("{} events, and {} before", self.events, theirs.len());
            (self.events < theirs.len() as u64).then_some(Broken { rule: SAME_TRACE, at, what })
        };
        first.clone().or_else(short)
    }

    /// The last events in words, the oldest first.
    pub fn tail(&self) -> impl Iterator<Item = String> {
        self.tail.iter().map(ToString::to_string)
    }

    /// What the core waits for since it was last drained, in words: the first thing to ask of a run
    /// that stalls.
    pub fn waits_for(&self) -> String {
        let deadline = self.next.map(|next| next.to_string());
        format!("waits for: {}", deadline.as_deref().unwrap_or("input alone"))
    }

    fn note(&mut self, kept: TailEvent, bytes: &[u8]) {
        let mut kept = TailEvent { number: self.events, len: bytes.len(), ..kept };
        let held = bytes.len().min(KEPT);
        kept.bytes[..held].copy_from_slice(&bytes[..held]);
        self.frame.clear();
        self.frame.push(kept.kind as u8);
        self.frame.extend(kept.now.as_micros().to_be_bytes());
        put_addr(kept.addr, &mut self.frame);
        self.frame.extend(kept.conn.unwrap_or(u64::MAX).to_be_bytes());
        self.frame.extend((kept.note.len() as u64).to_be_bytes());
        self.frame.extend(kept.note.as_bytes());
        self.frame.extend((bytes.len() as u64).to_be_bytes());
        self.hasher.update(&self.frame);
        self.hasher.update(bytes);
        self.events += 1;
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(kept);
        self.keep_record();
    }

    fn keep_record(&mut self) {
        let number = self.events as usize - 1;
        match &mut self.record {
            Record::Nothing => {}
            Record::Write(hashes) => hashes.push(hash_of(&self.hasher)),
            Record::Compare { first: Some(_), .. } => {}
            Record::Compare { theirs, first } => {
                if theirs.get(number) != Some(&hash_of(&self.hasher))
                    && let Some(kept) = self.tail.back()
                {
                    let what = format!("the first event that differs: {kept}");
                    *first = Some(Broken { rule: SAME_TRACE, at: kept.now, what });
                }
            }
        }
    }
}

impl Observer for Trace {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        let of = |kind| TailEvent {
            number: 0,
            now,
            kind,
            addr: None,
            conn: None,
            note: "",
            bytes: [0; KEPT],
            len: 0,
        };
        let to = |kind, addr| TailEvent { addr: Some(addr), ..of(kind) };
        let on = |kind, conn: crate::net::event::Conn| TailEvent { conn: Some(conn.0), ..of(kind) };
        match *event {
            Event::Started { own, state } => {
                let note = if state.is_some() { "with state" } else { "without state" };
                self.note(TailEvent { note, ..of(EventKind::Started) }, &start_bytes(own, state));
            }
            Event::Killed => self.note(of(EventKind::Killed), b""),
            Event::ShutDown { .. } => self.note(of(EventKind::ShutDown), b""),
            Event::Healed => self.note(of(EventKind::Healed), b""),
            Event::Sent { to: addr, payload } => self.note(to(EventKind::Sent, addr), payload),
            Event::Received { from, payload, forged } => {
                let note = if forged { "forged" } else { "" };
                self.note(TailEvent { note, ..to(EventKind::Received, from) }, payload);
            }
            Event::Dialled { conn, to, utp } => {
                let note = if utp { "utp" } else { "" };
                self.note(TailEvent { addr: Some(to), note, ..on(EventKind::Dialled, conn) }, b"");
            }
            Event::Connected { conn } => self.note(on(EventKind::Connected, conn), b""),
            Event::Wrote { conn, bytes } => self.note(on(EventKind::Wrote, conn), bytes),
            Event::Read { conn, bytes } => self.note(on(EventKind::Read, conn), bytes),
            Event::Lost { conn, refused } => {
                let note = if refused { "refused" } else { "" };
                self.note(TailEvent { note, ..on(EventKind::Lost, conn) }, b"");
            }
            Event::Ended { conn, fault } => {
                let note = fault.map_or("delivered", |fault| fault.word());
                self.note(TailEvent { note, ..on(EventKind::Ended, conn) }, b"");
            }
            Event::Row { row, .. } => {
                let bytes = row_bytes(row);
                self.note(TailEvent { note: verdict_word(row), ..of(EventKind::Row) }, &bytes);
            }
            Event::Saved { bytes, whole } => {
                let note = if whole { "whole" } else { "record" };
                self.note(TailEvent { note, ..of(EventKind::Saved) }, bytes);
            }
            Event::Requested { hash } => self.note(of(EventKind::Requested), &hash.0),
            Event::Output(news) => {
                self.note(TailEvent { note: word(news), ..of(EventKind::Output) }, b"");
            }
            Event::Woke(why) => {
                self.note(TailEvent { note: why.words(), ..of(EventKind::Woke) }, b"");
            }
            Event::Drained { next, .. } => self.next = next,
        }
    }
}

impl fmt::Display for TailEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) =
            (self.now.as_micros() / 1_000_000, self.now.as_micros() % 1_000_000);
        write!(f, "{:>8} {seconds}.{micros:06} {:?}", self.number, self.kind)?;
        self.conn.map_or(Ok(()), |conn| write!(f, " #{conn}"))?;
        self.addr.map_or(Ok(()), |addr| write!(f, " {addr}"))?;
        if !self.note.is_empty() {
            write!(f, " {}", self.note)?;
        }
        if self.len == 0 {
            return Ok(());
        }
        write!(f, " {} B ", self.len)?;
        for byte in &self.bytes[..self.len.min(KEPT)] {
            match byte {
                b' '..=b'~' => f.write_char(char::from(*byte))?,
                _ => write!(f, "\\{byte:02x}")?,
            }
        }
        if self.len > KEPT { f.write_str("...") } else { Ok(()) }
    }
}

fn word(news: Output) -> &'static str {
    match news {
        Output::Full => "full",
        Output::Closed => "closed",
        Output::Lost => "lost",
        Output::Flushed => "flushed",
    }
}

fn verdict_word(row: &Row) -> &'static str {
    match &row.verdict {
        Verdict::Verified { .. } => "verified",
        Verdict::Broken { .. } => "broken",
        Verdict::Failed { cause } => cause.word(),
        Verdict::PeersOnly => "peers",
    }
}

fn hash_of(hasher: &Sha1) -> u64 {
    let digest = hasher.clone().finalize();
    digest.iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
}

fn put_addr(addr: Option<SocketAddr>, out: &mut Vec<u8>) {
    match addr.map(|addr| addr.ip()) {
        None => return out.push(0),
        Some(IpAddr::V4(ip)) => {
            out.push(4);
            out.extend(ip.octets());
        }
        Some(IpAddr::V6(ip)) => {
            out.push(6);
            out.extend(ip.octets());
        }
    }
    out.extend(addr.map_or(0, |addr| addr.port()).to_be_bytes());
}

/// What a crawler starts with.
fn start_bytes(own: [Option<SocketAddr>; 2], state: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    own.into_iter().for_each(|own| put_addr(own, &mut bytes));
    bytes.extend_from_slice(state.unwrap_or_default());
    bytes
}

/// Everything that a row says.
fn row_bytes(row: &Row) -> Vec<u8> {
    let mut bytes = row.infohash.0.to_vec();
    for at in [row.found, row.settled] {
        bytes.extend(at.as_micros().to_be_bytes());
    }
    bytes.extend((row.peers.len() as u64).to_be_bytes());
    row.peers.iter().for_each(|peer| put_addr(Some(*peer), &mut bytes));
    match &row.verdict {
        Verdict::Verified { metadata, info } => {
            for number in [info.file_count, info.total_bytes, info.piece_length] {
                bytes.extend(number.to_be_bytes());
            }
            bytes.extend((info.name.len() as u64).to_be_bytes());
            bytes.extend(&info.name);
            bytes.extend(metadata.raw());
        }
        Verdict::Broken { metadata, .. } => bytes.extend(metadata.raw()),
        Verdict::Failed { .. } | Verdict::PeersOnly => {}
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::event::Conn;

    fn run(mut trace: Trace, changed: Option<usize>) -> Trace {
        let to: SocketAddr = "5.6.7.8:6881".parse().expect("address");
        for n in 0..300_usize {
            let payload = if changed == Some(n) { b"x".as_slice() } else { b"d1:y1:qe" };
            let now = Instant::from_micros(n as u64);
            trace.observe(now, &Event::Sent { to, payload });
            trace.observe(now, &Event::Wrote { conn: Conn(n as u64), bytes: &[0, 255] });
        }
        trace
    }

    #[test]
    fn the_hash_is_the_same_everywhere_and_tells_every_change() {
        let trace = run(Trace::new(), None);
        assert_eq!(trace.to_string(), "ad51659bb9c4daf4");
        assert_eq!(run(Trace::recording(), None).hash(), trace.hash());
        for changed in [0, 150, 299] {
            assert_ne!(run(Trace::new(), Some(changed)).hash(), trace.hash());
        }
    }

    #[test]
    fn the_first_event_that_differs_is_named() {
        let recorded = run(Trace::recording(), None).recorded();
        assert_eq!(recorded.len(), 600);
        assert_eq!(run(Trace::comparing(recorded.clone()), None).first_difference(), None);
        let broken = run(Trace::comparing(recorded.clone()), Some(7)).first_difference();
        let broken = broken.expect("differs");
        assert_eq!((broken.rule.name, broken.at), ("same-trace", Instant::from_micros(7)));
        assert!(broken.what.contains("Sent 5.6.7.8:6881 1 B x"), "{broken}");
        assert!(Trace::comparing(recorded).first_difference().is_some(), "it ended early");
    }

    #[test]
    fn the_tail_holds_the_last_events_in_words() {
        let lines: Vec<_> = run(Trace::new(), None).tail().collect();
        assert_eq!(lines.len(), TAIL);
        assert_eq!(lines[0], "     400 0.000200 Sent 5.6.7.8:6881 8 B d1:y1:qe");
        assert_eq!(lines[TAIL - 1], "     599 0.000299 Wrote #299 2 B \\00\\ff");
    }
}
