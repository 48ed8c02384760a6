//! Dependence goes one way: the rooms of each crate stand in an order, a room names only those
//! below it, and no two modules side by side name each other, directly or through others.
//!
//! The arrows are read from the source (`modules.rs`), tests included, so that a wall holds before
//! it is needed. A module and those inside it are one unit: what lies in a folder serves the file
//! of that name. `canaries.rs` plants an arrow of each kind: a scan that has never fired is not
//! trusted.

mod canaries;
mod modules;
#[path = "../source/mod.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use modules::{Arrow, Module, Tree};

/// The rooms of a crate from the ground up. Rooms in one step never name each other.
type Order = [&'static [&'static str]];

/// `core/src/lib.rs` says the same in prose.
const CORE: &Order = &[
    &["base"],
    &["limits"],
    &["config", "lead", "stats"],
    &["codec", "utp"],
    &["dht", "peer", "state"],
    &["crawl"],
    // Tests of more than one room; what the root shows beside single names.
    &["display", "internal", "keyed", "properties"],
];

/// As `io-smol/src/lib.rs` lists them.
const IO_SMOL: &Order = &[&["text"], &["entropy"], &["files"], &["engine"], &["cli"]];

/// As `sim/src/lib.rs` lists them.
const SIM: &Order =
    &[&["world"], &["actors"], &["net"], &["judge"], &["subject"], &["run"], &["swarm"]];

/// Crates and their orders.
const CRATES: [(&str, &Order); 3] = [("core", CORE), ("io-smol", IO_SMOL), ("sim", SIM)];

#[test]
fn rooms_name_only_what_is_below_them_and_modules_never_form_a_circle() {
    let mut found = Vec::new();
    for (name, order) in CRATES {
        let src = workspace().join(name).join("src");
        // The package by itself has no neighbours.
        if name == "core" || src.exists() {
            let faults = faults(&Tree::new(&files(&src)), order);
            found.extend(faults.into_iter().map(|fault| format!("{name}: {fault}")));
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn no_adapter_goes_through_the_door_for_tests() {
    let src = workspace().join("io-smol/src");
    // The package by itself has no neighbours.
    for (path, text) in src.exists().then(|| files(&src)).into_iter().flatten() {
        let code = source::without_comments_and_strings(&text);
        let mut words = code.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        assert!(!words.any(|word| word == "internal"), "io-smol/src/{path} names `internal`");
    }
}

fn workspace() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("the crate lies in a folder").to_owned()
}

/// Every file of a crate's library, by its path below `src`. A program names the library, not what
/// is in it.
fn files(src: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for file in source::rust_files(src) {
        let path = file.strip_prefix(src).expect("below src").to_string_lossy().replace('\\', "/");
        if path != "main.rs" && !path.starts_with("bin/") {
            files.push((path, fs::read_to_string(&file).expect("readable UTF-8")));
        }
    }
    assert!(files.len() > 10, "{}: found only {} files", src.display(), files.len());
    files
}

/// What a crate does against its order, one line each.
fn faults(tree: &Tree, order: &Order) -> Vec<String> {
    let step = |room: &str| order.iter().position(|step| step.contains(&room));
    let mut faults = Vec::new();
    for room in tree.rooms() {
        if step(room).is_none() {
            faults.push(format!("{room} has no place in the order"));
        }
    }
    let arrows = tree.arrows();
    for arrow in &arrows {
        match (arrow.from.first(), arrow.to.first()) {
            // The root shows what is below, so it may name all of it.
            (None, _) => {}
            // Names of the root that are another room's are arrows of their own.
            (Some(_), None) if leads_on(&arrows, arrow) => {}
            (Some(_), None) => faults.push(arrow.to_string()),
            (Some(from), Some(to)) if from != to && step(from) <= step(to) => {
                faults.push(arrow.to_string());
            }
            (Some(_), Some(_)) => {}
        }
    }
    faults.extend(circles(&arrows));
    faults.sort();
    faults.dedup();
    faults
}

/// Whether the path of `arrow` goes on beyond the module it leads to.
fn leads_on(arrows: &BTreeSet<Arrow>, arrow: &Arrow) -> bool {
    let same = |other: &&Arrow| {
        (&other.from, &other.path, other.line) == (&arrow.from, &arrow.path, arrow.line)
    };
    arrows.iter().filter(same).any(|other| !other.to.is_empty())
}

/// Every circle among modules side by side, each with what lies inside it. Tests inside a module
/// are left out: what they share may name the modules that they are in.
fn circles(arrows: &BTreeSet<Arrow>) -> Vec<String> {
    let mut faults = BTreeSet::new();
    let mut levels: BTreeMap<Module, BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    let of_tests = |module: &Module| module.iter().any(|part| part == "tests");
    for Arrow { from, to, .. } in arrows.iter().filter(|arrow| !of_tests(&arrow.from)) {
        let common = from.iter().zip(to).take_while(|(a, b)| a == b).count();
        // Otherwise one lies inside the other.
        if let (Some(a), Some(b)) = (from.get(common), to.get(common)) {
            levels.entry(from[..common].to_vec()).or_default().entry(a).or_default().insert(b);
        }
    }
    for (level, names) in &levels {
        for start in names.keys() {
            if let Some(way) = way_back(names, start) {
                let mut members = way.clone();
                members.sort_unstable();
                // The same circle is found from each of its members.
                if members.first() == Some(start) {
                    let folder = level.join("::");
                    faults.insert(format!("a circle in {folder}: {}", way.join(" > ")));
                }
            }
        }
    }
    faults.into_iter().collect()
}

/// The shortest way from `start` back to itself.
fn way_back<'a>(
    names: &BTreeMap<&'a str, BTreeSet<&'a str>>,
    start: &'a str,
) -> Option<Vec<&'a str>> {
    let mut ways = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let last = way.last().copied().unwrap_or(start);
            for next in names.get(last).into_iter().flatten().copied() {
                if next == start {
                    return Some(way);
                }
                if seen.insert(next) {
                    longer.push(way.iter().copied().chain([next]).collect());
                }
            }
        }
        ways = longer;
    }
    None
}
