//! What is tried next on a peer, as data: a list of attempts and a place in it, moved on by how the
//! last attempt ended and by whose fault that was.
//!
//! Nothing here knows an address or a limit that spans peers: the dialer decides which peers may be
//! dialled. A new transport is an entry of [`ATTEMPTS`], a variant of [`Transport`], and a task of
//! the adapter that carries it.

use crate::base::fault::PeerFault;
use crate::limits::{PUT_BACKS_MAX, TURNS_MAX};
use crate::peer::exchange::{Attempt, Outcome, Pipeline, Progress, Transport};

/// Whose fault it is that an attempt brought no metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The peer's: its next attempt is due, or there is none.
    Peer,
    /// That of other work at the same time: connections to its address, or metadata of other peers.
    /// The same attempt again, at no cost to the peer, a few times.
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
pub(crate) struct Circumstances {
    /// The network is suspected to be gone.
    pub(crate) cut_off: bool,
    /// Rows wait until there is no room for more.
    pub(crate) held_up: bool,
    /// Another connection to the address was open at some time with this one.
    pub(crate) crowded: bool,
}

/// What the end of an attempt says about what may work instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clue {
    /// Nothing.
    None,
    /// It brought pieces, but not all that it was asked for at once.
    Choked,
    /// It brought pieces, and gave up its place to others.
    Advanced,
}

/// An attempt that brought no metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) fault: PeerFault,
    pub(crate) progress: Progress,
    pub(crate) clue: Clue,
}

impl Failure {
    /// What `outcome`, which ended with `fault`, says.
    pub(crate) fn of(outcome: &Outcome, fault: PeerFault) -> Self {
        // Pieces that other peers left say nothing about this one.
        let several = outcome.pieces_offered > 1 && outcome.partial.is_some();
        let stalled = matches!(fault, PeerFault::MetadataTimeout | PeerFault::ClosedLate);
        let advanced = fault == PeerFault::Yielded && outcome.pieces_new > 0;
        let clue = match (stalled && several, advanced) {
            (true, _) => Clue::Choked,
            (false, true) => Clue::Advanced,
            (false, false) => Clue::None,
        };
        Self { fault, progress: outcome.progress, clue }
    }

    /// Whether the peer accepted the connection.
    pub(crate) fn was_accepted(&self) -> bool {
        self.progress >= Progress::Connected
    }

    /// Whether the system refused us a connection. Once there is one, it was the budget for
    /// metadata that was spent.
    pub(crate) fn is_shortage(&self) -> bool {
        self.fault == PeerFault::Pressure && self.progress == Progress::Nothing
    }

    /// Whether it looks like a client that takes one connection from an address at a time.
    pub(crate) fn is_hang_up(&self, around: Circumstances) -> bool {
        self.fault == PeerFault::ClosedEarly && around.crowded
    }

    /// Whose fault it is.
    pub(crate) fn blame(&self, around: Circumstances) -> Blame {
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

/// One entry of the list: an attempt, and after which clue it is worth the connection.
#[derive(Clone, Copy, Debug)]
struct Entry {
    attempt: Attempt,
    after: Clue,
}

/// Every attempt on a peer, in order. The first is made in any case.
const ATTEMPTS: [Entry; 2] = [
    Entry {
        attempt: Attempt { transport: Transport::Tcp, pipeline: Pipeline::All },
        after: Clue::None,
    },
    // Some clients choke on many requests at once.
    Entry {
        attempt: Attempt { transport: Transport::Tcp, pipeline: Pipeline::OneByOne },
        after: Clue::Choked,
    },
];

/// How far the attempt at the cursor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Waiting for its turn.
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
pub(crate) enum Moved {
    /// At the same attempt, which cost nothing.
    Again,
    /// At the next attempt.
    On,
    /// At its end.
    Over,
}

/// Whether a connection was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acceptance {
    None,
    Some,
}

/// The attempts on one peer, and how far they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    cursor: u8,
    state: State,
    /// How often an attempt was repeated because of a crowd.
    put_backs: u8,
    /// How often it gave up its place after it had brought something.
    turns: u8,
}

