//! A flood of nodes made up on the spot, each of which answers and names more of its kind: what is
//! kept of them is bounded, however many there are (H17).

use std::collections::VecDeque;
use std::net::SocketAddr;

use estudely_core::keyed::Rng;
use estudely_core::krpc::{Envelope, Message, ReplyBody, emit_reply};
use estudely_core::{
    Bootstrap, Config, Contact, Crawler, Duration, Family, Instant, Mode, NodeId, Seed,
};

use crate::counting::cost;

/// Strangers heard of, at least.
const STRANGERS: u64 = 100_000;

/// Contacts in an answer: as many as a datagram of 2 048 bytes holds.
const NAMED: usize = 70;

/// Bytes kept for each of them, at most: its place in the frontier, with room to grow, and in the
/// ledger. Frontier and ledger have limits of their own at a million and twelve million.
const BYTES_EACH: i64 = 256;

/// What the crawler holds however few it knows.
const BYTES_FIXED: i64 = 8 << 20;

const FIRST: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(20, 0, 0, 1)), 6_881);

/// Nodes made up as they are named.
struct Strangers {
    rng: Rng,
    named: u32,
}

impl Strangers {
    fn fresh(&mut self) -> Contact {
        self.named += 1;
        let [_, a, b, c] = self.named.to_be_bytes();
        let addr = SocketAddr::from(([21 + (a & 63), b, c, 1], 6_881));
        Contact { id: NodeId(self.rng.bytes()), addr }
    }

    fn answer(&mut self, query: &[u8]) -> Vec<u8> {
        let transaction = Message::parse(query).expect("a valid query").transaction;
        let nodes: [Contact; NAMED] = std::array::from_fn(|_| self.fresh());
        let envelope = Envelope { transaction, version: None, read_only: false, external: None };
        let mut out = Vec::new();
        emit_reply(
            &mut out,
            &envelope,
            &ReplyBody { nodes: &nodes, ..ReplyBody::new(nodes[0].id) },
        );
        out
    }
}

#[test]
fn a_hundred_thousand_strangers_cost_a_bounded_number_of_bytes_each() {
    let own = SocketAddr::from(([30, 1, 1, 1], 6_881));
    let config = Config::new(Mode::Crawl).with_own(own).and_then(|c| c.with_rate(Some(2_000)));
    let config = config.and_then(|config| config.with_new_flows(None)).expect("in range");
    let mut strangers = Strangers { rng: Rng::new(Seed::from_u64(9)), named: 0 };
    let (crawler, cost) = cost(|| {
        let mut now = Instant::START;
        let mut crawler = Crawler::new(config, Seed::from_u64(1), now);
        crawler.handle_bootstrap(now, &[FIRST], Bootstrap::Node);
        let (mut buf, mut answers) = (Vec::new(), VecDeque::new());
        while crawler.stats().contacts_heard < STRANGERS {
            assert!(now < Instant::START + Duration::from_secs(3_600), "{:?}", crawler.stats());
            while let Some(transmit) = crawler.poll_transmit(now, Family::V4, &mut buf) {
                answers.push_back((transmit.to, strangers.answer(&buf)));
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
    assert!(u64::from(strangers.named) > STRANGERS);
    assert!(cost.peak <= BYTES_FIXED + BYTES_EACH * STRANGERS as i64, "{cost:?}");
}
