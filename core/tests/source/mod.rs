//! Reading source files as the scans of this folder need them: which there are, and what of them is
//! code. Nothing here judges.

use std::fs;
use std::path::{Path, PathBuf};

/// What a part of a source file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Code,
    Comment,
    /// A string or a character that would be mistaken for the begin of one.
    Text,
}

/// The source with comments and the insides of strings blanked, lines kept.
pub(crate) fn without_comments_and_strings(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    for (part, text) in parts(source) {
        if part == Part::Code {
            out.push_str(text);
        } else {
            out.extend(text.chars().filter(|c| *c == '\n'));
            out.push(' ');
        }
    }
    out
}

/// The source cut into code, comments and strings: nothing is left out. Code comes in characters.
pub(crate) fn parts(source: &str) -> impl Iterator<Item = (Part, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = &source[at..];
        let c = rest.chars().next()?;
        let after_word = source[..at].ends_with(char::is_alphanumeric);
        let (part, len) = if rest.starts_with("//") {
            (Part::Comment, rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            (Part::Comment, rest.find("*/").map_or(rest.len(), |end| end + 2))
        } else if let Some(len) = raw_string(rest).filter(|_| !after_word) {
            (Part::Text, len)
        } else if c == '"' {
            (Part::Text, string(rest))
        } else if rest.starts_with("'\"'") {
            (Part::Text, 3)
        } else if let Some(escape) = rest.strip_prefix("'\\") {
            let second = escape.chars().next().map_or(0, char::len_utf8);
            let end = escape[second..].find('\'');
            end.map_or((Part::Code, 0), |end| (Part::Text, 2 + second + end + 1))
        } else {
            (Part::Code, 0)
        };
        let start = at;
        at += len.max(c.len_utf8());
        Some((part, &source[start..at]))
    })
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
