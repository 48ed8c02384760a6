//! The core's endpoint with many streams, and hosts that accept them.

use std::net::SocketAddr;

use estudely_core::keyed::Rng;
use estudely_core::utp::{Endpoint, Fault, State, Stream, StreamId};
use estudely_core::{Duration, Instant, Seed};

use super::bytes;
use crate::actors::utp::Manners;
use crate::actors::utp::listener::Listener;

/// Hosts, and streams to each of them.
const HOSTS: u8 = 5;
const STREAMS: u8 = 8;

fn host(number: u8) -> SocketAddr {
    ([20, 0, 0, number], 6881).into()
}

const US: ([u8; 4], u16) = ([20, 9, 9, 9], 1_234);

/// Moves packets at once, in steps of a millisecond.
fn turn(now: &mut Instant, endpoint: &mut Endpoint<u8>, hosts: &mut [Listener]) {
    *now = *now + Duration::from_millis(1);
    endpoint.handle_timeout(*now);
    let mut out = Vec::new();
    while let Some(transmit) = endpoint.poll_transmit(*now, &mut out) {
        let number = (0..HOSTS).find(|number| host(*number) == transmit.to).expect("a host");
        let listener = &mut hosts[usize::from(number)];
        if let Some(key) = listener.handle_datagram(*now, US.into(), &out) {
            let end = listener.end(key).expect("it was just there");
            let heard = end.take_received();
            // It says back what it hears.
            end.write(&heard);
            if end.is_finished() {
                end.close();
            }
        }
        out.clear();
    }
    for (number, listener) in (0..).zip(hosts) {
        listener.handle_timeout(*now);
        while let Some((to, datagram)) = listener.poll_transmit(*now) {
            assert_eq!(to, US.into());
            endpoint.handle_datagram(*now, host(number), &datagram);
        }
    }
    endpoint.check();
}

#[test]
fn many_streams_to_a_few_hosts_keep_their_bytes_apart() {
    let mut now = Instant::from_micros(1);
    let mut endpoint = Endpoint::new(100, 100_000, Rng::new(Seed::from_u64(3)));
    let mut hosts = vec![Listener::new(Manners::default(), true); usize::from(HOSTS)];
    let deadline = now + Duration::from_secs(8);
    let mut streams: Vec<(StreamId, Vec<u8>, Vec<u8>)> = (0..HOSTS * STREAMS)
        .map(|salt| {
            let id = endpoint.connect(now, host(salt % HOSTS), deadline, salt).expect("room");
            endpoint.expect(id, 10_000);
            (id, bytes(3_000 + usize::from(salt), salt), Vec::new())
        })
        .collect();
    for (id, said, _) in &streams {
        assert_eq!(endpoint.write(*id, said), said.len());
    }
    for _ in 0..2_000 {
        turn(&mut now, &mut endpoint, &mut hosts);
        for (id, _, heard) in &mut streams {
            let mut buf = [0; 4_096];
            let count = endpoint.read(*id, &mut buf);
            heard.extend(&buf[..count]);
        }
    }
    for (id, said, heard) in &streams {
        assert_eq!(heard, said, "an echo of what was said");
        assert!(endpoint.close(*id).is_some());
    }
    for _ in 0..2_000 {
        turn(&mut now, &mut endpoint, &mut hosts);
    }
    assert!(endpoint.is_empty(), "all is delivered, the ends as well");
    assert_eq!(endpoint.counters().implausible, 0);
}

#[test]
fn a_host_that_knows_nothing_of_a_stream_ends_it() {
    let mut now = Instant::from_micros(1);
    let mut endpoint = Endpoint::new(1, 1_000, Rng::new(Seed::from_u64(3)));
    let mut hosts = vec![Listener::new(Manners::default(), true); usize::from(HOSTS)];
    let id = endpoint.connect(now, host(0), now + Duration::from_secs(8), 0).expect("room");
    turn(&mut now, &mut endpoint, &mut hosts);
    assert_eq!(endpoint.stream(id).map(Stream::state), Some(State::Connected));
    // It starts anew, and has forgotten.
    hosts[0] = Listener::new(Manners::default(), true);
    endpoint.write(id, b"hello?");
    turn(&mut now, &mut endpoint, &mut hosts);
    let state = endpoint.stream(id).map(Stream::state);
    assert_eq!(state, Some(State::Failed(Fault::Reset)), "libutp returns the id that it got");
}
