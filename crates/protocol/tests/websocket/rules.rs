//! RFC 6455 rule by rule, in the order of the Autobahn test suite's chapters. Every stream is fed whole, byte by byte, and cut
//! in two at each place.

use std::str;

use tidings_protocol::websocket::{Decoder, Error, Message};

use crate::client::{
    BINARY, CLOSE, CONTINUATION, FIN, Heard, LengthForm, PING, PONG, Said, TEXT, close_payload, frame, frame_as, hear,
};

const MAX: usize = 100_000;

#[track_caller]
fn check_limited(frames: &[Vec<u8>], message_bytes_max: usize, said: &[Said], error: Option<Error>) {
    let stream = frames.concat();
    let whole = hear(&stream, &[], message_bytes_max);
    assert_eq!((&whole.said[..], whole.error), (said, error));
    let step = 1 + stream.len() / 300;
    let mut splits: Vec<Vec<usize>> = (1..stream.len())
        .step_by(step)
        .map(|first| vec![first, usize::MAX])
        .collect();
    splits.extend([vec![1], vec![2], vec![3], vec![1000], vec![1, 7, 64]]);
    for sizes in splits {
        assert_eq!(
            hear(&stream, &sizes, message_bytes_max),
            whole,
            "in pieces of {sizes:?}"
        );
    }
}

#[track_caller]
fn check(frames: &[Vec<u8>], said: &[Said]) {
    check_limited(frames, MAX, said, None);
}

#[track_caller]
fn check_error(frames: &[Vec<u8>], said: &[Said], error: Error) {
    check_limited(frames, MAX, said, Some(error));
}

fn text(text: &str) -> Said {
    Said::Text(text.to_owned())
}

#[test]
fn messages_of_every_form_of_length() {
    for bytes in [0, 1, 124, 125, 126, 127, 128, 65_535, 65_536] {
        let letters = "*".repeat(bytes);
        check(&[frame(FIN | TEXT, letters.as_bytes())], &[text(&letters)]);
        let binary = vec![0xfe; bytes];
        check(&[frame(FIN | BINARY, &binary)], &[Said::Binary(binary.clone())]);
    }
}

#[test]
fn a_length_need_not_be_in_its_shortest_form() {
    for bytes in [0, 5, 125, 126, 65_535] {
        for form in [LengthForm::Two, LengthForm::Eight] {
            let payload = vec![b'x'; bytes];
            check(
                &[frame_as(FIN | BINARY, &payload, [1, 2, 3, 4], form)],
                &[Said::Binary(payload)],
            );
        }
    }
    check(
        &[frame_as(FIN | PING, b"hi", [1, 2, 3, 4], LengthForm::Eight)],
        &[Said::Ping(b"hi".to_vec())],
    );
}

#[test]
fn a_length_with_its_top_bit_set_is_refused() {
    let header = vec![FIN | BINARY, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0];
    check_limited(
        std::slice::from_ref(&header),
        usize::MAX,
        &[],
        Some(Error::InvalidLength),
    );
}

#[test]
fn frames_must_be_masked() {
    check_error(&[vec![FIN | TEXT, 5], b"Hello".to_vec()], &[], Error::Unmasked);
    check_error(
        &[frame(FIN | TEXT, b"ok"), vec![FIN | PING, 0]],
        &[text("ok")],
        Error::Unmasked,
    );
    // A mask that changes nothing is a mask.
    check(
        &[frame_as(FIN | TEXT, b"Hello", [0; 4], LengthForm::Shortest)],
        &[text("Hello")],
    );
}

#[test]
fn pings_and_pongs() {
    check(&[frame(FIN | PING, b"")], &[Said::Ping(Vec::new())]);
    check(&[frame(FIN | PONG, b"unasked")], &[Said::Pong(b"unasked".to_vec())]);
    let binary = [0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff];
    check(&[frame(FIN | PING, &binary)], &[Said::Ping(binary.to_vec())]);
    let ten: Vec<_> = (0..10).map(|number| vec![number; 125]).collect();
    check(
        &ten.iter().map(|payload| frame(FIN | PING, payload)).collect::<Vec<_>>(),
        &ten.iter().cloned().map(Said::Ping).collect::<Vec<_>>(),
    );
}

#[test]
fn control_frames_have_at_most_125_bytes() {
    for opcode in [PING, PONG, CLOSE] {
        check_error(&[frame(FIN | opcode, &[0xfe; 126])], &[], Error::ControlTooLong);
        check_error(&[frame(FIN | opcode, &[0xfe; 70_000])], &[], Error::ControlTooLong);
    }
}

