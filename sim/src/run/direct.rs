//! The harness without a runtime: crawler and virtual internet side by side in one loop, time
//! skipping to whatever comes next. For hours of virtual time, the largest worlds, and properties.
//!
//! It moves what one side has for the other and plays the script; it delays and loses nothing
//! itself.

use std::rc::Rc;

use estudely_core::Instant;
use estudely_core::internal::time::earliest;

use crate::net::event::Observer;
use crate::net::internet::{Delivery, Net, Shard};
use crate::subject::script::{Act, Script};
use crate::subject::{Action, Ending, Subject};
use crate::world::scenario::Scenario;
use crate::world::universe::Universe;

/// More steps than this without any time passing are an endless loop.
const STEPS_MAX: u32 = 1 << 20;

/// Runs the scenario to its end, or until the observer is satisfied.
pub fn run<O: Observer>(scenario: &Scenario, universe: Rc<Universe>, observer: O) -> (O, Ending) {
    let mut run = Run {
        subject: Subject::new(scenario, &universe, observer),
        net: Net::new(universe, scenario, Shard::WHOLE),
        script: Script::of(scenario),
        satisfied: false,
    };
    let mut now = Instant::START;
    let mut steps = 0;
    while !run.step(now) {
        let next = run.poll_timeout().expect("the script has an end").max(now);
        steps = if next == now { steps + 1 } else { 0 };
        assert!(steps < STEPS_MAX, "the harness is stuck at {now:?}");
        now = next;
    }
    run.subject.finish(now, run.satisfied)
}

struct Run<O> {
    subject: Subject<O>,
    net: Net,
    script: Script,
    satisfied: bool,
}

impl<O: Observer> Run<O> {
    /// Everything that is due at `now`; whether that was the end.
    fn step(&mut self, now: Instant) -> bool {
        while let Some(act) = self.script.poll(now) {
            match act {
                Act::Start => self.subject.start(now),
                Act::Kill => {
                    self.subject.kill(now);
                    self.net.close_all(now);
                }
                Act::Heal => self.subject.note_healed(now),
                Act::ShutDown => self.subject.shut_down(now),
                Act::End => return true,
            }
            self.settle(now);
        }
        while let Some(delivery) = self.net.poll(now) {
            self.subject.deliver(now, &delivery);
            if let Delivery::Datagram { payload, .. } = delivery {
                self.net.recycle(payload);
            }
            self.settle(now);
        }
        self.subject.handle_timeout(now);
        self.settle(now);
        false
    }

    /// Moves what the crawler wants moved, and asks whether the observer has seen enough.
    fn settle(&mut self, now: Instant) {
        while let Some(action) = self.subject.poll(now) {
            match action {
                Action::Send { from, to, payload } => {
                    self.net.send(now, from, to, &payload);
                    self.net.recycle(payload);
                }
                Action::Dial { conn, to } => self.net.dial(now, conn, to),
                Action::Write { conn, bytes } => self.net.write(now, conn, &bytes),
                Action::Close { conn } => self.net.close(now, conn),
            }
        }
        if self.subject.has_ended() {
            self.script.run_ended(now);
        }
        if !self.satisfied && self.subject.observer().satisfied() {
            self.satisfied = true;
            self.script.cut_short(now);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        [self.script.poll_timeout(), self.net.poll_timeout(), self.subject.poll_timeout()]
            .into_iter()
            .fold(None, earliest)
    }
}

#[cfg(test)]
mod tests;
