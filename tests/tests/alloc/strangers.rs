//! A flood of nodes made up on the spot, each of which answers and names more of its kind: what is
//! kept of them is bounded, however many there are (H17). One flooding node of the simulator speaks
//! for all of them, at whatever address it is asked.

use std::collections::VecDeque;
use std::net::SocketAddr;

use estudely_core::{Bootstrap, Config, Crawler, Duration, Family, Instant, Mode, Seed};
use estudely_sim::addresses;
use estudely_sim::node::{Node, Sent};
use estudely_sim::vice::{NodeVice, NodeVices};
use estudely_sim::world::World;
use estudely_sim::world::dht::{Hostility, Percent, Plan};

use crate::counting::cost;
use crate::network::plan;

/// Strangers heard of, at least.
const STRANGERS: u64 = 100_000;

/// Bytes kept for each of them, at most: its place in the frontier, with room to grow, and in the
/// ledger. Frontier and ledger have limits of their own at a million and twelve million.
const BYTES_EACH: i64 = 256;

/// What the crawler holds however few it knows.
const BYTES_FIXED: i64 = 8 << 20;

/// A node that names nothing but nodes made up as they are named, and plays them all.
struct Strangers {
    world: World,
    node: Node,
    own: SocketAddr,
}

impl Strangers {
    fn new() -> Self {
        let hostility = Hostility {
            nodes: Percent::new(100).expect("a share"),
            node_vices: NodeVices::of(&[NodeVice::FloodedNodes]),
            ..Hostility::NONE
        };
        let world = World::build(Plan { hostility, ..plan(10) }).expect("a world");
        let flooding = (0..10).find(|&node| world.node_vice(node).is_some());
        let number = flooding.expect("all but the bootstrap nodes");
        let addr = world.contact(number).addr;
        Self { world, node: Node::new(number), own: addr }
    }

    fn answer(&mut self, now: Instant, query: &[u8]) -> Vec<u8> {
        let mut sends = Vec::new();
        let asker = addresses::own(Family::V4);
        self.node.handle(&self.world, now, asker, query, &mut sends);
        sends.pop().map(|Sent { payload, .. }| payload).expect("an answer")
    }
}

#[test]
fn a_hundred_thousand_strangers_cost_a_bounded_number_of_bytes_each() {
    let own = addresses::own(Family::V4);
    let config = Config::new(Mode::Crawl).with_own(own).and_then(|c| c.with_rate(Some(2_000)));
    let config = config.and_then(|config| config.with_new_flows(None)).expect("in range");
    let mut strangers = Strangers::new();
    let (crawler, cost) = cost(|| {
        let mut now = Instant::START;
        let mut crawler = Crawler::new(config, Seed::from_u64(1), now);
        crawler.handle_bootstrap(now, &[strangers.own], Bootstrap::Node);
        let (mut buf, mut answers) = (Vec::new(), VecDeque::new());
        while crawler.stats().contacts_heard < STRANGERS {
            assert!(now < Instant::START + Duration::from_secs(3_600), "{:?}", crawler.stats());
            while let Some(transmit) = crawler.poll_transmit(now, Family::V4, &mut buf) {
                answers.push_back((transmit.to, strangers.answer(now, &buf)));
                buf.clear();
            }
            now = now + Duration::from_millis(20);
            for (from, answer) in answers.drain(..) {
                crawler.handle_datagram(now, from, &answer);
            }
            crawler.handle_timeout(now);
        }
        crawler
    });
    crawler.check();
    assert!(cost.peak <= BYTES_FIXED + BYTES_EACH * STRANGERS as i64, "{cost:?}");
}
