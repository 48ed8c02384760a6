//! The scenarios of catalogue S2 and the values of BEP 3.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;

/// Reads the whole input, giving the consumed length and the flags.
fn read(input: &[u8]) -> Result<(usize, Flags), Error> {
    let mut reader = Reader::<100>::new(input, 1_000);
    while reader.next_token()?.is_some() {}
    Ok((reader.position(), reader.flags()))
}

fn fails(input: &[u8], kind: ErrorKind, at: usize) {
    assert_eq!(read(input), Err(Error { kind, at }), "{}", input.escape_ascii());
}

#[test]
fn bep_3_values_are_read_and_written_back() {
    let mut reader = Reader::<4>::new(b"d3:cow3:moo4:spaml1:ai-3eee", 100);
    let mut tokens = Vec::new();
    while let Some(token) = reader.next_token().expect("valid") {
        tokens.push(token);
    }
    use Token::{Bytes, Dict, End, Int, List};
    let expected =
        [Dict, Bytes(b"cow"), Bytes(b"moo"), Bytes(b"spam"), List, Bytes(b"a"), Int(-3), End, End];
    assert_eq!(tokens, expected);

    let mut out = Vec::new();
    Writer::new(&mut out).dict().bytes(b"cow").bytes(b"moo").bytes(b"spam");
    Writer::new(&mut out).list().bytes(b"a").int(-3).end().end();
    assert_eq!(out, b"d3:cow3:moo4:spaml1:ai-3eee");
}

#[test]
fn malformed_values_fail_at_the_offending_byte() {
    use ErrorKind::*;
    let cases: [(&[u8], ErrorKind, usize); 22] = [
        (b"", UnexpectedEnd, 0),
        (b"e", ExpectedValue, 0),
        (b"d1:ai1e1:be", MissingValue, 10),
        (b"di5e1:ae", ExpectedKey, 1),
        (b"-10:foobar", ExpectedValue, 0),
        (b"99999999:foobar", UnexpectedEnd, 9),
        (b"18446744073709551615:", Overflow, 19),
        (b"ie", ExpectedDigit, 1),
        (b"i-e", ExpectedDigit, 2),
        (b"i-", UnexpectedEnd, 2),
        (b"i10", UnexpectedEnd, 3),
        (b"i35412-5633e", ExpectedDigit, 6),
        (b"i92337203t854775807e", ExpectedDigit, 9),
        (b"l2:..", UnexpectedEnd, 5),
        (b"l2:..0", UnexpectedEnd, 6),
        (b"d1000:..e", UnexpectedEnd, 6),
        (b"d1000", UnexpectedEnd, 5),
        (b"100:..", UnexpectedEnd, 4),
        (b"3x:abc", ExpectedColon, 1),
        (b"d1:a", UnexpectedEnd, 4),
        (b"x", ExpectedValue, 0),
        (b"lx", ExpectedValue, 1),
    ];
    for (input, kind, at) in cases {
        fails(input, kind, at);
    }
}

#[test]
fn integer_extremes_are_exact() {
    for value in [i64::MIN, -1, 0, 1, i64::MAX] {
        let text = format!("i{value}e");
        assert_eq!(Reader::<1>::new(text.as_bytes(), 1).int(), Ok(Some(value)));
        let mut out = Vec::new();
        Writer::new(&mut out).int(value);
        assert_eq!(out, text.as_bytes());
    }
}

#[test]
fn h4_an_integer_beyond_64_bits_is_read_past_and_counts_as_the_nearest() {
    let many = "9".repeat(5_000);
    for (digits, value, huge) in [
        ("9223372036854775807", i64::MAX, false),
        ("9223372036854775808", i64::MAX, true),
        ("-9223372036854775808", i64::MIN, false),
        ("-9223372036854775809", i64::MIN, true),
        ("18446744073709551615", i64::MAX, true),
        ("1208925819614629174706176", i64::MAX, true),
        (&many, i64::MAX, true),
    ] {
        let text = format!("d1:ai{digits}e1:bi7ee");
        let mut reader = Reader::<1>::new(text.as_bytes(), 6);
        assert_eq!((reader.enter_dict(), reader.next_key()), (Ok(true), Ok(Some(&b"a"[..]))));
        assert_eq!((reader.int(), reader.met_huge()), (Ok(Some(value)), huge), "{digits}");
        assert_eq!((reader.next_key(), reader.int()), (Ok(Some(&b"b"[..])), Ok(Some(7))));
        assert!(reader.flags().is_canonical());
        assert_eq!(read(text.as_bytes()).map(|(consumed, _)| consumed), Ok(text.len()));
    }
    let zeros = format!("i{}12e", "0".repeat(40));
    assert_eq!(Reader::<1>::new(zeros.as_bytes(), 1).int(), Ok(Some(12)));
}

#[test]
fn what_the_field_gets_wrong_is_flagged_and_accepted() {
    let flags = |input: &[u8]| read(input).expect("tolerated").1;
    for input in [&b"i-0e"[..], b"i01e", b"i-03e", b"06:foobar"] {
        assert!(flags(input).leading_zero, "{}", input.escape_ascii());
    }
    assert!(flags(b"d2:aai0e1:ai0ee").unsorted);
    assert!(flags(b"d1:ai0e1:ai1ee").duplicate);
    for input in [&b"0:"[..], b"i0e", b"d1:ai0e2:aai0ee", b"de", b"le"] {
        assert!(flags(input).is_canonical(), "{}", input.escape_ascii());
    }
}

