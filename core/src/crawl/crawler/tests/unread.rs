//! A sink that takes nothing: what waits for it is bounded in bytes, nothing new begins, and
//! everything is there once it reads.

use std::net::SocketAddr;

use sha1::{Digest, Sha1};

use crate::base::addr::AddressPolicy;
use crate::base::fault::PeerFault;
use crate::base::id::InfoHash;
use crate::base::rng::Seed;
use crate::base::time::Instant;
use crate::codec::bencode::Writer;
use crate::codec::wire::{Extensions, Handshake, MetadataMessage, OUR_METADATA_ID};
use crate::config::{Config, Mode};
use crate::crawl::crawler::{Crawler, Dial, Full};
use crate::crawl::row::{Row, Verdict};
use crate::lead::Request;
use crate::limits::{JOB_PATIENCE, METADATA_MAX, PIECE_LEN};
use crate::peer::exchange::Step;

/// More than fit, whatever their order.
const TORRENTS: usize = 6;

/// Largest metadata, nearly all of it the name.
fn torrent(n: usize) -> Vec<u8> {
    let info = |name: &[u8]| {
        let mut info = Vec::with_capacity(METADATA_MAX);
        Writer::new(&mut info).dict().bytes(b"length").int(100 + n as i64);
        Writer::new(&mut info).bytes(b"name").bytes(name);
        Writer::new(&mut info).bytes(b"piece length").int(16_384).bytes(b"pieces").bytes(&[7; 20]);
        Writer::new(&mut info).end();
        info
    };
    let rest = info(b"").len() + "10000000".len() - "0".len();
    info(&vec![0xff; METADATA_MAX - rest])
}

fn peer(n: usize) -> SocketAddr {
    SocketAddr::from(([30, 1, n as u8, 1], 6_881))
}

struct Unread {
    crawler: Crawler,
    now: Instant,
    torrents: Vec<(InfoHash, Vec<u8>)>,
}

impl Unread {
    fn new() -> Self {
        let config = Config {
            policy: AddressPolicy::AllowPrivate,
            rate: None,
            new_flows: None,
            rows_mib: 192,
            ..Config::new(Mode::Direct)
        };
        let torrents = (0..TORRENTS).map(torrent);
        let torrents = torrents.map(|info| (InfoHash(Sha1::digest(&info).into()), info)).collect();
        let now = Instant::START;
        Self { crawler: Crawler::new(config, Seed::from_u64(7), now), now, torrents }
    }

    fn request(&mut self, n: usize) -> Result<(), Full> {
        self.crawler.handle_request(self.now, &Request::new(self.torrents[n].0, [peer(n)]))
    }

    fn dials(&mut self) -> Vec<Dial> {
        let dials = std::iter::from_fn(|| self.crawler.poll_dial(self.now)).collect();
        self.crawler.check();
        dials
    }

    /// The peer serves it all.
    fn serve(&mut self, mut dial: Dial) {
        let hash = dial.exchange.hash();
        let (_, info) = self.torrents.iter().find(|(key, _)| *key == hash).expect("one of ours");
        let size = Some(info.len() as i64);
        let (mut said, mut out) = (Vec::new(), Vec::new());
        dial.exchange.handle_connected(self.now, &mut out);
        Handshake::new(hash, [b'x'; 20]).emit(&mut said);
        Extensions { ut_metadata: Some(7), metadata_size: size, client: None }.emit(&mut said);
        for (piece, data) in (0..).zip(info.chunks(PIECE_LEN)) {
            let message = MetadataMessage::Data { piece, total_size: size };
            message.emit(&mut said, OUR_METADATA_ID, data);
        }
        let Step::Finished(outcome) = dial.exchange.handle_bytes(self.now, &said, &mut out) else {
            panic!("all was said")
        };
        self.crawler.handle_outcome(self.now, dial.peer, *outcome);
        self.crawler.check();
    }

    fn take(&mut self) -> Vec<Row> {
        let rows = std::iter::from_fn(|| self.crawler.poll_row()).collect();
        self.crawler.check();
        rows
    }
}

fn bytes(rows: &[Row]) -> usize {
    rows.iter().map(Row::bytes_held).sum()
}

#[test]
fn huge_names_that_nobody_reads_are_bounded_in_bytes_and_go_on_once_read() {
    let mut unread = Unread::new();
    let last = TORRENTS - 1;
    (0..last).for_each(|n| assert_eq!(unread.request(n), Ok(())));
    let dials = unread.dials();
    assert_eq!(dials.len(), last, "all begin while nothing waits");
    dials.into_iter().for_each(|dial| unread.serve(dial));

    // Some have come, the others wait with their peers; nobody is blamed and nothing begins.
    let stats = unread.crawler.stats();
    let pressed = stats.faults[PeerFault::Pressure as usize];
    assert_eq!((stats.verified + pressed, stats.failed), (last as u64, 0));
    assert!(pressed > 0);
    assert!(unread.dials().is_empty());
    assert_eq!(unread.request(last), Err(Full));

    // However long nobody reads.
    for _ in 0..3 {
        unread.now = unread.now + JOB_PATIENCE;
        unread.crawler.handle_timeout(unread.now);
        assert!(unread.dials().is_empty());
    }
    let mut rows = unread.take();
    assert!((64 << 20..=192 << 20).contains(&bytes(&rows)), "{}", bytes(&rows));

    assert_eq!(unread.request(last), Ok(()));
    for _ in 0..TORRENTS {
        for dial in unread.dials() {
            unread.serve(dial);
        }
        rows.extend(unread.take());
        unread.now = unread.now + JOB_PATIENCE / 10;
        unread.crawler.handle_timeout(unread.now);
    }
    assert_eq!(rows.len(), TORRENTS);
    assert!(rows.iter().all(|row| matches!(row.verdict, Verdict::Verified { .. })));
    assert!(unread.crawler.is_idle());
}
