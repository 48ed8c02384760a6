//! Bencode (BEP 3): a borrowing, iterative reader and a canonical writer.
//!
//! [`Reader`] walks the input once, token by token, and lends slices of it. It never recurses,
//! never allocates and never trusts a declared length; depth and tokens are capped per use
//! (catalogue H1-H4). What the field sends although the specification forbids it (leading zeros,
//! unsorted or duplicate keys, bytes after the root) is accepted and flagged, never repaired.

use std::fmt;

/// Why input is not bencode, and the byte offset where that showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Offset of the offending byte.
    pub at: usize,
}

/// The ways in which input fails to be bencode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The input ends inside a value.
    UnexpectedEnd,
    /// A byte that starts no value.
    ExpectedValue,
    /// A number without digits, or with something else between them.
    ExpectedDigit,
    /// No colon after a string's length.
    ExpectedColon,
    /// A string length beyond `i64`.
    Overflow,
    /// A dictionary key that is not a string.
    ExpectedKey,
    /// A dictionary that ends after a key.
    MissingValue,
    /// Nested deeper than this use allows.
    TooDeep,
    /// More tokens than this use allows.
    TooManyTokens,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            ErrorKind::UnexpectedEnd => "input ends inside a value",
            ErrorKind::ExpectedValue => "expected a value",
            ErrorKind::ExpectedDigit => "expected a digit",
            ErrorKind::ExpectedColon => "expected a colon after the string length",
            ErrorKind::Overflow => "string length out of range",
            ErrorKind::ExpectedKey => "dictionary key is not a string",
            ErrorKind::MissingValue => "dictionary key without a value",
            ErrorKind::TooDeep => "nested too deeply",
            ErrorKind::TooManyTokens => "too many values",
        };
        write!(f, "{what} at byte {}", self.at)
    }
}

impl std::error::Error for Error {}

/// One step through a document. Dictionary keys come as `Bytes`, alternating with their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// An integer. One beyond 64 bits counts as the nearest that has room (H4): only what is read
    /// has a range, and what is nearest lies outside of every range that a use allows.
    Int(i64),
    /// A byte string.
    Bytes(&'a [u8]),
    /// A list opens.
    List,
    /// A dictionary opens.
    Dict,
    /// The innermost list or dictionary closes.
    End,
}

/// What was accepted although the specification forbids it (B.2, D14, D15).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// A number or length with leading zeros, or `-0`.
    pub leading_zero: bool,
    /// A dictionary whose keys are not in ascending order.
    pub unsorted: bool,
    /// The same key twice in a row.
    pub duplicate: bool,
}

impl Flags {
    /// Whether the input was in the canonical form, which an integer beyond 64 bits may have too.
    pub const fn is_canonical(self) -> bool {
        !(self.leading_zero || self.unsorted || self.duplicate)
    }
}

/// Reads one value, token by token. `DEPTH` is how deep lists and dictionaries may nest.
#[derive(Clone, Debug)]
pub struct Reader<'a, const DEPTH: usize> {
    input: &'a [u8],
    at: usize,
    tokens_left: u32,
    open: usize,
    frames: [Frame<'a>; DEPTH],
    flags: Flags,
    huge: bool,
    started: bool,
}

