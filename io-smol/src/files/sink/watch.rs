//! Outputs that others handle while a run writes them: renamed by a rotation, deleted, cut, or
//! without a reader.
//!
//! Once a second each is compared with what is known of it. Nothing that is left is ever
//! overwritten, and whatever is found is said once.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use estudely_core::InfoHash;

use super::file::{Output, Regular};
use super::place::Table;
use super::traits::{RowSink, Watched};
use crate::files::lock::{self, Locked};
use crate::files::resume::{Extent, each_infohash};

/// What has become of an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// What is known of it holds.
    Same,
    /// Another program has added to it.
    Longer(u64),
    /// Another program has cut it.
    Shorter(u64),
    /// Its name is free, or another file has it; what was written is still somewhere.
    Renamed,
    /// What was written is nowhere any more, or out of reach.
    Deleted,
}

/// Looks at every output, and goes on as far as that is possible.
pub(super) fn watch(sinks: &mut [Box<dyn RowSink>]) -> Watched {
    let mut watched = Watched::default();
    let mut missing = BTreeSet::new();
    for sink in &mut *sinks {
        watched.note(sink.check_reader());
        let Some(output) = sink.file() else { continue };
        let fate = output.standing().map_or(Fate::Same, |(regular, known)| fate(regular, known));
        follow(output, fate, &mut watched);
        missing.extend(output.take_missing());
        if fate == Fate::Deleted {
            sink.forget();
        }
    }
    watched.lost = held_nowhere(missing, sinks);
    watched
}

/// Does with an output what its fate asks for.
fn follow(output: &mut Output, fate: Fate, watched: &mut Watched) {
    let what = match fate {
        Fate::Same => return,
        Fate::Longer(len) => return output.grow_to(len),
        Fate::Shorter(len) => {
            return watched.note(Err(output.lose_beyond(len)));
        }
        Fate::Renamed => "renamed by another program",
        Fate::Deleted => {
            output.miss_everything();
            "deleted by another program"
        }
    };
    let Some((before, _)) = output.standing() else { return };
    let begun = match reopen(before, output.table()) {
        Ok(Reopened { regular, unlocked }) => {
            let shown = regular.shown();
            watched.notes.push(format!("{shown}: {what}; a new one is begun under that name"));
            watched.notes.extend(unlocked);
            output.go_on_in(regular)
        }
        Err(why) => Err(output.lose(io::ErrorKind::NotFound, &format!("{what}; {why}"))),
    };
    watched.note(begun);
}

/// Those of `missing` that no file holds.
fn held_nowhere(mut missing: BTreeSet<InfoHash>, sinks: &mut [Box<dyn RowSink>]) -> Vec<InfoHash> {
    if !missing.is_empty() {
        let outputs = sinks.iter_mut().filter_map(|sink| sink.file());
        for output in outputs.filter(|output| output.standing().is_some()) {
            output.each_infohash(&mut |hash| {
                missing.remove(&hash);
            });
        }
    }
    missing.into_iter().collect()
}

/// What has become of a file that must have `known` bytes.
fn fate(Regular { file, path, .. }: &Regular, known: u64) -> Fate {
    let Ok(opened) = file.metadata() else { return Fate::Same };
    if opened.nlink() == 0 {
        return Fate::Deleted;
    }
    match fs::metadata(path) {
        Ok(named) if (named.dev(), named.ino()) != (opened.dev(), opened.ino()) => Fate::Renamed,
        Err(error) if is_absence(&error) && folder_of(path).is_dir() => Fate::Renamed,
        Err(error) if is_absence(&error) => Fate::Deleted,
        // Whatever else keeps the name from being looked at, the file is open.
        _ if opened.len() < known => Fate::Shorter(opened.len()),
        _ if opened.len() > known => Fate::Longer(opened.len()),
        _ => Fate::Same,
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The file that has the name now.
struct Reopened {
    regular: Regular,
    /// What to say if it is not locked.
    unlocked: Option<String>,
}

/// Opens the name anew; a file that has it meanwhile is continued if it is ours. Why not, else.
fn reopen(before: &Regular, table: Table) -> Result<Reopened, String> {
    let path = before.path.clone();
    let created = !path.exists();
    if fs::metadata(&path).is_ok_and(|found| !found.is_file()) {
        return Err("what has its name now is no regular file".to_owned());
    }
    let opened = OpenOptions::new().read(true).append(true).create(true).open(&path);
    let mut file = opened.map_err(|error| format!("it cannot be opened anew: {error}"))?;
    let unlocked = match lock::lock(&file) {
        Ok(Locked::Yes) => None,
        Ok(Locked::CannotBe) => Some(lock::without(&before.shown())),
        Ok(Locked::ByAnother) => return Err("another crawl has its name now".to_owned()),
        Err(error) => return Err(format!("the new one cannot be locked: {error}")),
    };
    let mut extent = Extent::of(0, 0);
    if !created {
        let read = each_infohash(&mut file, table.is_pairs(), &mut |_| {});
        extent = read.map_err(|foreign| format!("what has its name now is not ours: {foreign}"))?;
    }
    Ok(Reopened { regular: Regular { file, path, created, extent }, unlocked })
}
