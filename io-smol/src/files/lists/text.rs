//! A text as lines of UTF-8, however its writer marked their ends (LF, CRLF, CR) and whether it is
//! UTF-8 or UTF-16 with a mark of either order.
//!
//! Must never wait for bytes while a whole line is at hand, nor keep more than one line.

use std::io::{self, BufRead, BufReader, Read};

use super::LINE_BYTES_MAX;

/// Bytes read from an input at once.
const CHUNK_BYTES: usize = 8 << 10;

/// An input line by line.
pub(super) struct TextLines<R> {
    input: BufReader<Decoded<R>>,
    /// The line read last, without its end.
    text: Vec<u8>,
    /// Its number.
    number: u64,
    /// It ended in a CR that was the last byte at hand: an LF that follows belongs to it.
    after_cr: bool,
}

impl<R: Read> TextLines<R> {
    pub(super) fn new(input: R) -> Self {
        let input = BufReader::with_capacity(CHUNK_BYTES, Decoded::new(input));
        Self { input, text: Vec::new(), number: 0, after_cr: false }
    }

    /// Whether anything is at hand, so that the next line may come without waiting.
    pub(super) fn has_more_at_hand(&self) -> bool {
        !self.input.buffer().is_empty()
    }

    /// The number of the line read last.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The line read last, without its end.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Reads a line: whether it fits, `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<bool>> {
        self.text.clear();
        let mut fits = true;
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                let ended = self.text.is_empty() && fits;
                self.number += u64::from(!ended);
                return Ok((!ended).then_some(fits));
            }
            if std::mem::take(&mut self.after_cr) && chunk[0] == b'\n' {
                self.input.consume(1);
                continue;
            }
            let end = chunk.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let part = &chunk[..end.unwrap_or(chunk.len())];
            fits &= self.text.len() + part.len() <= LINE_BYTES_MAX;
            if fits {
                self.text.extend_from_slice(part);
            }
            let Some(end) = end else {
                let used = chunk.len();
                self.input.consume(used);
                continue;
            };
            let is_cr = chunk[end] == b'\r';
            let is_crlf = is_cr && chunk.get(end + 1) == Some(&b'\n');
            self.after_cr = is_cr && end + 1 == chunk.len();
            self.input.consume(end + 1 + usize::from(is_crlf));
            self.number += 1;
            return Ok(Some(fits));
        }
    }
}

/// What the first bytes of an input said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    /// They are not there yet.
    Unknown,
    /// UTF-8, or what is to be read as that.
    Utf8,
    Utf16Le,
    Utf16Be,
}

/// An input as UTF-8; what is no UTF-16 becomes U+FFFD.
struct Decoded<R> {
    input: R,
    encoding: Encoding,
    /// Bytes read and not decoded yet.
    raw: Vec<u8>,
    /// The first half of a character of two.
    high: Option<u16>,
    out: Vec<u8>,
    /// How many of `out` were given out.
    given: usize,
}

impl<R: Read> Decoded<R> {
    fn new(input: R) -> Self {
        let (raw, out) = (Vec::new(), Vec::new());
        Self { input, encoding: Encoding::Unknown, raw, high: None, out, given: 0 }
    }

    /// Reads once and decodes what it can; `false` at the end.
    fn refill(&mut self) -> io::Result<bool> {
        let mut chunk = [0; CHUNK_BYTES];
        let read = loop {
            match self.input.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.raw.extend_from_slice(&chunk[..read]);
        if self.encoding == Encoding::Unknown {
            self.encoding = match self.raw[..] {
                [0xff, 0xfe, ..] => Encoding::Utf16Le,
                [0xfe, 0xff, ..] => Encoding::Utf16Be,
                [0xff | 0xfe] if read > 0 => Encoding::Unknown,
                _ => Encoding::Utf8,
            };
        }
        match self.encoding {
            Encoding::Unknown => {}
            Encoding::Utf8 => std::mem::swap(&mut self.out, &mut self.raw),
            Encoding::Utf16Le => self.decode(u16::from_le_bytes),
            Encoding::Utf16Be => self.decode(u16::from_be_bytes),
        }
        if read == 0 {
            // Half a character, and half a code unit.
            let broken = usize::from(self.high.take().is_some()) + self.raw.len();
            self.raw.clear();
            self.out.extend("\u{fffd}".repeat(broken).as_bytes());
        }
        Ok(read > 0)
    }

    fn decode(&mut self, unit: fn([u8; 2]) -> u16) {
        for pair in self.raw.chunks_exact(2) {
            let unit = unit([pair[0], pair[1]]);
            let high = self.high.take();
            if let (Some(high), 0xdc00..=0xdfff) = (high, unit) {
                let halves = char::decode_utf16([high, unit]);
                halves.flatten().for_each(|whole| push(&mut self.out, whole));
                continue;
            }
            if high.is_some() {
                push(&mut self.out, char::REPLACEMENT_CHARACTER);
            }
            match unit {
                0xd800..=0xdbff => self.high = Some(unit),
                unit => {
                    let whole = char::from_u32(u32::from(unit));
                    push(&mut self.out, whole.unwrap_or(char::REPLACEMENT_CHARACTER));
                }
            }
        }
        let rest = self.raw.len() / 2 * 2;
        self.raw.drain(..rest);
    }
}

fn push(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut goes_on = true;
        while self.given == self.out.len() && goes_on {
            self.out.clear();
            self.given = 0;
            goes_on = self.refill()?;
        }
        let part = &self.out[self.given..];
        let taken = part.len().min(buf.len());
        buf[..taken].copy_from_slice(&part[..taken]);
        self.given += taken;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An input that gives a byte at a time.
    struct Dripping<'a>(&'a [u8]);

    impl Read for Dripping<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
            self.0 = rest;
            buf[0] = *first;
            Ok(1)
        }
    }

    fn lines(input: impl Read) -> Vec<String> {
        let mut lines = TextLines::new(input);
        let mut out = Vec::new();
        while let Some(fits) = lines.next().expect("memory reads") {
            assert!(fits);
            out.push(String::from_utf8_lossy(lines.text()).into_owned());
        }
        assert_eq!(lines.number(), out.len() as u64);
        out
    }

    fn check(bytes: &[u8], expected: &[&str]) {
        assert_eq!(lines(bytes), expected, "{bytes:?}");
        assert_eq!(lines(Dripping(bytes)), expected, "{bytes:?} byte by byte");
    }

    #[test]
    fn each_usual_line_end_ends_one_line() {
        check(b"a\nb\r\nc\rd", &["a", "b", "c", "d"]);
        check(b"a\r\r\nb\n\nc\r", &["a", "", "b", "", "c"]);
        check(b"", &[]);
    }

    #[test]
    fn utf_16_of_either_order_is_read_by_its_mark() {
        for (mark, bytes) in [
            ([0xff, 0xfe], u16::to_le_bytes as fn(u16) -> [u8; 2]),
            ([0xfe, 0xff], u16::to_be_bytes),
        ] {
            let mut text = mark.to_vec();
            text.extend("aé\r\n\u{1f980}\n".encode_utf16().flat_map(bytes));
            check(&text, &["\u{feff}aé", "\u{1f980}"]);
            text.extend(bytes(0xd83e));
            text.push(b'x');
            check(&text, &["\u{feff}aé", "\u{1f980}", "\u{fffd}\u{fffd}"]);
        }
        check(b"\xff", &["\u{fffd}"]);
        check(b"\xffx", &["\u{fffd}x"]);
    }
}
