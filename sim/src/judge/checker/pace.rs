//! Rule 6: how much is sent, in all, to each address, and to how many new endpoints. The rate in
//! all is that of queries; an address is spared queries and answers alike; uTP has limits of its
//! own, and each connection over it is a flow.
//!
//! Counted anew for each run: a crawler that was killed does not remember what it sent.

use std::collections::VecDeque;
use std::net::SocketAddr;

use estudely_core::limits::{ADDRESS_BURST, ADDRESS_PER_TEN_SECONDS};
use estudely_core::{Duration, Instant};

use super::address::{endpoint_key, ip_key};
use super::sets::{Known, forget};
use crate::judge::rule::{Findings, PACE_KEPT};
use crate::world::scenario::Scenario;

/// An endpoint not sent to for so long is new again, whatever generation it was remembered in.
const FLOW_MEMORY: Duration = Duration::from_secs(120);
/// Microseconds in which an address earns one more datagram: 18 in 10 s beside 22 at once.
const EARNED: u64 = 10_000_000 / (ADDRESS_PER_TEN_SECONDS - ADDRESS_BURST);
/// The largest datagram to be sent, in bytes (32.3).
pub(super) const SENT_MAX: usize = 1_024;

/// At most so many in every window of a length.
#[derive(Debug)]
pub(super) struct Window {
    most: usize,
    length: Duration,
    times: VecDeque<Instant>,
}

impl Window {
    pub(super) fn new(most: u32, length: Duration) -> Option<Self> {
        let most = most as usize;
        (most > 0).then(|| Self { most, length, times: VecDeque::with_capacity(most + 1) })
    }

    /// Nothing was counted.
    pub(super) fn clear(&mut self) {
        self.times.clear();
    }

    /// Counts one at `now`; whether that is still within the window.
    pub(super) fn admits(&mut self, now: Instant) -> bool {
        self.times.push_back(now);
        if self.times.len() <= self.most {
            return true;
        }
        self.times.pop_front().is_none_or(|first| now >= first + self.length)
    }
}

/// What was sent lately.
#[derive(Debug)]
pub(super) struct Pace {
    rate: u32,
    new_flows: u32,
    second: Option<Window>,
    minute: Option<Window>,
    /// By IP, when its whole burst is earned back, in microseconds.
    courtesy: Known<u64>,
    flows: Known<Instant>,
    looked: (usize, usize),
}

impl Pace {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let Scenario { rate, new_flows, .. } = *scenario;
        Self {
            rate,
            new_flows,
            second: Window::new(rate, Duration::from_secs(1)),
            minute: Window::new(new_flows, Duration::from_secs(60)),
            courtesy: Known::default(),
            flows: Known::default(),
            looked: (0, 0),
        }
    }

    /// A new crawler began.
    pub(super) fn on_started(&mut self) {
        for window in [&mut self.second, &mut self.minute].into_iter().flatten() {
            window.clear();
        }
        self.courtesy.clear();
        self.flows.clear();
    }

    /// A query was sent.
    pub(super) fn on_query(&mut self, found: &mut Findings, to: SocketAddr, bytes: usize) {
        let now = found.now;
        let within = self.second.as_mut().is_none_or(|second| second.admits(now));
        let rate = self.rate;
        found.check(within, PACE_KEPT, || format!("more than {rate} queries within a second"));
        self.on_krpc(found, to, bytes);
        if self.is_new_flow(now, endpoint_key(to)) {
            self.on_flow(found);
        }
    }

    /// An answer was sent: the question has opened the flow.
    pub(super) fn on_answer(&mut self, found: &mut Findings, to: SocketAddr, bytes: usize) {
        self.on_krpc(found, to, bytes);
        self.is_new_flow(found.now, endpoint_key(to));
    }

    fn on_krpc(&mut self, found: &mut Findings, to: SocketAddr, bytes: usize) {
        let now = found.now;
        found.check(bytes <= SENT_MAX, PACE_KEPT, || format!("{bytes} bytes to {to}"));
        let earned = self.courtesy.entry(ip_key(to)).or_default();
        *earned = (*earned).max(now.as_micros()) + EARNED;
        let owed = (*earned - now.as_micros()).div_ceil(EARNED);
        found.check(owed <= ADDRESS_BURST, PACE_KEPT, || {
            format!("{to} gets more than {ADDRESS_BURST} datagrams and one each {EARNED} µs")
        });
        forget(&mut self.courtesy, &mut self.looked.0, |earned| *earned > now.as_micros());
    }

    /// Takes note of a flow; whether it is new. Of no use without a limit.
    fn is_new_flow(&mut self, now: Instant, flow: u64) -> bool {
        if self.minute.is_none() {
            return false;
        }
        let before = self.flows.insert(flow, now);
        forget(&mut self.flows, &mut self.looked.1, |at| now < *at + FLOW_MEMORY);
        before.is_none_or(|at| now >= at + FLOW_MEMORY)
    }

    /// A connection was begun, over TCP or uTP: a flow of its own.
    pub(super) fn on_dialled(&mut self, found: &mut Findings) {
        if self.minute.is_some() {
            self.on_flow(found);
        }
    }

    fn on_flow(&mut self, found: &mut Findings) {
        let (now, most) = (found.now, self.new_flows);
        let within = self.minute.as_mut().is_none_or(|minute| minute.admits(now));
        found
            .check(within, PACE_KEPT, || format!("more than {most} new endpoints within a minute"));
    }
}
