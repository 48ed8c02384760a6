//! The command `crawl`: its words, what it shows, and how it ends.

pub mod args;
pub mod progress;
pub mod report;
pub mod app;
mod stderr;
