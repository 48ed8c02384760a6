//! Nodes that name whom they like: the crawl slows down, and neither hangs nor asks for ever.

use std::net::SocketAddr;

use crate::base::addr::{AddressPolicy, Contact, Family};
use crate::base::id::{Id, NodeId};
use crate::base::rng::{Rng, Seed};
use crate::base::time::Instant;
use crate::codec::krpc::{self, Envelope, Kind, Message, Method, ReplyBody};
use crate::config::{Config, Mode};
use crate::crawl::crawler::{Bootstrap, Crawler};

const LIARS: u8 = 40;

fn liar(n: u8) -> Contact {
    let mut id = [7; 20];
    id[0] = n.wrapping_mul(29);
    Contact { id: NodeId(id), addr: SocketAddr::from(([20, n, 0, 1], 6_881)) }
}

/// Answers a query with eight invented contacts that share `bits` with its target.
fn lie(rng: &mut Rng, from: Contact, datagram: &[u8], bits: u32) -> Vec<u8> {
    let message = Message::parse(datagram).expect("the crawler sends valid messages");
    let Kind::Query(query) = message.kind else { panic!("the crawler only asks") };
    let sampled = matches!(query.method, Method::SampleInfohashes { .. });
    let target = match query.method {
        Method::SampleInfohashes { target } | Method::FindNode { target } => target,
        _ => Id::ZERO,
    };
    let nodes = [(); 8].map(|()| {
        let [a, b, c, port @ ..] = rng.bytes::<5>();
        let port = u16::from_be_bytes(port).max(1_024);
        Contact {
            id: NodeId(target.with_suffix(bits, Id(rng.bytes())).0),
            addr: SocketAddr::from(([a % 100 + 21, b, c, 1], port)),
        }
    });
    let reply = ReplyBody {
        nodes: &nodes,
        samples: sampled.then_some(&[]),
        interval: sampled.then_some(21_600),
        ..ReplyBody::new(from.id)
    };
    let transaction = message.transaction;
    let envelope = Envelope { transaction, version: None, read_only: false, external: None };
    let mut out = Vec::new();
    krpc::emit_reply(&mut out, &envelope, &reply);
    out
}

/// An hour among liars alone; how many queries it cost.
fn an_hour_among_liars(bits: u32, policy: AddressPolicy, limits: Option<(u32, u32)>) -> u64 {
    let config = Config {
        policy,
        own: [Some(SocketAddr::from(([9, 9, 9, 9], 6_881))), None],
        rate: limits.map(|limits| limits.0),
        new_flows: limits.map(|limits| limits.1),
        ..Config::new(Mode::Crawl)
    };
    let (mut now, mut rng) = (Instant::START, Rng::new(Seed::from_u64(2)));
    let mut crawler = Crawler::new(config, Seed::from_u64(1), now);
    let liars: Vec<Contact> = (1..=LIARS).map(liar).collect();
    let addrs: Vec<SocketAddr> = liars.iter().map(|liar| liar.addr).collect();
    crawler.handle_bootstrap(now, &addrs, Bootstrap::Node);
    let mut buf = Vec::new();
    while now < Instant::from_micros(3_600_000_000) {
        while let Some(transmit) = crawler.poll_transmit(now, Family::V4, &mut buf) {
            if let Some(liar) = liars.iter().find(|liar| liar.addr == transmit.to) {
                let reply = lie(&mut rng, *liar, &buf, bits);
                crawler.handle_datagram(now, transmit.to, &reply);
            }
            buf.clear();
        }
        let next = crawler.poll_timeout().expect("there is always a next pass");
        assert!(next > now, "a deadline in the past would spin: {now:?}");
        now = next;
        crawler.handle_timeout(now);
    }
    crawler.check();
    crawler.stats().queries()
}

#[test]
fn contacts_invented_as_near_as_can_be_do_not_make_us_look_ever_more_finely() {
    for bits in [11, 14, 20, 32] {
        let home = an_hour_among_liars(bits, AddressPolicy::Public, Some((200, 1_800)));
        assert!(home <= 200 * 3_600, "{bits} bits: {home}");
    }
}

#[test]
fn without_limits_liars_keep_us_no_busier_than_their_own_inventions_last() {
    for bits in [14, 20] {
        let queries = an_hour_among_liars(bits, AddressPolicy::AllowPrivate, None);
        assert!(queries < 100_000, "{bits} bits: {queries}");
    }
}
