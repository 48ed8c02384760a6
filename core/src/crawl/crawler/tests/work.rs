//! What the control plane does for metadata of megabytes: nothing that grows with it.

use std::net::SocketAddr;

use sha1::{Digest, Sha1};

use crate::base::addr::{AddressPolicy, Family};
use crate::base::id::InfoHash;
use crate::base::rng::Seed;
use crate::base::time::{Duration, Instant};
use crate::base::work;
use crate::codec::bencode::Writer;
use crate::codec::wire::{Extensions, Handshake, MetadataMessage, OUR_METADATA_ID};
use crate::config::{Config, Mode};
use crate::crawl::crawler::{Crawler, Dial, Row};
use crate::crawl::row::Verdict;
use crate::lead::Request;
use crate::limits::{DATAGRAM_LEN_MAX, PIECE_LEN};
use crate::peer::exchange::{Outcome, Step};

const SIZE: usize = 8 << 20;

/// Eight MiB, nearly all of it a list of files.
fn torrent() -> Vec<u8> {
    let mut info = Vec::with_capacity(SIZE + 100);
    Writer::new(&mut info).dict().bytes(b"files").list();
    while info.len() < SIZE {
        Writer::new(&mut info).dict().bytes(b"length").int(1);
        Writer::new(&mut info).bytes(b"path").list().bytes(&[b'a'; 30]).end().end();
    }
    Writer::new(&mut info).end().bytes(b"name").bytes(b"many files");
    Writer::new(&mut info).bytes(b"piece length").int(16_384).bytes(b"pieces").bytes(&[7; 20]);
    Writer::new(&mut info).end();
    info
}

/// Runs the conversation of a peer that serves `info`; how it ends.
fn served(dial: &mut Dial, now: Instant, info: &[u8]) -> Outcome {
    let size = Some(info.len() as i64);
    let (mut said, mut out) = (Vec::new(), Vec::new());
    dial.exchange.handle_connected(now, &mut out);
    Handshake::new(dial.exchange.hash(), [b'x'; 20]).emit(&mut said);
    Extensions { ut_metadata: Some(7), metadata_size: size, client: None }.emit(&mut said);
    for (piece, data) in (0..).zip(info.chunks(PIECE_LEN)) {
        let message = MetadataMessage::Data { piece, total_size: size };
        message.emit(&mut said, OUR_METADATA_ID, data);
    }
    match dial.exchange.handle_bytes(now, &said, &mut out) {
        Step::Finished(outcome) => *outcome,
        Step::Continue => panic!("all was said"),
    }
}

/// A crawler asked for `hash`, and the longest that any call of it took.
struct Measured {
    crawler: Crawler,
    now: Instant,
    longest: u64,
}

impl Measured {
    fn new() -> Self {
        let config = Config {
            policy: AddressPolicy::AllowPrivate,
            own: [Some(SocketAddr::from(([9, 9, 9, 9], 6_881))), None],
            ..Config::new(Mode::Fetch)
        };
        let now = Instant::START;
        Self { crawler: Crawler::new(config, Seed::from_u64(3), now), now, longest: 0 }
    }

    fn call<T>(&mut self, call: impl FnOnce(&mut Crawler, Instant) -> T) -> T {
        let (crawler, now) = (&mut self.crawler, self.now);
        let (result, work) = work::of(|| call(crawler, now));
        self.longest = self.longest.max(work);
        result
    }
}

#[test]
fn no_call_of_the_control_plane_takes_work_in_proportion_to_the_metadata() {
    let info = torrent();
    let hash = InfoHash(Sha1::digest(&info).into());
    let peer = SocketAddr::from(([30, 1, 1, 1], 6_881));
    let mut measured = Measured::new();
    let request = Request::new(hash, [peer]);
    measured.call(|crawler, now| crawler.handle_request(now, &request)).expect("room");
    let mut dial = measured.call(|crawler, now| crawler.poll_dial(now)).expect("a peer");
    let now = measured.now;
    let (outcome, in_exchange) = work::of(|| served(&mut dial, now, &info));
    assert!(in_exchange >= 2 * SIZE as u64, "hashed and read there: {in_exchange}");
    measured.call(|crawler, now| crawler.handle_outcome(now, dial.peer, outcome));
    assert_eq!(measured.longest, 0, "an outcome is moved, not looked at");

    // The longest datagram there is, full of what has to be read.
    let datagram = [b"d1:rd5:nodes1950:", &[b'n'; 1_950][..], b"e1:t1:x1:y1:re"].concat();
    assert!(datagram.len() <= DATAGRAM_LEN_MAX);
    measured.call(|crawler, now| crawler.handle_datagram(now, peer, &datagram));
    measured.now = measured.now + Duration::from_secs(1);
    measured.call(|crawler, now| crawler.handle_timeout(now));
    measured.call(|crawler, now| crawler.poll_transmit(now, Family::V4, &mut Vec::new()));
    let row: Option<Row> = measured.call(|crawler, _| crawler.poll_row());
    let read = |row: &Row| matches!(&row.verdict, Verdict::Verified { info, .. } if info.name == b"many files");
    assert!(row.as_ref().is_some_and(read), "{row:?}");
    assert!((1..=2 * DATAGRAM_LEN_MAX as u64).contains(&measured.longest), "{}", measured.longest);
}
