//! What to send next: every query of the crawl is born here, when a socket asks for one.
//!
//! Order of precedence: queries that waited for their address, bootstrap, peers from sources, then
//! walks and the sweep in turn, then the table's own upkeep.

use std::net::SocketAddr;

use super::{Crawler, Transmit};
use crate::base::addr::{Contact, Family};
use crate::codec::krpc::Ask;
use crate::crawl::pace::FlowKind;
use crate::dht::query::Owner;
use crate::dht::query::Query;
use crate::dht::sweep::SweepAsk;
use crate::dht::table::{Probe, Table};
use crate::limits::{SWEEP_TURNS, UPKEEP_TURNS};

impl Crawler {
    pub(super) fn transmit(&mut self, family: Family, buf: &mut Vec<u8>) -> Option<Transmit> {
        let now = self.now;
        self.network(family)?.blocked_until = None;
        loop {
            if !self.network(family)?.endpoint.has_room() || !self.has_query(family) {
                return None;
            }
            if let Some(at) = self.network(family)?.delayed.full_until(now) {
                self.network(family)?.blocked_until = Some(at);
                return None;
            }
            if let Err(at) = self.queries.ready(now, family) {
                self.network(family)?.blocked_until = Some(at);
                return None;
            }
            let query = self.next_query(family)?;
            let per_address = self.per_address.ready(now, query.to);
            match per_address.and_then(|()| self.flows.ready(now, FlowKind::Udp(family), query.to))
            {
                Ok(()) => return self.send(family, query, buf),
                Err(at) => self.network(family)?.delayed.push(at, query),
            }
        }
    }

