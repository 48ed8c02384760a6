//! What is written to and read from files: rows of CSV, and lists of what to fetch.

use estudely_core::exchange::Metadata;
use estudely_core::fault::PeerFault;
use estudely_core::id::InfoHash;
use estudely_core::info::{Info, InfoFlags, Protocol, display_name};
use estudely_core::row::{FailureCause, Row, Verdict};
use estudely_core::time::Instant;
use estudely_io_smol::args::RowsPer;
use estudely_io_smol::pairs::{self, REQUEST_PEERS_MAX, Tally};
use estudely_io_smol::sink::row_lines;
use std::cell::RefCell;
use std::io::{Cursor, SeekFrom};
use std::net::SocketAddr;

use super::input::Input;

/// A row of any content is one line for each peer, and the `csv` crate reads back what went in.
pub(super) fn csv_row(data: &[u8]) {
    let mut input = Input(data);
    let bits = input.u8();
    let peers: Vec<SocketAddr> = (0..input.u8() % 4).map(|_| peer(&mut input)).collect();
    let counts = [(); 3].map(|()| u64::from_be_bytes(input.bytes()) >> (input.u8() % 64));
    let name = input.0.to_vec();
    let row = row(bits, peers, counts, name);
    let mut all = Vec::new();
    let mut ways = Vec::new();
    for per in [RowsPer::Peer, RowsPer::Torrent] {
        for escape in [false, true] {
            let lines = row_lines(&row, per, escape);
            assert_eq!(lines.last(), Some(&b'\n'));
            all.extend_from_slice(&lines);
            ways.push((per, escape, lines));
        }
    }
    READER.with_borrow_mut(|reader| {
        *reader.get_mut() = Cursor::new(all);
        reader.seek_raw(SeekFrom::Start(0), csv::Position::new()).expect("memory seeks");
        let mut records = reader.records().map(|record| record.expect("valid CSV in UTF-8"));
        for (per, escape, lines) in ways {
            read_back(&row, per, escape, &lines, &mut records);
        }
        assert!(records.next().is_none());
    });
}

thread_local! {
    /// Building a reader takes as long as reading hundreds of rows: this one is used again.
    static READER: RefCell<csv::Reader<Cursor<Vec<u8>>>> = RefCell::new(
        csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(Cursor::new(Vec::new())),
    );
}

fn row(bits: u8, peers: Vec<SocketAddr>, counts: [u64; 3], name: Vec<u8>) -> Row {
    let raw = name.clone();
    let infohash = InfoHash(sha1_smol::Sha1::from(&raw).digest().bytes());
    let info = Info {
        name,
        file_count: counts[0],
        total_bytes: counts[1],
        piece_length: counts[2],
        private: false,
        protocol: Protocol::V1,
        flags: InfoFlags::default(),
    };
    let verdict = match Metadata::verify(infohash, raw) {
        Some(metadata) if bits & 1 == 0 => Verdict::Verified { metadata, info },
        _ => Verdict::Failed { cause: FailureCause::Peer(PeerFault::Refused) },
    };
    let (found, settled) = (Instant::START, Instant::START);
    Row { infohash, verdict, peers, transport: None, found, settled }
}

fn read_back(
    row: &Row,
    per: RowsPer,
    escape: bool,
    lines: &[u8],
    records: &mut impl Iterator<Item = csv::StringRecord>,
) {
    let count = lines.iter().filter(|byte| **byte == b'\n').count();
    let peers = match per {
        RowsPer::Peer => &row.peers[..],
        RowsPer::Torrent => &row.peers[..row.peers.len().min(1)],
    };
    assert_eq!(count, peers.len().max(1), "one line is one row");
    for (at, record) in records.take(count).enumerate() {
        assert_eq!(record.len(), 8);
        assert_eq!(&record[0], row.infohash.to_string());
        let (name, counts, ok) = match &row.verdict {
            Verdict::Verified { info, .. } => (
                display_name(&info.name),
                [info.file_count, info.total_bytes, info.piece_length],
                "True",
            ),
            _ => (String::new(), [0; 3], "False"),
        };
        let bare = record[1].strip_prefix('\'').filter(|_| escape).unwrap_or(&record[1]);
        assert!(record[1] == name || bare == name, "{:?} for {name:?}", &record[1]);
        assert!(!escape || !record[1].starts_with(['=', '+', '-', '@']));
        let numbers = counts.map(|count| count.to_string());
        assert_eq!([&record[2], &record[3], &record[4]], numbers.each_ref().map(String::as_str));
        let peer = peers.get(at);
        assert_eq!(&record[5], peer.map(|p| p.ip().to_string()).unwrap_or_default());
        assert_eq!(&record[6], peer.map(|p| p.port().to_string()).unwrap_or_default());
        assert_eq!(&record[7], ok);
        // What shell pipelines rely on.
        let line = lines.split(|byte| *byte == b'\n').nth(at).expect("a line for each row");
        assert!(line.ends_with(format!(",{ok}").as_bytes()));
        assert_eq!(
            line.split(|byte| *byte == b',').next(),
            Some(row.infohash.to_string().as_bytes())
        );
    }
}

fn peer(input: &mut Input<'_>) -> SocketAddr {
    let port = input.u16();
    if input.u8() & 1 == 0 {
        SocketAddr::from((input.bytes::<4>(), port))
    } else {
        SocketAddr::from((input.bytes::<16>(), port))
    }
}

/// A list of what to fetch: every line is taken, skipped by name, or no line at all.
pub(super) fn peers_csv(data: &[u8]) {
    let tally = Tally::default();
    let mut requests = 0_u64;
    let mut again = Vec::new();
    for request in pairs::read(data, tally.clone()) {
        let request = request.expect("memory reads");
        requests += 1;
        assert!(request.peers.len() <= REQUEST_PEERS_MAX + estudely_core::limits::MAGNET_PEERS_MAX);
        for (at, peer) in request.peers.iter().enumerate() {
            assert!(!request.peers[..at].contains(peer), "each peer once");
            again.extend_from_slice(
                format!("{},{},{}\n", request.hash, peer.ip(), peer.port()).as_bytes(),
            );
        }
    }
    let lines = data.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
    assert!(requests <= tally.good() && tally.good() + tally.bad() <= lines);
    // What was understood, written as `crawl peers` writes it, has no bad line.
    let rewritten = Tally::default();
    let pairs: usize = pairs::read(&again[..], rewritten.clone())
        .map(|request| request.expect("memory reads").peers.len())
        .sum();
    assert_eq!(rewritten.good(), again.iter().filter(|byte| **byte == b'\n').count() as u64);
    assert_eq!(rewritten.bad(), 0);
    assert!(pairs as u64 <= rewritten.good());
}
