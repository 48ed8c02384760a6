//! The crawler under test with everything that an adapter gives it: its open connections, a clock
//! that may slip, and files that outlive it. Sans-IO: a harness moves what it wants moved.
//!
//! One subject, although long: the loop that drives the core, with a handler for each thing that
//! can happen to it; what these need is in the files below.
//!
//! It drives the core as the real adapter does, and reports all that crosses the boundary to an
//! [`Observer`] as it happens. Every `handle_*` ends with nothing left to poll from the core;
//! [`Subject::poll`] then has what is to be moved. It never looks into the crawler to judge it,
//! except where only a driver can see: deadlines must lie ahead once everything is drained, and
//! asking once more must change nothing (rule 16).

mod disk;
mod entry;
mod exchanges;
mod feed;
mod outputs;
mod replay;
pub(crate) mod script;
mod streams;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;

use estudely_core::internal::time::earliest;
use estudely_core::session::{Facts, Output, Phase, Session, Start, Step};
use estudely_core::{
    Config, Crawler, Duration, Family, InfoHash, Instant, Outcome, PeerKey, Seed, Stats,
};

use self::disk::Disk;
use self::entry::{Answer, Entry, Resolver};
use self::exchanges::Exchanges;
use self::feed::Feed;
use self::outputs::Outputs;
use crate::net::event::{Conn, Event, Held, Observer};
use crate::net::internet::Delivery;
use crate::world::scenario::Scenario;
use crate::world::skew::Clock;
use crate::world::universe::Universe;

/// Bytes of the adapter's receive buffer: a longer datagram arrives cut (H5).
pub const RECEIVE_BUFFER: usize = 2048 + 1;
/// Between two whole snapshots, as the program does it.
const SAVE_EVERY: Duration = Duration::from_secs(60);
/// More outputs than this at one instant are an endless loop.
const OUTPUTS_MAX: usize = 1 << 20;
/// Up to so many nodes every turn is reported as [`Event::Drained`]; beyond, one in
/// [`DRAINED_SHARE`], because making up the counters takes longer than the turn.
const DRAINED_ALL: u32 = 20_000;
/// See [`DRAINED_ALL`].
const DRAINED_SHARE: u64 = 64;

/// What the crawler wants moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A datagram.
    Send {
        /// Its own address in that family.
        from: SocketAddr,
        /// Where to.
        to: SocketAddr,
        /// What.
        payload: Vec<u8>,
    },
    /// A connection to open.
    Dial {
        /// Its number from now on.
        conn: Conn,
        /// To whom.
        to: SocketAddr,
    },
    /// Bytes for a connection.
    Write {
        /// Which.
        conn: Conn,
        /// What.
        bytes: Vec<u8>,
    },
    /// A connection to close.
    Close {
        /// Which.
        conn: Conn,
    },
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// When.
    pub at: Instant,
    /// Whether the observer had seen enough before the time was over.
    pub satisfied: bool,
    /// How often something was handed to the crawler.
    pub turns: u64,
    /// The counters of the crawler that ran last.
    pub stats: Stats,
}

/// The crawler under test; see the module.
pub struct Subject<O> {
    seed: u64,
    config: Config,
    entry: Entry,
    /// What each run is asked for.
    requests: Rc<[InfoHash]>,
    /// The outputs as each run finds them.
    outputs: Outputs,
    /// How long a connection that was cut off takes to be reported.
    cut: Duration,
    observer: O,
    clock: Clock,
    /// The harness's time as last told.
    now: Instant,
    disk: Disk,
    live: Option<Live>,
    starts: u64,
    conns: u64,
    actions: VecDeque<Action>,
    turns: u64,
    check_every: u64,
    drained_every: u64,
    datagram: Vec<u8>,
    written: Vec<u8>,
}

/// A crawler that runs.
struct Live {
    crawler: Crawler,
    /// When it enters the DHT, and when it is over.
    session: Session,
    resolver: Resolver,
    /// What the clock read when it began.
    begun: Instant,
    exchanges: Exchanges,
    feed: Feed,
    outputs: Outputs,
    cut: CutOff,
    save_at: Option<Instant>,
}

