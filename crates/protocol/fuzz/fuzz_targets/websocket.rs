//! `cargo +nightly fuzz run websocket`: the invariants of the mutation test, with inputs that coverage guides. The first
//! byte chooses the limit, the second how the stream is cut.
#![no_main]

#[allow(dead_code, reason = "shared with the tests of `websocket`")]
#[path = "../../tests/websocket/client.rs"]
mod client;
#[allow(dead_code, reason = "shared with the tests of `websocket`")]
#[path = "../../tests/websocket/peer.rs"]
mod peer;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [limit, size, bytes @ ..] = data else {
        return;
    };
    let message_bytes_max = 125 + 20 * usize::from(*limit);
    let sizes = [usize::from(*size)];
    let whole = client::hear(bytes, &[], message_bytes_max);
    assert_eq!(client::hear(bytes, &sizes, message_bytes_max), whole);
    peer::compare(bytes, &sizes, &[], message_bytes_max);
});