#[test]
fn control_frames_are_not_fragmented() {
    for opcode in [PING, PONG, CLOSE] {
        check_error(
            &[frame(opcode, b"a"), frame(FIN | CONTINUATION, b"b")],
            &[],
            Error::ControlFragmented,
        );
        check_error(&[frame(TEXT, b"a"), frame(opcode, b"")], &[], Error::ControlFragmented);
    }
}

#[test]
fn reserved_bits_are_refused() {
    for bits in 1..8 {
        for opcode in [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] {
            let wrong = frame(FIN | bits << 4 | opcode, b"");
            check_error(&[wrong.clone(), frame(FIN | TEXT, b"no")], &[], Error::ReservedBits);
            check_error(&[frame(FIN | TEXT, b"yes"), wrong], &[text("yes")], Error::ReservedBits);
        }
    }
}

#[test]
fn reserved_opcodes_are_refused() {
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for first in [opcode, FIN | opcode] {
            let wrong = frame(first, b"payload");
            check_error(
                &[frame(FIN | TEXT, b"yes"), wrong],
                &[text("yes")],
                Error::ReservedOpcode(opcode),
            );
        }
    }
}

#[test]
fn fragments_make_one_message() {
    check(
        &[frame(TEXT, b"fragment1"), frame(FIN | CONTINUATION, b"fragment2")],
        &[text("fragment1fragment2")],
    );
    check(
        &[
            frame(BINARY, b""),
            frame(CONTINUATION, b""),
            frame(CONTINUATION, b"x"),
            frame(FIN | CONTINUATION, b""),
        ],
        &[Said::Binary(b"x".to_vec())],
    );
    check(&[frame(TEXT, b""), frame(FIN | CONTINUATION, b"")], &[text("")]);
    let mut many = vec![frame(BINARY, b"*")];
    many.extend((0..998).map(|_| frame(CONTINUATION, b"*")));
    many.push(frame(FIN | CONTINUATION, b"*"));
    check(&many, &[Said::Binary(vec![b'*'; 1000])]);
}

#[test]
fn control_frames_may_come_between_fragments() {
    check(
        &[
            frame(TEXT, b"one "),
            frame(FIN | PING, b"1"),
            frame(CONTINUATION, b"two "),
            frame(FIN | PONG, b"2"),
            frame(FIN | PING, b""),
            frame(FIN | CONTINUATION, b"three"),
            frame(FIN | BINARY, b"next"),
        ],
        &[
            Said::Ping(b"1".to_vec()),
            Said::Pong(b"2".to_vec()),
            Said::Ping(Vec::new()),
            text("one two three"),
            Said::Binary(b"next".to_vec()),
        ],
    );
    check(
        &[frame(TEXT, b"never "), frame(FIN | CLOSE, b"")],
        &[Said::Close(None, String::new())],
    );
}

#[test]
fn a_continuation_continues_something() {
    for first in [CONTINUATION, FIN | CONTINUATION] {
        check_error(&[frame(first, b"what?")], &[], Error::UnexpectedContinuation);
        check_error(
            &[frame(FIN | TEXT, b"done"), frame(first, b"")],
            &[text("done")],
            Error::UnexpectedContinuation,
        );
        check_error(
            &[frame(TEXT, b"a"), frame(FIN | CONTINUATION, b"b"), frame(first, b"c")],
            &[text("ab")],
            Error::UnexpectedContinuation,
        );
    }
}

#[test]
fn messages_do_not_interleave() {
    for first in [TEXT, BINARY, FIN | TEXT, FIN | BINARY] {
        check_error(
            &[frame(TEXT, b"a"), frame(first, b"b")],
            &[],
            Error::ExpectedContinuation,
        );
        check_error(
            &[frame(BINARY, b""), frame(FIN | PING, b""), frame(first, b"")],
            &[Said::Ping(Vec::new())],
            Error::ExpectedContinuation,
        );
    }
}

/// Boundaries of UTF-8, whole characters.
const VALID: &[&[u8]] = &[
    "Hello-µ@ßöäüàá-UTF-8!!".as_bytes(),
    "κόσμε".as_bytes(),
    b"\0",
    b"\x7f",
    b"\xc2\x80",
    b"\xdf\xbf",
    b"\xe0\xa0\x80",
    b"\xed\x9f\xbf",
    b"\xee\x80\x80",
    b"\xef\xbf\xbd",
    b"\xef\xbf\xbe",
    b"\xef\xbf\xbf",
    b"\xf0\x90\x80\x80",
    b"\xf4\x8f\xbf\xbf",
];

/// No text begins like this.
const INVALID: &[&[u8]] = &[
    b"\x80",
    b"\xbf\xbf",
    b"\xc0\x80",
    b"\xc1\xbf",
    b"\xc3(",
    b"\xe0\x80\x80",
    b"\xe0\x9f\xbf",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xf0\x80\x80\x80",
    b"\xf0\x8f\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
];

