//! Fuzzes headers of the PROXY protocol.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ghostpin_fuzz::proxied(data));
