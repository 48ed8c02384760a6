//! Which infohashes are taken on, and when: the seen-filter, the queue before a job is free, the
//! limit a run was given, the calendar of second chances, and what an earlier run left undone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::base::addr::Contact;
use crate::base::id::InfoHash;
use crate::base::planted::{self, Bug};
use crate::base::rng::Rng;
use crate::base::store::{FingerprintSet, KeyedMap, KeyedState, Seen};
use crate::base::time::{Instant, Lane, earliest};
use crate::crawl::fair_line::{Behalf, FairLine, Place};
use crate::crawl::standing::{Sponsor, Standing};
use crate::lead::{Lead, Origin, Say};
use crate::limits::{
    FAILED_SAVED_MAX, KNOWN_MAX, LANE_SCAN_MAX, LEADS_OF_DEBTORS, OTHER_SOURCE_MARGIN, PENDING_MAX,
    PENDING_SAVED_MAX, SECOND_CHANCE_AFTER, SECOND_CHANCE_TURNS, SECOND_CHANCES_MAX, SETTLED_MAX,
};

/// What became of an infohash that was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// Taken on: it waits for a job.
    New,
    /// Known already.
    Known,
    /// New, but the run takes no more.
    Closed,
    /// New, but the run takes no more: set aside for the next one.
    Held,
    /// New, but there is no room.
    Full,
}

/// The other source of `lead`, if that owes much less than the first one.
fn better_source(lead: &Lead, standing: &Standing) -> Option<Contact> {
    let owes = |node: Contact| standing.debt_with_jobs(standing.sponsor(node.addr));
    let (source, also) = (lead.source?, lead.also?);
    (owes(also) + OTHER_SOURCE_MARGIN < owes(source)).then_some(also)
}

/// The door through which infohashes come in.
#[derive(Debug)]
pub(crate) struct Admission {
    known: FingerprintSet,
    pending: FairLine<Lead>,
    /// Where each infohash that a node named waits.
    places: KeyedMap<InfoHash, Place>,
    /// What an earlier run left, and what this one may not take on any more.
    aside: BTreeMap<InfoHash, Lead>,
    /// How many of these are taken on: they wait for a job.
    admitted: usize,
    /// Whether what may not be taken on is set aside.
    holds: bool,
    /// Only what is asked for by name is taken on: what an earlier run left waits for another one.
    named_only: bool,
    retries: [Lane<Lead>; SECOND_CHANCE_AFTER.len()],
    /// Second chances of an earlier run's failures, and when each infohash has its own.
    later: BTreeMap<(Instant, InfoHash), Lead>,
    later_at: BTreeMap<InfoHash, Instant>,
    /// Infohashes settled for good that no output will call verified; the latest so many.
    settled: VecDeque<InfoHash>,
    /// How many may wait for a job before the sweep stops looking for more.
    enough: usize,
    /// How many more may be taken on; `None` for no end.
    quota: Option<u64>,
    closed: bool,
    /// Jobs given since a second chance was first in turn.
    turn: u8,
}

impl Admission {
    pub(crate) fn new(max_infohashes: Option<u64>, enough: usize, rng: &mut Rng) -> Self {
        Self {
            known: FingerprintSet::new(rng, KNOWN_MAX),
            pending: FairLine::new(rng, Standing::debt_with_jobs),
            places: KeyedMap::with_hasher(KeyedState::new(rng)),
            aside: BTreeMap::new(),
            admitted: 0,
            holds: false,
            named_only: false,
            retries: SECOND_CHANCE_AFTER.map(Lane::new),
            later: BTreeMap::new(),
            later_at: BTreeMap::new(),
            settled: VecDeque::new(),
            enough,
            quota: max_infohashes,
            closed: false,
            turn: 0,
        }
    }

    /// Never takes `hash` on; nor again, if an earlier run left it. `true` if it gave back its part
    /// of the quota.
    pub(crate) fn ban(&mut self, hash: InfoHash) -> bool {
        self.known.insert(&hash.0);
        self.forget_later(hash);
        let removed = self.aside.remove(&hash).is_some();
        // Otherwise one that was held takes its place.
        let freed = removed && self.admitted > self.aside.len();
        if freed {
            self.admitted -= 1;
            self.quota = self.quota.map(|left| left + 1);
        }
        freed
    }

    fn forget_later(&mut self, hash: InfoHash) {
        if let Some(at) = self.later_at.remove(&hash) {
            self.later.remove(&(at, hash));
        }
    }

