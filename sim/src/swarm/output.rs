//! The file of `--crawl`, looked at before there is anything to crawl: invented torrents must
//! never be added to a file that holds others, and a user should not wait for a world in vain.
//!
//! Changes nothing that was there.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::Path;

use estudely_core::InfoHash;
use estudely_io_smol::resume::{Foreign, each_row};

use crate::world::dht::World;

/// Whether rows can be written to `path`: nothing is there and it can be made, or an output of
/// `crawl` is there that no other program writes.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub fn check_usable(path: &Path) -> Result<(), String> {
    let refused = |what: String| Err(format!("--crawl {}: {what}", path.display()));
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return refused("not a regular file; name one".to_owned());
    }
    let is_new = !path.exists();
    let mut file = match OpenOptions::new().read(true).append(true).create(true).open(path) {
        Ok(file) => file,
        Err(error) => return refused(format!("cannot be opened: {error}; name another file")),
    };
    if is_new {
        // The crawl will make it anew; at worst it stays, empty. The name may be a link.
        let _ = fs::canonicalize(path).and_then(fs::remove_file);
        return Ok(());
    }
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        return refused("another crawl is writing it; name another file, or end that one".into());
    }
    match each_row(&mut file, |_| {}) {
        Ok(_) => Ok(()),
        Err(foreign @ Foreign::Unreadable(_)) => refused(foreign.to_string()),
        Err(foreign) => refused(format!("{foreign}; name another file, or delete this one")),
    }
}

/// Whether every infohash in the file at `path`, if there is one, belongs to `world`.
///
/// # Errors
/// One line that says what is wrong and what to do.
pub fn check_ours(path: &Path, world: &World) -> Result<(), String> {
    if !path.exists() {
        return Ok(());
    }
    let mut stranger: Option<InfoHash> = None;
    let read = File::open(path).map_err(Foreign::from).and_then(|mut file| {
        each_row(&mut file, |row| {
            if stranger.is_none() && world.torrent_by_key(row.hash).is_none() {
                stranger = Some(row.hash);
            }
        })
    });
    match (read, stranger) {
        (Err(foreign), _) => Err(format!("--crawl {}: {foreign}", path.display())),
        (Ok(_), Some(hash)) => Err(format!(
            "--crawl {}: holds torrents that are not of this made-up world ({hash}); name another \
             file, or delete this one",
            path.display()
        )),
        (Ok(_), None) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use estudely_io_smol::resume::ROWS_HEADER;

    use super::*;
    use crate::world::dht::tests::plan;

    const STRANGER: &str = "631a31dd0a46257d5078c0dee4e66e26f73e42ac";

    fn row(hash: &str, ok: &str) -> String {
        format!("{hash},,0,0,0,,,{ok}\n")
    }

    #[test]
    fn only_files_of_this_very_world_are_continued() {
        let world = World::build(plan(10, 20)).expect("world");
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("metadata.csv");
        let check = |rows: &str| {
            fs::write(&path, format!("{ROWS_HEADER}\n{rows}")).expect("written");
            check_usable(&path).expect("ours");
            let checked = check_ours(&path, &world);
            let after = fs::read_to_string(&path).expect("read");
            assert_eq!(after, format!("{ROWS_HEADER}\n{rows}"), "nothing changes");
            checked
        };
        check_ours(&path, &world).expect("no file at all");
        let own = row(&world.key(3).to_string(), "True");
        check("").expect("no rows");
        check(&own).expect("its own");
        check(&format!("{own}{STRANGER},torn")).expect("a torn line says nothing");
        for ok in ["True", "False"] {
            let line = check(&format!("{own}{}", row(STRANGER, ok))).expect_err("a stranger");
            assert!(line.contains(STRANGER) && line.contains("name another file"), "{line}");
        }
    }

    #[test]
    fn what_is_no_output_is_refused_and_stays_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        check_usable(&path("new.csv")).expect("can be made");
        assert!(!path("new.csv").exists());
        assert!(check_usable(&path("none/x.csv")).is_err_and(|line| line.contains("opened")));
        assert!(check_usable(folder.path()).is_err_and(|line| line.contains("regular file")));
        fs::write(path("foreign.csv"), "name,size\n").expect("written");
        let line = check_usable(&path("foreign.csv")).expect_err("foreign");
        assert!(line.contains("line 1: the header is not that of crawl; name another"), "{line}");
        fs::write(path("held.csv"), "").expect("written");
        let held = File::open(path("held.csv")).expect("opened");
        held.lock().expect("locked");
        assert!(check_usable(&path("held.csv")).is_err_and(|line| line.contains("another crawl")));
    }
}
