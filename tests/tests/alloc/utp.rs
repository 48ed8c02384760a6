//! uTP: nothing per packet once a stream is warm, and a small stream before a size is accepted.

use std::net::SocketAddr;

use estudely_core::keyed::Rng;
use estudely_core::utp::{Endpoint, State, Stream, StreamId};
use estudely_core::{Duration, Instant, Seed};
use estudely_sim::actors::utp::{Acceptor, Manners};

use crate::counting::cost;

/// Streams at once.
const STREAMS: u8 = 20;

/// Packets, sent and received, that may cost nothing.
const PACKETS: u64 = 100_000;

/// What every stream is sent for as long as it is warm, in bytes.
const CHUNK: usize = 200_000;

/// An endpoint and its peers; what the endpoint's own calls took.
struct Bench {
    now: Instant,
    endpoint: Endpoint<u8>,
    peers: Vec<(StreamId, Option<Acceptor>)>,
    /// Datagrams that arrive one turn later; some are late and so overtaken, some never.
    late: Vec<(u8, Vec<u8>)>,
    fault: Fault,
    packets: u64,
    allocations: u64,
    received: u64,
}

/// What happens to packets of the peers.
#[derive(Clone, Debug)]
enum Fault {
    None,
    /// One packet of each stream does not arrive: everything behind it is early.
    Gap(Vec<Option<u16>>),
    /// One in fifty is lost, one in ten is overtaken.
    Some,
}

const fn peer(host: u8) -> ([u8; 4], u16) {
    ([20, 0, 0, host], 6881)
}

impl Bench {
    fn new() -> Self {
        let now = Instant::from_micros(1_000_000);
        let rng = Rng::new(Seed::from_u64(1));
        let mut endpoint = Endpoint::new(usize::from(STREAMS), 1_000_000, rng);
        let peers = (0..STREAMS).map(|host| {
            let deadline = now + Duration::from_secs(8);
            let id = endpoint.connect(now, peer(host).into(), deadline, host).expect("room");
            (id, None)
        });
        let peers = peers.collect();
        let (late, packets, allocations, received) = (Vec::new(), 0, 0, 0);
        let fault = Fault::None;
        Self { now, endpoint, peers, late, fault, packets, allocations, received }
    }

    /// Runs one call of the endpoint and counts what it takes.
    fn count<R>(&mut self, call: impl FnOnce(&mut Endpoint<u8>) -> R) -> R {
        let endpoint = &mut self.endpoint;
        let (result, spent) = cost(|| call(endpoint));
        self.allocations += spent.allocations;
        result
    }

    /// Five milliseconds: all that is said is heard.
    fn turn(&mut self) {
        self.now = self.now + Duration::from_millis(5);
        let now = self.now;
        self.count(|endpoint| endpoint.handle_timeout(now));
        let mut out = Vec::with_capacity(2_048);
        while let Some(transmit) = self.count(|endpoint| endpoint.poll_transmit(now, &mut out)) {
            self.packets += 1;
            self.tell(transmit.to, &out);
            out.clear();
        }
        for (host, datagram) in std::mem::take(&mut self.late) {
            self.hear(host, &datagram);
        }
        for host in 0..STREAMS {
            let (_, peer) = &mut self.peers[usize::from(host)];
            let Some(peer) = peer else { continue };
            peer.handle_timeout(now);
            peer.take_received();
            let mut said = Vec::new();
            while let Some(datagram) = peer.poll_transmit(now) {
                said.push(datagram);
            }
            for datagram in said {
                self.deliver(host, datagram);
            }
        }
        while let Some(id) = self.count(Endpoint::poll_changed) {
            self.serve(id);
        }
    }

    fn tell(&mut self, to: SocketAddr, datagram: &[u8]) {
        let host = (0..STREAMS).find(|host| to == peer(*host).into()).expect("a peer");
        let (_, acceptor) = &mut self.peers[usize::from(host)];
        match acceptor {
            Some(acceptor) => acceptor.handle_datagram(self.now, datagram),
            None => *acceptor = Acceptor::accept(self.now, datagram, Manners::default()),
        }
    }

