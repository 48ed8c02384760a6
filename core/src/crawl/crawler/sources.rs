//! Everything that may send a datagram, as one list in order of rank: each source says when it is
//! next due and what it sends next. A source must never be asked before the query rate allows a
//! query; `transmit.rs` sets one aside (`delayed`) whose address must wait.

use super::Crawler;
use crate::base::addr::{Contact, Family};
use crate::base::time::Instant;
use crate::codec::krpc::Ask;
use crate::crawl::deadline::{Deadline, Why};
use crate::crawl::pace::Purpose;
use crate::dht::query::{Owner, Query};
use crate::dht::sweep::SweepAsk;
use crate::dht::table::{Probe, Table};
use crate::limits::{SWEEP_TURNS, UPKEEP_TURNS};

/// A source of datagrams, named by what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DatagramSource {
    /// A ping to a node that answered before, to tell dead nodes from a dead network.
    LivenessProbe,
    /// Queries that waited for their address.
    Delayed,
    /// `get_peers` to the nodes that named infohashes: they know their peers and are alive now.
    Question,
    /// `find_node` to bootstrap nodes, or `get_peers` where they refuse that.
    Bootstrap,
    /// `find_node` to nodes of a saved state.
    WarmStart,
    /// The sweep.
    Sweep,
    /// Walks.
    Walk,
    /// The routing table's own probes.
    Upkeep,
}

impl DatagramSource {
    /// Those of a fixed rank, the first first. They know most endpoints they send to.
    const FIRST: [Self; 3] = [Self::LivenessProbe, Self::Delayed, Self::Question];
    /// The same for those that, as a rule, send to endpoints not met before.
    const NEXT: [Self; 2] = [Self::Bootstrap, Self::WarmStart];
    /// Those that take turns after all others: see [`Turns`].
    const LAST: [Self; 3] = [Self::Sweep, Self::Walk, Self::Upkeep];

    fn all() -> impl Iterator<Item = Self> {
        Self::FIRST.into_iter().chain(Self::NEXT).chain(Self::LAST)
    }

    /// Whether it sends while the network is gone: what can show that it is back.
    const fn outlasts_outage(self) -> bool {
        matches!(self, Self::LivenessProbe | Self::Bootstrap)
    }

    const fn why(self) -> Why {
        match self {
            Self::LivenessProbe => Why::LivenessProbe,
            Self::Delayed => Why::Delayed,
            Self::Question => Why::Question,
            Self::Bootstrap => Why::Bootstrap,
            Self::WarmStart => Why::WarmStart,
            Self::Sweep => Why::Sweep,
            Self::Walk => Why::Walk,
            Self::Upkeep => Why::Upkeep,
        }
    }
}

/// Whose turn it is among the sources that come last. The sweep always has a node to ask: after
/// [`SWEEP_TURNS`] of its queries a walk has the next one, and the table one in [`UPKEEP_TURNS`].
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Queries of the sweep since the last one of a walk.
    sweep: u8,
    /// Queries since the table's own upkeep had its turn.
    upkeep: u8,
}

impl Turns {
    /// The order for the next query.
    fn next_order(&mut self) -> [DatagramSource; 3] {
        let [sweep, walk, upkeep] = DatagramSource::LAST;
        let (first, second) = if self.sweep >= SWEEP_TURNS { (walk, sweep) } else { (sweep, walk) };
        self.upkeep = self.upkeep.saturating_add(1);
        if self.upkeep < UPKEEP_TURNS {
            return [first, second, upkeep];
        }
        self.upkeep = 0;
        [upkeep, first, second]
    }

    fn on_walk(&mut self) {
        self.sweep = 0;
    }

    fn on_sweep(&mut self) {
        self.sweep = self.sweep.saturating_add(1);
    }
}

/// What one family's socket is up to.
#[derive(Debug, Default)]
pub(super) struct Sending {
    /// Nothing can be sent before this; set while polling for datagrams.
    pub(super) blocked: Option<Deadline>,
    turns: Turns,
}

impl Crawler {
    /// Whether any source is due, so that an idle family does not claim a share.
    pub(super) fn has_query(&self, family: Family) -> bool {
        self.sources().any(|source| self.next_due(family, source).is_some_and(|at| at <= self.now))
    }

