//! Entering the DHT: addresses at once, names as they resolve, again while no node answers.
//!
//! A run that begins with contacts of an earlier one asks no public router, and resolves none,
//! unless those contacts stay silent. Nothing here says whether a run without an answer fails.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use super::terms::{BootstrapReport, Door, Due, Start, Step};
use crate::base::planted::{self, Bug};
use crate::base::time::Instant;
use crate::dht::bootstrap::Bootstrap;
use crate::limits::{BOOTSTRAPS_MAX, RESOLVE_AGAIN, ROUTERS_AFTER, ROUTERS_AFTER_QUIET};

/// The places to enter the DHT, and what became of them.
#[derive(Debug)]
pub(super) struct Doors {
    doors: Vec<(Door, Lookup)>,
    /// Every address handed out, and whether it sent anything.
    tried: BTreeMap<SocketAddr, Heard>,
    /// How many of these did.
    answered: usize,
    round: Round,
    /// Replies of any node at the last look.
    replies: u64,
    /// When these last grew.
    quiet_since: Instant,
    steps: VecDeque<Step>,
}

/// What became of one door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lookup {
    /// A public router that is not needed so far.
    Held,
    /// An address, handed out.
    Open,
    /// A name that is being resolved.
    Asked(Resolved),
    /// A name that is not.
    Rests(Resolved),
}

/// Whether a name ever led to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolved {
    Never,
    Once,
}

/// Whether an address sent anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    No,
    Yes,
}

/// A round of resolving every name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// The first one: a name that fails in it is news. The next is due then.
    First(Instant),
    /// A later one.
    Later(Instant),
}

impl Round {
    const fn next(self) -> Instant {
        match self {
            Self::First(at) | Self::Later(at) => at,
        }
    }
}

impl Doors {
    /// The first [`BOOTSTRAPS_MAX`] of `doors`; after a warm start routers among them are held back.
    pub(super) fn new(now: Instant, doors: &[Door], start: Start) -> Self {
        let holds = start == Start::Warm && !planted::is(Bug::RoutersAtOnce);
        let held = |door: &Door| holds && door.kind() == Bootstrap::Router;
        let place = |door: &Door| {
            (*door, if held(door) { Lookup::Held } else { Lookup::Rests(Resolved::Never) })
        };
        let mut entering = Self {
            doors: doors.iter().take(BOOTSTRAPS_MAX).map(place).collect(),
            tried: BTreeMap::new(),
            answered: 0,
            round: Round::First(now + RESOLVE_AGAIN),
            replies: 0,
            quiet_since: now,
            steps: VecDeque::new(),
        };
        entering.begin_round(Round::First(now + RESOLVE_AGAIN));
        entering
    }

    /// Releases routers, and resolves names once more, if it is time.
    pub(super) fn handle_turn(&mut self, now: Instant, replies: u64) {
        if replies > self.replies {
            (self.replies, self.quiet_since) = (replies, now);
        }
        if self.routers_due().is_some_and(|at| at <= now) {
            for (_, lookup) in &mut self.doors {
                if *lookup == Lookup::Held {
                    *lookup = Lookup::Rests(Resolved::Never);
                }
            }
            self.begin_round(Round::First(now + RESOLVE_AGAIN));
        } else if self.answered == 0 && self.round.next() <= now {
            self.begin_round(Round::Later(now + RESOLVE_AGAIN));
        }
    }

    /// Hands out every address that was not, and has every name resolved that is not under way.
    fn begin_round(&mut self, round: Round) {
        self.round = round;
        for at in 0..self.doors.len() {
            match self.doors[at] {
                (Door::Address(addr, kind), Lookup::Rests(_)) => {
                    self.doors[at].1 = Lookup::Open;
                    self.enter(addr, kind);
                }
                (Door::Name(_), Lookup::Rests(resolved)) => {
                    self.doors[at].1 = Lookup::Asked(resolved);
                    self.steps.push_back(Step::Resolve(at));
                }
                (_, Lookup::Held | Lookup::Open | Lookup::Asked(_)) => {}
            }
        }
    }

    fn enter(&mut self, addr: SocketAddr, kind: Bootstrap) {
        if self.tried.len() < BOOTSTRAPS_MAX && !self.tried.contains_key(&addr) {
            self.tried.insert(addr, Heard::No);
            self.steps.push_back(Step::Enter(addr, kind));
        }
    }

    /// The name at this place has these addresses.
    pub(super) fn handle_resolved(&mut self, at: usize, addresses: &[SocketAddr]) {
        let Some((Door::Name(kind), lookup @ Lookup::Asked(_))) = self.doors.get_mut(at) else {
            return;
        };
        let kind = *kind;
        *lookup = Lookup::Rests(Resolved::Once);
        addresses.iter().for_each(|addr| self.enter(*addr, kind));
    }

    /// The name at this place does not resolve. Whether that is news: it is not after the first
    /// round.
    pub(super) fn handle_unresolved(&mut self, at: usize) -> bool {
        let Some((_, lookup)) = self.doors.get_mut(at) else { return false };
        let Lookup::Asked(resolved) = *lookup else { return false };
        *lookup = Lookup::Rests(resolved);
        matches!(self.round, Round::First(_))
    }

    /// Notes that `from` sent something.
    pub(super) fn handle_datagram(&mut self, from: SocketAddr) {
        if self.answered < self.tried.len()
            && let Some(heard @ Heard::No) = self.tried.get_mut(&from)
        {
            *heard = Heard::Yes;
            self.answered += 1;
        }
    }

    pub(super) fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// Whether an address that was handed out sent something.
    pub(super) fn has_answer(&self) -> bool {
        self.answered > 0
    }

    /// Whether there is nothing but names, and every one of them failed.
    pub(super) fn are_hopeless(&self) -> bool {
        let asked = |(_, lookup): &(Door, Lookup)| matches!(lookup, Lookup::Asked(_));
        self.names().next().is_some() && self.tried.is_empty() && !self.doors.iter().any(asked)
    }

    /// Places of the names that are not held back, and whether each ever resolved.
    pub(super) fn names(&self) -> impl Iterator<Item = (usize, bool)> {
        self.doors.iter().enumerate().filter_map(|(at, door)| match door {
            (Door::Name(_), Lookup::Asked(resolved) | Lookup::Rests(resolved)) => {
                Some((at, *resolved == Resolved::Once))
            }
            _ => None,
        })
    }

    pub(super) fn report(&self) -> BootstrapReport {
        let resolved = self.names().filter(|(_, once)| *once).count();
        BootstrapReport {
            names_resolved: resolved as u32,
            names_failed: (self.names().count() - resolved) as u32,
            addresses_tried: self.tried.len() as u32,
            answered: self.answered as u32,
        }
    }

    /// When routers that are held back are asked after all.
    fn routers_due(&self) -> Option<Instant> {
        let held = self.doors.iter().any(|(_, lookup)| *lookup == Lookup::Held);
        let patience = if self.replies == 0 { ROUTERS_AFTER } else { ROUTERS_AFTER_QUIET };
        held.then(|| self.quiet_since + patience)
    }

    pub(super) fn deadlines(&self) -> [Option<(Instant, Due)>; 2] {
        let names = self.answered == 0 && self.names().next().is_some();
        [
            names.then(|| (self.round.next(), Due::Names)),
            self.routers_due().map(|at| (at, Due::Routers)),
        ]
    }
}
