//! The first line of a file: whether it is that of `crawl`, and if not, what became of it.
//!
//! A file that is refused gets one line that says what it is, so that a person knows the cure.

use std::borrow::Cow;

use super::{BYTE_ORDER_MARK, Fields, PAIRS_HEADER, ROWS_HEADER, Table, infohash};
use crate::text::printable;

/// What is said of any file that is not ours.
pub(super) const NOT_OURS: &str = "the header is not that of crawl";

/// What is said of an output of `crawl peers` where metadata is to go, and the other way round.
const PAIRS_FOR_ROWS: &str =
    "the header is that of a list of peers, as crawl peers writes it, not of metadata";
const ROWS_FOR_PAIRS: &str =
    "the header is that of metadata, as crawl writes it, not of a list of peers";

/// What the first bytes say of a text that is no UTF-8.
pub(super) fn other_encoding(start: &[u8]) -> Option<&'static str> {
    let marks: [&[u8]; 2] = [&[0xff, 0xfe], &[0xfe, 0xff]];
    marks.iter().any(|mark| start.starts_with(mark)).then_some(
        "the header is not that of crawl: the text is UTF-16, as a spreadsheet saved it; save it as \
         CSV in UTF-8",
    )
}

/// Whether a file of one line without end may have been torn in its header.
pub(super) fn may_be_torn(text: &[u8], header: &str) -> bool {
    header.replace(',', "").as_bytes().starts_with(text) || BYTE_ORDER_MARK.starts_with(text)
}

/// Whether a line is `sep=,`, which tells one spreadsheet how to read the rest.
pub(super) fn is_separator_note(fields: Fields<'_>) -> bool {
    let mut fields = fields.iter();
    let first = fields.next().unwrap_or_default();
    let is_note = first.eq_ignore_ascii_case(b"sep=") || first.eq_ignore_ascii_case(b"sep=,");
    is_note && fields.all(<[u8]>::is_empty)
}

/// Whether a line is this header. Files put together with `cat` have one further down, perhaps
/// behind a mark.
pub(super) fn is_that_of(fields: Fields<'_>, header: &str) -> bool {
    let wanted: Vec<&str> = header.split(',').collect();
    names(fields).eq(wanted.iter().map(|name| name.as_bytes()))
}

/// The fields but for a mark before them and empty ones behind them.
fn names<'a>(fields: Fields<'a>) -> impl Iterator<Item = &'a [u8]> {
    let last = fields.iter().enumerate().filter(|(_, field)| !field.is_empty()).last();
    let count = last.map_or(0, |(at, _)| at + 1);
    fields.iter().take(count).map(|field| field.strip_prefix(&BYTE_ORDER_MARK).unwrap_or(field))
}

/// What is wrong with a first line that is not the header of `table`; `None` if that table needs
/// none, and this is no other header.
pub(super) fn fault(fields: Fields<'_>, table: Table) -> Option<Cow<'static, str>> {
    let found: Vec<Cow<'_, str>> = names(fields).map(String::from_utf8_lossy).collect();
    let (header, other, mismatch) = match table {
        Table::Rows => (ROWS_HEADER, PAIRS_HEADER, PAIRS_FOR_ROWS),
        Table::Pairs => (PAIRS_HEADER, ROWS_HEADER, ROWS_FOR_PAIRS),
    };
    if found.iter().map(AsRef::as_ref).eq(other.split(',')) {
        return Some(mismatch.into());
    }
    let what = separators(&found, &[header, other]).or_else(|| changed(&found, header));
    match what {
        Some(what) => Some(format!("{NOT_OURS}: {what}").into()),
        None if table == Table::Rows => Some(NOT_OURS.into()),
        None => None,
    }
}

/// What to say of a header or a row with other separators than commas.
fn separators(found: &[Cow<'_, str>], headers: &[&str]) -> Option<String> {
    let [line] = found else { return None };
    let (separator, name) = [(';', "semicolons"), ('\t', "tabs")]
        .into_iter()
        .find(|(separator, _)| line.contains(*separator))?;
    let first = line.split(separator).next().unwrap_or_default();
    let is_ours = infohash(first.as_bytes()).is_some()
        || headers.contains(&line.replace(separator, ",").as_str());
    is_ours.then(|| {
        format!(
            "its columns are separated by {name}, as a spreadsheet saved it; save it with commas"
        )
    })
}

/// What to say of our header with other columns.
fn changed(found: &[Cow<'_, str>], header: &str) -> Option<String> {
    let wanted: Vec<&str> = header.split(',').collect();
    if !found.iter().any(|name| name == "infohash") {
        return None;
    }
    let list = |names: Vec<&str>| names.join(", ");
    let missing = list(wanted.iter().copied().filter(|name| !has(found, name)).collect());
    let more = found.iter().map(AsRef::as_ref).filter(|name| !wanted.contains(name));
    let more = printable(&list(more.collect()));
    Some(match (missing.is_empty(), more.is_empty()) {
        (true, true) => "its columns are in another order, or repeated".to_owned(),
        (true, false) => format!("it has columns more: {more}"),
        (false, true) => format!("columns are missing: {missing}"),
        (false, false) => format!("columns are missing: {missing}; it has others: {more}"),
    })
}

fn has(found: &[Cow<'_, str>], name: &str) -> bool {
    found.iter().any(|found| found == name)
}
