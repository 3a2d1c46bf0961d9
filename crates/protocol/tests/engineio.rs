//! Engine.IO packets and payloads. The tables say what npm's `engine.io-parser` 5.2.3 and Node's `Buffer` do.

use proptest::prelude::*;
use tidings_protocol::engineio::{
    Error, Handshake, PacketType, PayloadPacket, RECORD_SEPARATOR, decode, decode_packet, decode_payload, encode_binary,
};

const TYPES: [PacketType; 7] = [
    PacketType::Open,
    PacketType::Close,
    PacketType::Ping,
    PacketType::Pong,
    PacketType::Message,
    PacketType::Upgrade,
    PacketType::Noop,
];

fn text(kind: PacketType, data: &str) -> Result<PayloadPacket<'_>, Error> {
    Ok(PayloadPacket::Text(kind, data))
}

fn binary<'a>(bytes: &[u8]) -> Result<PayloadPacket<'a>, Error> {
    Ok(PayloadPacket::Binary(bytes.to_vec()))
}

#[test]
fn each_type_has_its_digit() {
    for (digit, kind) in (b'0'..).zip(TYPES) {
        assert_eq!(kind.as_byte(), digit);
        let packet = format!("{}é", char::from(digit));
        assert_eq!(decode(&packet), Ok((kind, "é")));
        assert_eq!(decode(&packet[..1]), Ok((kind, "")));
    }
}

#[test]
fn every_other_first_character_is_an_error() {
    for byte in (0..128_u8).filter(|byte| !(b'0'..=b'6').contains(byte)) {
        let first = char::from(byte);
        assert_eq!(
            decode(&format!("{first}x")),
            Err(Error::UnknownType(first)),
            "{first:?}"
        );
    }
    assert_eq!(decode("é"), Err(Error::UnknownType('é')));
    assert_eq!(decode("\u{1F600}4"), Err(Error::UnknownType('\u{1F600}')));
    assert_eq!(decode(""), Err(Error::Empty));
}

/// A stock client with `forceBase64` sends bytes as text over WebSocket too.
#[test]
fn bytes_come_as_base64_in_a_text_frame() {
    assert_eq!(decode_packet("bAQID"), binary(&[1, 2, 3]));
    assert_eq!(decode_packet("b"), binary(&[]));
    assert_eq!(decode_packet("4bAQID"), text(PacketType::Message, "bAQID"));
    assert_eq!(decode_packet("BAQID"), Err(Error::UnknownType('B')));
    assert_eq!(decode_packet(""), Err(Error::Empty));
}

#[test]
fn a_payload_is_split_at_separators_until_the_first_error() {
    use PacketType::{Close, Message, Noop, Open, Ping, Pong, Upgrade};
    let check = |body: &str, expect: &[Result<PayloadPacket<'_>, Error>]| {
        assert_eq!(decode_payload(body).collect::<Vec<_>>(), expect, "{body:?}");
    };
    check("", &[Err(Error::Empty)]);
    check("4a", &[text(Message, "a")]);
    check("4a\x1e4b", &[text(Message, "a"), text(Message, "b")]);
    check("4\x1e4", &[text(Message, ""), text(Message, "")]);
    check("4a\x1e", &[text(Message, "a"), Err(Error::Empty)]);
    check("\x1e4a", &[Err(Error::Empty)]);
    check("4a\x1e\x1e4b", &[text(Message, "a"), Err(Error::Empty)]);
    check("4a\x1e7\x1e4b", &[text(Message, "a"), Err(Error::UnknownType('7'))]);
    check(
        "2\x1e3\x1e1\x1e5\x1e6\x1e0",
        &[
            text(Ping, ""),
            text(Pong, ""),
            text(Close, ""),
            text(Upgrade, ""),
            text(Noop, ""),
            text(Open, ""),
        ],
    );
    check("b", &[binary(&[])]);
    check(
        "bAQID\x1e4é\x1ebé",
        &[binary(&[1, 2, 3]), text(Message, "é"), binary(&[])],
    );
}

/// What `Buffer.from(text, "base64")` of Node 20 gives.
#[test]
fn base64_is_read_as_leniently_as_node_reads_it() {
    for (text, bytes) in [
        ("", ""),
        ("=", ""),
        ("Y", ""),
        ("YW", "a"),
        ("YWI", "ab"),
        ("YWI=", "ab"),
        ("YWJj", "abc"),
        ("YQ==", "a"),
        ("YQ=", "a"),
        ("YQ===", "a"),
        ("YR==", "a"),
        ("YQ==YQ==", "a"),
        ("Y=Q", ""),
        ("YW=Jj", "a"),
        ("Y===WJj", ""),
        ("====YWJj", ""),
        ("YWJj=ZGVm", "abc"),
        ("YWI=ZGVm", "ab"),
        ("YWJjZA==YWJj", "abcd"),
        ("YWJjZ", "abc"),
        ("YWJjZGVm=", "abcdef"),
        ("YWJj Z", "abc"),
        ("Y W\nJj", "abc"),
        ("Y!W@J#j", "abc"),
        ("YWI!=", "ab"),
        ("\0YWJj", "abc"),
        ("YWJjé", "abc"),
        ("éYWJj", "abc"),
        ("YWJj\u{1F600}ZGVm", "abcdef"),
        ("YWJjZGVmZ2hpamts*bW5vcA==", "abcdefghijklmnop"),
    ] {
        let packet = format!("b{text}");
        assert_eq!(decode_packet(&packet), binary(bytes.as_bytes()), "{text:?}");
    }
    assert_eq!(decode_packet("b-_-_"), binary(&[0xfb, 0xff, 0xbf]));
    assert_eq!(decode_packet("b+/+/"), binary(&[0xfb, 0xff, 0xbf]));
    assert_eq!(decode_packet("b+_-/"), binary(&[0xfb, 0xff, 0xbf]));
}

