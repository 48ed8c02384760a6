//! Outputs that others handle while a run writes them: renamed by a rotation, deleted, cut, or
//! without a reader.
//!
//! Once a second each is compared with what is known of it. Nothing that is left is ever
//! overwritten, and whatever is found is said once.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::file::Regular;
use super::search::Search;
use super::traits::{RowSink, Watched};
use crate::files::lock::{self, Locked};
use crate::files::resume::Extent;

/// The longest file that is read through between two turns of the loop: a fifth of a second.
const LEARNT_BYTES_MAX: u64 = 64 << 20;

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
pub(super) fn watch(sinks: &mut [Box<dyn RowSink>], search: &mut Search) -> Watched {
    let mut watched = Watched::default();
    for sink in &mut *sinks {
        watched.note(sink.check_reader());
        follow(&mut **sink, search, &mut watched);
        if let Some(output) = sink.output() {
            search.add_missing(output.take_missing());
        }
    }
    watched.lost = search.turn(sinks);
    watched
}

/// Does with an output what its fate asks for.
fn follow(sink: &mut dyn RowSink, search: &mut Search, watched: &mut Watched) {
    let Some(output) = sink.output() else { return };
    watched.note(output.check_redirected());
    let Some((before, known)) = output.standing() else { return };
    let fate = fate(before, known);
    let (path, shown) = (before.path.clone(), before.shown());
    let what = match fate {
        Fate::Same => return,
        Fate::Longer(len) => return output.grow_to(len),
        Fate::Shorter(len) => return watched.note(Err(output.lose_beyond(len))),
        Fate::Renamed => "renamed by another program",
        Fate::Deleted => "deleted by another program",
    };
    if fate == Fate::Deleted {
        output.standing_part().into_iter().for_each(|part| search.add_deleted(part));
        sink.forget();
    }
    let reopened = reopen(&path, sink);
    let Some(output) = sink.output() else { return };
    let begun = match reopened {
        Ok((regular, locked)) => {
            let is_new = regular.extent.whole == 0;
            let next = if is_new { "a new one is begun" } else { "one of ours goes on" };
            watched.notes.push(format!("{shown}: {what}; {next} under that name"));
            watched.notes.extend((locked == Locked::CannotBe).then(|| lock::without(&shown)));
            output.go_on_in(regular)
        }
        Err(why) => Err(output.lose(io::ErrorKind::NotFound, &format!("{what}; {why}"))),
    };
    watched.note(begun);
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

/// Opens the name anew. A file that has it meanwhile is continued if it is ours, without repeating
/// what it holds. Why not, else.
fn reopen(path: &Path, sink: &mut dyn RowSink) -> Result<(Regular, Locked), String> {
    let created = !path.exists();
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err("what has its name now is no regular file".to_owned());
    }
    let opened = OpenOptions::new().read(true).append(true).create(true).open(path);
    let mut file = opened.map_err(|error| format!("it cannot be opened anew: {error}"))?;
    let locked = match lock::lock(&file) {
        Ok(Locked::ByAnother) => return Err("another crawl has its name now".to_owned()),
        Ok(locked) => locked,
        Err(error) => return Err(format!("the new one cannot be locked: {error}")),
    };
    let len = file.metadata().map_or(0, |found| found.len());
    if len > LEARNT_BYTES_MAX {
        return Err(format!("what has its name now is too long to be read meanwhile: {len} bytes"));
    }
    let mut extent = Extent::of(0, 0);
    if len > 0 {
        let read = sink.learn(&mut file);
        extent = read.map_err(|foreign| format!("what has its name now is not ours: {foreign}"))?;
    }
    Ok((Regular { file, path: path.to_owned(), created, extent }, locked))
}
