//! Entering the DHT: addresses at once, names as they resolve, again while no node answers.
//!
//! A run that begins with contacts of an earlier one asks no public router, and resolves none,
//! unless those contacts stay silent. Each address family has a silence of its own, so that trouble
//! in one never delays the other. Nothing here says whether a run without an answer fails.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use super::terms::{BootstrapReport, Door, Due, Start, Step};
use crate::base::addr::Family;
use crate::base::planted::{self, Bug};
use crate::base::time::{Duration, Instant};
use crate::dht::bootstrap::Bootstrap;
use crate::limits::{
    BOOTSTRAPS_MAX, RESOLVE_AGAIN, RESOLVE_AGAIN_MAX, ROUTERS_AFTER, ROUTERS_AFTER_QUIET,
};

/// The places to enter the DHT, and what became of them.
#[derive(Debug)]
pub(super) struct Doors {
    doors: Vec<(Door, Lookup)>,
    /// Every address handed out, and whether it sent anything.
    tried: BTreeMap<SocketAddr, Heard>,
    /// How many of these did.
    answered: usize,
    round: Round,
    /// How long until the round after the next one.
    pause: Duration,
    families: [Silence; 2],
    steps: VecDeque<Step>,
}

/// What became of one door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lookup {
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

/// How long the nodes of one family have been silent, and whether its routers wait for that.
#[derive(Clone, Copy, Debug)]
struct Silence {
    /// Its replies at the last look; `None` for a family that is off.
    replies: Option<u64>,
    /// When these last grew.
    since: Instant,
    routers: Routers,
}

/// Whether public routers of a family may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Routers {
    /// They are not needed so far.
    Held,
    Free,
}

impl Silence {
    fn hear(&mut self, now: Instant, replies: Option<u64>) {
        if replies > self.replies {
            self.since = now;
        }
        self.replies = replies.map(|count| count.max(self.replies.unwrap_or(0)));
    }

    /// When its routers are asked after all, if they are held back.
    fn due(&self) -> Option<Instant> {
        let patience = if self.replies? == 0 { ROUTERS_AFTER } else { ROUTERS_AFTER_QUIET };
        (self.routers == Routers::Held).then(|| self.since + patience)
    }
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
    /// The first [`BOOTSTRAPS_MAX`] of `doors`; after a warm start routers among them are held
    /// back.
    pub(super) fn new(now: Instant, doors: &[Door], start: Start) -> Self {
        let holds = start == Start::Warm && !planted::is(Bug::RoutersAtOnce);
        let routers = if holds { Routers::Held } else { Routers::Free };
        let place = |door: &Door| (*door, Lookup::Rests(Resolved::Never));
        let mut entering = Self {
            doors: doors.iter().take(BOOTSTRAPS_MAX).map(place).collect(),
            tried: BTreeMap::new(),
            answered: 0,
            round: Round::First(now + RESOLVE_AGAIN),
            pause: RESOLVE_AGAIN,
            families: [Silence { replies: Some(0), since: now, routers }; 2],
            steps: VecDeque::new(),
        };
        entering.begin_round(Round::First(now + RESOLVE_AGAIN));
        entering
    }

    /// Releases routers, and resolves names once more, if it is time. `replies`: those of each
    /// family so far.
    pub(super) fn handle_turn(&mut self, now: Instant, replies: [Option<u64>; 2]) {
        let mut released = false;
        for (family, count) in Family::ALL.into_iter().zip(replies) {
            self.families[family.index()].hear(now, count);
            if self.routers_due(family).is_some_and(|at| at <= now) {
                self.families[family.index()].routers = Routers::Free;
                released = true;
            }
        }
        if released {
            self.pause = RESOLVE_AGAIN;
            self.begin_round(Round::First(now + self.pause));
        } else if self.needs_names() && self.round.next() <= now {
            if self.is_inside() {
                // For a family that the host perhaps never reaches.
                self.pause = (2 * self.pause).min(RESOLVE_AGAIN_MAX);
            }
            self.begin_round(Round::Later(now + self.pause));
        }
    }

    /// Hands out every address that was not, and has every name resolved that is not under way.
    fn begin_round(&mut self, round: Round) {
        self.round = round;
        for at in 0..self.doors.len() {
            let (door, lookup) = self.doors[at];
            let Lookup::Rests(resolved) = lookup else { continue };
            let again = matches!(round, Round::Later(_)) && self.is_inside();
            if self.is_held(door) || again && resolved == Resolved::Once {
                continue;
            }
            match door {
                Door::Address(addr, kind) => {
                    self.doors[at].1 = Lookup::Open;
                    self.enter(addr, kind);
                }
                Door::Name(_) => {
                    self.doors[at].1 = Lookup::Asked(resolved);
                    self.steps.push_back(Step::Resolve(at));
                }
            }
        }
    }

    /// Whether a door waits. A name may lead to either family, so it does no more once one of them
    /// needs it.
    fn is_held(&self, door: Door) -> bool {
        match door {
            Door::Address(addr, kind) => !self.admits(addr, kind),
            Door::Name(kind) => {
                let held = |family: &Silence| family.routers == Routers::Held;
                kind == Bootstrap::Router && self.families.iter().all(held)
            }
        }
    }

    /// Whether an address may be asked now.
    fn admits(&self, addr: SocketAddr, kind: Bootstrap) -> bool {
        let family = self.families[Family::of(addr).index()];
        kind == Bootstrap::Node || family.routers == Routers::Free
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
        for addr in addresses {
            // Those of a family whose routers still wait come with another look-up.
            if self.admits(*addr, kind) {
                self.enter(*addr, kind);
            }
        }
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
        let free = self.doors.iter().enumerate().filter(|(_, (door, _))| !self.is_held(*door));
        free.filter_map(|(at, door)| match door {
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

    /// Whether names are asked again: as long as the run is not in the DHT; and in it, ever more
    /// seldom, those that never led anywhere while a family is silent, since only they may lead there.
    fn needs_names(&self) -> bool {
        let is_silent = self.families.iter().any(|family| family.replies == Some(0));
        !self.is_inside() || is_silent && self.names().any(|(_, once)| !once)
    }

    /// Whether the run is in the DHT: a place to enter answered, or known nodes of a family go on
    /// answering.
    fn is_inside(&self) -> bool {
        let answers = |family: &Silence| {
            family.routers == Routers::Held && family.replies.is_some_and(|count| count > 0)
        };
        self.answered > 0 || self.families.iter().any(answers)
    }

    /// When routers of a family that are held back are asked after all.
    fn routers_due(&self, family: Family) -> Option<Instant> {
        let due = self.families[family.index()].due()?;
        let leads = |door: &Door| match door {
            Door::Address(addr, kind) => *kind == Bootstrap::Router && Family::of(*addr) == family,
            Door::Name(kind) => *kind == Bootstrap::Router,
        };
        self.doors.iter().any(|(door, _)| leads(door)).then_some(due)
    }

    pub(super) fn deadlines(&self) -> [Option<(Instant, Due)>; 2] {
        let names = self.needs_names() && self.names().next().is_some();
        let routers = Family::ALL.into_iter().filter_map(|family| self.routers_due(family)).min();
        [names.then(|| (self.round.next(), Due::Names)), routers.map(|at| (at, Due::Routers))]
    }
}
