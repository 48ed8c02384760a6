//! Crawler and virtual internet side by side, as [`estudely_sim::direct`] has them, with both open
//! to be looked at between two instants, and with a count of the memory that the crawler holds.

use std::rc::Rc;

use estudely_core::Instant;
use estudely_core::internal::time::earliest;
use estudely_sim::event::Observer;
use estudely_sim::net::{Delivery, Net, Shard};
use estudely_sim::scenario::Scenario;
use estudely_sim::subject::{Action, Subject};
use estudely_sim::universe::Universe;

use crate::counting::cost;

/// A run without crashes, which ends when one stops asking for more.
pub(crate) struct Bench<O> {
    pub(crate) subject: Subject<O>,
    pub(crate) net: Net,
    now: Instant,
    /// Bytes that the crawler and its files hold.
    held: i64,
    /// Most of them since this was last asked.
    peak: i64,
}

impl<O: Observer> Bench<O> {
    /// Begins `scenario` in `universe`.
    pub(crate) fn new(scenario: &Scenario, universe: Rc<Universe>, observer: O) -> Self {
        let subject = Subject::new(scenario, &universe, observer);
        let net = Net::new(universe, scenario, Shard::WHOLE);
        let mut bench = Self { subject, net, now: Instant::START, held: 0, peak: 0 };
        bench.counted(|subject| subject.start(Instant::START));
        bench.carry();
        bench
    }

    /// Goes on until nothing is left to do before `until`.
    pub(crate) fn run(&mut self, until: Instant) {
        while let Some(next) = earliest(self.net.poll_timeout(), self.subject.poll_timeout())
            && next <= until
        {
            let now = self.now.max(next);
            self.now = now;
            while let Some(delivery) = self.net.poll(now) {
                self.counted(|subject| deliver(subject, now, &delivery));
                self.carry();
            }
            self.counted(|subject| subject.handle_timeout(now));
            self.carry();
        }
    }

    /// The most that the crawler held since this was last called.
    pub(crate) fn take_peak(&mut self) -> i64 {
        std::mem::replace(&mut self.peak, self.held)
    }

    /// Does something with the crawler and counts what that made it hold.
    fn counted<T>(&mut self, work: impl FnOnce(&mut Subject<O>) -> T) -> T {
        let subject = &mut self.subject;
        let (result, cost) = cost(|| work(subject));
        self.peak = self.peak.max(self.held + cost.peak);
        self.held += cost.kept;
        result
    }

    fn carry(&mut self) {
        let now = self.now;
        while let Some(action) = self.counted(|subject| subject.poll(now)) {
            match &action {
                Action::Send { from, to, payload } => self.net.send(now, *from, *to, payload),
                Action::Dial { conn, to } => self.net.dial(now, *conn, *to),
                Action::Write { conn, bytes } => self.net.write(now, *conn, bytes),
                Action::Close { conn } => self.net.close(now, *conn),
            }
            // It was the crawler's.
            self.counted(|_| drop(action));
        }
    }
}

fn deliver<O: Observer>(subject: &mut Subject<O>, now: Instant, delivery: &Delivery) {
    match delivery {
        Delivery::Datagram { from, payload, forged, .. } => {
            subject.handle_datagram(now, *from, payload, *forged);
        }
        Delivery::Accepted(conn) => subject.handle_connected(now, *conn),
        Delivery::Bytes(conn, bytes) => subject.handle_bytes(now, *conn, bytes),
        Delivery::Refused(conn) => subject.handle_lost(now, *conn, true),
        Delivery::Closed(conn) | Delivery::Reset(conn) => subject.handle_lost(now, *conn, false),
    }
}