/// One open list or dictionary.
#[derive(Clone, Copy, Debug)]
enum Frame<'a> {
    List,
    /// Waiting for a key; the one before, if any.
    Key(Option<&'a [u8]>),
    /// Waiting for the value of this key.
    Value(&'a [u8]),
}

impl<'a, const DEPTH: usize> Reader<'a, DEPTH> {
    /// A reader at the start of `input` that gives up after `tokens_max` tokens, ends included.
    pub fn new(input: &'a [u8], tokens_max: u32) -> Self {
        #[cfg(test)]
        crate::base::work::note(input.len());
        Self {
            input,
            at: 0,
            tokens_left: tokens_max,
            open: 0,
            frames: [Frame::List; DEPTH],
            flags: Flags::default(),
            huge: false,
            started: false,
        }
    }

    /// The next token, or `None` once the root value is complete.
    pub fn next_token(&mut self) -> Result<Option<Token<'a>>, Error> {
        if self.open == 0 && self.started {
            return Ok(None);
        }
        self.started = true;
        self.tokens_left =
            self.tokens_left.checked_sub(1).ok_or(self.error(ErrorKind::TooManyTokens))?;
        let first = self.peek()?;
        if let Some(Frame::Key(_)) = self.frame() {
            return self.key_or_end(first).map(Some);
        }
        let token = self.value_or_end(first)?;
        if token != Token::End {
            self.value_begun(token);
        }
        Ok(Some(token))
    }

    /// Skips the rest of the value whose first token was just read; scalars need nothing.
    pub fn skip(&mut self, first: Token<'a>) -> Result<(), Error> {
        if !matches!(first, Token::List | Token::Dict) {
            return Ok(());
        }
        let outside = self.open - 1;
        while self.open > outside {
            self.next_token()?;
        }
        Ok(())
    }

    /// Inside a dictionary: the next key, or `None` after its end was read.
    pub fn next_key(&mut self) -> Result<Option<&'a [u8]>, Error> {
        match self.next_token()? {
            Some(Token::Bytes(key)) => Ok(Some(key)),
            _ => Ok(None),
        }
    }

    /// Reads the next value if it is an integer; anything else is skipped and `None`.
    pub fn int(&mut self) -> Result<Option<i64>, Error> {
        match self.next_token()? {
            Some(Token::Int(value)) => Ok(Some(value)),
            Some(other) => self.skip(other).map(|()| None),
            None => Ok(None),
        }
    }

    /// Reads the next value if it is a string; anything else is skipped and `None`.
    pub fn bytes(&mut self) -> Result<Option<&'a [u8]>, Error> {
        match self.next_token()? {
            Some(Token::Bytes(value)) => Ok(Some(value)),
            Some(other) => self.skip(other).map(|()| None),
            None => Ok(None),
        }
    }

    /// Reads the next value whatever it is and lends its exact input bytes.
    pub fn raw(&mut self) -> Result<&'a [u8], Error> {
        let start = self.at;
        if let Some(first) = self.next_token()? {
            self.skip(first)?;
        }
        Ok(&self.input[start..self.at])
    }

    /// Enters the next value if it is a dictionary; anything else is skipped and `false`.
    pub fn enter_dict(&mut self) -> Result<bool, Error> {
        self.enter(Token::Dict)
    }

    /// Enters the next value if it is a list; anything else is skipped and `false`.
    pub fn enter_list(&mut self) -> Result<bool, Error> {
        self.enter(Token::List)
    }

    fn enter(&mut self, wanted: Token<'a>) -> Result<bool, Error> {
        match self.next_token()? {
            Some(token) if token == wanted => Ok(true),
            Some(other) => self.skip(other).map(|()| false),
            None => Ok(false),
        }
    }

    /// Bytes consumed so far: after the root value, where trailing bytes begin.
    pub fn position(&self) -> usize {
        self.at
    }

    /// How many lists and dictionaries are open.
    pub fn depth(&self) -> usize {
        self.open
    }

    /// What was tolerated so far.
    pub fn flags(&self) -> Flags {
        self.flags
    }

    /// Whether an integer beyond 64 bits was met, which the specification allows (H4).
    pub fn met_huge(&self) -> bool {
        self.huge
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error { kind, at: self.at }
    }

    fn peek(&self) -> Result<u8, Error> {
        self.input.get(self.at).copied().ok_or(self.error(ErrorKind::UnexpectedEnd))
    }

    fn frame(&self) -> Option<Frame<'a>> {
        self.open.checked_sub(1).map(|top| self.frames[top])
    }

    fn key_or_end(&mut self, first: u8) -> Result<Token<'a>, Error> {
        let top = self.open - 1;
        match first {
            b'e' => self.close(),
            b'0'..=b'9' => {
                let key = self.string()?;
                if let Frame::Key(Some(before)) = self.frames[top] {
                    self.flags.unsorted |= key < before;
                    self.flags.duplicate |= key == before;
                }
                self.frames[top] = Frame::Value(key);
                Ok(Token::Bytes(key))
            }
            _ => Err(self.error(ErrorKind::ExpectedKey)),
        }
    }

    fn value_or_end(&mut self, first: u8) -> Result<Token<'a>, Error> {
        match first {
            b'i' => {
                self.at += 1;
                let value = self.integer()?;
                Ok(Token::Int(value))
            }
            b'0'..=b'9' => self.string().map(Token::Bytes),
            b'l' => self.opened(Token::List),
            b'd' => self.opened(Token::Dict),
            b'e' => match self.frame() {
                Some(Frame::List) => self.close(),
                Some(_) => Err(self.error(ErrorKind::MissingValue)),
                None => Err(self.error(ErrorKind::ExpectedValue)),
            },
            _ => Err(self.error(ErrorKind::ExpectedValue)),
        }
    }

    fn opened(&mut self, token: Token<'a>) -> Result<Token<'a>, Error> {
        if self.open == DEPTH {
            return Err(self.error(ErrorKind::TooDeep));
        }
        self.at += 1;
        Ok(token)
    }

    fn close(&mut self) -> Result<Token<'a>, Error> {
        self.at += 1;
        self.open -= 1;
        Ok(Token::End)
    }

    /// Book-keeping after the first token of a value: its dictionary waits for a key again, and a
    /// container becomes the innermost.
    fn value_begun(&mut self, token: Token<'a>) {
        if let Some(Frame::Value(key)) = self.frame() {
            self.frames[self.open - 1] = Frame::Key(Some(key));
        }
        match token {
            Token::List => self.frames[self.open] = Frame::List,
            Token::Dict => self.frames[self.open] = Frame::Key(None),
            _ => return,
        }
        self.open += 1;
    }

    fn string(&mut self) -> Result<&'a [u8], Error> {
        let length = self.length()?;
        let rest = &self.input[self.at..];
        match usize::try_from(length).ok().and_then(|length| rest.get(..length)) {
            Some(bytes) => {
                self.at += bytes.len();
                Ok(bytes)
            }
            None => Err(self.error(ErrorKind::UnexpectedEnd)),
        }
    }

    /// The rest of an integer: a sign, digits, `e`. It may be as long as the input (H4).
    fn integer(&mut self) -> Result<i64, Error> {
        let negative = self.peek()? == b'-';
        self.at += usize::from(negative);
        let limit = if negative { i64::MIN } else { -i64::MAX };
        let (value, beyond) = self.digits(b'e', limit, ErrorKind::ExpectedDigit)?;
        self.huge |= beyond.is_some();
        Ok(if negative { value } else { value.saturating_neg() })
    }

    /// The length of a string, and its colon.
    fn length(&mut self) -> Result<i64, Error> {
        let (value, beyond) = self.digits(b':', -i64::MAX, ErrorKind::ExpectedColon)?;
        match beyond {
            None => Ok(value.saturating_neg()),
            Some(at) => Err(Error { kind: ErrorKind::Overflow, at }),
        }
    }

    /// Digits up to `end`, as a number below zero: counting down reaches `i64::MIN`, which counting
    /// up cannot. Below `limit` it is `limit`, with the offset of the first digit too many.
    fn digits(
        &mut self,
        end: u8,
        limit: i64,
        otherwise: ErrorKind,
    ) -> Result<(i64, Option<usize>), Error> {
        let start = self.at;
        let (mut value, mut beyond) = (0_i64, None);
        loop {
            let byte = self.peek()?;
            if byte == end && self.at > start {
                break;
            }
            if !byte.is_ascii_digit() {
                let kind = if self.at == start { ErrorKind::ExpectedDigit } else { otherwise };
                return Err(self.error(kind));
            }
            let more = value.checked_mul(10);
            let more = more.and_then(|value| value.checked_sub(i64::from(byte - b'0')));
            value = more.filter(|value| *value >= limit).unwrap_or_else(|| {
                beyond = beyond.or(Some(self.at));
                limit
            });
            self.at += 1;
        }
        let zero_first = self.input[start] == b'0';
        let signed = end == b'e' && limit == i64::MIN;
        self.flags.leading_zero |= zero_first && (self.at - start > 1 || signed);
        self.at += 1;
        Ok((value, beyond))
    }
}

