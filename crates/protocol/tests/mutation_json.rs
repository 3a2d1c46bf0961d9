//! Mutated data and arguments for `TIDINGS_FUZZ_SECONDS` (default 2) seconds: nothing panics, serde_json agrees on what
//! is JSON, and what is read comes back. `TIDINGS_FUZZ_SEED` repeats a run.

#[path = "json/invariant.rs"]
mod invariant;
#[path = "mutation_socketio/mutate.rs"]
mod mutate;

const SEEDS: &[&str] = &[
    "{\"$bytes\":\"YWJj\"}",
    "[{\"a\":{\"$bytes\":\"\"}},{\"\\u0024bytes\":\"Pz8\\/\"},1.50]",
    "{\"x\":{\"$bytes\":\"YQ==\"},\"_placeholder\":false,\"num\":0}",
    "{\"_placeholder\":true,\"num\":0}",
    "{\"_placeholder\":true,\"num\":1},[{\"num\":0,\"_placeholder\":true}]",
    "{\"x\":[{\"num\":0,\"_placeholder\":true}],\"_placeholder\":true,\"num\":1}",
    "\"a\",1e400,\"\\ud800\", [ {} ] ",
    "{\"a\":{\"$bytes\":{\"$bytes\":\"YQ==\"}}}",
];

#[test]
fn mutated_data_never_panics() {
    mutate::run(SEEDS, invariant::check);
}
