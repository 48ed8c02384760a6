//! When peers may be connected to: the caps that span infohashes, and the connections open.
//!
//! At most so many connections in all, two per address, thirty a minute to one neighbourhood, so
//! many new flows; the next peer of an infohash starts when the last one failed or is slow.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::net::SocketAddr;

use crate::base::addr::{AddressPolicy, Family, address_key};
use crate::base::planted::{self, Bug};
use crate::base::rng::{Rng, Seed};
use crate::base::store::{FingerprintSet, Key, KeyedMap, KeyedState, Seen, Slab};
use crate::base::time::{Duration, Instant};
use crate::config::{EncryptionPolicy, TransportPolicy};
use crate::crawl::attempts::Ways;
use crate::crawl::deadline::{Deadline, Why};
use crate::crawl::dial::{Dial, PeerKey};
use crate::crawl::habits::Habits;
use crate::crawl::jobs::{Begun, Jobs};
use crate::crawl::pace::{FlowPacer, PrefixPacer, Purpose};
use crate::crawl::standing::{Reserve, Standing};
use crate::limits::{
    DIAL_RESERVE, DIAL_SCAN_MAX, OVERTAKE_MIN, PER_ADDRESS_MAX, PRESSURE_PAUSE, PRESSURE_PAUSE_MAX,
    RECALL_SCAN_MAX, SCAN_PAUSE, SERIAL_ADDRESSES_MAX, SLOW_RESERVE, TURN,
};
use crate::peer::clients::Clients;
use crate::peer::exchange::{Exchange, Outcome, Progress};
use crate::peer::mse::Encryption;

/// A connection under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenDial {
    pub(crate) to: SocketAddr,
    pub(crate) job: Key,
    /// Whether another connection to the address was open at any time with this one; known for
    /// certain once it has ended.
    pub(crate) crowded: bool,
    /// What it is charged beforehand, and to whom.
    pub(crate) reserve: Reserve,
    hold: Hold,
    /// Its number among those begun to the address since one was last alone.
    nth: u32,
    /// The one begun before it in its chain, and after it.
    earlier: Option<PeerKey>,
    later: Option<PeerKey>,
}

/// Whether a connection keeps its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// At least until then.
    Kept(Instant),
    /// It was told to give it up, and has not done so yet.
    Recalled,
}

/// The connections to one address.
#[derive(Clone, Copy, Debug, Default)]
struct Presence {
    open: u8,
    /// How many were begun since there was none.
    begun: u32,
}

/// Caps and open connections.
#[derive(Debug)]
pub(crate) struct Dialer {
    policy: AddressPolicy,
    max_connections: usize,
    encryption: EncryptionPolicy,
    /// In each family.
    transports: [TransportPolicy; 2],
    rng: Rng,
    open: Slab<OpenDial>,
    /// The latest of each chain: a chain has those of one slot of jobs, and so perhaps some of an
    /// earlier job there.
    latest: Vec<Option<PeerKey>>,
    per_address: KeyedMap<[u8; 18], Presence>,
    /// Addresses that take one connection at a time: transmission hangs up on a second handshake
    /// from the same IP.
    serial: FingerprintSet,
    prefixes: PrefixPacer,
    overtakes: BinaryHeap<Reverse<(Instant, u64, PeerKey)>>,
    sequence: u64,
    slowness: Slowness,
    /// Connections by when their turn is over, and how many are about to give up their place.
    turns: BTreeSet<(Instant, PeerKey)>,
    recalled: usize,
    /// Of these, those that the adapter was not told of yet: their jobs are settled.
    released: VecDeque<PeerKey>,
    not_before: Option<Instant>,
    /// How many requests at once clients serve, by name.
    clients: Clients,
    /// What peers answered to.
    habits: Habits,
    /// How long dialling pauses under pressure, and until when it does.
    pause: Duration,
    pressed_until: Instant,
}

impl Dialer {
    pub(crate) fn new(
        (policy, encryption): (AddressPolicy, EncryptionPolicy),
        transports: [TransportPolicy; 2],
        max_connections: u32,
        mut rng: Rng,
    ) -> Self {
        let max_connections = max_connections << u32::from(planted::is(Bug::UnlimitedDials));
        Self {
            policy,
            max_connections: max_connections as usize,
            encryption,
            transports,
            habits: Habits::new(&rng),
            open: Slab::new(max_connections as usize),
            latest: Vec::new(),
            per_address: KeyedMap::with_hasher(KeyedState::new(&mut rng)),
            serial: FingerprintSet::new(&mut rng, SERIAL_ADDRESSES_MAX),
            prefixes: PrefixPacer::new(&mut rng),
            rng,
            overtakes: BinaryHeap::new(),
            sequence: 0,
            slowness: Slowness::default(),
            turns: BTreeSet::new(),
            recalled: 0,
            released: VecDeque::new(),
            not_before: None,
            clients: Clients::default(),
            pause: Duration::ZERO,
            pressed_until: Instant::START,
        }
    }