    /// When something is to be sent, or could be again, without further input.
    pub(super) fn sending_deadline(&self, family: Family) -> Option<Deadline> {
        // What is due already is held up by what blocks, which has a deadline of its own.
        let ahead = |deadline: Option<Deadline>| deadline.filter(|one| one.at > self.now);
        let due = DatagramSource::all()
            .map(|source| ahead(Deadline::of(self.next_due(family, source), source.why())));
        let blocked = ahead(self.sending[family.index()].blocked);
        Deadline::first(due.chain([blocked]))
    }

    /// The next query by rank.
    pub(super) fn next_query(&mut self, family: Family) -> Option<Query> {
        let (now, is_outage) = (self.now, self.outage.is_on(self.now));
        let next = |crawler: &mut Self, source: DatagramSource| {
            let silenced = is_outage && !source.outlasts_outage();
            if silenced { None } else { crawler.next(family, source) }
        };
        let first = DatagramSource::FIRST.into_iter().find_map(|source| next(self, source));
        if first.is_some() {
            return first;
        }
        // Whatever follows goes to endpoints that are new, as a rule. In an outage none answers.
        if !is_outage && let Err(at) = self.flows.ready_for_new(now, Purpose::Look(family)) {
            self.sending[family.index()].blocked = Some(Deadline { at, why: Why::NewFlows });
            return None;
        }
        let query = DatagramSource::NEXT.into_iter().find_map(|source| next(self, source));
        if query.is_some() || is_outage {
            return query;
        }
        let order = self.sending[family.index()].turns.next_order();
        order.into_iter().find_map(|source| next(self, source))
    }

    fn sources(&self) -> impl Iterator<Item = DatagramSource> + use<> {
        let is_outage = self.outage.is_on(self.now);
        DatagramSource::all().filter(move |source| !is_outage || source.outlasts_outage())
    }

    /// When `source` next has something to send; a time that has passed means now.
    fn next_due(&self, family: Family, source: DatagramSource) -> Option<Instant> {
        let network = self.networks[family.index()].as_ref()?;
        let now = |is_due: bool| is_due.then_some(self.now);
        let ahead = |at: Option<Instant>| at.filter(|at| *at > self.now);
        match source {
            DatagramSource::LivenessProbe => {
                self.outage.next_probe().filter(|_| !network.table.is_empty())
            }
            DatagramSource::Delayed => network.delayed.poll_timeout(),
            DatagramSource::Question => now(self.jobs.has_question(family)),
            DatagramSource::Bootstrap => now(self.bootstraps.has_queued(family)),
            DatagramSource::WarmStart => now(network.warm.has_queued()),
            DatagramSource::Sweep => {
                now(self.sweep_wanted() && network.sweep.has_work(&network.known, self.now))
                    .or_else(|| ahead(network.sweep.poll_timeout(&network.known)))
            }
            DatagramSource::Walk => {
                now(network.walks.has_turns()).or_else(|| network.walks.poll_timeout())
            }
            DatagramSource::Upkeep => network.table.poll_timeout(),
        }
    }

    /// What `source` sends next, if anything.
    fn next(&mut self, family: Family, source: DatagramSource) -> Option<Query> {
        match source {
            DatagramSource::LivenessProbe => self.liveness_probe(family),
            DatagramSource::Delayed => self.delayed_query(family),
            DatagramSource::Question => self.question(family),
            DatagramSource::Bootstrap => self.bootstrap_query(family),
            DatagramSource::WarmStart => self.warm_query(family),
            DatagramSource::Sweep => self.sweep_query(family),
            DatagramSource::Walk => self.walk_query(family),
            DatagramSource::Upkeep => self.upkeep_query(family),
        }
    }

    fn liveness_probe(&mut self, family: Family) -> Option<Query> {
        if !self.outage.is_probe_due(self.now) {
            return None;
        }
        // A family without contacts leaves the probe to the other.
        let contact = self.network(family)?.table.random_contact()?;
        self.outage.on_probe(self.now);
        Some(Query { to: contact.addr, ask: Ask::Ping, owner: Owner::LivenessProbe })
    }

    fn delayed_query(&mut self, family: Family) -> Option<Query> {
        loop {
            let query = self.networks[family.index()].as_mut()?.delayed.pop_due(self.now)?;
            if !self.is_obsolete(family, &query) {
                return Some(query);
            }
            if let (Owner::Sweep(query), Some(network)) = (query.owner, self.network(family)) {
                network.sweep.on_dropped(query);
            }
        }
    }

