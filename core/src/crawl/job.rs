//! One infohash on its way from discovery to settlement: its peers, its attempts, and the decision
//! what to do for it next. Pure book-keeping; limits that span infohashes are in `dialer`.

use std::net::SocketAddr;

use crate::base::addr::{Contact, NETWORK_OF_PEERS, prefix};
use crate::base::fault::PeerFault;
use crate::base::id::InfoHash;
use crate::base::time::Instant;
use crate::crawl::dial::PeerKey;
use crate::crawl::row::FailureCause;
use crate::lead::Origin;
use crate::limits::{
    PEERS_PER_PREFIX_MAX, PORTS_PER_IP_MAX, PUT_BACKS_MAX, RACES_MAX, RESERVE_MAX,
};
use crate::peer::exchange::Pipeline;

/// How far the question to the sampling node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// There is nobody to ask, or the answer is in.
    Done,
    /// `get_peers` to this node waits for its turn or its answer; asked so often before.
    Pending {
        /// The node that gave the sample.
        node: Contact,
        /// Queries sent so far.
        asks: u8,
    },
}

/// How far the walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkState {
    /// Not needed so far.
    None,
    /// Waiting for a place, or walking.
    Pending,
    /// Over.
    Done,
}

/// What an infohash needs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Something under way will decide.
    Wait,
    /// A connection to its next peer.
    Dial,
    /// A walk, to find more peers.
    Walk,
    /// Nothing more: it is settled without metadata.
    Settle(FailureCause),
}

/// Settings that bear on one infohash.
#[derive(Clone, Copy, Debug)]
pub struct JobLimits {
    /// Most peers kept.
    pub peers: usize,
    /// Most peers that accepted a connection.
    pub attempts: u8,
    /// Whether the DHT may be walked for it.
    pub may_walk: bool,
    /// Whether peers are dialled at all.
    pub dials: bool,
    /// Whether [`PORTS_PER_IP_MAX`] and [`PEERS_PER_PREFIX_MAX`] apply.
    pub one_host_per_ip: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PeerState {
    Waiting(Pipeline),
    Dialling(Pipeline),
    Over,
}

#[derive(Clone, Debug)]
struct Peer {
    addr: SocketAddr,
    state: PeerState,
    /// How often a dial ended for no fault of its own.
    put_backs: u8,
}

/// One infohash under way.
#[derive(Debug)]
pub struct Job {
    /// The DHT key.
    pub hash: InfoHash,
    /// When it was admitted.
    pub found: Instant,
    /// How it was heard of first.
    pub(crate) origin: Origin,
    /// When something last happened to it.
    pub touched: Instant,
    /// The connection begun last.
    pub latest: Option<PeerKey>,
    /// Retries before this round: 0 for the first.
    pub round: u8,
    /// The question to the sampling node.
    pub source: Source,
    /// The walk.
    pub walk: WalkState,
    /// Walks under way: one per family.
    pub walks_open: u8,
    /// Whether some of them are paused, because there are peers enough to try first.
    pub walks_paused: bool,
    /// Whether a walk ended while the network was perhaps gone.
    pub walk_in_doubt: bool,
    /// Answers with usable peers, saturating.
    pub answers: u8,
    /// Whether it stands in the dialer's queue.
    pub queued: bool,
    /// Whether it would have been settled as failed while the network was gone.
    pub held_by_outage: bool,
    peers: Vec<Peer>,
    /// Peers beyond what one answer may fill.
    reserve: Vec<SocketAddr>,
    dialling: u8,
    accepted: u8,
    overtake: bool,
    distrust: bool,
    cause: FailureCause,
}

impl Job {
    /// A job that will ask `source` for peers, if there is one.
    pub(crate) fn new(
        now: Instant,
        hash: InfoHash,
        source: Option<Contact>,
        round: u8,
        origin: Origin,
    ) -> Self {
        Self {
            hash,
            found: now,
            origin,
            touched: now,
            latest: None,
            round,
            source: source.map_or(Source::Done, |node| Source::Pending { node, asks: 0 }),
            walk: WalkState::None,
            walks_open: 0,
            walks_paused: false,
            walk_in_doubt: false,
            answers: 0,
            queued: false,
            held_by_outage: false,
            peers: Vec::new(),
            reserve: Vec::new(),
            dialling: 0,
            accepted: 0,
            overtake: false,
            distrust: false,
            cause: FailureCause::NoPeers,
        }
    }

