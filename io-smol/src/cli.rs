//! The command `crawl`: its words, what it shows, and how it ends.

pub mod app;
pub mod args;
pub mod progress;
pub mod report;