    /// From now on what the quota keeps out is set aside.
    pub(crate) fn hold(&mut self) {
        self.holds = true;
    }

    /// Leaves what is restored from now on for another run, unless it is asked for by name.
    pub(crate) fn restore_for_later(&mut self) {
        self.named_only = true;
    }

    /// Sets an infohash of an earlier run aside; `false` if it is known or there is no room.
    pub(crate) fn restore_pending(&mut self, lead: Lead) -> bool {
        let room = self.aside.len() < PENDING_SAVED_MAX;
        let new = room && self.known.insert(&lead.hash.0) == Seen::New;
        if new {
            self.aside.insert(lead.hash, lead);
        }
        new
    }

    /// Sets infohashes aside whose rows are lost: whatever was settled or put off about them no
    /// longer is.
    pub(crate) fn take_back(&mut self, lost: &BTreeSet<InfoHash>) {
        for lane in &mut self.retries {
            lane.retain(|lead| !lost.contains(&lead.hash));
        }
        self.settled.retain(|hash| !lost.contains(hash));
        for hash in lost {
            self.forget_later(*hash);
            self.known.insert(&hash.0);
            if self.aside.len() < PENDING_SAVED_MAX {
                let lead = Lead::new(*hash, Instant::START, Origin::Sample);
                self.aside.entry(*hash).or_insert(lead);
            }
        }
    }

