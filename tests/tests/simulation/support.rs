//! One run under the whole checker, and notes of what crossed the boundary for exact expectations.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;

use estudely_core::krpc::{Kind, Message, Method};
use estudely_core::limits::{EXPIRE_AFTER, SWEEP_PAUSE_MIN};
use estudely_core::{Duration, Family, InfoHash, Instant, PeerFault, Stats, Verdict};
use estudely_sim::checker::Checker;
use estudely_sim::direct;
use estudely_sim::event::{Conn, Event, Observer};
use estudely_sim::rule::Broken;
use estudely_sim::scenario::Scenario;
use estudely_sim::universe::Universe;
use estudely_sim::world::World;

/// What a connection in the clear begins with.
const CLEAR: &[u8] = b"\x13BitTorrent protocol";

/// What a query asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ask {
    Ping,
    FindNode,
    GetPeers(InfoHash),
    Sample,
}

/// A connection of the crawler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) to: SocketAddr,
    pub(crate) dialled: Instant,
    pub(crate) connected: Option<Instant>,
    /// When the last bytes came.
    pub(crate) heard: Option<Instant>,
    /// Whether it began with a key.
    pub(crate) is_sealed: bool,
    /// Whether it went over uTP.
    pub(crate) is_utp: bool,
    pub(crate) ended: Option<(Instant, Option<PeerFault>)>,
}

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) at: Instant,
    pub(crate) hash: InfoHash,
    pub(crate) verified: bool,
    /// Everything that it says, times included.
    pub(crate) text: String,
}

/// Everything that was sent, dialled and told, in order.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) queries: Vec<(Instant, SocketAddr, Ask)>,
    /// Datagrams that nobody forged.
    pub(crate) received: Vec<(Instant, SocketAddr)>,
    /// Where forged ones claimed to come from.
    pub(crate) forged: Vec<SocketAddr>,
    pub(crate) calls: BTreeMap<Conn, Call>,
    pub(crate) open: usize,
    pub(crate) most_open: usize,
    pub(crate) rows: Vec<Told>,
    /// The counters when everything was last drained before the shutdown.
    pub(crate) stats: Stats,
    over: bool,
}

impl Observer for Notes {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        match *event {
            Event::Sent { to, payload } => {
                self.queries.extend(ask(payload).map(|ask| (now, to, ask)));
            }
            Event::Received { from, forged: true, .. } => self.forged.push(from),
            Event::Received { from, .. } => self.received.push((now, from)),
            Event::Dialled { conn, to, utp: is_utp } => {
                let (connected, heard, ended) = (None, None, None);
                let (dialled, is_sealed) = (now, false);
                let call = Call { to, dialled, connected, heard, is_sealed, is_utp, ended };
                self.calls.insert(conn, call);
                self.open += 1;
                self.most_open = self.most_open.max(self.open);
            }
            Event::Connected { conn } => {
                self.calls.get_mut(&conn).expect("it was dialled").connected = Some(now);
            }
            Event::Wrote { conn, bytes } => {
                let call = self.calls.get_mut(&conn).expect("it was dialled");
                // Before anything was heard it is the first thing said.
                call.is_sealed |= call.heard.is_none() && !bytes.starts_with(CLEAR);
            }
            Event::Read { conn, .. } => {
                self.calls.get_mut(&conn).expect("it was dialled").heard = Some(now);
            }
            Event::Ended { conn, fault } => {
                let call = self.calls.get_mut(&conn).expect("it was dialled");
                assert_eq!(call.ended.replace((now, fault)).map(|_| ()), None);
                self.open -= 1;
            }
            Event::Row { row, .. } => self.rows.push(Told {
                at: now,
                hash: row.infohash,
                verified: matches!(row.verdict, Verdict::Verified { .. }),
                text: format!("{row:?}"),
            }),
            Event::ShutDown { .. } => self.over = true,
            Event::Drained { stats, .. } if !self.over => self.stats.clone_from(stats),
            _ => {}
        }
    }
}

