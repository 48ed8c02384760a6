use super::*;
use crate::base::rng::Seed;
use crate::base::time::Duration;
use crate::utp::fault::Fault;
use crate::utp::packet::Header;
use crate::utp::seq::Seq;
use crate::utp::stream::State;

const RATE: u32 = 1_000;

fn peer(host: u8) -> SocketAddr {
    SocketAddr::from(([20, 0, 0, host], 6881))
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// An endpoint and what it said, by peer.
struct Bench {
    now: Instant,
    endpoint: Endpoint<u8>,
}

impl Bench {
    fn new(streams: usize, rate: u32) -> Self {
        let rng = Rng::new(Seed::from_u64(1));
        let now = Instant::from_micros(1_000_000);
        Self { now, endpoint: Endpoint::new(streams, rate, rng) }
    }

    fn connect(&mut self, host: u8) -> StreamId {
        let deadline = self.now + ms(8_000);
        let id = self.endpoint.connect(self.now, peer(host), deadline, host);
        self.endpoint.check();
        id.expect("room")
    }

    /// A stream whose SYN was answered, and its receive id.
    fn connected(&mut self, host: u8) -> (StreamId, u16) {
        let id = self.connect(host);
        let syn = self.said().into_iter().find(|(to, _)| *to == peer(host)).expect("a SYN").1;
        let answer = Header { kind: Kind::State, seq: Seq(9), ack: syn.seq, ..syn };
        assert_eq!(self.says(peer(host), answer, b""), Reception::Taken);
        assert_eq!(self.endpoint.poll_changed(), Some(id));
        (id, syn.connection_id)
    }

    fn says(&mut self, from: SocketAddr, header: Header, payload: &[u8]) -> Reception {
        let mut datagram = Vec::new();
        Packet { payload, ..Packet::bare(header) }.emit(&mut datagram);
        let reception = self.endpoint.handle_datagram(self.now, from, &datagram);
        self.endpoint.check();
        reception
    }

    fn said(&mut self) -> Vec<(SocketAddr, Header)> {
        let (mut said, mut out) = (Vec::new(), Vec::new());
        while let Some(transmit) = self.endpoint.poll_transmit(self.now, &mut out) {
            assert_eq!(transmit.len, out.len());
            said.push((transmit.to, Packet::parse(&out).expect("a packet").header));
            out.clear();
        }
        self.endpoint.check();
        said
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.endpoint.handle_timeout(self.now);
        self.endpoint.check();
    }
}

/// A packet of the peer in the stream `id`, which expects it.
fn data(id: u16, ack: Seq) -> Header {
    Header {
        kind: Kind::Data,
        connection_id: id,
        timestamp: 1,
        timestamp_difference: 1,
        window: 10_000,
        seq: Seq(9),
        ack,
    }
}

#[test]
fn streams_are_told_apart_by_endpoint_and_id() {
    let mut bench = Bench::new(10, RATE);
    let (first, first_id) = bench.connected(1);
    let (second, second_id) = bench.connected(1);
    let (other, other_id) = bench.connected(2);
    let syn = |bench: &Bench, id| bench.endpoint.stream(id).map(Stream::receive_id);
    assert_eq!(syn(&bench, first), Some(first_id));
    assert!(first_id.abs_diff(second_id) > 1, "a RESET may carry either of two ids");
    bench.endpoint.write(other, b"x");
    let ack = bench.said()[0].1.seq.minus(1);
    for (from, id) in [(1, other_id), (2, first_id), (2, second_id), (3, other_id)] {
        assert_eq!(bench.says(peer(from), data(id, ack), b"lost"), Reception::Ignored);
    }
    assert_eq!(bench.says(peer(2), data(other_id, ack), b"found"), Reception::Taken);
    let mut buf = [0; 10];
    assert_eq!(bench.endpoint.read(first, &mut buf), 0);
    assert_eq!(bench.endpoint.read(second, &mut buf), 0);
    assert_eq!((bench.endpoint.read(other, &mut buf), &buf[..5]), (5, &b"found"[..]));
    assert_eq!(bench.endpoint.value(other), Some(&2));
}

#[test]
fn h32_strangers_are_not_answered_and_leave_nothing_behind() {
    let mut bench = Bench::new(10, RATE);
    let (_, id) = bench.connected(1);
    bench.said();
    let before = bench.endpoint.counters();
    for kind in [Kind::Data, Kind::Fin, Kind::State, Kind::Reset, Kind::Syn] {
        for (host, id) in [(9, id), (1, id.wrapping_add(7)), (9, 1)] {
            let header = Header { kind, ..data(id, Seq(1)) };
            assert_eq!(bench.says(peer(host), header, b"hello"), Reception::Ignored);
        }
    }
    // Not even one of the peer itself, with the id that it would have.
    let syn = Header { kind: Kind::Syn, ..data(id, Seq(0)) };
    assert_eq!(bench.says(peer(1), syn, b""), Reception::Ignored);
    let malformed = bench.endpoint.handle_datagram(bench.now, peer(1), b"d1:ad2:id");
    assert!(matches!(malformed, Reception::Malformed(_)));
    assert_eq!((bench.said(), bench.endpoint.len()), (vec![], 1));
    let after = bench.endpoint.counters();
    assert_eq!((after.strange - before.strange, after.inbound_syns, after.malformed), (12, 4, 1));
}

#[test]
fn a_reset_ends_a_stream_under_either_id() {
    for add in [0, 1] {
        let mut bench = Bench::new(10, RATE);
        let (id, receive_id) = bench.connected(1);
        bench.endpoint.write(id, b"x");
        let ack = bench.said()[0].1.seq;
        let reset = data(receive_id.wrapping_add(add), ack);
        let reset = Header { kind: Kind::Reset, seq: Seq(0), ..reset };
        assert_eq!(bench.says(peer(2), reset, b""), Reception::Ignored, "a stranger's");
        assert_eq!(bench.says(peer(1), reset, b""), Reception::Taken);
        assert_eq!(bench.endpoint.poll_changed(), Some(id));
        let state = bench.endpoint.stream(id).map(Stream::state);
        assert_eq!(state, Some(State::Failed(Fault::Reset)));
        assert_eq!(bench.endpoint.close(id), Some(1));
        assert!(bench.endpoint.is_empty());
        assert_eq!((bench.endpoint.close(id), bench.endpoint.stream(id).is_none()), (None, true));
    }
}

#[test]
fn a_second_syn_is_found_under_its_own_id_and_the_first_no_more() {
    let mut bench = Bench::new(10, RATE);
    let id = bench.connect(1);
    let first = bench.said()[0].1;
    bench.wait(ms(3_000));
    let second = bench.said()[0].1;
    assert_ne!(first.connection_id, second.connection_id);
    for (syn, expected) in [(first, Reception::Ignored), (second, Reception::Taken)] {
        let answer = Header { kind: Kind::State, seq: Seq(1), ack: syn.seq, ..syn };
        assert_eq!(bench.says(peer(1), answer, b""), expected);
    }
    assert_eq!(bench.endpoint.poll_changed(), Some(id));
    assert_eq!(bench.endpoint.poll_changed(), None);
}

#[test]
fn the_table_is_bounded_and_a_place_is_free_once_the_end_was_sent() {
    let mut bench = Bench::new(2, RATE);
    let (first, _) = bench.connected(1);
    let second = bench.connect(2);
    let deadline = bench.now + ms(8_000);
    assert_eq!(bench.endpoint.connect(bench.now, peer(3), deadline, 3), Err(3));
    bench.said();
    assert_eq!(bench.endpoint.abort(first), Some(1));
    assert_eq!(bench.endpoint.len(), 2, "a RESET is still to be sent");
    assert_eq!(bench.said().last().map(|(_, header)| header.kind), Some(Kind::Reset));
    assert_eq!(bench.endpoint.close(second), Some(2));
    assert!(bench.endpoint.is_empty(), "no one knows of the other");
    assert_eq!((bench.said(), bench.endpoint.poll_timeout()), (vec![], None));
    let largest = Endpoint::<()>::new(usize::MAX, 1, Rng::new(Seed::from_u64(1)));
    assert_eq!(largest.streams.limit(), 16_384);
}

#[test]
fn streams_that_want_to_send_take_turns() {
    let mut bench = Bench::new(10, 100_000);
    let ids: Vec<StreamId> = (1..=3).map(|host| bench.connected(host).0).collect();
    for id in ids {
        bench.endpoint.expect(id, 1 << 20);
    }
    bench.said();
    for id in [0, 1, 2].map(|slot| bench.endpoint.streams.iter().nth(slot).expect("three").0) {
        bench.endpoint.write(StreamId(id), &[1; 10_000]);
    }
    let to: Vec<SocketAddr> = bench.said().into_iter().map(|(to, _)| to).collect();
    assert_eq!(to, [1, 2, 3, 1, 2, 3].map(peer), "two packets each fit the first window");
}

#[test]
fn all_packets_together_keep_the_rate_and_what_waits_is_due() {
    let mut bench = Bench::new(1_000, 40);
    let start = bench.now;
    for host in 0..80 {
        bench.connect(host);
    }
    let mut sent = Vec::new();
    while sent.len() < 80 {
        sent.extend(bench.said().iter().map(|_| bench.now));
        let due = bench.endpoint.poll_timeout().expect("more is to be sent");
        assert!(due > bench.now);
        bench.wait(due.since(bench.now));
    }
    for from in &sent {
        let second = sent.iter().filter(|at| *at >= from && **at < *from + ms(1_000));
        assert!(second.count() <= 40);
    }
    assert!(bench.now.since(start) < ms(2_200), "{:?}", bench.now.since(start));
}

#[test]
fn a_deadline_is_kept_and_told() {
    let mut bench = Bench::new(10, RATE);
    let id = bench.connect(1);
    bench.said();
    bench.wait(ms(7_999));
    bench.said();
    assert_eq!(bench.endpoint.poll_changed(), None);
    bench.wait(ms(1));
    assert_eq!(bench.endpoint.poll_changed(), Some(id));
    let state = bench.endpoint.stream(id).map(Stream::state);
    assert_eq!(state, Some(State::Failed(Fault::ConnectTimeout)));
    assert_eq!((bench.endpoint.abort(id), bench.endpoint.len()), (Some(1), 0));
}
