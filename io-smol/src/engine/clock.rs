//! The clock: the machine's monotonic time as the core's, and wall time for rows.
//!
//! Wall time decides nothing within a run: it is written down, and tells the next run how long ago
//! this one was.

use std::time::{Instant as StdInstant, SystemTime};

use estudely_core::state::{Stamp, Uptime, WallTime};
use estudely_core::{Duration, Instant};
use rustix::time::{ClockId, clock_gettime};

/// Maps monotonic time to the core's, which starts at zero when the clock is made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: StdInstant,
    /// Which start of the machine this is, where the system tells.
    boot: Option<[u8; 16]>,
}

impl Clock {
    /// A clock whose core time is zero now.
    pub fn start() -> Self {
        Self { start: StdInstant::now(), boot: boot_id() }
    }

    /// The core's time now.
    pub fn now(&self) -> Instant {
        Instant::START + self.start.elapsed()
    }

    /// When the machine's clock will show `at`; `None` if it never can.
    pub fn machine_time(&self, at: Instant) -> Option<StdInstant> {
        self.start.checked_add(at.since(Instant::START))
    }

    /// Time since the clock was started.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The wall clock as the core's state has it: whole seconds since 1970.
    pub fn wall(&self) -> WallTime {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        WallTime(since.map_or(0, |since| since.as_secs()))
    }

    /// This second, by both of the machine's clocks, for what is saved.
    pub fn stamp(&self) -> Stamp {
        let up = clock_gettime(ClockId::Boottime).tv_sec;
        let up = self.boot.zip(u64::try_from(up).ok());
        let uptime = up.map(|(boot, seconds)| Uptime { boot, seconds });
        Stamp { wall: self.wall(), uptime }
    }

    /// The wall time of `at`, by today's wall clock: a step of that clock during the run moves
    /// what is written after it, not what was decided.
    pub fn wall_time(&self, at: Instant) -> SystemTime {
        let wall = SystemTime::now();
        wall.checked_sub(self.now().since(at)).unwrap_or(wall)
    }
}

/// The number that the system drew when it was started.
fn boot_id() -> Option<[u8; 16]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let hex: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    Some(u128::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == 32)?.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_time_follows_machine_time_and_back() {
        let clock = Clock::start();
        let now = clock.now();
        let machine = clock.machine_time(now).expect("now is representable");
        assert!(machine <= StdInstant::now());
        assert!(clock.now() >= now);
        assert!(clock.machine_time(Instant::from_micros(u64::MAX)).is_some());
    }

    #[test]
    fn a_stamp_names_the_start_of_the_machine_and_never_runs_back() {
        let [first, second] = [(); 2].map(|()| Clock::start().stamp().uptime);
        let (first, second) = (first.expect("Linux tells"), second.expect("Linux tells"));
        assert_eq!(first.boot, second.boot);
        assert!(first.boot != [0; 16] && first.seconds <= second.seconds);
    }

    #[test]
    fn wall_time_of_the_past_lies_in_the_past() {
        let clock = Clock::start();
        assert!(clock.wall_time(Instant::START) <= SystemTime::now());
    }
}