#[test]
fn text_is_utf8_wherever_it_is_cut() {
    for &payload in VALID {
        let expected = [text(str::from_utf8(payload).unwrap())];
        check(&[frame(FIN | TEXT, payload)], &expected);
        for middle in 0..=payload.len() {
            let (first, last) = payload.split_at(middle);
            check(&[frame(TEXT, first), frame(FIN | CONTINUATION, last)], &expected);
        }
    }
}

#[test]
fn text_that_is_not_utf8_is_refused_wherever_it_is_cut() {
    for &payload in INVALID {
        let stream = frame(FIN | TEXT, payload);
        check_error(&[frame(FIN | TEXT, b"yes"), stream], &[text("yes")], Error::InvalidUtf8);
        for middle in 0..=payload.len() {
            let (first, last) = payload.split_at(middle);
            check_error(
                &[frame(TEXT, first), frame(FIN | CONTINUATION, last)],
                &[],
                Error::InvalidUtf8,
            );
        }
        // The message isn't waited for.
        check_error(&[frame(TEXT, payload)], &[], Error::InvalidUtf8);
        // Other messages are none of this.
        check(&[frame(FIN | BINARY, payload)], &[Said::Binary(payload.to_vec())]);
    }
}

#[test]
fn text_does_not_end_within_a_character() {
    for payload in [&b"\xc2"[..], b"a\xe2\x82", b"\xf0\x9f\x98"] {
        check_error(&[frame(FIN | TEXT, payload)], &[], Error::InvalidUtf8);
        check_error(
            &[frame(TEXT, payload), frame(FIN | CONTINUATION, b"")],
            &[],
            Error::InvalidUtf8,
        );
        // Unfinished, it may still become one.
        check(&[frame(TEXT, payload)], &[]);
    }
}

#[test]
fn a_close_has_no_code_or_one_that_may_be_sent() {
    check(&[frame(FIN | CLOSE, b"")], &[Said::Close(None, String::new())]);
    check_error(&[frame(FIN | CLOSE, b"\x03")], &[], Error::CloseTooShort);
    for code in [
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4401, 4999,
    ] {
        let close = frame(FIN | CLOSE, &close_payload(code, "größer".as_bytes()));
        check(&[close], &[Said::Close(Some(code), "größer".to_owned())]);
    }
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        check_error(
            &[frame(FIN | CLOSE, &close_payload(code, b""))],
            &[],
            Error::InvalidCloseCode(code),
        );
    }
}

#[test]
fn a_close_reason_is_utf8_of_at_most_123_bytes() {
    let reason = "r".repeat(123);
    let close = frame(FIN | CLOSE, &close_payload(1000, reason.as_bytes()));
    check(&[close], &[Said::Close(Some(1000), reason.clone())]);
    let longer = close_payload(1000, &[b'r'; 124]);
    check_error(&[frame(FIN | CLOSE, &longer)], &[], Error::ControlTooLong);
    for &reason in INVALID {
        check_error(
            &[frame(FIN | CLOSE, &close_payload(1000, reason))],
            &[],
            Error::InvalidUtf8,
        );
    }
    check_error(
        &[frame(FIN | CLOSE, &close_payload(1000, b"\xe2\x82"))],
        &[],
        Error::InvalidUtf8,
    );
}

#[test]
fn nothing_is_heard_after_a_close() {
    let said = [text("last"), Said::Close(Some(1000), String::new())];
    let before = [
        frame(FIN | TEXT, b"last"),
        frame(FIN | CLOSE, &close_payload(1000, b"")),
    ]
    .concat();
    for after in [
        frame(FIN | TEXT, b"no"),
        frame(FIN | PING, b""),
        frame(FIN | CLOSE, b""),
        b"GET / HTTP/1.1".to_vec(),
    ] {
        check(&[before.clone(), after], &said);
    }
}

#[test]
fn a_message_may_be_as_large_as_the_limit_and_no_larger() {
    let ten = [Said::Binary(vec![7; 10])];
    check_limited(&[frame(FIN | BINARY, &[7; 10])], 10, &ten, None);
    check_limited(&[frame(FIN | BINARY, &[7; 11])], 10, &[], Some(Error::TooLarge));
    let two = |bytes| [frame(BINARY, &[7; 6]), frame(FIN | CONTINUATION, &vec![7; bytes])];
    check_limited(&two(4), 10, &ten, None);
    check_limited(&two(5), 10, &[], Some(Error::TooLarge));
    // The limit is for one message, and for messages only.
    let many = [
        frame(FIN | BINARY, &[7; 10]),
        frame(FIN | PING, &[1; 125]),
        frame(FIN | BINARY, &[7; 10]),
    ];
    check_limited(
        &many,
        10,
        &[ten[0].clone(), Said::Ping(vec![1; 125]), ten[0].clone()],
        None,
    );
    check_limited(
        &[frame(FIN | TEXT, b""), frame(FIN | TEXT, b"a")],
        0,
        &[text("")],
        Some(Error::TooLarge),
    );
}

