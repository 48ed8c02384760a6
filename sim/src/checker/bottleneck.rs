//! Which infohashes failed because the crawler's own link was full: seen in the bytes that it read.
//!
//! What a narrow link cannot carry in time is nobody's fault, and the checker must not demand it.
//! But it takes the link's word for nothing: only connections that timed out, and only while what
//! was read in that time came near to all that the link lets through.

use std::collections::VecDeque;
use std::net::SocketAddr;

use estudely_core::fault::PeerFault;
use estudely_core::limits::PIECE_TIMEOUT;
use estudely_core::time::{Duration, Instant};

use super::address::key;
use super::sets::Known;
use crate::gateway::GATEWAYS;
use crate::link::Shard;
use crate::scenario::{Harness, Scenario};

/// The time in which a peer must answer: that of a handshake, an offer and a piece alike.
const WINDOW: Duration = PIECE_TIMEOUT;
/// A link is full if one in so many bytes that it could carry were read: the others are answers to
/// connections that were given up before they arrived, and what pauses between requests leave.
const FULL_SHARE: u64 = 2;

/// The link of the crawler, or its equal parts if gateways share it.
#[derive(Debug)]
pub(super) struct Bottleneck {
    /// Bytes that a part lets through in [`WINDOW`]; `None` without a limit.
    capacity: Option<u64>,
    /// What was read over each part, and when.
    read: Vec<VecDeque<(Instant, u64)>>,
    /// When infohashes last lost a connection to a full link.
    throttled: Known<Instant>,
}

impl Bottleneck {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let parts = match scenario.harness {
            Harness::Direct => 1,
            Harness::Turmoil => GATEWAYS,
        };
        let capacity = u64::from(scenario.bandwidth) * WINDOW.as_secs() / u64::from(parts);
        Self {
            capacity: (capacity > 0).then_some(capacity),
            read: vec![VecDeque::new(); parts as usize],
            throttled: Known::default(),
        }
    }

    /// Bytes came over a connection.
    pub(super) fn on_read(&mut self, now: Instant, from: SocketAddr, len: usize) {
        if self.capacity.is_some() {
            self.part(now, from).push_back((now, len as u64));
        }
    }

    /// A connection for `hash` ended with `fault`.
    pub(super) fn on_fault(
        &mut self,
        now: Instant,
        to: SocketAddr,
        hash: &[u8; 20],
        fault: PeerFault,
    ) {
        let Some(capacity) = self.capacity else { return };
        let waited = matches!(
            fault,
            PeerFault::HandshakeTimeout | PeerFault::ExtensionTimeout | PeerFault::MetadataTimeout
        );
        let read: u64 = self.part(now, to).iter().map(|(_, len)| len).sum();
        if waited && read >= capacity / FULL_SHARE {
            self.throttled.insert(key(&[hash]), now);
        }
    }

    /// When `hash` last lost a connection to a full link.
    pub(super) fn throttled_at(&self, hash: &[u8; 20]) -> Option<Instant> {
        self.throttled.get(&key(&[hash])).copied()
    }

    fn part(&mut self, now: Instant, addr: SocketAddr) -> &mut VecDeque<(Instant, u64)> {
        let index = Shard::of(addr.ip(), self.read.len() as u32).index;
        let part = &mut self.read[index as usize];
        while part.front().is_some_and(|(at, _)| now > *at + WINDOW) {
            part.pop_front();
        }
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When an infohash is excused whose connection ended with `fault` after so many bytes were
    /// read within ten seconds over a link of a thousand a second.
    fn excused(bandwidth: u32, read: usize, later: u64, fault: PeerFault) -> bool {
        let scenario = Scenario { bandwidth, ..Scenario::calm(1) };
        let mut link = Bottleneck::new(&scenario);
        let peer = SocketAddr::from(([9, 9, 9, 9], 9));
        link.on_read(Instant::START, peer, read);
        let now = Instant::START + Duration::from_secs(later);
        link.on_fault(now, peer, &[7; 20], fault);
        link.throttled_at(&[7; 20]) == Some(now)
    }

    #[test]
    fn only_a_time_out_while_the_link_is_full_is_its_fault() {
        use PeerFault::{ConnectTimeout, MetadataTimeout};
        assert!(excused(1_000, 5_000, 10, MetadataTimeout));
        assert!(!excused(1_000, 4_999, 10, MetadataTimeout), "half of it was free");
        assert!(!excused(1_000, 5_000, 11, MetadataTimeout), "that was before");
        assert!(!excused(1_000, 5_000, 10, ConnectTimeout), "packets that begin pass");
        assert!(!excused(0, 5_000_000, 10, MetadataTimeout), "there is no limit");
    }
}
