//! Peers and strangers that mean harm: nothing panics, nothing grows, and it ends.

use std::net::SocketAddr;

use estudely_core::keyed::Rng;
use estudely_core::utp::{Endpoint, Fault, Reception, State, Stream};
use estudely_core::{Duration, Instant, Seed};
use proptest::collection::vec;
use proptest::prelude::*;

use super::link::{Conversation, Link};
use super::{bytes, converse};
use crate::actors::utp::Manners;
use crate::actors::utp::packet::{DATA, FIN, Packet, RESET, STATE, SYN};

/// A stream that is connected to a peer whose packets are made by hand.
struct Victim {
    now: Instant,
    stream: Stream,
    /// The number of its SYN.
    syn: u16,
    /// The number of its last packet with data, and those that it has sent in all.
    last: u16,
    said: usize,
}

/// The number of the peer's first packet.
const FIRST: u16 = 65_530;

impl Victim {
    fn new(seed: u64) -> Self {
        let now = Instant::START;
        let mut rng = Rng::new(Seed::from_u64(seed));
        let stream = Stream::new(now, now + Duration::from_secs(8), &mut rng);
        let mut victim = Self { now, stream, syn: 0, last: 0, said: 0 };
        let mut out = Vec::new();
        victim.stream.poll_transmit(now, &mut out).expect("a SYN");
        victim.syn = Packet::read(&out).expect("a packet").seq;
        victim.last = victim.syn;
        assert_eq!(victim.hears(&victim.packet(STATE)), Reception::Taken);
        victim
    }

    fn packet(&self, kind: u8) -> Packet<'static> {
        Packet {
            kind,
            id: self.stream.receive_id(),
            time: 1,
            difference: 2,
            window: 100_000,
            seq: FIRST,
            ack: self.syn,
            mask: &[],
            payload: &[],
        }
    }

    fn hears(&mut self, packet: &Packet<'_>) -> Reception {
        let reception = self.stream.handle_datagram(self.now, &packet.write());
        self.stream.check();
        reception
    }

    /// What it says now; counts it.
    fn drain(&mut self) {
        let mut out = Vec::new();
        while self.stream.poll_transmit(self.now, &mut out).is_some() {
            assert!(out.len() <= 548);
            let packet = Packet::read(&out).expect("a packet");
            assert!(packet.window > 0, "a window is never shut");
            if packet.kind == DATA {
                self.last = packet.seq;
            }
            self.said += 1;
            assert!(self.said < 100_000, "it does not stop");
            out.clear();
        }
        self.stream.check();
    }

    /// Time goes on while the peer is silent, until nothing is due.
    fn wait_out(&mut self) {
        while let Some(due) = self.stream.poll_timeout() {
            assert!(due > self.now, "it is due again at once");
            self.now = due;
            self.stream.handle_timeout(due);
            self.drain();
            assert!(self.now < Instant::START + Duration::from_secs(600), "it has no end");
        }
    }
}

/// One packet of a hostile peer, near what would be right.
#[derive(Clone, Debug)]
struct Blow {
    kind: u8,
    ahead: i16,
    acks: i16,
    window: u32,
    difference: u32,
    mask: Vec<u8>,
    payload: usize,
    other_id: u16,
    micros: u64,
}

fn blow() -> impl Strategy<Value = Blow> {
    let small = prop_oneof![8 => 0..6_i16, 2 => -5..40_i16, 1 => any::<i16>()];
    let acks = prop_oneof![8 => 0..4_i16, 2 => -6..40_i16, 1 => any::<i16>()];
    let window = prop_oneof![Just(0), 0..2_000_u32, any::<u32>()];
    let mask = prop_oneof![6 => Just(0..1), 2 => Just(1..9), 1 => Just(200..256)];
    let mask = mask.prop_flat_map(|len| vec(any::<u8>(), len));
    let other_id = prop_oneof![30 => Just(0), 1 => any::<u16>()];
    let kind = prop_oneof![20 => Just(DATA), 4 => Just(STATE), 1 => Just(FIN), 1 => Just(SYN)];
    (kind, small, acks, window, any::<u32>(), mask, 0..1_453_usize, (other_id, 0..200_000_u64))
        .prop_map(|(kind, ahead, acks, window, difference, mask, payload, (other_id, micros))| {
            Blow { kind, ahead, acks, window, difference, mask, payload, other_id, micros }
        })
}

