//! The loop: drain every poll of the core, wait for something to happen, hand it in, repeat.
//!
//! Each turn is bounded, so neither sockets nor files nor connections starve one another. The
//! loop takes no decision that belongs to the core.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_channel::Receiver;
use async_io::Timer;
use estudely_core::{
    Bootstrap as Kind, Config, Crawler, Duration, Family, Instant, Mode, PeerKey, Stats,
};
use smol::future;
use smol::stream::Stream;

use super::clock::Clock;
use super::error::RunError;
use super::feed::Feed;
use super::names::{Entrance, Entry};
use super::options::{Observer, Options};
use super::outcome::{Ended, Report, RunFailed, UdpReport};
use super::signal::Interrupts;
use super::tcp::Connections;
use super::udp::{DATAGRAMS_PER_TURN, RECEIVE_BUFFER, Udp};
use super::warm;
use crate::files::sink::{RowTimes, Sink};
use crate::files::state::Keeper;

/// A socket that just had datagrams is looked at again after this pause rather than at each
/// arrival: waking up costs more than reading (a third of a core at 20 000 datagrams a second).
const UDP_PAUSE: Duration = Duration::from_millis(1);
/// Between two looks at the observer.
const TICK: Duration = Duration::from_secs(1);
/// Without an answer for so long, the network is as good as absent.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Most requests handed to the core in one turn.
const REQUESTS_PER_TURN: usize = 256;
/// Most rows written in one turn.
const ROWS_PER_TURN: usize = 256;
/// After so many bytes of metadata and names in one turn's rows no other is written in it.
const ROW_BYTES_PER_TURN: usize = 1 << 20;
/// How long before the overall timeout the shutdown begins, so that the end falls on it.
const SHUTDOWN_LEAD: Duration = Duration::from_millis(100);
/// Most time for cut off connections to hand in their outcomes.
const SHUTDOWN_GRACE: Duration = Duration::from_millis(1500);
/// Most time for writing the state whole when the end is due: without it the file is complete all
/// the same, see [`Keeper::finish`].
const KEEP_IN_A_HURRY: Duration = Duration::from_millis(300);
/// The same when nothing presses.
const KEEP_AT_THE_END: Duration = Duration::from_secs(10);

/// One run.
pub(super) struct Driver<'a> {
    crawler: Crawler,
    clock: Clock,
    udp: [Option<Channel>; 2],
    connections: &'a Connections<PeerKey>,
    entrance: Option<Entrance>,
    requests: Feed,
    signal: Option<Pin<Box<Receiver<()>>>>,
    signalled: bool,
    timer: Timer,
    timer_at: Option<Instant>,
    overall: Option<Duration>,
    until_idle: Option<Duration>,
    idle_since: Option<Instant>,
    next_tick: Instant,
    transmit: Vec<u8>,
    receive: Box<[u8; RECEIVE_BUFFER]>,
    /// A turn stopped at one of its bounds: go on without waiting.
    more: bool,
    /// Whether requests alone say when the run ends.
    by_request: bool,
    /// It is settled that somebody answered, or that nobody has to.
    answered: bool,
    /// Contacts of an earlier run are there to be asked.
    warm: bool,
    /// Somebody answered.
    heard: bool,
    /// Who keeps the state for the next run.
    keeper: Option<Keeper>,
    /// Names that did not resolve: warnings once the run goes on without them.
    failed_names: Vec<String>,
    /// The sink was told so.
    begun: bool,
    /// The sink takes no more for now.
    blocked: bool,
    /// The sink takes no more at all.
    full: bool,
    /// The run is over but for what the sink still holds.
    draining: bool,
}

/// A socket and when to look at it.
struct Channel {
    udp: Udp,
    look: Look,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// When the reactor says so.
    OnEvent,
    /// It said so.
    Now,
    /// Then, whatever the reactor says.
    At(Instant),
}