    fn send(&mut self, family: Family, query: Query, buf: &mut Vec<u8>) -> Option<Transmit> {
        let (now, start) = (self.now, buf.len());
        self.queries.take(now, family);
        self.flows.take(now, FlowKind::Udp(family), query.to);
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

    /// Whether there may be anything to send, so that an idle family does not claim a share.
    fn has_query(&self, family: Family) -> bool {
        let Some(network) = &self.networks[family.index()] else { return false };
        if self.outage.is_on(self.now) {
            return self.bootstraps.has_queued(family) || self.outage.is_probe_due(self.now);
        }
        self.bootstraps.has_queued(family)
            || self.outage.is_probe_due(self.now)
            || network.warm.has_queued()
            || self.jobs.has_question(family)
            || network.walks.has_turns()
            || network.delayed.poll_timeout().is_some_and(|at| at <= self.now)
            || (self.sweep_wanted() && network.sweep.has_work(&network.known, self.now))
            || network.table.poll_timeout().is_some_and(|at| at <= self.now)
    }

    fn next_query(&mut self, family: Family) -> Option<Query> {
        let now = self.now;
        if self.outage.is_suspected(now)
            && let Some(query) = self.liveness_probe(family)
        {
            return Some(query);
        }
        if self.outage.is_on(now) {
            return self.bootstrap_query(family);
        }
        while let Some(query) = self.network(family)?.delayed.pop_due(now) {
            if !self.is_obsolete(family, &query) {
                return Some(query);
            }
        }
        if let Some(query) = self.source_query(family) {
            return Some(query);
        }
        // Whatever follows goes to endpoints that are new, as a rule.
        if let Err(at) = self.flows.ready_for_new(now, FlowKind::Udp(family)) {
            self.network(family)?.blocked_until = Some(at);
            return None;
        }
        if let Some(query) = self.bootstrap_query(family) {
            return Some(query);
        }
        if let Some(contact) = self.network(family)?.warm.poll() {
            // Its own neighbourhood: so all of them together name every part of the keyspace.
            let ask = Ask::FindNode { target: contact.id.id() };
            return Some(Query { to: contact.addr, ask, owner: Owner::Probe(contact) });
        }
        let network = self.network(family)?;
        network.upkeep_turns = network.upkeep_turns.saturating_add(1);
        if network.upkeep_turns >= UPKEEP_TURNS {
            network.upkeep_turns = 0;
            if let Some(query) = self.probe_query(family) {
                return Some(query);
            }
        }
        let walk_first = self.network(family)?.sweep_turns >= SWEEP_TURNS;
        let query = if walk_first {
            self.walk_query(family).or_else(|| self.sweep_query(family))
        } else {
            self.sweep_query(family).or_else(|| self.walk_query(family))
        };
        query.or_else(|| self.probe_query(family))
    }

    fn bootstrap_query(&mut self, family: Family) -> Option<Query> {
        let (index, to) = self.bootstraps.poll(family)?;
        let target = self.network(family)?.endpoint.id().id();
        Some(Query { to, ask: Ask::FindNode { target }, owner: Owner::Bootstrap(index) })
    }

    fn source_query(&mut self, family: Family) -> Option<Query> {
        let (key, info_hash, node) = self.jobs.poll_question(family)?;
        let ask = Ask::GetPeers { info_hash };
        Some(Query { to: node.addr, ask, owner: Owner::Source(key, node) })
    }

    fn walk_query(&mut self, family: Family) -> Option<Query> {
        let network = self.network(family)?;
        let (key, info_hash, contact) = network.walks.poll_query()?;
        network.sweep_turns = 0;
        let ask = Ask::GetPeers { info_hash };
        Some(Query { to: contact.addr, ask, owner: Owner::Walk(key, contact) })
    }

    fn sweep_query(&mut self, family: Family) -> Option<Query> {
        if !self.sweep_wanted() {
            return None;
        }
        let now = self.now;
        let network = self.network(family)?;
        let query = network.sweep.poll_query(&mut network.known, now)?;
        let target = query.target;
        network.sweep_turns = network.sweep_turns.saturating_add(1);
        let ask = match query.ask {
            SweepAsk::Sample => Ask::SampleInfohashes { target },
            SweepAsk::FindNode => Ask::FindNode { target },
        };
        let to = query.waiting.contact.addr;
        Some(Query { to, ask, owner: Owner::Sweep(query) })
    }

    fn probe_query(&mut self, family: Family) -> Option<Query> {
        let now = self.now;
        let table = &mut self.network(family)?.table;
        let query =
            |contact: Contact, ask| Query { to: contact.addr, ask, owner: Owner::Probe(contact) };
        while let Some(probe) = table.poll_probe(now) {
            match probe {
                Probe::Ping(contact) => return Some(query(contact, Ask::Ping)),
                Probe::Refresh(target) => {
                    let mut nearest = Table::NO_CONTACTS;
                    let count = table.closest(target, &mut nearest);
                    if let Some(contact) = nearest[..count].first() {
                        return Some(query(*contact, Ask::FindNode { target }));
                    }
                }
            }
        }
        None
    }

    /// Whether whoever wanted the answer is gone: its infohash was settled while the query waited.
    fn is_obsolete(&self, family: Family, query: &Query) -> bool {
        let walks = self.networks[family.index()].as_ref().map(|network| &network.walks);
        match query.owner {
            Owner::Source(key, _) => !self.jobs.is_open(key),
            Owner::Walk(key, _) => walks.is_none_or(|walks| walks.job(key).is_none()),
            Owner::Bootstrap(_) | Owner::Sweep(_) | Owner::Probe(_) | Owner::LivenessProbe => false,
        }
    }

    /// A ping to some node that answered before, to tell dead nodes from a dead network.
    fn liveness_probe(&mut self, family: Family) -> Option<Query> {
        let now = self.now;
        if !self.outage.take_probe(now) {
            return None;
        }
        let table = &mut self.network(family)?.table;
        let contact = table.random_contact()?;
        Some(Query { to: contact.addr, ask: Ask::Ping, owner: Owner::LivenessProbe })
    }

    fn sweep_wanted(&self) -> bool {
        self.config.mode.sweeps() && self.admission.wants_more()
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
                self.jobs.on_source_silence(key, blameless);
                self.carry_out();
            }
            Owner::Walk(key, contact) => {
                network.walks.on_failure(key, to);
                if let Some(id) = contact.id {
                    network.fail(now, Contact { id, addr: to }, blameless);
                }
                self.end_walk_if_done(family, key);
            }
        }
    }
}
