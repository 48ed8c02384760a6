//! What a crawler saved, and how much of that a later one began with.

use estudely_core::Instant;

/// How much of what an earlier crawler knew the next one must still know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// All of it.
    All,
    /// What it knew before this instant: what was saved then or later is torn off.
    Before(Instant),
    /// Nothing.
    Nothing,
}

impl Kept {
    /// Whether something learnt at `at` is still known.
    pub(super) fn holds(self, at: Instant) -> bool {
        match self {
            Self::All => true,
            Self::Before(torn) => at < torn,
            Self::Nothing => false,
        }
    }
}

/// A copy of the saved state: one whole snapshot and the records after it.
#[derive(Debug, Default)]
pub(super) struct Saved {
    bytes: Vec<u8>,
    /// When each part was written, and where it ends.
    parts: Vec<(Instant, usize)>,
}

impl Saved {
    /// State was saved.
    pub(super) fn on_saved(&mut self, now: Instant, bytes: &[u8], whole: bool) {
        if whole {
            self.bytes.clear();
            self.parts.clear();
        }
        self.bytes.extend_from_slice(bytes);
        self.parts.push((now, self.bytes.len()));
    }

    /// A crawler began with `state`.
    pub(super) fn on_started(&mut self, state: Option<&[u8]>) -> Kept {
        let state = state.unwrap_or_default();
        let same = self.bytes.iter().zip(state).take_while(|(a, b)| a == b).count();
        let kept = match self.parts.first() {
            Some((_, whole)) if same < *whole => Kept::Nothing,
            None => Kept::Nothing,
            Some(_) if same == self.bytes.len() => Kept::All,
            Some((begun, _)) => {
                let torn = self.parts.iter().find(|(_, end)| *end > same);
                Kept::Before(torn.map_or(*begun, |(at, _)| *at))
            }
        };
        // What is appended from now on follows what was read.
        let until = |at: &Instant| kept.holds(*at);
        let end = self.parts.iter().rev().find(|(at, _)| until(at)).map_or(0, |(_, end)| *end);
        self.parts.retain(|(at, _)| until(at));
        self.bytes.truncate(end);
        kept
    }

    /// Bytes saved.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn what_is_torn_off_or_damaged_need_not_be_known() {
        for (state, expected) in [
            (Some(&b"snaponetwo"[..]), Kept::All),
            (Some(b"snaponetw"), Kept::Before(at(3))),
            (Some(b"snapoNetwo"), Kept::Before(at(2))),
            (Some(b"snaX"), Kept::Nothing),
            (None, Kept::Nothing),
        ] {
            let mut saved = Saved::default();
            saved.on_saved(at(0), b"old", true);
            saved.on_saved(at(1), b"snap", true);
            saved.on_saved(at(2), b"one", false);
            saved.on_saved(at(3), b"two", false);
            assert_eq!(saved.on_started(state), expected, "{state:?}");
        }
        assert_eq!(Saved::default().on_started(None), Kept::Nothing);
    }
}
