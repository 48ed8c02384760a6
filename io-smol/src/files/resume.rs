//! Reading outputs of earlier runs: whether they are ours, what they hold, where a torn end is.
//!
//! Nothing here changes a file. Files may be many gigabytes: one pass, and no memory but for one
//! record and the infohashes.
//!
//! What spreadsheets and `cat` add is accepted: a byte order mark, `sep=,`, other line ends, a
//! field that spans lines, quotes, `TRUE`, empty rows and columns behind ours, a second header.
//! Rows are appended as ever. What a program may have destroyed is refused, and what it looks like
//! is said.

mod header;

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::net::{IpAddr, SocketAddr};

use csv_core::{ReadRecordResult, Reader};
use estudely_core::InfoHash;
use estudely_core::keyed::{FingerprintSet, Rng};
use estudely_core::limits::METADATA_MAX;

use super::hashes::{InfoHashSet, InfoHashSetBuilder};

/// Longest record read: a name may be all of the largest metadata (catalogue 9.5), each byte of
/// which became a U+FFFD of 3 bytes; and the other columns.
pub const RECORD_BYTES_MAX: usize = 3 * METADATA_MAX + (64 << 10);
/// Most fields of a record that are told apart; more than any file of ours has.
const FIELDS_MAX: usize = 16;
/// Most infohashes without metadata, and most pairs, that are remembered: at most 3.2 GB.
pub const FINGERPRINTS_MAX: usize = 200_000_000;
/// Bytes read from a file at once.
const CHUNK_BYTES: usize = 256 << 10;

/// Bytes at the end of a file that tell whether its last row is whole: `,"False"`.
const TAIL_BYTES: usize = 8;

/// What spreadsheets put before the text: U+FEFF in UTF-8.
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// The first line of a metadata output, without line end.
pub const ROWS_HEADER: &str =
    "infohash,name,file_count,total_bytes,piece_length,peer_ip,peer_port,metadata_ok";
/// The first line of `peers.csv`, without line end.
pub const PAIRS_HEADER: &str = "infohash,peer_ip,peer_port";

/// Why a file is not resumed.
#[derive(Debug)]
pub enum Foreign {
    /// It cannot be read.
    Unreadable(io::Error),
    /// A line is not ours.
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        what: Cow<'static, str>,
    },
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(source) => write!(f, "cannot be read: {source}"),
            Self::Line { line, what } => write!(f, "line {line}: {what}"),
        }
    }
}

impl std::error::Error for Foreign {}

impl From<io::Error> for Foreign {
    fn from(source: io::Error) -> Self {
        Self::Unreadable(source)
    }
}

/// Where the whole rows of a file end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Bytes up to the end of the last whole row: what follows is torn. 0: not even a header.
    pub whole: u64,
    /// Bytes of the file.
    pub len: u64,
    /// How the last whole row ends.
    pub end: RowEnd,
}

/// How a row ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowEnd {
    /// With a line feed, or there is no row.
    #[default]
    Whole,
    /// Without: one is to be written before anything is appended.
    Open,
}

impl Extent {
    /// All of a file, or of a part of it that ends as rows should.
    pub const fn of(whole: u64, len: u64) -> Self {
        Self { whole, len, end: RowEnd::Whole }
    }
}

/// What a metadata output holds.
#[derive(Clone, Debug)]
pub struct HeldRows {
    /// Where its whole rows end.
    pub extent: Extent,
    /// Infohashes with a row that says `True`.
    pub verified: InfoHashSet,
    /// Fingerprints of the infohashes with any other row.
    pub unverified: FingerprintSet,
    /// Whether it names peers, and every one of them on this very machine: the rows of `swarm`,
    /// and nothing that the public DHT could have given.
    pub is_invented: bool,
}

/// What a `peers.csv` holds.
#[derive(Clone, Debug)]
pub struct HeldPairs {
    /// Where its whole rows end.
    pub extent: Extent,
    /// Fingerprints of its pairs; see [`pair_key`].
    pub pairs: FingerprintSet,
}