#[test]
fn a_message_that_is_too_large_is_refused_at_its_header() {
    let header = |first| frame_as(first, &[0; 70_000], [0; 4], LengthForm::Shortest)[..14].to_vec();
    check_limited(&[header(FIN | BINARY)], 69_999, &[], Some(Error::TooLarge));
    check_limited(&[header(FIN | BINARY)], 70_000, &[], None);
    let fragments = [frame(TEXT, &[b'a'; 40_000]), header(CONTINUATION)];
    check_limited(&fragments, 109_999, &[], Some(Error::TooLarge));
    check_limited(&fragments, 110_000, &[], None);
}

#[test]
fn a_claimed_length_allocates_nothing() {
    let mut header = vec![FIN | BINARY, 0xff];
    header.extend_from_slice(&(u64::MAX >> 1).to_be_bytes());
    header.extend_from_slice(&[0; 4]);
    let heard = hear(&[header, vec![1; 3]].concat(), &[], usize::MAX);
    assert_eq!(
        heard,
        Heard {
            said: Vec::new(),
            error: None,
            buffered_bytes: 3
        }
    );
}

#[test]
fn what_is_kept_is_counted_and_given_back() {
    let mut decoder = Decoder::new();
    let mut feed = |mut read: Vec<u8>, expected: Option<Message<'_>>| {
        let mut input = &mut read[..];
        assert_eq!(decoder.next(&mut input, MAX), Ok(expected));
        assert!(input.is_empty());
        decoder.buffered_bytes()
    };
    let hello = frame(FIN | TEXT, b"Hello");
    assert_eq!(feed(hello[..1].to_vec(), None), 1);
    assert_eq!(feed(hello[1..6].to_vec(), None), 0, "the whole header is read");
    assert_eq!(feed(hello[6..9].to_vec(), None), 3);
    assert_eq!(feed(hello[9..].to_vec(), Some(Message::Text("Hello"))), 0);
    assert_eq!(feed(frame(BINARY, b"abc"), None), 3);
    let ping = frame(FIN | PING, b"ping");
    assert_eq!(feed(ping[..8].to_vec(), None), 3 + 2, "two messages at once");
    assert_eq!(feed(ping[8..].to_vec(), Some(Message::Ping(b"ping"))), 3);
    assert_eq!(feed(frame(FIN | CONTINUATION, b"d"), Some(Message::Binary(b"abcd"))), 0);
    assert_eq!(feed(Vec::new(), None), 0);
    assert_eq!(feed(frame(BINARY, b"abc"), None), 3);
    assert_eq!(
        feed(frame(FIN | CLOSE, b""), Some(Message::Close { code: None, reason: "" })),
        0
    );
}

#[test]
fn a_frame_that_arrived_whole_is_not_copied() {
    let mut read = [
        frame(FIN | TEXT, b"text"),
        frame(FIN | BINARY, b"binary"),
        frame(FIN | PING, b"ping"),
    ]
    .concat();
    let place = read.as_ptr_range();
    let mut decoder = Decoder::new();
    let mut input = &mut read[..];
    let mut count = 0;
    while let Some(message) = decoder.next(&mut input, MAX).unwrap() {
        let payload = match message {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) | Message::Ping(bytes) => bytes,
            other => panic!("{other:?}"),
        };
        assert!(place.contains(&payload.as_ptr()));
        count += 1;
    }
    assert_eq!(count, 3);
}

#[test]
fn a_quiet_decoder_is_small() {
    assert!(size_of::<Decoder>() <= 16);
}

#[test]
fn close_codes_of_errors() {
    for (error, code) in [
        (Error::ReservedBits, 1002),
        (Error::ReservedOpcode(3), 1002),
        (Error::Unmasked, 1002),
        (Error::ControlFragmented, 1002),
        (Error::ControlTooLong, 1002),
        (Error::UnexpectedContinuation, 1002),
        (Error::ExpectedContinuation, 1002),
        (Error::InvalidLength, 1002),
        (Error::CloseTooShort, 1002),
        (Error::InvalidCloseCode(999), 1002),
        (Error::InvalidUtf8, 1007),
        (Error::TooLarge, 1009),
    ] {
        assert_eq!(error.close_code(), code, "{error}");
    }
}
