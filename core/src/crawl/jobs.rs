//! Every infohash under way: what is known of it, what it waits for, and what it needs next.
//!
//! The only owner of all of that. Events go in as verbs, each of which changes one job and notes
//! that it changed; what follows is polled with [`Jobs::poll_need`], so no step calls another.
//! What waits for a limit that spans jobs stands in a line here, until the crawl has room for it: a
//! question to a source, a walk, a connection, the end of an outage. Nothing here sends, dials,
//! walks or writes a row.

mod check;
mod dials;
mod displaced;
mod job;
mod line;
mod named;
mod peers;
mod piece_cache;

use std::collections::VecDeque;
use std::net::SocketAddr;

use self::job::{DialTurn, Job, Next, Other, Source, WalkState, Work};
use self::line::Line;
use self::piece_cache::PieceCache;
use crate::base::addr::{AddressPolicy, Contact, Family};
use crate::base::id::InfoHash;
use crate::base::rng::Rng;
use crate::base::store::{Key, KeyedMap, KeyedState, Slab};
use crate::base::time::{Duration, Instant, Lane};
use crate::crawl::attempts::Acceptance;
use crate::crawl::fair_line::{Behalf, FairLine, Place};
use crate::crawl::row::FailureCause;
use crate::crawl::standing::{Reserve, Sponsor, Standing};
use crate::lead::{Lead, Origin, Say};
use crate::limits::{
    BLOCKED_PAUSE, DISPLACED_PEERS_KEPT, JOB_PATIENCE, JOBS_MAX, LANE_SCAN_MAX, VALUES_PER_REPLY,
};

pub(crate) use self::dials::Begun;
pub(crate) use self::displaced::Displaced;

/// Settings that bear on one infohash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JobLimits {
    /// Most peers kept.
    pub(crate) peers: usize,
    /// Most peers that accepted a connection.
    pub(crate) attempts: u8,
    /// Whether the DHT may be walked for it.
    pub(crate) may_walk: bool,
    /// Whether peers are dialled at all.
    pub(crate) dials: bool,
    /// Which addresses from hearsay may be used.
    pub(crate) policy: AddressPolicy,
    /// Our own address in each family; `None` for a family that is off.
    pub(crate) own: [Option<SocketAddr>; 2],
}

impl JobLimits {
    /// Whether one host or neighbourhood may fill only so many places.
    fn is_public(&self) -> bool {
        self.policy == AddressPolicy::Public
    }

    /// Which peers may be dialled: those of a family that is on, unless they are ourselves.
    fn usable(&self) -> impl Fn(&SocketAddr) -> bool + use<> {
        let (policy, own) = (self.policy, self.own);
        move |peer| {
            let family = own[Family::of(*peer).index()];
            policy.admits(*peer) && family.is_some() && family != Some(*peer)
        }
    }
}

/// What a job needs from the crawl now. A connection and a question to its source it does not ask
/// for: those are taken from their lines when there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// A walk: it stands in line for one.
    Walk,
    /// That the other node that named it is asked, and answers for it from now on.
    OtherSource,
    /// That its walks go on, if they are paused: every peer that they found is tried.
    MorePeers,
    /// To be settled without metadata.
    Settle(FailureCause),
}

/// What a job hopes for from a walk of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Nothing: it has every peer it may keep, or is gone.
    None,
    /// Any peer at all.
    Any,
    /// More peers.
    More,
    /// Nothing for now: there are peers enough to try first.
    Later,
}

/// A job that has just been settled, taken out.
#[derive(Debug)]
pub(crate) struct Finished {
    job: Job,
}

impl Finished {
    pub(crate) fn hash(&self) -> InfoHash {
        self.job.hash
    }

    /// Rounds that ended without metadata before this one.
    pub(crate) fn round(&self) -> u8 {
        self.job.round
    }

    /// How many peers it kept.
    pub(crate) fn peer_count(&self) -> usize {
        self.job.peers.len()
    }

    /// Every peer it kept, `serving` first.
    pub(crate) fn peers(&self, serving: Option<SocketAddr>) -> Vec<SocketAddr> {
        self.job.peers.list(serving)
    }

    /// Every peer that was dialled.
    pub(crate) fn tried(&self) -> impl Iterator<Item = SocketAddr> {
        self.job.peers.tried()
    }

    /// The walks that were under way for it.
    pub(crate) fn walks(&self) -> impl Iterator<Item = (Family, Key)> + use<> {
        by_family(walks_of(&self.job))
    }

    /// When it was admitted.
    pub(crate) fn found(&self) -> Instant {
        self.job.found
    }

