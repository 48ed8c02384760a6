//! The two CSV tables: metadata rows (README.md, "Output"), and the pairs of `peers.csv`.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use csv::{QuoteStyle, WriterBuilder};
use estudely_core::info::display_name;
use estudely_core::keyed::FingerprintSet;
use estudely_core::{InfoHash, Row, Verdict};

use super::file::Output;
use super::place::RowsPer;
use super::traits::{RowSink, RowTimes};
use crate::files::hashes::InfoHashSet;
use crate::files::resume::pair_key;

/// The longest name, in bytes as it is written, that is repeated for every peer. A longer one gets
/// one row, that of the peer which served it: else 32 MiB from one stranger would become 2 GiB,
/// or 19 GiB with 200 peers, most of them hearsay. No name that means something is a hundredth as
/// long.
pub const REPEATED_NAME_MAX: usize = 64 << 10;

/// Metadata rows.
#[derive(Debug)]
pub struct CsvRows {
    output: Output,
    rows_per: RowsPer,
    escape_formulas: bool,
    /// Infohashes that the output holds as `True` while another output lacks them.
    verified: InfoHashSet,
    /// Infohashes that the output holds, not as `True`.
    unverified: Option<FingerprintSet>,
    block: Block,
}

impl CsvRows {
    /// Rows for an output that holds the given infohashes already.
    pub fn new(
        output: Output,
        rows_per: RowsPer,
        escape_formulas: bool,
        verified: InfoHashSet,
        unverified: Option<FingerprintSet>,
    ) -> Self {
        let block = Block::default();
        Self { output, rows_per, escape_formulas, verified, unverified, block }
    }

    /// Whether the output has what `row` says, or better, from an earlier run.
    fn holds(&self, row: &Row) -> bool {
        let failed = !matches!(row.verdict, Verdict::Verified { .. });
        let known = || self.unverified.as_ref().is_some_and(|set| set.contains(&row.infohash.0));
        self.verified.contains(row.infohash) || (failed && known())
    }
}

impl RowSink for CsvRows {
    fn prepare(&mut self, row: &Row, _times: RowTimes) -> u64 {
        if matches!(row.verdict, Verdict::PeersOnly) || self.holds(row) {
            self.block.clear();
            self.block.infohash = row.infohash;
        } else {
            self.block.fill(row, self.rows_per, self.escape_formulas);
        }
        self.block.len()
    }

    fn commit(&mut self) -> io::Result<()> {
        self.output.append(self.block.infohash, &self.block.head, &self.block.tails)?;
        self.block.clear();
        Ok(())
    }

    fn held(&self) -> u64 {
        self.output.held()
    }

    fn file(&mut self) -> Option<&mut Output> {
        self.output.is_file().then_some(&mut self.output)
    }

    fn check_reader(&self) -> io::Result<()> {
        self.output.check_reader()
    }

    fn forget(&mut self) {
        self.verified = InfoHashSet::default();
        self.unverified = None;
    }

    fn bytes(&self) -> u64 {
        self.output.len()
    }

    fn rows(&self) -> u64 {
        self.output.rows()
    }

    fn begin(&mut self) -> io::Result<()> {
        self.output.begin()
    }

