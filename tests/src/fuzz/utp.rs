//! uTP: whatever peers and strangers send, what is read is what was sent, nobody else is answered,
//! buffers keep their bounds, and all ends.

use std::net::SocketAddr;

use estudely_core::keyed::Rng;
use estudely_core::limits::{UTP_RECEIVED_MAX, UTP_SENT_MAX};
use estudely_core::utp::packet::{Header, Kind, Packet, SelectiveAck};
use estudely_core::utp::seq::Seq;
use estudely_core::utp::{Endpoint, State, Stream, StreamId};
use estudely_core::{Duration, Instant, Seed};

use super::input::Input;

/// Peers, each with one stream at a time.
const PEERS: usize = 3;

/// Most steps of one input.
const STEPS_MAX: usize = 4_000;

/// Packets that one step lets out at most: all that a full buffer holds, and acknowledgements.
const SAID_MAX: usize = 200;

/// Everything is over so long after the last packet of a peer.
const ENDS_WITHIN: Duration = Duration::from_secs(1_000);

/// An input is a datagram, and a story: its steps move time, make streams write, read and end, and
/// make peers send packets that are near what is right, or their bytes as they stand.
pub(super) fn utp(data: &[u8]) {
    packet(data);
    let mut story = Story::new();
    let mut input = Input(data);
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        story.step(&mut input);
        story.drain();
    }
    story.end();
}

/// What is read is written and read as the same.
fn packet(data: &[u8]) {
    if let Ok(packet) = Packet::parse(data) {
        let mut written = Vec::new();
        packet.emit(&mut written);
        assert_eq!(written.len(), packet.len());
        assert!(written.len() <= data.len());
        assert_eq!(Packet::parse(&written), Ok(packet));
    }
}

/// What a peer knows of its stream, and what was read of it.
#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    id: Option<StreamId>,
    /// What its packets carry, from the SYN.
    receive_id: u16,
    /// The last number that it was sent.
    last: Seq,
    /// The number of its own first packet.
    first: Seq,
    /// The packet that is read next, counted from the first, and where in it.
    packet: u16,
    at: usize,
    /// It sent bytes of its own choice: what is read is not known.
    is_wild: bool,
}

struct Story {
    now: Instant,
    endpoint: Endpoint<usize>,
    peers: [Peer; PEERS],
}

fn address(peer: usize) -> SocketAddr {
    SocketAddr::from(([20, 0, 0, peer as u8 + 1], 6881))
}

/// The bytes of a peer's packet `number`: always the same.
fn payload(number: u16) -> Vec<u8> {
    let len = usize::from(number).wrapping_mul(37) % 700 + 1;
    (0..len).map(|at| (usize::from(number) * 7 + at) as u8).collect()
}

impl Story {
    fn new() -> Self {
        let rng = Rng::new(Seed::from_u64(1));
        let endpoint = Endpoint::new(PEERS + 1, 1_000, rng);
        Self { now: Instant::from_micros(1), endpoint, peers: [Peer::default(); PEERS] }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let choice = input.u8();
        let which = usize::from(choice >> 4) % PEERS;
        let id = self.peers[which].id;
        match (choice & 15, id) {
            (0, None) => self.connect(which, input),
            (0 | 1, _) => self.pass(u64::from(input.u16())),
            (2, _) => self.pass(u64::from(input.u16()) * 1_000),
            (3, Some(id)) => {
                let len = usize::from(input.u16());
                self.endpoint.write(id, &vec![7; len]);
            }
            (4, Some(id)) => self.endpoint.expect(id, usize::from(input.u16()) * 64),
            (5, Some(id)) => self.read(which, id, usize::from(input.u16())),
            (6, Some(id)) if input.u8() < 16 => {
                assert_eq!(self.endpoint.close(id), Some(which));
                self.peers[which] = Peer::default();
            }
            (7, Some(id)) if input.u8() < 16 => {
                assert_eq!(self.endpoint.abort(id), Some(which));
                self.peers[which] = Peer::default();
            }
            (8, _) => {
                let len = usize::from(input.u8());
                self.peers[which].is_wild = true;
                self.endpoint.handle_datagram(self.now, address(which), input.slice(len));
            }
            _ => self.speak(which, input),
        }
    }

    fn connect(&mut self, which: usize, input: &mut Input<'_>) {
        let deadline = self.now + Duration::from_millis(u64::from(input.u16()));
        let first = Seq(input.u16());
        let id = self.endpoint.connect(self.now, address(which), deadline, which).ok();
        self.peers[which] = Peer { id, first, ..Peer::default() };
    }

    fn pass(&mut self, micros: u64) {
        self.now = self.now + Duration::from_micros(micros);
        self.endpoint.handle_timeout(self.now);
    }

