//! The first nodes: asked at the start, and again as long as no other node is known.
//!
//! Must never let a public router into a table or a sweep: it is asked for neighbours, no more. One
//! that answers `find_node` with an error is asked for the peers of a random key instead, which names
//! neighbours too.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use crate::base::addr::{AddressPolicy, Family};
use crate::base::id::{Id, InfoHash};
use crate::base::rng::Rng;
use crate::base::time::{Duration, Instant, Lane, earliest};
use crate::codec::krpc::Ask;
use crate::limits::{BOOTSTRAP_RETRY_MAX, BOOTSTRAP_RETRY_MIN, BOOTSTRAPS_MAX};

/// How a bootstrap node is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bootstrap {
    /// A public router: asked `find_node` only, never sampled, never in a table (5.12).
    Router,
    /// An ordinary node that the user named.
    Node,
}

/// One bootstrap address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BootstrapNode {
    pub(crate) addr: SocketAddr,
    pub(crate) kind: Bootstrap,
    answered: bool,
    /// When it last was to be asked.
    queued_at: Instant,
    question: Question,
}

/// What a bootstrap node is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// `find_node`.
    Neighbours,
    /// `get_peers` for a random key, since it refused the other.
    Peers,
}

/// The bootstrap addresses and when to ask them.
#[derive(Debug)]
pub(crate) struct Bootstraps {
    nodes: Vec<BootstrapNode>,
    routers: BTreeSet<SocketAddr>,
    families: [Round; 2],
    /// For keys that no torrent has.
    rng: Rng,
}

/// The addresses of one family and when they are asked again.
#[derive(Debug)]
struct Round {
    queue: VecDeque<usize>,
    /// Addresses added less than [`BOOTSTRAP_RETRY_MIN`] ago: each has a first repetition of its own.
    young: Lane<usize>,
    retry_at: Instant,
    pause: Duration,
}

impl Bootstraps {
    pub(crate) fn new(now: Instant, rng: Rng) -> Self {
        let round = |_| Round {
            queue: VecDeque::new(),
            young: Lane::new(BOOTSTRAP_RETRY_MIN),
            retry_at: now + BOOTSTRAP_RETRY_MIN,
            pause: BOOTSTRAP_RETRY_MIN,
        };
        let families = Family::ALL.map(round);
        Self { nodes: Vec::new(), routers: BTreeSet::new(), families, rng }
    }

    /// Adds an address, once. What the user names may be private; what no host can own is refused.
    /// The first address of a family begins its rounds, however late it comes; one that follows
    /// joins them after a pause of its own.
    pub(crate) fn add(&mut self, now: Instant, addr: SocketAddr, kind: Bootstrap) {
        let known = self.nodes.iter().any(|node| node.addr == addr);
        if known || self.nodes.len() >= BOOTSTRAPS_MAX || !AddressPolicy::AllowPrivate.admits(addr)
        {
            return;
        }
        if kind == Bootstrap::Router {
            self.routers.insert(addr);
        }
        let family = Family::of(addr);
        let is_first = !self.knows(family);
        let round = &mut self.families[family.index()];
        if is_first {
            (round.retry_at, round.pause) = (now + BOOTSTRAP_RETRY_MIN, BOOTSTRAP_RETRY_MIN);
        }
        round.queue.push_back(self.nodes.len());
        round.young.push(now, self.nodes.len());
        let question = Question::Neighbours;
        self.nodes.push(BootstrapNode { addr, kind, answered: false, queued_at: now, question });
    }

    pub(crate) fn get(&self, index: usize) -> Option<BootstrapNode> {
        self.nodes.get(index).copied()
    }

    /// Whether `addr` is a public router, which no table may hold.
    pub(crate) fn is_router(&self, addr: SocketAddr) -> bool {
        self.routers.contains(&addr)
    }

    /// The next address of a family to ask, and what: for neighbours, of `target`.
    pub(crate) fn poll(&mut self, family: Family, target: Id) -> Option<(usize, SocketAddr, Ask)> {
        let index = self.families[family.index()].queue.pop_front()?;
        let node = self.get(index)?;
        let ask = match node.question {
            Question::Neighbours => Ask::FindNode { target },
            Question::Peers => Ask::GetPeers { info_hash: InfoHash(self.rng.bytes()) },
        };
        Some((index, node.addr, ask))
    }

    /// A node answered with an error: it is asked the other question, at once if that is new to it,
    /// else when its turn comes again.
    pub(crate) fn on_refusal(&mut self, now: Instant, index: usize) {
        let Some(node) = self.nodes.get_mut(index) else { return };
        let round = &mut self.families[Family::of(node.addr).index()];
        match node.question {
            Question::Neighbours => {
                node.question = Question::Peers;
                node.queued_at = now;
                if !round.queue.contains(&index) {
                    round.queue.push_back(index);
                }
            }
            Question::Peers => node.question = Question::Neighbours,
        }
    }

    pub(crate) fn has_queued(&self, family: Family) -> bool {
        !self.families[family.index()].queue.is_empty()
    }

    /// A node answered: should it fall silent again, it is asked soon.
    pub(crate) fn on_reply(&mut self, now: Instant, index: usize) {
        if let Some(node) = self.nodes.get_mut(index) {
            node.answered = true;
            let round = &mut self.families[Family::of(node.addr).index()];
            round.pause = BOOTSTRAP_RETRY_MIN;
            round.retry_at = now + round.pause;
        }
    }