/// Reads a metadata output from its start.
///
/// # Errors
/// It is not ours, or damaged other than at its end.
pub fn scan_rows(file: &mut (impl Read + Seek), rng: &mut Rng) -> Result<HeldRows, Foreign> {
    let mut verified = InfoHashSetBuilder::default();
    let mut unverified = FingerprintSet::new(rng, FINGERPRINTS_MAX);
    let mut last = None;
    let (mut loopback, mut elsewhere) = (false, false);
    let extent = each_row(file, |HeldRow { hash, peer, ok }| {
        match peer.map(|peer| peer.ip().to_canonical().is_loopback()) {
            Some(true) => loopback = true,
            Some(false) => elsewhere = true,
            None => {}
        }
        // An infohash's rows stand together.
        if last != Some((hash, ok)) {
            last = Some((hash, ok));
            if ok {
                verified.insert(hash);
            } else {
                unverified.insert(&hash.0);
            }
        }
    })?;
    let is_invented = loopback && !elsewhere;
    Ok(HeldRows { extent, verified: verified.finish(), unverified, is_invented })
}

/// What counts of one row of a metadata output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldRow {
    /// Its infohash.
    pub hash: InfoHash,
    /// Its peer, if it names one.
    pub peer: Option<SocketAddr>,
    /// Whether it says `True`.
    pub ok: bool,
}

/// Reads a metadata output from its start and shows every whole row to `on_row`.
///
/// # Errors
/// It is not ours, or damaged other than at its end.
pub fn each_row(
    file: &mut (impl Read + Seek),
    mut on_row: impl FnMut(HeldRow),
) -> Result<Extent, Foreign> {
    scan(file, Table::Rows, |fields| row(fields).map(&mut on_row))
}

/// Reads a `peers.csv` from its start; its header may be missing.
///
/// # Errors
/// It is not ours, or damaged other than at its end.
pub fn scan_pairs(file: &mut (impl Read + Seek), rng: &mut Rng) -> Result<HeldPairs, Foreign> {
    let mut pairs = FingerprintSet::new(rng, FINGERPRINTS_MAX);
    let extent = each_pair(file, |hash, peer| {
        if let Some((ip, port)) = peer {
            pairs.insert(&pair_key(hash, ip, port));
        }
    })?;
    Ok(HeldPairs { extent, pairs })
}

/// Reads a `peers.csv` from its start and shows every whole pair to `on_pair`.
pub(super) fn each_pair(
    file: &mut (impl Read + Seek),
    mut on_pair: impl FnMut(InfoHash, Option<(IpAddr, u16)>),
) -> Result<Extent, Foreign> {
    scan(file, Table::Pairs, |fields| {
        let [hash, ip, port] = fields.exactly().ok_or("not 3 fields, as a pair has")?;
        let hash = infohash(hash).ok_or("the first field is no infohash")?;
        on_pair(hash, endpoint(ip, port)?);
        Ok(())
    })
}

/// Reads an output from its start and shows the infohash of every whole row to `on_hash`.
///
/// # Errors
/// It is not ours, or damaged other than at its end.
pub fn each_infohash(
    file: &mut (impl Read + Seek),
    is_pairs: bool,
    on_hash: &mut dyn FnMut(InfoHash),
) -> Result<Extent, Foreign> {
    if is_pairs {
        each_pair(file, |hash, _| on_hash(hash))
    } else {
        each_row(file, |row| on_hash(row.hash))
    }
}

/// What stands for a pair in a set of fingerprints.
pub fn pair_key(hash: InfoHash, ip: IpAddr, port: u16) -> [u8; 38] {
    let mut key = [0; 38];
    key[..20].copy_from_slice(&hash.0);
    let ip = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    key[20..36].copy_from_slice(&ip.octets());
    key[36..].copy_from_slice(&port.to_be_bytes());
    key
}

