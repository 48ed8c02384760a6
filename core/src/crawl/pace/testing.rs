//! What the tests of several limiters share: claimants that take whatever they may.

use crate::base::time::Instant;

/// Sends whenever allowed and returns the instants, in microseconds.
pub(super) fn drive(until: u64, mut ready: impl FnMut(Instant) -> Result<(), Instant>) -> Vec<u64> {
    let (mut now, mut sent) = (0, Vec::new());
    while now < until {
        match ready(Instant::from_micros(now)) {
            Ok(()) => sent.push(now),
            Err(at) => {
                assert!(at.as_micros() > now, "a deadline in the past would spin");
                now = at.as_micros();
            }
        }
    }
    sent
}

pub(super) fn most_in_a_window(sent: &[u64], window: u64) -> usize {
    (0..sent.len())
        .map(|i| sent[i..].iter().take_while(|at| **at < sent[i] + window).count())
        .max()
        .unwrap_or(0)
}

/// Two claimants that always want a token and ask whenever they were told to, the first one
/// always first: `take` gives a claimant a token or says when to ask. Gives the claimant of each
/// token, in order.
pub(super) fn contend(
    tokens: usize,
    mut take: impl FnMut(Instant, usize) -> Result<(), Instant>,
) -> Vec<usize> {
    let (mut taken, mut next) = (Vec::new(), [Instant::START; 2]);
    while taken.len() < tokens {
        let now = next[0].min(next[1]);
        for claimant in [0, 1] {
            while next[claimant] <= now {
                match take(now, claimant) {
                    Ok(()) => taken.push(claimant),
                    Err(at) => next[claimant] = at,
                }
            }
        }
    }
    taken
}
