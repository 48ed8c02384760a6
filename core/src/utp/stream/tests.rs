use super::*;
use crate::base::rng::Seed;
use crate::base::time::Duration;

mod plausible;
mod receiving;
mod sending;

/// The peer of a stream, played by hand.
struct Peer {
    now: Instant,
    stream: Stream,
    /// The number of our SYN.
    syn: Seq,
    /// The number of the peer's next packet.
    seq: Seq,
    /// What the peer acknowledges.
    ack: Seq,
    /// The window that it names.
    window: u32,
}

/// What we sent, as a packet of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    header: Header,
    mask: Vec<bool>,
    payload: Vec<u8>,
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

impl Peer {
    /// A stream that has until `deadline`, and nothing sent.
    fn new(deadline: Duration) -> Self {
        let now = Instant::from_micros(5_000_000);
        let stream = Stream::new(now, now + deadline, &mut Rng::new(Seed::from_u64(1)));
        let syn = stream.syn.seq();
        Self { now, stream, syn, seq: Seq(60_000), ack: syn, window: 1 << 20 }
    }

    /// A stream that is connected, 40 ms after its SYN.
    fn connected() -> Self {
        let mut peer = Self::new(ms(8_000));
        assert_eq!(peer.said().len(), 1);
        peer.wait(ms(40));
        assert_eq!(peer.state(), Reception::Taken);
        assert_eq!(peer.stream.state(), State::Connected);
        peer
    }

    fn header(&self, kind: Kind) -> Header {
        Header {
            kind,
            connection_id: self.stream.receive_id(),
            timestamp: 77,
            timestamp_difference: 1_000,
            window: self.window,
            seq: self.seq,
            ack: self.ack,
        }
    }

    fn says(&mut self, header: Header, mask: &[u8], payload: &[u8]) -> Reception {
        let selective_ack = SelectiveAck::new(mask);
        let mut datagram = Vec::new();
        Packet { header, selective_ack, payload }.emit(&mut datagram);
        let reception = self.stream.handle_datagram(self.now, &datagram);
        self.stream.check();
        reception
    }

    /// The peer acknowledges.
    fn state(&mut self) -> Reception {
        self.says(self.header(Kind::State), &[], &[])
    }

    /// The packet `ahead` after the next one of the peer.
    fn data(&mut self, ahead: u16, payload: &[u8]) -> Reception {
        let header = Header { seq: self.seq.plus(ahead), ..self.header(Kind::Data) };
        self.says(header, &[], payload)
    }

    /// All that we send now.
    fn said(&mut self) -> Vec<Said> {
        let mut said = Vec::new();
        let mut out = Vec::new();
        while let Some(len) = self.stream.poll_transmit(self.now, &mut out) {
            assert_eq!(len, out.len());
            let packet = Packet::parse(&out).expect("ours is a packet");
            let bits = packet.selective_ack.map_or(0, |mask| mask.bits());
            let mask = (0..bits).map(|bit| packet.selective_ack.is_some_and(|m| m.has(bit)));
            said.push(Said {
                header: packet.header,
                mask: mask.collect(),
                payload: packet.payload.to_vec(),
            });
            out.clear();
        }
        self.stream.check();
        said
    }

    /// The one packet that we send now.
    fn said_one(&mut self) -> Said {
        let said = self.said();
        assert_eq!(said.len(), 1, "{said:?}");
        said.into_iter().next().expect("one")
    }

    /// Time passes.
    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.stream.handle_timeout(self.now);
        self.stream.check();
        assert!(self.stream.poll_timeout().is_none_or(|due| due > self.now));
    }

    fn read(&mut self) -> Vec<u8> {
        let mut buf = [0; 64];
        let mut all = Vec::new();
        while let count @ 1.. = self.stream.read(&mut buf) {
            all.extend(&buf[..count]);
        }
        all
    }
}

