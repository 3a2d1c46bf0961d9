//! What the server writes, and tungstenite as the client that reads it.

use proptest::collection::vec;
use proptest::prelude::*;
use tidings_protocol::websocket::{Opcode, accept_key, close_frame, frame, is_valid_key, write_frame};
use tungstenite::protocol::Role;

use crate::client::Said;
use crate::peer::{Next, Peer};

#[track_caller]
fn check(stream: &[u8], said: &[Said]) {
    let mut peer = Peer::new(Role::Client, stream, &[], 200_000);
    for expected in said {
        let next = peer.next();
        assert!(
            matches!(&next, Next::Said(said) if said == expected),
            "{next:?} instead of {expected:?}"
        );
    }
}

#[test]
fn the_header_is_the_shortest() {
    for (bytes, header) in [
        (0, &[0x82, 0][..]),
        (125, &[0x82, 125]),
        (126, &[0x82, 126, 0, 126]),
        (127, &[0x82, 126, 0, 127]),
        (65_535, &[0x82, 126, 0xff, 0xff]),
        (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let payload = vec![7; bytes];
        let expected = [header, &payload].concat();
        assert_eq!(frame(Opcode::Binary, &[&payload]), expected);
        let mut out = vec![1, 2, 3];
        write_frame(&mut out, Opcode::Binary, &payload);
        assert_eq!(out, [&[1, 2, 3], &expected[..]].concat());
        check(&expected, &[Said::Binary(payload)]);
    }
}

#[test]
fn opcodes() {
    for (opcode, first) in [
        (Opcode::Text, 0x81),
        (Opcode::Binary, 0x82),
        (Opcode::Close, 0x88),
        (Opcode::Ping, 0x89),
        (Opcode::Pong, 0x8a),
    ] {
        assert_eq!(frame(opcode, &[]), [first, 0][..]);
    }
}

#[test]
fn control_frames_end_after_125_bytes() {
    for opcode in [Opcode::Ping, Opcode::Pong, Opcode::Close] {
        let long = [b'x'; 200];
        let expected = frame(opcode, &[&long[..125]]);
        assert_eq!(expected.len(), 127);
        assert_eq!(frame(opcode, &[&long[..100], &long[..100]]), expected);
        let mut out = Vec::new();
        write_frame(&mut out, opcode, &long);
        assert_eq!(out, expected);
    }
}

#[test]
fn close_reasons_are_cut_between_characters() {
    for (reason, kept) in [
        ("a".repeat(123), 123),
        ("a".repeat(124), 123),
        ("é".repeat(62), 122),
        (format!("a{}", "é".repeat(62)), 123),
        ("😀".repeat(31), 120),
    ] {
        let close = close_frame(Some(1001), &reason);
        assert_eq!(close.len(), 4 + kept, "{reason}");
        check(&close, &[Said::Close(Some(1001), reason[..kept].to_owned())]);
    }
    check(&close_frame(None, "unsaid"), &[Said::Close(None, String::new())]);
}

#[test]
fn keys() {
    for (key, is_valid) in [
        ("dGhlIHNhbXBsZSBub25jZQ==", true),
        ("AAAAAAAAAAAAAAAAAAAAAA==", true),
        ("+/+/+/+/+/+/+/+/+/+/+A==", true),
        // The last digit's spare bits are set.
        ("AAAAAAAAAAAAAAAAAAAAAB==", true),
        ("", false),
        ("==", false),
        ("dGhlIHNhbXBsZSBub25jZQ", false),
        ("dGhlIHNhbXBsZSBub25jZQ= ", false),
        (" dGhlIHNhbXBsZSBub25jZQ==", false),
        ("dGhlIHNhbXBsZSBub25jZQAA", false),
        ("dGhlIHNhbXBsZSBub25jZ===", false),
        ("dGhlIHNhbXBsZSBub2-_ZQ==", false),
        ("dGhlIHNhbXBsZSBub25jZWZvdXI=", false),
        ("ééééééééééé==", false),
    ] {
        assert_eq!(is_valid_key(key), is_valid, "{key:?}");
    }
}

proptest! {
    #[test]
    fn any_text_in_any_parts(texts in vec(any::<String>(), 0..10)) {
        let parts: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
        check(&frame(Opcode::Text, &parts), &[Said::Text(texts.concat())]);
    }

    #[test]
    fn any_frames_one_after_another(payloads in vec(vec(any::<u8>(), 0..300), 0..10)) {
        let mut out = Vec::new();
        for payload in &payloads {
            write_frame(&mut out, Opcode::Binary, payload);
        }
        check(&out, &payloads.into_iter().map(Said::Binary).collect::<Vec<_>>());
    }

    #[test]
    fn any_close(code in 3000..5000_u16, reason in "\\PC{0,200}") {
        let close = close_frame(Some(code), &reason);
        prop_assert!(close.len() <= 127);
        let mut peer = Peer::new(Role::Client, &close, &[], 1000);
        let next = peer.next();
        let Next::Said(Said::Close(Some(said_code), said_reason)) = next else { panic!("{next:?}") };
        prop_assert_eq!(said_code, code);
        prop_assert!(reason.starts_with(&said_reason));
        prop_assert!(said_reason == reason || said_reason.len() > 119);
    }

    #[test]
    fn accepted_as_tungstenite_does(key in any::<[u8; 16]>()) {
        use base64::Engine as _;
        let key = base64::engine::general_purpose::STANDARD.encode(key);
        prop_assert!(is_valid_key(&key));
        prop_assert_eq!(accept_key(&key), tungstenite::handshake::derive_accept_key(key.as_bytes()));
    }
}
