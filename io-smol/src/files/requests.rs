//! The infohashes that a run is asked for.

use std::pin::Pin;

use estudely_core::Request;
use smol::stream::{self, Stream};

/// The requests of a run, drawn one by one as the core takes them, so that a list of any length
/// needs no memory. The run ends when they are all settled.
pub struct Requests(pub(crate) Option<Pin<Box<dyn Stream<Item = Request>>>>);

impl Requests {
    /// No requests: the run lives by other rules.
    pub fn none() -> Self {
        Self(None)
    }

    /// Requests at hand, or made without blocking.
    pub fn new(requests: impl IntoIterator<Item = Request, IntoIter: 'static>) -> Self {
        Self(Some(Box::pin(stream::iter(requests))))
    }

    /// Requests that arrive in their own time, such as lines of standard input sent by a reader
    /// thread through an `async_channel`.
    pub fn stream(requests: impl Stream<Item = Request> + 'static) -> Self {
        Self(Some(Box::pin(requests)))
    }
}
