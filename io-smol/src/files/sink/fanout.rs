//! Every output at once: a row reaches all of them or, when they are full, none.

use std::io;
use std::task::{Context, Poll};

use estudely_core::Row;

use super::search::Search;
use super::traits::{RowSink, RowTimes, Sink, Watched, worse};
use super::watch;

/// The outputs of a run.
#[derive(Default)]
pub struct Fanout {
    sinks: Vec<Box<dyn RowSink>>,
    bytes_max: Option<u64>,
    full: bool,
    /// Rows given to write.
    given: u64,
    /// For what others have taken away.
    search: Search,
}

impl Fanout {
    /// Outputs that together must not grow past `bytes_max` bytes.
    pub fn new(sinks: Vec<Box<dyn RowSink>>, bytes_max: Option<u64>) -> Self {
        Self { sinks, bytes_max, ..Self::default() }
    }

    /// One output more.
    pub(super) fn add(&mut self, sink: Box<dyn RowSink>) {
        self.sinks.push(sink);
    }

    /// Together they must not grow past `bytes_max` bytes.
    pub(super) fn limit(&mut self, bytes_max: Option<u64>) {
        self.bytes_max = bytes_max;
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

    /// Whether it is still being read what others have taken away.
    #[cfg(test)]
    pub(super) fn is_searching(&self) -> bool {
        self.search.is_busy()
    }

    /// Leaves every output that has not begun as it was before the run.
    pub fn discard(&self) {
        self.sinks.iter().for_each(|sink| sink.discard());
    }

    /// Asks each of them; ready when all are.
    fn poll_all(
        &mut self,
        mut poll: impl FnMut(&mut dyn RowSink) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        let (mut worst, mut pending) = (Ok(()), false);
        for sink in &mut self.sinks {
            match poll(&mut **sink) {
                Poll::Ready(result) => worst = worse(worst, result),
                Poll::Pending => pending = true,
            }
        }
        if pending && worst.is_ok() { Poll::Pending } else { Poll::Ready(worst) }
    }
}

impl Sink for Fanout {
    fn begin(&mut self) -> io::Result<()> {
        self.sinks.iter_mut().map(|sink| sink.begin()).fold(Ok(()), worse)
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_all(|sink| sink.poll_ready(cx))
    }

    fn write(&mut self, row: &Row, times: RowTimes) -> io::Result<()> {
        // First, for headers are bytes too.
        let begun = self.begin();
        let more: u64 = self.sinks.iter_mut().map(|sink| sink.prepare(row, times)).sum();
        if self.bytes_max.is_some_and(|max| self.bytes().saturating_add(more) > max) {
            self.full |= more > 0;
        }
        if self.full {
            return begun;
        }
        self.given += 1;
        // One lost output must not cost the others the row.
        self.sinks.iter_mut().map(|sink| sink.commit()).fold(begun, worse)
    }

    fn held(&self) -> u64 {
        self.sinks.iter().map(|sink| sink.held()).fold(self.given, u64::min)
    }

    fn watch(&mut self) -> Watched {
        watch::watch(&mut self.sinks, &mut self.search)
    }

    fn watch_last(&mut self) -> Watched {
        let mut watched = self.watch();
        watched.lost.extend(self.search.last_turn(&mut self.sinks));
        watched
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_all(|sink| sink.poll_flush(cx))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sinks.iter_mut().map(|sink| sink.flush()).fold(Ok(()), worse)
    }

    fn is_full(&self) -> bool {
        self.full
    }
}
