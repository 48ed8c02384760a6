//! Where rows go, and how many of them.

use std::path::PathBuf;

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
