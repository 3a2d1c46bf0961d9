//! Mutated ids, names and data in event streams for `TIDINGS_FUZZ_SECONDS` (default 2) seconds: a client reads what was
//! written. `TIDINGS_FUZZ_SEED` repeats a run.

#[path = "sse/client.rs"]
mod client;
#[path = "sse/invariant.rs"]
mod invariant;
#[path = "mutation_socketio/mutate.rs"]
mod mutate;

/// Id, name and data, with U+001E between.
const SEEDS: &[&str] = &[
    "k3v9x1qa-42\u{1e}note\u{1e}{\"a\":[1,\r\n2]}",
    "\u{1e}\u{1e}one\r\ntwo\rthree\nfour\n",
    "1\n\ndata:x\u{1e} n\r\nid:2\u{1e} \0 data: y\n\nevent:gap",
    "\u{feff}\u{1e}\u{feff}:\u{1e}:retry:5\r\r\n\n",
];

#[test]
fn mutated_events_stay_one_event() {
    mutate::run(SEEDS, |text| {
        let mut parts = text.splitn(3, '\u{1e}');
        let (id, name) = (parts.next(), parts.next());
        let data = parts.next().unwrap_or(text);
        invariant::check(id.filter(|id| !id.is_empty()), name, data);
    });
}
