//! Where rows go, in which table, and how many of them.

use std::path::PathBuf;

use crate::files::resume::{PAIRS_HEADER, ROWS_HEADER};

/// Where rows go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Standard output, CSV.
    Stdout,
    /// A CSV file.
    File(PathBuf),
}

/// How many rows an infohash gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowsPer {
    /// One for each peer kept, as the ancestor wrote them.
    #[default]
    Peer,
    /// One.
    Torrent,
}

/// What an output holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Metadata rows.
    Rows {
        /// `--rows`
        per: RowsPer,
        /// `--escape-formulas`
        escape_formulas: bool,
    },
    /// Pairs of infohash and peer.
    Pairs,
}

impl Table {
    pub(super) fn header(self) -> &'static str {
        match self {
            Self::Rows { .. } => ROWS_HEADER,
            Self::Pairs => PAIRS_HEADER,
        }
    }

    pub(super) fn is_pairs(self) -> bool {
        self == Self::Pairs
    }
}