proptest! {
    #[test]
    fn whatever_a_peer_sends_nothing_panics_grows_or_goes_on_for_ever(
        seed in any::<u64>(),
        blows in vec(blow(), 0..120),
        reads in any::<bool>(),
        expects in any::<bool>(),
        ends in 0..3_u8,
    ) {
        let mut victim = Victim::new(seed);
        let mut next = FIRST;
        let payload = [7; 1_452];
        if expects {
            victim.stream.expect(100_000);
        }
        for (count, blow) in blows.iter().enumerate() {
            victim.stream.write(&bytes(blow.payload, 3));
            victim.drain();
            let limit = 1_472 - 20 - blow.mask.len() - 2;
            let packet = Packet {
                seq: next.wrapping_add(blow.ahead as u16),
                ack: victim.last.wrapping_sub(3).wrapping_add(blow.acks as u16),
                window: blow.window,
                difference: blow.difference,
                mask: &blow.mask,
                payload: &payload[..blow.payload.min(limit)],
                id: victim.stream.receive_id().wrapping_add(blow.other_id),
                ..victim.packet(blow.kind)
            };
            victim.now = victim.now + Duration::from_micros(blow.micros);
            victim.stream.handle_timeout(victim.now);
            let before = victim.said;
            let is_taken = victim.hears(&packet) == Reception::Taken;
            victim.drain();
            if is_taken && blow.ahead == 0 {
                next = next.wrapping_add(1);
            }
            // An acknowledgement, and what its window lets out; no more for one packet.
            prop_assert!(victim.said - before <= 140, "{} after {count}", victim.said - before);
            if reads {
                let mut buf = [0; 4_096];
                while victim.stream.read(&mut buf) > 0 {}
            }
        }
        match ends {
            0 => victim.stream.close(),
            1 => victim.stream.abort(),
            _ => {}
        }
        victim.drain();
        let is_owed = victim.stream.unacknowledged() > 0 || ends == 0;
        victim.wait_out();
        let state = victim.stream.state();
        prop_assert!(state.is_over() || !is_owed, "{state:?}");
    }

    #[test]
    fn what_strangers_send_changes_nothing_that_arrives(
        seed in any::<u64>(),
        datagrams in vec(vec(any::<u8>(), 0..60), 1..40),
    ) {
        let mut endpoint: Endpoint<()> = Endpoint::new(4, 1_000, Rng::new(Seed::from_u64(seed)));
        let peer: SocketAddr = ([20, 0, 0, 1], 6881).into();
        let now = Instant::from_micros(1);
        let id = endpoint.connect(now, peer, now + Duration::from_secs(8), ()).expect("room");
        let mut out = Vec::new();
        let _ = endpoint.poll_transmit(now, &mut out).expect("a SYN");
        for (count, mut datagram) in datagrams.into_iter().enumerate() {
            // As from anybody, and with a right first byte.
            let from = SocketAddr::from(([20, 0, 1, count as u8], 6881));
            endpoint.handle_datagram(now, from, &datagram);
            if let Some(first) = datagram.first_mut() {
                *first = (*first % 5) << 4 | 1;
            }
            endpoint.handle_datagram(now, from, &datagram);
            endpoint.check();
        }
        prop_assert!(endpoint.poll_transmit(now, &mut out).is_none(), "no one is answered");
        prop_assert_eq!(endpoint.len(), 1);
        let state = endpoint.stream(id).map(Stream::state);
        prop_assert_eq!(state, Some(State::Connecting));
    }
}

#[test]
fn a_window_that_is_shut_for_ever_slows_and_does_not_stop() {
    let manners = Manners { window: 0, ..Manners::default() };
    let state = converse(Link::clean(), manners, 1, &bytes(2_000, 1), &bytes(500, 2));
    assert_eq!(state, State::Closed);
}

#[test]
fn a_mask_that_names_everything_but_the_next_packet_delivers_nothing() {
    let mut victim = Victim::new(1);
    victim.stream.write(&bytes(100, 1));
    victim.drain();
    victim.hears(&Packet { mask: &[0xff; 255], ..victim.packet(STATE) });
    assert_eq!(victim.stream.unacknowledged(), 100);
    victim.wait_out();
    assert_eq!(victim.stream.state(), State::Failed(Fault::DeliveryTimeout));
}

#[test]
fn a_reset_that_only_guesses_hits_nothing() {
    let mut victim = Victim::new(1);
    let id = victim.stream.receive_id();
    for guess in 0..=u16::MAX {
        // Either the id or what is acknowledged is wrong.
        let ack = victim.syn;
        let wrong_id = Packet { id: guess, ack, ..victim.packet(RESET) };
        if guess != id && guess != id.wrapping_add(1) {
            assert_eq!(victim.hears(&wrong_id), Reception::Ignored);
        }
        let wrong_ack = Packet { ack: guess, ..victim.packet(RESET) };
        if !(-3..=1).contains(&(guess.wrapping_sub(ack) as i16)) {
            assert_eq!(victim.hears(&wrong_ack), Reception::Ignored);
        }
    }
    assert_eq!(victim.stream.state(), State::Connected);
}

#[test]
fn a_peer_that_dies_in_the_middle_costs_no_more_than_the_time_outs() {
    let link = Link { breaks_ms: Some(300), ..Link::clean() };
    let mut talk = Conversation::new(link, Manners::default(), 1, &bytes(300_000, 1), b"");
    talk.run();
    assert_eq!(talk.stream.state(), State::Failed(Fault::DeliveryTimeout));
    // 0.5 + 1 + 2 + 4 + 8 s after the last acknowledgement.
    assert!((15_500..16_500).contains(&talk.now.as_millis()), "{:?}", talk.now);
}
