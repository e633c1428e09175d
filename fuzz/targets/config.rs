//! Fuzzes configurations.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ghostpin_fuzz::config(data));
