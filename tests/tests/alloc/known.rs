//! What remembering an infohash costs: at most 32 bytes, at ten million.

use estudely_core::keyed::{FingerprintSet, Rng, Seen};
use estudely_core::limits::KNOWN_MAX;
use estudely_core::{Config, Crawler, InfoHash, Instant, Mode, Seed};

use crate::counting::cost;

/// Bytes per infohash, at most.
const BYTES_EACH: i64 = 32;

/// Distinct infohashes, spread as real ones are.
fn infohash(n: u64) -> InfoHash {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes[12..].copy_from_slice(&n.to_be_bytes());
    InfoHash(bytes)
}

#[test]
fn a_million_known_infohashes_cost_at_most_32_bytes_each() {
    const COUNT: u64 = 1_000_000;
    let mut crawler = Crawler::new(Config::new(Mode::Crawl), Seed::from_u64(1), Instant::START);
    let ((), cost) = cost(|| {
        for n in 0..COUNT {
            crawler.handle_known(infohash(n));
        }
    });
    let each = |bytes: i64| bytes / COUNT as i64;
    assert!(each(cost.kept) <= BYTES_EACH, "{cost:?}");
    // Old and new table side by side at the last growth.
    assert!(each(cost.peak) <= BYTES_EACH, "{cost:?}");
}

/// The set doubles, so the cost per entry swings between two bounds that do not depend on size:
/// 10.7 bytes just before a growth, 21.4 just after one, and 32.1 for the moment in which both
/// tables exist. Ten million stand in 2^24 slots: 134 MB, 13.4 bytes each, and 201 MB (20.1 each)
/// at most on the way.
#[test]
fn ten_million_known_infohashes_cost_134_megabytes() {
    const COUNT: u64 = 10_000_000;
    let mut set = FingerprintSet::new(&mut Rng::new(Seed::from_u64(1)), KNOWN_MAX);
    let ((), cost) = cost(|| {
        for n in 0..COUNT {
            assert_eq!(set.insert(&infohash(n).0), Seen::New);
        }
    });
    assert_eq!(cost.kept, 8 << 24, "{cost:?}");
    assert!(cost.peak <= 12 << 24, "{cost:?}");
    assert!(cost.kept / COUNT as i64 <= BYTES_EACH);
}
