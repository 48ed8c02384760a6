//! The second in which something is written or read, by two clocks: the wall clock, which anybody
//! may set, and how long the machine has been up, which nothing can turn.

use super::WallTime;

/// How long a machine has been up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uptime {
    /// Which of its starts that counts from: no two have the same.
    pub boot: [u8; 16],
    /// Whole seconds, those included in which it was suspended.
    pub seconds: u64,
}

/// A second, as far as the caller's clocks tell it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// By the wall clock.
    pub wall: WallTime,
    /// By the machine's own; `None` where it has none.
    pub uptime: Option<Uptime>,
}

impl From<WallTime> for Stamp {
    fn from(wall: WallTime) -> Self {
        Self { wall, uptime: None }
    }
}

impl Stamp {
    /// Whether the wall clock was set between the two, as far as that can be told.
    pub(super) fn disagrees_with(self, other: Self) -> bool {
        let (Some(own), Some(its)) = (self.uptime, other.uptime) else {
            return self.uptime.is_some() != other.uptime.is_some();
        };
        let offset =
            |stamp: Self, uptime: Uptime| i128::from(stamp.wall.0) - i128::from(uptime.seconds);
        // Either clock may be read just before its second ends.
        own.boot != its.boot || offset(self, own).abs_diff(offset(other, its)) > 1
    }
}

/// Tells how much time has passed since something was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader {
    now: Stamp,
    /// The second in which the snapshot was written.
    pub(super) snapshot: WallTime,
    /// What the clocks of the writer said together, from here on in the file.
    pub(super) writer: Option<Stamp>,
}

impl Reader {
    /// Of a file that says nothing yet.
    pub(super) fn new(now: Stamp, snapshot: WallTime) -> Self {
        Self { now, snapshot, writer: None }
    }

    /// Seconds since `written`, as far as they have passed for certain.
    pub(super) fn passed_since(&self, written: WallTime) -> u32 {
        let passed = self
            .by_uptime(written)
            .unwrap_or_else(|| i128::from(self.now.wall.0) - i128::from(written.0));
        u32::try_from(passed.max(0)).unwrap_or(u32::MAX)
    }

    /// The same by the machine's own clock, if it has not been started anew since.
    fn by_uptime(&self, written: WallTime) -> Option<i128> {
        let (writer, now) = (self.writer?, self.now.uptime?);
        let then = writer.uptime.filter(|then| then.boot == now.boot)?;
        let later = i128::from(written.0) - i128::from(writer.wall.0);
        Some(i128::from(now.seconds) - i128::from(then.seconds) - later)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(wall: u64, boot: u8, seconds: u64) -> Stamp {
        Stamp { wall: WallTime(wall), uptime: Some(Uptime { boot: [boot; 16], seconds }) }
    }

    #[test]
    fn within_one_start_of_the_machine_no_wall_clock_counts() {
        for (now, passed) in [
            (at(1_060, 1, 160), 60),
            (at(1_800_000_000, 1, 160), 60),
            (at(3, 1, 160), 60),
            // Started anew: the wall clock is all there is.
            (at(1_060, 2, 5), 60),
            (at(3, 2, 5), 0),
            (at(1_060, 1, 90), 0),
            (WallTime(1_060).into(), 60),
        ] {
            let mut reader = Reader::new(now, WallTime(1_000));
            reader.writer = Some(at(1_000, 1, 100));
            assert_eq!(reader.passed_since(WallTime(1_000)), passed, "{now:?}");
        }
    }

    #[test]
    fn a_second_that_ends_between_two_readings_is_no_step_of_the_clock() {
        let before = at(1_000, 1, 100);
        assert!(
            !before.disagrees_with(at(1_060, 1, 160)) && !before.disagrees_with(at(1_061, 1, 160))
        );
        assert!(
            before.disagrees_with(at(1_062, 1, 160)) && before.disagrees_with(at(1_058, 1, 160))
        );
        assert!(before.disagrees_with(at(1_060, 2, 160)));
        assert!(before.disagrees_with(WallTime(1_000).into()));
        assert!(!Stamp::default().disagrees_with(WallTime(5).into()));
    }
}
