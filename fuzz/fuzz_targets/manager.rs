//! Fuzzes `manager`: see `texts.rs`.

#![no_main]

#[path = "../texts.rs"]
mod texts;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| texts::manager(octets));
