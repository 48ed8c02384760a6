//! In which portions pieces are asked for (9.6, M9): rounds of requests, each in one write.
//!
//! A round ends when each of its requests is answered. Clients have queues of different lengths:
//! some reject what does not fit, some drop it. Both show within one round, and the next one has
//! only as many requests as were served. What was refused is asked for again after a pause; what
//! was dropped, once others came and then nothing for a while. If what is asked for again comes and
//! nothing else does, the peer has lost the rest, and later rounds do not wait for it; what comes
//! after all was only late, and nothing is learnt from that. Must never ask for ever: rounds that
//! bring nothing are counted, and a peer that brought nothing at all is never asked again.

use crate::base::time::{Duration, Instant};
use crate::limits::{
    BARREN_ROUNDS_MAX, FIRST_PIECE_PATIENCE, PIECE_PATIENCE_MAX, PIECE_PATIENCE_MIN, REJECT_PAUSE,
    REQUESTS_AT_ONCE,
};
use crate::peer::exchange::outcome::Pipeline;
use crate::peer::pieces::{PieceSet, Pieces};

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    /// Whatever comes, as long as the exchange goes on.
    Patiently,
    /// Answers, until then; what has not come is asked for once more.
    ForAnswers(Instant),
    /// The end of a pause, after which what was refused is asked for again.
    Pausing(Instant),
}

/// Whether the peer drops requests. Streams keep their order: were answers only late, those to the
/// first requests would come, and those to the same requests made again before any to later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dropping {
    /// Nothing speaks for it.
    No,
    /// Nothing came for a while.
    Silent,
    /// What did not come was asked for again.
    AskedAgain,
    /// That came.
    Answered,
    /// And so did the next round.
    Yes,
}

/// What is to be done after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait.
    Wait,
    /// Begin a round at once.
    Ask,
    /// End the conversation: the peer refuses and brings nothing.
    GiveUp,
}

/// Requests under way and what was learnt of the peer's capacity.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    pipeline: Pipeline,
    /// Asked for and neither come nor refused.
    open: PieceSet,
    /// Asked for, and believed to be lost; taken all the same should they come.
    lost: PieceSet,
    /// Requests of the round, and how many of them were served and refused.
    sent: u16,
    served: u16,
    refused: u16,
    /// How many requests a round may have, and how many it may ever have.
    batch: u16,
    most: u16,
    /// The smallest round of which the peer lost something; as many are not tried again.
    too_many: u16,
    /// Whether the peer refused some of a round, and whether it dropped some.
    refused_some: bool,
    dropping: Dropping,
    /// The largest round that was served whole.
    served_whole: u16,
    /// Whether the first round was as small as others of the client's name made it.
    limited: bool,
    /// Whether the peer brought any piece.
    fruitful: bool,
    /// Rounds in a row that brought no piece.
    barren: u8,
    /// Requests made again while they may yet be answered twice.
    repeats: u16,
    /// When a round began or a piece came, whichever was last; and the longest wait from one such
    /// moment to the next piece.
    last: Instant,
    slowest: Duration,
    waiting: Waiting,
}

impl Asking {
    /// Nothing asked yet.
    pub(super) fn new(now: Instant, pipeline: Pipeline) -> Self {
        let batch = match pipeline {
            Pipeline::All => REQUESTS_AT_ONCE,
            Pipeline::OneByOne => 1,
        };
        Self {
            pipeline,
            open: PieceSet::default(),
            lost: PieceSet::default(),
            sent: 0,
            served: 0,
            refused: 0,
            batch,
            most: REQUESTS_AT_ONCE,
            too_many: u16::MAX,
            refused_some: false,
            dropping: Dropping::No,
            served_whole: 0,
            limited: false,
            fruitful: false,
            barren: 0,
            repeats: 0,
            last: now,
            slowest: Duration::ZERO,
            waiting: Waiting::Patiently,
        }
    }

    /// No round has more requests than `most`, whoever the peer is: what carries them says so.
    pub(super) fn cap(self, most: u16) -> Self {
        Self { most, batch: self.batch.min(most), ..self }
    }

    /// Others of the client's name served so many requests at once: that is what the first round
    /// has. What this peer serves decides on the next ones, whatever those others did.
    pub(super) fn limit(&mut self, batch: u16) {
        if self.pipeline == Pipeline::All {
            self.batch = batch.clamp(1, self.most);
            self.limited = true;
        }
    }

    /// The peer's client must never have two requests at once.
    pub(super) fn ask_one_by_one(&mut self) {
        (self.pipeline, self.batch) = (Pipeline::OneByOne, 1);
    }

    /// How many requests at once the peer serves if more were lost in this exchange, or else how
    /// many it served, and whether any were lost; `None` if nothing was learnt.
    pub(super) fn learnt(&self) -> Option<(u16, bool)> {
        let lost_some = self.refused_some || self.dropping == Dropping::Yes;
        let tested = self.pipeline == Pipeline::All && self.fruitful;
        let batch = if lost_some { self.batch } else { self.served_whole };
        (tested && (lost_some || self.limited)).then_some((batch, lost_some))
    }

    /// Begins a round at `now`: calls `request` for each piece to ask for.
    pub(super) fn begin(&mut self, now: Instant, pieces: &Pieces, mut request: impl FnMut(u16)) {
        (self.sent, self.served, self.refused) = (0, 0, 0);
        if self.dropping == Dropping::Silent {
            self.dropping = Dropping::AskedAgain;
        }
        for piece in pieces.missing().take(usize::from(self.batch)) {
            if self.lost.remove(piece) | !self.open.insert(piece) {
                self.repeats = self.repeats.saturating_add(1);
            }
            self.sent += 1;
            request(piece);
        }
        self.last = now;
        self.be_patient(now);
    }