    /// The node that named it, and what was spent for it.
    pub(crate) fn sponsor(&self) -> Option<(Sponsor, Duration)> {
        Some((self.job.sponsor()?, self.job.cost))
    }

    /// What it was charged beforehand.
    pub(crate) fn reserve(&self) -> Reserve {
        self.job.reserve
    }

    /// Whether a connection is open for it.
    pub(crate) fn is_connected(&self) -> bool {
        self.job.is_connected()
    }

    /// Whether some peer accepted a connection.
    pub(crate) fn was_accepted(&self) -> bool {
        self.job.acceptance == Acceptance::Some
    }

    /// How it was heard of.
    pub(crate) fn origin(&self) -> Origin {
        self.job.origin
    }

    /// What is left of it for a later round: where it was named is forgotten with its peers.
    pub(crate) fn lead(&self) -> Lead {
        Lead { source: None, ..self.job.lead() }
    }

    /// What is known of an infohash that was displaced: as much as before it was a job.
    pub(crate) fn displaced(&self) -> Lead {
        let peers = self.job.peers.saved().take(DISPLACED_PEERS_KEPT).collect();
        Lead { also: self.job.other.node(), say: self.job.say(), peers, ..self.job.lead() }
    }
}

/// Counters of what was found; what belongs to an infohash that loses its job is taken back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Finds {
    /// Infohashes for which a peer was found.
    pub(crate) infohashes: u64,
    /// Distinct peers, counted per infohash.
    pub(crate) peers: u64,
}

/// The infohashes under way.
#[derive(Debug)]
pub(crate) struct Jobs {
    limits: JobLimits,
    jobs: Slab<Job>,
    by_hash: KeyedMap<InfoHash, Key>,
    /// When jobs to which nothing happens are given up.
    patience: Lane<Key>,
    /// Jobs whose question to their source waits to be sent, by the family of the source.
    to_ask: [FairLine<Key>; 2],
    /// Jobs that wait for a walk.
    to_walk: FairLine<Key>,
    /// Jobs that want a connection.
    to_dial: FairLine<Key>,
    /// Jobs that want one to peers of which each is over some limit.
    blocked: Lane<Key>,
    /// Jobs that wait for the network to come back.
    held: Line,
    /// Jobs that changed since their need was polled.
    changed: VecDeque<Key>,
    /// The slot at which the search for a job that makes room goes on.
    hand: usize,
    pieces: PieceCache,
    finds: Finds,
}

impl Jobs {
    /// No jobs, and never more than `most`, nor more `bytes` of pieces between connections.
    pub(crate) fn new(limits: JobLimits, (most, bytes): (usize, usize), rng: &Rng) -> Self {
        let lines = &mut rng.fork("lines");
        Self {
            limits,
            jobs: Slab::new(most),
            by_hash: KeyedMap::with_hasher(KeyedState::new(&mut rng.fork("jobs"))),
            patience: Lane::new(JOB_PATIENCE),
            to_ask: [(); 2].map(|()| FairLine::new(lines, Standing::debt)),
            to_walk: FairLine::new(lines, Standing::spent),
            to_dial: FairLine::new(lines, Standing::debt),
            blocked: Lane::new(BLOCKED_PAUSE),
            held: Line::default(),
            changed: VecDeque::new(),
            hand: 0,
            pieces: PieceCache::new(bytes),
            finds: Finds::default(),
        }
    }

