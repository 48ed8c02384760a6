//! Text of unknown origin on its way to a terminal.
//!
//! Nothing that a user, a file or a name on the network wrote reaches a terminal except through
//! [`printable`] (protocol catalogue H34, H37).

/// Most characters of foreign text that one message quotes.
pub const QUOTED_CHARS_MAX: usize = 120;

/// `text` safe to show on one line of a terminal: whatever is not printable is escaped as Rust
/// would write it, bidirectional and zero-width controls included, and what is longer than
/// [`QUOTED_CHARS_MAX`] is cut, with `...` in its place.
pub fn printable(text: &str) -> String {
    let mut out = String::new();
    for (index, c) in text.chars().enumerate() {
        if index == QUOTED_CHARS_MAX {
            out.push_str("...");
            break;
        }
        if c.is_control() || is_format(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// A word of a command line, safe to show: like [`printable`], and one without letters can be seen.
pub fn word(text: &str) -> String {
    if text.is_empty() { "\"\"".to_owned() } else { printable(text) }
}

/// A number with what it counts, named as one of them: `1 peer`, `2 peers`, `2 addresses`.
pub fn counted(n: u64, one: &str) -> String {
    let ending = match n {
        1 => "",
        _ if one.ends_with(['s', 'h']) => "es",
        _ => "s",
    };
    format!("{n} {one}{ending}")
}

/// Characters that steer the display instead of showing (catalogue H34), and line separators.
fn is_format(c: char) -> bool {
    matches!(
        c,
        '\u{061c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped_and_the_rest_is_kept() {
        assert_eq!(printable("näme 世界"), "näme 世界");
        assert_eq!(printable("\u{1b}[2J\n"), "\\u{1b}[2J\\u{a}");
        assert_eq!(printable("a\u{202e}b\u{feff}"), "a\\u{202e}b\\u{feff}");
    }

    #[test]
    fn one_is_one_and_all_else_are_many() {
        assert_eq!([0, 1, 2].map(|n| counted(n, "peer")), ["0 peers", "1 peer", "2 peers"]);
        assert_eq!(counted(2, "address"), "2 addresses");
        assert_eq!(counted(9, "infohash"), "9 infohashes");
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let shown = printable(&"é".repeat(121));
        assert_eq!(shown, "é".repeat(120) + "...");
        assert_eq!(printable(&"é".repeat(120)), "é".repeat(120));
    }
}
