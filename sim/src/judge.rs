//! Everything that watches a run and says what it was worth: the rules, the checker that holds a
//! run against them, comparison with a second run, the trace, the curve of what was found, and
//! the score of a file.
//!
//! It sees what crossed the boundary and what is true of the world. It never asks the code under
//! test, and nothing here changes a run.

pub mod rule;
pub mod compare;
pub mod checker;
pub mod trace;
pub mod curve;
pub mod score;
