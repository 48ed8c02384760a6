//! The body is in `tests/src/fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| estudely_tests::fuzz::run("utp", data));
