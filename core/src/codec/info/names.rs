//! Names as people see them. The bytes of a name are never changed; these are views of it.

use crate::limits::{TERMINAL_EXTENSION_MAX, TERMINAL_NAME_MAX};

/// What stands for something that cannot be shown.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;

/// The form that rows and files carry: each invalid UTF-8 sequence, C0 and C1 control, DEL, U+2028
/// and U+2029 becomes U+FFFD; nothing is removed, shortened or prefixed. Hence one line, always.
pub fn display_name(name: &[u8]) -> String {
    let mut shown = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        shown.extend(chunk.valid().chars().map(|c| if breaks(c) { REPLACEMENT } else { c }));
        if !chunk.invalid().is_empty() {
            shown.push(REPLACEMENT);
        }
    }
    shown
}

/// The form for terminals, where a name must neither move the cursor, nor hide a part of itself,
/// nor look like a path (H33-H37): separators and invisible format characters are dropped, controls
/// become `_`, as does a name of nothing but dots; long names lose their middle and keep a short
/// extension.
pub fn terminal_name(name: &[u8]) -> String {
    let mut shown = String::with_capacity(name.len().min(4 * TERMINAL_NAME_MAX));
    for c in display_chars(name) {
        match c {
            '/' | '\\' => {}
            c if is_format(c) => {}
            c if breaks(c) => shown.push('_'),
            c => shown.push(c),
        }
    }
    let shown = if shown.len() > TERMINAL_NAME_MAX { cut(&shown) } else { shown };
    // Also what has lost its end may be nothing but dots.
    if shown.chars().all(|c| c == '.') { "_".to_owned() } else { shown }
}

/// The characters of a name, with U+FFFD for each invalid sequence.
fn display_chars(name: &[u8]) -> impl Iterator<Item = char> {
    name.utf8_chunks().flat_map(|chunk| {
        let bad = (!chunk.invalid().is_empty()).then_some(REPLACEMENT);
        chunk.valid().chars().chain(bad)
    })
}

/// Whether a character breaks lines or drives terminals: C0, DEL, C1, U+2028, U+2029.
fn breaks(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Whether a character is invisible and changes how its neighbours look (H34).
fn is_format(c: char) -> bool {
    matches!(
        c,
        '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2064}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
    )
}

/// At most [`TERMINAL_NAME_MAX`] bytes, a short extension kept.
fn cut(name: &str) -> String {
    let extension = name
        .rfind('.')
        .map(|dot| &name[dot..])
        .filter(|extension| extension.len() <= TERMINAL_EXTENSION_MAX + 1)
        .unwrap_or_default();
    let end = name.floor_char_boundary(TERMINAL_NAME_MAX - extension.len());
    [&name[..end], extension].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_display_form_replaces_what_breaks_rows_and_nothing_else() {
        let cases: [(&[u8], &str); 9] = [
            (b"plain name.txt", "plain name.txt"),
            (b"a\nb\r\tc\0\x1b[31m\x7f", "a\u{fffd}b\u{fffd}\u{fffd}c\u{fffd}\u{fffd}[31m\u{fffd}"),
            ("\u{85}\u{9b}\u{a0}".as_bytes(), "\u{fffd}\u{fffd}\u{a0}"),
            ("x\u{2028}\u{2029}\u{202e}".as_bytes(), "x\u{fffd}\u{fffd}\u{202e}"),
            (b"=1+1,\"q\" ../.. \\", "=1+1,\"q\" ../.. \\"),
            (b"ok\xff\xfe!", "ok\u{fffd}\u{fffd}!"),
            (b"\xe6\x97", "\u{fffd}"),
            (b"\xed\xa0\x80|\xc0\xaf", "\u{fffd}\u{fffd}\u{fffd}|\u{fffd}\u{fffd}"),
            ("日本語 🎉".as_bytes(), "日本語 🎉"),
        ];
        for (name, shown) in cases {
            assert_eq!(display_name(name), shown, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn a_long_name_of_which_only_dots_are_left_is_no_path_either() {
        let name = [&b".".repeat(TERMINAL_NAME_MAX + 5)[..], b"a name that goes on"].concat();
        assert_eq!(terminal_name(&name), "_");
    }

    #[test]
    fn the_terminal_form_disarms_paths_controls_and_format_characters() {
        let cases: [(&[u8], &str); 8] = [
            (b"../../etc/passwd", "....etcpasswd"),
            (b"..", "_"),
            (b"", "_"),
            (b"/\\", "_"),
            (b"a\x1b[2Jb\r\n", "a_[2Jb__"),
            ("gpj\u{202e}exe.\u{200b}\u{feff}x".as_bytes(), "gpjexe.x"),
            (b"bad\xffbyte", "bad\u{fffd}byte"),
            (b"C:\\dir\\file.txt", "C:dirfile.txt"),
        ];
        for (name, shown) in cases {
            assert_eq!(terminal_name(name), shown, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn terminal_names_are_cut_one_past_the_limit_and_keep_a_short_extension() {
        let fits = "x".repeat(240);
        assert_eq!(terminal_name(fits.as_bytes()), fits);
        let over = "x".repeat(241);
        assert_eq!(terminal_name(over.as_bytes()), fits);
        let kept = format!("{}.{}", "x".repeat(300), "e".repeat(10));
        assert!(terminal_name(kept.as_bytes()).ends_with(".eeeeeeeeee"));
        assert_eq!(terminal_name(kept.as_bytes()).len(), 240);
        let long = format!("{}.{}", "x".repeat(300), "e".repeat(11));
        assert_eq!(terminal_name(long.as_bytes()), fits);
        // Never inside a code point: 3 bytes each, so 80 of them.
        assert_eq!(terminal_name("語".repeat(200).as_bytes()), "語".repeat(80));
        assert_eq!(terminal_name(format!("a{}", "語".repeat(200)).as_bytes()).len(), 238 + 1 - 1);
    }

    proptest! {
        #[test]
        fn no_bytes_escape_into_a_terminal_or_a_second_line(name: Vec<u8>) {
            let shown = display_name(&name);
            prop_assert!(!shown.chars().any(breaks));
            let shown = terminal_name(&name);
            prop_assert!(!shown.chars().any(|c| breaks(c) || is_format(c) || c == '/' || c == '\\'));
            prop_assert!(!shown.is_empty() && shown.len() <= TERMINAL_NAME_MAX);
        }

        #[test]
        fn the_display_form_of_clean_text_is_the_text(name in "[^\\p{C}\\u{2028}\\u{2029}]*") {
            prop_assert_eq!(display_name(name.as_bytes()), name);
        }
    }
}
