//! A connection that takes long while others wait gives up its place, and comes to its end all the
//! same; a failed infohash says no more than is known.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use sha1::{Digest, Sha1};

use super::SECOND;
use crate::base::addr::AddressPolicy;
use crate::base::fault::PeerFault;
use crate::base::id::InfoHash;
use crate::base::rng::Seed;
use crate::base::time::Instant;
use crate::codec::bencode::Writer;
use crate::codec::wire::{Extensions, Handshake, MetadataMessage, OUR_METADATA_ID};
use crate::config::{Config, Mode};
use crate::crawl::crawler::{Crawler, Dial};
use crate::crawl::row::Verdict;
use crate::lead::Request;
use crate::limits::PIECE_LEN;
use crate::peer::exchange::Step;

/// Metadata of so many bytes, about.
fn metadata(size: usize) -> Vec<u8> {
    let mut info = Vec::new();
    Writer::new(&mut info).dict().bytes(b"length").int(1).bytes(b"name").bytes(&vec![b'n'; size]);
    Writer::new(&mut info).bytes(b"piece length").int(16_384).bytes(b"pieces").bytes(&[7; 20]);
    Writer::new(&mut info).end();
    info
}

fn peer(n: u8) -> SocketAddr {
    SocketAddr::from(([30, n, 1, 1], 6_881))
}

/// A crawl with one connection, of which a peer on a thin line has the metadata wanted first.
struct Thin {
    crawler: Crawler,
    now: Instant,
    info: Vec<u8>,
    hash: InfoHash,
    others: u8,
}

impl Thin {
    fn new() -> Self {
        let config = Config {
            policy: AddressPolicy::AllowPrivate,
            max_connections: 1,
            new_flows: None,
            ..Config::new(Mode::Direct)
        };
        let info = metadata(10 * PIECE_LEN);
        let hash = InfoHash(Sha1::digest(&info).into());
        let now = Instant::START;
        let crawler = Crawler::new(config, Seed::from_u64(7), now);
        let mut thin = Self { crawler, now, info, hash, others: 0 };
        thin.crawler.handle_request(now, &Request::new(hash, [peer(0)])).expect("room");
        thin
    }

    /// Another infohash is asked for, whose peer refuses.
    fn add_other(&mut self) {
        self.others += 1;
        let hash = InfoHash([self.others; 20]);
        self.crawler
            .handle_request(self.now, &Request::new(hash, [peer(self.others)]))
            .expect("room");
    }

    fn fail(&mut self, mut dial: Dial, fault: PeerFault) {
        let outcome = dial.exchange.handle_failed(self.now, fault);
        self.crawler.handle_outcome(self.now, dial.peer, outcome);
        self.crawler.check();
    }

    /// One turn of the thin line: a piece every nine seconds, of those asked for. The dial if it
    /// was recalled, and nothing once it has brought the metadata.
    fn turn(&mut self, mut dial: Dial) -> Option<Dial> {
        let size = Some(self.info.len() as i64);
        let (mut said, mut out) = (Vec::new(), Vec::new());
        dial.exchange.handle_connected(self.now, &mut out);
        Handshake::new(self.hash, [b'x'; 20]).emit(&mut said);
        Extensions { ut_metadata: Some(7), metadata_size: size, client: None }.emit(&mut said);
        out.clear();
        let _ = dial.exchange.handle_bytes(self.now, &said, &mut out);
        let began = self.now;
        let mut asked = self.asked_for(&out);
        while let Some(piece) = asked.pop_first() {
            let due = self.now + 9 * SECOND;
            let turn_ends = began + 15 * SECOND;
            if turn_ends < due {
                self.now = turn_ends;
                self.crawler.handle_timeout(self.now);
                if let Some(recalled) = self.crawler.poll_recall(self.now) {
                    assert_eq!(recalled, dial.peer);
                    assert_eq!(self.crawler.poll_recall(self.now), None, "once");
                    return Some(dial);
                }
            }
            self.now = due;
            said.clear();
            out.clear();
            let message = MetadataMessage::Data { piece: piece as i64, total_size: size };
            let data = self.info.chunks(PIECE_LEN).nth(piece).expect("one of its pieces");
            message.emit(&mut said, OUR_METADATA_ID, data);
            let step = dial.exchange.handle_bytes(self.now, &said, &mut out);
            if let Step::Finished(outcome) = step {
                self.crawler.handle_outcome(self.now, dial.peer, *outcome);
                self.crawler.check();
                return None;
            }
            asked.extend(self.asked_for(&out));
        }
        panic!("it was asked for every piece that was missing")
    }

    /// The pieces that `requests` ask for.
    fn asked_for(&self, requests: &[u8]) -> BTreeSet<usize> {
        let asks = |piece: &usize| {
            let key = format!("5:piecei{piece}e");
            requests.windows(key.len()).any(|part| part == key.as_bytes())
        };
        (0..self.info.len().div_ceil(PIECE_LEN)).filter(asks).collect()
    }
}

#[test]
fn h26_a_connection_gives_up_its_place_after_its_turn_if_others_wait_and_has_another_later() {
    let mut thin = Thin::new();
    let mut turns = 0;
    loop {
        let dial = thin.crawler.poll_dial(thin.now).expect("a connection is free");
        assert_eq!(dial.to, peer(0));
        thin.add_other();
        assert_eq!(thin.crawler.poll_recall(thin.now), None, "its turn has begun");
        turns += 1;
        assert!(turns < 30, "each turn brings pieces");
        let Some(recalled) = thin.turn(dial) else { break };
        thin.fail(recalled, PeerFault::Yielded);
        let other = thin.crawler.poll_dial(thin.now).expect("a connection is free");
        assert_eq!(other.to, peer(thin.others), "it waited, and goes first");
        thin.fail(other, PeerFault::Refused);
    }
    assert!(turns > 5, "{turns}");
    let rows: Vec<_> = std::iter::from_fn(|| thin.crawler.poll_row()).collect();
    let verified = rows.iter().filter(|row| matches!(row.verdict, Verdict::Verified { .. }));
    assert_eq!(verified.map(|row| row.infohash).collect::<Vec<_>>(), [thin.hash]);
}

#[test]
fn nobody_gives_up_a_place_for_which_no_other_waits() {
    let mut thin = Thin::new();
    let dial = thin.crawler.poll_dial(thin.now).expect("a connection is free");
    thin.now = thin.now + 60 * SECOND;
    thin.crawler.handle_timeout(thin.now);
    assert_eq!(thin.crawler.poll_recall(thin.now), None);
    thin.add_other();
    assert_eq!(thin.crawler.poll_recall(thin.now), Some(dial.peer));
}

#[test]
fn an_infohash_of_which_no_peer_accepted_a_connection_names_the_first_peer_only() {
    for (fault, connects, named) in
        [(PeerFault::Refused, false, 1), (PeerFault::ClosedEarly, true, 2)]
    {
        let mut thin = Thin::new();
        thin.crawler.handle_request(thin.now, &Request::new(thin.hash, [peer(1)])).expect("room");
        while let Some(mut dial) = thin.crawler.poll_dial(thin.now) {
            if connects {
                dial.exchange.handle_connected(thin.now, &mut Vec::new());
            }
            thin.fail(dial, fault);
        }
        let row = thin.crawler.poll_row().expect("settled");
        assert_eq!(row.peers, [peer(0), peer(1)][..named]);
    }
}
