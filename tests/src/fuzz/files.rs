//! What is written to and read from files: rows of CSV, and lists of what to fetch.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{Cursor, SeekFrom};
use std::net::{IpAddr, SocketAddr};

use estudely_core::info::{Info, InfoFlags, Protocol, display_name};
use estudely_core::limits::MAGNET_PEERS_MAX;
use estudely_core::magnet;
use estudely_core::{FailureCause, InfoHash, Metadata, PeerFault, Request, Row, Verdict};
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
    let (mut asked, mut orders, mut hearsay) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for request in lists::read(data, tally.clone()) {
        let Request { hash, orders: named, hearsay: heard } = request.expect("memory reads");
        requests += 1;
        asked.insert(hash);
        assert!(named.len() + heard.len() <= REQUEST_PEERS_MAX + MAGNET_PEERS_MAX + 1);
        for list in [&named, &heard] {
            let each_once = list.iter().enumerate().all(|(at, peer)| !list[..at].contains(peer));
            assert!(each_once, "each peer once");
        }
        for peer in &named {
            let line = format!("{hash},{},{}\n", peer.ip(), peer.port());
            again.extend_from_slice(line.as_bytes());
        }
        orders.extend(named.into_iter().map(|peer| (hash, peer)));
        hearsay.extend(heard.into_iter().map(|peer| (hash, peer)));
    }
    assert!(requests <= tally.good());
    let naive = naive_list(data);
    assert_eq!((tally.good(), tally.bad()), (naive.good, naive.bad), "every line counts once");
    assert_eq!(asked, naive.asked, "what is asked for");
    assert_eq!(orders, naive.orders, "and of whom");
    assert_eq!(hearsay, naive.hearsay, "and what links say");
    // What was understood, written as `crawl peers` writes it, has no bad line.
    let rewritten = LinesRead::default();
    let mut reread = BTreeSet::new();
    for request in lists::read(&again[..], rewritten.clone()) {
        let request = request.expect("memory reads");
        reread.extend(request.orders.into_iter().map(|peer| (request.hash, peer)));
    }
    assert_eq!(rewritten.good(), again.iter().filter(|byte| **byte == b'\n').count() as u64);
    assert_eq!(rewritten.bad(), 0);
    assert_eq!(reread, orders);
}

/// What a list says, read without regard to memory.
#[derive(Default)]
struct List {
    good: u64,
    bad: u64,
    asked: BTreeSet<InfoHash>,
    orders: BTreeSet<(InfoHash, SocketAddr)>,
    hearsay: BTreeSet<(InfoHash, SocketAddr)>,
    /// The names in the last header.
    header: Option<Vec<String>>,
}

/// Reads a list line by line, each character by character. Magnet links have a target of their own
/// and are not read again here.
fn naive_list(data: &[u8]) -> List {
    let mut list = List::default();
    let unit = match data {
        [0xff, 0xfe, ..] => Some(u16::from_le_bytes as fn([u8; 2]) -> u16),
        [0xfe, 0xff, ..] => Some(u16::from_be_bytes as fn([u8; 2]) -> u16),
        _ => None,
    };
    let text = match unit {
        Some(unit) => {
            let pairs = data.chunks_exact(2);
            let odd = pairs.remainder().len();
            let units: Vec<u16> = pairs.map(|pair| unit([pair[0], pair[1]])).collect();
            (String::from_utf16_lossy(&units) + &"\u{fffd}".repeat(odd)).into_bytes()
        }
        None => data.to_vec(),
    };
    for line in text.split(|byte| matches!(byte, b'\n' | b'\r')) {
        if line.len() > LINE_BYTES_MAX {
            list.bad += 1;
        } else {
            list.line(&String::from_utf8_lossy(line));
        }
    }
    list
}