impl<'a> Driver<'a> {
    pub(super) fn new(
        options: Options,
        clock: Clock,
        udp: [Option<Udp>; 2],
        connections: &'a Connections<PeerKey>,
        interrupts: Option<&Interrupts>,
    ) -> Result<Self, RunError> {
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
        let (keeper, warm) = match options.state {
            Some(file) => {
                let (keeper, warm) = warm::begin(&mut crawler, file, now, clock.wall())?;
                (Some(keeper), warm)
            }
            None => (None, false),
        };
        let requests = Feed::new(options.requests);
        let entrance = || Entrance::new(options.bootstrap, families, warm);
        Ok(Self {
            crawler,
            clock,
            udp: udp.map(|udp| udp.map(|udp| Channel { udp, look: Look::OnEvent })),
            connections,
            entrance: mode.uses_dht().then(entrance),
            by_request: requests.exists() && matches!(mode, Mode::Fetch | Mode::Direct),
            requests,
            signal: interrupts.map(|interrupts| Box::pin(interrupts.first())),
            signalled: false,
            timer: Timer::never(),
            timer_at: None,
            overall: options.overall_timeout,
            until_idle: options.until_idle,
            idle_since: None,
            next_tick: now + TICK,
            transmit: Vec::with_capacity(RECEIVE_BUFFER),
            receive: Box::new([0; RECEIVE_BUFFER]),
            more: false,
            answered: false,
            warm,
            heard: false,
            keeper,
            failed_names: Vec::new(),
            begun: false,
            blocked: false,
            full: false,
            draining: false,
        })
    }

    /// Turns until an end is reached; then shuts down and reports.
    pub(super) async fn run(
        mut self,
        sink: &mut dyn Sink,
        observer: &mut dyn Observer,
    ) -> Result<Report, RunFailed> {
        let turned = self.turn_until_end(sink, observer).await;
        // Of a run that nothing came of, nothing is kept.
        let keep = self.begun;
        // Every clean end leaves outputs that a run has begun, however empty.
        let begun = if turned.is_ok() { self.begin(sink) } else { Ok(()) };
        let ended = or_closed(turned, begun);
        // A lost output takes no more rows, and a failed run has none; every other end lets finished
        // work out.
        let writable = match ended {
            Err(RunError::SinkLost(_)) | Ok(Ended::OutputLimit) => false,
            Err(_) => self.begun,
            Ok(_) => true,
        };
        let settled = self.shut_down(if writable { Some(&mut *sink) } else { None }).await;
        let flushed = sink.flush();
        if keep {
            self.keep_to_the_end(&ended).await;
        }
        self.keeper.iter_mut().flat_map(Keeper::notes).for_each(|line| observer.note(&line));
        observer.tick(self.clock.elapsed(), &self.crawler.stats());
        match or_closed(ended, settled.and(flushed)) {
            Ok(ended) => {
                self.warn(observer);
                Ok(self.report(ended))
            }
            Err(error) => {
                let report = self.report(Ended::Failed);
                Err(RunFailed { error, report: Some(Box::new(report)) })
            }
        }
    }

    async fn turn_until_end(
        &mut self,
        sink: &mut dyn Sink,
        observer: &mut dyn Observer,
    ) -> Result<Ended, RunError> {
        loop {
            let now = self.clock.now();
            self.more = false;
            self.enter(now, observer).await;
            self.feed(now).await;
            self.send(now);
            self.dial(now);
            // Before anything is written: a run that fails for want of a network writes nothing.
            self.judge(now)?;
            let written = self.write(sink, ROWS_PER_TURN).await;
            // Room among the rows lets dials go on and infohashes begin.
            self.send(now);
            self.dial(now);
            self.full = sink.is_full();
            if let Some(ended) = lost(written)? {
                return Ok(ended);
            }
            self.keep(now, observer).await;
            if now >= self.next_tick {
                self.tick(now, observer);
            }
            if let Some(ended) = self.end(now, sink).await? {
                return Ok(ended);
            }
            self.wait(now, sink).await;
            self.hand_in();
        }
    }

