//! One output as the fan-out drives it: what a row becomes there, and the bytes it goes to.

use std::fmt;
use std::fs::File;
use std::io;
use std::task::{Context, Poll};

use estudely_core::{InfoHash, Row};

use super::file::Output;
use super::traits::{RowSink, RowTimes};
use crate::files::resume::{Extent, Foreign};

/// What rows become in one kind of table, and what of that an output holds already.
pub trait Render: fmt::Debug + Send {
    /// Puts into `block`, which is empty, what the output lacks of `row`.
    fn render(&mut self, row: &Row, block: &mut Block);

    /// Reads what a file holds: nothing of that is lacking any more.
    ///
    /// # Errors
    /// It is not ours, or damaged other than at its end.
    fn learn(&mut self, file: &mut File) -> Result<Extent, Foreign>;

    /// Forgets what the output held.
    fn forget(&mut self);
}

/// An output of one table.
#[derive(Debug)]
pub struct TableSink<R> {
    output: Output,
    render: R,
    block: Block,
}

impl<R: Render> TableSink<R> {
    /// An output that rows go to as `render` has them.
    pub fn new(output: Output, render: R) -> Self {
        Self { output, render, block: Block::default() }
    }
}

impl<R: Render> RowSink for TableSink<R> {
    fn prepare(&mut self, row: &Row, _times: RowTimes) -> u64 {
        self.block.clear();
        self.block.infohash = row.infohash;
        self.render.render(row, &mut self.block);
        self.block.len()
    }

    fn commit(&mut self) -> io::Result<()> {
        self.output.append(self.block.infohash, &self.block.head, &self.block.tails)?;
        self.block.clear();
        Ok(())
    }

    fn held(&self) -> u64 {
        self.output.held()
    }

    fn output(&mut self) -> Option<&mut Output> {
        Some(&mut self.output)
    }

    fn check_reader(&self) -> io::Result<()> {
        self.output.check_reader()
    }

    fn learn(&mut self, file: &mut File) -> Result<Extent, Foreign> {
        self.render.learn(file)
    }

    fn forget(&mut self) {
        self.render.forget();
    }

    fn bytes(&self) -> u64 {
        self.output.len()
    }

    fn rows(&self) -> u64 {
        self.output.rows()
    }

    fn begin(&mut self) -> io::Result<()> {
        self.output.begin()
    }

    fn discard(&self) {
        self.output.discard();
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.poll_ready(cx)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.poll_flush(cx)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// The rows of one infohash: what they share is held once, for a name can be megabytes long.
#[derive(Debug)]
pub struct Block {
    infohash: InfoHash,
    /// What each row begins with.
    pub(super) head: Vec<u8>,
    /// What each goes on with, its line end included.
    pub(super) tails: Vec<String>,
}

impl Default for Block {
    fn default() -> Self {
        Self { infohash: InfoHash([0; 20]), head: Vec::new(), tails: Vec::new() }
    }
}

impl Block {
    fn clear(&mut self) {
        self.head.clear();
        self.head.shrink_to(64 << 10);
        self.tails.clear();
    }

    fn len(&self) -> u64 {
        let tails: usize = self.tails.iter().map(String::len).sum();
        (self.head.len() * self.tails.len() + tails) as u64
    }
}
