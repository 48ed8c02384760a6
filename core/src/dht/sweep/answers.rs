//! What answers and silence mean: which node rests for how long, which is asked once more, and what
//! is learned of the places around it.

use super::{Reason, Rested, Sweep, SweepAsk, SweepQuery};
use crate::base::addr::Contact;
use crate::base::id::NodeId;
use crate::base::planted::{self, Bug};
use crate::base::time::{Duration, Instant};
use crate::dht::known::Known;
use crate::dht::sweep::frontier::Waiting;
use crate::limits::{INTERVAL_MAX, INTERVAL_MIN, SILENT_REST, UNSUPPORTED_REST};

/// A contact that answered.
#[derive(Clone, Copy, Debug)]
struct Answerer {
    contact: Contact,
    /// Whether under the id that it was expected to have.
    as_expected: bool,
}

impl Sweep {
    /// A node answered with samples: the interval as it sent it, and for how long it rests at least.
    #[must_use = "the journal must be told"]
    pub(crate) fn on_samples(
        &mut self,
        known: &mut Known,
        now: Instant,
        query: SweepQuery,
        id: NodeId,
        rest: (Option<i64>, Duration),
    ) -> Rested {
        self.on_ended(query.reason);
        self.on_samples_of(known, now, query, id, rest)
    }

    /// A query that had been given up was answered with samples after all. What the silence meant
    /// is taken back; the node rests, so that nothing it had coming to it is asked any more.
    #[must_use = "the journal must be told"]
    pub(crate) fn on_late_samples(
        &mut self,
        known: &mut Known,
        now: Instant,
        query: SweepQuery,
        id: NodeId,
        rest: (Option<i64>, Duration),
    ) -> Rested {
        self.on_samples_of(known, now, query, id, rest)
    }

    /// The same without samples. Nothing follows from it: the node may be asked something else by
    /// now, or stand in line for it.
    #[must_use = "the journal must be told"]
    pub(crate) fn on_late_reply(
        &mut self,
        known: &mut Known,
        now: Instant,
        query: SweepQuery,
        id: NodeId,
    ) -> Option<Rested> {
        let node = self.on_reply_of(known, now, query, id);
        match query.ask {
            SweepAsk::Sample => Some(self.rest(known, now, node, UNSUPPORTED_REST)),
            SweepAsk::FindNode => None,
        }
    }

    /// The same, with an error: it lives, and is asked whatever it stands in line for.
    pub(crate) fn on_late_error(&mut self, known: &mut Known, now: Instant, query: SweepQuery) {
        self.on_answer_of(known, now, query, query.waiting.contact.id);
    }

    /// A query that waited for its address is not sent after all.
    pub(crate) fn on_dropped(&mut self, query: SweepQuery) {
        self.on_ended(query.reason);
    }

    fn on_samples_of(
        &mut self,
        known: &mut Known,
        now: Instant,
        query: SweepQuery,
        id: NodeId,
        (interval, least): (Option<i64>, Duration),
    ) -> Rested {
        let node = self.on_reply_of(known, now, query, id);
        let rest = clamp_interval(interval);
        let rest = if planted::is(Bug::IgnoreInterval) { rest } else { rest.max(least) };
        self.rest(known, now, node, rest)
    }

    /// A node answered without samples, as to `find_node`.
    #[must_use = "the journal must be told"]
    pub(crate) fn on_reply(
        &mut self,
        known: &mut Known,
        now: Instant,
        query: SweepQuery,
        id: NodeId,
    ) -> Option<Rested> {
        self.on_ended(query.reason);
        let node = self.on_reply_of(known, now, query, id);
        match query.reason {
            // The answer told of a place. The node was visited before, as every landmark.
            Reason::Gap { .. } => None,
            // It was silent to samples in an earlier pass too: it does not support them.
            Reason::Retry if query.waiting.alive => Some(self.rest(known, now, node, SILENT_REST)),
            // It lives, and the first packet may have been lost.
            Reason::Retry => {
                self.visits.follow_up(SweepQuery {
                    ask: SweepAsk::Sample,
                    reason: Reason::Again,
                    ..query
                });
                None
            }
            // It does not sample: it sent no samples, or refused and then named its neighbours.
            Reason::First | Reason::Refused | Reason::Again => {
                Some(self.rest(known, now, node, UNSUPPORTED_REST))
            }
        }
    }

    /// A node answered with an error: it lives, and does not sample.
    #[must_use = "the journal must be told"]
    pub(crate) fn on_error(
        &mut self,
        known: &mut Known,
        now: Instant,
        query: SweepQuery,
    ) -> Option<Rested> {
        self.on_ended(query.reason);
        let node = self.on_answer_of(known, now, query, query.waiting.contact.id);
        match (query.ask, query.reason) {
            // Its neighbours are worth as much as those of a node that samples.
            (SweepAsk::Sample, _) => {
                self.visits.follow_up(SweepQuery {
                    ask: SweepAsk::FindNode,
                    reason: Reason::Refused,
                    ..query
                });
                None
            }
            (SweepAsk::FindNode, Reason::Gap { .. }) => {
                self.on_unhelpful(known, query);
                None
            }
            (SweepAsk::FindNode, _) => Some(self.rest(known, now, node, UNSUPPORTED_REST)),
        }
    }

