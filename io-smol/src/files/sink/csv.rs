//! The two CSV tables: metadata rows (README.md, "Output"), and the pairs of `peers.csv`.

use std::fs::File;
use std::net::SocketAddr;

use csv::{QuoteStyle, WriterBuilder};
use estudely_core::info::display_name;
use estudely_core::keyed::FingerprintSet;
use estudely_core::{InfoHash, Row, Verdict};

use super::place::RowsPer;
use super::render::{Block, Render};
use crate::files::hashes::InfoHashSet;
use crate::files::resume::{Extent, Foreign, HeldRow, each_pair, each_row, pair_key};

/// The longest name, in bytes as it is written, that is repeated for every peer. A longer one gets
/// one row, that of the peer which served it: else 32 MiB from one stranger would become 2 GiB,
/// or 19 GiB with 200 peers, most of them hearsay. No name that means something is a hundredth as
/// long.
pub const REPEATED_NAME_MAX: usize = 64 << 10;

/// Metadata rows.
#[derive(Debug)]
pub struct CsvRows {
    rows_per: RowsPer,
    escape_formulas: bool,
    /// Infohashes that the output holds as `True` while another output lacks them.
    verified: InfoHashSet,
    /// Infohashes that the output holds, not as `True`.
    unverified: FingerprintSet,
}

impl CsvRows {
    /// Rows for an output that holds the given infohashes already.
    pub fn new(
        rows_per: RowsPer,
        escape_formulas: bool,
        verified: InfoHashSet,
        unverified: FingerprintSet,
    ) -> Self {
        Self { rows_per, escape_formulas, verified, unverified }
    }

    /// Whether the output has what `row` says, or better.
    fn holds(&self, row: &Row) -> bool {
        let failed = !matches!(row.verdict, Verdict::Verified { .. });
        let known = || self.unverified.contains(&row.infohash.0);
        self.verified.contains(row.infohash) || (failed && known())
    }
}

impl Render for CsvRows {
    fn render(&mut self, row: &Row, block: &mut Block) {
        if !matches!(row.verdict, Verdict::PeersOnly) && !self.holds(row) {
            fill(block, row, self.rows_per, self.escape_formulas);
        }
    }

    fn learn(&mut self, file: &mut File) -> Result<Extent, Foreign> {
        let mut verified = std::mem::take(&mut self.verified).into_builder();
        let read = each_row(file, |HeldRow { hash, ok, .. }| {
            if ok {
                verified.insert(hash);
            } else {
                self.unverified.insert(&hash.0);
            }
        });
        self.verified = verified.finish();
        read
    }

    fn forget(&mut self) {
        self.verified = InfoHashSet::default();
        self.unverified.clear();
    }
}

/// The lines that [`CsvRows`] writes for `row`, whatever the output holds already.
pub fn row_lines(row: &Row, rows_per: RowsPer, escape_formulas: bool) -> Vec<u8> {
    let mut block = Block::default();
    fill(&mut block, row, rows_per, escape_formulas);
    let with_head = |tail: &String| [&block.head, tail.as_bytes()].concat();
    block.tails.iter().flat_map(with_head).collect()
}

/// Renders the rows of one infohash.
fn fill(block: &mut Block, row: &Row, rows_per: RowsPer, escape_formulas: bool) {
    let (name, counts, ok) = match &row.verdict {
        Verdict::Verified { info, .. } => {
            let name = display_name(&info.name);
            (name, [info.file_count, info.total_bytes, info.piece_length], "True")
        }
        _ => (String::new(), [0; 3], "False"),
    };
    let name = if escape_formulas { escaped(name) } else { name };
    block.head = head(row.infohash, &name, counts);
    let kept = match rows_per {
        RowsPer::Peer if name.len() <= REPEATED_NAME_MAX => row.peers.len(),
        RowsPer::Peer | RowsPer::Torrent => row.peers.len().min(1),
    };
    let peers = row.peers.iter().take(kept);
    block.tails.extend(peers.map(|peer| format!("{},{},{ok}\n", peer.ip(), peer.port())));
    if block.tails.is_empty() {
        block.tails.push(format!(",,{ok}\n"));
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
    /// Pairs that the output holds.
    held: FingerprintSet,
}

impl Pairs {
    /// Pairs for an output that holds those in `held` already.
    pub fn new(held: FingerprintSet) -> Self {
        Self { held }
    }
}

impl Render for Pairs {
    fn render(&mut self, row: &Row, block: &mut Block) {
        let mut rendered: Vec<SocketAddr> = Vec::new();
        for peer in &row.peers {
            let key = pair_key(row.infohash, peer.ip(), peer.port());
            if !rendered.contains(peer) && !self.held.contains(&key) {
                rendered.push(*peer);
                block.tails.push(format!("{},{},{}\n", row.infohash, peer.ip(), peer.port()));
            }
        }
    }

    fn learn(&mut self, file: &mut File) -> Result<Extent, Foreign> {
        each_pair(file, |hash, peer| {
            if let Some((ip, port)) = peer {
                self.held.insert(&pair_key(hash, ip, port));
            }
        })
    }

    fn forget(&mut self) {
        self.held.clear();
    }
}