#[test]
fn a_syn_carries_the_receive_id_and_what_follows_one_more() {
    let mut peer = Peer::new(ms(8_000));
    let id = peer.stream.receive_id();
    let syn = peer.said_one().header;
    assert_eq!((syn.kind, syn.connection_id, syn.seq), (Kind::Syn, id, peer.syn));
    assert_eq!((syn.ack, syn.timestamp, syn.timestamp_difference), (Seq(0), 5_000_000, 0));
    peer.wait(ms(40));
    assert_eq!(peer.stream.write(b"hello"), 5);
    assert_eq!(peer.said(), [], "nothing before it is connected");
    peer.state();
    let hello = peer.said_one();
    assert_eq!(hello.payload, b"hello");
    let header = hello.header;
    assert_eq!((header.kind, header.connection_id), (Kind::Data, id.wrapping_add(1)));
    assert_eq!((header.seq, header.ack), (peer.syn.plus(1), Seq(59_999)));
    assert_eq!(header.timestamp_difference, 5_040_000 - 77);
}

#[test]
fn the_number_of_the_answer_is_that_of_the_first_data_whatever_it_is() {
    for first in [0, 1, 2, 60_000, u16::MAX] {
        let mut peer = Peer::new(ms(8_000));
        peer.said();
        peer.seq = Seq(first);
        peer.state();
        assert_eq!(peer.data(0, b"one"), Reception::Taken);
        assert_eq!(peer.data(1, b"two"), Reception::Taken);
        assert_eq!(peer.read(), b"onetwo", "{first}");
        assert_eq!(peer.said_one().header.ack, Seq(first).plus(1));
    }
}

#[test]
fn only_a_state_that_acknowledges_the_syn_connects() {
    let mut peer = Peer::new(ms(8_000));
    assert_eq!(peer.state(), Reception::Ignored, "no SYN was sent");
    peer.said();
    for kind in [Kind::Data, Kind::Fin, Kind::Syn] {
        assert_eq!(peer.says(peer.header(kind), &[], b"x"), Reception::Ignored, "{kind:?}");
    }
    for ack in [peer.syn.plus(1), peer.syn.minus(1), Seq(peer.syn.0 ^ 0x8000)] {
        peer.ack = ack;
        assert_eq!(peer.state(), Reception::Ignored);
    }
    peer.ack = peer.syn;
    let id = peer.stream.receive_id();
    for other in [id.wrapping_add(1), id.wrapping_sub(1)] {
        let header = Header { connection_id: other, ..peer.header(Kind::State) };
        assert_eq!(peer.says(header, &[], &[]), Reception::Ignored);
    }
    assert_eq!(peer.stream.state(), State::Connecting);
    assert_eq!(peer.state(), Reception::Taken);
    assert_eq!(peer.stream.state(), State::Connected);
}

#[test]
fn a_syn_without_an_answer_is_followed_by_one_of_another_connection() {
    let mut peer = Peer::new(ms(30_000));
    let mut sent = Vec::new();
    for wait in [999, 1_999, 26_998] {
        let id = peer.stream.receive_id();
        let syn = peer.said_one().header;
        assert_eq!((syn.kind, syn.connection_id), (Kind::Syn, id));
        sent.push((syn.connection_id, syn.seq));
        peer.wait(ms(wait));
        assert_eq!((peer.said(), peer.stream.receive_id()), (vec![], id));
        peer.wait(ms(1));
    }
    assert!(sent[0] != sent[1] && sent[1] != sent[2] && sent[0] != sent[2]);
    // The first two are other connections now.
    for (id, seq) in &sent[..2] {
        let header = Header { connection_id: *id, ack: *seq, ..peer.header(Kind::State) };
        assert_eq!(peer.says(header, &[], &[]), Reception::Ignored);
    }
    assert_eq!(peer.stream.state(), State::Connecting);
    assert_eq!(peer.stream.poll_timeout(), Some(Instant::from_micros(35_000_000)));
    peer.wait(ms(1));
    assert_eq!(peer.stream.state(), State::Failed(Fault::ConnectTimeout));
    assert_eq!((peer.said(), peer.stream.poll_timeout()), (vec![], None));
}

#[test]
fn the_second_syn_may_be_the_one_that_connects() {
    let mut peer = Peer::new(ms(8_000));
    peer.said();
    peer.wait(ms(1_000));
    let syn = peer.said_one().header;
    peer.wait(ms(40));
    peer.ack = syn.seq;
    assert_eq!(peer.state(), Reception::Taken);
    assert_eq!(peer.stream.state(), State::Connected);
}
