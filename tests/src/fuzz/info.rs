//! What people read: info dictionaries, names and magnet links of any content.

use std::cell::Cell;

use estudely_core::info::{Info, Protocol, display_name, for_each_file, terminal_name};
use estudely_core::limits::{
    MAGNET_LEN_MAX, MAGNET_PEERS_MAX, PATH_DEPTH, TERMINAL_NAME_MAX, TOTAL_MAX,
};
use estudely_core::magnet;

/// An info dictionary: the summary and the list of files agree, and no more files are reported than
/// bytes were read.
pub(super) fn metainfo(data: &[u8]) {
    let (seen, counted, sum) = (Cell::new(0_usize), Cell::new(0_u64), Cell::new(0_u64));
    let listed = for_each_file(data, |file| {
        seen.set(seen.get() + 1);
        assert!(seen.get() <= data.len() + 1, "work is bounded by the input");
        assert!(file.path.len() <= PATH_DEPTH, "paths are cut");
        if !file.attributes.pad {
            counted.set(counted.get() + 1);
            let length = if file.attributes.symlink { 0 } else { file.length };
            sum.set(sum.get().saturating_add(length));
        }
    });
    let Ok(info) = Info::parse(data) else { return };
    assert!(!info.name.is_empty() || info.name.len() <= data.len());
    assert!(info.total_bytes <= TOTAL_MAX);
    assert_eq!(info.flags.empty, info.total_bytes == 0);
    listed.expect("what has a summary has a list");
    assert_eq!((info.file_count, info.total_bytes), (counted.get(), sum.get()));
    assert!(info.protocol != Protocol::Hybrid || !info.flags.bad_version);
    name(&info.name);
}

/// The display and terminal forms of any bytes.
pub(super) fn name(data: &[u8]) {
    let shown = display_name(data);
    let breaks = |c: char| c.is_control() || c == '\u{2028}' || c == '\u{2029}';
    assert!(!shown.chars().any(breaks), "one line, no control");
    assert!(shown.len() <= 3 * data.len(), "one replacement for each byte at most");
    if let Ok(text) = std::str::from_utf8(data)
        && !text.chars().any(breaks)
    {
        assert_eq!(shown, text, "nothing else is touched");
    }
    assert_eq!(display_name(shown.as_bytes()), shown);
    let terminal = terminal_name(data);
    assert!(terminal.len() <= TERMINAL_NAME_MAX);
    assert!(!terminal.chars().any(|c| breaks(c) || c == '/' || c == '\\'));
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
    if magnet.v2.is_none() {
        assert_eq!(magnet::parse(&hash.to_string()).map(|bare| bare.hash), Ok(hash));
    }
}
