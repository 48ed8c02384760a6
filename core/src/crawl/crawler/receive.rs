//! Matches a datagram to the open query that it answers, and gives each part to its owner:
//!
//! - any matched answer: the network is there (outage);
//! - the answering node: table and landmarks, if its id is the expected one;
//! - contacts: the sweep, or only the count of contacts heard where there is no sweep;
//! - by the owner of the query: bootstrap nodes, the sweep (its interval, its samples, gaps), the
//!   job that asked (peers), a walk (candidates and peers);
//! - an error, or an answer that cannot be read: the node lives, the query failed.
//!
//! An answer to a query that had been given up (5.13) is read alike. It is counted as late, the
//! silence before it is taken back as far as it can be, and nothing waits for it any more.
//!
//! A datagram that matches no open query must never change anything but a counter. What silence
//! changes is in `transmit.rs`.

use std::net::SocketAddr;

use super::{Bootstrap, Crawler};
use crate::base::addr::{Contact, Family};
use crate::base::id::InfoHash;
use crate::base::planted::{self, Bug};
use crate::base::store::Key;
use crate::codec::krpc::{Kind, Message, Reply};
use crate::crawl::admission::Admitted;
use crate::crawl::standing::Sponsor;
use crate::dht::endpoint::{Open, Silence, Timing};
use crate::dht::query::Owner;
use crate::dht::sweep::{Offer, SweepAsk, SweepQuery};
use crate::limits::{CONTACTS_PER_REPLY, SAMPLES_AT_ONCE, SAMPLES_PER_REPLY};

impl Crawler {
    pub(super) fn receive(&mut self, from: SocketAddr, payload: &[u8]) {
        let family = Family::of(from);
        if self.networks[family.index()].is_none() {
            return;
        }
        self.stats.datagrams_received += 1;
        self.stats.datagram_bytes_received += payload.len() as u64;
        match Message::parse(payload) {
            Err(error) => {
                self.stats.malformed += 1;
                if let Some(open) = error.failed_call().and_then(|t| self.take(family, from, t)) {
                    self.on_refusal(family, open);
                }
            }
            Ok(message) => match message.kind {
                // We said `ro`: silence is what the asker expects (BEP 43).
                Kind::Query(_) => self.stats.queries_received += 1,
                Kind::Reply(reply) => match self.take(family, from, message.transaction) {
                    Some(open) => self.on_reply(family, open, &reply),
                    None => self.stats.unmatched += 1,
                },
                Kind::Error(error) => match self.take(family, from, message.transaction) {
                    Some(open) => {
                        self.stats.note_error(error.code);
                        self.on_refusal(family, open);
                    }
                    None => self.stats.unmatched += 1,
                },
            },
        }
    }

    /// Queries that have been silent for too long.
    pub(super) fn expire_queries(&mut self, family: Family) {
        let now = self.now;
        while let Some((silence, open)) =
            self.network(family).and_then(|network| network.endpoint.poll_silence(now))
        {
            match (silence, open.owner) {
                (Silence::Expired, owner) => {
                    self.stats.expired += 1;
                    self.outage.on_silence(now);
                    self.on_silence(family, open.to, owner);
                }
                (Silence::Stalled, Owner::Walk { walk, .. }) => {
                    if let Some(network) = self.network(family) {
                        network.walks.on_stall(walk, open.to);
                    }
                    self.end_walk_if_done(family, walk);
                }
                (Silence::Stalled, _) => {}
            }
        }
        if let Some(network) = &self.networks[family.index()] {
            let cut_off = self.outage.is_suspected(now);
            let lonely = cut_off || network.table.contacts().next().is_none();
            self.bootstraps.retry(now, family, lonely);
        }
        if let Some(network) = self.network(family) {
            network.warm.retry(now);
        }
    }

    fn take(
        &mut self,
        family: Family,
        from: SocketAddr,
        transaction: &[u8],
    ) -> Option<Open<Owner>> {
        let now = self.now;
        let open = self.network(family)?.endpoint.take(now, from, transaction)?;
        self.sign_of_life();
        Some(open)
    }

