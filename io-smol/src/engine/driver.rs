//! The loop: drain every poll of the core, wait for something to happen, hand it in, repeat.
//!
//! Each turn is bounded, so neither sockets nor files nor connections starve one another. The
//! loop takes no decision: the core says what is sent, and its session when the run begins, fails
//! and ends.

mod closing;
mod waiting;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;

use async_channel::Receiver;
use async_io::Timer;
use estudely_core::limits::ANSWER_WITHIN;
use estudely_core::session::{Ended, Facts, Goal, Output, Phase, Session, Start, Step, Terms};
use estudely_core::{Config, Crawler, Duration, Instant, Mode, PeerKey};
use smol::future;

use super::clock::Clock;
use super::error::RunError;
use super::feed::Feed;
use super::names::Names;
use super::options::{Observer, Options};
use super::outcome::{Report, RunFailed};
use super::outputs::{Outputs, Rows};
use super::signal::Interrupts;
use super::sockets::Sockets;
use super::tcp::Connections;
use super::udp::Udp;
use super::wake::{Wake, Wakes};
use super::warm;
use crate::files::sink::{Sink, Watched};
use crate::files::state::Keeper;

/// Between two looks at the observer.
const TICK: Duration = Duration::from_secs(1);
/// Most requests handed to the core in one turn.
const REQUESTS_PER_TURN: usize = 256;

/// What a run has of the machine.
pub(super) struct World<'a> {
    pub(super) clock: Clock,
    pub(super) udp: [Option<Udp>; 2],
    pub(super) connections: &'a Connections<PeerKey>,
    pub(super) interrupts: Option<&'a Interrupts>,
}

/// One run.
pub(super) struct Driver<'a> {
    crawler: Crawler,
    session: Session,
    clock: Clock,
    sockets: Sockets,
    connections: &'a Connections<PeerKey>,
    names: Names,
    requests: Feed,
    outputs: Outputs<'a>,
    observer: &'a mut dyn Observer,
    /// Keeps the state for the next run.
    keeper: Option<Keeper>,
    signal: Option<Pin<Box<Receiver<()>>>>,
    timer: Timer,
    timer_at: Option<Instant>,
    next_tick: Instant,
    /// The reasons for the next turn that are known already.
    wakes: Wakes,
    /// Warnings about names, for when the run goes on without them.
    warnings: Vec<String>,
}

impl<'a> Driver<'a> {
    pub(super) fn new(
        options: Options,
        world: World<'a>,
        sink: &'a mut dyn Sink,
        observer: &'a mut dyn Observer,
    ) -> Result<Self, RunError> {
        let World { clock, udp, connections, interrupts } = world;
        let now = clock.now();
        let mut own = udp.iter().flatten().map(Udp::local);
        let config = own.try_fold(options.crawler, Config::with_own);
        let config = config.map_err(|error| RunError::System {
            what: "a socket without an address",
            source: io::Error::other(error),
        })?;
        let families = udp.each_ref().map(Option::is_some);
        let mode = config.mode();
        let mut crawler = Crawler::new(config, options.seed, now);
        for hash in options.known {
            crawler.handle_known(hash);
        }
        let (keeper, start) = match options.state {
            Some(file) => {
                let (keeper, start) = warm::begin(&mut crawler, file, now, clock.stamp());
                (Some(keeper), start)
            }
            None => (None, Start::Cold),
        };
        let requests = Feed::new(options.requests);
        let by_request = requests.exists() && matches!(mode, Mode::Fetch | Mode::Direct);
        let (names, doors) =
            Names::new(if mode.uses_dht() { options.bootstrap } else { Vec::new() }, families);
        let terms = Terms {
            goal: if by_request { Goal::Requests } else { Goal::Crawl },
            start,
            answer_within: mode.uses_dht().then_some(ANSWER_WITHIN),
            overall_timeout: options.overall_timeout,
            until_idle: options.until_idle,
        };
        Ok(Self {
            crawler,
            session: Session::new(terms, &doors, Instant::START),
            clock,
            sockets: Sockets::new(udp),
            connections,
            names,
            requests,
            outputs: Outputs::new(sink, clock),
            observer,
            keeper,
            signal: interrupts.map(|interrupts| Box::pin(interrupts.first())),
            timer: Timer::never(),
            timer_at: None,
            next_tick: now + TICK,
            wakes: Wakes::default(),
            warnings: Vec::new(),
        })
    }

    /// Turns until the session ends the run; then shuts down and reports.
    pub(super) async fn run(mut self) -> Result<Report, RunFailed> {
        // A reader may have left before anything was begun.
        self.watch_outputs(self.clock.now());
        let ended = loop {
            if let Some(ended) = self.turn().await {
                break self.shut_down(ended).await;
            }
            let wakes = self.wait().await;
            self.hand_in(wakes);
        };
        if let Ended::Failed(failure) = ended {
            let error = self.error(failure);
            return Err(RunFailed { error, report: Some(Box::new(self.report(ended))) });
        }
        self.warn();
        Ok(self.report(ended))
    }

    /// One turn: what waits is moved as far as the bounds allow. The session looks twice: before
    /// rows are written, for a run that fails for want of a network writes none, and after that,
    /// for they may have been the last. How the run ends, once that is settled.
    async fn turn(&mut self) -> Option<Ended> {
        let now = self.clock.now();
        self.wakes = Wakes::default();
        self.enter(now).await;
        self.feed(now).await;
        self.send(now);
        self.turn_session(now);
        if let failed @ Some(Ended::Failed(_)) = self.session.ended() {
            return failed;
        }
        let written = self.outputs.write(&mut self.crawler).await;
        // Room among the rows lets dials go on and infohashes begin.
        self.send(now);
        self.wakes.note(Wake::Unfinished, matches!(written, Ok(Rows::Bound)));
        if self.outputs.are_full() {
            self.session.handle_output(now, Output::Full);
        }
        let lost = written.is_err();
        self.note_output(now, written.map(drop));
        if !lost {
            self.keep(now).await;
            self.tick(now);
            self.turn_session(now);
            self.drain(now).await;
        }
        self.act(now);
        self.session.ended()
    }

