//! Beginning a run with what an earlier one left.

use estudely_core::session::Start;
use estudely_core::state::{Restored, Stamp};
use estudely_core::{Crawler, Instant};

use crate::files::state::{Core, Keeper, StateFile};
use crate::text::counted;

impl Core for Crawler {
    fn snapshot(&self, at: Stamp, out: &mut Vec<u8>) {
        Self::snapshot(self, at, out);
    }

    fn poll_journal(&mut self, at: Stamp, out: &mut Vec<u8>) {
        Self::poll_journal(self, at, out);
    }
}

/// Gives a new crawler what `file` holds, and has it keep records from then on. What the
/// run begins with.
///
/// A file that the core does not take is set aside once the run has begun in earnest: until then it
/// stays as it was. One of a newer version never comes this far: [`StateFile::open`] refuses it.
pub(super) fn begin(
    crawler: &mut Crawler,
    mut file: StateFile,
    now: Instant,
    at: Stamp,
) -> (Keeper, Start) {
    let saved = file.take_saved();
    let (mut note, mut restored, mut unusable) = (None, None, None);
    if !saved.is_empty() {
        let shown = file.shown().to_owned();
        match crawler.restore(now, at, &saved) {
            Ok(found) => {
                let torn = found.torn_bytes as u64;
                if torn > 0 {
                    file.cut(file.len().saturating_sub(torn));
                }
                note = losses(&found).map(|losses| format!("--state {shown}: {losses}"));
                restored = Some(found);
            }
            Err(error) => unusable = Some(error),
        }
    }
    crawler.keep_journal();
    let start = restored.as_ref().map_or(Start::Cold, Start::after);
    (Keeper::new(file, restored, note, now).setting_aside(unusable), start)
}

/// What of a state could not be taken up as it was, if anything.
fn losses(found: &Restored) -> Option<String> {
    let torn = found.torn_bytes;
    let records = |count: usize| if count == 1 { "record" } else { "records" };
    let left_out = [(found.damaged, "damaged"), (found.unknown_left_out, "unknown")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what} {} left out", records(count)));
    let mut losses: Vec<String> = left_out.collect();
    if torn > 0 {
        let of = if losses.is_empty() { "of a torn end" } else { "at its end" };
        losses.push(format!("{} {of} left out", counted(torn as u64, "byte")));
    }
    (!losses.is_empty()).then(|| losses.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_names_everything_of_a_state_that_was_lost() {
        let note = |damaged, unknown_left_out, torn_bytes| {
            let mut found = Restored::default();
            (found.damaged, found.unknown_left_out) = (damaged, unknown_left_out);
            found.torn_bytes = torn_bytes;
            losses(&found).unwrap_or_default()
        };
        assert_eq!(note(0, 0, 0), "");
        assert_eq!(note(0, 0, 7), "7 bytes of a torn end left out");
        assert_eq!(note(1, 0, 0), "1 damaged record left out");
        assert_eq!(note(2, 0, 7), "2 damaged records left out, 7 bytes at its end left out");
        assert_eq!(note(0, 3, 0), "3 unknown records left out");
        let all =
            "1 damaged record left out, 1 unknown record left out, 9 bytes at its end left out";
        assert_eq!(note(1, 1, 9), all);
    }
}