/// The outcomes of connections that a shutdown cut off, until the crawler is told of them.
#[derive(Debug, Default)]
struct CutOff {
    outcomes: Vec<(PeerKey, Outcome)>,
    /// When that is; none once it has happened.
    due: Option<Instant>,
}

impl<O: Observer> Subject<O> {
    /// A crawler that has not been started, as the scenario wants it, at home in `universe`.
    pub fn new(scenario: &Scenario, universe: &Universe, observer: O) -> Self {
        let own = Family::ALL.map(|family| universe.own(family));
        let bootstrap = Family::ALL.into_iter().flat_map(|family| universe.bootstrap(family));
        let keys = universe.worlds().next().into_iter().flat_map(|world| {
            (0..world.torrent_count().min(scenario.requests)).map(|number| world.key(number))
        });
        let subject = Self::at(scenario, own, bootstrap.collect(), observer);
        Self { requests: keys.collect(), ..subject }
    }

    /// The same without a universe.
    fn at(
        scenario: &Scenario,
        own: [Option<SocketAddr>; 2],
        bootstrap: Vec<SocketAddr>,
        observer: O,
    ) -> Self {
        Self {
            seed: scenario.seed,
            config: scenario
                .config()
                .and_then(|config| own.into_iter().flatten().try_fold(config, Config::with_own))
                .expect("a scenario that was checked, and addresses with a port"),
            entry: Entry::new(scenario, bootstrap),
            requests: Rc::default(),
            outputs: Outputs::new(scenario),
            cut: Duration::from_millis(u64::from(scenario.cut_ms)),
            observer,
            clock: Clock::of(scenario),
            now: Instant::START,
            disk: Disk::new(scenario.seed, scenario.crashes > 0),
            live: None,
            starts: 0,
            conns: 0,
            actions: VecDeque::new(),
            turns: 0,
            check_every: u64::from(scenario.nodes / 16).max(16),
            drained_every: if scenario.nodes > DRAINED_ALL { DRAINED_SHARE } else { 1 },
            datagram: Vec::with_capacity(RECEIVE_BUFFER),
            written: Vec::new(),
        }
    }

    /// Begins, with what the files hold.
    pub fn start(&mut self, now: Instant) {
        assert!(self.live.is_none(), "a crawler that runs is not started");
        self.now = now;
        self.starts += 1;
        let mut seed = Seed::from_u64(self.seed);
        seed.0[8..16].copy_from_slice(&self.starts.to_be_bytes());
        let mut crawler = Crawler::new(self.config.clone(), seed, Instant::START);
        let state = self.disk.state();
        self.observer.observe(now, &Event::Started { own: self.config.own(), state });
        let restored = self.disk.restore(now, &mut crawler);
        let start = restored.as_ref().map_or(Start::Cold, Start::after);
        self.live = Some(Live {
            crawler,
            session: Session::new(self.entry.terms(start), &self.entry.doors(), Instant::START),
            resolver: self.entry.resolver(),
            begun: self.clock.reading(now),
            exchanges: Exchanges::new(self.config.assembly_bytes()),
            feed: Feed::new(self.requests.clone()),
            outputs: self.outputs.clone(),
            cut: CutOff::default(),
            save_at: Some(if restored.is_some() { now + SAVE_EVERY } else { now }),
        });
        self.turn(now, false);
    }

    /// Kills it: everything is gone but its files.
    pub fn kill(&mut self, now: Instant) {
        self.now = now;
        self.live = None;
        self.actions.clear();
        self.disk.tear();
        self.observer.observe(now, &Event::Killed);
    }

    /// A signal asks it to end.
    pub fn shut_down(&mut self, now: Instant) {
        let Some(core) = self.advance(now) else {
            return self.observer.observe(now, &Event::ShutDown { ended: None });
        };
        if let Some(live) = self.live.as_mut().filter(|live| live.session.is_working()) {
            live.session.handle_signal(core);
            self.turn(now, false);
        }
    }

    /// Passes on that the faults of the links have ended; the crawler knows nothing of it.
    pub fn note_healed(&mut self, now: Instant) {
        self.observer.observe(now, &Event::Healed);
    }

