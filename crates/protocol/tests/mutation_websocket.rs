//! Mutated streams of WebSocket frames for `TIDINGS_FUZZ_SECONDS` (default 2) seconds: nothing panics, no more is kept than the
//! limits allow, how the stream was cut makes no difference, and tungstenite agrees. Each stream has its own seed, printed
//! when it breaks something; `TIDINGS_FUZZ_SEED` begins with that one.

#[allow(dead_code, reason = "shared with the tests of `websocket`")]
#[path = "websocket/client.rs"]
mod client;
#[allow(dead_code, reason = "shared with the tests of `websocket`")]
#[path = "websocket/peer.rs"]
mod peer;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use client::{BINARY, CLOSE, CONTINUATION, FIN, LengthForm, PING, PONG, TEXT, close_payload, frame, frame_as, hear};

/// SplitMix64 (Steele, Lea and Flood 2014): enough to break bytes with.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// How to cut a stream.
    fn sizes(&mut self) -> Vec<usize> {
        let largest = self.pick(&[1, 4, 16, 200, 5000]);
        (0..=self.below(8)).map(|_| 1 + self.below(largest)).collect()
    }
}

/// Right streams, which the mutations start from.
fn seeds() -> Vec<Vec<u8>> {
    let text = "größer, 大きい, 😀".as_bytes();
    let (first, last) = text.split_at(4);
    vec![
        frame(FIN | TEXT, b"42[\"hello\"]"),
        frame(FIN | TEXT, text),
        frame_as(FIN | TEXT, text, [0; 4], LengthForm::Shortest),
        [
            frame(TEXT, first),
            frame(FIN | PING, b"?"),
            frame(CONTINUATION, b""),
            frame(FIN | CONTINUATION, last),
        ]
        .concat(),
        [frame(BINARY, &[0xff; 126]), frame(FIN | CONTINUATION, &[0; 3])].concat(),
        frame(FIN | BINARY, &[1; 125]),
        frame_as(FIN | BINARY, &[2; 7], [0, 0xff, 0, 0xff], LengthForm::Two),
        frame_as(FIN | PONG, b"long", [1, 2, 3, 4], LengthForm::Eight),
        frame(FIN | BINARY, &[3; 2000]),
        frame(FIN | PING, &[4; 125]),
        frame(FIN | PING, b""),
        frame(FIN | CLOSE, &close_payload(1000, "größer".as_bytes())),
        frame(FIN | CLOSE, b""),
    ]
}

fn mutated(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..=random.below(4)).flat_map(|_| random.pick(seeds)).collect();
    for _ in 0..random.below(5) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(8)).min(bytes.len());
        match random.below(7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, random.pick(seeds))),
            3 => drop(bytes.splice(at..end, random.next().to_le_bytes())),
            4 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            which => {
                if let Some(byte) = bytes.get_mut(at) {
                    let bits = [0x80, 0x40, 0x0f, 0x7f, 0xff, 1 << random.below(8)];
                    if which == 5 {
                        *byte ^= random.pick(&bits)
                    } else {
                        *byte = random.pick(&bits)
                    }
                }
            }
        }
    }
    bytes
}

/// What a stream ended in.
#[derive(Default)]
struct Counts {
    errors: u64,
    closes: u64,
    unfinished: u64,
}

fn check(seeds: &[Vec<u8>], seed: u64, counts: &mut Counts) {
    let mut random = Random(seed);
    let bytes = mutated(seeds, &mut random);
    let message_bytes_max = random.pick(&[125, 130, 2000, 100_000]);
    let whole = hear(&bytes, &[], message_bytes_max);
    let sizes = random.sizes();
    assert_eq!(
        hear(&bytes, &sizes, message_bytes_max),
        whole,
        "in pieces of {sizes:?}: {bytes:x?}"
    );
    peer::compare(&bytes, &sizes, &random.sizes(), message_bytes_max);
    counts.errors += u64::from(whole.error.is_some());
    counts.closes += u64::from(matches!(whole.said.last(), Some(client::Said::Close(..))));
    counts.unfinished += u64::from(whole.buffered_bytes > 0);
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} has to be a whole number")),
    )
}

#[test]
fn mutated_streams_are_understood_alike() {
    let seconds = variable("TIDINGS_FUZZ_SECONDS").unwrap_or(2);
    let mut seed = variable("TIDINGS_FUZZ_SEED").unwrap_or_else(|| {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_nanos() as u64
    });
    let seeds = seeds();
    let mut counts = Counts::default();
    let mut streams = 0_u64;
    let end = Instant::now() + Duration::from_secs(seconds);
    // So many at least, however slow the machine.
    while streams < 1000 || Instant::now() < end {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&seeds, seed, &mut counts))) {
            eprintln!("TIDINGS_FUZZ_SEED={seed} breaks, after {streams} streams");
            resume_unwind(panic);
        }
        seed = seed.wrapping_add(1);
        streams += 1;
    }
    let Counts {
        errors,
        closes,
        unfinished,
    } = counts;
    println!("{streams} streams: {errors} wrong, {closes} closed, {unfinished} unfinished");
    // Else the mutations miss what they are for.
    assert!(errors > 0 && closes > 0 && unfinished > 0 && errors < streams);
}
