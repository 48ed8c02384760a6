//! Bencode: what the reader accepts, the writer reproduces, an independent decoder agrees, and
//! reading costs no more than a step per byte.

use estudely_core::bencode::{ErrorKind, Flags, Reader, Token, Writer};

/// As deep as an info dictionary may nest (H4).
const DEPTH: usize = 100;

/// As many digits as any number of 64 bits has room for.
const DIGITS: usize = 18;

/// Longest input that is also read as the inside of an integer.
const NUMBER_MAX: usize = 24;

/// Tokens of one input; above libFuzzer's default input length, so that they never decide alone.
const TOKENS: u32 = 10_000;

/// Reads and writes one value.
///
/// # Panics
/// When that does not hold for `data`.
pub(super) fn bdecode(data: &[u8]) {
    let read = transcribe(data);
    let canonical =
        read.as_ref().is_some_and(|read| read.flags.is_canonical() && read.consumed == data.len());
    agree(data, canonical);
    number(data);
    let Some(Transcript { written, consumed, tokens, flags, huge }) = read else { return };

    assert!(tokens as usize <= consumed, "a token is a byte at least");
    let value = &data[..consumed];
    assert_eq!(Reader::<DEPTH>::new(data, tokens).raw(), Ok(value), "so many tokens, no more");
    let starved = Reader::<DEPTH>::new(data, tokens - 1).raw().map_err(|error| error.kind);
    assert_eq!(starved, Err(ErrorKind::TooManyTokens));
    let torn = Reader::<DEPTH>::new(&value[..consumed - 1], TOKENS).raw();
    assert_eq!(
        torn.map_err(|error| error.kind),
        Err(ErrorKind::UnexpectedEnd),
        "no prefix is whole"
    );
    if flags.is_canonical() && !huge {
        assert_eq!(written, &data[..consumed], "a canonical input is written back as it was");
        return;
    }
    // The writer repairs and cuts numbers, never the order of keys; a second pass changes nothing.
    let again = transcribe(&written).expect("what was read can be read again");
    let repaired = Flags { leading_zero: false, ..flags };
    let consumed = written.len();
    assert_eq!(again, Transcript { written, consumed, tokens, flags: repaired, huge: false });
}

/// What was read of an input, and written again.
#[derive(Debug, PartialEq)]
struct Transcript {
    written: Vec<u8>,
    consumed: usize,
    tokens: u32,
    flags: Flags,
    huge: bool,
}

/// Reads one value and writes it again, token by token; `None` when `data` holds no value.
fn transcribe(data: &[u8]) -> Option<Transcript> {
    let mut reader = Reader::<DEPTH>::new(data, TOKENS);
    let mut written = Vec::new();
    let mut writer = Writer::new(&mut written);
    let (mut open, mut tokens) = (0_usize, 0);
    loop {
        let before = reader.position();
        let token = match reader.next_token() {
            Ok(Some(token)) => token,
            Ok(None) => break,
            Err(error) => {
                assert!(error.at <= data.len(), "an error lies inside the input");
                return None;
            }
        };
        assert!(reader.position() > before, "every token consumes input");
        tokens += 1;
        match token {
            Token::Int(value) => writer.int(value),
            Token::Bytes(bytes) => writer.bytes(bytes),
            Token::List => writer.list(),
            Token::Dict => writer.dict(),
            Token::End => writer.end(),
        };
        match token {
            Token::List | Token::Dict => open += 1,
            Token::End => open -= 1,
            Token::Int(_) | Token::Bytes(_) => {}
        }
        assert_eq!(reader.depth(), open);
        assert!(open <= DEPTH);
    }
    assert!(open == 0 && reader.position() <= data.len());
    let (consumed, flags, huge) = (reader.position(), reader.flags(), reader.met_huge());
    Some(Transcript { written, consumed, tokens, flags, huge })
}

/// Whether the independent decoder (bt_bencode 0.8.2) can be asked: it recurses, overflows on
/// absurd lengths and refuses the least of all numbers. Such inputs are for our own limits.
pub(super) fn is_for_others(data: &[u8]) -> bool {
    let nests = data.iter().filter(|byte| matches!(byte, b'l' | b'd')).count() > DEPTH;
    let digits = data.split(|byte| !byte.is_ascii_digit()).map(<[u8]>::len).max();
    !nests && digits.is_none_or(|run| run <= DIGITS)
}

/// As the inside of an integer: the standard library reads the same number, and if it has too many
/// digits for that, ours is the nearest.
fn number(data: &[u8]) {
    if data.len() > NUMBER_MAX {
        return;
    }
    let digits = data.strip_prefix(b"-").unwrap_or(data);
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(data).ok().filter(|_| is_number);
    let nearest = if data.starts_with(b"-") { i64::MIN } else { i64::MAX };
    let expected: Option<i64> = text.map(|text| text.parse().unwrap_or(nearest));
    let wrapped = [b"i", data, b"e"].concat();
    let mut reader = Reader::<DEPTH>::new(&wrapped, 1);
    let read = reader.next_token();
    let whole = reader.position() == wrapped.len();
    let value = match read {
        Ok(Some(Token::Int(value))) if whole => Some(value),
        _ => None,
    };
    assert_eq!(value, expected, "one number, two readers");
}

/// An independent decoder takes what we take as canonical, and writes it as it was; what it writes
/// as it was, we take as canonical.
fn agree(data: &[u8], canonical: bool) {
    if data.len() > TOKENS as usize || !is_for_others(data) {
        return;
    }
    let theirs = bt_bencode::from_slice::<bt_bencode::Value>(data).ok();
    let rewritten = theirs.and_then(|value| bt_bencode::to_vec(&value).ok());
    let same = rewritten.is_some_and(|bytes| bytes == data);
    assert_eq!(same, canonical, "two decoders, one language");
}
