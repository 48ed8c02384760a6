//! The plan of one peer, moved on by whatever ends its connections: it is paid for at most so often,
//! it ends, and no way that the peer barred, or that the run does not allow, is tried.

use std::collections::BTreeSet;

use estudely_core::internal::attempts::{
    Acceptance, Blame, Circumstances, Clue, Failure, Moved, Plan, Rank, Ways,
};
use estudely_core::internal::exchange::{
    Attempt, Exchange, Outcome, Pipeline, Progress, Transport,
};
use estudely_core::internal::pieces::Pieces;
use estudely_core::limits::{PLAN_CONNECTS_MAX, PUT_BACKS_MAX, TURNS_MAX};
use estudely_core::{EncryptionPolicy, InfoHash, Instant, PeerFault, Seed};

use super::input::Input;

/// One plan. The first byte says what the run allows; then three bytes for each connection: how it
/// ended, how far it came, and bits for the rest (1 the network is suspected, 2 no row is taken, 4
/// another connection was open, 8 several pieces were offered, 16 some came, 32 pieces are left, 64
/// these find no room, 128 the peer is known to want encryption). The last fault of all breaks it off.
pub(super) fn plan(data: &[u8]) {
    let mut input = Input(data);
    let policy = match input.u8() % 3 {
        0 => EncryptionPolicy::Auto,
        1 => EncryptionPolicy::Require,
        _ => EncryptionPolicy::Off,
    };
    let mut one = One::new(policy);
    while !input.is_empty() && one.is_due() {
        one.connect(input.bytes());
    }
    one.finish();
}

/// A plan, and a naive book of it.
struct One {
    policy: EncryptionPolicy,
    plan: Plan,
    /// Connections that somebody paid for, those of a crowd, and those that gave up their place.
    paid: u8,
    crowds: u8,
    turns: u8,
    accepted: bool,
    /// What was tried and is over, and which of it the peer did not take at all.
    over: BTreeSet<Attempt>,
    barred: BTreeSet<Transport>,
    /// What is due, if not the first.
    next: Option<Attempt>,
    is_broken_off: bool,
}

impl One {
    fn new(policy: EncryptionPolicy) -> Self {
        Self {
            policy,
            plan: Plan::new(),
            paid: 0,
            crowds: 0,
            turns: 0,
            accepted: false,
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
        let (rank, attempt) = self.begin(bits & 128 != 0);
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
    fn begin(&mut self, wants_encryption: bool) -> (Rank, Attempt) {
        let ways = Ways::of(self.policy, wants_encryption);
        let rank = self.plan.due().expect("looked at before");
        let attempt = self.plan.begin(ways).expect("what is due begins");
        assert!(self.plan.is_under_way() && self.plan.due().is_none());
        assert_eq!(self.plan.begin(ways), None, "one connection at a time");
        match (self.policy, attempt.transport) {
            (EncryptionPolicy::Require, transport) => {
                assert_eq!(transport, Transport::TcpEncrypted)
            }
            (EncryptionPolicy::Off, transport) => assert_eq!(transport, Transport::Tcp),
            (_, transport) => assert_ne!(transport, Transport::Utp),
        }
        assert!(!self.over.contains(&attempt), "{attempt:?} is over");
        assert!(!self.barred.contains(&attempt.transport), "{attempt:?} is barred");
        match self.next {
            Some(next) => assert_eq!(attempt, next),
            None => assert_eq!((rank, attempt.pipeline), (Rank::First, Pipeline::All)),
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
        let is_only_way = self.policy != EncryptionPolicy::Auto;
        let is_first = self.over.is_empty();
        self.over.insert(attempt);
        let next = match (clue, attempt.pipeline) {
            (Clue::Barred, Pipeline::All) if is_first && !is_only_way => {
                self.barred.insert(attempt.transport);
                let is_clear = attempt.transport == Transport::Tcp;
                let other = if is_clear { Transport::TcpEncrypted } else { Transport::Tcp };
                Attempt { transport: other, ..attempt }
            }
            (Clue::Choked, Pipeline::All) => Attempt { pipeline: Pipeline::OneByOne, ..attempt },
            _ => return self.at_the_end(),
        };
        self.next = Some(next);
        let rank = if clue == Clue::Barred { Rank::AtOnce } else { Rank::Later };
        assert_eq!(self.plan.due(), Some(rank));
        Moved::On
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
            let (rank, attempt) = self.begin(false);
            let outcome = outcome(attempt, PeerFault::ClosedEarly, 1, 0);
            let failure = Failure::of(&outcome, PeerFault::ClosedEarly);
            self.fail((rank, attempt), &failure, Blame::Peer);
        }
        assert!(self.plan.is_over() || self.is_broken_off);
        for ways in [Ways::ClearFirst, Ways::SealedFirst, Ways::Clear, Ways::Sealed] {
            assert_eq!(self.plan.begin(ways), None);
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
