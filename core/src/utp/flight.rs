//! Packets that were sent and are not acknowledged: which of them are on their way, lost, or known
//! to have arrived beyond a gap.

use std::collections::VecDeque;

use crate::base::time::{Duration, Instant};
use crate::limits::{UTP_DUPLICATES, UTP_FLIGHT_FIRST};
use crate::utp::packet::SelectiveAck;
use crate::utp::seq::Seq;

/// Packets in order of their numbers, without gaps.
#[derive(Clone, Debug, Default)]
pub(super) struct Flight {
    packets: VecDeque<Sent>,
    /// The number of the first of them.
    first: Seq,
    /// Bytes of the stream in them.
    bytes: usize,
    /// Bytes in those that are on their way, as far as is known.
    outstanding: usize,
    /// Packets that are to be sent again.
    lost: u16,
}

/// One packet that was sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    at: Instant,
    /// Bytes of the stream; 0 is the FIN.
    len: u16,
    /// How often it was sent.
    times: u8,
    status: Status,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Flying,
    Lost,
    /// A selective ack names it.
    Arrived,
}

/// Where a packet's bytes lie among those not acknowledged, and its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) seq: Seq,
    pub(super) start: usize,
    pub(super) len: usize,
}

/// What an acknowledgement told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Arrivals {
    /// Packets that are gone from the front.
    pub(super) covered: usize,
    /// Their bytes, all of which may be forgotten.
    pub(super) freed: usize,
    /// Bytes that were not known to have arrived.
    pub(super) bytes: usize,
    /// How long a packet took that was sent once.
    pub(super) round_trip: Option<Duration>,
}

impl Flight {
    /// The first packet will be `first`.
    pub(super) fn start(&mut self, first: Seq) {
        self.first = first;
    }

    /// The last packet that is acknowledged with all before it.
    pub(super) fn acked(&self) -> Seq {
        self.first.minus(1)
    }

    /// The number of the next new packet.
    pub(super) fn next(&self) -> Seq {
        self.first.plus(self.packets.len() as u16)
    }

    pub(super) fn len(&self) -> usize {
        self.packets.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Bytes of the stream in these packets.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that are on their way.
    pub(super) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// A new packet with `len` bytes leaves.
    pub(super) fn push(&mut self, now: Instant, len: usize) -> Place {
        let place = Place { seq: self.next(), start: self.bytes, len };
        if self.packets.capacity() == 0 {
            self.packets.reserve_exact(UTP_FLIGHT_FIRST);
        }
        let sent = Sent { at: now, len: len as u16, times: 1, status: Status::Flying };
        self.packets.push_back(sent);
        self.bytes += len;
        self.outstanding += len;
        place
    }

    /// The first packet that is lost.
    pub(super) fn first_lost(&self) -> Option<Place> {
        if self.lost == 0 {
            return None;
        }
        let index = self.packets.iter().position(|sent| sent.status == Status::Lost)?;
        let start = self.packets.iter().take(index).map(|sent| usize::from(sent.len)).sum();
        let len = usize::from(self.packets.get(index)?.len);
        Some(Place { seq: self.first.plus(index as u16), start, len })
    }

    /// A packet that was lost leaves again.
    pub(super) fn resend(&mut self, now: Instant, seq: Seq) {
        let index = usize::try_from(seq.after(self.first));
        let sent = index.ok().and_then(|index| self.packets.get_mut(index));
        if let Some(sent) = sent.filter(|sent| sent.status == Status::Lost) {
            (sent.status, sent.at) = (Status::Flying, now);
            sent.times = sent.times.saturating_add(1);
            self.lost -= 1;
            self.outstanding += usize::from(sent.len);
        }
    }

    /// All up to `ack` arrived, and what the mask names beyond it. Bits for what was never sent
    /// mean nothing.
    pub(super) fn acknowledge(
        &mut self,
        now: Instant,
        ack: Seq,
        mask: Option<SelectiveAck<'_>>,
    ) -> Arrivals {
        let covered = ack.after(self.acked()).max(0) as usize;
        let covered = covered.min(self.packets.len());
        let mut arrivals = Arrivals { covered, ..Arrivals::default() };
        for index in 0..covered {
            self.arrive(now, index, &mut arrivals);
        }
        let freed = self.packets.drain(..covered).map(|sent| usize::from(sent.len)).sum();
        self.bytes -= freed;
        self.first = self.first.plus(covered as u16);
        arrivals.freed = freed;
        if let Some(mask) = mask {
            // The first bit stands for the packet after the one that is missing (29.3).
            let first_bit = ack.after(self.first) + 2;
            for index in 0..self.packets.len() {
                let bit = usize::try_from(index as i32 - first_bit);
                if bit.is_ok_and(|bit| mask.has(bit)) {
                    self.arrive(now, index, &mut arrivals);
                }
            }
        }
        arrivals
    }

    fn arrive(&mut self, now: Instant, index: usize, arrivals: &mut Arrivals) {
        let Some(sent) = self.packets.get_mut(index) else { return };
        let len = usize::from(sent.len);
        match sent.status {
            Status::Arrived => return,
            Status::Lost => self.lost -= 1,
            Status::Flying => self.outstanding -= len,
        }
        sent.status = Status::Arrived;
        arrivals.bytes += len;
        if sent.times == 1 {
            arrivals.round_trip = Some(now.since(sent.at));
        }
    }

    /// Marks packets that must be lost: those with enough arrived beyond them (29.6), and the first
    /// one if `front_is_lost`. Only those that were sent once: whether another copy is lost, only
    /// time tells. Returns whether there is one.
    pub(super) fn find_losses(&mut self, front_is_lost: bool) -> bool {
        let (mut beyond, mut found) = (0_u16, 0);
        for (index, sent) in self.packets.iter_mut().enumerate().rev() {
            let is_lost = beyond >= u16::from(UTP_DUPLICATES) || index == 0 && front_is_lost;
            match sent.status {
                Status::Arrived => beyond += 1,
                Status::Flying if is_lost && sent.times == 1 => {
                    sent.status = Status::Lost;
                    self.outstanding -= usize::from(sent.len);
                    found += 1;
                }
                Status::Flying | Status::Lost => {}
            }
        }
        self.lost += found;
        found > 0
    }

    /// Nothing was acknowledged in time: all that is not known to have arrived is lost.
    pub(super) fn lose_all(&mut self) {
        self.lost = 0;
        for sent in self.packets.iter_mut().filter(|sent| sent.status != Status::Arrived) {
            sent.status = Status::Lost;
            self.lost += 1;
        }
        self.outstanding = 0;
    }

    /// Panics if the sums do not agree; for tests and simulations.
    pub(super) fn check(&self) {
        let of = |status| self.packets.iter().filter(move |sent: &&Sent| sent.status == status);
        let bytes = |sent: &Sent| usize::from(sent.len);
        assert_eq!(self.bytes, self.packets.iter().map(bytes).sum::<usize>());
        assert_eq!(self.outstanding, of(Status::Flying).map(bytes).sum::<usize>());
        assert_eq!(usize::from(self.lost), of(Status::Lost).count());
    }
}