    /// Whether what a query is for was settled while the query waited: an infohash, or, by a late
    /// answer, the samples of a node.
    fn is_obsolete(&self, family: Family, query: &Query) -> bool {
        let Some(network) = self.networks[family.index()].as_ref() else { return true };
        match query.owner {
            Owner::Source(key, _) => !self.jobs.is_open(key),
            Owner::Walk { walk, .. } => network.walks.job(walk).is_none(),
            Owner::Sweep(query) => {
                query.ask == SweepAsk::Sample && network.known.rests_at(self.now, query.addr())
            }
            Owner::Bootstrap(_) | Owner::Probe(_) | Owner::LivenessProbe => false,
        }
    }

    fn question(&mut self, family: Family) -> Option<Query> {
        let (key, info_hash, node) = self.jobs.poll_question(family, &self.standing)?;
        let ask = Ask::GetPeers { info_hash };
        Some(Query { to: node.addr, ask, owner: Owner::Source(key, node) })
    }

    fn bootstrap_query(&mut self, family: Family) -> Option<Query> {
        let target = self.network(family)?.endpoint.id().id();
        let (index, to, ask) = self.bootstraps.poll(family, target)?;
        Some(Query { to, ask, owner: Owner::Bootstrap(index) })
    }

    fn warm_query(&mut self, family: Family) -> Option<Query> {
        let contact = self.network(family)?.warm.poll()?;
        // Its own neighbourhood: so all of them together name every part of the keyspace.
        let ask = Ask::FindNode { target: contact.id.id() };
        Some(Query { to: contact.addr, ask, owner: Owner::Probe(contact) })
    }

    fn sweep_query(&mut self, family: Family) -> Option<Query> {
        if !self.sweep_wanted() {
            return None;
        }
        let now = self.now;
        let network = self.networks[family.index()].as_deref_mut()?;
        let query = network.sweep.poll_query(&mut network.known, now)?;
        self.sending[family.index()].turns.on_sweep();
        let target = query.target;
        let ask = match query.ask {
            SweepAsk::Sample => Ask::SampleInfohashes { target },
            SweepAsk::FindNode => Ask::FindNode { target },
        };
        let to = query.waiting.contact.addr;
        Some(Query { to, ask, owner: Owner::Sweep(query) })
    }

    fn walk_query(&mut self, family: Family) -> Option<Query> {
        let network = self.networks[family.index()].as_deref_mut()?;
        let per_address = &self.per_address;
        let is_free = |addr| per_address.ready(self.now, addr).is_ok();
        let (walk, info_hash, contact) = network.poll_walk(self.now, is_free)?;
        let job = network.walks.job(walk)?;
        self.sending[family.index()].turns.on_walk();
        let ask = Ask::GetPeers { info_hash };
        Some(Query { to: contact.addr, ask, owner: Owner::Walk { walk, job, contact } })
    }

    fn upkeep_query(&mut self, family: Family) -> Option<Query> {
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

    fn sweep_wanted(&self) -> bool {
        self.config.mode.sweeps() && self.admission.wants_more()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_stands_in_the_list_once_with_a_reason_of_its_own() {
        let all: Vec<_> = DatagramSource::all().collect();
        for (at, source) in all.iter().enumerate() {
            assert!(!all[..at].iter().any(|other| other.why() == source.why()), "{source:?}");
        }
        // A source that stands in no part of the list would never send. The match has to name them
        // all.
        let known = |source: &DatagramSource| match source {
            DatagramSource::LivenessProbe
            | DatagramSource::Delayed
            | DatagramSource::Question
            | DatagramSource::Bootstrap
            | DatagramSource::WarmStart
            | DatagramSource::Sweep
            | DatagramSource::Walk
            | DatagramSource::Upkeep => true,
        };
        assert_eq!(all.iter().filter(|source| known(source)).count(), 8);
    }

    #[test]
    fn a_busy_sweep_leaves_walks_and_the_table_their_turns() {
        let mut turns = Turns::default();
        let mut had = [0_u32; 3];
        for _ in 0..1_000 {
            let first = turns.next_order()[0];
            match first {
                DatagramSource::Sweep => turns.on_sweep(),
                DatagramSource::Walk => turns.on_walk(),
                _ => {}
            }
            let place = DatagramSource::LAST.iter().position(|last| *last == first);
            had[place.expect("one of the last")] += 1;
        }
        let [sweep, walk, upkeep] = had;
        assert_eq!(upkeep, 1_000 / u32::from(UPKEEP_TURNS));
        assert!(walk.abs_diff(sweep / u32::from(SWEEP_TURNS)) <= 1, "{had:?}");
    }
}