    /// A datagram arrived.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        payload: &[u8],
        forged: bool,
    ) {
        let Some(core) = self.advance(now) else { return };
        let Some(live) = &mut self.live else { return };
        let payload = &payload[..payload.len().min(RECEIVE_BUFFER)];
        self.observer.observe(now, &Event::Received { from, payload, forged });
        live.session.handle_datagram(from);
        live.crawler.handle_datagram(core, from, payload);
        self.turn(now, false);
    }

    /// A connection was accepted.
    pub fn handle_connected(&mut self, now: Instant, conn: Conn) {
        let Some(core) = self.advance(now) else { return };
        if !self.live.as_ref().is_some_and(|live| live.exchanges.contains(conn)) {
            return;
        }
        self.connect(now, core, conn);
        self.turn(now, false);
    }

    fn connect(&mut self, now: Instant, core: Instant, conn: Conn) {
        let Some(live) = &mut self.live else { return };
        self.observer.observe(now, &Event::Connected { conn });
        self.written.clear();
        live.exchanges.handle_connected(core, conn, &mut self.written);
        self.write(now, conn);
    }

    /// Bytes arrived on a connection.
    pub fn handle_bytes(&mut self, now: Instant, conn: Conn, bytes: &[u8]) {
        let Some(core) = self.advance(now) else { return };
        if !self.live.as_ref().is_some_and(|live| live.exchanges.contains(conn)) {
            return;
        }
        self.read(now, core, conn, bytes);
        self.turn(now, true);
    }

    /// An exchange reads; whether it goes on.
    fn read(&mut self, now: Instant, core: Instant, conn: Conn, bytes: &[u8]) -> bool {
        let Some(live) = &mut self.live else { return false };
        self.observer.observe(now, &Event::Read { conn, bytes });
        self.written.clear();
        match live.exchanges.handle_bytes(core, conn, bytes, &mut self.written) {
            None => self.write(now, conn),
            Some((peer, outcome)) => {
                self.end(now, conn, peer, outcome, true);
                return false;
            }
        }
        true
    }

    /// A connection was refused, or it was closed or reset by the other side.
    pub fn handle_lost(&mut self, now: Instant, conn: Conn, refused: bool) {
        let Some(core) = self.advance(now) else { return };
        let Some(live) = self.live.as_mut().filter(|live| live.exchanges.contains(conn)) else {
            return;
        };
        self.observer.observe(now, &Event::Lost { conn, refused });
        if let Some((peer, outcome)) = live.exchanges.handle_lost(core, conn, refused) {
            self.end(now, conn, peer, outcome, false);
        }
        self.turn(now, false);
    }

    /// Time has passed. Too early a call changes nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
        let Some(core) = self.advance(now) else { return };
        loop {
            self.written.clear();
            let Some(live) = &mut self.live else { break };
            match live.exchanges.handle_timeout(core, &mut self.written) {
                None => break,
                Some((conn, None)) => self.write(now, conn),
                Some((conn, Some((peer, outcome)))) => self.end(now, conn, peer, outcome, true),
            }
        }
        self.take_names(core);
        self.take_cut(core);
        if let Some(live) = &mut self.live
            && let Some(deadline) = live.crawler.poll_deadline().filter(|next| next.at <= core)
        {
            self.observer.observe(now, &Event::Woke(deadline.why));
            live.crawler.handle_timeout(core);
        }
        self.turn(now, false);
        let due = self.poll_timeout();
        assert!(due.is_none_or(|due| due > now), "rule 16: at {now:?} drained, yet due at {due:?}");
    }

    /// What is to be moved next.
    pub fn poll(&mut self, _now: Instant) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] must be called next. Depends on the time of the call, because
    /// the crawler's clock may slip.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let live = self.live.as_ref()?;
        let session = live.session.poll_timeout().map(|(at, _)| at);
        let own =
            [session, live.resolver.poll_timeout(), live.outputs.poll_timeout(), live.cut.due];
        let core = [live.crawler.poll_timeout(), live.exchanges.poll_timeout()];
        let core = core.into_iter().chain(own).fold(None, earliest);
        let core = core.map(|at| self.harness_time(live, at));
        earliest(core, live.save_at)
    }

    /// Every counter of the crawler that runs; zeros if none does.
    pub fn stats(&self) -> Stats {
        self.live.as_ref().map(|live| live.crawler.stats()).unwrap_or_default()
    }

    /// Whether the run of the crawler that was started last has ended, by itself or as it was
    /// told.
    pub fn has_ended(&self) -> bool {
        self.live.as_ref().is_some_and(|live| !live.session.is_working())
    }

    /// Whether a crawler runs.
    pub fn is_live(&self) -> bool {
        self.live.is_some()
    }

    /// How often something was handed in.
    pub fn turns(&self) -> u64 {
        self.turns
    }

    /// Who sees everything.
    pub fn observer(&self) -> &O {
        &self.observer
    }

    /// The run is over at `now`.
    pub fn finish(mut self, now: Instant, satisfied: bool) -> (O, Ending) {
        self.write_rows(now);
        let ending = Ending { at: now, satisfied, turns: self.turns, stats: self.stats() };
        (self.observer, ending)
    }

    /// Hands in what the virtual internet has for it.
    pub(crate) fn deliver(&mut self, now: Instant, delivery: &Delivery) {
        match delivery {
            Delivery::Datagram { from, payload, forged, .. } => {
                self.handle_datagram(now, *from, payload, *forged);
            }
            Delivery::Accepted(conn) => self.handle_connected(now, *conn),
            Delivery::Bytes(conn, bytes) => self.handle_bytes(now, *conn, bytes),
            Delivery::Refused(conn) => self.handle_lost(now, *conn, true),
            Delivery::Closed(conn) | Delivery::Reset(conn) => self.handle_lost(now, *conn, false),
        }
    }

    /// Takes note of the time; what the crawler is told it is, if one runs.
    fn advance(&mut self, now: Instant) -> Option<Instant> {
        self.now = now;
        let live = self.live.as_ref()?;
        Some(Instant::START + self.clock.reading(now).since(live.begun))
    }

    fn harness_time(&self, live: &Live, core: Instant) -> Instant {
        self.clock.when(self.now, live.begun + core.since(Instant::START))
    }

    /// What the exchange has just written goes out.
    fn write(&mut self, now: Instant, conn: Conn) {
        if !self.written.is_empty() {
            self.observer.observe(now, &Event::Wrote { conn, bytes: &self.written });
            let live = self.live.as_mut();
            if live.is_some_and(|live| live.exchanges.queue(conn, &self.written)) {
                return;
            }
            self.actions.push_back(Action::Write { conn, bytes: self.written.clone() });
        }
    }

    /// An exchange is over.
    fn end(&mut self, now: Instant, conn: Conn, peer: PeerKey, outcome: Outcome, close: bool) {
        self.note_end(now, conn, &outcome, close);
        let core = self.advance(now);
        if let Some((live, core)) = self.live.as_mut().zip(core) {
            live.crawler.handle_outcome(core, peer, outcome);
        }
    }

    /// A connection is gone; the crawler may not know so far.
    fn note_end(&mut self, now: Instant, conn: Conn, outcome: &Outcome, close: bool) {
        let fault = outcome.result.as_ref().err().copied();
        self.observer.observe(now, &Event::Ended { conn, fault });
        if close {
            self.actions.push_back(Action::Close { conn });
        }
    }

    /// Takes everything that the core has to say, writes down what must not be lost, and looks
    /// whether all is as it must be.
    fn turn(&mut self, now: Instant, by_stream: bool) {
        self.disk.begin_turn(by_stream);
        let mut outputs = 0;
        loop {
            let more = self.turn_session(now) + self.drain(now);
            if !self.disk.is_stalled(now) {
                self.write_rows(now);
            }
            outputs += more;
            assert!(outputs < OUTPUTS_MAX, "rule 16: output without end at {now:?}");
            if more == 0 {
                break;
            }
        }
        self.note_journal(now);
        if self.live.as_ref().and_then(|live| live.save_at).is_some_and(|at| at <= now) {
            self.save(now);
        }
        self.turns += 1;
        if self.turns.is_multiple_of(self.check_every) {
            self.check(now);
        }
        if self.turns.is_multiple_of(self.drained_every)
            && !self.disk.has_unwritten()
            && let Some(live) = &self.live
        {
            let (next, stats) = (live.crawler.poll_deadline(), live.crawler.stats());
            let [kept, rows] = live.crawler.bytes_held();
            let held = Held { unfinished: live.exchanges.bytes_held() + kept, rows };
            let timeout = self.poll_timeout();
            self.observer.observe(now, &Event::Drained { timeout, next, stats: &stats, held });
        }
        self.close(now);
    }

    /// Lets the session look at what the work has come to and does what it says; how much that
    /// was.
    fn turn_session(&mut self, now: Instant) -> usize {
        let Some(core) = self.advance(now) else { return 0 };
        let mut steps = self.hand_in(now, core);
        let Some(live) = &mut self.live else { return 0 };
        let facts = Facts { progress: live.crawler.progress(), requests: live.feed.progress() };
        live.session.handle_turn(core, &facts);
        let is_draining = self.entry.ends() && matches!(live.session.phase(), Phase::Draining(_));
        if live.outputs.poll_flushed(core, is_draining) {
            self.write_rows(now);
            if let Some(live) = &mut self.live {
                live.session.handle_output(core, Output::Flushed);
            }
        }
        while let Some(live) = &mut self.live
            && let Some(step) = live.session.poll_step()
        {
            steps += 1;
            match step {
                Step::Resolve(at) => live.resolver.resolve(core, at),
                Step::Enter(addr, kind) => live.crawler.handle_bootstrap(core, &[addr], kind),
                Step::Begin => {}
                Step::ShutDown => self.stop(now, core),
            }
        }
        steps
    }

    /// Hands in what the run is asked for, as far as the crawler takes it; how much that was.
    fn hand_in(&mut self, now: Instant, core: Instant) -> usize {
        let Some(live) = self.live.as_mut().filter(|live| live.session.is_working()) else {
            return 0;
        };
        let mut taken = 0;
        while let Some(hash) = live.feed.hand_in(core, &mut live.crawler) {
            self.observer.observe(now, &Event::Requested { hash });
            taken += 1;
        }
        taken
    }

    /// Tells the session what became of names.
    fn take_names(&mut self, core: Instant) {
        let Some(live) = &mut self.live else { return };
        while let Some((at, answer)) = live.resolver.poll(core) {
            match answer {
                Answer::Found(addr) => live.session.handle_resolved(core, at, &[addr]),
                Answer::Failed => drop(live.session.handle_unresolved(core, at)),
            }
        }
    }

    /// Tells the crawler to begin nothing new, and cuts off its connections, as the adapter does.
    fn stop(&mut self, now: Instant, core: Instant) {
        let Some(live) = &mut self.live else { return };
        self.observer.observe(now, &Event::ShutDown { ended: live.session.ended() });
        live.crawler.handle_shutdown(core);
        let mut outcomes = Vec::new();
        for (conn, peer, outcome) in live.exchanges.abort(core) {
            self.note_end(now, conn, &outcome, true);
            outcomes.push((peer, outcome));
        }
        let wait = if outcomes.is_empty() { Duration::ZERO } else { self.cut };
        if let Some(live) = &mut self.live {
            live.cut = CutOff { outcomes, due: Some(core + wait) };
        }
        self.take_cut(core);
    }

    /// Tells the crawler of the connections that were cut off, if it is time.
    fn take_cut(&mut self, core: Instant) {
        let Some(live) = &mut self.live else { return };
        if live.cut.due.is_none_or(|due| due > core) {
            return;
        }
        for (peer, outcome) in std::mem::take(&mut live.cut).outcomes {
            live.crawler.handle_outcome(core, peer, outcome);
        }
        live.session.handle_disconnected(core);
    }

    /// Ends a turn in which the run was shut down: what it has finished is taken down by now.
    fn close(&mut self, now: Instant) {
        let Some(core) = self.advance(now) else { return };
        let closing = |live: &Live| matches!(live.session.phase(), Phase::Closing(_));
        if self.live.as_ref().is_some_and(closing) {
            self.write_rows(now);
            self.save(now);
            if let Some(live) = &mut self.live {
                live.save_at = None;
                // Those that did not come within the grace are waited for no longer.
                live.cut = CutOff::default();
                live.session.handle_output(core, Output::Flushed);
            }
        }
    }

    /// Polls each of the core's outputs until it has nothing; how much that was. A row taken may
    /// make room for more datagrams: the caller asks again until there is nothing at all.
    fn drain(&mut self, now: Instant) -> usize {
        let Some(core) = self.advance(now) else { return 0 };
        let Some(live) = &mut self.live else { return 0 };
        let Self { config, observer, actions, datagram, conns, disk, .. } = self;
        let mut outputs = 0;
        for family in Family::ALL {
            let Some(from) = config.own()[family.index()] else { continue };
            datagram.clear();
            while let Some(sent) = live.crawler.poll_transmit(core, family, datagram) {
                let payload = &datagram[datagram.len() - sent.len..];
                observer.observe(now, &Event::Sent { to: sent.to, payload });
                actions.push_back(Action::Send { from, to: sent.to, payload: payload.to_vec() });
                datagram.clear();
                outputs += 1;
                assert!(outputs < OUTPUTS_MAX, "rule 16: datagrams without end at {now:?}");
            }
        }
        while let Some(dial) = live.crawler.poll_dial(core) {
            let (conn, to) = (Conn(*conns), dial.to);
            *conns += 1;
            let utp = dial.transport.is_utp();
            observer.observe(now, &Event::Dialled { conn, to, utp });
            live.exchanges.insert(conn, dial.peer, dial.exchange, utp);
            if !utp {
                actions.push_back(Action::Dial { conn, to });
            }
            outputs += 1;
        }
        let mut recalled = Vec::new();
        while let Some(peer) = live.crawler.poll_recall(core) {
            recalled.extend(live.exchanges.recall(core, peer).map(|(conn, end)| (conn, peer, end)));
            outputs += 1;
        }
        let mut news = None;
        while live.outputs.take_rows()
            && let Some(row) = live.crawler.poll_row()
        {
            disk.take_row(now, row);
            news = news.or(live.outputs.on_row());
            outputs += 1;
        }
        if let Some(news) = news {
            // It comes with the last row.
            self.write_rows(now);
            self.observer.observe(now, &Event::Output(news));
            if let Some(live) = &mut self.live {
                live.session.handle_output(core, news);
            }
        }
        for (conn, peer, outcome) in recalled {
            self.end(now, conn, peer, outcome, true);
        }
        outputs + self.carry(now)
    }

    /// Writes every row that was taken, and says so to the crawler.
    fn write_rows(&mut self, now: Instant) {
        let Some(live) = &mut self.live else { return };
        while let Some((taken, row)) = self.disk.write_row() {
            self.observer.observe(now, &Event::Row { row: &row, taken });
        }
        live.crawler.acknowledge_rows(self.disk.written());
    }

    fn note_journal(&mut self, now: Instant) {
        let Some(live) = &mut self.live else { return };
        if let Some(bytes) = self.disk.append(now, &mut live.crawler) {
            self.observer.observe(now, &Event::Saved { bytes, whole: false });
        }
    }

    fn save(&mut self, now: Instant) {
        let Some(live) = &mut self.live else { return };
        live.save_at = Some(now + SAVE_EVERY);
        let bytes = self.disk.replace(now, &live.crawler);
        self.observer.observe(now, &Event::Saved { bytes, whole: true });
    }

    /// What the core asserts of itself, and that one more timeout that is not due changes nothing.
    fn check(&mut self, now: Instant) {
        let Some(core) = self.advance(now) else { return };
        let Some(live) = &mut self.live else { return };
        live.crawler.check();
        let due = live.crawler.poll_deadline();
        if due.is_some_and(|deadline| deadline.at <= core) {
            return;
        }
        live.crawler.handle_timeout(core);
        let after = live.crawler.poll_deadline();
        assert_eq!(after, due, "rule 16: a timeout that was not due moved the deadline");
        let outputs = self.drain(now);
        assert_eq!(outputs, 0, "rule 16: a timeout that was not due led to output");
    }
}

#[cfg(test)]
pub(crate) mod tests;
