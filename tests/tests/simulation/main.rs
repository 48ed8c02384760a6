//! Whole runs of the crawler in a virtual internet, in virtual time, with every rule checked.

mod bench;
mod big;
mod canaries;
mod commands;
#[path = "../alloc/counting.rs"]
mod counting;
mod determinism;
mod reach;
mod regressions;
mod scenarios;
mod seeds;
mod support;
mod tape;