    fn on_reply(&mut self, family: Family, open: Open<Owner>, reply: &Reply<'_>) {
        let (now, policy) = (self.now, self.config.policy);
        let admits = |contact: Contact| policy.admits(contact.addr);
        if planted::is(Bug::DropReplyOnBogon) && !contacts(reply).all(admits) {
            return;
        }
        let timing = open.timing();
        *match timing {
            Timing::InTime => &mut self.stats.answered,
            Timing::Late => &mut self.stats.late,
        } += 1;
        let answerer = Contact { id: reply.id, addr: open.to };
        let Some(network) = self.networks[family.index()].as_deref_mut() else { return };
        network.replies += 1;
        self.stats.contacts_answered += u64::from(network.known.note_answered(now, open.to));
        if reply.id == network.endpoint.id() {
            // A reflector (H16): as good as silent, which it was before if its answer is late.
            if timing == Timing::InTime {
                self.on_silence(family, open.to, open.owner);
            }
            return;
        }
        network.warm.on_answer(self.config.mode.sweeps());
        network.sweep.on_sign_of_life();
        if self.admits_to_table(answerer, open.owner)
            && let Some(network) = self.network(family)
        {
            let _ = network.table.on_reply(now, answerer);
            network.known.landmarks.add(answerer);
        }
        match open.owner {
            Owner::Bootstrap(index) => self.on_bootstrap_reply(index, answerer, reply),
            Owner::Probe(_) | Owner::LivenessProbe => self.hear_contacts(answerer, reply),
            Owner::Sweep(query) => self.on_sweep_reply(family, query, timing, reply),
            Owner::Source(key, _) => {
                self.hear_contacts(answerer, reply);
                let peers = reply.values.clone().heard_over(family);
                let namer = self.standing.sponsor(answerer.addr);
                self.jobs.on_peers(now, key, peers, true, (Some(namer), &self.standing));
                // It may be asked once more by now, or stand in line for that.
                if timing == Timing::InTime {
                    self.jobs.on_source_answer(key);
                }
                self.carry_out();
            }
            Owner::Walk { walk, job, .. } => {
                self.hear_contacts(answerer, reply);
                self.on_walk_reply(family, (walk, job), timing, answerer, reply);
            }
        }
        self.begin_walks();
    }

    /// A node enters the table only under the id it was expected to have (D12), and never if it is
    /// a public router.
    fn admits_to_table(&self, answerer: Contact, owner: Owner) -> bool {
        let expected = match owner {
            Owner::Bootstrap(_) | Owner::LivenessProbe => None,
            Owner::Sweep(query) => Some(query.waiting.contact.id),
            Owner::Walk { contact, .. } => contact.id,
            Owner::Probe(contact) => Some(contact.id),
            Owner::Source(_, node) => Some(node.id),
        };
        expected.is_none_or(|id| id == answerer.id)
            && self.config.policy.admits(answerer.addr)
            && !self.bootstraps.is_router(answerer.addr)
    }

    fn on_bootstrap_reply(&mut self, index: usize, answerer: Contact, reply: &Reply<'_>) {
        self.bootstraps.on_reply(self.now, index);
        for contact in contacts(reply) {
            if self.bootstraps.is_router(contact.addr)
                || !self.config.policy.admits_node(contact.addr)
            {
                continue;
            }
            if let Some(network) = self.network(Family::of(contact.addr)) {
                network.add_hearsay(contact);
            }
        }
        self.hear_contacts(answerer, reply);
        let is_node = self.bootstraps.get(index).is_some_and(|e| e.kind == Bootstrap::Node);
        if is_node && self.config.mode.sweeps() {
            self.offer(answerer, None);
        }
    }

    fn on_sweep_reply(
        &mut self,
        family: Family,
        query: SweepQuery,
        timing: Timing,
        reply: &Reply<'_>,
    ) {
        let now = self.now;
        let source = Contact { id: reply.id, ..query.waiting.contact };
        self.hear_contacts(source, reply);
        let Some(network) = self.networks[family.index()].as_deref_mut() else { return };
        let near = match family {
            Family::V4 => reply.nodes.clone(),
            Family::V6 => reply.nodes6.clone(),
        };
        // Another node was asked about the gap when this one did not answer in time.
        if timing == Timing::InTime || !query.reason.is_gap() {
            network.sweep.on_neighbours(&network.known, &query, reply.id, near);
        }
        match &reply.samples {
            Some(samples) if query.ask == SweepAsk::Sample => {
                self.stats.nodes_sampling +=
                    u64::from(network.known.note_sampled(now, source.addr));
                let brought = self.take_samples(source, samples.clone());
                let least = self.standing.on_visit(self.standing.sponsor(source.addr), brought);
                let Some(network) = self.network(family) else { return };
                let (sweep, known) = (&mut network.sweep, &mut network.known);
                let (id, rest) = (reply.id, (reply.interval, least));
                let rested = match timing {
                    Timing::InTime => sweep.on_samples(known, now, query, id, rest),
                    Timing::Late => sweep.on_late_samples(known, now, query, id, rest),
                };
                self.note_rest(Some(rested));
            }
            _ => {
                let (sweep, known) = (&mut network.sweep, &mut network.known);
                let rested = match timing {
                    Timing::InTime => sweep.on_reply(known, now, query, reply.id),
                    Timing::Late => sweep.on_late_reply(known, now, query, reply.id),
                };
                self.note_rest(rested);
            }
        }
    }

    /// Takes on the first new ones of what a node sampled, and keeps the rest for when these have
    /// paid. Whether any was new.
    fn take_samples(
        &mut self,
        source: Contact,
        samples: impl Iterator<Item = InfoHash> + Clone,
    ) -> bool {
        let mut new = 0;
        let mut samples = samples.take(SAMPLES_PER_REPLY);
        while new < SAMPLES_AT_ONCE
            && let Some(hash) = samples.next()
        {
            self.stats.infohashes_sampled += 1;
            let taken = self.take_up(hash, source);
            new += usize::from(taken == Admitted::New);
            self.stats.infohashes_new += u64::from(taken == Admitted::New);
            if let Some(journal) = &mut self.journal
                && matches!(taken, Admitted::New | Admitted::Held)
            {
                journal.sample(hash);
            }
        }
        let (admission, read) = (&self.admission, &mut self.stats.infohashes_sampled);
        let rest = samples.inspect(|_| *read += 1).filter(|hash| !admission.knows(*hash));
        self.samples.keep(self.standing.sponsor(source.addr), source, rest);
        new > 0
    }

