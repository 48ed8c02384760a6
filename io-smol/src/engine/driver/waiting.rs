//! Between two turns: what the loop waits for, and what it hands in then.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use estudely_core::Instant;
use smol::future;
use smol::stream::Stream;

use super::Driver;
use crate::engine::wake::{Wake, Wakes};
use crate::files::state::Keeper;

impl Driver<'_> {
    /// Waits until something is there to be handed in or a deadline has come.
    pub(super) async fn wait(&mut self) -> Wakes {
        let now = self.clock.now();
        let due = self.poll_timeout().is_some_and(|at| at <= now);
        self.wakes.note(Wake::Due, due);
        self.wakes.note(Wake::Connection, self.connections.has_news());
        if self.wakes.any() {
            // The connections, and the reactor, get their turn all the same: a timer that is
            // already over would let nobody else run.
            future::yield_now().await;
            return self.wakes;
        }
        self.set_timer(now);
        poll_fn(|cx| self.poll_wake(cx)).await
    }

    /// Every source is asked, ready or not, so that each wakes the loop when it is.
    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<Wakes> {
        let mut wakes = Wakes::default();
        let back = self.timer_at.unwrap_or(self.next_tick);
        wakes.note(Wake::Connection, self.connections.poll_ready(cx, back).is_ready());
        self.sockets.poll_wake(cx, &mut wakes);
        if Pin::new(&mut self.timer).poll_next(cx).is_ready() {
            self.timer_at = None;
            wakes.note(Wake::Due, true);
        }
        if let Some(signal) = &mut self.signal
            && signal.as_mut().poll_next(cx).is_ready()
        {
            self.signal = None;
            wakes.note(Wake::Signal, true);
        }
        // Here only to be woken: the next turn looks closer.
        wakes.note(Wake::Name, self.names.poll(cx));
        let state = self.keeper.as_mut().is_some_and(|keeper| keeper.poll(cx).is_ready());
        wakes.note(Wake::State, state);
        wakes.note(Wake::Request, self.requests.poll(cx).is_ready());
        wakes.note(Wake::Output, self.outputs.poll(cx));
        if wakes.any() { Poll::Ready(wakes) } else { Poll::Pending }
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
        let keeper = self.keeper.as_ref().filter(|_| self.outputs.have_begun());
        [
            self.crawler.poll_timeout(),
            self.connections.poll_timeout(),
            Some(self.next_tick),
            self.session.poll_timeout().map(|(at, _)| at),
            keeper.map(Keeper::poll_timeout),
            self.sockets.poll_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Hands everything that has arrived to the core.
    pub(super) fn hand_in(&mut self, wakes: Wakes) {
        let now = self.clock.now();
        if wakes.has(Wake::Signal) {
            self.session.handle_signal(now);
        }
        self.sockets.receive(now, |from, payload| {
            self.session.handle_datagram(from);
            self.crawler.handle_datagram(now, from, payload);
        });
        self.hand_in_outcomes(now);
        self.connections.handle_timeout(now);
        if self.crawler.poll_timeout().is_some_and(|at| at <= now) {
            self.crawler.handle_timeout(now);
        }
    }

    pub(super) fn hand_in_outcomes(&mut self, now: Instant) {
        while let Some((peer, outcome)) = self.connections.try_outcome() {
            self.crawler.handle_outcome(now, peer, outcome);
        }
    }
}
