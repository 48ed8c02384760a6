//! The only source of randomness: a keyed generator that a seed replays exactly.
//!
//! Remote parties see draws (transaction ids, tokens, peer ids), so the generator must not be
//! predictable from its output: it is SHA-1 over key and counter. One hash gives 20 bytes.

use sha1::{Digest, Sha1};

/// 256 bits from which a whole run follows. Adapters take it from the operating system, or expand
/// it from the `u64` that a user or a simulator names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u8; 32]);

impl Seed {
    /// The seed for a short number, as in `--seed 7`.
    pub fn from_u64(n: u64) -> Self {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&n.to_be_bytes());
        Self(seed)
    }
}

/// Shows nothing of the secret.
impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// A deterministic, unpredictable stream of bytes.
#[derive(Clone)]
pub struct Rng {
    key: [u8; 32],
    counter: u64,
    block: [u8; 20],
    used: usize,
}

impl Rng {
    /// The stream that belongs to `seed`.
    pub fn new(seed: Seed) -> Self {
        Self { key: seed.0, counter: 0, block: [0; 20], used: 20 }
    }

    /// An independent stream for a subsystem, so that one extra draw here does not shift the
    /// draws there. `label` tells siblings apart.
    pub fn fork(&self, label: &str) -> Self {
        let mut key = [0; 32];
        for (half, bytes) in key.chunks_mut(16).enumerate() {
            let digest = Sha1::new()
                .chain_update(b"fork")
                .chain_update([u8::from(half == 1)])
                .chain_update(self.key)
                .chain_update(label)
                .finalize();
            bytes.copy_from_slice(&digest[..16]);
        }
        Self::new(Seed(key))
    }

    /// Fills `out` with the next bytes of the stream.
    pub fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            if self.used == self.block.len() {
                self.refill();
            }
            *byte = self.block[self.used];
            self.used += 1;
        }
    }

    /// The next `N` bytes of the stream.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }

    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        u32::from_be_bytes(self.bytes())
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        u64::from_be_bytes(self.bytes())
    }

    /// A number in `0..bound`; 0 when `bound` is 0. The bias of one part in 2^64 is accepted.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        (wide >> 64) as u64
    }

    fn refill(&mut self) {
        let digest =
            Sha1::new().chain_update(self.key).chain_update(self.counter.to_be_bytes()).finalize();
        self.block.copy_from_slice(&digest);
        self.counter += 1;
        self.used = 0;
    }
}

/// Shows the position, never the key.
impl std::fmt::Debug for Rng {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rng").field("counter", &self.counter).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_streams_and_others_do_not() {
        let draw = |n| Rng::new(Seed::from_u64(n)).bytes::<64>();
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn a_fork_ignores_how_much_its_parent_drew() {
        let mut parent = Rng::new(Seed::from_u64(1));
        let before = parent.fork("walk").next_u64();
        parent.next_u64();
        assert_eq!(parent.fork("walk").next_u64(), before);
        assert_ne!(parent.fork("sweep").next_u64(), before);
    }

    #[test]
    fn below_stays_below_and_reaches_every_value() {
        let mut rng = Rng::new(Seed::from_u64(3));
        let mut seen = [false; 7];
        for _ in 0..500 {
            seen[rng.below(7) as usize] = true;
        }
        assert_eq!(seen, [true; 7]);
        assert_eq!(rng.below(0), 0);
    }
}
