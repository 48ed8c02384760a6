//! Connections over uTP: packets beside queries on the same sockets, and the bytes that an adapter
//! carries between a stream and the exchange of its dial.
//!
//! ```text
//! socket ─► handle_datagram ─► stream ─► read_stream ─► adapter ─► Exchange
//!        ◄─ poll_transmit   ◄─        ◄─ write_stream ◄─
//! ```

use std::net::SocketAddr;

use super::{Crawler, Transmit};
use crate::base::addr::Family;
use crate::base::time::Instant;
use crate::crawl::dial::PeerKey;
use crate::crawl::streams::StreamState;
use crate::utp::is_utp;

impl Crawler {
    /// The next connection over uTP whose stream has something to say: it is connected, has bytes
    /// to read or room to write, or is over. To be drained after every `handle_*`, like any other
    /// `poll_*`. Each is named once, whatever happened to it since: ask for its state, read, write.
    pub fn poll_stream(&mut self) -> Option<PeerKey> {
        self.streams.poll_changed()
    }

    /// How far the stream of a connection is; `None` once its outcome was handed in, and of
    /// connections over TCP.
    pub fn stream_state(&self, peer: PeerKey) -> Option<StreamState> {
        self.streams.state(peer)
    }

    /// Moves the next bytes that came over a stream into `out`, and says how many they are. What
    /// is left there holds its peer up, and nobody else.
    pub fn read_stream(&mut self, now: Instant, peer: PeerKey, out: &mut [u8]) -> usize {
        self.advance(now);
        self.streams.read(peer, out)
    }

    /// Takes as many of `bytes` for a stream as it has room for, and says how many.
    pub fn write_stream(&mut self, now: Instant, peer: PeerKey, bytes: &[u8]) -> usize {
        self.advance(now);
        self.streams.write(peer, bytes)
    }

    /// The exchange of a connection has accepted a size
    /// ([`Exchange::accepted_size`](crate::Exchange::accepted_size)): its stream may hold more.
    pub fn expect_stream(&mut self, now: Instant, peer: PeerKey, size: usize) {
        self.advance(now);
        self.streams.expect(peer, size);
    }

    /// Whether a datagram was for streams: told by its first byte (29.2). Nothing but its stream
    /// and the knowledge that the network is there comes of it.
    pub(super) fn receive_packet(&mut self, from: SocketAddr, payload: &[u8]) -> bool {
        let is_packet = payload.first().is_some_and(|first| is_utp(*first));
        if !is_packet || !self.streams.has(Family::of(from)) {
            return false;
        }
        if !self.shut_down && self.streams.receive(self.now, from, payload) {
            self.sign_of_life();
        }
        true
    }

    /// The next packet of a family's streams. After the end of the run these are the last ones of
    /// streams that were open.
    pub(super) fn poll_packet(&mut self, family: Family, buf: &mut Vec<u8>) -> Option<Transmit> {
        let packet = self.streams.poll_transmit(self.now, family, buf)?;
        Some(Transmit { to: packet.to, len: packet.len })
    }

    /// The next query of a family.
    pub(super) fn poll_query(&mut self, family: Family, buf: &mut Vec<u8>) -> Option<Transmit> {
        if self.shut_down {
            return None;
        }
        let query = self.transmit(family, buf)?;
        self.streams.give_turn(family);
        Some(query)
    }
}
