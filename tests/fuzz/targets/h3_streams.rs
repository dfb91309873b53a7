//! `cargo fuzz` throws octets at `bodies::h3_streams`.
#![no_main]
#![allow(dead_code)]

#[path = "../bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = bodies::h3_streams(data);
});