    /// Keeps a peer if it is new and there is room.
    pub fn add_peer(&mut self, limits: &JobLimits, addr: SocketAddr) -> bool {
        let same_ip = self.peers.iter().filter(|peer| peer.addr.ip() == addr.ip()).count();
        let net = |addr: SocketAddr| prefix(addr, NETWORK_OF_PEERS);
        let same_net = self.peers.iter().filter(|peer| net(peer.addr) == net(addr)).count();
        let too_many = same_ip >= PORTS_PER_IP_MAX || same_net >= PEERS_PER_PREFIX_MAX;
        let crowded = limits.one_host_per_ip && too_many;
        let known = self.peers.iter().any(|peer| peer.addr == addr);
        if crowded || known || self.peers.len() >= limits.peers {
            return false;
        }
        self.peers.push(Peer { addr, state: PeerState::Waiting(Pipeline::All), put_backs: 0 });
        true
    }

    /// How many peers of one answer to `get_peers` are kept: of the source's all but a quarter of
    /// the places, of others' half of those that are free, so that no single node fills them with
    /// inventions (H21). The rest goes to the reserve. Where nobody is dialled there is nothing to
    /// save places for.
    pub fn places_for_answer(&self, limits: &JobLimits, from_source: bool) -> usize {
        let free = limits.peers.saturating_sub(self.peers.len());
        match (limits.dials, from_source) {
            (false, _) => free,
            (true, true) => free.min(limits.peers - limits.peers / 4),
            (true, false) => free.div_ceil(2),
        }
    }

    /// Remembers a peer for which there was no place yet.
    pub fn reserve_peer(&mut self, addr: SocketAddr) {
        if self.reserve.len() < RESERVE_MAX && !self.reserve.contains(&addr) {
            self.reserve.push(addr);
        }
    }

    /// Gives the places still free to the reserve; how many it took. Only when there is nobody
    /// else left to try.
    pub fn admit_reserve(&mut self, limits: &JobLimits) -> usize {
        let reserve = std::mem::take(&mut self.reserve);
        reserve.into_iter().filter(|peer| self.add_peer(limits, *peer)).count()
    }

    /// Whether it waits for a place among the walks.
    pub fn waits_for_walk(&self) -> bool {
        self.walk == WalkState::Pending && self.walks_open == 0
    }

    /// Peers not dialled yet.
    pub fn peers_waiting(&self) -> usize {
        let waiting = |peer: &&Peer| matches!(peer.state, PeerState::Waiting(_));
        self.peers.iter().filter(waiting).count()
    }

    /// Peers kept.
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// Every peer kept, `serving` first.
    pub fn peers(&self, serving: Option<SocketAddr>) -> Vec<SocketAddr> {
        let others = self.peers.iter().map(|peer| peer.addr).filter(|addr| Some(*addr) != serving);
        serving.into_iter().chain(others).collect()
    }

    /// Every peer kept, those that are over last: what a saved state says.
    pub fn saved_peers(&self) -> impl Iterator<Item = SocketAddr> {
        let of = |over: bool| {
            let wanted = move |peer: &&Peer| (peer.state == PeerState::Over) == over;
            self.peers.iter().filter(wanted).map(|peer| peer.addr)
        };
        of(false).chain(of(true))
    }

    /// What to do next.
    pub fn need(&self, limits: &JobLimits) -> Need {
        if !limits.dials {
            return self.need_of_peers(limits);
        }
        let in_play = self.accepted.saturating_add(self.dialling);
        let may_dial = in_play < limits.attempts && self.dialling < RACES_MAX;
        if may_dial && self.peers_waiting() > 0 && (self.dialling == 0 || self.overtake) {
            return Need::Dial;
        }
        if self.dialling > 0 {
            return Need::Wait;
        }
        if self.accepted >= limits.attempts {
            return Need::Settle(self.cause);
        }
        self.need_of_lookup(limits)
    }

    /// The next peer to dial, which is then under way. `usable` may veto peers for the moment.
    pub fn begin_dial(
        &mut self,
        usable: impl Fn(SocketAddr) -> bool,
    ) -> Option<(SocketAddr, Pipeline)> {
        let is_waiting = |peer: &Peer, wanted: Pipeline| {
            peer.state == PeerState::Waiting(wanted) && usable(peer.addr)
        };
        // Second tries one piece at a time come after everybody had a first.
        let index = [Pipeline::All, Pipeline::OneByOne]
            .into_iter()
            .find_map(|wanted| self.peers.iter().position(|peer| is_waiting(peer, wanted)))?;
        let peer = &mut self.peers[index];
        let PeerState::Waiting(pipeline) = peer.state else { return None };
        peer.state = PeerState::Dialling(pipeline);
        self.dialling += 1;
        self.overtake = false;
        Some((peer.addr, pipeline))
    }