    /// The next connection to open, if every limit allows one.
    pub(crate) fn poll_dial(
        &mut self,
        now: Instant,
        jobs: &mut Jobs,
        flows: &mut FlowPacer,
        standing: &mut Standing,
    ) -> Option<Dial> {
        jobs.unblock(now, standing);
        if self.open.len() >= self.max_connections || self.not_before.is_some_and(|at| at > now) {
            return None;
        }
        self.not_before = None;
        for _ in 0..DIAL_SCAN_MAX {
            jobs.next_to_dial(standing)?;
            if let Err(at) = flows.ready_for_new(now, Purpose::Fetch) {
                self.not_before = Some(at);
                return None;
            }
            let usable = |addr| self.may_dial(now, addr);
            let ways = |addr| {
                let transports = self.transports[Family::of(addr).index()];
                Ways::of(transports, self.encryption, self.habits.of(now, addr))
            };
            if let Some(begun) = jobs.begin_dial(now, standing, usable, ways) {
                let is_free =
                    begun.attempt.transport.is_utp() && planted::is(Bug::UtpFlowBudgetIgnored);
                if !is_free {
                    flows.take(now, Purpose::Fetch, begun.to);
                }
                return Some(self.open(now, begun, jobs, standing));
            }
            // Each of its peers is over some limit for now; the next job's may not be.
        }
        self.not_before = Some(now + SCAN_PAUSE);
        None
    }

    fn open(
        &mut self,
        now: Instant,
        begun: Begun,
        jobs: &mut Jobs,
        standing: &mut Standing,
    ) -> Dial {
        let Begun { job, hash, to, attempt, sponsor, namer, resume } = begun;
        let reserve = standing.reserve(sponsor, namer, DIAL_RESERVE);
        self.prefixes.take(now, to);
        let presence = self.per_address.entry(address_key(self.policy, to)).or_default();
        presence.open += 1;
        presence.begun = presence.begun.wrapping_add(1);
        let turn_ends = now + TURN;
        let (crowded, nth) = (presence.open > 1, presence.begun);
        let peer = self
            .open
            .insert(OpenDial {
                to,
                job,
                crowded,
                reserve,
                hold: Hold::Kept(turn_ends),
                nth,
                earlier: None,
                later: None,
            })
            .expect("poll_dial checked that a connection is free");
        self.chain(job, peer);
        self.turns.insert((turn_ends, peer));
        self.sequence += 1;
        let due = now + self.slowness.estimate().max(OVERTAKE_MIN);
        if self.overtakes.len() >= 2 * self.max_connections {
            let open = &self.open;
            self.overtakes.retain(|Reverse((_, _, peer))| open.get(*peer).is_some());
        }
        self.overtakes.push(Reverse((due, self.sequence, peer)));
        jobs.on_dial_named(job, peer);
        let seed = Seed(self.rng.bytes());
        let exchange = Exchange::new(now, hash, attempt, resume, seed);
        let exchange = exchange.with_clients(self.clients.clone());
        let exchange = match (attempt.transport.is_encrypted(), self.encryption) {
            (false, _) => exchange,
            (true, EncryptionPolicy::Require) => {
                exchange.with_encryption(Encryption::Required, seed)
            }
            (true, _) => exchange.with_encryption(Encryption::Either, seed),
        };
        Dial { peer, to, transport: attempt.transport, exchange }
    }

    /// A connection begins: it is the latest of its chain.
    fn chain(&mut self, job: Key, peer: PeerKey) {
        if self.latest.len() <= job.slot() {
            self.latest.resize(job.slot() + 1, None);
        }
        let earlier = self.latest[job.slot()].replace(peer);
        if let Some(before) = earlier.and_then(|before| self.open.get_mut(before)) {
            before.later = Some(peer);
        }
        if let Some(dial) = self.open.get_mut(peer) {
            dial.earlier = earlier;
        }
    }

    /// A connection has ended: its neighbours in the chain are each other's.
    fn unchain(&mut self, dial: &OpenDial) {
        match dial.later.and_then(|later| self.open.get_mut(later)) {
            Some(later) => later.earlier = dial.earlier,
            None => self.latest[dial.job.slot()] = dial.earlier,
        }
        if let Some(earlier) = dial.earlier.and_then(|earlier| self.open.get_mut(earlier)) {
            earlier.later = dial.later;
        }
    }

