//! Bencode reader and writer; the body is `estudely_tests::fuzz::bdecode`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| estudely_tests::fuzz::bdecode(data));
