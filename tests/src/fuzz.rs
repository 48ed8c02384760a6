//! The bodies of the fuzz targets: plain functions over bytes that panic when a promise of the core
//! is broken. `fuzz/fuzz_targets` hands them to libFuzzer, `tests/corpus.rs` to `cargo test`.
//!
//! They must stay deterministic and must never depend on libFuzzer, so that an artifact it finds
//! fails the same way under plain `cargo test`.

use estudely_core::bencode::{Flags, Reader, Token, Writer};

/// One fuzz target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, for the replay of the corpora.
pub const TARGETS: &[Target] = &[("bdecode", bdecode)];

/// As deep as an info dictionary may nest (H4).
const DEPTH: usize = 100;

/// Tokens of one input; above libFuzzer's default input length, so that they never decide alone.
const TOKENS: u32 = 10_000;

/// Bencode: what the reader accepts, the writer reproduces, and reading costs no more than a step
/// per byte.
///
/// # Panics
/// When that does not hold for `data`.
pub fn bdecode(data: &[u8]) {
    let Some((written, consumed, flags)) = transcribe(data) else { return };

    assert_eq!(Reader::<DEPTH>::new(data, TOKENS).raw(), Ok(&data[..consumed]));
    if flags.is_canonical() {
        assert_eq!(written, &data[..consumed], "a canonical input is written back as it was");
        return;
    }
    // The writer repairs numbers, never the order of keys, and a second pass changes nothing.
    let again = transcribe(&written).expect("what was read can be read again");
    let repaired = Flags { leading_zero: false, ..flags };
    assert_eq!(again, (written.clone(), written.len(), repaired));
}

/// Reads one value and writes it again, token by token: the bytes written, the bytes consumed and
/// what was tolerated, or `None` when `data` holds no value.
fn transcribe(data: &[u8]) -> Option<(Vec<u8>, usize, Flags)> {
    let mut reader = Reader::<DEPTH>::new(data, TOKENS);
    let mut written = Vec::new();
    let mut writer = Writer::new(&mut written);
    let mut open = 0_usize;
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
    Some((written, reader.position(), reader.flags()))
}
