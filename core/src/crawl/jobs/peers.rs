//! The peers of one infohash: which are kept, which stand by, and what is tried on each.

use std::net::SocketAddr;

use crate::base::addr::{NETWORK_OF_PEERS, prefix};
use crate::crawl::attempts::{Acceptance, Blame, Failure, Moved, Plan, Rank, Ways};
use crate::crawl::jobs::JobLimits;
use crate::crawl::standing::{Sponsor, Standing};
use crate::limits::{
    ORDERS_PER_INFOHASH_MAX, OTHER_SOURCE_MARGIN, PEERS_PER_PREFIX_MAX, PORTS_PER_IP_MAX,
    RESERVE_MAX,
};
use crate::peer::exchange::Attempt;

/// How a peer came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voice {
    /// The user named it: it is tried, whatever its neighbours.
    Order,
    /// Nodes, peers, links or an earlier run named it.
    Hearsay,
}

#[derive(Clone, Debug)]
struct Peer {
    addr: SocketAddr,
    /// The node that named it; `None` for the user.
    namer: Option<Sponsor>,
    plan: Plan,
    voice: Voice,
    acceptance: Acceptance,
    share: Share,
}

/// Whether a peer was counted among those that accepted a connection in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    Left,
    /// It was: what is tried on it from now on costs nothing more.
    Spent,
}

impl Peer {
    fn new(addr: SocketAddr, namer: Option<Sponsor>, voice: Voice) -> Self {
        let (plan, acceptance) = (Plan::new(), Acceptance::None);
        Self { addr, namer, plan, voice, acceptance, share: Share::Left }
    }

    /// Whether it has one of the attempts, or had it for nothing: it is being tried, or took a
    /// connection and gave too little for that.
    fn takes_attempt(&self) -> bool {
        let was_in_vain =
            self.acceptance == Acceptance::Some && (self.plan.is_over() || self.plan.turns() > 0);
        was_in_vain || self.share == Share::Spent || self.plan.is_under_way()
    }

    /// Whether an attempt is due, and not on who said nothing so far.
    fn is_likely(&self) -> bool {
        self.plan.due().is_some_and(|rank| rank < Rank::Last)
    }

    /// Whether an attempt is due that is made even where all that may be spent is spent.
    fn is_free(&self) -> bool {
        self.is_order_due() || self.share == Share::Spent && self.plan.due().is_some()
    }

    fn is_among(&self, among: Among) -> bool {
        match among {
            Among::All => self.plan.due().is_some(),
            Among::Likely => self.is_likely(),
            Among::Free => self.is_free(),
        }
    }

    /// Counts it, once: when nothing is left to try on it, or it waits until nobody better is left.
    fn spend(&mut self) -> bool {
        let is_over = self.plan.is_over() || self.plan.due() == Some(Rank::Last);
        let spends = is_over && self.acceptance == Acceptance::Some && self.share == Share::Left;
        if spends {
            self.share = Share::Spent;
        }
        spends
    }

    /// Whether the user named it and it was not tried so far, or not in the way that it takes.
    fn is_order_due(&self) -> bool {
        let due = self.plan.due();
        self.voice == Voice::Order && due.is_some_and(|rank| rank <= Rank::Elsewhere)
    }
}

/// What became of a peer that was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    New,
    Known,
    NoRoom,
}

/// Which peers may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Among {
    All,
    /// All but those that said nothing so far.
    Likely,
    /// Those that the user named and that were not tried so far, or not in the way that they take,
    /// and those that were counted already.
    Free,
}

/// The peers of one infohash, in the order they were heard of.
#[derive(Debug, Default)]
pub(super) struct Peers {
    kept: Vec<Peer>,
    /// How many of these are hearsay: only they fill places.
    heard: usize,
    /// Peers beyond what one answer may fill.
    reserve: Vec<(SocketAddr, Option<Sponsor>)>,
}

impl Peers {
    /// Keeps a peer that was heard of, if it is new and there is room.
    pub(super) fn add(
        &mut self,
        limits: &JobLimits,
        addr: SocketAddr,
        namer: Option<Sponsor>,
    ) -> Added {
        if self.kept.iter().any(|peer| peer.addr == addr) {
            return Added::Known;
        }
        let heard = || self.kept.iter().filter(|peer| peer.voice == Voice::Hearsay);
        let same_ip = heard().filter(|peer| peer.addr.ip() == addr.ip()).count();
        let net = |addr: SocketAddr| prefix(addr, NETWORK_OF_PEERS);
        let same_net = heard().filter(|peer| net(peer.addr) == net(addr)).count();
        let too_many = same_ip >= PORTS_PER_IP_MAX || same_net >= PEERS_PER_PREFIX_MAX;
        if limits.is_public() && too_many || self.heard >= limits.peers {
            return Added::NoRoom;
        }
        self.heard += 1;
        self.kept.push(Peer::new(addr, namer, Voice::Hearsay));
        Added::New
    }

