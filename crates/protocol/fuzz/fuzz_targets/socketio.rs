//! `cargo +nightly fuzz run socketio`: the invariant of the mutation test, with inputs that coverage guides.
#![no_main]

#[path = "../../tests/mutation_socketio/invariant.rs"]
mod invariant;

libfuzzer_sys::fuzz_target!(|text: &str| invariant::check(text));