impl Notes {
    /// When `to` was asked, and for what.
    pub(crate) fn asked(&self, to: SocketAddr) -> impl Iterator<Item = (Instant, Ask)> + '_ {
        let asked = self.queries.iter().filter(move |query| query.1 == to);
        asked.map(|&(at, _, ask)| (at, ask))
    }

    /// How many rows have metadata.
    pub(crate) fn verified(&self) -> usize {
        self.rows.iter().filter(|row| row.verified).count()
    }

    /// Every connection that came to an end, with its fault if it had one.
    pub(crate) fn ended(&self) -> impl Iterator<Item = (Call, Instant, Option<PeerFault>)> + '_ {
        self.calls.values().map(|call| {
            let (at, fault) = call.ended.expect("no connection outlives the run");
            (*call, at, fault)
        })
    }
}

fn ask(payload: &[u8]) -> Option<Ask> {
    let Kind::Query(query) = Message::parse(payload).ok()?.kind else { return None };
    match query.method {
        Method::Ping => Some(Ask::Ping),
        Method::FindNode { .. } => Some(Ask::FindNode),
        Method::GetPeers { info_hash, .. } => Some(Ask::GetPeers(info_hash)),
        Method::SampleInfohashes { .. } => Some(Ask::Sample),
        _ => None,
    }
}

/// Sees all of a run, whose end it does not bring about.
struct Throughout(Checker, Notes);

impl Observer for Throughout {
    fn observe(&mut self, now: Instant, event: &Event<'_>) {
        self.0.observe(now, event);
        self.1.observe(now, event);
    }

    fn satisfied(&self) -> bool {
        self.0.broken().is_some()
    }
}

/// A run that is over.
pub(crate) struct Played {
    pub(crate) universe: Rc<Universe>,
    pub(crate) notes: Notes,
}

impl Played {
    /// The DHT of IPv4.
    pub(crate) fn world(&self) -> &World {
        self.universe.world(Family::V4).expect("a DHT of IPv4")
    }

    /// Every torrent with a peer that serves is verified; how many are.
    pub(crate) fn assert_found(&self) -> usize {
        let facts = self.universe.truth().facts();
        let served = facts.iter().filter(|fact| fact.peers.values().any(|serves| *serves)).count();
        assert_eq!((self.notes.verified(), self.notes.rows.len()), (served, facts.len()));
        served
    }

    /// Where node `number` lives.
    pub(crate) fn node(&self, number: u32) -> SocketAddr {
        self.world().contact(number).addr
    }
}

/// Plays the whole scenario in the plain loop: no rule may break, and whatever is due must come.
pub(crate) fn play(scenario: &Scenario) -> Played {
    let (played, broken) = try_play(scenario);
    if let Some(broken) = broken {
        panic!("{broken}\n{scenario}");
    }
    played
}

/// The same where a rule is known to break: with the first that does.
pub(crate) fn try_play(scenario: &Scenario) -> (Played, Option<Broken>) {
    let universe = Rc::new(Universe::build(scenario).expect("a plan that fits"));
    let checker = Checker::new(scenario, Rc::clone(&universe));
    let watching = Throughout(checker, Notes::default());
    let (Throughout(mut checker, notes), ending) =
        direct::run(scenario, Rc::clone(&universe), watching);
    checker.finish(ending.at);
    (Played { universe, notes }, checker.broken().cloned())
}

/// That many seconds after the start.
pub(crate) fn second(seconds: u64) -> Instant {
    Instant::START + Duration::from_secs(seconds)
}

/// From one attempt at a silent address to the next, whole seconds: its sample and its `find_node`
/// expire, and then the pass pauses, each time twice as long. `doubled` times it was longer before.
pub(crate) fn passes(doubled: u32, gaps: u8) -> Vec<u64> {
    let pause = |turn: u32| SWEEP_PAUSE_MIN.as_secs() << (doubled + turn);
    (0..gaps.into()).map(|turn| 2 * EXPIRE_AFTER.as_secs() + pause(turn)).collect()
}

/// Whole seconds between each of `times` and the next: exact to the microsecond, or a failure.
pub(crate) fn gaps(times: &[Instant]) -> Vec<u64> {
    let gap = |pair: &[Instant]| {
        let gap = pair[1].since(pair[0]);
        assert_eq!(gap.subsec_nanos(), 0, "{gap:?} is no whole number of seconds");
        gap.as_secs()
    };
    times.windows(2).map(gap).collect()
}
