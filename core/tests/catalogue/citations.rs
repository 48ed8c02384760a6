//! Which items of the catalogue a text cites.
//!
//! A letter and a number (`H12`, `B.7`, also a range of them) is a citation wherever it stands in a
//! comment. A number with a point is one only where nothing else can be meant: in a list in
//! brackets, as in `(D13, 51.5)`, behind the word "catalogue", or at the start of a comment with a
//! colon behind it. Amounts, versions and addresses are none.

use std::collections::BTreeMap;

use crate::source::{Part, parts};

/// The letters that name a group of items.
const LETTERS: [char; 5] = ['B', 'D', 'H', 'M', 'S'];

/// Each item that the comments of a source file cite, with the line of one citation.
pub(crate) fn in_source(source: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for (line, comment) in comments(source) {
        for item in in_text(&comment) {
            found.entry(item).or_insert(line);
        }
    }
    found
}

/// Each document that the comments of a source file name, with the line of the comment.
pub(crate) fn documents(source: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, comment) in comments(source) {
        let paths = comment.split(|c: char| !(c.is_alphanumeric() || "._-/".contains(c)));
        let named =
            paths.map(|path| path.trim_end_matches('.')).filter(|path| path.ends_with(".md"));
        found.extend(named.map(|path| (line, path.to_owned())));
    }
    found
}

/// The comments of a source file as they are read: lines that follow each other are one comment.
fn comments(source: &str) -> Vec<(usize, String)> {
    let mut comments: Vec<(usize, String)> = Vec::new();
    let mut line = 1;
    let mut open = false;
    for (part, text) in parts(source) {
        if part == Part::Comment {
            let words = text.trim_start_matches(['/', '!', '*']).trim_end_matches(['/', '*']);
            match comments.last_mut().filter(|_| open) {
                Some((_, comment)) => *comment = format!("{comment} {}", words.trim()),
                None => comments.push((line, words.trim().to_owned())),
            }
        }
        open = part == Part::Comment || open && part == Part::Code && text.trim().is_empty();
        line += text.matches('\n').count();
    }
    comments
}

/// The items that a text cites.
pub(crate) fn in_text(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut cited_before = false;
    let mut end_before = 0;
    for (start, word) in words(text) {
        let between = &text[end_before..start];
        let (before, after) = (&text[..start], &text[start + word.len()..]);
        let listed = cited_before && ([", ", "; ", " and ", " or "].contains(&between));
        let opened = before.is_empty() || before.ends_with('(') || before.ends_with("catalogue ");
        let closed = [")", ", ", "; ", " and ", " or ", ": "].iter().any(|s| after.starts_with(s));
        let is_alone = (opened || listed) && (closed || before.ends_with("catalogue "));
        let at_start = before.is_empty() && after.starts_with(": ");
        let is_item = is_numbered(word) && is_alone && (!before.is_empty() || at_start);
        let items = if is_item { vec![word.to_owned()] } else { lettered(word) };
        // A document by number may stand in the same list.
        cited_before = !items.is_empty() || before.ends_with("BEP ");
        end_before = start + word.len();
        found.extend(items);
    }
    found
}

/// Runs of letters, digits and points, each with where it starts; no point at the end.
fn words(text: &str) -> Vec<(usize, &str)> {
    let is_part = |c: char| c.is_alphanumeric() || c == '.' || c == '-' || c == '_';
    let mut words = Vec::new();
    let mut rest = 0;
    while let Some(start) = text[rest..].find(is_part).map(|at| rest + at) {
        let len = text[start..].find(|c| !is_part(c)).unwrap_or(text.len() - start);
        words.push((start, text[start..start + len].trim_end_matches(['.', '-'])));
        rest = start + len;
    }
    words
}

/// The items that a word such as `H5`, `B.7` or `D5-D11` names.
fn lettered(word: &str) -> Vec<String> {
    let Some((first, last)) = word.split_once('-') else {
        return letter_and_number(word).map(|_| word.to_owned()).into_iter().collect();
    };
    match (letter_and_number(first), letter_and_number(last)) {
        (Some((letter, from)), Some((same, to))) if letter == same => {
            (from..=to).map(|number| format!("{letter}{number}")).collect()
        }
        _ => Vec::new(),
    }
}

/// `H5` as its letters, which for bencode are `B.`, and its number.
fn letter_and_number(word: &str) -> Option<(&str, u8)> {
    let digits = word.find(|c: char| c.is_ascii_digit())?;
    let (letter, number) = word.split_at(digits);
    let known = LETTERS.iter().any(|known| match known {
        'B' => letter == "B.",
        known => letter.len() == 1 && letter.starts_with(*known),
    });
    let short = number.len() <= 2 && number.chars().all(|c| c.is_ascii_digit());
    number.parse().ok().filter(|_| known && short).map(|number| (letter, number))
}

/// Whether a word has the form of an item such as `51.4`.
fn is_numbered(word: &str) -> bool {
    let is_number =
        |part: &str| (1..=2).contains(&part.len()) && part.chars().all(|c| c.is_ascii_digit());
    word.split_once('.').is_some_and(|(group, item)| is_number(group) && is_number(item))
}

/// Whether `code` has the form of an item's name.
pub(crate) fn is_code(code: &str) -> bool {
    is_numbered(code) || letter_and_number(code).is_some()
}