    fn tick(&mut self, now: Instant, observer: &mut dyn Observer) {
        let stats = self.crawler.stats();
        observer.tick(self.clock.elapsed(), &stats);
        if let Some(entrance) = &mut self.entrance {
            entrance.on_answers(now, stats.answered + stats.refused);
        }
        self.next_tick = now + TICK;
    }

    /// Keeps the state, after the rows: what it says is settled is written.
    async fn keep(&mut self, now: Instant, observer: &mut dyn Observer) {
        let Some(keeper) = &mut self.keeper else { return };
        future::poll_once(poll_fn(|cx| keeper.poll(cx))).await;
        // Until then the file stays as it was, as the outputs do.
        if self.begun {
            keeper.turn(now, self.clock.wall(), &mut self.crawler);
        }
        keeper.notes().for_each(|line| observer.note(&line));
    }

    async fn keep_to_the_end(&mut self, ended: &Result<Ended, RunError>) {
        let Some(keeper) = &mut self.keeper else { return };
        let patience = match ended {
            // The end is promised for a moment, and most of it is used up.
            Ok(Ended::Signal | Ended::Timeout) => KEEP_IN_A_HURRY,
            _ => KEEP_AT_THE_END,
        };
        keeper.finish(self.clock.wall(), &mut self.crawler, patience).await;
    }

    /// Hands resolved bootstrap addresses to the core.
    async fn enter(&mut self, now: Instant, observer: &mut dyn Observer) {
        let Some(entrance) = &mut self.entrance else { return };
        entrance.handle_timeout(now);
        while let Some(entry) = future::poll_once(poll_fn(|cx| entrance.poll(cx))).await {
            match entry {
                Entry::Found { addresses, router } => {
                    let kind = if router { Kind::Router } else { Kind::Node };
                    self.crawler.handle_bootstrap(now, &addresses, kind);
                }
                Entry::Failed { line } => self.failed_names.push(line),
            }
        }
        if entrance.report().addresses_tried > 0 {
            self.warn(observer);
        }
    }

    /// Names the names that did not resolve, each once.
    fn warn(&mut self, observer: &mut dyn Observer) {
        self.failed_names.drain(..).for_each(|line| observer.note(&line));
    }

    /// Hands requests to the core until it is full or none is ready.
    async fn feed(&mut self, now: Instant) {
        for _ in 0..REQUESTS_PER_TURN {
            future::poll_once(poll_fn(|cx| self.requests.poll(cx))).await;
            if !self.requests.hand_in(&mut self.crawler, now) {
                return;
            }
        }
        self.more = true;
    }

    /// Sends what the core wants sent, as far as the sockets take it.
    fn send(&mut self, now: Instant) {
        for family in Family::ALL {
            let Some(Channel { udp, .. }) = &mut self.udp[family.index()] else { continue };
            let mut sent = 0;
            while udp.has_room() && sent < DATAGRAMS_PER_TURN {
                self.transmit.clear();
                let transmit = self.crawler.poll_transmit(now, family, &mut self.transmit);
                let Some(transmit) = transmit else { break };
                udp.send(transmit.to, &self.transmit[..transmit.len]);
                sent += 1;
            }
            self.more |= sent == DATAGRAMS_PER_TURN;
        }
    }

    fn dial(&mut self, now: Instant) {
        while let Some(dial) = self.crawler.poll_dial(now) {
            self.connections.dial(dial.peer, dial.to, dial.exchange);
        }
    }

    /// Tells the sink that the run has begun.
    fn begin(&mut self, sink: &mut dyn Sink) -> io::Result<()> {
        self.begun = true;
        sink.begin()
    }

