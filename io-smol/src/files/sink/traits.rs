//! What a run asks of its outputs as a whole, and what the fan-out asks of each.

use std::io;
use std::task::{Context, Poll};
use std::time::SystemTime;

use estudely_core::Row;

/// The wall times of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowTimes {
    /// When the infohash was first heard of.
    pub found: SystemTime,
    /// When it was settled.
    pub settled: SystemTime,
}

/// Where rows go. Called between turns of the loop: must not block for long.
///
/// A sink that takes no more for now says so, and the rows stay in the core, which then finds no
/// more work: that is the only backpressure.
pub trait Sink {
    /// The run has really begun: a node answered, a row is about to be written, or the run ended
    /// cleanly without either. Until then everything must stay as it was before the run. Further
    /// calls do nothing.
    ///
    /// # Errors
    /// As for [`Sink::write`].
    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Ready when the next [`Sink::write`] will not wait, or to report a loss.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Writes a row, whole or not at all. At the very end of a run it is called without
    /// [`Sink::poll_ready`], with the few rows that are left.
    ///
    /// # Errors
    /// A broken pipe ends the run cleanly; anything else as a lost output.
    fn write(&mut self, row: &Row, times: RowTimes) -> io::Result<()>;

    /// Ready when all rows written are with the operating system.
    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The same by waiting, for a moment at most: what is not taken then is given up.
    ///
    /// # Errors
    /// As for [`Sink::write`].
    fn flush(&mut self) -> io::Result<()>;

    /// Whether a limit of the output is reached: the row just given did not fit and was not
    /// written, and the run is to end.
    fn is_full(&self) -> bool {
        false
    }
}

/// One output as the fan-out drives it.
pub trait RowSink {
    /// Renders `row` and returns how many bytes [`RowSink::commit`] will write: 0 if the output
    /// has it already.
    fn prepare(&mut self, row: &Row, times: RowTimes) -> u64;

    /// Writes what was prepared last, whole or not at all.
    ///
    /// # Errors
    /// What the system said; the error names the output.
    fn commit(&mut self) -> io::Result<()>;

    /// Bytes of the output, those of earlier runs included.
    fn bytes(&self) -> u64;

    /// Rows written by this run.
    fn rows(&self) -> u64;

    /// Makes the output what a run needs; until then it is as it was. A second call does nothing.
    ///
    /// # Errors
    /// As for [`RowSink::commit`].
    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Undoes the opening of an output that has not begun.
    fn discard(&self) {}

    /// Ready when the output takes another row without waiting.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ready when everything committed is with the operating system.
    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The same by waiting, for a moment at most.
    ///
    /// # Errors
    /// As for [`RowSink::commit`]. A reader that does not read is none.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
