//! What a run reads and writes: lists, outputs, the state.
//!
//! Nothing here knows a socket or a clock.

pub mod hashes;
pub mod lists;
mod lock;
mod reading;
pub mod requests;
pub mod resume;
pub mod sink;
pub mod state;