    /// Every connection that is still open for a job that is settled gives up its place.
    pub(crate) fn release(&mut self, job: Key) {
        let mut next = self.latest.get(job.slot()).copied().flatten();
        while let Some(peer) = next
            && let Some(dial) = self.open.get_mut(peer)
        {
            next = dial.earlier;
            if dial.job == job
                && let Hold::Kept(turn_ends) = dial.hold
            {
                self.turns.remove(&(turn_ends, peer));
                dial.hold = Hold::Recalled;
                self.recalled += 1;
                self.released.push_back(peer);
            }
        }
    }

    /// The next connection that is to give up its place: one that nobody needs any more; or, while
    /// all are taken and jobs wait for one, of those that have had their turn the one deepest in
    /// debt, unless the job that waits has a worse name. Of these one at a time: each makes room for
    /// one dial.
    pub(crate) fn poll_recall(
        &mut self,
        now: Instant,
        jobs: &mut Jobs,
        flows: &mut FlowPacer,
        standing: &Standing,
    ) -> Option<PeerKey> {
        while let Some(peer) = self.released.pop_front() {
            if self.open.get(peer).is_some() {
                return Some(peer);
            }
        }
        let has_room = self.open.len() < self.max_connections;
        if has_room || self.recalled > 0 || flows.ready_for_new(now, Purpose::Fetch).is_err() {
            return None;
        }
        let (_, waiting) = jobs.next_to_dial(standing)?;
        let over = self.turns.iter().take_while(|(at, _)| *at <= now).take(RECALL_SCAN_MAX);
        let debt =
            |peer: PeerKey| self.open.get(peer).map(|dial| dial.reserve.debt_besides(standing));
        let owing = over.filter_map(|turn| Some((debt(turn.1)?, *turn)));
        // Of equals the one that has held its place longest.
        let worst = owing.max_by_key(|(debt, (at, peer))| (*debt, Reverse((*at, *peer))));
        let (_, turn) = worst.filter(|(debt, _)| *debt >= waiting)?;
        self.turns.remove(&turn);
        let dial = self.open.get_mut(turn.1)?;
        dial.hold = Hold::Recalled;
        self.recalled += 1;
        Some(turn.1)
    }

    /// A connection is slow: it is charged for what it will take at least.
    pub(crate) fn on_slow(&mut self, peer: PeerKey, standing: &mut Standing) {
        if let Some(dial) = self.open.get_mut(peer) {
            standing.raise(&mut dial.reserve, SLOW_RESERVE);
        }
    }

    /// A connection ended: gives what is known of it, once.
    pub(crate) fn close(&mut self, peer: PeerKey) -> Option<OpenDial> {
        let mut dial = self.open.remove(peer)?;
        self.unchain(&dial);
        match dial.hold {
            Hold::Kept(turn_ends) => drop(self.turns.remove(&(turn_ends, peer))),
            Hold::Recalled => self.recalled -= 1,
        }
        let key = address_key(self.policy, dial.to);
        if let Some(presence) = self.per_address.get_mut(&key) {
            dial.crowded |= presence.begun != dial.nth;
            presence.open -= 1;
            if presence.open == 0 {
                self.per_address.remove(&key);
            }
        }
        Some(dial)
    }

    /// An address hung up on one of two connections: from now on it gets one at a time.
    pub(crate) fn serialise(&mut self, addr: SocketAddr) {
        if self.serial.insert(&address_key(self.policy, addr)) == Seen::Full {
            self.serial.clear();
        }
    }

    /// Learns from a connection to `to` what its peer answered to, how long it took to connect and
    /// shake hands, and how many requests at once its client serves.
    pub(crate) fn learn(&mut self, now: Instant, to: SocketAddr, outcome: &Outcome) {
        if outcome.progress >= Progress::Handshaken {
            self.habits.on_answered(now, to, outcome.transport);
        }
        if let Some(done) = outcome.timings.handshaken {
            self.slowness.learn(done.since(outcome.timings.started));
        }
        if let Some(learnt) = outcome.learnt {
            self.clients.learn(learnt);
        }
    }

    /// The system ran out of something: dial nobody for a moment, and for longer each time until a
    /// dial gets through.
    pub(crate) fn on_pressure(&mut self, now: Instant) {
        if self.pressed_until <= now {
            self.pause = (self.pause * 2).clamp(PRESSURE_PAUSE, PRESSURE_PAUSE_MAX);
            self.pressed_until = now + self.pause;
        }
        self.not_before = self.not_before.max(Some(self.pressed_until));
    }