fn row(fields: Fields<'_>) -> Result<HeldRow, &'static str> {
    let [hash, _name, files, bytes, piece, ip, port, ok] =
        fields.exactly().ok_or("not 8 fields, as a row has")?;
    let hash = infohash(hash).ok_or("the first field is no infohash")?;
    if ![files, bytes, piece].into_iter().all(is_count) {
        return Err("a count is no number");
    }
    let peer = endpoint(ip, port)?.map(SocketAddr::from);
    let ok = match ok {
        word if word.eq_ignore_ascii_case(b"True") => true,
        word if word.eq_ignore_ascii_case(b"False") => false,
        _ => return Err("metadata_ok is neither True nor False"),
    };
    Ok(HeldRow { hash, peer, ok })
}

/// Whether a field is a count; a spreadsheet rounds large ones (`1.23457E+12`).
fn is_count(field: &[u8]) -> bool {
    let digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let Some(at) = field.iter().position(|byte| matches!(byte, b'E' | b'e')) else {
        return digits(field);
    };
    let (number, power) = (&field[..at], field[at + 1..].strip_prefix(b"+"));
    let mut parts = number.splitn(2, |byte| matches!(byte, b'.' | b','));
    parts.all(digits) && power.is_some_and(digits)
}

fn infohash(field: &[u8]) -> Option<InfoHash> {
    std::str::from_utf8(field).ok().and_then(InfoHash::from_hex)
}

/// An address and port, both there or both empty.
fn endpoint(ip: &[u8], port: &[u8]) -> Result<Option<(IpAddr, u16)>, &'static str> {
    if ip.is_empty() && port.is_empty() {
        return Ok(None);
    }
    let text = |field| std::str::from_utf8(field).unwrap_or_default();
    let ip = text(ip).parse().map_err(|_| "peer_ip is no address")?;
    let port = text(port).parse().map_err(|_| "peer_port is no port")?;
    Ok(Some((ip, port)))
}

/// What a file of ours may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    Rows,
    /// Its header may be missing.
    Pairs,
}

impl Table {
    fn header(self) -> &'static str {
        match self {
            Self::Rows => ROWS_HEADER,
            Self::Pairs => PAIRS_HEADER,
        }
    }
}

/// Reads every record but a torn last one, headers left out.
fn scan(
    file: &mut (impl Read + Seek),
    table: Table,
    mut on_row: impl FnMut(Fields<'_>) -> Result<(), &'static str>,
) -> Result<Extent, Foreign> {
    file.seek(SeekFrom::Start(0))?;
    let mut records = Records::new(BufReader::with_capacity(CHUNK_BYTES, file));
    if let Some(what) = header::other_encoding(records.input.fill_buf()?) {
        return Err(Foreign::Line { line: 1, what: what.into() });
    }
    let mut first = true;
    loop {
        let (start, line) = (records.offset, records.reader.line());
        let wrong = |what: Cow<'static, str>| Err(Foreign::Line { line, what });
        let fields = match records.next()? {
            Record::Whole(fields) => fields,
            Record::Torn(fields, end) => {
                let text = fields.text;
                if text.contains(&b'\n') {
                    return wrong("a quote is opened and never closed".into());
                }
                // Without any whole line the file is only ours if it began as a header.
                if first && !header::may_be_torn(text, table.header()) {
                    return wrong(header::NOT_OURS.into());
                }
                let whole = !first && table == Table::Rows && ends_a_row(&end);
                if whole && on_row(fields).is_ok() {
                    let len = records.offset;
                    return Ok(Extent { whole: len, len, end: RowEnd::Open });
                }
                return Ok(Extent::of(if first { 0 } else { start }, records.offset));
            }
            // Nothing else of that length and end has no record: the mark alone, and no header.
            Record::End { len: len @ 3, last_byte: 0xbf } if first => {
                return Ok(Extent::of(0, len));
            }
            Record::End { len: 1.., .. } if first => return wrong(header::NOT_OURS.into()),
            Record::End { len, last_byte: b'\r' } => {
                return Ok(Extent { whole: len, len, end: RowEnd::Open });
            }
            Record::End { len, .. } => return Ok(Extent::of(len, len)),
        };
        if first && header::is_separator_note(fields) || fields.are_all_empty() {
            continue;
        }
        let is_header = header::is_that_of(fields, table.header());
        if first
            && !is_header
            && let Some(what) = header::fault(fields, table)
        {
            return wrong(what);
        }
        first = false;
        if !is_header && let Err(what) = on_row(fields) {
            return wrong(what.into());
        }
    }
}

/// Whether the last bytes of a file are those of a whole row: the last column is one of two words,
/// neither of which goes on.
fn ends_a_row(end: &[u8]) -> bool {
    let ends = |word: &[u8]| {
        let start = end.len().checked_sub(word.len());
        start.is_some_and(|start| end[start..].eq_ignore_ascii_case(word))
    };
    let words: [&[u8]; 4] = [b",True", b",False", b",\"True\"", b",\"False\""];
    words.into_iter().any(ends)
}

/// The fields of a record.
#[derive(Clone, Copy)]
struct Fields<'a> {
    text: &'a [u8],
    /// Where each field ends in `text`.
    ends: &'a [usize],
}

