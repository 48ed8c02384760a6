//! What to send next: every query of the crawl is born here, when a socket asks for one. It comes
//! from the first of [`super::sources`] that is due, and must never go out before every limit
//! allows it.

use std::net::SocketAddr;

use super::{Crawler, Transmit};
use crate::base::addr::{Contact, Family};
use crate::codec::krpc::Ask;
use crate::crawl::deadline::{Deadline, Why};
use crate::crawl::pace::Purpose;
use crate::dht::query::Owner;
use crate::dht::query::Query;

impl Crawler {
    pub(super) fn transmit(&mut self, family: Family, buf: &mut Vec<u8>) -> Option<Transmit> {
        let now = self.now;
        self.network(family)?;
        self.sending[family.index()].blocked = None;
        loop {
            if !self.network(family)?.endpoint.has_room() || !self.has_query(family) {
                return None;
            }
            let full =
                Deadline::of(self.network(family)?.delayed.full_until(now), Why::DelayedFull);
            let paced = || Deadline::of(self.queries.ready(now, family).err(), Why::Rate);
            if let Some(blocked) = full.or_else(paced) {
                self.sending[family.index()].blocked = Some(blocked);
                return None;
            }
            let query = self.next_query(family)?;
            let per_address = self.per_address.ready(now, query.to);
            match per_address.and_then(|()| self.flows.ready(now, Purpose::Look(family), query.to))
            {
                Ok(()) => return self.send(family, query, buf),
                Err(at) => self.network(family)?.delayed.push(at, query),
            }
        }
    }

    fn send(&mut self, family: Family, query: Query, buf: &mut Vec<u8>) -> Option<Transmit> {
        let (now, start) = (self.now, buf.len());
        self.queries.take(now, family);
        self.flows.take(now, Purpose::Look(family), query.to);
        self.per_address.take(now, query.to);
        let network = self.network(family)?;
        network.endpoint.ask(now, query.to, &query.ask, query.owner, buf);
        let first = network.known.note_asked(now, query.to);
        let len = buf.len() - start;
        self.stats.contacts_asked += u64::from(first);
        self.stats.datagrams_sent += 1;
        self.stats.datagram_bytes_sent += len as u64;
        *match query.ask {
            Ask::Ping => &mut self.stats.queries_ping,
            Ask::FindNode { .. } => &mut self.stats.queries_find_node,
            Ask::GetPeers { .. } => &mut self.stats.queries_get_peers,
            Ask::SampleInfohashes { .. } => &mut self.stats.queries_sample,
        } += 1;
        Some(Transmit { to: query.to, len })
    }

    pub(super) fn on_silence(&mut self, family: Family, to: SocketAddr, owner: Owner) {
        let (now, blameless) = (self.now, self.outage.is_suspected(self.now));
        let Some(network) = self.network(family) else { return };
        match owner {
            Owner::Bootstrap(_) | Owner::LivenessProbe => {}
            Owner::Probe(contact) => network.fail(now, contact, blameless),
            Owner::Sweep(query) => {
                let rested = network.sweep.on_silence(&mut network.known, now, query);
                network.fail(now, query.waiting.contact, blameless);
                self.note_rest(rested);
            }
            Owner::Source(key, _) => {
                self.jobs.on_source_silence(key, blameless, &self.standing);
                self.carry_out();
            }
            Owner::Walk { walk, contact, .. } => {
                network.walks.on_failure(walk, to);
                if let Some(id) = contact.id {
                    network.fail(now, Contact { id, addr: to }, blameless);
                }
                self.end_walk_if_done(family, walk);
            }
        }
    }
}
