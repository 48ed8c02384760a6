//! What we receive: packets in order until they are read, and early ones until the gap before them
//! is filled.

use std::collections::VecDeque;

use crate::limits::{UTP_REORDER_FIRST, UTP_REORDER_MAX, UTP_SLOT, UTP_SLOTS_FIRST, UTP_SLOTS_MAX};
use crate::utp::packet::Kind;
use crate::utp::seq::Seq;

/// Bytes of the longest mask of early packets: a bit for each packet that is kept.
pub(super) const MASK_MAX: usize = UTP_REORDER_MAX / 8;

/// Room for the bytes of one packet. Slots are used again; what is free stays with its stream.
#[derive(Clone, Debug)]
struct Slot {
    bytes: Box<[u8; UTP_SLOT]>,
    len: u16,
}

/// The receiving half of a stream.
#[derive(Clone, Debug)]
pub(super) struct Receiver {
    /// The next packet in order.
    next: Seq,
    /// What is in order and not read.
    ready: VecDeque<Slot>,
    /// Bytes of the first of `ready` that were read.
    read: u16,
    /// The packet at `i` is `next + i`; the first is missing.
    early: VecDeque<Option<Slot>>,
    early_held: u16,
    free: Vec<Slot>,
    slots_max: u16,
    reorder_max: u16,
    /// The number of the FIN, once one was taken.
    fin: Option<Seq>,
    /// Everything up to the FIN is in order.
    is_ended: bool,
    /// What arrives is acknowledged and dropped.
    discards: bool,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was the next one.
    InOrder,
    /// It is kept until the gap before it is filled.
    Early,
    /// It was there already.
    Known,
    /// There is no room for it, or it comes after the end.
    Refused,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self {
            next: Seq(0),
            ready: VecDeque::new(),
            read: 0,
            early: VecDeque::new(),
            early_held: 0,
            free: Vec::new(),
            slots_max: UTP_SLOTS_FIRST as u16,
            reorder_max: UTP_REORDER_FIRST as u16,
            fin: None,
            is_ended: false,
            discards: false,
        }
    }

    /// The peer's first packet will be `first`.
    pub(super) fn start(&mut self, first: Seq) {
        self.next = first;
    }

    /// `size` bytes are expected: makes room for them, in the smallest packets that are usual.
    pub(super) fn grow(&mut self, size: usize) {
        let slots = (size / UTP_SLOT).saturating_mul(2) + 8;
        let slots = slots.min(UTP_SLOTS_MAX) as u16;
        self.slots_max = self.slots_max.max(slots);
        self.reorder_max = UTP_REORDER_MAX as u16;
    }

    /// Nothing more is read.
    pub(super) fn discard(&mut self) {
        self.discards = true;
        self.ready = VecDeque::new();
        self.read = 0;
    }

    /// The last packet that is in order, a FIN included.
    pub(super) fn ack(&self) -> Seq {
        self.next.minus(1)
    }

    /// How far `seq` is after the next packet in order.
    pub(super) fn distance(&self, seq: Seq) -> i32 {
        seq.after(self.next)
    }

    /// Bytes that the peer may have on its way to us. Never 0: libtorrent waits for ever where it
    /// once was told 0, and sends nothing that is larger than the window (29.11).
    pub(super) fn window(&self) -> u32 {
        let free = usize::from(self.slots_max).saturating_sub(self.used()).max(1);
        (free * UTP_SLOT) as u32
    }

    /// The largest [`Receiver::window`].
    pub(super) fn window_max(&self) -> u32 {
        u32::from(self.slots_max) * UTP_SLOT as u32
    }

    fn used(&self) -> usize {
        self.ready.len() + usize::from(self.early_held)
    }

    /// Whether a packet is missing before one that is kept.
    pub(super) fn has_gap(&self) -> bool {
        self.early_held > 0
    }

    /// Whether all of the stream was received and read.
    pub(super) fn is_finished(&self) -> bool {
        self.is_ended && self.ready.is_empty()
    }

    /// Takes a packet with data or a FIN.
    pub(super) fn take(&mut self, kind: Kind, seq: Seq, payload: &[u8]) -> Taken {
        let distance = self.distance(seq);
        if distance < 0 {
            return Taken::Known;
        }
        let is_fin = kind == Kind::Fin;
        match self.fin {
            Some(fin) if fin == seq && is_fin => return Taken::Known,
            // Nothing follows a FIN, and there is only one (29.12).
            Some(fin) if is_fin || seq.after(fin) >= 0 => return Taken::Refused,
            Some(_) | None => {}
        }
        let distance = distance as usize;
        let taken = match distance {
            0 if self.append(payload) => Taken::InOrder,
            0 => Taken::Refused,
            _ if is_fin && payload.is_empty() => Taken::Early,
            _ => self.keep(distance, payload),
        };
        if is_fin && taken != Taken::Refused {
            self.fin = Some(seq);
            self.drop_beyond(distance);
        }
        if taken == Taken::InOrder {
            self.advance();
        }
        taken
    }

    /// Adds bytes that are next in order; fails if there is no slot.
    fn append(&mut self, payload: &[u8]) -> bool {
        if payload.is_empty() || self.discards {
            return true;
        }
        if let Some(last) = self.ready.back_mut() {
            let start = usize::from(last.len);
            // Small packets share a slot.
            if let Some(room) = last.bytes.get_mut(start..start + payload.len()) {
                room.copy_from_slice(payload);
                last.len += payload.len() as u16;
                return true;
            }
        }
        if self.used() >= usize::from(self.slots_max) {
            return false;
        }
        let Some(slot) = self.fill(payload) else { return false };
        self.ready.push_back(slot);
        true
    }

    /// Keeps a packet that is early by `distance`.
    fn keep(&mut self, distance: usize, payload: &[u8]) -> Taken {
        if matches!(self.early.get(distance), Some(Some(_))) {
            return Taken::Known;
        }
        // One slot is for the packet that fills the gap.
        let is_full = self.used() + 1 >= usize::from(self.slots_max);
        if is_full || payload.is_empty() || distance >= usize::from(self.reorder_max) {
            return Taken::Refused;
        }
        if self.discards {
            return Taken::Refused;
        }
        let Some(slot) = self.fill(payload) else { return Taken::Refused };
        if self.early.len() <= distance {
            self.early.resize_with(distance + 1, || None);
        }
        self.early[distance] = Some(slot);
        self.early_held += 1;
        Taken::Early
    }

    /// A slot with these bytes; `None` if they are too many for one.
    fn fill(&mut self, payload: &[u8]) -> Option<Slot> {
        let mut slot =
            self.free.pop().unwrap_or_else(|| Slot { bytes: Box::new([0; UTP_SLOT]), len: 0 });
        slot.bytes.get_mut(..payload.len())?.copy_from_slice(payload);
        slot.len = payload.len() as u16;
        Some(slot)
    }

    /// A FIN is `distance` after the next packet: what is kept beyond is no part of the stream.
    fn drop_beyond(&mut self, distance: usize) {
        while self.early.len() > distance + 1 {
            if let Some(slot) = self.early.pop_back().flatten() {
                self.early_held -= 1;
                self.free.push(slot);
            }
        }
    }

    /// The next packet is in: goes on to the next one that is missing.
    fn advance(&mut self) {
        loop {
            self.is_ended = self.fin == Some(self.next);
            self.next = self.next.plus(1);
            self.early.pop_front();
            if self.is_ended {
                return;
            }
            match self.early.front_mut().and_then(Option::take) {
                Some(slot) => {
                    self.early_held -= 1;
                    if self.discards {
                        self.free.push(slot);
                    } else {
                        self.ready.push_back(slot);
                    }
                }
                // A FIN without bytes takes no slot.
                None if self.fin == Some(self.next) => {}
                None => return,
            }
        }
    }

    /// What can be read at once; empty if nothing is there.
    pub(super) fn peek(&self) -> &[u8] {
        let Some(slot) = self.ready.front() else { return &[] };
        &slot.bytes[usize::from(self.read)..usize::from(slot.len)]
    }

    /// Lets go of the first `count` bytes that are in order, or of all.
    pub(super) fn consume(&mut self, mut count: usize) {
        while count > 0 {
            let have = self.peek().len();
            if count < have {
                self.read += count as u16;
                return;
            }
            let Some(slot) = self.ready.pop_front() else { return };
            self.free.push(slot);
            self.read = 0;
            count -= have;
        }
    }

    /// Writes which early packets are there as a mask for [`super::packet::SelectiveAck`], and says
    /// how long it is: a multiple of four bytes, 0 if there is no gap.
    pub(super) fn mask(&self, mask: &mut [u8; MASK_MAX]) -> usize {
        if !self.has_gap() {
            return 0;
        }
        mask.fill(0);
        let mut last = 0;
        for (bit, _) in self.early.iter().skip(1).enumerate().filter(|(_, slot)| slot.is_some()) {
            mask[bit / 8] |= 1 << (bit % 8);
            last = bit;
        }
        (last / 32 + 1) * 4
    }

    /// Panics if the parts do not agree; for tests and simulations.
    pub(super) fn check(&self) {
        let held = self.early.iter().filter(|slot| slot.is_some()).count();
        assert_eq!(held, usize::from(self.early_held));
        assert!(!matches!(self.early.front(), Some(Some(_))), "it is in order");
        assert!(self.early.len() <= usize::from(self.reorder_max));
        assert!(self.used() <= usize::from(self.slots_max));
        assert!(self.used() + self.free.len() <= usize::from(self.slots_max), "slots are bounded");
        assert!(self.ready.iter().all(|slot| slot.len > 0));
        assert!(self.window() >= UTP_SLOT as u32 && self.window() <= self.window_max());
    }
}