impl Plan {
    /// A plan of which nothing is done.
    pub(crate) fn new() -> Self {
        Self { cursor: 0, state: State::Due, put_backs: 0, turns: 0 }
    }

    /// The number of the attempt that is due, if one is: those with the lowest are made first,
    /// whosever they are.
    pub(crate) fn due(&self) -> Option<usize> {
        (self.state == State::Due).then_some(usize::from(self.cursor))
    }

    /// How many turns it has had: whichever had fewer goes first.
    pub(crate) fn turns(&self) -> u8 {
        self.turns
    }

    /// Whether a connection is open for it.
    pub(crate) fn is_under_way(&self) -> bool {
        self.state == State::UnderWay
    }

    /// Whether nothing is left to try.
    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Begins the attempt that is due.
    pub(crate) fn begin(&mut self) -> Option<Attempt> {
        let entry = ATTEMPTS.get(self.due()?)?;
        self.state = State::UnderWay;
        Some(entry.attempt)
    }

    /// The attempt under way was broken off with the run.
    pub(crate) fn break_off(&mut self) {
        if self.is_under_way() {
            self.state = State::BrokenOff;
        }
    }

    /// The attempt under way failed.
    pub(crate) fn on_failure(&mut self, failure: &Failure, blame: Blame) -> Moved {
        match blame {
            Blame::Network | Blame::Us => {
                self.state = State::Due;
                Moved::Again
            }
            Blame::Crowd if self.put_backs < PUT_BACKS_MAX => {
                self.put_backs += 1;
                self.state = State::Due;
                Moved::Again
            }
            Blame::Turn if self.turns < TURNS_MAX => {
                self.turns += 1;
                self.state = State::Due;
                Moved::Again
            }
            // A crowd without end says something about the peer after all.
            Blame::Crowd | Blame::Turn | Blame::Peer => self.move_on(failure.clue),
        }
    }

    /// To the next attempt that `clue` makes worth a connection.
    fn move_on(&mut self, clue: Clue) -> Moved {
        let after = usize::from(self.cursor) + 1;
        let promising = |entry: &Entry| clue != Clue::None && entry.after == clue;
        let next = ATTEMPTS.iter().skip(after).position(promising);
        let Some(next) = next.and_then(|next| u8::try_from(after + next).ok()) else {
            self.state = State::Over;
            return Moved::Over;
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

    fn ended(plan: &mut Plan, failure: &Failure, blame: Blame) -> Moved {
        assert!(plan.begin().is_some());
        plan.on_failure(failure, blame)
    }

    #[test]
    fn the_blame_follows_from_the_fault_and_what_goes_on_around_it() {
        let timeout = failure(PeerFault::ConnectTimeout, Progress::Nothing);
        let refused = failure(PeerFault::Refused, Progress::Nothing);
        let early = failure(PeerFault::ClosedEarly, Progress::Connected);
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
        assert_eq!(plan.begin(), Some(ATTEMPTS[0].attempt));
        assert_eq!(plan.on_failure(&choked, Blame::Peer), Moved::On);
        assert_eq!((plan.due(), plan.begin()), (Some(1), Some(ATTEMPTS[1].attempt)));
        assert_eq!(plan.on_failure(&choked, Blame::Peer), Moved::Over);
        assert!(plan.is_over() && plan.begin().is_none());
    }

    #[test]
    fn without_a_clue_the_first_attempt_is_the_last() {
        let mut plan = Plan::new();
        let refused = failure(PeerFault::Refused, Progress::Nothing);
        assert_eq!(ended(&mut plan, &refused, Blame::Peer), Moved::Over);
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
        assert_eq!(ended(&mut plan, &early, Blame::Crowd), Moved::Over);
    }

    #[test]
    fn an_attempt_broken_off_is_neither_due_nor_over() {
        let mut plan = Plan::new();
        assert!(plan.begin().is_some());
        plan.break_off();
        assert!(plan.due().is_none() && !plan.is_over() && !plan.is_under_way());
    }
}
