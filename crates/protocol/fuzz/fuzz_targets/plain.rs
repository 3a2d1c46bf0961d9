//! `cargo +nightly fuzz run plain`: the invariant of the mutation test, with inputs that coverage guides.
#![no_main]

#[path = "../../tests/plain/invariant.rs"]
mod invariant;

libfuzzer_sys::fuzz_target!(|text: &str| invariant::check(text));