    /// The connection begun last is slow: another may overtake it.
    pub fn allow_overtaking(&mut self) {
        self.overtake = self.dialling > 0;
    }

    /// A dial ended for no fault of the peer's: it waits again, at no cost. `false`, and nothing
    /// done, if that was `counted` too often.
    pub fn put_back(&mut self, addr: SocketAddr, counted: bool) -> bool {
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.addr == addr) else { return false };
        let PeerState::Dialling(pipeline) = peer.state else { return false };
        if counted && peer.put_backs >= PUT_BACKS_MAX {
            return false;
        }
        peer.put_backs += u8::from(counted);
        peer.state = PeerState::Waiting(pipeline);
        self.dialling = self.dialling.saturating_sub(1);
        true
    }

    /// The most telling reason for its peers' failures so far.
    pub fn cause(&self) -> FailureCause {
        self.cause
    }

    /// A dial ended without metadata.
    pub fn on_fault(
        &mut self,
        addr: SocketAddr,
        fault: PeerFault,
        accepted: bool,
        worth_one_by_one: bool,
    ) {
        self.dialling = self.dialling.saturating_sub(1);
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.addr == addr) else { return };
        let PeerState::Dialling(pipeline) = peer.state else { return };
        let again = worth_one_by_one && pipeline == Pipeline::All;
        peer.state = if again { PeerState::Waiting(Pipeline::OneByOne) } else { PeerState::Over };
        self.accepted += u8::from(accepted && !again);
        if fault == PeerFault::BadHash {
            self.distrust = true;
        }
        let telling = match self.cause {
            FailureCause::NoPeers => true,
            FailureCause::Peer(before) => fault >= before,
        };
        if telling {
            self.cause = FailureCause::Peer(fault);
        }
    }

    /// Whether pieces of one peer may be completed by another: not after a wrong hash, when
    /// whoever contributed may have lied (H29).
    pub fn may_pool(&self) -> bool {
        !self.distrust
    }

    /// Where peers are all that is wanted: they are, as soon as somebody named one.
    fn need_of_peers(&self, limits: &JobLimits) -> Need {
        if !self.peers.is_empty() && self.walk != WalkState::Pending && self.source == Source::Done
        {
            return Need::Settle(self.cause);
        }
        self.need_of_lookup(limits)
    }

    fn need_of_lookup(&self, limits: &JobLimits) -> Need {
        let asking = matches!(self.source, Source::Pending { .. });
        match self.walk {
            _ if asking => Need::Wait,
            WalkState::Pending => Need::Wait,
            WalkState::None if limits.may_walk && self.peers.len() < limits.peers => Need::Walk,
            WalkState::None | WalkState::Done => Need::Settle(self.cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: JobLimits =
        JobLimits { peers: 4, attempts: 2, may_walk: true, dials: true, one_host_per_ip: true };

    fn peer(n: u8) -> SocketAddr {
        SocketAddr::from(([9, 0, n, 1], 1))
    }

    fn job() -> Job {
        Job::new(Instant::START, InfoHash([7; 20]), None, 0, Origin::Request)
    }

    fn dial(job: &mut Job) -> Option<SocketAddr> {
        job.begin_dial(|_| true).map(|(addr, _)| addr)
    }

    #[test]
    fn without_peers_the_source_comes_first_then_a_walk_then_the_end() {
        let node = Contact { id: crate::base::id::NodeId([1; 20]), addr: peer(99) };
        let mut job = Job::new(Instant::START, InfoHash([7; 20]), Some(node), 0, Origin::Sample);
        assert_eq!(job.need(&LIMITS), Need::Wait);
        job.source = Source::Done;
        assert_eq!(job.need(&LIMITS), Need::Walk);
        job.walk = WalkState::Pending;
        assert_eq!(job.need(&LIMITS), Need::Wait);
        job.walk = WalkState::Done;
        assert_eq!(job.need(&LIMITS), Need::Settle(FailureCause::NoPeers));
    }

    #[test]
    fn a_slow_connection_is_overtaken_and_a_failed_one_replaced() {
        let mut job = job();
        for n in 1..=3 {
            assert!(job.add_peer(&LIMITS, peer(n)));
        }
        assert_eq!(dial(&mut job), Some(peer(1)));
        assert_eq!(job.need(&LIMITS), Need::Wait);
        job.allow_overtaking();
        assert_eq!(job.need(&LIMITS), Need::Dial);
        assert_eq!(dial(&mut job), Some(peer(2)));
        job.on_fault(peer(2), PeerFault::Refused, false, false);
        job.on_fault(peer(1), PeerFault::ConnectTimeout, false, false);
        assert_eq!(job.need(&LIMITS), Need::Dial);
    }

    #[test]
    fn only_accepted_connections_use_up_attempts() {
        let mut job = job();
        for n in 1..=4 {
            assert!(job.add_peer(&LIMITS, peer(n)));
        }
        assert!(!job.add_peer(&LIMITS, peer(5)), "room for four");
        for (accepted, expected) in [(false, Need::Dial), (true, Need::Dial)] {
            let addr = dial(&mut job).expect("a waiting peer");
            job.on_fault(addr, PeerFault::NoMetadata, accepted, false);
            assert_eq!(job.need(&LIMITS), expected);
        }
        let addr = dial(&mut job).expect("a waiting peer");
        job.on_fault(addr, PeerFault::Refused, true, false);
        let telling = FailureCause::Peer(PeerFault::NoMetadata);
        assert_eq!(job.need(&LIMITS), Need::Settle(telling));
    }

    #[test]
    fn a_peer_that_chokes_on_pipelining_gets_one_more_try_after_all_others() {
        let mut job = job();
        job.add_peer(&LIMITS, peer(1));
        job.add_peer(&LIMITS, peer(2));
        assert_eq!(dial(&mut job), Some(peer(1)));
        job.on_fault(peer(1), PeerFault::MetadataTimeout, true, true);
        assert_eq!(dial(&mut job), Some(peer(2)));
        job.on_fault(peer(2), PeerFault::Refused, false, false);
        assert_eq!(job.begin_dial(|_| true), Some((peer(1), Pipeline::OneByOne)));
        job.on_fault(peer(1), PeerFault::MetadataTimeout, true, true);
        assert_eq!(dial(&mut job), None);
    }

    #[test]
    fn pressure_costs_the_peer_nothing() {
        let mut job = job();
        job.add_peer(&LIMITS, peer(1));
        assert_eq!(dial(&mut job), Some(peer(1)));
        for _ in 0..PUT_BACKS_MAX {
            assert!(job.put_back(peer(1), true));
            assert_eq!(dial(&mut job), Some(peer(1)));
        }
        assert!(!job.put_back(peer(1), true), "but not for ever");
        assert!(job.put_back(peer(1), false), "unless it was ourselves");
    }

    #[test]
    fn one_ip_fills_no_more_than_two_places() {
        let mut job = job();
        let same = |port| SocketAddr::from(([9, 9, 9, 9], port));
        assert!(job.add_peer(&LIMITS, same(1)) && !job.add_peer(&LIMITS, same(1)));
        assert!(job.add_peer(&LIMITS, same(2)) && !job.add_peer(&LIMITS, same(3)));
    }

    #[test]
    fn one_neighbourhood_fills_no_more_than_its_places() {
        let mut job = job();
        let near = |n| SocketAddr::from(([9, 9, 9, n], 1));
        let kept = (0..4).filter(|n| job.add_peer(&LIMITS, near(*n))).count();
        assert_eq!(kept, PEERS_PER_PREFIX_MAX);
    }

    #[test]
    fn no_single_answer_fills_every_place() {
        let limits = JobLimits { peers: 20, ..LIMITS };
        let mut job = job();
        assert_eq!(job.places_for_answer(&limits, true), 15);
        for n in 0..15 {
            assert!(job.add_peer(&limits, peer(n)));
        }
        assert_eq!(job.places_for_answer(&limits, true), 5);
        assert_eq!(job.places_for_answer(&limits, false), 3);
        let one = JobLimits { peers: 1, ..LIMITS };
        assert_eq!(self::job().places_for_answer(&one, true), 1);
        assert_eq!(self::job().places_for_answer(&JobLimits { dials: false, ..limits }, true), 20);
    }

    #[test]
    fn where_only_peers_are_wanted_the_source_suffices() {
        let limits = JobLimits { dials: false, ..LIMITS };
        let mut job = job();
        assert_eq!(job.need(&limits), Need::Walk);
        job.add_peer(&limits, peer(1));
        assert_eq!(job.need(&limits), Need::Settle(FailureCause::NoPeers));
    }
}
