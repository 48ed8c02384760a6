//! Whole runs of the crawler in a virtual internet, in virtual time.

mod bench;
#[path = "../alloc/counting.rs"]
mod counting;
mod scenarios;
mod support;
mod tape;
