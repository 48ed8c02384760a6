//! The outputs of a run as the loop drives them: begun once, given rows as far as they take them.

use std::future::poll_fn;
use std::io;
use std::task::Context;

use estudely_core::Crawler;
use estudely_core::session::Output;
use smol::future;

use super::clock::Clock;
use crate::files::sink::{RowTimes, Sink, Watched};

/// Most rows written in one turn.
const ROWS_PER_TURN: usize = 256;
/// After so many bytes of metadata and names in one turn's rows no other is written in it.
const ROW_BYTES_PER_TURN: usize = 1 << 20;

/// See the module.
pub(super) struct Outputs<'a> {
    sink: &'a mut dyn Sink,
    clock: Clock,
    begun: bool,
    waits: Waits,
    /// The first error that lost an output.
    lost: Option<io::Error>,
}

/// What the loop waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// Nothing.
    No,
    /// Room for the next row.
    Room,
    /// Everything written to be with the operating system.
    Flush,
}

/// How far the rows of one turn came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// There is no other, or the sink takes none.
    Done,
    /// It stopped at its bound.
    Bound,
}

impl<'a> Outputs<'a> {
    pub(super) fn new(sink: &'a mut dyn Sink, clock: Clock) -> Self {
        Self { sink, clock, begun: false, waits: Waits::No, lost: None }
    }

    /// Whether they were told to begin.
    pub(super) fn have_begun(&self) -> bool {
        self.begun
    }

    /// Tells them that the run has begun.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        self.begun = true;
        self.sink.begin()
    }

    /// Writes settled rows as far as the sink takes them, and acknowledges those that every output
    /// holds by now.
    pub(super) async fn write(&mut self, crawler: &mut Crawler) -> io::Result<Rows> {
        let written = self.write_turn(crawler).await;
        self.acknowledge(crawler);
        written
    }

    /// Tells the core which rows every output holds: a saved state need not know these any more.
    pub(super) fn acknowledge(&self, crawler: &mut Crawler) {
        crawler.acknowledge_rows(self.sink.held());
    }

    /// Looks whether others have handled the outputs. Whatever is found is told once.
    pub(super) fn watch(&mut self) -> Watched {
        self.sink.watch()
    }

    /// The same for the last time.
    pub(super) fn watch_last(&mut self) -> Watched {
        self.sink.watch_last()
    }

    async fn write_turn(&mut self, crawler: &mut Crawler) -> io::Result<Rows> {
        let (mut rows, mut bytes) = (0, 0);
        self.waits = Waits::No;
        while rows < ROWS_PER_TURN && bytes < ROW_BYTES_PER_TURN && !self.sink.is_full() {
            match future::poll_once(poll_fn(|cx| self.sink.poll_ready(cx))).await {
                Some(ready) => ready?,
                None => {
                    self.waits = Waits::Room;
                    break;
                }
            }
            match self.write_row(crawler)? {
                Some(written) => bytes += written,
                None => break,
            }
            rows += 1;
        }
        let bound = rows == ROWS_PER_TURN || bytes >= ROW_BYTES_PER_TURN;
        Ok(if bound { Rows::Bound } else { Rows::Done })
    }

    /// Writes what is left, ready or not: it is little, and files must not go without for a stuck
    /// reader.
    pub(super) fn write_rest(&mut self, crawler: &mut Crawler) -> io::Result<()> {
        let mut closed = Ok(());
        while !self.sink.is_full() {
            match self.write_row(crawler) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                // A reader that left must not cost the files beside it their rows.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => closed = Err(error),
                Err(error) => return Err(error),
            }
        }
        closed
    }

    /// Writes the next settled row and returns what it held; `None` if there is none.
    fn write_row(&mut self, crawler: &mut Crawler) -> io::Result<Option<usize>> {
        let Some(row) = crawler.poll_row() else { return Ok(None) };
        if !self.begun {
            self.begin()?;
        }
        let settled = self.clock.wall_time(row.settled);
        // By the same reading of the wall clock, so that the two keep their order.
        let found = settled.checked_sub(row.settled.since(row.found)).unwrap_or(settled);
        self.sink.write(&row, RowTimes { found, settled })?;
        Ok(Some(row.bytes_held()))
    }

    /// Waits until all rows are with the operating system, for a moment at most.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }

    /// The same without waiting; `None` if it takes longer, and the loop is woken then.
    pub(super) async fn try_flush(&mut self) -> Option<io::Result<()>> {
        let flushed = future::poll_once(poll_fn(|cx| self.sink.poll_flush(cx))).await;
        self.waits = if flushed.is_none() { Waits::Flush } else { Waits::No };
        flushed
    }

    /// Whether a limit of the outputs is reached.
    pub(super) fn are_full(&self) -> bool {
        self.sink.is_full()
    }

    /// Whether what the loop waits for is there. Here only to be woken.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        match self.waits {
            Waits::No => false,
            Waits::Room => self.sink.poll_ready(cx).is_ready(),
            Waits::Flush => self.sink.poll_flush(cx).is_ready(),
        }
    }

    /// What an error means to the session: a reader that left is an end, anything else a loss. The
    /// first loss is kept.
    pub(super) fn news(&mut self, error: io::Error) -> Output {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Output::Closed;
        }
        self.lost.get_or_insert(error);
        Output::Lost
    }

    /// The error that lost an output.
    pub(super) fn take_loss(&mut self) -> io::Error {
        self.lost.take().unwrap_or_else(|| io::ErrorKind::Other.into())
    }
}

#[cfg(test)]
mod tests;