    /// A dial got as far as an answer of any kind: there is no pressure.
    pub(crate) fn on_relief(&mut self) {
        self.pause = Duration::ZERO;
    }

    /// The next connection still open that has been slow for long enough at `now`, and its job.
    pub(crate) fn poll_overtake(&mut self, now: Instant) -> Option<(PeerKey, Key)> {
        while self.overtakes.peek().is_some_and(|Reverse((due, _, _))| *due <= now) {
            let Some(Reverse((_, _, peer))) = self.overtakes.pop() else { break };
            if let Some(dial) = self.open.get(peer) {
                return Some((peer, dial.job));
            }
        }
        None
    }

    /// Connections open.
    pub(crate) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// A connection, if it is open.
    pub(crate) fn get(&self, peer: PeerKey) -> Option<&OpenDial> {
        self.open.get(peer)
    }

    /// The names of open connections.
    pub(crate) fn keys(&self) -> impl Iterator<Item = PeerKey> {
        self.open.iter().map(|(peer, _)| peer)
    }

    /// Every open connection.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &OpenDial> {
        self.open.iter().map(|(_, dial)| dial)
    }

    /// When there is something to do again, for jobs that want a connection if any is `wanted`; a
    /// limit that is over waits for a poll, not for time.
    pub(crate) fn poll_deadline(&self, now: Instant, wanted: bool) -> Option<Deadline> {
        let overtake = self.overtakes.peek().map(|Reverse((due, _, _))| *due);
        let dial = self.not_before.filter(|at| *at > now && wanted);
        // What is over its turn already waits for a poll.
        let is_full = wanted && self.open.len() >= self.max_connections;
        let later = || self.turns.range((now, Key::MOST)..).map(|(at, _)| *at).next();
        Deadline::first([
            Deadline::of(overtake, Why::Overtake),
            Deadline::of(dial, Why::Dial),
            Deadline::of(if is_full { later() } else { None }, Why::Recall),
        ])
    }

    pub(crate) fn check(&self) {
        assert!(self.open.len() <= self.max_connections);
        assert!(self.overtakes.len() <= 2 * self.max_connections);
        assert!(self.released.len() <= self.max_connections, "each was open when it was released");
        let recalled = self.open.iter().filter(|(_, dial)| dial.hold == Hold::Recalled).count();
        assert_eq!(recalled, self.recalled);
        assert_eq!(self.turns.len() + recalled, self.open.len(), "every connection has its turn");
        let earlier = |peer: &PeerKey| self.open.get(*peer).and_then(|dial| dial.earlier);
        let chain = |latest: Option<PeerKey>| std::iter::successors(latest, earlier);
        let chained = self.latest.iter().enumerate().flat_map(|(slot, latest)| {
            let is_there = |peer: &PeerKey| self.open.get(*peer).map(|dial| dial.job.slot());
            chain(*latest).filter(move |peer| is_there(peer) == Some(slot))
        });
        assert_eq!(chained.count(), self.open.len(), "each is in the chain of its job's slot");
        let mut open = BTreeMap::<_, u8>::new();
        for (_, dial) in self.open.iter() {
            *open.entry(address_key(self.policy, dial.to)).or_default() += 1;
        }
        assert_eq!(self.per_address.len(), open.len());
        for (key, count) in open {
            assert_eq!(self.per_address.get(&key).map(|presence| presence.open), Some(count));
            assert!(count <= PER_ADDRESS_MAX);
        }
    }

    fn may_dial(&self, now: Instant, to: SocketAddr) -> bool {
        let key = address_key(self.policy, to);
        let open = self.per_address.get(&key).map_or(0, |presence| presence.open);
        let most = if self.serial.contains(&key) { 1 } else { PER_ADDRESS_MAX };
        open < most
            && (self.policy == AddressPolicy::AllowPrivate || self.prefixes.is_ready(now, to))
    }
}

/// A running 90th percentile: each sample moves it a little, up nine times as far as down.
#[derive(Clone, Copy, Debug, Default)]
struct Slowness {
    micros: u64,
}

impl Slowness {
    /// No estimate, however slow the world, delays an overtaking longer than a connect timeout.
    const MAX: Duration = Duration::from_secs(8);
    const STEP: u64 = 2_000;

    fn learn(&mut self, took: Duration) {
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        if took > self.micros {
            self.micros += 9 * Self::STEP;
        } else {
            self.micros = self.micros.saturating_sub(Self::STEP);
        }
    }

    fn estimate(self) -> Duration {
        Duration::from_micros(self.micros).min(Self::MAX)
    }
}
