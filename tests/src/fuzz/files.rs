//! What is written to and read from files: rows of CSV, and lists of what to fetch.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{Cursor, SeekFrom};
use std::net::{IpAddr, SocketAddr};

use estudely_core::info::{Info, InfoFlags, Protocol, display_name};
use estudely_core::magnet;
use estudely_core::{FailureCause, InfoHash, Metadata, PeerFault, Row, Verdict};
use estudely_io_smol::lists::{self, LINE_BYTES_MAX, LinesRead, REQUEST_PEERS_MAX};
use estudely_io_smol::sink::{RowsPer, row_lines};

use super::addresses::may_be_owned;
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

/// What makes a spreadsheet run a cell (OWASP, "CSV Injection"), full-width forms included. Line
/// breaks, tabs and NUL never get so far: they became U+FFFD.
const FORMULA: [char; 12] =
    ['=', '+', '-', '@', '\t', '\r', '\n', '\0', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

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
    let mut row = Row::new(infohash, verdict);
    row.peers = peers;
    row
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
        assert!(!escape || !record[1].starts_with(FORMULA), "{:?} runs", &record[1]);
        // Whoever asked for it gets no apostrophe that is not needed, nobody else any.
        assert_eq!(record[1] != name, escape && name.starts_with(FORMULA));
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
    let tally = LinesRead::default();
    let mut requests = 0_u64;
    let mut again = Vec::new();
    let (mut asked, mut named) = (BTreeSet::new(), BTreeSet::new());
    for request in lists::read(data, tally.clone()) {
        let request = request.expect("memory reads");
        requests += 1;
        asked.insert(request.hash);
        named.extend(request.peers.iter().map(|peer| (request.hash, *peer)));
        assert!(request.peers.len() <= REQUEST_PEERS_MAX + estudely_core::limits::MAGNET_PEERS_MAX);
        for (at, peer) in request.peers.iter().enumerate() {
            assert!(!request.peers[..at].contains(peer), "each peer once");
            again.extend_from_slice(
                format!("{},{},{}\n", request.hash, peer.ip(), peer.port()).as_bytes(),
            );
        }
    }
    assert!(requests <= tally.good());
    let naive = naive_list(data);
    assert_eq!((tally.good(), tally.bad()), (naive.good, naive.bad), "every line counts once");
    assert_eq!(asked, naive.asked, "what is asked for");
    assert_eq!(named, naive.named, "and of whom");
    // What was understood, written as `crawl peers` writes it, has no bad line.
    let rewritten = LinesRead::default();
    let mut reread = BTreeSet::new();
    for request in lists::read(&again[..], rewritten.clone()) {
        let request = request.expect("memory reads");
        reread.extend(request.peers.into_iter().map(|peer| (request.hash, peer)));
    }
    assert_eq!(rewritten.good(), again.iter().filter(|byte| **byte == b'\n').count() as u64);
    assert_eq!(rewritten.bad(), 0);
    assert_eq!(reread, named);
}

/// What a list says, read without regard to memory.
#[derive(Default)]
struct List {
    good: u64,
    bad: u64,
    asked: BTreeSet<InfoHash>,
    named: BTreeSet<(InfoHash, SocketAddr)>,
}

/// Reads a list line by line, each as a record of the `csv` crate. Magnet links have a target of
/// their own and are not read again here.
fn naive_list(data: &[u8]) -> List {
    let mut list = List::default();
    let mut texts = Vec::new();
    for line in data.split(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_start_matches('\u{feff}').trim();
        if line.len() > LINE_BYTES_MAX {
            list.bad += 1;
        } else if !text.is_empty() && !text.starts_with('#') {
            texts.push(text.to_owned());
        }
    }
    // One reader for all, as building it is what takes long.
    let all = texts.join("\n");
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .quoting(false)
        .terminator(csv::Terminator::Any(b'\n'))
        .from_reader(all.as_bytes());
    let mut records = reader.records().map(|record| record.expect("lines of UTF-8"));
    for text in &texts {
        list.line(text, &records.next().expect("a record for each line"));
    }
    assert!(records.next().is_none());
    list
}

impl List {
    fn line(&mut self, text: &str, record: &csv::StringRecord) {
        let fields = fields(record);
        if fields.first().is_some_and(|first| first.eq_ignore_ascii_case("infohash")) {
            return;
        }
        let is_link = text.to_ascii_lowercase().starts_with("magnet:");
        let fields = if is_link { vec![text.to_owned()] } else { fields };
        let peer = match &fields[1..] {
            [] => Some(None),
            [ip, port] if ip.is_empty() && port.is_empty() => Some(None),
            [ip, port] => peer_of(ip, port).map(Some),
            _ => None,
        };
        match (hash_of(&fields[0]), peer) {
            (Some((hash, linked)), Some(peer)) => {
                self.good += 1;
                self.asked.insert(hash);
                let peers = linked.into_iter().filter(|peer| may_be_owned(*peer)).chain(peer);
                self.named.extend(peers.map(|peer| (hash, peer)));
            }
            _ => self.bad += 1,
        }
    }
}

/// One line's fields without the quotes around them.
fn fields(record: &csv::StringRecord) -> Vec<String> {
    let bare = |field: &str| {
        let field = field.trim();
        let inner = field.strip_prefix('"').and_then(|field| field.strip_suffix('"'));
        inner.unwrap_or(field).to_owned()
    };
    record.iter().map(bare).collect()
}

fn hash_of(field: &str) -> Option<(InfoHash, Vec<SocketAddr>)> {
    if field.len() == 40 && field.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let byte = |at| u8::from_str_radix(&field[2 * at..2 * at + 2], 16).expect("two digits");
        return Some((InfoHash(std::array::from_fn(byte)), Vec::new()));
    }
    magnet::parse(field).ok().map(|link| (link.hash, link.peers))
}

fn peer_of(ip: &str, port: &str) -> Option<SocketAddr> {
    let ip = ip.parse::<IpAddr>().ok()?;
    // An IPv4 address in the clothes of IPv6 is the same host.
    let ip = match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    };
    let port = port.parse().ok()?;
    Some(SocketAddr::new(ip, port)).filter(|peer| may_be_owned(*peer))
}