    /// A packet near what is right: the next numbers, an id and fields that the input may change.
    fn speak(&mut self, which: usize, input: &mut Input<'_>) {
        let peer = self.peers[which];
        let [kind, ahead, acks, twist] = input.bytes();
        let kind = match kind % 16 {
            0 => Kind::Fin,
            1 => Kind::Reset,
            2 => Kind::Syn,
            3..=6 => Kind::State,
            _ => Kind::Data,
        };
        let ahead = u16::from(ahead).wrapping_sub(if twist & 1 == 1 { 200 } else { 0 });
        let number = peer.packet.wrapping_add(ahead);
        let bytes = payload(number);
        let mask = if twist & 2 == 2 { input.slice(usize::from(acks)) } else { &[] };
        let header = Header {
            kind,
            connection_id: peer.receive_id.wrapping_add(u16::from(twist >> 2 & 1)),
            timestamp: 1,
            timestamp_difference: if twist & 8 == 8 { u32::MAX } else { 5 },
            window: if twist & 16 == 16 { u32::from(input.u16()) } else { 1 << 20 },
            seq: peer.first.plus(number),
            ack: peer.last.plus(u16::from(acks % 8)).minus(if acks % 8 > 4 { 12 } else { 0 }),
        };
        let fits = bytes.len() + mask.len() + 22 <= UTP_RECEIVED_MAX;
        let has_bytes = matches!(kind, Kind::Data | Kind::Fin) && fits;
        let selective_ack = SelectiveAck::new(mask);
        let payload = if has_bytes { &bytes[..] } else { &[] };
        // A number that carries nothing once makes the rest unknown.
        self.peers[which].is_wild |= kind == Kind::Data && !has_bytes;
        let mut datagram = Vec::new();
        Packet { header, selective_ack, payload }.emit(&mut datagram);
        let from = if twist & 32 == 32 { address(PEERS) } else { address(which) };
        let was_open = self.is_connected(which);
        self.endpoint.handle_datagram(self.now, from, &datagram);
        if self.is_connected(which) && !was_open {
            // The stream begins where the answer to the SYN says.
            self.peers[which].packet = number;
        }
    }

    fn is_connected(&self, which: usize) -> bool {
        let stream = self.peers[which].id.and_then(|id| self.endpoint.stream(id));
        stream.is_some_and(|stream| stream.state() == State::Connected)
    }

    /// Reads, and compares with what the peer sends.
    fn read(&mut self, which: usize, id: StreamId, len: usize) {
        let mut buf = vec![0; len];
        let count = self.endpoint.read(id, &mut buf);
        let peer = &mut self.peers[which];
        for byte in &buf[..count] {
            let mut bytes = payload(peer.packet);
            if peer.at == bytes.len() {
                (peer.packet, peer.at) = (peer.packet.wrapping_add(1), 0);
                bytes = payload(peer.packet);
            }
            assert!(peer.is_wild || bytes[peer.at] == *byte, "not what was sent");
            peer.at += 1;
        }
    }

    /// All that is said goes to a peer with a stream; the peer learns from it.
    fn drain(&mut self) {
        self.endpoint.check();
        self.endpoint.handle_timeout(self.now);
        while let Some(id) = self.endpoint.poll_changed() {
            assert!(self.endpoint.stream(id).is_some());
        }
        let mut out = Vec::new();
        for count in 0.. {
            assert!(count <= SAID_MAX, "too many packets for one step");
            out.clear();
            let Some(transmit) = self.endpoint.poll_transmit(self.now, &mut out) else { break };
            assert!(transmit.len == out.len() && transmit.len <= UTP_SENT_MAX);
            let which = (0..PEERS).find(|which| address(*which) == transmit.to);
            let peer = &mut self.peers[which.expect("a stranger is answered")];
            let header = Packet::parse(&out).expect("what we say is a packet").header;
            match header.kind {
                Kind::Syn => (peer.receive_id, peer.last) = (header.connection_id, header.seq),
                Kind::Data | Kind::Fin => peer.last = header.seq,
                Kind::State | Kind::Reset => {}
            }
        }
        self.endpoint.check();
        let due = self.endpoint.poll_timeout();
        assert!(due.is_none_or(|due| due > self.now), "due again at once");
    }

    /// The peers are silent from now on.
    fn end(&mut self) {
        let latest = self.now + ENDS_WITHIN;
        while let Some(due) = self.endpoint.poll_timeout() {
            assert!(due < latest, "no end");
            self.now = due;
            self.endpoint.handle_timeout(due);
            self.drain();
        }
        for id in self.peers.iter().filter_map(|peer| peer.id) {
            let stream = self.endpoint.stream(id).expect("it was not closed");
            let is_owed = |stream: &Stream| stream.unacknowledged() > 0;
            assert!(stream.state().is_over() || !is_owed(stream), "{:?}", stream.state());
            self.endpoint.abort(id);
        }
        self.drain();
        assert!(self.endpoint.is_empty(), "nothing is left");
    }
}
