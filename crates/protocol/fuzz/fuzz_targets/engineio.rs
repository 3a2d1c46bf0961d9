//! `cargo +nightly fuzz run engineio`: the invariant of the mutation test, with inputs that coverage guides.
#![no_main]

#[path = "../../tests/mutation_engineio/invariant.rs"]
mod invariant;

libfuzzer_sys::fuzz_target!(|text: &str| invariant::check(text));
