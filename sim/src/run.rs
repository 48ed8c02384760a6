//! Runs: the two harnesses that move bytes between crawler and world, the verdict on a run, planted
//! bugs, the smallest world that still fails, and the command line of `sim`.
//!
//! Nothing here judges by itself; what is broken is said by the checker.

pub mod direct;
pub mod gateway;
pub mod verdict;
pub mod inject;
pub mod shrink;
pub mod command;
