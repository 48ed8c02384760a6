//! What peers answered to in this run, by endpoint: who was reached with encryption or over uTP
//! alone is asked that way first for another infohash.
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

/// See the module. The table is made when the first peer wants something else than plain TCP.
#[derive(Debug)]
pub(crate) struct Habits {
    rng: Rng,
    /// To what endpoints answered last, and when, if it was not plain TCP.
    others: Option<Cells<Option<(Transport, Instant)>>>,
}

impl Habits {
    pub(crate) fn new(rng: &Rng) -> Self {
        Self { rng: rng.fork("habits"), others: None }
    }

    /// A peer shook hands over `transport`.
    pub(crate) fn on_answered(&mut self, now: Instant, peer: SocketAddr, transport: Transport) {
        let key = endpoint_key(peer);
        if transport != Transport::Tcp {
            let rng = &mut self.rng;
            let others = self.others.get_or_insert_with(|| Cells::new(rng, HABIT_CELLS));
            *others.get_mut(&key) = Some((transport, now));
        } else if let Some(others) = &mut self.others {
            *others.get_mut(&key) = None;
        }
    }

    /// What a peer is to be asked over first, if that is not plain TCP.
    pub(crate) fn of(&self, now: Instant, peer: SocketAddr) -> Option<Transport> {
        let last = self.others.as_ref().and_then(|others| *others.get(&endpoint_key(peer)));
        last.filter(|(_, at)| now.since(*at) < HABIT_KEPT).map(|(transport, _)| transport)
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
        assert_eq!(habits.of(now, peer), None);
        for transport in [Transport::TcpEncrypted, Transport::Utp, Transport::UtpEncrypted] {
            habits.on_answered(now, peer, transport);
            let last = now + (HABIT_KEPT - Duration::from_micros(1));
            assert_eq!((habits.of(last, peer), habits.of(last, other)), (Some(transport), None));
            assert_eq!(habits.of(now + HABIT_KEPT, peer), None);
        }
        habits.on_answered(now, peer, Transport::Tcp);
        assert_eq!(habits.of(now, peer), None);
    }
}
