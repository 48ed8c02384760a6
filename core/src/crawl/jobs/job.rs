//! One infohash on its way from discovery to settlement: its peers, its questions, and what it
//! needs next. Pure book-keeping of one job; queues and limits that span jobs are elsewhere.

mod shares;

use std::net::SocketAddr;

use crate::base::addr::Contact;
use crate::base::fault::PeerFault;
use crate::base::id::InfoHash;
use crate::base::store::Key;
use crate::base::time::{Duration, Instant};
use crate::crawl::attempts::{Acceptance, Blame, Failure, Moved, Rank, Ways};
use crate::crawl::dial::PeerKey;
use crate::crawl::fair_line::{Behalf, Place};
use crate::crawl::jobs::peers::Peers;
use crate::crawl::jobs::{Demand, JobLimits};
use crate::crawl::row::FailureCause;
use crate::crawl::standing::{Reserve, Sponsor, Standing};
use crate::lead::{Lead, Origin, Say};
use crate::limits::{RACES_MAX, SOURCE_ASKS_MAX, WALK_PEERS_ENOUGH};
use crate::peer::exchange::Attempt;

/// How far the question to the node that named the infohash is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// No node is to be asked, or it has had its say.
    Done,
    /// The question stands in line; it was sent so often before.
    Queued(u8),
    /// The question was sent for the so manieth time.
    Asked(u8),
}

/// Another node that named an infohash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Other {
    /// None is known.
    Unknown,
    /// This one is asked if much more was spent in vain for the first one.
    Named(Contact),
    /// It has become the source.
    Tried,
}

impl Other {
    /// The node, if it was not asked.
    pub(super) fn node(self) -> Option<Contact> {
        match self {
            Self::Named(node) => Some(node),
            Self::Unknown | Self::Tried => None,
        }
    }
}

/// How far the walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WalkState {
    /// Not needed so far.
    NotNeeded,
    /// In line for a place.
    Waiting,
    /// Under way: the walk of each family, of which at least one is left.
    Walking([Option<Key>; 2]),
    /// Over.
    Done,
}

/// Whether the job waits to be connected to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DialTurn {
    NotWanted,
    InLine,
    /// Each of its peers is over some limit: it comes back into line soon.
    Blocked,
}

/// Whether the job waits for the network to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Goes,
    /// It would have been settled as failed while the network was perhaps gone.
    Held,
}

/// Whether what a walk did not find is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Findings {
    Sound,
    /// Some walk ended while the network was perhaps gone.
    InDoubt,
}

/// Whether another connection may begin beside one that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Race {
    Closed,
    /// The connection begun last is slow.
    Open,
    /// Nobody but a peer that took no connection is tried over another transport: nothing waits for
    /// that, a walk neither.
    Beside,
}

/// Whether pieces of one peer may be completed by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pooling {
    Allowed,
    /// The whole hashed wrong once, and whichever peer had part in it may have lied (H29).
    Refused,
}

/// What a job needs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Something under way will decide.
    Wait,
    /// A connection to its next peer.
    Dial,
    /// A walk, to find more peers.
    Walk,
    /// Nothing more: it is settled without metadata.
    Settle(FailureCause),
}

/// One infohash under way.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) hash: InfoHash,
    pub(super) round: u8,
    /// The node that named it, and how far the question to it is.
    pub(super) node: Option<Contact>,
    pub(super) source: Source,
    /// Another node that named it.
    pub(super) other: Other,
    pub(super) walk: WalkState,
    pub(super) dial_turn: DialTurn,
    /// Where it stands in line for a connection.
    pub(super) dial_place: Option<Place>,
    pub(super) work: Work,
    /// When something last happened to it.
    pub(super) touched: Instant,
    /// The connection begun last.
    pub(super) latest: Option<PeerKey>,
    pub(super) peers: Peers,
    pub(super) found: Instant,
    /// The node that named it, and what it is charged while the job is under way.
    pub(super) reserve: Reserve,
    /// What was spent for it.
    pub(super) cost: Duration,
    /// Whether any peer accepted a connection.
    pub(super) acceptance: Acceptance,
    pub(super) origin: Origin,
    findings: Findings,
    /// Answers with usable peers, saturating.
    answers: u8,
    /// Attempts under way, and those broken off with the run, which nothing follows.
    in_flight: u8,
    /// Peers that accepted a connection and have nothing left to try.
    spent: u8,
    /// Connections that were accepted and brought too little, saturating.
    in_vain: u8,
    race: Race,
    pooling: Pooling,
    cause: FailureCause,
}

impl Job {
    /// A job for `lead`, whose source is `source`.
    pub(super) fn new(now: Instant, lead: &Lead, source: Source, reserve: Reserve) -> Self {
        Self {
            hash: lead.hash,
            round: lead.round,
            node: lead.source,
            source,
            other: lead.also.map_or(Other::Unknown, Other::Named),
            walk: WalkState::NotNeeded,
            dial_turn: DialTurn::NotWanted,
            dial_place: None,
            work: Work::Goes,
            touched: now,
            latest: None,
            peers: Peers::default(),
            found: lead.found,
            reserve,
            cost: Duration::ZERO,
            acceptance: Acceptance::None,
            origin: lead.origin,
            findings: Findings::Sound,
            answers: 0,
            in_flight: 0,
            spent: 0,
            in_vain: 0,
            race: Race::Closed,
            pooling: Pooling::Allowed,
            cause: FailureCause::NoPeers,
        }
    }

