//! Mutated messages of a plain WebSocket for `TIDINGS_FUZZ_SECONDS` (default 2) seconds: nothing panics, and each is
//! read as serde_json reads it, or answered with an error. `TIDINGS_FUZZ_SEED` repeats a run.

#[path = "plain/invariant.rs"]
mod invariant;
#[path = "mutation_socketio/mutate.rs"]
mod mutate;

const SEEDS: &[&str] = &[
    "{\"type\":\"subscribe\",\"id\":1,\"channels\":[\"a\",\"room:7\"],\"since\":\"k3v9x1qa-42\"}",
    "{\"type\":\"unsubscribe\",\"id\":\"x\",\"channels\":[\"a\"]}",
    "{\"type\":\"publish\",\"id\":-5,\"channel\":\"c\",\"event\":\"e\",\"data\":{\"$bytes\":\"YWJj\"},\"key\":\"k\"}",
    "{\"type\":\"publish\",\"channel\":\"c\",\"event\":\"e\",\"data\":[1.50,\"\\ud800\"],\"volatile\":true}",
    "{\"type\":\"history\",\"channel\":\"c\",\"before\":\"k3v9x1qa-42\",\"limit\":50}",
    "{\"type\":\"presence\",\"channel\":\"c\",\"after\":\"ann\",\"limit\":1000}",
    "{\"type\":\"read\",\"channel\":\"c\",\"until\":\"k3v9x1qa-42\"}",
    "{\"type\":\"unread\",\"channel\":\"c\"}",
    "{\"type\":\"auth\",\"id\":null,\"token\":\"a.b.c\"}",
    "{\"type\":\"ping\",\"id\":123456789012345678901234567890}",
];

#[test]
fn mutated_messages_never_panic() {
    mutate::run(SEEDS, invariant::check);
}
