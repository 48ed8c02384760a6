//! What one line of a list says: columns as `crawl` writes them or as spreadsheets save them, an
//! infohash alone, or a magnet link.
//!
//! What is unambiguous is read; anything else has a reason for the person who wrote it. Nothing here
//! reads a file.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use estudely_core::{Request, magnet};

use super::is_unicast;

/// Most columns that are told apart.
const COLUMNS_MAX: usize = 64;

/// What a line says.
pub(super) enum Line {
    /// Nothing: it is empty, a remark, or between spreadsheets (`sep=,`).
    Nothing,
    /// Which columns the lines after it have.
    Header(Columns),
    /// Something to fetch, with what of it was ignored.
    Good(Request, Vec<magnet::Note>),
    /// It names nothing usable; why.
    Bad(String),
}

/// Where what matters stands in the lines after a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    count: usize,
    hash: usize,
    ip: Option<usize>,
    port: Option<usize>,
}

impl Columns {
    /// What a header says, if it is one.
    fn read(fields: &[Cow<'_, str>]) -> Option<Self> {
        let at = |names: &[&str]| {
            let is_one = |field: &Cow<'_, str>| names.iter().any(|n| field.eq_ignore_ascii_case(n));
            fields.iter().position(is_one)
        };
        let hash = at(&["infohash", "info_hash"])?;
        // A torrent may be called like that.
        if fields.iter().any(|field| field.len() >= 32 && magnet::parse(field).is_ok()) {
            return None;
        }
        let ip = at(&["peer_ip", "ip", "peer", "address"]);
        let port = at(&["peer_port", "port"]);
        Some(Self { count: fields.len(), hash, ip, port })
    }

    /// Infohash, address and port of a line, if it is one of theirs.
    fn of<'f>(&self, fields: &'f [Cow<'_, str>]) -> Option<[&'f str; 3]> {
        let field =
            |at: Option<usize>| at.and_then(|at| fields.get(at)).map_or("", |field| field.as_ref());
        let hash = field(Some(self.hash));
        let fits = fields.len() <= self.count && magnet::parse(hash).is_ok();
        fits.then(|| [hash, field(self.ip), field(self.port)])
    }
}

/// Reads a line; `columns` are those of the last header.
pub(super) fn parse(text: &str, columns: Option<&Columns>) -> Line {
    let text = text.trim_start_matches('\u{feff}');
    // With a header a first column that is empty counts.
    let text = if columns.is_some() {
        text.trim_end().trim_start_matches(|c: char| c.is_whitespace() && c != '\t')
    } else {
        text.trim()
    };
    if text.trim().is_empty() || text.starts_with('#') || is_separator_note(text) {
        return Line::Nothing;
    }
    let mut fields = split(text);
    while fields.last().is_some_and(|last| last.is_empty()) {
        fields.pop();
    }
    if fields.is_empty() {
        return Line::Nothing;
    }
    if let Some(columns) = Columns::read(&fields) {
        return Line::Header(columns);
    }
    match row(&fields, columns) {
        Ok((request, notes)) => Line::Good(request, notes),
        Err(why) => Line::Bad(why),
    }
}

/// `sep=,` tells one spreadsheet how to read the rest.
fn is_separator_note(text: &str) -> bool {
    let text = text.trim_matches('"');
    let rest = text.get(..4).filter(|start| start.eq_ignore_ascii_case("sep=")).map(|_| &text[4..]);
    rest.is_some_and(|rest| rest.chars().count() <= 1)
}

fn row(
    fields: &[Cow<'_, str>],
    columns: Option<&Columns>,
) -> Result<(Request, Vec<magnet::Note>), String> {
    let all: Vec<&str> = fields.iter().take(COLUMNS_MAX).map(AsRef::as_ref).collect();
    let [hash, ip, port] = match (columns.and_then(|columns| columns.of(fields)), &all[..]) {
        (Some(named), _) => named,
        (None, [hash]) => [*hash, "", ""],
        (None, [hash, peer]) => [*hash, *peer, ""],
        (None, [hash, ip, port]) => [*hash, *ip, *port],
        (None, [hash, _name, files, bytes, piece, ip, port, ok])
            if is_word(ok) && [files, bytes, piece].iter().all(|n| is_count(n)) =>
        {
            [*hash, *ip, *port]
        }
        _ => return Err("neither infohash,peer_ip,peer_port nor an infohash alone".to_owned()),
    };
    let magnet = magnet::parse(hash).map_err(|error| error.to_string())?;
    let mut request = Request::new(magnet.hash, peer(ip, port)?);
    request.hearsay = magnet.peers;
    Ok((request, magnet.notes))
}

/// Whether a field is what `metadata_ok` may say.
fn is_word(field: &str) -> bool {
    field.eq_ignore_ascii_case("true") || field.eq_ignore_ascii_case("false")
}

/// Whether a field is a count, perhaps as a spreadsheet rounds it.
fn is_count(field: &str) -> bool {
    !field.is_empty() && field.bytes().all(|b| b.is_ascii_digit() || b"+.,eE".contains(&b))
}

/// A peer in two columns or in one; none if both are empty.
fn peer(ip: &str, port: &str) -> Result<Option<SocketAddr>, String> {
    if ip.is_empty() && port.is_empty() {
        return Ok(None);
    }
    let addr = if port.is_empty() {
        let both: SocketAddr = ip.parse().map_err(|_| "the peer is no IP:PORT".to_owned())?;
        SocketAddr::new(both.ip().to_canonical(), both.port())
    } else {
        let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
        let ip: IpAddr = bare.parse().map_err(|_| "peer_ip is no address".to_owned())?;
        let port = port.parse().map_err(|_| "peer_port is no port".to_owned())?;
        SocketAddr::new(ip.to_canonical(), port)
    };
    if !is_unicast(addr) {
        return Err("no peer can have this address".to_owned());
    }
    Ok(Some(addr))
}

/// The columns of a line, without white space and quotes around them. A magnet link may hold any
/// separator but a tab, so it is the whole line unless it is quoted.
fn split(text: &str) -> Vec<Cow<'_, str>> {
    let starts = |prefix: &str| {
        text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let is_link = ["magnet:", "magnet%"].iter().any(|scheme| starts(scheme));
    let is_parts = starts("urn:") && text.contains('&');
    if is_link || is_parts {
        let mut fields: Vec<Cow<'_, str>> = text.split('\t').map(|f| f.trim().into()).collect();
        if let Some(Cow::Borrowed(link)) = fields.first_mut() {
            *link = link.trim_end_matches([',', ';', ' ']);
        }
        return fields;
    }
    match separator(text) {
        Some(separator) => columns(text, separator),
        None if text.starts_with('"') => columns(text, ','),
        None => text.split_whitespace().map(Cow::Borrowed).collect(),
    }
}

/// What separates the columns of a line: what comes first behind its first column.
fn separator(text: &str) -> Option<char> {
    let mut quoted = false;
    text.chars().find(|c| {
        quoted ^= *c == '"';
        !quoted && matches!(c, ',' | ';' | '\t')
    })
}

/// The columns between separators; in quotes a separator is text, and two quotes are one.
fn columns(text: &str, separator: char) -> Vec<Cow<'_, str>> {
    let mut fields = Vec::new();
    let mut rest = Some(text);
    while let Some(text) = rest.filter(|_| fields.len() <= COLUMNS_MAX) {
        let inner = text.trim_start_matches(' ');
        if let Some(quoted) = inner.strip_prefix('"') {
            let (field, behind) = unquote(quoted);
            fields.push(Cow::Owned(field.trim().to_owned()));
            rest = behind.split_once(separator).map(|(_, behind)| behind);
        } else {
            let (field, behind) = match text.split_once(separator) {
                Some((field, behind)) => (field, Some(behind)),
                None => (text, None),
            };
            fields.push(Cow::Borrowed(field.trim()));
            rest = behind;
        }
    }
    fields
}

/// The text up to the closing quote, and what follows it.
fn unquote(text: &str) -> (String, &str) {
    let (mut field, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once('"') {
        field.push_str(before);
        match behind.strip_prefix('"') {
            Some(behind) => {
                field.push('"');
                rest = behind;
            }
            None => return (field, behind),
        }
    }
    field.push_str(rest);
    (field, "")
}
