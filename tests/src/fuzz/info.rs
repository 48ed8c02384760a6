//! What people read: info dictionaries, names and magnet links of any content.

use std::cell::Cell;

use estudely_core::info::{
    Attribute, Info, InfoFlag, Protocol, display_name, for_each_file, terminal_name,
};
use estudely_core::limits::{
    MAGNET_LEN_MAX, MAGNET_PEERS_MAX, PATH_DEPTH, TERMINAL_NAME_MAX, TOTAL_MAX,
};
use estudely_core::magnet;

use super::bencode::is_for_others;

/// Bytes hashed for each byte of an info dictionary, at most: the shortest name, an empty one, is 2
/// bytes, and 8 of its length are hashed.
const HASHED_PER_BYTE: u64 = 4;

/// An info dictionary: the summary and the list of files agree, no more files are reported than
/// bytes were read, and no more bytes hashed than in proportion, whether it can be read or not.
pub(super) fn metainfo(data: &[u8]) {
    let (seen, counted, sum) = (Cell::new(0_usize), Cell::new(0_u64), Cell::new(0_u64));
    let listed = for_each_file(data, |file| {
        seen.set(seen.get() + 1);
        assert!(seen.get() <= data.len() + 1, "work is bounded by the input");
        assert!(file.path.len() <= PATH_DEPTH, "paths are cut");
        let bytes: usize = file.path.iter().map(|component| component.len()).sum();
        assert!(bytes <= data.len() && file.path.iter().all(|c| lies_in(c, data)), "only lent");
        if !file.attributes.contains(Attribute::Pad) {
            counted.set(counted.get() + 1);
            let length = if file.attributes.contains(Attribute::Symlink) { 0 } else { file.length };
            sum.set(sum.get().saturating_add(length));
        }
    });
    let hashed = Cell::new(0);
    let read = Info::parse_counting(data, &hashed);
    assert!(hashed.get() <= HASHED_PER_BYTE * data.len() as u64, "a name is hashed once");
    let Ok(info) = read else { return };
    assert!(info.name.len() <= data.len());
    assert!(info.total_bytes <= TOTAL_MAX);
    assert_eq!(info.flags.contains(InfoFlag::Empty), info.total_bytes == 0);
    listed.expect("what has a summary has a list");
    assert_eq!((info.file_count, info.total_bytes), (counted.get(), sum.get()));
    assert!(info.protocol != Protocol::Hybrid || !info.flags.contains(InfoFlag::BadVersion));
    if !info.flags.contains(InfoFlag::NotCanonical) && is_for_others(data) {
        confirm(data, &info);
    }
    name(&info.name);
}

/// Whether `part` is a slice of `whole`, not a copy.
fn lies_in(part: &[u8], whole: &[u8]) -> bool {
    let (inner, outer) = (part.as_ptr_range(), whole.as_ptr_range());
    part.is_empty() || (inner.start >= outer.start && inner.end <= outer.end)
}

/// A naive reading of what an independent decoder made of a canonical dictionary.
fn confirm(data: &[u8], info: &Info) {
    use bt_bencode::Value;
    let root: Value = bt_bencode::from_slice(data).expect("canonical bencode");
    let bytes = |value: &Value, key: &str| {
        value.get(key).and_then(Value::as_byte_str).map(|text| text.to_vec())
    };
    let names = [bytes(&root, "name"), bytes(&root, "name.utf-8")];
    assert!(names.into_iter().flatten().any(|name| name == info.name), "one of its names");
    let number = |value: &Value, key: &str| {
        let value = value.get(key)?;
        value.as_i64().or_else(|| i64::try_from(value.as_u64()?).ok())
    };
    assert_eq!(info.private, number(&root, "private").is_some_and(|private| private != 0));
    let piece_length = number(&root, "piece length").and_then(|n| u64::try_from(n).ok());
    assert_eq!(info.piece_length, piece_length.unwrap_or(0));
    let length = |file: &Value| {
        let mut attributes = bytes(file, "attr").unwrap_or_default();
        if attributes.is_empty() && file.get("path").is_some_and(is_padding) {
            attributes.push(b'p');
        }
        let length = number(file, "length").and_then(|n| u64::try_from(n).ok());
        let is_link = attributes.contains(&b'l');
        assert!(is_link || length.is_some(), "a file that was read has a length");
        (!attributes.contains(&b'p')).then(|| length.filter(|_| !is_link).unwrap_or(0))
    };
    let files: Vec<u64> = match root.get("files").map(Value::as_array) {
        Some(Some(files)) => files.iter().filter_map(length).collect(),
        _ if number(&root, "length").is_some_and(|length| length >= 0) => {
            length(&root).into_iter().collect()
        }
        _ => return assert_eq!(info.protocol, Protocol::V2, "no other layout"),
    };
    assert_ne!(info.protocol, Protocol::V2);
    assert_eq!((info.file_count, info.total_bytes), (files.len() as u64, files.iter().sum()));
}

