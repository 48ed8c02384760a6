//! The checker's own bencode: finds where values end and what they are, sharing no line with the
//! decoder under test. Recursive, with depth and token limits; allocates nothing.

/// How a document is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Deepest nesting of lists and dictionaries.
    pub(super) depth: u32,
    /// Most tokens, keys and ends included.
    pub(super) tokens: u32,
    /// Whether anything but the one canonical form is refused.
    pub(super) canonical: bool,
}

impl Limits {
    /// What is read of datagrams of others (B.7: depth 10, 500 tokens).
    pub(super) const KRPC: Self = Self { depth: 10, tokens: 500, canonical: false };
    /// What is sent.
    pub(super) const STRICT: Self = Self { depth: 10, tokens: 500, canonical: true };
    /// The dictionary of a metadata message (B.7).
    pub(super) const METADATA: Self = Self { depth: 4, tokens: 32, canonical: false };
    /// An extension handshake (B.7).
    pub(super) const EXTENSIONS: Self = Self { depth: 10, tokens: 4_096, canonical: false };
}

/// One whole value and nothing else, already known to be valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value<'a>(&'a [u8]);

impl<'a> Value<'a> {
    /// The value that `input` begins with; bytes after it are left alone. `None` if it is invalid.
    pub(super) fn read(input: &'a [u8], limits: Limits) -> Option<Self> {
        let mut tokens = limits.tokens;
        let end = value_end(input, 0, limits, limits.depth, &mut tokens)?;
        Some(Self(&input[..end]))
    }

    /// Bytes that it takes up.
    pub(super) fn len(self) -> usize {
        self.0.len()
    }

    /// Its number, if it is one; beyond `i64` the nearest (H4).
    pub(super) fn int(self) -> Option<i64> {
        let digits = std::str::from_utf8(self.0.strip_prefix(b"i")?.strip_suffix(b"e")?).ok()?;
        let nearest = if digits.starts_with('-') { i64::MIN } else { i64::MAX };
        Some(digits.parse().unwrap_or(nearest))
    }

    /// Its bytes, if it is a string.
    pub(super) fn bytes(self) -> Option<&'a [u8]> {
        let colon =
            self.0.first()?.is_ascii_digit().then(|| self.0.iter().position(|b| *b == b':'))??;
        self.0.get(colon + 1..)
    }

    /// Its keys and values, if it is a dictionary; else none.
    pub(super) fn entries(self) -> impl Iterator<Item = (&'a [u8], Self)> {
        let mut rest = self.0.strip_prefix(b"d").unwrap_or_default();
        std::iter::from_fn(move || {
            let key = split_value(&mut rest)?.bytes()?;
            Some((key, split_value(&mut rest)?))
        })
    }

    /// Its items, if it is a list; else none.
    pub(super) fn items(self) -> impl Iterator<Item = Self> {
        let mut rest = self.0.strip_prefix(b"l").unwrap_or_default();
        std::iter::from_fn(move || split_value(&mut rest))
    }

    /// The first value under `key`, if it is a dictionary.
    pub(super) fn get(self, key: &[u8]) -> Option<Self> {
        self.entries().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// Whether it is a dictionary.
    pub(super) fn is_dict(self) -> bool {
        self.0.first() == Some(&b'd')
    }
}

/// Any depth and number: for what is known to be valid.
const KNOWN: Limits = Limits { depth: 256, tokens: u32::MAX, canonical: false };

/// Takes the value that `rest` begins with; `None` at the end of a container.
fn split_value<'a>(rest: &mut &'a [u8]) -> Option<Value<'a>> {
    let value = Value::read(rest, KNOWN)?;
    *rest = &rest[value.0.len()..];
    Some(value)
}

/// Where the value that begins at `at` ends.
fn value_end(
    input: &[u8],
    at: usize,
    limits: Limits,
    depth: u32,
    tokens: &mut u32,
) -> Option<usize> {
    *tokens = tokens.checked_sub(1)?;
    match *input.get(at)? {
        b'i' => number_end(input, at + 1, b'e', limits.canonical),
        b'0'..=b'9' => string_end(input, at, limits.canonical),
        b'l' => {
            let (mut at, depth) = (at + 1, depth.checked_sub(1)?);
            while *input.get(at)? != b'e' {
                at = value_end(input, at, limits, depth, tokens)?;
            }
            *tokens = tokens.checked_sub(1)?;
            Some(at + 1)
        }
        b'd' => dict_end(input, at + 1, limits, depth.checked_sub(1)?, tokens),
        _ => None,
    }
}