    /// Begins work on `lead`; `asks` if its source can be asked. `None` if no job is free.
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        lead: &Lead,
        asks: bool,
        standing: &mut Standing,
    ) -> Option<Key> {
        let source = lead.source.filter(|_| asks && lead.say == Say::Due);
        let sponsor = lead.source.map(|node| standing.sponsor(node.addr));
        let state = source.map_or(Source::Done, |_| Source::Queued(0));
        if self.jobs.is_full() {
            return None;
        }
        let reserve = standing.reserve_job(sponsor);
        let key = self.jobs.insert(Job::new(now, lead, state, reserve)).ok()?;
        self.by_hash.insert(lead.hash, key);
        if self.patience.len() >= 2 * JOBS_MAX {
            // Most are of jobs long settled; those that live are at most half.
            self.patience.retain(|key| self.jobs.get(*key).is_some());
        }
        self.patience.push(now, key);
        if let Some(node) = source {
            self.queue_question(key, node, standing);
        }
        if !lead.peers.is_empty() {
            let usable = self.limits.usable();
            let peers = lead.peers.iter().copied().filter(usable);
            // Those of an earlier run may be anybody's.
            let namer = sponsor.filter(|_| lead.say == Say::Had);
            self.keep(now, key, peers, usize::MAX, (namer, standing));
        }
        self.note(key);
        Some(key)
    }

    /// Keeps peers of one answer, of the source or another node: usable ones, as far as one answer
    /// may fill the places. `true` if any was usable.
    pub(crate) fn on_peers(
        &mut self,
        now: Instant,
        key: Key,
        peers: impl Iterator<Item = SocketAddr>,
        from_source: bool,
        (namer, standing): (Option<Sponsor>, &Standing),
    ) -> bool {
        let Some(job) = self.jobs.get(key) else { return false };
        let places = job.places_for_answer(&self.limits, from_source);
        let usable = self.limits.usable();
        self.note(key);
        let peers = peers.take(VALUES_PER_REPLY).filter(usable);
        self.keep(now, key, peers, places, (namer, standing))
    }

    fn keep(
        &mut self,
        now: Instant,
        key: Key,
        peers: impl Iterator<Item = SocketAddr>,
        places: usize,
        (namer, standing): (Option<Sponsor>, &Standing),
    ) -> bool {
        let Some(job) = self.jobs.get_mut(key) else { return false };
        let had_none = job.peers.len() == 0;
        let peers = peers.map(|peer| (peer, namer));
        let (any, new) = job.keep(now, &self.limits, peers, places, standing);
        self.note_finds(had_none, new);
        any
    }

    /// Counts peers that are new for an infohash, which `had_none` before.
    fn note_finds(&mut self, had_none: bool, new: usize) {
        self.finds.peers += new as u64;
        self.finds.infohashes += u64::from(had_none && new > 0);
    }

    /// Notes that a job changed.
    fn note(&mut self, key: Key) {
        if self.changed.back() != Some(&key) {
            self.changed.push_back(key);
        }
    }

    /// The next job that needs something from the crawl, and what. To be called until there is none
    /// after each verb.
    pub(crate) fn poll_need(&mut self, standing: &Standing) -> Option<(Key, Need)> {
        while let Some(key) = self.changed.pop_front() {
            let Some(job) = self.jobs.get_mut(key) else { continue };
            if job.has_better_source(&self.limits, standing) {
                return Some((key, Need::OtherSource));
            }
            let mut next = job.next(&self.limits);
            if matches!(next, Next::Settle(_)) {
                // Before it is given up those in reserve get their chance.
                self.finds.peers += job.peers.admit_reserve(&self.limits) as u64;
                next = job.next(&self.limits);
            }
            match next {
                Next::Wait if !job.has_peers(&self.limits) && is_walking(job) => {
                    return Some((key, Need::MorePeers));
                }
                Next::Wait => {}
                Next::Dial => self.queue_dial(key, standing),
                Next::Walk => {
                    job.walk = WalkState::Waiting;
                    let behalf = job.behalf();
                    enter(&mut self.to_walk, &self.jobs, standing, behalf, key);
                    return Some((key, Need::Walk));
                }
                Next::Settle(cause) => return Some((key, Need::Settle(cause))),
            }
        }
        None
    }

    /// Another node names the infohash of a job.
    pub(crate) fn also_named(&mut self, key: Key, source: Contact, standing: &Standing) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        if job.takes_other(source, standing) {
            job.other = Other::Named(source);
            self.note(key);
        }
    }

    /// Turns to the other node that named an infohash, which happens once: it is asked if its family
    /// `asks`, and what is spent from now on is charged to it. What the first one does not owe any
    /// more; `None` if there is no other.
    pub(crate) fn turn_to_other_source(
        &mut self,
        now: Instant,
        key: Key,
        asks: impl Fn(Family) -> bool,
        standing: &mut Standing,
    ) -> Option<Reserve> {
        let job = self.jobs.get_mut(key)?;
        let Other::Named(node) = std::mem::replace(&mut job.other, Other::Tried) else {
            return None;
        };
        let reserve = standing.reserve_job(Some(standing.sponsor(node.addr)));
        let before = std::mem::replace(&mut job.reserve, reserve);
        (job.node, job.cost, job.touched) = (Some(node), Duration::ZERO, now);
        if asks(Family::of(node.addr)) {
            job.source = Source::Queued(0);
            self.queue_question(key, node, standing);
        }
        self.note(key);
        Some(before)
    }

    fn queue_question(&mut self, key: Key, node: Contact, standing: &Standing) {
        let Some(job) = self.jobs.get(key) else { return };
        let line = &mut self.to_ask[Family::of(node.addr).index()];
        enter(line, &self.jobs, standing, job.behalf(), key);
    }

    /// Whether a question to a source of this family may be due.
    pub(crate) fn has_question(&self, family: Family) -> bool {
        !self.to_ask[family.index()].is_empty()
    }

    /// The next question to a source of this family: of which job, for what, to whom.
    pub(crate) fn poll_question(
        &mut self,
        family: Family,
        standing: &Standing,
    ) -> Option<(Key, InfoHash, Contact)> {
        let line = &mut self.to_ask[family.index()];
        while let Some(key) = line.pop(standing, |key| self.jobs.get(*key).is_some()) {
            let Some(job) = self.jobs.get_mut(key) else { continue };
            if let Some(node) = job.ask_source() {
                return Some((key, job.hash, node));
            }
        }
        None
    }

    /// The source answered, or refused: it has had its say.
    pub(crate) fn on_source_answer(&mut self, key: Key) {
        if let Some(job) = self.jobs.get_mut(key) {
            job.source = Source::Done;
            self.note(key);
        }
    }

    /// The source did not answer; `blameless` if perhaps no node could.
    pub(crate) fn on_source_silence(&mut self, key: Key, blameless: bool, standing: &Standing) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        match job.on_source_silence(blameless) {
            Some(node) => self.queue_question(key, node, standing),
            None => self.changed.push_back(key),
        }
    }

    /// The first job that waits for a walk, and the node that named its infohash.
    pub(crate) fn next_to_walk(
        &mut self,
        standing: &Standing,
    ) -> Option<(Key, InfoHash, Option<Sponsor>)> {
        let lives = |key: &Key| self.jobs.get(*key).is_some();
        let (key, _) = self.to_walk.front(standing, lives)?;
        let job = self.jobs.get(*key)?;
        Some((*key, job.hash, job.sponsor()))
    }

    /// Whether jobs wait for a walk.
    pub(crate) fn has_to_walk(&self) -> bool {
        !self.to_walk.is_empty()
    }

    /// The walks of the first job in line, at least one, have begun.
    pub(crate) fn on_walks_begun(
        &mut self,
        now: Instant,
        walks: [Option<Key>; 2],
        standing: &Standing,
    ) {
        let lives = |key: &Key| self.jobs.get(*key).is_some();
        let Some(key) = self.to_walk.pop(standing, lives) else { return };
        if let Some(job) = self.jobs.get_mut(key) {
            job.walk = WalkState::Walking(walks);
            job.touched = now;
        }
    }

    /// No walk can begin: the jobs that wait for one do without.
    pub(crate) fn forgo_walks(&mut self, standing: &Standing) {
        while let Some(key) = self.to_walk.pop(standing, |_| true) {
            if let Some(job) = self.jobs.get_mut(key) {
                job.walk = WalkState::Done;
                self.note(key);
            }
        }
    }

    /// Keeps a job from walking: that was done for its infohash a short while ago.
    pub(crate) fn forgo_walk(&mut self, key: Key) {
        if let Some(job) = self.jobs.get_mut(key) {
            job.walk = WalkState::Done;
        }
    }

    /// What a job, if it lives, hopes for from a walk of its own.
    pub(crate) fn demand(&self, key: Key) -> Demand {
        self.jobs.get(key).map_or(Demand::None, |job| job.demand(&self.limits))
    }

    /// The walks under way for a job.
    pub(crate) fn walks(&self, key: Key) -> impl Iterator<Item = (Family, Key)> + use<> {
        by_family(self.jobs.get(key).map_or([None; 2], walks_of))
    }

    /// The walk of a family is over; `in_doubt` if perhaps no node could answer it.
    pub(crate) fn on_walk_ended(&mut self, key: Key, family: Family, in_doubt: bool) {
        if let Some(job) = self.jobs.get_mut(key) {
            job.on_walk_ended(family.index(), in_doubt);
            self.note(key);
        }
    }

    /// A paused walk had to make room for another: its job has peers to try.
    pub(crate) fn on_walk_displaced(&mut self, key: Key, family: Family) {
        if let Some(job) = self.jobs.get_mut(key) {
            job.on_walk_ended(family.index(), false);
        }
    }

    /// Keeps a job that failed until the network is back.
    pub(crate) fn hold(&mut self, key: Key) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        if job.work == Work::Goes {
            job.work = Work::Held;
            self.held.push(key, |key| self.jobs.get(key).is_some());
        }
    }

    /// Whether jobs wait for the network to come back.
    pub(crate) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Jobs go on that an outage has held up; walks that it may have spoilt are repeated if
    /// `walk_again`.
    pub(crate) fn release_held(&mut self, walk_again: bool) {
        while let Some(key) = self.held.pop() {
            if let Some(job) = self.jobs.get_mut(key) {
                job.on_released(walk_again);
                self.note(key);
            }
        }
    }

    /// The next job to which nothing has happened for too long, and the most telling reason for its
    /// failures: whatever is over some limit must not hold a place for ever. Unless `held_up`, by
    /// what is not its fault; or, if it waits for a place among the walks, `walks_full`; or peers
    /// that the user named wait for their turn, which comes; or while it has a connection, which
    /// may bring pieces and ends by a deadline of its own.
    pub(crate) fn poll_impatient(
        &mut self,
        now: Instant,
        held_up: bool,
        walks_full: bool,
    ) -> Option<(Key, FailureCause)> {
        while let Some(key) = self.patience.pop_due(now) {
            let Some(job) = self.jobs.get(key) else { continue };
            let waits_for_walk = job.walk == WalkState::Waiting && walks_full;
            let waits_to_dial = job.dial_turn != DialTurn::NotWanted && job.peers.has_orders_due();
            let excused = held_up || waits_for_walk || waits_to_dial || job.is_connected();
            if !excused && now.since(job.touched) >= JOB_PATIENCE {
                return Some((key, job.cause()));
            }
            self.patience.push(now, key);
        }
        None
    }

    /// When some job may be given up.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.patience.poll_timeout()
    }

    /// Counts what was spent for a job; the node that named its infohash pays.
    pub(crate) fn spend(&mut self, key: Key, cost: Duration) -> Option<Sponsor> {
        let job = self.jobs.get_mut(key)?;
        job.cost = job.cost.saturating_add(cost);
        job.sponsor()
    }

    /// The debt of a sponsor has changed.
    pub(crate) fn on_paid(&mut self, standing: &Standing, sponsor: Sponsor) {
        self.to_ask.iter_mut().for_each(|line| line.on_paid(standing, sponsor));
        self.to_walk.on_paid(standing, sponsor);
        self.to_dial.on_paid(standing, sponsor);
        if standing.is_deep_in_debt(sponsor) {
            // Those of its jobs that have another source need not wait until its turn comes.
            let waiting = self.to_dial.of(sponsor).take(LANE_SCAN_MAX);
            let better = waiting.filter(|key| {
                self.jobs
                    .get(**key)
                    .is_some_and(|job| job.has_better_source(&self.limits, standing))
            });
            self.changed.extend(better);
        }
    }

    /// Takes a job out that is settled, or displaced.
    pub(crate) fn finish(&mut self, key: Key) -> Option<Finished> {
        let job = self.jobs.remove(key)?;
        self.by_hash.remove(&job.hash);
        self.pieces.take(key);
        Some(Finished { job })
    }

    /// The job of an infohash.
    pub(crate) fn find(&self, hash: InfoHash) -> Option<Key> {
        self.by_hash.get(&hash).copied()
    }

    /// Whether a job is under way.
    pub(crate) fn is_open(&self, key: Key) -> bool {
        self.jobs.get(key).is_some()
    }

    /// Whether no job is free.
    pub(crate) fn is_full(&self) -> bool {
        self.jobs.is_full()
    }

    /// Whether nothing is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// How many are under way.
    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// How many of them are in their first round.
    pub(crate) fn first_rounds(&self) -> usize {
        self.jobs.iter().filter(|(_, job)| job.round == 0).count()
    }

    /// What was found so far.
    pub(crate) fn finds(&self) -> Finds {
        self.finds
    }

    /// What is known of each infohash under way, with its peers: what a saved state says.
    pub(crate) fn saved(&self) -> impl Iterator<Item = Lead> {
        self.jobs.iter().map(|(_, job)| Lead { peers: job.peers.saved().collect(), ..job.lead() })
    }
}

/// Puts a job into a line. When it is so long that most of its keys are of jobs long gone, those
/// are cleared away.
fn enter(
    line: &mut FairLine<Key>,
    jobs: &Slab<Job>,
    standing: &Standing,
    behalf: Behalf,
    key: Key,
) -> Option<Place> {
    if line.len() >= 2 * JOBS_MAX {
        line.retain(|key| jobs.get(*key).is_some());
    }
    line.push(standing, behalf, key)
}

fn is_walking(job: &Job) -> bool {
    matches!(job.walk, WalkState::Walking(_))
}

fn walks_of(job: &Job) -> [Option<Key>; 2] {
    if let WalkState::Walking(walks) = job.walk { walks } else { [None; 2] }
}

fn by_family(walks: [Option<Key>; 2]) -> impl Iterator<Item = (Family, Key)> {
    Family::ALL.into_iter().zip(walks).filter_map(|(family, walk)| Some((family, walk?)))
}

#[cfg(test)]
mod tests;