    /// Lets the session look at what the work has come to, and does what it says.
    fn turn_session(&mut self, now: Instant) {
        let facts = Facts { progress: self.crawler.progress(), requests: self.requests.progress() };
        self.session.handle_turn(now, &facts);
        self.act(now);
    }

    /// Does what the session says.
    fn act(&mut self, now: Instant) {
        while let Some(step) = self.session.poll_step() {
            match step {
                Step::Resolve(at) => self.names.resolve(at),
                Step::Enter(addr, kind) => self.crawler.handle_bootstrap(now, &[addr], kind),
                Step::Begin => {
                    let begun = self.outputs.begin();
                    self.note_output(now, begun);
                }
                Step::ShutDown => {
                    // What has arrived by now still counts.
                    self.hand_in(Wakes::default());
                    self.crawler.handle_shutdown(self.clock.now());
                    self.connections.abort();
                    // Streams say farewell, as far as the sockets take that at once.
                    let _ = self.sockets.send(self.clock.now(), &mut self.crawler);
                }
            }
        }
    }

    /// Tells the session what became of the names that it wanted resolved.
    async fn enter(&mut self, now: Instant) {
        future::poll_once(poll_fn(|cx| {
            self.names.poll(cx);
            Poll::Ready(())
        }))
        .await;
        for (at, resolved) in self.names.take_done() {
            match resolved {
                Ok(addresses) => self.session.handle_resolved(now, at, &addresses),
                Err(error) => {
                    if self.session.handle_unresolved(now, at) {
                        self.warnings.extend(self.names.warning(at, &error));
                    }
                }
            }
        }
        self.act(now);
        if self.session.bootstrap().addresses_tried > 0 {
            self.warn();
        }
    }

    /// Names the names that did not resolve, each once.
    fn warn(&mut self) {
        self.warnings.drain(..).for_each(|line| self.observer.note(&line));
    }

    /// Hands requests to the core until it is full or none is ready.
    async fn feed(&mut self, now: Instant) {
        for _ in 0..REQUESTS_PER_TURN {
            future::poll_once(poll_fn(|cx| self.requests.poll(cx))).await;
            if !self.requests.hand_in(&mut self.crawler, now) {
                return;
            }
        }
        self.wakes.note(Wake::Unfinished, true);
    }

    /// Sends and dials what the core wants.
    fn send(&mut self, now: Instant) {
        let bound = self.sockets.send(now, &mut self.crawler);
        self.wakes.note(Wake::Unfinished, bound);
        let mut has_packets = false;
        while let Some(dial) = self.crawler.poll_dial(now) {
            if dial.transport.is_utp() {
                self.connections.dial_stream(dial.peer, dial.exchange);
                has_packets = true;
            } else {
                self.connections.dial(dial.peer, dial.to, dial.exchange);
            }
        }
        while let Some(peer) = self.crawler.poll_recall(now) {
            self.connections.recall(peer);
        }
        has_packets |= self.connections.carry(now, &mut self.crawler);
        if has_packets {
            let bound = self.sockets.send(now, &mut self.crawler);
            self.wakes.note(Wake::Unfinished, bound);
        }
    }

    /// Keeps the state, after the rows: what it says is settled is written.
    async fn keep(&mut self, now: Instant) {
        let Some(keeper) = &mut self.keeper else { return };
        future::poll_once(poll_fn(|cx| keeper.poll(cx))).await;
        // Until then the file stays as it was, as the outputs do.
        if self.outputs.have_begun() {
            keeper.turn(now, self.clock.stamp(), &mut self.crawler);
        }
        keeper.notes().for_each(|line| self.observer.note(&line));
    }

    fn tick(&mut self, now: Instant) {
        if now >= self.next_tick {
            self.observer.tick(self.clock.elapsed(), &self.crawler.stats());
            self.next_tick = now + TICK;
            self.watch_outputs(now);
        }
    }

    /// Looks whether others have handled the outputs, and says so where that matters.
    fn watch_outputs(&mut self, now: Instant) {
        let watched = self.outputs.watch();
        let found = self.take_watched(now, watched);
        self.note_output(now, found);
    }

    /// Says what a look at the outputs has found, and takes back what was lost. The worst error, of
    /// which the session was not told.
    fn take_watched(&mut self, now: Instant, watched: Watched) -> io::Result<()> {
        let Watched { notes, lost, error } = watched;
        notes.iter().for_each(|line| self.observer.note(line));
        if !lost.is_empty() {
            self.crawler.handle_lost_rows(now, &lost);
            if let Some(keeper) = &mut self.keeper {
                keeper.save_soon(now);
            }
        }
        error.map_or(Ok(()), Err)
    }

    /// Once the work has come to an end, nothing presses: a slow reader gets what there is.
    async fn drain(&mut self, now: Instant) {
        if !matches!(self.session.phase(), Phase::Draining(_)) {
            return;
        }
        match self.outputs.try_flush().await {
            Some(Ok(())) => self.session.handle_output(now, Output::Flushed),
            Some(lost) => self.note_output(now, lost),
            None => {}
        }
    }

    /// Tells the session of an output that was lost.
    fn note_output(&mut self, now: Instant, result: io::Result<()>) {
        if let Err(error) = result {
            let news = self.outputs.news(error);
            self.session.handle_output(now, news);
        }
    }
}