/// Appends canonical bencode to a buffer. The caller writes keys in ascending order; debug builds
/// of the callers' tests check that by reading back.
#[derive(Debug)]
pub struct Writer<'b> {
    out: &'b mut Vec<u8>,
}

impl<'b> Writer<'b> {
    /// A writer that appends to `out`.
    pub fn new(out: &'b mut Vec<u8>) -> Self {
        Self { out }
    }

    /// Opens a dictionary: keys and values follow in turn, then [`Writer::end`].
    pub fn dict(&mut self) -> &mut Self {
        self.out.push(b'd');
        self
    }

    /// Opens a list: values follow, then [`Writer::end`].
    pub fn list(&mut self) -> &mut Self {
        self.out.push(b'l');
        self
    }

    /// Closes the innermost list or dictionary.
    pub fn end(&mut self) -> &mut Self {
        self.out.push(b'e');
        self
    }

    /// A string, or a dictionary key.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.length(bytes.len());
        self.out.extend_from_slice(bytes);
        self
    }

    /// A string of `length` bytes whose content `fill` appends; it must append exactly that many.
    pub fn bytes_with(&mut self, length: usize, fill: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        self.length(length);
        let end = self.out.len() + length;
        fill(self.out);
        debug_assert_eq!(self.out.len(), end, "a string of another length than declared");
        self
    }

    /// An integer.
    pub fn int(&mut self, value: i64) -> &mut Self {
        self.out.push(b'i');
        if value < 0 {
            self.out.push(b'-');
        }
        self.digits(value.unsigned_abs());
        self.out.push(b'e');
        self
    }

    /// A value that is bencode already.
    pub fn raw(&mut self, value: &[u8]) -> &mut Self {
        self.out.extend_from_slice(value);
        self
    }

    fn length(&mut self, length: usize) {
        self.digits(length as u64);
        self.out.push(b':');
    }

    fn digits(&mut self, mut value: u64) {
        let mut buffer = [0; 20];
        let mut start = buffer.len();
        loop {
            start -= 1;
            buffer[start] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        self.out.extend_from_slice(&buffer[start..]);
    }
}

#[cfg(test)]
mod tests;
