//! Payload buffers that are used again.

/// Most buffers kept; more are dropped.
pub const POOLED_MAX: usize = 4_096;
/// Longest buffer kept, bytes: what fits an Ethernet frame fits, a flood's does not stay.
const KEPT_LEN_MAX: usize = 4_096;

#[derive(Debug, Default)]
pub(super) struct Pool(Vec<Vec<u8>>);

impl Pool {
    /// An empty buffer.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_default()
    }

    /// A buffer that holds `bytes`.
    pub(super) fn copy(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut buffer = self.take();
        buffer.extend_from_slice(bytes);
        buffer
    }

    pub(super) fn put(&mut self, mut buffer: Vec<u8>) {
        if self.0.len() < POOLED_MAX && (1..=KEPT_LEN_MAX).contains(&buffer.capacity()) {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}