/// Whether a path without an attribute ends in the name of a pad file of older BitComet.
fn is_padding(path: &bt_bencode::Value) -> bool {
    let name = path.as_array().and_then(|path| path.last()?.as_byte_str());
    let name = name.map(|name| String::from_utf8_lossy(name.as_ref()).into_owned());
    let rest = name.as_deref().and_then(|name| name.strip_prefix("_____padding_file_"));
    let number = rest.map(|rest| rest.split('_').next().unwrap_or_default());
    number.is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Characters that nobody sees and that move what stands beside them: Arabic letter mark, zero
/// widths and marks, embeddings and overrides, word joiner and invisible operators, isolates,
/// deprecated format characters excepted; byte order mark (H34; Unicode's Bidi_Control and
/// Join_Control).
const HIDING: [(char, char); 6] = [
    ('\u{061c}', '\u{061c}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{2064}'),
    ('\u{2066}', '\u{2069}'),
    ('\u{feff}', '\u{feff}'),
];

/// The display and terminal forms of any bytes.
pub(super) fn name(data: &[u8]) {
    let shown = display_name(data);
    let breaks = |c: char| c.is_control() || c == '\u{2028}' || c == '\u{2029}';
    assert!(!shown.chars().any(breaks), "one line, no control");
    assert!(shown.len() <= 3 * data.len(), "one replacement for each byte at most");
    let lossy = String::from_utf8_lossy(data);
    let replaced = lossy.chars().map(|c| if breaks(c) { '\u{fffd}' } else { c });
    assert!(shown.chars().eq(replaced), "the standard library's view of invalid UTF-8");
    if let Ok(text) = std::str::from_utf8(data)
        && !text.chars().any(breaks)
    {
        assert_eq!(shown, text, "nothing else is touched");
    }
    assert_eq!(display_name(shown.as_bytes()), shown);
    let terminal = terminal_name(data);
    assert!(terminal.len() <= TERMINAL_NAME_MAX);
    let hides = |c: char| HIDING.iter().any(|(first, last)| (*first..=*last).contains(&c));
    assert!(!terminal.chars().any(|c| breaks(c) || hides(c) || c == '/' || c == '\\'));
    assert!(!terminal.is_empty() && terminal.chars().any(|c| c != '.'));
    assert_eq!(terminal_name(terminal.as_bytes()), terminal);
}

/// A magnet link or infohash as somebody typed it.
pub(super) fn magnet(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(magnet) = magnet::parse(text) else { return };
    assert!(text.len() <= MAGNET_LEN_MAX && magnet.peers.len() <= MAGNET_PEERS_MAX);
    for (at, peer) in magnet.peers.iter().enumerate() {
        assert!(!magnet.peers[..at].contains(peer), "each peer once");
    }
    // The plainest spelling of what was understood is understood as the same.
    let hash = magnet.hash;
    let plain = match magnet.v2 {
        Some(v2) => {
            let hex: String = v2.iter().map(|byte| format!("{byte:02x}")).collect();
            if v2[..20] == hash.0 {
                format!("magnet:?xt=urn:btmh:1220{hex}")
            } else {
                format!("magnet:?xt=urn:btih:{hash}&xt=urn:btmh:1220{hex}")
            }
        }
        None => format!("magnet:?xt=urn:btih:{hash}"),
    };
    let again = magnet::parse(&plain).expect("a plain link");
    assert_eq!((again.hash, again.v2), (hash, magnet.v2));
    let escaped =
        |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    let name = magnet.name.iter().map(|name| format!("&dn={}", escaped(name)));
    let peers = magnet.peers.iter().map(|peer| format!("&x.pe={peer}"));
    let full: String = [plain].into_iter().chain(name).chain(peers).collect();
    if full.len() <= MAGNET_LEN_MAX {
        let expected = magnet::Magnet { notes: Vec::new(), ..magnet.clone() };
        assert_eq!(magnet::parse(&full), Ok(expected), "everything that was understood");
    }
    // As a web page writes it.
    let entities = full.replace('&', "&amp;");
    if entities.len() <= MAGNET_LEN_MAX {
        assert_eq!(magnet::parse(&entities).map(|read| read.peers), Ok(magnet.peers));
    }
    if magnet.v2.is_none() {
        assert_eq!(magnet::parse(&hash.to_string()).map(|bare| bare.hash), Ok(hash));
    }
}
