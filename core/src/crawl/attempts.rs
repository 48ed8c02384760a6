//! What is tried next on a peer, as data: the ways that it may be asked in, and the latest attempt,
//! moved on by how that ended and by whose fault it was.
//!
//! Nothing here knows an address or a limit that spans peers: the dialer decides which peers may be
//! dialled, and which ways a peer has. A new transport is a step in [`Ways`], a variant of
//! [`Transport`], and a task of the adapter that carries it.

use crate::base::fault::PeerFault;
use crate::base::planted::{self, Bug};
use crate::config::{EncryptionPolicy, TransportPolicy};
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
    /// It took the connection and said nothing, nor hung up: perhaps it waits for encryption, but
    /// most that are silent stay so.
    Mute,
    /// It took no connection: perhaps it takes one over another transport.
    Absent,
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
        } else if outcome.progress == Progress::Connected && fault == PeerFault::HandshakeTimeout {
            Clue::Mute
        } else if outcome.progress == Progress::Connected && fault.may_be_encryption() {
            Clue::Barred
        } else if outcome.progress == Progress::Nothing && fault.may_be_transport() {
            Clue::Absent
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

/// Which attempts a plan may have, and which comes first: what the run allows, and what is known of
/// the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ways {
    first: Transport,
    transports: TransportPolicy,
    encryption: EncryptionPolicy,
}

impl Ways {
    /// Over TCP, in the clear first: what a peer gets of which nothing is known, where the run
    /// allows all and there is no socket for uTP.
    pub(crate) const TCP: Self = Self {
        first: Transport::Tcp,
        transports: TransportPolicy::Tcp,
        encryption: EncryptionPolicy::Auto,
    };

    /// Those of a peer that answered to `habit` last, if it is known to have answered.
    pub fn of(
        transports: TransportPolicy,
        encryption: EncryptionPolicy,
        habit: Option<Transport>,
    ) -> Self {
        if planted::is(Bug::PlanNeverFallsBack) {
            return Self { encryption: EncryptionPolicy::Off, ..Self::TCP };
        }
        let first = match transports {
            TransportPolicy::Any | TransportPolicy::Tcp => Transport::Tcp,
            TransportPolicy::Utp => Transport::Utp,
        };
        let first = first.sealed(encryption == EncryptionPolicy::Require);
        let ways = Self { first, transports, encryption };
        match habit.filter(|habit| ways.allow(*habit)) {
            Some(first) => Self { first, ..ways },
            None => ways,
        }
    }

    fn allow(self, transport: Transport) -> bool {
        let carried = match self.transports {
            TransportPolicy::Any => true,
            TransportPolicy::Tcp => !transport.is_utp(),
            TransportPolicy::Utp => transport.is_utp(),
        };
        carried
            && match self.encryption {
                EncryptionPolicy::Auto => true,
                EncryptionPolicy::Require => transport.is_encrypted(),
                EncryptionPolicy::Off => !transport.is_encrypted(),
            }
    }

    /// The attempt that is made in any case.
    const fn first(self) -> Attempt {
        Attempt { transport: self.first, pipeline: Pipeline::All }
    }

    /// The attempts that `clue`, with which `failed` ended, makes worth a connection, in order, and
    /// why each is.
    fn after(self, failed: Attempt, clue: Clue) -> impl Iterator<Item = (Attempt, Clue)> {
        let all = |transport| Attempt { transport, pipeline: Pipeline::All };
        // For peers that do not take what this one carried.
        let sealed = (all(failed.transport.other_seal()), Clue::Barred);
        // The first there would be as the first here was.
        let elsewhere = (all(self.first.over_utp(!failed.transport.is_utp())), Clue::Absent);
        let next = match (clue, failed.pipeline) {
            // Some clients choke on many requests at once.
            (Clue::Choked, Pipeline::All) => {
                let one_by_one = Attempt { pipeline: Pipeline::OneByOne, ..failed };
                [Some((one_by_one, Clue::Choked)), None]
            }
            // libtorrent without incoming TCP accepts what comes there and hangs up. Nearly all
            // that take uTP take encryption there, and not all take anything else.
            (Clue::Barred, Pipeline::All) => {
                let seals = self.encryption != EncryptionPolicy::Off;
                let over = all(elsewhere.0.transport.sealed(seals));
                [Some(sealed), Some((over, Clue::Absent))]
            }
            (Clue::Mute, Pipeline::All) => [Some((sealed.0, Clue::Mute)), None],
            (Clue::Absent, _) => [Some(elsewhere), None],
            _ => [None, None],
        };
        next.into_iter().flatten().filter(move |(next, _)| self.allow(next.transport))
    }
}

/// How far the latest attempt is.
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
    /// After the first on every peer: it may be there, and takes another transport.
    Elsewhere,
    /// After all of these.
    Later,
    /// When no better peer is left nor to be hoped for: it is there, and silent. A key pair for
    /// each silent peer would cost more than the metadata of others.
    Last,
}

/// The attempts on one peer, and how far they are.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    ways: Ways,
    /// The latest attempt, and why it is made: `None` for the first.
    attempt: Attempt,
    why: Clue,
    /// Transports over which an attempt came to its end, a bit each.
    tried: u8,
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

impl Default for Plan {
    fn default() -> Self {
        Self::new()
    }
}

impl Plan {
    /// A plan of which nothing is done.
    pub const fn new() -> Self {
        Self {
            ways: Ways::TCP,
            attempt: Ways::TCP.first(),
            why: Clue::None,
            tried: 0,
            state: State::Due,
            connects: 0,
            acceptance: Acceptance::None,
            put_backs: 0,
            turns: 0,
        }
    }

    /// When the attempt that is due has its turn, if one is.
    pub fn due(&self) -> Option<Rank> {
        (self.state == State::Due).then_some(match self.why {
            Clue::None => Rank::First,
            Clue::Barred => Rank::AtOnce,
            Clue::Absent => Rank::Elsewhere,
            Clue::Choked | Clue::Advanced => Rank::Later,
            Clue::Mute => Rank::Last,
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
            (self.ways, self.attempt) = (ways, ways.first());
        }
        self.state = State::UnderWay;
        Some(self.attempt)
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

    /// To the next attempt that `clue` makes worth a connection, unless it was made. Nobody is
    /// looked for twice over the same transport.
    fn move_on(&mut self, clue: Clue) -> Moved {
        self.tried |= bit(self.attempt.transport);
        let tried = |transport: Transport| self.tried & bit(transport) != 0;
        let is_new = |next: Attempt, why: Clue| match why {
            Clue::Absent => !tried(next.transport) && !tried(next.transport.other_seal()),
            Clue::Barred | Clue::Mute => !tried(next.transport),
            Clue::None | Clue::Choked | Clue::Advanced => true,
        };
        let mut after = self.ways.after(self.attempt, clue);
        let Some((next, why)) = after.find(|(next, why)| is_new(*next, *why)) else {
            return self.end();
        };
        (self.attempt, self.why, self.state) = (next, why, State::Due);
        Moved::On
    }
}

fn bit(transport: Transport) -> u8 {
    1 << transport as u8
}

#[cfg(test)]
mod tests;
