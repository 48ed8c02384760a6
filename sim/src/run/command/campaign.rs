//! Many seeds on as many threads as there are cores, reported in the order of the seeds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Which seeds, how many at once, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// The first seed.
    pub from: u64,
    /// How many at most.
    pub count: u64,
    /// Threads.
    pub jobs: usize,
    /// No further seed is begun after this.
    pub budget: Option<Duration>,
}

impl Campaign {
    /// Runs `job` for each seed and gives its results to `report`, in the order of the seeds, until
    /// that says to stop. How many were reported.
    pub fn run<T: Send>(
        &self,
        job: impl Fn(u64) -> T + Sync,
        mut report: impl FnMut(u64, T) -> bool,
    ) -> u64 {
        let begun = Instant::now();
        let next = AtomicU64::new(0);
        let stop = AtomicBool::new(false);
        let claim = || {
            let over = self.budget.is_some_and(|budget| begun.elapsed() >= budget);
            let index = next.fetch_add(1, Ordering::Relaxed);
            (index < self.count && !over && !stop.load(Ordering::Relaxed)).then_some(index)
        };
        let mut reported = 0;
        thread::scope(|scope| {
            let (sender, receiver) = mpsc::channel();
            for _ in 0..self.jobs.max(1) {
                let (sender, job, claim) = (sender.clone(), &job, &claim);
                scope.spawn(move || {
                    while let Some(index) = claim() {
                        let result = job(self.from.wrapping_add(index));
                        if sender.send((index, result)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            let mut early = BTreeMap::new();
            for (index, result) in receiver {
                early.insert(index, result);
                while let Some(result) = early.remove(&reported) {
                    let seed = self.from.wrapping_add(reported);
                    reported += 1;
                    if !stop.load(Ordering::Relaxed) && !report(seed, result) {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            }
        });
        reported
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_of_the_seeds_whoever_is_done_first() {
        let campaign = Campaign { from: 10, count: 200, jobs: 4, budget: None };
        let mut seen = Vec::new();
        let reported = campaign.run(
            |seed| (0..(seed * 7_919) % 1_000).fold(seed, |a, b| a ^ (b << 32) ^ (b << 32)),
            |seed, result| {
                seen.push((seed, result));
                true
            },
        );
        assert_eq!(reported, 200);
        assert_eq!(seen, (10..210).map(|seed| (seed, seed)).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_begun_after_the_budget_or_once_told_to_stop() {
        let nothing = Campaign { from: 0, count: 9, jobs: 2, budget: Some(Duration::ZERO) };
        assert_eq!(nothing.run(|seed| seed, |_, _| true), 0);
        let endless = Campaign { from: 0, count: u64::MAX, jobs: 2, budget: None };
        let mut seen = 0;
        endless.run(
            |seed| seed,
            |_, _| {
                seen += 1;
                seen < 5
            },
        );
        assert_eq!(seen, 5);
    }
}
