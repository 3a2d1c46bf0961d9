//! Mutated Engine.IO payloads for `TIDINGS_FUZZ_SECONDS` (default 2) seconds: nothing panics, and what reads, reads
//! the same after it was written again. `TIDINGS_FUZZ_SEED` repeats a run.

#[path = "mutation_engineio/invariant.rs"]
mod invariant;
#[path = "mutation_socketio/mutate.rs"]
mod mutate;

const SEEDS: &[&str] = &[
    "4hello",
    "42[\"a\",1]\u{1e}bAQIDBA==\u{1e}3",
    "2probe",
    "b-_-_",
    "1\u{1e}6",
    "bYWJj YWJj\u{1e}b====",
    "4é\u{1F600}\u{1e}40/admin,{}",
];

#[test]
fn mutated_payloads_never_panic() {
    mutate::run(SEEDS, invariant::check);
}
