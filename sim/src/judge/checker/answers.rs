//! Rule 19: what the crawler answers. What says `ro` answers nothing, and what answers never says
//! `ro` (BEP 43); an answer goes to the endpoint that asked, once, echoes its transaction, is not
//! much larger than the question (H8), and an announce is taken only with a token that this address
//! was given (BEP 5).
//!
//! Of the queries received it keeps 16 bytes or so each for as long as an answer may come.

use std::net::SocketAddr;

use estudely_core::{Duration, Instant};

use super::address::{endpoint_key, ip_key, key};
use super::krpc::Question;
use super::sent::Answer;
use super::sets::{Known, forget};
use crate::judge::rule::{ANSWERS_IN_ORDER, Findings, WELL_FORMED};

/// An answer that comes later serves no client: the most patient waits so long (5.13).
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// How long a token is good (5.7).
const TOKEN_LASTS: Duration = Duration::from_secs(600);
/// Bytes of an answer for each byte of its question: 1 024 (32.3) to a `get_peers` of 92, the
/// shortest there is.
const AMPLIFICATION_MAX: usize = 12;

/// What a crawler may do with queries of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Duty {
    /// Answers none, and says so with every query.
    #[default]
    ReadOnly,
    /// Answers them, unless it says that it does not.
    Serving,
}

/// What the crawler has last said of itself, by its queries and answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stance {
    /// Nothing yet.
    #[default]
    Silent,
    /// A query had `ro`.
    ReadOnly,
    /// A query had no `ro`.
    Open,
    /// It has answered.
    Answering,
}

/// A query that was received and not answered.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    at: Instant,
    bytes: usize,
    /// Copies that came: a link may double a datagram.
    copies: u32,
    allowed: Allowed,
}

/// What may be said to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Allowed {
    /// A reply or an error.
    Reply,
    /// An error only, and why.
    Error(&'static str),
}

/// The questions of others and what became of them.
#[derive(Debug, Default)]
pub(super) struct Answers {
    duty: Duty,
    stance: Stance,
    waiting: Known<Waiting>,
    /// Tokens given out, with the address that got them.
    tokens: Known<Instant>,
    looked: (usize, usize),
}

impl Answers {
    pub(super) fn new(duty: Duty) -> Self {
        Self { duty, ..Self::default() }
    }

    /// A new crawler began: it has heard no question and given no token.
    pub(super) fn on_started(&mut self) {
        *self = Self::new(self.duty);
    }

    /// A query was received, or what would be one if it were whole.
    pub(super) fn on_question(
        &mut self,
        now: Instant,
        from: SocketAddr,
        bytes: usize,
        question: Question<'_>,
    ) {
        let allowed = match question {
            Question { whole: false, .. } => Allowed::Error("it was no whole query"),
            Question { announces: Some(token), .. } if !self.is_good(now, from, token) => {
                Allowed::Error("its announce had no token of ours")
            }
            Question { .. } => Allowed::Reply,
        };
        let fresh = Waiting { at: now, bytes, copies: 0, allowed };
        let waiting = self.waiting.entry(question_key(from, question.transaction)).or_insert(fresh);
        let copies = if is_late(now, waiting.at) { 0 } else { waiting.copies };
        *waiting = Waiting { copies: copies + 1, ..fresh };
        forget(&mut self.waiting, &mut self.looked.0, |waiting| !is_late(now, waiting.at));
    }

    /// A query was sent, with or without `ro`.
    pub(super) fn on_asked(&mut self, found: &mut Findings, to: SocketAddr, read_only: bool) {
        if self.duty == Duty::ReadOnly {
            found.check(read_only, WELL_FORMED, || format!("to {to}: no ro=1"));
        }
        let answering = self.stance == Stance::Answering;
        found.check(!(answering && read_only), ANSWERS_IN_ORDER, || {
            format!("a query to {to} says ro, after answers")
        });
        self.stance = match (self.stance, read_only) {
            (Stance::Answering, _) => Stance::Answering,
            (_, true) => Stance::ReadOnly,
            (_, false) => Stance::Open,
        };
    }

    /// A reply or an error was sent.
    pub(super) fn on_answered(
        &mut self,
        found: &mut Findings,
        to: SocketAddr,
        bytes: usize,
        answer: &Answer<'_>,
    ) {
        let now = found.now;
        if self.duty == Duty::ReadOnly || self.stance == Stance::ReadOnly {
            return found.fail(ANSWERS_IN_ORDER, || format!("an answer to {to}, while read-only"));
        }
        self.stance = Stance::Answering;
        let number = question_key(to, answer.transaction);
        let asked = self.waiting.get_mut(&number).filter(|asked| !is_late(now, asked.at));
        let Some(asked) = asked else {
            return found.fail(ANSWERS_IN_ORDER, || {
                let transaction = answer.transaction.escape_ascii();
                format!("{to} gets an answer to {transaction}, which it does not wait for")
            });
        };
        let Waiting { bytes: question, allowed, .. } = *asked;
        asked.copies -= 1;
        if asked.copies == 0 {
            self.waiting.remove(&number);
        }
        found.check(bytes <= AMPLIFICATION_MAX * question, ANSWERS_IN_ORDER, || {
            format!("{to} gets {bytes} bytes for {question}")
        });
        if let (Allowed::Error(why), Some(_)) = (allowed, answer.reply) {
            found.fail(ANSWERS_IN_ORDER, || format!("{to} gets a reply, although {why}"));
        }
        if let Some(token) = answer.reply.and_then(|reply| reply.token) {
            self.tokens.insert(token_key(to, token), now);
            forget(&mut self.tokens, &mut self.looked.1, |at| now <= *at + TOKEN_LASTS);
        }
    }

    fn is_good(&self, now: Instant, from: SocketAddr, token: &[u8]) -> bool {
        let given = self.tokens.get(&token_key(from, token));
        given.is_some_and(|at| now <= *at + TOKEN_LASTS)
    }
}

fn is_late(now: Instant, asked: Instant) -> bool {
    now > asked + ANSWER_WITHIN
}

fn question_key(from: SocketAddr, transaction: &[u8]) -> u64 {
    key(&[&endpoint_key(from).to_le_bytes(), transaction])
}

fn token_key(to: SocketAddr, token: &[u8]) -> u64 {
    key(&[&ip_key(to).to_le_bytes(), token, b"token"])
}
