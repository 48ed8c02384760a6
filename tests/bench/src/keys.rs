//! What the exchange of keys of an encrypted connection costs: two powers of 768-bit numbers, four
//! hashes of short texts, and the beginnings of two keystreams.
//!
//! The figure is a multiple of one SHA-1 of a piece of metadata, measured in turns with it: both
//! have the same machine at the same time, and the best turn of each is the one least disturbed.

use std::hint::black_box;
use std::time::{Duration, Instant};

use estudely_core::internal::mse::{Encryption, Filter};
use estudely_core::internal::rng::Rng;
use estudely_core::{InfoHash, PeerFault, Seed};
use sha1::{Digest, Sha1};

/// Bytes of a public key.
const KEY_LEN: usize = 96;
/// Bytes of a piece.
const PIECE_LEN: usize = 16 * 1024;
/// Turns, and how often each does what it measures.
const TURNS: u64 = 300;
const REPEATS: u32 = 8;
/// The most that an exchange of keys may cost, in hashes of a piece.
const COST_MAX: f64 = 20.0;

/// The cost as a line of text, and whether it is within its bound.
pub(crate) fn measure() -> Result<(String, bool), PeerFault> {
    let theirs = begun(0).1;
    let piece = vec![0x5a; PIECE_LEN];
    let (mut exchange, mut hash) = (Duration::MAX, Duration::MAX);
    for turn in 1..=TURNS {
        let started = Instant::now();
        for _ in 0..REPEATS {
            let (mut filter, mut out) = begun(turn);
            filter.receive(&theirs[..KEY_LEN], &mut out)?;
            black_box(out);
        }
        exchange = exchange.min(started.elapsed() / REPEATS);
        let started = Instant::now();
        for _ in 0..REPEATS {
            black_box(Sha1::digest(black_box(&piece)));
        }
        hash = hash.min(started.elapsed() / REPEATS);
    }
    let times = exchange.as_secs_f64() / hash.as_secs_f64().max(1e-9);
    let text = format!(
        "keys   {times:.1} times one SHA-1 of 16 KiB ({:.1} us / {:.1} us), at most {COST_MAX} wanted",
        exchange.as_secs_f64() * 1e6,
        hash.as_secs_f64() * 1e6
    );
    Ok((text, times <= COST_MAX))
}

/// A filter whose stream is connected, and what it said.
fn begun(seed: u64) -> (Filter, Vec<u8>) {
    let rng = Rng::new(Seed::from_u64(seed));
    let mut filter = Filter::new(InfoHash([7; 20]), Encryption::Either, [0; 68], rng);
    let mut out = Vec::with_capacity(2_048);
    filter.begin(&mut out);
    (filter, out)
}
