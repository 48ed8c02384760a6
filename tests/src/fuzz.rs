//! The bodies of the fuzz targets: plain functions over bytes that panic when a promise is broken.
//! `fuzz/fuzz_targets` hands them to libFuzzer, `tests/corpus.rs` to `cargo test`.
//!
//! They must stay deterministic and must never depend on libFuzzer, so that an artifact it finds
//! fails the same way under plain `cargo test`. Their oracles are stronger than "no panic":
//! re-encoding, independent decoders, naive models, other splits of the same stream, and work
//! counted in tokens and bytes rather than in seconds.

mod addresses;
mod bencode;
mod crawler;
mod dht;
mod files;
mod info;
mod input;
mod krpc;
mod mse;
mod plan;
mod utp;
mod wire;

use estudely_core::InfoHash;

/// One fuzz target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, for the replay of the corpora.
pub const TARGETS: &[Target] = &[
    ("bdecode", bencode::bdecode),
    ("compact", krpc::compact),
    ("crawler", crawler::crawler),
    ("csv_row", files::csv_row),
    ("endpoint", dht::endpoint),
    ("exchange", wire::exchange),
    ("handshake", wire::handshake),
    ("krpc", krpc::krpc),
    ("magnet", info::magnet),
    ("metainfo", info::metainfo),
    ("mse", mse::mse),
    ("name", info::name),
    ("peers_csv", files::peers_csv),
    ("plan", plan::plan),
    ("table", dht::table),
    ("utp", utp::utp),
];

/// What a peer sends in the conversation about `hash` that an input of `exchange` describes, for
/// those who serve the corpus over real sockets.
pub fn peer_stream(data: &[u8], hash: InfoHash) -> Vec<u8> {
    wire::peer_stream(data, hash)
}

/// Runs the target called `name`.
///
/// # Panics
/// When there is no such target, or when it finds a promise broken by `data`.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, body) = target.unwrap_or_else(|| panic!("no target is called {name}"));
    body(data);
}
