//! Every output at once: a row reaches all of them or, when they are full, none.

use std::io;

use estudely_core::row::Row;

use super::RowSink;
use crate::run::{RowTimes, Sink};

/// The outputs of a run.
#[derive(Default)]
pub struct Fanout {
    sinks: Vec<Box<dyn RowSink>>,
    bytes_max: Option<u64>,
    full: bool,
}

impl Fanout {
    /// Outputs that together must not grow past `bytes_max` bytes.
    pub fn new(sinks: Vec<Box<dyn RowSink>>, bytes_max: Option<u64>) -> Self {
        Self { sinks, bytes_max, full: false }
    }

    /// Its outputs one by one.
    pub fn into_sinks(self) -> Vec<Box<dyn RowSink>> {
        self.sinks
    }

    /// Rows written by this run to the output that has most of them.
    pub fn rows(&self) -> u64 {
        self.sinks.iter().map(|sink| sink.rows()).max().unwrap_or(0)
    }

    /// Bytes of all outputs together, those of earlier runs included.
    pub fn bytes(&self) -> u64 {
        self.sinks.iter().map(|sink| sink.bytes()).sum()
    }
}

impl Sink for Fanout {
    fn write(&mut self, row: &Row, times: RowTimes) -> io::Result<()> {
        let more: u64 = self.sinks.iter_mut().map(|sink| sink.prepare(row, times)).sum();
        if self.bytes_max.is_some_and(|max| self.bytes().saturating_add(more) > max) {
            self.full |= more > 0;
        }
        if self.full {
            return Ok(());
        }
        // One lost output must not cost the others the row. A lost disk is worse news than a
        // reader that left.
        let mut result = Ok(());
        for sink in &mut self.sinks {
            if let Err(error) = sink.commit() {
                let closed = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
                if result.as_ref().err().is_none_or(|first| closed(first) && !closed(&error)) {
                    result = Err(error);
                }
            }
        }
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        // Blocks go to the operating system as they are written; nothing waits here.
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.full
    }
}
