//! What a host that takes uTP does wrong beside its streams, a packet heard at a time.

use super::packet::{DATA, FIN, Packet, RESET, STATE, SYN};
use crate::world::vice::UtpVice;

/// SYNs of a flood for each packet heard.
const FLOOD: usize = 16;
/// How far beyond what was sent a lie acknowledges.
const BEYOND: u16 = 3;
/// How far ahead a packet lies that ends the stream too early.
const AHEAD: u16 = 5;
/// Bytes of the longest selective acknowledgement.
const MASK_MAX: usize = 255;

/// What is sent without any reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Whether it comes from another port of the host.
    pub from_elsewhere: bool,
    /// What it says.
    pub datagram: Vec<u8>,
}

/// A host with a vice.
#[derive(Clone, Debug)]
pub struct Liar {
    vice: UtpVice,
    dice: fastrand::Rng,
}

impl Liar {
    /// One with this vice, and dice of its own.
    pub fn new(vice: UtpVice, dice: fastrand::Rng) -> Self {
        Self { vice, dice }
    }

    /// Whether it never names any room of its own.
    pub fn shuts_window(&self) -> bool {
        self.vice == UtpVice::ClosedWindow
    }

    /// Whether it passes over the first data of a connection, as if that had been lost.
    pub fn drops_first(&self) -> bool {
        self.vice == UtpVice::AcksUnsent
    }

    /// What it sends on hearing a packet.
    pub fn hears(&mut self, packet: &Packet<'_>) -> Vec<Stray> {
        if packet.kind == SYN || packet.kind == RESET {
            return Vec::new();
        }
        // Its own packets carry one less than those of the dialler.
        let (id, next) = (packet.id.wrapping_sub(1), packet.ack.wrapping_add(1));
        let bare = Packet { id, seq: next, ack: packet.seq, mask: &[], payload: &[], ..*packet };
        let bare = Packet { window: 1 << 20, ..bare };
        let own = |packet: Packet<'_>| Stray { from_elsewhere: false, datagram: packet.write() };
        match self.vice {
            UtpVice::ClosedWindow => Vec::new(),
            UtpVice::AcksUnsent => {
                let ack = packet.seq.wrapping_add(BEYOND);
                vec![own(Packet { kind: STATE, ack, ..bare })]
            }
            UtpVice::SynFlood => {
                let mut syn = || {
                    let (id, seq) = (self.dice.u16(..), self.dice.u16(..));
                    own(Packet { kind: SYN, id, seq, ack: 0, ..bare })
                };
                (0..FLOOD).map(|_| syn()).collect()
            }
            UtpVice::StrangerReset => {
                let reset = Packet { kind: RESET, ..bare };
                let wrong = id.wrapping_add(self.dice.u16(2..));
                let elsewhere = Stray { from_elsewhere: true, ..own(reset) };
                vec![elsewhere, own(Packet { id: wrong, ..reset })]
            }
            UtpVice::FarSeq => {
                let seq = next.wrapping_add(self.dice.u16(4_096..60_000));
                vec![own(Packet { kind: DATA, seq, payload: b"from far away", ..bare })]
            }
            UtpVice::AfterFin => {
                let end = next.wrapping_add(AHEAD);
                let beyond = end.wrapping_add(1);
                vec![
                    own(Packet { kind: FIN, seq: end, ..bare }),
                    own(Packet { kind: DATA, seq: beyond, payload: b"after the end", ..bare }),
                ]
            }
            UtpVice::LongMask => {
                vec![own(Packet { kind: STATE, mask: &[0xff; MASK_MAX], ..bare })]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_lies_says_whole_packets_to_data_and_nothing_to_who_begins_or_ends() {
        let packet = |kind| Packet {
            kind,
            id: 7,
            time: 1,
            difference: 2,
            window: 3,
            seq: 65_535,
            ack: 65_535,
            mask: &[],
            payload: b"data",
        };
        for vice in UtpVice::ALL {
            let mut liar = Liar::new(*vice, fastrand::Rng::with_seed(1));
            for (kind, speaks) in [(DATA, true), (STATE, true), (SYN, false), (RESET, false)] {
                let said = liar.hears(&packet(kind));
                let speaks = speaks && !liar.shuts_window();
                assert_eq!(!said.is_empty(), speaks, "{vice:?} {kind}");
                assert!(said.iter().all(|stray| Packet::read(&stray.datagram).is_some()));
            }
        }
    }
}