    fn deliver(&mut self, host: u8, datagram: Vec<u8>) {
        self.packets += 1;
        let number = self.packets;
        let seq = u16::from_be_bytes([datagram[16], datagram[17]]);
        if let Fault::Gap(gaps) = &mut self.fault
            && *gaps[usize::from(host)].get_or_insert(seq) == seq
        {
            return;
        }
        match self.fault {
            Fault::Some if number % 50 == 7 => {}
            Fault::Some if number % 10 == 3 => self.late.push((host, datagram)),
            Fault::None | Fault::Gap(_) | Fault::Some => self.hear(host, &datagram),
        }
    }

    fn hear(&mut self, host: u8, datagram: &[u8]) {
        let now = self.now;
        let from = peer(host).into();
        self.count(|endpoint| endpoint.handle_datagram(now, from, datagram));
    }

    /// Reads all that is there, and says something.
    fn serve(&mut self, id: StreamId) {
        let mut buf = [0; 4_096];
        while let count @ 1.. = self.count(|endpoint| endpoint.read(id, &mut buf)) {
            self.received += count as u64;
        }
        self.count(|endpoint| endpoint.write(id, &buf[..300]));
    }

    fn feed(&mut self) {
        for (id, peer) in &mut self.peers {
            self.endpoint.expect(*id, 1 << 20);
            if let Some(peer) = peer {
                peer.write(&[7; CHUNK]);
            }
        }
    }
}

#[test]
fn warm_streams_take_and_send_100_000_packets_without_allocating() {
    let mut bench = Bench::new();
    for _ in 0..10 {
        bench.turn();
    }
    let state = |(id, _): &(StreamId, _)| bench.endpoint.stream(*id).map(Stream::state);
    assert!(bench.peers.iter().all(|peer| state(peer) == Some(State::Connected)));
    let turns = |bench: &mut Bench, fault, count| {
        bench.fault = fault;
        bench.feed();
        for _ in 0..count {
            bench.turn();
        }
    };
    // The peers' windows grow as far as they can; then all that they let out is early at once, and
    // all that may be written is.
    turns(&mut bench, Fault::None, 200);
    for (id, _) in bench.peers.clone() {
        bench.endpoint.write(id, &[1; 100_000]);
    }
    turns(&mut bench, Fault::Gap(vec![None; usize::from(STREAMS)]), 100);
    turns(&mut bench, Fault::Some, 400);
    let (packets, received) = (bench.packets, bench.received);
    assert!(bench.allocations > 0, "what made it warm is counted");
    bench.allocations = 0;
    let mut turns = 1;
    while bench.packets < packets + PACKETS {
        if turns % 200 == 0 {
            bench.feed();
        }
        bench.turn();
        turns += 1;
        assert!(turns < 20_000, "{} packets", bench.packets - packets);
    }
    bench.endpoint.check();
    assert!(bench.received - received > 20_000_000, "{}", bench.received - received);
    assert_eq!(bench.allocations, 0, "allocations in {PACKETS} packets");
}

#[test]
fn a_stream_holds_less_than_4_kib_until_a_size_is_accepted() {
    let now = Instant::from_micros(1);
    let mut rng = Rng::new(Seed::from_u64(1));
    let mut stream = Stream::new(now, now + Duration::from_secs(8), &mut rng);
    let mut out = Vec::with_capacity(2_048);
    stream.poll_transmit(now, &mut out).expect("a SYN");
    let mut peer = Acceptor::accept(now, &out, Manners::default()).expect("it is one");
    out.clear();
    stream.write(&[1; 10_000]);
    stream.handle_datagram(now, &peer.poll_transmit(now).expect("an answer"));
    while stream.poll_transmit(now, &mut out).is_some() {
        peer.handle_datagram(now, &out);
        out.clear();
    }
    peer.write(&[2; 100_000]);
    // What there is no room for is sent again and again; nothing is read. The first packet is the
    // last to arrive.
    for second in 0..4 {
        let now = now + Duration::from_secs(second);
        peer.handle_timeout(now);
        let mut said: Vec<Vec<u8>> = std::iter::from_fn(|| peer.poll_transmit(now)).collect();
        said.reverse();
        for datagram in said {
            stream.handle_datagram(now, &datagram);
            stream.write(&[1; 10_000]);
            stream.poll_transmit(now, &mut out);
            out.clear();
        }
    }
    // What it frees is what it held.
    let held = -cost(|| drop(stream)).1.kept + size_of::<Stream>() as i64;
    assert!((2 * 1_452..4_096).contains(&held), "{held}");
}
