//! The deadlines of all connections of one thread, in one ordered map: starting, moving and
//! ending one costs no system call and makes no timer.
//!
//! The loop asks [`Alarms::next`] how long it may wait, and then calls [`Alarms::ring`]. Nothing
//! here reads a clock.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};

use estudely_core::Instant;

/// Deadlines by time, the earliest first; equal ones in the order they were set.
#[derive(Default)]
pub(crate) struct Alarms {
    waiting: RefCell<BTreeMap<(Instant, u64), Waker>>,
    next_id: Cell<u64>,
    now: Cell<Instant>,
    stopped: Cell<bool>,
    /// Who rings, and when that is to be: woken when a deadline before that is set.
    ringer: RefCell<Option<(Instant, Waker)>>,
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rung {
    /// The deadline passed.
    Due,
    /// All waiting is to end now.
    Stopped,
}

impl Alarms {
    /// The earliest deadline that somebody waits for.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.waiting.borrow().keys().next().map(|(at, _)| *at)
    }

    /// Ready as soon as there is a deadline before `due`, which is when the caller meant to ring.
    pub(crate) fn poll_before(&self, cx: &Context<'_>, due: Instant) -> Poll<()> {
        if self.next().is_some_and(|at| at < due) {
            return Poll::Ready(());
        }
        let mut ringer = self.ringer.borrow_mut();
        let (at, waker) = ringer.get_or_insert_with(|| (due, cx.waker().clone()));
        *at = due;
        waker.clone_from(cx.waker());
        Poll::Pending
    }

    /// Wakes everybody whose deadline is not after `now`.
    pub(crate) fn ring(&self, now: Instant) {
        self.now.set(now);
        loop {
            let mut waiting = self.waiting.borrow_mut();
            let Some(first) = waiting.first_entry().filter(|entry| entry.key().0 <= now) else {
                return;
            };
            let waker = first.remove();
            // The map must be free while foreign code runs.
            drop(waiting);
            waker.wake();
        }
    }

    /// Ends every wait, present and future.
    pub(crate) fn stop(&self) {
        self.stopped.set(true);
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        for waker in waiting.into_values() {
            waker.wake();
        }
    }

    fn new_id(&self) -> u64 {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        id
    }
}

/// One task's place among the [`Alarms`]. Dropping it takes the deadline away.
pub(crate) struct Alarm<'a> {
    alarms: &'a Alarms,
    id: u64,
    at: Option<Instant>,
}

impl<'a> Alarm<'a> {
    /// A place without a deadline.
    pub(crate) fn new(alarms: &'a Alarms) -> Self {
        Self { alarms, id: alarms.new_id(), at: None }
    }

    /// Waits for `at`, which may differ from call to call; the same deadline costs a look-up only
    /// if the waker changed.
    pub(crate) fn poll(&mut self, cx: &Context<'_>, at: Instant) -> Poll<Rung> {
        if self.alarms.stopped.get() {
            return Poll::Ready(Rung::Stopped);
        }
        if at <= self.alarms.now.get() {
            self.clear();
            return Poll::Ready(Rung::Due);
        }
        if self.at != Some(at) {
            self.clear();
            self.at = Some(at);
            let hasty = self.alarms.ringer.borrow_mut().take_if(|(due, _)| at < *due);
            if let Some((_, ringer)) = hasty {
                ringer.wake();
            }
        }
        let mut waiting = self.alarms.waiting.borrow_mut();
        let waker = waiting.entry((at, self.id)).or_insert_with(|| cx.waker().clone());
        waker.clone_from(cx.waker());
        Poll::Pending
    }

    fn clear(&mut self) {
        if let Some(at) = self.at.take() {
            self.alarms.waiting.borrow_mut().remove(&(at, self.id));
        }
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicU32);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    #[test]
    fn an_alarm_rings_at_its_deadline_and_not_before() {
        let (alarms, counter) = (Alarms::default(), Arc::new(Counter::default()));
        let waker = Waker::from(counter.clone());
        let cx = Context::from_waker(&waker);
        let mut alarm = Alarm::new(&alarms);
        assert_eq!(alarm.poll(&cx, at(10)), Poll::Pending);
        alarms.ring(at(9));
        assert_eq!(counter.0.load(Ordering::Relaxed), 0);
        assert_eq!(alarm.poll(&cx, at(10)), Poll::Pending);
        alarms.ring(at(10));
        assert_eq!(counter.0.load(Ordering::Relaxed), 1);
        assert_eq!(alarm.poll(&cx, at(10)), Poll::Ready(Rung::Due));
        assert_eq!(alarms.next(), None);
    }

    #[test]
    fn a_moved_deadline_leaves_nothing_behind() {
        let alarms = Alarms::default();
        let cx = Context::from_waker(Waker::noop());
        let mut alarm = Alarm::new(&alarms);
        assert_eq!(alarm.poll(&cx, at(10)), Poll::Pending);
        assert_eq!(alarm.poll(&cx, at(30)), Poll::Pending);
        assert_eq!(alarms.next(), Some(at(30)));
        assert_eq!(alarm.poll(&cx, at(20)), Poll::Pending);
        assert_eq!(alarms.next(), Some(at(20)));
        drop(alarm);
        assert_eq!(alarms.next(), None);
    }

    #[test]
    fn whoever_rings_is_woken_for_an_earlier_deadline_only() {
        let (alarms, counter) = (Alarms::default(), Arc::new(Counter::default()));
        let waker = Waker::from(counter.clone());
        let (ringer, cx) = (Context::from_waker(&waker), Context::from_waker(Waker::noop()));
        assert_eq!(alarms.poll_before(&ringer, at(20)), Poll::Pending);
        let (mut late, mut early) = (Alarm::new(&alarms), Alarm::new(&alarms));
        assert_eq!(late.poll(&cx, at(20)), Poll::Pending);
        assert_eq!(counter.0.load(Ordering::Relaxed), 0);
        assert_eq!(early.poll(&cx, at(19)), Poll::Pending);
        assert_eq!(counter.0.load(Ordering::Relaxed), 1);
        assert_eq!(alarms.poll_before(&ringer, at(20)), Poll::Ready(()));
    }

    #[test]
    fn stopping_ends_present_and_future_waits() {
        let (alarms, counter) = (Alarms::default(), Arc::new(Counter::default()));
        let waker = Waker::from(counter.clone());
        let cx = Context::from_waker(&waker);
        let mut alarm = Alarm::new(&alarms);
        assert_eq!(alarm.poll(&cx, at(10)), Poll::Pending);
        alarms.stop();
        assert_eq!(counter.0.load(Ordering::Relaxed), 1);
        assert_eq!(alarm.poll(&cx, at(10)), Poll::Ready(Rung::Stopped));
        assert_eq!(Alarm::new(&alarms).poll(&cx, at(50)), Poll::Ready(Rung::Stopped));
    }
}
