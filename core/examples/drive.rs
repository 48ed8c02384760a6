//! Drives the core by hand: a crawl of one node and one peer, all in memory, step by step.
//!
//! Run: `cargo run -p estudely-core --example drive`

use std::net::SocketAddr;

use estudely_core::bencode::Writer;
use estudely_core::krpc::{self, Envelope, Kind, Message, Method, ReplyBody};
use estudely_core::wire::{Extensions, Handshake, MetadataMessage, OUR_METADATA_ID};
use estudely_core::{
    AddressPolicy, Bootstrap, Config, Crawler, Dial, Duration, Family, InfoHash, Instant, Mode,
    NodeId, Outcome, Seed, Step, Verdict,
};
use sha1::{Digest, Sha1};

const NODE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 2);

#[allow(clippy::print_stdout)]
fn main() {
    let info = info_dictionary();
    let hash = InfoHash(Sha1::digest(&info).into());
    let own = SocketAddr::from(([127, 0, 0, 9], 6881));
    let config = Config::new(Mode::Crawl)
        .with_policy(AddressPolicy::AllowPrivate)
        .with_max_infohashes(Some(1))
        .with_own(own)
        .expect("its port is not 0");
    let mut now = Instant::START;
    let mut crawler = Crawler::new(config, Seed::from_u64(1), now);
    crawler.handle_bootstrap(now, &[NODE], Bootstrap::Node);
    let (mut datagram, mut rows) = (Vec::new(), 0);
    while !crawler.is_finished() {
        while let Some(transmit) = crawler.poll_transmit(now, Family::V4, &mut datagram) {
            println!("{now:?} to {}: {}", transmit.to, datagram.escape_ascii());
            let reply = node_answers(&datagram, hash);
            crawler.handle_datagram(now, transmit.to, &reply);
            datagram.clear();
        }
        while let Some(dial) = crawler.poll_dial(now) {
            println!("{now:?} dial {}", dial.to);
            let peer = dial.peer;
            let outcome = peer_answers(now, dial, hash, &info);
            crawler.handle_outcome(now, peer, outcome);
        }
        while let Some(row) = crawler.poll_row() {
            rows += 1;
            // What is printed need not be fetched again.
            crawler.acknowledge_rows(rows);
            match row.verdict {
                Verdict::Verified { info, .. } => println!(
                    "{now:?} verified {}: {:?}, {} bytes",
                    row.infohash,
                    String::from_utf8_lossy(&info.name),
                    info.total_bytes
                ),
                other => println!("{now:?} {}: {other:?}", row.infohash),
            }
        }
        // Nothing real is waited for: jump to whatever comes next.
        now = crawler.poll_timeout().unwrap_or(now + Duration::from_secs(1)).max(now);
        crawler.handle_timeout(now);
    }
}

/// The info dictionary of a small torrent.
fn info_dictionary() -> Vec<u8> {
    let mut info = Vec::new();
    let mut writer = Writer::new(&mut info);
    writer.dict().bytes(b"length").int(12_345).bytes(b"name").bytes(b"an example");
    writer.bytes(b"piece length").int(16_384).bytes(b"pieces").bytes(&[7; 20]).end();
    info
}

/// The only node of this network: it samples the torrent and knows its peer.
fn node_answers(datagram: &[u8], hash: InfoHash) -> Vec<u8> {
    let message = Message::parse(datagram).expect("the core writes valid messages");
    let Kind::Query(query) = message.kind else { return Vec::new() };
    let sampled = matches!(query.method, Method::SampleInfohashes { .. });
    let looked_up = matches!(query.method, Method::GetPeers { .. });
    let samples = [hash];
    let reply = ReplyBody {
        samples: sampled.then_some(&samples),
        interval: sampled.then_some(21_600),
        values: if looked_up { &[PEER] } else { &[] },
        ..ReplyBody::new(NodeId(*b"the one and only nod"))
    };
    let envelope = Envelope {
        transaction: message.transaction,
        version: None,
        read_only: false,
        external: None,
    };
    let mut out = Vec::new();
    krpc::emit_reply(&mut out, &envelope, &reply);
    out
}

/// The only peer: a whole conversation in which it gives what it is asked for.
fn peer_answers(now: Instant, mut dial: Dial, hash: InfoHash, info: &[u8]) -> Outcome {
    let size = info.len() as i64;
    let (mut written, mut spoken) = (Vec::new(), Vec::new());
    dial.exchange.handle_connected(now, &mut written);
    Handshake::new(hash, *b"-XX0000-abcdefghijkl").emit(&mut spoken);
    Extensions { ut_metadata: Some(3), metadata_size: Some(size), client: None }.emit(&mut spoken);
    MetadataMessage::Data { piece: 0, total_size: Some(size) }.emit(
        &mut spoken,
        OUR_METADATA_ID,
        info,
    );
    match dial.exchange.handle_bytes(now, &spoken, &mut written) {
        Step::Finished(outcome) => *outcome,
        Step::Continue => dial.exchange.handle_closed(now),
    }
}