    /// Writes settled rows as far as the sink takes them.
    async fn write(&mut self, sink: &mut dyn Sink, most: usize) -> io::Result<()> {
        if !self.begun && self.heard {
            self.begin(sink)?;
        }
        let (mut rows, mut bytes) = (0, 0);
        self.blocked = false;
        while rows < most && bytes < ROW_BYTES_PER_TURN && !sink.is_full() {
            match future::poll_once(poll_fn(|cx| sink.poll_ready(cx))).await {
                Some(ready) => ready?,
                None => {
                    self.blocked = true;
                    break;
                }
            }
            match self.write_row(sink)? {
                Some(written) => bytes += written,
                None => break,
            }
            rows += 1;
        }
        self.more |= rows == most || bytes >= ROW_BYTES_PER_TURN;
        Ok(())
    }

    /// Writes the next settled row and returns what it held; `None` if there is none.
    fn write_row(&mut self, sink: &mut dyn Sink) -> io::Result<Option<usize>> {
        let Some(row) = self.crawler.poll_row() else { return Ok(None) };
        if !self.begun {
            self.begin(sink)?;
        }
        let settled = self.clock.wall_time(row.settled);
        // By the same reading of the wall clock, so that the two keep their order.
        let found = settled.checked_sub(row.settled.since(row.found)).unwrap_or(settled);
        sink.write(&row, RowTimes { found, settled })?;
        Ok(Some(row.bytes_held()))
    }

    /// Fails a run that has nobody to talk to.
    fn judge(&mut self, now: Instant) -> Result<(), RunError> {
        if self.answered {
            return Ok(());
        }
        let Some(entrance) = &self.entrance else {
            self.answered = true;
            return Ok(());
        };
        self.heard = entrance.has_answer() || (self.warm && replies(&self.crawler.stats()) > 0);
        if self.heard {
            self.answered = true;
            return Ok(());
        }
        let needed = !self.by_request || self.requests.needs_dht();
        if let Some(names) = entrance.hopeless()
            && needed
            && !self.warm
            && (!self.by_request || self.requests.is_exhausted())
        {
            return Err(RunError::NoBootstrapResolved { names });
        }
        let patience = self.overall.map_or(ANSWER_TIMEOUT, |most| most.min(ANSWER_TIMEOUT));
        let elapsed = now.since(Instant::START);
        if elapsed < patience && !self.is_timed_out(now) {
            return Ok(());
        }
        let stats = self.crawler.stats();
        if replies(&stats) > 0 {
            self.answered = true;
        } else if needed && (!self.by_request || stats.dialled == 0) {
            // A list of requests may bring peers as long as it goes on.
            return Err(match entrance.hopeless() {
                Some(names) => RunError::NoBootstrapResolved { names },
                None => self.unanswered(patience),
            });
        } else {
            self.answered = self.requests.is_judged();
        }
        Ok(())
    }

    fn is_timed_out(&self, now: Instant) -> bool {
        let elapsed = now.since(Instant::START);
        self.overall.is_some_and(|most| elapsed + SHUTDOWN_LEAD.min(most / 2) >= most)
    }

    /// Whether the run is over, and how.
    async fn end(&mut self, now: Instant, sink: &mut dyn Sink) -> Result<Option<Ended>, RunError> {
        if self.signalled {
            return Ok(Some(Ended::Signal));
        }
        if self.is_timed_out(now) {
            return Ok(Some(Ended::Timeout));
        }
        self.draining = false;
        let Some(ended) = self.own_end(now) else { return Ok(None) };
        // Nothing presses: a slow reader gets what there is.
        match future::poll_once(poll_fn(|cx| sink.poll_flush(cx))).await {
            Some(flushed) => Ok(Some(lost(flushed)?.unwrap_or(ended))),
            None => {
                self.draining = true;
                Ok(None)
            }
        }
    }