    /// A node names an infohash: it is taken on if it is new, and has another source if it waits.
    fn take_up(&mut self, hash: InfoHash, source: Contact) -> Admitted {
        let taken = self.admission.offer(self.now, hash, source, &self.standing);
        if taken == Admitted::Known {
            match self.jobs.find(hash) {
                Some(key) => self.jobs.also_named(key, source, &self.standing),
                None => self.admission.also_named(hash, source, &self.standing),
            }
        }
        taken
    }

    /// An infohash of `sponsor` was verified: what else it had sampled is taken on.
    pub(super) fn take_kept_samples(&mut self, sponsor: Sponsor) {
        while let Some((source, hash)) = self.samples.take(sponsor) {
            let taken = self.take_up(hash, source);
            self.stats.infohashes_new += u64::from(taken == Admitted::New);
            if let Some(journal) = &mut self.journal
                && matches!(taken, Admitted::New | Admitted::Held)
            {
                journal.taken(hash, std::iter::empty());
            }
        }
    }

    /// Contacts are for the walk, peers for its job: each if it lives.
    fn on_walk_reply(
        &mut self,
        family: Family,
        (walk, job): (Key, Key),
        timing: Timing,
        from: Contact,
        reply: &Reply<'_>,
    ) {
        let Some(network) = self.networks[family.index()].as_deref_mut() else { return };
        let found = match family {
            Family::V4 => reply.nodes.clone(),
            Family::V6 => reply.nodes6.clone(),
        };
        let routers = &self.bootstraps;
        let found = found.filter(|contact| !routers.is_router(contact.addr));
        match timing {
            Timing::InTime => network.walks.on_reply(walk, from.addr, from.id, found),
            Timing::Late => network.walks.on_late_reply(walk, from.addr, from.id, found),
        }
        let peers = reply.values.clone().heard_over(family);
        let namer = self.standing.sponsor(from.addr);
        self.jobs.on_peers(self.now, job, peers, false, (Some(namer), &self.standing));
        self.carry_out();
        self.end_walk_if_done(family, walk);
    }

    /// An error, or an answer too broken to count: the node lives, the call failed.
    fn on_refusal(&mut self, family: Family, open: Open<Owner>) {
        let now = self.now;
        let timing = open.timing();
        *match timing {
            Timing::InTime => &mut self.stats.refused,
            Timing::Late => &mut self.stats.late,
        } += 1;
        let Some(network) = self.network(family) else { return };
        network.replies += 1;
        match open.owner {
            Owner::Sweep(query) if timing == Timing::Late => {
                network.sweep.on_late_error(&mut network.known, now, query);
            }
            _ if timing == Timing::Late => {}
            Owner::Sweep(query) => {
                let rested = network.sweep.on_error(&mut network.known, now, query);
                self.note_rest(rested);
            }
            Owner::Source(key, _) => {
                // It refuses: asking again will not help.
                self.jobs.on_source_answer(key);
                self.carry_out();
            }
            // It lives: neither its place in the table nor its referrer suffers.
            Owner::Walk { walk, .. } => {
                network.walks.on_failure(walk, open.to);
                self.end_walk_if_done(family, walk);
            }
            Owner::Bootstrap(index) => self.bootstraps.on_refusal(now, index),
            Owner::Probe(_) | Owner::LivenessProbe => {}
        }
        self.begin_walks();
    }

    /// Counts the contacts of an answer, and offers them to the sweep of their family.
    fn hear_contacts(&mut self, answerer: Contact, reply: &Reply<'_>) {
        for contact in contacts(reply) {
            self.offer(contact, Some(answerer.addr));
        }
    }

    fn offer(&mut self, contact: Contact, referrer: Option<SocketAddr>) {
        let (now, sweeps) = (self.now, self.config.mode.sweeps());
        if self.bootstraps.is_router(contact.addr) {
            return;
        }
        let Some(network) = self.network(Family::of(contact.addr)) else { return };
        let new = if sweeps {
            network.sweep.offer(&mut network.known, now, contact, referrer) == Offer::New
        } else {
            network.known.hear(now, contact)
        };
        self.stats.contacts_heard += u64::from(new);
    }
}

/// The contacts of an answer that are followed: a few of each family (H17).
fn contacts<'a>(reply: &Reply<'a>) -> impl Iterator<Item = Contact> + use<'a> {
    let v4 = reply.nodes.clone().take(CONTACTS_PER_REPLY);
    v4.chain(reply.nodes6.clone().take(CONTACTS_PER_REPLY))
}
