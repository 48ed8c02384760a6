//! A host that accepts uTP: many connections on one socket, told apart by the other end and its id.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use estudely_core::Instant;

use super::packet::{Packet, RESET, SYN};
use super::{Acceptor, Manners, Standing};

/// Connections at once; a SYN beyond is not answered.
const ENDS_MAX: usize = 1_024;
/// RESETs that wait to be sent.
const RESETS_MAX: usize = 64;

/// Names one connection: the other end, and the id that its packets carry.
pub type EndKey = (SocketAddr, u16);

/// The accepting ends of one host.
#[derive(Clone, Debug)]
pub struct Listener {
    manners: Manners,
    /// Whether a packet of no connection is answered by a RESET, as libutp does (29.9).
    resets: bool,
    ends: BTreeMap<EndKey, Acceptor>,
    outgoing: VecDeque<(SocketAddr, Vec<u8>)>,
    accepted: u16,
}

impl Listener {
    /// A host without connections.
    pub fn new(manners: Manners, resets: bool) -> Self {
        let (ends, outgoing) = (BTreeMap::new(), VecDeque::new());
        Self { manners, resets, ends, outgoing, accepted: 0 }
    }

    /// Takes a datagram, and says whose it was: of a connection that is there, or a new one.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Option<EndKey> {
        let packet = Packet::read(datagram)?;
        let id = packet.id.wrapping_add(u16::from(packet.kind == SYN));
        let key = (from, id);
        if let Some(end) = self.ends.get_mut(&key) {
            end.handle_datagram(now, datagram);
            return Some(key);
        }
        if packet.kind != SYN {
            self.refuse(from, &packet);
            return None;
        }
        if self.ends.len() >= ENDS_MAX {
            return None;
        }
        // Each begins with a number of its own.
        self.accepted = self.accepted.wrapping_add(1);
        let first = self.manners.first.wrapping_add(self.accepted.wrapping_mul(7_919));
        let end = Acceptor::accept(now, datagram, Manners { first, ..self.manners })?;
        self.ends.insert(key, end);
        Some(key)
    }

    fn refuse(&mut self, from: SocketAddr, packet: &Packet<'_>) {
        if self.resets && packet.kind != RESET && self.outgoing.len() < RESETS_MAX {
            let answer = Packet { kind: RESET, seq: 1, ack: packet.seq, mask: &[], ..*packet };
            self.outgoing.push_back((from, Packet { payload: &[], ..answer }.write()));
        }
    }

    /// A connection.
    pub fn end(&mut self, key: EndKey) -> Option<&mut Acceptor> {
        self.ends.get_mut(&key)
    }

    /// Gives a connection up, and says so once.
    pub fn reset(&mut self, now: Instant, key: EndKey) {
        if let Some(mut end) = self.ends.remove(&key) {
            self.outgoing.push_back((key.0, end.reset(now)));
        }
    }

    /// Forgets a connection, a closed one after a while: until then its last acknowledgement is
    /// repeated where it was lost.
    pub fn forget(&mut self, key: EndKey) {
        self.ends.remove(&key);
    }

    /// The next datagram that is to be sent now, and where to.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<(SocketAddr, Vec<u8>)> {
        let of_ends = |(key, end): (&EndKey, &mut Acceptor)| Some((key.0, end.poll_transmit(now)?));
        self.outgoing.pop_front().or_else(|| self.ends.iter_mut().find_map(of_ends))
    }

    /// When [`Listener::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.ends.values().filter_map(Acceptor::poll_timeout).min()
    }

    /// Time passed. Connections that failed are forgotten.
    pub fn handle_timeout(&mut self, now: Instant) {
        for end in self.ends.values_mut() {
            end.handle_timeout(now);
        }
        self.ends.retain(|_, end| !matches!(end.standing(), Standing::Gone | Standing::Reset));
    }

    /// Connections, closed ones included.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}