    fn discard(&self) {
        self.output.discard();
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.poll_ready(cx)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.poll_flush(cx)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// The lines that [`CsvRows`] writes for `row`, whatever the output holds already.
pub fn row_lines(row: &Row, rows_per: RowsPer, escape_formulas: bool) -> Vec<u8> {
    let mut block = Block::default();
    block.fill(row, rows_per, escape_formulas);
    let with_head = |tail: &String| [&block.head, tail.as_bytes()].concat();
    block.tails.iter().flat_map(with_head).collect()
}

/// The rows of one infohash: what they share is held once, for a name can be megabytes long.
#[derive(Debug)]
struct Block {
    infohash: InfoHash,
    /// `infohash,name,file_count,total_bytes,piece_length,`
    head: Vec<u8>,
    /// `peer_ip,peer_port,metadata_ok` with the line end, one for each row.
    tails: Vec<String>,
}

impl Default for Block {
    fn default() -> Self {
        Self { infohash: InfoHash([0; 20]), head: Vec::new(), tails: Vec::new() }
    }
}

impl Block {
    fn clear(&mut self) {
        self.head.clear();
        self.head.shrink_to(64 << 10);
        self.tails.clear();
    }

    fn len(&self) -> u64 {
        let tails: usize = self.tails.iter().map(String::len).sum();
        (self.head.len() * self.tails.len() + tails) as u64
    }

    fn fill(&mut self, row: &Row, rows_per: RowsPer, escape_formulas: bool) {
        self.clear();
        self.infohash = row.infohash;
        let (name, counts, ok) = match &row.verdict {
            Verdict::Verified { info, .. } => {
                let name = display_name(&info.name);
                (name, [info.file_count, info.total_bytes, info.piece_length], "True")
            }
            _ => (String::new(), [0; 3], "False"),
        };
        let name = if escape_formulas { escaped(name) } else { name };
        self.head = head(row.infohash, &name, counts);
        let kept = match rows_per {
            RowsPer::Peer if name.len() <= REPEATED_NAME_MAX => row.peers.len(),
            RowsPer::Peer | RowsPer::Torrent => row.peers.len().min(1),
        };
        let peers = row.peers.iter().take(kept);
        self.tails.extend(peers.map(|peer| format!("{},{},{ok}\n", peer.ip(), peer.port())));
        if self.tails.is_empty() {
            self.tails.push(format!(",,{ok}\n"));
        }
    }
}

/// The fields that all rows of an infohash share, quoted where needed, with the comma behind.
fn head(hash: InfoHash, name: &str, counts: [u64; 3]) -> Vec<u8> {
    let mut writer =
        WriterBuilder::new().quote_style(QuoteStyle::Necessary).from_writer(Vec::new());
    let [files, bytes, piece] = counts.map(|count| count.to_string());
    // Writing to memory cannot fail.
    let _ = writer.write_record([&hash.to_string(), name, &files, &bytes, &piece]);
    let mut head = writer.into_inner().unwrap_or_default();
    head.pop();
    head.push(b',');
    head
}

/// A name that no spreadsheet runs as a formula (catalogue H36).
fn escaped(name: String) -> String {
    const STARTS: &[char] = &[
        '=', '+', '-', '@', '\t', '\r', '\n', '\0', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
    ];
    if name.starts_with(STARTS) { format!("'{name}") } else { name }
}

/// Pairs of infohash and peer, none of them twice.
#[derive(Debug)]
pub struct Pairs {
    output: Output,
    /// Pairs that the output holds.
    held: Option<FingerprintSet>,
    /// Whose pairs were prepared last.
    infohash: InfoHash,
    lines: Vec<String>,
}

impl Pairs {
    /// Pairs for an output that holds those in `held` already.
    pub fn new(output: Output, held: FingerprintSet) -> Self {
        let held = Some(held).filter(|held| !held.is_empty());
        Self { output, held, infohash: InfoHash([0; 20]), lines: Vec::new() }
    }
}

impl RowSink for Pairs {
    fn prepare(&mut self, row: &Row, _times: RowTimes) -> u64 {
        self.lines.clear();
        self.infohash = row.infohash;
        let mut prepared: Vec<SocketAddr> = Vec::new();
        for peer in &row.peers {
            let key = pair_key(row.infohash, peer.ip(), peer.port());
            let is_held = self.held.as_ref().is_some_and(|held| held.contains(&key));
            if !prepared.contains(peer) && !is_held {
                prepared.push(*peer);
                self.lines.push(format!("{},{},{}\n", row.infohash, peer.ip(), peer.port()));
            }
        }
        self.lines.iter().map(|line| line.len() as u64).sum()
    }

    fn commit(&mut self) -> io::Result<()> {
        self.output.append(self.infohash, b"", &self.lines)?;
        self.lines.clear();
        Ok(())
    }

    fn held(&self) -> u64 {
        self.output.held()
    }

    fn file(&mut self) -> Option<&mut Output> {
        self.output.is_file().then_some(&mut self.output)
    }

    fn check_reader(&self) -> io::Result<()> {
        self.output.check_reader()
    }

    fn forget(&mut self) {
        self.held = None;
    }

    fn bytes(&self) -> u64 {
        self.output.len()
    }

    fn rows(&self) -> u64 {
        self.output.rows()
    }

    fn begin(&mut self) -> io::Result<()> {
        self.output.begin()
    }

    fn discard(&self) {
        self.output.discard();
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.poll_ready(cx)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.poll_flush(cx)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
