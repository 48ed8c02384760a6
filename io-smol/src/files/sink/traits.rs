//! What a run asks of its outputs as a whole, and what the fan-out asks of each.

use std::fs::File;
use std::io;
use std::task::{Context, Poll};
use std::time::SystemTime;

use estudely_core::{InfoHash, Row};

use super::file::Output;
use crate::files::resume::{Extent, Foreign};

/// The wall times of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowTimes {
    /// When the infohash was first heard of.
    pub found: SystemTime,
    /// When it was settled.
    pub settled: SystemTime,
}

/// What has become of the outputs by the hands of others.
#[derive(Debug, Default)]
pub struct Watched {
    /// What a person should know, a line each, said once.
    pub notes: Vec<String>,
    /// Infohashes that were acknowledged and that no output holds any more: found by reading, which
    /// may take some looks.
    pub lost: Vec<InfoHash>,
    /// An output that can take no more rows: an error as of [`Sink::write`].
    pub error: Option<io::Error>,
}

impl Watched {
    /// Adds what one output met: the worst of all is kept.
    pub(super) fn note(&mut self, result: io::Result<()>) {
        let before = self.error.take().map_or(Ok(()), Err);
        self.error = worse(before, result).err();
    }
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

    /// How many of the rows given to [`Sink::write`], counted from the first, every output holds
    /// for good: only these are settled in a saved state. A row counts when the operating system
    /// has it, and in its order: behind one that is missing none counts.
    fn held(&self) -> u64;

    /// Looks, once a second, whether others have handled the outputs meanwhile, and goes on as far
    /// as that is possible.
    fn watch(&mut self) -> Watched {
        Watched::default()
    }

    /// The last look, at the end of a run: waits a moment for what is still being read.
    fn watch_last(&mut self) -> Watched {
        self.watch()
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
pub trait RowSink: Send {
    /// Renders `row` and returns how many bytes [`RowSink::commit`] will write: 0 if the output
    /// has it already.
    fn prepare(&mut self, row: &Row, times: RowTimes) -> u64;

    /// Writes what was prepared last, whole or not at all.
    ///
    /// # Errors
    /// What the system said; the error names the output.
    fn commit(&mut self) -> io::Result<()>;

    /// How many of the rows committed, counted from the first, the output holds for good. A row
    /// of which it needs nothing counts as well.
    fn held(&self) -> u64;

    /// The bytes that it goes to.
    fn output(&mut self) -> Option<&mut Output> {
        None
    }

    /// Reads what a file holds that it is to go on in: none of that is written again.
    ///
    /// # Errors
    /// It is not ours, or damaged other than at its end.
    fn learn(&mut self, _file: &mut File) -> Result<Extent, Foreign> {
        Ok(Extent::of(0, 0))
    }

    /// An error once the reader of standard output has left.
    ///
    /// # Errors
    /// As for [`RowSink::commit`].
    fn check_reader(&self) -> io::Result<()> {
        Ok(())
    }

    /// Notes that what the output held is gone: none of it keeps a row out any more.
    fn forget(&mut self) {}

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

/// A lost disk is worse news than a reader that left.
pub fn worse(first: io::Result<()>, second: io::Result<()>) -> io::Result<()> {
    let closed = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
    match (first, second) {
        (Ok(()), result) | (result, Ok(())) => result,
        (Err(first), Err(second)) if closed(&first) && !closed(&second) => Err(second),
        (Err(first), Err(_)) => Err(first),
    }
}
