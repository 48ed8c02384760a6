//! `core/PROTOCOL.md` and the code belong together: what a comment cites is there, and each item
//! names its reason, a place that exists and a test that exists.
//!
//! That the named test fails once the limit is off by one is not seen here: the tests of limits
//! write the number out, at the limit and one past it. `canaries.rs` shows that each fault would be
//! found.

mod canaries;
mod citations;
mod items;
#[path = "../source/mod.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use items::{World, items};
use source::{rust_files, without_comments_and_strings};

/// Where the workspace keeps its source.
const FOLDERS: [&str; 5] = ["core", "io-smol", "sim", "tests", "fuzz"];
/// Documents that cite items.
const DOCUMENTS: [&str; 3] = ["README.md", "ARCHITECTURE.md", "core/README.md"];
/// Longest line of the catalogue, in characters.
const COLUMNS_MAX: usize = 100;

#[test]
fn every_item_that_the_code_cites_is_in_the_catalogue() {
    let known: BTreeSet<String> = items(&catalogue()).into_iter().map(|item| item.code).collect();
    let mut missing = Vec::new();
    for (path, source) in sources() {
        let cited = citations::in_source(&source);
        let unknown = cited.iter().filter(|(item, _)| !known.contains(*item));
        missing.extend(unknown.map(|(item, line)| format!("{}:{line}: {item}", path.display())));
    }
    for path in DOCUMENTS {
        let text = fs::read_to_string(workspace().join(path)).unwrap_or_default();
        let unknown = citations::in_text(&text).into_iter().filter(|item| !known.contains(item));
        missing.extend(unknown.map(|item| format!("{path}: {item}")));
    }
    assert!(missing.is_empty(), "not in core/PROTOCOL.md:\n{}\n", missing.join("\n"));
}

#[test]
fn every_document_that_the_code_names_is_in_the_repository() {
    let mut missing = Vec::new();
    // Beside the package alone the other documents are not there to be looked at.
    for (path, source) in sources().iter().filter(|_| in_workspace()) {
        let gone = citations::documents(source);
        let gone = gone.iter().filter(|(_, name)| !workspace().join(name).exists());
        missing.extend(gone.map(|(line, name)| format!("{}:{line}: {name}", path.display())));
    }
    assert!(missing.is_empty(), "\n{}\n", missing.join("\n"));
}

#[test]
fn every_item_of_the_catalogue_says_why_where_and_which_test_shows_it() {
    let codes = sources().into_iter().map(|(_, source)| without_comments_and_strings(&source));
    let tests: BTreeSet<String> = codes.flat_map(|code| test_names(&code)).collect();
    let read = |path: &str| fs::read_to_string(workspace().join(path)).ok();
    let world = World { tests: &tests, read: &read };
    let document = catalogue();
    let items = items(&document);
    assert!(items.len() >= 100, "{} items", items.len());
    let mut faults = Vec::new();
    let mut lines = BTreeMap::new();
    // Beside the package alone the other crates are not there to be looked at.
    for item in items.iter().filter(|_| in_workspace()) {
        let found = item.faults(&world).into_iter();
        faults.extend(found.map(|fault| format!("{}: {} {fault}", item.line, item.code)));
        if let Some(first) = lines.insert(&item.code, item.line) {
            faults.push(format!("{}: {} stands in line {first} already", item.line, item.code));
        }
    }
    let long = (1..).zip(document.lines()).filter(|(_, line)| line.chars().count() > COLUMNS_MAX);
    faults.extend(long.map(|(line, _)| format!("{line}: longer than {COLUMNS_MAX} columns")));
    assert!(faults.is_empty(), "core/PROTOCOL.md:\n{}\n", faults.join("\n"));
}

fn workspace() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    root.expect("the crate lies in a folder").to_owned()
}

fn in_workspace() -> bool {
    workspace().join("ARCHITECTURE.md").exists()
}

fn catalogue() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("PROTOCOL.md");
    fs::read_to_string(path).expect("the catalogue is readable")
}

/// Every source file of the workspace by its path, build products and this scan left out.
fn sources() -> Vec<(PathBuf, String)> {
    let root = workspace();
    let files = FOLDERS.iter().flat_map(|folder| rust_files(&root.join(folder)));
    let files = files.filter(|file| !file.components().any(|part| part.as_os_str() == "target"));
    let files = files.filter(|file| !file.starts_with(root.join("core/tests/catalogue")));
    files
        .map(|file| {
            let source = fs::read_to_string(&file).expect("source files are readable UTF-8");
            (file.strip_prefix(&root).expect("below the workspace").to_owned(), source)
        })
        .collect()
}

/// The functions that `#[test]` stands before, in `proptest!` as anywhere else. Those that a macro
/// of our own makes have no name in the source, so the catalogue names none of them.
fn test_names(code: &str) -> Vec<String> {
    let after = code.split("#[test]").skip(1);
    after.filter_map(|rest| leading_name(rest.split_once("fn ")?.1)).collect()
}

/// The word that a text begins with.
fn leading_name(text: &str) -> Option<String> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}