impl<'a> Fields<'a> {
    fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        self.ends.iter().scan(0, move |start, end| {
            let field = self.text.get(*start..*end);
            *start = *end;
            field
        })
    }

    /// Whether there is nothing but separators.
    fn are_all_empty(self) -> bool {
        self.iter().all(<[u8]>::is_empty)
    }

    /// All of them, if there are exactly `N`, and behind these only empty ones.
    fn exactly<const N: usize>(self) -> Option<[&'a [u8]; N]> {
        if self.ends.len() < N || self.iter().skip(N).any(|field| !field.is_empty()) {
            return None;
        }
        let mut out: [&[u8]; N] = [&[]; N];
        out.iter_mut().zip(self.iter()).for_each(|(slot, field)| *slot = field);
        Some(out)
    }
}

/// One step through a file.
enum Record<'a> {
    /// A record with its line end.
    Whole(Fields<'a>),
    /// The last record, without one, and the last bytes of the file.
    Torn(Fields<'a>, [u8; TAIL_BYTES]),
    /// Nothing is left.
    End {
        /// Bytes of the file.
        len: u64,
        /// 0 if there are none.
        last_byte: u8,
    },
}

/// A file as records of bounded size, each with its place.
struct Records<R> {
    input: R,
    reader: Reader,
    /// Bytes consumed so far.
    offset: u64,
    last_byte: u8,
    /// The last bytes consumed.
    tail: [u8; TAIL_BYTES],
    text: Vec<u8>,
    ends: [usize; FIELDS_MAX],
}

impl<R: BufRead> Records<R> {
    fn new(input: R) -> Self {
        let text = vec![0; 4 << 10];
        let (tail, ends) = ([0; TAIL_BYTES], [0; FIELDS_MAX]);
        Self { input, reader: Reader::new(), offset: 0, last_byte: 0, tail, text, ends }
    }

    fn next(&mut self) -> Result<Record<'_>, Foreign> {
        let line = self.reader.line();
        let wrong = |what: &'static str| Err(Foreign::Line { line, what: what.into() });
        let (mut text_len, mut ends_len) = (0, 0);
        loop {
            let chunk = self.input.fill_buf()?;
            let at_end = chunk.is_empty();
            let (result, read, text, ends) = self.reader.read_record(
                chunk,
                &mut self.text[text_len..],
                &mut self.ends[ends_len..],
            );
            let consumed = &chunk[..read];
            if let Some(last) = consumed.last() {
                self.last_byte = *last;
            }
            let kept = consumed.len().min(TAIL_BYTES);
            self.tail.rotate_left(kept);
            self.tail[TAIL_BYTES - kept..].copy_from_slice(&consumed[consumed.len() - kept..]);
            self.input.consume(read);
            self.offset += read as u64;
            text_len += text;
            ends_len += ends;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.text.len() >= RECORD_BYTES_MAX => {
                    return wrong("longer than any row");
                }
                ReadRecordResult::OutputFull => {
                    let len = (self.text.len() * 4).min(RECORD_BYTES_MAX);
                    self.text.resize(len, 0);
                }
                ReadRecordResult::OutputEndsFull => return wrong("more fields than any row has"),
                ReadRecordResult::Record if at_end => {
                    let (text, ends) = (&self.text[..text_len], &self.ends[..ends_len]);
                    return Ok(Record::Torn(Fields { text, ends }, self.tail));
                }
                ReadRecordResult::Record => {
                    self.skip_line_feed()?;
                    let (text, ends) = (&self.text[..text_len], &self.ends[..ends_len]);
                    return Ok(Record::Whole(Fields { text, ends }));
                }
                ReadRecordResult::End => {
                    return Ok(Record::End { len: self.offset, last_byte: self.last_byte });
                }
            }
        }
    }

    /// The second half of a CRLF, which the reader would count as part of the next record.
    fn skip_line_feed(&mut self) -> io::Result<()> {
        if self.last_byte == b'\r' && self.input.fill_buf()?.first() == Some(&b'\n') {
            self.input.consume(1);
            self.offset += 1;
            self.last_byte = b'\n';
            self.reader.set_line(self.reader.line() + 1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
