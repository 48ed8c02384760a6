//! The plan of one peer, moved on by whatever ends its connections: it is paid for at most so
//! often, it ends, and no way that the peer barred, or that the run does not allow, is tried.

use std::collections::BTreeSet;

use estudely_core::internal::attempts::{
    Acceptance, Blame, Circumstances, Clue, Failure, Moved, Plan, Rank, Ways,
};
use estudely_core::internal::exchange::{
    Attempt, Exchange, Outcome, Pipeline, Progress, Transport,
};
use estudely_core::internal::pieces::Pieces;
use estudely_core::limits::{PLAN_CONNECTS_MAX, PUT_BACKS_MAX, TURNS_MAX};
use estudely_core::{EncryptionPolicy, InfoHash, Instant, PeerFault, Seed, TransportPolicy};

use super::input::Input;

/// One plan. The first byte says what the run allows; then three bytes for each connection: how it
/// ended, how far it came and to what the peer is known to answer, and bits for the rest (1 the
/// network is suspected, 2 no row is taken, 4 another connection was open, 8 several pieces were
/// offered, 16 some came, 32 pieces are left, 64 these find no room, 128 the peer is known). The
/// last fault of all breaks it off.
pub(super) fn plan(data: &[u8]) {
    let mut input = Input(data);
    let allowed = input.u8();
    let mut one = One::new(Allowed {
        encryption: ENCRYPTIONS[usize::from(allowed % 3)],
        transports: TRANSPORTS[usize::from(allowed / 3 % 3)],
    });
    while !input.is_empty() && one.is_due() {
        one.connect(input.bytes());
    }
    one.finish();
}

const ENCRYPTIONS: [EncryptionPolicy; 3] =
    [EncryptionPolicy::Auto, EncryptionPolicy::Require, EncryptionPolicy::Off];
const TRANSPORTS: [TransportPolicy; 3] =
    [TransportPolicy::Any, TransportPolicy::Tcp, TransportPolicy::Utp];
const HABITS: [Transport; 4] =
    [Transport::TcpEncrypted, Transport::Utp, Transport::UtpEncrypted, Transport::Tcp];

/// What the run allows.
#[derive(Clone, Copy)]
struct Allowed {
    encryption: EncryptionPolicy,
    transports: TransportPolicy,
}

impl Allowed {
    fn ways(self, habit: Option<Transport>) -> Ways {
        Ways::of(self.transports, self.encryption, habit)
    }

    fn has(self, transport: Transport) -> bool {
        let (is_utp, is_encrypted) = parts(transport);
        match (self.transports, is_utp) {
            (TransportPolicy::Tcp, true) | (TransportPolicy::Utp, false) => return false,
            _ => {}
        }
        !matches!(
            (self.encryption, is_encrypted),
            (EncryptionPolicy::Require, false) | (EncryptionPolicy::Off, true)
        )
    }

    /// What a peer is asked over first.
    fn first(self, habit: Option<Transport>) -> Transport {
        let over_utp = self.transports == TransportPolicy::Utp;
        let encrypted = self.encryption == EncryptionPolicy::Require;
        habit.filter(|habit| self.has(*habit)).unwrap_or(made_of(over_utp, encrypted))
    }
}

/// Whether it is over uTP, and whether it is encrypted.
fn parts(transport: Transport) -> (bool, bool) {
    (transport.is_utp(), transport.is_encrypted())
}

fn made_of(over_utp: bool, encrypted: bool) -> Transport {
    match (over_utp, encrypted) {
        (false, false) => Transport::Tcp,
        (false, true) => Transport::TcpEncrypted,
        (true, false) => Transport::Utp,
        (true, true) => Transport::UtpEncrypted,
    }
}

/// A plan, and a naive book of it.
struct One {
    allowed: Allowed,
    plan: Plan,
    /// Connections that somebody paid for, those of a crowd, and those that gave up their place.
    paid: u8,
    crowds: u8,
    turns: u8,
    accepted: bool,
    /// What was tried first.
    first: Transport,
    /// What was tried and is over, and which of it the peer did not take at all.
    over: BTreeSet<Attempt>,
    barred: BTreeSet<Transport>,
    /// What is due and its rank, if not the first.
    next: Option<(Attempt, Rank)>,
    is_broken_off: bool,
}

