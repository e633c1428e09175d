//! Fuzzes what a client sends, read and written to a backend.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ghostpin_fuzz::request(data));
