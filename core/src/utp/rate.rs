//! How many packets may leave in a second.

use crate::base::time::Instant;

const SECOND: u64 = 1_000_000_000;

/// A token bucket in its arithmetic form (GCRA). A twentieth of the rate may leave at once, so
/// that no window of a second sees more than the rate.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    /// Nanoseconds that one packet takes to be allowed again.
    step: u64,
    /// How far ahead of real time the theoretical arrival may run.
    slack: u64,
    /// Theoretical arrival of the next packet, in nanoseconds.
    arrival: u64,
}

impl Rate {
    /// At most `packets` in every window of a second, at least one.
    pub(super) fn new(packets: u32) -> Self {
        let packets = u64::from(packets.max(1));
        let burst = packets / 20;
        let step = SECOND.div_ceil((packets - burst).max(1));
        Self { step, slack: step * burst, arrival: 0 }
    }

    /// When the next packet may leave.
    pub(super) fn ready_at(&self) -> Instant {
        Instant::from_micros(self.arrival.saturating_sub(self.slack).div_ceil(1_000))
    }

    /// A packet leaves.
    pub(super) fn take(&mut self, now: Instant) {
        let now = now.as_micros().saturating_mul(1_000);
        self.arrival = self.arrival.max(now).saturating_add(self.step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_in_every_second_and_nearly_all_of_it_is_used() {
        for packets in [1, 7, 1_000, 20_000] {
            let mut rate = Rate::new(packets);
            let mut sent = Vec::new();
            let mut now = Instant::START;
            while now < Instant::from_micros(3_000_000) {
                sent.push(now.as_micros());
                rate.take(now);
                now = now.max(rate.ready_at());
            }
            let most = sent.iter().enumerate().map(|(index, from)| {
                sent[index..].iter().take_while(|at| **at < from + 1_000_000).count()
            });
            assert!(most.max() <= Some(packets as usize), "{packets}");
            assert!(sent.len() * 100 >= packets as usize * 3 * 93, "{packets}: {}", sent.len());
        }
    }
}
