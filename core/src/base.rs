//! The ground everything stands on: time, randomness, containers, sets of flags, ids, addresses,
//! fault names.
//!
//! Names nothing else of this crate, and knows no protocol beyond what an id and an address are.

pub mod time;
pub mod rng;
pub mod store;
pub(crate) mod flags;
pub mod id;
pub mod addr;
pub mod fault;
pub mod planted;
#[cfg(test)]
pub(crate) mod work;