/// The cells of a line.
fn cells(text: &str) -> Vec<String> {
    let low = text.to_ascii_lowercase();
    let link = low.starts_with("magnet:") || low.starts_with("magnet%");
    if link || low.starts_with("urn:") && low.contains('&') {
        let mut cells: Vec<String> = text.split('\t').map(|cell| cell.trim().to_owned()).collect();
        cells[0] = cells[0].trim_end_matches([',', ';', ' ']).to_owned();
        return cells;
    }
    let chars: Vec<char> = text.chars().collect();
    let mut in_quotes = false;
    let separator = chars.iter().copied().find(|c| {
        in_quotes ^= *c == '"';
        !in_quotes && [',', ';', '\t'].contains(c)
    });
    if separator.is_none() && !text.starts_with('"') {
        return text.split_whitespace().map(str::to_owned).collect();
    }
    let (separator, mut cells, mut at) = (separator.unwrap_or(','), Vec::new(), 0);
    loop {
        let mut cell = String::new();
        let begins = (at..chars.len()).find(|at| chars[*at] != ' ').unwrap_or(chars.len());
        if chars.get(begins) == Some(&'"') {
            at = begins + 1;
            while let Some(c) = chars.get(at) {
                match (c, chars.get(at + 1)) {
                    ('"', Some('"')) => at += 1,
                    ('"', _) => break,
                    _ => {}
                }
                cell.push(*c);
                at += 1;
            }
            while at < chars.len() && chars[at] != separator {
                at += 1;
            }
        } else {
            while at < chars.len() && chars[at] != separator {
                cell.push(chars[at]);
                at += 1;
            }
        }
        cells.push(cell.trim().to_owned());
        if at >= chars.len() || cells.len() > 64 {
            return cells;
        }
        at += 1;
    }
}

impl List {
    fn line(&mut self, text: &str) {
        let text = text.trim_start_matches('\u{feff}');
        let text = match self.header {
            Some(_) => text.trim_end().trim_start_matches(|c: char| c != '\t' && c.is_whitespace()),
            None => text.trim(),
        };
        let bare = text.trim_matches('"').to_ascii_lowercase();
        let note = bare.strip_prefix("sep=").is_some_and(|rest| rest.chars().count() < 2);
        if text.is_empty() || text.starts_with('#') || note {
            return;
        }
        let mut cells = cells(text);
        cells.truncate(cells.iter().rposition(|cell| !cell.is_empty()).map_or(0, |last| last + 1));
        if cells.is_empty() {
            return;
        }
        let names: Vec<String> = cells.iter().map(|cell| cell.to_ascii_lowercase()).collect();
        let is_header = place(&names, &["infohash", "info_hash"]).is_some();
        if is_header && !cells.iter().any(|cell| hash_of(cell).is_some()) {
            self.header = Some(names);
            return;
        }
        match self.row(&cells) {
            Some(()) => self.good += 1,
            None => self.bad += 1,
        }
    }

    fn row(&mut self, cells: &[String]) -> Option<()> {
        let cell = |at: Option<usize>| at.and_then(|at| cells.get(at)).map_or("", String::as_str);
        let by_header = self.header.as_ref().filter(|names| cells.len() <= names.len());
        let by_header = by_header.map(|names| {
            let hash = place(names, &["infohash", "info_hash"]);
            let ip = place(names, &["peer_ip", "ip", "peer", "address"]);
            [cell(hash), cell(ip), cell(place(names, &["peer_port", "port"]))]
        });
        let [hash, ip, port] = match by_header.filter(|[hash, ..]| hash_of(hash).is_some()) {
            Some(three) => three,
            None if cells.len() <= 3 => [cell(Some(0)), cell(Some(1)), cell(Some(2))],
            None if cells.len() == 8 && is_output(cells) => {
                [cell(Some(0)), cell(Some(5)), cell(Some(6))]
            }
            None => return None,
        };
        let (hash, linked) = hash_of(hash)?;
        let peer = match (ip, port) {
            ("", "") => None,
            (both, "") => {
                let both: SocketAddr = both.parse().ok()?;
                Some(peer_of(&both.ip().to_string(), &both.port().to_string())?)
            }
            (ip, port) => {
                let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']'));
                Some(peer_of(bare.unwrap_or(ip), port)?)
            }
        };
        self.asked.insert(hash);
        self.orders.extend(peer.map(|peer| (hash, peer)));
        self.hearsay.extend(linked.into_iter().map(|peer| (hash, peer)));
        Some(())
    }
}

/// Where the first cell with one of these names stands.
fn place(cells: &[String], names: &[&str]) -> Option<usize> {
    cells.iter().position(|cell| names.contains(&cell.as_str()))
}

/// Whether these are cells of a row of `crawl`.
fn is_output(cells: &[String]) -> bool {
    let number = |cell: &String| {
        !cell.is_empty() && cell.chars().all(|c| c.is_ascii_digit() || "+.,eE".contains(c))
    };
    cells[2..5].iter().all(number)
        && ["true", "false"].contains(&cells[7].to_ascii_lowercase().as_str())
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
