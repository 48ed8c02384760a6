//! Beginning a run with what an earlier one left.

use estudely_core::session::Start;
use estudely_core::state::{Stamp, StateError};
use estudely_core::{Crawler, Instant};

use super::error::RunError;
use crate::files::state::{Core, Keeper, StateFile};

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
/// stays as it was.
///
/// # Errors
/// The file is of a newer version.
pub(super) fn begin(
    crawler: &mut Crawler,
    mut file: StateFile,
    now: Instant,
    at: Stamp,
) -> Result<(Keeper, Start), RunError> {
    let saved = file.take_saved();
    let (mut note, mut restored, mut unusable) = (None, None, None);
    if !saved.is_empty() {
        let shown = file.shown().to_owned();
        match crawler.restore(now, at, &saved) {
            Ok(found) => {
                let torn = found.torn_bytes as u64;
                if torn > 0 {
                    file.cut(file.len().saturating_sub(torn));
                    note = Some(format!("--state {shown}: {torn} bytes of a torn end cut"));
                }
                if found.damaged > 0 {
                    let cut =
                        note.map_or(String::new(), |_| format!(", {torn} bytes at its end cut"));
                    let lost = found.damaged;
                    let records = if lost == 1 { "record" } else { "records" };
                    note = Some(format!("--state {shown}: {lost} damaged {records} left out{cut}"));
                }
                restored = Some(found);
            }
            // Nothing of a newer version's is touched, should it come this far.
            Err(newer @ StateError::Newer(_)) => {
                return Err(RunError::StateStuck { line: format!("--state {shown}: {newer}") });
            }
            Err(error) => unusable = Some(error),
        }
    }
    crawler.keep_journal();
    let start = restored.as_ref().map_or(Start::Cold, Start::after);
    Ok((Keeper::new(file, restored, note, now).setting_aside(unusable), start))
}
