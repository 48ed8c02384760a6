//! What is remembered about every address and node id ever met: eight bytes each.
//!
//! It stores whether this pass of the sweep visited a contact, and whether its sampling interval
//! still runs (BEP 51). Entries whose interval is over and whose pass is past are
//! forgotten when room is needed.

use std::hash::{BuildHasher, Hasher};

use crate::base::rng::Rng;
use crate::base::store::KeyedState;
use crate::base::time::{Duration, Instant};

/// What is known of one key. Packed into 24 bits beside a 40-bit fingerprint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeFacts {
    /// Minute of the run, see [`minute`], before which the node must not be sampled again; 0 when
    /// it may be.
    due: u16,
    /// The pass it was last visited in, see [`pass_mark`]; 0 for never.
    pass: u8,
    /// Whether it was ever sent a query.
    pub(crate) asked: bool,
    /// Whether it ever answered one.
    pub(crate) answered: bool,
    /// Whether it ever answered with samples.
    pub(crate) sampled: bool,
}

impl NodeFacts {
    /// Whether the key was visited in `pass`.
    pub(crate) fn visited_in(self, pass: u64) -> bool {
        self.pass == pass_mark(pass)
    }

    /// Marks the key as visited in `pass`.
    pub(crate) fn visit(&mut self, pass: u64) {
        self.pass = pass_mark(pass);
    }

    /// Whether sampling must still wait at `now`.
    pub(crate) fn is_resting(self, now: Instant) -> bool {
        // Whatever lies further ahead than the longest rest is long past: minutes wrap after 45
        // days.
        let ahead = (u32::from(self.due) + MINUTES - u32::from(minute(now))) % MINUTES;
        self.due != 0 && ahead > 0 && ahead <= REST_MINUTES_MAX
    }

    /// Forbids sampling until `until`, rounded up to a whole minute.
    pub(crate) fn rest_until(&mut self, until: Instant) {
        self.due = minute(until + Duration::from_micros(MINUTE - 1));
    }

    fn pack(self) -> u64 {
        u64::from(self.due)
            | u64::from(self.pass) << 16
            | u64::from(self.asked) << 21
            | u64::from(self.answered) << 22
            | u64::from(self.sampled) << 23
    }

    fn unpack(bits: u64) -> Self {
        Self {
            due: bits as u16,
            pass: (bits >> 16 & 31) as u8,
            asked: bits >> 21 & 1 != 0,
            answered: bits >> 22 & 1 != 0,
            sampled: bits >> 23 & 1 != 0,
        }
    }
}

/// Tells a pass from the thirty before it in five bits.
fn pass_mark(pass: u64) -> u8 {
    (pass % 31) as u8 + 1
}

/// The longest rest there is, a day, and a minute of rounding.
const REST_MINUTES_MAX: u32 = 24 * 60 + 1;

/// Minutes that are told apart: all that 16 bits hold but 0, which stands for none.
const MINUTES: u32 = u16::MAX as u32;

const MINUTE: u64 = 60_000_000;
const NOTE_BITS: u32 = 24;

/// The minute of the run, from 1, modulo [`MINUTES`].
fn minute(at: Instant) -> u16 {
    (at.as_micros() / MINUTE % u64::from(MINUTES)) as u16 + 1
}

/// The facts, in open addressing. Two keys share a fingerprint with probability 2^-40:
/// such a contact is then thought to be known.
#[derive(Clone, Debug)]
pub(crate) struct NodeMemory {
    state: KeyedState,
    slots: Vec<u64>,
    len: usize,
    limit: usize,
    /// Pass and minute in which nothing could be forgotten: looking again, slot by slot, is of no
    /// use until one of them has changed.
    refused: Option<(u64, u16)>,
}

impl NodeMemory {
    const MIN_SLOTS: usize = 1_024;

    /// An empty memory of at most `limit` entries.
    pub(crate) fn new(rng: &mut Rng, limit: usize) -> Self {
        Self { state: KeyedState::new(rng), slots: Vec::new(), len: 0, limit, refused: None }
    }

    /// What is known of `key`.
    pub(crate) fn get(&self, key: &[u8]) -> Option<NodeFacts> {
        let fingerprint = self.fingerprint(key);
        let slot = self.slots[..].get(self.find(fingerprint)?)?;
        (*slot != 0).then(|| NodeFacts::unpack(*slot))
    }

    /// Replaces what is known of `key`; `false` if it is new and there is no room.
    pub(crate) fn set(&mut self, now: Instant, pass: u64, key: &[u8], note: NodeFacts) -> bool {
        let fingerprint = self.fingerprint(key);
        let known = self.find(fingerprint).is_some_and(|index| self.slots[index] != 0);
        if !known && (self.len + 1) * 4 > self.slots.len() * 3 && !self.make_room(now, pass) {
            return false;
        }
        let Some(index) = self.find(fingerprint) else { return false };
        self.len += usize::from(self.slots[index] == 0);
        self.slots[index] = fingerprint | note.pack();
        true
    }

