//! Mutated Socket.IO packets for `TIDINGS_FUZZ_SECONDS` (default 2) seconds: nothing panics, what reads, reads the
//! same after it was written again, and serde_json agrees on what is JSON. `TIDINGS_FUZZ_SEED` repeats a run.

#[path = "mutation_socketio/invariant.rs"]
mod invariant;
#[path = "mutation_socketio/mutate.rs"]
mod mutate;

const SEEDS: &[&str] = &[
    "0",
    "0/admin,{\"token\":\"x\"}",
    "1/admin,",
    "2[\"chat\",{\"text\":\"hello, world\",\"at\":[1,2.5e-3,-0,null,true,false]}]",
    "2/n,12[\"a\", [ [ ] , { } ] , \"\\ud800\\n\\\"\"]",
    "37[{\"ok\":true},\"a longer text, so that whole words are read\"]",
    "3/a,18446744073709551615[]",
    "51-[\"file\",{\"_placeholder\":true,\"num\":0}]",
    "52-/n,3[\"files\",{\"x\":[{\"num\":1,\"_placeholder\":true}]},{\"_placeholder\":true,\"num\":0}]",
    "61-9[{\"_placeholder\":true,\"num\":0,\"\\u006eum\":0}]",
    "2[1,\"\u{1F600}é\"]",
    "2[\"\\u0061b\\u0063\",1]",
    "{\"a\":{\"b\":[{\"c\":\"d\"}]}}",
    "[[[[[[[[1]]]]]]]]",
];

#[test]
fn mutated_packets_never_panic() {
    mutate::run(SEEDS, invariant::check);
}
