//! A conversation between the core's stream and the acceptor over a path with faults.

use std::collections::BTreeMap;
use std::ops::Range;

use estudely_core::keyed::Rng;
use estudely_core::utp::{State, Stream};
use estudely_core::{Duration, Instant, Seed};

use crate::actors::utp::packet::{DATA, Packet};
use crate::actors::utp::{Acceptor, Manners, Standing};

/// Longest that a conversation takes.
const LONGEST: Duration = Duration::from_secs(4_000);

/// What a path does.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// Of a hundred packets so many are lost.
    pub(super) loss: u32,
    /// Of two packets in a row to one end one arrives, and all do until it is connected.
    pub(super) is_fair: bool,
    /// Of a hundred so many arrive twice.
    pub(super) double: u32,
    /// How long one takes, in milliseconds; those that are faster overtake.
    pub(super) delay_ms: Range<u64>,
    /// From here on nothing arrives.
    pub(super) breaks_ms: Option<u64>,
    /// Whether our end accepts a size as soon as it is connected.
    pub(super) expects: bool,
    pub(super) seed: u64,
}

impl Link {
    /// A path without faults and with 20 ms each way.
    pub(super) fn clean() -> Self {
        Self {
            loss: 0,
            is_fair: false,
            double: 0,
            delay_ms: 20..20,
            breaks_ms: None,
            expects: true,
            seed: 0,
        }
    }
}

/// Where a packet is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Ours,
    Theirs,
}

/// Both ends, and what is on its way between them.
pub(super) struct Conversation {
    pub(super) now: Instant,
    pub(super) stream: Stream,
    pub(super) received: Vec<u8>,
    /// Numbers of data packets that came more than once from there.
    pub(super) acceptor_sent_again: usize,
    acceptor: Option<Acceptor>,
    heard: Vec<u8>,
    up: Vec<u8>,
    down: Vec<u8>,
    manners: Manners,
    link: Link,
    rng: Rng,
    on_way: BTreeMap<(Instant, u64), (End, Vec<u8>)>,
    count: u64,
    /// Whether the last packet to each end was lost.
    lost_last: [bool; 2],
    seen: BTreeMap<u16, usize>,
}

impl Conversation {
    pub(super) fn new(link: Link, manners: Manners, seed: u64, up: &[u8], down: &[u8]) -> Self {
        let mut rng = Rng::new(Seed::from_u64(seed));
        let deadline = Instant::START + Duration::from_secs(20);
        Self {
            now: Instant::START,
            stream: Stream::new(Instant::START, deadline, &mut rng),
            received: Vec::new(),
            acceptor_sent_again: 0,
            acceptor: None,
            heard: Vec::new(),
            up: up.to_vec(),
            down: down.to_vec(),
            manners,
            rng: Rng::new(Seed::from_u64(link.seed)).fork("link"),
            link,
            on_way: BTreeMap::new(),
            count: 0,
            lost_last: [false; 2],
            seen: BTreeMap::new(),
        }
    }

    pub(super) fn acceptor_received(&self) -> Vec<u8> {
        self.heard.clone()
    }

    pub(super) fn acceptor_is_gone(&self) -> bool {
        self.acceptor.as_ref().is_some_and(|acceptor| acceptor.standing() == Standing::Gone)
    }

    /// Goes on until our end is over.
    pub(super) fn run(&mut self) {
        while !self.stream.state().is_over() && self.now < Instant::START + LONGEST {
            self.drain();
            self.stream.check();
            let due = self.stream.poll_timeout();
            assert!(due.is_none_or(|due| due > self.now), "it is due again at once");
            let theirs = self.acceptor.as_ref().and_then(Acceptor::poll_timeout);
            let arrival = self.on_way.keys().next().map(|(at, _)| *at);
            let Some(next) = [due, theirs, arrival].into_iter().flatten().min() else { return };
            self.now = self.now.max(next);
            self.stream.handle_timeout(self.now);
            if let Some(acceptor) = &mut self.acceptor {
                acceptor.handle_timeout(self.now);
            }
            self.deliver();
        }
        self.hear();
    }

    /// Lets both ends say what they can.
    fn drain(&mut self) {
        let written = self.stream.write(&self.up);
        self.up.drain(..written);
        if self.up.is_empty() && self.stream.is_finished() {
            self.stream.close();
        }
        let mut out = Vec::new();
        while self.stream.poll_transmit(self.now, &mut out).is_some() {
            assert!(out.len() <= 548, "{} bytes", out.len());
            self.send(End::Theirs, std::mem::take(&mut out));
        }
        while let Some(datagram) = self.acceptor.as_mut().and_then(|a| a.poll_transmit(self.now)) {
            let packet = Packet::read(&datagram).expect("a packet");
            if packet.kind == DATA {
                let times = self.seen.entry(packet.seq).or_default();
                self.acceptor_sent_again += usize::from(*times > 0);
                *times += 1;
            }
            self.send(End::Ours, datagram);
        }
    }

    fn send(&mut self, to: End, datagram: Vec<u8>) {
        let hits = |rng: &mut Rng, of: u32| rng.below(100) < u64::from(of);
        let copies = 1 + u32::from(hits(&mut self.rng, self.link.double));
        for _ in 0..copies {
            let is_lost = hits(&mut self.rng, self.link.loss);
            let is_new = self.stream.state() == State::Connecting;
            let is_spared = self.link.is_fair && (is_new || self.lost_last[to as usize]);
            self.lost_last[to as usize] = is_lost && !is_spared;
            let is_broken = self.link.breaks_ms.is_some_and(|at| self.now.as_millis() >= at);
            if is_lost && !is_spared || is_broken {
                continue;
            }
            let Range { start, end } = self.link.delay_ms;
            let micros = start * 1_000 + self.rng.below((end - start) * 1_000);
            self.count += 1;
            let at = self.now + Duration::from_micros(micros);
            self.on_way.insert((at, self.count), (to, datagram.clone()));
        }
    }

    fn deliver(&mut self) {
        while let Some(entry) = self.on_way.first_entry().filter(|e| e.key().0 <= self.now) {
            match entry.remove() {
                (End::Ours, datagram) => {
                    self.stream.handle_datagram(self.now, &datagram);
                    let is_connected = self.stream.state() == State::Connected;
                    if self.link.expects && is_connected {
                        self.stream.expect(1 << 20);
                    }
                    let mut buf = [0; 4_096];
                    while let count @ 1.. = self.stream.read(&mut buf) {
                        self.received.extend(&buf[..count]);
                    }
                }
                (End::Theirs, datagram) => self.deliver_there(&datagram),
            }
        }
    }

    /// A SYN with another id is another connection; this peer has one at a time.
    fn deliver_there(&mut self, datagram: &[u8]) {
        if let Some(packet) = Packet::read(datagram)
            && packet.kind == super::super::SYN
            && self.acceptor.as_ref().is_none_or(|a| a.receive_id() != packet.id.wrapping_add(1))
            && packet.id == self.stream.receive_id()
        {
            self.hear();
            self.acceptor = Acceptor::accept(self.now, datagram, self.manners);
            if let Some(acceptor) = &mut self.acceptor {
                acceptor.write(&self.down);
                acceptor.close();
            }
            return;
        }
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.handle_datagram(self.now, datagram);
        }
        self.hear();
    }

    fn hear(&mut self) {
        if let Some(acceptor) = &mut self.acceptor {
            self.heard.extend(acceptor.take_received());
        }
    }
}
