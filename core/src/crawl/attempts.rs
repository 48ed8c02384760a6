//! What is tried next on a peer, as data: a list of attempts and a place in it, moved on by how the
//! last attempt ended and by whose fault that was.
//!
//! Nothing here knows an address or a limit that spans peers: the dialer decides which peers may be
//! dialled, and which list a peer gets. A new transport is an entry of these lists, a variant of
//! [`Transport`], and a task of the adapter that carries it.

use crate::base::fault::PeerFault;
use crate::base::planted::{self, Bug};
use crate::config::EncryptionPolicy;
use crate::limits::{PLAN_CONNECTS_MAX, PUT_BACKS_MAX, TURNS_MAX};
use crate::peer::exchange::{Attempt, Outcome, Pipeline, Progress, Transport};

/// Whose fault it is that an attempt brought no metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The peer's: its next attempt is due, or there is none.
    Peer,
    /// That of other work at the same time: connections to its address, or metadata of other peers.
    /// The same attempt again, a few times; each takes one of the plan's connections.
    Crowd,
    /// That of others, which waited for its place: the same attempt again, behind them, as long as
    /// each turn brings something.
    Turn,
    /// The network's, which is perhaps gone: the same attempt again, however often.
    Network,
    /// Ours: the system ran out of something, or no row is taken. As for the network.
    Us,
}

/// What goes on around a connection that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Circumstances {
    /// The network is suspected to be gone.
    pub cut_off: bool,
    /// Rows wait until there is no room for more.
    pub held_up: bool,
    /// Another connection to the address was open at some time with this one.
    pub crowded: bool,
}

/// What the end of an attempt says about what may work instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clue {
    /// Nothing.
    None,
    /// It took the connection and not what was said there: perhaps it wants encryption, or none.
    Barred,
    /// It brought pieces, but not all that it was asked for at once.
    Choked,
    /// It brought pieces, and gave up its place to others.
    Advanced,
}

/// An attempt that brought no metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What ended it.
    pub fault: PeerFault,
    /// How far it came.
    pub progress: Progress,
    /// What may work instead.
    pub clue: Clue,
}

impl Failure {
    /// What `outcome`, which ended with `fault`, says.
    pub fn of(outcome: &Outcome, fault: PeerFault) -> Self {
        // Pieces that other peers left say nothing about this one.
        let several = outcome.pieces_offered > 1 && outcome.partial.is_some();
        let stalled = matches!(fault, PeerFault::MetadataTimeout | PeerFault::ClosedLate);
        let advanced = fault == PeerFault::Yielded && outcome.pieces_new > 0;
        let clue = if stalled && several {
            Clue::Choked
        } else if advanced {
            Clue::Advanced
        } else if outcome.progress == Progress::Connected && fault.may_be_encryption() {
            Clue::Barred
        } else {
            Clue::None
        };
        Self { fault, progress: outcome.progress, clue }
    }

    /// Whether the peer accepted the connection.
    pub fn was_accepted(&self) -> bool {
        self.progress >= Progress::Connected
    }

    /// Whether the system refused us a connection. Once there is one, it was the budget for
    /// metadata that was spent.
    pub fn is_shortage(&self) -> bool {
        self.fault == PeerFault::Pressure && self.progress == Progress::Nothing
    }

    /// Whether it looks like a client that takes one connection from an address at a time.
    pub fn is_hang_up(&self, around: Circumstances) -> bool {
        let hung_up =
            matches!(self.fault, PeerFault::ClosedEarly | PeerFault::ClosedExchangingKeys);
        hung_up && around.crowded
    }

    /// Whose fault it is.
    pub fn blame(&self, around: Circumstances) -> Blame {
        if around.cut_off && self.fault.may_be_outage() {
            // Nothing that fails now proves anything about the peer.
            return Blame::Network;
        }
        if self.fault == PeerFault::Pressure {
            // The system refused a connection, or what others hold left no room for its metadata.
            return Blame::Us;
        }
        if self.clue == Clue::Advanced {
            return Blame::Turn;
        }
        if self.fault == PeerFault::Yielded || self.is_hang_up(around) {
            // While no row is taken it ends like this time after time.
            return if around.held_up { Blame::Us } else { Blame::Crowd };
        }
        Blame::Peer
    }
}

/// One entry of a list: an attempt, and after which end of which other one it is worth a
/// connection.
#[derive(Clone, Copy, Debug)]
struct Entry {
    attempt: Attempt,
    after: (Transport, Clue),
}

impl Entry {
    /// The one that is made in any case.
    const fn first(transport: Transport) -> Self {
        let attempt = Attempt { transport, pipeline: Pipeline::All };
        Self { attempt, after: (transport, Clue::None) }
    }

