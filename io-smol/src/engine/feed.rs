//! The requests of a run on their way into the core, one of them in hand.

use std::pin::Pin;
use std::task::{Context, Poll};

use estudely_core::session::{self, Given, Supply};
use estudely_core::{Crawler, Instant, Request};
use smol::stream::Stream;

use crate::files::requests::Requests;

/// Requests not handed in yet, and what those handed in were like.
pub(super) struct Feed {
    stream: Option<Pin<Box<dyn Stream<Item = Request>>>>,
    hand: Hand,
    given: Given,
}

/// What is in hand.
enum Hand {
    Empty,
    /// One that the core was not offered yet.
    Fresh(Request),
    /// One that the core could not take.
    Refused(Request),
}

impl Feed {
    pub(super) fn new(Requests(stream): Requests) -> Self {
        Self { stream, hand: Hand::Empty, given: Given::Nothing }
    }

    /// Whether there is anything to come, or ever was.
    pub(super) fn exists(&self) -> bool {
        self.stream.is_some()
    }

    /// Takes a request in hand if there is none. Ready when something changed by that.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (Some(stream), Hand::Empty) = (&mut self.stream, &self.hand) else {
            return Poll::Pending;
        };
        match stream.as_mut().poll_next(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => self.stream = None,
            Poll::Ready(Some(next)) => self.hand = Hand::Fresh(next),
        }
        Poll::Ready(())
    }

    /// Hands the request in hand to the core; `false` if there is none or the core is full.
    pub(super) fn hand_in(&mut self, crawler: &mut Crawler, now: Instant) -> bool {
        let request = match std::mem::replace(&mut self.hand, Hand::Empty) {
            Hand::Empty => return false,
            Hand::Fresh(request) | Hand::Refused(request) => request,
        };
        let usable = request.hearsay.iter().any(|peer| crawler.admits(*peer));
        if !request.orders.is_empty() || usable {
            self.given = Given::WithPeers;
        } else if self.given == Given::Nothing {
            self.given = Given::HashesAlone;
        }
        let taken = crawler.handle_request(now, &request).is_ok();
        if !taken {
            self.hand = Hand::Refused(request);
        }
        taken
    }

    /// What the session is told of them.
    pub(super) fn progress(&self) -> session::Requests {
        let supply = match (&self.stream, &self.hand) {
            (_, Hand::Refused(_)) => Supply::Blocked,
            (None, Hand::Empty) => Supply::Exhausted,
            _ => Supply::Open,
        };
        session::Requests { supply, given: self.given }
    }
}
