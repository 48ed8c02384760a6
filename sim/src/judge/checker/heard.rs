//! Rules 5, 7, 8 and 13 (pings): for each datagram sent its destination, who named that, and our
//! node id in it. Rule 7 stands for every class, rule 8 for KRPC, the others for queries.

use std::net::SocketAddr;

use estudely_core::limits::REGION_WAITING_MAX;

use super::address::{endpoint_key, family, inadmissible, ip_key, key};
use super::expected::GroundTruth;
use super::krpc::Reply;
use super::pace::SENT_MAX;
use super::sent::{Ask, Query};
use super::sets::{Known, Seen};
use crate::judge::rule::{ADMISSIBLE, Findings, MATCHED_REPLIES, TABLE_SOUND, WELL_FORMED, hex};

/// What the crawler can know, all of it from answers that matched. Grows with what is heard, 8 to
/// 16 bytes each; kept across crashes, because so are the files.
#[derive(Debug, Default)]
pub(super) struct Heard {
    own: [Option<SocketAddr>; 2],
    id: Option<[u8; 20]>,
    bootstrap: Seen,
    nodes: Seen,
    answered: Seen,
    pub(super) answered_ips: Seen,
    pub(super) infohashes: Seen,
    /// Peers with the infohash that they were named for.
    pub(super) peers: Seen,
    /// For how many infohashes an endpoint was named.
    pub(super) named_for: Known<u32>,
    /// Who sampled which infohash: by IP.
    pub(super) sources: Seen,
    /// Contacts by family and leading 12 bits of their id.
    regions: [Vec<usize>; 2],
    /// Those of them for whom a frontier has room, each region bounded.
    pub(super) room: u64,
}

impl Heard {
    pub(super) fn on_started(
        &mut self,
        truth: &dyn GroundTruth,
        own: [Option<SocketAddr>; 2],
        state: bool,
    ) {
        self.own = own;
        self.bootstrap = truth.bootstrap().into_iter().map(endpoint_key).collect();
        if !state {
            self.id = None;
        }
        for regions in &mut self.regions {
            regions.resize(1 << 12, 0);
        }
    }

    /// Rule 8, of a query or an answer that was sent: its size, and its id if it has one.
    pub(super) fn check_form(
        &mut self,
        found: &mut Findings,
        to: SocketAddr,
        bytes: usize,
        id: Option<[u8; 20]>,
    ) {
        found.check(bytes <= SENT_MAX, WELL_FORMED, || format!("{bytes} bytes to {to}"));
        let Some(id) = id else { return };
        let own = *self.id.get_or_insert(id);
        found.check(own == id, WELL_FORMED, || {
            format!("to {to}: the node id was {} and is {}", hex(&own), hex(&id))
        });
    }

    /// A matched reply: whatever it names may be used from now on.
    pub(super) fn on_reply(&mut self, from: SocketAddr, ask: Ask, reply: &Reply<'_>) {
        self.answered.insert(endpoint_key(from));
        self.answered_ips.insert(ip_key(from));
        for (id, addr) in reply.contacts() {
            if self.nodes.insert(endpoint_key(addr)) {
                let region = usize::from(id[0]) << 4 | usize::from(id[1]) >> 4;
                if let Some(count) = self.regions[family(addr)].get_mut(region) {
                    *count += 1;
                    self.room += u64::from(*count <= REGION_WAITING_MAX);
                }
            }
        }
        match ask {
            Ask::Sample => {
                for hash in reply.infohashes() {
                    self.infohashes.insert(key(&[&hash]));
                    self.sources.insert(source_key(&hash, from));
                }
            }
            Ask::GetPeers(hash) => {
                for peer in reply.peers() {
                    if self.peers.insert(peer_key(&hash, peer)) {
                        *self.named_for.entry(endpoint_key(peer)).or_default() += 1;
                    }
                }
            }
            Ask::Ping | Ask::FindNode => {}
        }
    }

    /// Whether this id is the crawler's own: an answer under it is a reflection (H16).
    pub(super) fn is_own(&self, id: &[u8; 20]) -> bool {
        self.id.as_ref() == Some(id)
    }

    /// Whether somebody named this infohash, in a matched sample or as a request.
    pub(super) fn is_infohash(&self, hash: &[u8; 20]) -> bool {
        self.infohashes.contains(&key(&[hash]))
    }

    /// Endpoints that answered.
    pub(super) fn answered_endpoints(&self) -> &Seen {
        &self.answered
    }

    /// How many bootstrap addresses there are.
    pub(super) fn bootstraps(&self) -> u64 {
        self.bootstrap.len() as u64
    }

    /// Rule 7, of datagrams and dials alike.
    pub(super) fn check_address(&self, found: &mut Findings, to: SocketAddr) {
        if let Some(what) = inadmissible(to) {
            found.fail(ADMISSIBLE, || format!("{to} is {what}"));
        }
        match self.own[family(to)] {
            None => found.fail(ADMISSIBLE, || format!("{to} is of a family that is off")),
            Some(own) => found.check(own != to, ADMISSIBLE, || format!("{to} is our own")),
        }
    }

    /// Whom a query asks, and for what, must be known from matched replies.
    pub(super) fn check_knowledge(&self, found: &mut Findings, to: SocketAddr, query: &Query<'_>) {
        let endpoint = endpoint_key(to);
        if self.bootstrap.contains(&endpoint) {
            return;
        }
        // H10: services live below 1024 that did not ask for this.
        found.check(to.port() >= 1_024, ADMISSIBLE, || format!("hearsay led to {to}"));
        let heard = self.nodes.contains(&endpoint) || self.answered.contains(&endpoint);
        found.check(heard, MATCHED_REPLIES, || format!("nobody named {to} in a matched answer"));
        match query.ask {
            Ask::Ping => {
                found.check(self.answered.contains(&endpoint), TABLE_SOUND, || {
                    format!("{to} is pinged and never answered anything")
                });
            }
            Ask::GetPeers(hash) => {
                found.check(self.is_infohash(&hash), MATCHED_REPLIES, || {
                    format!("{} is looked up and stands in no matched sample", hex(&hash))
                });
            }
            Ask::FindNode | Ask::Sample => {}
        }
    }
}

/// Stands for a peer of an infohash.
pub(super) fn peer_key(hash: &[u8; 20], peer: SocketAddr) -> u64 {
    key(&[hash, &endpoint_key(peer).to_le_bytes()])
}

/// Stands for an IP that sampled an infohash.
pub(super) fn source_key(hash: &[u8; 20], from: SocketAddr) -> u64 {
    key(&[hash, &ip_key(from).to_le_bytes(), b"source"])
}
