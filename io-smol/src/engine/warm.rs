//! Beginning a run with what an earlier one left.

use estudely_core::session::Start;
use estudely_core::state::{StateError, WallTime};
use estudely_core::{Crawler, Instant};

use super::error::RunError;
use crate::files::state::{Core, Keeper, StateFile};
use crate::text::printable;

impl Core for Crawler {
    fn snapshot(&self, wall: WallTime, out: &mut Vec<u8>) {
        Self::snapshot(self, wall, out);
    }

    fn poll_journal(&mut self, wall: WallTime, out: &mut Vec<u8>) {
        Self::poll_journal(self, wall, out);
    }
}

/// Gives a new crawler what `file` holds, and has it keep records from then on. What the
/// run begins with.
///
/// A file that the core does not take is set aside.
///
/// # Errors
/// The file can be neither used nor set aside.
pub(super) fn begin(
    crawler: &mut Crawler,
    mut file: StateFile,
    now: Instant,
    wall: WallTime,
) -> Result<(Keeper, Start), RunError> {
    let saved = file.take_saved();
    let (mut note, mut restored) = (None, None);
    if !saved.is_empty() {
        let shown = file.shown().to_owned();
        match crawler.restore(now, wall, &saved) {
            Ok(found) => {
                let torn = found.torn_bytes as u64;
                if torn > 0 {
                    file.cut(file.len().saturating_sub(torn));
                    note = Some(format!("--state {shown}: {torn} bytes of a torn end left out"));
                }
                if found.damaged > 0 {
                    let cut =
                        note.map_or(String::new(), |_| format!(", and {torn} bytes at its end"));
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
            Err(error) => {
                let line = |what: String| format!("--state {shown}: {error}; {what}");
                let aside = file.set_aside().map_err(|why| RunError::StateStuck {
                    line: line(format!("it cannot be set aside: {why}; name another, or none")),
                })?;
                let aside = printable(&aside.to_string_lossy());
                note = Some(line(format!("set aside as {aside}, and a new one begun")));
            }
        }
    }
    crawler.keep_journal();
    let start = restored.as_ref().map_or(Start::Cold, Start::after);
    Ok((Keeper::new(file, restored, note, now), start))
}
