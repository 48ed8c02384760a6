//! Where rows go: files and standard output behind one fan-out.
//!
//! A sink renders a row first and writes it later, so that the fan-out knows what a row costs
//! before any output has it. One infohash's rows are one write and are flushed at once; a write
//! that fails halfway is taken back. Nothing here reads what earlier runs wrote; see `resume`.

mod csv;
mod fanout;
mod file;
mod open;

use std::io;

use estudely_core::row::Row;

use crate::run::RowTimes;

pub use csv::{CsvRows, Pairs};
pub use fanout::Fanout;
pub use file::Output;
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
}

#[cfg(test)]
mod tests;
