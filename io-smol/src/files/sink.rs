//! Where rows go: files and standard output behind one fan-out.
//!
//! A sink renders a row first and writes it later, so that the fan-out knows what a row costs
//! before any output has it. One infohash's rows are one write and are flushed at once; a write
//! that fails halfway is taken back. Nothing here reads what earlier runs wrote; see `resume`.
//!
//! A new format is a [`Render`]; its ending stands in `cli/args/value.rs`, and how it is read back
//! in `resume`.

mod closed;
mod csv;
mod fanout;
mod file;
mod open;
mod place;
mod render;
mod search;
mod stream;
mod traits;
mod watch;

pub use super::reading::Reading;
pub use closed::check_stdout;
pub use csv::{CsvRows, Pairs, REPEATED_NAME_MAX, row_lines};
pub use fanout::Fanout;
pub use file::{Output, Regular};
pub use open::{Opened, OutputError, Plan, open, open_watched, refuse_one_file_twice};
pub use place::{Place, RowsPer, Table};
pub use render::{Block, Render, TableSink};
pub use traits::{RowSink, RowTimes, Sink, Watched, worse};

#[cfg(test)]
mod tests;