fn dict_end(
    input: &[u8],
    mut at: usize,
    limits: Limits,
    depth: u32,
    tokens: &mut u32,
) -> Option<usize> {
    let mut before: Option<&[u8]> = None;
    loop {
        let first = *input.get(at)?;
        *tokens = tokens.checked_sub(1)?;
        if first == b'e' {
            return Some(at + 1);
        }
        if !first.is_ascii_digit() {
            return None;
        }
        let end = string_end(input, at, limits.canonical)?;
        if limits.canonical {
            let key = Value(&input[at..end]).bytes()?;
            if before.is_some_and(|before| before >= key) {
                return None;
            }
            before = Some(key);
        }
        at = value_end(input, end, limits, depth, tokens)?;
    }
}

fn string_end(input: &[u8], at: usize, canonical: bool) -> Option<usize> {
    let start = number_end(input, at, b':', canonical)?;
    let length: i64 = std::str::from_utf8(&input[at..start - 1]).ok()?.parse().ok()?;
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    (end <= input.len()).then_some(end)
}

/// Where a number that ends in `stop` is over, however long it is.
fn number_end(input: &[u8], at: usize, stop: u8, canonical: bool) -> Option<usize> {
    let negative = stop == b'e' && *input.get(at)? == b'-';
    let start = at + usize::from(negative);
    let digits = input.get(start..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let end = start + digits;
    if digits == 0 || *input.get(end)? != stop {
        return None;
    }
    let zero_first = input[start] == b'0';
    if canonical && zero_first && (digits > 1 || negative) {
        return None;
    }
    Some(end + 1)
}

#[cfg(test)]
mod tests {
    use estudely_core::bencode::Reader;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_canonical_form_passes_the_strict_reading() {
        for (text, lenient, strict) in [
            (&b"d1:ai1e1:bi2ee"[..], true, true),
            (b"d1:bi1e1:ai2ee", true, false),
            (b"d1:ai1e1:ai2ee", true, false),
            (b"i-0e", true, false),
            (b"i03e", true, false),
            (b"01:a", true, false),
            (b"ie", false, false),
            (b"i9223372036854775808e", true, true),
            (b"i-99999999999999999999999e", true, true),
            (b"99999999999999999999:a", false, false),
            (b"i-9223372036854775808e", true, true),
            (b"d1:ae", false, false),
            (b"di1ei2ee", false, false),
            (b"9:short", false, false),
            (b"l", false, false),
        ] {
            assert_eq!(Value::read(text, Limits::KRPC).is_some(), lenient, "{text:?}");
            assert_eq!(Value::read(text, Limits::STRICT).is_some(), strict, "{text:?}");
        }
    }

    #[test]
    fn values_give_what_they_hold() {
        let value = Value::read(b"d1:ad2:idi-7ee1:bl1:x0:e4:spam4:eggsee", Limits::KRPC);
        let value = value.expect("valid");
        assert_eq!(value.get(b"spam").and_then(Value::bytes), Some(&b"eggs"[..]));
        assert_eq!(value.get(b"a").and_then(|a| a.get(b"id")).and_then(Value::int), Some(-7));
        let items: Vec<_> = value.get(b"b").expect("list").items().map(Value::bytes).collect();
        assert_eq!(items, [Some(&b"x"[..]), Some(&b""[..])]);
        assert_eq!(value.len(), 37);
    }

    proptest! {
        #[test]
        fn it_accepts_what_the_core_accepts(
            text in prop::collection::vec(prop::sample::select(b"dlei-0123:ax".to_vec()), 0..40),
        ) {
            let ours = Value::read(&text, Limits::KRPC).map(Value::len);
            let mut core = Reader::<10>::new(&text, 500);
            let theirs = core.raw().ok().map(<[u8]>::len);
            prop_assert_eq!(ours, theirs);
        }
    }
}