    /// What is known of the infohash, but for its peers.
    pub(super) fn lead(&self) -> Lead {
        let lead = Lead::new(self.hash, self.found, self.origin);
        Lead { source: self.node, round: self.round, ..lead }
    }

    /// How many peers of one answer are kept: a second source has no more places than any other
    /// node, or two that invent peers would leave none for those of a walk.
    pub(super) fn places_for_answer(&self, limits: &JobLimits, from_source: bool) -> usize {
        self.peers.places_for_answer(limits, from_source && self.answers == 0)
    }

    /// Keeps `found`, as many as `places`, and others in reserve; whether there was any, and how
    /// many are new.
    pub(super) fn keep(
        &mut self,
        now: Instant,
        limits: &JobLimits,
        found: impl Iterator<Item = (SocketAddr, Option<Sponsor>)>,
        places: usize,
        standing: &Standing,
    ) -> (bool, usize) {
        let before = self.peers.len();
        let mut any = false;
        for (peer, namer) in found {
            any = true;
            if self.peers.name_again(peer, namer, standing) {
                continue;
            }
            if self.peers.len() - before < places {
                self.peers.add(limits, peer, namer);
            } else {
                self.peers.add_reserve(peer, namer);
            }
        }
        self.touched = now;
        self.answers = self.answers.saturating_add(u8::from(any));
        (any, self.peers.len() - before)
    }

    /// The node that named it.
    pub(super) fn sponsor(&self) -> Option<Sponsor> {
        self.reserve.sponsor
    }

    /// On whose behalf it waits.
    pub(super) fn behalf(&self) -> Behalf {
        match (self.origin, self.sponsor()) {
            (Origin::Request, _) => Behalf::Order,
            (Origin::Sample, Some(sponsor)) => Behalf::Hearsay(sponsor),
            (Origin::Sample, None) => Behalf::Turn,
        }
    }

    /// On whose behalf it waits for a connection: of the node that named the infohash and the one
    /// that named its next peer, that with the greater debt.
    pub(super) fn behalf_of_dial(&self, standing: &Standing) -> Behalf {
        let behalf = self.behalf();
        let namer = self.peers.next_namer(standing);
        match (behalf, namer) {
            (Behalf::Order, _) | (_, None) => behalf,
            (Behalf::Hearsay(sponsor), Some(namer)) => {
                let named = standing.debt(namer) > standing.debt(sponsor);
                Behalf::Hearsay(if named { namer } else { sponsor })
            }
            (Behalf::Turn, Some(namer)) if standing.is_deep_in_debt(namer) => {
                Behalf::Hearsay(namer)
            }
            (Behalf::Turn, Some(_)) => behalf,
        }
    }

    /// What to do next.
    pub(super) fn next(&self, limits: &JobLimits) -> Next {
        if !limits.dials {
            return self.next_for_peers(limits);
        }
        let alone =
            self.in_flight == 0 || self.race != Race::Closed || self.peers.has_one_at_once();
        let wanted = self.has_peers(limits);
        // Peers that the first source named wait until the other one has had its say.
        let asks_other = self.other == Other::Tried && self.source != Source::Done;
        if wanted && alone && self.in_flight < RACES_MAX && !asks_other {
            return Next::Dial;
        }
        if self.in_flight > 0 && self.race != Race::Beside {
            return Next::Wait;
        }
        let next = match self.spent >= limits.attempts {
            true => Next::Settle(self.cause),
            false => self.next_for_lookup(limits),
        };
        let is_settled = matches!(next, Next::Settle(_));
        if is_settled && self.in_flight > 0 { Next::Wait } else { next }
    }

    /// Whether its source is still to be asked.
    pub(super) fn say(&self) -> Say {
        if self.source == Source::Done { Say::Had } else { Say::Due }
    }

    /// Where peers are all that is wanted: they are, as soon as some node named one.
    fn next_for_peers(&self, limits: &JobLimits) -> Next {
        let looking = matches!(self.walk, WalkState::Waiting | WalkState::Walking(_));
        if self.peers.len() > 0 && !looking && self.source == Source::Done {
            return Next::Settle(self.cause);
        }
        self.next_for_lookup(limits)
    }

    fn next_for_lookup(&self, limits: &JobLimits) -> Next {
        if self.source != Source::Done {
            return Next::Wait;
        }
        match self.walk {
            WalkState::Waiting | WalkState::Walking(_) => Next::Wait,
            WalkState::NotNeeded if limits.may_walk && self.peers.heard() < limits.peers => {
                Next::Walk
            }
            WalkState::NotNeeded | WalkState::Done => Next::Settle(self.cause),
        }
    }

