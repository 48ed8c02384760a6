//! The way into the DHT without a bootstrap node: contacts of a saved state are asked for their
//! neighbours, again and again until one answers.
//!
//! Contacts of the saved routing table come first. Nodes of the saved calendar answered last, and
//! must not be sampled yet: they are asked for neighbours, and only if no other node answers.

use std::collections::VecDeque;

use crate::base::addr::Contact;
use crate::base::time::{Duration, Instant};
use crate::limits::{
    BOOTSTRAP_RETRY_MAX, BOOTSTRAP_RETRY_MIN, TABLE_SAVED_MAX, WARM_FIRST, WARM_RESERVE_MAX,
};

/// Saved contacts of one family, until one of them has answered and all were asked.
#[derive(Debug)]
pub(crate) struct WarmStart {
    /// Contacts of the table, then those of the calendar. Empty once one answered.
    known: Vec<Contact>,
    /// How many of these are of the table.
    of_table: usize,
    queue: VecDeque<Contact>,
    retry_at: Instant,
    pause: Duration,
}

impl WarmStart {
    pub(crate) fn new() -> Self {
        let pause = BOOTSTRAP_RETRY_MIN;
        Self {
            known: Vec::new(),
            of_table: 0,
            queue: VecDeque::new(),
            retry_at: Instant::START,
            pause,
        }
    }

    /// Adds a contact of the table. It is asked in the first round unless it will be asked anyway.
    pub(crate) fn add_table(&mut self, now: Instant, contact: Contact, asked_anyway: bool) {
        if self.of_table < TABLE_SAVED_MAX {
            self.known.insert(self.of_table, contact);
            self.of_table += 1;
            self.retry_at = now + self.pause;
            if !asked_anyway {
                self.queue.push_back(contact);
            }
        }
    }

    /// Adds a node of the calendar, for when no other contact answers.
    pub(crate) fn add_reserve(&mut self, now: Instant, contact: Contact) {
        if self.known.len() - self.of_table < WARM_RESERVE_MAX {
            self.known.push(contact);
            self.retry_at = now + self.pause;
        }
    }

    /// Ends restoring: without a table the first of the reserve are asked at once.
    pub(crate) fn begin(&mut self) {
        if self.of_table == 0 {
            self.queue.extend(self.known.iter().take(WARM_FIRST));
        }
    }

    /// Whether contacts are known and none has answered.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.known.is_empty()
    }

    /// Some node answered. Contacts not asked yet need not be, unless `all` are to be met.
    pub(crate) fn on_answer(&mut self, all: bool) {
        if self.is_waiting() {
            let of_table = self.known.get(..self.of_table).unwrap_or_default();
            if all {
                self.queue.retain(|contact| of_table.contains(contact));
            } else {
                self.queue.clear();
            }
            self.known = Vec::new();
        }
    }

    /// The next contact to ask.
    pub(crate) fn poll(&mut self) -> Option<Contact> {
        self.queue.pop_front()
    }

    pub(crate) fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// When due, queues every contact again, the reserve included.
    pub(crate) fn retry(&mut self, now: Instant) {
        if !self.is_waiting() || now < self.retry_at {
            return;
        }
        self.retry_at = now + self.pause;
        self.pause = (self.pause * 2).min(BOOTSTRAP_RETRY_MAX);
        if self.queue.is_empty() {
            self.queue.extend(&self.known);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.is_waiting().then_some(self.retry_at)
    }

    pub(crate) fn check(&self) {
        assert!(self.known.len() <= TABLE_SAVED_MAX + WARM_RESERVE_MAX);
        assert!(self.queue.len() <= TABLE_SAVED_MAX + WARM_RESERVE_MAX);
        assert!(self.of_table <= TABLE_SAVED_MAX);
    }
}