    /// Takes on what was set aside, as far as the quota goes; how many.
    pub(crate) fn admit_restored(&mut self) -> usize {
        let waiting = self.aside.len() - self.admitted;
        let most = self.quota.map_or(waiting, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let taken = waiting.min(most);
        self.admitted += taken;
        self.quota = self.quota.map(|left| left - taken as u64);
        taken
    }

    /// Remembers a failed infohash of an earlier run, which is due again at `due`; `false` if it is
    /// known or there is no room.
    pub(crate) fn restore_failed(&mut self, due: Instant, lead: Lead) -> bool {
        let room = self.later.len() < FAILED_SAVED_MAX;
        let new = room && self.is_restorable(lead.hash);
        if new {
            self.later_at.insert(lead.hash, due);
            self.later.insert((due, lead.hash), lead);
        }
        new
    }

    /// Remembers an infohash that an earlier run settled for good; `false` if it is known.
    pub(crate) fn restore_settled(&mut self, hash: InfoHash) -> bool {
        let new = self.is_restorable(hash);
        if new {
            self.settle_for_good(hash);
        }
        new
    }

    /// Whether a settled or failed infohash of an earlier run is not known otherwise; it is from
    /// now on, unless it may still be asked for by name.
    fn is_restorable(&mut self, hash: InfoHash) -> bool {
        if self.named_only {
            !self.known.contains(&hash.0)
        } else {
            self.known.insert(&hash.0) == Seen::New
        }
    }

    /// Takes out what was set aside for an infohash that is asked for by name. If it was not
    /// taken on yet it counts now, and there must be room for it in the quota.
    pub(crate) fn claim(&mut self, hash: InfoHash) -> Option<Lead> {
        if self.held() == 0 {
            let lead = self.aside.remove(&hash)?;
            self.admitted -= 1;
            return Some(lead);
        }
        if self.is_closed() {
            return None;
        }
        let lead = self.aside.remove(&hash)?;
        self.quota = self.quota.map(|left| left - 1);
        Some(lead)
    }

    /// Remembers that nothing more is to be tried for an infohash.
    pub(crate) fn settle_for_good(&mut self, hash: InfoHash) {
        if self.settled.len() >= SETTLED_MAX {
            self.settled.pop_front();
        }
        self.settled.push_back(hash);
    }

    /// What waits for a job or for the next run.
    pub(crate) fn saved_pending(&self) -> impl Iterator<Item = &Lead> {
        self.aside.values().chain(self.pending.iter())
    }

    /// What waits for another chance, with its time.
    pub(crate) fn saved_failed(&self) -> impl Iterator<Item = (Instant, &Lead)> {
        let own = self.retries.iter().flat_map(Lane::iter);
        own.chain(self.later.iter().map(|((due, _), lead)| (*due, lead)))
    }

    /// What is settled for good, the oldest first.
    pub(crate) fn saved_settled(&self) -> impl Iterator<Item = InfoHash> {
        self.settled.iter().copied()
    }

    /// Counts an infohash as taken on if it is new and the run takes more: the caller has a job
    /// for it.
    pub(crate) fn admit(&mut self, hash: InfoHash) -> Admitted {
        if self.is_closed() {
            return if self.known.contains(&hash.0) { Admitted::Known } else { Admitted::Closed };
        }
        match self.known.insert(&hash.0) {
            Seen::Known if planted::is(Bug::ForgetKnown) => Admitted::New,
            Seen::Known => Admitted::Known,
            Seen::Full => Admitted::Full,
            Seen::New => {
                self.quota = self.quota.map(|left| left - 1);
                self.forget_later(hash);
                Admitted::New
            }
        }
    }

    /// Takes on an infohash that `source` named and that is new, if the run takes more: it waits
    /// for a job.
    pub(crate) fn offer(
        &mut self,
        now: Instant,
        hash: InfoHash,
        source: Contact,
        standing: &Standing,
    ) -> Admitted {
        let sponsor = standing.sponsor(source.addr);
        let crowds =
            self.pending.backlog(sponsor) >= LEADS_OF_DEBTORS && standing.is_deep_in_debt(sponsor);
        if crowds || self.pending.len() >= PENDING_MAX {
            return if self.known.contains(&hash.0) { Admitted::Known } else { Admitted::Full };
        }
        let taken = self.admit(hash);
        if taken == Admitted::New {
            self.put_back(Lead::new(hash, now, Origin::Sample).from(Some(source)), standing);
        }
        if taken == Admitted::Closed && self.holds {
            let left = Lead::new(hash, now, Origin::Sample).from(Some(source));
            return if self.restore_pending(left) { Admitted::Held } else { taken };
        }
        taken
    }

    /// The next infohash for a free job. Second chances due at `now` get one job in four, so that
    /// new infohashes without end do not keep them waiting.
    pub(crate) fn next(&mut self, now: Instant, standing: &Standing) -> Option<Lead> {
        self.turn = (self.turn + 1) % SECOND_CHANCE_TURNS;
        if self.turn == 0
            && let Some(lead) = self.second_chance(now)
        {
            return Some(lead);
        }
        // What an earlier run left has every second turn, whoever named it.
        if self.admitted > 0
            && (self.turn % 2 == 1 || self.pending.is_empty())
            && let Some((_, lead)) = self.aside.pop_first()
        {
            self.admitted -= 1;
            // The time it was found in an earlier run means nothing in this one.
            return Some(Lead { found: now, ..lead });
        }
        let next = self.pending.pop(standing, |_| true);
        if let Some(lead) = &next {
            self.places.remove(&lead.hash);
        }
        next.or_else(|| self.second_chance(now))
    }

    /// Whether an infohash waits for a job.
    pub(crate) fn has_next(&self) -> bool {
        self.pending() > 0
    }

    /// The least that a source owes whose infohash waits for a job. [`Admission::sort`] comes
    /// before.
    pub(crate) fn least_debt(&self) -> Option<i64> {
        self.pending.least_debt()
    }

    /// The infohash of that source, for the job of another one that makes room.
    pub(crate) fn next_of_least_debt(&mut self, standing: &Standing) -> Option<Lead> {
        let lead = self.pending.pop_lane(standing)?;
        self.places.remove(&lead.hash);
        Some(lead)
    }

    /// Lets an infohash wait for a job, for the first time or again.
    pub(crate) fn put_back(&mut self, mut lead: Lead, standing: &Standing) {
        if let Some(better) = better_source(&lead, standing) {
            // One that has had its say is not asked again, and what it said is not the other's.
            lead.also = lead.source.filter(|_| lead.say == Say::Due);
            if lead.say == Say::Had {
                lead.peers.clear();
            }
            (lead.source, lead.say) = (Some(better), Say::Due);
        }
        let (hash, sponsor) = (lead.hash, lead.source.map(|node| standing.sponsor(node.addr)));
        let behalf = sponsor.map_or(Behalf::Turn, Behalf::Hearsay);
        if let Some(place) = self.pending.push(standing, behalf, lead) {
            self.places.insert(hash, place);
        }
    }

    /// Another node names an infohash that is known. If it waits for a job it has this source too:
    /// instead of the first one if that owes much more, so that whoever names an infohash first
    /// does not own it.
    pub(crate) fn also_named(&mut self, hash: InfoHash, source: Contact, standing: &Standing) {
        let Some(place) = self.places.get(&hash).copied() else { return };
        let Some((lead, before)) = self.pending.at(place) else { return };
        let sponsor = standing.sponsor(source.addr);
        if sponsor.shares_net(before) || standing.is_deep_in_debt(sponsor) || lead.round > 0 {
            return;
        }
        let owes_less = |known: Contact| {
            let known = standing.debt_with_jobs(standing.sponsor(known.addr));
            standing.debt_with_jobs(sponsor) + OTHER_SOURCE_MARGIN < known
        };
        if lead.also.is_none_or(owes_less) {
            lead.also = Some(source);
            self.move_if_better(place, standing);
        }
    }

    /// Lets an infohash wait on behalf of its other source if that owes much less.
    fn move_if_better(&mut self, place: Place, standing: &Standing) {
        let waits = self.pending.at(place);
        if waits.is_some_and(|(lead, _)| better_source(lead, standing).is_some())
            && let Some(lead) = self.pending.withdraw(place)
        {
            self.put_back(lead, standing);
        }
    }

    /// Brings the order of what waits up to date, as far as anything depends on it.
    pub(crate) fn sort(&mut self, standing: &Standing) {
        self.pending.sort(standing);
    }

    /// The debt of a source has changed.
    pub(crate) fn on_paid(&mut self, standing: &Standing, sponsor: Sponsor) {
        self.pending.on_paid(standing, sponsor);
        if standing.is_deep_in_debt(sponsor) {
            let waiting = self.pending.of(sponsor).take(LANE_SCAN_MAX);
            let shared = waiting.filter(|lead| lead.also.is_some()).map(|lead| lead.hash);
            for hash in shared.collect::<Vec<_>>() {
                if let Some(place) = self.places.get(&hash).copied() {
                    self.move_if_better(place, standing);
                }
            }
        }
    }

    fn second_chance(&mut self, now: Instant) -> Option<Lead> {
        if self.closed || self.named_only {
            return None;
        }
        let own = self.retries.iter_mut().find_map(|lane| lane.pop_due(now));
        own.or_else(|| {
            let first = self.later.first_entry().filter(|first| first.key().0 <= now)?;
            let lead = first.remove();
            self.later_at.remove(&lead.hash);
            Some(lead)
        })
    }

    /// Remembers a failed infohash for a second chance, and says when and which that is; if it has
    /// none left, that it is settled for good.
    pub(crate) fn retry_later(&mut self, now: Instant, mut failed: Lead) -> Option<(Instant, u8)> {
        let waiting: usize = self.retries.iter().map(Lane::len).sum();
        let round = usize::from(failed.round);
        match (self.retries.get_mut(round), SECOND_CHANCE_AFTER.get(round)) {
            (Some(lane), Some(wait)) if waiting < SECOND_CHANCES_MAX => {
                failed.round += 1;
                let round = failed.round;
                lane.push(now, failed);
                Some((now + *wait, round))
            }
            _ => {
                self.settle_for_good(failed.hash);
                None
            }
        }
    }

    /// Takes nothing on from now on.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether nothing new is taken on any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed || self.quota == Some(0)
    }

