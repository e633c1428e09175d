//! Fuzzes what a backend answers, read and written to clients.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ghostpin_fuzz::response(data));