    /// Notes a request for the first piece of metadata whose size is not known.
    pub(super) fn begin_blindly(&mut self, now: Instant) {
        self.open.insert(0);
        (self.sent, self.last) = (1, now);
    }

    /// Forgets what was asked for: other pieces are due.
    pub(super) fn restart(&mut self) {
        self.open.clear();
        self.lost.clear();
        self.waiting = Waiting::Patiently;
    }

    /// Whether this piece was asked for and may still come.
    pub(super) fn is_due(&self, piece: u16) -> bool {
        self.open.contains(piece) || self.lost.contains(piece)
    }

    /// A piece that was due begins to come.
    pub(super) fn on_begun(&mut self, piece: u16) {
        self.open.remove(piece);
        if self.lost.remove(piece) {
            self.dropping = Dropping::No;
        }
    }

    /// A piece became whole.
    pub(super) fn on_piece(&mut self, now: Instant) -> Next {
        self.slowest = self.slowest.max(now.since(self.last));
        self.last = now;
        self.served = self.served.saturating_add(1);
        (self.fruitful, self.barren) = (true, 0);
        self.after_answer(now)
    }

    /// A request was refused; `None` if there was none.
    pub(super) fn on_reject(&mut self, now: Instant, piece: u16) -> Option<Next> {
        if !self.open.remove(piece) {
            return self.lost.remove(piece).then_some(Next::Wait);
        }
        if self.repeats > 0 {
            // Perhaps the second request of two: the first may be answered otherwise.
            self.lost.insert(piece);
        }
        self.refused = self.refused.saturating_add(1);
        Some(self.after_answer(now))
    }

    /// Whether an answer that is not due is the second one to a request that was made again: then
    /// the first was not lost.
    pub(super) fn is_repeat(&mut self) -> bool {
        let left = self.repeats.checked_sub(1);
        if left.is_some() {
            self.dropping = Dropping::No;
        }
        self.repeats = left.unwrap_or(0);
        left.is_some()
    }

    /// When [`Asking::on_due`] is to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.waiting {
            Waiting::Patiently => None,
            Waiting::ForAnswers(at) | Waiting::Pausing(at) => Some(at),
        }
    }

    /// What was waited for did not come. `is_coming` says that a piece is on its way, which holds
    /// up whatever stands behind it.
    pub(super) fn on_due(&mut self, now: Instant, is_coming: bool) -> Next {
        match self.waiting {
            Waiting::Patiently => Next::Wait,
            _ if is_coming => {
                self.be_patient(now);
                Next::Wait
            }
            Waiting::Pausing(_) => Next::Ask,
            // What was asked for again came, and nothing else: it is lost, not late.
            Waiting::ForAnswers(_) if self.served.saturating_add(self.refused) >= self.sent => {
                self.dropping = Dropping::Yes;
                self.lost.append(&mut self.open);
                Next::Ask
            }
            Waiting::ForAnswers(_) => {
                if self.dropping != Dropping::Yes {
                    self.dropping = Dropping::Silent;
                }
                self.shrink();
                Next::Ask
            }
        }
    }

    fn after_answer(&mut self, now: Instant) -> Next {
        if !self.open.is_empty() {
            self.be_patient(now);
            return Next::Wait;
        }
        if self.refused == 0 {
            self.grow();
            return Next::Ask;
        }
        self.refused_some |= self.sent > 1;
        self.shrink();
        if !self.fruitful || self.barren >= BARREN_ROUNDS_MAX {
            return Next::GiveUp;
        }
        self.waiting = Waiting::Pausing(now + REJECT_PAUSE * (1 << self.barren));
        Next::Wait
    }

    /// A whole round was served: twice as many next time, unless so many were too many before.
    fn grow(&mut self) {
        self.served_whole = self.served_whole.max(self.sent);
        self.dropping = match self.dropping {
            Dropping::AskedAgain => Dropping::Answered,
            Dropping::Answered => Dropping::Yes,
            other => other,
        };
        let doubled = self.batch.saturating_mul(2).min(self.most);
        let allowed = self.pipeline == Pipeline::All && doubled < self.too_many;
        if allowed && self.sent == self.batch {
            self.batch = doubled;
        }
    }

    /// Of a round only a part was served: as many next time, and after none half as many.
    fn shrink(&mut self) {
        if self.served == 0 {
            self.barren = self.barren.saturating_add(1);
        }
        if self.sent > 1 {
            self.too_many = self.too_many.min(self.sent);
        }
        let served = if self.served == 0 { self.sent / 2 } else { self.served };
        self.batch = if self.fruitful { served.min(self.batch).max(1) } else { 1 };
    }

    /// Waits for the next answer: four times as long as the slowest one took, within bounds, and
    /// twice as long after each round without any.
    fn be_patient(&mut self, now: Instant) {
        let wait = if self.fruitful {
            let usual = (self.slowest * 4).clamp(PIECE_PATIENCE_MIN, PIECE_PATIENCE_MAX);
            usual * (1 << self.barren.min(BARREN_ROUNDS_MAX))
        } else {
            FIRST_PIECE_PATIENCE
        };
        let hopeful = self.fruitful || (self.sent > 1 && self.barren == 0);
        self.waiting = if hopeful { Waiting::ForAnswers(now + wait) } else { Waiting::Patiently };
    }
}
