//! The outputs of the crawler under test, as far as its run ends by them: how many rows they take,
//! what becomes of them then, and how long they take to hand on what they hold.

use estudely_core::session::Output;
use estudely_core::{Duration, Instant};

use crate::world::scenario::{OutputFate, Scenario};

/// Of one run; times are the crawler's.
#[derive(Clone, Debug)]
pub(super) struct Outputs {
    fate: OutputFate,
    /// Rows until then.
    left: u32,
    flush: Duration,
    /// When everything is handed on, while the session waits for that.
    flushed_at: Option<Instant>,
}

impl Outputs {
    pub(super) fn new(scenario: &Scenario) -> Self {
        Self {
            fate: scenario.output,
            left: scenario.output_rows.max(1),
            flush: Duration::from_millis(u64::from(scenario.flush_ms)),
            flushed_at: None,
        }
    }

    /// Whether they take another row.
    pub(super) fn take_rows(&self) -> bool {
        self.fate == OutputFate::None || self.left > 0
    }

    /// A row is written; what the session must be told.
    pub(super) fn on_row(&mut self) -> Option<Output> {
        let news = self.fate.news()?;
        self.left = self.left.saturating_sub(1);
        (self.left == 0).then_some(news)
    }

    /// Whether everything is handed on, once the session has waited long enough. New work ends the
    /// wait.
    pub(super) fn poll_flushed(&mut self, now: Instant, is_draining: bool) -> bool {
        if !is_draining {
            self.flushed_at = None;
            return false;
        }
        let flush = self.flush;
        *self.flushed_at.get_or_insert_with(|| now + flush) <= now
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.flushed_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn the_news_come_with_the_last_row_that_is_taken() {
        let scenario = Scenario { output: OutputFate::Full, output_rows: 2, ..Scenario::calm(1) };
        let mut outputs = Outputs::new(&scenario);
        assert_eq!((outputs.on_row(), outputs.take_rows()), (None, true));
        assert_eq!((outputs.on_row(), outputs.take_rows()), (Some(Output::Full), false));
        let mut endless = Outputs::new(&Scenario::calm(1));
        assert!((0..100).all(|_| endless.on_row().is_none() && endless.take_rows()));
    }

    #[test]
    fn new_work_begins_the_wait_for_the_last_rows_anew() {
        let mut outputs = Outputs::new(&Scenario { flush_ms: 2_000, ..Scenario::calm(1) });
        assert!(!outputs.poll_flushed(at(1), true));
        assert_eq!(outputs.poll_timeout(), Some(at(3)));
        assert!(!outputs.poll_flushed(at(2), false));
        assert!(!outputs.poll_flushed(at(3), true));
        assert!(outputs.poll_flushed(at(5), true));
    }
}