    /// Whether the sweep should find more: if little waits. What nodes deep in debt named does not
    /// count, as it must not keep others from being heard.
    pub(crate) fn wants_more(&self) -> bool {
        let has_room = self.pending() < PENDING_MAX / 2;
        !self.is_closed() && has_room && self.pending.fair_len() + self.admitted < self.enough
    }

    /// Infohashes waiting for a job.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len() + self.admitted
    }

    /// Infohashes set aside for the next run.
    pub(crate) fn held(&self) -> usize {
        self.aside.len() - self.admitted
    }

    /// When a second chance is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.closed || self.named_only {
            return None;
        }
        let later = self.later.first_key_value().map(|((due, _), _)| *due);
        self.retries.iter().map(Lane::poll_timeout).fold(later, earliest)
    }

    /// Whether an infohash was ever heard of.
    pub(crate) fn knows(&self, hash: InfoHash) -> bool {
        self.known.contains(&hash.0)
    }

    /// Whether an infohash of an earlier run still waits here, for a job or for another chance.
    pub(crate) fn keeps(&self, hash: InfoHash) -> bool {
        self.aside.contains_key(&hash) || self.later_at.contains_key(&hash)
    }

    pub(crate) fn check(&self) {
        assert!(self.pending.len() <= PENDING_MAX);
        self.pending.check();
        let in_lanes = self.pending.len() - self.pending.others();
        assert_eq!(self.places.len(), in_lanes, "what waits in a lane is found by its infohash");
        assert!(self.admitted <= self.aside.len() && self.aside.len() <= PENDING_SAVED_MAX);
        assert!(self.retries.iter().map(Lane::len).sum::<usize>() <= SECOND_CHANCES_MAX);
        assert!(self.later.len() <= FAILED_SAVED_MAX && self.settled.len() <= SETTLED_MAX);
        assert_eq!(self.later.len(), self.later_at.len());
        let indexed = |(due, hash): &(Instant, InfoHash)| self.later_at.get(hash) == Some(due);
        assert!(self.later.keys().all(indexed), "every second chance is found by its infohash");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::NodeId;
    use crate::base::rng::Seed;
    use crate::base::time::Duration;

    fn admission(max: Option<u64>) -> Admission {
        Admission::new(max, 100, &mut Rng::new(Seed::from_u64(1)))
    }

    fn hash(n: u8) -> InfoHash {
        InfoHash([n; 20])
    }

    #[test]
    fn an_infohash_is_taken_on_once_and_only_up_to_the_quota() {
        let mut admission = admission(Some(2));
        admission.ban(hash(9));
        let standing = Standing::blank();
        let source = Contact { id: NodeId([1; 20]), addr: ([20, 1, 1, 1], 6_881).into() };
        let mut offer = |n| admission.offer(Instant::START, hash(n), source, &standing);
        let offers = [1, 1, 9, 2, 3, 2].map(&mut offer);
        use Admitted::{Closed, Known, New};
        assert_eq!(offers, [New, Known, Known, New, Closed, Known]);
        assert!(admission.is_closed() && !admission.wants_more());
        assert_eq!(admission.pending(), 2);
    }

    #[test]
    fn whoever_names_an_infohash_first_does_not_own_it() {
        let mut admission = admission(None);
        let mut standing = Standing::blank();
        let node = |net| Contact { id: NodeId([net; 20]), addr: ([20, net, 1, 1], 6_881).into() };
        for n in [1, 2] {
            admission.offer(Instant::START, hash(n), node(1), &standing);
        }
        admission.also_named(hash(1), node(2), &standing);
        standing.charge(standing.sponsor(node(1).addr), Duration::from_secs(151));
        admission.also_named(hash(2), node(3), &standing);
        admission.also_named(hash(9), node(3), &standing);
        admission.check();
        let mut next = || admission.next(Instant::START, &standing);
        let lead = next().expect("the one whose source owes nothing");
        assert_eq!((lead.hash, lead.source, lead.also), (hash(2), Some(node(3)), Some(node(1))));
        let lead = next().expect("the other one");
        assert_eq!((lead.hash, lead.source, lead.also), (hash(1), Some(node(1)), Some(node(2))));
        assert_eq!(next(), None);
        admission.check();
    }

    #[test]
    fn what_nodes_deep_in_debt_named_does_not_keep_the_sweep_from_looking_on() {
        let mut admission = admission(None);
        let mut standing = Standing::blank();
        let node = |net| Contact { id: NodeId([net; 20]), addr: ([20, net, 1, 1], 6_881).into() };
        for n in 0..100 {
            let hash = InfoHash([n; 20]);
            admission.offer(Instant::START, hash, node(n / 3), &standing);
        }
        assert!(!admission.wants_more(), "a hundred are enough");
        standing.charge(standing.sponsor(node(1).addr), Duration::from_secs(60));
        admission.on_paid(&standing, standing.sponsor(node(1).addr));
        assert!(admission.wants_more(), "three of them do not count");
        admission.check();
    }

    #[test]
    fn a_failed_infohash_comes_back_three_times_and_then_never() {
        let mut admission = admission(None);
        let mut now = Instant::START;
        let standing = Standing::blank();
        let mut failed = Lead::new(hash(1), now, Origin::Sample);
        for wait in [3_600, 14_400, 86_400].map(Duration::from_secs) {
            admission.retry_later(now, failed);
            assert_eq!(admission.next(now, &standing), None);
            now = now + wait;
            assert_eq!(admission.poll_timeout(), Some(now));
            failed = admission.next(now, &standing).expect("due");
        }
        admission.retry_later(now, failed);
        assert_eq!(admission.poll_timeout(), None);
    }
}
