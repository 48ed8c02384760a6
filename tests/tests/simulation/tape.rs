//! A tape of what crossed the boundary, for expectations that name a number or an instant.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use estudely_core::krpc::{Kind, Message, Method};
use estudely_core::{Duration, InfoHash, Instant, Stats, Verdict};
use estudely_sim::checker::Checker;
use estudely_sim::direct;
use estudely_sim::event::{Event, Observer};
use estudely_sim::scenario::Scenario;
use estudely_sim::universe::Universe;

/// What a query asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asks {
    Ping,
    FindNode,
    GetPeers(InfoHash),
    Sample,
}

/// A query that the crawler sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) at: Instant,
    pub(crate) to: SocketAddr,
    pub(crate) asks: Asks,
}

/// Everything that expectations are about, in order.
#[derive(Debug, Default)]
pub(crate) struct Tape {
    pub(crate) queries: Vec<Query>,
    /// Datagrams that came: when, and from where.
    pub(crate) arrivals: Vec<(Instant, SocketAddr)>,
    /// Replies with samples: when, from where, how many.
    pub(crate) samples: Vec<(Instant, SocketAddr, usize)>,
    /// Connections begun.
    pub(crate) dials: Vec<(Instant, SocketAddr)>,
    /// Rows with metadata.
    pub(crate) verified: BTreeMap<InfoHash, Instant>,
    /// Rows without.
    pub(crate) failed: Vec<(Instant, InfoHash)>,
    pub(crate) starts: Vec<Instant>,
    pub(crate) kills: Vec<Instant>,
    /// When links healed.
    pub(crate) healed: Option<Instant>,
    /// The last whole state.
    pub(crate) state: Vec<u8>,
    /// The counters as they were last before the shutdown.
    pub(crate) stats: Stats,
    over: bool,
}

impl Tape {
    /// The queries with `asks`, in order.
    pub(crate) fn asking(&self, asks: Asks) -> impl Iterator<Item = &Query> {
        self.queries.iter().filter(move |query| query.asks == asks)
    }

    /// How many queries go to each address with `asks`.
    pub(crate) fn counts(&self, asks: Asks) -> BTreeMap<SocketAddr, u32> {
        let mut counts = BTreeMap::new();
        for query in self.asking(asks) {
            *counts.entry(query.to).or_default() += 1;
        }
        counts
    }

    /// When the last torrent was found.
    pub(crate) fn found_all(&self) -> Instant {
        self.verified.values().copied().max().unwrap_or(Instant::START)
    }
}

impl Observer for Tape {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        match *event {
            Event::Started { .. } => self.starts.push(now),
            Event::Killed => self.kills.push(now),
            Event::Healed => self.healed = Some(now),
            Event::ShutDown { .. } => self.over = true,
            Event::Sent { to, payload } => {
                if let Some(asks) = asks(payload) {
                    self.queries.push(Query { at: now, to, asks });
                }
            }
            Event::Received { from, payload, .. } => {
                self.arrivals.push((now, from));
                if let Ok(Message { kind: Kind::Reply(reply), .. }) = Message::parse(payload)
                    && let Some(samples) = reply.samples
                {
                    self.samples.push((now, from, samples.count()));
                }
            }
            Event::Dialled { to, .. } => self.dials.push((now, to)),
            Event::Row { row, .. } => match row.verdict {
                Verdict::Verified { .. } => {
                    self.verified.insert(row.infohash, now);
                }
                _ => self.failed.push((now, row.infohash)),
            },
            Event::Saved { bytes, whole: true } => {
                self.state.clear();
                self.state.extend_from_slice(bytes);
            }
            Event::Drained { stats, .. } if !self.over => self.stats = stats.clone(),
            _ => {}
        }
    }
}

/// What the crawler asks; `None` of an answer.
fn asks(payload: &[u8]) -> Option<Asks> {
    let Ok(Message { kind: Kind::Query(query), .. }) = Message::parse(payload) else { return None };
    Some(match query.method {
        Method::FindNode { .. } => Asks::FindNode,
        Method::GetPeers { info_hash, .. } => Asks::GetPeers(info_hash),
        Method::SampleInfohashes { .. } => Asks::Sample,
        _ => Asks::Ping,
    })
}

/// Ends no run: that of what it wraps goes on to the end of its time.
pub(crate) struct Patient<O>(pub(crate) O);

impl<O: Observer> Observer for Patient<O> {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        self.0.observe(now, event);
    }
}

/// A run that broke no rule.
pub(crate) struct Played {
    pub(crate) universe: Rc<Universe>,
    pub(crate) tape: Tape,
}

/// Plays `scenario` until nothing is missing any more. No rule may break.
pub(crate) fn play(scenario: &Scenario) -> Played {
    let (universe, checker) = prepare(scenario);
    let observers = (checker, Tape::default());
    let ((checker, tape), ending) = direct::run(scenario, Rc::clone(&universe), observers);
    close(checker, universe, tape, ending.at)
}

/// Plays `scenario` to the end of its time. No rule may break.
pub(crate) fn play_whole(scenario: &Scenario) -> Played {
    let (universe, checker) = prepare(scenario);
    let observers = Patient((checker, Tape::default()));
    let (Patient((checker, tape)), ending) = direct::run(scenario, Rc::clone(&universe), observers);
    close(checker, universe, tape, ending.at)
}

/// Plays `scenario` to the end of its time, which is too short for all to be found. What must never
/// happen must not.
pub(crate) fn play_in_part(scenario: &Scenario) -> Played {
    let (universe, checker) = prepare(scenario);
    let observers = Patient((checker, Tape::default()));
    let (Patient((checker, tape)), _) = direct::run(scenario, Rc::clone(&universe), observers);
    assert!(checker.broken().is_none(), "{:?}", checker.broken());
    Played { universe, tape }
}

fn prepare(scenario: &Scenario) -> (Rc<Universe>, Checker) {
    let universe = Rc::new(Universe::build(scenario).expect("a plan that fits"));
    let checker = Checker::new(scenario, Rc::clone(&universe));
    (universe, checker)
}

fn close(mut checker: Checker, universe: Rc<Universe>, tape: Tape, now: Instant) -> Played {
    checker.finish(now);
    assert!(checker.broken().is_none(), "{:?}", checker.broken());
    Played { universe, tape }
}

/// So many seconds into the run.
pub(crate) fn second(seconds: u64) -> Instant {
    Instant::START + Duration::from_secs(seconds)
}
