//! `cargo fuzz` throws octets at `bodies::request_heads`.
#![no_main]
#![allow(dead_code)]

#[path = "../bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = bodies::request_heads(data);
});
