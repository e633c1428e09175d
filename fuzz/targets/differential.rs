//! Fuzzes what a client sends, read by ghostpin and by hyper.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ghostpin_fuzz::differential(data));
