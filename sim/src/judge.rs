//! Everything that watches a run and says what it was worth: the rules, the checker that holds a run
//! against them, comparison with a second run, the trace and the curve of what was found.
//!
//! It sees what crossed the boundary and what is true of the world. It never asks the code under
//! test, and nothing here changes a run.

pub mod rule;
pub mod compare;
pub mod checker;
pub mod trace;
pub mod curve;
