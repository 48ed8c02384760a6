//! The first nodes: asked at the start, and again as long as nobody else is known.

use crate::limits::{BOOTSTRAP_RETRY_MAX, BOOTSTRAP_RETRY_MIN, BOOTSTRAPS_MAX};
use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::addr::{AddressPolicy, Family};
use crate::time::{Duration, Instant};

/// How a bootstrap node is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bootstrap {
    /// A public router: asked `find_node` only, never sampled, never in a table (5.12).
    Router,
    /// An ordinary node that the user named.
    Node,
}

/// One bootstrap address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) addr: SocketAddr,
    pub(super) kind: Bootstrap,
    answered: bool,
}

/// The bootstrap addresses and when to ask them.
#[derive(Debug)]
pub(super) struct Bootstraps {
    entries: Vec<Entry>,
    queues: [VecDeque<usize>; 2],
    retry_at: Instant,
    pause: Duration,
}

impl Bootstraps {
    pub(super) fn new(now: Instant) -> Self {
        let queues = [VecDeque::new(), VecDeque::new()];
        Self {
            entries: Vec::new(),
            queues,
            retry_at: now + BOOTSTRAP_RETRY_MIN,
            pause: BOOTSTRAP_RETRY_MIN,
        }
    }

    /// Adds an address, once. What the user names may be private; what no host can own is refused.
    pub(super) fn add(&mut self, addr: SocketAddr, kind: Bootstrap) {
        let known = self.entries.iter().any(|entry| entry.addr == addr);
        if known
            || self.entries.len() >= BOOTSTRAPS_MAX
            || !AddressPolicy::AllowPrivate.admits(addr)
        {
            return;
        }
        self.queues[Family::of(addr).index()].push_back(self.entries.len());
        self.entries.push(Entry { addr, kind, answered: false });
    }

    pub(super) fn get(&self, index: usize) -> Option<Entry> {
        self.entries.get(index).copied()
    }

    /// Whether `addr` is a public router, which no table may hold.
    pub(super) fn is_router(&self, addr: SocketAddr) -> bool {
        self.entries.iter().any(|entry| entry.addr == addr && entry.kind == Bootstrap::Router)
    }

    /// The next address of a family to ask.
    pub(super) fn poll(&mut self, family: Family) -> Option<(usize, SocketAddr)> {
        let index = self.queues[family.index()].pop_front()?;
        self.get(index).map(|entry| (index, entry.addr))
    }

    pub(super) fn has_queued(&self, family: Family) -> bool {
        !self.queues[family.index()].is_empty()
    }

    pub(super) fn on_reply(&mut self, index: usize) {
        if let Some(entry) = self.entries.get_mut(index) {
            entry.answered = true;
        }
    }

    /// When due, queues every address again that never answered, or all of them if `lonely`: no
    /// other node is known.
    pub(super) fn retry(&mut self, now: Instant, lonely: bool) {
        if now < self.retry_at {
            return;
        }
        self.retry_at = now + self.pause;
        self.pause = (self.pause * 2).min(BOOTSTRAP_RETRY_MAX);
        for (index, entry) in self.entries.iter().enumerate() {
            let wanted = lonely || (entry.kind == Bootstrap::Node && !entry.answered);
            let queue = &mut self.queues[Family::of(entry.addr).index()];
            if wanted && !queue.contains(&index) {
                queue.push_back(index);
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (!self.entries.is_empty()).then_some(self.retry_at)
    }
}
