//! `cargo +nightly fuzz run json`: the invariant of the mutation test, with inputs that coverage guides.
#![no_main]

#[path = "../../tests/json/invariant.rs"]
mod invariant;

libfuzzer_sys::fuzz_target!(|text: &str| invariant::check(text));