    /// Whether a peer is kept already. Of two nodes that name it the one that owes much less
    /// answers for it: a node in debt must not hold back whom it names first.
    pub(super) fn name_again(
        &mut self,
        addr: SocketAddr,
        namer: Option<Sponsor>,
        standing: &Standing,
    ) -> bool {
        let Some(peer) = self.kept.iter_mut().find(|peer| peer.addr == addr) else { return false };
        if let (Some(before), Some(now)) = (peer.namer, namer)
            && standing.spent(now) + OTHER_SOURCE_MARGIN < standing.spent(before)
        {
            peer.namer = namer;
        }
        true
    }

    /// Keeps a peer that the user named, whatever else is kept; one that was heard of becomes one.
    pub(super) fn order(&mut self, addr: SocketAddr) -> Added {
        let orders = self.kept.len() - self.heard;
        let known = self.kept.iter_mut().find(|peer| peer.addr == addr);
        match known {
            Some(Peer { voice: Voice::Order, .. }) => Added::Known,
            _ if orders >= ORDERS_PER_INFOHASH_MAX => Added::NoRoom,
            Some(peer) => {
                peer.voice = Voice::Order;
                self.heard -= 1;
                Added::Known
            }
            None => {
                self.kept.push(Peer::new(addr, None, Voice::Order));
                Added::New
            }
        }
    }

    /// How many peers of one answer to `get_peers` are kept: of the source's all but a quarter of
    /// the places, of others' half of those that are free, so that no single node fills them with
    /// inventions (H21). The rest goes to the reserve. Where nobody is dialled there is nothing to
    /// save places for.
    pub(super) fn places_for_answer(&self, limits: &JobLimits, from_source: bool) -> usize {
        let free = limits.peers.saturating_sub(self.heard);
        match (limits.dials, from_source) {
            (false, _) => free,
            (true, true) => free.min(limits.peers - limits.peers / 4),
            (true, false) => free.div_ceil(2),
        }
    }

    /// Remembers a peer for which there was no place yet.
    pub(super) fn add_reserve(&mut self, addr: SocketAddr, namer: Option<Sponsor>) {
        let known = self.reserve.iter().any(|(peer, _)| *peer == addr);
        if self.reserve.len() < RESERVE_MAX && !known {
            self.reserve.push((addr, namer));
        }
    }

    /// Gives the places still free to the reserve; how many it took. Only when no other peer is
    /// left to try.
    pub(super) fn admit_reserve(&mut self, limits: &JobLimits) -> usize {
        let reserve = std::mem::take(&mut self.reserve);
        let add = |(peer, namer)| self.add(limits, peer, namer) == Added::New;
        reserve.into_iter().map(add).filter(|is_new| *is_new).count()
    }

    /// Begins the next attempt on a peer that `usable` does not veto for the moment, in one of the
    /// `ways` if it is the first: those that the user named come first, then by [`Rank`], one that
    /// had fewer turns before that with more, and of equals the one whose namer owes least.
    pub(super) fn begin(
        &mut self,
        among: Among,
        standing: &Standing,
        usable: impl Fn(SocketAddr) -> bool,
        ways: impl Fn(SocketAddr) -> Ways,
    ) -> Option<(SocketAddr, Option<Sponsor>, Attempt, Rank)> {
        let of_rank = |rank: Rank| {
            let due = |peer: &Peer| peer.is_order_due() && peer.plan.due() == Some(rank);
            self.kept.iter().position(|peer| due(peer) && usable(peer.addr))
        };
        let ranks = [Rank::AtOnce, Rank::First, Rank::Elsewhere];
        let ordered = ranks.into_iter().find_map(of_rank);
        let next = || self.next(standing, |peer| peer.is_among(among) && usable(peer.addr));
        let index = ordered.or_else(next)?;
        let peer = self.kept.get_mut(index)?;
        let rank = peer.plan.due()?;
        Some((peer.addr, peer.namer, peer.plan.begin(ways(peer.addr))?, rank))
    }

    /// The node that named the peer whose attempt is next.
    pub(super) fn next_namer(&self, standing: &Standing) -> Option<Sponsor> {
        self.next(standing, |_| true).and_then(|index| self.kept.get(index)?.namer)
    }