impl One {
    fn new(allowed: Allowed) -> Self {
        Self {
            allowed,
            plan: Plan::new(),
            paid: 0,
            crowds: 0,
            turns: 0,
            accepted: false,
            first: Transport::Tcp,
            over: BTreeSet::new(),
            barred: BTreeSet::new(),
            next: None,
            is_broken_off: false,
        }
    }

    fn is_due(&self) -> bool {
        let due = self.plan.due();
        assert_eq!(due.is_some(), !self.plan.is_over() && !self.is_broken_off);
        assert!(!self.plan.is_under_way());
        due.is_some()
    }

    fn connect(&mut self, [fault, progress, bits]: [u8; 3]) {
        let habit = (bits & 128 != 0).then_some(HABITS[usize::from(progress / 6 % 4)]);
        let (rank, attempt) = self.begin(habit);
        let faults = PeerFault::ALL;
        let Some(fault) = faults.get(usize::from(fault) % (faults.len() + 1)) else {
            self.plan.break_off();
            self.is_broken_off = true;
            return;
        };
        let failure = Failure::of(&outcome(attempt, *fault, progress, bits), *fault);
        let around = Circumstances {
            cut_off: bits & 1 != 0,
            held_up: bits & 2 != 0,
            crowded: bits & 4 != 0,
        };
        let blame = failure.blame(around);
        match blame {
            Blame::Network => assert!(around.cut_off && *fault != PeerFault::Refused),
            Blame::Us => assert!(around.held_up || *fault == PeerFault::Pressure),
            Blame::Crowd => assert!(around.crowded || *fault == PeerFault::Yielded),
            Blame::Turn => assert!(*fault == PeerFault::Yielded && bits & 16 != 0),
            Blame::Peer => assert!(!matches!(fault, PeerFault::Pressure | PeerFault::Yielded)),
        }
        // Where what a turn brought is not kept, it counts as a crowd's.
        let is_lost = blame == Blame::Turn && bits & 64 != 0;
        self.fail((rank, attempt), &failure, if is_lost { Blame::Crowd } else { blame });
    }

    /// What is due begins, and it is what a naive reading of how the last connection ended says.
    fn begin(&mut self, habit: Option<Transport>) -> (Rank, Attempt) {
        let ways = self.allowed.ways(habit);
        let rank = self.plan.due().expect("looked at before");
        let attempt = self.plan.begin(ways).expect("what is due begins");
        assert!(self.plan.is_under_way() && self.plan.due().is_none());
        assert_eq!(self.plan.begin(ways), None, "one connection at a time");
        let transport = attempt.transport;
        assert!(self.allowed.has(transport), "{attempt:?} is not allowed");
        assert!(!self.over.contains(&attempt), "{attempt:?} is over");
        assert!(!self.barred.contains(&transport), "{attempt:?} is barred");
        match self.next {
            Some(next) => assert_eq!((attempt, rank), next),
            None => {
                assert_eq!((rank, attempt.pipeline), (Rank::First, Pipeline::All));
                assert_eq!(transport, self.allowed.first(habit));
                self.first = transport;
            }
        }
        (rank, attempt)
    }

    fn fail(&mut self, (rank, attempt): (Rank, Attempt), failure: &Failure, blame: Blame) {
        self.accepted |= failure.progress != Progress::Nothing;
        let moved = self.plan.on_failure(failure, blame);
        let is_free = match blame {
            Blame::Network | Blame::Us => true,
            Blame::Turn if self.turns < TURNS_MAX => {
                self.turns += 1;
                true
            }
            _ => false,
        };
        self.paid += u8::from(!is_free);
        assert!(self.paid <= PLAN_CONNECTS_MAX);
        assert_eq!(self.plan.turns(), self.turns);
        let put_back = blame == Blame::Crowd && self.crowds < PUT_BACKS_MAX;
        let expected = if is_free {
            Moved::Again
        } else if self.paid == PLAN_CONNECTS_MAX {
            self.at_the_end()
        } else if put_back {
            self.crowds += 1;
            Moved::Again
        } else {
            self.move_on(attempt, failure.clue)
        };
        assert_eq!(moved, expected);
        match moved {
            Moved::Again => assert_eq!(self.plan.due(), Some(rank)),
            Moved::On => assert_ne!(self.plan.due(), Some(Rank::First)),
            Moved::Over(_) => assert!(self.plan.is_over() && self.plan.due().is_none()),
        }
    }

