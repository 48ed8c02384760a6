//! Decides whether the network itself is gone. While it is, no failure counts against a peer or a
//! node, and the crawl keeps its work.
//!
//! Suspicion begins when many queries in a row get no answer and no node or peer was heard for some
//! seconds. Nodes of the routing table are then pinged, one a second. If one answers, the network
//! works and the silent nodes are dead. If none answers, it is an outage: only probes and bootstrap
//! queries go out until an answer comes. It must never hold a job for ever: one that has waited for
//! [`OUTAGE_HOLD`] is settled as it stands.

use crate::base::time::{Duration, Instant};
use crate::limits::{
    OUTAGE_AFTER, OUTAGE_HOLD, OUTAGE_PROBE_EVERY, SUSPECT_AFTER, SUSPECT_UNHEARD,
};

/// What is known of the network's state.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    /// The last answer, accepted or refused connection; `None` before the first.
    heard: Option<Instant>,
    /// Queries that timed out since.
    unheard: u32,
    /// Since when there has been suspicion.
    since: Option<Instant>,
    /// Whether the last suspicion was none: the first node probed answered at once.
    false_alarm: bool,
    /// When the next probe is due, while there is suspicion.
    next_probe: Instant,
}

impl Outage {
    /// Somebody answered: whatever was suspected is over. `true` if there was an outage.
    pub(crate) fn on_sign_of_life(&mut self, now: Instant) -> bool {
        let lasted = self.since.map(|since| now.since(since));
        let ended = lasted.is_some_and(|lasted| lasted >= OUTAGE_AFTER);
        if let Some(lasted) = lasted {
            self.false_alarm = lasted < OUTAGE_PROBE_EVERY;
        }
        (self.heard, self.unheard, self.since) = (Some(now), 0, None);
        ended
    }

    /// A query stayed unanswered.
    pub(crate) fn on_silence(&mut self, now: Instant) {
        self.unheard = self.unheard.saturating_add(1);
        let silent_for = self.heard.map_or(Duration::ZERO, |heard| now.since(heard));
        let suspicious = self.unheard >= SUSPECT_UNHEARD && silent_for >= SUSPECT_AFTER;
        if suspicious && self.since.is_none() {
            (self.since, self.next_probe, self.false_alarm) = (Some(now), now, false);
        }
    }

    /// Whether what failed during the last suspicion failed on its own account after all.
    pub(crate) fn was_false_alarm(&self) -> bool {
        self.false_alarm
    }

    /// Whether failures prove nothing for the moment.
    pub(crate) fn is_suspected(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now.since(since) < OUTAGE_HOLD)
    }

    /// Whether there has been suspicion since the last sign of life.
    pub(crate) fn is_open(&self) -> bool {
        self.since.is_some()
    }

    /// Whether nothing but probes is to be sent.
    pub(crate) fn is_on(&self, now: Instant) -> bool {
        self.is_suspected(now) && self.since.is_some_and(|since| now.since(since) >= OUTAGE_AFTER)
    }

    /// A probe is sent: the next one is due some time later.
    pub(crate) fn on_probe(&mut self, now: Instant) {
        self.next_probe = now + OUTAGE_PROBE_EVERY;
    }

    /// Whether there is suspicion, and a probe is due.
    pub(crate) fn is_probe_due(&self, now: Instant) -> bool {
        self.is_suspected(now) && self.next_probe <= now
    }

    /// When the next probe is due; `None` without suspicion.
    pub(crate) fn next_probe(&self) -> Option<Instant> {
        self.since.map(|_| self.next_probe)
    }

    /// When what the outage holds up is held up no longer; `None` without suspicion.
    pub(crate) fn holds_until(&self) -> Option<Instant> {
        self.since.map(|since| since + OUTAGE_HOLD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn silent(outage: &mut Outage, now: Instant) {
        (0..SUSPECT_UNHEARD).for_each(|_| outage.on_silence(now));
    }

    #[test]
    fn silence_before_the_first_sign_of_life_is_no_outage() {
        let mut outage = Outage::default();
        silent(&mut outage, at(600));
        assert!(!outage.is_suspected(at(600)));
    }

    #[test]
    fn suspicion_probes_becomes_an_outage_and_ends_with_an_answer_or_with_patience() {
        let mut outage = Outage::default();
        assert!(!outage.on_sign_of_life(at(10)));
        silent(&mut outage, at(11));
        assert!(!outage.is_suspected(at(11)), "too early to tell");
        silent(&mut outage, at(16));
        assert!(outage.is_suspected(at(16)) && !outage.is_on(at(16)));
        assert!(!outage.was_false_alarm());
        assert!(outage.is_probe_due(at(16)));
        outage.on_probe(at(16));
        assert!(!outage.is_probe_due(at(16)));
        assert_eq!(outage.next_probe(), Some(at(16) + OUTAGE_PROBE_EVERY));
        assert!(outage.is_on(at(16) + OUTAGE_AFTER));
        let over = at(16) + OUTAGE_HOLD;
        assert!(!outage.is_suspected(over) && !outage.is_on(over));
        assert!(outage.on_sign_of_life(over) && !outage.was_false_alarm());
        assert_eq!((outage.next_probe(), outage.holds_until()), (None, None));
    }

    #[test]
    fn a_first_probe_that_is_answered_means_that_the_others_were_dead() {
        let mut outage = Outage::default();
        outage.on_sign_of_life(at(10));
        silent(&mut outage, at(16));
        outage.on_probe(at(16));
        assert!(!outage.on_sign_of_life(at(16)) && outage.was_false_alarm());
        silent(&mut outage, at(22));
        assert!(outage.is_suspected(at(22)) && !outage.was_false_alarm());
    }
}
