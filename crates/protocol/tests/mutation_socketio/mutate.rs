//! Takes valid texts and breaks them, again and again, with a generator whose seed is printed when a check fails.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Pieces that mean something somewhere in these protocols.
const PIECES: &[&str] = &[
    "[",
    "]",
    "{",
    "}",
    "\"",
    "\\",
    ",",
    ":",
    "-",
    "/",
    "0",
    "1",
    "9",
    "b",
    "=",
    "e",
    ".",
    "\u{1e}",
    "\\u",
    "\\ud800",
    "\\\"",
    "null",
    "true",
    "[\"",
    "\"]",
    "é",
    "\u{1F600}",
    "\u{0}",
    " ",
    "\n",
    "4",
    "5",
    "18446744073709551616",
    "{\"_placeholder\":true,\"num\":0}",
    "\"connect\"",
    "_placeholder",
    "/a,",
    "51-",
    "63-",
    "\r",
    "\r\n",
    "data:",
    "$bytes",
    "{\"$bytes\":\"YWJj\"}",
    "\"type\":",
    "\"id\":",
    "\"channels\":[",
];

/// SplitMix64 (Steele, Lea and Flood 2014): enough to break texts with.
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

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// Breaks the seeds until the time is over, and holds `check` against each result.
pub(crate) fn run(seeds: &[&str], check: fn(&str)) {
    let seconds = variable("TIDINGS_FUZZ_SECONDS").unwrap_or(2);
    let seed = variable("TIDINGS_FUZZ_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.as_nanos() as u64
    });
    for text in seeds {
        check(text);
    }
    let mut random = Random(seed);
    let end = std::time::Instant::now() + Duration::from_secs(seconds);
    let mut rounds = 0_u64;
    while rounds == 0 || std::time::Instant::now() < end {
        for _ in 0..256 {
            let text = mutated(seeds, &mut random);
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&text))) {
                eprintln!("TIDINGS_FUZZ_SEED={seed} breaks with {text:?}");
                resume_unwind(panic);
            }
        }
        rounds += 1;
    }
    println!("{} texts", rounds * 256);
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} has to be a whole number")),
    )
}

fn mutated(seeds: &[&str], random: &mut Random) -> String {
    let mut bytes = random.pick(seeds).as_bytes().to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(6)).min(bytes.len());
        match random.below(6) {
            0 => drop(bytes.splice(at..end, random.pick(PIECES).bytes())),
            1 => drop(bytes.splice(at..at, random.pick(PIECES).bytes())),
            2 => drop(bytes.drain(at..end)),
            3 => bytes.truncate(at),
            4 => {
                let other = random.pick(seeds).as_bytes();
                let from = random.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