    /// What it hopes for from a walk of its own.
    pub(super) fn demand(&self, limits: &JobLimits) -> Demand {
        if self.peers.heard() >= limits.peers {
            Demand::None
        } else if self.peers.heard() == 0 {
            Demand::Any
        } else if self.peers.waiting() >= WALK_PEERS_ENOUGH && self.answers > 1 {
            // One node alone may have made them all up (H21).
            Demand::Later
        } else {
            Demand::More
        }
    }

    /// The node to ask, which is asked from now on, if the question stands in line.
    pub(super) fn ask_source(&mut self) -> Option<Contact> {
        let Source::Queued(asks) = self.source else { return None };
        self.source = Source::Asked(asks.saturating_add(1));
        self.node
    }

    /// The source did not answer: the node to ask once more, which stands in line from now on.
    pub(super) fn on_source_silence(&mut self, blameless: bool) -> Option<Contact> {
        match self.source {
            Source::Asked(asks) if asks < SOURCE_ASKS_MAX || blameless => {
                self.source = Source::Queued(asks);
                self.node
            }
            _ => {
                self.source = Source::Done;
                None
            }
        }
    }

    /// The walk of a family is over; `in_doubt` if perhaps no node could answer it.
    pub(super) fn on_walk_ended(&mut self, family: usize, in_doubt: bool) {
        let WalkState::Walking(mut walks) = self.walk else { return };
        walks[family] = None;
        let over = walks.iter().all(Option::is_none);
        self.walk = if over { WalkState::Done } else { WalkState::Walking(walks) };
        if in_doubt {
            self.findings = Findings::InDoubt;
        }
    }

    /// The network is back, or has been gone for too long: `walk_again` if a walk that ended
    /// meanwhile perhaps asked nodes that could not answer.
    pub(super) fn on_released(&mut self, walk_again: bool) {
        self.work = Work::Goes;
        if self.findings == Findings::InDoubt && walk_again && self.walk == WalkState::Done {
            self.walk = WalkState::NotNeeded;
        }
        self.findings = Findings::Sound;
    }

    /// The next peer to dial, who named it, and how, which is then under way.
    pub(super) fn begin_dial(
        &mut self,
        limits: &JobLimits,
        standing: &Standing,
        usable: impl Fn(SocketAddr) -> bool,
        ways: impl Fn(SocketAddr) -> Ways,
    ) -> Option<(SocketAddr, Option<Sponsor>, Attempt)> {
        let begun = self.peers.begin(self.among(limits), standing, usable, ways)?;
        let (addr, namer, attempt, rank) = begun;
        self.race = match (rank, self.in_flight) {
            (Rank::Elsewhere, 0) => Race::Beside,
            (Rank::Elsewhere, _) => self.race,
            _ => Race::Closed,
        };
        self.in_flight += 1;
        Some((addr, namer, attempt))
    }

    /// Whether a connection is open for it.
    pub(super) fn is_connected(&self) -> bool {
        self.in_flight > 0
    }

    /// The connection begun last is slow: another may overtake it.
    pub(super) fn allow_overtaking(&mut self) {
        self.race = match self.race {
            _ if self.in_flight == 0 => Race::Closed,
            Race::Closed => Race::Open,
            open => open,
        };
    }

    /// A dial ended without metadata.
    pub(super) fn on_failure(&mut self, addr: SocketAddr, failure: &Failure, blame: Blame) {
        // What a turn brought is lost where pieces are not kept: then there is no end to turns.
        let lost = blame == Blame::Turn && !self.may_pool();
        let blame = if lost { Blame::Crowd } else { blame };
        let Some((moved, spent)) = self.peers.on_failure(addr, failure, blame) else { return };
        if failure.was_accepted() {
            self.acceptance = Acceptance::Some;
            self.in_vain = self.in_vain.saturating_add(1);
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        if moved == Moved::Again {
            return;
        }
        // A peer costs one attempt, however many connections it is tried with.
        self.spent = self.spent.saturating_add(u8::from(spent));
        if failure.fault == PeerFault::BadHash {
            self.pooling = Pooling::Refused;
        }
        let telling = match self.cause {
            FailureCause::NoPeers => true,
            FailureCause::Peer(before) => failure.fault >= before,
        };
        if telling {
            self.cause = FailureCause::Peer(failure.fault);
        }
    }

    /// The most telling reason for its peers' failures so far.
    pub(super) fn cause(&self) -> FailureCause {
        self.cause
    }

    /// Whether pieces of one peer may be completed by another.
    pub(super) fn may_pool(&self) -> bool {
        self.pooling == Pooling::Allowed
    }

    pub(super) fn check(&self) {
        let under_way = self.peers.under_way().count();
        assert!(under_way <= usize::from(self.in_flight), "every attempt under way is counted");
        assert!(self.in_flight <= RACES_MAX, "{} connections at once", self.in_flight);
        let none = matches!(self.walk, WalkState::Walking(walks) if walks == [None; 2]);
        assert!(!none, "a job without a walk is not walking");
    }
}

#[cfg(test)]
mod tests;
