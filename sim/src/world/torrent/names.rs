//! Names as the field has them, and the form in which the CSV must show them.

/// Beginnings of names that naive readers, CSV writers and terminals stumble over.
const AWKWARD: &[&[u8]] = &[
    "Übungsmüll äöüß".as_bytes(),
    "日本語の映画".as_bytes(),
    "한국어 드라마".as_bytes(),
    "🎬🍿 night 👩‍👩‍👧".as_bytes(),
    b"invalid \xff\xfe bytes \xc3\x28",
    b"overlong \xc0\xaf and surrogate \xed\xa0\x80",
    b"cut short \xe3\x81",
    b"comma, separated, name",
    b"quote \"inside\" and \"",
    b"\"all quoted\"",
    b"line\nbreak",
    b"carriage\r\nreturn",
    b"esc \x1b[31mred\x1b[0m",
    b"tab\tstop",
    b"nul\0byte",
    b"del\x7f",
    "c1\u{85}control\u{9b}31m".as_bytes(),
    "separators \u{2028} \u{2029}".as_bytes(),
    "\u{202e}gpj.exe".as_bytes(),
    "zero\u{200b}width\u{feff}".as_bytes(),
    b"=HYPERLINK(1)",
    b"+1",
    b"-1",
    b"@cmd",
    b" leading blank",
    b"../../etc/passwd",
    b"C:\\con\\aux",
    b"semicolon; pipe| 'single'",
];

const PLAIN: &[&str] = &[
    "Collected Lectures",
    "ubuntu-26.04-desktop-amd64",
    "The.Long.Night.S02E07.1080p.WEB.x265",
    "Field Recordings (FLAC)",
    "Atlas of Rivers",
    "weather-archive",
    "Big Buck Bunny 4K",
    "dataset.tar.zst",
];

/// `name` and, if present, `name.utf-8` of torrent `index`: unique through the number in both.
pub(super) fn pick(draw: &mut fastrand::Rng, index: u32) -> (Vec<u8>, Option<Vec<u8>>) {
    let stem: &[u8] = match draw.u32(0..100) {
        0..65 => PLAIN[draw.usize(0..PLAIN.len())].as_bytes(),
        65..98 => AWKWARD[draw.usize(0..AWKWARD.len())],
        _ => return (numbered("long name ".repeat(25).as_bytes(), index), None),
    };
    let name = numbered(stem, index);
    let utf8 = match draw.u32(0..100) {
        0..4 => Some(numbered("utf-8 название".as_bytes(), index)),
        4 => Some(Vec::new()),
        5 => Some(numbered(b"broken \xff", index)),
        _ => None,
    };
    (name, utf8)
}

fn numbered(stem: &[u8], index: u32) -> Vec<u8> {
    let mut name = stem.to_vec();
    name.extend_from_slice(format!(" {index:06}").as_bytes());
    name
}

/// The CSV form of a name (H34, H35): `name.utf-8` if it is present, not empty and valid, else
/// `name`; every invalid unit, control character and line separator becomes U+FFFD, nothing else
/// changes.
pub fn display(name: &[u8], utf8: Option<&[u8]>) -> String {
    let preferred = utf8.filter(|bytes| !bytes.is_empty() && std::str::from_utf8(bytes).is_ok());
    let text = String::from_utf8_lossy(preferred.unwrap_or(name));
    text.chars().map(|c| if breaks_lines_or_terminals(c) { '\u{fffd}' } else { c }).collect()
}

fn breaks_lines_or_terminals(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::display;

    #[test]
    fn the_utf8_name_wins_only_when_usable() {
        assert_eq!(display(b"old", Some("neu ü".as_bytes())), "neu ü");
        assert_eq!(display(b"old", Some(b"")), "old");
        assert_eq!(display(b"old", Some(b"\xff")), "old");
    }

    #[test]
    fn controls_and_bad_units_become_one_replacement_each() {
        assert_eq!(
            display(b"a\n\x1b\x7f\xff\xfeb", None),
            "a\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}b"
        );
        assert_eq!(
            display("a\u{85}\u{2028}\u{200b}".as_bytes(), None),
            "a\u{fffd}\u{fffd}\u{200b}"
        );
    }
}
