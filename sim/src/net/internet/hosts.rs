//! Peers that take uTP: which of them there are, and when each acts by itself.
//!
//! A host is there once something reaches it, and for as long as it has a connection.

use std::net::SocketAddr;
use std::rc::Rc;

use estudely_core::{Duration, Family, Instant};

use super::{Flight, Net};
use crate::actors::node::Sent;
use crate::actors::utp::host::{Host, Said};
use crate::world::dht::Resident;

/// Least time between two deadlines of one host.
const WAKE_GAP: Duration = Duration::from_millis(1);

/// A host at an address.
#[derive(Debug)]
pub(super) struct Served {
    /// Whose it is: the peer of a family by its number.
    resident: (Family, u32),
    host: Host,
    /// The earliest wake-up that is planned.
    wake: Option<Instant>,
}

impl Net {
    /// A datagram arrives at a peer that takes uTP.
    pub(super) fn reach_host(
        &mut self,
        at: Instant,
        (from, to): (SocketAddr, SocketAddr),
        (family, number): (Family, u32),
        payload: &[u8],
    ) {
        let universe = Rc::clone(&self.universe);
        let Some(world) = universe.world(family) else { return };
        let fresh =
            || Served { resident: (family, number), host: Host::new(world, number), wake: None };
        let served = self.hosts.entry(to).or_insert_with(fresh);
        if served.resident != (family, number) {
            *served = Served { wake: served.wake, ..fresh() };
        }
        let said = served.host.hear(world, at, from, payload);
        self.after_host(at, to, said);
    }

    /// A deadline of a host has come.
    pub(super) fn wake_host(&mut self, at: Instant, addr: SocketAddr) {
        let universe = Rc::clone(&self.universe);
        // An earlier one was planned after this.
        let Some(served) = self.hosts.get_mut(&addr).filter(|served| served.wake == Some(at))
        else {
            return;
        };
        served.wake = None;
        let (family, number) = served.resident;
        let Some(world) = universe.world(family) else { return };
        // Whoever left meanwhile left a host that knows nothing of its connections.
        if universe.resident(at, addr) != Some((family, Resident::Peer(number))) {
            self.hosts.remove(&addr);
            return;
        }
        let said = served.host.wake(world, at);
        self.after_host(at, addr, said);
    }

    /// Sends what a host says, and plans when it acts by itself.
    fn after_host(&mut self, at: Instant, addr: SocketAddr, said: Said) {
        for (to, payload, from_elsewhere) in said {
            let port = if from_elsewhere { addr.port() ^ 1 } else { addr.port() };
            let from = SocketAddr::new(addr.ip(), port);
            self.launch(at, addr, Sent { from, to, payload, after: Duration::ZERO });
        }
        let Some(served) = self.hosts.get_mut(&addr) else { return };
        let Some(due) = served.host.poll_timeout() else {
            if served.host.is_empty() {
                self.hosts.remove(&addr);
            }
            return;
        };
        let due = due.max(at + WAKE_GAP);
        if served.wake.is_none_or(|planned| due < planned) {
            served.wake = Some(due);
            self.agenda.push(due, Flight::Host(addr));
        }
    }
}