#[test]
fn bytes_are_written_as_standard_base64_with_padding() {
    assert_eq!(encode_binary(&[]), "b");
    assert_eq!(encode_binary(&[0xfb]), "b+w==");
    assert_eq!(encode_binary(&[0xfb, 0xff]), "b+/8=");
    assert_eq!(encode_binary(&[0xfb, 0xff, 0xbf]), "b+/+/");
}

#[test]
fn a_handshake_has_the_five_keys_in_order() {
    let mut handshake = Handshake {
        sid: "abc-_123",
        upgrades: &["websocket", "webtransport"],
        ping_interval_ms: 300,
        ping_timeout_ms: 200,
        max_payload_bytes: usize::MAX,
    };
    assert_eq!(
        handshake.encode(),
        format!(
            "0{{\"sid\":\"abc-_123\",\"upgrades\":[\"websocket\",\"webtransport\"],\
             \"pingInterval\":300,\"pingTimeout\":200,\"maxPayload\":{}}}",
            usize::MAX
        )
    );
    handshake.upgrades = &[];
    handshake.sid = "\"\\\u{1e}";
    assert!(
        handshake
            .encode()
            .starts_with(r#"0{"sid":"\"\\\u001e","upgrades":[],"pingInterval""#)
    );
}

#[test]
fn errors_say_what_is_wrong() {
    assert_eq!(
        Error::UnknownType('x').to_string(),
        "an Engine.IO packet cannot begin with 'x'"
    );
    assert_eq!(Error::Empty.to_string(), "an Engine.IO packet needs at least its type");
}

#[derive(Clone, Debug)]
enum Sent {
    Text(PacketType, String),
    Binary(Vec<u8>),
}

impl Sent {
    fn encode(&self) -> String {
        match self {
            Self::Text(kind, data) => format!("{}{data}", char::from(kind.as_byte())),
            Self::Binary(bytes) => encode_binary(bytes),
        }
    }
}

fn sent() -> impl Strategy<Value = Sent> {
    let data = any::<String>().prop_map(|data| data.replace(char::from(RECORD_SEPARATOR), ""));
    prop_oneof![
        (prop::sample::select(&TYPES[..]), data).prop_map(|(kind, data)| Sent::Text(kind, data)),
        any::<Vec<u8>>().prop_map(Sent::Binary),
    ]
}

proptest! {
    #[test]
    fn what_is_joined_comes_apart_again(packets in prop::collection::vec(sent(), 1..8)) {
        let records: Vec<String> = packets.iter().map(Sent::encode).collect();
        let body = records.join("\u{1e}");
        let decoded: Vec<_> = decode_payload(&body).collect();
        prop_assert_eq!(decoded.len(), packets.len());
        for (decoded, packet) in decoded.into_iter().zip(&packets) {
            prop_assert_eq!(decoded, match packet {
                Sent::Text(kind, data) => text(*kind, data),
                Sent::Binary(bytes) => binary(bytes),
            });
        }
    }

    #[test]
    fn any_body_gives_packets_and_at_most_one_error_at_the_end(body in "[0-7b\u{1e}A-Za-z=]{0,40}") {
        let decoded: Vec<_> = decode_payload(&body).collect();
        let (last, before) = decoded.split_last().expect("never nothing");
        prop_assert!(before.iter().all(Result::is_ok));
        let records = body.split('\u{1e}').count();
        let complete = decoded.len() == records;
        prop_assert!(complete || (last.is_err() && decoded.len() < records));
    }

    /// The fast reader and the lenient one behind it agree: a skipped character changes nothing.
    #[test]
    fn junk_in_base64_changes_nothing(bytes: Vec<u8>, at in any::<prop::sample::Index>(), junk in "[ \r\n!*.é]") {
        let mut packet = encode_binary(&bytes);
        let at = 1 + at.index(packet.len());
        packet.insert_str(at.min(packet.len()), &junk);
        prop_assert_eq!(decode_packet(&packet), binary(&bytes));
        let url_safe = packet.replace('+', "-").replace('/', "_").replace('=', "");
        prop_assert_eq!(decode_packet(&url_safe), binary(&bytes));
    }
}