    /// For peers that do not take what `before` carries.
    const fn instead_of(before: Transport, transport: Transport) -> Self {
        let attempt = Attempt { transport, pipeline: Pipeline::All };
        Self { attempt, after: (before, Clue::Barred) }
    }

    /// Some clients choke on many requests at once.
    const fn one_by_one(transport: Transport) -> Self {
        let attempt = Attempt { transport, pipeline: Pipeline::OneByOne };
        Self { attempt, after: (transport, Clue::Choked) }
    }
}

const CLEAR: Transport = Transport::Tcp;
const SEALED: Transport = Transport::TcpEncrypted;

/// Which attempts a plan has, and in which order: what the run allows, and what is known of the
/// peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ways {
    /// In the clear, and encrypted for peers that do not take that.
    #[default]
    ClearFirst,
    /// The other way round, for peers that were seen to want it.
    SealedFirst,
    /// In the clear alone.
    Clear,
    /// Encrypted alone.
    Sealed,
}

impl Ways {
    /// Those of a peer that `wants_encryption`, as far as is known.
    pub fn of(policy: EncryptionPolicy, wants_encryption: bool) -> Self {
        match (policy, wants_encryption) {
            _ if planted::is(Bug::PlanNeverFallsBack) => Self::Clear,
            (EncryptionPolicy::Auto, false) => Self::ClearFirst,
            (EncryptionPolicy::Auto, true) => Self::SealedFirst,
            (EncryptionPolicy::Off, _) => Self::Clear,
            (EncryptionPolicy::Require, _) => Self::Sealed,
        }
    }

    /// Every attempt, in order. The first is made in any case.
    const fn list(self) -> &'static [Entry] {
        const CLEAR_FIRST: &[Entry] = &[
            Entry::first(CLEAR),
            Entry::instead_of(CLEAR, SEALED),
            Entry::one_by_one(CLEAR),
            Entry::one_by_one(SEALED),
        ];
        const SEALED_FIRST: &[Entry] = &[
            Entry::first(SEALED),
            Entry::instead_of(SEALED, CLEAR),
            Entry::one_by_one(SEALED),
            Entry::one_by_one(CLEAR),
        ];
        const ONLY_CLEAR: &[Entry] = &[Entry::first(CLEAR), Entry::one_by_one(CLEAR)];
        const ONLY_SEALED: &[Entry] = &[Entry::first(SEALED), Entry::one_by_one(SEALED)];
        match self {
            Self::ClearFirst => CLEAR_FIRST,
            Self::SealedFirst => SEALED_FIRST,
            Self::Clear => ONLY_CLEAR,
            Self::Sealed => ONLY_SEALED,
        }
    }
}

/// How far the attempt at the cursor is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Waiting for its turn.
    #[default]
    Due,
    /// A connection is open for it.
    UnderWay,
    /// It was broken off because the run ends: neither due again nor failed.
    BrokenOff,
    /// It was the last.
    Over,
}

/// Where a plan stands after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// At the same attempt.
    Again,
    /// At the next attempt.
    On,
    /// At its end; and whether the peer accepted any connection.
    Over(Acceptance),
}

/// Whether a connection was accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acceptance {
    /// None was.
    #[default]
    None,
    /// At least one was.
    Some,
}

/// When an attempt that is due has its turn, whosever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// At once: the peer is there, and will perhaps take this.
    AtOnce,
    /// The first on its peer.
    First,
    /// After the first on every peer.
    Later,
}

/// The attempts on one peer, and how far they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    ways: Ways,
    cursor: u8,
    state: State,
    /// Connections that came to nothing and that neither the network, nor we, nor others that
    /// wait are to blame for.
    connects: u8,
    acceptance: Acceptance,
    /// How often an attempt was repeated because of a crowd.
    put_backs: u8,
    /// How often it gave up its place after it had brought something.
    turns: u8,
}

impl Plan {
    /// A plan of which nothing is done.
    pub fn new() -> Self {
        Self::default()
    }

    /// When the attempt that is due has its turn, if one is.
    pub fn due(&self) -> Option<Rank> {
        let entry = self.ways.list().get(usize::from(self.cursor))?;
        (self.state == State::Due).then_some(match (self.cursor, entry.after.1) {
            (0, _) => Rank::First,
            (_, Clue::Barred) => Rank::AtOnce,
            _ => Rank::Later,
        })
    }

    /// How many turns it has had: whichever had fewer goes first.
    pub fn turns(&self) -> u8 {
        self.turns
    }

    /// Whether a connection is open for it.
    pub fn is_under_way(&self) -> bool {
        self.state == State::UnderWay
    }

    /// Whether nothing is left to try.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Begins the attempt that is due; the first one of those that `ways` have.
    pub fn begin(&mut self, ways: Ways) -> Option<Attempt> {
        if self.due()? == Rank::First {
            self.ways = ways;
        }
        let entry = self.ways.list().get(usize::from(self.cursor))?;
        self.state = State::UnderWay;
        Some(entry.attempt)
    }

