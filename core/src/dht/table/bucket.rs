//! One bucket: the nodes it hands out, the ones waiting to replace them, and when it next needs a
//! query. Knows nothing of other buckets, of ids' distances or of our own id.

use std::net::SocketAddr;

use super::{BAD_AFTER, GOOD_FOR, PROBE_PATIENCE, REFRESH_AFTER, REPLACEMENTS_MAX};
use crate::base::addr::{Contact, NETWORK_OF_NODES, prefix};
use crate::base::id::NodeId;
use crate::base::time::{Instant, earliest};

/// A node that answered us at least once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) contact: Contact,
    /// When it last answered us.
    pub(super) answered: Instant,
    /// When it last asked us something.
    pub(super) asked_us: Option<Instant>,
    /// Queries in a row that it left unanswered.
    pub(super) failures: u8,
}

impl Member {
    pub(super) fn new(now: Instant, contact: Contact) -> Self {
        Self { contact, answered: now, asked_us: None, failures: 0 }
    }

    /// Failed several queries in a row (BEP 5): not handed out, replaced by the next node that
    /// comes.
    pub(super) fn is_bad(&self) -> bool {
        self.failures >= BAD_AFTER
    }

    /// Seen within 15 minutes and owing us no answer (BEP 5). Neither good nor bad is
    /// questionable.
    pub(super) fn is_good(&self, now: Instant) -> bool {
        self.failures == 0 && now.since(self.seen()) < GOOD_FOR
    }

    /// When it last gave a sign of life.
    pub(super) fn seen(&self) -> Instant {
        self.asked_us.map_or(self.answered, |asked| asked.max(self.answered))
    }

    /// When it stops being good if nothing happens.
    fn good_until(&self) -> Instant {
        if self.failures == 0 { self.seen() + GOOD_FOR } else { Instant::START }
    }
}

/// A range of the keyspace: live nodes, replacements, and the time of the last change.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    /// The nodes in use, in no particular order.
    pub(super) live: Vec<Member>,
    /// Answering nodes that found no room. Empty unless `live` is full.
    pub(super) replacements: Vec<Member>,
    /// When a node last answered, entered or left (BEP 5: the refresh clock).
    changed: Instant,
    /// The questionable node being pinged, and until when its answer is waited for.
    probe: Option<(NodeId, Instant)>,
    /// No query is needed before this; `None` while the bucket waits for nothing.
    wake: Option<Instant>,
}

/// What a bucket wants sent.
pub(super) enum Upkeep {
    /// A ping to its least recently seen questionable node.
    Ping(Contact),
    /// A lookup within its range.
    Refresh,
}

impl Bucket {
    pub(super) fn new(now: Instant) -> Self {
        let wake = Some(now + REFRESH_AFTER);
        Self { live: Vec::new(), replacements: Vec::new(), changed: now, probe: None, wake }
    }

    /// Finds the live entry of this id.
    pub(super) fn position(&self, id: NodeId) -> Option<usize> {
        self.live.iter().position(|entry| entry.contact.id == id)
    }

    /// Finds the waiting entry of this id.
    pub(super) fn replacement_position(&self, id: NodeId) -> Option<usize> {
        self.replacements.iter().position(|entry| entry.contact.id == id)
    }

    /// The entry of this id, live or waiting.
    pub(super) fn find(&self, id: NodeId) -> Option<&Member> {
        self.live.iter().chain(&self.replacements).find(|entry| entry.contact.id == id)
    }

    /// The entry of this id, live or waiting.
    pub(super) fn find_mut(&mut self, id: NodeId) -> Option<&mut Member> {
        self.live.iter_mut().chain(&mut self.replacements).find(|entry| entry.contact.id == id)
    }

    /// The entry, live or waiting, whose address stands in the same /24 or /64.
    pub(super) fn neighbour(&self, addr: SocketAddr) -> Option<&Member> {
        let mut all = self.live.iter().chain(&self.replacements);
        let net = prefix(addr, NETWORK_OF_NODES);
        all.find(|entry| prefix(entry.contact.addr, NETWORK_OF_NODES) == net)
    }

    /// Notes that the bucket is alive: it needs no refresh for 15 minutes.
    pub(super) fn touch(&mut self, now: Instant) {
        self.changed = self.changed.max(now);
    }

    /// Ends the wait for the pinged node `id`, if that is the one.
    pub(super) fn settle_probe(&mut self, id: NodeId) {
        if self.probe.is_some_and(|(probed, _)| probed == id) {
            self.probe = None;
            self.rearm();
        }
    }

    /// Keeps `entry` for when room appears; a full cache forgets the one that answered longest
    /// ago, and returns it.
    pub(super) fn wait(&mut self, entry: Member) -> Option<Member> {
        let oldest = |(_, entry): &(usize, &Member)| entry.answered;
        let dropped = (self.replacements.len() >= REPLACEMENTS_MAX)
            .then(|| self.replacements.iter().enumerate().min_by_key(oldest))
            .flatten()
            .map(|(index, _)| index)
            .map(|index| self.replacements.swap_remove(index));
        self.replacements.push(entry);
        if self.replacements.len() == 1 {
            self.rearm();
        }
        dropped
    }

    /// Moves the replacement that answered last into `live` while there are fewer than `limit`.
    pub(super) fn fill(&mut self, limit: usize) {
        while self.live.len() < limit {
            let newest = self.replacements.iter().enumerate().max_by_key(|(_, e)| e.answered);
            let Some((index, _)) = newest else { return };
            self.live.push(self.replacements.swap_remove(index));
        }
    }

    /// The next query this bucket needs, if one is due.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Upkeep> {
        if self.wake.is_none_or(|wake| wake > now) {
            return None;
        }
        let mut want = None;
        if self.ping_due().is_some_and(|due| due <= now)
            && let Some(contact) = self.least_recently_seen(now)
        {
            self.probe = Some((contact.id, now + PROBE_PATIENCE));
            want = Some(Upkeep::Ping(contact));
        } else if self.refresh_due() <= now {
            self.changed = now;
            want = Some(Upkeep::Refresh);
        }
        self.rearm();
        want
    }

    /// When [`Self::poll`] may next have something to say. Never late; early only if a node
    /// answered in the meantime.
    pub(super) fn wake(&self) -> Option<Instant> {
        self.wake
    }

    /// Computes the wake-up time anew; needed after whatever may bring it forward.
    pub(super) fn rearm(&mut self) {
        self.wake = earliest(self.ping_due(), Some(self.refresh_due()));
    }

    fn refresh_due(&self) -> Instant {
        self.changed + REFRESH_AFTER
    }

    /// A ping is due once someone waits for a place and a live node stopped being good, unless one
    /// is under way.
    fn ping_due(&self) -> Option<Instant> {
        if self.replacements.is_empty() {
            return None;
        }
        let questionable = self.live.iter().map(Member::good_until).min()?;
        Some(self.probe.map_or(questionable, |(_, until)| questionable.max(until)))
    }

    fn least_recently_seen(&self, now: Instant) -> Option<Contact> {
        let questionable = self.live.iter().filter(|entry| !entry.is_good(now));
        questionable.min_by_key(|entry| entry.seen()).map(|entry| entry.contact)
    }
}
