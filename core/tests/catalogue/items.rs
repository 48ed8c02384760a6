//! The items of `core/PROTOCOL.md`, and what is wrong with one.
//!
//! An item is a heading `### CODE Title`, what it says, and three lines: `- Why:`, `- Where:` with
//! paths and constants in backticks, `- Test:` with names of tests in backticks. A line that goes
//! on is indented.

use std::collections::BTreeSet;

use crate::citations::is_code;

/// One item of the catalogue.
#[derive(Debug, Default)]
pub(crate) struct Item {
    pub(crate) code: String,
    pub(crate) line: usize,
    says: String,
    why: String,
    place: String,
    test: String,
}

/// What the workspace has of that which an item may name.
pub(crate) struct World<'a> {
    pub(crate) tests: &'a BTreeSet<String>,
    /// What stands in a file, if there is one.
    pub(crate) read: &'a dyn Fn(&str) -> Option<String>,
}

/// Every item, in the order of the document.
pub(crate) fn items(document: &str) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let mut inside = false;
    for (line, text) in (1..).zip(document.lines()) {
        if text.starts_with('#') {
            let heading = text.strip_prefix("### ").and_then(|heading| heading.split_once(' '));
            inside = heading.is_some_and(|(code, _)| is_code(code));
            if let Some((code, _)) = heading.filter(|_| inside) {
                items.push(Item { code: code.to_owned(), line, ..Item::default() });
            }
        } else if let Some(item) = items.last_mut().filter(|_| inside) {
            item.add(text);
        }
    }
    items
}

impl Item {
    fn add(&mut self, line: &str) {
        let fields = [("- Why:", 1), ("- Where:", 2), ("- Test:", 3)];
        let named =
            fields.iter().find_map(|(mark, field)| Some((line.strip_prefix(mark)?, *field)));
        let last = [&self.test, &self.place, &self.why].iter().position(|text| !text.is_empty());
        let goes_on = last.filter(|_| line.starts_with("  ")).map(|from_end| 3 - from_end);
        let (text, field) = named.unwrap_or((line, goes_on.unwrap_or(0)));
        let target = match field {
            1 => &mut self.why,
            2 => &mut self.place,
            3 => &mut self.test,
            _ => &mut self.says,
        };
        target.push_str(text.trim());
        target.push(' ');
    }

    /// What is wrong with it.
    pub(crate) fn faults(&self, world: &World<'_>) -> Vec<String> {
        let mut faults = Vec::new();
        for (field, text) in [("statement", &self.says), ("reason", &self.why)] {
            if text.trim().is_empty() {
                faults.push(format!("has no {field}"));
            }
        }
        let (places, constants): (Vec<&str>, Vec<&str>) =
            quoted(&self.place).partition(|name| name.contains('/'));
        let tests: Vec<&str> = quoted(&self.test).collect();
        for (what, names) in [("place", &places), ("test", &tests)] {
            if names.is_empty() {
                faults.push(format!("names no {what}"));
            }
        }
        let mut seen = String::new();
        for path in &places {
            match (world.read)(path) {
                Some(text) => seen.extend([&text, "\n"]),
                None => faults.push(format!("names {path}, which does not exist")),
            }
        }
        let missing = constants.iter().filter(|name| is_shouted(name) && !has_word(&seen, name));
        faults.extend(missing.map(|name| format!("names {name}, of which its places do not know")));
        let missing = tests.iter().filter(|name| !world.tests.contains(**name));
        faults.extend(missing.map(|name| format!("names {name}, which is no test")));
        faults
    }
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|other| other == word)
}

fn is_shouted(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}
