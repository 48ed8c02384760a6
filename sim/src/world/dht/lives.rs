//! Who lives when and where: seats that are taken, left and taken again.
//!
//! A seat is a node or peer for the whole run; each time it is up is one life, numbered in the
//! order of seats and then of time. Without churn there is one life for each seat, it lasts for
//! ever, and its number is the seat's.

use estudely_core::{Duration, Instant};

/// When something exists, in whole seconds of the run: from `born` until just before `died`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Its first second.
    pub born: u32,
    /// The first second without it; `u32::MAX` for ever.
    pub died: u32,
}

impl Life {
    /// From the start without end.
    pub const FOREVER: Self = Self { born: 0, died: u32::MAX };

    /// Whether it exists at `now`.
    pub fn holds(self, now: Instant) -> bool {
        self.includes(seconds(now))
    }

    /// Whether it exists during that second.
    pub const fn includes(self, second: u64) -> bool {
        self.born as u64 <= second && (self.died == u32::MAX || second < self.died as u64)
    }

    /// Whether it exists from second `from` until second `to`.
    pub const fn spans(self, from: u64, to: u64) -> bool {
        self.includes(from) && self.includes(to)
    }

    /// When it ends; `None` if never.
    pub fn end(self) -> Option<Instant> {
        let end = || Instant::START + Duration::from_secs(u64::from(self.died));
        (self.died != u32::MAX).then(end)
    }
}

/// Whole seconds since the start of the run.
pub(crate) fn seconds(now: Instant) -> u64 {
    now.as_micros() / 1_000_000
}

/// What a seat takes with it into its next life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Return {
    /// Everything.
    Same,
    /// Its address.
    NewId,
    /// Its id.
    NewAddress,
}

/// One life as drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drawn {
    pub(super) life: Life,
    pub(super) returns: Return,
}

/// How the lives of one seat are drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    /// Mean life in seconds; 0 for ever.
    pub(super) life_s: u32,
    pub(super) horizon_s: u32,
    /// Percent.
    pub(super) new_ids: u8,
    /// Percent.
    pub(super) moves: u8,
}

/// Shortest life and shortest absence, seconds.
const SPAN_MIN: f64 = 10.0;
/// An absence is so many times shorter than a life, on average.
const ABSENCE: f64 = 5.0;

impl Habits {
    /// Appends the lives of one seat: at least one, in order of time, never touching each other.
    pub(super) fn draw(self, draw: &mut fastrand::Rng, out: &mut Vec<Drawn>) {
        if self.life_s == 0 {
            out.push(Drawn { life: Life::FOREVER, returns: Return::Same });
            return;
        }
        let mean = f64::from(self.life_s);
        let mut span = |mean: f64| (-(1.0 - draw.f64()).ln() * mean).max(SPAN_MIN) as u64;
        // In the long run that share is away at any moment; let it be so from the start.
        let mut at = if span(1_000.0) % 6 == 0 { span(mean / ABSENCE) } else { 0 };
        let mut returns = Return::Same;
        loop {
            let end = at + span(mean);
            let last = end >= u64::from(self.horizon_s);
            let died = if last { u32::MAX } else { end as u32 };
            out.push(Drawn { life: Life { born: at as u32, died }, returns });
            if last {
                return;
            }
            at = end + span(mean / ABSENCE);
            if at >= u64::from(self.horizon_s) {
                return;
            }
            let throw = span(1_000_000.0) % 100;
            returns = match throw as u8 {
                throw if throw < self.new_ids => Return::NewId,
                throw if throw < self.new_ids.saturating_add(self.moves) => Return::NewAddress,
                _ => Return::Same,
            };
        }
    }
}

/// Which lives took place in each slot, side by side in order of time.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    numbers: Vec<u32>,
    starts: Vec<u32>,
}

impl Slots {
    /// Of lives in slots `0..count`, given in order of number.
    pub(super) fn group(count: u32, slots: impl Iterator<Item = u32> + Clone) -> Self {
        let mut starts = vec![0; count as usize + 1];
        slots.clone().for_each(|slot| starts[slot as usize + 1] += 1);
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut next = starts.clone();
        let mut numbers = vec![0; *starts.last().unwrap_or(&0) as usize];
        for (slot, number) in slots.zip(0..) {
            let place = &mut next[slot as usize];
            numbers[*place as usize] = number;
            *place += 1;
        }
        Self { numbers, starts }
    }

    /// How many slots there are.
    pub(super) fn len(&self) -> u32 {
        self.starts.len().saturating_sub(1) as u32
    }

    /// The lives in `slot`.
    pub(super) fn lives(&self, slot: u32) -> &[u32] {
        let slot = slot as usize;
        &self.numbers[self.starts[slot] as usize..self.starts[slot + 1] as usize]
    }
}
