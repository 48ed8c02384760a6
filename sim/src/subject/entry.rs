//! How the crawler under test comes into the DHT and when its run is over, as a scenario says it:
//! the terms of its session, its doors, and a resolver whose names take their time or never lead
//! anywhere.

use std::net::SocketAddr;

use estudely_core::limits::ANSWER_WITHIN;
use estudely_core::session::{Door, Goal, Start, Terms};
use estudely_core::{Bootstrap, Duration, Instant};

use crate::world::scenario::Scenario;

/// What a session is begun with.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    bootstrap: Vec<SocketAddr>,
    kind: Bootstrap,
    /// How long a name takes; `None`: bootstrap nodes are addresses.
    resolves_in: Option<Duration>,
    /// How often each name fails first.
    fails: u32,
    overall_timeout: Option<Duration>,
    until_idle: Option<Duration>,
    goal: Goal,
    /// Whether the run ends by itself: see [`Entry::ends`].
    ends: bool,
}

/// What became of a name.
pub(super) enum Answer {
    /// It has this address.
    Found(SocketAddr),
    /// It does not resolve.
    Failed,
}

impl Entry {
    pub(super) fn new(scenario: &Scenario, bootstrap: Vec<SocketAddr>) -> Self {
        let some = |value: u32| (value > 0).then_some(u64::from(value));
        Self {
            bootstrap,
            kind: if scenario.routers > 0 { Bootstrap::Router } else { Bootstrap::Node },
            resolves_in: some(scenario.names_ms).map(Duration::from_millis),
            fails: scenario.names_fail,
            overall_timeout: some(scenario.overall_s).map(Duration::from_secs),
            until_idle: some(scenario.idle_s).map(Duration::from_secs),
            goal: if scenario.requests > 0 { Goal::Requests } else { Goal::Crawl },
            ends: scenario.ends > 0,
        }
    }

    /// Whether the run ends as the program's does: without an answer, or when its work is done.
    /// Otherwise its outputs never hand on their last rows, and it stays as it is until it is told
    /// to end.
    pub(super) fn ends(&self) -> bool {
        self.ends
    }

    pub(super) fn terms(&self, start: Start) -> Terms {
        Terms {
            goal: self.goal,
            start,
            answer_within: self.ends.then_some(ANSWER_WITHIN),
            overall_timeout: self.overall_timeout,
            until_idle: self.until_idle,
        }
    }

    pub(super) fn doors(&self) -> Vec<Door> {
        let door = |addr: &SocketAddr| match self.resolves_in {
            Some(_) => Door::Name(self.kind),
            None => Door::Address(*addr, self.kind),
        };
        self.bootstrap.iter().map(door).collect()
    }

    /// A resolver of these names.
    pub(super) fn resolver(&self) -> Resolver {
        Resolver {
            addresses: self.bootstrap.clone(),
            takes: self.resolves_in.unwrap_or_default(),
            fails: vec![self.fails; self.bootstrap.len()],
            open: Vec::new(),
        }
    }
}

/// Names that are being resolved.
#[derive(Debug)]
pub(super) struct Resolver {
    addresses: Vec<SocketAddr>,
    takes: Duration,
    /// How often each name is still going to fail.
    fails: Vec<u32>,
    /// When each is done, in that order.
    open: Vec<(Instant, usize)>,
}

impl Resolver {
    pub(super) fn resolve(&mut self, now: Instant, at: usize) {
        self.open.push((now + self.takes, at));
    }

    /// The next name that is done at `now`, by its place, and what became of it.
    pub(super) fn poll(&mut self, now: Instant) -> Option<(usize, Answer)> {
        let next = self.open.iter().position(|(due, _)| *due <= now)?;
        let (_, at) = self.open.remove(next);
        let (fails, addr) = (self.fails.get_mut(at)?, *self.addresses.get(at)?);
        if *fails > 0 {
            *fails -= 1;
            return Some((at, Answer::Failed));
        }
        Some((at, Answer::Found(addr)))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.open.iter().map(|(due, _)| *due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fails_as_often_as_the_scenario_says_and_takes_its_time() {
        let addr = SocketAddr::from(([82, 2, 3, 4], 6881));
        let scenario = Scenario { names_ms: 50, names_fail: 1, ..Scenario::calm(1) };
        let mut resolver = Entry::new(&scenario, vec![addr]).resolver();
        let at = |millis: u64| Instant::from_micros(millis * 1_000);
        resolver.resolve(at(0), 0);
        assert!(resolver.poll(at(49)).is_none());
        assert_eq!(resolver.poll_timeout(), Some(at(50)));
        assert!(matches!(resolver.poll(at(50)), Some((0, Answer::Failed))));
        resolver.resolve(at(60), 0);
        assert!(matches!(resolver.poll(at(110)), Some((0, Answer::Found(found))) if found == addr));
        assert_eq!(resolver.poll_timeout(), None);
    }
}
