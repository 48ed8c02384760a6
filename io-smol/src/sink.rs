//! Where rows go: files and standard output behind one fan-out.
//!
//! A sink renders a row first and writes it later, so that the fan-out knows what a row costs
//! before any output has it. One infohash's rows are one write and are flushed at once; a write
//! that fails halfway is taken back. Nothing here reads what earlier runs wrote; see `resume`.

mod csv;
mod fanout;
mod file;
mod open;
mod stream;

use std::io;
use std::task::{Context, Poll};

use estudely_core::Row;

use crate::run::RowTimes;

pub use csv::{CsvRows, Pairs, REPEATED_NAME_MAX, row_lines};
pub use fanout::Fanout;
pub use file::{Output, Regular};
pub use open::{OpenError, Opened, Plan, Table, open};

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

#[cfg(test)]
mod tests;