    /// The end that the work itself has come to.
    fn own_end(&mut self, now: Instant) -> Option<Ended> {
        let may_idle = self.by_request || self.until_idle.is_some();
        let idle = may_idle && self.requests.is_done() && self.crawler.is_idle();
        if !idle {
            self.idle_since = None;
        }
        if self.full {
            Some(Ended::OutputLimit)
        } else if self.crawler.is_finished() {
            Some(Ended::Limit)
        } else if idle && self.by_request {
            Some(Ended::RequestsDone)
        } else if idle {
            let since = *self.idle_since.get_or_insert(now);
            let over = self.until_idle.is_some_and(|pause| now.since(since) >= pause);
            over.then_some(Ended::Idle)
        } else {
            None
        }
    }

    fn unanswered(&self, patience: Duration) -> RunError {
        let mut tried =
            self.entrance.as_ref().map_or(0, |entrance| entrance.report().addresses_tried);
        if self.warm {
            let asked = self.crawler.stats().contacts_asked;
            tried = tried.max(u32::try_from(asked).unwrap_or(u32::MAX));
        }
        RunError::NoNodeAnswered {
            seconds: patience.as_secs_f64().round() as u64,
            tried,
            send_failure: self.udp_report().last_failure,
        }
    }

    /// Waits until something is there to be handed in or a deadline has come.
    async fn wait(&mut self, now: Instant, sink: &mut dyn Sink) {
        let due = self.poll_timeout().is_some_and(|at| at <= now);
        if self.more || due || self.connections.has_outcome() {
            // The connections, and the reactor, get their turn all the same: a timer that is
            // already over would let nobody else run.
            return future::yield_now().await;
        }
        self.set_timer(now);
        poll_fn(|cx| self.poll_wake(cx, sink)).await;
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>, sink: &mut dyn Sink) -> Poll<()> {
        let back = self.timer_at.unwrap_or(self.next_tick);
        let mut ready = self.connections.poll_ready(cx, back).is_ready();
        for channel in self.udp.iter_mut().flatten() {
            if channel.look == Look::OnEvent && channel.udp.poll_readable(cx).is_ready() {
                channel.look = Look::Now;
                ready = true;
            }
            ready |= !channel.udp.has_room() && channel.udp.poll_room(cx).is_ready();
        }
        if Pin::new(&mut self.timer).poll_next(cx).is_ready() {
            self.timer_at = None;
            ready = true;
        }
        if let Some(signal) = &mut self.signal
            && signal.as_mut().poll_next(cx).is_ready()
        {
            self.signalled = true;
            self.signal = None;
            ready = true;
        }
        // Here only to be woken: the next turn looks closer.
        if let Some(entrance) = &mut self.entrance {
            ready |= entrance.poll_ready(cx);
        }
        if let Some(keeper) = &mut self.keeper {
            ready |= keeper.poll(cx).is_ready();
        }
        ready |= self.requests.poll(cx).is_ready();
        ready |= self.blocked && sink.poll_ready(cx).is_ready();
        ready |= self.draining && sink.poll_flush(cx).is_ready();
        if ready { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Moves the timer to the next deadline. One that comes earlier than needed stays: waking up
    /// once for nothing is cheaper than moving it each turn.
    fn set_timer(&mut self, now: Instant) {
        let Some(due) = self.poll_timeout() else { return };
        if self.timer_at.is_some_and(|at| at <= due && at > now) {
            return;
        }
        if let Some(at) = self.clock.machine_time(due) {
            self.timer.set_at(at);
            self.timer_at = Some(due);
        }
    }

    /// The earliest deadline of anything the loop turns.
    fn poll_timeout(&self) -> Option<Instant> {
        let looks = self.udp.iter().flatten().map(|channel| match channel.look {
            Look::At(at) => Some(at),
            Look::OnEvent | Look::Now => None,
        });
        let overall =
            self.overall.map(|most| Instant::START + (most - SHUTDOWN_LEAD.min(most / 2)));
        let idle = self.idle_since.zip(self.until_idle).map(|(since, pause)| since + pause);
        let entrance = self.entrance.as_ref().and_then(Entrance::poll_timeout);
        [
            self.crawler.poll_timeout(),
            self.connections.poll_timeout(),
            Some(self.next_tick),
            overall,
            idle,
            entrance,
            self.keeper.as_ref().filter(|_| self.begun).map(Keeper::poll_timeout),
        ]
        .into_iter()
        .chain(looks)
        .flatten()
        .min()
    }

    /// Hands everything that has arrived to the core.
    fn hand_in(&mut self) {
        let now = self.clock.now();
        for channel in self.udp.iter_mut().flatten() {
            let due = match channel.look {
                Look::OnEvent => false,
                Look::Now => true,
                Look::At(at) => at <= now,
            };
            if !due {
                continue;
            }
            let reads = channel.udp.receive(&mut self.receive, |from, payload| {
                if let Some(entrance) = &mut self.entrance {
                    entrance.on_datagram(from);
                }
                self.crawler.handle_datagram(now, from, payload);
            });
            channel.look = match reads {
                0 => Look::OnEvent,
                DATAGRAMS_PER_TURN => Look::At(now),
                _ => Look::At(now + UDP_PAUSE),
            };
        }
        while let Some((peer, outcome)) = self.connections.try_outcome() {
            self.crawler.handle_outcome(now, peer, outcome);
        }
        self.connections.handle_timeout(now);
        if self.crawler.poll_timeout().is_some_and(|at| at <= now) {
            self.crawler.handle_timeout(now);
        }
    }

    /// No new work; cuts off the connections, and lets out what is settled.
    async fn shut_down(&mut self, sink: Option<&mut dyn Sink>) -> io::Result<()> {
        self.hand_in();
        self.crawler.handle_shutdown(self.clock.now());
        self.connections.abort();
        let until = self.clock.now() + SHUTDOWN_GRACE;
        while self.connections.open() > 0 && self.clock.now() < until {
            future::yield_now().await;
        }
        let now = self.clock.now();
        while let Some((peer, outcome)) = self.connections.try_outcome() {
            self.crawler.handle_outcome(now, peer, outcome);
        }
        let Some(sink) = sink else { return Ok(()) };
        // Ready or not: there are few of them, and files must not go without for a stuck reader.
        let mut closed = Ok(());
        while !sink.is_full() {
            match self.write_row(sink) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                // A reader that left must not cost the files beside it their rows.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => closed = Err(error),
                Err(error) => return Err(error),
            }
        }
        closed
    }

    fn report(self, ended: Ended) -> Report {
        Report {
            stats: self.crawler.stats(),
            elapsed: self.clock.elapsed(),
            ended,
            bootstrap: self.entrance.as_ref().map(Entrance::report).unwrap_or_default(),
            udp: self.udp_report(),
            state: self.keeper.as_ref().map(Keeper::kept),
        }
    }

    fn udp_report(&self) -> UdpReport {
        let mut report = UdpReport::default();
        for Channel { udp, .. } in self.udp.iter().flatten() {
            report.bound[udp.family().index()] = Some(udp.local());
            let (failures, last) = udp.failures();
            report.send_failures += failures;
            report.last_failure = last.or(report.last_failure);
        }
        report
    }
}

/// Queries that were answered, in whatever way.
const fn replies(stats: &Stats) -> u64 {
    stats.answered + stats.refused
}

/// What became of an output: a reader that left is an end, anything else an error.
fn lost(result: io::Result<()>) -> Result<Option<Ended>, RunError> {
    match result {
        Ok(()) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Some(Ended::OutputClosed)),
        Err(error) => Err(RunError::SinkLost(error)),
    }
}

/// How a run ended, unless its end was the loss of an output.
fn or_closed(ended: Result<Ended, RunError>, output: io::Result<()>) -> Result<Ended, RunError> {
    let ended = ended?;
    Ok(lost(output)?.unwrap_or(ended))
}
