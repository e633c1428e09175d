//! Fuzzes what a client says of who asks.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ghostpin_fuzz::forwarded(data));