#[test]
fn bytes_after_the_root_are_left_alone() {
    assert_eq!(read(b"i1ejunk").map(|(consumed, _)| consumed), Ok(3));
    assert_eq!(read(b"dee").map(|(consumed, _)| consumed), Ok(2));
}

#[test]
fn depth_and_tokens_are_capped_at_the_limit_and_not_before() {
    let nested = |n: usize| [vec![b'l'; n], vec![b'e'; n]].concat();
    assert!(read(&nested(100)).is_ok());
    fails(&nested(101), ErrorKind::TooDeep, 100);
    let flat = |n: usize| [b"l".to_vec(), b"1:a".repeat(n), b"e".to_vec()].concat();
    assert!(read(&flat(998)).is_ok());
    assert_eq!(read(&flat(999)).map_err(|e| e.kind), Err(ErrorKind::TooManyTokens));
}

#[test]
fn a_wrong_type_is_skipped_whole() {
    let mut reader = Reader::<8>::new(b"d1:ald1:xleei1ee1:bi7e1:c2:hie", 100);
    assert_eq!(reader.enter_dict(), Ok(true));
    assert_eq!(reader.next_key(), Ok(Some(&b"a"[..])));
    assert_eq!(reader.int(), Ok(None));
    assert_eq!(reader.next_key(), Ok(Some(&b"b"[..])));
    assert_eq!(reader.bytes(), Ok(None));
    assert_eq!(reader.next_key(), Ok(Some(&b"c"[..])));
    assert_eq!(reader.raw(), Ok(&b"2:hi"[..]));
    assert_eq!(reader.next_key(), Ok(None));
    assert_eq!(reader.next_token(), Ok(None));
}

/// A document as a tree.
#[derive(Clone, Debug, PartialEq)]
enum Tree {
    Int(i64),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Dict(BTreeMap<Vec<u8>, Self>),
}

impl Tree {
    fn any() -> impl Strategy<Value = Self> {
        let bytes = || vec(any::<u8>(), 0..12);
        let extremes = prop_oneof![Just(i64::MIN), Just(-1), Just(0), Just(i64::MAX)];
        let leaf = prop_oneof![
            any::<i64>().prop_map(Self::Int),
            extremes.prop_map(Self::Int),
            bytes().prop_map(Self::Bytes),
        ];
        leaf.prop_recursive(6, 48, 6, move |inner| {
            prop_oneof![
                vec(inner.clone(), 0..6).prop_map(Self::List),
                btree_map(bytes(), inner, 0..6).prop_map(Self::Dict),
            ]
        })
    }

    fn write(&self, writer: &mut Writer<'_>) {
        match self {
            Self::Int(value) => drop(writer.int(*value)),
            Self::Bytes(bytes) => drop(writer.bytes(bytes)),
            Self::List(items) => {
                writer.list();
                items.iter().for_each(|item| item.write(writer));
                writer.end();
            }
            Self::Dict(entries) => {
                writer.dict();
                for (key, value) in entries {
                    writer.bytes(key);
                    value.write(writer);
                }
                writer.end();
            }
        }
    }

    fn read<const DEPTH: usize>(reader: &mut Reader<'_, DEPTH>) -> Option<Self> {
        Some(match reader.next_token().expect("well-formed")? {
            Token::Int(value) => Self::Int(value),
            Token::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
            Token::List => Self::List(std::iter::from_fn(|| Self::read(reader)).collect()),
            Token::Dict => {
                let mut entries = BTreeMap::new();
                while let Some(key) = reader.next_key().expect("well-formed") {
                    let value = Self::read(reader).expect("a value for each key");
                    assert_eq!(entries.insert(key.to_vec(), value), None, "each key once");
                }
                Self::Dict(entries)
            }
            Token::End => return None,
        })
    }

    fn tokens(&self) -> u32 {
        match self {
            Self::Int(_) | Self::Bytes(_) => 1,
            Self::List(items) => 2 + items.iter().map(Self::tokens).sum::<u32>(),
            Self::Dict(entries) => {
                2 + entries.values().map(|value| 1 + value.tokens()).sum::<u32>()
            }
        }
    }
}

proptest! {
    #[test]
    fn any_tree_is_written_and_read_as_the_same_whatever_follows(tree in Tree::any(), tail: Vec<u8>) {
        let mut out = Vec::new();
        tree.write(&mut Writer::new(&mut out));
        let whole = out.len();
        out.extend_from_slice(&tail);
        let mut reader = Reader::<8>::new(&out, tree.tokens());
        prop_assert_eq!(Tree::read(&mut reader), Some(tree.clone()));
        prop_assert_eq!((reader.position(), reader.depth()), (whole, 0));
        prop_assert!(reader.flags().is_canonical());
        prop_assert_eq!(reader.next_token(), Ok(None));
        prop_assert_eq!(Reader::<8>::new(&out, tree.tokens()).raw(), Ok(&out[..whole]));
    }

    #[test]
    fn no_proper_prefix_of_a_tree_is_read(tree in Tree::any()) {
        let mut out = Vec::new();
        tree.write(&mut Writer::new(&mut out));
        for end in 0..out.len() {
            let error = Reader::<8>::new(&out[..end], 10_000).raw().expect_err("it is cut");
            prop_assert_eq!(error.kind, ErrorKind::UnexpectedEnd);
            prop_assert!(error.at <= end);
        }
    }
}