    /// A node did not answer in time.
    #[must_use = "the journal must be told"]
    pub(crate) fn on_silence(
        &mut self,
        known: &mut Known,
        now: Instant,
        query: SweepQuery,
    ) -> Option<Rested> {
        self.on_ended(query.reason);
        let (waiting, contact) = (query.waiting, query.waiting.contact);
        match query.reason {
            Reason::First => self.visits.keep_silent(waiting),
            // Silent to both queries, so as far as we can tell its referrer named a dead node.
            Reason::Retry => {
                judge_referrer(known, waiting, false);
                known.landmarks.remove(contact);
                self.visits.keep_unanswered(waiting);
            }
            // The error before was an answer, so its id is its own.
            Reason::Refused => {
                let node = Answerer { contact, as_expected: true };
                return Some(self.rest(known, now, node, UNSUPPORTED_REST));
            }
            // Two packets may have been lost: the next pass tries once more.
            Reason::Again => self.visits.keep_unanswered(Waiting { alive: true, ..waiting }),
            Reason::Gap { .. } => self.on_unhelpful(known, query),
        }
        None
    }

    /// The node `id` answered with these contacts: if one of them may be visited, the answer told of
    /// the place that the query was about. Learns from them how crowded the keyspace is, unless the
    /// query was about a gap: a finer look for gaps must not be a reason to look more finely.
    pub(crate) fn on_neighbours(
        &mut self,
        known: &Known,
        query: &SweepQuery,
        id: NodeId,
        contacts: impl Iterator<Item = Contact> + Clone,
    ) {
        let from = query.waiting.contact.addr;
        let told = contacts
            .clone()
            .any(|contact| contact.addr != from && self.is_usable(known, contact, Some(from)));
        if let Some(next) = self.gaps.on_answer(*query, told, &known.landmarks) {
            self.visits.follow_up(next);
        }
        if !query.reason.is_gap() {
            self.density.learn(query.target, id, contacts);
        }
    }

    /// A query is no longer on its way.
    fn on_ended(&mut self, reason: Reason) {
        self.flight.on_ended();
        if reason.is_gap() {
            self.gaps.on_ended();
        }
    }

    /// What every reply means: the contact can be asked about its neighbourhood.
    fn on_reply_of(
        &mut self,
        known: &mut Known,
        now: Instant,
        query: SweepQuery,
        id: NodeId,
    ) -> Answerer {
        let node = self.on_answer_of(known, now, query, id);
        if node.as_expected {
            known.landmarks.add(node.contact);
        }
        node
    }

    /// What every answer means, an error as well: the contact lives. One that answers under another
    /// id than it was expected to have (D12) is not believed to stand there.
    fn on_answer_of(
        &mut self,
        known: &mut Known,
        now: Instant,
        query: SweepQuery,
        id: NodeId,
    ) -> Answerer {
        self.flight.on_answer(now);
        let contact = query.waiting.contact;
        let as_expected = contact.id == id;
        if as_expected {
            judge_referrer(known, query.waiting, true);
        }
        if !query.reason.is_gap() {
            self.gaps.earn();
        }
        Answerer { contact, as_expected }
    }

    /// A node that was asked about a gap did not answer the question.
    fn on_unhelpful(&mut self, known: &mut Known, query: SweepQuery) {
        if let Some(next) = self.gaps.on_silence(query, &mut known.landmarks) {
            self.visits.follow_up(next);
        }
    }

    /// Asks a node no more for so long: by address, and by id if it has shown that it is its own.
    fn rest(&mut self, known: &mut Known, now: Instant, node: Answerer, rest: Duration) -> Rested {
        let (contact, by_id, until) = (node.contact, node.as_expected, now + rest);
        known.rest(now, contact, by_id, until);
        // Wall clocks are read to the second below: what is saved must not be early for that.
        let rested = Rested { contact, by_id, until: until + Duration::from_secs(1) };
        // A full calendar only means that the node is met again by walking.
        let _ = self.visits.calendar.note(until, rested);
        rested
    }
}

/// The node that named a contact is judged by whether it lives.
fn judge_referrer(known: &mut Known, waiting: Waiting, lives: bool) {
    if let Some(referrer) = waiting.referrer {
        known.referrers.judge(referrer, lives);
    }
}

/// The interval to keep: what is missing, of the wrong type or out of range counts as the longest.
fn clamp_interval(interval: Option<i64>) -> Duration {
    let seconds = interval.and_then(|seconds| u64::try_from(seconds).ok());
    match seconds.map(Duration::from_secs) {
        _ if planted::is(Bug::IgnoreInterval) => Duration::ZERO,
        Some(interval) if interval <= INTERVAL_MAX => interval.max(INTERVAL_MIN),
        _ => INTERVAL_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_that_is_missing_negative_or_huge_counts_as_the_longest_and_a_short_one_as_300() {
        let second = Duration::from_secs(1);
        let cases = [(None, 21_600), (Some(-1), 21_600), (Some(21_601), 21_600), (Some(0), 300)];
        for (sent, kept) in cases {
            assert_eq!(clamp_interval(sent), second * kept, "{sent:?}");
        }
        assert_eq!(clamp_interval(Some(21_600)), INTERVAL_MAX);
    }
}