    /// What follows a connection that was the peer's to answer for.
    fn move_on(&mut self, attempt: Attempt, clue: Clue) -> Moved {
        self.over.insert(attempt);
        if matches!(clue, Clue::Barred | Clue::Mute) {
            self.barred.insert(attempt.transport);
        }
        let Some((next, rank)) = self.following(attempt, clue) else { return self.at_the_end() };
        self.next = Some((next, rank));
        assert_eq!(self.plan.due(), Some(rank));
        Moved::On
    }

    /// Where to go from there, if anywhere: the same piece by piece; to the other side of
    /// encryption; or to where it was not looked for so far.
    fn following(&self, attempt: Attempt, clue: Clue) -> Option<(Attempt, Rank)> {
        let all = |transport| Attempt { transport, pipeline: Pipeline::All };
        let is_made = |transport| self.over.iter().any(|over| over.transport == transport);
        let (is_utp, is_encrypted) = parts(attempt.transport);
        let elsewhere = |encrypted| {
            let was_looked_for =
                is_made(made_of(!is_utp, false)) || is_made(made_of(!is_utp, true));
            let transport = made_of(!is_utp, encrypted);
            let may_be = !was_looked_for && self.allowed.has(transport);
            may_be.then_some((all(transport), Rank::Elsewhere))
        };
        match (clue, attempt.pipeline) {
            (Clue::Choked, Pipeline::All) => {
                Some((Attempt { pipeline: Pipeline::OneByOne, ..attempt }, Rank::Later))
            }
            (Clue::Barred, Pipeline::All) => {
                let other = made_of(is_utp, !is_encrypted);
                let takes_other = self.allowed.has(other) && !is_made(other);
                let at_once = takes_other.then_some((all(other), Rank::AtOnce));
                at_once.or_else(|| elsewhere(self.allowed.encryption != EncryptionPolicy::Off))
            }
            (Clue::Mute, Pipeline::All) => {
                let other = made_of(is_utp, !is_encrypted);
                let takes_other = self.allowed.has(other) && !is_made(other);
                takes_other.then_some((all(other), Rank::Last))
            }
            (Clue::Absent, _) => elsewhere(parts(self.first).1),
            _ => None,
        }
    }

    fn at_the_end(&self) -> Moved {
        Moved::Over(if self.accepted { Acceptance::Some } else { Acceptance::None })
    }

    /// Whatever was left, it ends with a few connections more, and nothing begins after the end.
    fn finish(mut self) {
        for _ in 0..=PLAN_CONNECTS_MAX {
            if !self.is_due() {
                break;
            }
            let (rank, attempt) = self.begin(None);
            let outcome = outcome(attempt, PeerFault::ClosedEarly, 1, 0);
            let failure = Failure::of(&outcome, PeerFault::ClosedEarly);
            self.fail((rank, attempt), &failure, Blame::Peer);
        }
        assert!(self.plan.is_over() || self.is_broken_off);
        for habit in HABITS {
            assert_eq!(self.plan.begin(self.allowed.ways(Some(habit))), None);
        }
    }
}

/// The end of a connection, as an exchange says it.
fn outcome(attempt: Attempt, fault: PeerFault, progress: u8, bits: u8) -> Outcome {
    let seed = Seed::from_u64(1);
    let mut exchange = Exchange::new(Instant::START, InfoHash([1; 20]), attempt, None, seed);
    let mut outcome = exchange.handle_failed(Instant::START, fault);
    outcome.progress = match progress % 6 {
        0 => Progress::Nothing,
        1 => Progress::Connected,
        2 => Progress::KeysExchanged,
        3 => Progress::Handshaken,
        4 => Progress::Offered,
        _ => Progress::Complete,
    };
    outcome.pieces_offered = if bits & 8 != 0 { 2 } else { 1 };
    outcome.pieces_new = u16::from(bits & 16 != 0);
    outcome.partial = if bits & 32 != 0 { Pieces::new(40_000) } else { None };
    outcome
}
