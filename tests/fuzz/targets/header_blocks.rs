//! `cargo fuzz` throws octets at `bodies::header_blocks`.
#![no_main]
#![allow(dead_code)]

#[path = "../bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = bodies::header_blocks(data);
});
