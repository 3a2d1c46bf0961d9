//! tungstenite and we understand the same bytes alike, right and wrong ones.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::client::{BINARY, CLOSE, CONTINUATION, FIN, PING, TEXT, frame};
use crate::peer::compare;
use crate::properties::{sizes, speak, spoken};

/// One thing done to a stream of bytes.
#[derive(Clone, Debug)]
enum Harm {
    Set(Index, u8),
    Flip(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Cut(Index),
}

impl Harm {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let count = bytes.len();
        match self {
            Self::Set(index, byte) => bytes[index.index(count)] = *byte,
            Self::Flip(index, bit) => bytes[index.index(count)] ^= 1 << bit,
            Self::Insert(index, byte) => bytes.insert(index.index(count), *byte),
            Self::Remove(index) => drop(bytes.remove(index.index(count))),
            Self::Cut(index) => bytes.truncate(index.index(count)),
        }
    }
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(index, byte)| Harm::Set(index, byte)),
        (any::<Index>(), 0..8_u8).prop_map(|(index, bit)| Harm::Flip(index, bit)),
        (any::<Index>(), any::<u8>()).prop_map(|(index, byte)| Harm::Insert(index, byte)),
        any::<Index>().prop_map(Harm::Remove),
        any::<Index>().prop_map(Harm::Cut),
    ]
}

/// Frames that need not belong together, with payloads that need not be right.
fn loose_frames() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        12 => prop::sample::select(vec![TEXT, BINARY, CONTINUATION, FIN | TEXT, FIN | BINARY, FIN | CONTINUATION, FIN | PING]),
        1 => Just(FIN | CLOSE),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        4 => "[a-zé€😀]{0,40}".prop_map(String::into_bytes),
        2 => vec(any::<u8>(), 0..8),
        1 => (900..5000_u16).prop_map(|code| code.to_be_bytes().to_vec()),
        1 => vec(any::<u8>(), 120..132),
    ];
    vec(
        (first, payload).prop_map(|(first, payload)| frame(first, &payload)),
        1..8,
    )
    .prop_map(|frames| frames.concat())
}

proptest! {
    #[test]
    fn valid_streams(spoken in vec(spoken(), 0..5), ours in sizes(), theirs in sizes()) {
        compare(&speak(&spoken).0, &ours, &theirs, 200_000);
    }

    #[test]
    fn harmed_streams(spoken in vec(spoken(), 1..4), harm in vec(harm(), 1..4), ours in sizes(), max in 125..1000_usize) {
        let (mut stream, _) = speak(&spoken);
        harm.iter().for_each(|harm| harm.apply(&mut stream));
        compare(&stream, &ours, &[], max);
        compare(&stream, &ours, &[1], 100_000);
    }

    #[test]
    fn frames_in_any_order(stream in loose_frames(), ours in sizes(), theirs in sizes(), max in 125..300_usize) {
        compare(&stream, &ours, &theirs, max);
    }

    #[test]
    fn any_bytes(stream in vec(any::<u8>(), 0..100), ours in sizes(), theirs in sizes()) {
        compare(&stream, &ours, &theirs, 125);
    }
}

/// Where the first two bytes decide, all of them.
#[test]
fn every_first_and_second_byte() {
    for first in 0..=u8::MAX {
        for second in 0..=u8::MAX {
            let mut stream = vec![first, second];
            stream.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3, 4]);
            compare(&stream, &[], &[], 200);
            compare(&stream[..2], &[1], &[1], 200);
        }
    }
}

#[test]
fn every_close_code() {
    for code in 0..=u16::MAX {
        compare(&frame(FIN | CLOSE, &code.to_be_bytes()), &[], &[], 125);
    }
}
