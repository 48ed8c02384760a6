//! Where the world's dice come from: one stream per subject, so that a further draw for one
//! torrent or node never shifts those of its neighbours.
//!
//! Not the core's generator: a simulated world has no adversary that guesses, and filling gigabytes
//! of piece hashes must cost less than hashing them.

/// The stream of subject number `index` of kind `label` in the world of `seed`.
pub(crate) fn draw(seed: u64, label: &str, index: u64) -> fastrand::Rng {
    let kind = label.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut outer = fastrand::Rng::with_seed(seed ^ kind);
    let base = outer.u64(..);
    fastrand::Rng::with_seed(base ^ index.wrapping_mul(0xd6e8_feb8_6659_fd93))
}

#[cfg(test)]
mod tests {
    use super::draw;

    #[test]
    fn streams_differ_by_seed_label_and_index_and_repeat() {
        let first = |seed, label, index| draw(seed, label, index).u64(..);
        assert_eq!(first(1, "node", 2), first(1, "node", 2));
        assert_ne!(first(1, "node", 2), first(1, "node", 3));
        assert_ne!(first(1, "node", 2), first(2, "node", 2));
        assert_ne!(first(1, "node", 2), first(1, "peer", 2));
    }
}