    /// User-named nodes that answered: where a walk may start when no other node is known.
    pub(crate) fn answering_nodes(&self, family: Family) -> impl Iterator<Item = SocketAddr> {
        let named = self.nodes.iter().filter(|n| n.kind == Bootstrap::Node && n.answered);
        named.map(|node| node.addr).filter(move |addr| Family::of(*addr) == family)
    }

    /// When due, queues every address of a family again that never answered, or all of them if
    /// `lonely`: no other node of that family is known. None of them within
    /// [`BOOTSTRAP_RETRY_MIN`].
    pub(crate) fn retry(&mut self, now: Instant, family: Family, lonely: bool) {
        let round = &mut self.families[family.index()];
        let mut queue = |index: usize, node: &mut BootstrapNode| {
            let wanted = lonely || (node.kind == Bootstrap::Node && !node.answered);
            let rested = node.queued_at + BOOTSTRAP_RETRY_MIN <= now;
            if wanted && rested && !round.queue.contains(&index) {
                node.queued_at = now;
                round.queue.push_back(index);
            }
        };
        while let Some(index) = round.young.pop_due(now) {
            self.nodes.get_mut(index).into_iter().for_each(|node| queue(index, node));
        }
        if now < round.retry_at {
            return;
        }
        round.retry_at = now + round.pause;
        round.pause = (round.pause * 2).min(BOOTSTRAP_RETRY_MAX);
        let ours = |(_, node): &(usize, &mut BootstrapNode)| Family::of(node.addr) == family;
        self.nodes.iter_mut().enumerate().filter(ours).for_each(|(index, node)| queue(index, node));
    }

    pub(crate) fn poll_timeout(&self, family: Family) -> Option<Instant> {
        let round = &self.families[family.index()];
        let again = self.knows(family).then_some(round.retry_at);
        earliest(again, round.young.poll_timeout())
    }

    fn knows(&self, family: Family) -> bool {
        self.nodes.iter().any(|node| Family::of(node.addr) == family)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Seed;

    const OWN: Id = Id([1; 20]);

    fn bootstraps(now: Instant) -> Bootstraps {
        Bootstraps::new(now, Rng::new(Seed::from_u64(1)))
    }

    fn asked(bootstraps: &mut Bootstraps) -> Option<(usize, SocketAddr)> {
        bootstraps.poll(Family::V4, OWN).map(|(index, addr, _)| (index, addr))
    }

    #[test]
    fn a_node_that_refuses_one_question_is_asked_the_other_and_never_in_a_hurry_twice() {
        let now = Instant::START;
        let mut bootstraps = bootstraps(now);
        bootstraps.add(now, SocketAddr::from(([192, 0, 2, 1], 6881)), Bootstrap::Router);
        let ask = |b: &mut Bootstraps| b.poll(Family::V4, OWN).map(|(_, _, ask)| ask);
        assert!(matches!(ask(&mut bootstraps), Some(Ask::FindNode { target: OWN })));
        bootstraps.on_refusal(now, 0);
        assert!(matches!(ask(&mut bootstraps), Some(Ask::GetPeers { .. })));
        bootstraps.on_refusal(now, 0);
        assert!(ask(&mut bootstraps).is_none(), "it has refused both");
        bootstraps.retry(now + BOOTSTRAP_RETRY_MIN, Family::V4, true);
        assert!(matches!(ask(&mut bootstraps), Some(Ask::FindNode { .. })));
    }

    #[test]
    fn addresses_that_come_late_are_asked_once_and_again_after_the_first_pause() {
        let (begun, late) = (Instant::START, Instant::from_micros(9_000_000));
        let mut bootstraps = bootstraps(begun);
        bootstraps.retry(late, Family::V4, true);
        assert_eq!(bootstraps.poll_timeout(Family::V4), None);
        let addr = SocketAddr::from(([192, 0, 2, 1], 6881));
        bootstraps.add(late, addr, Bootstrap::Router);
        assert_eq!(asked(&mut bootstraps), Some((0, addr)));
        bootstraps.retry(late, Family::V4, true);
        assert_eq!(asked(&mut bootstraps), None, "it was just asked");
        let due = late + BOOTSTRAP_RETRY_MIN;
        assert_eq!(bootstraps.poll_timeout(Family::V4), Some(due));
        bootstraps.retry(due, Family::V4, true);
        assert_eq!(asked(&mut bootstraps), Some((0, addr)));
        assert_eq!(bootstraps.poll_timeout(Family::V6), None);
    }

    #[test]
    fn an_address_that_comes_late_beside_others_is_not_asked_twice_at_once() {
        let millis = |millis: u64| Instant::from_micros(millis * 1_000);
        let addr = |host| SocketAddr::from(([192, 0, 2, host], 6881));
        let mut bootstraps = bootstraps(Instant::START);
        let mut asked = Vec::new();
        bootstraps.add(millis(0), addr(1), Bootstrap::Router);
        for at in 0..=8_000 {
            if at == 1_999 {
                bootstraps.add(millis(at), addr(2), Bootstrap::Router);
            }
            assert!(bootstraps.poll_timeout(Family::V4).is_some_and(|due| due >= millis(at)));
            bootstraps.retry(millis(at), Family::V4, true);
            while let Some((index, ..)) = bootstraps.poll(Family::V4, OWN) {
                asked.push((at, index));
            }
        }
        // The first pause of each is its own; later rounds are of the family.
        let first = [(0, 0), (1_999, 1), (2_000, 0), (3_999, 1)];
        assert_eq!(asked, [&first[..], &[(4_000, 0), (8_000, 0), (8_000, 1)]].concat());
    }
}
