//! A warm crawler takes datagrams, and sends what follows from them, without the allocator.
//!
//! "Warm" means that every table, ring and map has once been as full as it is now. What grows with
//! new knowledge (the seen-filter, the ledger of addresses, the calendar of second chances) doubles
//! now and then; the batches below arrive where there is room for them.

use estudely_core::{Duration, Instant};

use crate::network::{Batch, Network};

/// Nodes of the network.
const NODES: usize = 4_000;
/// So few that the calendar, with a visit or two of each, stays below the size at which it doubles.
const NODES_OF_ONE_SIZE: usize = 3_700;

/// Datagrams that may cost nothing.
const DATAGRAMS: u64 = 100_000;

const fn minutes(n: u64) -> Instant {
    Instant::from_micros(n * 60_000_000)
}

/// Second chances are due after one hour and after four more: the first batch makes room for the
/// second in both queues, and the third comes while the second is walked for again.
const BATCHES: [Batch; 4] = [
    Batch { from: Instant::START, count: 3_000, has_peers: false },
    Batch { from: minutes(15), count: 1_000, has_peers: false },
    Batch { from: minutes(325), count: 500, has_peers: false },
    Batch { from: minutes(600), count: 200, has_peers: true },
];

/// When the first batch has failed for the third time, and the second is about to.
const WARM: Instant = minutes(312);

#[test]
fn a_warm_crawler_takes_100_000_datagrams_without_allocating() {
    let mut network = Network::new(NODES_OF_ONE_SIZE, BATCHES.to_vec());
    network.run(|network| network.now >= WARM);
    let before = (network.spent, network.given, network.noise, network.crawler.stats());
    network.run(|network| network.given >= before.1 + DATAGRAMS);
    let after = network.crawler.stats();
    network.crawler.check();

    let get_peers = after.queries_get_peers - before.3.queries_get_peers;
    let samples = after.queries_sample - before.3.queries_sample;
    let walks = after.walks - before.3.walks;
    let strange = after.malformed + after.unmatched - before.3.malformed - before.3.unmatched;
    let noise = network.noise - before.2;
    assert!(
        get_peers > 15_000 && samples > 20_000 && walks > 1_000,
        "{get_peers} {samples} {walks}"
    );
    assert_eq!(strange, noise, "what nobody asked for is counted as such");
    assert!(noise > 20_000, "{noise}");
    assert_eq!(after.infohashes_new - before.3.infohashes_new, 500);
    assert_eq!(network.spent - before.0, 0, "allocations in {DATAGRAMS} datagrams");
}

#[test]
fn an_infohash_with_a_peer_costs_two_small_lists_and_its_records_nothing() {
    let mut network = Network::new(NODES, BATCHES.to_vec());
    network.crawler.keep_journal();
    network.journal = Some(Vec::new());
    network.run(|network| network.now >= minutes(590));
    let before = (network.spent, network.dials);
    network.run(|network| network.now >= minutes(610));
    let dials = network.dials - before.1;
    assert_eq!(dials, 200);
    // The peers of the job and those of its row; and queues of the dialer and of the lines, used for
    // the first time.
    let spent = network.spent - before.0;
    assert!((2 * dials..2 * dials + 64).contains(&spent), "{spent}");
    assert!(network.now.since(minutes(600)) >= Duration::from_secs(600));
}
