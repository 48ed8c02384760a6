//! The requests of a run on their way into the core, one of them in hand.

use std::pin::Pin;
use std::task::{Context, Poll};

use estudely_core::{Crawler, Instant};
use smol::stream::Stream;

use crate::files::requests::{Request, Requests};

/// Requests not handed in yet, and what those handed in were like.
pub(super) struct Feed {
    stream: Option<Pin<Box<dyn Stream<Item = Request>>>>,
    next: Option<Request>,
    given: bool,
    brought_peers: bool,
    /// The core took no more at the last attempt.
    full: bool,
}

impl Feed {
    pub(super) fn new(Requests(stream): Requests) -> Self {
        Self { stream, next: None, given: false, brought_peers: false, full: false }
    }

    /// Whether there is anything to come, or ever was.
    pub(super) fn exists(&self) -> bool {
        self.stream.is_some()
    }

    /// Takes a request in hand if there is none. Ready when something changed by that.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (Some(stream), None) = (&mut self.stream, &self.next) else { return Poll::Pending };
        match stream.as_mut().poll_next(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => self.stream = None,
            Poll::Ready(next) => self.next = next,
        }
        Poll::Ready(())
    }

    /// Hands the request in hand to the core; `false` if there is none or the core is full.
    pub(super) fn hand_in(&mut self, crawler: &mut Crawler, now: Instant) -> bool {
        let Some(Request { hash, peers }) = &self.next else { return false };
        self.given = true;
        self.brought_peers |= !peers.is_empty();
        self.full = crawler.handle_request(now, *hash, peers).is_err();
        if !self.full {
            self.next = None;
        }
        !self.full
    }

    /// Every request is with the core.
    pub(super) fn is_done(&self) -> bool {
        self.stream.is_none() && self.next.is_none()
    }

    /// There were requests, and none of them named a peer: without a DHT they are in vain.
    pub(super) fn needs_dht(&self) -> bool {
        self.given && !self.brought_peers
    }

    /// Whether what was handed in so far settles whether a DHT is needed.
    pub(super) fn is_judged(&self) -> bool {
        self.given || self.is_done()
    }

    /// Whether waiting brings no other request.
    pub(super) fn is_exhausted(&self) -> bool {
        self.full || self.is_done()
    }
}
