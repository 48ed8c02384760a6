//! What peers answered to in this run, by endpoint: who was reached by encryption alone is asked
//! that way first for another infohash.
//!
//! A hint and nothing more: a table without keys, in which endpoints that share a cell are taken
//! for each other. Who is taken for another costs a connection, and no peer is left for it.

use std::net::SocketAddr;

use crate::base::addr::endpoint_key;
use crate::base::rng::Rng;
use crate::base::store::Cells;
use crate::base::time::Instant;
use crate::limits::{HABIT_CELLS, HABIT_KEPT};
use crate::peer::exchange::Transport;

/// See the module. The table is made when the first peer wants encryption.
#[derive(Debug)]
pub(crate) struct Habits {
    rng: Rng,
    /// When endpoints last answered to encryption.
    sealed: Option<Cells<Option<Instant>>>,
}

impl Habits {
    pub(crate) fn new(rng: &Rng) -> Self {
        Self { rng: rng.fork("habits"), sealed: None }
    }

    /// A peer shook hands over `transport`.
    pub(crate) fn on_answered(&mut self, now: Instant, peer: SocketAddr, transport: Transport) {
        let key = endpoint_key(peer);
        if transport == Transport::TcpEncrypted {
            let rng = &mut self.rng;
            let sealed = self.sealed.get_or_insert_with(|| Cells::new(rng, HABIT_CELLS));
            *sealed.get_mut(&key) = Some(now);
        } else if let Some(sealed) = &mut self.sealed {
            *sealed.get_mut(&key) = None;
        }
    }

    /// Whether a peer is to be asked for an encrypted connection first.
    pub(crate) fn wants_encryption(&self, now: Instant, peer: SocketAddr) -> bool {
        let at = self.sealed.as_ref().and_then(|sealed| *sealed.get(&endpoint_key(peer)));
        at.is_some_and(|at| now.since(at) < HABIT_KEPT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Seed;
    use crate::base::time::Duration;

    #[test]
    fn the_last_way_that_a_peer_answered_counts_for_a_day() {
        let mut habits = Habits::new(&Rng::new(Seed::from_u64(1)));
        let (peer, other) = (SocketAddr::from(([9, 0, 0, 1], 1)), ([9, 0, 0, 1], 2).into());
        let now = Instant::START;
        assert!(!habits.wants_encryption(now, peer));
        habits.on_answered(now, peer, Transport::TcpEncrypted);
        let last = now + (HABIT_KEPT - Duration::from_micros(1));
        assert!(habits.wants_encryption(last, peer) && !habits.wants_encryption(last, other));
        assert!(!habits.wants_encryption(now + HABIT_KEPT, peer));
        habits.on_answered(now, peer, Transport::Tcp);
        assert!(!habits.wants_encryption(now, peer));
    }
}
