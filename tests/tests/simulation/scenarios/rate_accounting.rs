//! libtorrent's `dht_rate_limit` (its simulation/test_dht_rate_limit.cpp): a hundred queries a
//! second against a line that carries half of them; what was dropped and what was served is what
//! was sent, to the packet, and the line is used to within 5 %. The same where one in seven is lost
//! at random. And in no second are more than a hundred sent.

use std::rc::Rc;

use estudely_core::Duration;
use estudely_sim::link::Direction;
use estudely_sim::scenario::Scenario;
use estudely_sim::universe::Universe;

use crate::bench::Bench;
use crate::tape::{Query, Tape, second};

const RATE: u32 = 100;
/// Bytes a second: half of what a hundred queries need.
const BANDWIDTH: u32 = 6_000;

fn busy(seed: u64, bandwidth: u32, loss: u32) -> Bench<Tape> {
    let many = Scenario { nodes: 2_000, torrents: 20, rate: RATE, ..Scenario::calm(seed) };
    let scenario = Scenario { broken_s: 600, bandwidth, loss, ..many };
    let universe = Rc::new(Universe::build(&scenario).expect("a plan that fits"));
    Bench::new(&scenario, universe, Tape::default())
}

/// Every datagram is accounted for, on both sides of the line.
fn check(bench: &Bench<Tape>) {
    let (tape, stats) = (bench.subject.observer(), bench.subject.stats());
    let [out, back] = [Direction::Out, Direction::In].map(|way| *bench.net.link().tally(way));
    let census = bench.net.census();
    assert_eq!(stats.datagrams_sent, tape.queries.len() as u64);
    assert_eq!(out.sent.datagrams, stats.datagrams_sent);
    assert_eq!(out.sent.bytes, stats.datagram_bytes_sent);
    assert_eq!(out.delivered.datagrams + out.all_lost().datagrams, out.sent.datagrams);
    let served = census.reached + census.unheard;
    let on_its_way = bench.net.in_flight() as u64;
    assert!(served <= out.delivered.datagrams);
    assert!(served + on_its_way >= out.delivered.datagrams);
    assert_eq!(back.sent.datagrams, back.delivered.datagrams + back.all_lost().datagrams);
    assert_eq!(stats.datagrams_received, tape.arrivals.len() as u64);
    assert!(stats.datagrams_received + on_its_way >= back.delivered.datagrams);
    let ended = stats.answered + stats.refused + stats.expired;
    assert_eq!(stats.queries(), ended + stats.queries_open);
    let apart = |pair: &[Query]| pair[RATE as usize].at.since(pair[0].at);
    let windows = tape.queries.windows(RATE as usize + 1);
    assert!(windows.map(apart).all(|time| time >= Duration::from_secs(1)));
}

#[test]
fn what_was_lost_and_what_was_served_is_what_was_sent() {
    let mut bench = busy(49, 0, 150);
    bench.run(second(20));
    check(&bench);
    let out = bench.net.link().tally(Direction::Out);
    assert_eq!(out.random, out.all_lost());
    assert!(out.random.datagrams > 200);
}

#[test]
fn a_narrow_line_is_used_to_within_5_percent_and_the_rest_is_dropped() {
    let mut bench = busy(49, BANDWIDTH, 0);
    bench.run(second(5));
    check(&bench);
    let before = *bench.net.link().tally(Direction::Out);
    bench.run(second(15));
    check(&bench);
    let after = *bench.net.link().tally(Direction::Out);
    assert_eq!(after.queue, after.all_lost());
    assert!(after.queue.datagrams > 300, "{} dropped", after.queue.datagrams);
    let used = after.delivered.bytes - before.delivered.bytes;
    let room = u64::from(BANDWIDTH) * 10;
    assert!(used.abs_diff(room) * 20 <= room, "{used} of {room} bytes");
}
