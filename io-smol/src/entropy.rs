//! The one place that asks the operating system for randomness: the seed of a run.

use std::io;

use estudely_core::Seed;

/// A seed that nobody can guess.
///
/// # Errors
/// When the system has no randomness to give.
pub fn random_seed() -> io::Result<Seed> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    Ok(Seed(seed))
}