    fn next(&self, standing: &Standing, usable: impl Fn(&Peer) -> bool) -> Option<usize> {
        let due = self.kept.iter().enumerate().filter_map(|(index, peer)| {
            let debt = peer.namer.map_or(i64::MIN, |namer| standing.debt(namer));
            Some(((peer.plan.turns(), peer.plan.due()?, debt), index))
        });
        let due = due.filter(|(_, index)| usable(&self.kept[*index]));
        due.min_by_key(|(rank, _)| *rank).map(|(_, index)| index)
    }

    /// An attempt failed, and whether its peer has now had its share of all attempts; `None` if none
    /// is under way there.
    pub(super) fn on_failure(
        &mut self,
        addr: SocketAddr,
        failure: &Failure,
        blame: Blame,
    ) -> Option<(Moved, bool)> {
        let mut kept = self.kept.iter_mut();
        let peer = kept.find(|peer| peer.addr == addr && peer.plan.is_under_way())?;
        if failure.was_accepted() {
            peer.acceptance = Acceptance::Some;
        }
        let moved = peer.plan.on_failure(failure, blame);
        Some((moved, peer.spend()))
    }

    /// An attempt was broken off with the run.
    pub(super) fn break_off(&mut self, addr: SocketAddr) {
        let of_peer = self.kept.iter_mut().find(|peer| peer.addr == addr);
        of_peer.into_iter().for_each(|peer| peer.plan.break_off());
    }

    /// Peers with an attempt due that said something so far, or were not asked.
    pub(super) fn waiting(&self) -> usize {
        self.kept.iter().filter(|peer| peer.is_likely()).count()
    }

    /// Whether one of these may be tried.
    pub(super) fn has_due(&self, among: Among) -> bool {
        self.kept.iter().any(|peer| peer.is_among(among))
    }

    /// Whether every peer with an attempt due is of a net whose peers take, or took in vain, that
    /// many attempts.
    pub(super) fn are_of_spent_nets(&self, share: usize) -> bool {
        let is_spent = |namer: Sponsor| {
            let of_net = |peer: &&Peer| peer.namer.is_some_and(|of| of.shares_net(namer));
            let taken = self.kept.iter().filter(of_net).filter(|peer| peer.takes_attempt());
            taken.count() >= share
        };
        let mut due = self.kept.iter().filter(|peer| peer.plan.due().is_some()).peekable();
        due.peek().is_some() && due.all(|peer| peer.namer.is_some_and(is_spent))
    }

    /// Peers that were dialled at least once.
    pub(super) fn tried(&self) -> impl Iterator<Item = SocketAddr> {
        self.kept.iter().filter(|peer| peer.plan.due() != Some(Rank::First)).map(|peer| peer.addr)
    }

    /// Whether a peer that is there is to be tried in another way at once.
    pub(super) fn has_one_at_once(&self) -> bool {
        self.kept.iter().any(|peer| peer.plan.due() == Some(Rank::AtOnce))
    }

    /// Whether peers that the user named are still to be tried.
    pub(super) fn has_orders_due(&self) -> bool {
        self.kept.iter().any(Peer::is_order_due)
    }

    /// Whether none was dialled, and none named by the user is to be.
    pub(super) fn are_untouched(&self) -> bool {
        self.kept.iter().all(|peer| peer.plan.due() == Some(Rank::First) && !peer.is_order_due())
    }

    /// Peers with a connection open.
    pub(super) fn under_way(&self) -> impl Iterator<Item = SocketAddr> {
        self.kept.iter().filter(|peer| peer.plan.is_under_way()).map(|peer| peer.addr)
    }

    /// Peers kept.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Peers kept that fill places.
    pub(super) fn heard(&self) -> usize {
        self.heard
    }

    /// Every peer kept, `serving` first.
    pub(super) fn list(&self, serving: Option<SocketAddr>) -> Vec<SocketAddr> {
        let others = self.kept.iter().map(|peer| peer.addr).filter(|addr| Some(*addr) != serving);
        serving.into_iter().chain(others).collect()
    }

    /// Every peer kept, those with nothing left to try last: what a saved state says.
    pub(super) fn saved(&self) -> impl Iterator<Item = SocketAddr> {
        let of = |over: bool| {
            let wanted = move |peer: &&Peer| peer.plan.is_over() == over;
            self.kept.iter().filter(wanted).map(|peer| peer.addr)
        };
        of(false).chain(of(true))
    }
}
