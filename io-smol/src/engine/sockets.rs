//! The sockets of both families as the loop drives them: filled from the core, drained into it,
//! and looked at no more often than is worth its while.

use std::net::SocketAddr;
use std::task::Context;

use estudely_core::{Crawler, Duration, Family, Instant};

use super::outcome::UdpReport;
use super::udp::{DATAGRAMS_PER_TURN, RECEIVE_BUFFER, Udp};
use super::wake::{Wake, Wakes};

/// A socket that just had datagrams is looked at again after this pause rather than at each
/// arrival: waking up costs more than reading (a third of a core at 20 000 datagrams a second).
const UDP_PAUSE: Duration = Duration::from_millis(1);

/// See the module.
pub(super) struct Sockets {
    channels: [Option<Channel>; 2],
    transmit: Vec<u8>,
    receive: Box<[u8; RECEIVE_BUFFER]>,
}

/// A socket and when to look at it.
struct Channel {
    udp: Udp,
    look: Look,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// When the reactor says so.
    OnEvent,
    /// It said so.
    Now,
    /// Then, whatever the reactor says.
    At(Instant),
}

impl Sockets {
    pub(super) fn new(udp: [Option<Udp>; 2]) -> Self {
        Self {
            channels: udp.map(|udp| udp.map(|udp| Channel { udp, look: Look::OnEvent })),
            transmit: Vec::with_capacity(RECEIVE_BUFFER),
            receive: Box::new([0; RECEIVE_BUFFER]),
        }
    }

    /// Sends what the core wants sent, as far as the sockets take it. Whether the turn stopped at
    /// its bound.
    pub(super) fn send(&mut self, now: Instant, crawler: &mut Crawler) -> bool {
        let mut more = false;
        for family in Family::ALL {
            let Some(Channel { udp, .. }) = &mut self.channels[family.index()] else { continue };
            let mut sent = 0;
            while udp.has_room() && sent < DATAGRAMS_PER_TURN {
                self.transmit.clear();
                let transmit = crawler.poll_transmit(now, family, &mut self.transmit);
                let Some(transmit) = transmit else { break };
                udp.send(transmit.to, &self.transmit[..transmit.len]);
                sent += 1;
            }
            more |= sent == DATAGRAMS_PER_TURN;
        }
        more
    }

    /// Hands what has arrived to `each`.
    pub(super) fn receive(&mut self, now: Instant, mut each: impl FnMut(SocketAddr, &[u8])) {
        for channel in self.channels.iter_mut().flatten() {
            let due = match channel.look {
                Look::OnEvent => false,
                Look::Now => true,
                Look::At(at) => at <= now,
            };
            if !due {
                continue;
            }
            let reads = channel.udp.receive(&mut self.receive, &mut each);
            channel.look = match reads {
                0 => Look::OnEvent,
                DATAGRAMS_PER_TURN => Look::At(now),
                _ => Look::At(now + UDP_PAUSE),
            };
        }
    }

    /// Notes what the sockets are ready for.
    pub(super) fn poll_wake(&mut self, cx: &mut Context<'_>, wakes: &mut Wakes) {
        for channel in self.channels.iter_mut().flatten() {
            if channel.look == Look::OnEvent && channel.udp.poll_readable(cx).is_ready() {
                channel.look = Look::Now;
                wakes.note(Wake::Datagrams, true);
            }
            let full = !channel.udp.has_room();
            wakes.note(Wake::Room, full && channel.udp.poll_room(cx).is_ready());
        }
    }

    /// When the next socket is to be looked at, whatever the reactor says.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let looks = self.channels.iter().flatten().filter_map(|channel| match channel.look {
            Look::At(at) => Some(at),
            Look::OnEvent | Look::Now => None,
        });
        looks.min()
    }

    pub(super) fn report(&self) -> UdpReport {
        let mut report = UdpReport::default();
        for Channel { udp, .. } in self.channels.iter().flatten() {
            report.bound[udp.family().index()] = Some(udp.local());
            let (failures, last) = udp.failures();
            report.send_failures += failures;
            report.last_failure = last.or(report.last_failure);
        }
        report
    }
}
