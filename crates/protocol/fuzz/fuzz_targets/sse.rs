//! `cargo +nightly fuzz run sse`: the invariant of the mutation test, with inputs that coverage guides.
#![no_main]

#[path = "../../tests/sse/client.rs"]
mod client;
#[path = "../../tests/sse/invariant.rs"]
mod invariant;

libfuzzer_sys::fuzz_target!(|event: (Option<&str>, Option<&str>, &str)| invariant::check(event.0, event.1, event.2));