    /// The attempt under way was broken off with the run.
    pub fn break_off(&mut self) {
        if self.is_under_way() {
            self.state = State::BrokenOff;
        }
    }

    /// The attempt under way failed.
    pub fn on_failure(&mut self, failure: &Failure, blame: Blame) -> Moved {
        if failure.was_accepted() {
            self.acceptance = Acceptance::Some;
        }
        let is_free = match blame {
            Blame::Network | Blame::Us => true,
            Blame::Turn => self.turns < TURNS_MAX,
            Blame::Crowd | Blame::Peer => false,
        };
        if is_free {
            self.turns += u8::from(blame == Blame::Turn);
            return self.again();
        }
        self.connects = self.connects.saturating_add(1);
        if self.connects >= PLAN_CONNECTS_MAX {
            return self.end();
        }
        if blame == Blame::Crowd && self.put_backs < PUT_BACKS_MAX {
            self.put_backs += 1;
            return self.again();
        }
        // A crowd without end says something about the peer after all.
        self.move_on(failure.clue)
    }

    fn again(&mut self) -> Moved {
        self.state = State::Due;
        Moved::Again
    }

    fn end(&mut self) -> Moved {
        self.state = State::Over;
        Moved::Over(self.acceptance)
    }

    /// To the next attempt that `clue` makes worth a connection.
    fn move_on(&mut self, clue: Clue) -> Moved {
        let (list, after) = (self.ways.list(), usize::from(self.cursor) + 1);
        let Some(failed) = list.get(usize::from(self.cursor)) else { return self.end() };
        let end = (failed.attempt.transport, clue);
        let next = list.iter().skip(after).position(|entry| entry.after == end);
        let Some(next) = next.and_then(|next| u8::try_from(after + next).ok()) else {
            return self.end();
        };
        (self.cursor, self.state) = (next, State::Due);
        Moved::On
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Circumstances = Circumstances { cut_off: false, held_up: false, crowded: false };

    fn failure(fault: PeerFault, progress: Progress) -> Failure {
        Failure { fault, progress, clue: Clue::None }
    }

    const OVER: Moved = Moved::Over(Acceptance::Some);

    fn ended(plan: &mut Plan, failure: &Failure, blame: Blame) -> Moved {
        assert!(plan.begin(Ways::ClearFirst).is_some());
        plan.on_failure(failure, blame)
    }

    #[test]
    fn the_blame_follows_from_the_fault_and_what_goes_on_around_it() {
        let timeout = failure(PeerFault::ConnectTimeout, Progress::Nothing);
        let refused = failure(PeerFault::Refused, Progress::Nothing);
        let early = failure(PeerFault::ClosedEarly, Progress::Connected);
        let keys = failure(PeerFault::ClosedExchangingKeys, Progress::Connected);
        let system = failure(PeerFault::Pressure, Progress::Nothing);
        let budget = failure(PeerFault::Pressure, Progress::Offered);
        let cut_off = Circumstances { cut_off: true, ..CALM };
        let crowded = Circumstances { crowded: true, ..CALM };
        let held_up = Circumstances { held_up: true, ..crowded };
        for (failure, around, blame) in [
            (timeout, CALM, Blame::Peer),
            (timeout, cut_off, Blame::Network),
            (refused, cut_off, Blame::Peer),
            (early, CALM, Blame::Peer),
            (early, crowded, Blame::Crowd),
            (keys, CALM, Blame::Peer),
            (keys, crowded, Blame::Crowd),
            (early, held_up, Blame::Us),
            (early, Circumstances { cut_off: true, ..crowded }, Blame::Network),
            (system, CALM, Blame::Us),
            (budget, CALM, Blame::Us),
            (budget, held_up, Blame::Us),
        ] {
            assert_eq!(failure.blame(around), blame, "{failure:?} {around:?}");
        }
    }

    #[test]
    fn a_peer_that_chokes_on_pipelining_is_asked_piece_by_piece_and_then_no_more() {
        let mut plan = Plan::new();
        let choked = Failure {
            fault: PeerFault::MetadataTimeout,
            progress: Progress::Offered,
            clue: Clue::Choked,
        };
        let (ways, all) = (Ways::ClearFirst, Attempt { transport: CLEAR, pipeline: Pipeline::All });
        assert_eq!(plan.begin(ways), Some(all));
        assert_eq!(plan.on_failure(&choked, Blame::Peer), Moved::On);
        let one_by_one = Attempt { pipeline: Pipeline::OneByOne, ..all };
        assert_eq!((plan.due(), plan.begin(ways)), (Some(Rank::Later), Some(one_by_one)));
        assert_eq!(plan.on_failure(&choked, Blame::Peer), OVER);
        assert!(plan.is_over() && plan.begin(ways).is_none());
    }

    #[test]
    fn without_a_clue_the_first_attempt_is_the_last() {
        for ways in [Ways::ClearFirst, Ways::SealedFirst, Ways::Clear, Ways::Sealed] {
            let mut plan = Plan::new();
            let refused = failure(PeerFault::Refused, Progress::Nothing);
            assert!(plan.begin(ways).is_some());
            assert_eq!(plan.on_failure(&refused, Blame::Peer), Moved::Over(Acceptance::None));
        }
    }

    #[test]
    fn a_peer_that_bars_one_way_is_asked_the_other_way_at_once_and_counts_as_accepted() {
        let barred =
            Failure { clue: Clue::Barred, ..failure(PeerFault::ClosedEarly, Progress::Connected) };
        let timeout = failure(PeerFault::ConnectTimeout, Progress::Nothing);
        let orders = [(Ways::ClearFirst, CLEAR, SEALED), (Ways::SealedFirst, SEALED, CLEAR)];
        for (ways, first, second) in orders {
            for (end, last) in [(barred, OVER), (timeout, OVER)] {
                let mut plan = Plan::new();
                assert_eq!(plan.begin(ways).map(|attempt| attempt.transport), Some(first));
                assert_eq!(plan.on_failure(&barred, Blame::Peer), Moved::On);
                assert_eq!(plan.due(), Some(Rank::AtOnce));
                // What is learnt meanwhile changes nothing.
                let next = plan.begin(Ways::Clear).map(|attempt| attempt.transport);
                assert_eq!(next, Some(second));
                assert_eq!(plan.on_failure(&end, Blame::Peer), last);
            }
        }
        for ways in [Ways::Clear, Ways::Sealed] {
            let mut plan = Plan::new();
            assert!(plan.begin(ways).is_some());
            assert_eq!(plan.on_failure(&barred, Blame::Peer), OVER);
        }
    }

    #[test]
    fn an_encrypted_peer_that_chokes_is_asked_piece_by_piece_through_encryption() {
        let clue = |clue| Failure { clue, ..failure(PeerFault::ClosedLate, Progress::Offered) };
        let mut plan = Plan::new();
        for (end, transport) in [(Clue::Barred, CLEAR), (Clue::Choked, SEALED)] {
            let attempt = plan.begin(Ways::ClearFirst);
            assert_eq!(attempt, Some(Attempt { transport, pipeline: Pipeline::All }));
            assert_eq!(plan.on_failure(&clue(end), Blame::Peer), Moved::On);
        }
        let last = Attempt { transport: SEALED, pipeline: Pipeline::OneByOne };
        assert_eq!(plan.begin(Ways::ClearFirst), Some(last));
    }

    #[test]
    fn what_the_run_allows_and_what_is_known_of_a_peer_choose_the_list() {
        use EncryptionPolicy::{Auto, Off, Require};
        for (policy, known, ways) in [
            (Auto, false, Ways::ClearFirst),
            (Auto, true, Ways::SealedFirst),
            (Off, true, Ways::Clear),
            (Require, false, Ways::Sealed),
        ] {
            assert_eq!(Ways::of(policy, known), ways);
        }
        for ways in [Ways::ClearFirst, Ways::SealedFirst, Ways::Clear, Ways::Sealed] {
            assert!(ways.list().len() <= usize::from(PLAN_CONNECTS_MAX), "{ways:?}");
        }
    }

    #[test]
    fn what_is_not_the_peers_fault_costs_it_nothing_but_a_crowd_is_believed_only_so_often() {
        let mut plan = Plan::new();
        let early = failure(PeerFault::ClosedEarly, Progress::Connected);
        for _ in 0..PUT_BACKS_MAX {
            assert_eq!(ended(&mut plan, &early, Blame::Crowd), Moved::Again);
        }
        for blame in [Blame::Us, Blame::Network].repeat(5) {
            assert_eq!(ended(&mut plan, &early, blame), Moved::Again);
        }
        assert_eq!(ended(&mut plan, &early, Blame::Crowd), OVER);
    }

    #[test]
    fn no_plan_has_more_connects_than_the_limit() {
        let barred =
            Failure { clue: Clue::Barred, ..failure(PeerFault::ClosedEarly, Progress::Connected) };
        let mut plan = Plan::new();
        let mut connects = 0;
        while plan.begin(Ways::ClearFirst).is_some() {
            connects += 1;
            let _ = plan.on_failure(&barred, Blame::Crowd);
        }
        assert_eq!(connects, PLAN_CONNECTS_MAX);
    }

    #[test]
    fn an_attempt_broken_off_is_neither_due_nor_over() {
        let mut plan = Plan::new();
        assert!(plan.begin(Ways::ClearFirst).is_some());
        plan.break_off();
        assert!(plan.due().is_none() && !plan.is_over() && !plan.is_under_way());
    }
}
