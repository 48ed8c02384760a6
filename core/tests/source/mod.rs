//! Reading source files as the scans of this folder need them: which there are, and what of them is
//! code. Nothing here judges.

use std::fs;
use std::path::{Path, PathBuf};

/// The source with comments and the insides of strings blanked, lines kept.
pub(crate) fn without_comments_and_strings(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let blank = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(len) = raw_string(rest).filter(|_| !out.ends_with(char::is_alphanumeric))
        {
            len
        } else if c == '"' {
            string(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else if let Some(escape) = rest.strip_prefix("'\\") {
            let second = escape.chars().next().map_or(0, char::len_utf8);
            escape[second..].find('\'').map_or(0, |end| 2 + second + end + 1)
        } else {
            0
        };
        let (taken, next) = rest.split_at(blank.max(c.len_utf8()));
        if blank == 0 {
            out.push(c);
        } else {
            out.extend(taken.chars().filter(|c| *c == '\n'));
            out.push(' ');
        }
        rest = next;
    }
    out
}

/// Length of the quoted string that `rest` begins with.
fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    rest.len()
}

/// Length of the raw string that `rest` begins with, if it does.
fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest.strip_prefix('r').or_else(|| rest.strip_prefix("br"))?;
    let body = hashes.trim_start_matches('#').strip_prefix('"')?;
    let marks = hashes.len() - hashes.trim_start_matches('#').len();
    let close = format!("\"{}", "#".repeat(marks));
    let end =
        body.find(&close).map_or(rest.len(), |end| rest.len() - body.len() + end + close.len());
    Some(end)
}

/// Every `.rs` file below `folder`, in a stable order; none if there is no such folder.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
    paths.sort();
    let mut out = Vec::new();
    for path in paths {
        if path.is_dir() {
            out.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            out.push(path);
        }
    }
    out
}