    /// Entries held.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn fingerprint(&self, key: &[u8]) -> u64 {
        let mut hasher = self.state.build_hasher();
        hasher.write(key);
        let bits = hasher.finish() >> NOTE_BITS << NOTE_BITS;
        if bits == 0 { 1 << NOTE_BITS } else { bits }
    }

    fn find(&self, fingerprint: u64) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut index = (fingerprint >> NOTE_BITS) as usize & mask;
        while self.slots[index] != 0 && self.slots[index] >> NOTE_BITS != fingerprint >> NOTE_BITS {
            index = (index + 1) & mask;
        }
        Some(index)
    }

    /// Doubles; at the limit, forgets what no rule needs any more instead.
    fn make_room(&mut self, now: Instant, pass: u64) -> bool {
        let size = self.slots.len().max(Self::MIN_SLOTS);
        if self.slots.is_empty() || size * 2 * 3 / 4 <= self.limit.next_power_of_two() {
            let size = if self.slots.is_empty() { size } else { size * 2 };
            let all = self.slots.iter().copied().filter(|slot| *slot != 0).collect();
            self.rebuild(size, all);
            return true;
        }
        if self.refused == Some((pass, minute(now))) {
            return false;
        }
        let keep = |slot: &u64| {
            let note = NodeFacts::unpack(*slot);
            note.is_resting(now) || note.visited_in(pass) || note.visited_in(pass.wrapping_sub(1))
        };
        let kept = self.slots.iter().filter(|slot| **slot != 0 && keep(slot));
        if kept.clone().count() * 8 > size * 5 {
            self.refused = Some((pass, minute(now)));
            return false;
        }
        let kept = kept.copied().collect();
        self.rebuild(size, kept);
        true
    }

    fn rebuild(&mut self, size: usize, kept: Vec<u64>) {
        self.len = kept.len();
        self.slots = vec![0; size];
        for slot in kept {
            if let Some(index) = self.find(slot) {
                self.slots[index] = slot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Seed;

    fn memory(limit: usize) -> NodeMemory {
        NodeMemory::new(&mut Rng::new(Seed::from_u64(1)), limit)
    }

    #[test]
    fn a_rest_ends_no_earlier_than_asked_and_within_a_minute_after() {
        for start in [0, 59_999_999, 60_000_000, 65_535 * MINUTE, 131_071 * MINUTE] {
            let now = Instant::from_micros(start);
            let until = now + Duration::from_secs(300);
            let mut note = NodeFacts::default();
            note.rest_until(until);
            assert!(note.is_resting(now), "{start}");
            let last = Instant::from_micros(until.as_micros() - 1);
            assert!(minute(last) == minute(until) || note.is_resting(last), "{start}");
            assert!(!note.is_resting(until + Duration::from_secs(61)), "{start}");
            let packed = NodeFacts::unpack(note.pack());
            assert_eq!(packed, note);
        }
    }

    #[test]
    fn a_node_that_the_calendar_calls_due_rests_no_more_on_any_minute_of_the_wrap() {
        for minutes in (65_530..=65_540).chain(131_060..=131_080) {
            for micros in [0, 1, MINUTE - 1] {
                let until = Instant::from_micros(minutes * MINUTE - micros);
                let mut note = NodeFacts::default();
                note.rest_until(until);
                // The calendar rounds up to whole minutes as well.
                let due = Instant::from_micros(until.as_micros().div_ceil(MINUTE) * MINUTE);
                assert!(!note.is_resting(due), "due in minute {minutes}");
                assert!(note.is_resting(Instant::from_micros(due.as_micros() - 1)), "{minutes}");
            }
        }
    }

    #[test]
    fn notes_survive_growth() {
        let mut memory = memory(100_000);
        for n in 0..50_000u32 {
            let mut note =
                NodeFacts { asked: n % 2 == 0, answered: n % 3 == 0, ..NodeFacts::default() };
            assert!(!note.visited_in(5));
            note.visit(5);
            assert!(memory.set(Instant::START, 5, &n.to_be_bytes(), note));
        }
        assert_eq!(memory.len(), 50_000);
        for n in 0..50_000u32 {
            let note = memory.get(&n.to_be_bytes()).expect("kept");
            assert_eq!((note.asked, note.answered), (n % 2 == 0, n % 3 == 0));
            assert!(note.visited_in(5) && !note.visited_in(6));
        }
        assert_eq!(memory.get(&50_000u32.to_be_bytes()), None);
    }

    #[test]
    fn a_full_memory_forgets_past_passes_before_it_refuses() {
        let mut memory = memory(1_000);
        let mut fill = |pass: u64, count: u32| {
            let mut note = NodeFacts::default();
            note.visit(pass);
            let mut stored = 0;
            for n in 0..count {
                let key = [pass.to_be_bytes(), u64::from(n).to_be_bytes()].concat();
                stored += u32::from(memory.set(Instant::START, pass, &key, note));
            }
            (stored, memory.slots.len())
        };
        let (stored, slots) = fill(1, 10_000);
        assert!((700..=1_100).contains(&stored), "{stored}");
        assert_eq!(slots, 1_024);
        assert!(fill(3, 500).0 >= 500);
    }

    #[test]
    fn a_full_memory_still_takes_notes_of_the_nodes_it_knows() {
        let mut memory = memory(1_000);
        let mut note = NodeFacts::default();
        note.visit(1);
        let known: Vec<[u8; 4]> = (0..2_000u32)
            .map(u32::to_be_bytes)
            .filter(|key| memory.set(Instant::START, 1, key, note))
            .collect();
        assert!(known.len() < 2_000, "it is full");
        note.asked = true;
        for key in known {
            assert!(memory.set(Instant::START, 1, &key, note));
            assert_eq!(memory.get(&key), Some(note));
        }
    }
}
