//! Many requests at once, and one node to begin with: each walk takes the nodes that are known when
//! it asks, and none waits for an address while it may ask another.

use std::collections::BTreeMap;

use super::*;

const REQUESTS: usize = 250;

/// A world of so many nodes, each of which allows what a public node does.
fn world(nodes: usize) -> (World, Vec<InfoHash>) {
    let mut world = World::new(5, nodes);
    world.config.policy = AddressPolicy::Public;
    let hashes = world.add_torrents(REQUESTS, &[PeerKind::Seed]);
    world.requests = hashes.iter().map(|hash| (*hash, Vec::new())).collect();
    (world, hashes)
}

fn server(config: Config) -> Config {
    Config { rate: Some(2_000), new_flows: Some(60_000), max_connections: 2_000, ..config }
}

fn home(config: Config) -> Config {
    Config { rate: Some(200), new_flows: Some(1_800), max_connections: 200, ..config }
}

/// The most that stands in any ten seconds.
fn most_in_ten_seconds(sent: &[Instant]) -> usize {
    let within = |(i, begin): (usize, &Instant)| {
        sent[i..].iter().take_while(|at| at.since(*begin) < 10 * SECOND).count()
    };
    sent.iter().enumerate().map(within).max().unwrap_or(0)
}

/// How long the last of the requests takes. Asserts that each is verified, and that no address gets
/// more than its forty datagrams in ten seconds.
fn time_to_fetch(nodes: usize, profile: fn(Config) -> Config) -> Duration {
    let (mut world, hashes) = world(nodes);
    world.config = profile(world.config.clone());
    let rows = world.crawl(Mode::Fetch, 600 * SECOND);
    assert_eq!(verified(&rows), hashes);
    let mut sent: BTreeMap<SocketAddr, Vec<Instant>> = BTreeMap::new();
    for query in &world.sent {
        sent.entry(query.to).or_default().push(query.at);
    }
    let most = sent.values().map(|times| most_in_ten_seconds(times)).max().unwrap_or(0);
    assert!(most <= 40, "{most} queries to one address");
    rows.iter().map(|row| row.settled).max().expect("rows").since(Instant::START)
}

#[test]
fn many_requests_from_one_bootstrap_node_are_fetched_at_the_pace_of_all_nodes() {
    for nodes in [300, 2_000] {
        let took = time_to_fetch(nodes, server);
        assert!(took <= REQUESTS as u32 * SECOND / 20, "{nodes} nodes: {took:?}");
    }
}

#[test]
fn at_home_many_requests_are_fetched_at_ten_a_second() {
    let took = time_to_fetch(300, home);
    assert!(took <= REQUESTS as u32 * SECOND / 10, "{took:?}");
}
